//! The project's file as meant: domain types, each parsed once, none of them text that is still to be understood.
//!
//! Not responsible for reading YAML (`file.rs`), for turning it into these types (`compile.rs`), or for judging
//! (`decide.rs`). Whatever an accessor gives is valid.
//! Clauses: P1, P9.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::pattern::Pattern;
use crate::{Destination, Limits, Mode, Port, Rule};

/// The project's file as meant. Only `Config::parse` makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    pub(crate) sandbox_name: SandboxName,
    pub(crate) mode: Mode,
    pub(crate) allow: Vec<(Pattern, Rule)>,
    pub(crate) deny: Vec<(Pattern, Rule)>,
    pub(crate) presets: Vec<Arc<str>>,
    pub(crate) host_ports: Vec<(Port, Rule)>,
    pub(crate) llm_endpoints: Vec<LlmEndpoint>,
    pub(crate) tcp_endpoints: Vec<TcpEndpoint>,
    pub(crate) private_addresses: Vec<(ipnet::IpNet, Rule)>,
    pub(crate) env: Vec<(EnvName, String)>,
    pub(crate) env_passthrough: Vec<EnvPassthrough>,
    pub(crate) agent: Agent,
    pub(crate) read_only_paths: Vec<ReadOnlyPath>,
    pub(crate) limits: Limits,
}

impl Config {
    /// `sandbox-name`.
    #[must_use]
    pub const fn sandbox_name(&self) -> &SandboxName {
        &self.sandbox_name
    }

    /// `network-mode`.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// `http-domain-whitelist`, and what the presets add, in the order of the file.
    pub fn allow(&self) -> impl ExactSizeIterator<Item = (&Pattern, &Rule)> {
        self.allow.iter().map(|(pattern, rule)| (pattern, rule))
    }

    /// `http-domain-denylist`.
    pub fn deny(&self) -> impl ExactSizeIterator<Item = (&Pattern, &Rule)> {
        self.deny.iter().map(|(pattern, rule)| (pattern, rule))
    }

    /// `presets`, by name.
    pub fn presets(&self) -> impl ExactSizeIterator<Item = &str> {
        self.presets.iter().map(AsRef::as_ref)
    }

    /// `host-ports`.
    pub fn host_ports(&self) -> impl ExactSizeIterator<Item = Port> {
        self.host_ports.iter().map(|(port, _)| *port)
    }

    /// `llm-endpoints`.
    #[must_use]
    pub fn llm_endpoints(&self) -> &[LlmEndpoint] {
        &self.llm_endpoints
    }

    /// `tcp-endpoints`.
    #[must_use]
    pub fn tcp_endpoints(&self) -> &[TcpEndpoint] {
        &self.tcp_endpoints
    }

    /// `env`: names and values as written, in the order of the file. It wins over [`Config::env_passthrough`].
    #[must_use]
    pub fn env(&self) -> &[(EnvName, String)] {
        &self.env
    }

    /// `env-passthrough`, in the order of the file.
    #[must_use]
    pub fn env_passthrough(&self) -> &[EnvPassthrough] {
        &self.env_passthrough
    }

    /// `agent`.
    #[must_use]
    pub const fn agent(&self) -> &Agent {
        &self.agent
    }

    /// `read-only-paths`.
    #[must_use]
    pub fn read_only_paths(&self) -> &[ReadOnlyPath] {
        &self.read_only_paths
    }

    /// `limits`.
    #[must_use]
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }
}

/// A sandbox's name: `[a-z0-9]([a-z0-9-]*[a-z0-9])?`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SandboxName(Arc<str>);

impl SandboxName {
    /// Parses a name; `None` for what is not one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let edge = |byte: Option<u8>| byte.is_some_and(|byte| inner(byte) && byte != b'-');
        let good =
            edge(text.bytes().next()) && edge(text.bytes().next_back()) && text.bytes().all(inner);
        good.then(|| Self(Arc::from(text)))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SandboxName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The scheme of a model server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Plain HTTP.
    Http,
    /// HTTP over TLS.
    Https,
}

impl Scheme {
    /// The word in front of `://`.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// A model server: exactly this scheme, host and port. Shown as its URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LlmEndpoint {
    /// `http` or `https`.
    pub scheme: Scheme,
    /// Host and port.
    pub destination: Destination,
    /// The path of the URL, with its leading slash; empty if there is none.
    pub path: String,
    /// Where it stands.
    pub rule: Rule,
}

impl fmt::Display for LlmEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, path) = (self.scheme.code(), &self.path);
        write!(f, "{scheme}://{}{path}", self.destination)
    }
}

/// A raw TCP destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpEndpoint {
    /// Host and port.
    pub destination: Destination,
    /// Where it stands.
    pub rule: Rule,
}

/// The name of an environment variable, as POSIX wants it: `[A-Za-z_][A-Za-z0-9_]*`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EnvName(Arc<str>);

impl EnvName {
    /// Parses a name; `None` for what is not one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let good = text.bytes().all(inner)
            && text
                .bytes()
                .next()
                .is_some_and(|byte| !byte.is_ascii_digit());
        good.then(|| Self(Arc::from(text)))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EnvName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One line of `env-passthrough`: the variable in the box, and the one of the host that gives its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvPassthrough {
    /// The name in the box.
    pub inside: EnvName,
    /// The name on the host.
    pub host: EnvName,
}

/// `agent`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// `agent.tool`.
    pub tool: Tool,
    /// `agent.packages`: what the agent's image installs besides, each once, in the order of the file.
    pub packages: Vec<PackageName>,
    /// `agent.interface`: what `ocs start` gives a person.
    pub interface: Interface,
    /// `agent.mcp-config`: the file that names MCP servers for the agent, as written: absolute, with `~/` in front, or
    /// seen from the project or a place of `read-only-paths`. It has no `..`.
    pub mcp_config: Option<String>,
}

/// What `ocs start` gives a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interface {
    /// A server for a browser.
    Web,
    /// The tool itself, in the terminal.
    Tui,
}

impl Interface {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Web, Self::Tui];

    /// The word in the config.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Web => "web",
            Self::Tui => "tui",
        }
    }
}

/// The name of a Debian package, `[a-z0-9][a-z0-9+._-]*`. Never ends in `-`: apt-get would remove what stands before it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PackageName(Arc<str>);

impl PackageName {
    /// Parses a name; `None` for what is not one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let first = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let inner = |byte: u8| first(byte) || b"+._-".contains(&byte);
        let good = text.bytes().next().is_some_and(first)
            && text.bytes().all(inner)
            && !text.ends_with('-')
            && text.len() <= 128;
        good.then(|| Self(Arc::from(text)))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PackageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The agent's program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tool {
    /// A program and its arguments, never read by a shell.
    Command(Vec<String>),
    /// OMP.
    Omp,
    /// OpenCode. The default.
    OpenCode,
}

/// A host path that the box may show read-only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadOnlyPath {
    /// As written: absolute, or with `~/` in front.
    pub(crate) text: String,
    /// Where it stands.
    pub(crate) rule: Rule,
}

impl ReadOnlyPath {
    /// As written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Where it stands.
    #[must_use]
    pub const fn rule(&self) -> &Rule {
        &self.rule
    }

    /// The absolute path, `~/` taken from `home`.
    #[must_use]
    pub fn expand(&self, home: &std::path::Path) -> PathBuf {
        match self.text.strip_prefix("~/") {
            Some(rest) => home.join(rest),
            None => PathBuf::from(&self.text),
        }
    }
}
