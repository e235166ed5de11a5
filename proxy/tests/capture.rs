//! The kernel's redirect, in a network namespace of the test's own that has no interface but `lo`: what was connected
//! to is told, and named if our own answer led there.
//!
//! Clauses: W5.
#![expect(clippy::unwrap_used, reason = "a test's own helpers")]
#![expect(
    clippy::disallowed_methods,
    reason = "the test makes its own namespace, and is the client in it"
)]

use std::io::Write;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};

use policies::{DnsName, Host};
use proxy::capture::{Capture, CapturedDestination};
use proxy::synthetic::{Issued, Synthetic};
use tokio::time::Instant;

#[test]
fn w5_a_redirected_connection_is_named_by_the_answer_that_led_to_it() {
    let output = Command::new("unshare")
        .args(["--map-root-user", "--net", "--"])
        .arg(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "inside_the_namespace"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");
    assert!(text.contains("1 passed"), "{text}\n{errors}");
}

#[tokio::test]
#[ignore = "runs in the namespace that the other test makes for it"]
async fn inside_the_namespace() {
    run("ip", &["link", "set", "lo", "up"], "");
    let listeners = [listen("127.0.0.1:0"), listen("[::1]:0")];
    redirect(&listeners);
    let names = Synthetic::default();
    let name = DnsName::parse("ok.test").unwrap();
    let Issued::First(issued) = names.issue(&name, Instant::now()) else {
        panic!("not issued");
    };
    let capture = Capture::new(names);
    let caught = |to: SocketAddr| {
        let listener = &listeners[usize::from(to.is_ipv6())];
        let _client = TcpStream::connect(to).unwrap();
        let (stream, _) = listener.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        let stream = tokio::net::TcpStream::from_std(stream).unwrap();
        capture.caught(&stream).unwrap().destination
    };
    let named = |to: SocketAddr| CapturedDestination {
        host: Some(Host::Name(name.clone())),
        original: to,
    };
    let bare = |to: SocketAddr| CapturedDestination {
        host: None,
        original: to,
    };

    for port in [80, 443, 22] {
        let to = SocketAddr::new(IpAddr::V4(issued), port);
        assert_eq!(caught(to), named(to));
    }
    let direct = listeners.each_ref().map(|it| it.local_addr().unwrap());
    for to in [
        "203.0.113.7:443",
        "198.18.1.1:443",
        "169.254.169.254:80",
        "[2001:db8::7]:443",
    ] {
        let to = to.parse().unwrap();
        assert_eq!(caught(to), bare(to));
    }
    for to in direct {
        assert_eq!(caught(to), bare(to), "the listener itself");
    }
}

/// Every address is local, and every connection to one that is not loopback ends at a listener: as netctl has it.
fn redirect(listeners: &[TcpListener; 2]) {
    for family in ["-4", "-6"] {
        run(
            "ip",
            &[family, "route", "add", "local", "default", "dev", "lo"],
            "",
        );
    }
    let [four, six] = listeners
        .each_ref()
        .map(|it| it.local_addr().unwrap().port());
    let rules = format!(
        "add table inet test
        add chain inet test capture {{ type nat hook output priority -100; }}
        add rule inet test capture ip daddr != 127.0.0.0/8 meta l4proto tcp redirect to :{four}
        add rule inet test capture ip6 daddr != ::1 meta l4proto tcp redirect to :{six}
        "
    );
    run("nft", &["-f", "-"], &rules);
}

fn listen(address: &str) -> TcpListener {
    TcpListener::bind(address).unwrap()
}

fn run(program: &str, arguments: &[&str], input: &str) {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    assert!(
        child.wait().unwrap().success(),
        "{program} {arguments:?}\n{input}"
    );
}
