//! The paths that every request takes, each done a thousand times inside [`measured`]: `hot WORK` does one, `hot` names all.
//!
//! Run under callgrind by `bench/check.sh`, which counts the instructions of that function alone. Not responsible for time.
#![forbid(unsafe_code)]

use std::fmt::Write as _;
use std::hint::black_box;
use std::net::IpAddr;
use std::process::ExitCode;

use policies::audit::{Chain, Decision, Event, Header, Process, RequestEvent, Text, Timestamp};
use policies::{
    Config, Destination, Generation, Policy, Request, Source, Surroundings, Verdict, Via,
};

/// Entries of the larger policy: past every cache of the first level, and soon read under callgrind.
const MANY: usize = 10_000;
/// How often a work is done.
const TIMES: usize = 1_000;

type Work = fn() -> Result<Box<dyn FnMut(usize)>, String>;

const WORKS: [(&str, Work); 9] = [
    ("decide-hit-10", || decide(10, "host-7.example.org")),
    ("decide-hit-10000", || decide(MANY, "host-7.example.org")),
    ("decide-below-10000", || {
        decide(MANY, "a.b.host-8.example.org")
    }),
    ("decide-miss-10", || decide(10, "other.example.net")),
    ("decide-miss-10000", || decide(MANY, "other.example.net")),
    ("parse-destination", parse_destination),
    ("parse-config-100", parse_config),
    ("pin", pin),
    ("record-line", record_line),
];

fn main() -> ExitCode {
    let asked = std::env::args().nth(1);
    let Some(asked) = asked else {
        names();
        return ExitCode::SUCCESS;
    };
    let work = WORKS.iter().find(|(name, _)| *name == asked);
    let made = work.ok_or("no such work".to_owned());
    match made.and_then(|(_, make)| make()) {
        Ok(mut work) => {
            measured(&mut *work);
            ExitCode::SUCCESS
        }
        Err(error) => failed(&error),
    }
}

/// What is counted; its name is what callgrind is told.
#[inline(never)]
fn measured(work: &mut dyn FnMut(usize)) {
    for index in 0..TIMES {
        work(index);
    }
}

#[expect(clippy::print_stdout, reason = "a list for the script")]
fn names() {
    for (name, _) in WORKS {
        println!("{name}");
    }
}

#[expect(clippy::print_stderr, reason = "what the script shows")]
fn failed(error: &str) -> ExitCode {
    eprintln!("hot: {error}");
    ExitCode::FAILURE
}

fn text(entries: usize) -> String {
    let mut text = String::from("sandbox-name: hot\nhttp-domain-whitelist:\n");
    for index in 0..entries {
        let dot = if index % 2 == 0 { "." } else { "" };
        // Writing to a string cannot fail.
        writeln!(text, "  - {dot}host-{index}.example.org").ok();
    }
    text
}

fn parsed(text: &str) -> Result<Config, String> {
    let source = Source {
        name: "hot.yaml",
        text,
    };
    let (config, _) = Config::parse(&source).map_err(|errors| errors.to_string())?;
    Ok(config)
}

fn policy(entries: usize) -> Result<Policy, String> {
    let surroundings = Surroundings {
        host_addresses: Vec::new(),
        own_addresses: Vec::new(),
    };
    Ok(parsed(&text(entries))?.policy(None, surroundings))
}

fn request(host: &str) -> Result<Request, String> {
    let destination = Destination::parse_authority(&format!("{host}:443"), None);
    Ok(Request {
        destination: destination.map_err(|error| error.to_string())?,
        via: Via::Connect,
    })
}

fn decide(entries: usize, host: &str) -> Result<Box<dyn FnMut(usize)>, String> {
    let (policy, request) = (policy(entries)?, request(host)?);
    Ok(Box::new(move |_| {
        drop(black_box(policy.decide(black_box(&request))));
    }))
}

fn parse_destination() -> Result<Box<dyn FnMut(usize)>, String> {
    Ok(Box::new(|_| {
        drop(black_box(Destination::parse_authority(
            black_box("api.host-7.example.org:443"),
            None,
        )));
    }))
}

/// A file of a hundred entries, once in a hundred times.
fn parse_config() -> Result<Box<dyn FnMut(usize)>, String> {
    let text = text(100);
    parsed(&text)?;
    Ok(Box::new(move |index| {
        if index % 100 == 0 {
            drop(black_box(parsed(black_box(&text))));
        }
    }))
}

fn pin() -> Result<Box<dyn FnMut(usize)>, String> {
    let policy = policy(10)?;
    let Verdict::Allow(permit) = policy.decide(&request("host-7.example.org")?) else {
        return Err("not allowed".to_owned());
    };
    let answers: [IpAddr; 2] = [[93, 184, 215, 14].into(), [10, 0, 0, 5].into()];
    Ok(Box::new(move |_| {
        drop(black_box(policy.pin(permit.clone(), black_box(&answers))));
    }))
}

fn record_line() -> Result<Box<dyn FnMut(usize)>, String> {
    let policy = policy(10)?;
    let Verdict::Allow(permit) = policy.decide(&request("host-7.example.org")?) else {
        return Err("not allowed".to_owned());
    };
    let mut chain = Chain::new(&Header {
        sandbox: "hot".to_owned(),
        run: "hot".to_owned(),
    });
    let event = Event::Request(RequestEvent {
        id: 1,
        decision: Decision::Allow,
        reason: None,
        rule: permit.rule().cloned(),
        via: Via::Connect,
        method: Some(Text::new("CONNECT")),
        host: Some(Text::new("host-7.example.org")),
        port: Some(443),
        sni: Some(Text::new("host-7.example.org")),
        address: Some([93, 184, 215, 14].into()),
        generation: Generation(1),
        process: Process::UNKNOWN,
        dropped: Vec::new(),
        count: 1,
    });
    let time = Timestamp::from_unix_millis(1_795_223_640_123);
    Ok(Box::new(move |_| {
        black_box(chain.line(time, black_box(&event)).len());
    }))
}
