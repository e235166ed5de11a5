//! Where the project's config lies and what it says, read once: what is parsed, hashed and approved is the same text.
//! Not responsible for its meaning (`policies`), nor for who approved it (`approval`).
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use policies::{Config, ConfigErrors, Source, Warning};

use crate::exit::{Exit, Failure};
use crate::world::World;

/// The file that makes a directory a project.
pub const CONFIG_FILE: &str = "opencode-sandbox-config.yaml";

/// A config longer than this is not one that a person wrote.
const CONFIG_MAX_BYTES: u64 = 4 << 20;

/// The config of one project, found and read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigFile {
    /// The project's directory, with no symlink left in it.
    pub root: PathBuf,
    /// The config: in `root`, or where `--config` said, with no symlink left in that path.
    pub path: PathBuf,
    /// What it says.
    pub text: String,
}

impl ConfigFile {
    /// The config of the project that the working directory lies in: the nearest one upward, `/` included.
    ///
    /// With `other` that file is read in place of the project's own. The project is then still the one found upward, or
    /// else the working directory; never the directory of `other`, which would be mounted.
    ///
    /// # Errors
    /// None is found, it cannot be read, or another ordinary user of this machine put it there.
    pub fn find(other: Option<&Path>, world: &World) -> Result<Self, NoConfig> {
        let above = world
            .cwd
            .ancestors()
            .find(|directory| directory.join(CONFIG_FILE).is_file());
        let (root, path) = match (above, other) {
            (Some(root), None) => (root, root.join(CONFIG_FILE)),
            (root, Some(other)) => (root.unwrap_or(&world.cwd), world.cwd.join(other)),
            (None, None) => {
                return Err(NoConfig::NotFound {
                    cwd: world.cwd.clone(),
                });
            }
        };
        let root = root.canonicalize().map_err(unreadable(root))?;
        let path = match other {
            Some(_) => path.canonicalize().map_err(unreadable(&path))?,
            None => root.join(CONFIG_FILE),
        };
        let text = read(&path)?;
        Ok(Self { root, path, text })
    }

    /// The name that errors, rules and the record call it by.
    #[must_use]
    pub fn short_name(&self) -> String {
        let name = self.path.file_name().unwrap_or(self.path.as_os_str());
        name.to_string_lossy().into_owned()
    }

    /// The config as meant, and what is worth a warning.
    ///
    /// # Errors
    /// The config is wrong anywhere: every mistake, each with its place.
    pub fn parse(&self) -> Result<(Config, Vec<Warning>), ConfigErrors> {
        Config::parse(&Source {
            name: &self.short_name(),
            text: &self.text,
        })
    }

    /// The value of the first `sandbox-name:` line (COMPATIBILITY 4.3): a comment is cut, quotes go. A config that is
    /// wrong elsewhere still has a name, so that its record can be read.
    #[must_use]
    pub fn sandbox_name(&self) -> Option<&str> {
        name_in(&self.text)
    }
}

/// Why there is no config to work with.
#[derive(Debug, thiserror::Error)]
pub enum NoConfig {
    /// The config was put there by another ordinary user of this machine.
    #[error("{} belongs to another user (uid {owner})", path.display())]
    ForeignOwner {
        /// The config.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
    },
    /// The walk upward ended at `/`.
    #[error("no {CONFIG_FILE} in {} or any directory above it", cwd.display())]
    NotFound {
        /// Where the walk began.
        cwd: PathBuf,
    },
    /// A path cannot be read.
    #[error("read {}", path.display())]
    Unreadable {
        /// The path.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl From<NoConfig> for Failure {
    fn from(error: NoConfig) -> Self {
        let failure = Self::of(Exit::Usage, &error);
        match error {
            NoConfig::ForeignOwner { path, .. } => failure.next(format!(
                "read it; if you trust it: sudo chown $(id -u) {}",
                path.display()
            )),
            NoConfig::NotFound { .. } => failure.next("ocs init"),
            NoConfig::Unreadable { .. } => failure,
        }
    }
}

fn read(path: &Path) -> Result<String, NoConfig> {
    let unreadable = unreadable(path);
    // Looked at before it is opened: opening a pipe that nobody writes to would wait for ever.
    let found = path.metadata().map_err(&unreadable)?;
    if !found.is_file() || found.len() > CONFIG_MAX_BYTES {
        return Err(unreadable(io::Error::other("not a file of at most 4 MiB")));
    }
    // A config in a directory that others may write to (`/tmp`) could have been put there for us to find.
    let (owner, me) = (found.uid(), nix::unistd::geteuid().as_raw());
    if owner != me && owner != 0 && me != 0 {
        return Err(NoConfig::ForeignOwner {
            path: path.to_owned(),
            owner,
        });
    }
    let mut text = String::new();
    let mut file = std::fs::File::open(path)
        .map_err(&unreadable)?
        .take(CONFIG_MAX_BYTES);
    file.read_to_string(&mut text).map_err(&unreadable)?;
    Ok(text)
}

fn unreadable(path: &Path) -> impl Fn(io::Error) -> NoConfig + use<> {
    let path = path.to_owned();
    move |source| NoConfig::Unreadable {
        path: path.clone(),
        source,
    }
}

fn name_in(text: &str) -> Option<&str> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    text.lines().find_map(|line| {
        let value = line.strip_prefix("sandbox-name:")?.trim();
        let quoted = |quote| {
            value
                .strip_prefix(quote)
                .and_then(|rest| rest.split(quote).next())
        };
        let plain = value.split('#').next().unwrap_or_default().trim_end();
        let name = quoted('"').or_else(|| quoted('\'')).unwrap_or(plain);
        (!name.is_empty()).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_name_counts_and_comments_and_quotes_go() {
        let cases = [
            ("sandbox-name: a\nsandbox-name: b\n", Some("a")),
            (
                "# sandbox-name: x\nsandbox-name:   a-b   # why\r\n",
                Some("a-b"),
            ),
            ("sandbox-name: \"quoted\" # why", Some("quoted")),
            ("sandbox-name: 'quoted'", Some("quoted")),
            ("\u{feff}sandbox-name: bom", Some("bom")),
            ("sandbox-name:\nsandbox-name: second", Some("second")),
            ("sandbox-name: # only a comment", None),
            (" sandbox-name: indented", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(name_in(text), expected, "{text:?}");
        }
    }

    #[test]
    fn what_is_no_file_of_a_usual_size_is_refused() {
        let keep = tempfile::tempdir().unwrap();
        let big = keep.path().join("big");
        std::fs::File::create(&big)
            .unwrap()
            .set_len(CONFIG_MAX_BYTES + 1)
            .unwrap();
        for path in [keep.path(), Path::new("/dev/zero"), &big] {
            let failure = Failure::from(read(path).unwrap_err());
            let expected = format!("read {}: not a file of at most 4 MiB", path.display());
            assert_eq!(
                (failure.exit(), failure.to_string()),
                (Exit::Usage, expected)
            );
        }
    }

    #[test]
    fn a_config_of_another_user_is_refused_unless_we_are_root() {
        let keep = tempfile::tempdir().unwrap();
        let path = keep.path().join(CONFIG_FILE);
        std::fs::write(&path, "sandbox-name: x\n").unwrap();
        assert_eq!(read(&path).unwrap(), "sandbox-name: x\n");
        let failure = Failure::from(NoConfig::ForeignOwner {
            path: path.clone(),
            owner: 4711,
        });
        assert_eq!(
            failure.to_string(),
            format!("{} belongs to another user (uid 4711)", path.display())
        );
        let next = format!(
            "read it; if you trust it: sudo chown $(id -u) {}",
            path.display()
        );
        assert_eq!(
            (failure.exit(), failure.next_step()),
            (Exit::Usage, Some(next.as_str()))
        );
    }
}
