//! The exact line that would allow a refused request, if a person wants to.
//!
//! Nothing is suggested that the file would refuse, that the mode would not count, or that would tell the client more
//! than it asked for. Not responsible for the decision.

use crate::pattern::{Extent, Pattern};
use crate::special::{self, Special};
use crate::verdict::{Entry, Suggestion};
use crate::{Destination, DnsName, Host, Mode, Port, Reason, Request, Via, address};

/// The line for a request that was refused for `reason`.
pub(crate) fn entry(mode: Mode, reason: Reason, request: &Request) -> Option<Suggestion> {
    let destination = &request.destination;
    let entry = match (&destination.host, mode) {
        (_, Mode::None) => None,
        (Host::Address(_), Mode::Restricted) => model_server(request),
        (Host::Address(_), Mode::Filtered | Mode::Observe) => raw(destination),
        (Host::Name(name), _) if special::of(name) == Some(Special::HostAlias) => {
            Some(Entry::HostPort(destination.port))
        }
        (Host::Name(_), Mode::Restricted) => None,
        (Host::Name(name), Mode::Filtered | Mode::Observe) => domain(name, reason, request),
    };
    entry.map(Suggestion)
}

fn domain(name: &DnsName, reason: Reason, request: &Request) -> Option<Entry> {
    let port = request.destination.port;
    if request.via == Via::CapturedTcp || reason == Reason::NotTls {
        return raw(&request.destination);
    }
    let usual = match request.via {
        Via::Connect | Via::CapturedTls => port == Port::HTTPS,
        Via::Http | Via::CapturedHttp => port == Port::HTTP,
        Via::CapturedTcp => false,
    };
    let pattern = Pattern {
        name: name.clone(),
        extent: Extent::Exact,
        port: None,
    };
    if pattern.too_broad().is_some() {
        return None;
    }
    Some(if usual {
        Entry::Whitelist(name.clone())
    } else {
        Entry::WhitelistPort(name.clone(), port)
    })
}

/// `tcp-endpoints`, unless nobody should write that line.
fn raw(destination: &Destination) -> Option<Entry> {
    listable(destination).then(|| Entry::Tcp(destination.clone()))
}

/// `llm-endpoints` by plain HTTP, for the ways that it opens.
fn model_server(request: &Request) -> Option<Entry> {
    match request.via {
        Via::Connect | Via::Http | Via::CapturedHttp if listable(&request.destination) => {
            Some(Entry::Llm(request.destination.clone()))
        }
        Via::Connect | Via::Http | Via::CapturedHttp | Via::CapturedTcp | Via::CapturedTls => None,
    }
}

/// Whether the file takes the host of an endpoint; `compile.rs` asks the same.
fn listable(destination: &Destination) -> bool {
    match &destination.host {
        Host::Name(name) => special::of(name).is_none(),
        Host::Address(literal) => address::why_not_listed(*literal).is_none(),
    }
}
