//! Each way in which a start in containers can fail: its own message, the next command to type, its exit code, and nothing left
//! behind. Needs: what the suite `containers` needs.
//! Clauses: U1, U3, P9.

use anyhow::{Result, ensure};
use harness::engines::{Engine, Kind, Sandboxed};
use harness::run::Finished;
use harness::world::{As, Call};

const POLICY: &str = "\
sandbox-name: failing
http-domain-whitelist:
  - ok.test
";

/// What a failed start must be: this code, a message with this, this next step; the agent never ran.
fn failed(finished: &Finished, code: i32, message: &str, next: &str) {
    let told = finished.stderr.lines();
    let has = |first: &str, then: &str| {
        told.clone()
            .any(|line| line.starts_with(first) && line.contains(then))
    };
    assert_eq!(
        (
            finished.code(),
            finished.stdout.as_str(),
            has("ocs: ", message),
            has("next: ", next)
        ),
        (code, "", true, true),
        "{finished}"
    );
}

/// Nothing in the engine, and no run in the state directory.
fn leaves_nothing(engine: &Engine, sandboxed: &Sandboxed<'_>) -> Result<()> {
    assert_eq!(engine.left()?, Vec::<String>::new());
    let state = engine.kind.who().home().join(".opencode-sandbox");
    let runs = state.join(&sandboxed.id).join("run");
    let line = "find $0 -mindepth 1 -maxdepth 1 -type d 2>/dev/null; true";
    let words = ["sh", "-c", line, &runs.to_string_lossy()];
    let left = engine.world.run(As::Root, Call::new(&words))?.succeeded()?;
    assert_eq!(left.stdout, "");
    Ok(())
}

fn run_with(
    sandboxed: &Sandboxed<'_>,
    engine: &Engine,
    variables: &[(&str, &str)],
) -> Result<Finished> {
    let client = engine.kind.client();
    let words = ["ocs", "run", "--engine", client, "--", "echo", "ran"];
    sandboxed.call_with(Call::new(&words), variables)
}

fn what_can_be_wrong_before_anything_runs(kind: Kind) -> Result<()> {
    let engine = Engine::start(kind)?;
    let sandboxed = engine.project("app", POLICY)?;
    let client = kind.client();
    // It is looked for as a file.
    let program = format!("/usr/bin/{client}");
    let as_root = |words: &[&str]| engine.world.run(As::Root, Call::new(words))?.succeeded();
    as_root(&["mount", "--bind", "/dev/null", &program])?;
    let absent = run_with(&sandboxed, &engine, &[])?;
    as_root(&["umount", &program])?;
    failed(
        &absent,
        69,
        &format!("{client} is not installed"),
        &format!("apt install {client}"),
    );
    if kind == Kind::Docker {
        let asleep = [("DOCKER_HOST", "unix:///tmp/nobody.sock")];
        let asleep = run_with(&sandboxed, &engine, &asleep)?;
        failed(&asleep, 69, "docker does not answer", "docker info");
    }
    leaves_nothing(&engine, &sandboxed)?;

    let image = sandboxed.agent();
    engine.client(&["rmi", &image])?;
    let build = format!("ocs build --engine {client}");
    let imageless = run_with(&sandboxed, &engine, &[])?;
    failed(
        &imageless,
        69,
        &format!("the image {image} is not there"),
        &build,
    );
    sandboxed.project.write(
        "opencode-sandbox-config.yaml",
        "sandbox-name: failing\nhost-port: 1\n",
    )?;
    let wrong = run_with(&sandboxed, &engine, &[])?;
    assert_eq!((wrong.code(), wrong.stdout.as_str()), (64, ""), "{wrong}");
    ensure!(wrong.stderr.contains("host-ports"), "{wrong}");
    leaves_nothing(&engine, &sandboxed)
}

#[test]
fn docker_says_what_is_wrong_before_anything_runs() -> Result<()> {
    what_can_be_wrong_before_anything_runs(Kind::Docker)
}

#[test]
fn podman_says_what_is_wrong_before_anything_runs() -> Result<()> {
    what_can_be_wrong_before_anything_runs(Kind::Rootless)
}

#[test]
fn a_port_that_is_taken_a_change_and_a_hook_that_fails_are_told() -> Result<()> {
    let engine = Engine::start(Kind::Docker)?;
    let sandboxed = engine.project("app", POLICY)?;
    sandboxed.run(&["true"])?.succeeded()?;
    // 9999 of the host is somebody's.
    let words = ["start", "--detach", "--engine", "docker", "--port", "9999"];
    failed(
        &sandboxed.ocs(&words)?,
        64,
        "port 9999 of 127.0.0.1 cannot be had",
        "ocs start, which takes the next free one",
    );
    let changed = format!("{POLICY}  - evil.test\n");
    sandboxed
        .project
        .write("opencode-sandbox-config.yaml", &changed)?;
    failed(
        &sandboxed.run(&["echo", "ran"])?,
        64,
        "the control files are not approved",
        "ocs policy approve",
    );
    leaves_nothing(&engine, &sandboxed)?;

    let hooked = engine.project("hooked", POLICY)?;
    let hook = "opencode-sandbox-pre-start-container.sh";
    hooked.project.write(hook, "exit 3\n")?;
    let asked = hooked.run(&["echo", "ran"])?;
    let hash = asked.stderr.trim().rsplit(' ').next().unwrap_or_default();
    hooked
        .ocs(&["policy", "approve", "--yes", "--hash", hash])?
        .succeeded()?;
    failed(
        &hooked.run(&["echo", "ran"])?,
        64,
        &format!("the hook {hook}"),
        "bash -x",
    );
    leaves_nothing(&engine, &hooked)
}

#[test]
fn a_host_without_ipv6_is_as_good() -> Result<()> {
    for kind in [Kind::Docker, Kind::Podman] {
        let engine = Engine::start(kind)?;
        let line =
            "for of in all default; do echo 1 >/proc/sys/net/ipv6/conf/$of/disable_ipv6; done";
        let off = ["sh", "-c", line];
        engine.world.run(As::Root, Call::new(&off))?.succeeded()?;
        let sandboxed = engine.project("app", POLICY)?;
        let finished = sandboxed.run(&["curl", "-sS", "http://ok.test/"])?;
        assert_eq!(
            (finished.code(), finished.stdout.as_str()),
            (0, "hello from ok.test\n"),
            "{finished}"
        );
        leaves_nothing(&engine, &sandboxed)?;
    }
    Ok(())
}

#[test]
fn auto_is_docker_where_bubblewrap_is_missing() -> Result<()> {
    let engine = Engine::start(Kind::Docker)?;
    let sandboxed = engine.project("app", POLICY)?;
    // It is looked for as a file.
    let hidden = ["mount", "--bind", "/dev/null", "/usr/bin/bwrap"];
    engine
        .world
        .run(As::Root, Call::new(&hidden))?
        .succeeded()?;
    let finished = sandboxed.ocs(&["run", "--", "echo", "ran"])?;
    assert_eq!(
        (finished.code(), finished.stdout.as_str()),
        (0, "ran\n"),
        "{finished}"
    );
    let record = sandboxed.project.newest_record()?;
    ensure!(
        record
            .lines
            .iter()
            .any(|line| line.contains("\"engine\":\"docker\"")),
        "{:?}",
        record.lines
    );
    Ok(())
}
