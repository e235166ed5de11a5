//! The commands and skills that every agent of ours has (COMPATIBILITY 2.9): files of `image/agent`, as OpenCode reads them.
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::exit::{Exit, Failure};
use crate::whole_file::write_whole;

/// Name and text: front matter between `---` lines, then what the agent is told.
const COMMANDS: [(&str, &str); 3] = [
    (
        "git-commit",
        include_str!("../../../image/agent/commands/git-commit.md"),
    ),
    (
        "refactor-apply",
        include_str!("../../../image/agent/commands/refactor-apply.md"),
    ),
    (
        "refactor-audit",
        include_str!("../../../image/agent/commands/refactor-audit.md"),
    ),
];

const SKILLS: [(&str, &str); 2] = [
    (
        "refused-request",
        include_str!("../../../image/agent/skills/refused-request/SKILL.md"),
    ),
    (
        "write-worklog",
        include_str!("../../../image/agent/skills/write-worklog/SKILL.md"),
    ),
];

/// The commands, as a section of OpenCode's config.
pub(crate) fn commands() -> Value {
    let command = |text: &str| {
        let (head, template) = parts(text);
        let mut fields: Map<String, Value> = head
            .map(|(key, value)| (key.to_owned(), json!(value)))
            .collect();
        fields.insert("template".to_owned(), json!(template));
        Value::Object(fields)
    };
    COMMANDS
        .iter()
        .map(|(name, text)| ((*name).to_owned(), command(text)))
        .collect::<Map<_, _>>()
        .into()
}

/// The skills, each in a directory of its own below this one.
///
/// # Errors
/// The disk refused.
pub(crate) fn write_skills(below: &Path) -> Result<(), Failure> {
    for (name, text) in SKILLS {
        let directory = below.join(name);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)
            .map_err(|error| {
                Failure::new(Exit::No, format!("make {}", directory.display())).because(error)
            })?;
        write_whole(&directory.join("SKILL.md"), text.as_bytes())?;
    }
    Ok(())
}

/// The front matter's `key: value` lines, and the rest.
fn parts(text: &str) -> (impl Iterator<Item = (&str, &str)>, &str) {
    let (head, rest) = text
        .strip_prefix("---\n")
        .and_then(|text| text.split_once("\n---\n"))
        .unwrap_or(("", text));
    (head.lines().filter_map(|line| line.split_once(": ")), rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_what_opencode_asks_of_one() {
        let commands = commands();
        for (name, _) in COMMANDS {
            let command = &commands[name];
            let template = command["template"].as_str().unwrap();
            assert!(
                !template.starts_with("---") && template.contains("$ARGUMENTS"),
                "{name}"
            );
            assert!(
                !command["description"].as_str().unwrap().is_empty(),
                "{name}"
            );
        }
        assert_eq!(commands["refactor-audit"]["agent"], "plan");
    }

    #[test]
    fn every_skill_is_called_as_its_directory_is() {
        let keep = tempfile::tempdir().unwrap();
        write_skills(keep.path()).unwrap();
        for (name, text) in SKILLS {
            let written = std::fs::read_to_string(keep.path().join(name).join("SKILL.md")).unwrap();
            assert_eq!(written, text);
            let fields: Vec<_> = parts(text).0.collect();
            assert!(
                fields.contains(&("name", name))
                    && fields.iter().any(|(key, _)| *key == "description")
            );
        }
    }
}
