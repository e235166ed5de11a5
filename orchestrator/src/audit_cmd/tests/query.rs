use super::*;

#[test]
fn query_prints_each_event_on_a_line() {
    let expected = "\
2026-11-21T01:00:00.000Z start  ocs 0.1.0, engine native, mode filtered
2026-11-21T01:30:00.000Z policy generation 1, mode filtered, opencode-sandbox-config.yaml abc
2026-11-21T02:00:00.000Z allow  connect       api.good.test:443  opencode-sandbox-config.yaml:4 .good.test, curl[7]
2026-11-21T02:30:00.000Z close  request 1: done, 1500 bytes up, 2500000 down, 40 ms
2026-11-21T03:00:00.000Z deny   connect       evil.test:443  not-whitelisted
2026-11-21T03:30:00.000Z deny   dns/TXT       secret.evil.test  dns, 3 times
2026-11-21T04:00:00.000Z allow  dns/TXT       secret.evil.test  3 times
2026-11-21T04:30:00.000Z deny   packet/udp    192.0.2.1:53  direct, 10 times
2026-11-21T05:00:00.000Z gap    an unknown number of events are missing here: packets
2026-11-21T05:30:00.000Z stop   drained: 1 requests allowed, 1 refused, 10 packets refused
";
    assert_eq!(
        place(&events()).types("query"),
        (0, expected.to_owned(), String::new())
    );
}

#[test]
fn query_filters_by_value() {
    let place = place(&events());
    let cases: [(&str, &[u64]); 16] = [
        ("", &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
        ("--decision allow", &[3, 7]),
        ("--decision deny", &[5, 6, 8]),
        ("--host evil.test", &[5]),
        ("--host .evil.test", &[5, 6, 7]),
        ("--host .good.test --host 192.0.2.1", &[3, 8]),
        ("--reason dns --reason direct", &[6, 8]),
        ("--via connect", &[3, 5]),
        ("--via packet --decision allow", &[]),
        ("--process curl", &[3]),
        ("--process /usr/bin/curl", &[3]),
        ("--process 7", &[3]),
        ("--process bin/curl", &[]),
        ("--run run-2", &[]),
        ("--since 2026-11-21T05:00:00Z", &[9, 10]),
        ("--since 2026-11-20 --until 2026-11-21T01:30:00Z", &[1]),
    ];
    for (filters, expected) in cases {
        assert_eq!(place.numbers(filters), expected, "{filters}");
    }
}

#[test]
fn query_gives_a_machine_the_very_bytes_of_the_record() {
    let place = place(&events());
    let (_, out, _) = place.types("query --json");
    assert_eq!(out.as_bytes(), std::fs::read(&place.record).unwrap());
}

#[test]
fn query_makes_a_table_for_spreadsheets() {
    let place = place(&[
        request(
            1,
            "=cmd|' /C calc'!A0",
            Decision::Deny,
            Some("/opt/a, \"b\"\n\u{1b}[2J"),
        ),
        close(1),
    ]);
    let (code, out, err) = place.types("query --csv");
    let id = place.id();
    let expected = format!(
        "{}2026-11-21T01:00:00.000Z,{id},run-1,1,request,deny,not-whitelisted,connect,CONNECT,\
         '=cmd|' /C calc'!A0,443,,,,,,,7,\"/opt/a, \"\"b\"\"\\n\\u{{1b}}[2J\",1,1,,,,,,\r\n\
         2026-11-21T01:30:00.000Z,{id},run-1,2,close,,,,,,,,,,,,,,,,1,done,1500,2500000,40,,\r\n",
        csv::HEADER
    );
    assert_eq!((code, out, err.as_str()), (0, expected, ""));
}

#[test]
fn a_filter_that_is_none_is_refused() {
    let place = place(&events());
    let (code, out, err) = place.types("query --reason not-whitlisted");
    assert_eq!((code, out.as_str()), (64, ""));
    assert!(
        err.starts_with(
            "ocs: there is no reason `not-whitlisted`\nnext: one of denylisted, dial-failed, "
        ),
        "{err}"
    );
    let told = "ocs: there is no via `tls`\n\
        next: one of captured-http, captured-tcp, captured-tls, connect, dns, http, packet\n";
    assert_eq!(
        place.types("report --via tls"),
        (64, String::new(), told.to_owned())
    );
    let told = "ocs: `soon` is no moment\nnext: write 2026-11-21T01:14:00Z, 2026-11-21, or 90s, 15m, 2h, 7d\n";
    assert_eq!(
        place.types("query --since soon"),
        (64, String::new(), told.to_owned())
    );
}
