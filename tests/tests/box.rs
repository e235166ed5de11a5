//! The box, from inside: what the agent sees, may do, inherits and passes on.
//! Clauses: B1, B2, B3, B4, B5, B6, B7.

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::Path;

use anyhow::Result;
use harness::for_each_user;
use harness::order::Order;
use harness::project::{Project, USUAL};
use harness::terminal::DRIVER;
use harness::world::{As, Call, World};

fn ground() -> Result<World> {
    World::new(&Order::usual()?)
}

fn usual(world: &World, who: As) -> Result<Project<'_>> {
    Project::new(world, who, USUAL)
}

/// What no agent may ever see, planted where people keep such things.
const CANARY: &str = "CANARY-9d1f2c";

for_each_user! {
    fn a_listed_path_that_is_a_link_to_what_no_config_may_list_starts_nothing(who) {
        let world = ground()?;
        for (name, leads_to) in [("one", "/etc/shadow"), ("two", "/proc/1"), ("three", "/run")] {
            let link = format!("{}/{name}-link", who.home().display());
            let config = format!("sandbox-name: {name}\nread-only-paths:\n  - {link}\n");
            let project = Project::named(&world, who, name, &config)?;
            project.call(Call::new(&["ln", "-s", leads_to, &link]))?.succeeded()?;
            let finished = project.run(&["echo", "ran"])?;
            assert_eq!((finished.code(), finished.stdout.as_str()), (64, ""), "{finished}");
            assert!(finished.stderr.contains(leads_to), "{finished}");
        }
        Ok(())
    }

    fn a_pipe_without_a_reader_ends_its_writer_as_in_any_shell(who) {
        let world = ground()?;
        let script = "yes | head -n 1; echo ${PIPESTATUS[0]}";
        let finished = usual(&world, who)?.run(&["bash", "-c", script])?.succeeded()?;
        assert_eq!(finished.stdout, "y\n141\n");
        Ok(())
    }

    fn the_project_is_writable_and_what_is_written_belongs_to_its_user(who) {
        let world = ground()?;
        let project = usual(&world, who)?;
        let finished = project.run(&["sh", "-c", "pwd; mkdir -p a/b && echo made > a/b/c && cat a/b/c"])?.succeeded()?;
        assert_eq!(finished.stdout, "/project\nmade\n");
        let owner = project.call(Call::new(&["stat", "-c", "%U", "a/b/c"]))?.succeeded()?;
        assert_eq!(owner.stdout.trim(), who.account());
        Ok(())
    }

    fn system_directories_are_read_only_and_the_home_is_fresh(who) {
        let world = ground()?;
        world.write(who, &who.home().join("left-at-home"), "x")?;
        let project = usual(&world, who)?;
        let tries = "for d in / /usr /etc /usr/bin /lib /opt /var /sys /proc; do touch $d/made 2>/dev/null && echo made in $d; done; \
                     ls -A $HOME; touch $HOME/kept && echo home is writable; echo $HOME";
        let finished = project.run(&["sh", "-c", tries])?.succeeded()?;
        let mut lines = finished.stdout.lines();
        assert_eq!(lines.next(), Some("home is writable"), "{finished}");
        assert!(!world.outside(&who.home().join("kept")).exists());
        Ok(())
    }

    fn nothing_of_the_host_s_secrets_can_be_read(who) {
        let world = ground()?;
        let home = who.home();
        for place in [".ssh/id_ed25519", ".aws/credentials", ".config/gcloud/token", ".netrc", ".bash_history", ".docker/config.json"] {
            world.write(who, &home.join(place), CANARY)?;
        }
        fs::write(world.outside(Path::new("/tmp/canary")), CANARY)?;
        let agents = [home.join(".docker/docker.sock"), "/tmp/ssh-agent".into(), "/home/bus".into()];
        let sockets = agents.map(|path| UnixListener::bind(world.outside(&path)));
        assert!(sockets.iter().all(Result::is_ok), "{sockets:?}");
        fs::write(world.outside(Path::new("/home/canary")), CANARY)?;
        let project = usual(&world, who)?;
        project.write("search.py", SEARCH)?;
        let words = ["ocs", "run", "--", "python3", "search.py"];
        let finished = project.call(Call::new(&words).with(&[("SECRET_TOKEN", CANARY)]))?.succeeded()?;
        assert_eq!(finished.stdout, "");
        Ok(())
    }

    fn only_three_descriptors_are_open_whatever_the_caller_held(who) {
        let world = ground()?;
        let project = usual(&world, who)?;
        let ask = "exec ocs run -- python3 -c 'import os; print(sorted(int(n) for n in os.listdir(\"/proc/self/fd\")))'";
        let script = format!("exec 5</etc/passwd 9</etc/hostname 77</dev/null; {ask}");
        let finished = project.call(Call::new(&["bash", "-c", &script]))?.succeeded()?;
        assert_eq!(finished.stdout, "[0, 1, 2, 3]\n", "3 is the listing's own");
        Ok(())
    }

    fn every_capability_set_is_empty_and_privileges_cannot_come_back(who) {
        let world = ground()?;
        let project = usual(&world, who)?;
        let finished = project.run(&["grep", "-E", "^(Cap|NoNewPrivs|Seccomp:)", "/proc/self/status"])?.succeeded()?;
        let expected = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"].map(|set| format!("{set}:\t0000000000000000"));
        let expected = format!("{}\nNoNewPrivs:\t1\nSeccomp:\t2\n", expected.join("\n"));
        assert_eq!(finished.stdout, expected);
        Ok(())
    }

    fn system_calls_that_reach_past_the_box_are_refused(who) {
        let world = ground()?;
        let project = usual(&world, who)?;
        project.write("calls.py", CALLS)?;
        let finished = project.run(&["python3", "calls.py"])?.succeeded()?;
        assert_eq!(finished.stdout, "");
        Ok(())
    }

    fn no_process_outside_the_box_is_seen_or_signalled(who) {
        let world = ground()?;
        let project = usual(&world, who)?;
        let ask = "for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline; echo; done; kill -0 -1 2>&1";
        let finished = project.run(&["sh", "-c", ask])?;
        for ours in ["ocs-proxy", "ocs-netctl", "ocs run"] {
            assert!(!finished.stdout.contains(ours), "{finished}");
        }
        Ok(())
    }

    fn control_files_are_read_only_present_or_not(who) {
        let world = ground()?;
        let project = usual(&world, who)?;
        project.write(".git/config", "[core]\n")?;
        project.write(".git/hooks/pre-commit", "#!/bin/sh\n")?;
        project.write("mise.toml", "[tools]\n")?;
        let before = listing(&world, &project)?;
        project.write("attack.sh", ATTACK)?;
        let finished = project.run(&["sh", "attack.sh"])?;
        assert_eq!(finished.stdout, "", "{finished}");
        fs::remove_file(world.outside(&project.directory().join("attack.sh")))?;
        assert_eq!(listing(&world, &project)?, before);
        Ok(())
    }

    fn exit_codes_pass_through(who) {
        let world = ground()?;
        let project = usual(&world, who)?;
        for (script, code) in [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137), ("kill -TERM $$", 143)] {
            let finished = project.run(&["sh", "-c", script])?;
            assert_eq!(finished.code(), code, "{finished}");
        }
        assert_eq!(project.run(&["no-such-program"])?.code(), 127);
        assert_eq!(project.run(&["/etc/passwd"])?.code(), 126);
        Ok(())
    }

    fn input_and_both_outputs_pass_through(who) {
        let world = ground()?;
        let project = usual(&world, who)?;
        let finished = project.run_fed(&["sh", "-c", "cat; echo complaint >&2"], "from outside\n")?.succeeded()?;
        assert_eq!(finished.stdout, "from outside\n");
        assert!(finished.stderr.contains("complaint\n"), "{finished}");
        Ok(())
    }

    fn a_terminal_passes_through_with_its_size_and_its_keys(who) {
        let world = ground()?;
        let project = usual(&world, who)?;
        project.write("driver.py", DRIVER)?;
        let inside = "test -t 0 && test -t 1 && stty size; touch ready; read line; echo got $line";
        let words = ["python3", "driver.py", "ready", "typed\n", "ocs", "run", "--", "sh", "-c", inside];
        let finished = project.call(Call::new(&words))?.succeeded()?;
        assert!(finished.stdout.contains("40 100\r\n"), "{finished}");
        assert!(finished.stdout.contains("got typed\r\n"), "{finished}");
        Ok(())
    }

    fn a_signal_reaches_the_agent_and_its_answer_the_caller(who) {
        let world = ground()?;
        let project = usual(&world, who)?;
        let agent = "trap 'echo bye; exit 3' TERM; sleep 1234 & wait";
        let running = project.start(&["sh", "-c", agent])?;
        world.find(|process| process.command == "sleep 1234")?;
        let ocs = world.find(|process| process.name == "ocs" && process.command.starts_with("ocs run"))?;
        world.signal(ocs.pid, "TERM")?;
        let finished = running.wait()?;
        assert_eq!((finished.code(), finished.stdout.as_str()), (3, "bye\n"), "{finished}");
        Ok(())
    }

    fn the_environment_is_what_the_config_says_and_stands_on_no_command_line(who) {
        let world = ground()?;
        let config = format!("{USUAL}env-passthrough:\n  INNER: OUTER\n  EMPTY: NOTHING\n  UNSET: NOT_SET\n  BOTH: OUTER\nenv:\n  BOTH: static\n  PLAIN: 1.10\n");
        let project = Project::new(&world, who, &config)?;
        let ask = "echo $INNER,${EMPTY-unset},${UNSET-unset},$BOTH,$PLAIN,${STRAY-unset}; touch ready; sleep 1234";
        let words = ["ocs", "run", "--", "sh", "-c", ask];
        let outer = [("OUTER", "value-5521"), ("NOTHING", ""), ("STRAY", "stray-5521")];
        let running = world.start(who, Call::new(&words).with(&outer).within(project.directory()))?;
        let sleeper = world.find(|process| process.command == "sleep 1234")?;
        let census = world.census()?;
        assert!(census.processes.iter().all(|process| !process.command.contains("5521")), "{census:#?}");
        world.signal(sleeper.pid, "TERM")?;
        let finished = running.wait()?;
        assert_eq!(finished.stdout, "value-5521,,unset,static,1.10,unset\n", "{finished}");
        Ok(())
    }
}

/// Looks for the canary in every file, environment and command line there is, and for sockets and known secret places.
const SEARCH: &str = r#"
import os, stat
canary = b"CANARY-" + b"9d1f2c"
for top, directories, files in os.walk("/"):
    if top == "/":
        directories[:] = [d for d in directories if d not in ("proc", "sys", "usr", "dev")]
    for name in directories + files:
        path = os.path.join(top, name)
        if name in (".ssh", ".aws", ".netrc", ".docker", ".gnupg", ".kube"):
            print("there is", path)
        try:
            mode = os.lstat(path).st_mode
            if stat.S_ISSOCK(mode):
                print("a socket:", path)
            elif stat.S_ISREG(mode) and canary in open(path, "rb").read():
                print("the canary is in", path)
        except OSError:
            pass
for pid in filter(str.isdigit, os.listdir("/proc")):
    for what in ("environ", "cmdline"):
        try:
            if canary in open(f"/proc/{pid}/{what}", "rb").read():
                print("the canary is in", pid, what)
        except OSError:
            pass
for line in open("/proc/net/unix").read().splitlines()[1:]:
    if len(line.split()) > 7:
        print("a named socket:", line)
"#;

/// Names, sizes and contents of everything in the project.
fn listing(world: &World, project: &Project<'_>) -> Result<String> {
    let ask = "find . -printf '%p %y %m\\n' | sort; find . -type f | sort | xargs sha256sum";
    let root = world.run(
        As::Root,
        Call::new(&["sh", "-c", ask]).within(project.directory()),
    )?;
    Ok(root.succeeded()?.stdout)
}

/// Every way of changing, replacing or moving a control file that a shell has; prints what worked.
const ATTACK: &str = r#"
try() { if "$@" 2>/dev/null; then echo "worked: $*"; fi; }
for f in opencode-sandbox-config.yaml opencode-sandbox-pre-start-container.sh opencode.json opencode.jsonc mise.toml .git/config .git/hooks/pre-commit .git/hooks/post-checkout; do
  try sh -c "echo attack >> $f"
  try rm -- "$f"
  try mv -- "$f" "$f.moved"
  echo attack > replacement 2>/dev/null; try mv -f -- replacement "$f"; rm -f replacement
  try ln -sf /etc/passwd "$f"
  try chmod 777 "$f"
done
try mv .git .git-moved
try rm -rf .git/hooks
try mv .git/hooks .git/hooks-moved
try mkdir -p .git/hooks/more
"#;

/// Calls that must not succeed; prints those that did.
const CALLS: &str = r#"
import ctypes, os, socket
libc = ctypes.CDLL(None, use_errno=True)
def call(name, number, *arguments):
    ctypes.set_errno(0)
    if libc.syscall(number, *arguments) >= 0:
        print(name, "worked")
    elif ctypes.get_errno() not in (1, 38, 97):  # EPERM, ENOSYS, EAFNOSUPPORT
        print(name, "failed otherwise:", os.strerror(ctypes.get_errno()))
def sock(name, *arguments):
    try:
        socket.socket(*arguments)
        print(name, "worked")
    except OSError as error:
        if error.errno not in (1, 97):
            print(name, "failed otherwise:", error)
sock("AF_PACKET", 17, socket.SOCK_RAW, 0)
sock("AF_PACKET datagram", 17, socket.SOCK_DGRAM, 0)
sock("AF_VSOCK", 40, socket.SOCK_STREAM, 0)
sock("AF_INET raw", socket.AF_INET, socket.SOCK_RAW, 1)
sock("AF_INET6 raw", socket.AF_INET6, socket.SOCK_RAW, 58)
sock("AF_ALG", 38, socket.SOCK_SEQPACKET, 0)
sock("AF_BLUETOOTH", 31, socket.SOCK_RAW, 1)
sock("netlink netfilter", 16, socket.SOCK_RAW, 12)
if os.uname().machine == "x86_64":
    NEWUSER, NEWNET, NEWNS = 0x10000000, 0x40000000, 0x00020000
    call("ptrace attach", 101, 16, os.getppid(), 0, 0)
    call("mount", 165, b"none", b"/tmp", b"tmpfs", 0, None)
    call("umount2", 166, b"/project", 2)
    call("pivot_root", 155, b"/", b"/")
    call("add_key", 248, b"user", b"a", b"b", 1, -3)
    call("keyctl", 250, 0, -3, 0)
    call("unshare user", 272, NEWUSER)
    call("unshare net", 272, NEWNET)
    call("unshare mount", 272, NEWNS)
    call("perf_event_open", 298, None, 0, -1, -1, 0)
    call("setns", 308, os.open("/proc/self/ns/net", os.O_RDONLY), 0)
    call("process_vm_readv", 310, os.getppid(), None, 0, None, 0, 0)
    call("bpf", 321, 0, None, 0)
    call("userfaultfd", 323, 0)
    call("io_uring_setup", 425, 1, None)
    call("open_tree", 428, -100, b"/", 1)
    call("fsopen", 430, b"tmpfs", 0)
    call("mount_setattr", 442, -100, b"/", 0, None, 0)
"#;
