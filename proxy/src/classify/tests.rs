use super::*;

fn at(place: &Place, text: &str) -> Result<Asked, BadRequest> {
    request(&RequestHead::parse(text.as_bytes()).unwrap(), place)
}

fn ask(text: &str) -> Result<Asked, BadRequest> {
    at(&Place::Explicit, text)
}

fn get(target: &str) -> Result<Asked, BadRequest> {
    ask(&format!("GET {target} HTTP/1.1\r\nHost: ok.test\r\n\r\n"))
}

fn connect(target: &str) -> Result<Asked, BadRequest> {
    ask(&format!("CONNECT {target} HTTP/1.1\r\n\r\n"))
}

fn destination(text: &str) -> Destination {
    Destination::parse_authority(text, None).unwrap()
}

fn forward(to: &str, path: &str) -> Result<Asked, BadRequest> {
    Ok(Asked::Forward {
        destination: destination(to),
        path: path.to_owned(),
    })
}

fn tunnel_to(to: &str) -> Result<Asked, BadRequest> {
    Ok(Asked::Tunnel {
        destination: destination(to),
    })
}

fn inside_of(host: Option<&str>, port: u16) -> Place {
    let host = host.map(|host| Host::parse(host).unwrap());
    Place::Inside {
        host,
        port: Port::new(port).unwrap(),
    }
}

#[test]
fn the_absolute_form_names_the_destination_and_the_path() {
    for (target, to, path) in [
        ("http://ok.test/a/b?c=d", "ok.test:80", "/a/b?c=d"),
        ("HTTP://OK.test./", "ok.test:80", "/"),
        ("http://ok.test", "ok.test:80", "/"),
        ("http://ok.test?q", "ok.test:80", "/?q"),
        ("http://ok.test:8080/", "ok.test:8080", "/"),
        ("http://[::1]:81/x", "[::1]:81", "/x"),
        ("http://127.0.0.1/", "127.0.0.1:80", "/"),
        (
            "http://ok.test/http://evil.test/@",
            "ok.test:80",
            "/http://evil.test/@",
        ),
    ] {
        assert_eq!(get(target), forward(to, path), "{target}");
    }
    let options = "OPTIONS http://ok.test HTTP/1.1\r\nHost: ok.test\r\n\r\n";
    assert_eq!(ask(options), forward("ok.test:80", "*"));
}

#[test]
fn h01_h02_the_absolute_form_decides_whatever_host_says() {
    let text = "GET http://ok.test/ HTTP/1.1\r\nHost: evil.test\r\n\r\n";
    assert_eq!(ask(text), forward("ok.test:80", "/"));
    let text = "GET http://evil.test/ HTTP/1.1\r\nHost: ok.test\r\n\r\n";
    assert_eq!(ask(text), forward("evil.test:80", "/"));
}

#[test]
fn h04_h05_a_request_has_exactly_one_host() {
    let twice = "GET http://ok.test/ HTTP/1.1\r\nHost: ok.test\r\nhost: ok.test\r\n\r\n";
    assert_eq!(ask(twice), Err(BadRequest::Host));
    assert_eq!(
        ask("GET http://ok.test/ HTTP/1.1\r\n\r\n"),
        Err(BadRequest::Host)
    );
    assert_eq!(
        ask("GET http://ok.test/ HTTP/1.0\r\n\r\n"),
        forward("ok.test:80", "/")
    );
    let twice = "CONNECT ok.test:443 HTTP/1.1\r\nHost: ok.test\r\nHost: ok.test\r\n\r\n";
    assert_eq!(ask(twice), Err(BadRequest::Host));
}

#[test]
fn h21_other_schemes_and_forms_are_refused() {
    for target in [
        "ftp://ok.test/",
        "file:///etc/passwd",
        "ws://ok.test/",
        "gopher://ok.test/",
    ] {
        assert_eq!(get(target), Err(BadRequest::Target), "{target}");
    }
    for target in [
        "/",
        "*",
        "ok.test:80",
        "ok.test",
        "http:/ok.test/",
        "http:ok.test",
        "//ok.test/",
    ] {
        assert_eq!(get(target), Err(BadRequest::Target), "{target}");
    }
    assert_eq!(
        get("https://ok.test/"),
        Err(BadRequest::Tls(destination("ok.test:443")))
    );
    assert_eq!(get("http://ok.test/#x"), Err(BadRequest::Target));
}

#[test]
fn authorities_that_are_not_a_host_and_a_port_are_refused() {
    for authority in [
        "",
        ":80",
        "ok.test:",
        "ok.test:0",
        "ok.test:65536",
        "ok.test:+80",
        "ok.test:0x50",
        "ok..test",
        ".ok.test",
        "ok.test..",
        "ok%2etest",
        "[ok.test]",
        "ok.test@evil.test",
        "ok.test:80@evil.test",
        "2130706433",
        "0177.0.0.1",
        "0x7f.1",
        "127.1",
        "0",
        "[fe80::1%25lo]",
        "ok.test\\evil.test",
    ] {
        let plain = get(&format!("http://{authority}/"));
        assert!(
            matches!(plain, Err(BadRequest::Authority(_))),
            "{authority}: {plain:?}"
        );
        let tunnel = ask(&format!("CONNECT {authority}:443 HTTP/1.1\r\n\r\n"));
        assert!(tunnel.is_err(), "{authority}: {tunnel:?}");
    }
}

#[test]
fn h20_methods_are_upper_case_and_forwarded_or_refused() {
    let with = |method: &str| {
        ask(&format!(
            "{method} http://ok.test/ HTTP/1.1\r\nHost: a\r\n\r\n"
        ))
    };
    assert_eq!(with("PROPFIND"), forward("ok.test:80", "/"));
    assert_eq!(with("M-SEARCH"), forward("ok.test:80", "/"));
    assert_eq!(
        with(&"A".repeat(LONGEST_METHOD)),
        forward("ok.test:80", "/")
    );
    assert_eq!(
        with(&"A".repeat(LONGEST_METHOD + 1)),
        Err(BadRequest::Method)
    );
    assert_eq!(with("get"), Err(BadRequest::Method));
    assert_eq!(with("PRI"), Err(BadRequest::Method));
    assert_eq!(with("TRACE"), Err(BadRequest::Trace));
    assert_eq!(
        ask("connect ok.test:443 HTTP/1.1\r\n\r\n"),
        Err(BadRequest::Method)
    );
}

#[test]
fn a_tunnel_needs_a_port_and_has_no_body() {
    assert_eq!(connect("ok.test:443"), tunnel_to("ok.test:443"));
    assert_eq!(connect("[::1]:443"), tunnel_to("[::1]:443"));
    assert_eq!(
        connect("ok.test"),
        Err(BadRequest::Authority(HostError::PortMissing))
    );
    assert!(connect("http://ok.test:443/").is_err());
    let with = |line: &str| ask(&format!("CONNECT ok.test:443 HTTP/1.1\r\n{line}\r\n\r\n"));
    assert_eq!(with("Content-Length: 0"), tunnel_to("ok.test:443"));
    assert_eq!(with("Content-Length: 5"), Err(BadRequest::Body));
    assert_eq!(with("Transfer-Encoding: chunked"), Err(BadRequest::Body));
}

#[test]
fn a_tunnels_host_may_be_absent_but_not_another() {
    let with = |host: &str| {
        ask(&format!(
            "CONNECT ok.test:443 HTTP/1.1\r\nHost: {host}\r\n\r\n"
        ))
    };
    assert_eq!(with("OK.test"), tunnel_to("ok.test:443"));
    assert_eq!(with("ok.test:443"), tunnel_to("ok.test:443"));
    assert_eq!(with("evil.test:443"), Err(BadRequest::Host));
    assert_eq!(with(""), Err(BadRequest::Host));
}

#[test]
fn inside_a_connection_host_is_checked_against_its_destination() {
    let place = inside_of(Some("ok.test"), 8080);
    let with = |host: &str| {
        at(
            &place,
            &format!("GET /a?b HTTP/1.1\r\nHost: {host}\r\n\r\n"),
        )
    };
    assert_eq!(with("ok.test:8080"), forward("ok.test:8080", "/a?b"));
    assert_eq!(with("ok.test"), forward("ok.test:8080", "/a?b"));
    let other = destination("ok.test:81");
    assert_eq!(with("ok.test:81"), Err(BadRequest::Elsewhere(other)));
    let other = destination("evil.test:8080");
    assert_eq!(with("evil.test"), Err(BadRequest::Elsewhere(other)));
    assert_eq!(at(&place, "GET / HTTP/1.1\r\n\r\n"), Err(BadRequest::Host));
    assert_eq!(
        at(&place, "GET / HTTP/1.0\r\n\r\n"),
        forward("ok.test:8080", "/")
    );
    let connect = "CONNECT ok.test:8080 HTTP/1.1\r\n\r\n";
    assert_eq!(at(&place, connect), Err(BadRequest::Method));
    let absolute = "GET http://ok.test/ HTTP/1.1\r\nHost: ok.test\r\n\r\n";
    assert_eq!(at(&place, absolute), Err(BadRequest::Target));
}

#[test]
fn h03_inside_a_connection_to_an_address_only_host_names_the_destination() {
    let place = inside_of(None, 80);
    let with = |host: &str| at(&place, &format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    assert_eq!(with("ok.test"), forward("ok.test:80", "/"));
    assert_eq!(
        with("ok.test:81"),
        Err(BadRequest::Elsewhere(destination("ok.test:81")))
    );
    assert_eq!(at(&place, "GET / HTTP/1.0\r\n\r\n"), Err(BadRequest::Host));
}

#[test]
fn h19_only_100_continue_may_be_expected() {
    let with = |it: &str| {
        ask(&format!(
            "PUT http://ok.test/ HTTP/1.1\r\nHost: a\r\nExpect: {it}\r\n\r\n"
        ))
    };
    assert_eq!(with("100-Continue"), forward("ok.test:80", "/"));
    assert_eq!(with("101-continue"), Err(BadRequest::Expect));
    assert_eq!(with("100-continue, x"), Err(BadRequest::Expect));
}
