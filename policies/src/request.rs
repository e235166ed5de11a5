//! What a client asks for, free of any HTTP library.
//!
//! Clauses: P5.

use serde::{Deserialize, Serialize};

use crate::Destination;

/// The way a client took to the proxy; the verdict depends on it only through what the connection must carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Via {
    /// `CONNECT host:port`.
    Connect,
    /// An absolute-form request, `GET http://host/`.
    Http,
    /// A captured connection that opened with plain HTTP.
    CapturedHttp,
    /// A captured connection that opened with neither TLS nor HTTP, or whose server speaks first.
    CapturedTcp,
    /// A captured connection that opened with a ClientHello.
    CapturedTls,
}

impl Via {
    /// Every way, for tables and tests.
    pub const ALL: [Self; 5] = [
        Self::Connect,
        Self::Http,
        Self::CapturedHttp,
        Self::CapturedTcp,
        Self::CapturedTls,
    ];

    /// The stable code that the record shows.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Http => "http",
            Self::CapturedHttp => "captured-http",
            Self::CapturedTcp => "captured-tcp",
            Self::CapturedTls => "captured-tls",
        }
    }
}

/// One request to judge.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Request {
    /// Where to.
    pub destination: Destination,
    /// Which way it came.
    pub via: Via,
}
