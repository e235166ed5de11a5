//! The policy that a run's proxy reads: a copy outside every mount of the agent, which only `ocs` writes.
//!
//! The project's config is read-only in the box as long as the file that was bound there is the file that is there. An edit
//! in place keeps that, so the agent cannot have made it, and it is taken over at once. A file that replaced it (most
//! editors save so) lay unprotected for a moment, and whoever opened it then may write to it still: it is taken over only
//! as a person approved it, byte for byte (`ocs policy approve`), and so is each later change of it.
//! Clauses: B2, P9 (a config that is wrong changes nothing), W9.
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use policies::{Config, Source};
use serde::{Deserialize, Serialize};

use crate::approval;
use crate::project::StateDir;
use crate::whole_file::write_whole;

/// In a sandbox's state directory: somebody wants every run of it to look at the config; what it says is given back.
pub(crate) const WISH: &str = "reload";
/// In a run's directory: what came of the last look.
pub(crate) const OUTCOME: &str = "policy.json";

/// The copy and where it comes from.
#[derive(Debug)]
pub(crate) struct PolicyCopy {
    source: PathBuf,
    copy: PathBuf,
    /// The file that the agent cannot write to; none for a config outside the project, which it cannot reach at all. Held,
    /// so that no other file can get its inode's number.
    trusted: Option<File>,
    text: String,
    /// What a person approved.
    lock: PathBuf,
    /// What the config is called there.
    name: String,
    wish: PathBuf,
    outcome: PathBuf,
}

/// What came of a look, for `ocs policy reload`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Outcome {
    v: u32,
    /// The wish that was there.
    pub(crate) wish: String,
    /// `applied`, `replaced`, `same`, `wrong` or `unreadable`.
    pub(crate) outcome: String,
    /// What a person should know.
    pub(crate) note: Option<String>,
}

/// What became of a look at the project's config.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// It says something new, and the proxy will read it.
    Applied,
    /// It is another file than at the start; the old policy stays.
    Replaced,
    /// It says what it said.
    Same,
    /// It is wrong, with every mistake; the old policy stays.
    Wrong(String),
}

impl PolicyCopy {
    /// Copies `text`, which was read from `source` and approved, into `directory`.
    ///
    /// # Errors
    /// The disk refused, or the file is not the one that was read any longer.
    pub(crate) fn make(
        source: &Path,
        project: &Path,
        state: &StateDir,
        directory: &Path,
        text: &str,
    ) -> io::Result<Self> {
        let name = source.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let held = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_PATH | libc::O_NOFOLLOW)
            .open(source)?;
        let trusted = source.starts_with(project).then_some(held);
        let copy = Self {
            source: source.to_owned(),
            copy: directory.join(name),
            trusted,
            text: text.to_owned(),
            lock: state.lock(),
            name: source
                .strip_prefix(project)
                .unwrap_or(source)
                .display()
                .to_string(),
            wish: state.path().join(WISH),
            outcome: directory.parent().unwrap_or(directory).join(OUTCOME),
        };
        copy.write()?;
        Ok(copy)
    }

    /// What the proxy reads.
    pub(crate) fn path(&self) -> &Path {
        &self.copy
    }

    /// The file of the project that it follows.
    pub(crate) fn source(&self) -> &Path {
        &self.source
    }

    /// Files outside the project whose change is a reason to look again: an approval, and the wish for a look.
    pub(crate) fn reasons(&self) -> [&Path; 2] {
        [&self.lock, &self.wish]
    }

    /// Looks, and writes down what came of it; gives what a person should know.
    pub(crate) fn follow(&mut self) -> Option<String> {
        let wish = fs::read_to_string(&self.wish).unwrap_or_default();
        let name = self.name.clone();
        let stayed = "the policy stayed as it was";
        let (outcome, note) = match self.look() {
            Ok(Look::Applied) => ("applied", None),
            Ok(Look::Same) => ("same", None),
            Ok(Look::Replaced) => (
                "replaced",
                Some(format!(
                    "{name} was replaced by another file while the agent could have written to it: {stayed} \
                     (ocs policy approve shows what changed and takes it over; edits in place are taken over at once)"
                )),
            ),
            Ok(Look::Wrong(errors)) => (
                "wrong",
                Some(format!(
                    "{name} was changed, and is wrong: {stayed}\n{errors}"
                )),
            ),
            Err(error) => (
                "unreadable",
                Some(format!("{name} cannot be read ({error}): {stayed}")),
            ),
        };
        let told = Outcome {
            v: 1,
            wish,
            outcome: outcome.to_owned(),
            note: note.clone(),
        };
        // Whoever waits for it gives up after a while, and says so.
        if let Ok(text) = serde_json::to_string(&told) {
            write_whole(&self.outcome, text.as_bytes()).ok();
        }
        note
    }

    /// Looks whether the project's config changed, and takes it over if it may.
    ///
    /// # Errors
    /// It cannot be read, or the copy cannot be written; the old policy stays.
    pub(crate) fn look(&mut self) -> io::Result<Look> {
        let mut file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&self.source)?;
        let found = file.metadata()?;
        let is_another = match &self.trusted {
            Some(held) => {
                let held = held.metadata()?;
                (held.dev(), held.ino()) != (found.dev(), found.ino()) || found.nlink() != 1
            }
            None => false,
        };
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        if text == self.text {
            return Ok(Look::Same);
        }
        // What was read is what is compared, and what is taken over: nobody can change it in between.
        if is_another && !approval::approves(&self.lock, &self.name, text.as_bytes()) {
            return Ok(Look::Replaced);
        }
        let name = self.copy.file_name().unwrap_or_default().to_string_lossy();
        if let Err(errors) = Config::parse(&Source {
            name: &name,
            text: &text,
        }) {
            return Ok(Look::Wrong(errors.to_string()));
        }
        self.text = text;
        self.write()?;
        Ok(Look::Applied)
    }

    fn write(&self) -> io::Result<()> {
        let beside = self.copy.with_extension("new");
        let mut options = OpenOptions::new();
        let mut file: File = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&beside)?;
        file.write_all(self.text.as_bytes())?;
        fs::rename(beside, &self.copy)
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;
    use crate::sandbox_id::SandboxId;

    const OLD: &str = "sandbox-name: x\n";
    const NEW: &str = "sandbox-name: x\nhttp-domain-whitelist: [a.test]\n";

    struct Case {
        keep: tempfile::TempDir,
        copy: PolicyCopy,
    }

    fn case(project: &str) -> Case {
        let keep = tempfile::tempdir().unwrap();
        for directory in ["project", "run", "run/copy"] {
            fs::create_dir(keep.path().join(directory)).unwrap();
        }
        let parsed = Config::parse(&Source {
            name: "x",
            text: OLD,
        });
        let (config, _) = parsed.unwrap();
        let id = SandboxId::new(config.sandbox_name(), &keep.path().join("project"));
        let state = StateDir::new(keep.path(), &id);
        fs::create_dir_all(state.path()).unwrap();
        let source = keep.path().join("project/config.yaml");
        fs::write(&source, OLD).unwrap();
        let copy = PolicyCopy::make(
            &source,
            &keep.path().join(project),
            &state,
            &keep.path().join("run/copy"),
            OLD,
        )
        .unwrap();
        Case { keep, copy }
    }

    impl Case {
        fn copied(&self) -> String {
            fs::read_to_string(self.copy.path()).unwrap()
        }

        fn approve(&self, text: &str) {
            let sha256: String = Sha256::digest(text)
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            let lock = serde_json::json!({
                "v": 1, "approved": "2026-11-21T01:14:00.000Z",
                "files": [{"name": "config.yaml", "sha256": sha256, "executable": false}],
            });
            fs::write(&self.copy.lock, lock.to_string()).unwrap();
        }

        fn replace(&self, text: &str) {
            let beside = self.keep.path().join("project/beside");
            fs::write(&beside, text).unwrap();
            fs::rename(beside, self.copy.source()).unwrap();
        }
    }

    #[test]
    fn an_edit_in_place_is_taken_over() {
        let mut case = case("project");
        assert_eq!(
            case.copy.path(),
            case.keep.path().join("run/copy/config.yaml")
        );
        assert_eq!(case.copy.look().unwrap(), Look::Same);
        fs::write(case.copy.source(), NEW).unwrap();
        assert_eq!(
            (case.copy.look().unwrap(), case.copied().as_str()),
            (Look::Applied, NEW)
        );
        assert_eq!(case.copy.look().unwrap(), Look::Same);
    }

    #[test]
    fn b2_a_file_that_replaced_the_config_is_not_taken_over_however_often_it_changes() {
        let mut case = case("project");
        case.replace(NEW);
        assert_eq!(
            (case.copy.look().unwrap(), case.copied().as_str()),
            (Look::Replaced, OLD)
        );
        fs::write(case.copy.source(), NEW).unwrap();
        assert_eq!(
            (case.copy.look().unwrap(), case.copied().as_str()),
            (Look::Replaced, OLD)
        );
    }

    #[test]
    fn b2_a_file_that_replaced_the_config_is_taken_over_as_a_person_approved_it_and_never_otherwise()
     {
        let mut case = case("project");
        case.replace(NEW);
        case.approve(OLD);
        assert_eq!(case.copy.look().unwrap(), Look::Replaced);
        case.approve(NEW);
        assert_eq!(
            (case.copy.look().unwrap(), case.copied().as_str()),
            (Look::Applied, NEW)
        );
        // Somebody may have opened it before it was protected: what is written to it now nobody approved.
        let later = format!("{NEW}private-addresses: [10.0.0.1]\n");
        fs::write(case.copy.source(), &later).unwrap();
        assert_eq!(
            (case.copy.look().unwrap(), case.copied().as_str()),
            (Look::Replaced, NEW)
        );
        case.approve(&later);
        assert_eq!(case.copy.look().unwrap(), Look::Applied);
        fs::write(&case.copy.lock, "{}").unwrap();
        case.replace(OLD);
        assert_eq!(case.copy.look().unwrap(), Look::Replaced);
    }

    #[test]
    fn what_came_of_a_look_is_written_down_with_the_wish_that_led_to_it() {
        let mut case = case("project");
        let said = |case: &Case| {
            let text = fs::read_to_string(case.keep.path().join("run/policy.json")).unwrap();
            let Outcome {
                wish,
                outcome,
                note,
                ..
            } = serde_json::from_str(&text).unwrap();
            (wish, outcome, note.is_some())
        };
        fs::write(&case.copy.wish, "one").unwrap();
        assert_eq!(case.copy.follow(), None);
        assert_eq!(said(&case), ("one".to_owned(), "same".to_owned(), false));
        fs::write(case.copy.source(), "unknown: 1\n").unwrap();
        assert!(case.copy.follow().unwrap().contains("stayed as it was"));
        assert_eq!(said(&case), ("one".to_owned(), "wrong".to_owned(), true));
        fs::write(&case.copy.wish, "two").unwrap();
        fs::write(case.copy.source(), NEW).unwrap();
        assert_eq!(case.copy.follow(), None);
        assert_eq!(said(&case), ("two".to_owned(), "applied".to_owned(), false));
        case.replace(OLD);
        assert!(case.copy.follow().unwrap().contains("ocs policy approve"));
        assert_eq!(said(&case), ("two".to_owned(), "replaced".to_owned(), true));
    }

    #[test]
    fn b2_a_second_name_for_the_config_ends_the_trust_in_it() {
        let mut case = case("project");
        fs::hard_link(case.copy.source(), case.keep.path().join("other")).unwrap();
        fs::write(case.copy.source(), NEW).unwrap();
        assert_eq!(case.copy.look().unwrap(), Look::Replaced);
    }

    #[test]
    fn a_config_out_of_the_agent_s_reach_may_be_replaced() {
        let mut case = case("elsewhere");
        case.replace(NEW);
        assert_eq!(
            (case.copy.look().unwrap(), case.copied().as_str()),
            (Look::Applied, NEW)
        );
    }

    #[test]
    fn p9_a_config_that_is_wrong_changes_nothing() {
        let mut case = case("project");
        fs::write(case.copy.source(), "sandbox-name: x\nunknown: 1\n").unwrap();
        assert!(matches!(case.copy.look().unwrap(), Look::Wrong(_)));
        assert_eq!(case.copied(), OLD);
        fs::write(case.copy.source(), NEW).unwrap();
        assert_eq!(case.copy.look().unwrap(), Look::Applied);
    }

    #[test]
    fn a_config_that_is_gone_or_a_link_is_an_error_and_changes_nothing() {
        let mut case = case("project");
        fs::remove_file(case.copy.source()).unwrap();
        assert!(case.copy.look().is_err());
        std::os::unix::fs::symlink(case.copy.path(), case.copy.source()).unwrap();
        assert!(case.copy.look().is_err());
    }
}
