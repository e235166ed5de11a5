//! What a sandbox of every engine consists of while it goes on: the fence's two parts, the agent, its terminal, our signals.
//!
//! Not here: how they are started and ended (the engines), and what their ends mean (`attend`).
//! Clauses: U1, U2.
use std::time::Duration;

use nix::sys::wait::{WaitPidFlag, WaitStatus};
use serde::Deserialize;

use super::part::Part;
use super::signals::Signals;
use super::terminal::Terminal;
use crate::engine::EngineError;

/// What was begun of them.
#[derive(Debug, Default)]
pub(crate) struct Members {
    pub(in crate::engine) signals: Option<Signals>,
    pub(in crate::engine) netctl: Option<Part>,
    pub(in crate::engine) proxy: Option<Part>,
    /// The process that becomes the box, or the client that the agent's streams go through.
    pub(in crate::engine) agent: Option<Part>,
    pub(in crate::engine) terminal: Option<Terminal>,
}

/// What netctl and the proxy say first (docs/architecture.md, "How listeners cross").
#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
enum Said {
    Failed {
        error: String,
        #[serde(default)]
        differences: Vec<String>,
    },
    Ready {
        pid: u32,
        #[serde(default)]
        ipv6: bool,
    },
}

/// A part that is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) struct Ready {
    /// Its number, as it sees itself.
    pub(in crate::engine) pid: u32,
    /// Whether its namespace speaks IPv6; netctl alone says so.
    pub(in crate::engine) ipv6: bool,
}

/// Waits for a part to say that it is ready.
///
/// # Errors
/// It says otherwise, or nothing in time; or somebody wants us to end.
pub(in crate::engine) fn ready(
    part: &mut Option<Part>,
    signals: Option<&Signals>,
    limit: Duration,
) -> Result<Ready, EngineError> {
    let (Some(part), Some(signals)) = (part, signals) else {
        return Err(EngineError::not_started());
    };
    let Some(line) = part.line(limit, signals)? else {
        return Err(part.gone());
    };
    match serde_json::from_str(&line) {
        Ok(Said::Ready { pid, ipv6 }) => Ok(Ready { pid, ipv6 }),
        Ok(Said::Failed { error, differences }) => Err(part.refused(&error, &differences)),
        Err(_) => Err(EngineError::fence(format!("{} said {line:?}", part.name()))),
    }
}

impl Members {
    /// Our signals, and the agent's process.
    ///
    /// # Errors
    /// There are none yet.
    pub(in crate::engine) fn agent(&self) -> Result<(&Signals, &Part), EngineError> {
        match (&self.signals, &self.agent) {
            (Some(signals), Some(agent)) => Ok((signals, agent)),
            (_, _) => Err(EngineError::not_started()),
        }
    }

    /// Which part of the fence ended, and how, if one did. One that ended in order did so because the other was gone: then it
    /// is the other that is named.
    pub(in crate::engine) fn fallen(&mut self) -> Option<String> {
        let mut parts = [&mut self.proxy, &mut self.netctl];
        let ended = parts.iter_mut().enumerate().find_map(|(nth, part)| {
            let status = part.as_mut()?.change(WaitPidFlag::empty())?;
            Some((nth, status))
        });
        let (nth, status) = ended?;
        let followed = matches!(status, WaitStatus::Exited(_, 0));
        let mut cause = None;
        for (other, part) in parts.iter_mut().enumerate() {
            if let (Some(part), true) = (part.as_mut(), followed && other != nth) {
                cause = part.wait().map(|status| part.epitaph(status));
            }
        }
        cause.or_else(|| {
            let part = parts.get_mut(nth)?.as_mut()?;
            Some(part.epitaph(status))
        })
    }
}
