use std::future::Future;
use std::pin::pin;
use std::task::Context;

use policies::audit::Process;
use policies::{Generation, Via};

use super::*;

struct World {
    sink: Sink,
    directory: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let header = Header {
            sandbox: "box".into(),
            run: "run".into(),
        };
        let path = directory.path().join("r.jsonl");
        Self {
            sink: Sink::open(&path, &header, Rotation::NEVER).unwrap(),
            directory,
        }
    }

    fn written(&self) -> Vec<Event> {
        let text = std::fs::read_to_string(self.directory.path().join("r.jsonl")).unwrap();
        let event = |line: &str| serde_json::from_str(line).unwrap();
        text.lines().map(event).collect()
    }
}

fn allowed() -> RequestEvent {
    RequestEvent {
        id: 0,
        decision: Decision::Allow,
        reason: None,
        rule: None,
        via: Via::Connect,
        method: None,
        host: None,
        port: None,
        sni: None,
        address: None,
        generation: Generation(1),
        process: Process::UNKNOWN,
        dropped: Vec::new(),
        count: 1,
    }
}

fn abandoned(id: u64) -> Event {
    Event::Close(CloseEvent {
        id,
        outcome: Outcome::Abandoned,
        bytes_up: 0,
        bytes_down: 0,
        duration_ms: 0,
    })
}

#[tokio::test]
async fn decisions_of_one_turn_are_written_together_and_each_waits_for_its_line() {
    let world = World::new();
    let decide = || async {
        let id = world.sink.decision(allowed()).await.unwrap();
        (id, world.written().len())
    };
    let (one, two, three) = tokio::join!(decide(), decide(), decide());
    assert_eq!([one, two, three], [(1, 3), (2, 3), (3, 3)]);
    assert_eq!(decide().await, (4, 4));
}

#[test]
fn a_decision_that_is_cancelled_in_its_turn_is_told_and_abandoned() {
    let world = World::new();
    {
        let mut decision = pin!(world.sink.decision(allowed()));
        let mut cx = Context::from_waker(std::task::Waker::noop());
        assert!(decision.as_mut().poll(&mut cx).is_pending());
        assert_eq!(world.written(), []);
    }
    drop(world.sink.unsynced());
    let event = RequestEvent { id: 1, ..allowed() };
    assert_eq!(world.written(), [Event::Request(event), abandoned(1)]);
}

#[test]
fn an_end_waits_for_the_next_decision_and_keeps_its_place_before_it() {
    let world = World::new();
    world.sink.owe(abandoned(9));
    assert_eq!(world.written(), []);
    assert_eq!(world.sink.decision_now(allowed()), Ok(2));
    let event = RequestEvent { id: 2, ..allowed() };
    assert_eq!(world.written(), [abandoned(9), Event::Request(event)]);
}

#[tokio::test]
async fn an_end_that_no_decision_follows_is_written_in_its_turn() {
    let world = World::new();
    tokio::select! {
        biased;
        () = world.sink.serve() => {}
        () = async {
            world.sink.owe(abandoned(9));
            turn().await; // the server hears of it
            turn().await; // its turn
            assert_eq!(world.written(), [abandoned(9)]);
        } => {}
    }
}
