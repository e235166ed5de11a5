//! The command line, as typed and as meant. No file is opened and no environment is read here.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::{Parser, value_parser};
use policies::Mode;

use crate::publish::Published;

/// The whitelisting proxy of ocs, alone: put it in Squid's place, and give clients `http_proxy=http://ADDR`.
///
/// SIGHUP, or a changed file, loads the policy anew; SIGTERM lets open connections end, and then exits.
/// No environment variable changes what it does.
#[derive(Clone, Debug, Parser)]
#[command(name = "ocs-proxy", version, disable_help_subcommand = true)]
pub struct Arguments {
    /// The project's file, or any file with the same keys
    #[arg(long, value_name = "FILE")]
    pub policy: PathBuf,
    /// Where clients connect to; may be given more than once
    #[arg(long, value_name = "ADDR:PORT", required_unless_present = "sandboxed")]
    pub listen: Vec<SocketAddr>,
    /// The record: made if it is not there, continued if it is
    #[arg(long, value_name = "FILE")]
    pub audit: PathBuf,
    /// Close a file of the record before it grows longer than this, and go on in the next
    #[arg(long, value_name = "BYTES", default_value_t = 50_000_000, value_parser = value_parser!(u64).range(1..))]
    pub rotate_bytes: u64,
    /// Close a file of the record that was opened so long ago
    #[arg(long, value_name = "HOURS", default_value_t = 24, value_parser = value_parser!(u64).range(1..))]
    pub rotate_hours: u64,
    /// Give so many refused requests a second a line each; what comes beyond is told in exact counts, by kind
    #[arg(long, value_name = "LINES", default_value_t = 1_000)]
    pub flood_after: u64,
    /// A resolver to ask, in place of the system's; may be given more than once
    #[arg(long, value_name = "IP:PORT", value_parser = resolver)]
    pub resolver: Vec<SocketAddr>,
    /// The network mode, in place of the file's: none, restricted, filtered or observe
    #[arg(long, value_name = "MODE", value_parser = mode)]
    pub mode: Option<Mode>,
    /// An address of the host, as docker.host is dialled; may be given more than once
    #[arg(long, value_name = "IP", default_values = ["127.0.0.1", "::1"])]
    pub host_address: Vec<IpAddr>,
    /// The sandbox's id in the record; the file's sandbox-name if not given
    #[arg(long, value_name = "ID")]
    pub sandbox: Option<String>,
    /// The run's id in the record; made from the time if not given
    #[arg(long, value_name = "ID")]
    pub run: Option<String>,
    /// The engine's name in the record
    #[arg(long, value_name = "NAME", default_value = "none")]
    pub engine: String,
    /// Serve /live, /ready, /status and /metrics on a unix socket made here, for its owner only
    #[arg(long, value_name = "PATH")]
    pub admin: Option<PathBuf>,
    /// Serve them on a loopback address as well: every user of this machine can read them
    #[arg(long, value_name = "ADDR:PORT", value_parser = loopback)]
    pub admin_listen: Option<SocketAddr>,
    /// Ask a person about a refused destination, over --admin, and let the request wait so long for the answer
    #[arg(long, value_name = "SECONDS", requires = "admin", value_parser = value_parser!(u64).range(1..=300))]
    pub ask: Option<u64>,
    /// A port of the host's 127.0.0.1 that leads into the sandbox; may be given more than once
    #[arg(
        long,
        value_name = "PORT[:INSIDE]",
        requires = "sandboxed",
        conflicts_with = "listen"
    )]
    pub publish: Vec<Published>,
    /// In a container: the sockets come over this path, and the end of standard input is the end
    #[arg(
        long,
        value_name = "PATH",
        requires = "sandboxed",
        conflicts_with = "listen"
    )]
    pub sockets: Option<PathBuf>,
    /// In a container: published ports listen on its address, and only its default gateway may connect
    #[arg(long, requires = "sockets")]
    pub behind_gateway: bool,
    /// In a container: the host's addresses are those that this name has in /etc/hosts
    #[arg(
        long,
        value_name = "NAME",
        requires = "sockets",
        conflicts_with = "host_address"
    )]
    pub host_in_hosts: Option<String>,
    /// As a part of ocs: the sockets come over standard input, one JSON line on standard output says that all of
    /// them are served, and the end of either the parent or that connection is the end (docs/architecture.md)
    #[arg(long, conflicts_with = "listen")]
    pub sandboxed: bool,
}

fn mode(word: &str) -> Result<Mode, String> {
    Mode::parse(word).ok_or_else(|| "one of none, restricted, filtered, observe".to_owned())
}

fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address = text.parse::<SocketAddr>().ok();
    address
        .filter(|address| address.ip().is_loopback())
        .ok_or_else(|| "a loopback address and port, such as 127.0.0.1:9090".to_owned())
}

/// A resolver's port is 53 unless it is given.
fn resolver(text: &str) -> Result<SocketAddr, String> {
    const DNS: u16 = 53; // RFC 1035 section 4.2
    let address = text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, DNS));
    address
        .or_else(|_| text.parse())
        .map_err(|_| "an address, or address:port".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn a_squid_user_needs_three_flags() {
        let arguments = parse("ocs-proxy --policy p.yaml --listen 127.0.0.1:3128 --audit a.jsonl");
        let arguments = arguments.unwrap();
        assert_eq!(arguments.listen, ["127.0.0.1:3128".parse().unwrap()]);
        assert_eq!(arguments.resolver, []);
        assert!(!arguments.sandboxed);
    }

    #[test]
    fn without_a_policy_a_record_or_a_listener_nothing_starts() {
        for line in [
            "ocs-proxy --listen 127.0.0.1:1 --audit a",
            "ocs-proxy --policy p --listen 127.0.0.1:1",
            "ocs-proxy --policy p --audit a",
            "ocs-proxy --policy p --audit a --listen 127.0.0.1:1 --sandboxed",
            "ocs-proxy --policy p --audit a --listen localhost:1",
            "ocs-proxy --policy p --audit a --listen 127.0.0.1:1 --mode open",
            "ocs-proxy --policy p --audit a --listen 127.0.0.1:1 --resolver dns.test",
            "ocs-proxy --policy p --audit a --listen 127.0.0.1:1 --admin-listen 0.0.0.0:9090",
            "ocs-proxy --policy p --audit a --listen 127.0.0.1:1 --admin-listen 9090",
            "ocs-proxy --policy p --audit a --listen 127.0.0.1:1 --ask 30",
            "ocs-proxy --policy p --audit a --listen 127.0.0.1:1 --admin s --ask 0",
            "ocs-proxy --policy p --audit a --listen 127.0.0.1:1 --admin s --ask 301",
            "ocs-proxy --policy p --audit a --listen 127.0.0.1:1 extra",
            "ocs-proxy --policy p --audit a --listen 127.0.0.1:1 --publish 4096",
            "ocs-proxy --policy p --audit a --sandboxed --publish 0.0.0.0:80:80",
            "ocs-proxy --policy p --audit a --listen 127.0.0.1:1 --sockets s",
            "ocs-proxy --policy p --audit a --sandboxed --behind-gateway",
            "ocs-proxy --policy p --audit a --sandboxed --host-in-hosts docker.host",
            "ocs-proxy --policy p --audit a --sandboxed --sockets s --host-in-hosts h --host-address ::1",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn a_resolver_is_asked_on_port_53_unless_said_otherwise() {
        let line = "ocs-proxy --policy p --audit a --listen [::1]:1 --resolver 192.0.2.1 --resolver [::1]:5353";
        let expected: [SocketAddr; 2] = [
            "192.0.2.1:53".parse().unwrap(),
            "[::1]:5353".parse().unwrap(),
        ];
        assert_eq!(parse(line).unwrap().resolver, expected);
    }
}
