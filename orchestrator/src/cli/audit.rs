//! `ocs audit`: what can be typed.
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

const FILES: &str = "\
Without FILE the record of the project is read, every run of it. FILE may be any record of that form, of another machine \
too; - is stdin.";

const REPORT_HELP: &str = "\
One row per destination: how often allowed and refused, bytes up and down, first and last time, the deciding rule, the \
processes. On a terminal each row ends in a graph of its requests over the time of the record.

Exit codes: 0 done (lines that cannot be read are counted and told), 64 wrong usage or nothing to read.";

const QUERY_HELP: &str = "\
Prints each event that fits every filter. With --json the lines come out as they stand in the record, byte for byte; \
with --csv as a table for spreadsheets (RFC 4180; what a spreadsheet would run as a formula is made text).

Moments: 2026-11-21T01:14:00Z, 2026-11-21 (its midnight, UTC), or 90s, 15m, 2h, 7d ago.

Examples:
  ocs audit query --decision deny --since 1h
  ocs audit query --host .example.org --json | jq -r .process.exe
  ocs audit query --run 20261121T011400Z-0a1b2c --csv > run.csv";

const VERIFY_HELP: &str = "\
Checks every line's digest, its number and its place behind the line before it. What no reader can see from the record \
alone is that whole lines are missing at its end, or that all of it was written anew. So every part that is closed, and the \
end of every run, is signed (RUN.checkpoint, beside the record) with a key of the sandbox: what was signed must stand there. \
Who could write the record could also take the signatures away, or the key: keep the head or the key that is printed \
elsewhere, and compare, or give the key with --key.

Exit codes: 0 every record is whole, 1 a line is bad (file, line and reason are printed), 64 nothing to read.";

const EXPORT_HELP: &str = "\
One line per event, for a log collector:
  ocsf  OCSF 1.3.0, JSON: Network Activity (4001), HTTP Activity (4002), DNS Activity (4003), Application Lifecycle (6002), \
and Base Event (0) for a policy in force and for a gap
  ecs   Elastic Common Schema 8.11, JSON; what it has no field for is below `ocs`
  cef   Common Event Format, version 0
  otlp  OpenTelemetry logs, the JSON of OTLP; to send them: ocs audit follow --otlp

docs/audit-export.md says which field goes where. Filters are those of query.

Examples:
  ocs audit export --format ocsf --since 1h | curl --data-binary @- https://collector.example/
  ocs audit export --format cef --decision deny | logger --tag ocs";

const FOLLOW_HELP: &str = "\
Prints events as they are written, of the project's sandbox, of those named, or with --all of every sandbox of this user, \
until interrupted. Filters and output are those of query. With --otlp they go to a collector instead: what it does not take at \
once is tried again, and what it never takes is counted and said; the record has it.";

/// `ocs audit`.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Say where the agent went and what was refused, per destination
    Report(ReportArgs),
    /// Print the events that fit
    Query(QueryArgs),
    /// Print the events that fit in the form of another standard
    Export(ExportArgs),
    /// Print events as they happen
    Follow(FollowArgs),
    /// Check that the record is whole, and name the first bad line
    Verify(VerifyArgs),
}

/// `ocs audit report`.
#[derive(Args, Debug)]
#[command(after_help = REPORT_HELP)]
pub struct ReportArgs {
    /// Records to read in place of the project's own; - is stdin
    #[arg(value_name = "FILE", help = FILES)]
    pub files: Vec<PathBuf>,
    /// What counts
    #[command(flatten)]
    pub filter: FilterArgs,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

/// `ocs audit query`.
#[derive(Args, Debug)]
#[command(after_help = QUERY_HELP)]
pub struct QueryArgs {
    /// Records to read in place of the project's own; - is stdin
    #[arg(value_name = "FILE", help = FILES)]
    pub files: Vec<PathBuf>,
    /// What to print
    #[command(flatten)]
    pub filter: FilterArgs,
    /// How to print it
    #[command(flatten)]
    pub form: FormArgs,
}

/// `ocs audit export`.
#[derive(Args, Debug)]
#[command(after_help = EXPORT_HELP)]
pub struct ExportArgs {
    /// Records to read in place of the project's own; - is stdin
    #[arg(value_name = "FILE", help = FILES)]
    pub files: Vec<PathBuf>,
    /// The form
    #[arg(long, value_name = "FORMAT", value_enum)]
    pub format: ExportFormat,
    /// What to print
    #[command(flatten)]
    pub filter: FilterArgs,
}

/// A standard's form of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// Common Event Format
    Cef,
    /// Elastic Common Schema
    Ecs,
    /// Open Cybersecurity Schema Framework
    Ocsf,
    /// OpenTelemetry logs, the JSON of OTLP
    Otlp,
}

/// `ocs audit follow`.
#[derive(Args, Debug)]
#[command(after_help = FOLLOW_HELP)]
pub struct FollowArgs {
    /// Sandboxes to follow, by id as `ls ~/.opencode-sandbox` shows it [default: the project's]
    #[arg(value_name = "SANDBOX")]
    pub sandboxes: Vec<String>,
    /// Follow every sandbox of this user
    #[arg(long, conflicts_with = "sandboxes")]
    pub all: bool,
    /// What to print
    #[command(flatten)]
    pub filter: FilterArgs,
    /// Print the lines as they stand in the record
    #[arg(long)]
    pub json: bool,
    /// Print nothing; send each event to a collector of OpenTelemetry, such as `http://127.0.0.1:4318/v1/logs`
    #[arg(long, value_name = "URL", conflicts_with = "json", value_parser = collector)]
    pub otlp: Option<String>,
}

/// What curl is given: a URL of the web, and no credential that a command line would show.
fn collector(text: &str) -> Result<String, String> {
    let rest = text
        .strip_prefix("http://")
        .or(text.strip_prefix("https://"));
    let authority = rest.and_then(|rest| rest.split('/').next());
    let is_good = authority.is_some_and(|it| !it.is_empty() && !it.contains('@'))
        && text.bytes().all(|byte| byte.is_ascii_graphic());
    if is_good {
        Ok(text.to_owned())
    } else {
        Err("http:// or https://, a host without user, and a path".to_owned())
    }
}

/// `ocs audit verify`.
#[derive(Args, Debug)]
#[command(after_help = VERIFY_HELP)]
pub struct VerifyArgs {
    /// Every record must be signed with this public key, as an earlier verify printed it [default: the sandbox's own key,
    /// where something is signed]
    #[arg(long, value_name = "KEY")]
    pub key: Option<String>,
    /// Records to read in place of the project's own; - is stdin
    #[arg(value_name = "FILE", help = FILES)]
    pub files: Vec<PathBuf>,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

/// What an event must be to count. Several of one kind: any of them; several kinds: all of them.
#[derive(Args, Clone, Debug, Default)]
pub struct FilterArgs {
    /// allow or deny
    #[arg(long, value_name = "DECISION", value_parser = ["allow", "deny"])]
    pub decision: Option<String>,
    /// A host or address, or .d for d and all below
    #[arg(long, value_name = "HOST")]
    pub host: Vec<String>,
    /// A reason code, such as not-whitelisted
    #[arg(long, value_name = "REASON")]
    pub reason: Vec<String>,
    /// connect, http, captured-tls, captured-http, captured-tcp, dns or packet
    #[arg(long, value_name = "VIA")]
    pub via: Vec<String>,
    /// A process by its number, its path, or the last part of its path
    #[arg(long, value_name = "PROCESS")]
    pub process: Vec<String>,
    /// A run by its id
    #[arg(long, value_name = "RUN")]
    pub run: Vec<String>,
    /// Not before this moment
    #[arg(long, value_name = "MOMENT")]
    pub since: Option<String>,
    /// Before this moment
    #[arg(long, value_name = "MOMENT")]
    pub until: Option<String>,
}

/// How events are printed.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct FormArgs {
    /// Print the lines as they stand in the record
    #[arg(long, conflicts_with = "csv")]
    pub json: bool,
    /// Print a table for spreadsheets
    #[arg(long)]
    pub csv: bool,
}
