use policies::{Cpus, Port};

use super::*;
use crate::engine::cover::Cover;

fn frame(kind: Kind, rootless: bool, limits: bool) -> Frame {
    Frame {
        kind,
        facts: Facts {
            rootless,
            limits,
            cpus: 8,
        },
        names: Names::of("app-1a2b3c", "20261121T011400Z-abcdef"),
        labels: Labels {
            sandbox: "app-1a2b3c".to_owned(),
            run: "20261121T011400Z-abcdef".to_owned(),
            state: PathBuf::from("/home/u/.opencode-sandbox/app-1a2b3c"),
        },
        ids: (1001, 1002),
        sidecar: "side:1".to_owned(),
        ipv6: true,
        most: (2000, 300),
    }
}

const FRAMES: [(Kind, bool); 4] = [
    (Kind::Docker, false),
    (Kind::Docker, true),
    (Kind::Podman, false),
    (Kind::Podman, true),
];

fn text(words: &[OsString]) -> String {
    let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
    words.join(" ")
}

fn agent(frame: &Frame, limits: Limits) -> String {
    let project = Mount {
        from: "/home/u/app".into(),
        at: "/app".into(),
        access: Access::ReadWrite,
    };
    text(&frame.agent(&Agent {
        image: "image",
        command: &["sh".into(), "-c".into()],
        directory: Path::new("/app/src"),
        shown: &[project],
        environment: Path::new("/run/env"),
        from_client: &["KEY".into()],
        limits,
        seccomp: Path::new("/run/seccomp.json"),
        health: Some(4096),
        reads: true,
        terminal: false,
    }))
}

fn all(frame: &Frame) -> Vec<String> {
    let publish = Publish {
        host: Port::parse("4100").unwrap(),
        inside: Port::parse("4096").unwrap(),
    };
    let policy = Mount::in_place(Path::new("/s/policy"), Access::ReadOnly);
    let host = Some("192.0.2.1".to_owned());
    let proxy = Proxy {
        shown: vec![policy],
        publish: vec![publish],
        arguments: vec!["--sandboxed".into()],
        wants_host: true,
    };
    vec![
        text(&frame.holder()),
        text(&frame.probe()),
        text(&frame.proxy(&proxy, &host)),
        agent(frame, Limits::UNLESS_LISTED),
    ]
}

#[test]
fn names_are_those_of_opencode_sandbox_and_a_run_s_own() {
    let Names {
        agent,
        holder,
        proxy,
        probe,
        own,
    } = frame(Kind::Docker, false, true).names;
    assert_eq!(
        [agent, own, holder, proxy, probe],
        [
            "opencode-sandbox-app-1a2b3c",
            "opencode-sandbox-app-1a2b3c-abcdef",
            "opencode-sandbox-app-1a2b3c-abcdef-net",
            "opencode-sandbox-app-1a2b3c-abcdef-proxy",
            "opencode-sandbox-app-1a2b3c-abcdef-probe",
        ]
    );
}

#[test]
fn every_container_gives_everything_up_and_is_found_again() {
    for (kind, rootless) in FRAMES {
        for line in all(&frame(kind, rootless, true)) {
            for wanted in [
                "--pull never",
                "--cap-drop ALL",
                "--security-opt no-new-privileges",
                "--read-only",
                "--label ocs.sandbox=app-1a2b3c --label ocs.run=20261121T011400Z-abcdef --label ocs.state=/home/u/.opencode-sandbox/app-1a2b3c",
            ] {
                assert!(line.contains(wanted), "{wanted}: {line}");
            }
            for never in [
                "--privileged",
                "unconfined",
                "--pid ",
                "--ipc",
                "docker.sock",
                "--device",
            ] {
                assert!(!line.contains(never), "{never}: {line}");
            }
        }
    }
}

fn own_network(kind: Kind, rootless: bool) -> &'static str {
    match (kind, rootless) {
        (Kind::Podman, true) => {
            "--network slirp4netns:allow_host_loopback=true,port_handler=slirp4netns"
        }
        (Kind::Docker | Kind::Podman, _) => "--network opencode-sandbox-app-1a2b3c-abcdef ",
    }
}

#[test]
fn only_the_holder_has_capabilities_and_only_the_proxy_a_network() {
    for (kind, rootless) in FRAMES {
        let lines = all(&frame(kind, rootless, true));
        let [holder, probe, proxy, agent] = <[String; 4]>::try_from(lines).unwrap();
        assert_eq!(holder.matches("--cap-add").count(), 3, "{holder}");
        assert!(holder.contains("--network none"), "{holder}");
        for line in [&probe, &proxy, &agent] {
            assert!(
                !line.contains("--cap-add") && line.contains("--user 1001:1002"),
                "{line}"
            );
        }
        for joined in [&probe, &agent] {
            let network = "--network container:opencode-sandbox-app-1a2b3c-abcdef-net";
            assert_eq!(joined.matches("--network").count(), 1, "{joined}");
            assert!(joined.contains(network), "{joined}");
        }
        let own = own_network(kind, rootless);
        assert!(proxy.contains(own), "{proxy}");
        assert!(proxy.contains("--publish 127.0.0.1:4100:4100"), "{proxy}");
        assert!(
            proxy.contains("--behind-gateway --host-in-hosts docker.host"),
            "{proxy}"
        );
        assert!(proxy.contains(":/run/ocs:ro "), "{proxy}");
        for line in [holder, probe, agent] {
            assert!(
                !line.contains("--publish") && !line.contains("policy"),
                "{line}"
            );
        }
    }
}

#[test]
fn without_root_podman_keeps_the_user_s_number_for_all_that_share_the_namespace() {
    let holds = |kind, rootless| {
        let lines = all(&frame(kind, rootless, true));
        lines
            .iter()
            .filter(|line| line.contains("--userns"))
            .count()
    };
    assert_eq!(
        FRAMES.map(|(kind, rootless)| holds(kind, rootless)),
        [0, 0, 0, 4]
    );
}

#[test]
fn the_usual_limits_hold_unless_the_config_has_its_own_or_nobody_could_keep_them() {
    let usual = agent(&frame(Kind::Docker, false, true), Limits::UNLESS_LISTED);
    let expected = "--ulimit nofile=4096:8192 --pids-limit 512 --memory 8589934592 --cpus 4.000";
    assert!(usual.contains(expected), "{usual}");
    let own = Limits {
        memory: Some(Bytes(1 << 20)),
        pids: Some(7),
        cpus: Some(Cpus { milli: 1050 }),
        ..Limits::UNLESS_LISTED
    };
    let own = agent(&frame(Kind::Podman, false, true), own);
    assert!(
        own.contains("--pids-limit 7 --memory 1048576 --cpus 1.050"),
        "{own}"
    );
    let none = agent(&frame(Kind::Podman, true, false), Limits::UNLESS_LISTED);
    assert!(
        !none.contains("--pids-limit") && !none.contains("--memory"),
        "{none}"
    );
}

#[test]
fn the_agent_s_container_is_as_the_table_has_it() {
    let line = agent(&frame(Kind::Docker, false, true), Limits::UNLESS_LISTED);
    for wanted in [
        "create --pull never --name opencode-sandbox-app-1a2b3c ",
        "--init --user 1001:1002",
        "--security-opt seccomp=/run/seccomp.json",
        "--ulimit core=0:0",
        "--tmpfs /tmp:rw,nosuid,nodev,mode=1777,size=512m,noexec",
        "--mount type=bind,source=/home/u/app,target=/app ",
        "--env-file /run/env --env KEY ",
        "--health-cmd bash -c ': </dev/tcp/127.0.0.1/4096'",
        "--log-opt max-size=50m --log-opt max-file=5",
        "--workdir /app/src --entrypoint  image sh -c",
    ] {
        assert!(line.contains(wanted), "{wanted}: {line}");
    }
}

#[test]
fn a_path_that_would_end_its_field_is_quoted() {
    let option = |from: &str| {
        let mount = Mount {
            from: from.into(),
            at: "/x".into(),
            access: Access::ReadOnly,
        };
        mount.option().into_string().unwrap()
    };
    assert_eq!(
        option("/a b:c"),
        "type=bind,source=/a b:c,target=/x,readonly"
    );
    assert_eq!(
        option("/a,target=/etc"),
        "type=bind,\"source=/a,target=/etc\",target=/x,readonly"
    );
    assert_eq!(
        option("/a\"b"),
        "type=bind,\"source=/a\"\"b\",target=/x,readonly"
    );
}

#[test]
fn control_files_are_read_only_over_the_project_and_directories_on_the_way_are_mounts() {
    let cover = |path: &str, how| Cover {
        path: path.into(),
        how,
    };
    let covers = Covers {
        project: "/p/app".into(),
        corner: "/s/corner".into(),
        list: vec![
            cover("config.yaml", How::ReadOnly),
            cover(".git", How::Pin),
            cover("opencode.json", How::Show("{}".to_owned())),
        ],
    };
    let options: Vec<_> = project(&covers, Path::new("/app"))
        .iter()
        .map(Mount::option)
        .collect();
    assert_eq!(
        options,
        [
            "type=bind,source=/p/app,target=/app",
            "type=bind,source=/p/app/config.yaml,target=/app/config.yaml,readonly",
            "type=bind,source=/p/app/.git,target=/app/.git",
            "type=bind,source=/s/corner/2,target=/app/opencode.json,readonly",
        ]
    );
}
