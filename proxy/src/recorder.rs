//! Follows one request through the record: exactly one `request`, and one `close` if it was allowed.
//!
//! A value that is dropped on any path still writes what is missing, so no cancellation and no
//! early return leaves a request half told. Not here: the file (`sink.rs`).
//! Clauses: R1, R2

use std::sync::Arc;

use policies::audit::{CloseEvent, Decision, Event, Outcome, Process, RequestEvent, Text};
use policies::{Deny, Generation, Host, PinnedPermit, Reason, Via};
use tokio::time::Instant;

use crate::app::App;
use crate::idle::Meters;
use crate::live::Phase;
use crate::sink::Unrecorded;

/// What is known of a request, as it is read.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    /// The way that it came.
    pub(crate) via: Via,
    /// The HTTP method.
    pub(crate) method: Option<Text>,
    /// The host asked for.
    pub(crate) host: Option<Text>,
    /// The port asked for.
    pub(crate) port: Option<u16>,
    /// The SNI inside.
    pub(crate) sni: Option<Text>,
    /// Who asked.
    pub(crate) process: Process,
    /// The policy that judges.
    pub(crate) generation: Generation,
}

/// A request whose decision is not written yet. Dropped, it is refused with `limit`: we broke it off.
#[derive(Debug)]
pub(crate) struct Undecided {
    app: Arc<App>,
    facts: Option<Facts>,
}

/// An allowed request. Dropped, it is closed as abandoned, or as shut down.
#[derive(Debug)]
pub(crate) struct Recorder {
    app: Arc<App>,
    id: u64,
    started: Instant,
    outcome: Option<Outcome>,
    /// What it carried.
    pub(crate) meters: Meters,
}

impl Undecided {
    /// Begins with what is known.
    pub(crate) fn new(app: &Arc<App>, facts: Facts) -> Self {
        Self {
            app: Arc::clone(app),
            facts: Some(facts),
        }
    }

    /// What is known, to learn more.
    pub(crate) fn facts(&mut self) -> Option<&mut Facts> {
        self.facts.as_mut()
    }

    /// Writes the refusal.
    ///
    /// # Errors
    /// [`Unrecorded`]: the refusal is then one for `limit`.
    pub(crate) async fn denied(mut self, deny: &Deny) -> Result<(), Unrecorded> {
        match self.facts.take() {
            Some(facts) => {
                let event = refused(facts, deny);
                match self.app.flood.pass(event, self.app.live.phase()) {
                    Some(event) => self.app.sink.decision(event).await.map(drop),
                    None => Ok(()),
                }
            }
            None => Ok(()),
        }
    }

    /// Writes that the request is allowed. Only then may something be dialled.
    ///
    /// # Errors
    /// [`Unrecorded`]: the request must be refused.
    pub(crate) async fn decided(mut self, pinned: &PinnedPermit) -> Result<Recorder, Unrecorded> {
        let mut facts = self.facts.take().ok_or(Unrecorded)?;
        // The policy that judged, also where another one came into force since the request began.
        facts.generation = pinned.permit().generation();
        let allowed = RequestEvent {
            decision: Decision::Allow,
            rule: pinned.permit().rule().cloned(),
            address: pinned.addresses().first().map(std::net::SocketAddr::ip),
            dropped: pinned.dropped().to_vec(),
            ..undecided(facts)
        };
        let id = self.app.sink.decision(allowed).await?;
        let app = Arc::clone(&self.app);
        let meters = Meters::default();
        Ok(Recorder {
            app,
            id,
            started: Instant::now(),
            outcome: None,
            meters,
        })
    }
}

impl Drop for Undecided {
    fn drop(&mut self) {
        if let Some(facts) = self.facts.take() {
            // What could not be written is counted by the sink.
            let event = refused(facts, &Deny::new(Reason::Limit));
            drop(self.app.sink.decision_now(event));
        }
    }
}

impl Recorder {
    /// Ends it.
    pub(crate) fn finish(mut self, outcome: Outcome) {
        self.outcome = Some(outcome);
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let lost = || match self.app.live.phase() {
            Phase::Ending => Outcome::Shutdown,
            Phase::Running | Phase::Draining => Outcome::Abandoned,
        };
        let (bytes_up, bytes_down) = self.meters.read();
        let duration = self.started.elapsed().as_millis();
        self.app.sink.owe(Event::Close(CloseEvent {
            id: self.id,
            outcome: self.outcome.unwrap_or_else(lost),
            bytes_up,
            bytes_down,
            duration_ms: u64::try_from(duration).unwrap_or(u64::MAX),
        }));
    }
}

fn refused(facts: Facts, deny: &Deny) -> RequestEvent {
    RequestEvent {
        reason: Some(deny.reason),
        rule: deny.rule.clone(),
        dropped: deny.dropped.clone(),
        ..undecided(facts)
    }
}

/// A refusal without a reason, which a verdict is put into.
fn undecided(facts: Facts) -> RequestEvent {
    RequestEvent {
        id: 0, // the sink's to give
        decision: Decision::Deny,
        reason: None,
        rule: None,
        via: facts.via,
        method: facts.method,
        host: facts.host,
        port: facts.port,
        sni: facts.sni,
        address: None,
        generation: facts.generation,
        process: facts.process,
        dropped: Vec::new(),
        count: 1,
    }
}

/// A host as the record shows it.
pub(crate) fn shown(host: &Host) -> Text {
    match host {
        Host::Name(name) => Text::new(name.as_str()),
        Host::Address(address) => Text::new(&address.to_string()),
    }
}
