use super::*;

#[test]
fn report_says_where_the_agent_went_and_what_was_refused() {
    let place = place(&events());
    let expected = format!(
        "\
sandbox {}, 1 run, 2026-11-21T01:00:00.000Z to 2026-11-21T05:30:00.000Z
1 requests allowed; refused: 1 requests, 3 queries, 10 packets

refused                  times  first                last                 reasons, processes
udp 192.0.2.1:53            10  2026-11-21 04:30:00  2026-11-21 04:30:00  direct 10
dns secret.evil.test         3  2026-11-21 03:30:00  2026-11-21 03:30:00  dns 3
evil.test:443                1  2026-11-21 03:00:00  2026-11-21 03:00:00  not-whitelisted 1

allowed               times         up      down  first                last                 rules, processes
api.good.test:443         1     1.5 kB    2.5 MB  2026-11-21 02:00:00  2026-11-21 02:30:00  opencode-sandbox-config.yaml:4 .good.test, curl

the record says of itself that it lost 1 event
",
        place.id()
    );
    assert_eq!(place.types("report"), (0, expected, String::new()));
}

#[test]
fn report_tells_a_machine_the_same() {
    let place = place(&events());
    let (code, out, err) = place.types("report --json");
    let destination = |host: &str, port: serde_json::Value, protocol: &str, time: &str| {
        serde_json::json!({
            "host": host, "port": port, "protocol": protocol, "allowed": 0, "refused": 0, "bytes_up": 0, "bytes_down": 0,
            "first": time, "last": time, "reasons": {}, "rules": [], "processes": [],
        })
    };
    let mut packet = destination("192.0.2.1", 53.into(), "udp", "2026-11-21T04:30:00.000Z");
    packet["refused"] = 10.into();
    packet["reasons"] = serde_json::json!({"direct": 10});
    let mut good = destination(
        "api.good.test",
        443.into(),
        "tcp",
        "2026-11-21T02:00:00.000Z",
    );
    good["allowed"] = 1.into();
    good["bytes_up"] = 1500.into();
    good["bytes_down"] = 2_500_000.into();
    good["last"] = "2026-11-21T02:30:00.000Z".into();
    good["rules"] = serde_json::json!(["opencode-sandbox-config.yaml:4 .good.test"]);
    good["processes"] = serde_json::json!(["/usr/bin/curl"]);
    let mut evil = destination("evil.test", 443.into(), "tcp", "2026-11-21T03:00:00.000Z");
    evil["refused"] = 1.into();
    evil["reasons"] = serde_json::json!({"not-whitelisted": 1});
    let mut query = destination(
        "secret.evil.test",
        serde_json::Value::Null,
        "dns",
        "2026-11-21T03:30:00.000Z",
    );
    query["refused"] = 3.into();
    query["reasons"] = serde_json::json!({"dns": 3});
    let expected = serde_json::json!({
        "v": 1, "sandboxes": [place.id()], "runs": ["run-1"], "from": "2026-11-21T01:00:00.000Z",
        "until": "2026-11-21T05:30:00.000Z", "allowed": 1, "refused": 14, "refused_queries": 3, "refused_packets": 10,
        "lost": 1, "unread_lines": 0, "destinations": [packet, good, evil, query],
        "others": {"allowed": 0, "refused": 0}, "many_names": [],
    });
    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&out).unwrap(),
        expected
    );
}

#[test]
fn report_draws_a_graph_on_a_terminal() {
    let deny = |id| request(id, "evil.test", Decision::Deny, None);
    let place = place(&[
        deny(1),
        deny(2),
        deny(3),
        close(9),
        close(9),
        close(9),
        deny(4),
    ]);
    let terminal = |glyphs| Terminal {
        stdout: true,
        colour: Colour::Off,
        glyphs,
        ..Terminal::default()
    };
    let row =
        "evil.test:443         4  2026-11-21 01:00:00  2026-11-21 04:00:00  not-whitelisted 4";
    for (glyphs, graph) in [
        (Glyphs::Utf8, "\u{2588}\u{2584} \u{2584}"),
        (Glyphs::Ascii, "@= ="),
    ] {
        let (_, out, _) = place.types_on(terminal(glyphs), "report");
        let lines: Vec<&str> = out.lines().skip(4).collect();
        assert_eq!(
            lines,
            [
                format!("{row}  {graph}").as_str(),
                "each step of a graph is 1 hour"
            ]
        );
    }
}

#[test]
fn an_allowed_request_counts_its_bytes_whatever_is_filtered() {
    let place = place(&events());
    let (_, out, _) = place.types("report --host api.good.test");
    assert!(
        out.contains("api.good.test:443         1     1.5 kB    2.5 MB"),
        "{out}"
    );
    assert!(!out.contains("evil.test"), "{out}");
}
