//! What is settled before any engine does anything: the programs of ours, what the policy refuses, dead runs, approval, and
//! what the hook gives. Starts nothing but the hook.
//! Clauses: B2, U3, P9.
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use policies::{Config, Destination, DnsName, NameVerdict, Policy, Request, Verdict, Via};

use super::{Order, warn};
use crate::approval::{self, Snapshot};
use crate::console::Console;
use crate::environment::{self, Inside, Skipped};
use crate::exit::{Exit, Failure};
use crate::hook;
use crate::probe::{TYPE_A, TYPE_TXT, Targets};
use crate::project::Project;
use crate::state;
use crate::world::{Terminal, World};

/// The programs of ours that a run consists of. They lie beside this one, and nowhere else; no variable changes that.
#[derive(Debug)]
pub(super) struct Programs {
    pub(super) ourselves: PathBuf,
    pub(super) netctl: PathBuf,
    pub(super) proxy: PathBuf,
}

impl Programs {
    /// Finds them.
    ///
    /// # Errors
    /// One is not there (exit 69).
    pub(super) fn find(world: &World) -> Result<Self, Failure> {
        let beside = |name: &str| {
            let path = world.exe.with_file_name(name);
            if path.is_file() {
                return Ok(path);
            }
            let missing = format!("{} is not there", path.display());
            Err(Failure::new(Exit::Missing, missing).next("ocs doctor"))
        };
        Ok(Self {
            netctl: beside("ocs-netctl")?,
            proxy: beside("ocs-proxy")?,
            ourselves: world.exe.clone(),
        })
    }
}

/// What every engine starts from.
#[derive(Debug)]
pub(super) struct Settled {
    /// What may go out.
    pub(super) policy: Policy,
    /// What it refuses, to be seen refused.
    pub(super) targets: Targets,
    /// The control files that a person approved.
    approved: Snapshot,
    /// Who can be asked.
    terminal: Terminal,
}

impl Settled {
    /// Settles it.
    ///
    /// # Errors
    /// The policy cannot be proven, the control files are not approved, or the disk refused.
    pub(super) fn of(
        order: &Order,
        (project, policy): (&Project, Policy),
        world: &World,
        console: &mut Console<'_>,
    ) -> Result<Self, Failure> {
        let targets = targets(&policy)?;
        sweep(project, console)?;
        let terminal = if order.unattended {
            Terminal {
                stdin: false,
                ..world.terminal
            }
        } else {
            world.terminal
        };
        let approved = approval::settle(project, terminal, world, console)?;
        Ok(Self {
            policy,
            targets,
            approved,
            terminal,
        })
    }

    /// The agent's variables, those of the hook and of the order included, and which of the config's have no value. `within`
    /// is what a box of the engine gives every agent.
    ///
    /// # Errors
    /// The hook failed: the start is off.
    pub(super) fn variables(
        &self,
        order: &mut Order,
        (project, config): (&Project, &Config),
        within: &Inside<'_>,
        world: &World,
    ) -> Result<(Variables, Vec<Skipped>), Failure> {
        let from_hook = self.hook(project, config)?;
        let (mut variables, skipped) = environment::variables(within, config, &from_hook, world);
        variables.retain(|(name, _)| order.environment.iter().all(|(ours, _)| ours != name));
        variables.append(&mut order.environment);
        environment::one_token(&mut variables)?;
        Ok((variables, skipped))
    }

    /// Runs the hook, if there is one, and gives what it set of the names that the config lists.
    fn hook(
        &self,
        project: &Project,
        config: &Config,
    ) -> Result<BTreeMap<String, OsString>, Failure> {
        let names = config
            .env_passthrough()
            .iter()
            .map(|passed| passed.host.as_str());
        let hook = self.approved.hook().filter(|hook| !hook.is_empty());
        hook::run(project.root(), hook, names, self.terminal)
    }
}

/// Names and values.
pub(super) type Variables = Vec<(OsString, OsString)>;

/// A name of nobody (RFC 2606 section 2).
const PROBE_NAME: &str = "ocs-probe.invalid";

/// What this very policy refuses, so that it can be seen to be refused.
fn targets(policy: &Policy) -> Result<Targets, Failure> {
    let none = || {
        Failure::new(
            Exit::Fence,
            "there is nothing that this policy refuses, so it cannot be proven",
        )
    };
    let refused = |authority: &str| {
        let destination = Destination::parse_authority(authority, None);
        destination.is_ok_and(|destination| {
            let request = Request {
                destination,
                via: Via::Connect,
            };
            matches!(policy.decide(&request), Verdict::Deny(_))
        })
    };
    let authorities = ["ocs-probe.invalid:443", "192.0.2.1:443", "127.0.0.1:443"];
    let authority = authorities
        .into_iter()
        .find(|authority| refused(authority))
        .ok_or_else(none)?;
    let name = DnsName::parse(PROBE_NAME).map_err(|_| none())?;
    let kind = match policy.allows_name(&name) {
        NameVerdict::Deny(_) => TYPE_A,
        // Where every name passes, this type still does not.
        NameVerdict::Allow(_) => TYPE_TXT,
    };
    Ok(Targets::in_the_box(
        (PROBE_NAME.to_owned(), kind),
        authority.to_owned(),
    ))
}

/// Removes what dead runs left, and says what was remarkable about it.
///
/// # Errors
/// The state directory cannot be used.
pub(crate) fn sweep(project: &Project, console: &mut Console<'_>) -> Result<(), Failure> {
    let swept = state::sweep(project.state()).map_err(|error| Failure::of(Exit::No, &error))?;
    for path in &swept.removed {
        warn(
            &format!(
                "{} was made by an agent whose run was killed, and is removed",
                path.display()
            ),
            console,
        );
    }
    for error in &swept.failed {
        warn(&Failure::of(Exit::No, error).to_string(), console);
    }
    Ok(())
}
