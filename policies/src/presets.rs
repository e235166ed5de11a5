//! The bundled lists of hosts, each host with a reason.
//!
//! The files lie in `policies/presets/`; their form is described there. They are part of the program, so a broken one is
//! a fault of ours; it is refused like any other mistake.

use std::sync::Arc;

use crate::pattern::{List, Pattern};
use crate::yaml::{self, Kind, Node};
use crate::{Rule, SandboxName};

mod bundled;

use bundled::BUNDLED;

/// A bundled list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preset {
    /// The name that `presets` takes.
    pub name: String,
    /// One sentence.
    pub description: String,
    /// The hosts.
    pub hosts: Vec<PresetHost>,
}

/// One host of a preset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresetHost {
    /// The pattern.
    pub pattern: Pattern,
    /// Why it is needed.
    pub reason: String,
    /// Where it stands: `preset:NAME`, and the line in the preset's file.
    pub rule: Rule,
}

/// Why a preset's file is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("preset:{name}:{line}: {message}")]
pub struct PresetError {
    /// The preset.
    pub name: String,
    /// The line in its file, from 1.
    pub line: u32,
    /// What is wrong.
    pub message: String,
}

/// The names of all presets, sorted.
pub fn names() -> impl Iterator<Item = &'static str> {
    BUNDLED.iter().map(|(name, _)| *name)
}

/// The preset of that name; `None` if there is none.
#[must_use]
pub fn get(name: &str) -> Option<Result<Preset, PresetError>> {
    let (_, text) = BUNDLED.iter().find(|(bundled, _)| *bundled == name)?;
    Some(parse(name, text))
}

/// Reads a preset's file.
///
/// # Errors
/// [`PresetError`]: the first mistake in it.
pub fn parse(name: &str, text: &str) -> Result<Preset, PresetError> {
    let error = |line: u32, message: &str| PresetError {
        name: name.to_owned(),
        line,
        message: message.to_owned(),
    };
    if SandboxName::parse(name).is_none() {
        return Err(error(
            1,
            "the name is not lower-case letters, digits, and `-` between them",
        ));
    }
    let reading = yaml::read(text);
    if let Some(mistake) = reading.mistakes.first() {
        return Err(error(mistake.place.line, &mistake.message));
    }
    let root = reading.root.ok_or_else(|| error(1, "the file is empty"))?;
    let [description, hosts] = fields(&root, ["description", "hosts"])
        .map_err(|message| error(root.place.line, &message))?;
    let description =
        text_of(description).ok_or_else(|| error(description.place.line, "no description"))?;
    let Kind::List(items) = &hosts.kind else {
        return Err(error(hosts.place.line, "`hosts` is a list"));
    };
    if items.is_empty() {
        return Err(error(hosts.place.line, "`hosts` is empty"));
    }
    let mut out: Vec<PresetHost> = Vec::new();
    for item in items {
        let host = host(name, item).map_err(|message| error(item.place.line, &message))?;
        if out.iter().any(|other| other.pattern == host.pattern) {
            return Err(error(item.place.line, "the host stands there twice"));
        }
        out.push(host);
    }
    Ok(Preset {
        name: name.to_owned(),
        description: description.to_owned(),
        hosts: out,
    })
}

fn host(name: &str, item: &Node) -> Result<PresetHost, String> {
    let [host, reason] = fields(item, ["host", "reason"])?;
    let text = text_of(host).ok_or("no host")?;
    let reason = text_of(reason).ok_or("no reason")?;
    let (pattern, warning) =
        Pattern::parse(text, List::Whitelist).map_err(|error| error.message)?;
    if let Some(warning) = warning {
        return Err(warning.message);
    }
    let rule = Rule {
        file: Arc::from(format!("preset:{name}")),
        line: host.place.line,
        text: Arc::from(text),
    };
    Ok(PresetHost {
        pattern,
        reason: reason.to_owned(),
        rule,
    })
}

/// The values of exactly these keys.
fn fields<'n, const N: usize>(node: &'n Node, keys: [&str; N]) -> Result<[&'n Node; N], String> {
    let Kind::Map(pairs) = &node.kind else {
        return Err(format!("a map of {} is wanted", keys.join(", ")));
    };
    if pairs.len() != N {
        return Err(format!(
            "exactly these keys are wanted: {}",
            keys.join(", ")
        ));
    }
    let find = |key: &str| {
        let named = |node: &Node| matches!(&node.kind, Kind::Scalar(scalar) if scalar.text == key);
        pairs
            .iter()
            .find(|(name, _)| named(name))
            .map(|(_, value)| value)
    };
    let found = keys.map(find);
    if found.contains(&None) {
        return Err(format!(
            "exactly these keys are wanted: {}",
            keys.join(", ")
        ));
    }
    Ok(found.map(|value| value.unwrap_or(node)))
}

fn text_of(node: &Node) -> Option<&str> {
    match &node.kind {
        Kind::Scalar(scalar) if !scalar.is_null() => {
            Some(scalar.text.trim()).filter(|text| !text.is_empty())
        }
        Kind::Scalar(_) | Kind::Broken | Kind::List(_) | Kind::Map(_) => None,
    }
}

#[cfg(test)]
mod tests;
