//! One row of a case: what is tried, and how it must end.

use std::fmt;

use super::judge::Expect;
use crate::project::Decided;

/// What is tried, and how it must end.
#[derive(Debug, Clone)]
pub struct Row {
    /// What is tried.
    pub attack: Attack,
    /// How it must end.
    pub expect: Expect,
}

/// What `attack.py` does.
#[derive(Clone)]
pub enum Attack {
    /// CONNECT, then bytes inside.
    Inside {
        /// `host:port`.
        authority: String,
        /// Sent after the 200.
        bytes: Vec<u8>,
    },
    /// Bytes to the proxy.
    Raw(Vec<u8>),
    /// To an address, round the proxy.
    Round {
        /// `tcp` or `udp`.
        protocol: &'static str,
        /// An IP address.
        address: String,
        /// A port.
        port: u16,
        /// Sent once connected.
        bytes: Vec<u8>,
    },
    /// CONNECT, TLS and a GET inside.
    Tunnel {
        /// `host:port`.
        authority: String,
        /// `-` for none.
        sni: String,
    },
}

impl fmt::Debug for Attack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inside { authority, bytes } => {
                write!(f, "inside {authority}: {}", bytes.escape_ascii())
            }
            Self::Raw(bytes) => write!(f, "{}", bytes.escape_ascii()),
            Self::Round { .. } | Self::Tunnel { .. } => f.write_str(&self.words().join(" ")),
        }
    }
}

impl Attack {
    /// The words for `attack.py`.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        match self {
            Self::Inside { authority, bytes } => {
                vec!["inside".to_owned(), authority.clone(), hex(bytes)]
            }
            Self::Raw(bytes) => vec!["raw".to_owned(), hex(bytes)],
            Self::Round {
                protocol,
                address,
                port,
                bytes,
            } => vec![
                (*protocol).to_owned(),
                address.clone(),
                port.to_string(),
                hex(bytes),
            ],
            Self::Tunnel { authority, sni } => {
                vec!["tunnel".to_owned(), authority.clone(), sni.clone()]
            }
        }
    }

    /// It must be refused: exactly one record says so, and nothing was sent or asked.
    #[must_use]
    pub fn refused(self, host: &str, port: u16, reason: &str) -> Row {
        self.row(Expect::refused(host, port, reason))
    }

    /// It must be refused, but the allowed name may have been asked for.
    #[must_use]
    pub fn refused_after_a_lookup(self, host: &str, port: u16, reason: &str) -> Row {
        self.row(Expect::refused(host, port, reason).after_asking(host))
    }

    /// It must be refused by the rules themselves, and stand on record as packets.
    #[must_use]
    pub fn dropped(self, protocol: &str, address: &str, port: u16) -> Row {
        self.row(Expect::Refused {
            decided: Decided::packet(protocol, address, port.into()),
            may_ask: None,
        })
    }

    /// It must be a 400, the connection closed, exactly one record, and nothing sent or asked.
    #[must_use]
    pub fn malformed(self) -> Row {
        self.row(Expect::Malformed)
    }

    /// It must reach this host and no other.
    #[must_use]
    pub fn passes(self, host: &str, port: u16) -> Row {
        self.row(Expect::Passes {
            host: host.to_owned(),
            port,
        })
    }

    fn row(self, expect: Expect) -> Row {
        Row {
            attack: self,
            expect,
        }
    }
}

/// A GET in absolute form, with the `Host` that belongs to it.
#[must_use]
pub fn get(url: &str) -> Attack {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = rest.split('/').next().unwrap_or_default();
    raw(&format!(
        "GET {url} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    ))
}

/// A CONNECT and nothing after it.
#[must_use]
pub fn connect(authority: &str) -> Attack {
    raw(&format!(
        "CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n"
    ))
}

/// Bytes to the proxy.
#[must_use]
pub fn raw(bytes: &(impl AsRef<[u8]> + ?Sized)) -> Attack {
    Attack::Raw(bytes.as_ref().to_vec())
}

/// A tunnel with TLS for its own host inside.
#[must_use]
pub fn tunnel(authority: &str) -> Attack {
    let host = authority
        .rsplit_once(':')
        .map_or(authority, |(host, _)| host);
    tunnel_as(authority, host)
}

/// A tunnel with TLS for this SNI inside; `-` for none.
#[must_use]
pub fn tunnel_as(authority: &str, sni: &str) -> Attack {
    Attack::Tunnel {
        authority: authority.to_owned(),
        sni: sni.to_owned(),
    }
}

/// A tunnel with these bytes inside.
#[must_use]
pub fn inside(authority: &str, bytes: &(impl AsRef<[u8]> + ?Sized)) -> Attack {
    Attack::Inside {
        authority: authority.to_owned(),
        bytes: bytes.as_ref().to_vec(),
    }
}

/// Round the proxy, over TCP.
#[must_use]
pub fn tcp(address: &str, port: u16, bytes: &(impl AsRef<[u8]> + ?Sized)) -> Attack {
    round("tcp", address, port, bytes.as_ref())
}

/// Round the proxy, over UDP.
#[must_use]
pub fn udp(address: &str, port: u16, bytes: &(impl AsRef<[u8]> + ?Sized)) -> Attack {
    round("udp", address, port, bytes.as_ref())
}

fn round(protocol: &'static str, address: &str, port: u16, bytes: &[u8]) -> Attack {
    Attack::Round {
        protocol,
        address: address.to_owned(),
        port,
        bytes: bytes.to_vec(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
