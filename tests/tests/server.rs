//! `ocs start` and what goes with it, with a server that plays OpenCode's part: its flags, its password, its health.
//! Judged from the host's side of the published port, by the census, and by what other sandboxes get.
//! Clauses: U1, U2, U3, B6, N9.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use anyhow::{Context, Result};
use harness::for_each_user;
use harness::order::Order;
use harness::project::Project;
use harness::run::Finished;
use harness::spec::Census;
use harness::world::{As, Call, World};
use serde_json::Value;

/// Serves as `opencode web` does; `FAKE` in its environment says what goes wrong.
const SERVER: &str = r#"#!/usr/bin/python3
import base64, http.server, json, os, pathlib, sys, urllib.request
if sys.argv[1] == "attach":
    print("attach", sys.argv[2:], os.getcwd(), os.environ["OPENCODE_SERVER_PASSWORD"])
    sys.exit(0)
if sys.argv[1] == "hello":
    print("tui in", os.getcwd(), (pathlib.Path.home() / ".local/share/opencode").is_dir())
    sys.exit(5)
assert sys.argv[1] in ("web", "serve") and sys.argv[2:] == ["--hostname", "127.0.0.1", "--port", "4096"], sys.argv
fake = os.environ.get("FAKE", "")
print("starting", flush=True)
if fake == "dies":
    print("out of luck", file=sys.stderr, flush=True)
    sys.exit(3)
state = pathlib.Path.home() / ".local/share/opencode/starts"
state.write_text((state.read_text() if state.exists() else "") + "x")
known = "Basic " + base64.b64encode(b"opencode:" + os.environ["OPENCODE_SERVER_PASSWORD"].encode()).decode()
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.headers.get("Authorization") != known and fake != "open":
            return self.say(401, "who are you")
        if self.path == "/starts":
            return self.say(200, str(len(state.read_text())))
        if self.path == "/out":
            try:
                return self.say(200, urllib.request.urlopen("http://evil.test/", timeout=5).read().decode())
            except Exception as error:
                return self.say(200, "refused: %s" % error)
        if self.path == "/face":
            return self.say(200, sys.argv[1] + " " + json.load(open(os.environ["OPENCODE_CONFIG"])).get("permission", {}).get("*", "asks"))
        self.say(200, '{"healthy":true}')
    def say(self, status, text):
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())
    def log_message(self, *words):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", 4096), Handler).serve_forever()
"#;

const CONFIG: &str = "sandbox-name: served\nhttp-domain-whitelist: [ok.test]\n";

/// A world with that server installed for one user.
struct Ground {
    world: World,
    who: As,
    path: String,
    before: Census,
}

impl Ground {
    fn new(who: As) -> Result<Self> {
        let world = World::new(&Order::usual()?)?;
        let bin = who.home().join("tools/bin");
        let ground = Self {
            path: format!("{}:/home/bin:/usr/bin:/bin:/usr/sbin:/sbin", bin.display()),
            before: world.census()?,
            world,
            who,
        };
        ground.program(&bin.join("opencode"), SERVER)?;
        Ok(ground)
    }

    fn program(&self, path: &std::path::Path, text: &str) -> Result<()> {
        self.world.write(self.who, path, text)?;
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(self.world.outside(path), mode).context("make a program")
    }

    fn project(&self, name: &str, config: &str) -> Result<Project<'_>> {
        Project::named(&self.world, self.who, name, config)
    }

    fn call(&self, project: &Project<'_>, words: &[&str]) -> Result<Finished> {
        project.call(Call::new(words).with(&[("PATH", &self.path)]))
    }

    /// What `ocs start --detach --json` says runs.
    fn started(&self, project: &Project<'_>) -> Result<Value> {
        let started = self.call(project, &["ocs", "start", "--detach", "--json"])?;
        let started = started.succeeded()?;
        serde_json::from_str(&started.stdout).context("parse what runs")
    }

    fn state(&self) -> Result<Vec<PathBuf>> {
        let root = self
            .world
            .outside(&self.who.home().join(".opencode-sandbox"));
        let entries = fs::read_dir(root).context("list the state")?;
        let paths = entries.map(|entry| entry.map(|entry| entry.path()));
        let mut paths = paths.collect::<Result<Vec<_>, _>>()?;
        paths.retain(|path| path.is_dir());
        Ok(paths)
    }

    fn password(&self) -> Result<String> {
        let state = self.state()?;
        let [state] = state.as_slice() else {
            anyhow::bail!("{state:?}");
        };
        let path = state.join("opencode-password");
        assert_eq!(fs::metadata(&path)?.permissions().mode() & 0o777, 0o600);
        Ok(fs::read_to_string(path)?)
    }

    fn get(&self, project: &Project<'_>, url: &str, password: &str) -> Result<String> {
        let who = format!("opencode:{password}");
        let words = [
            "curl",
            "-sS",
            "-m",
            "10",
            "-u",
            &who,
            "-w",
            " %{http_code}",
            url,
        ];
        Ok(self.call(project, &words)?.stdout)
    }

    fn assert_clean(&self) -> Result<()> {
        let after = self.world.settle(|census| *census == self.before)?;
        assert_eq!(after, self.before);
        Ok(())
    }
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

for_each_user! {
    fn a_server_outlives_its_terminal_until_it_is_stopped_and_keeps_its_sessions(who) {
        let ground = Ground::new(who)?;
        let project = ground.project("project", CONFIG)?;
        let facts = ground.started(&project)?;
        assert_eq!((text(&facts, "url"), text(&facts, "engine"), text(&facts, "mode")), ("http://127.0.0.1:4096", "native", "filtered"));
        let password = ground.password()?;
        assert!(password.len() == 48 && password.bytes().all(|byte| byte.is_ascii_hexdigit()));
        assert_eq!(ground.get(&project, "http://127.0.0.1:4096/starts", &password)?, "1 200");
        assert_eq!(ground.get(&project, "http://127.0.0.1:4096/starts", "wrong")?, "who are you 401");
        assert!(ground.get(&project, "http://127.0.0.1:4096/out", &password)?.starts_with("refused: HTTP Error 403"));

        let status = ground.call(&project, &["ocs", "status", "--json"])?.succeeded()?;
        let status: Value = serde_json::from_str(&status.stdout)?;
        assert_eq!(text(&status, "state"), "running");
        assert_eq!(status.pointer("/fence/refused").and_then(Value::as_u64), Some(1), "without the probes of the start");
        let listed = ground.call(&project, &["ocs", "list"])?.succeeded()?;
        assert!(listed.stdout.contains("running   http://127.0.0.1:4096"), "{listed}");
        let logs = ground.call(&project, &["ocs", "logs"])?.succeeded()?;
        assert!(logs.stdout.contains("server | starting"), "{logs}");
        let again = ground.call(&project, &["ocs", "start", "--detach"])?.succeeded()?;
        assert!(again.stderr.contains("it runs already: http://127.0.0.1:4096"), "{again}");
        let other = ground.call(&project, &["ocs", "start", "--detach", "--mode", "none"])?;
        assert_eq!(other.code(), 64, "{other}");

        // B6: on no command line of anything that runs.
        let census = ground.world.census()?;
        assert!(census.processes.iter().any(|process| process.command.contains("start --supervised")), "{census:#?}");
        assert!(!census.processes.iter().any(|process| process.command.contains(&password)), "{census:#?}");

        ground.call(&project, &["ocs", "stop"])?.succeeded()?;
        ground.assert_clean()?;
        assert!(ground.password().is_err(), "the password ended with the server");
        let stopped = ground.call(&project, &["ocs", "status"])?;
        assert_eq!((stopped.code(), stopped.stdout.contains("is stopped")), (1, true), "{stopped}");
        ground.call(&project, &["ocs", "stop"])?.succeeded()?;

        ground.started(&project)?;
        assert_ne!(ground.password()?, password);
        assert_eq!(ground.get(&project, "http://127.0.0.1:4096/starts", &ground.password()?)?, "2 200");
        ground.call(&project, &["ocs", "stop"])?.succeeded()?;
        ground.assert_clean()
    }

    fn two_projects_have_a_server_each_and_neither_reaches_the_other(who) {
        let ground = Ground::new(who)?;
        let one = ground.project("one", CONFIG)?;
        let two = ground.project("two", CONFIG)?;
        let first = ground.started(&one)?;
        let second = ground.started(&two)?;
        assert_eq!([text(&first, "url"), text(&second, "url")], ["http://127.0.0.1:4096", "http://127.0.0.1:4097"]);
        // Inside a third sandbox 127.0.0.1 is its own, and the host's ports are not listed.
        let three = ground.project("three", CONFIG)?;
        for url in ["http://127.0.0.1:4097/", "http://docker.host:4096/", "http://docker.host:4097/"] {
            let words = ["ocs", "run", "--", "curl", "-sS", "-m", "10", "-o", "/dev/null", "-w", "%{http_code}", url];
            let got = ground.call(&three, &words)?;
            assert!(["000", "403"].contains(&got.stdout.as_str()), "{url}: {got}");
        }
        // From the host by any other address than its loopback's.
        let addresses = ground.call(&three, &["hostname", "-I"])?.stdout;
        assert!(!addresses.trim().is_empty());
        for address in addresses.split_whitespace().map(|address| if address.contains(':') { format!("[{address}]") } else { address.to_owned() }) {
            let got = ground.call(&three, &["curl", "-sS", "-m", "10", &format!("http://{address}:4096/")])?;
            assert_eq!(got.code(), 7, "{address}: {got}");
        }
        ground.call(&one, &["ocs", "stop"])?.succeeded()?;
        assert_eq!(ground.call(&one, &["ocs", "status"])?.code(), 1);
        assert_eq!(ground.call(&two, &["ocs", "status"])?.code(), 0);
        ground.call(&two, &["ocs", "stop"])?.succeeded()?;
        ground.assert_clean()
    }

    fn a_supervisor_that_is_killed_takes_everything_along_and_the_next_start_sweeps(who) {
        let ground = Ground::new(who)?;
        let project = ground.project("project", CONFIG)?;
        ground.started(&project)?;
        let supervisor = ground.world.find(|process| process.command.contains("start --supervised"))?;
        ground.world.signal(supervisor.pid, "KILL")?;
        ground.assert_clean()?;
        assert_eq!(ground.call(&project, &["ocs", "status"])?.code(), 1);
        ground.started(&project)?;
        let [state] = <[PathBuf; 1]>::try_from(ground.state()?).map_err(|state| anyhow::anyhow!("{state:?}"))?;
        let runs = fs::read_dir(state.join("run"))?.filter(|entry| entry.as_ref().is_ok_and(|entry| entry.path().is_dir())).count();
        assert_eq!(runs, 1, "the dead run's directory was swept");
        ground.call(&project, &["ocs", "stop"])?.succeeded()?;
        ground.assert_clean()
    }

    fn a_start_that_fails_says_why_with_its_code_and_leaves_nothing(who) {
        let ground = Ground::new(who)?;
        let cases = [
            ("dies", format!("{CONFIG}env:\n  FAKE: dies\n"), "", &[][..], 3, "ended with code 3 before it answered"),
            ("open", format!("{CONFIG}env:\n  FAKE: open\n"), "", &[], 70, "lets in who does not know its password"),
            ("wrong", format!("{CONFIG}unknown: 1\n"), "", &[], 64, "unknown"),
            ("serverless", format!("{CONFIG}agent:\n  tool: omp\n"), "", &[], 64, "has no server"),
            ("port", CONFIG.to_owned(), "", &["--port", "9999"], 64, "port 9999 of 127.0.0.1 cannot be had"),
            ("observed", CONFIG.to_owned(), "", &["--mode", "observe"], 64, "nobody watches"),
            ("hooked", CONFIG.to_owned(), "echo from the hook; false\n", &[], 64, "the hook opencode-sandbox-pre-start-container.sh failed with code 1"),
        ];
        for (name, config, hook, flags, code, message) in cases {
            let project = ground.project(name, &config)?;
            if !hook.is_empty() {
                project.write("opencode-sandbox-pre-start-container.sh", hook)?;
                let shown = ground.call(&project, &["ocs", "policy", "diff", "--json"])?;
                let shown: Value = serde_json::from_str(&shown.stdout)?;
                let unasked = ground.call(&project, &["ocs", "start", "--detach"])?;
                assert!(unasked.code() == 64 && unasked.stderr.contains("nobody to ask"), "{unasked}");
                let words = ["ocs", "policy", "approve", "--yes", "--hash", text(&shown, "fingerprint")];
                ground.call(&project, &words)?.succeeded()?;
            }
            let words: Vec<&str> = ["ocs", "start", "--detach"].iter().chain(flags).copied().collect();
            let failed = ground.call(&project, &words)?;
            assert_eq!(failed.code(), code, "{name}: {failed}");
            assert!(failed.stderr.contains(message), "{name}: {failed}");
            assert_eq!(ground.call(&project, &["ocs", "status"])?.code(), 1, "{name}");
            ground.assert_clean()?;
        }
        Ok(())
    }

    fn a_start_in_a_terminal_stays_there_and_shows_what_it_gives(who) {
        let ground = Ground::new(who)?;
        let config = "sandbox-name: served\nhttp-domain-whitelist: [.w.test]\nhost-ports: [5432]\nenv-passthrough:\n  A: HOST_A\n  B: HOST_B\nenv:\n  C: plain\n";
        let project = ground.project("project", config)?;
        let words = ["ocs", "start"];
        let environment = [("PATH", ground.path.as_str()), ("HOST_A", "hidden-value")];
        let call = Call::new(&words).with(&environment).within(project.directory());
        let running = ground.world.start(who, call)?;
        for attempt in 0.. {
            if ground.call(&project, &["ocs", "status"])?.code() == 0 {
                break;
            }
            assert!(attempt < 1000, "the server never ran");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let supervisor = ground.world.find(|process| process.command == "ocs start")?;
        ground.world.signal(supervisor.pid, "INT")?;
        let ended = running.wait()?;
        for line in ["sandbox     opencode-sandbox-served-", "url         http://127.0.0.1:4096", "A (from $HOST_A)", "B (skipped \u{2014} $HOST_B not set on host)", "C=plain", "whitelist   .w.test", "host ports  docker.host:5432", ">> using sandbox directory: /home/", "starting\n"] {
            assert!(ended.stderr.contains(line), "{line}: {ended}");
        }
        assert!(!ended.stderr.contains("hidden-value"), "{ended}");
        ground.assert_clean()
    }

    fn a_conductor_serves_programs_and_asks_nobody_and_is_no_other_server(who) {
        let ground = Ground::new(who)?;
        let project = ground.project("project", CONFIG)?;
        for (command, face) in [("conductor", "serve allow"), ("start", "web asks")] {
            ground.call(&project, &["ocs", command, "--detach"])?.succeeded()?;
            let url = "http://127.0.0.1:4096/face";
            assert_eq!(ground.get(&project, url, &ground.password()?)?, format!("{face} 200"));
            let other = if command == "start" { "conductor" } else { "start" };
            let refused = ground.call(&project, &["ocs", other, "--detach"])?;
            assert!(refused.code() == 64 && refused.stderr.contains(&format!("and not as `ocs {other}`")), "{refused}");
            ground.call(&project, &["ocs", command, "--detach"])?.succeeded()?;
            ground.call(&project, &["ocs", "stop"])?.succeeded()?;
        }
        ground.assert_clean()
    }

    fn a_box_that_runs_is_checked_from_the_host(who) {
        let ground = Ground::new(who)?;
        let project = ground.project("project", CONFIG)?;
        let check = || -> Result<Vec<(String, String)>> {
            let checked = ground.call(&project, &["ocs", "check", "--json"])?.succeeded()?;
            let document: Value = serde_json::from_str(&checked.stdout)?;
            let findings = document["findings"].as_array().cloned().unwrap_or_default();
            Ok(findings.iter().map(|found| (text(found, "check").to_owned(), text(found, "verdict").to_owned())).collect())
        };
        let of = |list: [(&str, &str); 4]| list.map(|(check, verdict)| (check.to_owned(), verdict.to_owned())).to_vec();
        let good = [("config", "good"), ("control-files", "good"), ("box", "good"), ("secrets", "good")];
        assert_eq!(check()?[1..], of([good[0], ("control-files", "warn"), good[2], good[3]])[1..]);
        ground.started(&project)?;
        assert_eq!(check()?, of(good));
        let said = ground.call(&project, &["ocs", "check"])?.succeeded()?.stdout;
        assert!(said.contains("none with a privilege, all filtered and fenced"), "{said}");
        ground.call(&project, &["ocs", "stop"])?.succeeded()?;
        ground.assert_clean()
    }

    fn a_project_whose_interface_is_the_terminal_s_is_started_there(who) {
        let ground = Ground::new(who)?;
        let project = ground.project("project", &format!("{CONFIG}agent:\n  interface: tui\n  tool: [opencode, hello]\n"))?;
        let ran = ground.call(&project, &["ocs", "start"])?;
        assert_eq!((ran.code(), ran.stdout.as_str()), (5, "tui in /project True\n"), "{ran}");
        let refused = ground.call(&project, &["ocs", "start", "--detach"])?;
        assert!(refused.code() == 64 && refused.stderr.contains("agent.interface is `tui`"), "{refused}");
        ground.assert_clean()
    }

    fn the_old_names_are_links_that_do_what_they_did(who) {
        let ground = Ground::new(who)?;
        let project = ground.project("project", CONFIG)?;
        let bin = who.home().join("tools/bin");
        ground.program(&bin.join("xdg-open"), "#!/bin/sh\necho opened \"$@\"\n")?;
        for old in ["ocs-start-container", "ocs-web", "ocs-web-auth", "ocs-terminal"] {
            std::os::unix::fs::symlink("/home/bin/ocs", ground.world.outside(&bin.join(old)))?;
        }
        let early = ground.call(&project, &["ocs-web"])?;
        assert!(early.code() == 1 && early.stderr.contains("next: ocs start"), "{early}");
        ground.call(&project, &["ocs-start-container", "--detach"])?.succeeded()?;
        let password = ground.password()?;
        let web = ground.call(&project, &["ocs-web"])?.succeeded()?;
        assert_eq!(web.stdout, "opened http://127.0.0.1:4096\n");
        let auth = ground.call(&project, &["ocs-web-auth"])?.succeeded()?;
        assert_eq!(auth.stdout, format!("opened http://opencode:{password}@127.0.0.1:4096\n"));
        assert!(auth.stderr.contains("holds the password"), "{auth}");
        // What the agent can write to is no program of this host's, wherever PATH leads.
        let planted = project.directory().join("bin");
        for name in ["xdg-open", "open", "opencode"] {
            ground.program(&planted.join(name), "#!/bin/sh\necho planted\n")?;
        }
        let path = format!("{}:{}", planted.display(), ground.path);
        for command in ["ocs-web", "ocs-terminal"] {
            let opened = project.call(Call::new(&[command]).with(&[("PATH", &path)]))?;
            let opened = opened.succeeded()?;
            assert!(!opened.stdout.contains("planted"), "{opened}");
        }
        let terminal = ground.call(&project, &["ocs-terminal", "--session", "s"])?.succeeded()?;
        assert_eq!(terminal.stdout, format!("attach ['http://127.0.0.1:4096', '--session', 's'] / {password}\n"));
        ground.call(&project, &["ocs", "stop"])?.succeeded()?;
        ground.assert_clean()
    }

    fn the_state_directory_is_where_opencode_sandbox_had_it(who) {
        let ground = Ground::new(who)?;
        let project = ground.project("project", CONFIG)?;
        let old = r#"printf '%x' "$(realpath . | tr -d '\n' | cksum | cut -d' ' -f1)" | cut -c1-6"#;
        let hash = ground.call(&project, &["sh", "-c", old])?.succeeded()?;
        let listed = ground.call(&project, &["ocs", "status", "--json"])?;
        let listed: Value = serde_json::from_str(&listed.stdout)?;
        assert_eq!(text(&listed, "sandbox"), format!("served-{}", hash.stdout.trim()));
        Ok(())
    }

    fn a_tool_in_the_terminal_is_chosen_by_name_and_has_the_server_s_sessions(who) {
        let ground = Ground::new(who)?;
        let project = ground.project("project", CONFIG)?;
        let missing = ground.call(&project, &["ocs", "tui", "--tool", "nothing"])?;
        assert!(missing.code() == 1 && missing.stderr.contains("the tool `nothing` is not available"), "{missing}");
        let words = ["ocs", "tui", "hello"];
        for variables in [[("TOOLS", "nothing,opencode,a b"), ("DEFAULT_TOOL", "")], [("TOOLS", ""), ("DEFAULT_TOOL", "opencode")]] {
            let environment = [("PATH", ground.path.as_str()), variables[0], variables[1]];
            let ran = project.call(Call::new(&words).with(&environment))?;
            assert_eq!((ran.code(), ran.stdout.as_str()), (5, "tui in /project True\n"), "{ran}");
            assert_eq!(ran.stderr.contains("`a b` is no tool's name"), variables[0].1.contains("a b"), "{ran}");
        }
        ground.assert_clean()
    }

    fn a_reset_wants_its_phrase_and_nothing_running(who) {
        let ground = Ground::new(who)?;
        let project = ground.project("project", CONFIG)?;
        ground.started(&project)?;
        let running = ground.call(&project, &["ocs", "reset", "--state", "--destroy"])?;
        assert!(running.code() == 64 && running.stderr.contains("next: ocs stop"), "{running}");
        ground.call(&project, &["ocs", "stop"])?.succeeded()?;
        let [state] = <[PathBuf; 1]>::try_from(ground.state()?).map_err(|state| anyhow::anyhow!("{state:?}"))?;
        let sessions = state.join("opencode-state/starts");
        assert!(sessions.exists());
        let words = ["ocs", "reset", "--state"];
        let unsure = project.call(Call::new(&words).fed("yes\n"))?.succeeded()?;
        assert!(unsure.stderr.contains("cancelled") && sessions.exists(), "{unsure}");
        project.call(Call::new(&words).fed("Yes, do as I say!\n"))?.succeeded()?;
        assert!(!sessions.exists() && state.join("audit").exists());
        assert_eq!(ground.call(&project, &["ocs", "reset"])?.code(), 64);
        ground.call(&project, &["ocs", "reset", "--all", "--destroy"])?.succeeded()?;
        assert!(!state.exists());
        Ok(())
    }
}
