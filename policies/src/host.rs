//! Hosts and ports, parsed once: a text is canonical or it is refused, it is never repaired.
//!
//! Only two repairs exist, because they change no meaning: letters become lower case, one trailing dot is dropped.
//! Not responsible for what a host may do (`decide.rs`) or for which addresses are public (`address.rs`).
//! Clauses: P3, P4.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU16;
use std::sync::Arc;

/// The longest name in text form without its trailing dot. RFC 1035 section 2.3.4 (255 octets on the wire).
const MAX_NAME: usize = 253;
/// The longest label. RFC 1035 section 2.3.4.
const MAX_LABEL: usize = 63;

/// Why a text is no host, port or authority; the text itself is not repeated, it may be hostile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// Nothing stands there.
    #[error("the host is empty")]
    Empty,
    /// Two dots follow each other, or a dot stands first.
    #[error("the host has an empty label")]
    EmptyLabel,
    /// A label is longer than DNS can carry.
    #[error("a label is longer than 63 characters")]
    LongLabel,
    /// The name is longer than DNS can carry.
    #[error("the host is longer than 253 characters")]
    LongName,
    /// A character that no host name has: NUL, space, control, `%`, `/`, and others.
    #[error("the host has a character that is not a letter, digit, `-`, `_` or `.`")]
    Character,
    /// A letter beyond ASCII; names are wanted in their `xn--` form.
    #[error("the host has a character beyond ASCII; its A-label (`xn--`) form is wanted")]
    NotAscii,
    /// The last label is a number, and the whole is not a strict dotted quad.
    #[error("a host that ends in a number must be an IPv4 address of four decimal parts")]
    Number,
    /// Brackets that do not hold a plain IPv6 address.
    #[error("brackets must hold an IPv6 address, without a zone")]
    Brackets,
    /// `user@` in front of the host.
    #[error("user information is not allowed in front of a host")]
    UserInfo,
    /// The port is absent where one is needed.
    #[error("the port is missing")]
    PortMissing,
    /// The port is not a plain decimal number from 1 to 65535.
    #[error("the port is not a plain number from 1 to 65535")]
    Port,
}

/// A DNS name in canonical form: lower-case ASCII, no trailing dot, never an address. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DnsName(Arc<str>);

impl DnsName {
    /// Parses a name.
    ///
    /// # Errors
    /// [`HostError`] for all that is not a name; an IPv4 address is [`HostError::Number`].
    pub fn parse(text: &str) -> Result<Self, HostError> {
        let name = checked_name(text)?;
        if ends_in_number(name) {
            return Err(HostError::Number);
        }
        if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Ok(Self(Arc::from(name.to_ascii_lowercase())));
        }
        Ok(Self(Arc::from(name)))
    }

    /// The canonical text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The labels, left to right.
    pub fn labels(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('.')
    }
}

impl fmt::Display for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DnsName({})", self.0)
    }
}

/// The text without its one trailing dot, once every character and length is right.
fn checked_name(text: &str) -> Result<&str, HostError> {
    if text.is_empty() {
        return Err(HostError::Empty);
    }
    if !text.is_ascii() {
        return Err(HostError::NotAscii);
    }
    let name = text.strip_suffix('.').unwrap_or(text);
    let mut label = 0_usize;
    for byte in name.bytes() {
        match byte {
            b'.' if label == 0 => return Err(HostError::EmptyLabel),
            b'.' => label = 0,
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => label += 1,
            b'@' => return Err(HostError::UserInfo),
            b'[' | b']' => return Err(HostError::Brackets),
            _ => return Err(HostError::Character),
        }
        if label > MAX_LABEL {
            return Err(HostError::LongLabel);
        }
    }
    if label == 0 {
        return Err(HostError::EmptyLabel);
    }
    if name.len() > MAX_NAME {
        return Err(HostError::LongName);
    }
    Ok(name)
}

/// Whether some reader could take the name for an IPv4 address: its last label is decimal, octal or `0x` hexadecimal.
fn ends_in_number(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    if last.bytes().all(|byte| byte.is_ascii_digit()) {
        return true;
    }
    let hex = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    hex.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// A host: a name, or an address written as one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Host {
    /// An IP literal.
    Address(IpAddr),
    /// A name.
    Name(DnsName),
}

impl Host {
    /// Parses a name, a strict dotted quad, or an IPv6 address in brackets.
    ///
    /// # Errors
    /// [`HostError`] for anything else.
    pub fn parse(text: &str) -> Result<Self, HostError> {
        if let Some(rest) = text.strip_prefix('[') {
            let inner = rest.strip_suffix(']').ok_or(HostError::Brackets)?;
            let address: Ipv6Addr = inner.parse().map_err(|_| HostError::Brackets)?;
            return Ok(Self::Address(IpAddr::V6(address)));
        }
        let name = checked_name(text)?;
        if ends_in_number(name) {
            // The text and not `name`: an address has no trailing dot.
            let address: Ipv4Addr = text.parse().map_err(|_| HostError::Number)?;
            return Ok(Self::Address(IpAddr::V4(address)));
        }
        DnsName::parse(text).map(Self::Name)
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(IpAddr::V4(address)) => write!(f, "{address}"),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
            Self::Name(name) => write!(f, "{name}"),
        }
    }
}

/// A TCP port; zero is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Port(NonZeroU16);

impl Port {
    /// Plain HTTP. RFC 9110 section 4.2.1.
    pub const HTTP: Self = match NonZeroU16::new(80) {
        Some(port) => Self(port),
        None => Self(NonZeroU16::MIN),
    };
    /// HTTP over TLS. RFC 9110 section 4.2.2.
    pub const HTTPS: Self = match NonZeroU16::new(443) {
        Some(port) => Self(port),
        None => Self(NonZeroU16::MIN),
    };

    /// A port from its number; `None` for 0.
    #[must_use]
    pub fn new(number: u16) -> Option<Self> {
        NonZeroU16::new(number).map(Self)
    }

    /// Parses plain decimal digits without sign, space or leading zero.
    ///
    /// # Errors
    /// [`HostError::Port`] for anything else.
    pub fn parse(text: &str) -> Result<Self, HostError> {
        let plain = !text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = if plain { text.parse().ok() } else { None };
        number.and_then(Self::new).ok_or(HostError::Port)
    }

    /// The number, 1 to 65535.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0.get()
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Where a request wants to go. Shown as `host:port`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Destination {
    /// The host as the client named it.
    pub host: Host,
    /// The port.
    pub port: Port,
}

impl Destination {
    /// Parses an authority: `host`, `host:port`, `[v6]` or `[v6]:port`; `default` stands for an absent port.
    ///
    /// # Errors
    /// [`HostError`]; an absent port without a default is [`HostError::PortMissing`].
    pub fn parse_authority(text: &str, default: Option<Port>) -> Result<Self, HostError> {
        if text.contains('@') {
            return Err(HostError::UserInfo);
        }
        // A colon inside brackets belongs to the address.
        let host_end = text.find(']').map_or(0, |at| at + 1);
        let colon = text.get(host_end..).and_then(|rest| rest.find(':'));
        let (host, port) = match colon.and_then(|at| text.split_at_checked(host_end + at)) {
            Some((host, port)) => (host, Some(Port::parse(port.get(1..).unwrap_or(""))?)),
            None => (text, default),
        };
        let host = Host::parse(host)?;
        let port = port.ok_or(HostError::PortMissing)?;
        Ok(Self { host, port })
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests;
