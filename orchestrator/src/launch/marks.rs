//! Marks a run before anything of it is made: its directory, the placeholders in the project, the corner that covers are
//! bound from, the copy of the policy, and the proxy's arguments, which name all of these.
//! Clauses: B2, U3, R5.
use std::ffi::{OsStr, OsString};
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::{Order, Publish};
use crate::engine::cover::{Covers, How, Survey};
use crate::exit::{Exit, Failure};
use crate::policy_copy::PolicyCopy;
use crate::project::Project;
use crate::state::{self, Run};
use crate::world::World;

/// A run that is marked.
#[derive(Debug)]
pub(crate) struct Marked {
    /// Its place on the disk.
    pub(crate) run: Run,
    /// What to protect in the project.
    pub(crate) covers: Covers,
    /// The policy that the proxy reads.
    pub(crate) policy: PolicyCopy,
    /// Names, seen from the project, that must not come to be.
    pub(crate) forbidden: Vec<PathBuf>,
}

impl Marked {
    /// Looks at the project, and marks the run before anything in it is made.
    ///
    /// # Errors
    /// A control file cannot be protected (exit 64), or the disk refused.
    pub(super) fn begin(project: &Project, world: &World) -> Result<Self, Failure> {
        let disk = |error: state::StateError| Failure::of(Exit::No, &error);
        let turn = state::turn(project.state()).map_err(disk)?;
        let others = state::placeholders(project.state(), &turn).map_err(disk)?;
        let Survey { covers, absent } = Survey::of(project.root(), &others)
            .map_err(|error| Failure::of(Exit::Usage, &error))?;
        let absent = absent.into_iter().map(|absent| (absent.path, absent.kind));
        let forbidden = forbidden(project.root());
        let run = Run::begin(
            project.state(),
            project.root(),
            world.now,
            absent,
            forbidden.clone(),
            turn,
        )
        .map_err(disk)?;
        let corner = private_directory(run.directory(), "corner")?;
        let failed = |error: io::Error| {
            Failure::new(Exit::No, format!("write to {}", corner.display())).because(error)
        };
        std::fs::write(corner.join("file"), "").map_err(failed)?;
        private_directory(&corner, "directory")?;
        for (number, cover) in covers.iter().enumerate() {
            if let How::Show(text) = &cover.how {
                std::fs::write(corner.join(number.to_string()), text).map_err(failed)?;
            }
        }
        let covers = Covers {
            project: project.root().to_owned(),
            corner,
            list: covers,
        };
        let text = &project.config_file().text;
        private_directory(run.directory(), state::ADMIN)?;
        let copies = private_directory(run.directory(), "policy")?;
        let source = &project.config_file().path;
        let policy = PolicyCopy::make(source, project.root(), project.state(), &copies, text)
            .map_err(|error| Failure::new(Exit::No, "copy the policy").because(error))?;
        Ok(Self {
            run,
            covers,
            policy,
            forbidden,
        })
    }

    /// How long the record is, in bytes.
    pub(crate) fn record_bytes(&self) -> u64 {
        let record = self.run.record().metadata();
        record.map_or(0, |record| record.len())
    }

    /// What the proxy of this run is called with.
    pub(super) fn proxy_arguments(
        &self,
        project: &Project,
        engine: &str,
        order: &Order,
    ) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = vec!["--sandboxed".into()];
        let mut add = |name: &str, value: &OsStr| arguments.extend([name.into(), value.to_owned()]);
        add("--policy", self.policy.path().as_os_str());
        add("--audit", self.run.record().as_os_str());
        add("--sandbox", project.id().as_str().as_ref());
        add("--run", self.run.id().as_str().as_ref());
        add("--engine", engine.as_ref());
        if let Some(mode) = order.mode {
            add("--mode", mode.code().as_ref());
        }
        add("--admin", self.run.admin().as_os_str());
        if let Some(seconds) = order.ask {
            add("--ask", seconds.to_string().as_ref());
        }
        for Publish { host, inside } in &order.publish {
            add("--publish", format!("{host}:{inside}").as_ref());
        }
        arguments
    }
}

/// With this file git takes its config, and with it its hooks, from where the file says; an empty one breaks git.
const COMMON: &str = ".git/commondir";
/// With this file a directory can be a repository by itself, whose `config` git reads where `.git` is none (any longer).
const BARE: &str = "HEAD";

fn forbidden(root: &Path) -> Vec<PathBuf> {
    let is_repository = root
        .join(".git")
        .symlink_metadata()
        .is_ok_and(|found| found.is_dir());
    let mut forbidden = vec![PathBuf::from(BARE)];
    if is_repository {
        forbidden.push(PathBuf::from(COMMON));
    }
    // One that is there is the person's own.
    forbidden.retain(|path| root.join(path).symlink_metadata().is_err());
    forbidden
}

fn private_directory(parent: &Path, name: &str) -> Result<PathBuf, Failure> {
    let path = parent.join(name);
    DirBuilder::new()
        .mode(0o700)
        .create(&path)
        .map_err(|error| {
            Failure::new(Exit::No, format!("make {}", path.display())).because(error)
        })?;
    Ok(path)
}
