//! `read-only-paths`: which paths of the host a box may be shown, judged by their text.
//!
//! The bias is to refusal. Whoever mounts a path resolves its links first and asks [`why_not_shown`] again.
//! Not responsible for whether a path exists.
//! Clauses: B1.

use super::Compiler;
use crate::ReadOnlyPath;
use crate::yaml::{Node, quoted};

/// What lies in a home and is worth stealing, or is ours. Neither these nor what holds them nor what they hold.
const IN_HOME: [&str; 83] = [
    ".age",
    ".ansible",
    ".aws",
    ".azure",
    ".bash_history",
    ".bitcoin",
    ".boto",
    ".cache/huggingface/token",
    ".cargo/credentials",
    ".cargo/credentials.toml",
    ".claude",
    ".claude.json",
    ".codex",
    ".composer/auth.json",
    ".config/1Password",
    ".config/age",
    ".config/Bitwarden CLI",
    ".config/BraveSoftware",
    ".config/chromium",
    ".config/composer/auth.json",
    ".config/configstore",
    ".config/containers/auth.json",
    ".config/doctl",
    ".config/fish/fish_variables",
    ".config/gcloud",
    ".config/gh",
    ".config/git/credentials",
    ".config/github-copilot",
    ".config/glab-cli",
    ".config/google-chrome",
    ".config/hub",
    ".config/microsoft-edge",
    ".config/op",
    ".config/rclone",
    ".config/Signal",
    ".config/sops",
    ".databrickscfg",
    ".docker",
    ".ethereum",
    ".fly",
    ".gem/credentials",
    ".gemini",
    ".git-credentials",
    ".gnupg",
    ".gradle/gradle.properties",
    ".huggingface",
    ".ivy2/.credentials",
    ".kube",
    ".local/share/fish/fish_history",
    ".local/share/gnome-keyring",
    ".local/share/keyrings",
    ".local/share/kwalletd",
    ".local/share/opencode",
    ".m2/settings.xml",
    ".mozilla",
    ".my.cnf",
    ".mysql_history",
    ".netlify",
    ".netrc",
    ".node_repl_history",
    ".npmrc",
    ".nuget/NuGet/NuGet.Config",
    ".oci",
    ".opencode-sandbox",
    ".password-store",
    ".pgpass",
    ".pki",
    ".psql_history",
    ".pypirc",
    ".python_history",
    ".rediscli_history",
    ".s3cfg",
    ".sbt/.credentials",
    ".snowflake",
    ".sops",
    ".ssh",
    ".terraform.d",
    ".thunderbird",
    ".vault-token",
    ".wrangler",
    ".yarnrc.yml",
    ".zsh_history",
    "Library/Keychains",
];

/// Directories of the system that hold sockets, secrets or the kernel; with all below them.
const IN_SYSTEM: [&str; 14] = [
    "/boot",
    "/dev",
    "/etc/docker",
    "/etc/kubernetes",
    "/etc/shadow",
    "/etc/ssh",
    "/etc/ssl/private",
    "/etc/sudoers",
    "/etc/sudoers.d",
    "/proc",
    "/run",
    "/sys",
    "/var/lib",
    "/var/run",
];

/// Directories that hold homes, or sockets of others: never as a whole, though something below may be shown.
const WHOLE: [&str; 5] = ["/home", "/Users", "/tmp", "/var/tmp", "/root"];

/// `PATH_MAX` of Linux, its NUL included.
const MAX_PATH: usize = 4_095;

impl Compiler {
    pub(super) fn read_only_paths(&mut self, node: Option<&Node>) -> Vec<ReadOnlyPath> {
        let mut paths = Vec::new();
        for (place, scalar) in self.items(node, "read-only-paths") {
            let text = scalar.text.as_str();
            let refusal = malformed(text)
                .or_else(|| why_not_shown(text, None).map(|why| (why.to_owned(), None)));
            match refusal {
                None => {
                    let rule = self.rule(place, text);
                    paths.push(ReadOnlyPath {
                        text: text.to_owned(),
                        rule,
                    });
                }
                Some((why, write)) => self.error(
                    place,
                    format!("{} cannot be shown: {why}", quoted(text)),
                    write,
                ),
            }
        }
        paths
    }
}

/// Why a text is no path that can be judged, and the corrected one.
pub(super) fn malformed(text: &str) -> Option<(String, Option<String>)> {
    let home_of_another = text.starts_with('~') && text != "~" && !text.starts_with("~/");
    if home_of_another || !(text.starts_with('/') || text.starts_with('~')) {
        return Some(("a path is absolute, or starts with `~/`".to_owned(), None));
    }
    if text.len() > MAX_PATH {
        return Some(("no path is that long".to_owned(), None));
    }
    if text.contains(char::is_control) {
        return Some(("it has a control character".to_owned(), None));
    }
    if text.contains('$') {
        return Some(("variables are not expanded; `~/` is".to_owned(), None));
    }
    let mut rest = text.split('/').skip(1);
    if rest.clone().any(|part| part == "..") {
        return Some(("`..` is not allowed".to_owned(), None));
    }
    if text != "/" && text != "~" && rest.any(|part| part.is_empty() || part == ".") {
        let parts = text
            .split('/')
            .filter(|part| !part.is_empty() && *part != ".");
        let clean = parts.collect::<Vec<_>>().join("/");
        let write = if text.starts_with('~') {
            clean
        } else {
            format!("/{clean}")
        };
        return Some((
            "it is not in its shortest form".to_owned(),
            Some(format!("- {write}")),
        ));
    }
    None
}

/// Why a path of the host is never shown in the box; `None` if it may be.
///
/// `path` is absolute or starts with `~/`, without `.`, `..` or double slashes; `home` is the user's home where it is
/// known. For a path whose links were resolved, pass what they lead to.
#[must_use]
pub fn why_not_shown(path: &str, home: Option<&str>) -> Option<&'static str> {
    if path == "/" {
        return Some("it is the whole machine");
    }
    if has_suffix(path, ".sock") {
        return Some("it is a socket");
    }
    if WHOLE.contains(&path) {
        return Some("it holds more than a project needs");
    }
    for secret in IN_SYSTEM {
        if is_within(path, secret) || is_within(secret, path) {
            return Some("it holds secrets or sockets of the system");
        }
    }
    let in_home = match in_some_home(path, home) {
        Some("") => return Some("it is a home"),
        Some(rest) => rest,
        None => return None,
    };
    for secret in IN_HOME {
        if is_within(in_home, secret) || is_within(secret, in_home) {
            return Some("it holds credentials or history");
        }
    }
    None
}

/// The part of a path below a home, whosever it is.
fn in_some_home<'p>(path: &'p str, home: Option<&str>) -> Option<&'p str> {
    let below = |home: &str| {
        let rest = path.strip_prefix(home.trim_end_matches('/'))?;
        if rest.is_empty() {
            Some("")
        } else {
            rest.strip_prefix('/')
        }
    };
    let known = home
        .and_then(below)
        .or_else(|| below("~"))
        .or_else(|| below("/root"));
    let others = || {
        let rest = path
            .strip_prefix("/home/")
            .or_else(|| path.strip_prefix("/Users/"))?;
        Some(rest.split_once('/').map_or("", |(_, below)| below))
    };
    known.or_else(others)
}

/// Whether `path` is `top` or lies below it, by whole components.
fn is_within(path: &str, top: &str) -> bool {
    let rest = path.strip_prefix(top);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn has_suffix(path: &str, suffix: &str) -> bool {
    path.len() > suffix.len() && path.ends_with(suffix)
}
