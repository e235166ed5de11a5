//! `--ask` and `ocs approve`: what can be typed.
use std::path::PathBuf;

use clap::{Args, value_parser};

/// Whether refused requests wait for a person.
#[derive(Args, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AskArgs {
    /// Let a refused request wait, 30 s if not said otherwise, for what a person says to `ocs approve` in another terminal
    #[arg(
        long,
        value_name = "SECONDS",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "30",
        value_parser = value_parser!(u64).range(1..=300)
    )]
    pub ask: Option<u64>,
}

const ANSWER_HELP: &str = "\
Shows what the project's running sandboxes were refused, if they were started with --ask, and takes an answer to each: once \
(the requests that wait), run (until the run ends), always (written to the config, and approved) or deny. It opens that name \
on that port and nothing else.

Exit codes: 0 the runs ended, or input did; 1 no run asks; 64 nobody is there to answer.";

/// `ocs approve`.
#[derive(Args, Debug)]
#[command(after_help = ANSWER_HELP)]
pub struct AnswerArgs {
    /// Show the questions as they are now, and answer none
    #[arg(long)]
    pub list: bool,
    /// The same as one JSON document
    #[arg(long, requires = "list")]
    pub json: bool,
    /// The config that the run was started with, where it is not the project's own
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}
