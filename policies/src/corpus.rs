//! The golden cases of `policies/corpus/decisions`: read, asked, and answered in one line that can be compared.
//!
//! Built for tests only (feature `corpus`), and for those of other rooms too: whatever stands on the wire must give the
//! answer that stands in the corpus. The form of a case is described in `policies/corpus/README.md`.
//! Not responsible for reading files.

use std::net::IpAddr;
use std::sync::Arc;

use crate::yaml::{self, Kind, Node};
use crate::{
    Config, Deny, Destination, DnsName, Mode, NameVerdict, Policy, Request, Rule, Source,
    Surroundings, Verdict, Via,
};

/// One case.
#[derive(Debug, Clone)]
pub struct Case {
    /// What it shows.
    pub name: String,
    /// The line of its name in the file, from 1.
    pub line: u32,
    /// The policy that judges; shared by the cases of a file.
    pub policy: Arc<Policy>,
    /// What is asked.
    pub question: Question,
    /// The addresses that the resolver gave, where the case says so.
    pub resolved: Option<Vec<IpAddr>>,
    /// The ClientHello, where the case says so: its SNI, or none.
    pub hello: Option<Option<String>>,
    /// The golden answer.
    pub expect: String,
}

/// What a case asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// For a name, of the DNS stub.
    Dns(String),
    /// For a destination, as the client wrote it.
    Reach(Via, String),
}

/// Reads a file of cases.
///
/// # Errors
/// A text that names the line and the mistake.
pub fn read(name: &str, text: &str) -> Result<Vec<Case>, String> {
    let reading = yaml::read(text);
    if let Some(mistake) = reading.mistakes.first() {
        return Err(format!(
            "{name}:{}: {}",
            mistake.place.line, mistake.message
        ));
    }
    let root = reading.root.ok_or_else(|| format!("{name}: empty"))?;
    let top = Fields::of(&root, name)?;
    top.only(&[
        "about",
        "config",
        "mode",
        "host-addresses",
        "own-addresses",
        "cases",
    ])?;
    top.text("about")?
        .ok_or_else(|| format!("{name}: no `about`"))?;
    let config = top
        .text("config")?
        .ok_or_else(|| format!("{name}: no `config`"))?;
    let source = Source {
        name: "config",
        text: config,
    };
    let (config, _) = Config::parse(&source).map_err(|errors| format!("{name}: {errors}"))?;
    let mode = match top.text("mode")? {
        None => None,
        Some(word) => Some(Mode::parse(word).ok_or_else(|| format!("{name}: no mode `{word}`"))?),
    };
    let surroundings = Surroundings {
        host_addresses: top.addresses("host-addresses")?.unwrap_or_else(|| {
            vec![
                IpAddr::from([127, 0, 0, 1]),
                IpAddr::V6(std::net::Ipv6Addr::LOCALHOST),
            ]
        }),
        own_addresses: top.addresses("own-addresses")?.unwrap_or_default(),
    };
    let policy = Arc::new(config.policy(mode, surroundings));
    let Some(Kind::List(cases)) = top.get("cases").map(|node| &node.kind) else {
        return Err(format!("{name}: `cases` is a list"));
    };
    cases
        .iter()
        .map(|case| case_of(case, name, &policy))
        .collect()
}

fn case_of(node: &Node, file: &str, policy: &Arc<Policy>) -> Result<Case, String> {
    let at = format!("{file}:{}", node.place.line);
    let fields = Fields::of(node, &at)?;
    let ways = [
        "connect",
        "http",
        "captured-tls",
        "captured-http",
        "captured-tcp",
    ];
    fields.only(&[&ways[..], &["dns", "name", "resolved", "sni", "expect"]].concat())?;
    let mut questions = Vec::new();
    for via in Via::ALL {
        questions.extend(
            fields
                .text(via.code())?
                .map(|text| Question::Reach(via, text.to_owned())),
        );
    }
    questions.extend(
        fields
            .text("dns")?
            .map(|text| Question::Dns(text.to_owned())),
    );
    let [question] = <[Question; 1]>::try_from(questions)
        .map_err(|_| format!("{at}: exactly one question is wanted"))?;
    let resolved = match fields.text("resolved")? {
        None => None,
        Some(text) => Some(addresses(text.split_whitespace(), &at)?),
    };
    let hello = fields
        .text("sni")?
        .map(|text| (text != "-").then(|| text.to_owned()));
    let wanted = |key: &str| {
        fields
            .text(key)?
            .map(str::to_owned)
            .ok_or_else(|| format!("{at}: no `{key}`"))
    };
    Ok(Case {
        name: wanted("name")?,
        line: node.place.line,
        policy: Arc::clone(policy),
        question,
        resolved,
        hello,
        expect: wanted("expect")?,
    })
}

impl Case {
    /// What the policy says, in the form of `expect`.
    #[must_use]
    pub fn answer(&self) -> String {
        match &self.question {
            Question::Dns(text) => {
                match DnsName::parse(text).map(|name| self.policy.allows_name(&name)) {
                    Err(_) => "malformed".to_owned(),
                    Ok(NameVerdict::Allow(rule)) => format!("allow {}", place(rule.as_ref())),
                    Ok(NameVerdict::Deny(deny)) => denied(&deny),
                }
            }
            Question::Reach(via, text) => match Destination::parse_authority(text, None) {
                Err(_) => "malformed".to_owned(),
                Ok(destination) => self.reach(&Request {
                    destination,
                    via: *via,
                }),
            },
        }
    }

    fn reach(&self, request: &Request) -> String {
        let permit = match self.policy.decide(request) {
            Verdict::Deny(deny) => return denied(&deny),
            Verdict::Allow(permit) => permit,
        };
        let allowed = format!("allow {} {}", place(permit.rule()), permit.carries().code());
        let confirmed = self
            .hello
            .as_ref()
            .map(|sni| self.policy.confirm_sni(&permit, sni.as_deref()));
        let pinned = self
            .resolved
            .as_ref()
            .map(|resolved| self.policy.pin(permit, resolved));
        let dialled = match pinned {
            Some(Err(deny)) => return denied(&deny),
            Some(Ok(pinned)) => pinned
                .addresses()
                .iter()
                .map(|socket| socket.ip().to_string())
                .collect(),
            None => Vec::new(),
        };
        if let Some(Err(deny)) = confirmed {
            return denied(&deny);
        }
        if dialled.is_empty() {
            allowed
        } else {
            format!("{allowed} -> {}", dialled.join(","))
        }
    }
}

fn denied(deny: &Deny) -> String {
    let reason = deny.reason.code();
    match &deny.rule {
        None => format!("deny {reason}"),
        Some(rule) => format!("deny {reason} {}", place(Some(rule))),
    }
}

/// `LINE` in the config, `preset:NAME:LINE`, or `-`.
fn place(rule: Option<&Rule>) -> String {
    match rule {
        None => "-".to_owned(),
        Some(rule) if rule.file.starts_with("preset:") => format!("{}:{}", rule.file, rule.line),
        Some(rule) => rule.line.to_string(),
    }
}

/// The pairs of a map, for reading cases.
struct Fields<'n> {
    at: String,
    pairs: Vec<(&'n str, &'n Node)>,
}

impl<'n> Fields<'n> {
    fn of(node: &'n Node, at: &str) -> Result<Self, String> {
        let Kind::Map(pairs) = &node.kind else {
            return Err(format!("{at}: a map is wanted"));
        };
        let mut out: Vec<(&str, &Node)> = Vec::new();
        for (key, value) in pairs {
            let Kind::Scalar(scalar) = &key.kind else {
                return Err(format!("{at}: a key is one word"));
            };
            if out.iter().any(|(known, _)| *known == scalar.text) {
                return Err(format!("{at}: `{}` stands there twice", scalar.text));
            }
            out.push((&scalar.text, value));
        }
        Ok(Self {
            at: at.to_owned(),
            pairs: out,
        })
    }

    fn only(&self, keys: &[&str]) -> Result<(), String> {
        let unknown = self.pairs.iter().find(|(key, _)| !keys.contains(key));
        unknown.map_or(Ok(()), |(key, _)| {
            Err(format!("{}: unknown key `{key}`", self.at))
        })
    }

    fn get(&self, key: &str) -> Option<&'n Node> {
        self.pairs
            .iter()
            .find(|(name, _)| *name == key)
            .map(|(_, value)| *value)
    }

    fn text(&self, key: &str) -> Result<Option<&'n str>, String> {
        match self.get(key).map(|node| &node.kind) {
            None => Ok(None),
            Some(Kind::Scalar(scalar)) => Ok(Some(&scalar.text)),
            Some(Kind::Broken | Kind::List(_) | Kind::Map(_)) => {
                Err(format!("{}: `{key}` is one text", self.at))
            }
        }
    }

    fn addresses(&self, key: &str) -> Result<Option<Vec<IpAddr>>, String> {
        let Some(node) = self.get(key) else {
            return Ok(None);
        };
        let Kind::List(items) = &node.kind else {
            return Err(format!("{}: `{key}` is a list", self.at));
        };
        let texts = items.iter().map(|item| match &item.kind {
            Kind::Scalar(scalar) => scalar.text.as_str(),
            Kind::Broken | Kind::List(_) | Kind::Map(_) => "",
        });
        addresses(texts, &self.at).map(Some)
    }
}

fn addresses<'a>(texts: impl Iterator<Item = &'a str>, at: &str) -> Result<Vec<IpAddr>, String> {
    texts
        .map(|text| {
            text.parse()
                .map_err(|_| format!("{at}: `{text}` is no address"))
        })
        .collect()
}

#[cfg(test)]
mod tests;
