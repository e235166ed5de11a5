//! An allowed tunnel: relays until it ends, is cut, or falls silent, and records how.
//!
//! Clauses: R1, W9

use std::sync::Arc;

use crate::app::App;
use crate::live::Open;
use crate::recorder::Recorder;
use crate::relay::{self, Ends};
use crate::wire::Wire;

/// The origin's end of a tunnel that is recorded and connected.
#[derive(Debug)]
pub(crate) struct FarEnd {
    pub(crate) origin: Wire,
    pub(crate) open: Open,
    pub(crate) recorder: Recorder,
}

/// A tunnel that is recorded and connected.
#[derive(Debug)]
pub(crate) struct Tunnel {
    app: Arc<App>,
    ends: Ends,
    open: Open,
    recorder: Recorder,
}

impl Tunnel {
    /// Joins the ends; what was read ahead from either is sent first.
    pub(crate) fn join(app: Arc<App>, client: Wire, far: FarEnd) -> Self {
        let FarEnd {
            origin,
            open,
            recorder,
        } = far;
        let ((client, held_up), (origin, held_down)) = (client.into_parts(), origin.into_parts());
        Self {
            app,
            ends: Ends {
                client,
                origin,
                held_up,
                held_down,
            },
            open,
            recorder,
        }
    }

    /// Relays to the end.
    pub(crate) async fn run(self) {
        let Self {
            app,
            ends,
            open,
            recorder,
        } = self;
        let outcome = tokio::select! {
            biased;
            cut = app.live.cut(&open) => cut.into(),
            outcome = relay::run(ends, &recorder.meters, app.limits.idle_timeout) => outcome,
        };
        recorder.finish(outcome);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_future<A, F>(_: impl FnOnce(A) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn an_idle_tunnel_is_small() {
        // DESIGN "Numbers to reach": 4 KiB of the proxy in all; the sockets' registrations and the names are beside it.
        let size = size_of_future(Tunnel::run);
        assert!(size <= 1792, "{size} bytes");
    }
}
