use super::*;
use crate::{EnvName, Interface, Source, Tool};

fn parse(text: &str) -> Result<(Config, Vec<String>), Vec<String>> {
    let source = Source { name: "f", text };
    match Config::parse(&source) {
        Ok((config, warnings)) => Ok((config, warnings.iter().map(ToString::to_string).collect())),
        Err(errors) => Err(errors.to_string().lines().map(str::to_owned).collect()),
    }
}

fn patterns(config: &Config) -> Vec<String> {
    config
        .allow()
        .map(|(pattern, rule)| format!("{}: {pattern}", rule.line))
        .collect()
}

/// What opencode-sandbox's `ocs-init` writes (COMPATIBILITY 4.8, 4.10, W19): the name twice, sections left empty.
const FROM_INIT: &str = "\
sandbox-name: my-project
# Unique name of this sandbox
sandbox-name: change-me

http-domain-whitelist:
  # GitHub
  - .githubusercontent.com
  - .githubassets.com
  - .github.com
  - .githubcopilot.com
  - mise.run
  - .npmjs.org
  - .maven.org
  # - .anthropic.com

host-ports:
  # - 5432

env-passthrough:
  # GITHUB_TOKEN: GITHUB_TOKEN

env:
";

#[test]
fn a_file_of_opencode_sandboxs_own_init_means_what_it_meant() {
    let (config, warnings) = parse(FROM_INIT).unwrap();
    assert_eq!(
        warnings,
        ["f:3:1: warning: `sandbox-name` stands here again; the first, in line 1, counts"]
    );
    assert_eq!(config.sandbox_name().as_str(), "my-project");
    assert_eq!(
        patterns(&config),
        [
            "7: .githubusercontent.com",
            "8: .githubassets.com",
            "9: .github.com",
            "10: .githubcopilot.com",
            "11: mise.run",
            "12: .npmjs.org",
            "13: .maven.org",
        ]
    );
    assert_eq!(config.host_ports().len(), 0);
    assert_eq!(config.env(), []);
    assert_eq!(config.env_passthrough(), []);
    assert_eq!(config.mode(), Mode::Filtered);
}

#[test]
fn a_section_whose_header_has_a_comment_a_space_or_a_carriage_return_keeps_its_items() {
    // COMPATIBILITY W18: the old reader filed these ports under the whitelist.
    let text = "sandbox-name: a\r\nhttp-domain-whitelist: # names\r\n- x.test\r\nhost-ports: # db\r\n  - 5432\r\n  - \"6379\"\r\nenv: \r\n  A: 1\r\n";
    let (config, warnings) = parse(text).unwrap();
    assert_eq!(warnings, [] as [&str; 0]);
    assert_eq!(patterns(&config), ["3: x.test"]);
    let ports: Vec<u16> = config.host_ports().map(crate::Port::get).collect();
    assert_eq!(ports, [5432, 6379]);
    assert_eq!(
        config.env(),
        [(EnvName::parse("A").unwrap(), "1".to_owned())]
    );
}

#[test]
fn absent_empty_and_null_lists_all_list_nothing() {
    for list in [
        "",
        "http-domain-whitelist:\n",
        "http-domain-whitelist: []\n",
        "http-domain-whitelist: null\n",
        "http-domain-whitelist: ~\n",
    ] {
        let (config, _) = parse(&format!("sandbox-name: a\n{list}")).unwrap();
        assert_eq!(config.allow().len(), 0, "{list:?}");
    }
}

#[test]
fn values_of_env_keep_the_text_of_the_file() {
    let text = "sandbox-name: a\nenv:\n  V: 1.10\n  T: true\n  O: 08\n  N: ~\n  Q: \"a # b\"\n  H: 0x1F\n  E: ''\n  M: |\n    one\n    two\n";
    let (config, _) = parse(text).unwrap();
    let values: Vec<(&str, &str)> = config
        .env()
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    assert_eq!(
        values,
        [
            ("V", "1.10"),
            ("T", "true"),
            ("O", "08"),
            ("N", "~"),
            ("Q", "a # b"),
            ("H", "0x1F"),
            ("E", ""),
            ("M", "one\ntwo\n")
        ]
    );
}

#[test]
fn every_mistake_is_named_at_once_with_place_and_corrected_text() {
    let text = "\
sandbox-name: My_App
http-domain-whitelst:
  - x.test
host-ports:
  - 70000
  - docker.host:5432
http-domain-whitelist:
  - https://api.example.org/v1
  - *.example.org
  - .com
  - 443
env:
  LD_PRELOAD: x
  a-b: 1
limits:
  memory: 8g
  cpus: many
  idle-timeout: 10
agent:
  interface: gui
  mcp-config: ../mcp.json
network-mode: filterd
";
    assert_eq!(
        parse(text).unwrap_err(),
        [
            "f:1:15: `My_App` is no sandbox name: lower-case letters, digits, and `-` between them; write: sandbox-name: my-app",
            "f:2:1: unknown key `http-domain-whitelst`; write: http-domain-whitelist:",
            "f:5:5: `70000` is no port: a number from 1 to 65535",
            "f:6:5: `docker.host:5432` is no port: a number from 1 to 65535; write: - 5432",
            "f:8:5: a URL stands where a domain belongs; write: api.example.org",
            "f:9:5: `*.example.org` without quotes is an alias in YAML, and aliases are not allowed; write: .example.org",
            "f:10:5: `.com` is too broad: names of everybody lie below it; write: .NAME.com",
            "f:11:5: `443` is a number, not a domain; write: host-ports: - 443",
            "f:13:3: `LD_PRELOAD` cannot be set in the box: it decides what code programs load",
            "f:14:3: `a-b` is no POSIX name of a variable: letters, digits and `_`, no digit first; write: a_b:",
            "f:16:11: `limits.memory`: `8g` is no amount from 16MiB to 128TiB; write: memory: 8GiB",
            "f:17:9: `limits.cpus`: `many` is no number from 0.01 to 8192",
            "f:18:17: `limits.idle-timeout`: `10` is no time between 1ms and 168h; write: idle-timeout: 10s",
            "f:20:14: `gui` is no interface: web, tui; write: interface: tui",
            "f:21:15: `../mcp.json`: `..` is not allowed",
            "f:22:15: `filterd` is no network mode: none, restricted, filtered, observe; write: network-mode: filtered",
        ]
    );
}

#[test]
fn a_text_that_is_not_yaml_still_names_the_mistakes_before_it() {
    assert_eq!(
        parse("sandbox-name: a\nhost-ports:\n  - 0\nenv:\n\tA: 1\n").unwrap_err(),
        [
            "f:3:5: `0` is no port: a number from 1 to 65535",
            "f:5:2: not YAML: tabs disallowed within this context (block indentation)",
        ]
    );
}

#[test]
fn what_was_not_read_is_not_called_missing() {
    let errors = parse("host-ports: [1\nsandbox-name: a\n").unwrap_err();
    assert!(
        errors.iter().all(|error| !error.contains("missing")),
        "{errors:?}"
    );
}

#[test]
fn memory_and_processors_have_their_bounds_and_their_units() {
    let limits = |line: &str| {
        let text = format!("sandbox-name: a\nlimits:\n  {line}\n");
        parse(&text).map(|(config, _)| *config.limits()).ok()
    };
    let memory = |text: &str| limits(&format!("memory: {text}"))?.memory;
    assert_eq!(memory("16MiB"), Some(crate::Bytes(16 << 20)));
    assert_eq!(memory("128TiB"), Some(crate::Bytes(1 << 47)));
    for text in ["15MiB", "129TiB", "8", "8GB", "8g", "1.5GiB", "-1GiB", "''"] {
        assert_eq!(memory(text), None, "{text}");
    }
    let cpus = |text: &str| {
        limits(&format!("cpus: {text}"))?
            .cpus
            .map(|cpus| cpus.milli)
    };
    for (text, milli) in [
        ("0.01", 10),
        ("2", 2000),
        ("1.5", 1500),
        ("8192", 8_192_000),
    ] {
        assert_eq!(cpus(text), Some(milli), "{text}");
    }
    for text in ["0", "0.009", "8192.001", "1.", ".5", "1.0001", "1e3", "-1"] {
        assert_eq!(cpus(text), None, "{text}");
    }
}

#[test]
fn a_repeated_key_is_a_mistake_but_for_the_sandbox_name() {
    let text = "sandbox-name: a\nenv:\n  A: 1\n  A: 2\nhost-ports: [1]\nhost-ports: [2]\nsandbox-name: b\n";
    assert_eq!(
        parse(text).unwrap_err(),
        [
            "f:4:3: `env.A` stands here again, first in line 3; write it once",
            "f:6:1: `host-ports` stands here again, first in line 5; write it once",
        ]
    );
}

#[test]
fn endpoints_are_parsed_into_their_parts() {
    let text = "\
sandbox-name: a
llm-endpoints:
  - http://10.0.0.13:8000/v1
  - https://models.example.org
  - http://docker.host:1234/v1
  - http://[fd00::1]:80/
tcp-endpoints:
  - git.example.org:22
  - 192.0.2.7:5432
private-addresses: [10.1.0.0/16, 192.168.7.9, 'fd00::/8']
";
    let (config, _) = parse(text).unwrap();
    let urls: Vec<String> = config
        .llm_endpoints()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        urls,
        [
            "http://10.0.0.13:8000/v1",
            "https://models.example.org:443",
            "http://docker.host:1234/v1",
            "http://[fd00::1]:80/"
        ]
    );
    let raw: Vec<String> = config
        .tcp_endpoints()
        .iter()
        .map(|endpoint| endpoint.destination.to_string())
        .collect();
    assert_eq!(raw, ["git.example.org:22", "192.0.2.7:5432"]);
    let nets: Vec<String> = config
        .private_addresses
        .iter()
        .map(|(net, _)| net.to_string())
        .collect();
    assert_eq!(nets, ["10.1.0.0/16", "192.168.7.9/32", "fd00::/8"]);
}

#[test]
fn limits_and_agent_become_domain_values() {
    let text = "\
sandbox-name: a
limits:
  connections: 50
  head-timeout: 500ms
  connect-timeout: 3s
  idle-timeout: 2h
  memory: 512MiB
  pids: 512
  cpus: 1.25
agent:
  tool: [claude, --print]
  packages: [g++, python3.11, libssl-dev, g++]
  interface: tui
  mcp-config: config/mcp.json
";
    let (config, _) = parse(text).unwrap();
    let expected = Limits {
        connections: 50,
        head_timeout: std::time::Duration::from_millis(500),
        connect_timeout: std::time::Duration::from_secs(3),
        idle_timeout: std::time::Duration::from_secs(7200),
        pids: Some(512),
        memory: Some(crate::Bytes(512 << 20)),
        cpus: Some(crate::Cpus { milli: 1250 }),
    };
    assert_eq!(*config.limits(), expected);
    assert_eq!(
        config.agent().tool,
        Tool::Command(vec!["claude".to_owned(), "--print".to_owned()])
    );
    let packages: Vec<&str> = config
        .agent()
        .packages
        .iter()
        .map(crate::PackageName::as_str)
        .collect();
    assert_eq!(packages, ["g++", "python3.11", "libssl-dev"]);
    assert_eq!(config.agent().interface, Interface::Tui);
    assert_eq!(
        config.agent().mcp_config.as_deref(),
        Some("config/mcp.json")
    );
    let (config, _) = parse("sandbox-name: a\n").unwrap();
    assert_eq!(*config.limits(), Limits::UNLESS_LISTED);
    let expected = crate::Agent {
        tool: Tool::OpenCode,
        packages: Vec::new(),
        interface: Interface::Web,
        mcp_config: None,
    };
    assert_eq!(*config.agent(), expected);
}

#[test]
fn paths_that_hold_credentials_are_never_shown_nor_what_holds_them_nor_what_they_hold() {
    for path in [
        "/",
        "~",
        "/home",
        "/home/user",
        "/root",
        "/Users/me",
        "/proc",
        "/proc/1",
        "/sys",
        "/var",
        "/var/run/docker.sock",
        "/run/user/1000",
        "/etc",
        "/etc/ssh",
        "~/.ssh",
        "~/.ssh/id_ed25519",
        "~/.config",
        "~/.config/gcloud",
        "~/.config/gcloud/x",
        "~/.docker",
        "~/.kube",
        "~/.aws",
        "~/.gnupg",
        "~/.opencode-sandbox/x",
        "~/.cargo",
        "~/.local",
        "~/.local/share",
        "/home/other/.aws",
        "/root/.ssh",
        "/opt/x/agent.sock",
        "~/.netrc",
        "/dev",
        "/tmp",
    ] {
        assert!(why_not_shown(path, None).is_some(), "{path}");
    }
    for path in [
        "/opt/tools",
        "/usr/local/bin",
        "~/.cargo/bin",
        "~/shared",
        "~/.local/bin",
        "/home/user/skills",
        "/etc/ssl/certs",
        "/tmp/x",
        "/srv",
        "~/.sshx",
    ] {
        assert_eq!(why_not_shown(path, None), None, "{path}");
    }
    assert!(why_not_shown("/data/me", Some("/data/me")).is_some());
    assert!(why_not_shown("/data/me/.ssh", Some("/data/me/")).is_some());
    assert_eq!(why_not_shown("/data/me/tools", Some("/data/me")), None);
}

use crate::why_not_shown;

#[test]
fn no_prefix_of_a_good_file_makes_the_compiler_fail_otherwise_than_by_errors() {
    for end in 0..=FROM_INIT.len() {
        let source = Source {
            name: "f",
            text: &FROM_INIT[..end],
        };
        let _outcome = Config::parse(&source).is_ok();
    }
}
