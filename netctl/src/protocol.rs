//! What `ocs-netctl hold` says and hears, as data: the lines on its stdout and the messages on its unix connection.
//! The contract is `docs/architecture.md`, "How listeners cross"; the proxy has its own reading of it.
//!
//! Not here: how messages and descriptors travel (`hold`).

use serde::{Deserialize, Serialize};

/// The version of every message here.
pub const VERSION: u32 = 1;

/// The one line on stdout that tells the starter how bring-up went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Status {
    /// The rules stand, were read back equal, and every capability is gone.
    Ready {
        /// [`VERSION`].
        v: u32,
        /// The holder, in the pid namespace of the starter.
        pid: u32,
        /// Whether the namespace speaks IPv6.
        ipv6: bool,
    },
    /// Nothing stands, and the exit code says whose fault it is.
    Failed {
        /// [`VERSION`].
        v: u32,
        /// What failed, and what to type where that is known.
        error: String,
        /// How the live ruleset differs from the plan; empty where it was never reached.
        differences: Vec<String>,
    },
}

/// A descriptor's name in [`Reply::Sockets`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SocketName {
    /// Proxy-aware clients, 127.0.0.1.
    Explicit4,
    /// Proxy-aware clients, `::1`.
    Explicit6,
    /// Redirected TCP, IPv4.
    Capture4,
    /// Redirected TCP, IPv6.
    Capture6,
    /// DNS over UDP, IPv4.
    DnsUdp4,
    /// DNS over UDP, IPv6.
    DnsUdp6,
    /// DNS over TCP, IPv4.
    DnsTcp4,
    /// DNS over TCP, IPv6.
    DnsTcp6,
    /// The kernel's log of what it rejected.
    Nflog,
    /// Answers which socket belongs to whom.
    SockDiag,
}

/// What the holder sends over the connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Reply {
    /// The descriptors beside this message, in this order.
    Sockets {
        /// [`VERSION`].
        v: u32,
        /// Which descriptor is which.
        names: Vec<SocketName>,
    },
    /// One descriptor: the connection that was asked for.
    Dialled {
        /// [`VERSION`].
        v: u32,
        /// The request's id.
        id: u64,
    },
    /// No connection.
    Refused {
        /// [`VERSION`].
        v: u32,
        /// The request's id.
        id: u64,
        /// Why.
        error: String,
    },
}

/// What the holder hears over the connection after the spec.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Ask {
    /// Connect to a published port inside the namespace.
    Dial {
        /// [`VERSION`].
        v: u32,
        /// Comes back with the answer.
        id: u64,
        /// A port that the spec publishes.
        port: u16,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_spelled_as_architecture_md_has_them() {
        let spelled = |value: &dyn Fn() -> serde_json::Result<String>| value().unwrap();
        let sockets = Reply::Sockets {
            v: VERSION,
            names: vec![
                SocketName::Explicit4,
                SocketName::DnsUdp6,
                SocketName::SockDiag,
            ],
        };
        let ready = Status::Ready {
            v: VERSION,
            pid: 123,
            ipv6: true,
        };
        assert_eq!(
            [
                spelled(&|| serde_json::to_string(&sockets)),
                spelled(&|| serde_json::to_string(&Reply::Dialled { v: VERSION, id: 7 })),
                spelled(&|| serde_json::to_string(&ready)),
            ],
            [
                r#"{"kind":"sockets","v":1,"names":["explicit4","dns-udp6","sock-diag"]}"#,
                r#"{"kind":"dialled","v":1,"id":7}"#,
                r#"{"kind":"ready","v":1,"pid":123,"ipv6":true}"#,
            ]
        );
        assert_eq!(
            serde_json::from_str::<Ask>(r#"{"v":1,"kind":"dial","id":7,"port":4096}"#).unwrap(),
            Ask::Dial {
                v: 1,
                id: 7,
                port: 4096
            }
        );
    }

    #[test]
    fn a_message_with_an_unknown_field_is_refused() {
        assert!(
            serde_json::from_str::<Ask>(
                r#"{"v":1,"kind":"dial","id":7,"port":4096,"address":"10.0.0.1"}"#
            )
            .is_err()
        );
    }
}
