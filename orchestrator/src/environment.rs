//! The variables that the agent starts with. Nothing of the host's environment goes in but what is named here or listed in
//! the config. Reads no environment itself: `World` and the hook give the values.
//! Clauses: B1, B6, U4.
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use policies::Config;

use crate::exit::Failure;
use crate::world::World;

/// What the agent's variables are made of.
#[derive(Debug)]
pub(crate) struct Inside<'a> {
    /// Who it is.
    pub(crate) user: &'a str,
    /// Its home in the box.
    pub(crate) home: &'a Path,
    /// The project in the box.
    pub(crate) project: &'a Path,
    /// `XDG_RUNTIME_DIR`.
    pub(crate) runtime: &'a Path,
    /// `PATH`.
    pub(crate) search: &'a OsStr,
}

/// A variable of `env-passthrough` that has no value on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Skipped {
    /// Its name in the box.
    pub(crate) inside: String,
    /// The name that is not set on the host.
    pub(crate) host: String,
}

/// The proxy's explicit listener (docs/architecture.md, "Ports inside the namespace").
const PROXY: &str = "http://127.0.0.1:3128";
/// The addresses of the stub's answers, the host's aliases among them: by capture each is its name again.
const SYNTHETIC: &str = "198.18.0.0/15";
/// Reached directly: the agent's own services. The names of the host are captured all the same, and judged alike.
const DIRECT: [&str; 7] = [
    "localhost",
    "127.0.0.1",
    "::1",
    "docker.host",
    "host.docker.internal",
    "host.containers.internal",
    SYNTHETIC,
];

/// Taken from the host where they are set and tell about the terminal or the language, and nothing else.
const OF_THE_TERMINAL: [&str; 12] = [
    "COLORTERM",
    "LANG",
    "LANGUAGE",
    "LC_ALL",
    "LC_COLLATE",
    "LC_CTYPE",
    "LC_MESSAGES",
    "LC_NUMERIC",
    "LC_TIME",
    "NO_COLOR",
    "TERM",
    "TZ",
];

/// The agent's environment, sorted by name, and what was skipped. `from_hook` are values that the hook set; they are the
/// host's for `env-passthrough`. Static `env` wins over everything.
pub(crate) fn variables(
    inside: &Inside<'_>,
    config: &Config,
    from_hook: &BTreeMap<String, OsString>,
    world: &World,
) -> (Vec<(OsString, OsString)>, Vec<Skipped>) {
    let mut all: BTreeMap<OsString, OsString> = BTreeMap::new();
    let mut set = |name: &str, value: &OsStr| drop(all.insert(name.into(), value.to_owned()));
    for name in OF_THE_TERMINAL {
        if let Some(value) = world.variable(name).filter(|value| harmless(value)) {
            set(name, &value);
        }
    }
    set("HOME", inside.home.as_os_str());
    set("USER", inside.user.as_ref());
    set("LOGNAME", inside.user.as_ref());
    set("SHELL", "/bin/bash".as_ref());
    set("PATH", inside.search);
    set("PWD", inside.project.as_os_str());
    set("XDG_RUNTIME_DIR", inside.runtime.as_os_str());
    set("OPENCODE_WORKSPACE", inside.project.as_os_str());
    for (name, value) in proxy() {
        set(name, value.as_ref());
    }
    let mut skipped = Vec::new();
    for passed in config.env_passthrough() {
        let host = passed.host.as_str();
        match from_hook
            .get(host)
            .cloned()
            .or_else(|| world.variable(host))
        {
            Some(value) => set(passed.inside.as_str(), &value),
            None => skipped.push(Skipped {
                inside: passed.inside.to_string(),
                host: host.to_owned(),
            }),
        }
    }
    for (name, value) in config.env() {
        set(name.as_str(), value.as_ref());
    }
    (all.into_iter().collect(), skipped)
}

/// COMPATIBILITY 1.2 and 1.7: gh reads `GH_TOKEN` first, others `GITHUB_TOKEN` alone; one that differs would be used by some.
///
/// # Errors
/// Both are there, and differ (exit 64).
pub(crate) fn one_token(all: &mut Vec<(OsString, OsString)>) -> Result<(), Failure> {
    let of = |wanted: &str| {
        let named = all.iter().find(|(name, _)| name == wanted);
        named
            .map(|(_, value)| value)
            .filter(|value| !value.is_empty())
    };
    match (of("GH_TOKEN"), of("GITHUB_TOKEN")) {
        (Some(one), Some(other)) if one != other => {
            let message = "GH_TOKEN and GITHUB_TOKEN are both passed into the box, and differ";
            Err(Failure::usage(message).next("pass one of them, in env-passthrough or env"))
        }
        (None, Some(token)) => {
            let token = token.clone();
            all.retain(|(name, _)| name != "GH_TOKEN");
            all.push(("GH_TOKEN".into(), token));
            Ok(())
        }
        (_, _) => Ok(()),
    }
}

/// COMPATIBILITY P19: for tools that honour a proxy; the others are captured. pip and gRPC read the plain variables:
/// docs/decisions/0011-proxy-variables.md.
fn proxy() -> Vec<(&'static str, String)> {
    let direct = DIRECT.join(",");
    let mut variables = Vec::new();
    for name in [
        "http_proxy",
        "https_proxy",
        "all_proxy",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "npm_config_proxy",
        "npm_config_https_proxy",
        "CARGO_HTTP_PROXY",
        "YARN_HTTP_PROXY",
        "YARN_HTTPS_PROXY",
    ] {
        variables.push((name, PROXY.to_owned()));
    }
    for name in ["no_proxy", "NO_PROXY", "npm_config_noproxy"] {
        variables.push((name, direct.clone()));
    }
    // git-config(1), ENVIRONMENT: where the project's own git config names another proxy, this one holds.
    for (name, value) in [
        ("GIT_CONFIG_COUNT", "1"),
        ("GIT_CONFIG_KEY_0", "http.proxy"),
        ("GIT_CONFIG_VALUE_0", PROXY),
    ] {
        variables.push((name, value.to_owned()));
    }
    // Node 22.21 and 24: fetch and http honour the variables above (nodejs.org/api/cli.html).
    variables.push(("NODE_USE_ENV_PROXY", "1".to_owned()));
    let hosts = DIRECT
        .map(|host| match host {
            "::1" => "[::1]",
            SYNTHETIC => "198.18.*|198.19.*", // the same in Java's patterns
            host => host,
        })
        .join("|");
    let mut java = String::new();
    for scheme in ["http", "https"] {
        java.push_str(&format!(
            "-D{scheme}.proxyHost=127.0.0.1 -D{scheme}.proxyPort=3128 "
        ));
    }
    java.push_str(&format!("-Dhttp.nonProxyHosts={hosts}"));
    variables.push(("JAVA_TOOL_OPTIONS", java));
    variables
}

/// A value that a terminal's or language's variable can have: it is read by many programs, few of them careful.
fn harmless(value: &OsStr) -> bool {
    let good = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:@/+,=".contains(byte);
    value.len() <= 128 && value.as_bytes().iter().all(good)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(more: &str) -> Config {
        let text = format!("sandbox-name: x\n{more}");
        Config::parse(&policies::Source {
            name: "x",
            text: &text,
        })
        .unwrap()
        .0
    }

    fn of(
        config: &Config,
        hook: &[(&str, &str)],
        host: Vec<(&'static str, &'static str)>,
    ) -> (BTreeMap<String, String>, Vec<Skipped>) {
        let inside = Inside {
            user: "agent",
            home: Path::new("/home/agent"),
            project: Path::new("/app"),
            runtime: Path::new("/run/user/1"),
            search: "/usr/bin".as_ref(),
        };
        let hook = hook
            .iter()
            .map(|(name, value)| ((*name).to_owned(), OsString::from(value)))
            .collect();
        let world = World::of(Path::new("/"), Path::new("/home/u"), host);
        let (variables, skipped) = variables(&inside, config, &hook, &world);
        let text = |value: OsString| value.into_string().unwrap();
        (
            variables
                .into_iter()
                .map(|(name, value)| (text(name), text(value)))
                .collect(),
            skipped,
        )
    }

    #[test]
    fn nothing_of_the_host_goes_in_unless_it_is_named() {
        let host = vec![
            ("AWS_SECRET_ACCESS_KEY", "x"),
            ("LD_PRELOAD", "x"),
            ("SSH_AUTH_SOCK", "/run/x"),
            ("PATH", "/evil"),
            ("http_proxy", "http://elsewhere"),
            ("TERM", "xterm-256color"),
            ("LANG", "de_DE.UTF-8"),
            ("TZ", "$(id)"),
        ];
        let (variables, _) = of(&config(""), &[], host);
        let names: Vec<&str> = variables.keys().map(String::as_str).collect();
        let expected = [
            "ALL_PROXY",
            "CARGO_HTTP_PROXY",
            "GIT_CONFIG_COUNT",
            "GIT_CONFIG_KEY_0",
            "GIT_CONFIG_VALUE_0",
            "HOME",
            "HTTPS_PROXY",
            "HTTP_PROXY",
            "JAVA_TOOL_OPTIONS",
            "LANG",
            "LOGNAME",
            "NODE_USE_ENV_PROXY",
            "NO_PROXY",
            "OPENCODE_WORKSPACE",
            "PATH",
            "PWD",
            "SHELL",
            "TERM",
            "USER",
            "XDG_RUNTIME_DIR",
            "YARN_HTTPS_PROXY",
            "YARN_HTTP_PROXY",
            "all_proxy",
            "http_proxy",
            "https_proxy",
            "no_proxy",
            "npm_config_https_proxy",
            "npm_config_noproxy",
            "npm_config_proxy",
        ];
        assert_eq!(names, expected);
        assert_eq!(variables["http_proxy"], "http://127.0.0.1:3128");
        assert_eq!(variables["PATH"], "/usr/bin");
        assert_eq!(variables["OPENCODE_WORKSPACE"], "/app");
    }

    #[test]
    fn the_agent_s_own_services_are_reached_directly_also_by_java() {
        let (variables, _) = of(&config(""), &[], vec![]);
        let direct = "localhost,127.0.0.1,::1,docker.host,host.docker.internal,host.containers.internal,198.18.0.0/15";
        assert_eq!(variables["no_proxy"], direct);
        assert_eq!(
            variables["JAVA_TOOL_OPTIONS"],
            "-Dhttp.proxyHost=127.0.0.1 -Dhttp.proxyPort=3128 -Dhttps.proxyHost=127.0.0.1 -Dhttps.proxyPort=3128 \
             -Dhttp.nonProxyHosts=localhost|127.0.0.1|[::1]|docker.host|host.docker.internal|host.containers.internal|198.18.*|198.19.*"
        );
    }

    #[test]
    fn a_token_for_github_has_both_names_and_two_that_differ_start_nothing() {
        let tokens = |list: &[(&str, &str)]| {
            let mut all = list
                .iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect();
            one_token(&mut all)
                .map(|()| all)
                .map_err(|failure| failure.to_string())
        };
        let pairs = |list: &[(&str, &str)]| -> Result<Vec<(OsString, OsString)>, String> {
            Ok(list
                .iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect())
        };
        let one = [("GH_TOKEN", "1")];
        let both = [("GITHUB_TOKEN", "1"), ("GH_TOKEN", "1")];
        assert_eq!(tokens(&one), pairs(&one));
        assert_eq!(tokens(&both), pairs(&both));
        assert_eq!(tokens(&both[..1]), pairs(&both));
        assert_eq!(
            tokens(&[("GH_TOKEN", ""), ("GITHUB_TOKEN", "1")]),
            pairs(&both)
        );
        let differ = tokens(&[("GH_TOKEN", "1"), ("GITHUB_TOKEN", "2")]);
        assert_eq!(
            differ,
            Err("GH_TOKEN and GITHUB_TOKEN are both passed into the box, and differ".to_owned())
        );
    }

    #[test]
    fn passthrough_reads_the_hook_then_the_host_and_static_wins() {
        let config = config(
            "env-passthrough:\n  A: HOST_A\n  B: HOST_B\n  C: HOST_C\n  D: HOST_D\n  E: HOST_E\nenv:\n  E: static\n",
        );
        let host = vec![
            ("HOST_A", "host"),
            ("HOST_B", "host"),
            ("HOST_C", ""),
            ("HOST_E", "host"),
        ];
        let (variables, skipped) = of(&config, &[("HOST_B", "hook")], host);
        let value = |name: &str| variables.get(name).map(String::as_str);
        assert_eq!(
            ["A", "B", "C", "D", "E"].map(value),
            [Some("host"), Some("hook"), Some(""), None, Some("static")]
        );
        assert_eq!(
            skipped,
            [Skipped {
                inside: "D".to_owned(),
                host: "HOST_D".to_owned()
            }]
        );
    }
}
