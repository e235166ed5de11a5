use std::os::unix::fs::symlink;

use super::*;
use crate::world::World;

/// A project in a fresh directory, with these files beside its config.
pub(crate) fn project(files: &[(&str, &str)]) -> (tempfile::TempDir, Project) {
    let keep = tempfile::tempdir().unwrap();
    let (home, root) = (keep.path().join("home"), keep.path().join("work"));
    fs::create_dir_all(&home).unwrap();
    fs::create_dir_all(root.join(".git/hooks")).unwrap();
    fs::write(root.join(CONFIG_FILE), "sandbox-name: x\n").unwrap();
    for (name, content) in files {
        fs::write(root.join(name), content).unwrap();
    }
    let project = Project::find(None, &World::of(&root, &home, vec![])).unwrap();
    (keep, project)
}

fn names(project: &Project) -> Vec<String> {
    read(project)
        .unwrap()
        .into_iter()
        .map(|file| file.name)
        .collect()
}

#[test]
fn every_control_file_is_read_and_nothing_else() {
    let (_keep, project) = project(&[
        (HOOK_FILE, "echo"),
        ("mise.toml", ""),
        ("README.md", ""),
        (".git/config", ""),
        (".git/HEAD", ""),
        (".git/hooks/pre-commit", "#!"),
        (".git/hooks/pre-push.sample", "#!"),
    ]);
    let expected = [
        ".git/config",
        ".git/hooks/pre-commit",
        "mise.toml",
        CONFIG_FILE,
        HOOK_FILE,
    ];
    assert_eq!(names(&project), expected);
}

#[test]
fn an_executable_file_differs_from_one_that_is_not() {
    let (_keep, project) = project(&[(".git/hooks/pre-commit", "#!")]);
    let path = project.root().join(".git/hooks/pre-commit");
    for (mode, executable) in [(0o644, false), (0o744, true), (0o611, true)] {
        fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        let file = read(&project).unwrap().remove(0);
        let name = ".git/hooks/pre-commit".to_owned();
        assert_eq!(
            file,
            ControlFile {
                name,
                content: b"#!".to_vec(),
                executable
            }
        );
    }
}

#[test]
fn a_link_on_any_step_of_the_way_is_refused() {
    for place in [HOOK_FILE, ".git/hooks/pre-commit", ".git/hooks", ".git"] {
        let (_keep, project) = project(&[("inside.sh", "echo")]);
        let path = project.root().join(place);
        fs::remove_dir_all(&path).ok();
        symlink(project.root().join("inside.sh"), &path).unwrap();
        let failure = Failure::from(read(&project).unwrap_err());
        let message = format!(
            "{} is a symlink: what it points to is not protected",
            path.display()
        );
        assert_eq!(
            (failure.exit(), failure.to_string()),
            (Exit::Usage, message)
        );
    }
}

#[test]
fn the_file_that_stands_for_git_in_a_worktree_is_controlled() {
    let (_keep, project) = project(&[]);
    fs::remove_dir_all(project.root().join(".git")).unwrap();
    fs::write(project.root().join(".git"), "gitdir: /elsewhere\n").unwrap();
    assert_eq!(names(&project), [".git", CONFIG_FILE]);
}

#[test]
fn a_pipe_in_the_place_of_a_file_is_refused_at_once() {
    let (_keep, project) = project(&[]);
    let path = project.root().join(HOOK_FILE);
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let failure = Failure::from(read(&project).unwrap_err());
    assert_eq!(
        failure.to_string(),
        format!("{} is not a file of at most 4 MiB", path.display())
    );
}

#[test]
fn another_config_counts_beside_the_projects_own() {
    let (keep, project) = project(&[("ci.yaml", "sandbox-name: ci\n")]);
    let world = World::of(project.root(), &keep.path().join("home"), vec![]);
    let inside = Project::find(Some(Path::new("ci.yaml")), &world).unwrap();
    assert_eq!(names(&inside), ["ci.yaml", CONFIG_FILE]);
    let outside = keep.path().canonicalize().unwrap().join("home/ci.yaml");
    fs::write(&outside, "sandbox-name: ci\n").unwrap();
    let found = Project::find(Some(&outside), &world).unwrap();
    assert_eq!(
        names(&found),
        [outside.display().to_string().as_str(), CONFIG_FILE]
    );
}
