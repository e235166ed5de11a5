use super::*;
use crate::sandbox_id::SandboxId;

/// A home and a project in a directory of their own.
struct Place {
    keep: tempfile::TempDir,
    state: StateDir,
}

impl Place {
    fn new() -> Self {
        let keep = tempfile::tempdir().unwrap();
        let name = policies::SandboxName::parse("x").unwrap();
        let state = StateDir::new(keep.path(), &SandboxId::new(&name, keep.path()));
        fs::create_dir(keep.path().join("project")).unwrap();
        Self { keep, state }
    }

    fn project(&self) -> PathBuf {
        self.keep.path().join("project")
    }

    fn begin(&self) -> Run {
        let swept = sweep(&self.state).unwrap();
        assert!(swept.failed.is_empty());
        let absent = [("mise.toml", Kind::File), (".git", Kind::Directory)];
        let absent = absent.map(|(path, kind)| (PathBuf::from(path), kind));
        let forbidden = vec![PathBuf::from("forbidden")];
        Run::begin(
            &self.state,
            &self.project(),
            SystemTime::now(),
            absent,
            forbidden,
            turn(&self.state).unwrap(),
        )
        .unwrap()
    }

    fn in_project(&self) -> Vec<String> {
        let entries = fs::read_dir(self.project()).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn runs(&self) -> usize {
        directories(&self.state.run()).unwrap().len()
    }
}

/// As if its ocs had been killed: the lock goes, everything else stays.
fn killed(run: Run) {
    drop(run);
}

#[test]
fn a_run_makes_placeholders_and_takes_them_away() {
    let place = Place::new();
    let run = place.begin();
    assert_eq!(place.in_project(), [".git", "mise.toml"]);
    assert_eq!(run.directory().metadata().unwrap().mode() & 0o777, 0o700);
    let (removed, failed) = run.end();
    assert_eq!((removed.len(), failed.len()), (0, 0));
    assert_eq!((place.in_project(), place.runs()), (vec![], 0));
}

#[test]
fn u3_the_next_start_sweeps_what_a_killed_run_left() {
    let place = Place::new();
    killed(place.begin());
    assert_eq!((place.in_project().len(), place.runs()), (2, 1));
    let swept = sweep(&place.state).unwrap();
    assert_eq!((swept.dead, swept.failed.len()), (1, 0));
    assert_eq!((place.in_project(), place.runs()), (vec![], 0));
}

#[test]
fn u3_a_living_run_is_not_swept_and_its_placeholders_are_known() {
    let place = Place::new();
    let run = place.begin();
    let swept = sweep(&place.state).unwrap();
    let turn = turn(&place.state).unwrap();
    assert_eq!(swept.dead, 0);
    let known = placeholders(&place.state, &turn).unwrap();
    assert_eq!(known, [PathBuf::from("mise.toml"), PathBuf::from(".git")]);
    drop(turn);
    assert_eq!(place.in_project(), [".git", "mise.toml"]);
    drop(run.end());
}

#[test]
fn the_last_of_two_runs_removes_what_both_share() {
    let place = Place::new();
    let (first, second) = (place.begin(), place.begin());
    assert!(first.end().1.is_empty());
    assert_eq!(place.in_project(), [".git", "mise.toml"]);
    assert!(second.end().1.is_empty());
    assert_eq!(place.in_project(), Vec::<String>::new());
}

#[test]
fn what_somebody_put_in_the_place_of_a_placeholder_stays() {
    let place = Place::new();
    let run = place.begin();
    fs::write(place.project().join("mise.toml"), "[tools]\n").unwrap();
    fs::write(place.project().join(".git/HEAD"), "x").unwrap();
    assert!(run.end().1.is_empty());
    assert_eq!(place.in_project(), [".git", "mise.toml"]);
}

#[test]
fn an_empty_file_that_is_not_the_one_we_made_stays() {
    let place = Place::new();
    let run = place.begin();
    let path = place.project().join("mise.toml");
    // Made while ours is still there, so that the inode differs.
    fs::write(place.project().join("other"), "").unwrap();
    fs::rename(place.project().join("other"), &path).unwrap();
    drop(run.end());
    assert_eq!(place.in_project(), ["mise.toml"]);
}

#[test]
fn b2_what_must_not_appear_is_removed_and_told_at_the_end_and_by_a_sweep() {
    let place = Place::new();
    let forbidden = place.project().join("forbidden");
    let run = place.begin();
    fs::write(&forbidden, "../evil").unwrap();
    assert_eq!(run.end().0, std::slice::from_ref(&forbidden));
    killed(place.begin());
    fs::write(&forbidden, "../evil").unwrap();
    let swept = sweep(&place.state).unwrap();
    assert_eq!(
        (swept.removed, forbidden.exists()),
        (vec![forbidden], false)
    );
}

#[test]
fn a_start_that_cannot_make_its_placeholders_leaves_nothing() {
    let place = Place::new();
    fs::write(place.project().join("mise.toml"), "something").unwrap();
    sweep(&place.state).unwrap();
    let turn = turn(&place.state).unwrap();
    let absent = [
        (PathBuf::from(".git"), Kind::Directory),
        (PathBuf::from("mise.toml"), Kind::File),
    ];
    let error = Run::begin(
        &place.state,
        &place.project(),
        SystemTime::now(),
        absent,
        Vec::new(),
        turn,
    )
    .unwrap_err();
    assert!(
        error.to_string().starts_with("make a placeholder at "),
        "{error}"
    );
    assert_eq!(
        (place.in_project(), place.runs()),
        (vec!["mise.toml".to_owned()], 0)
    );
}

#[test]
fn a_removed_placeholder_can_be_made_again() {
    let place = Place::new();
    let mut run = place.begin();
    fs::remove_file(place.project().join("mise.toml")).unwrap();
    run.replace(Path::new("mise.toml")).unwrap();
    assert_eq!(place.in_project(), [".git", "mise.toml"]);
    assert!(run.end().1.is_empty());
    assert_eq!(place.in_project(), Vec::<String>::new());
}

#[test]
fn a_run_s_identity_is_its_time_and_six_digits() {
    let id = RunId::new(std::time::UNIX_EPOCH).unwrap();
    assert_eq!(&id.as_str()[..17], "19700101T000000Z-");
    assert!(
        id.as_str()[17..].len() == 6 && id.as_str()[17..].bytes().all(|b| b.is_ascii_hexdigit())
    );
}
