//! Where an engine's containers find the host: one pure function of what was read, `where_host_is`, and the calls that read it.
//!
//! Not here: how the proxy dials it (`--host-in-hosts`), and who may be reached there (`policies`).
//! Clauses: P7; COMPATIBILITY 4.26, 4.27.
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::engine::client::{Client, Kind};
use crate::engine::spawn::Call;

/// What `--add-host` is given for the host; `None` where nobody knows.
pub(crate) type HostAddress = Option<String>;

/// What podman and the system said; empty where they said nothing. Docker finds the host by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Said {
    /// `podman machine ssh getent hosts host.containers.internal`, where there is a machine.
    pub(crate) machine: String,
    /// `podman network inspect NETWORK`: that of the run.
    pub(crate) network: String,
    /// `ip -4 route show default`, or `route -n get default`.
    pub(crate) route: String,
}

/// slirp4netns(1): the address that `allow_host_loopback` leads to the host's loopback by.
const SLIRP_HOST: &str = "10.0.2.2";

/// Docker maps its own word for the host (Engine 20.10 and later, Desktop, Colima). Podman: the machine's word, the network's
/// gateway, the default route, in this order; rootless and without a machine it is slirp4netns, which no gateway leads out of.
pub(crate) fn where_host_is(kind: Kind, rootless: bool, said: &Said) -> HostAddress {
    if kind == Kind::Docker {
        return Some("host-gateway".to_owned());
    }
    let in_machine = first_address(&said.machine);
    if in_machine.is_none() && rootless {
        return Some(SLIRP_HOST.to_owned());
    }
    in_machine
        .or_else(|| gateway(&said.network))
        .or_else(|| default_route(&said.route))
        .map(|address| address.to_string())
}

/// hosts(5): an address, then names.
fn first_address(hosts: &str) -> Option<IpAddr> {
    hosts.split_whitespace().next()?.parse().ok()
}

/// Podman 4 and 5 say `subnets`; with CNI it is the plugins' own `ipam.ranges`. The first IPv4 gateway counts.
fn gateway(networks: &str) -> Option<IpAddr> {
    let networks: Value = serde_json::from_str(networks).ok()?;
    let mut found = Vec::new();
    gateways(&networks, &mut found);
    found.into_iter().find(IpAddr::is_ipv4)
}

fn gateways(value: &Value, found: &mut Vec<IpAddr>) {
    match value {
        Value::Array(all) => all.iter().for_each(|one| gateways(one, found)),
        Value::Object(map) => {
            let address = map.get("gateway").and_then(Value::as_str);
            found.extend(address.and_then(|address| address.parse::<IpAddr>().ok()));
            map.values().for_each(|one| gateways(one, found));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Linux says `default via ADDRESS ..`, macOS `gateway: ADDRESS`.
fn default_route(route: &str) -> Option<IpAddr> {
    let words: Vec<&str> = route.split_whitespace().collect();
    let after = |word: &str| {
        let at = words.iter().position(|found| *found == word)?;
        words.get(at + 1)?.parse().ok()
    };
    after("via").or_else(|| after("gateway:"))
}

/// What is asked takes no longer, or is no answer.
const ASKED: Duration = Duration::from_secs(10);

/// Asks what `where_host_is` needs; `network` is the proxy's, and there already.
pub(crate) fn ask(client: &Client, rootless: bool, network: &str) -> Said {
    if client.kind == Kind::Docker {
        return Said::default();
    }
    let machine = if cfg!(target_os = "macos") {
        said(client.call([
            "machine",
            "ssh",
            "getent",
            "hosts",
            "host.containers.internal",
        ]))
    } else {
        String::new()
    };
    if rootless && machine.is_empty() {
        return Said::default();
    }
    let (program, arguments): (&str, &[&str]) = if cfg!(target_os = "macos") {
        ("/sbin/route", &["-n", "get", "default"])
    } else {
        ("ip", &["-4", "route", "show", "default"])
    };
    let route = Call::new(Path::new(program))
        .arguments(arguments)
        .run(ASKED)
        .map(|ended| ended.output);
    Said {
        machine,
        network: said(client.call(["network", "inspect", network])),
        route: said(route),
    }
}

fn said<E>(output: Result<Vec<u8>, E>) -> String {
    output.map_or_else(
        |_| String::new(),
        |output| String::from_utf8_lossy(&output).into_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const NETAVARK: &str =
        r#"[{"name":"podman","subnets":[{"subnet":"10.88.0.0/16","gateway":"10.88.0.1"}]}]"#;
    const CNI: &str = r#"[{"cniVersion":"0.4.0","plugins":[{"type":"bridge","ipam":{"ranges":
        [[{"gateway":"fd00::1","subnet":"fd00::/64"}],[{"gateway":"10.88.0.1","subnet":"10.88.0.0/16"}]]}}]}]"#;

    fn podman(machine: &str, network: &str, route: &str) -> HostAddress {
        let said = Said {
            machine: machine.to_owned(),
            network: network.to_owned(),
            route: route.to_owned(),
        };
        where_host_is(Kind::Podman, false, &said)
    }

    #[test]
    fn docker_knows_the_host_by_its_own_word() {
        for rootless in [false, true] {
            let expected = Some("host-gateway".to_owned());
            assert_eq!(
                where_host_is(Kind::Docker, rootless, &Said::default()),
                expected
            );
        }
    }

    #[test]
    fn for_podman_the_machine_comes_before_the_network_and_that_before_the_route() {
        let machine = "192.168.127.254 host.containers.internal\n";
        let linux = "default via 192.0.2.1 dev eth0 proto dhcp\n";
        let macos = "   route to: default\n    gateway: 192.0.2.9\n  interface: en0\n";
        let cases = [
            (machine, NETAVARK, linux, Some("192.168.127.254")),
            ("", NETAVARK, linux, Some("10.88.0.1")),
            ("", CNI, linux, Some("10.88.0.1")),
            ("ssh: refused", "[]", linux, Some("192.0.2.1")),
            ("", "Error: unable", macos, Some("192.0.2.9")),
            ("", "", "", None),
            ("", "[{}]", "default dev wg0 scope link", None),
        ];
        for (machine, network, route, expected) in cases {
            let expected = expected.map(str::to_owned);
            assert_eq!(
                podman(machine, network, route),
                expected,
                "{network} {route}"
            );
        }
    }

    #[test]
    fn rootless_podman_without_a_machine_reaches_the_host_by_slirp() {
        let mut said = Said {
            network: NETAVARK.to_owned(),
            ..Said::default()
        };
        let found = |said: &Said| where_host_is(Kind::Podman, true, said);
        assert_eq!(found(&said), Some("10.0.2.2".to_owned()));
        said.machine = "192.168.127.254 host.containers.internal".to_owned();
        assert_eq!(found(&said), Some("192.168.127.254".to_owned()));
    }
}
