//! Every bound of the proxy, in one struct: sizes, counts and waits.
//!
//! Not here: what is allowed (policies), and the DNS stub's own table (`dns_stub.rs`).
//! Clauses: W8

use std::time::Duration;

/// What the proxy never exceeds, whoever asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Client connections served at once; the next one is answered 503.
    pub connections: usize,
    /// From a connection's start, or a request's first byte, to the end of its head.
    pub head_timeout: Duration,
    /// From the 200 to the end of the ClientHello.
    pub hello_timeout: Duration,
    /// For the first byte of a redirected connection that nothing it could say makes allowed.
    pub hopeless_timeout: Duration,
    /// For the first byte of a redirected connection to an address that we never issued, on a port that is open to some name.
    pub silence_timeout: Duration,
    /// For a name's addresses to be found.
    pub lookup_timeout: Duration,
    /// For all addresses of one destination together.
    pub connect_timeout: Duration,
    /// Without one byte in either direction.
    pub idle_timeout: Duration,
    /// Between two requests of a kept-alive connection.
    pub keep_alive: Duration,
    /// After SIGTERM, for what is open to end by itself.
    pub drain_timeout: Duration,
    /// After a refusal, for the client to read it while its bytes are discarded.
    pub linger_timeout: Duration,
    /// Request line and header lines of one request, with the blank line.
    pub head_bytes: usize,
    /// Status line and header lines of one response, with the blank line.
    pub response_head_bytes: usize,
    /// Interim (1xx) responses before the final one.
    pub interim_responses: usize,
    /// Bytes read to find the end of a ClientHello.
    pub hello_bytes: usize,
    /// Pairs of pipes kept for splice(2); a tunnel that gets none copies.
    pub pipes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,                    // docs/policy-file.md, limits.connections
            head_timeout: Duration::from_secs(10),  // docs/policy-file.md, limits.head-timeout
            hello_timeout: Duration::from_secs(10), // as the head: it is the tunnel's head
            hopeless_timeout: Duration::from_millis(30), // refused in under 50 ms, in words if it speaks
            // A first flight that was lost twice, RFC 6298 section 2: 1 s and then 2 s.
            silence_timeout: Duration::from_secs(3),
            lookup_timeout: Duration::from_secs(5), // resolv.conf(5), "timeout"
            connect_timeout: Duration::from_secs(10), // docs/policy-file.md, limits.connect-timeout
            idle_timeout: Duration::from_secs(3600), // a long poll of 30 minutes must live
            keep_alive: Duration::from_secs(120),   // what clients keep a pool for, rounded up
            drain_timeout: Duration::from_secs(10), // what container engines wait before SIGKILL
            linger_timeout: Duration::from_secs(1), // loopback round trips, many times over
            head_bytes: 64 * 1024,                  // four times curl's longest usual header
            response_head_bytes: 64 * 1024,         // as the request's
            interim_responses: 16,                  // 100, 102, 103 and some to spare
            hello_bytes: 64 * 1024,                 // rustls' own bound for a handshake message
            pipes: 64,                              // 64 KiB of kernel memory each
        }
    }
}
