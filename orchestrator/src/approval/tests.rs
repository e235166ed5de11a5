use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use super::*;
use crate::config_file::CONFIG_FILE;
use crate::console::tests::captured;
use crate::control::tests::project;
use crate::world::Terminal;

const NOW: Timestamp = Timestamp::from_unix_millis(1_000);
const CONFIG: &str = "sandbox-name: x\n"; // what `project` writes

fn approved(files: &[(&str, &str)]) -> (tempfile::TempDir, Project) {
    let (keep, project) = project(files);
    Snapshot::take(&project)
        .unwrap()
        .approve(&project, NOW)
        .unwrap();
    (keep, project)
}

/// The project as it is now: its config is read anew.
fn again(keep: &tempfile::TempDir) -> Project {
    let world = World::of(&keep.path().join("work"), &keep.path().join("home"), vec![]);
    Project::find(None, &world).unwrap()
}

fn compare(project: &Project) -> Approval {
    Snapshot::take(project).unwrap().compare(project).unwrap()
}

fn side(content: &str) -> Option<Side> {
    Some(Side {
        content: Some(content.as_bytes().to_vec()),
        executable: false,
    })
}

fn change(name: &str, before: Option<Side>, after: Option<Side>) -> Change {
    Change {
        name: name.to_owned(),
        before,
        after,
    }
}

/// What `settle` says to a person who types `typed`, or to nobody.
fn settled(keep: &tempfile::TempDir, typed: Option<&str>) -> (Result<(), Failure>, String) {
    let terminal = Terminal {
        stdin: typed.is_some(),
        ..Terminal::default()
    };
    let project = again(keep);
    let world = World::of(project.root(), &keep.path().join("home"), vec![]);
    let (end, out, err) = captured(typed.unwrap_or_default(), terminal, |console| {
        settle(&project, console.terminal(), &world, console).map(drop)
    });
    assert_eq!(out, "", "stdout belongs to the command in the box");
    (end, err)
}

#[test]
fn what_was_approved_stays_approved_until_it_changes() {
    let (keep, project) = project(&[(HOOK_FILE, "echo\n")]);
    assert_eq!(compare(&project), Approval::FirstUse);
    Snapshot::take(&project)
        .unwrap()
        .approve(&project, NOW)
        .unwrap();
    assert_eq!(compare(&again(&keep)), Approval::Approved);
}

#[test]
fn every_kind_of_change_is_found_with_both_sides() {
    let (keep, project) = approved(&[
        (HOOK_FILE, "echo\n"),
        ("mise.toml", "[tools]\n"),
        ("opencode.json", "{}\n"),
    ]);
    let root = project.root();
    fs::write(root.join(CONFIG_FILE), "sandbox-name: x\nhost-ports: [1]\n").unwrap();
    fs::remove_file(root.join("mise.toml")).unwrap();
    fs::write(root.join(".git/hooks/post-merge"), "#!/bin/sh\n").unwrap();
    let mode: fs::Permissions = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(root.join("opencode.json"), mode).unwrap();
    let executable = Some(Side {
        content: Some(b"{}\n".to_vec()),
        executable: true,
    });
    let expected = vec![
        change(".git/hooks/post-merge", None, side("#!/bin/sh\n")),
        change("mise.toml", side("[tools]\n"), None),
        change(
            CONFIG_FILE,
            side(CONFIG),
            side("sandbox-name: x\nhost-ports: [1]\n"),
        ),
        change("opencode.json", side("{}\n"), executable),
    ];
    assert_eq!(compare(&again(&keep)), Approval::Changed(expected));
}

#[test]
fn the_fingerprint_changes_with_name_mode_and_content_alone() {
    let file = |name: &str, content: &[u8], executable| Snapshot {
        files: vec![ControlFile {
            name: name.to_owned(),
            content: content.to_vec(),
            executable,
        }],
    };
    // printf '%s - f\n' $(printf abc | sha256sum | cut -d' ' -f1) | sha256sum
    let expected = "f7344f8207295236fc6b61aba962a27b623732dfaf85c13088e588fd3e1ef014";
    assert_eq!(file("f", b"abc", false).fingerprint(), expected);
    let others = [
        file("g", b"abc", false),
        file("f", b"abd", false),
        file("f", b"abc", true),
    ];
    for other in others {
        assert_ne!(other.fingerprint(), expected);
    }
}

#[test]
fn the_lock_and_the_copies_are_ours_alone() {
    let (_keep, project) = approved(&[]);
    let files = fs::read_dir(project.state().approved())
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let files: Vec<PathBuf> = files.chain([project.state().lock()]).collect();
    assert_eq!(files.len(), 2);
    for file in files {
        assert_eq!(
            file.metadata().unwrap().mode() & 0o7777,
            0o600,
            "{}",
            file.display()
        );
    }
}

#[test]
fn the_lock_is_as_documented() {
    let (_keep, project) = approved(&[]);
    let hash = hex(&Sha256::digest(CONFIG));
    let expected = format!(
        "{{\n  \"v\": 1,\n  \"approved\": \"1970-01-01T00:00:01.000Z\",\n  \"files\": [\n    {{\n      \
         \"name\": \"{CONFIG_FILE}\",\n      \"sha256\": \"{hash}\",\n      \"executable\": false\n    }}\n  ]\n}}\n"
    );
    assert_eq!(
        fs::read_to_string(project.state().lock()).unwrap(),
        expected
    );
}

#[test]
fn a_damaged_lock_refuses_and_approving_mends_it() {
    let (_keep, project) = approved(&[]);
    let lock = fs::read_to_string(project.state().lock()).unwrap();
    let damages = [
        String::new(),
        "{}".to_owned(),
        lock.replace("\"v\": 1", "\"v\": 2"),
        lock.replace("\"sha256\": \"", "\"sha256\": \"../"),
        lock.replace("executable", "exec"),
    ];
    for damaged in damages {
        fs::write(project.state().lock(), &damaged).unwrap();
        let snapshot = Snapshot::take(&project).unwrap();
        let failure = snapshot.compare(&project).unwrap_err();
        let expected = format!("{} is damaged: ", project.state().lock().display());
        assert!(failure.to_string().starts_with(&expected), "{failure}");
        assert_eq!(
            (failure.exit(), failure.next_step()),
            (Exit::Usage, Some("ocs policy approve"))
        );
        snapshot.approve(&project, NOW).unwrap();
        assert_eq!(fs::read_to_string(project.state().lock()).unwrap(), lock);
    }
}

#[test]
fn a_copy_that_was_changed_is_not_shown_as_what_was_approved() {
    let (keep, project) = approved(&[]);
    for copy in fs::read_dir(project.state().approved()).unwrap() {
        fs::write(copy.unwrap().path(), "forged").unwrap();
    }
    fs::write(project.root().join(CONFIG_FILE), "sandbox-name: x\n\n").unwrap();
    let before = Some(Side {
        content: None,
        executable: false,
    });
    let expected = vec![change(CONFIG_FILE, before, side("sandbox-name: x\n\n"))];
    assert_eq!(compare(&again(&keep)), Approval::Changed(expected));
}

#[test]
fn another_config_is_approved_beside_the_projects_own() {
    let (keep, project) = approved(&[]);
    let world = World::of(project.root(), &keep.path().join("home"), vec![]);
    let other = keep.path().canonicalize().unwrap().join("ci.yaml");
    fs::write(&other, "sandbox-name: x\nenv:\n").unwrap();
    let name = other.display().to_string();
    let with_other = Project::find(Some(&other), &world).unwrap();
    let expected = vec![change(&name, None, side("sandbox-name: x\nenv:\n"))];
    assert_eq!(compare(&with_other), Approval::Changed(expected));
    Snapshot::take(&with_other)
        .unwrap()
        .approve(&with_other, NOW)
        .unwrap();
    assert_eq!(compare(&with_other), Approval::Approved);
    assert_eq!(compare(&project), Approval::Approved);
    Snapshot::take(&project)
        .unwrap()
        .approve(&project, NOW)
        .unwrap();
    assert_eq!(compare(&with_other), Approval::Approved);
}

#[test]
fn the_first_use_is_trusted_with_a_note() {
    let (keep, _project) = project(&[(HOOK_FILE, "#!/bin/bash\n# only comments\n")]);
    let note = "first use of this project: its 2 control files are approved as they are (ocs policy diff shows changes)\n";
    assert_eq!(settled(&keep, None), (Ok(()), note.to_owned()));
    assert_eq!(settled(&keep, None), (Ok(()), String::new()));
}

#[test]
fn a_hook_that_acts_is_shown_and_asked_about_at_the_first_use() {
    let (keep, project) = project(&[(HOOK_FILE, "export A=1\n")]);
    let fingerprint = Snapshot::take(&project).unwrap().fingerprint();
    let shown = format!(
        "first use of this project, and its hook {HOOK_FILE} runs on this host:\n\
         --- (no such file)\n+++ {HOOK_FILE}\n@@ -0,0 +1 @@\n+export A=1\n"
    );
    let nobody = Failure::usage("the control files are not approved, and there is nobody to ask")
        .next(format!(
            "ocs policy approve, or in CI: ocs policy approve --yes --hash {fingerprint}"
        ));
    assert_eq!(settled(&keep, None), (Err(nobody), shown.clone()));
    let asked = format!("{shown}run it, and approve the control files as they are? [y/N] ");
    let no = Failure::usage("the control files are not approved")
        .next("ocs policy diff, then ocs policy approve or undo the change");
    assert_eq!(settled(&keep, Some("\n")), (Err(no), asked.clone()));
    assert_eq!(settled(&keep, Some("y\n")), (Ok(()), asked));
    assert_eq!(settled(&keep, None), (Ok(()), String::new()));
}

#[test]
fn a_change_is_shown_and_refused_where_nobody_can_be_asked() {
    let (keep, project) = approved(&[]);
    fs::write(
        project.root().join(CONFIG_FILE),
        "sandbox-name: x\nhost-ports: [1]\n",
    )
    .unwrap();
    let shown = format!(
        "these control files are not what was approved:\n--- {CONFIG_FILE}\n+++ {CONFIG_FILE}\n\
         @@ -1 +1,2 @@\n sandbox-name: x\n+host-ports: [1]\n"
    );
    let (end, err) = settled(&keep, None);
    assert_eq!(err, shown);
    let next = end.unwrap_err();
    assert!(
        next.next_step().unwrap().starts_with("ocs policy approve"),
        "{next}"
    );
    let (end, err) = settled(&keep, Some("yes\n"));
    assert_eq!(
        (end, err),
        (Ok(()), format!("{shown}approve them and go on? [y/N] "))
    );
    assert_eq!(settled(&keep, None), (Ok(()), String::new()));
}
