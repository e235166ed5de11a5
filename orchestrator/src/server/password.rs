//! The server's password: new for each start, in a file of ours alone (COMPATIBILITY 4.6), and in the agent's environment.
//! It is on no command line.
//! Clauses: B6.
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use crate::exit::{Exit, Failure};
use crate::project::StateDir;
use crate::whole_file::write_whole;

/// A password; never shown by accident.
#[derive(Clone)]
pub(super) struct Password(String);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password")
    }
}

impl Password {
    /// A new one: 24 random bytes, as 48 hexadecimal digits.
    ///
    /// # Errors
    /// The machine gives no random bytes, or the disk refused.
    pub(super) fn make(state: &StateDir) -> Result<Self, Failure> {
        let mut random = [0; 24];
        File::open("/dev/urandom")
            .and_then(|mut file| file.read_exact(&mut random))
            .map_err(|error| Failure::new(Exit::No, "read /dev/urandom").because(error))?;
        let text: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        write_whole(&place(state), text.as_bytes())?;
        Ok(Self(text))
    }

    /// That of the server that runs.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn read(state: &StateDir) -> Result<Self, Failure> {
        let path = place(state);
        std::fs::read_to_string(&path)
            .map(|text| Self(text.trim().to_owned()))
            .map_err(|error| {
                Failure::new(Exit::No, format!("read {}", path.display())).because(error)
            })
    }

    /// As text.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Removes it: it opens nothing any longer.
pub(super) fn forget(state: &StateDir) {
    std::fs::remove_file(place(state)).ok();
}

fn place(state: &StateDir) -> PathBuf {
    state.path().join("opencode-password")
}
