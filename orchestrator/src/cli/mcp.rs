//! `ocs mcp`: what can be typed.
use std::path::PathBuf;

use clap::Args;

use super::{Engine, Mode};

const MCP_HELP: &str = "\
Without --http it speaks on stdin and stdout, for a client that starts it:
  claude mcp add ocs -- ocs mcp
With --http it serves http://ADDR/mcp on the host's loopback. Its bearer token is made at first use, in the file that is named at \
the start, and never shown.

Tools: run_in_sandbox, delegate_task, abort_task, read_project_file, list_project_files, get_project_status, \
get_refused_requests.";

/// `ocs mcp`.
#[derive(Args, Clone, Debug)]
#[command(after_help = MCP_HELP)]
pub struct McpArgs {
    /// Serve streamable HTTP on this address of the loopback
    #[arg(long, value_name = "ADDR", num_args = 0..=1, default_missing_value = "127.0.0.1:8443")]
    pub http: Option<String>,
    /// What builds the boxes
    #[arg(long, value_name = "ENGINE", value_enum, default_value_t = Engine::Auto)]
    pub engine: Engine,
    /// How much of the network the tasks get; the config says for every run
    #[arg(long, value_name = "MODE", value_enum)]
    pub mode: Option<Mode>,
    /// Another config in place of the project's own
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}
