//! A project of opencode-sandbox moves over: what its config gives is what the old scripts gave, derived here a second time,
//! by a shell script written from COMPATIBILITY 4.3 to 4.18 (`migration/old.sh`). The differences that were chosen are each a
//! test of their own; `docs/migration.md` lists them.
//! Clauses: P1, U4.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use harness::for_each_user;
use harness::order::Order;
use harness::project::Project;
use harness::world::{As, Call, World};
use serde_json::Value;

const OLD: &str = include_str!("migration/old.sh");

/// What the host has: one variable is empty, one is not set at all.
const HOST: [(&str, &str); 3] = [
    ("HOST_TOKEN", "a token = with; $odd \"text\""),
    ("HOST_EMPTY", ""),
    ("HOST_OTHER", "other"),
];

/// The facts of one config, one a line.
type Facts = BTreeSet<String>;

fn old(project: &Project<'_>) -> Result<Facts> {
    let words = ["bash", "-c", OLD];
    let finished = project.call(Call::new(&words).with(&HOST))?.succeeded()?;
    Ok(finished.stdout.lines().map(str::to_owned).collect())
}

/// The same facts of ours: the lists from `policy check`, everything else from inside a box.
fn ours(world: &World, who: As, project: &Project<'_>, names: &[&str]) -> Result<Facts> {
    let checked = project.ocs(&["policy", "check", "--json"])?.succeeded()?;
    let checked: Value = serde_json::from_str(&checked.stdout)?;
    let list = |key: &str| {
        let list = checked
            .get("summary")
            .and_then(|summary| summary.get(key)?.as_array().cloned());
        list.with_context(|| format!("{key} is no list in {checked}"))
    };
    let mut facts = Facts::new();
    for domain in list("http-domain-whitelist")? {
        facts.insert(format!("domain {}", domain.as_str().unwrap_or_default()));
    }
    for port in list("host-ports")? {
        facts.insert(format!("port {port}"));
    }
    let words = ["ocs", "run", "--", "sh", "-c", "pwd; exec env -0"];
    let finished = project.call(Call::new(&words).with(&HOST))?.succeeded()?;
    let (workspace, environment) = finished.stdout.split_once('\n').context("no line")?;
    facts.insert(format!("workspace {workspace}"));
    for variable in environment.split('\0') {
        let name = variable.split_once('=').map_or("", |(name, _)| name);
        if names.contains(&name) {
            facts.insert(format!("variable {variable}"));
        }
    }
    for line in finished.stderr.lines() {
        if let Some((_, skipped)) = line.split_once("env-passthrough: ") {
            let name = skipped
                .split_once(" is skipped")
                .map_or(skipped, |(name, _)| name);
            facts.insert(format!("skipped {name}"));
        }
    }
    let state = world.outside(&who.home().join(".opencode-sandbox"));
    for entry in std::fs::read_dir(state)? {
        facts.insert(format!("id {}", entry?.file_name().to_string_lossy()));
    }
    Ok(facts)
}

/// Both read the config in a project of this directory name, and agree.
fn same(who: As, directory: &str, config: &str, names: &[&str]) -> Result<Facts> {
    let world = World::new(&Order::usual()?)?;
    let project = Project::named(&world, who, directory, config)?;
    let (old, ours) = (old(&project)?, ours(&world, who, &project, names)?);
    assert_eq!(ours, old, "ours, then the old scripts'");
    Ok(ours)
}

fn facts(lines: &[&str]) -> Facts {
    lines.iter().map(|line| (*line).to_owned()).collect()
}

/// As ocs-init wrote it, its name twice (COMPATIBILITY W19), with the sections that it left empty.
const OF_THE_OLD_INIT: &str = "\
sandbox-name: my-project
# The name of the sandbox
sandbox-name: my-sandbox

http-domain-whitelist:
  # GitHub
  - .githubusercontent.com
  - .githubassets.com
  - .github.com
  - .githubcopilot.com
  - mise.run
  # - .anthropic.com
host-ports:
env-passthrough:
env:
";

/// Everything at once, in the indentations that people use.
const FILLED: &str = "\
# a comment
sandbox-name: filled   # and another

http-domain-whitelist:
    - .example.org
    - exact.example.com

host-ports:
  - 5432
  -   8080
env-passthrough:
  TOKEN: HOST_TOKEN
  EMPTY: HOST_EMPTY
  ABSENT: HOST_ABSENT
  BOTH: HOST_OTHER
env:
  BOTH: static wins
  PLAIN: some words
  EQUALS: a=b=c
  DOLLAR: $HOME
  NUMBER: 1.10
  WORD: true
";

const NAMES: &[&str] = &[
    "TOKEN", "EMPTY", "ABSENT", "BOTH", "PLAIN", "EQUALS", "DOLLAR", "NUMBER", "WORD",
];

for_each_user! {
    fn the_config_that_the_old_init_wrote_means_the_same(who) {
        let facts = same(who, "My Project", OF_THE_OLD_INIT, &[])?;
        assert!(facts.contains("workspace /My Project"), "{facts:?}");
        assert!(facts.iter().any(|fact| fact.starts_with("id my-project-")), "the first name counts: {facts:?}");
        assert_eq!(facts.iter().filter(|fact| fact.starts_with("domain ")).count(), 5);
        Ok(())
    }

    fn lists_and_variables_are_what_the_old_scripts_made_of_them(who) {
        let facts = same(who, "project", FILLED, NAMES)?;
        let expected = [
            "domain .example.org",
            "domain exact.example.com",
            "port 5432",
            "port 8080",
            "skipped ABSENT",
            "variable BOTH=static wins",
            "variable DOLLAR=$HOME",
            "variable EMPTY=",
            "variable EQUALS=a=b=c",
            "variable NUMBER=1.10",
            "variable PLAIN=some words",
            "variable TOKEN=a token = with; $odd \"text\"",
            "variable WORD=true",
            "workspace /project",
        ];
        let id = facts.iter().find(|fact| fact.starts_with("id filled-")).cloned().context("no id")?;
        assert_eq!(facts, expected.iter().map(|fact| (*fact).to_owned()).chain([id]).collect());
        Ok(())
    }

    fn a_project_reached_by_a_link_is_the_same_sandbox(who) {
        let world = World::new(&Order::usual()?)?;
        let project = Project::named(&world, who, "real", "sandbox-name: linked\n")?;
        let link = who.home().join("link");
        let (from, to) = (project.directory().display().to_string(), link.display().to_string());
        project.call(Call::new(&["ln", "-s", &from, &to]))?.succeeded()?;
        let here = old(&project)?;
        let finished = world.run(who, Call::new(&["ocs", "run", "--", "pwd"]).within(&link))?.succeeded()?;
        assert_eq!(finished.stdout, "/real\n");
        assert_eq!(ours(&world, who, &project, &[])?, here, "one state directory, by the real path");
        Ok(())
    }
}

fn world_and(config: &str) -> Result<(World, String)> {
    Ok((World::new(&Order::usual()?)?, config.to_owned()))
}

#[test]
fn chosen_quotes_and_comments_after_values_are_yaml_s() -> Result<()> {
    let who = As::Ordinary;
    let config = "sandbox-name: x\nenv:\n  QUOTED: \"a b\"\n  NOTED: value # why\n";
    let (world, config) = world_and(config)?;
    let project = Project::new(&world, who, &config)?;
    let variables = |facts: Facts| -> Facts {
        facts
            .into_iter()
            .filter(|fact| fact.starts_with("variable "))
            .collect()
    };
    assert_eq!(
        variables(old(&project)?),
        facts(&["variable QUOTED=\"a b\"", "variable NOTED=value # why"])
    );
    assert_eq!(
        variables(ours(&world, who, &project, &["QUOTED", "NOTED"])?),
        facts(&["variable QUOTED=a b", "variable NOTED=value"])
    );
    Ok(())
}

#[test]
fn chosen_carriage_returns_end_lines_and_flow_lists_are_lists() -> Result<()> {
    let who = As::Ordinary;
    let config =
        "sandbox-name: x\r\nhost-ports:\r\n  - 5432\r\nhttp-domain-whitelist: [.example.org]\r\n";
    let (world, config) = world_and(config)?;
    let project = Project::new(&world, who, &config)?;
    let lists = |facts: Facts| -> Facts {
        let list = |fact: &String| fact.starts_with("port ") || fact.starts_with("domain ");
        facts.into_iter().filter(list).collect()
    };
    assert_eq!(
        lists(old(&project)?),
        Facts::new(),
        "they were ignored, silently"
    );
    assert_eq!(
        lists(ours(&world, who, &project, &[])?),
        facts(&["port 5432", "domain .example.org"])
    );
    Ok(())
}

#[test]
fn chosen_names_at_the_root_of_a_system_are_not_covered_by_a_project() -> Result<()> {
    let who = As::Ordinary;
    let (world, config) = world_and("sandbox-name: x\n")?;
    let project = Project::named(&world, who, "usr", &config)?;
    assert!(
        old(&project)?.contains("workspace /usr"),
        "the project hid the system's"
    );
    assert!(ours(&world, who, &project, &[])?.contains("workspace /workspace/usr"));
    Ok(())
}

#[test]
fn chosen_what_was_ignored_silently_is_refused_with_its_place() -> Result<()> {
    let who = As::Ordinary;
    let mistakes = [
        (
            "http-domain-whitelist:\n  - https://api.example.org/v1\n",
            "api.example.org",
        ),
        ("host-ports:\n  - 70000\n", "70000"),
        ("env-passthrough:\n  A B: HOME\n", "A B"),
        (
            "env-passthrough:\n  A: B}$(touch made){C\n",
            "no POSIX name",
        ),
        ("host-port:\n  - 1\n", "host-ports:"),
    ];
    let world = World::new(&Order::usual()?)?;
    for (number, (section, told)) in mistakes.into_iter().enumerate() {
        let config = format!("sandbox-name: x\n{section}");
        let project = Project::named(&world, who, &format!("p{number}"), &config)?;
        let finished = project.run(&["echo", "ran"])?;
        assert_eq!(
            (finished.code(), finished.stdout.as_str()),
            (64, ""),
            "{finished}"
        );
        assert!(finished.stderr.contains(told), "{finished}");
        assert!(!world.outside(&project.directory().join("made")).exists());
    }
    Ok(())
}
