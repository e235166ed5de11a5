//! A text is a host, an authority, a pattern, or none of them; what is one has one canonical form.

use policies::{Destination, DnsName, Host, List, Pattern, Port};

/// Hosts, ports, authorities and patterns of any bytes.
///
/// # Panics
/// Where a promise is broken.
pub fn holds(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(host) = Host::parse(text) {
        let shown = host.to_string();
        assert_eq!(
            Host::parse(&shown).as_ref(),
            Ok(&host),
            "canonical: {shown}"
        );
        assert_eq!(shown, shown.to_ascii_lowercase());
        plain(&shown);
        // The only repairs: case, one trailing dot, and how an IPv6 address is spelt.
        match &host {
            Host::Name(name) => {
                let bare = text.strip_suffix('.').unwrap_or(text);
                assert!(
                    bare.eq_ignore_ascii_case(name.as_str()),
                    "{text:?} became {name}"
                );
                assert!(name.as_str().len() <= 253);
                assert!(name.labels().all(|label| (1..=63).contains(&label.len())));
                assert!(name.as_str().parse::<std::net::IpAddr>().is_err());
                assert_eq!(DnsName::parse(text).as_ref(), Ok(name));
            }
            Host::Address(address) => {
                let bare = text.trim_matches(['[', ']']);
                assert_eq!(bare.parse().as_ref(), Ok(address));
                assert_eq!(address.is_ipv6(), text.starts_with('['));
                assert!(DnsName::parse(text).is_err());
            }
        }
        browser_agrees(text, &host);
    }
    if let Ok(port) = Port::parse(text) {
        assert_eq!(port.to_string(), text);
    }
    for default in [None, Some(Port::HTTPS)] {
        if let Ok(destination) = Destination::parse_authority(text, default) {
            let shown = destination.to_string();
            plain(&shown);
            assert_eq!(
                Destination::parse_authority(&shown, None).as_ref(),
                Ok(&destination)
            );
        }
    }
    for list in [List::Deny, List::Whitelist] {
        pattern(text, list);
    }
}

fn pattern(text: &str, list: List) {
    let Ok((pattern, _)) = Pattern::parse(text, list) else {
        return;
    };
    let shown = pattern.to_string();
    let (again, warning) = Pattern::parse(&shown, list).expect("the canonical form is a pattern");
    assert_eq!((again, warning), (pattern.clone(), None), "{text:?}");
    assert!(pattern.covers(pattern.name()));
    // Outside neighbours: a longer label in front, another label behind.
    let last = pattern.name().labels().next_back();
    let behind = if last == Some("test") {
        "example"
    } else {
        "test"
    };
    for outside in [
        format!("x{}", pattern.name()),
        format!("{}.{behind}", pattern.name()),
    ] {
        if let Ok(name) = DnsName::parse(&outside) {
            assert!(!pattern.covers(&name), "{shown} covers {outside}");
        }
    }
    if let Ok(below) = DnsName::parse(&format!("x.{}", pattern.name())) {
        assert_eq!(
            pattern.covers(&below),
            shown.starts_with('.'),
            "{shown} and {below}"
        );
    }
}

/// Only what can stand in a record, a message and a rule without any escaping.
fn plain(shown: &str) {
    let odd = |byte: u8| !byte.is_ascii_alphanumeric() && !b"-_.:[]".contains(&byte);
    assert!(!shown.bytes().any(odd), "{shown:?}");
}

/// A browser either refuses the host or reads the very same one.
pub(crate) fn browser_agrees(text: &str, host: &Host) {
    let Ok(url) = url::Url::parse(&format!("http://{text}/")) else {
        return;
    };
    let theirs = url.host_str().expect("http has a host");
    // It keeps a trailing dot, which means the same name.
    let theirs = theirs.strip_suffix('.').unwrap_or(theirs);
    assert_eq!(theirs, host.to_string(), "{text:?}");
}
