//! The CONNECT path, in order, and the opening of every connection that must carry TLS.
//!
//! When a tunnel is answered: docs/decisions/0004-when-connect-is-answered.md.
//! Clauses: W4, R1

use policies::audit::{Outcome, Text};
use policies::{Carries, Deny, Destination, PinnedPermit, Reason, Request, Via};

use crate::client_hello::{self, Opening, PeekError};
use crate::dial::{self, DialError, Dialed};
use crate::forward::Upstream;
use crate::judge;
use crate::live::Open;
use crate::recorder::{Recorder, Undecided};
use crate::respond::{self, Refusal, Then};
use crate::session::{Next, Session};
use crate::tunnel::FarEnd;
use crate::wire::Wire;

/// Serves one CONNECT.
pub(crate) async fn tunnel(
    session: &mut Session,
    undecided: Undecided,
    destination: Destination,
) -> Next {
    let request = Request {
        destination,
        via: Via::Connect,
    };
    let pinned = match judge::pin(&session.app, &request, &session.process).await {
        Ok(pinned) => pinned,
        Err(refusal) => {
            let destination = Some(&request.destination);
            return session
                .refuse(undecided, &refusal, destination, Then::Close)
                .await;
        }
    };
    match pinned.permit().carries() {
        Carries::Raw | Carries::Http => dialled(session, undecided, pinned).await,
        Carries::Tls | Carries::TlsOrHttp => {
            if session.wire.write_all(respond::ESTABLISHED).await.is_err() {
                return gone(undecided, &pinned).await;
            }
            looked_into(session, undecided, pinned).await
        }
    }
}

/// What is not looked into first is dialled before it is answered: the answer can say that nobody is there.
async fn dialled(session: &mut Session, undecided: Undecided, pinned: PinnedPermit) -> Next {
    let destination = pinned.permit().request().destination.clone();
    let (recorder, origin) = match open(session, undecided, &pinned).await {
        Ok(opened) => opened,
        Err(refusal) => {
            return session
                .answer(&refusal, Some(&destination), Then::Close)
                .await;
        }
    };
    if session.wire.write_all(respond::ESTABLISHED).await.is_err() {
        recorder.finish(Outcome::ClientError);
        return Next::End;
    }
    if pinned.permit().carries() == Carries::Raw {
        return join(recorder, origin, pinned, None);
    }
    // Plain HTTP inside is served request by request.
    session.upstream = Some(Upstream::new(origin, pinned));
    Next::Inside(destination, Box::new(recorder))
}

/// What must carry TLS is looked into before anything is dialled.
async fn looked_into(session: &mut Session, undecided: Undecided, pinned: PinnedPermit) -> Next {
    let limits = &session.app.limits;
    let (patience, most) = (limits.hello_timeout, limits.hello_bytes);
    match client_hello::peek(&mut session.wire, patience, most).await {
        Ok(Opening::Hello { sni }) => secure(session, undecided, pinned, sni).await,
        Ok(Opening::Other) if pinned.permit().carries() == Carries::TlsOrHttp => {
            let destination = pinned.permit().request().destination.clone();
            match undecided.decided(&pinned).await {
                Ok(recorder) => Next::Inside(destination, Box::new(recorder)),
                Err(_) => Next::End,
            }
        }
        Err(PeekError::Gone) => gone(undecided, &pinned).await,
        Ok(Opening::Other)
        | Err(PeekError::NotHello | PeekError::TimedOut | PeekError::TooLarge) => {
            // Recorded or not, nothing goes on; what could not be written is counted by the sink.
            undecided.denied(&Deny::new(Reason::NotTls)).await.ok();
            session.close(Then::Discard).await
        }
    }
}

/// A ClientHello is there: its SNI is confirmed, and only then is the origin dialled.
pub(crate) async fn secure(
    session: &mut Session,
    mut undecided: Undecided,
    pinned: PinnedPermit,
    sni: Option<String>,
) -> Next {
    if let Some(facts) = undecided.facts() {
        facts.sni = sni.as_deref().map(Text::new);
    }
    let confirmed = session
        .app
        .live
        .policy()
        .confirm_sni(pinned.permit(), sni.as_deref());
    if let Err(deny) = confirmed {
        undecided.denied(&deny).await.ok();
        return alert(session, &Refusal::Denied(deny)).await;
    }
    match open(session, undecided, &pinned).await {
        Ok((recorder, dialed)) => join(recorder, dialed, pinned, sni),
        Err(refusal) => alert(session, &refusal).await,
    }
}

/// Records the permission, and dials.
pub(crate) async fn open(
    session: &Session,
    undecided: Undecided,
    pinned: &PinnedPermit,
) -> Result<(Recorder, Dialed), Refusal> {
    let Ok(recorder) = undecided.decided(pinned).await else {
        return Err(Refusal::Limit);
    };
    match dial::connect(pinned, &session.app).await {
        Ok(dialed) => Ok((recorder, dialed)),
        Err(error) => {
            recorder.finish(Outcome::DialFailed);
            Err(unreachable(error))
        }
    }
}

/// How a failure to connect is answered.
pub(crate) fn unreachable(error: DialError) -> Refusal {
    match error {
        DialError::Exhausted => Refusal::Limit,
        DialError::Refused => Refusal::Unreachable,
        DialError::TimedOut => Refusal::TimedOut,
    }
}

/// The origin's end of a tunnel, which the session joins with the client's.
pub(crate) fn join(
    recorder: Recorder,
    dialed: Dialed,
    pinned: PinnedPermit,
    sni: Option<String>,
) -> Next {
    let Dialed { stream, address } = dialed;
    let open = Open {
        pinned,
        address,
        sni,
    };
    Next::Tunnel(Box::new(FarEnd {
        origin: Wire::new(stream),
        open,
        recorder,
    }))
}

/// The client left between its answer and its first flight: allowed, and ended before anything was dialled.
async fn gone(undecided: Undecided, pinned: &PinnedPermit) -> Next {
    if let Ok(recorder) = undecided.decided(pinned).await {
        recorder.finish(Outcome::ClientError);
    }
    Next::End
}

/// Tells a client that speaks TLS by now.
pub(crate) async fn alert(session: &mut Session, refusal: &Refusal) -> Next {
    match session.wire.write_all(refusal.alert()).await {
        Ok(()) => session.close(Then::Discard).await,
        Err(_) => Next::End,
    }
}
