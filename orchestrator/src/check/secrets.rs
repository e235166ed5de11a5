//! Secrets that lie in the project, where every agent reads them: tokens by the forms that their issuers gave them. No secret is
//! printed. What has no form (a password, a key of hexadecimal digits) is not found; a scanner with more rules finds more.
use std::path::Path;

use super::{Finding, Verdict};
use crate::mcp::Files;
use crate::project::Project;
use crate::task::Tree;

/// A token's form: what it begins with, and how many letters of a kind follow at least.
struct Form {
    name: &'static str,
    begins: &'static str,
    least: usize,
    letter: fn(u8) -> bool,
}

const fn upper(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit()
}

const fn word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

const fn dashed(byte: u8) -> bool {
    word(byte) || byte == b'-'
}

const fn dotted(byte: u8) -> bool {
    dashed(byte) || byte == b'.'
}

const fn form(
    name: &'static str,
    begins: &'static str,
    least: usize,
    letter: fn(u8) -> bool,
) -> Form {
    Form {
        name,
        begins,
        least,
        letter,
    }
}

/// COMPATIBILITY 1.33, with the lengths of the issuers' documentation.
const FORMS: [Form; 10] = [
    form("a token of GitHub", "ghp_", 36, word),
    form("a token of GitHub", "gho_", 36, word),
    form("a token of GitHub", "ghs_", 36, word),
    form("a token of GitHub", "github_pat_", 40, word),
    form("a token of GitLab", "glpat-", 20, dashed),
    form("a key of a model service", "sk-", 32, dashed),
    form("an access key of AWS", "AKIA", 16, upper),
    form("a token of Slack", "xoxb-", 20, dashed),
    form("a token of Slack", "xoxp-", 20, dashed),
    form("a JSON web token", "eyJ", 60, dotted),
];

/// What a private key's file begins with, `RSA ` and the like between.
const KEY: (&str, &str) = ("-----BEGIN ", "PRIVATE KEY-----");
/// More are not listed.
const LISTED: usize = 50;

/// What is found.
pub(super) fn in_project(project: &Project) -> Vec<Finding> {
    let found = by_form(project.root());
    let more = found.len().saturating_sub(LISTED);
    let mut findings: Vec<Finding> = found
        .into_iter()
        .take(LISTED)
        .map(|(place, what)| Finding::of("secrets", Verdict::Bad, format!("{place}: {what}")))
        .collect();
    if more > 0 {
        findings.push(Finding::of(
            "secrets",
            Verdict::Bad,
            format!("and {more} more"),
        ));
    }
    if findings.is_empty() {
        findings.push(Finding::of(
            "secrets",
            Verdict::Good,
            "none of the known forms",
        ));
    }
    findings
}

/// Place and kind.
type Found = Vec<(String, String)>;

fn by_form(root: &Path) -> Found {
    let Ok(files) = Files::of(root) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for path in Tree::of(root).paths() {
        // What is no text, or larger than what people write, holds no token that somebody forgot.
        let Ok(text) = files.read(&path) else {
            continue;
        };
        for (number, line) in text.lines().enumerate() {
            if let Some(what) = in_line(line) {
                found.push((format!("{path}:{}", number + 1), what.to_owned()));
            }
        }
    }
    found
}

fn in_line(line: &str) -> Option<&'static str> {
    let key = line
        .split_once(KEY.0)
        .is_some_and(|(_, rest)| rest.contains(KEY.1));
    if key {
        return Some("a private key");
    }
    let of = |form: &&Form| {
        line.match_indices(form.begins).any(|(at, _)| {
            let (before, from) = line.split_at(at);
            let rest = from.as_bytes().get(form.begins.len()..).unwrap_or_default();
            let letters = rest.iter().take_while(|byte| (form.letter)(**byte)).count();
            // A word that ends so is another word.
            let alone = !before.bytes().next_back().is_some_and(dashed);
            alone && letters >= form.least && rest.iter().take(letters).any(u8::is_ascii_digit)
        })
    };
    FORMS.iter().find(of).map(|form| form.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A secret's form, put together here so that no scanner takes this file for a find.
    fn token(begins: &str, letter: &str, count: usize) -> String {
        format!("{begins}{}7", letter.repeat(count))
    }

    #[test]
    fn tokens_are_known_by_their_form_and_words_are_not() {
        let github = token("ghp_", "a", 36);
        for line in [
            format!("x = '{github}'"),
            github.clone(),
            token("AKIA", "Q", 15),
        ] {
            assert!(in_line(&line).is_some(), "{line}");
        }
        let key = format!("-----BEGIN {}PRIVATE KEY-----", "RSA ");
        assert_eq!(in_line(&key), Some("a private key"));
        for line in [
            format!("x{github}"),
            token("ghp_", "a", 20),
            "risk-management-of-a-very-long-hyphenated-heading".to_owned(),
            "sk-management-of-a-very-long-hyphenated-heading".to_owned(),
            "AKIAAAAAAAAAAAAAAAAAAAA".to_owned(),
            "-----BEGIN PUBLIC KEY-----".to_owned(),
        ] {
            assert_eq!(in_line(&line), None, "{line}");
        }
    }

    #[test]
    fn a_find_is_told_with_its_place_and_without_the_secret() {
        let keep = tempfile::tempdir().unwrap();
        let secret = token("glpat-", "x", 20);
        std::fs::write(keep.path().join("notes.md"), format!("one\nkey {secret}\n")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", keep.path().join("link")).unwrap();
        let found = by_form(keep.path());
        assert_eq!(
            found,
            [("notes.md:2".to_owned(), "a token of GitLab".to_owned())]
        );
    }
}
