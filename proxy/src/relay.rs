//! Carries a tunnel's bytes both ways in one task, until both ends closed or one broke.
//!
//! Clauses: W8

use std::task::{Context, Poll};
use std::time::Duration;

use policies::audit::Outcome;
use tokio::net::TcpStream;

use crate::flow::{Fault, Flow, FlowEnd, Until};
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

/// Relays until both directions ended, one broke off, or nothing moved for `idle`.
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
    let (mut up_end, mut down_end) = (None, None);
    let both = |cx: &mut Context<'_>| {
        let (mut client_read, mut client_write) = client.split();
        let (mut origin_read, mut origin_write) = origin.split();
        if up_end.is_none() {
            up_end = end(up.poll(cx, &mut client_read, &mut origin_write, &meters.up));
        }
        if let Some(Ok(())) = up_end {
            down.ends_with_receiver();
        }
        if down_end.is_none() {
            down_end = end(down.poll(cx, &mut origin_read, &mut client_write, &meters.down));
        }
        if let Some(Ok(())) = down_end {
            up.ends_with_receiver();
        }
        match (up_end, down_end) {
            // Whoever sends no more because of a fault hears no more either.
            (Some(Err(Fault::From)), _) => Poll::Ready(blame(Fault::From, Side::Client)),
            (_, Some(Err(Fault::From))) => Poll::Ready(blame(Fault::From, Side::Origin)),
            // Whoever reads no more may have said something before: an answer to half of an upload.
            (Some(up), Some(down)) => Poll::Ready(match (up, down) {
                (Err(fault), _) => blame(fault, Side::Client),
                (_, Err(fault)) => blame(fault, Side::Origin),
                (Ok(()), Ok(())) => Outcome::Done,
            }),
            (_, _) => Poll::Pending,
        }
    };
    let outcome = idle::bound(idle, meters, both)
        .await
        .unwrap_or(Outcome::Idle);
    // What broke off must not look like an end to the other side: a close would.
    for (end, receiver) in [(up_end, &origin), (down_end, &client)] {
        if end == Some(Err(Fault::From)) {
            receiver.set_zero_linger().ok();
        }
    }
    outcome
}

fn end(polled: Poll<Result<FlowEnd, Fault>>) -> Option<Result<(), Fault>> {
    match polled {
        Poll::Ready(ended) => Some(ended.map(|_| ())),
        Poll::Pending => None,
    }
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
