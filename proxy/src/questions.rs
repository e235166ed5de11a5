//! Asks a person about a refused destination while the request waits; off unless the starter turned it on.
//!
//! One question per destination, however many requests want it; questions, requests that wait and answers that are
//! remembered are bounded, and past a bound a request is refused as if nobody were asked. What an answer opens is the
//! judge's affair (`policies/src/granted.rs`). Not here: how a person is reached (`admin.rs`, `ocs approve`).
//! Clauses: P10, W8, R1

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use policies::audit::{Approver, Event, PolicyEvent, Process, QuestionEvent, Reply, Text};
use policies::{
    Deny, Destination, GRANTED_BY, Generation, Granted, Permit, Policy, Request, Verdict, Via,
};
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::app::App;
use crate::live::Phase;
use crate::recorder::shown;
use crate::respond::Refusal;
use crate::sink::Unrecorded;

/// Questions that are open at once: a person reads them one by one.
pub(crate) const MOST_OPEN: usize = 16;
/// Requests that wait at once, over all questions.
pub(crate) const MOST_WAITING: usize = 64;
/// Destinations that are remembered in one run: open, unanswered and denied ones together.
pub(crate) const MOST_KEPT: usize = 256;

/// What is asked, and what was answered.
#[derive(Debug)]
pub struct Questions {
    /// How long a request waits; none: nobody is asked.
    patience: Option<Duration>,
    desk: Mutex<Desk>,
}

#[derive(Debug, Default)]
struct Desk {
    last: u32,
    kept: BTreeMap<u32, Question>,
    places: HashMap<Destination, u32>,
    waiting: usize,
    /// For the whole run.
    granted: Vec<Granted>,
    unasked: u64,
}

#[derive(Debug)]
struct Question {
    granted: Granted,
    via: Via,
    process: Process,
    asked: Instant,
    /// Requests that wait now, and that ever did.
    waiting: usize,
    waited: u64,
    state: State,
    reply: watch::Sender<Option<Reply>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Requests wait for an answer.
    Open,
    /// The person is changing the config; requests wait until it is in force.
    Changing,
    /// Nobody answered in time.
    Unanswered,
    Denied,
}

/// Why an answer changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unheard {
    /// There is no such question (any longer).
    Unknown,
    /// `once`, and nobody waits.
    Late,
    /// The record could not take it.
    Unrecorded,
}

/// What whoever answers is shown.
#[derive(Debug, Serialize)]
pub(crate) struct Listing {
    v: u32,
    /// False: refused destinations are not asked about.
    asking: bool,
    /// Requests that were refused without a question, because a bound was reached.
    unasked: u64,
    questions: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Row {
    question: u32,
    host: Text,
    port: u16,
    via: &'static str,
    process: Process,
    waiting: usize,
    /// Until those that wait are refused; null where none does.
    left_ms: Option<u64>,
    /// `open`, `changing`, `unanswered` or `denied`.
    state: &'static str,
}

/// How many questions stand open, for `/status`.
#[derive(Debug, Serialize)]
pub(crate) struct Counts {
    asking: bool,
    pub(crate) open: usize,
    unanswered: usize,
    unasked: u64,
}

impl Questions {
    /// Questions that requests wait for so long; with none nobody is asked anything.
    #[must_use]
    pub fn new(patience: Option<Duration>) -> Self {
        Self {
            patience,
            desk: Mutex::default(),
        }
    }

    /// What a person granted for this run.
    pub(crate) fn granted(&self) -> Vec<Granted> {
        self.desk().granted.clone()
    }

    pub(crate) fn counts(&self) -> Counts {
        let desk = self.desk();
        Counts {
            asking: self.patience.is_some(),
            open: desk.in_state(State::Open),
            unanswered: desk.in_state(State::Unanswered),
            unasked: desk.unasked,
        }
    }

    pub(crate) fn listing(&self, policy: &Policy) -> Listing {
        let mut desk = self.desk();
        desk.settle(policy);
        let row = |(number, question): (&u32, &Question)| {
            let Destination { host, port } = question.granted.destination();
            let until = self.patience.map(|patience| question.asked + patience);
            let left = until
                .filter(|_| question.waiting > 0)
                .map(|until| until.saturating_duration_since(Instant::now()).as_millis());
            Row {
                question: *number,
                host: shown(host),
                port: port.get(),
                via: question.via.code(),
                process: question.process.clone(),
                waiting: question.waiting,
                left_ms: left.map(|left| u64::try_from(left).unwrap_or(u64::MAX)),
                state: match question.state {
                    State::Open => "open",
                    State::Changing => "changing",
                    State::Unanswered => "unanswered",
                    State::Denied => "denied",
                },
            }
        };
        Listing {
            v: 1,
            asking: self.patience.is_some(),
            unasked: desk.unasked,
            questions: desk.kept.iter().map(row).collect(),
        }
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Joins the question about a destination, or opens it.
    fn join(
        &self,
        policy: &Policy,
        request: &Request,
        process: &Process,
        deny: &Deny,
    ) -> Option<(u32, Granted, watch::Receiver<Option<Reply>>, Instant)> {
        let patience = self.patience?;
        let mut desk = self.desk();
        let number = match desk.places.get(&request.destination) {
            // Another way to the same place may be one that no answer opens.
            Some(number) => policy.question(request, deny, *number).map(|_| *number)?,
            None => desk.open(policy, request, process, deny)?,
        };
        let is_full = desk.waiting >= MOST_WAITING;
        let question = desk.kept.get_mut(&number)?;
        if !matches!(question.state, State::Open | State::Changing) {
            return None;
        }
        if is_full {
            desk.unasked += 1;
            return None;
        }
        question.waiting += 1;
        question.waited += 1;
        let joined = (
            number,
            question.granted.clone(),
            question.reply.subscribe(),
            question.asked + patience,
        );
        desk.waiting += 1;
        Some(joined)
    }
}

impl Desk {
    fn in_state(&self, state: State) -> usize {
        self.kept.values().filter(|it| it.state == state).count()
    }

    fn open(
        &mut self,
        policy: &Policy,
        request: &Request,
        process: &Process,
        deny: &Deny,
    ) -> Option<u32> {
        let number = self.last.checked_add(1)?;
        let granted = policy.question(request, deny, number)?;
        let is_full = self.kept.len() >= MOST_KEPT
            || self.in_state(State::Open) >= MOST_OPEN
            || self.waiting >= MOST_WAITING;
        if is_full {
            self.unasked += 1;
            return None;
        }
        self.last = number;
        self.places.insert(request.destination.clone(), number);
        let question = Question {
            granted,
            via: request.via,
            process: process.clone(),
            asked: Instant::now(),
            waiting: 0,
            waited: 0,
            state: State::Open,
            reply: watch::Sender::new(None),
        };
        self.kept.insert(number, question);
        Some(number)
    }

    /// Forgets what a policy that came meanwhile has answered.
    fn settle(&mut self, policy: &Policy) {
        let idle = self
            .kept
            .iter()
            .filter(|(_, question)| question.waiting == 0);
        let settled: Vec<u32> = idle
            .filter(|(_, question)| matches!(policy.decide(&question.request()), Verdict::Allow(_)))
            .map(|(number, _)| *number)
            .collect();
        for number in settled {
            self.forget(number);
        }
    }

    fn forget(&mut self, number: u32) -> Option<Question> {
        let question = self.kept.remove(&number)?;
        self.places.remove(question.granted.destination());
        Some(question)
    }
}

impl Question {
    /// The request that opened it.
    fn request(&self) -> Request {
        Request {
            destination: self.granted.destination().clone(),
            via: self.via,
        }
    }

    fn event(&self, number: u32, answer: Option<(Reply, Approver)>) -> Event {
        let Destination { host, port } = self.granted.destination();
        let (answer, by) = answer.unzip();
        Event::Question(QuestionEvent {
            question: number,
            host: shown(host),
            port: port.get(),
            answer,
            by,
            waiting: self.waited,
            duration_ms: u64::try_from(self.asked.elapsed().as_millis()).unwrap_or(u64::MAX),
            process: self.process.clone(),
        })
    }
}

/// Waits for what a person says to a refusal, where one may be asked; the permit that this gives, or the refusal.
pub(crate) async fn ask(
    app: &Arc<App>,
    policy: &Policy,
    request: &Request,
    process: &Process,
    deny: Deny,
) -> Result<Permit, Refusal> {
    let Some((number, granted, mut reply, until)) =
        app.questions.join(policy, request, process, &deny)
    else {
        return Err(Refusal::Denied(deny));
    };
    let _waiting = Waiting {
        app: Arc::clone(app),
        number,
    };
    loop {
        tokio::select! {
            biased;
            permit = app.live.allows(request) => return Ok(permit),
            changed = reply.changed() => {
                let reply = *reply.borrow_and_update();
                match (changed, reply) {
                    (Ok(()), Some(Reply::Once)) => return match app.live.policy().decide_granted(request, &granted) {
                        Verdict::Allow(permit) => Ok(permit),
                        Verdict::Deny(deny) => Err(Refusal::Denied(deny)),
                    },
                    // The policy that says so comes next.
                    (Ok(()), Some(Reply::Always | Reply::Run)) => {}
                    (Ok(()), Some(Reply::Deny) | None) | (Err(_), _) => return Err(Refusal::Denied(deny)),
                }
            }
            () = sleep_until(until) => return Err(Refusal::Denied(deny)),
            () = app.live.reached(Phase::Draining) => return Err(Refusal::Denied(deny)),
        }
    }
}

/// Takes an answer: records it, and lets it count.
pub(crate) fn answer(app: &App, number: u32, reply: Reply, by: Approver) -> Result<(), Unheard> {
    let mut desk = app.questions.desk();
    let question = desk.kept.get_mut(&number).ok_or(Unheard::Unknown)?;
    if reply == Reply::Once && question.state != State::Open {
        return Err(Unheard::Late);
    }
    let unrecorded = |_: Unrecorded| Unheard::Unrecorded;
    app.sink
        .record(&question.event(number, Some((reply, by))))
        .map_err(unrecorded)?;
    match reply {
        Reply::Always => {
            if question.state == State::Open {
                question.state = State::Changing;
            }
            question.reply.send_replace(Some(reply));
        }
        Reply::Deny => {
            question.state = State::Denied;
            question.reply.send_replace(Some(reply));
        }
        Reply::Once => {
            if let Some(question) = desk.forget(number) {
                question.reply.send_replace(Some(reply));
            }
        }
        Reply::Run => {
            let granted = question.granted.clone();
            let policy = app.live.policy();
            let generation = Generation(policy.generation().0 + 1);
            let policy = (*policy)
                .clone()
                .granting([granted.clone()])
                .at_generation(generation);
            app.sink
                .record(&Event::Policy(PolicyEvent {
                    hash: Text::new(policy.hash()),
                    generation,
                    source: Text::new(GRANTED_BY),
                    mode: policy.mode(),
                }))
                .map_err(unrecorded)?;
            desk.granted.push(granted);
            app.live.publish(policy);
            desk.forget(number);
        }
    }
    Ok(())
}

/// One request that waits; dropped, it does so no longer, and the last one ends the question.
struct Waiting {
    app: Arc<App>,
    number: u32,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut desk = self.app.questions.desk();
        desk.waiting = desk.waiting.saturating_sub(1);
        let Some(question) = desk.kept.get_mut(&self.number) else {
            return;
        };
        question.waiting = question.waiting.saturating_sub(1);
        if question.waiting > 0 || question.state == State::Denied {
            return;
        }
        if question.state == State::Open {
            let event = question.event(self.number, None);
            self.app.sink.owe(event);
        }
        question.state = State::Unanswered;
        desk.settle(&self.app.live.policy());
    }
}

#[cfg(test)]
mod tests;
