use super::*;

fn wanted<'a>(project: &'a Path, shown: &'a [Shown]) -> Wanted<'a> {
    Wanted {
        project,
        shown,
        ourselves: Path::new("/usr/bin/env"),
        ids: Ids::of(1234, 1235),
        memory_bytes: 4 << 30,
    }
}

#[test]
fn the_project_lies_at_its_own_name_unless_the_box_needs_that() {
    let at = |path: &str| place(Path::new(path)).unwrap().display().to_string();
    assert_eq!(at("/home/u/my project"), "/my project");
    for name in RESERVED {
        assert_eq!(at(&format!("/home/u/{name}")), format!("/workspace/{name}"));
    }
    for bad in ["/", "/a\nb", "/home/u/.."] {
        assert!(place(Path::new(bad)).is_err(), "{bad:?}");
    }
}

#[test]
fn nothing_of_the_host_is_writable_but_the_project() {
    let shown = [Shown::in_place("/opt/tool".into())];
    let view = View::of(&wanted(Path::new("/home/u/app"), &shown)).unwrap();
    let writable: Vec<&Entry> = view
        .entries
        .iter()
        .filter(|entry| matches!(entry, Entry::ReadWrite { .. }))
        .collect();
    let project = Entry::ReadWrite {
        from: "/home/u/app".into(),
        at: "/app".into(),
    };
    assert_eq!(writable, [&project]);
}

#[test]
fn no_place_of_secrets_is_shown() {
    let view = View::of(&wanted(Path::new("/home/u/app"), &[])).unwrap();
    let from_host: Vec<&Path> = view
        .entries
        .iter()
        .filter_map(|entry| {
            if let Entry::ReadOnly { from, .. } = entry {
                Some(from.as_path())
            } else {
                None
            }
        })
        .collect();
    let secrets = [
        "/etc/shadow",
        "/etc/ssl/private/key",
        "/etc/gitconfig",
        "/etc/environment",
        "/etc/passwd",
        "/root/.ssh",
        "/home/u/.ssh",
        "/var/run/docker.sock",
        "/run/user/1000/bus",
        "/tmp/.X11-unix",
        "/sys",
        "/boot",
    ];
    for secret in secrets {
        let reached = from_host
            .iter()
            .find(|shown| Path::new(secret).starts_with(shown));
        assert_eq!(reached, None, "{secret}");
    }
}

#[test]
fn the_root_is_sealed_last_so_that_nothing_is_made_in_it() {
    let view = View::of(&wanted(Path::new("/home/u/app"), &[])).unwrap();
    assert_eq!(
        view.entries.last(),
        Some(&Entry::Sealed(PathBuf::from("/")))
    );
}

#[test]
fn the_project_is_found_by_its_host_path_too() {
    let link = Entry::Link {
        at: "/home/u/app".into(),
        to: "/app".into(),
    };
    let has = |project: &str, shown: &[Shown]| {
        View::of(&wanted(Path::new(project), shown))
            .unwrap()
            .entries
            .iter()
            .any(|entry| matches!(entry, Entry::Link { at, .. } if at == Path::new(project)))
    };
    let view = View::of(&wanted(Path::new("/home/u/app"), &[])).unwrap();
    assert!(view.entries.contains(&link));
    // It lies there itself; a tool shown there; a directory of the box.
    assert!(!has("/app", &[]));
    assert!(!has("/opt/x/app", &[Shown::in_place("/opt/x".into())]));
    assert!(!has("/opt/x", &[Shown::in_place("/opt/x/tool".into())]));
    assert!(!has("/home/agent", &[]));
}

#[test]
fn our_own_binary_inside_the_project_is_refused() {
    let error = View::of(&wanted(Path::new("/usr/bin"), &[])).unwrap_err();
    assert_eq!(
        error.to_string(),
        "/usr/bin/env lies inside the project, where the agent could replace it"
    );
}

#[test]
fn paths_of_the_project_are_translated_and_others_are_not() {
    let project = Path::new("/home/u/app");
    let view = View::of(&wanted(project, &[])).unwrap();
    let inside = |path: &str| view.inside(Path::new(path), project).display().to_string();
    assert_eq!(
        [
            inside("/home/u/app"),
            inside("/home/u/app/src/x"),
            inside("/usr/bin"),
            inside("/home/u/apple")
        ],
        ["/app", "/app/src/x", "/usr/bin", "/home/u/apple"]
    );
    let search = [
        project.join("node_modules/.bin"),
        PathBuf::from("/usr/bin"),
        PathBuf::from("/a:b"),
    ];
    assert_eq!(
        search_path(&view, project, &search),
        "/app/node_modules/.bin:/usr/bin:/home/agent/.local/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/sbin:/bin"
    );
}

#[test]
fn root_is_not_root_in_the_box() {
    assert_eq!(
        Ids::of(0, 0),
        Ids {
            uid: 1000,
            gid: 1000
        }
    );
    assert_eq!(Ids::of(65534, 7), Ids { uid: 65534, gid: 7 });
}
