use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Result<(String, bool), (String, Option<String>)> {
    match Pattern::parse(text, List::Whitelist) {
        Ok((pattern, warning)) => Ok((pattern.to_string(), warning.is_some())),
        Err(error) => Err((error.message, error.write)),
    }
}

#[test]
fn the_forms_of_an_entry_have_one_canonical_text() {
    for (text, canonical, warned) in [
        (".example.org", ".example.org", false),
        ("example.org", "example.org", false),
        ("Example.ORG.", "example.org", false),
        ("example.org:8443", "example.org:8443", false),
        (".example.org:8443", ".example.org:8443", false),
        ("*.example.org", ".example.org", true),
        ("gitlab", "gitlab", false),
        ("github.io", "github.io", false),
        ("s3.amazonaws.com", "s3.amazonaws.com", false),
        (".githubusercontent.com", ".githubusercontent.com", false),
        (".someone.github.io", ".someone.github.io", false),
        ("xn--bcher-kva.example", "xn--bcher-kva.example", false),
    ] {
        assert_eq!(parse(text), Ok((canonical.to_owned(), warned)), "{text}");
    }
}

#[test]
fn over_broad_entries_are_refused_with_a_narrower_one() {
    for (text, write) in [
        (".com", Some(".NAME.com")),
        (".co.uk", Some(".NAME.co.uk")),
        (".github.io", Some(".NAME.github.io")),
        (".s3.amazonaws.com", Some(".NAME.s3.amazonaws.com")),
        (".lan", Some(".NAME.lan")),
        (".foo.ck", Some(".NAME.foo.ck")),
        ("*.com", Some(".NAME.com")),
        ("com", Some("NAME.com")),
        ("co.uk", Some("NAME.co.uk")),
        ("*", None),
        ("**", None),
        ("*.", None),
        ("docker.host", Some("host-ports: - 443")),
        ("host.docker.internal:5432", Some("host-ports: - 5432")),
        ("localhost:8080", Some("host-ports: - 8080")),
        (".localhost", Some("host-ports: - 443")),
        ("x.localhost.localdomain", Some("host-ports: - 443")),
    ] {
        let (message, found) = parse(text).unwrap_err();
        assert_eq!(found.as_deref(), write, "{text}: {message}");
    }
}

#[test]
fn a_list_that_only_refuses_may_be_as_broad_as_it_likes() {
    for text in [
        ".com",
        "com",
        ".github.io",
        "localhost",
        "docker.host",
        ".zip",
    ] {
        assert!(Pattern::parse(text, List::Deny).is_ok(), "{text}");
    }
    for text in ["*", "1.2.3.4", "https://x.test/", "a b", ""] {
        assert!(Pattern::parse(text, List::Deny).is_err(), "{text}");
    }
}

#[test]
fn foreign_forms_are_refused_with_the_form_that_was_meant() {
    for (text, write) in [
        ("https://api.example.org/v1?x=1", Some("api.example.org")),
        ("http://user:pw@example.org:8080/", Some("example.org:8080")),
        ("example.org/path", Some("example.org")),
        ("example.org # why", Some("example.org")),
        ("a.test,b.test", Some("a.test")),
        ("x.example.*", None),
        ("*example.org", Some(".example.org")),
        ("*x*.example.org", None),
        ("1.2.3.4", Some("tcp-endpoints: - 1.2.3.4:443")),
        ("1.2.3.4:22", Some("tcp-endpoints: - 1.2.3.4:22")),
        ("10.0.0.0/8", Some("private-addresses: - 10.0.0.0/8")),
        ("example.org:0", None),
        ("example.org:80-90", None),
        ("example..org", None),
        ("..example.org", None),
        ("", None),
        (".", None),
        ("/", None),
        ("://", None),
        (" ", None),
        ("foo.test\nhttp_access allow all", Some("foo.test")),
    ] {
        let (message, found) = parse(text).unwrap_err();
        assert_eq!(found.as_deref(), write, "{text:?}: {message}");
    }
}

#[test]
fn a_pattern_covers_whole_labels_only() {
    let covers = |pattern: &str, name: &str| {
        let (pattern, _) = Pattern::parse(pattern, List::Whitelist).unwrap();
        pattern.covers(&DnsName::parse(name).unwrap())
    };
    for (pattern, name, expected) in [
        (".w.test", "w.test", true),
        (".w.test", "a.w.test", true),
        (".w.test", "a.b.c.d.w.test", true),
        (".w.test", "evilw.test", false),
        (".w.test", "w.test.evil.test", false),
        (".w.test", "test", false),
        ("ok.test", "ok.test", true),
        ("ok.test", "x.ok.test", false),
        ("ok.test", "xok.test", false),
    ] {
        assert_eq!(covers(pattern, name), expected, "{pattern} {name}");
    }
}

proptest! {
    #[test]
    fn whatever_the_text_parsing_ends_and_a_pattern_is_its_own_canonical_form(text in "[.*a-z0-9:/@ \\-]{0,24}|.{0,12}") {
        for list in [List::Whitelist, List::Deny] {
            if let Ok((pattern, _)) = Pattern::parse(&text, list) {
                let again = Pattern::parse(&pattern.to_string(), list);
                prop_assert_eq!(again, Ok((pattern, None)));
            }
        }
    }

    #[test]
    fn a_corrected_text_is_accepted(text in "[.*a-z0-9:/@ \\-]{0,24}") {
        if let Err(PatternError { write: Some(write), .. }) = Pattern::parse(&text, List::Whitelist) {
            let stands_elsewhere = write.contains(": - ") || write.contains("NAME");
            prop_assert!(stands_elsewhere || Pattern::parse(&write, List::Whitelist).is_ok(), "{} -> {}", text, write);
        }
    }
}
