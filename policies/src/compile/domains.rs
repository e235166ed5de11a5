//! `http-domain-whitelist`, `http-domain-denylist` and `presets`.

use std::sync::Arc;

use super::{Compiler, nearest};
use crate::pattern::{List, Pattern};
use crate::yaml::{Node, Place, Scalar, quoted};
use crate::{Rule, presets};

impl Compiler {
    pub(super) fn whitelist(&mut self, node: Option<&Node>) -> Vec<(Pattern, Rule)> {
        self.domains(node, "http-domain-whitelist", List::Whitelist)
    }

    pub(super) fn denylist(&mut self, node: Option<&Node>) -> Vec<(Pattern, Rule)> {
        self.domains(node, "http-domain-denylist", List::Deny)
    }

    fn domains(&mut self, node: Option<&Node>, key: &str, list: List) -> Vec<(Pattern, Rule)> {
        let items = self.items(node, key);
        items
            .into_iter()
            .filter_map(|(place, scalar)| {
                let pattern = self.domain(place, scalar, list)?;
                Some((pattern, self.rule(place, &scalar.text)))
            })
            .collect()
    }

    fn domain(&mut self, place: Place, scalar: &Scalar, list: List) -> Option<Pattern> {
        let text = &scalar.text;
        if let Some(kind) = scalar.foreign_type() {
            let port = crate::Port::parse(text).ok();
            let write = port.map(|port| format!("host-ports: - {port}"));
            self.error(
                place,
                format!("{} is {kind}, not a domain", quoted(text)),
                write,
            );
            return None;
        }
        match Pattern::parse(text, list) {
            Ok((pattern, warning)) => {
                if let Some(warning) = warning {
                    self.warn(place, warning.message, warning.write);
                }
                Some(pattern)
            }
            Err(error) => {
                self.error(place, error.message, error.write);
                None
            }
        }
    }

    /// The presets' names; their hosts join the whitelist, with rules that point into the preset's file.
    pub(super) fn presets(
        &mut self,
        node: Option<&Node>,
        allow: &mut Vec<(Pattern, Rule)>,
    ) -> Vec<Arc<str>> {
        let mut names = Vec::new();
        for (place, scalar) in self.items(node, "presets") {
            let name = scalar.text.as_str();
            if names.iter().any(|known: &Arc<str>| **known == *name) {
                let message = format!(
                    "the preset {} stands here again; once is enough",
                    quoted(name)
                );
                self.warn(place, message, None);
                continue;
            }
            match presets::get(name) {
                Some(Ok(preset)) => {
                    allow.extend(
                        preset
                            .hosts
                            .into_iter()
                            .map(|host| (host.pattern, host.rule)),
                    );
                    names.push(Arc::from(name));
                }
                Some(Err(broken)) => self.error(
                    place,
                    format!("the bundled preset is broken: {broken}"),
                    None,
                ),
                None => {
                    let write = nearest(name, presets::names()).map(|near| format!("- {near}"));
                    self.error(place, format!("there is no preset {}", quoted(name)), write);
                }
            }
        }
        names
    }
}
