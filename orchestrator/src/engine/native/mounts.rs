//! Carries covers out, in a mount namespace that the box's own is a slave of: what is bound here appears there. Every bind
//! is finished in a corner of ours, read-only and private, before it is attached, so the box never sees it half done. No
//! path in the project is followed: each step is opened by itself, without links.
//! Clauses: B2.
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::{Mode, SFlag, fstat};
use nix::sys::statvfs::{FsFlags, fstatvfs};

use crate::engine::cover::{Cover, Covers, How};

/// What could not be mounted.
#[derive(Debug, thiserror::Error)]
#[error("{what} {}", path.display())]
pub(crate) struct MountError {
    what: &'static str,
    path: PathBuf,
    #[source]
    source: Errno,
}

type Result<T> = std::result::Result<T, MountError>;

/// For errors that name a path.
fn at<'a>(what: &'static str, path: &'a Path) -> impl Fn(Errno) -> MountError + 'a {
    move |source| MountError {
        what,
        path: path.to_owned(),
        source,
    }
}

/// Covers everything. The mount namespace must be new, and ours.
///
/// # Errors
/// A place cannot be covered; then nothing may be started.
pub(crate) fn cover(covers: &Covers) -> Result<()> {
    let root = Path::new("/");
    change(root, MsFlags::MS_SLAVE | MsFlags::MS_REC).map_err(at("cut off", root))?;
    let project = covers.project.as_path();
    bind(project, project).map_err(at("bind", project))?;
    receive_later_mounts(project)?;
    covers
        .list
        .iter()
        .enumerate()
        .try_for_each(|(number, cover)| covers.one(number, cover))
}

/// Covers again what is not covered any longer, because something on the host replaced it.
///
/// # Errors
/// A place cannot be covered; then the agent must not go on.
pub(crate) fn mend(covers: &Covers) -> Result<()> {
    let table = "/proc/thread-self/mountinfo";
    let mounts = std::fs::read_to_string(table).map_err(|error| MountError {
        what: "read",
        path: table.into(),
        source: Errno::from_raw(error.raw_os_error().unwrap_or(0)),
    })?;
    // proc_pid_mountinfo(5): the fifth field is the mount point, with some bytes in octal.
    let mounted: Vec<PathBuf> = mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(unescaped)
        .collect();
    for (number, cover) in covers.list.iter().enumerate() {
        if !mounted.contains(&covers.project.join(&cover.path)) {
            covers.one(number, cover)?;
        }
    }
    Ok(())
}

impl Covers {
    fn one(&self, number: usize, cover: &Cover) -> Result<()> {
        let path = self.project.join(&cover.path);
        let target = self.open(&cover.path).map_err(at("open", &path))?;
        let kind = fstat(&target).map_err(at("look at", &path))?.st_mode;
        let kind = SFlag::from_bits_truncate(kind) & SFlag::S_IFMT;
        let is_directory = kind == SFlag::S_IFDIR;
        if !is_directory && (kind != SFlag::S_IFREG || cover.how == How::Pin) {
            return Err(at("protect", &path)(Errno::EINVAL));
        }
        let corner = self
            .corner
            .join(if is_directory { "directory" } else { "file" });
        let (source, access) = match cover.how {
            How::Pin => (magic(&target), MsFlags::empty()),
            How::ReadOnly => (magic(&target), MsFlags::MS_RDONLY),
            How::Show(_) => (self.corner.join(number.to_string()), MsFlags::MS_RDONLY),
        };
        bind(&source, &corner).map_err(at("bind", &path))?;
        let attached = change(&corner, MsFlags::MS_PRIVATE | MsFlags::MS_REC)
            .and_then(|()| restrict(&corner, access))
            .and_then(|()| bind(&corner, &magic(&target)))
            .map_err(at("protect", &path));
        let cleared = umount2(&corner, MntFlags::MNT_DETACH).map_err(at("leave", &corner));
        attached.and(cleared)?;
        if cover.how == How::Pin {
            receive_later_mounts(&path)
        } else {
            Ok(())
        }
    }

    /// Opens a place of the project step by step.
    fn open(&self, path: &Path) -> nix::Result<OwnedFd> {
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mut at = open(&self.project, flags | OFlag::O_DIRECTORY, Mode::empty())?;
        for component in path.components() {
            let Component::Normal(name) = component else {
                return Err(Errno::EINVAL);
            };
            at = openat(&at, name, flags, Mode::empty())?;
        }
        Ok(at)
    }
}

/// The one path that means exactly what a descriptor means.
fn magic(descriptor: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", descriptor.as_raw_fd()))
}

fn bind(from: &Path, to: &Path) -> nix::Result<()> {
    // Recursive, because the kernel gives no part of a tree whose mounts hide something.
    mount(
        Some(from),
        to,
        NOTHING,
        MsFlags::MS_BIND | MsFlags::MS_REC,
        NOTHING,
    )
}

const NOTHING: Option<&Path> = None;

fn change(at: &Path, propagation: MsFlags) -> nix::Result<()> {
    mount(NOTHING, at, NOTHING, propagation, NOTHING)
}

/// A group of its own: mounts made in it later reach the box, and those made elsewhere do not come here.
fn receive_later_mounts(at_path: &Path) -> Result<()> {
    change(at_path, MsFlags::MS_PRIVATE)
        .and_then(|()| change(at_path, MsFlags::MS_SHARED))
        .map_err(at("share", at_path))
}

/// Adds restrictions to a mount. The ones it has must be named again, or the kernel takes it for an attempt to lift them.
fn restrict(at: &Path, access: MsFlags) -> nix::Result<()> {
    let here = open(at, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?;
    let has = fstatvfs(&here)?.flags();
    let kept = [
        (FsFlags::ST_RDONLY, MsFlags::MS_RDONLY),
        (FsFlags::ST_NOEXEC, MsFlags::MS_NOEXEC),
        (FsFlags::ST_NOATIME, MsFlags::MS_NOATIME),
        (FsFlags::ST_NODIRATIME, MsFlags::MS_NODIRATIME),
        (FsFlags::ST_RELATIME, MsFlags::MS_RELATIME),
    ];
    let kept = kept.into_iter().filter(|(flag, _)| has.contains(*flag));
    let kept = kept.fold(access, |flags, (_, flag)| flags | flag);
    let always = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(NOTHING, at, NOTHING, always | kept, NOTHING)
}

/// A path of mountinfo, where space, tab, newline and backslash are `\040` and so on.
fn unescaped(text: &str) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    let bytes = text.as_bytes();
    let mut path = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let octal = (*byte == b'\\').then(|| text.get(at + 1..at + 4)).flatten();
        match octal.and_then(|octal| u8::from_str_radix(octal, 8).ok()) {
            Some(meant) => {
                path.push(meant);
                at += 4;
            }
            None => {
                path.push(*byte);
                at += 1;
            }
        }
    }
    PathBuf::from(std::ffi::OsString::from_vec(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_the_mount_table_are_read_back() {
        assert_eq!(
            unescaped(r"/a\040b\134\011c\01"),
            Path::new("/a b\\\tc\\01")
        );
    }
}
