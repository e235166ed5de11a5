//! The battery, literals and rebinding (I): no address is reached because somebody wrote it, in any spelling, nor because a
//! name leads to it.
//! Clauses: P4, P6, P7, P9, W5.

use harness::escape::row::{Row, connect, get, raw, tunnel};
use harness::order::{EVIL_ADDRESS, OK_ADDRESS};
use harness::project::{Decided, Project};
use harness::spec::Answers;
use harness::{cases, product_cases};

/// An address asked for by CONNECT and by absolute form; recorded canonically.
fn literal(written: &str, recorded: &str) -> [Row; 2] {
    [
        connect(&format!("{written}:443")).refused(recorded, 443, "ip-literal"),
        get(&format!("http://{written}/")).refused(recorded, 80, "ip-literal"),
    ]
}

fn plain(addresses: &[&str]) -> Vec<Row> {
    let v6 = |address: &str| format!("[{address}]");
    addresses
        .iter()
        .flat_map(|address| {
            let written = if address.contains(':') {
                v6(address)
            } else {
                (*address).to_owned()
            };
            literal(&written, address)
        })
        .collect()
}

fn no_address(written: &str) -> [Row; 2] {
    [
        connect(&format!("{written}:443")).malformed(),
        get(&format!("http://{written}/")).malformed(),
    ]
}

/// A name that is allowed, and whose addresses are not.
fn leads_to_nobody(name: &str) -> [Row; 2] {
    [
        connect(&format!("{name}:443")).refused_after_a_lookup(name, 443, "private-address"),
        get(&format!("http://{name}/")).refused_after_a_lookup(name, 80, "private-address"),
    ]
}

cases! {
    i01_an_address_that_is_not_listed_is_refused: plain(&["1.1.1.1", EVIL_ADDRESS, OK_ADDRESS, "2a0f:ffff:11::10"]);
    i02_the_loopback_is_nobody_s_way_to_the_proxy: [
        plain(&["127.0.0.1", "127.255.255.254", "::1"]),
        vec![
            get("http://127.0.0.1:3128/").refused("127.0.0.1", 3128, "ip-literal"),
            connect("127.0.0.1:3128").refused("127.0.0.1", 3128, "ip-literal"),
            connect("[::1]:3129").refused("::1", 3129, "ip-literal"),
            get("http://localhost:3128/").refused("localhost", 3128, "private-address"),
        ],
    ].concat();
    i03_only_a_strict_dotted_quad_is_an_address: [
        "2130706433", "0177.0.0.1", "0x7f.1", "0x7f000001", "127.1", "0", "127.0.0.1.", "1.2.3.4.5", "256.0.0.1", "01.2.3.4",
    ].map(no_address).concat();
    i04_the_unspecified_address_is_refused: [
        plain(&["0.0.0.0", "::"]),
        vec![connect("0.0.0.0:5432").refused("0.0.0.0", 5432, "ip-literal"),
             connect("[::]:5432").refused("::", 5432, "ip-literal")],
    ].concat();
    i05_metadata_services_are_refused_by_address_and_by_name: [
        plain(&["169.254.169.254", "169.254.170.2", "168.63.129.16", "100.100.100.200", "192.0.0.192", "fd00:ec2::254"]),
        ["metadata.google.internal", "metadata", "instance-data"].map(|name| {
            let authority = format!("{name}:443");
            [connect(&authority).refused(name, 443, "not-whitelisted"),
             get(&format!("http://{name}/latest/")).refused(name, 80, "not-whitelisted")]
        }).concat(),
        leads_to_nobody("metadata.test").to_vec(),
    ].concat();
    i06_a_put_for_a_metadata_token_is_refused: [raw(
        "PUT http://169.254.169.254/latest/api/token HTTP/1.1\r\nHost: 169.254.169.254\r\n\
         X-aws-ec2-metadata-token-ttl-seconds: 60\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    ).refused("169.254.169.254", 80, "ip-literal")];
    i09_an_address_wrapped_by_nat64_is_refused: plain(&["64:ff9b::a9fe:a9fe", "64:ff9b:1::7f00:1"]);
    i12_special_ranges_are_refused_as_literals: plain(&[
        "10.0.0.5", "172.16.0.1", "192.168.77.2", "100.64.0.1", "198.18.0.1", "198.51.100.1", "203.0.113.1",
        "240.0.0.1", "224.0.0.1", "255.255.255.255", "fd00::1", "fec0::1", "fe80::1", "ff02::1", "3fff::1", "2002:a9fe:a9fe::1",
    ]);
    i13_a_name_that_leads_to_a_private_address_is_refused: leads_to_nobody("private.test");
    i17_a_name_that_leads_to_a_private_ipv6_address_is_refused: leads_to_nobody("six.test");
}

product_cases! {
    needs "a record of what was dropped"
    fn i07_an_address_mapped_into_ipv6_is_the_address_it_maps(turn, who) {
        let project = turn.project(who)?;
        for written in ["[::ffff:127.0.0.1]", "[::ffff:a9fe:a9fe]", "[::ffff:11.22.33.10]"] {
            let line = format!("python3 attack.py raw $(printf 'CONNECT {written}:443 HTTP/1.1\\r\\nHost: {written}\\r\\n\\r\\n' | xxd -p | tr -d '\\n')");
            let evidence = turn.inside(&project, &["sh", "-c", &line])?;
            evidence.nothing_left(&[])?;
            let requests = evidence.requests()?;
            assert!(matches!(requests.as_slice(), [one] if one.verdict == "ip-literal"), "{requests:?}");
        }
    }

    needs "a record of what was dropped"
    fn i14_of_a_mixed_answer_the_private_address_is_dropped_and_said_so(turn, who) {
        let project = turn.project(who)?;
        let evidence = turn.inside(&project, &["curl", "-sS", "http://mixed.test/"])?;
        evidence.reached_only("mixed.test")?;
        let reached: Vec<_> = evidence.readings.connections.iter().map(|seen| seen.address.to_string()).collect();
        assert_eq!(reached, ["11.22.33.12"]);
        let record = evidence.record.as_ref().expect("a run has a record");
        let allowed: Vec<_> = record.of_kind("request").into_iter().filter(|event| event["decision"] == "allow").collect();
        let [request] = allowed.as_slice() else { panic!("{allowed:?}") };
        assert_eq!(request["dropped"], serde_json::json!(["127.0.0.1"]));
    }

    needs "a world whose answers flip, and a record"
    fn i15_a_name_that_is_rebound_is_refused_from_then_on(turn, who) {
        let project = turn.project(who)?;
        let public = [OK_ADDRESS.parse()?];
        let private = ["10.0.0.5".parse()?];
        // The first of each type is public; the check and the dial of one request see one answer.
        turn.world.answer("ok.test", Answers::flipping(&[&public, &private]))?;
        let line = "curl -sSf http://ok.test/ && curl -sS -o /dev/null -w '%{http_code}' http://ok.test/";
        let evidence = turn.inside(&project, &["sh", "-c", line])?;
        let restore = Answers::always(&[OK_ADDRESS.parse()?, harness::order::OK_ADDRESS_V6.parse()?]);
        turn.world.answer("ok.test", restore)?;
        assert_eq!(evidence.client.stdout, "hello from ok.test\n403", "{evidence}");
        let reached: Vec<_> = evidence.readings.connections.iter().map(|seen| seen.address.to_string()).collect();
        assert_eq!(reached, [OK_ADDRESS]);
        let requests = evidence.requests()?;
        assert_eq!(requests, [Decided::request("ok.test", 80, "allow"), Decided::request("ok.test", 80, "private-address")]);
    }

    needs "a world whose answers flip, and a record"
    fn i16_a_kept_connection_never_moves_to_another_address(turn, who) {
        let project = turn.project(who)?;
        let public = [OK_ADDRESS.parse()?];
        let other = [EVIL_ADDRESS.parse()?];
        turn.world.answer("ok.test", Answers::flipping(&[&public, &other]))?;
        let evidence = turn.inside(&project, &["curl", "-sSf", "http://ok.test/a", "http://ok.test/b", "http://ok.test/c"])?;
        let restore = Answers::always(&[OK_ADDRESS.parse()?, harness::order::OK_ADDRESS_V6.parse()?]);
        turn.world.answer("ok.test", restore)?;
        let reached: Vec<_> = evidence.readings.connections.iter().map(|seen| seen.address.to_string()).collect();
        assert_eq!(reached, [OK_ADDRESS], "{evidence}");
        assert_eq!(evidence.requests()?, vec![Decided::request("ok.test", 80, "allow"); 3]);
    }

    needs "a port of the host, which opencode-sandbox opens past its proxy"
    fn i18_a_listed_port_of_the_host_is_reached_by_name_in_both_ways_and_not_by_address(turn, who) {
        let project = turn.project(who)?;
        let direct = "exec 3<>/dev/tcp/docker.host/5432; echo hi >&3; head -n 1 <&3";
        let evidence = turn.inside(&project, &["bash", "-c", direct])?;
        assert_eq!(evidence.client.stdout, "hi\n", "{evidence}");
        assert_eq!(evidence.requests()?, [Decided::request("docker.host", 5432, "allow")]);
        let through = "exec 3<>/dev/tcp/127.0.0.1/3128; printf 'CONNECT docker.host:5432 HTTP/1.1\\r\\nHost: docker.host:5432\\r\\n\\r\\nhi\\n' >&3; head -n 3 <&3 | tail -n 1";
        let evidence = turn.inside(&project, &["bash", "-c", through])?;
        assert_eq!(evidence.client.stdout, "hi\n", "{evidence}");
        assert_eq!(evidence.requests()?, [Decided::request("docker.host", 5432, "allow")]);
        for address in ["127.0.0.1", harness::inside::HOST_V4] {
            let line = format!("curl -sS --noproxy '' -p http://{address}:5432/ || true");
            let evidence = turn.inside(&project, &["sh", "-c", &line])?;
            evidence.nothing_left(&[])?;
            assert_eq!(evidence.requests()?, [Decided::request(address, 5432, "ip-literal")]);
        }
    }

    needs "capture: what goes round the proxy"
    fn i19_the_same_port_of_any_other_address_is_refused(turn, who) {
        let project = turn.project(who)?;
        for address in ["203.0.113.9", EVIL_ADDRESS, harness::inside::HOST_V4, "2a0f:ffff:11::66"] {
            let evidence = turn.inside(&project, &["python3", "attack.py", "tcp", address, "5432", "68690a"])?;
            evidence.nothing_left(&[])?;
            assert_eq!(evidence.requests()?, [Decided::request(address, 5432, "ip-literal")], "{evidence}");
        }
    }

    needs "ports of the host"
    fn i20_every_name_of_the_host_gets_one_verdict(turn, who) {
        for (name, denied) in [("aliases", None), ("aliases-denied", Some("host.docker.internal"))] {
            let denylist = denied.map_or_else(String::new, |it| format!("http-domain-denylist:\n  - {it}\n"));
            let config = format!("sandbox-name: {name}\nhost-ports:\n  - 5432\n{denylist}");
            let project = Project::named(turn.world, who, name, &config)?;
            for alias in ["docker.host", "host.docker.internal", "host.containers.internal"] {
                let line = format!("exec 3<>/dev/tcp/{alias}/5432 && echo hi >&3 && timeout 3 head -n 1 <&3");
                let evidence = turn.inside(&project, &["bash", "-c", &line])?;
                assert_eq!(evidence.client.stdout == "hi\n", denied.is_none(), "{alias}: {evidence}");
                if denied.is_some() {
                    evidence.nothing_left(&[])?;
                }
            }
        }
    }

    needs "a config of its own form"
    fn i21_a_port_that_is_no_plain_port_starts_nothing(turn, who) {
        for port in ["'1:65535'", "5432-5433", "'5432 -j ACCEPT'", "'+22'", "0", "65536", "'0x50'", "-1", "1.5"] {
            let config = format!("sandbox-name: ports\nhost-ports:\n  - {port}\n");
            let project = Project::named(turn.world, who, "ports", &config)?;
            let finished = project.run(&["echo", "ran"])?;
            assert_eq!((finished.code(), finished.stdout.as_str()), (64, ""), "{port}: {finished}");
        }
    }

    needs "an origin that redirects, and a record"
    fn i22_a_redirect_to_the_metadata_service_is_refused_when_it_is_followed(turn, who) {
        let project = turn.project(who)?;
        let url = "http://ok.test/redirect?to=http://169.254.169.254/latest/";
        let evidence = turn.inside(&project, &["curl", "-sSL", "-o", "/dev/null", "-w", "%{http_code}", url])?;
        assert_eq!(evidence.client.stdout, "403", "{evidence}");
        evidence.reached_only("ok.test")?;
        let wanted = [Decided::request("ok.test", 80, "allow"), Decided::request("169.254.169.254", 80, "ip-literal")];
        assert_eq!(evidence.requests()?, wanted);
    }
}

/// The neighbour of all of these: the name itself passes.
#[test]
fn the_rows_of_this_section_are_not_refused_because_everything_is() -> anyhow::Result<()> {
    harness::escape::hold(
        "_",
        harness::world::As::Ordinary,
        &[tunnel("ok.test:443").passes("ok.test", 443)],
    )
}
