//! `ocs compose`: a compose file that runs the project's agent behind the same fence without `ocs`, for people who run compose
//! themselves. The shared topology: proxy, rules and agent in one network namespace, the rules put up once by `ocs-netctl apply`,
//! the agent started only after they were read back. Prints; starts nothing. `docs/compose.md` says what is weaker than in a box
//! that `ocs` holds.
//! Clauses: N7, N8, N9, B1, B2, B3, B5, B6.
use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use policies::{Config, Cpus};
use serde::Serialize;
use serde_json::{Value, json};

use super::{SIDECAR, agent_image, seccomp};
use crate::cli::ComposeArgs;
use crate::config_file::CONFIG_FILE;
use crate::console::Console;
use crate::control::{CONTROLS, Kind};
use crate::engine::native::view::{self, Ids};
use crate::environment::{self, Inside};
use crate::exit::{Exit, Failure};
use crate::launch::{self, Access};
use crate::project::{Project, private_dir};
use crate::world::World;

/// The proxy's user in its container; `image/sidecar/Dockerfile` gives it the record's directory.
const PROXY_UID: u32 = 65532;
/// The proxy's explicit listener (docs/architecture.md, "Ports inside the namespace").
const PROXY_PORT: u16 = 3128;
/// The agent's server, on the host's loopback too.
const SERVER_PORT: u16 = 4096;
/// As in `image/agent/Dockerfile`.
const PATH: &str =
    "/usr/local/share/mise/shims:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// What is writable besides the project: COMPATIBILITY 1.19.
const TMPFS: [(&str, &str); 6] = [
    ("/tmp", "size=512m,mode=1777,noexec,nodev,nosuid"),
    ("/var/tmp", "size=128m,mode=1777,noexec,nodev,nosuid"),
    ("/run", "size=64m,mode=0755,noexec,nodev,nosuid"),
    ("/home/agent/.config", "size=64m,mode=0700,nodev,nosuid"),
    ("/home/agent/.cache", "size=256m,mode=0700,nodev,nosuid"),
    ("/home/agent/.local", "size=128m,mode=0700,nodev,nosuid"),
];

/// Prints the file.
///
/// # Errors
/// The project or its config is wrong, or the host's address is needed and not given (64).
pub(crate) fn run(
    args: &ComposeArgs,
    world: &World,
    console: &mut Console<'_>,
) -> Result<Exit, Failure> {
    let project = Project::find(None, world)?;
    let config = launch::config(&project, console)?;
    if args.host_address.is_none() && config.host_ports().len() > 0 {
        let message = "host-ports lead to an address of the host, and only the engine knows which";
        let next = "ocs compose --host-address ADDRESS (docker network inspect bridge: Gateway)";
        return Err(Failure::usage(message).next(next));
    }
    let workspace =
        view::place(project.root()).map_err(|error| Failure::of(Exit::Usage, &error))?;
    project.state().create()?;
    // Where root prints the file, its agent has another uid, and whoever brings it up gives the directory to that.
    if !project.state().agent().is_dir() {
        private_dir(&project.state().agent())?;
    }
    let profile = project.state().path().join("seccomp.json");
    fs::write(&profile, seccomp::PROFILE).map_err(|error| {
        Failure::new(Exit::No, format!("write {}", profile.display())).because(error)
    })?;
    let ids = Ids::of(
        nix::unistd::geteuid().as_raw(),
        nix::unistd::getegid().as_raw(),
    );
    let file = Compose {
        project: &project,
        config: &config,
        host: args.host_address,
        workspace,
        profile,
        ids,
    };
    console.bytes(file.text().as_bytes())?;
    console.note("next: ocs build, then OPENCODE_SERVER_PASSWORD=.. docker compose -f FILE up");
    Ok(Exit::Ok)
}

struct Compose<'a> {
    project: &'a Project,
    config: &'a Config,
    host: Option<IpAddr>,
    workspace: PathBuf,
    profile: PathBuf,
    ids: Ids,
}

impl Compose<'_> {
    fn text(&self) -> String {
        let (proxy, fence, agent) = (self.proxy(), self.fence(), self.agent());
        format!(
            "# The sandbox {} as a compose file, printed by ocs compose: proxy, rules and agent share one network namespace.\n\
             # No part is restarted by itself: a new proxy would have a new namespace, without rules. Down and up again instead.\n\
             services:\n{proxy}{fence}{agent}\
             volumes:\n  record: {{}}\n",
            self.project.id()
        )
    }

    /// The one part that has a way out; no capability, its own user, the config and the record.
    fn proxy(&self) -> String {
        let config = self.project.root().join(CONFIG_FILE);
        let mut command = words(&[
            "--policy",
            "/policy.yaml",
            "--audit",
            "/record/compose.jsonl",
        ]);
        // Only v4: an engine's namespaces have no `::1` unless it was set up for IPv6, and the agent is told this address.
        command.extend(["--listen".to_owned(), format!("127.0.0.1:{PROXY_PORT}")]);
        command.extend(["--sandbox".to_owned(), self.project.id().to_string()]);
        command.extend(words(&["--engine", "compose"]));
        if let Some(host) = self.host {
            command.extend(["--host-address".to_owned(), host.to_string()]);
        }
        let mut service = Service::new("proxy", SIDECAR);
        service.hardened();
        service.key("user", &format!("{PROXY_UID}:{PROXY_UID}"));
        service.list("command", &command);
        service.list("ports", &[format!("127.0.0.1:{SERVER_PORT}:{SERVER_PORT}")]);
        if let Some(host) = self.host {
            let names = [
                "docker.host",
                "host.docker.internal",
                "host.containers.internal",
            ];
            service.list("extra_hosts", &names.map(|name| format!("{name}:{host}")));
        }
        let record = json!({"type": "volume", "source": "record", "target": "/record"});
        let policy = bind(&config, Path::new("/policy.yaml"), Access::ReadOnly);
        service.list("volumes", &[policy, record]);
        service.text
    }

    /// Puts the rules up, reads them back, and is gone with its capability.
    fn fence(&self) -> String {
        let host_ports: Vec<_> = match self.host {
            Some(address) => {
                let ports = self.config.host_ports();
                ports
                    .map(|port| json!({"address": address, "port": port.get()}))
                    .collect()
            }
            None => Vec::new(),
        };
        let spec = json!({
            "v": 1,
            "topology": "shared",
            "proxy_uid": PROXY_UID,
            "agent_uid": self.ids.uid,
            "explicit": PROXY_PORT,
            "own_ports": [{"first": SERVER_PORT, "last": SERVER_PORT}, {"first": 30000, "last": 60999}],
            "host_ports": host_ports,
            "resolvers": [{"address": "127.0.0.11", "port": 53}],
            "nflog_group": 1,
            "published": [SERVER_PORT],
            "other_tables": [{"family": "ip", "name": "nat"}],
        });
        let mut service = Service::new("fence", SIDECAR);
        service.hardened();
        service.list("cap_add", &words(&["NET_ADMIN"]));
        service.key("network_mode", "service:proxy");
        service.line("    depends_on:\n      proxy:\n        condition: service_started");
        service.list("entrypoint", &words(&["/bin/ocs-netctl"]));
        service.list(
            "command",
            &["apply".to_owned(), "--spec".to_owned(), spec.to_string()],
        );
        service.text
    }

    fn agent(&self) -> String {
        let Ids { uid, gid } = self.ids;
        let limits = self.config.limits();
        let mut service = Service::new("agent", &agent_image(self.project.id()));
        service.hardened();
        service.list(
            "security_opt",
            &[
                "no-new-privileges:true".to_owned(),
                format!("seccomp:{}", escaped_path(&self.profile)),
            ],
        );
        service.key("user", &format!("{uid}:{gid}"));
        service.line("    init: true");
        service.key("network_mode", "service:proxy");
        service.line(
            "    depends_on:\n      fence:\n        condition: service_completed_successfully",
        );
        service.key("working_dir", &self.workspace.to_string_lossy());
        let port = SERVER_PORT.to_string();
        service.list(
            "command",
            &words(&[
                "opencode",
                "serve",
                "--hostname",
                "0.0.0.0",
                "--port",
                &port,
            ]),
        );
        service.list("environment", &self.environment());
        service.list("volumes", &self.volumes());
        let tmpfs = TMPFS.map(|(at, options)| match at.starts_with("/home") {
            true => format!("{at}:{options},uid={uid},gid={gid}"),
            false => format!("{at}:{options}"),
        });
        service.list("tmpfs", &tmpfs);
        let pids = limits.pids.unwrap_or(512);
        service.line(&format!("    pids_limit: {pids}"));
        let memory = limits
            .memory
            .map_or("8g".to_owned(), |memory| memory.0.to_string());
        service.key("mem_limit", &memory);
        // No share unless the config says one: compose refuses more processors than the machine has.
        if let Some(Cpus { milli }) = limits.cpus {
            service.line(&format!("    cpus: {}.{:03}", milli / 1000, milli % 1000));
        }
        service.line(
            "    ulimits:\n      core: 0\n      nofile: {soft: 4096, hard: 8192}\n      nproc: {soft: 256, hard: 512}",
        );
        service.line("    stop_signal: SIGTERM");
        let health = format!("curl -sS -o /dev/null http://127.0.0.1:{SERVER_PORT}/");
        service.line(&format!(
            "    healthcheck:\n      test: {}\n      interval: 30s\n      timeout: 10s\n      retries: 3\n      start_period: 30s",
            json!(["CMD-SHELL", health])
        ));
        service.text
    }

    /// Values of the host are named, not written: compose reads them at each `up`.
    fn environment(&self) -> Vec<String> {
        let inside = Inside {
            user: "agent",
            home: Path::new("/home/agent"),
            project: &self.workspace,
            runtime: Path::new("/run"),
            search: PATH.as_ref(),
        };
        let nobody = World::of(Path::new("/"), Path::new("/"), Vec::new());
        let (fixed, named) =
            environment::variables(&inside, self.config, &BTreeMap::new(), &nobody);
        let fixed = fixed.into_iter().map(|(name, value)| {
            let (name, value) = (name.to_string_lossy(), value.to_string_lossy());
            // To compose a `$` begins a variable of the host.
            format!("{name}={}", value.replace('$', "$$"))
        });
        let fixed: Vec<String> = fixed.collect();
        let is_static = |name: &str| {
            self.config
                .env()
                .iter()
                .any(|(known, _)| known.as_str() == name)
        };
        let named = named.iter().filter(|named| !is_static(&named.inside));
        let named = named.map(|named| {
            if named.inside == named.host {
                // Alone it is passed where it is set, and left out where it is not.
                named.inside.clone()
            } else {
                format!("{}=${{{}-}}", named.inside, named.host)
            }
        });
        let password =
            "OPENCODE_SERVER_PASSWORD=${OPENCODE_SERVER_PASSWORD:?choose one}".to_owned();
        fixed.into_iter().chain(named).chain([password]).collect()
    }

    /// The project, the control files that are there over it, and the sessions.
    fn volumes(&self) -> Vec<Value> {
        let (root, workspace) = (self.project.root(), &self.workspace);
        let mut volumes = vec![bind(root, workspace, Access::ReadWrite)];
        for control in &CONTROLS {
            let from = root.join(control.path);
            let there = match control.kind {
                Kind::Directory => from.is_dir(),
                Kind::File => from.is_file(),
            };
            if there {
                volumes.push(bind(&from, &workspace.join(control.path), Access::ReadOnly));
            }
        }
        let sessions = Path::new("/home/agent/.local/share/opencode");
        volumes.push(bind(
            &self.project.state().agent(),
            sessions,
            Access::ReadWrite,
        ));
        volumes
    }
}

/// The long form: a colon in a path divides nothing, and a path that is not there is an error instead of a new directory.
fn bind(from: &Path, to: &Path, access: Access) -> Value {
    json!({
        "type": "bind",
        "source": escaped_path(from),
        "target": escaped_path(to),
        "read_only": access == Access::ReadOnly,
    })
}

/// The lines of one service. Every text is a quoted one, so that nothing in a name or path is YAML.
struct Service {
    text: String,
}

impl Service {
    fn new(name: &str, image: &str) -> Self {
        let mut service = Self {
            text: format!("  {name}:\n"),
        };
        service.key("image", image);
        service
    }

    /// What holds for every part: no capability, a read-only root, bounded logs, no restart.
    fn hardened(&mut self) {
        self.line("    cap_drop: [\"ALL\"]\n    read_only: true\n    restart: \"no\"");
        self.line("    logging:\n      driver: json-file\n      options: {max-size: 50m, max-file: \"5\"}");
        if !self.text.starts_with("  agent:") {
            self.list("security_opt", &words(&["no-new-privileges:true"]));
        }
    }

    fn key(&mut self, key: &str, value: &str) {
        self.line(&format!("    {key}: {}", json!(value)));
    }

    fn list(&mut self, key: &str, values: &[impl Serialize]) {
        self.line(&format!("    {key}:"));
        for value in values {
            self.line(&format!("      - {}", json!(value)));
        }
    }

    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// A path in a compose file, where `$` begins a variable.
fn escaped_path(path: &Path) -> String {
    path.to_string_lossy().replace('$', "$$")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::tests::captured;
    use crate::world::Terminal;

    const CONFIG: &str = "sandbox-name: demo\nhost-ports: [5432]\nenv-passthrough:\n  GH_TOKEN: GH_TOKEN\n  \
        KEY: HOST_KEY\n  BOTH: HOST_BOTH\nenv:\n  BOTH: static\n  PRICE: 5$\nlimits:\n  pids: 99\n";

    fn printed(name: &str, host: Option<&str>) -> (Result<Exit, Failure>, String) {
        let keep = tempfile::tempdir().unwrap();
        let (root, home) = (keep.path().join(name), keep.path().join("home"));
        for directory in [&root, &home] {
            fs::create_dir(directory).unwrap();
        }
        fs::write(root.join(CONFIG_FILE), CONFIG).unwrap();
        fs::write(root.join("mise.toml"), "").unwrap();
        let world = World::of(&root, &home, vec![("HOST_KEY", "a secret")]);
        let args = ComposeArgs {
            host_address: host.map(|host| host.parse().unwrap()),
        };
        let (ended, out, _) = captured("", Terminal::default(), |console| {
            run(&args, &world, console)
        });
        (ended, out)
    }

    /// The lines of one service.
    fn service<'t>(text: &'t str, name: &str) -> Vec<&'t str> {
        let head = format!("  {name}:");
        let lines = text.lines().skip_while(|line| *line != head).skip(1);
        lines.take_while(|line| line.starts_with("    ")).collect()
    }

    #[test]
    fn every_part_is_hardened_and_only_the_fence_has_a_capability() {
        let (ended, text) = printed("project", Some("172.17.0.1"));
        assert_eq!(ended, Ok(Exit::Ok));
        for name in ["proxy", "fence", "agent"] {
            let lines = service(&text, name);
            for wanted in [
                "    cap_drop: [\"ALL\"]",
                "    read_only: true",
                "    restart: \"no\"",
                "      - \"no-new-privileges:true\"",
                "      options: {max-size: 50m, max-file: \"5\"}",
            ] {
                assert!(lines.contains(&wanted), "{name} lacks {wanted}: {text}");
            }
            assert_eq!(lines.contains(&"    cap_add:"), name == "fence", "{name}");
            assert_eq!(
                lines.contains(&"    network_mode: \"service:proxy\""),
                name != "proxy"
            );
        }
        let agent = service(&text, "agent");
        for wanted in [
            "    init: true",
            "        condition: service_completed_successfully",
            "    pids_limit: 99",
            "    mem_limit: \"8g\"",
            "      nofile: {soft: 4096, hard: 8192}",
            "      nproc: {soft: 256, hard: 512}",
            "      core: 0",
        ] {
            assert!(agent.contains(&wanted), "{wanted}: {text}");
        }
        let profile = agent
            .iter()
            .any(|line| line.contains("seccomp:/") && line.contains("seccomp.json"));
        assert!(profile, "{text}");
        assert_eq!(
            agent.iter().filter(|line| line.contains("size=")).count(),
            TMPFS.len()
        );
        assert!(service(&text, "proxy").contains(&"    user: \"65532:65532\""));
    }

    #[test]
    fn no_value_of_the_host_is_written_and_a_dollar_stays_one() {
        let (_, text) = printed("project", Some("172.17.0.1"));
        assert!(!text.contains("a secret"), "{text}");
        let agent = service(&text, "agent");
        for wanted in ["GH_TOKEN", "KEY=${HOST_KEY-}", "BOTH=static", "PRICE=5$$"] {
            assert!(
                agent.contains(&&*format!("      - \"{wanted}\"")),
                "{wanted}: {text}"
            );
        }
        assert!(!text.contains("HOST_BOTH"), "static wins");
        assert!(text.contains("${OPENCODE_SERVER_PASSWORD:?choose one}"));
    }

    #[test]
    fn control_files_lie_read_only_over_the_project_and_odd_names_stay_names() {
        let (_, text) = printed("pro$ject: \"x\"", Some("172.17.0.1"));
        let binds: Vec<Value> = service(&text, "agent")
            .iter()
            .filter_map(|line| {
                serde_json::from_str(
                    line.strip_prefix("      - {")
                        .map(|rest| format!("{{{rest}"))?
                        .as_str(),
                )
                .ok()
            })
            .collect();
        let targets: Vec<(&str, bool)> = binds
            .iter()
            .map(|bind| {
                (
                    bind["target"].as_str().unwrap(),
                    bind["read_only"].as_bool().unwrap(),
                )
            })
            .collect();
        let expected = [
            ("/pro$$ject: \"x\"", false),
            ("/pro$$ject: \"x\"/opencode-sandbox-config.yaml", true),
            ("/pro$$ject: \"x\"/mise.toml", true),
            ("/home/agent/.local/share/opencode", false),
        ];
        assert_eq!(targets, expected);
    }

    #[test]
    fn the_rules_let_the_agent_to_the_proxy_its_own_ports_and_the_host_ports() {
        let (_, text) = printed("project", Some("172.17.0.1"));
        let spec = service(&text, "fence")
            .into_iter()
            .find(|line| line.contains("topology"))
            .unwrap();
        let spec: String =
            serde_json::from_str(spec.trim_start().strip_prefix("- ").unwrap()).unwrap();
        let spec: Value = serde_json::from_str(&spec).unwrap();
        assert_eq!(
            spec["host_ports"],
            json!([{"address": "172.17.0.1", "port": 5432}])
        );
        assert_eq!(
            (&spec["proxy_uid"], &spec["explicit"]),
            (&json!(65532), &json!(3128))
        );
        assert_ne!(spec["agent_uid"], spec["proxy_uid"]);
        assert_ne!(spec["agent_uid"], json!(0));
    }

    #[test]
    fn host_ports_without_an_address_of_the_host_print_nothing() {
        let (ended, text) = printed("project", None);
        assert_eq!(
            (ended.unwrap_err().exit(), text.as_str()),
            (Exit::Usage, "")
        );
    }
}
