//! Counts every flow that comes over the wire, in the kernel, so that none is missed whatever the load.

use std::collections::BTreeSet;
use std::net::IpAddr;

use anyhow::{Context, Result};
use serde_json::Value;

use super::links::run;
use crate::spec::Flow;

/// Neighbour discovery and listener reports are the link's own talk, not traffic. The second chain makes one DNS
/// server of all addresses: its answers bear the address that was asked.
const RULES: &str = "
table inet world {
  set tcp4 { type ipv4_addr . inet_service; flags dynamic; size 65535; }
  set tcp6 { type ipv6_addr . inet_service; flags dynamic; size 65535; }
  set udp4 { type ipv4_addr . inet_service; flags dynamic; size 65535; }
  set udp6 { type ipv6_addr . inet_service; flags dynamic; size 65535; }
  set other4 { type ipv4_addr . inet_proto; flags dynamic; size 65535; }
  set other6 { type ipv6_addr . inet_proto; flags dynamic; size 65535; }
  chain arrive {
    type filter hook prerouting priority -300; policy accept;
    iifname != net0 return
    icmpv6 type { nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert, mld2-listener-report, mld-listener-report } return
    meta nfproto ipv4 meta l4proto tcp add @tcp4 { ip daddr . tcp dport } return
    meta nfproto ipv6 meta l4proto tcp add @tcp6 { ip6 daddr . tcp dport } return
    meta nfproto ipv4 meta l4proto udp add @udp4 { ip daddr . udp dport } return
    meta nfproto ipv6 meta l4proto udp add @udp6 { ip6 daddr . udp dport } return
    meta nfproto ipv4 add @other4 { ip daddr . meta l4proto }
    meta nfproto ipv6 add @other6 { ip6 daddr . meta l4proto }
  }
  chain ask {
    type nat hook prerouting priority -100; policy accept;
    iifname net0 udp dport 53 redirect
  }
}
";

/// Starts counting; call in the internet's namespace.
pub(super) fn start() -> Result<()> {
    let path = std::env::temp_dir().join(format!("world-rules-{}", std::process::id()));
    std::fs::write(&path, RULES).context("write the counting rules")?;
    let loaded = run("nft", &["-f", &path.to_string_lossy()]);
    std::fs::remove_file(&path).context("remove the counting rules")?;
    loaded.map(drop)
}

/// What came so far; call in the internet's namespace.
pub(super) fn read() -> Result<Vec<Flow>> {
    let listing = run("nft", &["-j", "-n", "list", "table", "inet", "world"])?;
    let parsed: Value = serde_json::from_str(&listing).context("read `nft -j list table`")?;
    let sets = parsed
        .get("nftables")
        .and_then(Value::as_array)
        .map_or(&[][..], Vec::as_slice);
    let mut flows = BTreeSet::new();
    for set in sets.iter().filter_map(|entry| entry.get("set")) {
        let name = set
            .get("name")
            .and_then(Value::as_str)
            .context("a set without a name")?;
        let elements = set
            .get("elem")
            .and_then(Value::as_array)
            .map_or(&[][..], Vec::as_slice);
        for element in elements {
            flows.insert(
                flow(name, element).with_context(|| format!("element {element} of set {name}"))?,
            );
        }
    }
    Ok(flows.into_iter().collect())
}

/// Forgets what came; call in the internet's namespace.
pub(super) fn forget() -> Result<()> {
    for set in ["tcp4", "tcp6", "udp4", "udp6", "other4", "other6"] {
        run("nft", &["flush", "set", "inet", "world", set])?;
    }
    Ok(())
}

fn flow(set: &str, element: &Value) -> Result<Flow> {
    let concatenated = element
        .get("concat")
        .or_else(|| element.get("elem")?.get("val")?.get("concat"));
    let parts = concatenated
        .and_then(Value::as_array)
        .context("not a concatenation")?;
    let [address, second] = parts.as_slice() else {
        anyhow::bail!("not a pair")
    };
    let address: IpAddr = address
        .as_str()
        .context("address is no text")?
        .parse()
        .context("address")?;
    let protocol = set.trim_end_matches(['4', '6']);
    if protocol == "other" {
        let number = second
            .as_str()
            .map_or_else(|| second.to_string(), str::to_owned);
        return Ok(Flow {
            protocol: name_of(&number).to_owned(),
            address,
            port: 0,
        });
    }
    let port = second
        .as_u64()
        .and_then(|port| u16::try_from(port).ok())
        .context("port")?;
    Ok(Flow {
        protocol: protocol.to_owned(),
        address,
        port,
    })
}

/// IANA's protocol numbers that the suites speak of.
fn name_of(number: &str) -> &str {
    match number {
        "1" => "icmp",
        "58" => "ipv6-icmp",
        "132" => "sctp",
        other => other,
    }
}
