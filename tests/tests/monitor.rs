//! What is seen of a box from outside while it runs: ports, processes, sums; where the agent neither reads nor writes it.
//! Clauses: R1.

use std::fs;

use anyhow::{Context, Result};
use harness::desk::{Desk, Task};
use harness::for_each_user;
use serde_json::Value;

/// Listens on a port of the box, and asks for everything that lies beside its own record.
const AGENT: &str = "python3 -c 'import socket,time; s=socket.socket(); s.bind((\"127.0.0.1\",8123)); s.listen(); time.sleep(4)'; \
    find / -path /proc -prune -o -name '*.jsonl' -print 2>/dev/null | grep -v '^/project/' > found; echo over";

for_each_user! {
    fn ports_and_processes_are_told_beside_the_record_and_the_box_has_none_of_it(who) {
        let desk = Desk::bare(who)?;
        let script = serde_json::to_string(AGENT)?;
        let project = desk.project("project", &format!("sandbox-name: desk\nagent:\n  tool: [sh, -c, {script}]\n"))?;
        let often = [("PORTSCAN_INTERVAL", "1"), ("RESOURCE_MONITOR_INTERVAL", "1"), ("AUTOLOG_INTERVAL", "2")];
        let task = Task::of(desk.begin(&project, &["x"], None, &often)?.wait()?)?;
        assert_eq!((task.finished.code(), task.text("result")), (0, "over"), "{:#?}", task.finished);
        let found = fs::read_to_string(desk.world.outside(&project.directory().join("found")))?;
        assert_eq!(found, "");
        let record = desk.world.outside(task.text("record").as_ref());
        let directory = record.parent().context("a directory")?.join("monitor");
        let lines = |name: &str| -> Result<Vec<Value>> {
            let path = directory.join(format!("{}.{name}.jsonl", task.text("run")));
            let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            Ok(text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
        };
        let ports = lines("portscan")?;
        let warned = ports.iter().find(|line| line["status"] == "warning").context("a warning")?;
        assert_eq!(warned["expected_ports"], serde_json::json!([53, 3128, 3129]));
        assert_eq!(warned["unexpected"][0]["address"], "127.0.0.1:8123", "{warned}");
        assert_eq!(warned["unexpected"].as_array().map(Vec::len), Some(1), "{warned}");
        let resources = lines("resources")?;
        let seen = resources.first().context("a line")?;
        assert!(seen["process_count"].as_u64() >= Some(2) && seen["mem_total_kb"].as_u64() > Some(0), "{seen}");
        let names: Vec<&str> = seen["top_processes"].as_array().into_iter().flatten().filter_map(|top| top["command"].as_str()).collect();
        assert!(names.contains(&"python3"), "{names:?}");
        let summary = lines("security_summary")?;
        let sum = summary.first().context("a sum")?;
        assert!(sum["portscan_warnings"].as_u64() >= Some(1) && sum["resource_snapshots"].as_u64() >= Some(1), "{sum}");
        assert!(sum["listeners"].to_string().contains("127.0.0.1:8123"), "{sum}");
        desk.call(&project, &["ocs", "audit", "verify"])?.succeeded()?;
        Ok(())
    }
}
