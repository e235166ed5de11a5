//! What a tool writes to stdout while it does a task, and what it comes to: the last text, the session, the tokens.
//!
//! The stream is the agent's: hostile, endless or broken as it may be, reading it costs a bounded amount of memory, and a
//! line that is not what it should be is passed over.

use std::io::{self, BufRead, Read};

use serde_json::Value;

/// The form of a tool's stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Events {
    /// `claude --output-format stream-json`.
    Claude,
    /// `omp --mode json`.
    Omp,
    /// `opencode run --format json`.
    OpenCode,
    /// Text for people.
    Text,
}

/// What a stream came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    /// The agent's final text, or what it said of its failure.
    pub(crate) result: String,
    /// The session's id.
    pub(crate) session: Option<String>,
    /// What the model servers counted.
    pub(crate) tokens: Option<Tokens>,
    /// The tool says that it failed, in its own words.
    pub(crate) error: Option<String>,
}

/// Tokens, as the tool adds them up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Tokens {
    /// Read by the model.
    pub(crate) input: u64,
    /// Written by the model.
    pub(crate) output: u64,
}

impl Tokens {
    const fn add(&mut self, input: u64, output: u64) {
        self.input = self.input.saturating_add(input);
        self.output = self.output.saturating_add(output);
    }
}

/// A longer line is passed over.
const LINE_MAX: u64 = 16 << 20;
/// The most of a tool's plain text that is its result: the end of it.
const TEXT_MAX: usize = 1 << 20;

impl Events {
    /// Reads a stream to its end.
    ///
    /// # Errors
    /// It cannot be read.
    pub(crate) fn read(self, stream: &mut impl BufRead) -> io::Result<Told> {
        if self == Self::Text {
            return text(stream);
        }
        let mut reading = Reading::default();
        let mut line = Vec::new();
        loop {
            line.clear();
            if stream
                .by_ref()
                .take(LINE_MAX)
                .read_until(b'\n', &mut line)?
                == 0
            {
                return Ok(reading.told());
            }
            if line.last() != Some(&b'\n')
                && u64::try_from(line.len()).is_ok_and(|read| read == LINE_MAX)
            {
                skip_line(stream)?;
            } else if let Ok(event) = serde_json::from_slice::<Value>(&line) {
                match self {
                    Self::Claude => reading.claude(&event),
                    Self::Omp => reading.omp(&event),
                    Self::OpenCode => reading.opencode(&event),
                    Self::Text => {}
                }
            }
        }
    }
}

fn skip_line(stream: &mut impl BufRead) -> io::Result<()> {
    loop {
        let read = stream.fill_buf()?;
        let end = read.iter().position(|byte| *byte == b'\n');
        let (used, done) = end.map_or((read.len(), read.is_empty()), |at| (at + 1, true));
        stream.consume(used);
        if done {
            return Ok(());
        }
    }
}

/// The end of what was said, as text.
fn text(stream: &mut impl BufRead) -> io::Result<Told> {
    let mut kept: Vec<u8> = Vec::new();
    loop {
        let read = stream.fill_buf()?;
        if read.is_empty() {
            break;
        }
        kept.extend_from_slice(read);
        let used = read.len();
        stream.consume(used);
        if kept.len() > 2 * TEXT_MAX {
            kept.drain(..kept.len() - TEXT_MAX);
        }
    }
    if kept.len() > TEXT_MAX {
        kept.drain(..kept.len() - TEXT_MAX);
    }
    let result = String::from_utf8_lossy(&kept).trim_end().to_owned();
    Ok(Told {
        result,
        ..Told::default()
    })
}

/// What is known of a stream so far.
#[derive(Debug, Default)]
struct Reading {
    told: Told,
    /// Which message the text belongs to; the parts of one are joined.
    message: String,
}

impl Reading {
    fn told(self) -> Told {
        let mut told = self.told;
        if told.result.is_empty() {
            told.result = told.error.clone().unwrap_or_default();
        }
        told
    }

    fn tokens(&mut self, input: Option<u64>, output: Option<u64>) {
        if input.is_some() || output.is_some() {
            let tokens = self.told.tokens.get_or_insert_default();
            tokens.add(input.unwrap_or_default(), output.unwrap_or_default());
        }
    }

    fn opencode(&mut self, event: &Value) {
        if let Some(session) = text_at(event, "/sessionID") {
            self.told.session = Some(session.to_owned());
        }
        match text_at(event, "/type") {
            Some("text") => {
                let message = text_at(event, "/part/messageID").unwrap_or_default();
                if message != self.message {
                    message.clone_into(&mut self.message);
                    self.told.result.clear();
                }
                self.told
                    .result
                    .push_str(text_at(event, "/part/text").unwrap_or_default());
            }
            Some("step_finish") => self.tokens(
                number_at(event, "/part/tokens/input"),
                number_at(event, "/part/tokens/output"),
            ),
            Some("error") => {
                let said =
                    text_at(event, "/error/data/message").or_else(|| text_at(event, "/error/name"));
                self.told.error = Some(said.unwrap_or("the agent failed").to_owned());
            }
            Some(_) | None => {}
        }
    }

    fn omp(&mut self, event: &Value) {
        match text_at(event, "/type") {
            Some("session") => self.told.session = text_at(event, "/id").map(str::to_owned),
            Some("message_end") if text_at(event, "/message/role") == Some("assistant") => {
                let parts = event.pointer("/message/content").and_then(Value::as_array);
                let texts = parts
                    .into_iter()
                    .flatten()
                    .filter_map(|part| text_at(part, "/text"));
                self.told.result = texts.collect();
                self.told.error = text_at(event, "/message/errorMessage").map(str::to_owned);
                self.tokens(
                    number_at(event, "/message/usage/input"),
                    number_at(event, "/message/usage/output"),
                );
            }
            Some(_) | None => {}
        }
    }

    fn claude(&mut self, event: &Value) {
        if let Some(session) = text_at(event, "/session_id") {
            self.told.session = Some(session.to_owned());
        }
        if text_at(event, "/type") != Some("result") {
            return;
        }
        text_at(event, "/result")
            .unwrap_or_default()
            .clone_into(&mut self.told.result);
        self.tokens(
            number_at(event, "/usage/input_tokens"),
            number_at(event, "/usage/output_tokens"),
        );
        if event.pointer("/is_error").and_then(Value::as_bool) == Some(true) {
            let said = text_at(event, "/result").or_else(|| text_at(event, "/subtype"));
            self.told.error = Some(said.unwrap_or("the agent failed").to_owned());
        }
    }
}

/// What a conversation with OpenCode's server came to: its messages, as `GET /session/ID/message` lists them.
pub(crate) fn of_messages(messages: &[Value]) -> Told {
    let mut reading = Reading::default();
    let of_agent = |message: &&Value| text_at(message, "/info/role") == Some("assistant");
    for message in messages.iter().filter(of_agent) {
        let parts = message.pointer("/parts").and_then(Value::as_array);
        let texts = parts.into_iter().flatten();
        let texts = texts.filter(|part| text_at(part, "/type") == Some("text"));
        let text: String = texts.filter_map(|part| text_at(part, "/text")).collect();
        if !text.is_empty() {
            reading.told.result = text;
        }
        let failed = text_at(message, "/info/error/data/message");
        let failed = failed.or_else(|| text_at(message, "/info/error/name"));
        reading.told.error = failed.map(str::to_owned);
        reading.tokens(
            number_at(message, "/info/tokens/input"),
            number_at(message, "/info/tokens/output"),
        );
    }
    reading.told()
}

fn text_at<'v>(value: &'v Value, pointer: &str) -> Option<&'v str> {
    value.pointer(pointer).and_then(Value::as_str)
}

fn number_at(value: &Value, pointer: &str) -> Option<u64> {
    value.pointer(pointer).and_then(Value::as_u64)
}
