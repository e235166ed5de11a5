//! The image of holder, proxy and probe: our two programs and the libraries that they load, and nothing else that runs. Made
//! from what lies beside `ocs` where the engine does not have it yet; its tag is what it was made of, so it is never stale.
//!
//! Not here: the agent's image (`ocs build`).
//! Clauses: N11.
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::client::Client;
use crate::engine::spawn::Call;
use crate::exit::{Exit, Failure};

/// What the image's name begins with.
const NAME: &str = "localhost/ocs-sidecar";
/// Where the programs lie in it.
const PROGRAMS: &str = "usr/bin";
/// The loader lists what a program loads in a few milliseconds.
const LISTED: Duration = Duration::from_secs(10);

/// The image, made where it is not there. `scratch` is a directory of the run, for the archive.
///
/// # Errors
/// The programs cannot be read, or the engine does not take the image.
pub(crate) fn ensure(
    client: &Client,
    programs: [&Path; 2],
    scratch: &Path,
) -> Result<String, Failure> {
    let failed = |error: io::Error| {
        Failure::new(Exit::Missing, "make the image of ocs-proxy and ocs-netctl").because(error)
    };
    if !cfg!(target_os = "linux") {
        return given(client);
    }
    let files = files(programs).map_err(failed)?;
    let image = format!("{NAME}:{}", tag(&files).map_err(failed)?);
    if client.call(["image", "inspect", &image]).is_ok() {
        return Ok(image);
    }
    let archive = scratch.join("sidecar.tar");
    write(&files, &archive).map_err(failed)?;
    let imported = client.call(["import".as_ref(), archive.as_os_str(), image.as_ref()]);
    fs::remove_file(&archive).map_err(failed)?;
    imported.map(|_| image).map_err(|refused| {
        Failure::new(Exit::Missing, format!("{}: {}", refused.call, refused.said))
    })
}

/// Where our own programs are none of Linux, the image comes with a release.
fn given(client: &Client) -> Result<String, Failure> {
    let image = format!("{NAME}:{}", env!("CARGO_PKG_VERSION"));
    match client.call(["image", "inspect", &image]) {
        Ok(_) => Ok(image),
        Err(_) => Err(
            Failure::new(Exit::Missing, format!("the image {image} is not there"))
                .next(format!("{} load -i ocs-sidecar.tar", client.kind.name())),
        ),
    }
}

/// A file of the host, and its name in the image.
type Files = Vec<(PathBuf, PathBuf)>;

fn files(programs: [&Path; 2]) -> io::Result<Files> {
    let mut libraries = BTreeSet::new();
    let mut files = Files::new();
    for program in programs {
        let name = program.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        files.push((program.to_owned(), Path::new(PROGRAMS).join(name)));
        let listed = Call::new("ldd").arguments([program]).run(LISTED);
        let listed = listed.map_err(io::Error::other)?;
        libraries.extend(loaded(&String::from_utf8_lossy(&listed.output)));
    }
    for library in libraries {
        let inside = library.strip_prefix("/").map_err(io::Error::other)?;
        files.push((library.clone(), inside.to_owned()));
    }
    Ok(files)
}

/// ldd(1): `NAME => PATH (ADDRESS)`, and the loader as a path by itself. A static program has none.
fn loaded(listed: &str) -> Vec<PathBuf> {
    let paths = listed
        .split_whitespace()
        .filter(|word| word.starts_with('/'));
    paths.map(PathBuf::from).collect()
}

/// The first 12 digits of a hash over names and contents.
fn tag(files: &Files) -> io::Result<String> {
    let mut all = Sha256::new();
    for (from, inside) in files {
        let mut one = Sha256::new();
        let mut file = File::open(from)?;
        let mut buffer = vec![0; 1 << 16];
        loop {
            let length = file.read(&mut buffer)?;
            if length == 0 {
                break;
            }
            one.update(buffer.get(..length).unwrap_or_default());
        }
        all.update(inside.as_os_str().as_encoded_bytes());
        all.update([0]);
        all.update(one.finalize());
    }
    let digits: String = all
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    Ok(digits.chars().take(12).collect())
}

fn write(files: &Files, archive: &Path) -> io::Result<()> {
    let mut archive = tar::Builder::new(File::create_new(archive)?);
    for place in [PROGRAMS, "run/ocs", "etc", "tmp"] {
        archive.append_data(
            &mut header(tar::EntryType::Directory, 0o755, 0),
            place,
            io::empty(),
        )?;
    }
    for (from, inside) in files {
        let file = File::open(from)?;
        let length = file.metadata()?.len();
        archive.append_data(
            &mut header(tar::EntryType::Regular, 0o755, length),
            inside,
            file,
        )?;
    }
    archive.into_inner()?.sync_all()
}

/// Nobody's in particular, and always the same.
fn header(kind: tar::EntryType, mode: u32, length: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(length);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_program_loads_is_read_from_the_loader_s_list() {
        let listed = "\tlinux-vdso.so.1 (0x00007ffd)\n\tlibmnl.so.0 => /lib/x/libmnl.so.0 (0x7f)\n\t/lib64/ld.so.2 (0x7f)\n";
        let expected = ["/lib/x/libmnl.so.0", "/lib64/ld.so.2"].map(PathBuf::from);
        assert_eq!(loaded(listed), expected);
        assert!(loaded("\tnot a dynamic executable\n").is_empty());
    }

    #[test]
    fn another_program_or_another_name_is_another_image() {
        let keep = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = keep.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let (one, two) = (file("one", "1"), file("two", "2"));
        let of = |from: &Path, inside: &str| tag(&vec![(from.to_owned(), inside.into())]).unwrap();
        let tags = BTreeSet::from([of(&one, "a"), of(&two, "a"), of(&one, "b")]);
        assert_eq!((tags.len(), of(&one, "a").len()), (3, 12));
        assert_eq!(of(&one, "a"), of(&one, "a"));
    }
}
