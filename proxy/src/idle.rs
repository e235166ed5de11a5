//! Ends what has moved no byte for too long.
//!
//! Clauses: W8

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Bytes that were carried, in both directions.
#[derive(Debug, Default)]
pub(crate) struct Meters {
    /// Written to the origin.
    pub(crate) up: AtomicU64,
    /// Written to the client.
    pub(crate) down: AtomicU64,
}

impl Meters {
    /// Up, and down.
    pub(crate) fn read(&self) -> (u64, u64) {
        (
            self.up.load(Ordering::Relaxed),
            self.down.load(Ordering::Relaxed),
        )
    }

    fn sum(&self) -> u64 {
        let (up, down) = self.read();
        up.wrapping_add(down)
    }
}

/// Polls `work` until it is ready, or until `meters` stood still for `limit`: then `None`.
pub(crate) async fn bound<T>(
    limit: Duration,
    meters: &Meters,
    mut work: impl FnMut(&mut Context<'_>) -> Poll<T>,
) -> Option<T> {
    let mut alarm = pin!(sleep(limit));
    let mut since = Instant::now();
    let mut seen = meters.sum();
    poll_fn(move |cx| {
        if let Poll::Ready(done) = work(cx) {
            return Poll::Ready(Some(done));
        }
        let sum = meters.sum();
        if sum != seen {
            (seen, since) = (sum, Instant::now());
        }
        // The alarm is set again only when it rings: a busy connection never touches the timers.
        loop {
            ready!(alarm.as_mut().poll(cx));
            let due = since + limit;
            if due <= Instant::now() {
                return Poll::Ready(None);
            }
            alarm.as_mut().reset(due);
        }
    })
    .await
}
