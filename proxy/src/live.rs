//! What is in force now: the policy and the phase of life; and what cuts an open connection short.
//!
//! Not here: loading a policy (`policy_store.rs`).
//! Clauses: W9

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use policies::audit::Outcome;
use policies::{Carries, Permit, PinnedPermit, Policy, Request, Verdict};
use tokio::sync::watch;

/// The policy in force and the phase of life, as a value that can be waited on.
#[derive(Debug)]
pub struct Live {
    now: watch::Sender<Now>,
    /// What is wrong with the file of the policy, if it changed and is not in force.
    fault: Mutex<Option<String>>,
}

#[derive(Clone, Debug)]
struct Now {
    policy: Arc<Policy>,
    phase: Phase,
}

/// The phases of life, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Requests are served.
    Running,
    /// Nothing new is served; what is open may end by itself.
    Draining,
    /// What is open is cut.
    Ending,
}

/// An allowed connection that is open, as far as a later policy has to judge it.
#[derive(Clone, Debug)]
pub(crate) struct Open {
    /// The proof that it was opened on.
    pub(crate) pinned: PinnedPermit,
    /// Where it leads.
    pub(crate) address: SocketAddr,
    /// The SNI inside, where there is one.
    pub(crate) sni: Option<String>,
}

/// Why an open connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// The policy in force refuses it.
    Revoked,
    /// The proxy ends.
    Shutdown,
}

impl From<Cut> for Outcome {
    fn from(cut: Cut) -> Self {
        match cut {
            Cut::Revoked => Self::Revoked,
            Cut::Shutdown => Self::Shutdown,
        }
    }
}

impl Live {
    /// The first policy, running.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        let now = Now {
            policy: Arc::new(policy),
            phase: Phase::Running,
        };
        Self {
            now: watch::Sender::new(now),
            fault: Mutex::default(),
        }
    }

    /// What is wrong with the file of the policy, if it changed and is not in force.
    pub(crate) fn fault(&self) -> Option<String> {
        let fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        fault.clone()
    }

    /// Says what is wrong with it now.
    pub(crate) fn find_fault(&self, fault: Option<String>) {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }

    /// The policy in force.
    #[must_use]
    pub fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.now.borrow().policy)
    }

    /// The phase of life.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.now.borrow().phase
    }

    /// Puts a policy in force; every open connection judges itself by it.
    pub fn publish(&self, policy: Policy) {
        self.now.send_modify(|now| now.policy = Arc::new(policy));
    }

    /// Goes on to a later phase; never back.
    pub fn enter(&self, phase: Phase) {
        self.now.send_modify(|now| now.phase = now.phase.max(phase));
    }

    /// Waits until `phase`, or a later one, is there.
    pub async fn reached(&self, phase: Phase) {
        let mut now = self.now.subscribe();
        // The sender lives as long as `self`: waiting cannot fail.
        drop(now.wait_for(|now| now.phase >= phase).await);
    }

    /// Waits until the policy allows a request, and gives its permit.
    ///
    /// # Cancel safety
    /// Nothing is lost: each call begins with the state as it is.
    pub(crate) async fn allows(&self, request: &Request) -> Permit {
        let mut now = self.now.subscribe();
        loop {
            let verdict = now.borrow_and_update().policy.decide(request);
            if let Verdict::Allow(permit) = verdict {
                return permit;
            }
            drop(now.changed().await);
        }
    }

    /// Waits until an open connection has to be cut, and says why.
    ///
    /// # Cancel safety
    /// Nothing is lost: each call begins with the state as it is.
    pub(crate) async fn cut(&self, open: &Open) -> Cut {
        let mut now = self.now.subscribe();
        let mut judged = open.pinned.permit().generation();
        loop {
            {
                let now = now.borrow_and_update();
                if now.phase >= Phase::Ending {
                    return Cut::Shutdown;
                }
                if now.policy.generation() != judged && !open.still_allowed(&now.policy) {
                    return Cut::Revoked;
                }
                judged = now.policy.generation();
            }
            drop(now.changed().await);
        }
    }
}

impl Open {
    /// Judges as at the start: by name, by address, by what is inside.
    fn still_allowed(&self, policy: &Policy) -> bool {
        let before = self.pinned.permit();
        let permit = match policy.rejudge(before) {
            Verdict::Allow(permit) => permit,
            Verdict::Deny(_) => return false,
        };
        // What was opened as one thing is not judged as another: only `Raw` asks nothing of it.
        if permit.carries() != before.carries() && permit.carries() != Carries::Raw {
            return false;
        }
        if self.sni.is_some() && policy.confirm_sni(&permit, self.sni.as_deref()).is_err() {
            return false;
        }
        let pinned = policy.pin(permit, &[self.address.ip()]);
        pinned.is_ok_and(|pinned| pinned.addresses().contains(&self.address))
    }
}
