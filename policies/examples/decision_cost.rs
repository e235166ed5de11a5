//! What a decision costs, at few rules and at a million: `cargo run --release -p policies --example decision_cost`.
//!
//! A line per size and kind of request: best, median and worst of the batches, in nanoseconds per decision. Each batch asks
//! for 10,000 different names, spread over all rules: at a million none of what it touches is in a cache. Before them, what
//! a rule takes of memory: what the process has grown by (resident) once the file is read, compiled and given back.

use std::fmt::Write as _;
use std::hint::black_box;
use std::time::Instant;

use policies::{Config, Destination, Policy, Request, Source, Surroundings, Verdict, Via};

/// Requests per batch; more than caches of branch predictors learn.
const BATCH: usize = 10_000;
const BATCHES: usize = 101;

fn policy(rules: usize) -> Result<Policy, String> {
    let mut text = String::from(
        "sandbox-name: cost\nhttp-domain-denylist:\n  - .denied.example.org\nhttp-domain-whitelist:\n",
    );
    for index in 0..rules {
        let dot = if index % 2 == 0 { "." } else { "" };
        writeln!(text, "  - {dot}host-{index}.example.org").map_err(|error| error.to_string())?;
    }
    let source = Source {
        name: "cost.yaml",
        text: &text,
    };
    let (config, _) = Config::parse(&source).map_err(|errors| errors.to_string())?;
    let surroundings = Surroundings {
        host_addresses: Vec::new(),
        own_addresses: Vec::new(),
    };
    Ok(config.policy(None, surroundings))
}

/// Requests that differ, so that no cache holds all of a large index.
fn requests(rules: usize, host: impl Fn(usize) -> String) -> Result<Vec<Request>, String> {
    let stride = 7_919; // a prime: the walk visits every rule before it comes back
    (0..BATCH)
        .map(|index| {
            let host = host(index * stride % rules);
            let destination = Destination::parse_authority(&format!("{host}:443"), None)
                .map_err(|error| format!("{host}: {error}"))?;
            Ok(Request {
                destination,
                via: Via::Connect,
            })
        })
        .collect()
}

fn nanoseconds(policy: &Policy, requests: &[Request]) -> (f64, f64, f64, usize) {
    let mut batches = Vec::with_capacity(BATCHES);
    let mut allowed = 0;
    for _ in 0..BATCHES {
        let begin = Instant::now();
        allowed = requests
            .iter()
            .filter(|request| {
                matches!(
                    black_box(policy.decide(black_box(request))),
                    Verdict::Allow(_)
                )
            })
            .count();
        batches.push(begin.elapsed().as_secs_f64() * 1e9 / BATCH as f64);
    }
    batches.sort_by(f64::total_cmp);
    let best = batches.first().copied().unwrap_or_default();
    let worst = batches.last().copied().unwrap_or_default();
    (
        best,
        batches.get(BATCHES / 2).copied().unwrap_or_default(),
        worst,
        allowed,
    )
}

/// Resident memory, in bytes: the second number of `/proc/self/statm`, in pages of 4 KiB.
fn resident() -> Result<u64, String> {
    let text = std::fs::read_to_string("/proc/self/statm").map_err(|error| error.to_string())?;
    let pages = text.split_whitespace().nth(1);
    let pages = pages.and_then(|pages| pages.parse::<u64>().ok());
    Ok(pages.ok_or("statm is no list of numbers")? * 4096)
}

#[expect(clippy::print_stdout, reason = "an example reports on stdout")]
fn main() -> Result<(), String> {
    for rules in [10, 1_000, 100_000, 1_000_000] {
        let (begin, before) = (Instant::now(), resident()?);
        let policy = policy(rules)?;
        println!(
            "{rules} rules, read and compiled in {} ms, {} bytes of memory a rule",
            begin.elapsed().as_millis(),
            resident()?.saturating_sub(before) / rules as u64
        );
        let kinds: [(&str, Vec<Request>); 5] = [
            (
                "allowed, exact",
                requests(rules, |index| format!("host-{}.example.org", index | 1))?,
            ),
            (
                "allowed, below",
                requests(rules, |index| {
                    format!("a.b.host-{}.example.org", index & !1)
                })?,
            ),
            (
                "refused, unlisted",
                requests(rules, |index| format!("other-{index}.example.net"))?,
            ),
            (
                "refused, denylisted",
                requests(rules, |index| format!("host-{index}.denied.example.org"))?,
            ),
            (
                "refused, 100 labels",
                requests(rules, |index| {
                    format!("{}x{index}.example.net", "a.".repeat(97))
                })?,
            ),
        ];
        for (name, requests) in &kinds {
            let (best, median, worst, allowed) = nanoseconds(&policy, requests);
            println!(
                "  {name:<20} best {best:>5.0}, median {median:>5.0}, worst {worst:>5.0} ns; {allowed} of {BATCH} allowed"
            );
        }
    }
    Ok(())
}
