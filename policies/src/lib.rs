//! What may flow, and nothing else: host and address types, the project's file, the matcher, verdicts, the record's form.
//!
//! Pure: no I/O, no clock, no environment, no async runtime. Not responsible for sockets, HTTP, or where files lie.
//!
//! The walk is `Config::parse` -> `Config::policy` -> [`Policy::decide`] -> [`Policy::pin`] -> [`Policy::confirm_sni`];
//! each step takes the proof that the one before it gave.
#![forbid(unsafe_code)]

pub mod address;
pub mod audit;
mod compile;
mod config;
#[cfg(any(test, feature = "corpus"))]
pub mod corpus;
mod decide;
mod explain;
mod file;
mod grant;
mod granted;
mod host;
mod limits;
mod mode;
mod names;
mod pattern;
mod pin;
mod policy;
pub mod presets;
mod request;
pub mod schema;
pub mod special;
mod suggest;
mod verdict;
mod yaml;

pub use compile::paths::why_not_shown;
pub use config::{
    Agent, Config, EnvName, EnvPassthrough, Interface, LlmEndpoint, PackageName, ReadOnlyPath,
    SandboxName, Scheme, TcpEndpoint, Tool,
};
pub use decide::NameVerdict;
pub use explain::{Explanation, Finding, Step};
pub use file::{ConfigError, ConfigErrors, Source, Warning};
pub use granted::{GRANTED_BY, Granted};
pub use host::{Destination, DnsName, Host, HostError, Port};
pub use limits::{Bytes, Cpus, Limits};
pub use mode::Mode;
pub use pattern::{List, Pattern, PatternError};
pub use policy::{Policy, Surroundings};
pub use request::{Request, Via};
pub use verdict::{
    Carries, Deny, Generation, Permit, PinnedPermit, Reason, Rule, Suggestion, Target, Verdict,
};
