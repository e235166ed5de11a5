//! `host-ports`, `llm-endpoints`, `tcp-endpoints` and `private-addresses`.

use std::net::IpAddr;

use ipnet::IpNet;

use super::Compiler;
use crate::special::{self, Special};
use crate::yaml::{Node, Place, quoted};
use crate::{Destination, Host, HostError, LlmEndpoint, Port, Rule, Scheme, TcpEndpoint, address};

/// Shortest prefixes that `private-addresses` takes: the largest private ranges, `10.0.0.0/8` and `fc00::/7`.
const WIDEST_V4: u8 = 8;
const WIDEST_V6: u8 = 7;

/// The longest URL: an entry stands in the record with each request that it allows.
const MAX_URL: usize = 1_000;

/// A mistake in one entry: what is wrong, and the corrected text.
type Wrong = (String, Option<String>);

impl Compiler {
    pub(super) fn host_ports(&mut self, node: Option<&Node>) -> Vec<(Port, Rule)> {
        let mut ports = Vec::new();
        for (place, scalar) in self.items(node, "host-ports") {
            match Port::parse(&scalar.text) {
                Ok(port) => ports.push((port, self.rule(place, &scalar.text))),
                Err(_) => {
                    let message = format!(
                        "{} is no port: a number from 1 to 65535",
                        quoted(&scalar.text)
                    );
                    self.error(place, message, corrected_port(&scalar.text));
                }
            }
        }
        ports
    }

    pub(super) fn llm_endpoints(&mut self, node: Option<&Node>) -> Vec<LlmEndpoint> {
        let mut endpoints = Vec::new();
        for (place, scalar) in self.items(node, "llm-endpoints") {
            let rule = self.rule(place, &scalar.text);
            match llm_endpoint(&scalar.text, rule) {
                Ok(endpoint) => endpoints.push(endpoint),
                Err(wrong) => self.wrong(place, wrong),
            }
        }
        endpoints
    }

    pub(super) fn tcp_endpoints(&mut self, node: Option<&Node>) -> Vec<TcpEndpoint> {
        let mut endpoints = Vec::new();
        for (place, scalar) in self.items(node, "tcp-endpoints") {
            match tcp_endpoint(&scalar.text) {
                Ok(destination) => {
                    let rule = self.rule(place, &scalar.text);
                    endpoints.push(TcpEndpoint { destination, rule });
                }
                Err(wrong) => self.wrong(place, wrong),
            }
        }
        endpoints
    }

    pub(super) fn private_addresses(&mut self, node: Option<&Node>) -> Vec<(IpNet, Rule)> {
        let mut nets = Vec::new();
        for (place, scalar) in self.items(node, "private-addresses") {
            match private_address(&scalar.text) {
                Ok(net) => nets.push((net, self.rule(place, &scalar.text))),
                Err(wrong) => self.wrong(place, wrong),
            }
        }
        nets
    }

    fn wrong(&mut self, place: Place, (message, write): Wrong) {
        self.error(place, message, write);
    }
}

/// The port that was meant, where there is one number and no doubt. A range has no single corrected text, `1e3` and
/// `1_000` are numbers to some readers: a wrong guess would be worse than none.
fn corrected_port(text: &str) -> Option<String> {
    let text = text.trim();
    let after_name = match text.rsplit_once(':') {
        Some((name, port)) => Host::parse(name)
            .is_ok_and(|host| matches!(host, Host::Name(_)))
            .then_some(port)?,
        None => text,
    };
    let number = after_name.trim_start_matches(['+', '0']);
    let end = number.find(|char: char| !char.is_ascii_digit());
    let (digits, rest) = end.map_or((number, ""), |end| {
        number.split_at_checked(end).unwrap_or((number, ""))
    });
    let harmless =
        rest.is_empty() || rest == ".0" || rest == "/tcp" || rest.starts_with([' ', '\t']);
    let port = Port::parse(digits).ok().filter(|_| harmless)?;
    Some(format!("- {port}"))
}

fn llm_endpoint(text: &str, rule: Rule) -> Result<LlmEndpoint, Wrong> {
    let (scheme, default, rest) = match text.split_once("://") {
        Some(("http", rest)) => (Scheme::Http, Port::HTTP, rest),
        Some(("https", rest)) => (Scheme::Https, Port::HTTPS, rest),
        Some(_) => {
            let message = format!("{}: the scheme is neither http nor https", quoted(text));
            return Err((message, None));
        }
        None => {
            let url = llm_endpoint(&format!("http://{text}"), rule).ok();
            let write = url.map(|endpoint| format!("- {endpoint}"));
            return Err((format!("{} is no URL", quoted(text)), write));
        }
    };
    if let Some(at) = rest.find(['?', '#']) {
        let bare = rest.get(..at).unwrap_or("");
        let message = format!(
            "{}: a model server's URL has no query or fragment",
            quoted(text)
        );
        return Err((message, Some(format!("- {}://{bare}", scheme.code()))));
    }
    let (authority, path) = match rest.find('/') {
        Some(at) => rest.split_at_checked(at).unwrap_or((rest, "")),
        None => (rest, ""),
    };
    let destination = Destination::parse_authority(authority, Some(default)).map_err(|error| {
        (
            format!("{}: {error}", quoted(text)),
            without_user(text, error),
        )
    })?;
    let path = path.to_owned();
    let endpoint = LlmEndpoint {
        scheme,
        destination,
        path,
        rule,
    };
    refuse_model_server(text, &endpoint)?;
    Ok(endpoint)
}

/// What parses, and is no model server all the same.
fn refuse_model_server(text: &str, endpoint: &LlmEndpoint) -> Result<(), Wrong> {
    let LlmEndpoint {
        scheme,
        destination,
        path,
        rule: _,
    } = endpoint;
    let shown = quoted(text);
    if text.len() > MAX_URL {
        return Err((format!("{shown} is longer than {MAX_URL} characters"), None));
    }
    if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err((
            format!("{shown}: the path has a character that no URL has"),
            None,
        ));
    }
    let digits = path.strip_prefix('/').filter(|rest| !rest.is_empty());
    let range = digits.is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()));
    if range && matches!(destination.host, Host::Address(_)) {
        return Err((
            format!("{shown} is a range of addresses; a model server has one"),
            None,
        ));
    }
    if let Some(why) = unlistable(&destination.host) {
        let url = format!(
            "- {}://docker.host:{}{path}",
            scheme.code(),
            destination.port
        );
        return Err((
            format!("{shown} is {why}"),
            (why == SANDBOX_ITSELF).then_some(url),
        ));
    }
    Ok(())
}

/// The URL without user information; a credential does not belong into this file.
fn without_user(text: &str, error: HostError) -> Option<String> {
    let (scheme, rest) = text
        .split_once("://")
        .filter(|_| error == HostError::UserInfo)?;
    let (_, host) = rest.split_once('@')?;
    Some(format!("- {scheme}://{host}"))
}

fn tcp_endpoint(text: &str) -> Result<Destination, Wrong> {
    let shown = quoted(text);
    if let Some((_, rest)) = text.split_once("://") {
        let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
        let bare = authority.rsplit('@').next().unwrap_or(authority);
        let write = Destination::parse_authority(bare, None).ok();
        let write = write.map(|destination| format!("- {destination}"));
        return Err((
            format!("{shown} is a URL; a TCP endpoint is `host:port`"),
            write,
        ));
    }
    let destination = Destination::parse_authority(text, None).map_err(|error| {
        let ssh = Host::parse(text)
            .ok()
            .filter(|_| error == HostError::PortMissing);
        let bare = text.rsplit_once('@').and_then(|(_, bare)| {
            Destination::parse_authority(bare, None)
                .ok()
                .filter(|_| error == HostError::UserInfo)
        });
        let write = ssh
            .map(|host| format!("- {host}:22"))
            .or_else(|| bare.map(|destination| format!("- {destination}")));
        (format!("{shown}: {error}"), write)
    })?;
    if let Host::Name(name) = &destination.host
        && special::of(name) == Some(Special::HostAlias)
    {
        let write = Some(format!("host-ports: - {}", destination.port));
        return Err((format!("{shown} is a port of the host"), write));
    }
    if let Some(why) = unlistable(&destination.host) {
        let write = format!("host-ports: - {}", destination.port);
        let write = (why == SANDBOX_ITSELF).then_some(write);
        return Err((format!("{shown} is {why}"), write));
    }
    Ok(destination)
}

const SANDBOX_ITSELF: &str = "the sandbox itself, not the host";

/// Why no endpoint may have this host.
fn unlistable(host: &Host) -> Option<&'static str> {
    match host {
        Host::Address(literal) => address::why_not_listed(*literal),
        Host::Name(name) => match special::of(name) {
            Some(Special::Loopback) => Some(SANDBOX_ITSELF),
            Some(Special::HostAlias) | None => None,
        },
    }
}

fn private_address(text: &str) -> Result<IpNet, Wrong> {
    let shown = quoted(text);
    let parsed: Option<IpNet> = match text.parse::<IpAddr>() {
        Ok(alone) => Some(IpNet::from(alone)),
        Err(_) => text.parse().ok(),
    };
    let Some(net) = parsed else {
        return Err((
            format!("{shown} is neither an IP address nor a range like `10.1.0.0/16`"),
            None,
        ));
    };
    if net.addr() != net.network() {
        let write = Some(format!("- {}", net.trunc()));
        return Err((format!("{shown} has bits set beyond its prefix"), write));
    }
    let widest = match net {
        IpNet::V4(_) => WIDEST_V4,
        IpNet::V6(_) => WIDEST_V6,
    };
    if net.prefix_len() < widest {
        return Err((
            format!("{shown} is too broad; list the networks that are meant"),
            None,
        ));
    }
    if net.prefix_len() == net.max_prefix_len() && address::is_metadata(net.addr()) {
        return Err((
            format!("{shown} is a cloud's metadata service, which no name may lead to"),
            None,
        ));
    }
    if address::is_nobody(net.network()) {
        return Err((format!("{shown} is no address that a machine has"), None));
    }
    Ok(net)
}
