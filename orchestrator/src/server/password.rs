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

    /// The value of `Authorization` of this user (RFC 7617).
    pub(super) fn authorization(&self, user: &str) -> String {
        format!("Basic {}", base64(format!("{user}:{}", self.0).as_bytes()))
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

/// RFC 4648 section 4.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let mut group = [0; 3];
        for (place, byte) in group.iter_mut().zip(chunk) {
            *place = *byte;
        }
        let [a, b, c] = group;
        let bits = u32::from(a) << 16 | u32::from(b) << 8 | u32::from(c);
        for place in 0..4 {
            let index = usize::try_from(bits >> (18 - 6 * place) & 63).unwrap_or_default();
            let letter = ALPHABET.get(index).copied().map_or('=', char::from);
            text.push(if place > chunk.len() { '=' } else { letter });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_rfc_4648_section_10() {
        let pairs = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ];
        for (text, encoded) in pairs {
            assert_eq!(base64(text.as_bytes()), encoded);
        }
    }
}
