//! `ocs start` and what goes with it: what can be typed.
use std::ffi::OsString;

use clap::Args;
use policies::Port;

use super::{AskArgs, FenceArgs};

const START_HELP: &str = "\
The agent's server runs in the box and is published on 127.0.0.1 of this host, at --port or the next free one from 4096, \
with a password of its own for each start. Without --detach it stays in this terminal until ^C.

Exit codes: 0 it runs (--detach), or runs already; 64 usage, config, approval or a port that is taken; 69 something is missing; \
70 the fence could not be put up or proven; 124 the server did not answer in time; else the server's own code.

Examples:
  ocs start --detach && ocs web-auth
  ocs start --mode restricted --port 4100";

/// `ocs start`.
#[derive(Args, Clone, Debug)]
#[command(after_help = START_HELP)]
#[expect(clippy::struct_excessive_bools, reason = "one flag each, as typed")]
pub struct StartArgs {
    /// The box.
    #[command(flatten)]
    pub fence: FenceArgs,
    /// Whether a person is asked.
    #[command(flatten)]
    pub asking: AskArgs,
    /// The port of 127.0.0.1 [default: the next free one from 4096]
    #[arg(long, value_name = "PORT", value_parser = port)]
    pub port: Option<Port>,
    /// Return once the server answers, and leave it running
    #[arg(long, short)]
    pub detach: bool,
    /// Approve the control files without asking, if their fingerprint is that of --hash
    #[arg(long, requires = "hash")]
    pub yes: bool,
    /// The fingerprint that `ocs policy diff` shows
    #[arg(long, value_name = "HEX", requires = "yes")]
    pub hash: Option<String>,
    /// Let `observe`, which passes every public destination, run with nobody watching
    #[arg(long)]
    pub allow_observe: bool,
    /// Print what runs as one JSON document on stdout; with --detach
    #[arg(long, requires = "detach")]
    pub json: bool,
    /// As the process that stays; started by ocs itself.
    #[arg(long, hide = true, requires = "detach")]
    pub supervised: bool,
}

/// `ocs stop`.
#[derive(Args, Debug)]
#[command(after_help = "Exit codes: 0 nothing of it runs any longer, 1 it could not be ended.")]
pub struct StopArgs {
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

/// `ocs status`.
#[derive(Args, Debug)]
#[command(after_help = "Exit codes: 0 it runs, 1 it does not.")]
pub struct StatusArgs {
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

/// `ocs list`.
#[derive(Args, Debug)]
pub struct ListArgs {
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

/// `ocs logs`.
#[derive(Args, Debug)]
pub struct LogsArgs {
    /// Go on with what is written from now on, until the server ends
    #[arg(long, short)]
    pub follow: bool,
}

/// `ocs terminal`.
#[derive(Args, Debug)]
pub struct TerminalArgs {
    /// For the terminal's client
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "ARGS"
    )]
    pub arguments: Vec<String>,
}

const TUI_HELP: &str = "\
The tools are those of the variable TOOLS (comma-separated, default opencode,omp) that are found on this host. --tool or \
DEFAULT_TOOL takes one without asking.

Exit codes: 1 no such tool is there; else as ocs run.";

/// `ocs tui`.
#[derive(Args, Debug)]
#[command(after_help = TUI_HELP)]
pub struct TuiArgs {
    /// Which tool, without asking
    #[arg(long, value_name = "TOOL")]
    pub tool: Option<String>,
    /// The box.
    #[command(flatten)]
    pub fence: FenceArgs,
    /// Whether a person is asked.
    #[command(flatten)]
    pub asking: AskArgs,
    /// For the tool
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "ARGS"
    )]
    pub arguments: Vec<OsString>,
}

const RESET_HELP: &str = "\
Nothing of the project itself is touched. What is named .gitkeep stays.

Exit codes: 0 done or cancelled, 64 something runs, or nothing was named.";

/// `ocs reset`.
#[derive(Args, Debug)]
#[command(after_help = RESET_HELP)]
#[expect(clippy::struct_excessive_bools, reason = "one flag each, as typed")]
pub struct ResetArgs {
    /// The agent's own sessions (opencode-state)
    #[arg(long)]
    pub state: bool,
    /// What is made anew when it is needed: logs and what a build left
    #[arg(long)]
    pub cache: bool,
    /// Everything of this sandbox, its record and approvals included
    #[arg(long, conflicts_with_all = ["state", "cache"])]
    pub all: bool,
    /// Do not ask for the phrase
    #[arg(long)]
    pub destroy: bool,
}

fn port(text: &str) -> Result<Port, String> {
    Port::parse(text).map_err(|_| "a port, 1 to 65535".to_owned())
}
