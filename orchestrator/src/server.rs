//! The agent's server behind the fence, one per sandbox: `ocs start`, `stop`, `status`, `list`, `logs`, and what opens it.
//!
//! `start` settles who may go on and who runs already; `supervise` is the process that stays with the server to its end;
//! `lease` says which process that is. Not responsible for how a sandbox comes up (`launch`) or for the tool (`tools`).
//! Clauses: U1, U2, U3, B6.
mod health;
mod lease;
mod log;
mod logs;
mod open;
mod overview;
mod password;
mod port;
mod start;
mod status;
mod stop;
mod supervise;

use policies::Tool;

use crate::console::Console;
use crate::exit::{Exit, Failure};
use crate::project::Project;
use crate::task::Api;
use crate::tools::Profile;
use crate::world::World;

pub(crate) use lease::{Facts, Standing, look};
pub(crate) use logs::logs;
pub(crate) use open::{terminal, web, web_auth};
pub(crate) use start::start;
pub(crate) use status::{list, status};
pub(crate) use stop::stop;

/// The project, and the line that the old commands began with (COMPATIBILITY 4.7).
///
/// # Errors
/// There is no project here.
pub(crate) fn project(world: &World, console: &mut Console<'_>) -> Result<Project, Failure> {
    let project = Project::find(None, world)?;
    console.note(format_args!(
        ">> using sandbox directory: {}",
        project.state().path().display()
    ));
    Ok(project)
}

/// The server that a task is given to, and the way to speak with it.
///
/// # Errors
/// None runs, or what runs does not speak as OpenCode does.
pub(crate) fn to_attach(project: &Project) -> Result<(Facts, Api), Failure> {
    let facts = running(project).map_err(|failure| failure.next("ocs conductor --detach"))?;
    let profile = Profile::of(&Tool::OpenCode, None);
    let Some(server) = profile.server.filter(|_| facts.tool == profile.name) else {
        let message = format!(
            "tasks attach to servers of OpenCode, and this is {}",
            facts.tool
        );
        return Err(Failure::usage(message).next("ocs task without --attach"));
    };
    let password = password::Password::read(project.state())?;
    let api = Api::new(facts.port, password.authorization(server.user));
    Ok((facts, api))
}

/// The server of the project that runs.
///
/// # Errors
/// There is none, or it does not answer yet.
fn running(project: &Project) -> Result<Facts, Failure> {
    match look(&project.state().run()) {
        Standing::Held(Some(facts)) if facts.phase == lease::Phase::Running => Ok(*facts),
        Standing::Held(_) => Err(
            Failure::new(Exit::No, "the agent's server is still starting")
                .next("ocs status, or ocs logs -f"),
        ),
        Standing::Absent => {
            Err(Failure::new(Exit::No, "the agent's server does not run").next("ocs start"))
        }
    }
}
