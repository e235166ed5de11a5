//! Records are read as streams: ten times the record takes no more memory, packed or not.
//! Clauses: R3.

use anyhow::Result;
use harness::order::Order;
use harness::project::{Project, USUAL};
use harness::world::{As, Call, World};

#[test]
fn ten_times_the_record_takes_no_more_memory_to_read() -> Result<()> {
    let world = World::new(&Order::usual()?)?;
    let project = Project::new(&world, As::Ordinary, USUAL)?;
    project.write("record.py", include_str!("../../bench/record.py"))?;
    project.write("measure.py", MEASURE)?;
    let measure = Call::new(&["/usr/bin/python3", "measure.py"]).for_seconds(300);
    let finished = project.call(measure)?.succeeded()?;
    assert_eq!(finished.stdout, "", "{finished}");
    Ok(())
}

/// Prints what took more memory than it should, and what failed.
const MEASURE: &str = r#"
import gzip, os, shutil, subprocess, sys
import record

def most_memory(words):
    child = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(child.pid, 0)
    if status != 0:
        print(words, "ended with", status)
    return used.ru_maxrss

for lines in (800, 8_000):
    record.main(lines, f"{lines}.jsonl")
    with open(f"{lines}.jsonl", "rb") as plain, gzip.open(f"{lines}.jsonl.gz", "wb", 1) as packed:
        shutil.copyfileobj(plain, packed)
for command in (["verify"], ["query", "--json"], ["query", "--csv"], ["export", "--format", "ocsf"]):
    for end in ("jsonl", "jsonl.gz"):
        short, long = (most_memory(["ocs", "audit", *command, f"{lines}.{end}"]) for lines in (800, 8_000))
        if long > short + 2048:
            print(command, end, f"{short} KiB for 800 lines, {long} KiB for 8,000")
"#;
