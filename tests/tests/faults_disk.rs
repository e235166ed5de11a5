//! A disk that is full: under a record that is being written, and before a start. A tmpfs of the world's stands in for it.
//! Clauses: R2, R3, U2.

use anyhow::{Context, Result};
use harness::for_each_user;
use harness::order::Order;
use harness::project::{Project, USUAL};
use harness::run::Finished;
use harness::world::{As, Call, World};
use serde_json::Value;

/// Puts a file system of that size where the user's sandboxes have their state.
fn small_disk(world: &World, who: As, size: &str) -> Result<()> {
    let owner = match who {
        As::Ordinary => "mode=700,uid=61000,gid=61000",
        As::Root => "mode=700",
    };
    let options = format!("size={size},{owner}");
    let state = who.home().join(".opencode-sandbox");
    let state = state.to_string_lossy();
    world
        .run(who, Call::new(&["mkdir", "-p", &state]))?
        .succeeded()?;
    let mount = ["mount", "-t", "tmpfs", "-o", &options, "tmpfs", &state];
    world.run(As::Root, Call::new(&mount))?.succeeded()?;
    Ok(())
}

/// The lines of the only record, read where it lies: inside the world.
fn record(world: &World, who: As) -> Result<Vec<Value>> {
    let cat = ["sh", "-c", "cat .opencode-sandbox/*/audit/*.jsonl"];
    let text = world.run(who, Call::new(&cat))?.succeeded()?.stdout;
    let lines = text
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>();
    lines.context("the record is no JSON lines")
}

/// Asks for a name that no list has until it hears 503, and then for one that is listed; prints each status once in a
/// row, with how often it came.
const ASKS: &str = r#"
import itertools, socket
def ask(host):
    with socket.create_connection(("127.0.0.1", 3128)) as s:
        s.sendall(f"GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        said = b""
        while piece := s.recv(4096):
            said += piece
        return said.split(b" ")[1].decode()
seen = []
while len(seen) < 5000 and seen[-3:] != ["503"] * 3:
    seen.append(ask("evil.test"))
seen += [ask("ok.test") for _ in range(3)]
print(*(f"{status}x{len(list(group))}" for status, group in itertools.groupby(seen)), flush=True)
"#;

for_each_user! {
    fn under_the_record_every_new_request_is_refused_and_no_line_is_lost(who) {
        let world = World::new(&Order::usual()?)?;
        small_disk(&world, who, "192k")?;
        let project = Project::new(&world, who, USUAL)?;
        project.write("asks.py", ASKS)?;
        let finished = project.run(&["python3", "asks.py"])?;
        let [refused, full] = finished.stdout.split_whitespace().collect::<Vec<_>>()[..] else {
            panic!("{finished}");
        };
        let refused: usize = refused.strip_prefix("403x").context("no 403 first")?.parse()?;
        assert_eq!(full, "503x6", "{finished}");
        assert!(refused > 20, "{finished}");
        // What was told to the client is on record, and what was not carried out reached nobody.
        let lines = record(&world, who)?;
        let on_record = lines.iter().filter(|line| line["host"] == "evil.test" && line["reason"] == "not-whitelisted");
        assert_eq!(on_record.count(), refused);
        let readings = world.readings()?;
        assert_eq!(readings.connections, []);
        // A name that is listed is resolved before the request is recorded; no other ever is.
        assert!(readings.queries.iter().all(|query| query.name == "ok.test"), "{:?}", readings.queries);
        // What is there is a record; and where there is room again, the next run has one of its own.
        project.ocs(&["audit", "verify"])?.succeeded()?;
        let state = who.home().join(".opencode-sandbox");
        let wider = ["mount", "-o", "remount,size=4m", &state.to_string_lossy()];
        world.run(As::Root, Call::new(&wider))?.succeeded()?;
        project.run(&["true"])?.succeeded()?;
        project.ocs(&["audit", "verify"])?.succeeded()?;
        Ok(())
    }

    fn before_a_start_nothing_is_started_and_nothing_is_left(who) {
        let world = World::new(&Order::usual()?)?;
        small_disk(&world, who, "4k")?;
        let before = world.census()?;
        let project = Project::new(&world, who, USUAL)?;
        let finished = starts_nothing(&project)?;
        assert!(!finished.stderr.is_empty());
        assert_eq!(world.settle(|census| *census == before)?, before, "{finished}");
        assert!(!world.outside(&project.directory().join("ran")).exists(), "{finished}");
        Ok(())
    }
}

/// A run that fails with the code of a fence that could not be put up.
fn starts_nothing(project: &Project<'_>) -> Result<Finished> {
    let finished = project.run(&["touch", "ran"])?;
    assert_eq!(finished.code(), 70, "{finished}");
    Ok(finished)
}
