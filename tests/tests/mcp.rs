//! `ocs mcp` driven by the official SDKs of Python and TypeScript over both transports: every tool, an abort of what is at work,
//! escapes; and over plain HTTP who is turned away.
//! Needs: the SDKs in `target/mcp` (`make mcp-clients`).
//! Clauses: O8.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use harness::binaries;
use harness::desk::Desk;
use harness::for_each_user;
use harness::order::Order;
use harness::project::Project;
use harness::run::Running;
use harness::world::{As, Call};
use serde_json::{Value, json};

/// An agent that plays its part by the first word of its task.
const AGENT: &str = "read task; case $task in long) touch begun; sleep 4321;; \
    *) echo made > made.txt; curl -s -o /dev/null https://evil.test/; echo \"did $task\";; esac";

const ADDRESS: &str = "127.0.0.1:18443";

/// A desk that has the SDKs, and a project with a way out that must not be one.
struct Counter {
    desk: Desk,
    clients: PathBuf,
}

impl Counter {
    fn new(who: As) -> Result<Self> {
        let sdks = binaries::repository().join("target/mcp");
        ensure!(
            sdks.join("node_modules").is_dir() && sdks.join("py").is_dir(),
            "no SDKs in {}: `make mcp-clients`",
            sdks.display()
        );
        let clients = who.home().join(".local/lib/mcp");
        let scripts = who.home().join(".local/lib/clients");
        let order = Order::usual()?
            .showing(&sdks, &clients)
            .showing(&binaries::repository().join("tests/clients"), &scripts);
        let desk = Desk::ordered(who, &order)?;
        Ok(Self { desk, clients })
    }

    fn project(&self) -> Result<Project<'_>> {
        let agent = serde_json::to_string(AGENT)?;
        let project = self.desk.project(
            "project",
            &format!("sandbox-name: desk\nagent:\n  tool: [sh, -c, {agent}]\n"),
        )?;
        self.desk.world.write(
            self.desk.who,
            &self.desk.who.home().join("outside"),
            "secret",
        )?;
        for (to, link) in [
            ("../outside", "out"),
            ("..", "up"),
            ("/proc/self/root/etc/passwd", "magic"),
        ] {
            project
                .call(Call::new(&["ln", "-s", to, link]))?
                .succeeded()?;
        }
        for words in [
            &["git", "init", "-q"][..],
            &["git", "add", "out", "up", "magic"],
            &[
                "git",
                "-c",
                "user.name=x",
                "-c",
                "user.email=x@x",
                "commit",
                "-qm",
                "first",
            ],
        ] {
            project.call(Call::new(words))?.succeeded()?;
        }
        Ok(project)
    }

    /// What a client saw of every tool.
    fn drive(&self, project: &Project<'_>, client: Client, how: &[&str]) -> Result<Value> {
        let scripts = self.desk.who.home().join(".local/lib/clients");
        let script = scripts.join(client.script()).to_string_lossy().into_owned();
        let words = [&[client.program(), script.as_str()][..], how].concat();
        let sdk = self.clients.to_string_lossy().into_owned();
        let python = format!("{sdk}/py");
        let variables = [
            ("OCS_MCP_CLIENTS", sdk.as_str()),
            ("PYTHONPATH", python.as_str()),
            ("PYTHONDONTWRITEBYTECODE", "1"),
        ];
        let call = Call::new(&words).with(&variables).for_seconds(300);
        let finished = project.call(call)?.succeeded()?;
        serde_json::from_str(&finished.stdout).with_context(|| format!("{finished:#?}"))
    }

    /// The server over HTTP, and its token.
    fn serve(&self, project: &Project<'_>) -> Result<(Running, String)> {
        let words = ["ocs", "mcp", "--http", ADDRESS];
        let server = self.desk.world.start(
            self.desk.who,
            Call::new(&words)
                .within(project.directory())
                .for_seconds(600),
        )?;
        let up = [
            "curl",
            "-s",
            "--retry",
            "50",
            "--retry-delay",
            "1",
            "--retry-connrefused",
            "-o",
            "/dev/null",
            "http://127.0.0.1:18443/mcp",
        ];
        project.call(Call::new(&up))?.succeeded()?;
        let state = self
            .desk
            .world
            .outside(&self.desk.who.home().join(".opencode-sandbox"));
        let sandbox = fs::read_dir(&state)?
            .next()
            .context("there is no state")??
            .path();
        let token = sandbox.join("mcp-token");
        assert_eq!(token.metadata()?.permissions().mode() & 0o777, 0o600);
        Ok((server, fs::read_to_string(token)?))
    }

    fn stop(&self, server: Running) -> Result<()> {
        let ocs = self
            .desk
            .world
            .find(|process| process.command.starts_with("ocs mcp"))?;
        self.desk.world.signal(ocs.pid, "TERM")?;
        let finished = server.wait()?;
        assert_eq!(finished.code(), 0, "{finished:#?}");
        Ok(())
    }
}

#[derive(Clone, Copy)]
enum Client {
    Python,
    TypeScript,
}

impl Client {
    fn program(self) -> &'static str {
        match self {
            Self::Python => "/usr/bin/python3",
            Self::TypeScript => "node",
        }
    }

    fn script(self) -> &'static Path {
        Path::new(match self {
            Self::Python => "mcp_client.py",
            Self::TypeScript => "mcp_client.mjs",
        })
    }
}

/// What every tool must have given, whoever asked and however.
fn expected() -> Value {
    let tools = [
        "abort_task",
        "delegate_task",
        "get_project_status",
        "get_refused_requests",
        "list_project_files",
        "read_project_file",
        "run_in_sandbox",
    ];
    json!({
        "/tools": tools,
        "/run/error": false,
        "/run/data/result": "did run",
        "/run/data/refused": [{"host": "evil.test", "port": 443, "reason": "not-whitelisted", "count": 1}],
        "/delegate/error": false,
        "/delegate/text": "did delegate",
        "/busy/error": true,
        "/busy/text": "a delegated task is at work: abort_task ends it",
        "/status_at_work": true,
        "/abort/error": false,
        "/abort/text": "the delegated task is being ended",
        "/aborted/error": true,
        "/aborted/data/exit_code": 143,
        "/aborted/data/timed_out": false,
        "/abort_nothing/error": false,
        "/again/text": "did delegate",
        "/timeout/error": true,
        "/timeout/data/exit_code": 124,
        "/timeout/data/timed_out": true,
        "/read/error": false,
        "/read/text": "made\n",
        "/list/data/files": [".git/", "begun", "made.txt", "magic", "opencode-sandbox-config.yaml", "out", "up"],
        "/bad_since/error": true,
        "/empty/error": true,
        "/escape_dots/error": true,
        "/escape_dots/text": "../outside leads out of the project",
        "/escape_link/error": true,
        "/escape_link/text": "out leads out of the project",
        "/escape_up/error": true,
        "/escape_up/text": "up/outside leads out of the project",
        "/escape_magic/error": true,
        "/escape_magic/text": "magic leads out of the project",
        "/escape_absolute/error": true,
        "/escape_absolute/text": "/etc/passwd leads out of the project",
        "/escape_list/error": true,
        "/escape_list/text": ".. leads out of the project",
    })
}

fn judge(seen: &Value) {
    let at = |pointer: &str| seen.pointer(pointer).cloned().unwrap_or(Value::Null);
    for (pointer, wanted) in expected().as_object().into_iter().flatten() {
        assert_eq!(at(pointer), *wanted, "{pointer} of {seen:#}");
    }
    for (pointer, part) in [
        ("/status/data/status", "?? made.txt"),
        ("/status/data/log", "first"),
        ("/refused/text", "evil.test"),
    ] {
        let text = at(pointer);
        assert!(
            text.as_str().is_some_and(|text| text.contains(part)),
            "{pointer}: {text}"
        );
    }
    assert!(
        at("/progress").as_u64().is_some_and(|told| told > 0),
        "{seen:#}"
    );
}

for_each_user! {
    fn the_python_sdk_drives_every_tool_over_both_transports(who) {
        drive_over_both(who, Client::Python)
    }

    fn the_typescript_sdk_drives_every_tool_over_both_transports(who) {
        drive_over_both(who, Client::TypeScript)
    }
}

fn drive_over_both(who: As, client: Client) -> Result<()> {
    let counter = Counter::new(who)?;
    let project = counter.project()?;
    let before = counter
        .desk
        .world
        .settle(|census| census.processes.is_empty())?; // git tidies up after itself
    judge(&counter.drive(&project, client, &["stdio", "ocs", "mcp"])?);
    project
        .call(Call::new(&["rm", "begun", "made.txt"]))?
        .succeeded()?;
    let (server, token) = counter.serve(&project)?;
    judge(&counter.drive(
        &project,
        client,
        &["http", "http://127.0.0.1:18443/mcp", &token],
    )?);
    counter.stop(server)?;
    assert_eq!(
        counter.desk.world.settle(|census| *census == before)?,
        before
    );
    Ok(())
}

#[test]
fn who_has_no_token_or_comes_from_elsewhere_is_turned_away() -> Result<()> {
    let counter = Counter::new(As::Ordinary)?;
    let project = counter.project()?;
    let (server, token) = counter.serve(&project)?;
    let hello = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"x","version":"1"}}}"#;
    let big = format!("\"{}\"", "x".repeat(5 << 20));
    project.write("big.json", &big)?;
    let good = format!("Authorization: Bearer {token}");
    let wrong = format!("Authorization: Bearer {}", "0".repeat(48));
    let ask = |headers: &[&str], body: &str| status(&project, headers, body);
    let short = good.trim_end_matches(|char: char| char.is_ascii_hexdigit());
    let cases: [(&[&str], &str, &str); 13] = [
        (&[&good], hello, "200"),
        (&[&good, "Origin: http://localhost:18443"], hello, "200"),
        (&[], hello, "401"),
        (&[&wrong], hello, "401"),
        (&[short], hello, "401"),
        (&[&good, "Origin: https://evil.test"], hello, "403"),
        (&[&good, "Origin: http://127.0.0.1:18444"], hello, "403"),
        (&[&good, "Origin: null"], hello, "403"),
        (&[&good, "Host: evil.test"], hello, "403"),
        (&[&good], "@big.json", "413"),
        (&[&good, "Transfer-Encoding: chunked"], "@big.json", "413"),
        (&[&wrong], "@big.json", "401"),
        (&[&good], hello, "200"),
    ];
    for (headers, body, wanted) in cases {
        assert_eq!(ask(headers, body)?, wanted, "{headers:?}");
    }
    counter.stop(server)
}

/// The status with which a request with these headers and this body is answered.
fn status(project: &Project<'_>, headers: &[&str], body: &str) -> Result<String> {
    let mut words = vec![
        "curl",
        "-s",
        "-m",
        "20",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
    ];
    words.extend([
        "-H",
        "Content-Type: application/json",
        "-H",
        "Expect:",
        "--data-binary",
        body,
    ]);
    words.extend(["-H", "Accept: application/json, text/event-stream"]);
    words.extend(headers.iter().flat_map(|header| ["-H", header]));
    words.push("http://127.0.0.1:18443/mcp");
    Ok(project.call(Call::new(&words))?.stdout)
}

#[test]
fn only_the_loopback_is_listened_on() -> Result<()> {
    let desk = Desk::bare(As::Ordinary)?;
    let project = desk.project("project", "sandbox-name: desk\n")?;
    for address in [
        "0.0.0.0:8443",
        "[::]:8443",
        "11.22.33.1:8443",
        "everywhere",
        "70000",
    ] {
        let finished = project.ocs(&["mcp", "--http", address])?;
        assert_eq!(finished.code(), 64, "{finished:#?}");
    }
    Ok(())
}
