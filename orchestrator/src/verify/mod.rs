//! `ocs verify`: brings up a sandbox with the project's own policy, attacks it from inside, and says clause by clause what
//! held. One hole, or one attempt that could not be made, ends it with 70.
//!
//! Nothing of it can do harm where the fence is broken: what is asked for has names of `.invalid` (RFC 2606) and addresses
//! of documentation (RFC 5737, RFC 3849) or loopback; nothing is written, only opened for writing.
//! Not responsible for the attacks themselves (`inside`, `wire`, `boxed`), nor for the bring-up's own proof (`bringup`).
//! Clauses: U1, R1, R3, R4, R5, R6.
mod boxed;
mod catalogue;
mod finding;
mod inside;
mod report;
mod settled;
mod wire;

use std::ffi::OsString;
use std::io::Read;
use std::os::fd::OwnedFd;

use nix::fcntl::OFlag;
use policies::{Destination, Mode, Policy, Request, Verdict, Via};

use crate::cli::{BoxVerifyArgs, Engine, ProveArgs};
use crate::console::Console;
use crate::engine::native::view::OURSELVES;
use crate::exit::{Exit, Failure};
use crate::launch::{self, Access, Order, Show, Stream, Streams};
use crate::project::Project;
use crate::world::World;

use finding::{Finding, Outcome};

/// Runs `ocs verify`.
///
/// # Errors
/// Something is missing or wrong before anything could be tried, or the fence did not come up.
pub(crate) fn run(
    args: &ProveArgs,
    world: &World,
    console: &mut Console<'_>,
) -> Result<Exit, Failure> {
    let project = Project::find(args.sandbox.config.as_deref(), world)?;
    let config = launch::config(&project, console)?;
    let (answers, said) = nix::unistd::pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)
        .map_err(|error| Failure::new(Exit::No, "make a pipe").because(error))?;
    let home = world.home.clone().unwrap_or_default();
    let mut command: Vec<OsString> = [OURSELVES, "box-verify", "--home"]
        .map(OsString::from)
        .into();
    command.extend([home.into(), "--state".into(), project.state().path().into()]);
    let engine = launch::chosen(args.sandbox.fence.engine, &project, world);
    // The attacker is our own program, which a box of the engine native shows by itself.
    let ourselves = Show {
        from: world.exe.clone(),
        at: OURSELVES.into(),
        access: Access::ReadOnly,
    };
    let shows = match engine {
        Engine::Auto | Engine::Native => Vec::new(),
        Engine::Docker | Engine::Podman => vec![ourselves],
    };
    let order = Order {
        engine,
        mode: args.sandbox.fence.mode.map(Into::into),
        shows,
        streams: Streams {
            stdin: Stream::Nothing,
            stdout: Stream::Given(said),
            stderr: Stream::Ours,
        },
        unattended: true,
        ..Order::of(command)
    };
    if order.mode.unwrap_or(config.mode()) == Mode::Observe {
        return Err(Failure::usage(
            "network-mode `observe` lets every public destination pass: there is no fence to verify",
        )
        .next("ocs verify --mode filtered"));
    }
    let prepared = launch::prepare(order, &project, &config, world, console)?;
    refuses_invalid(&prepared.facts().policy)?;
    let ended = prepared.bring_up(console)?.attend(None);
    ended.tell(console);
    if let Some(failure) = ended.failure {
        return Err(failure);
    }
    let mut findings = vec![Finding {
        clause: "U1",
        what: "the rules were read back, and bring-up's own attempts refused".into(),
        outcome: Outcome::Held("the agent would not have started otherwise".to_owned()),
    }];
    findings.extend(finding::received(&read(answers)?, ended.exit));
    findings.extend(settled::findings(&ended.facts));
    findings.sort_by_key(|finding| catalogue::place(finding.clause));
    report::show(args.json, &ended.facts, &findings, console)
}

/// `ocs box-verify`: the attacks, from inside.
///
/// # Errors
/// stdout cannot be written to.
pub(crate) fn attack(args: &BoxVerifyArgs, console: &mut Console<'_>) -> Result<Exit, Failure> {
    for finding in inside::findings(args) {
        console.document(&finding.told())?;
    }
    Ok(Exit::Ok)
}

/// A policy that lists the names of nobody that are asked for would make every one of them pass.
fn refuses_invalid(policy: &Policy) -> Result<(), Failure> {
    let name = format!("verify.{}", catalogue::NOBODY);
    let refused = Destination::parse_authority(&format!("{name}:443"), None).is_ok_and(|asked| {
        let request = Request {
            destination: asked,
            via: Via::Connect,
        };
        matches!(policy.decide(&request), Verdict::Deny(_))
    });
    if refused {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "the policy allows `{name}`, a name of nobody that ocs verify must see refused"
    ))
    .next("remove the entry that covers .invalid"))
}

fn read(answers: OwnedFd) -> Result<String, Failure> {
    let mut text = String::new();
    match std::fs::File::from(answers).read_to_string(&mut text) {
        Ok(_) => Ok(text),
        // Somebody of the box still holds the other end; what was said is there.
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(text),
        Err(error) => {
            Err(Failure::new(Exit::Fence, "read what the attacks came to").because(error))
        }
    }
}

#[cfg(test)]
mod tests;
