//! What an image is built from: the files of its context, its build arguments, and the hash over both that decides whether
//! there is anything to do. Writes the context to a directory of ours; builds nothing.
//! Clauses: U3 (nothing of the project goes in but its approved mise.toml; no password, no policy, no record).
use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// The pinned versions, `NAME=VALUE`.
const VERSIONS: &str = include_str!("../../../image/versions.env");
const AGENT: &str = include_str!("../../../image/agent/Dockerfile");
const SIDECAR: &str = include_str!("../../../image/sidecar/Dockerfile");
/// What `init` writes: it names only OpenCode, which the image has anyway, pinned.
const MISE_TEMPLATE: &str = include_str!("../../templates/mise.toml");

/// Where an extra certificate lies in the agent's image, and in its context.
const EXTRA_CA: &str = "/usr/local/share/ca-certificates/ocs-extra.crt";
const EXTRA_CA_IN_CONTEXT: &str = "ca/ocs-extra.crt";

/// The pinned versions by name.
pub(super) fn versions() -> BTreeMap<&'static str, &'static str> {
    let lines = VERSIONS.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once('=')).collect()
}

/// One file of a context.
#[derive(Clone, Debug, PartialEq, Eq)]
struct File {
    content: Vec<u8>,
    mode: u32,
}

/// All that an image is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Inputs {
    files: BTreeMap<PathBuf, File>,
    directories: Vec<PathBuf>,
    /// Build arguments by name.
    pub(super) arguments: BTreeMap<&'static str, String>,
}

/// What a project wants of its agent's image.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    /// Another base than the pinned one.
    pub(super) base: Option<&'a str>,
    /// The Python of the base's archive, such as 3.11.
    pub(super) python: Option<&'a str>,
    /// Names of Debian packages, valid and each once.
    pub(super) packages: &'a [policies::PackageName],
    /// Certificates in PEM that builds and the agent trust besides.
    pub(super) ca: Option<&'a [u8]>,
    /// The approved mise.toml.
    pub(super) mise: Option<&'a [u8]>,
    /// The user of the host.
    pub(super) ids: (u32, u32),
    /// The project's place in the box.
    pub(super) workspace: &'a str,
}

impl Inputs {
    /// The agent's image.
    pub(super) fn agent(wanted: &Wanted<'_>) -> Self {
        let mut inputs = Self::default();
        inputs.file("Dockerfile", AGENT.as_bytes(), 0o644);
        inputs.directories = vec!["ca".into(), "mise".into()];
        let versions = versions();
        let pinned = |name: &str| versions.get(name).copied().unwrap_or_default();
        let base = pinned("BASE_IMAGE");
        for name in ["NODE_VERSION", "OPENCODE_VERSION", "DEBIAN_PACKAGES"] {
            inputs.argument(name, pinned(name));
        }
        inputs.argument("TOOLS_IMAGE", base);
        inputs.argument("BASE_IMAGE", wanted.base.unwrap_or(base));
        let mut packages: Vec<&str> = wanted
            .packages
            .iter()
            .map(policies::PackageName::as_str)
            .collect();
        packages.sort_unstable();
        inputs.argument("AGENT_PACKAGES", &packages.join(" "));
        inputs.argument("PYTHON_VERSION", wanted.python.unwrap_or_default());
        inputs.argument("USER_ID", &wanted.ids.0.to_string());
        inputs.argument("GROUP_ID", &wanted.ids.1.to_string());
        inputs.argument("WORKSPACE_DIR", wanted.workspace);
        if let Some(ca) = wanted.ca {
            inputs.file(EXTRA_CA_IN_CONTEXT, ca, 0o644);
            inputs.argument("NODE_EXTRA_CA_CERTS", EXTRA_CA);
        }
        if let Some(mise) = wanted.mise.filter(|mise| asks_for_more(mise)) {
            inputs.file("mise/config.toml", mise, 0o644);
            inputs.argument("MISE_VERSION", pinned("MISE_VERSION"));
        }
        inputs
    }

    /// The fence's image: these files, at these places in it.
    ///
    /// # Errors
    /// One of them cannot be read.
    pub(super) fn sidecar(programs: &[(PathBuf, PathBuf)]) -> io::Result<Self> {
        let mut inputs = Self::default();
        inputs.file("Dockerfile", SIDECAR.as_bytes(), 0o644);
        inputs.directories = vec!["record".into()];
        for (from, to) in programs {
            let place = Path::new("root").join(to.strip_prefix("/").unwrap_or(to));
            inputs.file(place, &fs::read(from)?, 0o755);
        }
        Ok(inputs)
    }

    fn file(&mut self, path: impl Into<PathBuf>, content: &[u8], mode: u32) {
        let content = content.to_vec();
        self.files.insert(path.into(), File { content, mode });
    }

    fn argument(&mut self, name: &'static str, value: &str) {
        self.arguments.insert(name, value.to_owned());
    }

    /// SHA-256, hex, over every file, its mode and every argument; lengths come first, so that nothing runs together.
    pub(super) fn hash(&self) -> String {
        let mut hash = Sha256::new();
        let mut add = |part: &[u8]| {
            hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(part);
        };
        for (path, file) in &self.files {
            add(path.as_os_str().as_encoded_bytes());
            add(&file.mode.to_be_bytes());
            add(&file.content);
        }
        for (name, value) in &self.arguments {
            add(name.as_bytes());
            add(value.as_bytes());
        }
        let hash = hash.finalize();
        hash.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Writes the context as `directory`, which is made anew.
    ///
    /// # Errors
    /// The disk refuses.
    pub(super) fn write(&self, directory: &Path) -> io::Result<()> {
        match fs::remove_dir_all(directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        fs::create_dir_all(directory)?;
        for below in &self.directories {
            fs::create_dir_all(directory.join(below))?;
        }
        for (path, file) in &self.files {
            let path = directory.join(path);
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            let mut options = OpenOptions::new();
            let open = options.write(true).create_new(true).mode(file.mode);
            open.open(&path)?.write_all(&file.content)?;
        }
        Ok(())
    }
}

/// Whether a mise.toml asks for anything beyond the template's one tool.
fn asks_for_more(mise: &[u8]) -> bool {
    let lines = |text: &str| -> Vec<String> {
        let lines = text.lines().map(str::trim);
        let said = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        said.map(str::to_owned).collect()
    };
    let said = lines(&String::from_utf8_lossy(mise));
    !said.is_empty() && said != lines(MISE_TEMPLATE)
}

#[cfg(test)]
mod tests;
