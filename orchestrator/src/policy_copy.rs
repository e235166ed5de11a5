//! The policy that a run's proxy reads: a copy outside every mount of the agent, which only `ocs` writes.
//!
//! The project's config is read-only in the box as long as the file that was bound there is the file that is there. An edit
//! in place keeps that, so the agent cannot have made it, and it is taken over at once. A file that replaced it (most
//! editors save so) lay unprotected for a moment: it is not taken over by itself.
//! Clauses: B2, P9 (a config that is wrong changes nothing), W9.
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use policies::{Config, Source};

/// The copy and where it comes from.
#[derive(Debug)]
pub(crate) struct PolicyCopy {
    source: PathBuf,
    copy: PathBuf,
    /// The inode that the agent cannot write to; none for a config outside the project, which it cannot reach at all.
    trusted: Option<(u64, u64)>,
    text: String,
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
        directory: &Path,
        text: &str,
    ) -> io::Result<Self> {
        let name = source.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let found = source.symlink_metadata()?;
        let trusted = source
            .starts_with(project)
            .then(|| (found.dev(), found.ino()));
        let copy = Self {
            source: source.to_owned(),
            copy: directory.join(name),
            trusted,
            text: text.to_owned(),
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
        let same_file = (found.dev(), found.ino());
        if self
            .trusted
            .is_some_and(|trusted| trusted != same_file || found.nlink() != 1)
        {
            return Ok(Look::Replaced);
        }
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        if text == self.text {
            return Ok(Look::Same);
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
    use super::*;

    const OLD: &str = "sandbox-name: x\n";
    const NEW: &str = "sandbox-name: x\nhttp-domain-whitelist: [a.test]\n";

    struct Case {
        keep: tempfile::TempDir,
        copy: PolicyCopy,
    }

    fn case(project: &str) -> Case {
        let keep = tempfile::tempdir().unwrap();
        for directory in ["project", "copy"] {
            fs::create_dir(keep.path().join(directory)).unwrap();
        }
        let source = keep.path().join("project/config.yaml");
        fs::write(&source, OLD).unwrap();
        let copy = PolicyCopy::make(
            &source,
            &keep.path().join(project),
            &keep.path().join("copy"),
            OLD,
        )
        .unwrap();
        Case { keep, copy }
    }

    impl Case {
        fn copied(&self) -> String {
            fs::read_to_string(self.copy.path()).unwrap()
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
        assert_eq!(case.copy.path(), case.keep.path().join("copy/config.yaml"));
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
