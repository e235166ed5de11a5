//! The bearer token of the HTTP server: made at first use, in a file of the user alone, outside every box.
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use sha2::{Digest, Sha256};

use crate::exit::{Exit, Failure};
use crate::project::StateDir;

/// Letters of a token.
const LENGTH: usize = 48;

/// What a client must show. Never printed.
pub(super) struct Token([u8; 32]);

impl Token {
    /// Whether this is it. The digests are compared, so that the time that it takes tells nothing of the token.
    pub(super) fn is(&self, shown: &[u8]) -> bool {
        <[u8; 32]>::from(Sha256::digest(shown)) == self.0
    }
}

/// The file, and the token in it.
///
/// # Errors
/// The state directory cannot be used, or the file holds something else.
pub(super) fn of(state: &StateDir) -> Result<(PathBuf, Token), Failure> {
    state.create()?;
    let path = state.path().join("mcp-token");
    let failed = |error| Failure::new(Exit::No, format!("use {}", path.display())).because(error);
    let mut options = OpenOptions::new();
    match options.write(true).create_new(true).mode(0o600).open(&path) {
        Ok(mut file) => file
            .write_all(new().map_err(failed)?.as_bytes())
            .map_err(failed)?,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(failed(error)),
    }
    let text = std::fs::read_to_string(&path).map_err(failed)?;
    let text = text.trim();
    if text.len() != LENGTH || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let message = format!("{} holds no token", path.display());
        return Err(Failure::new(Exit::No, message).next(format!("rm {}", path.display())));
    }
    let token = Token(Sha256::digest(text).into());
    Ok((path, token))
}

fn new() -> std::io::Result<String> {
    let mut random = [0; LENGTH / 2];
    File::open("/dev/urandom")?.read_exact(&mut random)?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}
