//! Signed words about a record, beside it: that a line had this number and this hash when a part was closed, or a run ended.
//! With one of them kept elsewhere, or with the key's public half, a record that was rewritten as a whole is noticed.
//!
//! `<run>.checkpoint` holds one JSON object per line; `signature` is over the line's bytes up to the comma in front of it.
//! The key is made at first use, lies beside the records (0600), and outside every mount of the agent. The proxy, which
//! speaks to the agent, never sees it. Not here: judging a record by them (`audit_cmd::verify`).
//! Clauses: R3, R5.
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use policies::audit::{Part, Record, Timestamp};
use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::audit_cmd::records;

pub(crate) use watcher::Watcher;

mod watcher;

/// Below the state directory of a sandbox.
const KEY_FILE: &str = "checkpoint.key";
/// Behind the name of a record, in place of `.jsonl`.
const EXTENSION: &str = "checkpoint";
/// Stands between what is signed and the signature.
const OPEN: &str = ",\"signature\":\"";
const CLOSE: &str = "\"}";
/// No line of a record is longer (`policies::audit` bounds every text in it).
const LINE_MAX_BYTES: u64 = 1 << 20;
/// No file of checkpoints is longer: 99,999 parts, and as many runs that were begun again.
const FILE_MAX_BYTES: u64 = 128 << 20;

/// A line of a record, as it was when it was signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Checkpoint {
    v: u32,
    time: Timestamp,
    sandbox: String,
    run: String,
    /// The number of the line.
    pub(crate) seq: u64,
    /// SHA-256 of its bytes, as `prev` of the next one has it.
    pub(crate) head: String,
    /// The public key, hex: who signed.
    pub(crate) key: String,
}

/// Why a file of checkpoints proves nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CheckpointError {
    /// It cannot be read.
    #[error("read {}: {error}", path.display())]
    Unreadable { path: PathBuf, error: io::Error },
    /// A line is none of ours, or its signature does not fit.
    #[error("{}:{line}: {why}", path.display())]
    Bad {
        path: PathBuf,
        line: usize,
        why: &'static str,
    },
}

/// The key of a sandbox's checkpoints.
pub(crate) struct Key(Ed25519KeyPair);

impl Key {
    /// The key that lies there, or a new one.
    ///
    /// # Errors
    /// It cannot be read or made, or others may read it.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        match Self::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::make(path)?,
            other => return other,
        }
        Self::read(path)
    }

    /// The key that lies there.
    ///
    /// # Errors
    /// There is none, or it is not what we made.
    pub(crate) fn read(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let mut file = options
            .read(true)
            .custom_flags(libc::O_NOFOLLOW)
            .open(path)?;
        let found = file.metadata()?;
        let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        if found.mode() & 0o077 != 0 {
            return Err(wrong(
                "others may read the key of the checkpoints: chmod 600",
            ));
        }
        let mut bytes = Vec::new();
        Read::take(&mut file, 1024).read_to_end(&mut bytes)?;
        let pair = Ed25519KeyPair::from_pkcs8(&bytes);
        pair.map(Self)
            .map_err(|_| wrong("not a key of checkpoints"))
    }

    fn make(path: &Path) -> io::Result<()> {
        let failed = |_| io::Error::other("the system gives no random numbers");
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(failed)?;
        let beside = path.with_extension(format!("new-{}", std::process::id()));
        let mut options = OpenOptions::new();
        let mut file = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&beside)?;
        let written = file
            .write_all(document.as_ref())
            .and_then(|()| file.sync_all());
        // Of two that make one at the same time, the first stays.
        let linked = written.and_then(|()| match fs::hard_link(&beside, path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            Ok(()) | Err(_) => Ok(()),
        });
        fs::remove_file(&beside)?;
        linked
    }

    /// The public half, hex.
    pub(crate) fn public(&self) -> String {
        hex(self.0.public_key().as_ref())
    }
}

/// Where the key of a record's checkpoints is.
pub(crate) fn key_of(record: &Path) -> Option<PathBuf> {
    Some(record.parent()?.parent()?.join(KEY_FILE))
}

/// Where the checkpoints of a record are, given any of its files.
pub(crate) fn beside(file: &Path) -> PathBuf {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let open = Part::parse(&name).open;
    let stem = open.strip_suffix(".jsonl").unwrap_or(&open);
    file.with_file_name(format!("{stem}.{EXTENSION}"))
}

/// Signs the last line of a file of the record; one that is empty or torn says nothing.
///
/// # Errors
/// The file, the key or the checkpoints cannot be read or written.
pub(crate) fn sign(file: &Path, now: SystemTime) -> io::Result<()> {
    let (Some(line), Some(key)) = (last_line(file)?, key_of(file)) else {
        return Ok(());
    };
    let Ok(record) = Record::parse(&line) else {
        return Ok(());
    };
    let key = Key::of(&key)?;
    let checkpoint = Checkpoint {
        v: 1,
        time: Timestamp::from(now),
        sandbox: record.sandbox,
        run: record.run,
        seq: record.seq,
        head: hex(&Sha256::digest(&line)),
        key: key.public(),
    };
    let mut text = serde_json::to_string(&checkpoint)?;
    text.pop();
    let signature = hex(key.0.sign(text.as_bytes()).as_ref());
    let mut options = OpenOptions::new();
    let mut options = options
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(beside(file))?;
    options.write_all(format!("{text}{OPEN}{signature}{CLOSE}\n").as_bytes())
}

/// Signs the end of a record.
///
/// # Errors
/// As for [`sign`].
pub(crate) fn sign_end(record: &Path, now: SystemTime) -> io::Result<()> {
    // Killed between closing a part and the next line, the open file is empty: the part's end is the record's.
    for file in records::files_of(record)?.into_iter().rev() {
        if fs::metadata(&file)?.len() > 0 {
            return sign(&file, now);
        }
    }
    Ok(())
}

/// The checkpoints of a record whose signatures fit the keys that they name; none where nothing was signed.
///
/// # Errors
/// One of them does not fit: then none proves anything.
pub(crate) fn read(path: &Path) -> Result<Vec<Checkpoint>, CheckpointError> {
    let unreadable = |error| CheckpointError::Unreadable {
        path: path.to_owned(),
        error,
    };
    let mut text = String::new();
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(error)),
        Ok(file) => file
            .take(FILE_MAX_BYTES)
            .read_to_string(&mut text)
            .map_err(unreadable)?,
    };
    let signed = |(at, line): (usize, &str)| {
        checked(line).map_err(|why| CheckpointError::Bad {
            path: path.to_owned(),
            line: at + 1,
            why,
        })
    };
    text.lines().enumerate().map(signed).collect()
}

fn checked(line: &str) -> Result<Checkpoint, &'static str> {
    const NONE: &str = "not a checkpoint";
    let (text, signature) = line.rsplit_once(OPEN).ok_or(NONE)?;
    let signature = signature.strip_suffix(CLOSE).and_then(unhex).ok_or(NONE)?;
    let checkpoint: Checkpoint = serde_json::from_str(&format!("{text}}}")).map_err(|_| NONE)?;
    let key = unhex(&checkpoint.key).ok_or(NONE)?;
    let verified = UnparsedPublicKey::new(&ED25519, key).verify(text.as_bytes(), &signature);
    verified.map_err(|_| "the signature does not fit")?;
    Ok(checkpoint)
}

/// The last line without its newline; none of a file that is empty or ends in half a line.
fn last_line(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LINE_MAX_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(LINE_MAX_BYTES).read_to_end(&mut bytes)?;
    if bytes.pop() != Some(b'\n') {
        return Ok(None);
    }
    let line = bytes.rsplit(|byte| *byte == b'\n').next();
    Ok(line.map(<[u8]>::to_vec))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| {
            u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16)
                .ok()
                .filter(|_| pair.len() == 2)
        })
        .collect()
}

#[cfg(test)]
mod tests;
