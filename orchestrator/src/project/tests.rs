use std::fs;

use super::*;
use crate::config_file::CONFIG_FILE;

const CONFIG: &str = "sandbox-name: my-app\nhttp-domain-whitelist:\n";

/// A home and a project beside each other in a fresh directory.
struct Place {
    keep: tempfile::TempDir,
    home: PathBuf,
    root: PathBuf,
}

fn place(config: &str) -> Place {
    let keep = tempfile::tempdir().unwrap();
    let base = keep.path().canonicalize().unwrap();
    let (home, root) = (base.join("home"), base.join("work"));
    fs::create_dir(&home).unwrap();
    fs::create_dir(&root).unwrap();
    fs::write(root.join(CONFIG_FILE), config).unwrap();
    Place { keep, home, root }
}

fn failure(error: ProjectError) -> (Exit, String, Option<String>) {
    let failure = Failure::from(error);
    (
        failure.exit(),
        failure.to_string(),
        failure.next_step().map(str::to_owned),
    )
}

#[test]
fn a_project_is_found_from_any_directory_below_it() {
    let place = place(CONFIG);
    let below = place.root.join("a/b");
    fs::create_dir_all(&below).unwrap();
    let found = Project::find(None, &World::of(&below, &place.home, vec![])).unwrap();
    let name = SandboxName::parse("my-app").unwrap();
    let id = SandboxId::new(&name, &place.root);
    assert_eq!(
        found,
        Project {
            config: ConfigFile {
                root: place.root.clone(),
                path: place.root.join(CONFIG_FILE),
                text: CONFIG.to_owned(),
            },
            name,
            state: StateDir::new(&place.home, &id),
            id,
        }
    );
    assert_eq!(
        found.state().path(),
        place.home.join(STATE_ROOT).join(found.id().as_str())
    );
}

#[test]
fn a_symlinked_checkout_has_the_identity_of_the_real_one() {
    let place = place(CONFIG);
    let link = place.keep.path().join("link");
    std::os::unix::fs::symlink(&place.root, &link).unwrap();
    let real = Project::find(None, &World::of(&place.root, &place.home, vec![])).unwrap();
    assert_eq!(
        Project::find(None, &World::of(&link, &place.home, vec![])).unwrap(),
        real
    );
}

#[test]
fn another_config_does_not_move_the_project() {
    let place = place(CONFIG);
    let other = place.home.join("ci.yaml");
    fs::write(&other, "sandbox-name: ci\n").unwrap();
    let found = Project::find(Some(&other), &World::of(&place.root, &place.home, vec![])).unwrap();
    assert_eq!(
        (
            found.root(),
            &*found.config_file().path,
            found.name().as_str()
        ),
        (&*place.root, &*other, "ci")
    );
}

#[test]
fn another_config_outside_every_project_makes_the_working_directory_the_project() {
    let place = place(CONFIG);
    let bare = place.keep.path().canonicalize().unwrap().join("bare");
    fs::create_dir(&bare).unwrap();
    let config = Path::new("../work").join(CONFIG_FILE);
    let found = Project::find(Some(&config), &World::of(&bare, &place.home, vec![])).unwrap();
    assert_eq!(
        (found.root(), &*found.config_file().path),
        (&*bare, &*place.root.join(CONFIG_FILE))
    );
}

#[test]
fn without_a_config_anywhere_above_the_next_command_is_named() {
    let place = place(CONFIG);
    let cwd = place.home.clone();
    let expected = format!(
        "no opencode-sandbox-config.yaml in {} or any directory above it",
        cwd.display()
    );
    let found = Project::find(None, &World::of(&cwd, &place.home, vec![])).unwrap_err();
    assert_eq!(
        failure(found),
        (Exit::Usage, expected, Some("ocs init".to_owned()))
    );
}

#[test]
fn a_project_that_contains_its_own_state_is_refused() {
    let place = place(CONFIG);
    for home in [place.root.clone(), place.root.join("not/made/yet")] {
        let found = Project::find(None, &World::of(&place.root, &home, vec![])).unwrap_err();
        let state = home.join(STATE_ROOT);
        assert_eq!(
            failure(found),
            (
                Exit::Usage,
                format!(
                    "{} contains {}, which the agent must not reach",
                    place.root.display(),
                    state.display()
                ),
                Some("keep the project in a directory of its own".to_owned())
            )
        );
    }
}

#[test]
fn a_project_inside_the_state_directory_is_refused() {
    let place = place(CONFIG);
    let home = place.root.parent().unwrap().to_owned();
    let inside = home.join(STATE_ROOT).join("x");
    fs::create_dir_all(&inside).unwrap();
    fs::write(inside.join(CONFIG_FILE), CONFIG).unwrap();
    let found = Project::find(None, &World::of(&inside, &home, vec![])).unwrap_err();
    assert!(
        matches!(found, ProjectError::ContainsState { .. }),
        "{found}"
    );
}

#[test]
fn a_missing_or_malformed_name_is_refused_with_every_other_mistake() {
    for config in ["env:\nfoo: 1\n", "sandbox-name: My_App\nfoo: 1\n"] {
        let place = place(config);
        let found = Project::find(None, &World::of(&place.root, &place.home, vec![])).unwrap_err();
        let source = policies::Source {
            name: CONFIG_FILE,
            text: config,
        };
        let errors = Config::parse(&source).unwrap_err().to_string();
        let next = "correct the config, then: ocs policy check".to_owned();
        assert_eq!(failure(found), (Exit::Usage, errors, Some(next)));
    }
}

#[test]
fn the_state_directory_is_ours_alone() {
    let place = place(CONFIG);
    let state = StateDir::new(
        &place.home,
        Project::find(None, &World::of(&place.root, &place.home, vec![]))
            .unwrap()
            .id(),
    );
    fs::create_dir(place.home.join(STATE_ROOT)).unwrap();
    fs::set_permissions(
        place.home.join(STATE_ROOT),
        PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    for _ in 0..2 {
        state.create().unwrap();
        for path in [place.home.join(STATE_ROOT), state.path().to_owned()] {
            assert_eq!(
                path.metadata().unwrap().mode() & 0o7777,
                0o700,
                "{}",
                path.display()
            );
        }
    }
}

#[test]
fn a_symlink_in_the_place_of_the_state_directory_is_refused() {
    let place = place(CONFIG);
    let state = StateDir::new(
        &place.home,
        Project::find(None, &World::of(&place.root, &place.home, vec![]))
            .unwrap()
            .id(),
    );
    std::os::unix::fs::symlink(&place.root, place.home.join(STATE_ROOT)).unwrap();
    let (exit, message, _) = failure(state.create().unwrap_err());
    let expected = format!(
        "use {}/.opencode-sandbox for the sandbox's state: not a directory of yours",
        place.home.display()
    );
    assert_eq!((exit, message), (Exit::No, expected));
}
