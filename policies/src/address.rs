//! Which addresses are public: the IANA registries of special-purpose addresses, v4 inside v6, metadata services.
//!
//! The bias is to refusal: of v6 only what is allocated as global unicast passes, and of the registries' rows that are
//! globally reachable none that serves no origin is let through.
//! Not responsible for what a file lists besides (`pin.rs`).
//! Clauses: P6.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

/// One row: a range that is not dialled unless it is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block<N> {
    /// The range.
    pub net: N,
    /// Its name in the registry.
    pub name: &'static str,
    /// The document that says so.
    pub source: &'static str,
}

const fn v4(
    address: [u8; 4],
    prefix: u8,
    name: &'static str,
    source: &'static str,
) -> Block<Ipv4Net> {
    let [a, b, c, d] = address;
    let net = Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix);
    Block { net, name, source }
}

const fn v6(
    address: [u16; 8],
    prefix: u8,
    name: &'static str,
    source: &'static str,
) -> Block<Ipv6Net> {
    let [a, b, c, d, e, f, g, h] = address;
    let net = Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, e, f, g, h), prefix);
    Block { net, name, source }
}

/// The IANA IPv4 Special-Purpose Address Registry, rows that are not globally reachable, and multicast.
/// <https://www.iana.org/assignments/iana-ipv4-special-registry>
pub const SPECIAL_V4: [Block<Ipv4Net>; 16] = [
    v4([0, 0, 0, 0], 8, "this network", "RFC 791 section 3.2"),
    v4([10, 0, 0, 0], 8, "private use", "RFC 1918"),
    v4([100, 64, 0, 0], 10, "shared address space", "RFC 6598"),
    v4([127, 0, 0, 0], 8, "loopback", "RFC 1122 section 3.2.1.3"),
    v4([169, 254, 0, 0], 16, "link local", "RFC 3927"),
    v4([172, 16, 0, 0], 12, "private use", "RFC 1918"),
    v4(
        [192, 0, 0, 0],
        24,
        "IETF protocol assignments",
        "RFC 6890 section 2.1",
    ),
    v4([192, 0, 2, 0], 24, "documentation (TEST-NET-1)", "RFC 5737"),
    v4(
        [192, 88, 99, 0],
        24,
        "deprecated 6to4 relay anycast",
        "RFC 7526",
    ),
    v4([192, 168, 0, 0], 16, "private use", "RFC 1918"),
    v4([198, 18, 0, 0], 15, "benchmarking", "RFC 2544"),
    v4(
        [198, 51, 100, 0],
        24,
        "documentation (TEST-NET-2)",
        "RFC 5737",
    ),
    v4(
        [203, 0, 113, 0],
        24,
        "documentation (TEST-NET-3)",
        "RFC 5737",
    ),
    v4([224, 0, 0, 0], 4, "multicast", "RFC 5771"),
    v4([240, 0, 0, 0], 4, "reserved", "RFC 1112 section 4"),
    v4([255, 255, 255, 255], 32, "limited broadcast", "RFC 8190"),
];

/// The IANA IPv6 Special-Purpose Address Registry, rows that are not globally reachable or carry an IPv4 address;
/// deprecated and multicast ranges. <https://www.iana.org/assignments/iana-ipv6-special-registry>
pub const SPECIAL_V6: [Block<Ipv6Net>; 21] = [
    v6(
        [0, 0, 0, 0, 0, 0, 0, 0],
        128,
        "unspecified address",
        "RFC 4291",
    ),
    v6(
        [0, 0, 0, 0, 0, 0, 0, 1],
        128,
        "loopback address",
        "RFC 4291",
    ),
    v6(
        [0, 0, 0, 0, 0, 0, 0, 0],
        96,
        "IPv4-compatible, deprecated",
        "RFC 4291 section 2.5.5.1",
    ),
    v6([0, 0, 0, 0, 0, 0xffff, 0, 0], 96, "IPv4-mapped", "RFC 4291"),
    v6(
        [0x64, 0xff9b, 1, 0, 0, 0, 0, 0],
        48,
        "IPv4-IPv6 translation, local use",
        "RFC 8215",
    ),
    v6([0x100, 0, 0, 0, 0, 0, 0, 0], 64, "discard only", "RFC 6666"),
    v6([0x100, 0, 0, 1, 0, 0, 0, 0], 64, "dummy prefix", "RFC 9780"),
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 32, "Teredo", "RFC 4380"),
    v6(
        [0x2001, 2, 0, 0, 0, 0, 0, 0],
        48,
        "benchmarking",
        "RFC 5180",
    ),
    v6(
        [0x2001, 0x10, 0, 0, 0, 0, 0, 0],
        28,
        "ORCHID, deprecated",
        "RFC 4843",
    ),
    v6(
        [0x2001, 0x20, 0, 0, 0, 0, 0, 0],
        28,
        "ORCHIDv2: identifiers, not locators",
        "RFC 7343",
    ),
    v6(
        [0x2001, 0, 0, 0, 0, 0, 0, 0],
        23,
        "IETF protocol assignments",
        "RFC 2928",
    ),
    v6(
        [0x2001, 0xdb8, 0, 0, 0, 0, 0, 0],
        32,
        "documentation",
        "RFC 3849",
    ),
    v6(
        [0x2002, 0, 0, 0, 0, 0, 0, 0],
        16,
        "6to4",
        "RFC 3056, RFC 7526",
    ),
    v6(
        [0x3fff, 0, 0, 0, 0, 0, 0, 0],
        20,
        "documentation",
        "RFC 9637",
    ),
    v6(
        [0x5f00, 0, 0, 0, 0, 0, 0, 0],
        16,
        "segment routing identifiers",
        "RFC 9602",
    ),
    v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, "unique local", "RFC 4193"),
    v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, "link local", "RFC 4291"),
    v6(
        [0xfec0, 0, 0, 0, 0, 0, 0, 0],
        10,
        "site local, deprecated",
        "RFC 3879",
    ),
    v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8, "multicast", "RFC 4291"),
    // Longest match is not needed: whichever row is found first refuses.
    v6(
        [0, 0, 0, 0, 0, 0, 0, 0],
        8,
        "reserved by the IETF",
        "RFC 4291 section 4",
    ),
];

/// The only v6 space from which addresses are given to hosts of the internet. RFC 4291 section 4, and
/// <https://www.iana.org/assignments/ipv6-address-space>
const GLOBAL_UNICAST: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);
/// IPv4-IPv6 translation, well-known prefix: public when the address inside is. RFC 6052 section 2.1
const NAT64: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96);
/// IPv4-IPv6 translation, local use. RFC 8215
const NAT64_LOCAL: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, 0, 0), 48);
/// Teredo. RFC 4380 section 4
const TEREDO: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 32);
/// 6to4. RFC 3056 section 2
const SIX_TO_FOUR: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16);

/// Where clouds answer a machine's questions about itself, credentials included. No list opens them to a name.
pub const METADATA: [IpAddr; 10] = [
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)), // Alibaba Cloud
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)), // Azure's wire server: a public address by the registry
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)), // AWS, Azure, Google, Oracle, OpenStack and others
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 2)),   // AWS ECS task credentials
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 23)),  // AWS EKS pod identity
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),     // Oracle Cloud Classic
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42)), // Scaleway
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23)), // AWS EKS pod identity
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)), // AWS
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)), // Google Cloud
];

/// Whether an address may be dialled for a name without being listed.
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    why_not_public(address).is_none()
}

/// Why an address is not public: the registry's name for its range. `None` if it is public.
#[must_use]
pub fn why_not_public(address: IpAddr) -> Option<&'static str> {
    if is_metadata(address) {
        return Some("cloud metadata service");
    }
    match address {
        IpAddr::V4(address) => {
            let row = SPECIAL_V4.iter().find(|row| row.net.contains(&address));
            row.map(|row| row.name)
        }
        IpAddr::V6(address) if NAT64.contains(&address) => {
            embedded(address).and_then(|inside| why_not_public(IpAddr::V4(inside)))
        }
        IpAddr::V6(address) => {
            let row = SPECIAL_V6.iter().find(|row| row.net.contains(&address));
            match row {
                Some(row) => Some(row.name),
                None if GLOBAL_UNICAST.contains(&address) => None,
                None => Some("not allocated as global unicast"),
            }
        }
    }
}

/// Whether an address is a cloud's metadata service, also when it is written inside a v6 address.
#[must_use]
pub fn is_metadata(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => METADATA.contains(&address),
        IpAddr::V6(inner) => {
            METADATA.contains(&address)
                || embedded(inner).is_some_and(|inside| METADATA.contains(&IpAddr::V4(inside)))
        }
    }
}

/// Whether nothing can answer at an address as a single machine: listing it is a mistake.
#[must_use]
pub fn is_nobody(address: IpAddr) -> bool {
    let canonical = match address {
        IpAddr::V6(inner) => embedded(inner).map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    };
    let alone = |address: IpAddr| match address {
        IpAddr::V4(v4) => v4.octets().first() == Some(&0) || v4.is_multicast() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_unspecified() || v6.is_multicast(),
    };
    alone(address) || (alone(canonical) && address != IpAddr::V6(Ipv6Addr::LOCALHOST))
}

/// Why the file must not list an address as an endpoint, though endpoints may be private.
#[must_use]
pub fn why_not_listed(address: IpAddr) -> Option<&'static str> {
    if is_metadata(address) {
        return Some("a cloud's metadata service");
    }
    if is_nobody(address) {
        return Some("an address that no single machine has");
    }
    let plain = match address {
        IpAddr::V6(inner) => embedded(inner).map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    };
    plain
        .is_loopback()
        .then_some("the sandbox itself, not the host")
}

/// Whether an address lies in a local network or on the machine: what an `llm-endpoints` name may lead to.
#[must_use]
pub fn is_lan(address: IpAddr) -> bool {
    if is_metadata(address) {
        return false;
    }
    match address {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            // Shared address space carries overlay networks, where model servers are.
            v4.is_private() || v4.is_loopback() || (a == 100 && (64..128).contains(&b))
        }
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local(),
    }
}

/// The IPv4 address inside a v6 address, for every way of putting one there.
#[must_use]
pub fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let low = |shift: u32| Ipv4Addr::from_bits(low_bits(address.to_bits() >> shift));
    if let Some(mapped) = address.to_ipv4_mapped() {
        return Some(mapped);
    }
    if NAT64.contains(&address) {
        return Some(low(0));
    }
    if NAT64_LOCAL.contains(&address) {
        // RFC 6052 section 2.2, a prefix of 48 bits: 16 bits, 8 bits that are zero, 16 bits.
        let bits = address.to_bits();
        let (high, rest) = (low_bits(bits >> 64) & 0xffff, low_bits(bits >> 40) & 0xffff);
        let sliced = Ipv4Addr::from_bits(high << 16 | rest);
        // Some translators put it at the end instead, as behind a prefix of 96 bits.
        return Some(if sliced.is_unspecified() {
            low(0)
        } else {
            sliced
        });
    }
    if SIX_TO_FOUR.contains(&address) {
        return Some(low(80));
    }
    if TEREDO.contains(&address) {
        // The client's address stands there with every bit turned.
        return Some(Ipv4Addr::from_bits(!low(0).to_bits()));
    }
    let segments = address.segments();
    match segments {
        // IPv4-compatible; `::` and `::1` are addresses of their own.
        [0, 0, 0, 0, 0, 0, high, low_half] if high != 0 || low_half > 1 => Some(low(0)),
        // ISATAP, RFC 5214 section 6.1; the universal bit may be set.
        [_, _, _, _, 0 | 0x200, 0x5efe, _, _] => Some(low(0)),
        _ => None,
    }
}

/// The low 32 bits.
fn low_bits(bits: u128) -> u32 {
    u32::try_from(bits & 0xffff_ffff).unwrap_or(0)
}

#[cfg(test)]
mod tests;
