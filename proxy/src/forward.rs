//! The plain HTTP path: one request to its origin, one answer back, each ended where its head says.
//!
//! An origin's connection serves the next request only within the same client connection, for the same
//! permit (and so the same policy generation), and only if nothing about it is in doubt.
//! Not here: the answer's framing and head (`answer.rs`).
//! Clauses: W2, W3, W6, R1

use std::pin::pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use policies::audit::Outcome;
use policies::{Deny, Permit, PinnedPermit, Reason, Request};

use crate::answer::{self, Received};
use crate::app::App;
use crate::ask::Forward;
use crate::connect;
use crate::dial::{self, Dialed};
use crate::idle::{self, Meters};
use crate::judge;
use crate::live::{Cut, Open};
use crate::message::{Coding, Message, MessageError};
use crate::recorder::{Recorder, Undecided};
use crate::respond::{Refusal, Then};
use crate::session::{Next, Session};
use crate::tunnel::FarEnd;
use crate::wire::Wire;

/// An origin's connection.
#[derive(Debug)]
pub(crate) struct Upstream {
    wire: Wire,
    open: Open,
    /// Whether it has answered a request before.
    used: bool,
}

impl Upstream {
    /// A connection that carried nothing yet.
    pub(crate) fn new(dialed: Dialed, pinned: PinnedPermit) -> Self {
        let Dialed { stream, address } = dialed;
        Self {
            wire: Wire::new(stream),
            open: Open {
                pinned,
                address,
                sni: None,
            },
            used: false,
        }
    }

    /// Whether it may serve a request with this permit: same everything, and silent since.
    fn serves(&self, permit: &Permit) -> bool {
        self.open.pinned.permit() == permit && self.wire.is_silent()
    }
}

/// Serves one request.
pub(crate) async fn exchange(session: &mut Session, undecided: Undecided, ask: Forward) -> Next {
    let request = Request {
        destination: ask.destination.clone(),
        via: session.via(),
    };
    let kept = session.upstream.take();
    let (kept, pinned) = match judge(session, &request, kept).await {
        Ok(judged) => judged,
        Err(refusal) => {
            let then = ask.then_if_refused();
            return session
                .refuse(undecided, &refusal, Some(&ask.destination), then)
                .await;
        }
    };
    let Ok(recorder) = undecided.decided(&pinned).await else {
        return session
            .answer(&Refusal::Limit, Some(&ask.destination), Then::Discard)
            .await;
    };
    let upstream = match kept {
        Some(upstream) => Ok(upstream),
        None => connected(&session.app, pinned).await,
    };
    match upstream {
        Ok(upstream) => carry(session, recorder, upstream, ask).await,
        Err(refusal) => {
            recorder.finish(Outcome::DialFailed);
            session
                .answer(&refusal, Some(&ask.destination), ask.then_if_refused())
                .await
        }
    }
}

/// By name always; by address, unless the connection that is there was judged so for the same permit.
async fn judge(
    session: &Session,
    request: &Request,
    kept: Option<Upstream>,
) -> Result<(Option<Upstream>, PinnedPermit), Refusal> {
    let (policy, permit) = judge::by_name(&session.app, request, &session.process).await?;
    if let Some(upstream) = kept.filter(|upstream| upstream.serves(&permit)) {
        let pinned = upstream.open.pinned.clone();
        return Ok((Some(upstream), pinned));
    }
    Ok((
        None,
        judge::by_address(&session.app, &policy, permit).await?,
    ))
}

async fn connected(app: &App, pinned: PinnedPermit) -> Result<Upstream, Refusal> {
    match dial::connect(&pinned, app).await {
        Ok(dialed) => Ok(Upstream::new(dialed, pinned)),
        Err(error) => Err(connect::unreachable(error)),
    }
}

/// Carries the request and its answer, and says what becomes of both connections.
async fn carry(
    session: &mut Session,
    recorder: Recorder,
    mut upstream: Upstream,
    ask: Forward,
) -> Next {
    let mut end = both_ways(session, &mut upstream, &ask, &recorder.meters).await;
    if end == End::Stale && upstream.used && ask.framing.is_empty() {
        // The origin closed the kept connection while the request was on its way: nothing was answered, so the
        // request goes once more, to an address that was judged for it.
        end = match connected(&session.app, upstream.open.pinned.clone()).await {
            Ok(fresh) => {
                upstream = fresh;
                both_ways(session, &mut upstream, &ask, &recorder.meters).await
            }
            Err(_) => End::Stale,
        };
    }
    if end == End::Switched {
        let Upstream { wire, open, .. } = upstream;
        return Next::Tunnel(Box::new(FarEnd {
            origin: wire,
            open,
            recorder,
        }));
    }
    let begun = recorder.meters.down.load(Ordering::Relaxed) > 0;
    recorder.finish(end.outcome());
    let refusal = match end {
        End::Done(Received { client, origin }) => {
            if origin == Then::Keep {
                upstream.used = true;
                session.upstream = Some(upstream);
            }
            return if client == Then::Keep {
                Next::Again
            } else {
                session.close(client).await
            };
        }
        End::ClientGone | End::Switched => return Next::End,
        End::Revoked => Refusal::Denied(Deny::new(Reason::Revoked)),
        End::Shutdown => Refusal::Limit,
        End::Idle => Refusal::TimedOut,
        End::Malformed => Refusal::BadHead,
        End::Stale | End::Broken => Refusal::BadResponse,
    };
    // An answer that began cannot be taken back: the connection ends with it, by a reset, lest one whose end is the
    // connection's look whole.
    if begun {
        session.wire.stream().set_zero_linger().ok();
        return Next::End;
    }
    session
        .answer(&refusal, Some(&ask.destination), Then::Discard)
        .await
}

/// How a request and its answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The origin broke off, or its answer is not plainly one.
    Broken,
    /// The client closed or broke off.
    ClientGone,
    /// The answer arrived whole.
    Done(Received),
    /// Nothing moved for too long.
    Idle,
    /// The client's chunks are malformed.
    Malformed,
    /// A policy change refuses it.
    Revoked,
    /// The proxy ends.
    Shutdown,
    /// The origin closed or broke off before one byte of an answer.
    Stale,
    /// The origin agreed to a WebSocket.
    Switched,
}

impl End {
    fn outcome(self) -> Outcome {
        match self {
            Self::Broken | Self::Stale => Outcome::UpstreamError,
            Self::ClientGone | Self::Malformed => Outcome::ClientError,
            Self::Done(_) | Self::Switched => Outcome::Done,
            Self::Idle => Outcome::Idle,
            Self::Revoked => Outcome::Revoked,
            Self::Shutdown => Outcome::Shutdown,
        }
    }
}

async fn both_ways(
    session: &mut Session,
    upstream: &mut Upstream,
    ask: &Forward,
    meters: &Meters,
) -> End {
    let Session { app, wire, .. } = session;
    let Upstream {
        wire: origin, open, ..
    } = upstream;
    let (mut client_read, mut client_write) = wire.split();
    let (mut origin_read, mut origin_write) = origin.split();
    let head = ask.head.clone();
    let Ok(upload) = Message::new(head, ask.framing, Coding::Chunks, client_read.ahead()) else {
        return End::Malformed;
    };
    let mut upload = Upload::Going(upload);
    let mut download = pin!(answer::receive(
        &mut origin_read,
        &mut client_write,
        ask,
        &app.limits,
        meters
    ));
    let work = |cx: &mut Context<'_>| {
        if let Upload::Going(message) = &mut upload {
            match message.poll(cx, &mut client_read, &mut origin_write, &meters.up) {
                Poll::Pending => {}
                Poll::Ready(Ok(())) => upload = Upload::Whole,
                // The origin may have answered before it stopped reading.
                Poll::Ready(Err(MessageError::To)) => upload = Upload::Broken,
                Poll::Ready(Err(MessageError::From)) => return Poll::Ready(End::ClientGone),
                Poll::Ready(Err(MessageError::Malformed)) => return Poll::Ready(End::Malformed),
            }
        }
        download
            .as_mut()
            .poll(cx)
            .map(|received| ended(received, &upload))
    };
    tokio::select! {
        biased;
        outcome = app.live.cut(open) => match outcome {
            Cut::Revoked => End::Revoked,
            Cut::Shutdown => End::Shutdown,
        },
        end = idle::bound(app.limits.idle_timeout, meters, work) => end.unwrap_or(End::Idle),
    }
}

enum Upload {
    Going(Message),
    Whole,
    Broken,
}

/// An answer before the request's end is an answer, but neither connection serves another request.
fn ended(received: Result<answer::Answer, answer::AnswerError>, upload: &Upload) -> End {
    use answer::{Answer, AnswerError};
    match (received, upload) {
        (Ok(Answer::Whole(received)), Upload::Whole) => End::Done(received),
        (Ok(Answer::Whole(_)), Upload::Going(_) | Upload::Broken) => End::Done(Received {
            client: Then::Discard,
            origin: Then::Close,
        }),
        (Ok(Answer::Switched), _) => End::Switched,
        (Err(AnswerError::Client), _) => End::ClientGone,
        (Err(AnswerError::Nothing), _) => End::Stale,
        (Err(AnswerError::Origin), _) => End::Broken,
    }
}
