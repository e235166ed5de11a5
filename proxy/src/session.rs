//! Serves one client connection, from its first byte to its last: each request is read, judged and
//! recorded by itself.
//!
//! Not here: what is done with a request (`forward.rs`, `connect.rs`), and what a redirected connection opens
//! with (`transparent.rs`).
//! Clauses: W2, W6, W8

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use policies::audit::{Outcome, Process, Text};
use policies::{Destination, Via};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use crate::app::App;
use crate::ask::{self, Ask, Unreadable};
use crate::capture::CapturedDestination;
use crate::classify::Place;
use crate::connect;
use crate::forward::{self, Upstream};
use crate::head::{Progress, Scan};
use crate::live::Phase;
use crate::recorder::{Facts, Recorder, Undecided, shown};
use crate::respond::{self, Refusal, Then};
use crate::transparent;
use crate::tunnel::{FarEnd, Tunnel};
use crate::wire::Wire;

/// Serves a client that speaks to the proxy.
pub async fn run_explicit(stream: TcpStream, peer: SocketAddr, app: Arc<App>) {
    // A tunnel outlives its session: what the session needed is given back before the first idle byte.
    if let Some(tunnel) = Box::pin(explicit(stream, peer, app)).await {
        tunnel.run().await;
    }
}

/// Serves a client that was redirected to the proxy.
pub async fn run_captured(
    stream: TcpStream,
    peer: SocketAddr,
    destination: CapturedDestination,
    app: Arc<App>,
) {
    if let Some(tunnel) = Box::pin(transparent::serve(stream, peer, destination, app)).await {
        tunnel.run().await;
    }
}

async fn explicit(stream: TcpStream, peer: SocketAddr, app: Arc<App>) -> Option<Tunnel> {
    let process = if app.processes.is_able() {
        app.processes.find(peer, stream.local_addr().ok()?)
    } else {
        Process::UNKNOWN
    };
    Session::new(app, Wire::new(stream), Place::Explicit, Via::Http, process)
        .serve()
        .await
}

/// One client connection, or the inside of one.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) app: Arc<App>,
    pub(crate) wire: Wire,
    pub(crate) place: Place,
    pub(crate) process: Process,
    /// The origin of the last request, if it may serve the next one.
    pub(crate) upstream: Option<Upstream>,
    via: Via,
    /// The CONNECT that this is the inside of.
    outer: Option<Recorder>,
    served: bool,
    started: Instant,
}

/// What follows a request.
#[derive(Debug)]
pub(crate) enum Next {
    /// Another request.
    Again,
    /// The connection's end.
    End,
    /// HTTP inside a tunnel to a known place; what the tunnel is recorded as.
    Inside(Destination, Box<Recorder>),
    /// Bytes both ways.
    Tunnel(Box<FarEnd>),
}

impl Session {
    /// A connection from which no request was read.
    pub(crate) fn new(app: Arc<App>, wire: Wire, place: Place, via: Via, process: Process) -> Self {
        Self {
            app,
            wire,
            place,
            process,
            upstream: None,
            via,
            outer: None,
            served: false,
            started: Instant::now(),
        }
    }

    /// Serves requests until the connection ends, or becomes a tunnel.
    pub(crate) async fn serve(mut self) -> Option<Tunnel> {
        loop {
            match self.request().await {
                Next::Again => self.served = true,
                Next::End => break,
                Next::Inside(destination, outer) => {
                    let Destination { host, port } = destination;
                    self.place = Place::Inside {
                        host: Some(host),
                        port,
                    };
                    self.via = Via::Connect;
                    self.outer = Some(*outer);
                    self.started = Instant::now();
                }
                Next::Tunnel(far) => return Some(self.joined(*far)),
            }
        }
        if let Some(outer) = self.outer.take() {
            outer.finish(Outcome::Done);
        }
        None
    }

    /// The session's connection as one end of a tunnel.
    pub(crate) fn joined(self, far: FarEnd) -> Tunnel {
        Tunnel::join(self.app, self.wire, far)
    }

    async fn request(&mut self) -> Next {
        let length = match self.head().await {
            Ok(length) => length,
            Err(NoHead::Ended) => return Next::End,
            Err(NoHead::Refused(refusal)) => {
                let destination = ask::known(&self.place);
                return self
                    .unreadable(Unreadable {
                        refusal,
                        method: None,
                        destination,
                    })
                    .await;
            }
        };
        let read = ask::read(
            self.wire.ahead().get(..length).unwrap_or_default(),
            &self.place,
        );
        self.wire.consume(length);
        match read {
            Err(unreadable) => self.unreadable(*unreadable).await,
            Ok((Ask::Forward(forward), method)) => {
                let undecided = self.begin(self.via, Some(method), Some(&forward.destination));
                forward::exchange(self, undecided, forward).await
            }
            Ok((Ask::Tunnel(destination), method)) => {
                let undecided = self.begin(Via::Connect, Some(method), Some(&destination));
                connect::tunnel(self, undecided, destination).await
            }
        }
    }

    /// Begins the record of a request.
    pub(crate) fn begin(
        &self,
        via: Via,
        method: Option<Text>,
        destination: Option<&Destination>,
    ) -> Undecided {
        let facts = Facts {
            via,
            method,
            host: destination.map(|destination| shown(&destination.host)),
            port: destination.map(|destination| destination.port.get()),
            sni: None,
            process: self.process.clone(),
            generation: self.app.live.policy().generation(),
        };
        Undecided::new(&self.app, facts)
    }

    /// Which way requests of this session come.
    pub(crate) fn via(&self) -> Via {
        self.via
    }

    async fn unreadable(&mut self, unreadable: Unreadable) -> Next {
        let Unreadable {
            refusal,
            method,
            destination,
        } = unreadable;
        let undecided = self.begin(self.via, method, destination.as_ref());
        self.refuse(undecided, &refusal, destination.as_ref(), Then::Discard)
            .await
    }

    /// Records a refusal, and then answers it.
    pub(crate) async fn refuse(
        &mut self,
        undecided: Undecided,
        refusal: &Refusal,
        destination: Option<&Destination>,
        then: Then,
    ) -> Next {
        match undecided.denied(&refusal.deny()).await {
            Ok(()) => self.answer(refusal, destination, then).await,
            Err(_) => self.answer(&Refusal::Limit, destination, then).await,
        }
    }

    /// Answers in the proxy's own words.
    pub(crate) async fn answer(
        &mut self,
        refusal: &Refusal,
        destination: Option<&Destination>,
        then: Then,
    ) -> Next {
        let bytes = respond::refused(refusal, destination, then);
        let written = timeout(self.app.limits.head_timeout, self.wire.write_all(&bytes)).await;
        match (written, then) {
            (Ok(Ok(())), Then::Keep) => Next::Again,
            (Ok(Ok(())), then) => self.close(then).await,
            (_, _) => Next::End,
        }
    }

    /// Ends the connection after an answer. What came and was not read would reset it: that is discarded first.
    pub(crate) async fn close(&mut self, then: Then) -> Next {
        if then == Then::Discard || !self.wire.ahead().is_empty() {
            linger(&mut self.wire, self.app.limits.linger_timeout).await;
        }
        Next::End
    }

    /// Reads until a whole head is there, and says how long it is.
    async fn head(&mut self) -> Result<usize, NoHead> {
        if self.wire.ahead().is_empty() {
            self.first_byte().await?;
        }
        // A first head counts from the connection's start, so that silence buys no time.
        let since = if self.served {
            Instant::now()
        } else {
            self.started
        };
        let deadline = since + self.app.limits.head_timeout;
        let mut scan = Scan::new();
        loop {
            match scan.feed(self.wire.ahead()) {
                Ok(Progress::End(length)) if length <= self.app.limits.head_bytes => {
                    return Ok(length);
                }
                Ok(Progress::More) if self.wire.ahead().len() < self.app.limits.head_bytes => {}
                Ok(_) => return Err(NoHead::Refused(Refusal::HeadTooLarge)),
                Err(_) => return Err(NoHead::Refused(Refusal::BadHead)),
            }
            match timeout_at(deadline, self.wire.fill()).await {
                Ok(Ok(1..)) => {}
                // Some of a head and then nothing: that is not no request.
                Ok(_) => return Err(NoHead::Refused(Refusal::BadHead)),
                Err(_) => return Err(NoHead::Refused(Refusal::HeadTooSlow)),
            }
        }
    }

    /// Waits for a request to begin; nothing is owed to a client that asked for nothing.
    async fn first_byte(&mut self) -> Result<(), NoHead> {
        let limits = &self.app.limits;
        let patience = if self.served {
            limits.keep_alive
        } else {
            limits.head_timeout
        };
        let app = Arc::clone(&self.app);
        tokio::select! {
            biased;
            read = timeout(patience, self.wire.fill()) => match read {
                Ok(Ok(1..)) => Ok(()),
                Ok(_) | Err(_) => Err(NoHead::Ended),
            },
            () = app.live.reached(Phase::Draining) => Err(NoHead::Ended),
        }
    }
}

enum NoHead {
    /// Between two requests.
    Ended,
    /// In the middle of one.
    Refused(Refusal),
}

/// Lets the client read an answer although it is still sending: what it sends is discarded, for a while.
///
/// Closing at once would reset the connection, and the answer might be lost with it.
async fn linger(wire: &mut Wire, patience: Duration) {
    let (mut read, mut write) = wire.split();
    if write.shutdown().await.is_err() {
        return;
    }
    let discard = async {
        let mut left = MOST_DISCARDED;
        while left > 0 {
            let ahead = read.ahead();
            ahead.consume(ahead.bytes().len());
            match std::future::poll_fn(|cx| read.poll_fill(cx)).await {
                Ok(count @ 1..) => left = left.saturating_sub(count),
                Ok(0) | Err(_) => return,
            }
        }
    };
    timeout(patience, discard).await.ok();
}

/// Bytes that are discarded before the client is cut off: a window's worth, Linux' default maximum.
const MOST_DISCARDED: usize = 6 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_future<A, B, C, F>(_: impl FnOnce(A, B, C) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_session_leaves_nothing_of_itself_in_its_tunnel() {
        let size = size_of_future(run_explicit);
        assert!(size <= 2304, "{size} bytes");
    }
}
