//! The agent's container while it goes on: how the agent ended and is signalled, and which names of the project end it.
//!
//! Not here: when any of that is asked (`engine/attend.rs`).
//! Clauses: B2, B7.
use std::path::PathBuf;

use nix::sys::signal::Signal;

use crate::engine::Ending;
use crate::engine::attend::Boxed;
use crate::engine::client::Client;
use crate::engine::members::Members;
use crate::launch::Marked;

/// The container.
pub(super) struct InContainer<'a> {
    pub(super) members: &'a mut Members,
    pub(super) client: &'a Client,
    /// Its name.
    pub(super) agent: &'a str,
}

impl Boxed for InContainer<'_> {
    fn members(&mut self) -> &mut Members {
        self.members
    }

    /// The container is asked, since a client can be killed by itself.
    fn ended(&mut self, _code: u8) -> Ending {
        let format = "{{.State.Running}} {{.State.ExitCode}}";
        let said = self
            .client
            .call(["inspect", "--format", format, self.agent]);
        let said = said.map(|said| String::from_utf8_lossy(&said).trim().to_owned());
        let lost = |part: String| Ending::Fence { part };
        match said {
            Ok(said) => match said.split_once(' ') {
                Some(("false", code)) => match code.parse::<u8>() {
                    Ok(code) => Ending::Agent(code),
                    Err(_) => lost(format!("the agent's container ended with {code:?}")),
                },
                _ => lost(format!(
                    "the client of {} let go of the agent",
                    self.client.kind.name()
                )),
            },
            Err(refused) => lost(format!("{}: {}", refused.call, refused.said)),
        }
    }

    fn pass_on(&mut self, signal: Signal) {
        if signal == Signal::SIGWINCH {
            // The client's: it tells the container how large the terminal is now.
            if let Some(agent) = &self.members.agent {
                agent.signal(signal);
            }
            return;
        }
        drop(
            self.client
                .call(["kill", "--signal", signal.as_str(), self.agent]),
        );
    }

    /// A mount in a running container cannot be renewed. The config alone needs none: what is taken over of one that was
    /// replaced is what a person approved, byte for byte, whoever wrote it (`policy_copy`).
    fn cover_again(&mut self, marked: &mut Marked, uncovered: &[PathBuf]) -> Option<String> {
        let config = marked.policy.source();
        let is_config = |path: &PathBuf| marked.covers.project.join(path) == config;
        if !uncovered.is_empty() && uncovered.iter().all(is_config) {
            return None;
        }
        let lost = uncovered.iter().find(|path| !is_config(path));
        let lost = lost.map_or("a control file".to_owned(), |path| {
            path.display().to_string()
        });
        Some(format!(
            "{lost} was replaced on the host, and no mount in a running container can be renewed (edits in place are taken over)"
        ))
    }
}
