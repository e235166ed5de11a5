//! Patterns of the domain lists: label-wise suffixes, no globs, no regular expressions.
//!
//! | written | covers |
//! |---|---|
//! | `.example.org` | example.org and every name below it |
//! | `example.org` | exactly that name |
//! | `example.org:8443` | the same, on that port alone |
//! | `"*.example.org"` | as `.example.org`, with a warning |
//!
//! Not responsible for matching at the speed of the wire (`names.rs`, `decide.rs`).
//! Clauses: P3, P5.

use std::fmt;
use std::net::Ipv6Addr;

use crate::special::{self, Special};
use crate::{Destination, DnsName, Host, HostError, Port, yaml};

/// One entry of a domain list. Shown in its canonical form.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pattern {
    pub(crate) name: DnsName,
    pub(crate) extent: Extent,
    pub(crate) port: Option<Port>,
}

/// How far below its name a pattern reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Extent {
    /// `.d`: the name and all below it.
    Below,
    /// `d`: the name alone.
    Exact,
}

/// Which list an entry stands in. A list that only refuses may be as broad as it likes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum List {
    /// `http-domain-denylist`.
    Deny,
    /// `http-domain-whitelist`, and presets.
    Whitelist,
}

/// Why an entry is no pattern, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PatternError {
    /// What is wrong.
    pub message: String,
    /// The corrected text, where there is one.
    pub write: Option<String>,
}

/// Public suffixes whose names are all run by their owner: nobody else can be reached below them.
/// GitHub serves raw files, avatars and release assets there, and opencode-sandbox's own template lists it
/// (COMPATIBILITY 4.10).
const RUN_BY_OWNER: [&str; 1] = ["githubusercontent.com"];

impl Pattern {
    /// Parses an entry. The second value is a warning, for `*.d`.
    ///
    /// # Errors
    /// [`PatternError`] for what is not a pattern, or covers names of everybody.
    pub fn parse(text: &str, list: List) -> Result<(Self, Option<PatternError>), PatternError> {
        refuse_foreign_forms(text)?;
        let (bare, warning) = match text.strip_prefix("*.") {
            Some(rest) => (format!(".{rest}"), Some(star(text, rest))),
            None => (text.to_owned(), None),
        };
        if bare.contains('*') {
            return Err(glob(text));
        }
        let (extent, rest) = match bare.strip_prefix('.') {
            Some(rest) => (Extent::Below, rest),
            None => (Extent::Exact, bare.as_str()),
        };
        let (name, port) = name_and_port(text, rest)?;
        let pattern = Self { name, extent, port };
        let broad = match list {
            List::Deny => None,
            List::Whitelist => pattern.too_broad(),
        };
        broad.map_or(Ok((pattern, warning)), Err)
    }

    /// Whether the name lies within this pattern, ports aside.
    #[must_use]
    pub fn covers(&self, name: &DnsName) -> bool {
        if *name == self.name {
            return true;
        }
        let above = name.as_str().strip_suffix(self.name.as_str());
        match self.extent {
            Extent::Below => above.is_some_and(|head| head.ends_with('.')),
            Extent::Exact => false,
        }
    }

    /// The name, without the dot in front.
    #[must_use]
    pub const fn name(&self) -> &DnsName {
        &self.name
    }

    /// The port, where the entry has one.
    #[must_use]
    pub const fn port(&self) -> Option<Port> {
        self.port
    }

    /// Why a list that allows must not hold this pattern.
    pub(crate) fn too_broad(&self) -> Option<PatternError> {
        let name = self.name.as_str();
        let error = |message: String, write: String| {
            Some(PatternError {
                message,
                write: Some(write),
            })
        };
        let host_port = || format!("host-ports: - {}", self.port.unwrap_or(Port::HTTPS));
        match special::of(&self.name) {
            Some(Special::HostAlias) => {
                return error(
                    format!("`{name}` is the host; a list of domains does not open it"),
                    host_port(),
                );
            }
            Some(Special::Loopback) => {
                return error(
                    format!("`{name}` is the sandbox itself, not the host"),
                    host_port(),
                );
            }
            None => {}
        }
        let suffix =
            psl::suffix(name.as_bytes()).filter(|suffix| suffix.as_bytes() == name.as_bytes());
        match (suffix, self.extent) {
            (Some(_), Extent::Below) if !RUN_BY_OWNER.contains(&name) => error(
                format!("`.{name}` is too broad: names of everybody lie below it"),
                format!(".NAME.{name}"),
            ),
            (Some(suffix), Extent::Exact) if is_registry(suffix) => error(
                format!("`{name}` is a public suffix, not a host"),
                format!("NAME.{name}"),
            ),
            (Some(_) | None, Extent::Below | Extent::Exact) => None,
        }
    }
}

/// Whether no host can have this name: a top level domain or a registry's suffix, like `com` and `co.uk`. A suffix of
/// the list's private part, like `github.io`, is a host as well, and an exact entry opens that one host.
fn is_registry(suffix: psl::Suffix<'_>) -> bool {
    match suffix.typ() {
        Some(psl::Type::Icann) => true,
        // Unknown to the list, like `lan` or `gitlab`: a host of the local network.
        Some(psl::Type::Private) | None => false,
    }
}

/// URLs, paths, lists in one entry: forms of other tools, told apart so that the corrected text is right.
fn refuse_foreign_forms(text: &str) -> Result<(), PatternError> {
    let error = |message: &str, rest: &str| {
        let write = Pattern::parse(rest, List::Whitelist)
            .ok()
            .map(|(pattern, _)| pattern.to_string());
        Err(PatternError {
            message: message.to_owned(),
            write,
        })
    };
    if text.is_empty() {
        let message = "the entry is empty".to_owned();
        return Err(PatternError {
            message,
            write: None,
        });
    }
    if let Some((_, rest)) = text.split_once("://") {
        let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
        let host = authority.rsplit('@').next().unwrap_or(authority);
        return error("a URL stands where a domain belongs", host);
    }
    if let Ok(address) = text.parse::<Ipv6Addr>() {
        let message = format!("`{text}` is an address; the lists of domains hold names");
        return Err(PatternError {
            message,
            write: Some(format!("tcp-endpoints: - \"[{address}]:443\"")),
        });
    }
    if text.parse::<ipnet::IpNet>().is_ok() {
        let message = format!("`{text}` is a range of addresses; the lists of domains hold names");
        return Err(PatternError {
            message,
            write: Some(format!("private-addresses: - {text}")),
        });
    }
    if let Some((host, _)) = text.split_once('/') {
        return error("a path stands where a domain belongs", host);
    }
    if let Some((first, _)) = text.split_once([' ', '\t', ',', ';', '\n', '\r']) {
        return error("an entry holds one domain and nothing else", first);
    }
    Ok(())
}

fn star(text: &str, rest: &str) -> PatternError {
    PatternError {
        message: format!("`{text}` is taken as `.{rest}`: {rest} and every name below it"),
        write: Some(format!(".{rest}")),
    }
}

fn glob(text: &str) -> PatternError {
    let rest = text.trim_start_matches(['*', '.']);
    // A second `*` would lead here again, and again.
    let bare = Some(format!(".{rest}")).filter(|bare| !bare.contains('*'));
    let write = bare.and_then(|bare| Pattern::parse(&bare, List::Whitelist).ok());
    let message = if rest.is_empty() {
        "`*` would allow every host; list the names".to_owned()
    } else {
        format!(
            "{} is not a pattern: `*` stands for nothing; a leading dot covers a name and all below it",
            yaml::quoted(text)
        )
    };
    PatternError {
        message,
        write: write.map(|(pattern, _)| pattern.to_string()),
    }
}

/// The name and port of `rest`, which is the entry without its leading dot.
fn name_and_port(text: &str, rest: &str) -> Result<(DnsName, Option<Port>), PatternError> {
    let parsed = Destination::parse_authority(rest, Some(Port::HTTPS));
    match parsed {
        Ok(Destination {
            host: Host::Name(name),
            port,
        }) => Ok((name, rest.contains(':').then_some(port))),
        Ok(Destination {
            host: Host::Address(_),
            port: _,
        }) => Err(PatternError {
            message: format!("`{text}` is an address; the lists of domains hold names"),
            write: Some(format!("tcp-endpoints: - {}", yaml::item(&with_port(rest)))),
        }),
        Err(HostError::Brackets) => Err(PatternError {
            message: format!("{}: {}", yaml::quoted(text), HostError::Brackets),
            write: None,
        }),
        Err(error) => Err(PatternError {
            message: format!("{}: {error}", yaml::quoted(text)),
            write: None,
        }),
    }
}

fn with_port(rest: &str) -> String {
    Destination::parse_authority(rest, Some(Port::HTTPS))
        .map_or_else(|_| rest.to_owned(), |destination| destination.to_string())
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.extent {
            Extent::Below => write!(f, ".{}", self.name)?,
            Extent::Exact => write!(f, "{}", self.name)?,
        }
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
