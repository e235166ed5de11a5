//! Finds the process behind a connection, where it can be told.
//!
//! Clauses: R1

use std::net::SocketAddr;

use policies::audit::Process;

/// Asks the kernel which process holds a socket in the agent's namespace.
#[derive(Debug, Default)]
pub struct Processes {}

impl Processes {
    /// The process whose socket is connected from `client` to `local`; unknown where it cannot be told.
    #[expect(clippy::unused_async, reason = "nothing is asked yet")]
    pub async fn find(&self, _client: SocketAddr, _local: SocketAddr) -> Process {
        Process::UNKNOWN
    }
}
