//! The stub under floods of names: what it keeps is bounded, what it counts is exact, and what it said it says again.
//! Memory is the resident set of `ocs-proxy`, read from outside while the agent waits.
//! Clauses: W1, W8, R6.

use anyhow::{Context, Result};
use harness::order::Order;
use harness::project::{Project, Record, USUAL};
use harness::run::Running;
use harness::spec::Readings;
use harness::world::{As, Call, World};

/// Names asked before the first look at the memory: buffers and allocator have their size then.
const WARM: u32 = 10_000;
/// What may come on top of it. A stub that kept each name of 100,000 would keep 32 bytes of text, a hash slot of 40 and
/// the allocation's own 16 at least: 8.8 MB. What it does keep is one window's 256 kinds.
const SLACK_KIB: u64 = 4096;
/// Addresses that the stub can issue (`proxy/src/synthetic.rs`).
const CAPACITY: u32 = 130_815;
/// What one issued name may cost: its text twice (in the table and in its index), a slot of 100 bytes, a hash slot of 40, the
/// allocations' own. Measured: 171 on x86-64, and a vector or table that grows has its old self beside it.
const BYTES_OF_A_NAME: u64 = 350;

/// A run of the flood, step by step.
struct Flood<'w> {
    world: &'w World,
    project: Project<'w>,
    running: Running,
    proxy: i32,
    steps: u32,
}

impl<'w> Flood<'w> {
    fn begin(world: &'w World, suffix: &str, counts: &[u32]) -> Result<Self> {
        let config = USUAL.replace("  - ok.test\n", "  - ok.test\n  - .wild.test\n");
        let project = Project::new(world, As::Ordinary, &config)?;
        project.write("flood.py", FLOOD)?;
        let mut words = vec![
            "python3".to_owned(),
            "flood.py".to_owned(),
            suffix.to_owned(),
        ];
        words.extend(counts.iter().map(ToString::to_string));
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let call = [&["ocs", "run", "--"], &words[..]].concat();
        let directory = project.directory().to_owned();
        let running = world.start(
            As::Ordinary,
            Call::new(&call).within(&directory).for_seconds(1200),
        )?;
        let proxy = world.find(|process| process.name == "ocs-proxy")?.pid;
        Ok(Self {
            world,
            project,
            running,
            proxy,
            steps: 0,
        })
    }

    /// Waits for the end of the next step, and gives the proxy's resident set in KiB.
    fn step(&mut self) -> Result<u64> {
        self.steps += 1;
        let done = self
            .world
            .outside(&self.project.directory().join(format!("done{}", self.steps)));
        while !done.exists() {
            anyhow::ensure!(
                self.running.is_running()?,
                "the flood ended in step {}",
                self.steps
            );
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        let status = format!("/proc/{}/status", self.proxy);
        let words = ["cat", status.as_str()];
        let status = self
            .world
            .run(As::Root, Call::new(&words))?
            .succeeded()?
            .stdout;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let resident = line
            .and_then(|rest| rest.trim().strip_suffix(" kB"))
            .context("no VmRSS")?
            .parse()?;
        self.project.write(&format!("go{}", self.steps), "")?;
        Ok(resident)
    }

    /// What the agent printed, and the record.
    fn end(self) -> Result<(String, Record)> {
        let said = self.running.wait()?.succeeded()?.stdout;
        Ok((said, self.project.newest_record()?))
    }
}

#[expect(
    clippy::print_stderr,
    reason = "what was measured is shown, with --nocapture"
)]
fn tell(resident: &str) {
    eprintln!("ocs-proxy resident: {resident}");
}

/// How many questions the record tells of, by all of its lines together: an allowed name is told when it gets its address,
/// a refused one each time.
fn told(record: &Record) -> u64 {
    let is_probe = |event: &&serde_json::Value| {
        event["name"]
            .as_str()
            .is_some_and(|name| name.ends_with(".invalid"))
    };
    let named = record
        .of_kind("dns")
        .into_iter()
        .filter(|event| !is_probe(event));
    let beyond = record
        .of_kind("gap")
        .into_iter()
        .filter(|event| event["lost"] == "dns");
    let counts = named.chain(beyond).map(|event| event["count"].as_u64());
    counts.map(|count| count.unwrap_or(1)).sum()
}

#[test]
fn r07_a_hundred_thousand_refused_names_leave_the_memory_flat_and_are_counted_exactly() -> Result<()>
{
    const NAMES: u32 = 100_000;
    let world = World::new(&Order::usual()?)?;
    let mut flood = Flood::begin(&world, "secret.evil.test", &[WARM, NAMES])?;
    let (warm, after) = (flood.step()?, flood.step()?);
    let (said, record) = flood.end()?;
    assert_eq!(said, format!("REFUSED {}\n", WARM + NAMES));
    assert!(
        after <= warm + SLACK_KIB,
        "{warm} KiB before {NAMES} names, {after} KiB after them"
    );
    assert_eq!(told(&record), u64::from(WARM + NAMES));
    assert!(record.lines.len() < 20_000, "{} lines", record.lines.len());
    assert_eq!(world.readings()?, Readings::default());
    tell(&format!(
        "{warm} KiB before {NAMES} refused names, {after} KiB after them"
    ));
    Ok(())
}

#[test]
fn a_million_allowed_names_leave_the_memory_bounded_and_the_first_as_it_was() -> Result<()> {
    const NAMES: u32 = 1_000_000;
    let world = World::new(&Order::usual()?)?;
    let mut flood = Flood::begin(
        &world,
        "wild.test",
        &[WARM, CAPACITY - WARM, NAMES - CAPACITY],
    )?;
    let (warm, full, after) = (flood.step()?, flood.step()?, flood.step()?);
    let (said, record) = flood.end()?;
    // The script compares the first name's answer at the end with that at the beginning.
    assert_eq!(
        said,
        format!(
            "NOERROR {CAPACITY}\nSERVFAIL {}\nthe first is the same\n",
            NAMES - CAPACITY
        )
    );
    let most = warm + u64::from(CAPACITY - WARM) * BYTES_OF_A_NAME / 1024 + SLACK_KIB;
    assert!(
        full <= most,
        "{warm} KiB with {WARM} names, {full} KiB with {CAPACITY}"
    );
    assert!(
        after <= full + SLACK_KIB,
        "{full} KiB with a full table, {after} KiB after {NAMES} names"
    );
    assert_eq!(told(&record), u64::from(NAMES));
    assert_eq!(world.readings()?, Readings::default());
    tell(&format!(
        "{warm} KiB with {WARM} names, {full} KiB with {CAPACITY}, {after} KiB after {NAMES}"
    ));
    Ok(())
}

/// Asks for so many new names per step, all below one suffix, 64 at a time; waits for a file after each step.
const FLOOD: &str = r#"
import os, socket, struct, sys, time
suffix, counts = sys.argv[1], [int(count) for count in sys.argv[2:]]
tail = b"".join(bytes([len(label)]) + label.encode() for label in suffix.split(".")) + b"\0\0\1\0\1"
head = struct.pack(">5H", 0x100, 1, 0, 0, 0)
asker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
asker.connect(("127.0.0.1", 53))
asker.settimeout(20)

def question(number):
    label = b"n%08d" % number
    return struct.pack(">H", number & 0xffff) + head + bytes([len(label)]) + label + tail

def ask(number):
    asker.send(question(number))
    return asker.recv(512)

first = None
codes, number = {}, 0
for step, count in enumerate(counts, 1):
    end = number + count
    while number < end:
        batch = min(64, end - number)
        for offset in range(batch):
            asker.send(question(number + offset))
        for _ in range(batch):
            answer = asker.recv(512)
            code = answer[3] & 15
            codes[code] = codes.get(code, 0) + 1
            if first is None:
                first = answer[-4:]
        number += batch
    open("done%d" % step, "w").close()
    while not os.path.exists("go%d" % step):
        time.sleep(0.02)
for code in sorted(codes):
    print({0: "NOERROR", 2: "SERVFAIL", 5: "REFUSED"}.get(code, code), codes[code])
if 0 in codes:
    print("the first is the same" if ask(0)[-4:] == first else "the first changed")
"#;
