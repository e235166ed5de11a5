//! A network namespace of its own for every test that speaks to the kernel, as root or as an ordinary user.
//!
//! A test that calls [`inside`] is run twice: once as cargo runs it, which starts this very program again in a fresh
//! namespace (`unshare`, of util-linux), and once in there. Nothing of a test outlives it: the namespace goes with its
//! last process.

#![expect(
    clippy::disallowed_methods,
    reason = "a test starts what it tests, and reads one variable of its own"
)]
#![allow(
    dead_code,
    reason = "each test program uses the part of this that it needs"
)]

use std::net::Shutdown;
use std::process::{Command, Output, Stdio};
use std::thread::{self, JoinHandle};

use netctl::kernel::{self, Difference};
use netctl::spec::Spec;

pub(crate) mod diag;
pub(crate) mod holder;
pub(crate) mod nflog;
pub(crate) mod peer;
pub(crate) mod sealed;
pub(crate) mod shared;

/// A sealed spec that publishes port 4096.
pub(crate) const SEALED: &str = include_str!("../../snapshots/sealed.json");
/// The proxy's uid in [`shared`].
pub(crate) const PROXY: u32 = 4101;
/// The agent's uid in [`shared`].
pub(crate) const AGENT: u32 = 4102;

/// Whom the test's sockets belong to in its namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Nobody in particular.
    Root,
    Proxy,
    Agent,
}

impl Role {
    /// The uid; an ordinary user who is nobody in particular is mapped to root.
    fn uid(self) -> u32 {
        match self {
            Self::Root => 0,
            Self::Proxy => PROXY,
            Self::Agent => AGENT,
        }
    }
}

/// Set in the program that runs inside.
const INSIDE: &str = "OCS_NETCTL_TEST_INSIDE";

/// Runs `body` in a fresh network namespace. `name` is the test's own, as `cargo test` prints it.
pub(crate) fn inside(name: &str, body: impl FnOnce()) {
    inside_as(Role::Root, name, |_| body());
}

/// The same; once `body` called what it is given, the sockets that it makes belong to `role`.
pub(crate) fn inside_as(role: Role, name: &str, body: impl FnOnce(&dyn Fn())) {
    match std::env::var(INSIDE) {
        Ok(asked) if asked == format!("{role:?}") => body(&|| {
            // An ordinary user has one uid, which is the role's already. Root has every uid at hand: a socket belongs to
            // the filesystem uid of the thread that makes it.
            if rustix::process::geteuid().is_root() {
                nix::unistd::setfsuid(role.uid().into());
            }
        }),
        Ok(_) => {} // another role of the same test
        Err(_) => enter(role, name),
    }
}

fn enter(role: Role, name: &str) {
    let mut command = Command::new("unshare");
    if rustix::process::geteuid().is_root() {
        command.arg("--net");
    } else {
        // An ordinary user has one uid, so it is mapped to the role's; its capabilities survive the exec as ambient ones.
        let uid = role.uid();
        command.args(["--user", "--net", "--keep-caps"]);
        command.args([format!("--map-user={uid}"), format!("--map-group={uid}")]);
    }
    command.arg(std::env::current_exe().unwrap());
    command
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(INSIDE, format!("{role:?}"));
    let output = command
        .stdin(Stdio::null())
        .output()
        .expect("unshare, of util-linux, must be installed");
    let (stdout, stderr) = text(&output);
    assert!(
        output.status.success() && stdout.contains("test result: ok. 1 passed"),
        "as {role:?} in a namespace of its own: {}\nwhere user namespaces are absent or forbidden this test cannot \
         pass: run it as root, or allow them (ocs doctor says how)\n--- stdout\n{stdout}\n--- stderr\n{stderr}",
        output.status
    );
}

/// What a program said.
pub(crate) fn text(output: &Output) -> (String, String) {
    (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

/// Runs a program that must succeed, and gives what it said.
pub(crate) fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{program} must be installed: {error}"));
    let (stdout, stderr) = text(&output);
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}\n{stdout}{stderr}",
        output.status
    );
    stdout
}

/// Runs a program that may fail, with this standard input.
pub(crate) fn run_with(program: &str, arguments: &[&str], stdin: Stdio) -> Output {
    Command::new(program)
        .args(arguments)
        .stdin(stdin)
        .output()
        .unwrap()
}

/// `ip` with the arguments in one string.
pub(crate) fn ip(arguments: &str) -> String {
    run("ip", &arguments.split(' ').collect::<Vec<_>>())
}

/// `nft` with the arguments in one string.
pub(crate) fn nft(arguments: &str) -> String {
    run("nft", &[arguments])
}

/// Has `nft` load a file's text, which it must.
pub(crate) fn nft_file(text: &str) {
    assert!(nft_takes(text), "nft does not load:\n{text}");
}

/// Whether `nft` loads a file's text.
pub(crate) fn nft_takes(text: &str) -> bool {
    use std::io::Write as _;
    let mut child = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    child.wait().unwrap().success()
}

/// What the counters of one of our chains have counted, in order.
pub(crate) fn counted(chain: &str) -> Vec<u64> {
    nft(&format!("list chain inet ocs {chain}"))
        .lines()
        .filter_map(|line| {
            line.split_once("counter packets ")?
                .1
                .split_once(' ')?
                .0
                .parse()
                .ok()
        })
        .collect()
}

/// How the namespace differs from what `spec` asks for, in words.
pub(crate) fn differences(spec: &Spec) -> Vec<String> {
    kernel::verify(spec)
        .unwrap()
        .iter()
        .map(ToString::to_string)
        .collect()
}

/// How a namespace differs where `nft` loaded `text`.
pub(crate) fn with_text(spec: &Spec, text: &str) -> Vec<Difference> {
    nft_file(text);
    kernel::verify(spec).unwrap()
}

/// The spec of a JSON text.
pub(crate) fn spec(json: &str) -> Spec {
    Spec::parse(json.as_bytes()).unwrap()
}

/// A shared spec: explicit listener 3128, stub 53, own port 4096, host port 192.0.2.2:5432, resolver 192.0.2.2:53.
pub(crate) fn shared() -> Spec {
    spec(&format!(
        r#"{{"v":1,"topology":"shared","proxy_uid":{PROXY},"agent_uid":{AGENT},"explicit":3128,"dns":53,
            "own_ports":[{{"first":4096,"last":4096}}],
            "host_ports":[{{"address":"192.0.2.2","port":5432}},{{"address":"2001:db8::2","port":5432}}],
            "resolvers":[{{"address":"192.0.2.2","port":53}},{{"address":"2001:db8::2","port":53}}],
            "nflog_group":9,"published":[8443]}}"#
    ))
}

/// Runs `body` on a thread that is in a network namespace of its own.
pub(crate) fn in_another_namespace<T: Send + 'static>(
    body: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    thread::spawn(|| {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        body()
    })
}

/// Reads all that the peer sends, and closes.
pub(crate) fn read_all(stream: &mut std::net::TcpStream) -> String {
    use std::io::Read as _;
    stream.shutdown(Shutdown::Write).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}
