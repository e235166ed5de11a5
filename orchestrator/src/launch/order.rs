//! What a caller wants of a start. Values only.
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Stdio;

use policies::{Mode, Port};

use crate::cli::Engine;

/// An order for one sandbox with one command in it.
#[derive(Debug)]
pub(crate) struct Order {
    /// What builds the box.
    pub(crate) engine: Engine,
    /// How much of the network it gets; none: as the config says.
    pub(crate) mode: Option<Mode>,
    /// Let `observe` run with nobody watching.
    pub(crate) allow_observe: bool,
    /// Seconds that a refused request waits for a person; none: nobody is asked.
    pub(crate) ask: Option<u64>,
    /// The command and its arguments.
    pub(crate) command: Vec<OsString>,
    /// Variables besides those that every agent has; they win. No value reaches a command line.
    pub(crate) environment: Vec<(OsString, OsString)>,
    /// What the box shows besides what every box shows.
    pub(crate) shows: Vec<Show>,
    /// Ports of the host that lead into the box.
    pub(crate) publish: Vec<Publish>,
    /// What the command reads and writes.
    pub(crate) streams: Streams,
    /// Nobody is there: what would be asked is refused, and no terminal is given to the agent.
    pub(crate) unattended: bool,
}

impl Order {
    /// The spec of its namespace, on one line: the sealed topology with the ports of docs/architecture.md. Group 0 of NFLOG
    /// is anybody's default.
    pub(super) fn spec(&self) -> String {
        let published: Vec<u16> = self.publish.iter().map(|port| port.inside.get()).collect();
        let spec = serde_json::json!({
            "topology": "sealed", "v": 1, "explicit": 3128, "capture": 3129, "dns": 53,
            "nflog_group": 1, "published": published,
        });
        spec.to_string()
    }

    /// Whether our terminal is the agent's to have.
    pub(super) fn terminal(&self) -> bool {
        !self.unattended && matches!(self.streams.stdin, Stream::Ours)
    }

    /// The plain order: our streams, nothing besides.
    pub(crate) fn of(command: Vec<OsString>) -> Self {
        Self {
            engine: Engine::Auto,
            mode: None,
            allow_observe: false,
            ask: None,
            command,
            environment: Vec::new(),
            shows: Vec::new(),
            publish: Vec::new(),
            streams: Streams::default(),
            unattended: false,
        }
    }
}

/// A place of the host that the box shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Show {
    /// Where it is on the host, with no symlink left in it.
    pub(crate) from: PathBuf,
    /// Where it is shown.
    pub(crate) at: PathBuf,
    /// What may be done with it.
    pub(crate) access: Access,
}

/// What the box may do with something of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Read.
    ReadOnly,
    /// Read and write.
    ReadWrite,
}

/// A port of the host's 127.0.0.1, and the port in the box that it leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Publish {
    /// On 127.0.0.1 of the host.
    pub(crate) host: Port,
    /// On 127.0.0.1 of the box.
    pub(crate) inside: Port,
}

/// What a command reads and writes.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    /// Its stdin.
    pub(crate) stdin: Stream,
    /// Its stdout.
    pub(crate) stdout: Stream,
    /// Its stderr.
    pub(crate) stderr: Stream,
}

/// One of a command's streams.
#[derive(Debug, Default)]
pub(crate) enum Stream {
    /// Our own.
    #[default]
    Ours,
    /// `/dev/null`.
    Nothing,
    /// This file or end of a pipe; nobody of ours holds it once the command has it.
    Given(OwnedFd),
}

impl From<Stream> for Stdio {
    fn from(stream: Stream) -> Self {
        match stream {
            Stream::Ours => Self::inherit(),
            Stream::Nothing => Self::null(),
            Stream::Given(descriptor) => Self::from(descriptor),
        }
    }
}
