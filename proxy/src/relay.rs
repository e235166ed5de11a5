//! Carries a tunnel's bytes both ways in one task, until both ends closed or one broke.
//!
//! Clauses: W8

use std::task::{Context, Poll};
use std::time::Duration;

use policies::audit::Outcome;
use tokio::net::TcpStream;

use crate::flow::{Fault, Flow, Until};
use crate::idle::{self, Meters};

/// Two sockets, and what was read from each before they were joined.
#[derive(Debug)]
pub(crate) struct Ends {
    /// The client's.
    pub(crate) client: TcpStream,
    /// The origin's.
    pub(crate) origin: TcpStream,
    /// From the client, not yet written to the origin.
    pub(crate) held_up: Vec<u8>,
    /// From the origin, not yet written to the client.
    pub(crate) held_down: Vec<u8>,
}

/// Relays until both directions ended, one failed, or nothing moved for `idle`.
///
/// Each side may close its own direction; the other one goes on.
pub(crate) async fn run(ends: Ends, meters: &Meters, idle: Duration) -> Outcome {
    let Ends {
        mut client,
        mut origin,
        held_up,
        held_down,
    } = ends;
    let mut up = Flow::new(held_up, Until::Closed);
    let mut down = Flow::new(held_down, Until::Closed);
    let both = |cx: &mut Context<'_>| {
        let (mut client_read, mut client_write) = client.split();
        let (mut origin_read, mut origin_write) = origin.split();
        let up = up.poll(cx, &mut client_read, &mut origin_write, &meters.up);
        let down = down.poll(cx, &mut origin_read, &mut client_write, &meters.down);
        match (up, down) {
            (Poll::Ready(Err(fault)), _) => Poll::Ready(blame(fault, Side::Client)),
            (_, Poll::Ready(Err(fault))) => Poll::Ready(blame(fault, Side::Origin)),
            (Poll::Ready(Ok(_)), Poll::Ready(Ok(_))) => Poll::Ready(Outcome::Done),
            (_, _) => Poll::Pending,
        }
    };
    idle::bound(idle, meters, both)
        .await
        .unwrap_or(Outcome::Idle)
}

#[derive(Clone, Copy)]
enum Side {
    Client,
    Origin,
}

/// Who broke a flow that came from `sender`.
fn blame(fault: Fault, sender: Side) -> Outcome {
    match (fault, sender) {
        (Fault::From, Side::Client) | (Fault::To, Side::Origin) => Outcome::ClientError,
        (Fault::From, Side::Origin) | (Fault::To, Side::Client) => Outcome::UpstreamError,
    }
}
