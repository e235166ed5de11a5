//! What a person approved: the control files as they were then, by hash and with their contents, outside every mount of
//! the agent. A start compares; what changed is shown and asked about. Not responsible for what the files mean.
//! Clauses: B2, P9 (an unapproved change starts nothing).
use std::fs;
use std::io;
use std::path::Path;

use policies::audit::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::config_file::CONFIG_FILE;
use crate::console::{Answer, Console, Style};
use crate::control::{self, ControlFile};
use crate::diff;
use crate::exit::{Exit, Failure};
use crate::git_config;
use crate::project::{HOOK_FILE, Project, private_dir};
use crate::whole_file::write_whole;
use crate::world::{Terminal, World};

/// How the control files stand to what was approved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Approval {
    /// They are what was approved.
    Approved,
    /// Some differ; never empty.
    Changed(Vec<Change>),
    /// Nothing was ever approved for this project.
    FirstUse,
}

/// One file that is not what was approved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which file.
    pub name: String,
    /// What was approved; none for a new file.
    pub before: Option<Side>,
    /// What is there; none for a file that is gone.
    pub after: Option<Side>,
}

/// One side of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Side {
    /// The bytes; none where the approved copy is lost.
    pub content: Option<Vec<u8>>,
    /// Whether it is executable.
    pub executable: bool,
}

/// The control files as they are now, and their fingerprint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    files: Vec<ControlFile>,
}

/// `policy.lock`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Lock {
    v: u32,
    approved: Timestamp,
    files: Vec<Locked>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Locked {
    name: String,
    sha256: String,
    executable: bool,
}

const LOCK_VERSION: u32 = 1;

impl Snapshot {
    /// Reads the project's control files.
    ///
    /// # Errors
    /// One of them cannot be read for what it is (exit 64).
    pub fn take(project: &Project) -> Result<Self, Failure> {
        let mut files = control::read(project)?;
        // An empty one says nothing; placeholders of a run that goes on are such (`engine/cover.rs`).
        files.retain(|file| !file.content.is_empty() || file.name == CONFIG_FILE);
        for file in &mut files {
            if file.name == ".git/config" {
                file.content = git_config::without_plain_branches(&file.content);
            }
        }
        Ok(Self { files })
    }

    /// The hook as it was read, if there is one.
    #[must_use]
    pub fn hook(&self) -> Option<&[u8]> {
        let hook = self.files.iter().find(|file| file.name == HOOK_FILE);
        hook.map(|hook| hook.content.as_slice())
    }

    /// The content of one of the files, if it is there and says anything.
    #[must_use]
    pub fn content(&self, name: &str) -> Option<&[u8]> {
        let file = self.files.iter().find(|file| file.name == name);
        file.map(|file| file.content.as_slice())
    }

    /// Every file as a change from nothing.
    #[must_use]
    pub fn as_new(&self) -> Vec<Change> {
        self.files.iter().map(new).collect()
    }

    /// SHA-256, hex, of every control file's name, mode and hash: what `--hash` pins.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        for Locked {
            name,
            sha256,
            executable,
        } in self.locked()
        {
            let mode = if executable { 'x' } else { '-' };
            hash.update(format!("{sha256} {mode} {name}\n"));
        }
        hex(&hash.finalize())
    }

    /// How these files stand to what was approved for the project.
    ///
    /// # Errors
    /// The lock cannot be read or is damaged (exit 64).
    pub fn compare(&self, project: &Project) -> Result<Approval, Failure> {
        let Some(lock) = Lock::read(&project.state().lock())? else {
            return Ok(Approval::FirstUse);
        };
        let now = self.locked();
        let mut changes = Vec::new();
        for (file, locked) in self.files.iter().zip(&now) {
            let before = lock.files.iter().find(|before| before.name == file.name);
            if before != Some(locked) {
                let before = before.map(|before| approved_side(project, before));
                let after = Some(Side {
                    content: Some(file.content.clone()),
                    executable: file.executable,
                });
                changes.push(Change {
                    name: file.name.clone(),
                    before,
                    after,
                });
            }
        }
        for gone in lock
            .files
            .iter()
            .filter(|before| now.iter().all(|file| file.name != before.name))
        {
            if is_of_project(&gone.name) {
                let before = Some(approved_side(project, gone));
                changes.push(Change {
                    name: gone.name.clone(),
                    before,
                    after: None,
                });
            }
        }
        changes.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(if changes.is_empty() {
            Approval::Approved
        } else {
            Approval::Changed(changes)
        })
    }

    /// Writes down that these files are approved.
    ///
    /// # Errors
    /// The state directory cannot be written to.
    pub fn approve(&self, project: &Project, now: Timestamp) -> Result<(), Failure> {
        project.state().create()?;
        let copies = project.state().approved();
        private_dir(&copies)?;
        for (file, locked) in self.files.iter().zip(self.locked()) {
            write_whole(&copies.join(locked.sha256), &file.content)?;
        }
        // A config from elsewhere that was approved before stays so: it is no less what it was.
        let lock = project.state().lock();
        let kept = Lock::read(&lock)
            .ok()
            .flatten()
            .map(|lock| lock.files)
            .unwrap_or_default();
        let mut files = self.locked();
        let others = kept.into_iter().filter(|file| !is_of_project(&file.name));
        let others: Vec<Locked> = others
            .filter(|file| files.iter().all(|new| new.name != file.name))
            .collect();
        files.extend(others);
        files.sort();
        let text = Lock {
            v: LOCK_VERSION,
            approved: now,
            files,
        };
        let text = serde_json::to_string_pretty(&text).map_err(|error| {
            Failure::new(Exit::No, format!("write {}", lock.display())).because(error)
        })?;
        // The lock comes last: it never names a copy that is not there.
        write_whole(&lock, format!("{text}\n").as_bytes())
    }

    /// Whether the hook would do anything.
    fn hook_acts(&self) -> bool {
        let lines = String::from_utf8_lossy(self.hook().unwrap_or_default());
        lines
            .lines()
            .map(str::trim)
            .any(|line| !line.is_empty() && !line.starts_with('#'))
    }

    fn locked(&self) -> Vec<Locked> {
        let locked = |file: &ControlFile| Locked {
            name: file.name.clone(),
            sha256: hex(&Sha256::digest(&file.content)),
            executable: file.executable,
        };
        self.files.iter().map(locked).collect()
    }
}

/// Settles the control files before a start: approved ones pass; the first use is trusted, with a note, unless a hook would
/// run; a change is shown and asked about. With nobody to ask at `terminal`, what
/// would be asked is refused.
///
/// # Errors
/// Not approved, or not readable for what they are (exit 64, with the next command to type).
pub fn settle(
    project: &Project,
    terminal: Terminal,
    world: &World,
    console: &mut Console<'_>,
) -> Result<Snapshot, Failure> {
    let snapshot = Snapshot::take(project)?;
    let question = match snapshot.compare(project)? {
        Approval::Approved => return Ok(snapshot),
        Approval::FirstUse if !snapshot.hook_acts() => {
            snapshot.approve(project, world.now.into())?;
            let count = snapshot.files.len();
            console.note(format_args!(
                "first use of this project: its {count} control files are approved as they are (ocs policy diff shows changes)"
            ));
            return Ok(snapshot);
        }
        Approval::FirstUse => {
            console.note(format_args!(
                "first use of this project, and its hook {HOOK_FILE} runs on this host:"
            ));
            let hook = snapshot.files.iter().filter(|file| file.name == HOOK_FILE);
            diff::show(&hook.map(new).collect::<Vec<Change>>(), console);
            "run it, and approve the control files as they are?"
        }
        Approval::Changed(changes) => {
            console.note("these control files are not what was approved:");
            diff::show(&changes, console);
            "approve them and go on?"
        }
    };
    if !terminal.stdin {
        let fingerprint = snapshot.fingerprint();
        return Err(Failure::usage(
            "the control files are not approved, and there is nobody to ask",
        )
        .next(format!(
            "ocs policy approve, or in CI: ocs policy approve --yes --hash {fingerprint}"
        )));
    }
    match console.confirm(console.styled_note(Style::Warn, question), Answer::No)? {
        Answer::Yes => snapshot
            .approve(project, world.now.into())
            .map(|()| snapshot),
        Answer::No => Err(Failure::usage("the control files are not approved")
            .next("ocs policy diff, then ocs policy approve or undo the change")),
    }
}

/// Whether a person approved a control file of this name with exactly these bytes. A lock that is not there or damaged
/// approves nothing.
#[must_use]
pub fn approves(lock: &Path, name: &str, content: &[u8]) -> bool {
    let sha256 = hex(&Sha256::digest(content));
    let files = Lock::read(lock).ok().flatten().map(|lock| lock.files);
    files.is_some_and(|files| {
        files
            .iter()
            .any(|file| file.name == name && file.sha256 == sha256)
    })
}

impl Lock {
    fn read(path: &Path) -> Result<Option<Self>, Failure> {
        let damaged = |why: String| {
            Failure::usage(format!("{} is damaged: {why}", path.display()))
                .next("ocs policy approve")
        };
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(Failure::usage(format!("read {}", path.display())).because(error));
            }
        };
        let lock: Self =
            serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))?;
        if lock.v != LOCK_VERSION {
            return Err(damaged(format!(
                "its version is {}, not {LOCK_VERSION}",
                lock.v
            )));
        }
        let hash =
            |text: &str| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        match lock.files.iter().find(|file| !hash(&file.sha256)) {
            Some(file) => Err(damaged(format!("the hash of {:?} is none", file.name))),
            None => Ok(Some(lock)),
        }
    }
}

fn new(file: &ControlFile) -> Change {
    let after = Some(Side {
        content: Some(file.content.clone()),
        executable: file.executable,
    });
    Change {
        name: file.name.clone(),
        before: None,
        after,
    }
}

/// Whether a locked name belongs to the project whatever config is used: other configs come and go by `--config`.
fn is_of_project(name: &str) -> bool {
    control::CONTROLS.iter().any(|control| {
        name.strip_prefix(control.path)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }) || name == ".git"
}

fn approved_side(project: &Project, locked: &Locked) -> Side {
    let content = fs::read(project.state().approved().join(&locked.sha256)).ok();
    // A copy that was changed since is no copy.
    let content = content.filter(|content| hex(&Sha256::digest(content)) == locked.sha256);
    Side {
        content,
        executable: locked.executable,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
