//! Our proxy in front of a sealed namespace, as `ocs run` sets it up: for clients that are captured.
//!
//! The contract between the parts is `docs/architecture.md`, "How listeners cross".

use std::{
    fs::File,
    io::{BufRead, BufReader},
    net::{Ipv4Addr, UdpSocket},
    os::fd::AsRawFd,
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, send, socketpair};

const SPEC: &str = r#"{"v":1,"topology":"sealed","explicit":3128,"capture":3129,"dns":53,"nflog_group":1,"published":[]}"#;

/// Every refusal is a line of the record: what is measured is the whole cost of one.
pub(crate) const LINE_BY_LINE: &str = "18446744073709551615";

/// The proxy, the holder of the namespace, and the namespace.
///
/// # Errors
/// One of them does not say that it is ready. Both die with the calling thread.
#[expect(
    clippy::disallowed_methods,
    reason = "the bench starts what it measures; nothing here is in a sandbox's path"
)]
pub(crate) fn start(binaries: &Path, policy: &Path, audit: &Path) -> Result<(Child, Child, File)> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
    send(ours.as_raw_fd(), SPEC.as_bytes(), MsgFlags::empty()).context("send the spec")?;
    let mut holder = Command::new(binaries.join("ocs-netctl"))
        .args(["hold", "--userns"])
        .stdin(theirs)
        .stdout(Stdio::piped())
        .spawn()
        .context("start ocs-netctl")?;
    let said = ready(holder.stdout.take()).context("ocs-netctl")?;
    let pid = said.get("pid").and_then(serde_json::Value::as_u64);
    let path = format!(
        "/proc/{}/ns/net",
        pid.context("ocs-netctl names no process")?
    );
    let namespace = File::open(&path).with_context(|| format!("open {path}"))?;
    let mut proxy = Command::new(binaries.join("ocs-proxy"))
        .args([
            "--sandboxed",
            "--engine",
            "native",
            "--sandbox",
            "bench",
            "--run",
            "bench",
        ])
        .arg("--policy")
        .arg(policy)
        .arg("--audit")
        .arg(audit)
        .args(["--flood-after", LINE_BY_LINE])
        .stdin(ours)
        .stdout(Stdio::piped())
        .spawn()
        .context("start ocs-proxy")?;
    ready(proxy.stdout.take()).context("ocs-proxy")?;
    Ok((proxy, holder, namespace))
}

fn ready(stdout: Option<ChildStdout>) -> Result<serde_json::Value> {
    let mut line = String::new();
    BufReader::new(stdout.context("no stdout")?).read_line(&mut line)?;
    let said: serde_json::Value =
        serde_json::from_str(&line).with_context(|| format!("it said {line:?}"))?;
    ensure!(
        said.get("kind").is_some_and(|kind| kind == "ready"),
        "it said {line}"
    );
    Ok(said)
}

/// The address that the stub gives for `name`; asked inside of the namespace.
///
/// # Errors
/// No answer, or not one address.
pub(crate) fn address(name: &str) -> Result<Ipv4Addr> {
    let mut question = b"\0\x07\x01\0\0\x01\0\0\0\0\0\0".to_vec();
    for label in name.split('.') {
        question.push(u8::try_from(label.len())?);
        question.extend_from_slice(label.as_bytes());
    }
    question.extend_from_slice(b"\0\0\x01\0\x01");
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    socket.send_to(&question, (Ipv4Addr::LOCALHOST, 53))?;
    let mut buffer = [0; 512];
    let length = socket
        .recv(&mut buffer)
        .context("the stub does not answer")?;
    let answer = buffer.get(..length).unwrap_or_default();
    ensure!(
        answer.get(6..8) == Some(&[0, 1]),
        "{name} has no address: {answer:?}"
    );
    // The one answer is last, and its four bytes are the last of it.
    let octets = answer.last_chunk::<4>().context("a short answer")?;
    Ok(Ipv4Addr::from(*octets))
}
