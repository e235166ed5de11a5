//! The holder's life: what it has and has not once it is ready, what it serves, and how it ends.
//!
//! Clauses: N9, N10, N11.

#![expect(
    clippy::disallowed_methods,
    reason = "the test starts the holder in the ways that it must refuse"
)]

#[cfg(test)]
mod support;

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use support::holder::{Holder, PROGRAM, connect, dialled, receive, refusal, sockets};
use support::{SEALED, in_another_namespace, inside, ip, nft, run_with};

const NAMES: [&str; 10] = [
    "capture4",
    "capture6",
    "dns-tcp4",
    "dns-tcp6",
    "dns-udp4",
    "dns-udp6",
    "explicit4",
    "explicit6",
    "nflog",
    "sock-diag",
];

#[test]
fn n11_the_holder_has_no_capability_and_none_of_the_sockets_once_it_is_ready() {
    let mut holder = Holder::start(&["--userns"], SEALED);
    let id = holder.child.id();
    assert_eq!(
        holder.ready(),
        serde_json::json!({ "v": 1, "kind": "ready", "pid": id, "ipv6": true })
    );
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let privilege: Vec<String> = status
        .lines()
        .filter(|line| line.starts_with("Cap") || line.starts_with("NoNewPrivs"))
        .map(|line| line.replace('\t', " "))
        .collect();
    let none = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"]
        .map(|set| format!("{set}: 0000000000000000"));
    assert_eq!(
        privilege,
        [&none[..], &["NoNewPrivs: 1".to_owned()]].concat()
    );
    let open: BTreeSet<String> = fs::read_dir(format!("/proc/{id}/fd"))
        .unwrap()
        .map(|fd| {
            fs::read_link(fd.unwrap().path())
                .unwrap()
                .display()
                .to_string()
        })
        .filter(|target| target.starts_with("socket:"))
        .collect();
    assert_eq!(
        open.len(),
        1,
        "the connection, and no other socket: {open:?}"
    );
    assert_eq!(holder.sockets().names(), NAMES);
    assert!(holder.close().success());
}

#[test]
fn its_uid_is_mapped_to_itself_and_to_nothing_else() {
    let mut holder = Holder::start(&["--userns"], SEALED);
    holder.ready();
    let of =
        |file: &str| fs::read_to_string(format!("/proc/{}/{file}", holder.child.id())).unwrap();
    let words = |text: String| {
        text.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let (uid, gid) = (
        rustix::process::geteuid().to_string(),
        rustix::process::getegid().to_string(),
    );
    assert_eq!(words(of("uid_map")), [&uid, &uid, "1"]);
    assert_eq!(words(of("gid_map")), [&gid, &gid, "1"]);
    assert_eq!(of("setgroups"), "deny\n");
    assert!(holder.close().success());
}

#[test]
fn it_dies_with_whoever_started_it() {
    let mut holder = Holder::start_with(
        "sh",
        &[
            "-c",
            &format!("exec 3<&0; {PROGRAM} hold --userns <&3 & wait"),
        ],
        SEALED,
    );
    holder.ready();
    holder.receive();
    holder.child.kill().unwrap();
    holder.child.wait().unwrap();
    // The shell is gone, and the connection's other end is closed: so is the holder, though nobody closed ours.
    let connection = holder.connection.as_ref().unwrap();
    assert_eq!(
        rustix::net::recv(connection, &mut [0_u8; 1], rustix::net::RecvFlags::empty()),
        Ok((0, 0))
    );
}

#[test]
fn a_spec_that_is_refused_holds_nothing() {
    let cases = [
        (
            "{",
            "the spec is not the JSON that docs/netctl.md describes: EOF while parsing an object at line 1 column 1",
        ),
        (
            r#"{"v":1,"topology":"sealed","explicit":0,"capture":1,"dns":1,"nflog_group":1}"#,
            "the spec is refused:\n  explicit: 0 is no port; write one from 1 to 65535\n  dns: 1 is taken by `capture`",
        ),
        (
            include_str!("../snapshots/shared.json"),
            "hold is for the sealed topology; for a shared namespace use `ocs-netctl apply`",
        ),
    ];
    for (spec, error) in cases {
        let mut holder = Holder::start(&["--userns"], spec);
        assert_eq!(
            holder.line(),
            serde_json::json!({ "v": 1, "kind": "failed", "error": error, "differences": [] })
        );
        assert_eq!(holder.close().code(), Some(64));
    }
}

#[test]
fn a_starter_that_goes_before_it_said_anything_ends_it() {
    let mut holder = Holder::start_silently(PROGRAM, &["hold", "--userns"]);
    drop(holder.connection.take());
    assert_eq!(holder.line()["error"], "whoever started the holder is gone");
    assert_eq!(holder.child.wait().unwrap().code(), Some(70));
}

#[test]
fn standard_input_that_is_no_connection_is_refused() {
    let output = run_with(PROGRAM, &["hold", "--userns"], Stdio::null());
    let line = String::from_utf8(output.stdout).unwrap();
    assert!(
        line.contains("standard input, which is no SOCK_SEQPACKET unix socket"),
        "{line}"
    );
    assert_eq!(output.status.code(), Some(70));
}

#[test]
fn n1_a_namespace_that_has_a_way_out_is_not_held() {
    inside("n1_a_namespace_that_has_a_way_out_is_not_held", || {
        ip("link add outside type veth peer name inside");
        let mut holder = Holder::start(&[], SEALED);
        let error = holder.line()["error"].to_string();
        assert!(
            error.contains("sealing is for a namespace of its own"),
            "{error}"
        );
        assert_eq!(holder.close().code(), Some(70));
        assert_eq!(nft("list ruleset"), "");
    });
}

#[test]
fn without_user_namespaces_it_says_what_to_type() {
    // The limit is of the user namespace that `unshare` makes, and goes with it.
    let script =
        format!("echo 0 > /proc/sys/user/max_user_namespaces; exec {PROGRAM} hold --userns");
    let mut holder = Holder::start_with(
        "unshare",
        &["--user", "--map-root-user", "sh", "-c", &script],
        SEALED,
    );
    let error = holder.line()["error"].to_string();
    assert!(
        error.contains("the kernel lacks user namespaces for this user")
            && error.contains("sysctl -w user.max_user_namespaces=15000"),
        "{error}"
    );
    assert_eq!(holder.close().code(), Some(69));
}

#[test]
fn without_capabilities_over_the_namespace_it_says_so() {
    // A user who is not mapped keeps no capability over the exec.
    let mut holder = Holder::start_with("unshare", &["--user", "--net", PROGRAM, "hold"], SEALED);
    let error = holder.line()["error"].to_string();
    assert!(
        error.contains("this needs CAP_NET_ADMIN over the network namespace"),
        "{error}"
    );
    assert_eq!(holder.close().code(), Some(70));
}

#[test]
fn n11_a_container_s_holder_needs_net_admin_and_keeps_nothing_of_it() {
    inside(
        "n11_a_container_s_holder_needs_net_admin_and_keeps_nothing_of_it",
        || {
            // As an engine starts it: one capability, no right to touch the bounding set, and ports free from 0 on.
            fs::write("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0").unwrap();
            let only = [
                "--inh-caps=-all",
                "--ambient-caps=-all",
                "--bounding-set=-all,+net_admin",
                PROGRAM,
                "hold",
            ];
            let mut holder = Holder::start_with("setpriv", &only, SEALED);
            holder.ready();
            let status = fs::read_to_string(format!("/proc/{}/status", holder.child.id())).unwrap();
            let held: Vec<&str> = status
                .lines()
                .filter(|line| line.starts_with("Cap"))
                .collect();
            assert_eq!(
                held,
                [
                    "CapInh:\t0000000000000000",
                    "CapPrm:\t0000000000000000",
                    "CapEff:\t0000000000000000",
                    "CapBnd:\t0000000000001000", // CAP_NET_ADMIN, which no exec can gain: no_new_privs
                    "CapAmb:\t0000000000000000",
                ]
            );
            assert!(status.contains("NoNewPrivs:\t1"), "{status}");
            assert_eq!(holder.sockets().names(), NAMES);
            assert!(holder.close().success());
        },
    );
}

#[test]
fn n9_it_connects_to_published_ports_and_to_no_others() {
    inside("n9_it_connects_to_published_ports_and_to_no_others", || {
        let mut holder = Holder::start(&[], SEALED);
        holder.ready();
        holder.receive();
        let service = TcpListener::bind("127.0.0.1:4096").unwrap();
        let hidden = TcpListener::bind("127.0.0.1:4097").unwrap();
        let mut inward = dialled(holder.ask(r#"{"v":1,"kind":"dial","id":7,"port":4096}"#), 7);
        inward.set_nonblocking(false).unwrap();
        inward.write_all(b"hello").unwrap();
        let mut bytes = [0; 5];
        service.accept().unwrap().0.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"hello");
        assert_eq!(
            refusal(holder.ask(r#"{"v":1,"kind":"dial","id":8,"port":4097}"#), 8),
            "the port is not published"
        );
        hidden.set_nonblocking(true).unwrap();
        assert!(hidden.accept().is_err());
        assert_eq!(
            refusal(holder.ask(r#"{"v":2,"kind":"dial","id":9,"port":4096}"#), 9),
            "this version of the message is not known"
        );
        assert!(holder.close().success());
    });
}

#[test]
fn a_service_on_the_ipv6_loopback_alone_is_reached_too() {
    inside(
        "a_service_on_the_ipv6_loopback_alone_is_reached_too",
        || {
            let mut holder = Holder::start(&[], SEALED);
            holder.ready();
            holder.receive();
            let refused = refusal(holder.ask(r#"{"v":1,"kind":"dial","id":1,"port":4096}"#), 1);
            assert!(refused.contains("refused"), "{refused}");
            let service = TcpListener::bind("[::1]:4096").unwrap();
            let inward = dialled(holder.ask(r#"{"v":1,"kind":"dial","id":2,"port":4096}"#), 2);
            assert_eq!(service.accept().unwrap().1, inward.local_addr().unwrap());
            assert!(holder.close().success());
        },
    );
}

#[test]
fn a_service_that_takes_nothing_keeps_nobody_else_waiting() {
    let two = r#"{"v":1,"topology":"sealed","explicit":3128,"capture":3129,"dns":53,"nflog_group":1,"published":[81,82]}"#;
    inside(
        "a_service_that_takes_nothing_keeps_nobody_else_waiting",
        || {
            let mut holder = Holder::start(&[], two);
            holder.ready();
            holder.receive();
            let full =
                socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
            full.bind(
                &"127.0.0.1:81"
                    .parse::<std::net::SocketAddr>()
                    .unwrap()
                    .into(),
            )
            .unwrap();
            full.listen(0).unwrap();
            let _filler = TcpStream::connect("127.0.0.1:81").unwrap();
            let service = TcpListener::bind("127.0.0.1:82").unwrap();
            holder.tell(r#"{"v":1,"kind":"dial","id":1,"port":81}"#);
            dialled(holder.ask(r#"{"v":1,"kind":"dial","id":2,"port":82}"#), 2);
            drop(service);
            assert_eq!(refusal(holder.receive(), 1), "the service does not answer");
            assert!(holder.close().success());
        },
    );
}

#[test]
fn a_peer_that_does_not_keep_to_the_contract_ends_the_fence() {
    let mut holder = Holder::start(&["--userns"], SEALED);
    holder.ready();
    holder.receive();
    holder.tell(r#"{"v":1,"kind":"dial","id":1,"port":4096,"address":"10.0.0.1"}"#);
    assert_eq!(holder.line()["kind"], "failed");
    assert_eq!(holder.close().code(), Some(70));
}

#[test]
fn at_a_path_it_waits_for_the_proxy_and_for_nobody_else() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("hold.sock");
    let text = path.to_str().unwrap();
    let mut holder = Holder::start_piped(&["hold", "--userns", "--socket", text], SEALED);
    assert_eq!(holder.ready()["ipv6"], true);
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let connection = connect(text);
    assert_eq!(sockets(receive(&connection)).names(), NAMES);
    assert!(!path.exists());
    drop(connection);
    assert!(holder.child.wait().unwrap().success());
}

#[test]
fn an_attached_holder_ends_with_its_stdin_before_the_proxy_came_and_after() {
    for proxy_comes in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hold.sock");
        let text = path.to_str().unwrap();
        let arguments = ["hold", "--userns", "--attached", "--socket", text];
        let (mut holder, mut stdin) = Holder::start_attached(&arguments, SEALED);
        holder.ready();
        writeln!(stdin, "what nobody asked for").unwrap();
        let connection = proxy_comes.then(|| connect(text));
        if let Some(connection) = &connection {
            assert_eq!(sockets(receive(connection)).names(), NAMES);
        }
        assert_eq!(holder.child.try_wait().unwrap(), None);
        drop(stdin);
        assert!(holder.child.wait().unwrap().success());
        assert!(!path.exists());
    }
}

#[test]
fn an_attached_holder_without_a_whole_spec_holds_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("hold.sock");
    let text = path.to_str().unwrap();
    let mut holder = Holder::start_piped(&["hold", "--attached", "--socket", text], "{\"v\":1");
    assert_eq!(holder.line()["kind"], "failed");
    assert_eq!(holder.child.wait().unwrap().code(), Some(70));
}

#[test]
fn at_a_path_another_user_than_the_one_named_gets_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("hold.sock");
    let text = path.to_str().unwrap();
    let ours = rustix::process::geteuid().as_raw();
    let hold = |uid: u32| {
        let uid = uid.to_string();
        let arguments = ["hold", "--attached", "--socket", text, "--peer-uid", &uid];
        Holder::start_attached(&[&["hold", "--userns"], &arguments[1..]].concat(), SEALED)
    };
    let (mut holder, stdin) = hold(ours + 1);
    holder.ready();
    let stranger = connect(text);
    // Closed without a word, and the next one may still come.
    assert_eq!(
        rustix::net::recv(&stranger, &mut [0_u8; 1], rustix::net::RecvFlags::empty()),
        Ok((0, 0))
    );
    assert!(path.exists());
    drop(stdin);
    assert!(holder.child.wait().unwrap().success());
    let (mut holder, _stdin) = hold(ours);
    holder.ready();
    assert_eq!(sockets(receive(&connect(text))).names(), NAMES);
    assert!(holder.child.wait().unwrap().success());
}

#[test]
fn a_path_that_is_taken_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("hold.sock");
    fs::write(&path, "somebody's").unwrap();
    let mut holder = Holder::start_piped(
        &["hold", "--userns", "--socket", path.to_str().unwrap()],
        SEALED,
    );
    assert_eq!(holder.line()["kind"], "failed");
    assert_eq!(holder.child.wait().unwrap().code(), Some(70));
    assert_eq!(fs::read_to_string(&path).unwrap(), "somebody's");
}

#[test]
fn n10_two_holders_know_nothing_of_each_other() {
    let mut holders = [
        Holder::start(&["--userns"], SEALED),
        Holder::start(&["--userns"], SEALED),
    ];
    let namespaces = holders.each_mut().map(|holder| {
        holder.ready();
        fs::read_link(format!("/proc/{}/ns/net", holder.child.id())).unwrap()
    });
    assert_ne!(namespaces[0], namespaces[1]);
    for holder in holders {
        assert_eq!(holder.sockets().names(), NAMES);
        assert!(holder.close().success());
    }
}

#[test]
fn n10_the_namespace_goes_with_its_holder() {
    inside("n10_the_namespace_goes_with_its_holder", || {
        let inner = in_another_namespace(|| {
            let mut holder = Holder::start(&["--userns"], SEALED);
            holder.ready();
            assert!(holder.close().success());
            nft("list ruleset") + &ip("-oneline link show")
        });
        let left = inner.join().unwrap();
        assert!(
            left.starts_with("1: lo:") && left.lines().count() == 1,
            "{left}"
        );
    });
}
