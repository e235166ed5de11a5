//! `ocs task`: what can be typed.
use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use super::SandboxArgs;

const TASK_HELP: &str = "\
stdout is one JSON document, whatever happens: ok, exit_code, timed_out, result, session, events, duration_ms, refused, \
changed_files, tokens, error, run, record. Everything else goes to stderr.

Without TEXT and --file the task is that of $TASK_FILE, then of $TASK. A TEXT of others belongs behind --, or on stdin: \
printf %s \"$TEXT\" | ocs task -

Exit codes: 0 done, 124 timeout (everything of it is gone), 64 wrong usage or config, 69 and 70 no fence, otherwise the agent's.";

/// `ocs task`.
#[derive(Args, Clone, Debug)]
#[command(after_help = TASK_HELP)]
#[expect(clippy::struct_excessive_bools, reason = "one flag each, as typed")]
pub struct TaskArgs {
    /// What is to be done; - reads it from stdin
    #[arg(value_name = "TEXT", conflicts_with = "file")]
    pub text: Option<OsString>,
    /// Read what is to be done from this file
    #[arg(long, short, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Seconds that it may take
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=604_800))]
    pub timeout: u64,
    /// The box, and of which config.
    #[command(flatten)]
    pub sandbox: SandboxArgs,
    /// The agent's program; the config says for every run
    #[arg(long, value_name = "TOOL")]
    pub tool: Option<String>,
    /// Let `observe`, which passes every public destination, run with nobody watching
    #[arg(long)]
    pub allow_observe: bool,
    /// Give it to the server that runs (ocs conductor, ocs start): nothing is brought up for it
    #[arg(long, conflicts_with_all = ["engine", "mode", "config", "tool", "keep", "session", "agent_args", "allow_observe"])]
    pub attach: bool,
    /// Keep the agent's own state and the task's files
    #[arg(long)]
    pub keep: bool,
    /// Go on with the conversation of this name, or begin one that can be gone on with
    #[arg(long, value_name = "NAME", conflicts_with = "keep")]
    pub session: Option<String>,
    /// A word more for the agent's command line; may be given more than once
    #[arg(long = "agent-arg", value_name = "ARG", allow_hyphen_values = true)]
    pub agent_args: Vec<String>,
    /// The default: one JSON document
    #[arg(long)]
    pub json: bool,
}
