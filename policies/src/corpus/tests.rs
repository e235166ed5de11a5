use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use super::*;

/// Files of one kind in a directory of the corpus, sorted.
fn files(directory: &str, extension: &str) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(directory);
    let entries =
        fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|found| found == extension));
    paths.sort();
    paths
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

fn all_cases() -> Vec<(String, Case)> {
    let mut out = Vec::new();
    for path in files("decisions", "yaml") {
        let name = name_of(&path);
        let cases = read(&name, &fs::read_to_string(&path).unwrap())
            .unwrap_or_else(|error| panic!("{error}"));
        assert!(!cases.is_empty(), "{name} has no case");
        out.extend(cases.into_iter().map(|case| (name.clone(), case)));
    }
    out
}

#[test]
fn every_golden_decision_is_what_the_policy_says() {
    let mut wrong = String::new();
    for (file, case) in all_cases() {
        let answer = case.answer();
        if answer != case.expect {
            let Case {
                line,
                name,
                expect,
                question,
                ..
            } = &case;
            writeln!(
                wrong,
                "{file}:{line}: {name} ({question:?})\n  expected: {expect}\n  answered: {answer}"
            )
            .unwrap();
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn explain_says_of_every_golden_decision_what_decide_says() {
    for (file, case) in all_cases() {
        let Question::Reach(via, text) = &case.question else {
            continue;
        };
        let Ok(destination) = Destination::parse_authority(text, None) else {
            continue;
        };
        let request = Request {
            destination,
            via: *via,
        };
        let verdict = case.policy.decide(&request);
        assert_eq!(
            case.policy.explain(&request).verdict,
            verdict,
            "{file}:{}",
            case.line
        );
    }
}

/// Every error of a refused file as the runner compares it: place, and the message with its corrected text.
fn errors_of(path: &Path) -> Result<Vec<(String, String)>, String> {
    let text = String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
    let source = Source {
        name: "config",
        text: &text,
    };
    match Config::parse(&source) {
        Ok(_) => Err("it is accepted".to_owned()),
        Err(errors) => Ok(errors
            .errors()
            .iter()
            .map(|error| {
                let place = format!("{}:{}", error.line, error.column);
                let shown = error.to_string();
                let message = shown.strip_prefix(&format!("config:{place}: ")).unwrap();
                (place, message.to_owned())
            })
            .collect()),
    }
}

/// One line of an `.errors` file against one error.
fn matches(expected: &str, place: &str, message: &str) -> bool {
    let Some(rest) = expected
        .strip_prefix(place)
        .and_then(|rest| rest.strip_prefix(':'))
    else {
        return false;
    };
    let wanted = rest.trim_start();
    match wanted.split_once("; write: ") {
        None => message.contains(wanted),
        Some((part, write)) => {
            let (text, written) = message.split_once("; write: ").unwrap_or((message, ""));
            text.contains(part) && written == write
        }
    }
}

#[test]
fn every_refused_file_is_refused_with_exactly_its_errors() {
    let mut wrong = String::new();
    for path in files("refused", "yaml") {
        let name = name_of(&path);
        let expected = fs::read_to_string(path.with_extension("errors"))
            .unwrap_or_else(|error| panic!("{name} has no .errors: {error}"));
        let expected: Vec<&str> = expected.lines().collect();
        let errors = errors_of(&path);
        let good = !expected.is_empty()
            && errors.as_ref().is_ok_and(|errors| {
                errors.len() == expected.len()
                    && errors
                        .iter()
                        .zip(&expected)
                        .all(|((place, message), line)| matches(line, place, message))
            });
        if !good {
            writeln!(
                wrong,
                "{name}\n  expected: {expected:#?}\n  reported: {errors:#?}"
            )
            .unwrap();
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn every_list_of_errors_belongs_to_a_file() {
    for path in files("refused", "errors") {
        assert!(path.with_extension("yaml").is_file(), "{}", path.display());
    }
}

#[test]
fn the_runner_tells_a_wrong_place_text_and_correction_from_right_ones() {
    let message = "`x` is wrong; write: y";
    for good in ["1:2: wrong", "1:2:", "1:2: is wrong; write: y"] {
        assert!(matches(good, "1:2", message), "{good}");
    }
    for bad in [
        "1:3: wrong",
        "11:2: wrong",
        "1:2: right",
        "1:2: wrong; write: z",
        "1:2: wrong; write: ",
    ] {
        assert!(!matches(bad, "1:2", message), "{bad}");
    }
}
