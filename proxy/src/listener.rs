//! Accepts connections, and gives each a slot and a task of its own.
//!
//! The caller owns the socket; it ends when the proxy drains. Not here: what is served (`session.rs`).
//! Clauses: W8

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use policies::Via;
use policies::audit::Process;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use crate::app::App;
use crate::capture::{Capture, Caught};
use crate::classify::Place;
use crate::dial::exhausted;
use crate::live::Phase;
use crate::respond::{Refusal, Then};
use crate::session::{self, Session};
use crate::slots::Slot;
use crate::wire::Wire;

/// Wait after an accept that failed for want of descriptors or memory: others end meanwhile.
const BACK_OFF: Duration = Duration::from_millis(50);

/// What is served on a listener.
#[derive(Clone, Debug)]
pub enum Door {
    /// Redirected connections.
    Capture(Capture),
    /// Clients that speak to the proxy.
    Explicit,
}

/// Serves a listener until the proxy drains.
pub async fn serve(listener: TcpListener, door: Door, app: Arc<App>) {
    // What is accepted inherits it. Without it a small write waits for an acknowledgement; refused, it is only slower.
    SockRef::from(&listener).set_tcp_nodelay(true).ok();
    let mut draining = pin!(app.live.reached(Phase::Draining));
    loop {
        let (stream, peer) = tokio::select! {
            biased;
            () = &mut draining => return,
            accepted = accept(&listener) => accepted,
        };
        admit(stream, peer, &door, &app);
    }
}

/// The next connection of a listener, however many fail before it.
///
/// # Cancel safety
/// Nothing that was accepted is lost.
pub(crate) async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) if exhausted(&error) => sleep(BACK_OFF).await,
            // The client was gone before it was accepted.
            Err(_) => {}
        }
    }
}

fn admit(stream: TcpStream, peer: SocketAddr, door: &Door, app: &Arc<App>) {
    let Some(slot) = app.slots.take() else {
        // Those that are told so are bounded as well; past that they are closed.
        if let Some(slot) = app.refused.take() {
            drop(tokio::spawn(too_many(stream, Arc::clone(app), slot)));
        }
        return;
    };
    drop(tokio::spawn(run(
        stream,
        peer,
        door.clone(),
        Arc::clone(app),
        slot,
    )));
}

async fn run(stream: TcpStream, peer: SocketAddr, door: Door, app: Arc<App>, slot: Slot) {
    match door {
        Door::Explicit => session::run_explicit(stream, peer, app).await,
        Door::Capture(capture) => match capture.caught(&stream) {
            // What is held is held until the connection ends.
            Ok(Caught {
                destination,
                held: _held,
            }) => {
                session::run_captured(stream, peer, destination, app).await;
            }
            Err(_) => drop(stream), // it is gone already
        },
    }
    drop(slot);
}

async fn too_many(stream: TcpStream, app: Arc<App>, slot: Slot) {
    let mut session = Session::new(
        app,
        Wire::new(stream),
        Place::Explicit,
        Via::Http,
        Process::UNKNOWN,
    );
    let undecided = session.begin(Via::Http, None, None);
    drop(
        session
            .refuse(undecided, &Refusal::Limit, None, Then::Discard)
            .await,
    );
    drop(slot);
}
