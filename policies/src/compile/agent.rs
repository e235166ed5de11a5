//! `agent`.

use super::paths::malformed;
use super::{Compiler, nearest};
use crate::yaml::{Kind, Node, Scalar, quoted};
use crate::{Agent, Interface, PackageName, Tool};

pub(crate) const KEYS: [&str; 4] = ["interface", "mcp-config", "packages", "tool"];

/// What a shell would read otherwise than literally; no shell reads a tool's command.
const SHELL: [char; 22] = [
    '\'', '"', '`', '\\', '$', ';', '&', '|', '<', '>', '(', ')', '{', '}', '[', ']', '*', '?',
    '~', '#', '!', '\n',
];

impl Compiler {
    pub(super) fn agent(&mut self, node: Option<&Node>) -> Agent {
        let sections = node
            .and_then(|node| self.map(node, "`agent`", &KEYS, "agent."))
            .unwrap_or_default();
        let tool = sections.get("tool").and_then(|node| self.tool(node));
        Agent {
            tool: tool.unwrap_or(Tool::OpenCode),
            packages: self.packages(sections.get("packages").copied()),
            interface: self.interface(sections.get("interface").copied()),
            mcp_config: self.mcp_config(sections.get("mcp-config").copied()),
        }
    }

    fn interface(&mut self, node: Option<&Node>) -> Interface {
        let Some((node, text)) = self.text_of(node, "agent.interface") else {
            return Interface::Web;
        };
        let found = Interface::ALL.into_iter().find(|one| one.code() == text);
        found.unwrap_or_else(|| {
            let words = Interface::ALL.map(Interface::code);
            let message = format!("{} is no interface: {}", quoted(text), words.join(", "));
            let write = nearest(text, words).map(|word| format!("interface: {word}"));
            self.error(node.place, message, write);
            Interface::Web
        })
    }

    fn mcp_config(&mut self, node: Option<&Node>) -> Option<String> {
        let (node, text) = self.text_of(node, "agent.mcp-config")?;
        let whole = if text.starts_with(['/', '~']) {
            text.to_owned()
        } else {
            format!("/{text}")
        };
        if let Some((why, _)) = malformed(&whole) {
            self.error(node.place, format!("{}: {why}", quoted(text)), None);
            return None;
        }
        Some(text.to_owned())
    }

    /// A value that is one text; none where it is not there.
    fn text_of<'n>(&mut self, node: Option<&'n Node>, key: &str) -> Option<(&'n Node, &'n str)> {
        let node = node?;
        Some((node, self.scalar(node, key)?.text.as_str()))
    }

    fn packages(&mut self, node: Option<&Node>) -> Vec<PackageName> {
        let mut packages: Vec<PackageName> = Vec::new();
        for (place, scalar) in self.items(node, "agent.packages") {
            match PackageName::parse(&scalar.text) {
                // Twice is once: the order means nothing.
                Some(package) if packages.contains(&package) => {}
                Some(package) => packages.push(package),
                None => {
                    let message = format!(
                        "{} is no name of a Debian package: lower-case letters, digits and `+._-`, a letter or digit first",
                        quoted(&scalar.text)
                    );
                    let lower = scalar.text.trim().to_ascii_lowercase();
                    let meant = PackageName::parse(&lower);
                    self.error(place, message, meant.map(|meant| format!("- {meant}")));
                }
            }
        }
        packages
    }

    fn tool(&mut self, node: &Node) -> Option<Tool> {
        match &node.kind {
            Kind::List(items) => {
                let words: Vec<String> = items
                    .iter()
                    .filter_map(|item| self.item(item, "agent.tool"))
                    .map(|(_, word)| word.text.clone())
                    .collect();
                self.command(node, words)
            }
            Kind::Scalar(_) | Kind::Map(_) | Kind::Broken => {
                let scalar = self.scalar(node, "agent.tool")?;
                self.named(node, scalar)
            }
        }
    }

    fn named(&mut self, node: &Node, scalar: &Scalar) -> Option<Tool> {
        match scalar.text.as_str() {
            "opencode" => return Some(Tool::OpenCode),
            "omp" => return Some(Tool::Omp),
            _ => {}
        }
        if scalar.text.contains(SHELL) {
            let shown = quoted(&scalar.text);
            let message =
                format!("{shown}: no shell reads a tool's command; write a list of its words");
            self.error(
                node.place,
                message,
                Some("tool: [PROGRAM, ARGUMENT]".to_owned()),
            );
            return None;
        }
        let words = scalar
            .text
            .split_ascii_whitespace()
            .map(str::to_owned)
            .collect();
        self.command(node, words)
    }

    fn command(&mut self, node: &Node, words: Vec<String>) -> Option<Tool> {
        let program = words
            .first()
            .is_some_and(|word| !word.is_empty() && !word.starts_with('-'));
        if !program || words.iter().any(|word| word.contains('\0')) {
            let message = "`agent.tool` is opencode, omp, or a command that starts with a program";
            self.error(node.place, message, None);
            return None;
        }
        Some(Tool::Command(words))
    }
}
