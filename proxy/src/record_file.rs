//! The files of a record: opened new or where an earlier run of the proxy left them, and closed as a part when it is time.
//!
//! A part is the file under another name: nothing is copied, and no line is ever removed. The chain goes on in the next
//! file. Not here: when it is time (`sink.rs`), the names (`policies::audit::Part`).
//! Clauses: R3, R5

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use policies::audit::{Chain, Header, LAST_PART, Packing, Part};
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
    /// How many parts were closed before.
    pub(crate) parts: u32,
}

/// Opens the file for appending, and makes it if it is not there.
pub(crate) fn open(path: &Path, header: &Header) -> Result<Opened, OpenError> {
    let mut file = append_to(path, OFlags::CREATE)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(OpenError::NotAFile);
    }
    if metadata.uid() != geteuid().as_raw() || metadata.mode() & 0o022 != 0 {
        return Err(OpenError::NotOurs);
    }
    flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|_| OpenError::Busy)?;
    let tail = tail(&mut file)?;
    let last = last_part(path)?;
    let before = match (&tail.line, &last) {
        (Some(line), _) => Some(line.clone()),
        // Killed between closing a part and the first line of the next file: the part's last line is the one before.
        (None, Some((_, part))) => tail_of_part(part)?,
        (None, None) => None,
    };
    let chain = match before {
        None => Chain::new(header),
        Some(line) => Chain::after(header, &line).ok_or(OpenError::NotARecord)?,
    };
    if tail.torn {
        file.set_len(tail.whole)?;
    }
    Ok(Opened {
        file,
        chain,
        length: tail.whole,
        torn: tail.torn,
        parts: last.map_or(0, |(number, _)| number),
    })
}

/// Closes the open file as the next part, and opens a new one in its place.
///
/// # Errors
/// The part is there already, or the disk refused: the file at `path` is the one that it was.
pub(crate) fn rotate(path: &Path, number: u32) -> io::Result<File> {
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.ok_or(io::ErrorKind::InvalidFilename)?;
    if number > LAST_PART {
        return Err(io::ErrorKind::StorageFull.into());
    }
    let part = path.with_file_name(Part::name(name, number));
    // Nobody else names files here: the directory is ours alone (R5), and we hold the record's lock.
    match part.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
        Ok(_) => return Err(io::ErrorKind::AlreadyExists.into()),
    }
    std::fs::rename(path, &part)?;
    let next = append_to(path, OFlags::CREATE | OFlags::EXCL).and_then(|file| {
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        Ok(file)
    });
    if next.is_err() {
        // Not undone, the part simply grows on, and the next start goes on behind it.
        std::fs::rename(&part, path).ok();
    }
    next
}

fn append_to(path: &Path, more: OFlags) -> io::Result<File> {
    let flags = OFlags::RDWR
        | OFlags::APPEND
        | OFlags::CLOEXEC
        | OFlags::NOFOLLOW
        | OFlags::NOCTTY
        | OFlags::NONBLOCK
        | more;
    Ok(File::from(open_fd(path, flags, Mode::RUSR | Mode::WUSR)?))
}

/// The newest part beside the open file, with its number.
fn last_part(path: &Path) -> io::Result<Option<(u32, PathBuf)>> {
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        Some(_) | None => Path::new("."),
    };
    let Some(open) = path.file_name().and_then(|name| name.to_str()) else {
        return Ok(None);
    };
    let mut last = None;
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let part = entry.file_name().to_str().map(Part::parse);
        let number = part
            .filter(|part| part.open == open)
            .and_then(|it| it.number);
        if let Some(number) = number {
            last = last.max(Some((number, entry.path())));
        }
    }
    Ok(last)
}

/// The last line of a part. One that was compressed in the meantime, or ends in half a line, is not ours to go on behind.
fn tail_of_part(part: &Path) -> Result<Option<Vec<u8>>, OpenError> {
    let name = part.file_name().and_then(|name| name.to_str());
    let packing = name.map_or(Packing::Plain, |name| Part::parse(name).packing);
    let mut file = append_to(part, OFlags::empty())?;
    flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|_| OpenError::Busy)?;
    let tail = tail(&mut file)?;
    if packing != Packing::Plain || tail.torn || tail.line.is_none() {
        return Err(OpenError::NotARecord);
    }
    Ok(tail.line)
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
