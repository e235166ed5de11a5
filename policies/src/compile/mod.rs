//! The tree of a file -> [`Config`]: one pass that goes on after a mistake, so that all are named at once.
//!
//! A key whose effect is not built is refused, never ignored. Not responsible for judging requests.
//! Clauses: P1, P9.

mod agent;
mod domains;
mod endpoints;
mod env;
mod limits;
pub(crate) mod paths;

#[cfg(test)]
pub(crate) use agent::KEYS as AGENT_KEYS;
#[cfg(test)]
pub(crate) use limits::KEYS as LIMIT_KEYS;

use std::collections::HashMap;
use std::sync::Arc;

use crate::yaml::{Kind, Node, Place, Scalar, quoted};
use crate::{Config, ConfigError, EnvName, Limits, Mode, Rule, SandboxName, Warning};

/// The keys of a file, in the order of DESIGN's table.
pub(crate) const KEYS: [&str; 14] = [
    "sandbox-name",
    "http-domain-whitelist",
    "http-domain-denylist",
    "presets",
    "host-ports",
    "llm-endpoints",
    "tcp-endpoints",
    "private-addresses",
    "network-mode",
    "env-passthrough",
    "env",
    "agent",
    "read-only-paths",
    "limits",
];

/// Where mistakes are gathered while a file becomes a [`Config`].
#[derive(Debug)]
pub(crate) struct Compiler {
    file: Arc<str>,
    errors: Vec<ConfigError>,
    warnings: Vec<Warning>,
}

impl Compiler {
    pub(crate) fn new(file: &str) -> Self {
        Self {
            file: Arc::from(file),
            errors: Vec::new(),
            warnings: Vec::new(),
        }
    }

    pub(crate) fn finish(self) -> (Vec<ConfigError>, Vec<Warning>) {
        (self.errors, self.warnings)
    }

    pub(crate) fn error(
        &mut self,
        place: Place,
        message: impl Into<String>,
        write: Option<String>,
    ) {
        let file = Arc::clone(&self.file);
        self.errors
            .push(ConfigError::new(file, place, message.into(), write));
    }

    fn warn(&mut self, place: Place, message: impl Into<String>, write: Option<String>) {
        let file = Arc::clone(&self.file);
        self.warnings.push(Warning(ConfigError::new(
            file,
            place,
            message.into(),
            write,
        )));
    }

    fn rule(&self, place: Place, text: &str) -> Rule {
        Rule {
            file: Arc::clone(&self.file),
            line: place.line,
            text: Arc::from(text),
        }
    }

    /// The whole file. `cut` says that the text could not be read to its end.
    pub(crate) fn file(&mut self, root: Option<&Node>, cut: bool) -> Option<Config> {
        let absent = |node: &Node| matches!(&node.kind, Kind::Scalar(scalar) if scalar.is_null());
        let Some(root) = root.filter(|node| !absent(node)) else {
            if !cut {
                self.error(
                    Place::START,
                    "the file is empty",
                    Some("sandbox-name: NAME".to_owned()),
                );
            }
            return None;
        };
        let sections = self.map(root, "the file", &KEYS, "")?;
        let sandbox_name = self.name(sections.get("sandbox-name").copied(), cut);
        let mode = self.mode(sections.get("network-mode").copied());
        let section = |key: &str| sections.get(key).copied();
        let (mut allow, deny) = (
            self.whitelist(section("http-domain-whitelist")),
            self.denylist(section("http-domain-denylist")),
        );
        let presets = self.presets(section("presets"), &mut allow);
        let config = Config {
            mode,
            allow,
            deny,
            presets,
            host_ports: self.host_ports(section("host-ports")),
            llm_endpoints: self.llm_endpoints(section("llm-endpoints")),
            tcp_endpoints: self.tcp_endpoints(section("tcp-endpoints")),
            private_addresses: self.private_addresses(section("private-addresses")),
            env_passthrough: self.env_passthrough(section("env-passthrough")),
            env: self.env(section("env")),
            agent: self.agent(section("agent")),
            read_only_paths: self.read_only_paths(section("read-only-paths")),
            limits: section("limits").map_or(Limits::UNLESS_LISTED, |node| self.limits(node)),
            sandbox_name: sandbox_name?,
        };
        Some(config)
    }

    fn name(&mut self, node: Option<&Node>, cut: bool) -> Option<SandboxName> {
        let Some(node) = node else {
            if !cut {
                let write = Some("sandbox-name: NAME".to_owned());
                self.error(Place::START, "`sandbox-name` is missing", write);
            }
            return None;
        };
        let scalar = self.scalar(node, "sandbox-name")?;
        let name = SandboxName::parse(&scalar.text);
        if name.is_none() {
            let shown = quoted(&scalar.text);
            let message = format!(
                "{shown} is no sandbox name: lower-case letters, digits, and `-` between them"
            );
            self.error(node.place, message, corrected_name(&scalar.text));
        }
        name
    }

    fn mode(&mut self, node: Option<&Node>) -> Mode {
        let Some(node) = node else {
            return Mode::Filtered; // DESIGN "Config"
        };
        let Some(scalar) = self.scalar(node, "network-mode") else {
            return Mode::None;
        };
        Mode::parse(&scalar.text).unwrap_or_else(|| {
            let words = Mode::ALL.map(Mode::code);
            let message = format!(
                "{} is no network mode: {}",
                quoted(&scalar.text),
                words.join(", ")
            );
            let write = nearest(&scalar.text, words).map(|word| format!("network-mode: {word}"));
            self.error(node.place, message, write);
            Mode::None
        })
    }

    /// The entries of a map by key; unknown and repeated keys are mistakes. An empty section is an empty map.
    fn map<'n>(
        &mut self,
        node: &'n Node,
        what: &str,
        keys: &[&'static str],
        prefix: &str,
    ) -> Option<HashMap<&'n str, &'n Node>> {
        let mut found: HashMap<&str, &Node> = HashMap::new();
        let mut first: HashMap<&str, Place> = HashMap::new();
        for (key, text, value) in self.pairs(node, what)? {
            if let Some(earlier) = first.get(text) {
                let earlier = *earlier;
                self.repeated(key.place, text, earlier, prefix);
                continue;
            }
            first.insert(text, key.place);
            let full = format!("{prefix}{text}");
            if keys.contains(&text) {
                found.insert(text, value);
            } else {
                let message = format!("unknown key {}", quoted(&full));
                let write = nearest(text, keys.iter().copied()).map(|near| format!("{near}:"));
                self.error(key.place, message, write);
            }
        }
        Some(found)
    }

    /// A key that stands twice. opencode-sandbox's own init wrote `sandbox-name` twice (COMPATIBILITY W19).
    fn repeated(&mut self, place: Place, key: &str, earlier: Place, prefix: &str) {
        let line = earlier.line;
        if prefix.is_empty() && key == "sandbox-name" {
            let message =
                format!("`sandbox-name` stands here again; the first, in line {line}, counts");
            return self.warn(place, message, None);
        }
        let full = quoted(&format!("{prefix}{key}"));
        let message = format!("{full} stands here again, first in line {line}; write it once");
        self.error(place, message, None);
    }

    /// The pairs of a map, keys as text.
    fn pairs<'n>(
        &mut self,
        node: &'n Node,
        what: &str,
    ) -> Option<Vec<(&'n Node, &'n str, &'n Node)>> {
        let pairs = match &node.kind {
            Kind::Map(pairs) => pairs,
            Kind::Scalar(scalar) if scalar.is_null() => return Some(Vec::new()),
            Kind::Broken => return None,
            Kind::List(_) | Kind::Scalar(_) => {
                let message = format!("{what} must be a map of `key: value` lines");
                self.error(node.place, message, corrected_pair(what, &node.kind));
                return None;
            }
        };
        let mut out = Vec::with_capacity(pairs.len());
        for (key, value) in pairs {
            match &key.kind {
                Kind::Scalar(scalar) if scalar.plain && scalar.text == "<<" => {
                    self.error(
                        key.place,
                        "merge keys (`<<`) are not allowed; write the keys themselves",
                        None,
                    );
                }
                Kind::Scalar(scalar) => out.push((key, scalar.text.as_str(), value)),
                Kind::Broken => {}
                Kind::List(_) | Kind::Map(_) => {
                    self.error(key.place, "a key must be one word", None);
                }
            }
        }
        Some(out)
    }

    /// The items of a list, each a scalar. An absent or empty section is an empty list.
    fn items<'n>(&mut self, node: Option<&'n Node>, key: &str) -> Vec<(Place, &'n Scalar)> {
        let Some(node) = node else {
            return Vec::new();
        };
        match &node.kind {
            Kind::Scalar(scalar) if scalar.is_null() => return Vec::new(),
            Kind::Broken => return Vec::new(),
            Kind::List(items) => {
                return items
                    .iter()
                    .filter_map(|item| self.item(item, key))
                    .collect();
            }
            Kind::Scalar(scalar) => {
                let short = scalar.text.len() < 80 && !scalar.text.contains(['\n', '\r']);
                let name = key.rsplit('.').next().unwrap_or(key);
                let write = short.then(|| format!("{name}: [{}]", scalar.text));
                self.error(node.place, format!("`{key}` is a list"), write);
            }
            Kind::Map(_) => {
                let message = format!("`{key}` is a list, and its lines start with `- `");
                self.error(node.place, message, None);
            }
        }
        Vec::new()
    }

    fn item<'n>(&mut self, item: &'n Node, key: &str) -> Option<(Place, &'n Scalar)> {
        match &item.kind {
            Kind::Scalar(scalar) if scalar.is_absent() => {
                self.error(item.place, format!("an entry of `{key}` is empty"), None);
                None
            }
            Kind::Scalar(scalar) => Some((item.place, scalar)),
            Kind::Broken => None,
            Kind::List(_) | Kind::Map(_) => {
                self.error(
                    item.place,
                    format!("an entry of `{key}` is one value, not a list or a map"),
                    None,
                );
                None
            }
        }
    }

    /// The scalar of a key that has one value.
    fn scalar<'n>(&mut self, node: &'n Node, key: &str) -> Option<&'n Scalar> {
        match &node.kind {
            Kind::Scalar(scalar) if scalar.is_null() => {
                self.error(node.place, format!("`{key}` has no value"), None);
                None
            }
            Kind::Scalar(scalar) => Some(scalar),
            Kind::Broken => None,
            Kind::List(_) | Kind::Map(_) => {
                self.error(
                    node.place,
                    format!("`{key}` has one value, not a list or a map"),
                    None,
                );
                None
            }
        }
    }
}

/// The word that somebody meant: at most two slips away, or one in four letters; and never as many as half of what was
/// written, for then it is another word.
fn nearest<'a>(text: &str, words: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if text.len() > 80 {
        return None;
    }
    let near = |word: &str| strsim::osa_distance(text, word);
    let best = words.into_iter().min_by_key(|word| near(word))?;
    let slips = near(best);
    (slips <= 2.max(best.len() / 4) && slips * 2 < text.len()).then_some(best)
}

/// The first line of a map that was written as a list or a word.
fn corrected_pair(what: &str, kind: &Kind) -> Option<String> {
    let first = match kind {
        Kind::Scalar(scalar) => scalar,
        Kind::List(items) => match items.first().map(|item| &item.kind) {
            Some(Kind::Scalar(scalar)) => scalar,
            Some(Kind::Broken | Kind::List(_) | Kind::Map(_)) | None => return None,
        },
        Kind::Broken | Kind::Map(_) => return None,
    };
    let name = |text: &str| EnvName::parse(text);
    match what {
        "`agent`" => Some(format!("tool: {}", first.text))
            .filter(|text| text.len() < 80 && !text.contains('\n')),
        "`env`" => {
            let (key, value) = first.text.split_once('=')?;
            name(key).map(|key| format!("{key}: {value}"))
        }
        "`env-passthrough`" => name(&first.text).map(|name| format!("{name}: {name}")),
        _ => None,
    }
}

/// The name that somebody meant: what a sandbox name may have, the rest turned into `-`.
fn corrected_name(text: &str) -> Option<String> {
    let turn = |char: char| {
        if char.is_ascii_alphanumeric() {
            char.to_ascii_lowercase()
        } else {
            '-'
        }
    };
    let turned: String = text.chars().take(64).map(turn).collect();
    let name = turned.trim_matches('-').to_owned();
    SandboxName::parse(&name).map(|name| format!("sandbox-name: {name}"))
}

#[cfg(test)]
mod tests;
