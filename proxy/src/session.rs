//! Serves one client connection, from its first byte to its last.
//!
//! Clauses: W6

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpStream;

use crate::app::App;
use crate::capture::CapturedDestination;

/// Serves a client that speaks to the proxy.
#[expect(clippy::unused_async, reason = "nothing is served yet")]
pub async fn run_explicit(stream: TcpStream, _peer: SocketAddr, _app: Arc<App>) {
    drop(stream);
}

/// Serves a client that was redirected to the proxy.
#[expect(clippy::unused_async, reason = "nothing is served yet")]
pub async fn run_captured(
    stream: TcpStream,
    _peer: SocketAddr,
    _destination: CapturedDestination,
    _app: Arc<App>,
) {
    drop(stream);
}
