//! What `ocs compose` prints, read by the client that would run it: it is YAML, and nothing in it is unknown or malformed.
//! No daemon is asked. Clauses: B5.

use anyhow::{Context, Result};
use harness::order::Order;
use harness::project::Project;
use harness::world::{As, Call, World};
use serde_json::Value;

const CONFIG: &str = "sandbox-name: composed\nenv:\n  PRICE: 5$\n  WORDS: 'a: b # c'\nenv-passthrough:\n  KEY: HOST_KEY\n";
const AS_JSON: &str = "import json, sys, yaml; json.dump(yaml.safe_load(sys.stdin), sys.stdout)";

#[test]
fn the_file_is_yaml_and_compose_s_own_client_understands_all_of_it() -> Result<()> {
    let who = As::Ordinary;
    let world = World::new(&Order::usual()?)?;
    let project = Project::named(&world, who, "odd: name", CONFIG)?;
    let printed = project.ocs(&["compose"])?.succeeded()?;
    let parsed = project.call(Call::new(&["python3", "-c", AS_JSON]).fed(&printed.stdout))?;
    let parsed: Value = serde_json::from_str(&parsed.succeeded()?.stdout)?;
    let services = parsed
        .get("services")
        .and_then(Value::as_object)
        .context("no services")?;
    let names: Vec<&str> = services.keys().map(String::as_str).collect();
    assert_eq!(names, ["agent", "fence", "proxy"]);
    project.write("compose.yaml", &printed.stdout)?;
    let words = ["docker-compose", "-f", "compose.yaml", "config"];
    let host = [
        ("HOST_KEY", "the key"),
        ("OPENCODE_SERVER_PASSWORD", "chosen"),
    ];
    let understood = project.call(Call::new(&words).with(&host))?.succeeded()?;
    let parsed = project.call(Call::new(&["python3", "-c", AS_JSON]).fed(&understood.stdout))?;
    let parsed: Value = serde_json::from_str(&parsed.succeeded()?.stdout)?;
    let agent = parsed
        .get("services")
        .and_then(|services| services.get("agent"))
        .context("no agent")?;
    let variable = |name: &str| {
        agent
            .get("environment")
            .and_then(|all| all.get(name)?.as_str())
    };
    // `config` writes a dollar as it would have to stand in a file.
    assert_eq!(variable("PRICE"), Some("5$$"));
    assert_eq!(variable("WORDS"), Some("a: b # c"));
    assert_eq!(variable("KEY"), Some("the key"));
    assert_eq!(variable("OPENCODE_SERVER_PASSWORD"), Some("chosen"));
    assert_eq!(
        agent.get("working_dir").and_then(Value::as_str),
        Some("/odd: name")
    );
    let without = project.call(Call::new(&words))?;
    assert_ne!(without.code(), 0, "no password, no start: {without}");
    Ok(())
}
