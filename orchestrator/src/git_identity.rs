//! Who commits in the box: the user's name and mail address, and nothing else of the host's git config, as a system config of
//! the box. What the project's own config or the agent says goes over it.
//!
//! A token for GitHub is never in it: where the config passes `GH_TOKEN` or `GITHUB_TOKEN`, git asks the variable.
//! Clauses: B1, O10.
use std::time::Duration;

use crate::engine::spawn::Call;
use crate::world::World;

/// Where git looks for the file (git(1), since 2.32).
pub(crate) const VARIABLE: &str = "GIT_CONFIG_SYSTEM";
/// A config is read at once, or something is wrong with it.
const LIMIT: Duration = Duration::from_secs(2);

/// A name and an address; either may be unknown.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Identity {
    name: Option<String>,
    email: Option<String>,
}

impl Identity {
    /// The user's: by the variables of sandboxed-opencode and of git, else by the user's own git config. Nothing of a
    /// repository is read.
    pub(crate) fn of(world: &World) -> Self {
        let given = |names: [&str; 2]| {
            names.iter().find_map(|name| {
                let value = world.variable(name)?.into_string().ok()?;
                plain(&value).then_some(value)
            })
        };
        let mut identity = Self {
            name: given(["GIT_USERNAME", "GIT_AUTHOR_NAME"]),
            email: given(["GIT_EMAIL", "GIT_AUTHOR_EMAIL"]),
        };
        if identity.name.is_none() || identity.email.is_none() {
            let git = Call::new("git").arguments([
                "config",
                "--global",
                "--includes",
                "-z",
                "--get-regexp",
                r"^user\.(name|email)$",
            ]);
            if let Ok(ended) = git.run(LIMIT) {
                identity.complete(&String::from_utf8_lossy(&ended.output));
            }
        }
        identity
    }

    /// `user.name\nA Name\0user.email\n..\0`; what stands last counts, as for git.
    fn complete(&mut self, listed: &str) {
        let of = |key: &str| {
            let mut lines = listed
                .split('\0')
                .filter_map(|entry| entry.split_once('\n'));
            let last = lines.rfind(|(found, _)| *found == key);
            last.map(|(_, value)| value.to_owned())
                .filter(|value| plain(value))
        };
        self.name = self.name.take().or_else(|| of("user.name"));
        self.email = self.email.take().or_else(|| of("user.email"));
    }

    /// The config.
    pub(crate) fn config(&self) -> String {
        let mut text = String::from("[user]\n");
        for (key, value) in [("name", &self.name), ("email", &self.email)] {
            if let Some(value) = value {
                let escaped = value.replace('\\', "\\\\").replace('"', "\\\"");
                text.push_str(&format!("\t{key} = \"{escaped}\"\n"));
            }
        }
        text.push_str(REST);
        text
    }
}

/// The box holds one project, whoever owns its files on the host. The helper answers nothing where no token is there.
const REST: &str = r#"[init]
	defaultBranch = main
[safe]
	directory = *
[credential "https://github.com"]
	helper = "!f() { t=${GH_TOKEN:-$GITHUB_TOKEN}; test \"$1\" = get && test -n \"$t\" && printf 'username=x-access-token\\npassword=%s\\n' \"$t\"; :; }; f"
"#;

fn plain(value: &str) -> bool {
    !value.trim().is_empty() && value.len() <= 256 && !value.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_variables_count_before_the_user_s_config_and_the_last_line_of_that_counts() {
        let mut identity = Identity {
            name: Some("Of A Variable".to_owned()),
            email: None,
        };
        identity.complete("user.name\nA\0user.email\nfirst@x\0user.email\nlast@x\0");
        assert_eq!(
            (identity.name.as_deref(), identity.email.as_deref()),
            (Some("Of A Variable"), Some("last@x"))
        );
        let world = World::of(
            Path::new("/"),
            Path::new("/h"),
            vec![
                ("GIT_USERNAME", "SO"),
                ("GIT_AUTHOR_NAME", "x"),
                ("GIT_AUTHOR_EMAIL", "a@x"),
            ],
        );
        let expected = Identity {
            name: Some("SO".to_owned()),
            email: Some("a@x".to_owned()),
        };
        assert_eq!(Identity::of(&world), expected);
    }

    #[test]
    fn git_reads_back_what_was_written_and_a_value_cannot_add_a_line() {
        let name = r#"A "quoted" \ name; # [x]"#;
        let mut identity = Identity::default();
        identity.complete(&format!("user.name\n{name}\0user.email\nx@y\n[core]\0"));
        assert_eq!(identity.email, None);
        let keep = tempfile::tempdir().unwrap();
        let file = keep.path().join("config");
        std::fs::write(&file, identity.config()).unwrap();
        let ask = |key: &str| {
            let file = file.to_string_lossy();
            let git = Call::new("git").arguments(["config", "--file", file.as_ref(), "--get", key]);
            let output = git.run(LIMIT).unwrap().output;
            String::from_utf8(output).unwrap()
        };
        assert_eq!(ask("user.name"), format!("{name}\n"));
        assert_eq!(ask("safe.directory"), "*\n");
        assert!(ask("credential.https://github.com.helper").contains(r#"test "$1" = get"#));
    }
}
