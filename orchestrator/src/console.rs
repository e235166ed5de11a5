//! Where text goes: results to stdout, people's text to stderr, colours only on a terminal. The only module that
//! writes to the standard streams. Decides no wording.
//! Clauses: R4 (untrusted text is escaped before a terminal sees it).
use std::fmt;
use std::io::{self, BufRead, Read as _, Write};

use serde::Serialize;

use crate::exit::{Exit, Failure};
use crate::world::{Colour, Terminal};

/// The three streams of one command.
pub struct Console<'a> {
    out: &'a mut dyn Write,
    err: &'a mut dyn Write,
    input: &'a mut dyn BufRead,
    terminal: Terminal,
}

impl<'a> Console<'a> {
    /// A console over the given streams.
    pub fn new(
        out: &'a mut dyn Write,
        err: &'a mut dyn Write,
        input: &'a mut dyn BufRead,
        terminal: Terminal,
    ) -> Self {
        Self {
            out,
            err,
            input,
            terminal,
        }
    }

    /// Which of the streams are terminals.
    #[must_use]
    pub fn terminal(&self) -> Terminal {
        self.terminal
    }

    /// One line of the result, to stdout.
    ///
    /// # Errors
    /// stdout cannot be written to (the reader went away, the disk is full).
    pub fn line(&mut self, text: impl fmt::Display) -> Result<(), Failure> {
        writeln!(self.out, "{text}").map_err(output_failed)
    }

    /// Bytes of the result as they are, to stdout.
    ///
    /// # Errors
    /// stdout cannot be written to.
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.out.write_all(bytes).map_err(output_failed)
    }

    /// One JSON document on a line of its own, to stdout. What is beyond printable ASCII is escaped: a reader's terminal is
    /// fed no control or bidirectional character.
    ///
    /// # Errors
    /// stdout cannot be written to.
    pub fn document(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string(value)
            .map_err(|error| Failure::new(Exit::No, "write JSON").because(error))?;
        self.line(ascii_json(&text))
    }

    /// The same to stderr, where stdout is the agent's.
    ///
    /// # Errors
    /// The value cannot be put into JSON.
    pub fn document_note(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string(value)
            .map_err(|error| Failure::new(Exit::No, "write JSON").because(error))?;
        self.note(ascii_json(&text));
        Ok(())
    }

    /// Hands everything written so far to stdout's reader.
    ///
    /// # Errors
    /// stdout cannot be written to.
    pub fn flush(&mut self) -> Result<(), Failure> {
        self.out.flush().map_err(output_failed)
    }

    /// One line for people, to stderr. Where stderr is gone nobody reads it: that is no failure of the command.
    pub fn note(&mut self, text: impl fmt::Display) {
        drop(writeln!(self.err, "{text}"));
    }

    /// A prompt for people, to stderr, without a newline.
    pub fn prompt(&mut self, text: impl fmt::Display) {
        drop(write!(self.err, "{text}").and_then(|()| self.err.flush()));
    }

    /// All of stdin, and at most so many bytes of it.
    ///
    /// # Errors
    /// stdin cannot be read.
    pub fn rest(&mut self, most: u64) -> Result<Vec<u8>, Failure> {
        let mut all = Vec::new();
        io::Read::take(&mut *self.input, most)
            .read_to_end(&mut all)
            .map_err(|error| Failure::new(Exit::No, "read stdin").because(error))?;
        Ok(all)
    }

    /// The next line that a person typed, without its newline; none at the end of the input.
    ///
    /// # Errors
    /// stdin cannot be read.
    pub fn answer(&mut self) -> Result<Option<String>, Failure> {
        let mut line = String::new();
        let read = self
            .input
            .read_line(&mut line)
            .map_err(|error| Failure::new(Exit::No, "read stdin").because(error))?;
        Ok((read > 0).then(|| line.trim_end_matches(['\n', '\r']).to_owned()))
    }

    /// Asks a yes-or-no question until it is answered; Enter takes `default`, the end of the input is a no.
    ///
    /// # Errors
    /// stdin cannot be read.
    pub fn confirm(
        &mut self,
        question: impl fmt::Display,
        default: Answer,
    ) -> Result<Answer, Failure> {
        let choices = match default {
            Answer::Yes => "[Y/n]",
            Answer::No => "[y/N]",
        };
        loop {
            self.prompt(format_args!("{question} {choices} "));
            let Some(line) = self.answer()? else {
                return Ok(Answer::No);
            };
            match line.trim().to_ascii_lowercase().as_str() {
                "" => return Ok(default),
                "y" | "yes" => return Ok(Answer::Yes),
                "n" | "no" => return Ok(Answer::No),
                _ => self.note("please answer y or n"),
            }
        }
    }

    /// Text in a style for stdout; plain where stdout is not a terminal.
    pub fn styled<T: fmt::Display>(&self, style: Style, text: T) -> Styled<T> {
        Styled {
            style: self.style(style, self.terminal.stdout),
            text,
        }
    }

    /// Text in a style for stderr; plain where stderr is not a terminal.
    pub fn styled_note<T: fmt::Display>(&self, style: Style, text: T) -> Styled<T> {
        Styled {
            style: self.style(style, self.terminal.stderr),
            text,
        }
    }

    fn style(&self, style: Style, is_terminal: bool) -> Option<Style> {
        (is_terminal && self.terminal.colour == Colour::Terminal).then_some(style)
    }
}

impl fmt::Debug for Console<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Console")
            .field("terminal", &self.terminal)
            .finish_non_exhaustive()
    }
}

/// What a person answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// No, or nothing.
    No,
    /// Yes.
    Yes,
}

/// How a piece of text looks on a terminal. Colour never carries what the words do not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Done, allowed, whole.
    Good,
    /// Refused, missing, broken.
    Bad,
    /// A human should look.
    Warn,
    /// Beside the point.
    Dim,
    /// The heading of a block.
    Bold,
}

/// Text that colours itself where that was found to be right.
#[derive(Debug)]
pub struct Styled<T> {
    style: Option<Style>,
    text: T,
}

impl<T: fmt::Display> fmt::Display for Styled<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // ECMA-48 section 8.3.117, SGR.
        let code = match self.style {
            None => return self.text.fmt(f),
            Some(Style::Good) => "32",
            Some(Style::Bad) => "31",
            Some(Style::Warn) => "33",
            Some(Style::Dim) => "2",
            Some(Style::Bold) => "1",
        };
        write!(f, "\u{1b}[{code}m")?;
        self.text.fmt(f)?;
        f.write_str("\u{1b}[0m")
    }
}

/// Untrusted text made fit for a terminal: control, format, bidirectional, unassigned and invisible characters, and the
/// backslash, are written as Rust escapes. What is printable stays.
#[must_use]
pub fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '"' | '\'' => safe.push(character),
            _ => safe.extend(character.escape_debug()),
        }
    }
    safe
}

/// The same JSON in printable ASCII: beyond it there are only characters of strings.
pub(crate) fn ascii_json(text: &str) -> String {
    let mut ascii = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_ascii() && character != '\u{7f}' {
            ascii.push(character);
            continue;
        }
        for unit in character.encode_utf16(&mut [0; 2]) {
            ascii.push_str(&format!("\\u{unit:04x}"));
        }
    }
    ascii
}

/// That a reader went away (`ocs audit query | head`) is no news to anybody.
fn output_failed(error: io::Error) -> Failure {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Failure::silent(Exit::No);
    }
    Failure::new(Exit::No, "write to stdout").because(error)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Runs `act` over a console whose streams are values; gives what it returned, stdout and stderr.
    pub(crate) fn captured<T>(
        typed: &str,
        terminal: Terminal,
        act: impl FnOnce(&mut Console<'_>) -> T,
    ) -> (T, String, String) {
        let (mut out, mut err, mut input) = (Vec::new(), Vec::new(), typed.as_bytes());
        let returned = act(&mut Console::new(&mut out, &mut err, &mut input, terminal));
        (
            returned,
            String::from_utf8(out).unwrap(),
            String::from_utf8(err).unwrap(),
        )
    }

    #[test]
    fn a_question_takes_enter_as_its_default_and_asks_again_after_junk() {
        let (answer, out, err) = captured("maybe\n\n", Terminal::default(), |console| {
            console.confirm("create `x`?", Answer::Yes).unwrap()
        });
        assert_eq!(answer, Answer::Yes);
        assert_eq!(out, "");
        assert_eq!(
            err,
            "create `x`? [Y/n] please answer y or n\ncreate `x`? [Y/n] "
        );
    }

    #[test]
    fn the_end_of_the_input_is_a_no_whatever_the_default() {
        let (answer, _, _) = captured("", Terminal::default(), |console| {
            console.confirm("go?", Answer::Yes).unwrap()
        });
        assert_eq!(answer, Answer::No);
    }

    #[test]
    fn colours_appear_only_where_the_stream_is_a_terminal() {
        let seen = Terminal {
            stdout: true,
            colour: Colour::Terminal,
            ..Terminal::default()
        };
        let (_, out, err) = captured("", seen, |console| {
            let (red, note) = (
                console.styled(Style::Bad, "no"),
                console.styled_note(Style::Bad, "no"),
            );
            console.line(red).unwrap();
            console.note(note);
        });
        assert_eq!(
            (out.as_str(), err.as_str()),
            ("\u{1b}[31mno\u{1b}[0m\n", "no\n")
        );
    }

    #[test]
    fn a_document_is_one_line_of_ascii_that_means_the_same() {
        let hostile = "\u{1b}[2J\u{202e}\u{7f}\n\u{1f600}\"";
        let (_, out, _) = captured("", Terminal::default(), |console| {
            console.document(&hostile).unwrap();
        });
        let expected = "\"\\u001b[2J\\u202e\\u007f\\n\\ud83d\\ude00\\\"\"\n";
        assert_eq!(out, expected);
        assert_eq!(serde_json::from_str::<String>(&out).unwrap(), hostile);
    }

    #[test]
    fn a_reader_that_went_away_is_no_news_and_a_full_disk_is() {
        struct Broken(io::ErrorKind);
        impl Write for Broken {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(self.0.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let line = |kind| {
            let (mut out, mut err, mut input) = (Broken(kind), Vec::new(), &b""[..]);
            Console::new(&mut out, &mut err, &mut input, Terminal::default()).line("x")
        };
        assert_eq!(
            line(io::ErrorKind::BrokenPipe),
            Err(Failure::silent(Exit::No))
        );
        let full = Failure::new(Exit::No, "write to stdout: no storage space");
        assert_eq!(line(io::ErrorKind::StorageFull), Err(full));
    }

    #[test]
    fn hostile_text_is_escaped_and_honest_text_is_not() {
        let hostile = "a\u{1b}[2Jb\u{202e}c\r\n\u{0}\u{200b}\\";
        assert_eq!(escaped(hostile), r"a\u{1b}[2Jb\u{202e}c\r\n\0\u{200b}\\");
        assert_eq!(
            escaped("caf\u{e9} \"x\" 'y' /usr/bin"),
            "caf\u{e9} \"x\" 'y' /usr/bin"
        );
    }
}
