//! The images, built for real by `ocs build` on a base made here: what is in them, what is not, and that a second build does
//! nothing. Starts a Docker daemon of its own and ends it. Clauses: B1, B3, U3.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use anyhow::{Context, Result, ensure};
use harness::{binaries, engines};
use tempfile::TempDir;

/// As `image/versions.env` names it; nothing is pulled.
fn base() -> Result<String> {
    let versions = fs::read_to_string(binaries::repository().join("image/versions.env"))?;
    let base = versions
        .lines()
        .find_map(|line| line.strip_prefix("BASE_IMAGE="));
    Ok(base.context("no base is pinned")?.to_owned())
}

/// A daemon that only this test knows.
struct Engine {
    keep: TempDir,
    daemon: Child,
}

impl Engine {
    fn start() -> Result<Self> {
        let keep = tempfile::Builder::new()
            .prefix("ocs-images-")
            .tempdir_in("/var/tmp")?;
        let at = |name: &str| keep.path().join(name);
        let log = fs::File::create(at("dockerd.log"))?;
        let daemon = command("dockerd")
            .arg("--data-root")
            .arg(at("data"))
            .arg("--exec-root")
            .arg(at("exec"))
            .arg("--pidfile")
            .arg(at("pid"))
            .args([
                "--bridge",
                "none",
                "-H",
                &format!("unix://{}", at("socket").display()),
            ])
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("start dockerd")?;
        let engine = Self { keep, daemon };
        for _ in 0..600 {
            if engine.docker(&["version"])?.status.success() {
                return Ok(engine);
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        anyhow::bail!(
            "dockerd does not answer: {}",
            fs::read_to_string(engine.at("dockerd.log"))?
        )
    }

    fn at(&self, name: &str) -> PathBuf {
        self.keep.path().join(name)
    }

    fn client(&self, program: &Path) -> Command {
        let mut client = command(program);
        client.env(
            "DOCKER_HOST",
            format!("unix://{}", self.at("socket").display()),
        );
        // The daemon's own builder: it needs nothing beside the client.
        client.env("DOCKER_BUILDKIT", "0");
        client.env("HOME", self.keep.path());
        client
    }

    fn docker(&self, arguments: &[&str]) -> Result<Output> {
        let client = self
            .client(Path::new("docker"))
            .args(arguments)
            .stdin(Stdio::null())
            .output();
        client.context("start docker")
    }

    /// What a container of the agent's image prints, as weak as an agent is.
    fn agent(&self, image: &str, script: &str) -> Result<String> {
        let profile = format!(
            "seccomp={}",
            binaries::repository().join("image/seccomp.json").display()
        );
        let output = self.docker(&[
            "run",
            "--rm",
            "--init",
            "--network",
            "none",
            "--read-only",
            "--tmpfs",
            "/tmp",
            "--tmpfs",
            "/home/agent:exec,uid=1000,gid=1000",
            "--cap-drop",
            "ALL",
            "--security-opt",
            "no-new-privileges",
            "--security-opt",
            &profile,
            image,
            "sh",
            "-c",
            script,
        ])?;
        told(&output)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let pid = i32::try_from(self.daemon.id()).unwrap_or(i32::MAX);
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGTERM).ok();
        drop(self.daemon.wait());
        // The daemon leaves its own namespace bound there, and the directory could not be removed.
        let left = self.at("exec/netns/default");
        drop(command("umount").arg(left).output());
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a suite starts the programs that it is about"
)]
fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    Command::new(program)
}

fn told(output: &Output) -> Result<String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    ensure!(
        output.status.success(),
        "{}: {}{}",
        output.status,
        text(&output.stdout),
        text(&output.stderr)
    );
    Ok(text(&output.stdout))
}

/// The suites' own base, under the name that the Dockerfiles ask for.
fn import_base(engine: &Engine) -> Result<()> {
    let archive = engines::base()?;
    let import = ["import", &archive.to_string_lossy(), &base()?];
    told(&engine.docker(&import)?).map(drop)
}

const CONFIG: &str = "sandbox-name: imaged\nhttp-domain-whitelist:\n  - canary.example.org\nenv:\n  SECRET: canary-in-env\n\
    agent:\n  packages: [jq]\n";

#[test]
#[ignore = "fetches Debian, PyPI and npm, and builds for minutes; needs root, dockerd and debootstrap: make images"]
fn the_images_build_and_hold_what_they_should_and_nothing_else() -> Result<()> {
    let engine = Engine::start()?;
    import_base(&engine)?;
    let project = engine.at("project");
    fs::create_dir(&project)?;
    fs::write(project.join("opencode-sandbox-config.yaml"), CONFIG)?;
    let ocs = binaries::directory()?.join("ocs");
    let build = || {
        let mut build = engine.client(&ocs);
        build
            .args(["build", "--engine", "docker", "--network", "host", "--json"])
            .current_dir(&project);
        // Where the network intercepts TLS the machine's own bundle knows by whom.
        build.args(["--ca", "/etc/ssl/certs/ca-certificates.crt"]);
        told(&build.stdin(Stdio::null()).output()?)
    };
    let first: serde_json::Value = serde_json::from_str(&build()?)?;
    let second: serde_json::Value = serde_json::from_str(&build()?)?;
    let built = |document: &serde_json::Value| -> Vec<Option<bool>> {
        let images = document
            .get("images")
            .and_then(|images| images.as_array())
            .cloned()
            .unwrap_or_default();
        images
            .iter()
            .map(|image| image.get("built")?.as_bool())
            .collect()
    };
    assert_eq!(
        (built(&first), built(&second)),
        (vec![Some(true); 2], vec![Some(false); 2])
    );
    let agent = first
        .pointer("/images/1/name")
        .and_then(|name| name.as_str())
        .context("no name")?;

    holds_the_agent(&engine, agent)?;
    holds_two_programs(&engine)?;
    tells_nothing(&engine, agent)
}

/// What the agent's image has, asked in a container as weak as an agent.
fn holds_the_agent(engine: &Engine, agent: &str) -> Result<()> {
    let versions = fs::read_to_string(binaries::repository().join("image/versions.env"))?;
    let pinned = |name: &str| {
        versions
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
    };
    let seen = engine.agent(agent, "id -un; opencode --version; node --version; jq --version; git --version >/dev/null && echo git")?;
    let node = format!("v{}", pinned("NODE_VERSION").unwrap_or_default());
    let lines: Vec<&str> = seen.lines().collect();
    assert_eq!(
        lines,
        [
            "agent",
            pinned("OPENCODE_VERSION").unwrap_or_default(),
            &node,
            "jq-1.6",
            "git"
        ]
    );
    let setuid = engine.agent(agent, "find / -xdev -perm /6000 -type f 2>/dev/null; true")?;
    assert_eq!(setuid, "");
    Ok(())
}

/// The sidecar: programs and libraries, and nothing that a person or an agent could run besides.
fn holds_two_programs(engine: &Engine) -> Result<()> {
    let made = told(&engine.docker(&["create", "opencode-sandbox-sidecar"])?)?;
    let listed = engine.at("sidecar.tar");
    told(&engine.docker(&["export", "-o", &listed.to_string_lossy(), made.trim()])?)?;
    let listed = told(&command("tar").arg("-tf").arg(&listed).output()?)?;
    let programs: Vec<&str> = listed
        .lines()
        .filter(|path| path.starts_with("bin/") && !path.ends_with('/'))
        .collect();
    assert_eq!(programs, ["bin/ocs-netctl", "bin/ocs-proxy"]);
    let others: Vec<&str> = listed
        .lines()
        .filter(|path| !path.ends_with('/') && !path.starts_with("bin/") && !path.contains(".so"))
        // What the engine puts into every container.
        .filter(|path| !["dev/", "etc/", ".dockerenv", "proc/", "sys/"].iter().any(|own| path.starts_with(own)))
        .collect();
    assert_eq!(others, Vec::<&str>::new());
    Ok(())
}

/// No layer and no history of either has a word of the config but the packages.
fn tells_nothing(engine: &Engine, agent: &str) -> Result<()> {
    let saved = engine.at("images.tar");
    told(&engine.docker(&[
        "save",
        "-o",
        &saved.to_string_lossy(),
        agent,
        "opencode-sandbox-sidecar",
    ])?)?;
    let unpacked = engine.at("layers");
    fs::create_dir(&unpacked)?;
    told(
        &command("tar")
            .arg("-C")
            .arg(&unpacked)
            .arg("-xf")
            .arg(&saved)
            .output()?,
    )?;
    for word in ["canary.example.org", "canary-in-env", "opencode-password"] {
        let found = command("grep")
            .args(["-rlaF", word])
            .arg(&unpacked)
            .output()?;
        assert_eq!(String::from_utf8_lossy(&found.stdout), "", "{word}");
    }
    let log = engine.at(".opencode-sandbox");
    let log = fs::read_dir(log)?
        .next()
        .context("no state")??
        .path()
        .join("docker-build.log");
    ensure!(fs::metadata(&log)?.len() > 0, "the log is empty");
    Ok(())
}
