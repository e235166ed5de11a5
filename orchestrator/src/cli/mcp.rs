//! `ocs mcp`: what can be typed.
use clap::Args;

use super::SandboxArgs;

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
    /// The box, and of which config.
    #[command(flatten)]
    pub sandbox: SandboxArgs,
}
