//! `ocs autonomous`: what can be typed.
use std::path::PathBuf;

use clap::Args;

use super::SandboxArgs;

const AUTONOMOUS_HELP: &str = "\
The agent is to write docs/plan.md, docs/development_cycle_N.md and, when it is done, docs/final_report.md. What came of each round \
is in a log of ours, and copied to logs/autonomous.log of the project; stdout is one JSON document at the end. Called again after it \
was ended or killed, it goes on where it was; after the end, it begins anew.

Exit codes: 0 done, 1 not done after --rounds, 124 the time is over, 64, 69 and 70 as for every command, otherwise that of a round \
that failed three times.";

/// `ocs autonomous`.
#[derive(Args, Clone, Debug)]
#[command(after_help = AUTONOMOUS_HELP)]
pub struct AutonomousArgs {
    /// What is to be worked on (or the variable `TASK_FILE`)
    #[arg(long, short, value_name = "SPEC.md")]
    pub file: Option<PathBuf>,
    /// Seconds that this start may take
    #[arg(long, value_name = "SECONDS", default_value_t = 604_800, value_parser = clap::value_parser!(u64).range(1..=604_800))]
    pub timeout: u64,
    /// Seconds that one round may take
    #[arg(long, value_name = "SECONDS", default_value_t = 3_600, value_parser = clap::value_parser!(u64).range(1..=604_800))]
    pub round_timeout: u64,
    /// The most rounds, those of earlier starts included
    #[arg(long, value_name = "N", default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..))]
    pub rounds: u32,
    /// The box, and of which config.
    #[command(flatten)]
    pub sandbox: SandboxArgs,
    /// The agent's program; the config says where this does not
    #[arg(long, value_name = "TOOL")]
    pub tool: Option<String>,
    /// Let `observe`, which passes every public destination, run with nobody watching
    #[arg(long)]
    pub allow_observe: bool,
}
