//! Loads the policy's file, and loads it anew when it changed: compiled aside, put in force whole, or not at all.
//!
//! A file that is wrong changes nothing. The new policy is recorded before it is in force.
//! Clauses: P9, R2, W9

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use policies::audit::{Event, PolicyEvent, Text};
use policies::{Config, ConfigErrors, Generation, Mode, Policy, Source, Surroundings, Warning};
use thiserror::Error;
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::app::App;
use crate::sink::Unrecorded;

/// How often the file is looked at; a change is in force within twice that, and a second is promised.
const LOOK: Duration = Duration::from_millis(250);
/// A longer file is not a project's: the largest list of names in use is a tenth of it.
const LONGEST_FILE: u64 = 64 * 1024 * 1024;

/// Where the policy comes from, and what of it the starter decides.
#[derive(Clone, Debug)]
pub struct PolicySource {
    /// The file.
    pub path: PathBuf,
    /// What rules and the record call it.
    pub name: String,
    /// The mode, in place of the file's.
    pub mode: Option<Mode>,
    /// What `docker.host` is dialled at.
    pub host_addresses: Vec<IpAddr>,
}

/// A policy that was read, and how the file was when it was.
#[derive(Debug)]
pub struct Loaded {
    /// Compiled, without a number yet.
    pub policy: Policy,
    /// The file as meant.
    pub config: Config,
    /// What a person should know.
    pub warnings: Vec<Warning>,
    /// The file that was read.
    pub seen: Seen,
}

/// A file as it was when it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    stamp: Stamp,
    text: u64,
}

/// Why a policy was not loaded.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("read {}: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's word.
        error: std::io::Error,
    },
    /// The file is too long, or no text.
    #[error("{} is not a policy: too long, or not UTF-8", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
    },
    /// The file is wrong; every mistake is named.
    #[error("{0}")]
    Wrong(#[from] ConfigErrors),
    /// The addresses of this machine, which no name may lead to, are not known.
    #[error("list the addresses of this machine: {0}")]
    Surroundings(std::io::Error),
}

impl PolicySource {
    /// Reads the file once, and compiles what was read.
    ///
    /// # Errors
    /// [`LoadError`]: the file's fault, but for `Surroundings`.
    pub fn load(&self) -> Result<Loaded, LoadError> {
        // Before the text: what changes between the two is read again.
        let stamp = Stamp::of(&self.path);
        let text = self.text()?;
        let (config, warnings) = Config::parse(&Source {
            name: &self.name,
            text: &text,
        })?;
        let surroundings = Surroundings {
            host_addresses: self.host_addresses.clone(),
            own_addresses: own_addresses().map_err(LoadError::Surroundings)?,
        };
        let policy = config.policy(self.mode, surroundings);
        let text = BuildHasherDefault::<DefaultHasher>::default().hash_one(&text);
        Ok(Loaded {
            policy,
            config,
            warnings,
            seen: Seen { stamp, text },
        })
    }

    fn text(&self) -> Result<String, LoadError> {
        let unreadable = |error| LoadError::Unreadable {
            path: self.path.clone(),
            error,
        };
        let length = std::fs::metadata(&self.path).map_err(unreadable)?.len();
        let not_text = || LoadError::NotText {
            path: self.path.clone(),
        };
        if length > LONGEST_FILE {
            return Err(not_text());
        }
        let bytes = std::fs::read(&self.path).map_err(unreadable)?;
        String::from_utf8(bytes).map_err(|_| not_text())
    }

    /// The `policy` event of a policy from this file.
    #[must_use]
    pub fn event(&self, policy: &Policy) -> Event {
        Event::Policy(PolicyEvent {
            hash: Text::new(policy.hash()),
            generation: policy.generation(),
            source: Text::new(&self.name),
            mode: policy.mode(),
        })
    }
}

/// What came of a change.
#[derive(Debug)]
pub enum Reload {
    /// Another policy is in force.
    InForce(Generation, Vec<Warning>),
    /// The file says what it said before.
    Same,
    /// The old policy stays: the file is wrong.
    Refused(LoadError),
    /// The old policy stays: the new one could not be recorded. It is tried again.
    Unrecorded(Unrecorded),
}

/// Watches the file, and reloads when it changed or when `asked`; tells each time what came of it.
pub async fn watch(
    source: Arc<PolicySource>,
    mut seen: Seen,
    app: Arc<App>,
    asked: Arc<Notify>,
    tell: impl Fn(&Reload) + Send,
) {
    loop {
        let stamp = tokio::select! {
            biased;
            () = asked.notified() => Stamp::of(&source.path),
            () = sleep(LOOK) => match Stamp::of(&source.path) {
                same if same == seen.stamp => continue,
                other => other,
            },
        };
        let came = reload(&source, &mut seen, &app).await;
        app.live.find_fault(match &came {
            Reload::InForce(..) | Reload::Same => None,
            Reload::Refused(error) => Some(error.to_string()),
            Reload::Unrecorded(error) => Some(error.to_string()),
        });
        tell(&came);
        // What could not be recorded is still to be done; a file that is wrong is told of once.
        if matches!(came, Reload::Refused(_)) {
            seen.stamp = stamp;
        }
    }
}

async fn reload(source: &Arc<PolicySource>, seen: &mut Seen, app: &App) -> Reload {
    let reader = Arc::clone(source);
    // A list of a million names takes its time, and requests go on meanwhile.
    let loaded = match tokio::task::spawn_blocking(move || reader.load()).await {
        Ok(Ok(loaded)) => loaded,
        Ok(Err(error)) => return Reload::Refused(error),
        Err(error) => {
            let (path, error) = (source.path.clone(), std::io::Error::other(error));
            return Reload::Refused(LoadError::Unreadable { path, error });
        }
    };
    if loaded.seen.text == seen.text {
        *seen = loaded.seen;
        return Reload::Same;
    }
    let generation = Generation(app.live.policy().generation().0 + 1);
    let granted = app.questions.granted();
    let policy = loaded.policy.granting(granted).at_generation(generation);
    if let Err(unrecorded) = app.sink.record(&source.event(&policy)) {
        return Reload::Unrecorded(unrecorded);
    }
    *seen = loaded.seen;
    app.live.publish(policy);
    Reload::InForce(generation, loaded.warnings)
}

/// What changes when a file does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp(Option<(u64, u64, u64, i64, i64)>);

impl Stamp {
    fn of(path: &Path) -> Self {
        let metadata = std::fs::metadata(path).ok();
        Self(metadata.map(|it| (it.dev(), it.ino(), it.size(), it.mtime(), it.mtime_nsec())))
    }
}

/// The addresses of this machine's interfaces.
fn own_addresses() -> Result<Vec<IpAddr>, std::io::Error> {
    let mut found = Vec::new();
    for interface in nix::ifaddrs::getifaddrs()? {
        let Some(address) = interface.address else {
            continue;
        };
        if let Some(v4) = address.as_sockaddr_in() {
            found.push(IpAddr::V4(v4.ip()));
        } else if let Some(v6) = address.as_sockaddr_in6() {
            found.push(IpAddr::V6(v6.ip()));
        }
    }
    Ok(found)
}
