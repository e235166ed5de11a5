use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::console::tests::captured;
use crate::world::Terminal;

/// A project whose engine is a script: it keeps what it was called with, and answers as `build` says.
struct Scripted {
    keep: tempfile::TempDir,
}

impl Scripted {
    fn new(build: &str) -> Self {
        let keep = tempfile::tempdir().unwrap();
        let at = |name: &str| keep.path().join(name);
        for directory in ["bin", "home", "project", "ours"] {
            fs::create_dir(at(directory)).unwrap();
        }
        fs::write(
            at("project").join("opencode-sandbox-config.yaml"),
            "sandbox-name: demo\n",
        )
        .unwrap();
        let here = keep.path().display();
        let script = format!(
            "#!/bin/sh\ncase $1 in\nversion) echo 20.10;;\nimage) printf 'sha256:1 '; cat {here}/label-$5 2>/dev/null;;\n\
             build) echo \"$@\" >>{here}/calls\n{build}\n;;\nesac\n"
        );
        let keep = Self { keep };
        keep.program("bin/docker", &script);
        // Programs of this machine: the loader lists their libraries.
        for name in ["ours/ocs-netctl", "ours/ocs-proxy"] {
            fs::copy("/bin/true", keep.at(name)).unwrap();
        }
        keep
    }

    fn at(&self, name: &str) -> PathBuf {
        self.keep.path().join(name)
    }

    fn program(&self, name: &str, text: &str) {
        fs::write(self.at(name), text).unwrap();
        fs::set_permissions(self.at(name), PermissionsExt::from_mode(0o755)).unwrap();
    }

    fn calls(&self) -> Vec<String> {
        let calls = fs::read_to_string(self.at("calls")).unwrap_or_default();
        calls.lines().map(str::to_owned).collect()
    }

    /// Runs `ocs build`; gives how it ended and what it told people.
    fn build(&self, args: &BuildArgs) -> (Result<Exit, Failure>, String, String) {
        let path = format!("{}", self.at("bin").display());
        let variables = vec![("PATH", &*path.leak())];
        let mut world = World::of(&self.at("project"), &self.at("home"), variables);
        world.exe = self.at("ours/ocs");
        captured("", Terminal::default(), |console| {
            run(args, &world, console)
        })
    }
}

fn plain() -> BuildArgs {
    BuildArgs::default()
}

#[test]
fn both_images_are_built_under_their_names_and_the_log_is_private() {
    let scripted = Scripted::new("echo Step 1/1 : FROM scratch");
    let (ended, out, err) = scripted.build(&plain());
    assert_eq!((ended, out.as_str()), (Ok(Exit::Ok), ""));
    let id = crate::sandbox_id::SandboxId::new(
        &policies::SandboxName::parse("demo").unwrap(),
        &scripted.at("project").canonicalize().unwrap(),
    );
    let calls = scripted.calls();
    assert_eq!(calls.len(), 2, "{calls:?}");
    assert!(
        calls[0].starts_with("build --tag opencode-sandbox-sidecar --label ocs.inputs="),
        "{calls:?}"
    );
    assert!(
        calls[1].starts_with(&format!(
            "build --tag opencode-sandbox-{id} --build-arg AGENT_PACKAGES= "
        )),
        "{calls:?}"
    );
    for argument in ["USER_ID", "GROUP_ID"] {
        assert!(
            !calls[1].contains(&format!("{argument}=0 ")),
            "root's are 1000: {calls:?}"
        );
    }
    assert!(calls[1].contains(" WORKSPACE_DIR=/project "), "{calls:?}");
    let state = scripted.at("home/.opencode-sandbox").join(id.as_str());
    let log = state.join("docker-build.log");
    assert_eq!(
        fs::read_to_string(&log).unwrap(),
        "Step 1/1 : FROM scratch\n".repeat(2)
    );
    assert_eq!(log.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert!(
        err.contains(
            "0 domains, 0 host ports, 0 variables passed through, 0 static variables, 0 packages"
        ),
        "{err}"
    );
    assert!(
        !err.contains("Step"),
        "nothing is drawn where no terminal is: {err}"
    );
    assert_eq!(
        fs::read_dir(state.join("build")).unwrap().count(),
        0,
        "contexts are gone"
    );
}

#[test]
fn what_was_built_from_the_same_is_not_built_again_unless_asked() {
    let scripted = Scripted::new(
        "for word in \"$@\"; do case $word in ocs.inputs=*) hash=${word#*=};; esac; done\n\
        echo $hash >$(dirname $0)/../label-$3",
    );
    scripted.build(&plain()).0.unwrap();
    let (ended, out, err) = scripted.build(&BuildArgs {
        json: true,
        ..plain()
    });
    assert_eq!(ended, Ok(Exit::Ok));
    assert_eq!(scripted.calls().len(), 2, "{err}");
    assert_eq!(err.matches("nothing changed").count(), 2, "{err}");
    let document: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(document["images"][0]["built"], false);
    // A change of one image's inputs builds that one.
    fs::copy("/bin/false", scripted.at("ours/ocs-proxy")).unwrap();
    scripted.build(&plain()).0.unwrap();
    assert!(scripted.calls()[2].contains("opencode-sandbox-sidecar"));
    scripted
        .build(&BuildArgs {
            base: Some("debian:trixie".to_owned()),
            ..plain()
        })
        .0
        .unwrap();
    assert!(scripted.calls()[3].contains("BASE_IMAGE=debian:trixie"));
    assert_eq!(scripted.calls().len(), 4);
    scripted
        .build(&BuildArgs {
            no_cache: true,
            ..plain()
        })
        .0
        .unwrap();
    assert_eq!(scripted.calls().len(), 6);
}

#[test]
fn a_failed_build_is_70_and_shows_what_the_builder_said() {
    let scripted = Scripted::new("echo working; echo 'E: no such \u{1b}[2Jpackage' >&2; exit 2");
    let (ended, _, err) = scripted.build(&plain());
    let failure = ended.unwrap_err();
    assert_eq!(failure.exit(), Exit::Fence);
    assert!(
        failure.to_string().contains("docker-build.log"),
        "{failure}"
    );
    assert!(
        err.contains("working\nE: no such \\u{1b}[2Jpackage\n"),
        "{err}"
    );
}

#[test]
fn arguments_that_are_none_start_nothing() {
    let scripted = Scripted::new("");
    let key = scripted.at("key.pem");
    fs::write(
        &key,
        "-----BEGIN CERTIFICATE-----\n-----BEGIN EC PRIVATE KEY-----\n",
    )
    .unwrap();
    let wrong = [
        BuildArgs {
            base: Some("--network=host".to_owned()),
            ..plain()
        },
        BuildArgs {
            base: Some("a b".to_owned()),
            ..plain()
        },
        BuildArgs {
            python: Some("3.11; id".to_owned()),
            ..plain()
        },
        BuildArgs {
            ca: Some(PathBuf::from("opencode-sandbox-config.yaml")),
            ..plain()
        },
        BuildArgs {
            ca: Some(key),
            ..plain()
        },
        BuildArgs {
            ca: Some(PathBuf::from("/nowhere")),
            ..plain()
        },
    ];
    for args in wrong {
        let (ended, _, _) = scripted.build(&args);
        assert_eq!(ended.unwrap_err().exit(), Exit::Usage, "{args:?}");
    }
    assert_eq!(scripted.calls(), Vec::<String>::new());
}

#[test]
fn without_an_engine_or_a_program_of_ours_it_is_69() {
    let scripted = Scripted::new("");
    fs::remove_file(scripted.at("ours/ocs-proxy")).unwrap();
    assert_eq!(
        scripted.build(&plain()).0.unwrap_err().exit(),
        Exit::Missing
    );
    fs::remove_file(scripted.at("bin/docker")).unwrap();
    let failure = scripted.build(&plain()).0.unwrap_err();
    assert_eq!(
        (failure.exit(), failure.to_string().as_str()),
        (Exit::Missing, "none of docker, podman is installed")
    );
}

#[test]
fn init_builds_as_its_fifth_step_where_there_is_an_engine_and_somebody_who_agrees() {
    let answer = |typed: &str, yes| {
        let scripted = Scripted::new("echo Step 1/1 : FROM scratch");
        let path = format!("{}", scripted.at("bin").display());
        let project = scripted.at("project").canonicalize().unwrap();
        let mut world = World::of(
            &project,
            &scripted.at("home"),
            vec![("PATH", &*path.leak())],
        );
        world.exe = scripted.at("ours/ocs");
        let terminal = Terminal {
            stdin: true,
            ..Terminal::default()
        };
        let args = crate::cli::InitArgs {
            dir: None,
            yes,
            presets: Vec::new(),
        };
        let typed = format!("\n\n\n{typed}");
        let (ended, _, err) = captured(&typed, terminal, |console| {
            crate::init::run(&args, &world, console)
        });
        assert_eq!(ended, Ok(Exit::Ok), "{err}");
        (
            scripted.calls().len(),
            err.matches("build the agent's image with docker").count(),
        )
    };
    assert_eq!(answer("y\n", false), (2, 1));
    assert_eq!(answer("\n", false), (2, 1), "Enter is a yes, as before");
    assert_eq!(answer("n\n", false), (0, 1));
    assert_eq!(answer("", true), (0, 0), "--yes writes files");
}
