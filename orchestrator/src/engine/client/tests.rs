use super::*;

#[test]
fn an_engine_says_what_it_is() {
    let docker = |text: &str| serde_json::from_str::<DockerInfo>(text).unwrap().facts();
    let rootful = Facts {
        rootless: false,
        limits: true,
        cpus: 2,
    };
    let info = r#"{"SecurityOptions":["name=seccomp,profile=default"],"CgroupDriver":"cgroupfs","NCPU":2,"More":1}"#;
    assert_eq!(docker(info), Some(rootful));
    let info =
        r#"{"SecurityOptions":["name=seccomp","name=rootless"],"CgroupDriver":"none","NCPU":4}"#;
    let rootless = Facts {
        rootless: true,
        limits: false,
        cpus: 4,
    };
    assert_eq!(docker(info), Some(rootless));
    // What the client prints where the daemon does not answer.
    assert_eq!(
        docker(r#"{"ServerErrors":["Cannot connect"],"NCPU":0}"#),
        None
    );
    let podman = |rootless: bool, cgroup: &str| {
        let info = format!(
            r#"{{"host":{{"cpus":2,"cgroupVersion":"{cgroup}","security":{{"rootless":{rootless}}}}}}}"#
        );
        serde_json::from_str::<PodmanInfo>(&info).unwrap().facts()
    };
    assert_eq!(podman(false, "v1"), Some(rootful));
    let limited = |limits| {
        Some(Facts {
            rootless: true,
            limits,
            cpus: 2,
        })
    };
    assert_eq!(podman(true, "v1"), limited(false));
    assert_eq!(podman(true, "v2"), limited(true));
}

#[test]
fn of_what_a_client_says_the_last_line_is_told() {
    let said = b"WARNING: no swap limit\nError: no such image\n\nSee 'docker run --help'.\n";
    assert_eq!(last_words(said), "Error: no such image");
    assert_eq!(last_words(b""), "it failed, and did not say why");
}

/// A client made of a shell script.
pub(in crate::engine) fn scripted(script: &str) -> (tempfile::TempDir, Client) {
    let keep = tempfile::tempdir().unwrap();
    program(keep.path(), "docker", script);
    let client = find(None, Path::new("/nowhere"), &[keep.path()]).unwrap();
    (keep, client)
}

fn program(directory: &Path, name: &str, script: &str) {
    let program = directory.join(name);
    std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
}

fn find(wanted: Option<Kind>, project: &Path, path: &[&Path]) -> Result<Client, Failure> {
    let path = std::env::join_paths(path).unwrap().into_string().unwrap();
    let variables = vec![("PATH", &*path.leak())];
    Client::find(wanted, project, &World::of(project, project, variables))
}

#[test]
fn docker_comes_before_podman_and_neither_is_69() {
    let keep = tempfile::tempdir().unwrap();
    let find = |wanted| find(wanted, Path::new("/nowhere"), &[keep.path()]);
    let told = |found: Result<Client, Failure>| {
        let failure = found.unwrap_err();
        (failure.exit(), failure.to_string())
    };
    let missing = |text: &str| (Exit::Missing, text.to_owned());
    assert_eq!(
        told(find(None)),
        missing("none of docker, podman is installed")
    );
    for (name, kind) in [("podman", Kind::Podman), ("docker", Kind::Docker)] {
        std::fs::write(keep.path().join(name), "").unwrap();
        let expected = format!("{name} is not installed: PATH has no such program");
        assert_eq!(told(find(Some(kind))), missing(&expected));
        program(keep.path(), name, "");
        assert_eq!(find(None).unwrap().kind, kind);
    }
    assert_eq!(find(Some(Kind::Podman)).unwrap().kind, Kind::Podman);
}

#[test]
fn a_client_that_lies_in_the_project_is_never_taken() {
    let keep = tempfile::tempdir().unwrap();
    let at = |name: &str| {
        let directory = keep.path().join(name);
        std::fs::create_dir_all(&directory).unwrap();
        directory
    };
    let (planted, linked, real) = (at("project/bin"), at("linked"), at("real"));
    program(&planted, "docker", "");
    std::os::unix::fs::symlink(planted.join("docker"), linked.join("docker")).unwrap();
    let project = at("project");
    let path: [&Path; 3] = [&planted, &linked, &real];
    for wanted in [None, Some(Kind::Docker)] {
        let failure = find(wanted, &project, &path).unwrap_err();
        assert_eq!(failure.exit(), Exit::Missing);
    }
    program(&real, "docker", "");
    assert_eq!(
        find(None, &project, &path).unwrap().program,
        real.join("docker")
    );
}

#[test]
fn an_engine_that_does_not_answer_is_told_in_its_client_s_words() {
    let (_keep, client) = scripted("echo 'Cannot connect to the daemon' >&2; exit 1");
    for failure in [client.version().unwrap_err(), client.facts().unwrap_err()] {
        let expected = "docker does not answer: Cannot connect to the daemon";
        assert_eq!(
            (failure.exit(), failure.to_string().as_str()),
            (Exit::Missing, expected)
        );
    }
}

#[test]
fn an_image_is_known_by_its_identity_and_its_label() {
    let (_keep, client) = scripted("echo sha256:1 abc");
    let known = |id: &str, label: &str| Some((id.to_owned(), label.to_owned()));
    assert_eq!(client.image("x", "ocs.inputs"), known("sha256:1", "abc"));
    let (_keep, client) = scripted("echo 'sha256:1 '");
    assert_eq!(client.image("x", "ocs.inputs"), known("sha256:1", ""));
    let (_keep, client) = scripted("echo 'Error: No such image' >&2; exit 1");
    assert_eq!(client.image("x", "ocs.inputs"), None);
}
