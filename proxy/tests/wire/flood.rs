//! A flood of refused requests: exact counts in few lines, whatever is asked for.

use crate::support::client::Client;
use crate::support::dns::Dns;
use crate::support::proxy::{Proxy, Start};

#[test]
fn a_flood_of_refused_requests_is_counted_exactly_in_few_lines() {
    const ALIKE: u64 = 3_000;
    const NAMES: u64 = 1_000;
    let dns = Dns::start();
    let proxy = Proxy::start_with(&Start {
        policy: "",
        dns: &dns,
        arguments: &["--flood-after", "20"],
        through: &[],
    });
    let mut client = Client::connect(proxy.address);
    let mut ask = |host: &str| {
        client.send(format!(
            "GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n"
        ));
        assert_eq!(client.answer().status, 403);
    };
    for _ in 0..ALIKE {
        ask("evil.test");
    }
    for number in 0..NAMES {
        ask(&format!("n{number}.evil.test"));
    }
    let lines = proxy.stop();
    let refused: Vec<_> = lines
        .iter()
        .filter(|line| line["decision"] == "deny")
        .collect();
    let count = |host: &str| -> u64 {
        let of_host = refused.iter().filter(|line| line["host"] == host);
        of_host
            .map(|line| line["count"].as_u64().unwrap_or(1))
            .sum()
    };
    let all: u64 = refused
        .iter()
        .map(|line| line["count"].as_u64().unwrap_or(1))
        .sum();
    assert_eq!((count("evil.test"), all), (ALIKE, ALIKE + NAMES));
    assert_eq!(lines.last().unwrap()["denied"], ALIKE + NAMES);
    assert!(lines.len() < 1_000, "{} lines", lines.len());
}
