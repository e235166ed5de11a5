//! Files of ours alone that a reader finds whole or not at all.
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::exit::{Exit, Failure};

/// Writes a file of ours alone (0600) beside its place and moves it there: a reader finds it whole or not at all.
///
/// # Errors
/// The disk refused.
pub(crate) fn write_whole(path: &Path, content: &[u8]) -> Result<(), Failure> {
    let failed = |error: io::Error| {
        Failure::new(Exit::No, format!("write {}", path.display())).because(error)
    };
    let beside = PathBuf::from(format!("{}.{}.new", path.display(), std::process::id()));
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)
        .map_err(failed)?;
    file.write_all(content)
        .and_then(|()| file.sync_all())
        .map_err(failed)?;
    fs::rename(&beside, path).map_err(failed)
}
