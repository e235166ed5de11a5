use proptest::prelude::*;

use super::*;

fn shown(text: &str) -> Result<String, HostError> {
    Host::parse(text).map(|host| host.to_string())
}

#[test]
fn names_become_lower_case_and_lose_one_trailing_dot_and_nothing_else() {
    for (text, canonical) in [
        ("ok.test", "ok.test"),
        ("OK.TeSt", "ok.test"),
        ("ok.test.", "ok.test"),
        ("_dmarc.w.test", "_dmarc.w.test"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("a-.-b.test", "a-.-b.test"),
        ("1.2.3.4a", "1.2.3.4a"),
        ("0x.test", "0x.test"),
        ("1e3", "1e3"),
        ("localhost", "localhost"),
        ("93.184.215.14", "93.184.215.14"),
        ("0.0.0.0", "0.0.0.0"),
        ("[::1]", "[::1]"),
        ("[2606:2800::0001]", "[2606:2800::1]"),
        ("[::ffff:127.0.0.1]", "[::ffff:127.0.0.1]"),
    ] {
        assert_eq!(shown(text).as_deref(), Ok(canonical), "{text}");
    }
}

#[test]
fn what_two_readers_could_read_differently_is_refused() {
    use HostError::*;
    for (text, error) in [
        ("", Empty),
        (".", EmptyLabel),
        ("..", EmptyLabel),
        ("ok.test..", EmptyLabel),
        (".ok.test", EmptyLabel),
        ("a..w.test", EmptyLabel),
        ("ok.test\0.w.test", Character),
        ("ok.test\r\n.w.test", Character),
        ("ok test", Character),
        ("\tok.test", Character),
        ("ok%2etest", Character),
        ("%65vil.test", Character),
        ("ok.test%0d%0a", Character),
        ("fe80::1%eth0", Character),
        ("::1", Character),
        ("ok.test:80", Character),
        ("ok.test/x", Character),
        ("ok.test\\x", Character),
        ("ok.test@evil.test", UserInfo),
        ("[ok.test]", Brackets),
        ("[evil.test", Brackets),
        ("evil.test]", Brackets),
        ("[::1", Brackets),
        ("[::1]x", Brackets),
        ("[fe80::1%25eth0]", Brackets),
        ("[fe80::1%eth0]", Brackets),
        ("[127.0.0.1]", Brackets),
        ("[]", Brackets),
        ("[ ::1]", Brackets),
        ("ok\u{3002}test", NotAscii),
        ("\u{ff4f}k.test", NotAscii),
        ("o\u{ad}k.test", NotAscii),
        ("b\u{fc}cher.example", NotAscii),
        ("2130706433", Number),
        ("0177.0.0.1", Number),
        ("0x7f.1", Number),
        ("0x7f000001", Number),
        ("127.1", Number),
        ("0", Number),
        ("1.2.3.4.", Number),
        ("1.2.3.256", Number),
        ("1.2.3.4.5", Number),
        ("01.2.3.4", Number),
        ("1.2.3.04", Number),
        ("a.b.1", Number),
        ("a.0x1f", Number),
        ("a.0X", Number),
        ("a.0x", Number),
    ] {
        assert_eq!(Host::parse(text), Err(error), "{text:?}");
    }
}

#[test]
fn lengths_are_those_of_the_dns() {
    let label = "a".repeat(63);
    let longest = format!("{label}.{label}.{label}.{}", "a".repeat(61));
    assert_eq!(longest.len(), 253);
    assert_eq!(shown(&longest), Ok(longest.clone()));
    assert_eq!(shown(&format!("{longest}.")), Ok(longest.clone()));
    assert_eq!(
        Host::parse(&format!("{longest}a")),
        Err(HostError::LongName)
    );
    assert_eq!(
        Host::parse(&format!("{label}a.test")),
        Err(HostError::LongLabel)
    );
    assert_eq!(shown(&format!("{label}.test")), Ok(format!("{label}.test")));
}

#[test]
fn a_dns_name_is_never_an_address() {
    assert_eq!(DnsName::parse("1.2.3.4"), Err(HostError::Number));
    assert_eq!(DnsName::parse("[::1]"), Err(HostError::Brackets));
    let name = DnsName::parse("A.b.Test.").unwrap();
    assert_eq!(name.labels().collect::<Vec<_>>(), ["a", "b", "test"]);
}

#[test]
fn ports_are_plain_decimal_numbers() {
    for (text, port) in [("1", 1), ("80", 80), ("65535", 65535)] {
        assert_eq!(Port::parse(text).map(Port::get), Ok(port), "{text}");
    }
    for text in [
        "",
        "0",
        "00",
        "080",
        "65536",
        "+80",
        "-1",
        "0x50",
        "8 0",
        " 80",
        "80 ",
        "8e1",
        "99999999999999999999",
        "\u{661}",
    ] {
        assert_eq!(Port::parse(text), Err(HostError::Port), "{text:?}");
    }
    assert_eq!((Port::HTTP.get(), Port::HTTPS.get()), (80, 443));
    assert_eq!(Port::new(0), None);
}

#[test]
fn authorities_are_a_host_and_at_most_one_port() {
    let parse = |text: &str| {
        Destination::parse_authority(text, Some(Port::HTTP))
            .map(|destination| destination.to_string())
    };
    for (text, canonical) in [
        ("Ok.Test", "ok.test:80"),
        ("ok.test:443", "ok.test:443"),
        ("ok.test.:443", "ok.test:443"),
        ("1.2.3.4:1", "1.2.3.4:1"),
        ("[::1]", "[::1]:80"),
        ("[::1]:443", "[::1]:443"),
    ] {
        assert_eq!(parse(text).as_deref(), Ok(canonical), "{text}");
    }
    for (text, error) in [
        ("", HostError::Empty),
        (":443", HostError::Empty),
        ("ok.test:", HostError::Port),
        ("ok.test:0", HostError::Port),
        ("ok.test:65536", HostError::Port),
        ("ok.test:+80", HostError::Port),
        ("ok.test:0x50", HostError::Port),
        ("ok.test:80:90", HostError::Port),
        ("ok.test:80@evil.test", HostError::UserInfo),
        ("user@ok.test", HostError::UserInfo),
        ("@ok.test", HostError::UserInfo),
        ("::1", HostError::Port),
        ("::1:443", HostError::Port),
        ("[::1]443", HostError::Brackets),
        ("[::1]:443]", HostError::Port),
        ("[evil.test]:443", HostError::Brackets),
        ("x[::1]:443", HostError::Brackets),
    ] {
        assert_eq!(parse(text), Err(error), "{text:?}");
    }
    assert_eq!(
        Destination::parse_authority("ok.test", None),
        Err(HostError::PortMissing)
    );
}

#[test]
fn every_prefix_of_an_authority_is_refused_or_canonical() {
    for text in [
        "Www.Example.ORG.:8443",
        "[2606:2800:21F::1]:443",
        "93.184.215.14:80",
        "user@0x7f.1:80",
        "a%2e\u{e9}\0b",
    ] {
        for (end, _) in text.char_indices().chain([(text.len(), ' ')]) {
            let prefix = &text[..end];
            if let Ok(destination) = Destination::parse_authority(prefix, Some(Port::HTTPS)) {
                let shown = destination.to_string();
                assert_eq!(
                    Destination::parse_authority(&shown, None),
                    Ok(destination),
                    "{prefix}"
                );
            }
        }
    }
}

/// Text that is nearly a host: the characters that matter, often.
fn near_host() -> impl Strategy<Value = String> {
    prop_oneof![
        proptest::string::string_regex("[a-zA-Z0-9._\\-\\[\\]:%@/ x]{0,40}").unwrap(),
        proptest::string::string_regex("(0x|0)?[0-9a-f]{1,4}(\\.(0x|0)?[0-9a-f]{1,3}){0,4}\\.?")
            .unwrap(),
        ".{0,20}",
    ]
}

proptest! {
    #[test]
    fn a_canonical_host_is_its_own_canonical_form(text in near_host()) {
        if let Ok(host) = Host::parse(&text) {
            prop_assert_eq!(Host::parse(&host.to_string()), Ok(host));
        }
    }

    #[test]
    fn a_name_that_is_accepted_is_made_of_labels_that_dns_can_carry(text in near_host()) {
        if let Ok(name) = DnsName::parse(&text) {
            prop_assert!(name.as_str().len() <= 253);
            for label in name.labels() {
                prop_assert!((1..=63).contains(&label.len()));
                prop_assert!(label.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_')));
            }
        }
    }

    #[test]
    fn no_accepted_name_is_an_address_to_the_system_library(text in near_host()) {
        if let Ok(name) = DnsName::parse(&text) {
            // inet_aton's forms all end in a number; what passes here must not.
            let last = name.labels().next_back().unwrap();
            prop_assert!(last.bytes().any(|byte| !byte.is_ascii_digit()));
            prop_assert!(name.as_str().parse::<IpAddr>().is_err());
        }
    }
}
