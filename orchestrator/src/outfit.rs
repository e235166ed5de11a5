//! What an agent tool gets that a person uses, in a terminal or by its server: its variables, its sessions as the sandbox
//! keeps them, and the model servers of the project. Starts nothing (`launch`).
//! Clauses: O3, O5, O10, P10.
use std::ffi::OsString;

use policies::Config;

use crate::console::Console;
use crate::exit::Failure;
use crate::launch::{Access, Show, in_home};
use crate::project::{Project, private_dir};
use crate::provider::{self, Permission};
use crate::tools::Profile;
use crate::whole_file::write_whole;
use crate::world::World;

/// Variables and places, for an order.
#[derive(Debug, Default)]
pub(crate) struct Given {
    pub(crate) environment: Vec<(OsString, OsString)>,
    pub(crate) shows: Vec<Show>,
}

/// What `profile` gets in this project.
///
/// # Errors
/// The state directory is not ours, or cannot be written to.
pub(crate) fn given(
    profile: &Profile,
    project: &Project,
    config: &Config,
    world: &World,
    console: &mut Console<'_>,
) -> Result<Given, Failure> {
    let mut given = Given::default();
    for (name, value) in profile.environment {
        given.environment.push((name.into(), value.into()));
    }
    let state = project.state();
    state.create()?;
    // Other tools' sessions were never kept by opencode-sandbox, and have no place.
    if let Some(place) = profile.state.filter(|_| profile.name == "opencode") {
        let from = state.agent();
        private_dir(&from)?;
        given.shows.push(Show {
            from: from.canonicalize().unwrap_or(from),
            at: in_home(place),
            access: Access::ReadWrite,
        });
    }
    // The project's own config goes over this one.
    if let Some(variable) = profile.config
        && !config.llm_endpoints().is_empty()
    {
        let text = provider::render(project, config, Permission::Attended, world, console)?;
        let file = state.path().join("opencode.json");
        write_whole(&file, text.as_bytes())?;
        let shown = provider::show(&file.canonicalize().unwrap_or(file));
        given
            .environment
            .push((variable.into(), shown.at.clone().into()));
        given.shows.push(shown);
    }
    Ok(given)
}
