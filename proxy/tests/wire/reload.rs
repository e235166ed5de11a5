//! Another policy while connections are open (C13, L15, S15).

use serde_json::json;

use crate::support::client::Client;
use crate::support::dns::Dns;
use crate::support::hello::hello;
use crate::support::origin::Origin;
use crate::support::proxy::Proxy;

#[test]
fn c13_what_a_new_policy_refuses_is_cut_and_the_rest_goes_on() {
    let (dns, origin) = (Dns::start(), Origin::echo());
    let port = origin.port();
    let both =
        format!("http-domain-whitelist: ['ok.test:{port}']\ntcp-endpoints: ['w.test:{port}']\n");
    let proxy = Proxy::start(&both, &dns);
    let mut tls = Client::tunnel(proxy.address, &format!("ok.test:{port}"));
    let flight = hello(Some("ok.test"));
    tls.send(&flight);
    tls.exactly(flight.len());
    let mut raw = Client::tunnel(proxy.address, &format!("w.test:{port}"));
    raw.send("a");
    raw.exactly(1);
    // Only the raw endpoint stays; its rule has moved to another line.
    proxy.write_policy(&format!(
        "# one more line\ntcp-endpoints: ['w.test:{port}']\n"
    ));
    assert_eq!(tls.rest(), b"");
    proxy.wait_told("policy 2 is in force");
    raw.send("b");
    assert_eq!(raw.exactly(1), b"b");
    let events = proxy.wait_events(|events| events.iter().any(|event| event["event"] == "close"));
    let close = events
        .iter()
        .find(|event| event["event"] == "close")
        .unwrap();
    assert_eq!(
        (&close["outcome"], &close["id"]),
        (&json!("revoked"), &events[0]["id"])
    );
    let mut client = Client::connect(proxy.address);
    client.send(format!("CONNECT ok.test:{port} HTTP/1.1\r\n\r\n"));
    assert_eq!(
        client.last_answer().reason().as_deref(),
        Some("not-whitelisted")
    );
    drop(raw);
    let lines = proxy.stop();
    let generations: Vec<u64> = lines
        .iter()
        .filter(|line| line["event"] == "policy")
        .map(|line| line["generation"].as_u64().unwrap())
        .collect();
    assert_eq!(generations, [1, 2]);
    let last = lines
        .iter()
        .rfind(|line| line["event"] == "request")
        .unwrap();
    assert_eq!(last["generation"], 2);
}

/// Of 200 tunnels a policy refuses half: those end, recorded, and the other half goes on. How soon is printed; the proxy
/// looks every 250 ms.
#[test]
fn of_200_open_tunnels_a_new_policy_cuts_those_that_it_refuses_and_a_broken_one_none() {
    const EACH: usize = 100;
    let (dns, origin) = (Dns::start(), Origin::echo());
    let port = origin.port();
    let both = format!("tcp-endpoints: ['w.test:{port}', 'ok.test:{port}']\n");
    let proxy = Proxy::start(&both, &dns);
    let open = |name: &str| -> Vec<Client> {
        let to = format!("{name}:{port}");
        (0..EACH)
            .map(|_| Client::tunnel(proxy.address, &to))
            .collect()
    };
    let (mut refused, mut kept) = (open("ok.test"), open("w.test"));
    let echo = |clients: &mut Vec<Client>, byte: &str| {
        for client in clients {
            client.send(byte);
            assert_eq!(client.exactly(1), byte.as_bytes());
        }
    };
    proxy.write_policy("tcp-endpoints: ['*:22']\n");
    proxy.wait_told("the policy before it stays in force");
    echo(&mut refused, "a");
    echo(&mut kept, "a");
    let changed = std::time::Instant::now();
    proxy.write_policy(&format!("tcp-endpoints: ['w.test:{port}']\n"));
    for client in &mut refused {
        assert_eq!(client.rest(), b"");
    }
    println!(
        "{EACH} of {} tunnels were cut after {:?}",
        2 * EACH,
        changed.elapsed()
    );
    echo(&mut kept, "b");
    drop(kept);
    let lines = proxy.stop();
    let ends = |outcome: &str| {
        lines
            .iter()
            .filter(|line| line["outcome"] == outcome)
            .count()
    };
    assert_eq!((ends("revoked"), ends("done")), (EACH, EACH));
    let policies = lines
        .iter()
        .filter(|line| line["event"] == "policy")
        .count();
    assert_eq!(policies, 2);
}

#[test]
fn a_request_under_way_is_cut_as_well_and_told_why() {
    let (dns, origin) = (Dns::start(), Origin::silent());
    let port = origin.port();
    let proxy = Proxy::start(
        &format!("http-domain-whitelist: ['ok.test:{port}']\n"),
        &dns,
    );
    let mut client = Client::connect(proxy.address);
    client.send(format!(
        "GET http://ok.test:{port}/ HTTP/1.1\r\nHost: x\r\n\r\n"
    ));
    origin.wait(|seen| seen.len() == 1 && !seen[0].is_empty());
    proxy.write_policy("");
    let answer = client.last_answer();
    assert_eq!(
        (answer.status, answer.reason().as_deref()),
        (403, Some("revoked"))
    );
    assert_eq!(proxy.settled(1)[1]["outcome"], "revoked");
    proxy.stop();
}

#[test]
fn the_address_and_the_sni_of_what_is_open_are_judged_again_too() {
    let (dns, origin) = (Dns::start(), Origin::echo());
    let port = origin.port();
    let list = format!("http-domain-whitelist: ['ok.test:{port}']\n");
    let proxy = Proxy::start(&list, &dns);
    let mut tls = Client::tunnel(proxy.address, &format!("ok.test:{port}"));
    let flight = hello(Some("ok.test"));
    tls.send(&flight);
    tls.exactly(flight.len());
    // The name is still allowed; an address on loopback no longer is.
    proxy.write_policy_text(&format!("sandbox-name: test\n{list}"));
    assert_eq!(tls.rest(), b"");
    assert_eq!(proxy.settled(1)[1]["outcome"], "revoked");
    proxy.stop();
}

#[test]
fn a_broken_policy_changes_nothing_and_every_mistake_is_told() {
    let (dns, origin) = (Dns::start(), Origin::http());
    let port = origin.port();
    let proxy = Proxy::start(
        &format!("http-domain-whitelist: ['ok.test:{port}']\n"),
        &dns,
    );
    proxy.write_policy("http-domain-whitelst: []\nhost-ports: [0]\n");
    let told = proxy.wait_told("stays in force");
    assert!(told.contains("opencode-sandbox-config.yaml:"), "{told}");
    let mut client = Client::connect(proxy.address);
    client.send(format!(
        "GET http://ok.test:{port}/ HTTP/1.1\r\nHost: x\r\n\r\n"
    ));
    assert_eq!(client.answer().status, 200);
    drop(client);
    // Repaired, it counts.
    proxy.write_policy("");
    proxy.wait_told("policy 2 is in force");
    let lines = proxy.stop();
    assert_eq!(
        lines
            .iter()
            .filter(|line| line["event"] == "policy")
            .count(),
        2
    );
}

#[test]
fn a_file_that_is_gone_changes_nothing() {
    let dns = Dns::start();
    let proxy = Proxy::start("", &dns);
    std::fs::remove_file(proxy.policy_file()).unwrap();
    proxy.wait_told("stays in force");
    proxy.signal("-HUP");
    let mut client = Client::connect(proxy.address);
    client.send("GET http://evil.test/ HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(client.answer().status, 403);
    drop(client);
    proxy.stop();
}

#[test]
fn sighup_reads_the_file_at_once() {
    let dns = Dns::start();
    let proxy = Proxy::start("", &dns);
    proxy.signal("-HUP");
    proxy.wait_told("says what it said before");
    proxy.write_policy("# another text\n");
    proxy.signal("-HUP");
    proxy.wait_told("policy 2 is in force");
    proxy.stop();
}

#[test]
fn w6_a_kept_connection_is_not_used_again_under_another_generation() {
    let (dns, origin) = (Dns::start(), Origin::http());
    let port = origin.port();
    let list = format!("http-domain-whitelist: ['ok.test:{port}']\n");
    let proxy = Proxy::start(&list, &dns);
    let mut client = Client::connect(proxy.address);
    let get = format!("GET http://ok.test:{port}/ HTTP/1.1\r\nHost: x\r\n\r\n");
    client.send(&get);
    assert_eq!(client.answer().status, 200);
    proxy.write_policy(&format!("{list}# another text\n"));
    proxy.wait_told("policy 2 is in force");
    client.send(&get);
    assert_eq!(client.answer().status, 200);
    assert_eq!(origin.seen().len(), 2);
    drop(client);
    proxy.stop();
}
