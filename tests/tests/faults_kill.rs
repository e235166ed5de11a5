//! A SIGKILL to each process of a run at one step after the other, from its first system calls to its last: the agent
//! starts behind a whole fence or not at all, nothing reaches the internet, and nothing is left.
//!
//! strace counts a process' system calls and kills it at the n-th of those that make a fence (package strace); it is the
//! signal that the kernel sends when memory is short. The steps are counted until one is past the process' last, so
//! that what a newer version does more is killed as well.
//! Clauses: U1, U2, U3.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use harness::for_each_user;
use harness::order::Order;
use harness::project::{Project, USUAL};
use harness::run::Finished;
use harness::spec::Census;
use harness::world::{As, Call, World};

/// What a process does to make, hold or use a fence; memory and files of the C library are not counted.
const STEPS: &str = "accept4,bind,capset,clone,clone3,connect,execve,fork,kill,listen,mount,pivot_root,poll,ppoll,prctl,\
    recvfrom,recvmsg,sendmsg,sendto,setns,setsockopt,setuid,setgid,socket,socketpair,umount2,unshare,vfork,waitid,write";

/// More steps than any process has; a sweep that comes here found no end.
const MOST: usize = 2000;

struct Ground {
    world: World,
    who: As,
    before: Census,
    /// Our programs, with those that are killed behind a script, as the world sees them.
    programs: PathBuf,
}

/// Whose steps are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    /// A part that `ocs` starts.
    Part(&'static str),
    /// `ocs` itself.
    Ocs,
    /// Whoever of all the processes comes to the step first, the gate and bubblewrap among them.
    Anyone,
}

impl Ground {
    fn new(who: As) -> Result<Self> {
        let world = World::new(&Order::usual()?)?;
        let programs = who.home().join("programs");
        for name in ["ocs", "ocs-netctl", "ocs-proxy"] {
            world.write(who, &programs.join(name), "")?;
            let to = world.outside(&programs.join(name));
            let from = harness::binaries::directory()?.join(name);
            fs::copy(&from, &to).with_context(|| format!("copy {}", from.display()))?;
        }
        let before = world.census()?;
        Ok(Self {
            world,
            who,
            before,
            programs,
        })
    }

    /// `ocs run -- touch ran`, with a kill at the step.
    fn run(&self, victim: Victim, step: usize) -> Result<Finished> {
        let inject = format!("inject={STEPS}:signal=SIGKILL:when={step}");
        let trace = format!("trace={STEPS}");
        let ocs = self.programs.join("ocs");
        let ocs = ocs.to_string_lossy();
        let strace = [
            "strace",
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            &trace,
            "-e",
            &inject,
        ];
        let run = [&*ocs, "run", "--", "touch", "ran"];
        let words = match victim {
            Victim::Ocs => [&strace[..], &run].concat(),
            Victim::Anyone => [&strace[..], &["-f"], &run].concat(),
            Victim::Part(name) => {
                self.wrap(name, &trace, &inject)?;
                run.to_vec()
            }
        };
        let project = Project::new(&self.world, self.who, USUAL)?;
        fs::remove_file(self.ran(&project)).ok();
        project.call(Call::new(&words))
    }

    /// In the part's place, a script that becomes it with a tracer that is no child of its parent (`-D`).
    fn wrap(&self, name: &str, trace: &str, inject: &str) -> Result<()> {
        let script = self.world.outside(&self.programs.join(name));
        let itself = format!("{}.itself", self.programs.join(name).display());
        let moved = self.world.outside(itself.as_ref());
        if !moved.exists() {
            fs::rename(&script, &moved).context("put a part aside")?;
        }
        let text = format!(
            "#!/bin/sh\nexec /usr/bin/strace -D -qq -o /dev/null -e {trace} -e {inject} {itself} \"$@\"\n"
        );
        fs::remove_file(&script).ok();
        fs::write(&script, text).context("write a script")?;
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).context("let it run")
    }

    fn ran(&self, project: &Project<'_>) -> PathBuf {
        self.world.outside(&project.directory().join("ran"))
    }

    /// Kills at one step after the other, every `stride`-th, until one comes too late.
    fn sweep(&self, victim: Victim, stride: usize) -> Result<()> {
        let project = Project::new(&self.world, self.who, USUAL)?;
        let mut before_the_agent = 0;
        for step in (1..MOST).step_by(stride) {
            let finished = self.run(victim, step)?;
            let ran = self.ran(&project).exists();
            let left = self.world.settle(|census| *census == self.before)?;
            assert_eq!(left, self.before, "{victim:?} at {step}: {finished}");
            if finished.code() == 0 {
                assert!(ran, "{victim:?} at {step}: {finished}");
                ensure!(
                    before_the_agent > 0,
                    "no step of {victim:?} came before the agent"
                );
                return self.nothing_got_out();
            }
            let killed = matches!(victim, Victim::Ocs | Victim::Anyone) && finished.code() == 137;
            assert!(
                killed || finished.code() == 70,
                "{victim:?} at {step}: {finished}"
            );
            before_the_agent += usize::from(!ran);
        }
        anyhow::bail!("{victim:?} was killed at every step up to {MOST}")
    }

    /// Neither the internet nor the host's ports were reached; and the last start swept the files of all before it.
    fn nothing_got_out(&self) -> Result<()> {
        let readings = self.world.readings()?;
        assert_eq!((readings.flows, readings.connections), (vec![], vec![]));
        let look = [
            "sh",
            "-c",
            "find .opencode-sandbox/*/run -mindepth 1 ! -name lock",
        ];
        let found = self.world.run(self.who, Call::new(&look))?.succeeded()?;
        assert_eq!(found.stdout, "");
        Ok(())
    }
}

for_each_user! {
    fn the_holder_of_the_namespace_at_any_step(who) {
        Ground::new(who)?.sweep(Victim::Part("ocs-netctl"), 11)
    }

    fn the_proxy_at_any_step(who) {
        Ground::new(who)?.sweep(Victim::Part("ocs-proxy"), 2)
    }

    fn the_orchestrator_at_any_step(who) {
        Ground::new(who)?.sweep(Victim::Ocs, 1)
    }

    fn whoever_comes_to_it_first_at_any_step(who) {
        Ground::new(who)?.sweep(Victim::Anyone, 7)
    }
}
