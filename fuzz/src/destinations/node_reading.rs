//! Node's HTTP parser of many years, with a browser's reading of URLs (WHATWG) for the authority in them.

use http_muncher::{Parser, ParserHandler};

use super::{Reading, Theirs};
use proxy::fuzz::Body;

/// More bytes of a body than this are not fed to see where it ends.
const FEW: u64 = 4096;

/// What Node reads in `head`; a Host line without a port has `default`.
pub(super) fn read(head: &[u8], default: u16) -> Reading {
    let (mut parser, mut seen) = (Parser::request(), Seen::default());
    parser.parse(&mut seen, head);
    if parser.has_error() && !seen.whole {
        return Reading::Refused;
    }
    if !seen.whole {
        return Reading::More;
    }
    let (Ok(target), method) = (
        String::from_utf8(std::mem::take(&mut seen.target)),
        parser.http_method(),
    ) else {
        return Reading::Refused;
    };
    let hosts: Vec<&[u8]> = seen
        .fields
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case(b"host"))
        .map(|(_, value)| value.as_slice())
        .collect();
    let names = match (method, target.starts_with('/') || target == "*") {
        ("CONNECT", _) => named(&target, 80),
        (_, false) => whole_url(&target),
        (_, true) => hosts
            .first()
            .and_then(|value| named(std::str::from_utf8(value).ok()?.trim(), default)),
    };
    // A target that names nobody to a browser is one that it refuses.
    if names.is_none() && !(target.starts_with('/') || target == "*") {
        return Reading::Refused;
    }
    if names.is_none() && !hosts.is_empty() {
        return Reading::Refused;
    }
    let hosts = hosts.len();
    let body = if parser.is_upgrade() {
        None
    } else {
        body(&mut parser, &mut seen)
    };
    Reading::Request(Theirs {
        method: method.to_owned(),
        target,
        names,
        hosts,
        body,
    })
}

fn whole_url(target: &str) -> Option<(String, u16)> {
    let url = url::Url::parse(target).ok()?;
    let known = matches!(url.scheme(), "http" | "https");
    known.then(|| Some((url.host_str()?.to_owned(), url.port_or_known_default()?)))?
}

/// An authority, as a browser reads it in a URL whose scheme has that port.
fn named(authority: &str, default: u16) -> Option<(String, u16)> {
    let scheme = if default == 443 { "https" } else { "http" };
    whole_url(&format!("{scheme}://{authority}/"))
}

/// Where the body ends, tried out.
fn body(parser: &mut Parser, seen: &mut Seen) -> Option<Body> {
    if seen.complete {
        return Some(Body::Length(0));
    }
    let chunked = seen
        .fields
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case(b"transfer-encoding"));
    if chunked {
        parser.parse(seen, b"0\r\n\r\n");
        return seen.complete.then_some(Body::Chunked);
    }
    for count in 1..=FEW {
        parser.parse(seen, b"x");
        if seen.complete {
            return Some(Body::Length(count));
        }
    }
    None
}

#[derive(Default)]
struct Seen {
    target: Vec<u8>,
    fields: Vec<(Vec<u8>, Vec<u8>)>,
    /// Whether the last piece was one of a value.
    in_value: bool,
    whole: bool,
    complete: bool,
}

impl ParserHandler for Seen {
    fn on_url(&mut self, _: &mut Parser, bytes: &[u8]) -> bool {
        self.target.extend_from_slice(bytes);
        true
    }

    fn on_header_field(&mut self, _: &mut Parser, bytes: &[u8]) -> bool {
        if self.in_value || self.fields.is_empty() {
            self.fields.push(Default::default());
            self.in_value = false;
        }
        if let Some((name, _)) = self.fields.last_mut() {
            name.extend_from_slice(bytes);
        }
        true
    }

    fn on_header_value(&mut self, _: &mut Parser, bytes: &[u8]) -> bool {
        self.in_value = true;
        if let Some((_, value)) = self.fields.last_mut() {
            value.extend_from_slice(bytes);
        }
        true
    }

    fn on_headers_complete(&mut self, _: &mut Parser) -> bool {
        self.whole = true;
        true
    }

    fn on_message_complete(&mut self, _: &mut Parser) -> bool {
        self.complete = true;
        true
    }
}
