//! What doctor looks at, as values: files of the kernel, programs, and what a probe in namespaces of its own found. Judges
//! nothing; a test builds a machine out of a directory.
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::engine::spawn::Call;
use crate::world::World;

/// A version is printed at once, or the program is not what it seems.
const VERSION_LIMIT: Duration = Duration::from_secs(5);
/// The kernel may have to load modules for the probe.
const PROBE_LIMIT: Duration = Duration::from_secs(20);

/// The machine, or a picture of one.
pub(super) struct Machine {
    /// `/`, or the directory that stands for it.
    root: PathBuf,
    /// The directory of our own programs.
    companions: PathBuf,
    /// Where programs of the host are looked for.
    path: Vec<PathBuf>,
    /// Whether we are root.
    pub(super) is_root: bool,
    /// What the probe printed: `step: ok`, or `step: what failed`; none where it could not be run.
    pub(super) probed: Option<String>,
}

impl Machine {
    /// The machine that we run on.
    pub(super) fn this(world: &World) -> Self {
        let path = world.variable("PATH").unwrap_or_default();
        Self {
            root: PathBuf::from("/"),
            companions: world.exe.parent().unwrap_or(Path::new("/")).to_owned(),
            path: std::env::split_paths(&path)
                .filter(|place| place.is_absolute())
                .collect(),
            is_root: nix::unistd::geteuid().is_root(),
            probed: output(
                &Call::new(&world.exe).arguments(["probe-namespaces"]),
                PROBE_LIMIT,
            ),
        }
    }

    /// A picture of a machine.
    #[cfg(test)]
    pub(super) fn of(root: &Path, probed: Option<&str>) -> Self {
        Self {
            root: root.to_owned(),
            companions: root.join("ocs"),
            path: vec![root.join("bin")],
            is_root: false,
            probed: probed.map(str::to_owned),
        }
    }

    /// A small file of the kernel, without the space at its end.
    pub(super) fn text(&self, path: &str) -> Option<String> {
        let text = std::fs::read_to_string(self.root.join(path)).ok()?;
        Some(text.trim_end().to_owned())
    }

    /// Whether something is there.
    pub(super) fn has(&self, path: &str) -> bool {
        self.root.join(path).exists()
    }

    /// Whether we may write there.
    pub(super) fn can_write(&self, path: &str) -> bool {
        nix::unistd::access(&self.root.join(path), nix::unistd::AccessFlags::W_OK).is_ok()
    }

    /// A program of the host, by its fixed places.
    pub(super) fn program_at(&self, places: &[&str]) -> Option<PathBuf> {
        places
            .iter()
            .map(|place| self.root.join(place.trim_start_matches('/')))
            .find(|path| is_program(path))
    }

    /// A program of the host, by `PATH`.
    pub(super) fn program(&self, name: &str) -> Option<PathBuf> {
        self.path
            .iter()
            .map(|place| place.join(name))
            .find(|path| is_program(path))
    }

    /// One of our own programs.
    pub(super) fn companion(&self, name: &str) -> Result<PathBuf, PathBuf> {
        let path = self.companions.join(name);
        if is_program(&path) {
            Ok(path)
        } else {
            Err(path)
        }
    }

    /// What a program says to `--version`, first line.
    pub(super) fn version(&self, program: &Path) -> Option<String> {
        let text = output(&Call::new(program).arguments(["--version"]), VERSION_LIMIT)?;
        text.lines().next().map(str::to_owned)
    }
}

fn output(call: &Call, limit: Duration) -> Option<String> {
    let ended = call
        .run(limit)
        .ok()
        .filter(|ended| ended.status.success())?;
    Some(String::from_utf8_lossy(&ended.output).into_owned())
}

fn is_program(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}
