//! `ocs policy`: what can be typed.
use std::path::PathBuf;

use clap::{Args, Subcommand};
use policies::Via;

use super::Mode;

/// `ocs policy`.
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Name every mistake in the config at once, or say what it allows
    Check(CheckArgs),
    /// Say what would happen to a destination, under which rule, and which line would change that
    Explain(ExplainArgs),
    /// Show what changed in the control files since they were approved
    Diff(DiffArgs),
    /// Approve the control files as they are
    Approve(ApproveArgs),
    /// Have every running sandbox of the project look at the config now, and say what came of it
    Reload(ReloadArgs),
    /// Show the bundled lists of hosts, or what is in one of them
    Presets(PresetsArgs),
    /// From the record to the lines under which the same run would pass
    Suggest(SuggestArgs),
    /// Print the JSON Schema of the config, for editors
    Schema(SchemaArgs),
}

const CHECK_EXITS: &str = "\
Exit codes: 0 the config is right (warnings are told), 64 it is not: nothing would be started.";

/// `ocs policy check`.
#[derive(Args, Debug)]
#[command(after_help = CHECK_EXITS)]
pub struct CheckArgs {
    /// Another config in place of the project's own
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

const EXPLAIN_HELP: &str = "\
The very matcher of the wire judges, by name and port; addresses that the name resolves to are judged only when it is \
asked for. Nothing is resolved and nothing is sent.

Exit codes: 0 it would be allowed, 1 it would be refused, 64 it is no destination or the config is wrong.

Examples:
  ocs policy explain https://registry.npmjs.org/left-pad
  ocs policy explain git.example.org:22
  ocs policy explain --mode restricted docker.host:5432";

/// `ocs policy explain`.
#[derive(Args, Debug)]
#[command(after_help = EXPLAIN_HELP)]
pub struct ExplainArgs {
    /// A URL, a host, or a host with its port; without a port the question is about TLS on 443
    #[arg(value_name = "URL|HOST[:PORT]")]
    pub destination: String,
    /// Judge under another network mode than the config's
    #[arg(long, value_name = "MODE", value_enum)]
    pub mode: Option<Mode>,
    /// The way that the client takes [default: http for http:// and port 80, else connect]
    #[arg(long, value_name = "VIA", value_parser = via)]
    pub via: Option<Via>,
    /// Another config in place of the project's own
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

const DIFF_EXITS: &str = "\
Exit codes: 0 nothing changed, 1 something did or nothing was approved yet, 64 a control file cannot be used.";

/// `ocs policy diff`.
#[derive(Args, Debug)]
#[command(after_help = DIFF_EXITS)]
pub struct DiffArgs {
    /// Another config in place of the project's own
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

const APPROVE_HELP: &str = "\
Control files decide, on this host, what the sandbox may reach or what the host itself will run: the config, the hook, \
the agent's config, mise.toml, .git/config and .git/hooks. A start wants them to be what was approved last.

In CI, where nobody answers, pin what you reviewed:
  ocs policy diff --json | jq -r .fingerprint      # where you reviewed it
  ocs policy approve --yes --hash FINGERPRINT      # in CI: refused if anything differs";

/// `ocs policy approve`.
#[derive(Args, Debug)]
#[command(after_help = APPROVE_HELP)]
pub struct ApproveArgs {
    /// Do not ask; needs --hash
    #[arg(long, short, requires = "hash")]
    pub yes: bool,
    /// Approve only if the control files have this fingerprint
    #[arg(long, value_name = "FINGERPRINT")]
    pub hash: Option<String>,
    /// Another config in place of the project's own
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

const RELOAD_HELP: &str = "\
An edit in place is taken over by itself, within a second. A file that replaced the config (most editors save so) lay \
unprotected for a moment, and is taken over only as it was approved: ocs policy approve.

Exit codes: 0 every sandbox runs under the config as it is, 1 one does not, 64 the config is wrong and nothing changed.";

/// `ocs policy reload`.
#[derive(Args, Debug)]
#[command(after_help = RELOAD_HELP)]
pub struct ReloadArgs {
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

/// `ocs policy presets`.
#[derive(Args, Debug)]
pub struct PresetsArgs {
    /// The list to show
    pub name: Option<String>,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

const SUGGEST_HELP: &str = "\
Reads what was refused, or passed by observe alone, and prints the fewest and narrowest lines that would allow it: a \
bundled list where at least half of it is wanted anyway, exact hosts before suffixes, never a public suffix. What no \
line should allow (addresses, private ones, a wrong SNI, the denylist) is named and left out. Judge each line: an agent \
that was led astray asks for what it should not have.

  ocs run --mode observe --allow-observe -- npm ci      # passes every public host, and records
  ocs policy suggest                                    # a patch that keeps comments and order
  ocs policy suggest | patch -p0 && ocs policy approve";

/// `ocs policy suggest`.
#[derive(Args, Debug)]
#[command(after_help = SUGGEST_HELP)]
pub struct SuggestArgs {
    /// Records to read in place of the project's own; - is stdin
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Only this run; may be given more than once
    #[arg(long, value_name = "RUN")]
    pub run: Vec<String>,
    /// Only what happened since this moment (2026-11-21T01:14:00Z, 2026-11-21, 15m, 2h, 7d)
    #[arg(long, value_name = "MOMENT")]
    pub since: Option<String>,
    /// Another config in place of the project's own
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

const SCHEMA_HELP: &str = "\
Example, for the YAML language server of most editors:
  ocs policy schema > .vscode/ocs.schema.json
  and as the config's first line: # yaml-language-server: $schema=.vscode/ocs.schema.json";

/// `ocs policy schema`.
#[derive(Args, Debug)]
#[command(after_help = SCHEMA_HELP)]
pub struct SchemaArgs {
    /// The schema of one line of the record instead
    #[arg(long)]
    pub record: bool,
}

fn via(text: &str) -> Result<Via, String> {
    Via::ALL
        .into_iter()
        .find(|via| via.code() == text)
        .ok_or_else(|| {
            let codes: Vec<&str> = Via::ALL.iter().map(|via| via.code()).collect();
            format!("one of {} is wanted", codes.join(", "))
        })
}
