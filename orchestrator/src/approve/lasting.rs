//! A destination that is allowed for good: one line in the config, approved in the same breath, and nothing else with it.
//!
//! Only where the control files are as they were approved: what somebody else changed is not approved along with it.
//! Clauses: P10, B2, P9.
use std::fs::OpenOptions;
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use policies::{Config, Destination, Mode, Request, Source, Surroundings, Verdict, Via};

use crate::approval::{Approval, Snapshot};
use crate::config_edit;
use crate::exit::{Exit, Failure};
use crate::project::Project;
use crate::world::World;

/// The section that holds it.
const KEY: &str = "http-domain-whitelist";

/// A change that can be made: what it was judged by is kept.
#[derive(Debug)]
pub(super) struct Change {
    project: Project,
    /// As `--config` had it.
    config: Option<PathBuf>,
    entry: String,
    text: String,
}

impl Change {
    /// Finds the new text of the config.
    ///
    /// # Errors
    /// The control files are not as approved, or no line of ours would allow the destination (exit 64).
    pub(super) fn prepare(
        config: Option<&Path>,
        host: &str,
        port: u16,
        world: &World,
    ) -> Result<Self, Failure> {
        let project = Project::find(config, world)?;
        if Snapshot::take(&project)?.compare(&project)? != Approval::Approved {
            return Err(Failure::usage(
                "the control files are not as they were approved, and an answer approves no other change",
            )
            .next("ocs policy diff, then ocs policy approve; or answer `run`"));
        }
        let entry = format!("{host}:{port}");
        let old = &project.config_file().text;
        let text = config_edit::add(old, KEY, std::slice::from_ref(&entry)).ok_or_else(|| {
            Failure::usage(format!("{KEY} has a shape that is not edited here"))
                .next(format!("add `- {entry}` by hand; or answer `run`"))
        })?;
        allows(&text, &entry)?;
        Ok(Self {
            project,
            config: config.map(Path::to_owned),
            entry,
            text,
        })
    }

    /// Writes it, in place, and approves exactly that; gives the line.
    ///
    /// # Errors
    /// A control file changed meanwhile (exit 64), or the disk refused.
    pub(super) fn make(self, world: &World) -> Result<String, Failure> {
        let Self {
            project,
            config,
            entry,
            text,
        } = self;
        let file = project.config_file();
        write(&file.path, &file.text, &text)?;
        let changed = Failure::usage("a control file changed meanwhile; nothing was approved")
            .next("ocs policy diff");
        let after = Project::find(config.as_deref(), world)?;
        let snapshot = Snapshot::take(&after)?;
        let only = match snapshot.compare(&after)? {
            Approval::Changed(changes) => changes,
            Approval::Approved | Approval::FirstUse => return Err(changed),
        };
        let [change] = only.as_slice() else {
            return Err(changed);
        };
        let content = change.after.as_ref().and_then(|side| side.content.as_ref());
        if content.is_none_or(|content| *content != text.as_bytes()) {
            return Err(changed);
        }
        snapshot.approve(&after, world.now.into())?;
        Ok(format!("{KEY}: - {entry}"))
    }
}

/// The new text is right, and allows the destination.
fn allows(text: &str, entry: &str) -> Result<(), Failure> {
    let refused = |why: String| Failure::usage(format!("`{entry}` cannot be allowed: {why}"));
    let source = Source {
        name: "the config",
        text,
    };
    let (config, _) = Config::parse(&source).map_err(|errors| refused(errors.to_string()))?;
    let destination =
        Destination::parse_authority(entry, None).map_err(|error| refused(error.to_string()))?;
    let none = Surroundings {
        host_addresses: Vec::new(),
        own_addresses: Vec::new(),
    };
    let policy = config.policy(Some(Mode::Filtered), none);
    let request = Request {
        destination,
        via: Via::Connect,
    };
    match policy.decide(&request) {
        Verdict::Allow(_) => Ok(()),
        Verdict::Deny(deny) => Err(refused(deny.reason.code().to_owned())),
    }
}

/// Writes into the file that is there: one that replaced it would lie unprotected in the box for a moment.
fn write(path: &Path, old: &str, new: &str) -> Result<(), Failure> {
    let failed = |error: std::io::Error| {
        Failure::new(Exit::No, format!("write {}", path.display())).because(error)
    };
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)
        .map_err(failed)?;
    let mut found = String::new();
    file.read_to_string(&mut found).map_err(failed)?;
    if found != old || file.metadata().map_err(failed)?.nlink() != 1 {
        return Err(Failure::usage(
            "the config changed meanwhile; nothing was written",
        ));
    }
    // Only ever longer, and written by one call: a reader sees one text or the other.
    file.rewind().map_err(failed)?;
    file.write_all(new.as_bytes()).map_err(failed)?;
    file.sync_data().map_err(failed)
}
