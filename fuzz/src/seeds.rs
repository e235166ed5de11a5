//! Where the engine begins: the cases of `policies/corpus`, the heads that the proxy's tests speak, the specs of
//! netctl's snapshots, the record in `docs/audit-log.md`; each in the form that its target reads.

use std::io;
use std::path::{Path, PathBuf};

use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RecordType};

/// The seeds of a target.
///
/// # Errors
/// A file of the house that cannot be read; a target that there is none of.
pub fn of(target: &str) -> io::Result<Vec<Vec<u8>>> {
    match target {
        "audit_line" => audit_lines(),
        "client_hello" => Ok(client_hellos()),
        "destinations" | "request_head" => heads(),
        "dns_stub" => questions(),
        "host" => Ok(hosts()?.into_iter().map(String::into_bytes).collect()),
        "nft_plan" => files("netctl/snapshots", "json"),
        "policy_file" => policy_files(),
        _ => Err(io::Error::other(format!("no target {target}"))),
    }
}

fn house() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The files below a folder of the house with that ending, by name.
fn files(folder: &str, ending: &str) -> io::Result<Vec<Vec<u8>>> {
    paths(&house().join(folder), ending)?
        .iter()
        .map(std::fs::read)
        .collect()
}

fn paths(folder: &Path, ending: &str) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(paths(&path, ending)?);
        } else if path.extension().is_some_and(|it| it == ending) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn texts(folder: &str, ending: &str) -> io::Result<Vec<String>> {
    let files = files(folder, ending)?;
    Ok(files
        .iter()
        .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
        .collect())
}

/// The names, authorities and entries that the corpus speaks of.
fn hosts() -> io::Result<Vec<String>> {
    let keys = [
        "connect: ",
        "http: ",
        "captured-http: ",
        "captured-tls: ",
        "captured-tcp: ",
        "dns: ",
        "name: ",
        "sni: ",
        "- ",
    ];
    let mut hosts: Vec<String> = Vec::new();
    for text in texts("policies/corpus", "yaml")? {
        let values = text.lines().filter_map(|line| {
            keys.iter().find_map(|key| {
                line.trim_start()
                    .trim_start_matches("- ")
                    .strip_prefix(key)
                    .or_else(|| line.trim_start().strip_prefix("- "))
            })
        });
        hosts.extend(values.map(|value| value.trim_matches(['"', '\'']).to_owned()));
    }
    hosts.push(".test:8080".to_owned()); // the pattern covers its own name with its own name behind
    hosts.sort();
    hosts.dedup();
    Ok(hosts)
}

/// Whole files, and those that stand inside of cases, each with something to ask for.
fn policy_files() -> io::Result<Vec<Vec<u8>>> {
    let mut seeds = Vec::new();
    for folder in ["policies/corpus", "example"] {
        for text in texts(folder, "yaml")? {
            let inner = text.split_once("\nconfig: |\n").map(|(_, rest)| {
                let lines = rest
                    .lines()
                    .take_while(|line| line.is_empty() || line.starts_with("  "));
                lines
                    .map(|line| format!("{}\n", line.get(2..).unwrap_or("")))
                    .collect::<String>()
            });
            let mut seed = inner.unwrap_or(text).into_bytes();
            seed.extend_from_slice(b"\0docker.host:5432");
            seeds.push(seed);
        }
    }
    seeds.push(b"sandbox-name: demo\r\r\r\rx".to_vec());
    Ok(seeds)
}

/// Heads for every host of the corpus, and all that the proxy's own tests speak, at every place.
fn heads() -> io::Result<Vec<Vec<u8>>> {
    let mut heads: Vec<Vec<u8>> = Vec::new();
    for host in hosts()?.iter().filter(|host| host.len() < 80) {
        heads.push(format!("CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes());
        heads.push(format!("GET http://{host}/a?b HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes());
    }
    for folder in ["proxy/src", "proxy/tests"] {
        for text in texts(folder, "rs")? {
            heads.extend(
                literals(&text)
                    .into_iter()
                    .filter(|it| it.windows(7).any(|part| part == b"HTTP/1.")),
            );
        }
    }
    heads.sort();
    heads.dedup();
    let placed = |place: u8| move |head: &Vec<u8>| [&[place, 40][..], head].concat();
    let mut seeds: Vec<Vec<u8>> = heads.iter().map(placed(3)).collect();
    let origin = |head: &&Vec<u8>| head.windows(3).any(|part| part == b" / ");
    for place in 0..3 {
        seeds.extend(heads.iter().filter(origin).map(placed(place)));
    }
    Ok(seeds)
}

/// The string literals of a Rust file, as the bytes that they stand for.
fn literals(text: &str) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    let mut chars = text.chars();
    while chars.find(|char| *char == '"').is_some() {
        let mut literal = Vec::new();
        while let Some(char) = chars.next().filter(|char| *char != '"') {
            let mut buffer = [0; 4];
            match char {
                '\\' => match chars.next() {
                    Some('r') => literal.push(b'\r'),
                    Some('n') => literal.push(b'\n'),
                    Some('t') => literal.push(b'\t'),
                    Some('0') => literal.push(0),
                    Some('x') => {
                        let digits: String = chars.by_ref().take(2).collect();
                        literal.extend(u8::from_str_radix(&digits, 16));
                    }
                    // A line goes on: the white space in front of it is no part of the literal.
                    Some('\n') => {
                        let rest = chars.as_str().trim_start();
                        chars = rest.chars();
                    }
                    Some(other) => {
                        literal.extend_from_slice(other.encode_utf8(&mut buffer).as_bytes())
                    }
                    None => break,
                },
                char => literal.extend_from_slice(char.encode_utf8(&mut buffer).as_bytes()),
            }
        }
        found.push(literal);
    }
    found
}

fn client_hellos() -> Vec<Vec<u8>> {
    let names = [
        Some("ok.test"),
        Some("OK.test"),
        Some("evil.test"),
        Some("10.0.0.1"),
        Some("ok.test."),
        Some(""),
        None,
    ];
    let mut seeds = Vec::new();
    for handshake in names.map(hello) {
        let whole = record(&handshake);
        let (first, second) = handshake.split_at(handshake.len() / 2);
        for flight in [
            whole.clone(),
            [record(first), record(second)].concat(),
            [whole, b"more".to_vec()].concat(),
        ] {
            seeds.push([&[20][..], &flight].concat());
        }
    }
    seeds.push(b"\x05GET / HTTP/1.1\r\n\r\n".to_vec());
    seeds
}

fn record(handshake: &[u8]) -> Vec<u8> {
    [b"\x16\x03\x01", &sized(handshake)[..]].concat()
}

/// Bytes behind their length.
fn sized(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).expect("a short field");
    [&length.to_be_bytes()[..], bytes].concat()
}

/// A ClientHello of TLS 1.2 with one suite, one group and one algorithm. RFC 5246 section 7.4.1.2.
fn hello(name: Option<&str>) -> Vec<u8> {
    let mut extensions = [
        &b"\x00\x0d"[..],
        &sized(&sized(b"\x04\x03")),
        b"\x00\x0a",
        &sized(&sized(b"\x00\x1d")),
    ]
    .concat();
    if let Some(name) = name {
        let entry = [&b"\x00"[..], &sized(name.as_bytes())].concat();
        extensions.extend([&b"\x00\x00"[..], &sized(&sized(&entry))].concat());
    }
    let body = [
        &b"\x03\x03"[..],
        &[7; 32],
        b"\x00\x00\x02\xc0\x2f\x01\x00",
        &sized(&extensions),
    ]
    .concat();
    [&b"\x01\x00"[..], &sized(&body)].concat()
}

fn questions() -> io::Result<Vec<Vec<u8>>> {
    let kinds = [
        RecordType::A,
        RecordType::AAAA,
        RecordType::HTTPS,
        RecordType::TXT,
        RecordType::ANY,
        RecordType::AXFR,
    ];
    let mut names = hosts()?;
    names.extend(["ok.test", "w.test", "a.w.test", "localhost", "my-sandbox"].map(str::to_owned));
    let mut seeds = Vec::new();
    for (name, kind) in names.iter().zip(kinds.into_iter().cycle()) {
        let Ok(name) = Name::from_ascii(name) else {
            continue;
        };
        let mut message = Message::new(0xbeef, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.add_query(Query::query(name, kind));
        seeds.extend(message.to_vec());
    }
    Ok(seeds)
}

/// The record of the documentation, line by line and whole; and texts for events.
fn audit_lines() -> io::Result<Vec<Vec<u8>>> {
    let text = std::fs::read_to_string(house().join("docs/audit-log.md"))?;
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("{\"v\":1,"))
        .collect();
    let mut seeds: Vec<Vec<u8>> = lines
        .iter()
        .map(|line| format!("{line}\n").into_bytes())
        .collect();
    seeds.push(format!("{}\n", lines.join("\n")).into_bytes());
    seeds.push(b"demo-868d69\xferun\xfeGET\xfeapi.example.org\xfe\xe2\x80\xae\\\"\x1b[2J\n\xfe/usr/bin/curl".to_vec());
    Ok(seeds)
}
