//! Cgroups of the box, for limits that nothing else keeps: memory, processors, and for root the number of processes. One
//! directory with version 2, one for each controller with version 1; made where the kernel lets this user, or not at all.
//! Not responsible for what is limited (`launch/native.rs`).
//! Clauses: B3 (a box that is to be limited and cannot be is not started), U3.
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};

/// What to limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// In bytes.
    pub(crate) memory: Option<u64>,
    /// In thousandths of a processor.
    pub(crate) cpus_milli: Option<u32>,
    /// Processes and threads.
    pub(crate) pids: Option<u64>,
}

impl Bounds {
    fn controllers(&self) -> Vec<&'static str> {
        let wanted = [
            ("memory", self.memory.is_some()),
            ("cpu", self.cpus_milli.is_some()),
            ("pids", self.pids.is_some()),
        ];
        let wanted = wanted.into_iter().filter(|(_, wanted)| *wanted);
        wanted.map(|(name, _)| name).collect()
    }
}

/// Where cgroups for certain bounds can be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Parents {
    bounds: Bounds,
    version: Version,
    directories: Vec<(PathBuf, Vec<&'static str>)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// What a cgroup's directory of ours is called: this, the sandbox, the run.
const PREFIX: &str = "ocs-";

impl Parents {
    /// Finds them; `root` is `/`.
    ///
    /// # Errors
    /// The first controller that this user has nowhere.
    pub(crate) fn find(root: &Path, bounds: Bounds) -> Result<Self, &'static str> {
        let own = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
        let wanted = bounds.controllers();
        if let Some(directory) = handed_down(root, &own, &wanted) {
            return Ok(Self {
                bounds,
                version: Version::Two,
                directories: vec![(directory, wanted)],
            });
        }
        let directories = wanted.iter().map(|controller| {
            let directory = hierarchy(root, &own, controller).ok_or(*controller)?;
            Ok((directory, vec![*controller]))
        });
        Ok(Self {
            bounds,
            version: Version::One,
            directories: directories.collect::<Result<_, _>>()?,
        })
    }

    /// Makes the cgroups of a run.
    ///
    /// # Errors
    /// The kernel refused; what was made is removed.
    pub(crate) fn make(&self, sandbox: &str, run: &str) -> io::Result<Cgroups> {
        let mut made = Cgroups(Vec::new());
        for (parent, controllers) in &self.directories {
            let directory = parent.join(format!("{PREFIX}{sandbox}-{run}"));
            fs::create_dir(&directory)?;
            made.0.push(directory.clone());
            for controller in controllers {
                for (file, text) in self.settings(controller) {
                    let path = directory.join(file);
                    let written = fs::write(&path, text);
                    // Not every kernel counts what is swapped out; where it does, it counts.
                    if !file.contains("sw") || path.exists() {
                        written?;
                    }
                }
            }
        }
        Ok(made)
    }

    /// Removes what dead runs of a sandbox left: the kernel keeps a cgroup with a process in it.
    pub(crate) fn sweep(&self, sandbox: &str, lives: &dyn Fn(&str) -> bool) {
        let prefix = format!("{PREFIX}{sandbox}-");
        for (parent, _) in &self.directories {
            for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                if name.strip_prefix(&prefix).is_some_and(|run| !lives(run)) {
                    fs::remove_dir(entry.path()).ok();
                }
            }
        }
    }

    /// Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/, of the kernel.
    fn settings(&self, controller: &str) -> Vec<(&'static str, String)> {
        let Bounds {
            memory,
            cpus_milli,
            pids,
        } = self.bounds;
        let memory = memory.unwrap_or(u64::MAX).to_string();
        // Microseconds of a processor in each tenth of a second.
        let quota = (u64::from(cpus_milli.unwrap_or_default()) * 100).max(1000);
        match (controller, self.version) {
            ("memory", Version::Two) => {
                vec![("memory.max", memory), ("memory.swap.max", "0".to_owned())]
            }
            ("memory", Version::One) => vec![
                ("memory.limit_in_bytes", memory.clone()),
                ("memory.memsw.limit_in_bytes", memory),
            ],
            ("cpu", Version::Two) => vec![("cpu.max", format!("{quota} 100000"))],
            ("cpu", Version::One) => vec![
                ("cpu.cfs_period_us", "100000".to_owned()),
                ("cpu.cfs_quota_us", quota.to_string()),
            ],
            (_, _) => vec![("pids.max", pids.unwrap_or(u64::MAX).to_string())],
        }
    }
}

/// The cgroups of one run. Dropped, they are removed, if nothing is in them any longer.
#[derive(Debug)]
pub(crate) struct Cgroups(Vec<PathBuf>);

impl Cgroups {
    /// Takes a process in, and whatever it starts from now on.
    ///
    /// # Errors
    /// The kernel refused: the process is not limited.
    pub(crate) fn admit(&self, pid: i32) -> io::Result<()> {
        self.0
            .iter()
            .try_for_each(|directory| fs::write(directory.join("cgroup.procs"), pid.to_string()))
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        for directory in &self.0 {
            // The next start tries again.
            fs::remove_dir(directory).ok();
        }
    }
}

/// Version 2: the nearest cgroup above our own that hands the controllers down, and that this user may add to.
fn handed_down(root: &Path, own: &str, wanted: &[&str]) -> Option<PathBuf> {
    let mount = root.join("sys/fs/cgroup");
    let own = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let own = mount.join(own);
    own.ancestors()
        .take_while(|directory| directory.starts_with(&mount))
        .find(|directory| {
            let handed = fs::read_to_string(directory.join("cgroup.subtree_control"));
            let handed = handed.unwrap_or_default();
            let has = |wanted: &&str| handed.split_whitespace().any(|has| has == *wanted);
            wanted.iter().all(has) && may_add(directory)
        })
        .map(Path::to_owned)
}

/// Version 1: our own cgroup of that controller.
fn hierarchy(root: &Path, own: &str, controller: &str) -> Option<PathBuf> {
    let place = own.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (names, place) = rest.split_once(':')?;
        let is_it = names.split(',').any(|name| name == controller);
        is_it.then(|| place.trim_start_matches('/').to_owned())
    })?;
    let mount = root.join("sys/fs/cgroup").join(controller);
    // In a container the mount may show our own cgroup as its root.
    let candidates = [mount.join(place), mount];
    candidates.into_iter().find(|directory| may_add(directory))
}

fn may_add(directory: &Path) -> bool {
    let procs = directory.join("cgroup.procs");
    access(directory, AccessFlags::W_OK).is_ok() && access(&procs, AccessFlags::W_OK).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Bounds = Bounds {
        memory: Some(1 << 20),
        cpus_milli: Some(1500),
        pids: Some(64),
    };

    fn file(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn read(path: &Path) -> String {
        fs::read_to_string(path).unwrap()
    }

    #[test]
    fn version_2_is_used_where_a_cgroup_above_hands_the_controllers_down() {
        let keep = tempfile::tempdir().unwrap();
        let root = keep.path();
        file(root, "proc/self/cgroup", "0::/user/app/run.scope\n");
        for (place, handed) in [
            ("user", "cpu memory pids"),
            ("user/app", "memory pids"),
            ("user/app/run.scope", ""),
        ] {
            let directory = format!("sys/fs/cgroup/{place}");
            file(root, &format!("{directory}/cgroup.subtree_control"), handed);
            file(root, &format!("{directory}/cgroup.procs"), "");
        }
        let app = root.join("sys/fs/cgroup/user/app");
        let memory = Bounds {
            cpus_milli: None,
            ..ALL
        };
        let parents = Parents::find(root, memory).unwrap();
        assert_eq!(parents.directories, [(app, vec!["memory", "pids"])]);
        let parents = Parents::find(root, ALL).unwrap();
        let made = parents.make("x-1", "run").unwrap();
        let directory = root.join("sys/fs/cgroup/user/ocs-x-1-run");
        assert_eq!(made.0, std::slice::from_ref(&directory));
        for (name, text) in [
            ("memory.max", "1048576"),
            ("memory.swap.max", "0"),
            ("cpu.max", "150000 100000"),
            ("pids.max", "64"),
        ] {
            assert_eq!(read(&directory.join(name)), text, "{name}");
        }
        made.admit(7).unwrap();
        assert_eq!(read(&directory.join("cgroup.procs")), "7");
    }

    #[test]
    fn version_1_has_a_directory_for_each_controller() {
        let keep = tempfile::tempdir().unwrap();
        let root = keep.path();
        let own = "4:memory:/a\n3:cpu,cpuacct:/b\n2:pids:/gone\n0::/\n";
        file(root, "proc/self/cgroup", own);
        for place in ["memory/a", "cpu/b", "pids"] {
            file(root, &format!("sys/fs/cgroup/{place}/cgroup.procs"), "");
        }
        let parents = Parents::find(root, ALL).unwrap();
        let made = parents.make("x-1", "run").unwrap();
        let cgroup = |place: &str| root.join("sys/fs/cgroup").join(place).join("ocs-x-1-run");
        assert_eq!(
            made.0,
            [cgroup("memory/a"), cgroup("cpu/b"), cgroup("pids")]
        );
        assert_eq!(read(&cgroup("cpu/b").join("cpu.cfs_quota_us")), "150000");
        assert_eq!(
            read(&cgroup("memory/a").join("memory.limit_in_bytes")),
            "1048576"
        );
    }

    #[test]
    fn a_controller_that_is_nowhere_is_named() {
        let keep = tempfile::tempdir().unwrap();
        file(keep.path(), "proc/self/cgroup", "4:memory:/a\n0::/\n");
        file(keep.path(), "sys/fs/cgroup/memory/a/cgroup.procs", "");
        assert_eq!(Parents::find(keep.path(), ALL), Err("cpu"));
    }

    #[test]
    fn only_empty_cgroups_of_dead_runs_of_the_sandbox_are_swept() {
        let keep = tempfile::tempdir().unwrap();
        let parents = Parents {
            bounds: ALL,
            version: Version::Two,
            directories: vec![(keep.path().to_owned(), vec![])],
        };
        for name in ["ocs-x-1-dead", "ocs-x-1-alive", "ocs-x-2-dead", "other"] {
            fs::create_dir(keep.path().join(name)).unwrap();
        }
        parents.sweep("x-1", &|run| run == "alive");
        let left = fs::read_dir(keep.path()).unwrap();
        let mut left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["ocs-x-1-alive", "ocs-x-2-dead", "other"]);
    }
}
