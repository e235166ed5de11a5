//! The programs of the fence and the shared libraries that they name: what the sidecar's image consists of. On Linux these
//! are the programs beside `ocs` itself; elsewhere Linux ones, linked statically, lie in `linux/` beside it.
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::engine::spawn::Call;
use crate::exit::{Exit, Failure};
use crate::world::World;

const PROGRAMS: [&str; 2] = ["ocs-netctl", "ocs-proxy"];
/// The loader only maps files.
const LISTING: Duration = Duration::from_secs(20);

/// Each file on this machine, and its place in the image.
///
/// # Errors
/// A program of ours or a library of it is not there (exit 69).
pub(super) fn programs(world: &World) -> Result<Vec<(PathBuf, PathBuf)>, Failure> {
    let beside = if cfg!(target_os = "linux") {
        world.exe.clone()
    } else {
        world.exe.with_file_name("linux").join("ocs")
    };
    let mut files = Vec::new();
    for name in PROGRAMS {
        let program = beside.with_file_name(name);
        if !program.is_file() {
            let message = format!("{} is not there", program.display());
            return Err(Failure::new(Exit::Missing, message)
                .next("install ocs with the programs that came with it"));
        }
        if cfg!(target_os = "linux") {
            files.extend(
                libraries(&program)?
                    .into_iter()
                    .map(|path| (path.clone(), path)),
            );
        }
        files.push((program, Path::new("/bin").join(name)));
    }
    files.sort();
    files.dedup();
    Ok(files)
}

/// The libraries that the loader would load, and the loader; none for a program that is linked statically.
fn libraries(program: &Path) -> Result<Vec<PathBuf>, Failure> {
    let missing = |why: String| {
        Failure::new(
            Exit::Missing,
            format!("find the libraries of {}: {why}", program.display()),
        )
    };
    let ended = Call::new("ldd")
        .arguments([program])
        .run(LISTING)
        .map_err(|error| missing(error.to_string()))?;
    let listed = String::from_utf8_lossy(&ended.output);
    named(&listed).map_err(|library| missing(format!("{library} is not installed")))
}

/// ldd(1): `NAME => PATH (ADDRESS)`, `PATH (ADDRESS)` for the loader, `NAME (ADDRESS)` for what the kernel gives.
fn named(listed: &str) -> Result<Vec<PathBuf>, String> {
    let mut libraries = Vec::new();
    for line in listed.lines().map(str::trim) {
        let (name, rest) = line.split_once(" => ").unwrap_or((line, line));
        if rest.starts_with("not found") {
            return Err(name.to_owned());
        }
        let path = rest.split(" (").next().unwrap_or(rest);
        if path.starts_with('/') {
            libraries.push(PathBuf::from(path));
        }
    }
    Ok(libraries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loader_s_list_is_read_as_paths() {
        let listed = "\tlinux-vdso.so.1 (0x00007f)\n\tlibmnl.so.0 => /lib/x86_64-linux-gnu/libmnl.so.0 (0x00007f)\n\
            \t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        let paths = [
            "/lib/x86_64-linux-gnu/libmnl.so.0",
            "/lib64/ld-linux-x86-64.so.2",
        ]
        .map(PathBuf::from);
        assert_eq!(named(listed).unwrap(), paths);
        assert_eq!(
            named("\tlibmnl.so.0 => not found\n"),
            Err("libmnl.so.0".to_owned())
        );
        assert_eq!(
            named("\tstatically linked\n").unwrap(),
            Vec::<PathBuf>::new()
        );
    }

    #[test]
    fn the_libraries_of_a_program_that_runs_are_all_there() {
        let ourselves = std::env::current_exe().unwrap();
        let libraries = libraries(&ourselves).unwrap();
        assert!(libraries.iter().all(|path| path.is_file()), "{libraries:?}");
        assert!(
            libraries
                .iter()
                .any(|path| path.to_string_lossy().contains("libc.so")),
            "{libraries:?}"
        );
    }
}
