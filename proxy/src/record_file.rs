//! Opens the file of a record: new, or where an earlier run of the proxy left it.
//!
//! Clauses: R3, R5

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use policies::audit::{Chain, Header};
use rustix::fs::{FlockOperation, Mode, OFlags, flock, open as open_fd};
use rustix::process::geteuid;
use thiserror::Error;

/// No line of a record is longer: 1024 characters of untrusted text, escaped, a few times over.
const LONGEST_LINE: u64 = 256 * 1024;

/// Why a file was not taken as a record.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The file cannot be opened or read.
    #[error("open the record")]
    Io(#[from] io::Error),
    /// Another proxy writes to it.
    #[error("another process writes to the record")]
    Busy,
    /// A directory, a device, a pipe.
    #[error("the record is not a plain file")]
    NotAFile,
    /// It belongs to someone else, or others may write to it.
    #[error("the record belongs to another user, or others may write to it")]
    NotOurs,
    /// Its last whole line is not a line of a record.
    #[error("the file is there, and is not a record")]
    NotARecord,
}

/// A record that is ready for its next line.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) file: File,
    pub(crate) chain: Chain,
    pub(crate) length: u64,
    /// Half a line stood at the end, and was cut off.
    pub(crate) torn: bool,
}

/// Opens the file for appending, and makes it if it is not there.
pub(crate) fn open(path: &Path, header: &Header) -> Result<Opened, OpenError> {
    let flags = OFlags::RDWR
        | OFlags::APPEND
        | OFlags::CREATE
        | OFlags::CLOEXEC
        | OFlags::NOFOLLOW
        | OFlags::NOCTTY
        | OFlags::NONBLOCK;
    let fd = open_fd(path, flags, Mode::RUSR | Mode::WUSR).map_err(io::Error::from)?;
    let mut file = File::from(fd);
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(OpenError::NotAFile);
    }
    if metadata.uid() != geteuid().as_raw() || metadata.mode() & 0o022 != 0 {
        return Err(OpenError::NotOurs);
    }
    flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|_| OpenError::Busy)?;
    let tail = tail(&mut file)?;
    let chain = match &tail.line {
        None => Chain::new(header),
        Some(line) => Chain::after(header, line).ok_or(OpenError::NotARecord)?,
    };
    if tail.torn {
        file.set_len(tail.whole)?;
    }
    Ok(Opened {
        file,
        chain,
        length: tail.whole,
        torn: tail.torn,
    })
}

struct Tail {
    line: Option<Vec<u8>>,
    whole: u64,
    torn: bool,
}

/// The last whole line, and where it ends.
fn tail(file: &mut File) -> Result<Tail, OpenError> {
    let length = file.metadata()?.len();
    let start = length.saturating_sub(2 * LONGEST_LINE);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(2 * LONGEST_LINE).read_to_end(&mut bytes)?;
    let mut lines = bytes.rsplit(|byte| *byte == b'\n');
    let half = lines.next().map_or(0, <[u8]>::len) as u64;
    let line = lines.next().map(<[u8]>::to_vec);
    // A file without one line may only be the first line, cut: anything else is not ours to cut.
    let ours = line.is_some() || bytes.is_empty() || bytes.starts_with(b"{\"v\":");
    if !ours || half > LONGEST_LINE {
        return Err(OpenError::NotARecord);
    }
    Ok(Tail {
        line,
        whole: length - half,
        torn: half > 0,
    })
}
