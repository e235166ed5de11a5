//! The record and the config: what is verified, and what starts nothing.
//! Clauses: P9, R1, R3, R5.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use anyhow::Context;
use harness::binaries::repository;
use harness::for_each_user;
use harness::order::Order;
use harness::project::{Project, USUAL};
use harness::world::{Call, World};

for_each_user! {
    fn verify_accepts_the_record_and_names_the_line_of_any_changed_byte(who) {
        let world = World::new(&Order::usual()?)?;
        let project = Project::new(&world, who, USUAL)?;
        project.run(&["sh", "-c", "curl -s https://ok.test/; curl -s https://evil.test/; env -i getent hosts evil.test"])?;
        project.ocs(&["audit", "verify"])?.succeeded()?;
        let record = project.newest_record()?;
        assert!(record.lines.len() > 5, "{record:#?}");
        project.write("record.jsonl", &fs::read_to_string(&record.file)?)?;
        project.write("flip.py", FLIP)?;
        let finished = project.call(Call::new(&["python3", "flip.py"]).for_seconds(300))?.succeeded()?;
        assert_eq!(finished.stdout, "");
        Ok(())
    }

    fn a_run_is_signed_at_its_end_and_a_record_written_anew_is_found(who) {
        let world = World::new(&Order::usual()?)?;
        let project = Project::new(&world, who, USUAL)?;
        project.run(&["sh", "-c", "curl -s https://evil.test/"])?;
        let whole = project.ocs(&["audit", "verify", "--json"])?.succeeded()?;
        let said: serde_json::Value = serde_json::from_str(&whole.stdout)?;
        let record = project.newest_record()?;
        assert_eq!(said["files"][0]["signed"], record.lines.len(), "{whole}");
        let key = said["files"][0]["key"].as_str().context("no key")?.to_owned();
        project.run(&["true"])?.succeeded()?;
        project.ocs(&["audit", "verify", "--key", &key])?.succeeded()?;
        let other = project.newest_record()?;
        // The second run in the first one's place: whole in itself, and not what was signed under that name.
        fs::copy(&other.file, &record.file)?;
        let finished = project.ocs(&["audit", "verify"])?;
        let bad = format!("{}:", record.file.file_name().context("no name")?.to_string_lossy());
        assert!(finished.code() == 1 && finished.stdout.contains(&bad), "{finished}");
        assert!(finished.stdout.contains("signed"), "{finished}");
        Ok(())
    }

    fn a_record_cut_short_before_its_stop_is_said_to_have_none(who) {
        let world = World::new(&Order::usual()?)?;
        let project = Project::new(&world, who, USUAL)?;
        project.run(&["true"])?.succeeded()?;
        let record = project.newest_record()?;
        let (_, all_but_last) = record.lines.split_last().context("an empty record")?;
        project.write("cut.jsonl", &(all_but_last.join("\n") + "\n"))?;
        let finished = project.ocs(&["audit", "verify", "cut.jsonl"])?;
        assert!(finished.stdout.contains("no stop at its end"), "{finished}");
        Ok(())
    }

    fn the_record_lies_in_its_user_s_home_and_is_theirs_alone(who) {
        let world = World::new(&Order::usual()?)?;
        let project = Project::new(&world, who, USUAL)?;
        project.run(&["true"])?.succeeded()?;
        let record = project.newest_record()?;
        assert_eq!(fs::metadata(&record.file)?.permissions().mode() & 0o7777, 0o600);
        let sandbox = record.file.ancestors().nth(2).context("no state directory")?;
        assert_eq!(fs::metadata(sandbox)?.permissions().mode() & 0o7777, 0o700);
        let kinds: Vec<_> = record.events.iter().filter_map(|event| event["event"].as_str()).collect();
        assert_eq!((kinds.first(), kinds.last()), (Some(&"start"), Some(&"stop")));
        Ok(())
    }

    fn every_refused_config_starts_nothing_and_names_each_mistake(who) {
        let world = World::new(&Order::usual()?)?;
        let before = world.census()?;
        let mut tried = 0;
        let mut wrong = Vec::new();
        for entry in fs::read_dir(repository().join("policies/corpus/refused")).context("list the corpus")? {
            let path = entry?.path();
            if path.extension().is_none_or(|extension| extension != "yaml") {
                continue;
            }
            let Ok(config) = fs::read_to_string(&path) else { continue }; // one of them is no UTF-8: policies' own test
            let project = Project::new(&world, who, &config)?;
            let finished = project.run(&["touch", "ran"])?;
            let ran = world.outside(&project.directory().join("ran")).exists();
            let errors = fs::read_to_string(path.with_extension("errors"))?;
            let places = errors.lines().filter_map(|line| line.split_once(": ").map(|(place, _)| place));
            let unnamed: Vec<_> = places.filter(|place| !finished.stderr.contains(&format!("{place}:"))).collect();
            if finished.code() != 64 || ran || !unnamed.is_empty() {
                wrong.push(format!("{}: ran {ran}, not named {unnamed:?}: {finished}", path.display()));
            }
            tried += 1;
        }
        assert!(wrong.is_empty(), "{} of {tried}: {}", wrong.len(), wrong.join("\n\n"));
        assert!(tried >= 60, "only {tried} refused files in the corpus");
        assert_eq!(world.settle(|census| *census == before)?, before);
        assert_eq!(world.record_files(who)?, Vec::<std::path::PathBuf>::new());
        Ok(())
    }
}

/// Changes one byte at a time, a prime apart, and prints every change that was not found where it is.
const FLIP: &str = r#"
import subprocess
whole = open("record.jsonl", "rb").read()
for at in range(0, len(whole), 23):
    changed = bytearray(whole)
    changed[at] ^= 1
    open("changed.jsonl", "wb").write(changed)
    ended = subprocess.run(["ocs", "audit", "verify", "changed.jsonl"], capture_output=True, text=True)
    line = whole[:at].count(b"\n") + 1
    if ended.returncode == 0 or f"changed.jsonl:{line}: bad" not in ended.stdout:
        print(f"byte {at} in line {line}:", ended)
"#;
