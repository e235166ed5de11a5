//! Receives one answer from an origin that is not believed, and passes it on.
//!
//! What is not plainly one answer to the one request is no answer. Clauses: W2

use std::future::poll_fn;
use std::sync::atomic::Ordering;

use tokio::io::AsyncWriteExt;
use tokio::net::tcp::WriteHalf;

use crate::ask::Forward;
use crate::framing::{self, Framing};
use crate::head::{Progress, ResponseHead, Scan, Version};
use crate::headers::{self, After};
use crate::idle::Meters;
use crate::limits::Limits;
use crate::message::{Coding, Message, MessageError};
use crate::respond::Then;
use crate::wire::Reader;

/// What becomes of both connections after a whole answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    /// The client's.
    pub(crate) client: Then,
    /// The origin's.
    pub(crate) origin: Then,
}

/// An answer that was passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The 101 that was asked for.
    Switched,
    /// A final one, whole.
    Whole(Received),
}

/// Why there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AnswerError {
    /// The client broke off.
    Client,
    /// The origin closed or broke off before the first byte.
    Nothing,
    /// The origin broke off, or what it sent is not plainly an answer.
    Origin,
}

/// What one head says.
struct Plan {
    status: u16,
    head: Vec<u8>,
    framing: Framing,
    coding: Coding,
    then: Received,
}

/// Receives and passes on: interim answers, and then the final one.
pub(crate) async fn receive(
    from: &mut Reader<'_>,
    to: &mut WriteHalf<'_>,
    ask: &Forward,
    limits: &Limits,
    meters: &Meters,
) -> Result<Answer, AnswerError> {
    for _ in 0..=limits.interim_responses {
        let length = head(from, limits.response_head_bytes).await?;
        let plan = plan(from.ahead().bytes().get(..length).unwrap_or_default(), ask)?;
        from.ahead().consume(length);
        match plan.status {
            101 => {
                write(to, &plan.head, meters).await?;
                return Ok(Answer::Switched);
            }
            100..=199 if ask.version == Version::Http10 => {}
            100..=199 => write(to, &plan.head, meters).await?,
            _ => return last(from, to, plan, meters).await,
        }
    }
    Err(AnswerError::Origin)
}

async fn head(from: &mut Reader<'_>, most: usize) -> Result<usize, AnswerError> {
    let mut scan = Scan::new();
    loop {
        match scan.feed(from.ahead().bytes()) {
            Ok(Progress::End(length)) if length <= most => return Ok(length),
            Ok(Progress::More) if from.ahead().bytes().len() < most => {}
            Ok(_) | Err(_) => return Err(AnswerError::Origin),
        }
        match poll_fn(|cx| from.poll_fill(cx)).await {
            Ok(1..) => {}
            Ok(0) | Err(_) if from.ahead().bytes().is_empty() => return Err(AnswerError::Nothing),
            Ok(_) | Err(_) => return Err(AnswerError::Origin),
        }
    }
}

fn plan(bytes: &[u8], ask: &Forward) -> Result<Plan, AnswerError> {
    let head = ResponseHead::parse(bytes).map_err(|_| AnswerError::Origin)?;
    let framing = framing::response(&head, &ask.method).map_err(|_| AnswerError::Origin)?;
    let (coding, framing_out) = match (framing, ask.version) {
        (Framing::Chunked, Version::Http10) => (Coding::Plain, Framing::Close),
        (_, _) => (Coding::Chunks, framing),
    };
    let closes = framing_out == Framing::Close || ask.then == Then::Close;
    let client = if closes { Then::Close } else { Then::Keep };
    let keeps = head.version == Version::Http11 && !head.fields.holds("connection", "close");
    let origin = if keeps && framing != Framing::Close {
        Then::Keep
    } else {
        Then::Close
    };
    let after = match (head.status, client) {
        (101, _) if switches(&head, ask) => After::WebSocket,
        (101, _) => return Err(AnswerError::Origin),
        (100..=199, _) | (_, Then::Keep) => After::Keep,
        (_, Then::Close | Then::Discard) => After::Close,
    };
    Ok(Plan {
        status: head.status,
        head: headers::response(&head, framing_out, after),
        framing,
        coding,
        then: Received { client, origin },
    })
}

/// Whether a 101 is the one that was asked for.
fn switches(head: &ResponseHead<'_>, ask: &Forward) -> bool {
    ask.websocket
        && head.fields.holds("connection", "upgrade")
        && head.fields.holds("upgrade", "websocket")
}

async fn last(
    from: &mut Reader<'_>,
    to: &mut WriteHalf<'_>,
    plan: Plan,
    meters: &Meters,
) -> Result<Answer, AnswerError> {
    let Plan {
        head,
        framing,
        coding,
        mut then,
        ..
    } = plan;
    let message = Message::new(head, framing, coding, from.ahead());
    let mut message = message.map_err(|_| AnswerError::Origin)?;
    // Bytes past the end, and nothing passed on yet: which of the two is the answer, only the origin knows.
    if message.is_read() && !from.ahead().bytes().is_empty() {
        return Err(AnswerError::Origin);
    }
    match poll_fn(|cx| message.poll(cx, from, to, &meters.down)).await {
        Ok(()) => {}
        Err(MessageError::To) => return Err(AnswerError::Client),
        Err(MessageError::From | MessageError::Malformed) => return Err(AnswerError::Origin),
    }
    if !from.ahead().bytes().is_empty() {
        then.origin = Then::Close;
    }
    Ok(Answer::Whole(then))
}

async fn write(to: &mut WriteHalf<'_>, bytes: &[u8], meters: &Meters) -> Result<(), AnswerError> {
    to.write_all(bytes).await.map_err(|_| AnswerError::Client)?;
    meters.down.fetch_add(bytes.len() as u64, Ordering::Relaxed);
    Ok(())
}
