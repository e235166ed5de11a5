//! A real OpenCode behind `ocs mcp`: a delegate that is aborted, and one that goes on to its end.
//! Needs: OpenCode in `target/agent` (`make agent`).
//! Clauses: O8, U2.

use std::path::PathBuf;

use anyhow::{Context, Result};
use harness::desk::{Desk, POLICY};
use harness::model::Step;
use harness::world::As;
use serde_json::{Value, json};

/// Speaks the protocol as it is on the wire: two delegates, the first aborted once its mark is there.
const CLIENT: &str = r#"
import json, os, subprocess, time
server = subprocess.Popen(["ocs", "mcp"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
def send(**message):
    server.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    server.stdin.flush()
def call(number, name, **arguments):
    send(id=number, method="tools/call", params={"name": name, "arguments": arguments})
def answer(number):
    while True:
        message = json.loads(server.stdout.readline())
        if message.get("id") == number:
            return message["result"]
send(id=1, method="initialize", params={"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}})
answer(1)
send(method="notifications/initialized")
call(2, "delegate_task", instructions="--first \"task\"\nof two")
while not os.path.exists("begun"):
    time.sleep(0.05)
call(3, "abort_task")
seen = {"abort": answer(3), "aborted": answer(2)}
call(4, "delegate_task", instructions="second")
seen["delegate"] = answer(4)
server.stdin.close()
seen["code"] = server.wait()
print(json.dumps(seen))
"#;

#[test]
fn a_delegate_of_a_real_agent_is_aborted_and_the_next_goes_to_its_end() -> Result<()> {
    let steps = [
        Step::Bash("test -e begun || { touch begun; sleep 4321; }".to_owned()),
        Step::Say("The delegate is done.".to_owned()),
    ];
    let mut desk = Desk::scripted(As::Ordinary, &steps)?;
    let before = desk.world.census()?;
    let project = desk.project("project", POLICY)?;
    project.write("client.py", CLIENT)?;
    let seen = desk
        .call(&project, &["python3", "client.py"])?
        .succeeded()?;
    let seen: Value = serde_json::from_str(&seen.stdout).with_context(|| seen.to_string())?;
    let at = |pointer: &str| seen.pointer(pointer).cloned().unwrap_or_default();
    // The conversation goes on behind the tool that was broken off: the script's next step is what it says.
    for (pointer, wanted) in [
        (
            "/abort/content/0/text",
            json!("the delegated task is being ended"),
        ),
        ("/aborted/isError", json!(true)),
        ("/aborted/structuredContent/exit_code", json!(143)),
        ("/delegate/isError", json!(false)),
        ("/delegate/content/0/text", json!("The delegate is done.")),
        ("/delegate/structuredContent/ok", json!(true)),
        ("/code", json!(0)),
    ] {
        assert_eq!(at(pointer), wanted, "{pointer} of {seen:#}");
    }
    assert_eq!(desk.world.settle(|census| *census == before)?, before);
    let mut left = desk.left_over()?;
    left.retain(|path| path.components().any(|part| part.as_os_str() == "tasks"));
    assert_eq!(left, Vec::<PathBuf>::new());
    desk.close()
}
