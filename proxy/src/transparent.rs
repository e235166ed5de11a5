//! Serves a redirected connection: what it opens with says what it is, its name says where it goes.
//!
//! A name that was looked up at our stub is the destination, and SNI or Host must agree with it. For an
//! address that we never issued, SNI or Host is the destination, and that name is resolved anew. The
//! address that the client chose is never dialled, unless the policy lists that very address.
//!
//! How long is listened, before a reset says no:
//! - not at all, where the address was never issued, and the port is open to no name;
//! - for [`Limits::silence_timeout`] to the first byte, where the port is open to some name: nobody else than the client
//!   can say to which, and one that speaks TLS may be slow to begin;
//! - for [`Limits::hopeless_timeout`], where we know the name and it is refused on this port: what comes by then is
//!   answered in its own protocol;
//! - for [`Limits::hello_timeout`] to the end of the first flight, where there is hope and it has begun.
//!
//! Clauses: W4, W5

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use policies::{
    Carries, Deny, Destination, DnsName, Host, Permit, Port, Reason, Request, Verdict, Via,
};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use crate::app::App;
use crate::capture::CapturedDestination;
use crate::classify::Place;
use crate::client_hello::{self, Opening, PeekError};
use crate::connect;
use crate::judge;
use crate::limits::Limits;
use crate::respond::Refusal;
use crate::session::{Next, Session};
use crate::tunnel::Tunnel;
use crate::wire::Wire;

/// Serves one redirected connection until it ends, or becomes a tunnel.
pub(crate) async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    captured: CapturedDestination,
    app: Arc<App>,
) -> Option<Tunnel> {
    let port = Port::new(captured.original.port())?;
    let process = app.processes.find(peer, captured.original);
    let place = Place::Inside {
        host: captured.host.clone(),
        port,
    };
    let mut session = Session::new(app, Wire::new(stream), place, Via::CapturedHttp, process);
    let caught = Caught {
        named: captured.host.is_some(),
        destination: Destination {
            host: captured
                .host
                .unwrap_or_else(|| Host::Address(captured.original.ip().to_canonical())),
            port,
        },
    };
    match caught.begin(&mut session).await {
        Begun::Http => session.serve().await,
        Begun::Next(Next::Tunnel(far)) => Some(session.joined(*far)),
        Begun::Next(Next::Again | Next::End | Next::Inside(..)) => None,
    }
}

enum Begun {
    Http,
    Next(Next),
}

/// Where a redirected connection was going.
struct Caught {
    destination: Destination,
    /// Whether we know its name from our own DNS answers.
    named: bool,
}

impl Caught {
    fn judge(&self, session: &Session, via: Via) -> Result<Permit, Deny> {
        let request = Request {
            destination: self.destination.clone(),
            via,
        };
        match session.app.live.policy().decide(&request) {
            Verdict::Allow(permit) => Ok(permit),
            Verdict::Deny(deny) => Err(deny),
        }
    }

    async fn begin(&self, session: &mut Session) -> Begun {
        let raw = self.judge(session, Via::CapturedTcp);
        if let Ok(permit) = &raw
            && permit.carries() == Carries::Raw
        {
            return Begun::Next(self.raw(session).await);
        }
        let (tls, http) = (
            self.judge(session, Via::CapturedTls),
            self.judge(session, Via::CapturedHttp),
        );
        let listed = tls.is_ok() || http.is_ok();
        let open = session.app.live.policy().opens_port(self.destination.port);
        let patience = match (self.named, listed, open) {
            (true, true, _) => Patience::whole(&session.app.limits),
            (true, false, _) => Patience::hopeless(&session.app.limits),
            (false, true, _) | (false, false, true) => Patience::silence(&session.app.limits),
            (false, false, false) => {
                let deny = raw.err().unwrap_or_else(|| Deny::new(Reason::IpLiteral));
                return Begun::Next(self.reset(session, &deny).await);
            }
        };
        let most = session.app.limits.hello_bytes;
        match opening(&mut session.wire, patience, most).await {
            Ok(First::Http) => Begun::Http,
            Ok(First::Hello(sni)) => Begun::Next(self.tls(session, sni).await),
            // It said nothing, asked for nothing that is refused, and nothing was dialled.
            Err(PeekError::Gone) if listed && self.named && session.wire.ahead().is_empty() => {
                Begun::Next(Next::End)
            }
            Ok(First::Other)
            | Err(
                PeekError::Gone | PeekError::NotHello | PeekError::TimedOut | PeekError::TooLarge,
            ) => {
                let deny = match (raw, tls, http) {
                    (_, Ok(_), _) | (_, _, Ok(_)) => Deny::new(Reason::NotTls),
                    (Err(deny), _, _) | (_, Err(deny), _) => deny,
                };
                Begun::Next(self.reset(session, &deny).await)
            }
        }
    }

    /// A listed TCP endpoint: anything may be inside, and whoever speaks first.
    async fn raw(&self, session: &mut Session) -> Next {
        let undecided = session.begin(Via::CapturedTcp, None, Some(&self.destination));
        let request = Request {
            destination: self.destination.clone(),
            via: Via::CapturedTcp,
        };
        let pinned = match judge::pin(&session.app, &request, &session.process).await {
            Ok(pinned) => pinned,
            Err(refusal) => {
                undecided.denied(&refusal.deny()).await.ok();
                return hang_up(session);
            }
        };
        match connect::open(session, undecided, &pinned).await {
            Ok((recorder, dialed)) => connect::join(recorder, dialed, pinned, None),
            Err(_) => hang_up(session),
        }
    }

    /// A ClientHello came.
    async fn tls(&self, session: &mut Session, sni: Option<String>) -> Next {
        let destination = match (self.named, &sni) {
            (false, Some(name)) => match DnsName::parse(name) {
                Ok(name) => Destination {
                    host: Host::Name(name),
                    port: self.destination.port,
                },
                Err(_) => self.destination.clone(),
            },
            (_, _) => self.destination.clone(),
        };
        let undecided = session.begin(Via::CapturedTls, None, Some(&destination));
        let request = Request {
            destination,
            via: Via::CapturedTls,
        };
        let refusal = match judge::pin(&session.app, &request, &session.process).await {
            Ok(pinned) if pinned.permit().carries() == Carries::Http => {
                Refusal::Denied(Deny::new(Reason::NotTls))
            }
            Ok(pinned) => return connect::secure(session, undecided, pinned, sni).await,
            Err(refusal) => refusal,
        };
        undecided.denied(&refusal.deny()).await.ok();
        connect::alert(session, &refusal).await
    }

    async fn reset(&self, session: &mut Session, deny: &Deny) -> Next {
        let undecided = session.begin(Via::CapturedTcp, None, Some(&self.destination));
        undecided.denied(deny).await.ok();
        hang_up(session)
    }
}

/// A protocol that we cannot answer in is answered with a reset: the client knows at once.
fn hang_up(session: &Session) -> Next {
    session.wire.stream().set_zero_linger().ok();
    Next::End
}

/// What a redirected connection opens with.
enum First {
    Hello(Option<String>),
    Http,
    Other,
}

/// How long is listened.
#[derive(Clone, Copy, Debug)]
struct Patience {
    /// For the first byte.
    first: Duration,
    /// For all that tells what it is, the first byte among it.
    whole: Duration,
}

impl Patience {
    const fn whole(limits: &Limits) -> Self {
        Self {
            first: limits.hello_timeout,
            whole: limits.hello_timeout,
        }
    }

    const fn silence(limits: &Limits) -> Self {
        Self {
            first: limits.silence_timeout,
            whole: limits.hello_timeout,
        }
    }

    const fn hopeless(limits: &Limits) -> Self {
        Self {
            first: limits.hopeless_timeout,
            whole: limits.hopeless_timeout,
        }
    }
}

async fn opening(wire: &mut Wire, patience: Patience, most: usize) -> Result<First, PeekError> {
    let begun = Instant::now();
    let deadline = begun + patience.whole;
    loop {
        let until = if wire.ahead().is_empty() {
            begun + patience.first
        } else {
            deadline
        };
        match http(wire.ahead()) {
            Guess::Http => return Ok(First::Http),
            Guess::More => match timeout_at(until, wire.fill()).await {
                Ok(Ok(1..)) => {}
                Ok(_) => return Err(PeekError::Gone),
                Err(_) => return Err(PeekError::TimedOut),
            },
            Guess::Not => {
                let left = deadline.saturating_duration_since(Instant::now());
                return match client_hello::peek(wire, left, most).await? {
                    Opening::Hello { sni } => Ok(First::Hello(sni)),
                    Opening::Other => Ok(First::Other),
                };
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Guess {
    Http,
    More,
    Not,
}

/// Whether bytes begin as a request does: a method and a space. Whoever says yes wrongly is answered 400.
fn http(bytes: &[u8]) -> Guess {
    const LONGEST_METHOD: usize = 32; // as classify.rs
    let of_method = |byte: &&u8| byte.is_ascii_uppercase() || matches!(byte, b'-' | b'_');
    let method = bytes
        .iter()
        .take(LONGEST_METHOD + 1)
        .take_while(of_method)
        .count();
    match bytes.get(method) {
        Some(b' ') if method > 0 => Guess::Http,
        None if method <= LONGEST_METHOD => Guess::More,
        Some(_) | None => Guess::Not,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_begins_as_a_request_is_taken_for_one() {
        for bytes in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"M-SEARCH *",
            b"PRI * HTTP/2.0\r\n",
        ] {
            assert_eq!(http(bytes), Guess::Http, "{}", bytes.escape_ascii());
            for end in 0..bytes.iter().position(|byte| *byte == b' ').unwrap() {
                assert_eq!(http(&bytes[..end]), Guess::More, "{end}");
            }
        }
    }

    #[test]
    fn what_begins_otherwise_is_not() {
        for bytes in [
            &b"\x16\x03\x01"[..],
            b"SSH-2.0-OpenSSH_9.2p1 Debian\r\n",
            b"*1\r\n",
            b"PING\r\n",
            b" GET / HTTP/1.1\r\n",
            b"get / HTTP/1.1\r\n",
            &[b'A'; 40],
        ] {
            assert_eq!(http(bytes), Guess::Not, "{}", bytes.escape_ascii());
        }
    }
}
