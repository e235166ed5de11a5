//! The agent as a job at a terminal: it has the terminal as a job of a shell has it, stops and goes on with it, and reaches
//! nobody's group but its own.
//! Needs: unprivileged user namespaces or root, bubblewrap, nftables, python3.
//! Clauses: B7.

use anyhow::Result;
use harness::for_each_user;
use harness::order::Order;
use harness::project::Project;
use harness::world::{As, Call, World};

const CONFIG: &str = "sandbox-name: job\n";

/// Types each line of stdin at an interactive shell: `keys<TAB>what to wait for`, both with Python's escapes. Ends with 0 if
/// everything that was waited for came.
const TYPIST: &str = r#"
import os, pty, re, select, sys, time
pid, terminal = pty.fork()
if pid == 0:
    os.environ["PS1"] = "% "
    os.execvp("bash", ["bash", "--norc", "--noediting", "-i"])
def until(wanted):
    seen, deadline = b"", time.monotonic() + 30
    while not re.search(wanted, seen):
        if time.monotonic() > deadline:
            sys.exit(f"waited in vain for {wanted!r}, saw {seen!r}")
        if select.select([terminal], [], [], 0.02)[0]:
            try:
                seen += os.read(terminal, 65536)
            except OSError:
                sys.exit(f"the shell ended before {wanted!r}, saw {seen!r}")
until(b"% ")
for line in sys.stdin.read().splitlines():
    keys, wanted = (part.encode().decode("unicode_escape").encode() for part in line.split("\t"))
    os.write(terminal, keys)
    until(wanted)
"#;

fn typed(world: &World, who: As, lines: &[(&str, &str)]) -> Result<()> {
    let project = Project::new(world, who, CONFIG)?;
    let script: Vec<String> = lines
        .iter()
        .map(|(keys, wanted)| format!("{keys}\t{wanted}"))
        .collect();
    let words = ["python3", "-c", TYPIST];
    project
        .call(Call::new(&words).fed(&script.join("\n")))?
        .succeeded()
        .map(drop)
}

for_each_user! {
    fn it_stops_with_control_z_and_goes_on_with_fg(who) {
        let world = World::new(&Order::usual()?)?;
        typed(&world, who, &[
            (r"stty -echo\n", "% "),
            (r"ocs run -- sh -c 'echo up; cat; exit 5'\n", "up"),
            (r"one\n", "one"),
            (r"\x1a", "Stopped(.|\\\\n)*% "),
            (r"jobs\n", "Stopped(.|\\\\n)*% "),
            (r"fg\n", "ocs run"),
            (r"two\n", "two"),
            (r"\x04", "% "),
            (r"echo code $?\n", "code 5"),
        ])
    }

    fn an_interrupt_is_the_agent_s_alone_and_its_answer_counts(who) {
        let world = World::new(&Order::usual()?)?;
        typed(&world, who, &[
            (r"stty -echo\n", "% "),
            (r"ocs run -- sh -c 'trap \x22echo seen; exit 6\x22 INT; echo up; while :; do sleep 0.1; done'\n", "up"),
            (r"\x03", "seen(.|\\\\n)*% "),
            (r"echo code $?\n", "code 6"),
        ])
    }

    fn it_kills_and_stops_its_own_group_and_not_the_caller_s(who) {
        let world = World::new(&Order::usual()?)?;
        typed(&world, who, &[
            (r"stty -echo\n", "% "),
            (r"(ocs run -- sh -c 'kill -KILL 0'; echo code $?; exit 7)\n", "code 137"),
            (r"echo then $?\n", "then 7"),
            (r"ocs run -- sh -c 'kill -STOP 0; echo resumed'\n", "Stopped(.|\\\\n)*% "),
            (r"fg\n", "resumed"),
            (r"\n", "% "),
        ])
    }

    fn a_reader_in_a_pipeline_gets_the_terminal_when_it_asks(who) {
        let world = World::new(&Order::usual()?)?;
        typed(&world, who, &[
            (r"stty -echo\n", "% "),
            (r"ocs run -- sh -c 'read line; echo got $line' | cat; echo code $?\n", ""),
            (r"words\n", "got words(.|\\\\n)*code 0"),
        ])
    }
}
