use std::fs;
use std::os::unix::fs::symlink;

use super::*;

/// A project with these files (a name that ends in `/` is a directory) and nothing else.
fn project(files: &[(&str, &str)]) -> tempfile::TempDir {
    let keep = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let path = keep.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        if name.ends_with('/') {
            fs::create_dir_all(path).unwrap();
        } else {
            fs::write(path, content).unwrap();
        }
    }
    keep
}

fn covers(keep: &tempfile::TempDir) -> Vec<(String, &'static str)> {
    let survey = Survey::of(keep.path(), &[]).unwrap();
    let word = |how: &How| match how {
        How::Pin => "pin",
        How::ReadOnly => "read-only",
        How::Show(_) => "show",
    };
    survey
        .covers
        .iter()
        .map(|cover| (cover.path.display().to_string(), word(&cover.how)))
        .collect()
}

fn absent(keep: &tempfile::TempDir, placeholders: &[PathBuf]) -> Vec<String> {
    let survey = Survey::of(keep.path(), placeholders).unwrap();
    survey
        .absent
        .iter()
        .map(|absent| absent.path.display().to_string())
        .collect()
}

const CONFIG: &str = "opencode-sandbox-config.yaml";
const HOOK: &str = "opencode-sandbox-pre-start-container.sh";

fn pairs(expected: &[(&str, &'static str)]) -> Vec<(String, &'static str)> {
    expected
        .iter()
        .map(|(path, how)| ((*path).to_owned(), *how))
        .collect()
}

#[test]
fn b2_what_is_there_is_read_only_and_the_way_to_it_cannot_be_moved() {
    let files = [
        CONFIG,
        HOOK,
        "opencode.json",
        "opencode.jsonc",
        "mise.toml",
        ".git/config",
        ".git/hooks/",
    ];
    let keep = project(&files.map(|name| (name, "x")));
    let expected = [
        (CONFIG, "read-only"),
        (HOOK, "read-only"),
        ("opencode.json", "read-only"),
        ("opencode.jsonc", "read-only"),
        ("mise.toml", "read-only"),
        (".git", "pin"),
        (".git/config", "read-only"),
        (".git/hooks", "read-only"),
    ];
    assert_eq!(covers(&keep), pairs(&expected));
    assert_eq!(absent(&keep, &[]), Vec::<String>::new());
}

#[test]
fn b2_what_is_absent_gets_a_placeholder_and_is_covered_too() {
    let keep = project(&[(CONFIG, "x")]);
    let expected = [HOOK, "opencode.json", "opencode.jsonc", "mise.toml", ".git"];
    assert_eq!(absent(&keep, &[]), expected);
    let expected = [
        (CONFIG, "read-only"),
        (HOOK, "read-only"),
        ("opencode.json", "show"),
        ("opencode.jsonc", "show"),
        ("mise.toml", "read-only"),
        (".git", "read-only"),
    ];
    assert_eq!(covers(&keep), pairs(&expected));
}

#[test]
fn the_placeholders_of_another_run_are_absent_still_unless_something_is_in_them() {
    let keep = project(&[
        (CONFIG, "x"),
        ("mise.toml", ""),
        ("opencode.json", "{}"),
        (".git/", ""),
    ]);
    let ours = ["mise.toml", "opencode.json", ".git"].map(PathBuf::from);
    assert_eq!(
        absent(&keep, &ours),
        [HOOK, "opencode.jsonc", "mise.toml", ".git"]
            .map(|path| { path.to_owned() })
            .into_iter()
            .collect::<Vec<_>>()
    );
    assert_eq!(
        absent(&keep, &[]),
        [HOOK, "opencode.jsonc", ".git/config", ".git/hooks"]
    );
}

#[test]
fn git_in_the_box_does_not_see_placeholders() {
    let keep = project(&[
        (CONFIG, "x"),
        (".git/config", "x"),
        (".git/hooks/", ""),
        (".git/info/exclude", "# x"),
    ]);
    let survey = Survey::of(keep.path(), &[]).unwrap();
    let last = survey.covers.last().unwrap();
    let text = format!("# x\n/{HOOK}\n/opencode.json\n/opencode.jsonc\n/mise.toml\n");
    assert_eq!(
        last,
        &Cover {
            path: ".git/info/exclude".into(),
            how: How::Show(text)
        }
    );
}

#[test]
fn what_a_git_config_names_in_the_project_is_covered_with_it() {
    let config = "[core]\n\thooksPath = .husky/_\n[include] path = ../team.gitconfig\n[includeIf \"x\"]\npath=\"/etc/x\"\n";
    let keep = project(&[
        (CONFIG, ""),
        (".git/config", config),
        (".husky/_/", ""),
        ("team.gitconfig", ""),
    ]);
    let covers = covers(&keep);
    for expected in pairs(&[
        (".husky", "pin"),
        (".husky/_", "read-only"),
        ("team.gitconfig", "read-only"),
    ]) {
        assert!(covers.contains(&expected), "{expected:?} in {covers:?}");
    }
    assert!(covers.iter().all(|(path, _)| !path.contains("etc")));
}

#[test]
fn a_worktree_s_git_file_is_read_only() {
    let keep = project(&[(CONFIG, "x"), (".git", "gitdir: /elsewhere\n")]);
    assert!(covers(&keep).contains(&(".git".to_owned(), "read-only")));
}

#[test]
fn a_project_that_is_a_bare_repository_is_refused_and_what_only_looks_alike_is_not() {
    let files = [
        (CONFIG, "x"),
        ("HEAD", "ref: refs/heads/main"),
        ("objects/", ""),
        ("refs/", ""),
    ];
    let error = Survey::of(project(&files).path(), &[])
        .unwrap_err()
        .to_string();
    assert!(error.contains("is a bare git repository"), "{error}");
    for missing in 1..files.len() {
        let mut some = files.to_vec();
        some.remove(missing);
        assert!(
            Survey::of(project(&some).path(), &[]).is_ok(),
            "without {}",
            files[missing].0
        );
    }
}

#[test]
fn the_config_of_linked_worktrees_cannot_be_pointed_elsewhere() {
    let keep = project(&[
        (CONFIG, "x"),
        (".git/config", "[extensions]\nworktreeConfig = true\n"),
        (".git/worktrees/a/commondir", "../.."),
    ]);
    let covers = covers(&keep);
    for expected in pairs(&[
        (".git/worktrees", "read-only"),
        (".git/config.worktree", "read-only"),
    ]) {
        assert!(covers.contains(&expected), "{expected:?} in {covers:?}");
    }
}

#[test]
fn symlinks_hard_links_and_odd_things_are_refused() {
    let refused = |make: &dyn Fn(&Path)| {
        let keep = project(&[(CONFIG, "x"), ("other", "x"), ("directory/", "")]);
        make(keep.path());
        let error = Survey::of(keep.path(), &[]).unwrap_err().to_string();
        error.replace(&format!("{}/", keep.path().display()), "")
    };
    let link = "mise.toml is a symlink, and what it points to is not protected";
    assert_eq!(
        refused(&|root| symlink("other", root.join("mise.toml")).unwrap()),
        link
    );
    assert_eq!(
        refused(&|root| symlink("nowhere", root.join("mise.toml")).unwrap()),
        link
    );
    let git = ".git is a symlink, and what it points to is not protected";
    assert_eq!(
        refused(&|root| symlink("directory", root.join(".git")).unwrap()),
        git
    );
    assert_eq!(
        refused(&|root| fs::hard_link(root.join("other"), root.join("mise.toml")).unwrap()),
        "mise.toml has a second hard link, through which the agent could change it"
    );
    assert_eq!(
        refused(&|root| fs::create_dir(root.join("mise.toml")).unwrap()),
        "mise.toml is not what belongs there"
    );
}
