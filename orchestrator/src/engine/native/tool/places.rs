//! Which places of the host the box shows anyway, may show, and never shows.
//! Clauses: B1.
use std::path::{Path, PathBuf};

/// The places that judging a path needs to know.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    /// The user's home, with no symlink left in it.
    pub(crate) home: PathBuf,
    /// The project, with no symlink left in it.
    pub(crate) project: PathBuf,
}

/// System directories that every box has.
const SYSTEM: [&str; 8] = [
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/nix/var/nix/profiles/default",
];

/// Directories that are no program's install directory: too much else lies there.
const BROAD: [&str; 18] = [
    "/", "/boot", "/data", "/dev", "/etc", "/home", "/media", "/mnt", "/nix", "/opt", "/proc",
    "/root", "/run", "/srv", "/sys", "/tmp", "/var", "/work",
];

/// Below a home: where programs and people keep keys, tokens and sessions.
const CREDENTIALS: [&str; 46] = [
    ".aws",
    ".azure",
    ".boto",
    ".cert",
    ".config/1Password",
    ".config/chromium",
    ".config/containers",
    ".config/doctl",
    ".config/gcloud",
    ".config/gh",
    ".config/glab-cli",
    ".config/google-chrome",
    ".config/hub",
    ".config/op",
    ".config/pip",
    ".config/rclone",
    ".config/sops",
    ".config/systemd",
    ".databrickscfg",
    ".dbus",
    ".docker",
    ".git-credentials",
    ".gnupg",
    ".hex",
    ".ivy2",
    ".kube",
    ".local/share/keyrings",
    ".local/share/opencode",
    ".local/state",
    ".m2",
    ".minikube",
    ".mozilla",
    ".my.cnf",
    ".netrc",
    ".npmrc",
    ".oci",
    ".opencode-sandbox",
    ".password-store",
    ".pgpass",
    ".pki",
    ".pypirc",
    ".ssh",
    ".subversion",
    ".terraform.d",
    ".thunderbird",
    ".vault-token",
];

/// Below a home: directories that hold programs and other things beside; the programs in them are shown one by one.
const MIXED: [&str; 15] = [
    ".cache",
    ".cargo",
    ".claude",
    ".codex",
    ".composer",
    ".conda",
    ".config",
    ".gem",
    ".gemini",
    ".gradle",
    ".local",
    ".local/share",
    ".nuget",
    ".sdkman",
    ".vscode",
];

impl Places {
    /// Whether every box shows it.
    pub(crate) fn always_visible(&self, path: &Path) -> bool {
        path.starts_with(&self.project) || SYSTEM.iter().any(|system| path.starts_with(system))
    }

    /// Whether a directory is narrow enough to be shown as a whole.
    pub(crate) fn may_show(&self, directory: &Path) -> bool {
        let broad = BROAD.iter().any(|broad| directory == Path::new(broad));
        let above = self.home.starts_with(directory) || self.project.starts_with(directory);
        if broad || above || !directory.is_absolute() || self.credentials_in_or_above(directory) {
            return false;
        }
        match directory.strip_prefix(&self.home) {
            // Directly in a home: hidden ones are programs' own, others are the person's.
            Ok(below) if below.components().count() == 1 => {
                below.as_os_str().as_encoded_bytes().starts_with(b".") && !is_one_of(&MIXED, below)
            }
            Ok(below) => !is_one_of(&MIXED, below),
            Err(_) => directory.components().count() > 3 || !directory.starts_with("/home"),
        }
    }

    /// The place of credentials that `path` lies in, if it does.
    pub(crate) fn credentials_above(&self, path: &Path) -> Option<PathBuf> {
        if path.starts_with(&self.project) {
            return None;
        }
        let in_home = CREDENTIALS.iter().map(|place| self.home.join(place));
        let system = [
            "/etc/ssl/private",
            "/etc/pki/tls/private",
            "/run/secrets",
            "/var/run/secrets",
        ];
        let known = in_home
            .chain(system.map(PathBuf::from))
            .find(|place| path.starts_with(place));
        // Whoever's home it is: the words are the same.
        let hidden = || {
            let mut parts = path.ancestors();
            let named = [".ssh", ".gnupg", ".aws", ".kube", ".docker"];
            parts.find(|part| {
                part.file_name()
                    .is_some_and(|name| named.iter().any(|word| name == *word))
            })
        };
        known.or_else(|| hidden().map(Path::to_owned))
    }

    /// Why a path that a config lists must not be shown, as a place; none if it may be. `path` has no symlink left in it.
    pub(crate) fn refuses(&self, path: &Path) -> Option<PathBuf> {
        if let Some(place) = self.credentials_above(path) {
            return Some(place);
        }
        let inside = CREDENTIALS
            .iter()
            .map(|place| self.home.join(place))
            .find(|place| place.starts_with(path));
        let whole = self.home.starts_with(path)
            || ["/", "/etc", "/proc", "/dev", "/run", "/sys", "/var"]
                .iter()
                .any(|whole| path == Path::new(whole));
        if whole {
            Some(path.to_owned())
        } else {
            inside.filter(|place| place.exists())
        }
    }

    fn credentials_in_or_above(&self, directory: &Path) -> bool {
        let inside = CREDENTIALS
            .iter()
            .any(|place| self.home.join(place).starts_with(directory));
        inside || self.credentials_above(directory).is_some()
    }
}

fn is_one_of(list: &[&str], path: &Path) -> bool {
    list.iter().any(|entry| path == Path::new(entry))
}
