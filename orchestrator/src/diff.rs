//! What changed in a file, as a person reviews it: a unified diff whose every byte is made visible. Decides nothing.
//! Clauses: R4 (untrusted text is escaped).
use std::fmt::Write;

use similar::{ChangeTag, TextDiff};

use crate::approval::{Change, Side};
use crate::console::{Console, Style, escaped};

/// Lines around a change that stay the same.
const CONTEXT_LINES: usize = 3;

/// Shows changes on stderr, in colour on a terminal.
pub fn show(changes: &[Change], console: &mut Console<'_>) {
    for (style, line) in changes.iter().flat_map(lines) {
        let line = match style {
            Some(style) => console.styled_note(style, line).to_string(),
            None => line,
        };
        console.note(line);
    }
}

/// Changes as plain text.
#[must_use]
pub fn text(changes: &[Change]) -> String {
    changes
        .iter()
        .flat_map(lines)
        .fold(String::new(), |mut text, (_, line)| {
            text.push_str(&line);
            text.push('\n');
            text
        })
}

/// The lines of one change, each with the style that it has on a terminal.
#[must_use]
pub fn lines(change: &Change) -> Vec<(Option<Style>, String)> {
    let name = escaped(&change.name);
    let mut lines = vec![
        (
            Some(Style::Bold),
            title("---", &name, change.before.as_ref()),
        ),
        (
            Some(Style::Bold),
            title("+++", &name, change.after.as_ref()),
        ),
    ];
    let empty = Some(Vec::new());
    let content = |side: &Option<Side>| {
        side.as_ref()
            .map_or(empty.clone(), |side| side.content.clone())
    };
    match (content(&change.before), content(&change.after)) {
        (Some(before), Some(after)) => lines.extend(hunks(&before, &after)),
        // Without the approved copy all that is there is new to the reader.
        (None, after) | (after, None) => {
            lines.push((Some(Style::Warn), "what was approved is lost".to_owned()));
            lines.extend(hunks(b"", &after.unwrap_or_default()));
        }
    }
    lines
}

fn title(mark: &str, name: &str, side: Option<&Side>) -> String {
    match side {
        None => format!("{mark} (no such file)"),
        Some(Side {
            executable: true, ..
        }) => format!("{mark} {name} (executable)"),
        Some(Side {
            executable: false, ..
        }) => format!("{mark} {name}"),
    }
}

fn hunks(before: &[u8], after: &[u8]) -> Vec<(Option<Style>, String)> {
    let (Ok(before), Ok(after)) = (std::str::from_utf8(before), std::str::from_utf8(after)) else {
        let text = format!(
            "binary: {} bytes before, {} bytes after",
            before.len(),
            after.len()
        );
        return vec![(Some(Style::Warn), text)];
    };
    let diff = TextDiff::from_lines(before, after);
    let mut lines = Vec::new();
    for hunk in diff
        .unified_diff()
        .context_radius(CONTEXT_LINES)
        .iter_hunks()
    {
        lines.push((Some(Style::Dim), hunk.header().to_string()));
        for change in hunk.iter_changes() {
            let style = match change.tag() {
                ChangeTag::Delete => Some(Style::Bad),
                ChangeTag::Equal => None,
                ChangeTag::Insert => Some(Style::Good),
            };
            lines.push((
                style,
                format!("{}{}", change.tag(), visible(change.value())),
            ));
            if change.missing_newline() {
                lines.push((Some(Style::Dim), "\\ no newline at the end".to_owned()));
            }
        }
    }
    lines
}

/// The line without its newline: tabs as they are, everything else that does not show itself as an escape.
fn visible(line: &str) -> String {
    let line = line.strip_suffix('\n').unwrap_or(line);
    line.split('\t')
        .enumerate()
        .fold(String::new(), |mut text, (index, part)| {
            let tab = if index > 0 { "\t" } else { "" };
            // Writing to a string cannot fail.
            write!(text, "{tab}{}", escaped(part)).ok();
            text
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(content: &[u8]) -> Option<Side> {
        Some(Side {
            content: Some(content.to_vec()),
            executable: false,
        })
    }

    fn change(before: Option<Side>, after: Option<Side>) -> Change {
        Change {
            name: "f".to_owned(),
            before,
            after,
        }
    }

    #[test]
    fn a_changed_line_is_shown_between_the_lines_around_it() {
        let before = "1\n2\n3\n4\n5\n6\n7\n8\n9\n";
        let after = before.replace("5\n", "five\n");
        let expected = "--- f\n+++ f\n@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n";
        assert_eq!(
            text(&[change(side(before.as_bytes()), side(after.as_bytes()))]),
            expected
        );
    }

    #[test]
    fn new_files_files_that_are_gone_and_modes_are_told() {
        let executable = Some(Side {
            content: Some(b"a\n".to_vec()),
            executable: true,
        });
        assert_eq!(
            text(&[change(None, side(b"a\n"))]),
            "--- (no such file)\n+++ f\n@@ -0,0 +1 @@\n+a\n"
        );
        assert_eq!(
            text(&[change(side(b"a\n"), None)]),
            "--- f\n+++ (no such file)\n@@ -1 +0,0 @@\n-a\n"
        );
        assert_eq!(
            text(&[change(side(b"a\n"), executable)]),
            "--- f\n+++ f (executable)\n"
        );
    }

    #[test]
    fn what_hides_on_a_terminal_is_made_visible() {
        let hostile = "a: \u{202e}b\u{1b}[8mc\r\n\tx\u{200b}";
        let expected = "--- (no such file)\n+++ f\n@@ -0,0 +1,2 @@\n+a: \\u{202e}b\\u{1b}[8mc\\r\n+\tx\\u{200b}\n\
            \\ no newline at the end\n";
        assert_eq!(text(&[change(None, side(hostile.as_bytes()))]), expected);
    }

    #[test]
    fn binary_contents_and_lost_copies_are_said_to_be_that() {
        let lost = Some(Side {
            content: None,
            executable: false,
        });
        let expected = "--- f\n+++ f\nbinary: 1 bytes before, 2 bytes after\n";
        assert_eq!(text(&[change(side(b"\xff"), side(b"ab"))]), expected);
        let expected = "--- f\n+++ f\nwhat was approved is lost\n@@ -0,0 +1 @@\n+a\n";
        assert_eq!(text(&[change(lost.clone(), side(b"a\n"))]), expected);
        assert_eq!(
            text(&[change(lost, None)]),
            "--- f\n+++ (no such file)\nwhat was approved is lost\n"
        );
    }
}
