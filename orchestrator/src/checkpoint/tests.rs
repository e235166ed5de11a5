use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::audit_cmd::tests::{events, record};

struct Case {
    _keep: tempfile::TempDir,
    state: PathBuf,
    record: PathBuf,
}

fn case() -> Case {
    let keep = tempfile::tempdir().unwrap();
    let state = keep.path().join("app-123456");
    let audit = state.join("audit");
    fs::create_dir_all(&audit).unwrap();
    let path = audit.join("run-1.jsonl");
    fs::write(&path, record("app-123456", "run-1", &events())).unwrap();
    Case {
        _keep: keep,
        state,
        record: path,
    }
}

#[test]
fn the_end_of_a_record_is_signed_with_a_key_that_is_made_once_and_is_its_owner_s_alone() {
    let case = case();
    sign_end(&case.record, SystemTime::now()).unwrap();
    let key = case.state.join(KEY_FILE);
    assert_eq!(
        fs::metadata(&key).unwrap().permissions().mode() & 0o7777,
        0o600
    );
    let public = Key::read(&key).unwrap().public();
    sign_end(&case.record, SystemTime::now()).unwrap();
    let line = last_line(&case.record).unwrap().unwrap();
    let checkpoints = read(&beside(&case.record)).unwrap();
    let said: Vec<_> = checkpoints
        .iter()
        .map(|it| (it.seq, it.head.clone(), it.key.clone()))
        .collect();
    let expected = (10, hex(&Sha256::digest(&line)), public);
    assert_eq!(said, [expected.clone(), expected]);
    let mut names: Vec<_> = fs::read_dir(&case.state)
        .unwrap()
        .map(|it| it.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["audit", KEY_FILE]);
}

#[test]
fn whichever_byte_of_a_checkpoint_is_changed_it_proves_nothing() {
    let case = case();
    sign_end(&case.record, SystemTime::now()).unwrap();
    let path = beside(&case.record);
    let good = fs::read(&path).unwrap();
    for at in 0..good.len() - 1 {
        let mut bad = good.clone();
        bad[at] ^= 1;
        fs::write(&path, &bad).unwrap();
        assert!(
            read(&path).is_err(),
            "byte {at}: {}",
            String::from_utf8_lossy(&bad)
        );
    }
}

#[test]
fn a_key_that_others_may_read_signs_nothing() {
    let case = case();
    let key = case.state.join(KEY_FILE);
    assert!(Key::of(&key).is_ok());
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let error = sign_end(&case.record, SystemTime::now()).unwrap_err();
    assert!(error.to_string().contains("chmod 600"), "{error}");
    fs::remove_file(&key).unwrap();
    std::os::unix::fs::symlink("/dev/null", &key).unwrap();
    assert!(sign_end(&case.record, SystemTime::now()).is_err());
    assert_eq!(read(&beside(&case.record)).unwrap(), []);
}

#[test]
fn parts_are_signed_as_they_are_closed_and_the_end_when_the_run_is_over() {
    let case = case();
    let watcher = Watcher::begin(&case.record);
    let whole = fs::read_to_string(&case.record).unwrap();
    let lines: Vec<&str> = whole.split_inclusive('\n').collect();
    fs::write(&case.record, lines[..4].concat()).unwrap();
    fs::rename(
        &case.record,
        case.record.with_file_name("run-1.00001.jsonl"),
    )
    .unwrap();
    fs::write(&case.record, lines[4..].concat()).unwrap();
    // Another run's part is another's to sign.
    fs::write(case.record.with_file_name("x"), lines[..2].concat()).unwrap();
    fs::rename(
        case.record.with_file_name("x"),
        case.record.with_file_name("run-2.00001.jsonl"),
    )
    .unwrap();
    watcher.end().unwrap();
    let said: Vec<_> = read(&beside(&case.record))
        .unwrap()
        .into_iter()
        .map(|it| it.seq)
        .collect();
    assert_eq!(said, [4, 10]);
}

#[test]
fn a_record_that_is_empty_or_torn_is_not_signed() {
    let case = case();
    for content in ["", "{\"v\":1", "some text\n"] {
        fs::write(&case.record, content).unwrap();
        sign_end(&case.record, SystemTime::now()).unwrap();
        assert_eq!(read(&beside(&case.record)).unwrap(), []);
    }
}
