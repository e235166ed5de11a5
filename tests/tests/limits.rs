//! `limits.memory`, `limits.cpus` and `limits.pids` of the config, where the kernel lets the user make cgroups: judged by the
//! kernel, which kills and counts, and by what is left. Root of the machine may; an ordinary user here may not, and is told.
//! Clauses: U3, P9.

use anyhow::{Context, Result};
use harness::order::Order;
use harness::project::Project;
use harness::world::{As, Call, World};
use nix::unistd::geteuid;

const LIMITED: &str = "sandbox-name: limited\nlimits:\n  memory: 200MiB\n  cpus: 1.5\n  pids: 64\n";

#[test]
fn a_box_stays_within_its_memory_and_its_cgroups_go_with_it() -> Result<()> {
    assert!(
        geteuid().is_root(),
        "cgroups of version 1 are the machine's root's: run this suite as root"
    );
    let world = World::new(&Order::usual()?)?;
    let project = Project::new(&world, As::Root, LIMITED)?;
    let small = project
        .run(&["python3", "-c", "print(len(b'x' * (20 << 20)))"])?
        .succeeded()?;
    assert_eq!(small.stdout, "20971520\n");
    let large = project.run(&["python3", "-c", "print(len(b'x' * (600 << 20)))"])?;
    assert_eq!((large.code(), large.stdout.as_str()), (137, ""), "{large}");

    let running = project.start(&["sleep", "1234"])?;
    let agent = world.find(|process| process.command == "sleep 1234")?;
    let own = format!("/proc/{}/cgroup", agent.pid);
    let own = world
        .run(As::Root, Call::new(&["cat", &own]))?
        .succeeded()?;
    let controllers: Vec<&str> = own
        .stdout
        .lines()
        .filter(|line| line.contains("/ocs-limited-"))
        .filter_map(|line| line.split(':').nth(1))
        .collect();
    for controller in ["memory", "cpu", "pids"] {
        assert!(controllers.contains(&controller), "{own}");
    }
    let name = own
        .stdout
        .split("/ocs-")
        .nth(1)
        .and_then(|rest| rest.lines().next())
        .context("a name")?;
    let name = format!("ocs-{name}");
    let find = ["find", "/sys/fs/cgroup", "-name", &name];
    assert_eq!(
        world
            .run(As::Root, Call::new(&find))?
            .stdout
            .lines()
            .count(),
        3
    );
    world.signal(agent.pid, "KILL")?;
    assert_eq!(running.wait()?.code(), 137);
    assert_eq!(world.run(As::Root, Call::new(&find))?.stdout, "");
    Ok(())
}

#[test]
fn a_run_that_is_killed_leaves_cgroups_that_the_next_one_removes() -> Result<()> {
    assert!(
        geteuid().is_root(),
        "cgroups of version 1 are the machine's root's: run this suite as root"
    );
    let world = World::new(&Order::usual()?)?;
    let project = Project::named(
        &world,
        As::Root,
        "killed",
        &LIMITED.replace("limited", "killed"),
    )?;
    let find = ["find", "/sys/fs/cgroup", "-name", "ocs-killed-*"];
    let running = project.start(&["sleep", "1234"])?;
    world.find(|process| process.command == "sleep 1234")?;
    let supervisor = world.find(|process| process.command.starts_with("ocs run"))?;
    world.signal(supervisor.pid, "KILL")?;
    running.wait()?;
    world.settle(|census| census.processes.is_empty())?;
    assert_eq!(
        world
            .run(As::Root, Call::new(&find))?
            .stdout
            .lines()
            .count(),
        3
    );
    project.run(&["true"])?.succeeded()?;
    assert_eq!(world.run(As::Root, Call::new(&find))?.stdout, "");
    Ok(())
}

#[test]
fn limits_that_cannot_be_kept_start_nothing() -> Result<()> {
    let world = World::new(&Order::usual()?)?;
    let project = Project::new(&world, As::Ordinary, LIMITED)?;
    let refused = project.run(&["true"])?;
    assert_eq!(refused.code(), 69, "{refused}");
    assert!(
        refused.stderr.contains("cannot keep limits.memory")
            && refused
                .stderr
                .contains("next: remove `memory` from `limits`"),
        "{refused}"
    );
    Ok(())
}
