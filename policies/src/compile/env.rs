//! `env` and `env-passthrough`.
//!
//! Values keep the text that stands in the file: `1.10`, `true` and `08` are not numbers here.

use super::Compiler;
use crate::yaml::{Kind, Node, Place, Scalar, quoted};
use crate::{EnvName, EnvPassthrough};

/// Prefixes of names that change how programs are loaded or what shells run, whatever the program is.
const REFUSED_PREFIXES: [(&str, &str); 4] = [
    ("LD_", "it decides what code programs load"),
    ("DYLD_", "it decides what code programs load"),
    ("BASH_FUNC_", "shells run it"),
    ("OCS_", "it is ours"),
];

/// Names that are refused, in any case for the proxy's.
const REFUSED: [(&str, &str); 14] = [
    ("ALL_PROXY", "the sandbox sets it"),
    ("BASHOPTS", "shells obey it before they start"),
    ("BASH_ENV", "shells run it"),
    ("ENV", "shells run it"),
    ("FTP_PROXY", "the sandbox sets it"),
    ("GCONV_PATH", "it decides what code programs load"),
    ("GLIBC_TUNABLES", "it decides how programs are loaded"),
    ("HTTPS_PROXY", "the sandbox sets it"),
    ("HTTP_PROXY", "the sandbox sets it"),
    ("IFS", "shells read words by it"),
    ("NODE_USE_ENV_PROXY", "the sandbox sets it"),
    ("NO_PROXY", "the sandbox sets it"),
    ("PS4", "shells run it"),
    ("SHELLOPTS", "shells obey it before they start"),
];

impl Compiler {
    pub(super) fn env(&mut self, node: Option<&Node>) -> Vec<(EnvName, String)> {
        let mut out = Vec::new();
        for (name, value) in self.variables(node, "env") {
            match &value.kind {
                Kind::Scalar(scalar) if scalar.is_absent() => {
                    let write = Some(format!("{name}: \"\""));
                    self.error(value.place, format!("`{name}` has no value"), write);
                }
                Kind::Scalar(scalar) if scalar.text.contains('\0') => {
                    self.error(
                        value.place,
                        format!("`{name}`: a value cannot hold a NUL"),
                        None,
                    );
                }
                Kind::Scalar(scalar) => out.push((name, scalar.text.clone())),
                Kind::Broken => {}
                Kind::List(_) | Kind::Map(_) => {
                    let message = format!(
                        "`{name}` has one value; one that starts with `[` or `{{` needs quotes"
                    );
                    self.error(value.place, message, None);
                }
            }
        }
        out
    }

    pub(super) fn env_passthrough(&mut self, node: Option<&Node>) -> Vec<EnvPassthrough> {
        let mut out = Vec::new();
        for (inside, value) in self.variables(node, "env-passthrough") {
            let Some(scalar) = self.host_variable(&inside, value) else {
                continue;
            };
            match EnvName::parse(&scalar.text) {
                Some(host) => out.push(EnvPassthrough { inside, host }),
                None => {
                    let message = format!(
                        "{} is no POSIX name of a variable of the host",
                        quoted(&scalar.text)
                    );
                    let bare = scalar.text.trim_start_matches('$').trim_matches(['{', '}']);
                    let write = EnvName::parse(bare).map(|host| format!("{inside}: {host}"));
                    self.error(value.place, message, write);
                }
            }
        }
        out
    }

    fn host_variable<'n>(&mut self, inside: &EnvName, value: &'n Node) -> Option<&'n Scalar> {
        match &value.kind {
            Kind::Scalar(scalar) if scalar.is_null() => {
                let message = format!("`{inside}` names no variable of the host");
                self.error(value.place, message, Some(format!("{inside}: {inside}")));
                None
            }
            Kind::Scalar(scalar) => Some(scalar),
            Kind::Broken => None,
            Kind::List(_) | Kind::Map(_) => {
                let message = format!("`{inside}` takes the name of one variable of the host");
                self.error(value.place, message, Some(format!("{inside}: {inside}")));
                None
            }
        }
    }

    /// The pairs of a section whose keys are names of variables in the box.
    fn variables<'n>(&mut self, node: Option<&'n Node>, key: &str) -> Vec<(EnvName, &'n Node)> {
        let Some(node) = node else {
            return Vec::new();
        };
        let Some(pairs) = self.pairs(node, &format!("`{key}`")) else {
            return Vec::new();
        };
        let mut out: Vec<(EnvName, &Node)> = Vec::new();
        let mut first = std::collections::HashMap::new();
        for (at, text, value) in pairs {
            if let Some(earlier) = first.get(text) {
                let earlier: Place = *earlier;
                self.repeated(at.place, text, earlier, &format!("{key}."));
                continue;
            }
            first.insert(text, at.place);
            if let Some(name) = self.variable(at.place, text) {
                out.push((name, value));
            }
        }
        out
    }

    fn variable(&mut self, place: Place, text: &str) -> Option<EnvName> {
        let Some(name) = EnvName::parse(text) else {
            let message = format!(
                "{} is no POSIX name of a variable: letters, digits and `_`, no digit first",
                quoted(text)
            );
            self.error(place, message, corrected(text));
            return None;
        };
        if let Some(why) = refused(text) {
            let message = format!("`{name}` cannot be set in the box: {why}");
            self.error(place, message, None);
            return None;
        }
        Some(name)
    }
}

fn refused(name: &str) -> Option<&'static str> {
    let prefix = REFUSED_PREFIXES
        .iter()
        .find(|(prefix, _)| name.starts_with(prefix));
    let upper = name.to_ascii_uppercase();
    let proxy = upper.ends_with("_PROXY");
    let whole = REFUSED
        .iter()
        .find(|(refused, _)| *refused == name || (proxy && *refused == upper));
    prefix.or(whole).map(|(_, why)| *why)
}

fn corrected(text: &str) -> Option<String> {
    // `A=b`, as other tools write it.
    if let Some((name, value)) = text.split_once('=') {
        return EnvName::parse(name).map(|name| format!("{name}: {value}"));
    }
    let turned = text.replace(['-', '.', ' '], "_");
    EnvName::parse(&turned).map(|name| format!("{name}:"))
}
