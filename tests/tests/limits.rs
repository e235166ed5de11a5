//! `limits.memory`, `limits.cpus` and `limits.pids` of the config, where the kernel lets the user make cgroups: judged by the
//! kernel, which kills and counts, and by what is left. Root of the machine may; an ordinary user here may not, and is told.
//! Clauses: U3, P9.

use anyhow::Result;
use harness::order::Order;
use harness::project::Project;
use harness::run::Finished;
use harness::world::{As, Call, World};
use nix::unistd::geteuid;

const LIMITED: &str = "sandbox-name: limited\nlimits:\n  memory: 200MiB\n  cpus: 1.5\n  pids: 64\n";

/// Whether the machine lets this suite's root make cgroups. Where it does not, the start must have said so.
fn kept(first: &Finished) -> bool {
    if geteuid().is_root() || first.code() != 69 {
        return true;
    }
    assert!(first.stderr.contains("cannot keep limits."), "{first}");
    false
}

/// The cgroups of ours, by a part of their name, as the machine has them.
fn cgroups(world: &World, name: &str) -> Result<usize> {
    let pattern = format!("ocs-{name}-*");
    let words = ["find", "/sys/fs/cgroup", "-name", &pattern];
    let found = world.run(As::Root, Call::new(&words))?;
    Ok(found.stdout.lines().count())
}

#[test]
fn a_box_stays_within_its_memory_and_its_cgroups_go_with_it() -> Result<()> {
    let world = World::new(&Order::usual()?)?;
    let project = Project::new(&world, As::Root, LIMITED)?;
    let small = project.run(&["python3", "-c", "print(len(b'x' * (20 << 20)))"])?;
    if !kept(&small) {
        return Ok(());
    }
    assert_eq!(small.succeeded()?.stdout, "20971520\n");
    let large = project.run(&["python3", "-c", "print(len(b'x' * (600 << 20)))"])?;
    assert_eq!((large.code(), large.stdout.as_str()), (137, ""), "{large}");

    let running = project.start(&["sleep", "1234"])?;
    let agent = world.find(|process| process.command == "sleep 1234")?;
    let own = format!("/proc/{}/cgroup", agent.pid);
    let own = world
        .run(As::Root, Call::new(&["cat", &own]))?
        .succeeded()?;
    let ours = own
        .stdout
        .lines()
        .filter(|line| line.contains("/ocs-limited-"));
    // One of version 2, or one for each of the three controllers.
    let ours = ours.count();
    assert!(ours == 1 || ours == 3, "{own}");
    assert_eq!(cgroups(&world, "limited")?, ours);
    world.signal(agent.pid, "KILL")?;
    assert_eq!(running.wait()?.code(), 137);
    assert_eq!(cgroups(&world, "limited")?, 0);
    Ok(())
}

#[test]
fn a_run_that_is_killed_leaves_cgroups_that_the_next_one_removes() -> Result<()> {
    let world = World::new(&Order::usual()?)?;
    let config = LIMITED.replace("limited", "killed");
    let project = Project::named(&world, As::Root, "killed", &config)?;
    if !kept(&project.run(&["true"])?) {
        return Ok(());
    }
    let running = project.start(&["sleep", "1234"])?;
    world.find(|process| process.command == "sleep 1234")?;
    let supervisor = world.find(|process| process.command.starts_with("ocs run"))?;
    world.signal(supervisor.pid, "KILL")?;
    running.wait()?;
    world.settle(|census| census.processes.is_empty())?;
    assert!(cgroups(&world, "killed")? > 0);
    project.run(&["true"])?.succeeded()?;
    assert_eq!(cgroups(&world, "killed")?, 0);
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
