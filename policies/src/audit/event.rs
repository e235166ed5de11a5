//! The events of the record, with the field names that users and outside checks rely on.
//!
//! The order of the fields is the order in a line. A new field goes to the end, and into `docs/audit-log.md` and the
//! schema in the same commit.
//! Clauses: R1, R4, R6.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::Text;
use crate::{Generation, Mode, Reason, Rule, Via};

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// The end of an allowed request.
    Close(CloseEvent),
    /// A query to the DNS stub.
    Dns(DnsEvent),
    /// Something is missing here, and this says what.
    Gap(GapEvent),
    /// Packets that went round the proxy, counted.
    Packet(PacketEvent),
    /// A policy came into force.
    Policy(PolicyEvent),
    /// A person was asked about a refused destination.
    Question(QuestionEvent),
    /// A decision.
    Request(RequestEvent),
    /// The first line.
    Start(StartEvent),
    /// The last line.
    Stop(StopEvent),
}

/// `start`: the first line of a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartEvent {
    /// The version of ocs.
    pub version: Text,
    /// The mode in force.
    pub mode: Mode,
    /// `native`, `docker`, `podman`, or `none` for the proxy alone.
    pub engine: Text,
}

/// `policy`: a policy came into force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyEvent {
    /// `Policy::hash`.
    pub hash: Text,
    /// Its number.
    pub generation: Generation,
    /// The file it came from.
    pub source: Text,
    /// The mode it puts in force.
    pub mode: Mode,
}

/// Allowed or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decision {
    /// Allowed.
    Allow,
    /// Refused.
    Deny,
}

/// The process behind a request. Null where it cannot be known.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Process {
    /// Its number, in the namespace of whoever looked.
    pub pid: Option<u32>,
    /// Its executable.
    pub exe: Option<Text>,
}

impl Process {
    /// Nothing is known.
    pub const UNKNOWN: Self = Self {
        pid: None,
        exe: None,
    };
}

/// `request`: one decision, written before anything is dialled.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RequestEvent {
    /// Its number within the run.
    pub id: u64,
    /// Allowed or not.
    pub decision: Decision,
    /// Why it was refused; null if allowed.
    pub reason: Option<Reason>,
    /// The deciding entry, or null.
    pub rule: Option<Rule>,
    /// The way that it came.
    pub via: Via,
    /// The HTTP method, where there is one.
    pub method: Option<Text>,
    /// The host asked for; null where none could be read.
    pub host: Option<Text>,
    /// The port asked for; null where none could be read.
    pub port: Option<u16>,
    /// The SNI of the ClientHello, where one was read.
    pub sni: Option<Text>,
    /// The address that is dialled, where one is.
    pub address: Option<IpAddr>,
    /// The policy that judged.
    pub generation: Generation,
    /// Who asked.
    pub process: Process,
    /// Resolved addresses that were refused.
    pub dropped: Vec<IpAddr>,
    /// How many refusals alike this line tells of, in a flood; left out where it is one.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub count: u64,
}

const fn one() -> u64 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
const fn is_one(count: &u64) -> bool {
    *count == 1
}

/// `close`: the end of an allowed request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloseEvent {
    /// The request's number.
    pub id: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// Bytes from the client to the origin.
    pub bytes_up: u64,
    /// Bytes from the origin to the client.
    pub bytes_down: u64,
    /// From the decision to the end.
    pub duration_ms: u64,
}

/// How an allowed request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The proxy lost track of it: a fault of ours.
    Abandoned,
    /// The client broke it off.
    ClientError,
    /// Both sides ended in order.
    Done,
    /// The origin could not be reached.
    DialFailed,
    /// The name did not resolve.
    DnsFailed,
    /// Nothing was said for too long.
    Idle,
    /// A limit was reached.
    Limit,
    /// Refused after the decision by name: the SNI, the address, or what was inside.
    Refused,
    /// Cut by a policy change.
    Revoked,
    /// The proxy was told to end.
    Shutdown,
    /// The origin broke it off.
    UpstreamError,
}

impl Outcome {
    /// Every one, for schemas and tables.
    pub const ALL: [Self; 11] = [
        Self::Abandoned,
        Self::ClientError,
        Self::Done,
        Self::DialFailed,
        Self::DnsFailed,
        Self::Idle,
        Self::Limit,
        Self::Refused,
        Self::Revoked,
        Self::Shutdown,
        Self::UpstreamError,
    ];

    /// Its name in the record.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Abandoned => "abandoned",
            Self::ClientError => "client-error",
            Self::Done => "done",
            Self::DialFailed => "dial-failed",
            Self::DnsFailed => "dns-failed",
            Self::Idle => "idle",
            Self::Limit => "limit",
            Self::Refused => "refused",
            Self::Revoked => "revoked",
            Self::Shutdown => "shutdown",
            Self::UpstreamError => "upstream-error",
        }
    }
}

/// `packet`: packets of one kind that the kernel refused, counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PacketEvent {
    /// `tcp`, `udp`, `icmp`, `icmpv6`, `sctp`, or `ip-N`.
    pub protocol: Text,
    /// Where to; null where packets to many addresses are counted as one.
    pub address: Option<IpAddr>,
    /// Which port, where the protocol has one.
    pub port: Option<u16>,
    /// How many, since the last event of the same kind.
    pub count: u64,
    /// Always `direct`.
    pub reason: Reason,
}

/// `dns`: a query to the stub.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsEvent {
    /// The name asked for.
    pub name: Text,
    /// The type asked for: `A`, `TXT`, or `TYPEn`.
    #[serde(rename = "type")]
    pub kind: Text,
    /// Answered or refused.
    pub decision: Decision,
    /// Why it was refused; null if answered.
    pub reason: Option<Reason>,
    /// How many queries of this kind since the last event of it.
    pub count: u64,
}

/// `question`: a person was asked about a refused destination, and this is how it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuestionEvent {
    /// Its number within the run; the line of the rule that a grant gives.
    pub question: u32,
    /// The host asked for.
    pub host: Text,
    /// The port asked for.
    pub port: u16,
    /// What the person said; null if nobody answered in time, or the policy changed meanwhile.
    pub answer: Option<Reply>,
    /// Who said it; null if nobody did.
    pub by: Option<Approver>,
    /// Requests that waited for it.
    pub waiting: u64,
    /// From the first of them to this line.
    pub duration_ms: u64,
    /// Who asked first.
    pub process: Process,
}

/// What a person says to a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// It may be reached from now on: the config says so.
    Always,
    /// It stays refused.
    Deny,
    /// The requests that wait may reach it.
    Once,
    /// It may be reached until this run ends.
    Run,
}

impl Reply {
    /// Every one, for schemas and tables.
    pub const ALL: [Self; 4] = [Self::Always, Self::Deny, Self::Once, Self::Run];

    /// Its name in the record.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::Deny => "deny",
            Self::Once => "once",
            Self::Run => "run",
        }
    }
}

/// Who answered a question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approver {
    /// The user's number, as the kernel tells it.
    pub uid: u32,
    /// The user's name, as the client told it.
    pub user: Option<Text>,
}

/// `gap`: events that could not be written one by one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GapEvent {
    /// What is missing.
    pub lost: Lost,
    /// How many; null where nobody can know.
    pub count: Option<u64>,
}

/// What a gap lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lost {
    /// Ends of allowed requests that could not be kept while the disk was full.
    Closes,
    /// Queries to the stub.
    Dns,
    /// Packets that the kernel refused and could not report.
    Packets,
    /// Refusals that could not be written while the disk was full.
    Requests,
    /// The end of a record whose writer was killed: a line cut in the middle.
    Tail,
}

impl Lost {
    /// Every one, for schemas and tables.
    pub const ALL: [Self; 5] = [
        Self::Closes,
        Self::Dns,
        Self::Packets,
        Self::Requests,
        Self::Tail,
    ];
}

/// `stop`: the last line of a record that ended in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopEvent {
    /// Why it ended: `drained`, `signal`, or a text.
    pub cause: Text,
    /// Requests allowed.
    pub allowed: u64,
    /// Requests refused.
    pub denied: u64,
    /// Packets refused.
    pub packets: u64,
}
