//! What an agent tool gets in the box besides its program, for a person, for its server, or for one task: its variables, its
//! sessions, the model servers and MCP servers of the project, our commands and skills, and who commits. Read-only, all but
//! the sessions. Starts nothing (`launch`).
//! Clauses: B1, O3, O5, O6, O10, P10.
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use policies::Config;

use crate::console::Console;
use crate::exit::Failure;
use crate::git_identity::{self, Identity};
use crate::image::kit;
use crate::launch::{Access, Show, in_home, warn};
use crate::mcp_servers::{self, Servers};
use crate::project::{Project, private_dir};
use crate::provider::{self, Permission};
use crate::tools::Profile;
use crate::whole_file::write_whole;
use crate::world::World;

/// Below the home in the box: what is ours.
const OURS: &str = ".ocs";

/// What is wanted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) profile: &'a Profile,
    pub(crate) permission: Permission,
    /// The tool's sessions on the host; none: they end with the box.
    pub(crate) state: Option<&'a Path>,
    /// Where files of ours for this box lie on the host.
    pub(crate) directory: &'a Path,
}

/// Variables, places, and words for the tool's command line, for an order.
#[derive(Debug, Default)]
pub(crate) struct Outfit {
    pub(crate) environment: Vec<(OsString, OsString)>,
    pub(crate) shows: Vec<Show>,
    pub(crate) words: Vec<String>,
}

impl Outfit {
    /// For one who stays: in the project's state, with the sessions that opencode-sandbox kept. Other tools' were never kept,
    /// and have no place.
    ///
    /// # Errors
    /// The state directory is not ours, or cannot be written to.
    pub(crate) fn lasting(
        profile: &Profile,
        permission: Permission,
        (project, config): (&Project, &Config),
        world: &World,
        console: &mut Console<'_>,
    ) -> Result<Self, Failure> {
        let state = project.state();
        state.create()?;
        let sessions = state.agent();
        let wanted = Wanted {
            profile,
            permission,
            state: Some(sessions.as_path()).filter(|_| profile.name == "opencode"),
            directory: &state.path().join("outfit"),
        };
        Self::of(wanted, (project, config), world, console)
    }

    /// Makes it.
    ///
    /// # Errors
    /// The disk refused.
    pub(crate) fn of(
        wanted: Wanted<'_>,
        (project, config): (&Project, &Config),
        world: &World,
        console: &mut Console<'_>,
    ) -> Result<Self, Failure> {
        let Wanted {
            profile,
            permission,
            state,
            directory,
        } = wanted;
        private_dir(directory)?;
        let mut outfit = Self::default();
        for (name, value) in profile.environment {
            outfit.environment.push((name.into(), value.into()));
        }
        if let Some((below, from)) = profile.state.zip(state) {
            private_dir(from)?;
            outfit.show(from.to_owned(), in_home(below), Access::ReadWrite);
        }
        let git = Identity::of(world).config();
        let shown = outfit.file(&directory.join("gitconfig"), git.as_bytes())?;
        outfit
            .environment
            .push((git_identity::VARIABLE.into(), shown.into()));
        let home = world.home.clone().unwrap_or_default();
        let (servers, wrong) = mcp_servers::read(project, config, &home);
        for wrong in wrong {
            warn(&wrong, console);
        }
        if let Some(variable) = profile.config {
            kit::write_skills(&directory.join("skills"))?;
            let skills = outfit.show(directory.join("skills"), ours("skills"), Access::ReadOnly);
            let text = provider::render(config, permission, &servers, &skills, world, console)?;
            let shown = outfit.file(&directory.join("opencode.json"), text.as_bytes())?;
            outfit.environment.push((variable.into(), shown.into()));
        } else if !servers.is_empty() {
            outfit.tell_of(&servers, profile, directory, console)?;
        }
        Ok(outfit)
    }

    /// MCP servers of a tool that takes them on its command line.
    fn tell_of(
        &mut self,
        servers: &Servers,
        profile: &Profile,
        directory: &Path,
        console: &mut Console<'_>,
    ) -> Result<(), Failure> {
        let Some(flag) = profile.mcp_servers else {
            let name = profile.name;
            warn(
                &format!("agent.mcp-config: {name} is not told of it; no way is known"),
                console,
            );
            return Ok(());
        };
        let text = mcp_servers::for_claude(servers).to_string();
        let shown = self.file(&directory.join("mcp.json"), text.as_bytes())?;
        self.words = vec![flag.to_owned(), shown.display().to_string()];
        Ok(())
    }

    /// A file of ours, written and shown; gives where it is in the box.
    fn file(&mut self, path: &Path, content: &[u8]) -> Result<PathBuf, Failure> {
        write_whole(path, content)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        Ok(self.show(path.to_owned(), ours(&name), Access::ReadOnly))
    }

    fn show(&mut self, from: PathBuf, at: PathBuf, access: Access) -> PathBuf {
        let from = from.canonicalize().unwrap_or(from);
        self.shows.push(Show {
            from,
            at: at.clone(),
            access,
        });
        at
    }
}

fn ours(name: &str) -> PathBuf {
    in_home(OURS).join(name)
}
