//! The battery, the guard itself (S): an agent that goes for the proxy, the rules' holder, their files and descriptors.
//! Clauses: N11, B1, B2, B3, B5, B6, B7, U1, U2, U4, W7.

use harness::escape::row::{connect, get, raw};
use harness::order::EVIL_ADDRESS;
use harness::project::{Decided, Project};
use harness::world::Call;
use harness::{cases, open_cases, product_cases};

cases! {
    s05_the_proxy_serves_nothing_of_its_own: [
        get("http://127.0.0.1:9090/metrics").refused("127.0.0.1", 9090, "ip-literal"),
        get("http://localhost:8080/health").refused("localhost", 8080, "private-address"),
        raw("GET /metrics HTTP/1.1\r\nHost: 127.0.0.1:3128\r\n\r\n").malformed(),
    ];
    s07_no_health_endpoint_is_a_relay: [
        raw("GET /health HTTP/1.1\r\nHost: evil.test\r\n\r\n").malformed(),
        raw("GET /squid-internal-mgr/info HTTP/1.1\r\nHost: ok.test\r\n\r\n").malformed(),
        get("http://squid-internal-mgr/").refused("squid-internal-mgr", 80, "not-whitelisted"),
        connect("127.0.0.1:9092").refused("127.0.0.1", 9092, "ip-literal"),
    ];
}

const EMPTY: &str = "";

product_cases! {
    needs "a box"
    fn s01_no_process_of_ours_is_seen_signalled_or_read(turn, who) {
        let project = turn.project(who)?;
        let script = "import os, ctypes\n\
            libc = ctypes.CDLL(None, use_errno=True)\n\
            mine = {os.getpid(), os.getppid()}\n\
            for p in range(1, 3000):\n  \
            if p in mine or p == 1: continue\n  \
            try: line = open(f'/proc/{p}/cmdline').read()\n  \
            except OSError: line = ''\n  \
            if 'ocs' in line: print('seen', p, line)\n  \
            try: os.kill(p, 0)\n  \
            except OSError: continue\n  \
            if libc.ptrace(16, p, 0, 0) == 0: print('traced', p)\n\
            try: os.kill(1, 9)\n\
            except OSError: pass\n\
            print('end')";
        let evidence = turn.inside(&project, &["python3", "-c", script])?;
        assert_eq!(evidence.client.stdout, "end\n", "{evidence}");
    }

    needs "a box"
    fn s03_the_proxy_s_ports_are_taken_before_the_agent_is_there(turn, who) {
        let project = turn.project(who)?;
        let script = "import socket\n\
            for port in (53, 3128, 3129):\n  \
            for family, address in ((2, '127.0.0.1'), (2, '0.0.0.0'), (10, '::1'), (10, '::')):\n    \
            s = socket.socket(family); s.setsockopt(1, 2, 1); s.setsockopt(1, 15, 1)\n    \
            try: s.bind((address, port)); s.listen(); print('took', address, port)\n    \
            except OSError: pass";
        let evidence = turn.inside(&project, &["python3", "-c", script])?;
        assert_eq!((evidence.client.code(), evidence.client.stdout.as_str()), (0, EMPTY), "{evidence}");
    }

    needs "a network of its own"
    fn s05_nothing_listens_in_the_namespace_but_the_three_listeners(turn, who) {
        let project = turn.project(who)?;
        let line = "cat /proc/net/tcp /proc/net/tcp6 | awk '$4 == \"0A\" {split($2, a, \":\"); print a[2]}' | sort -u";
        let evidence = turn.inside(&project, &["sh", "-c", line])?;
        assert_eq!(evidence.client.stdout, "0035\n0C38\n0C39\n", "{evidence}"); // 53, 3128, 3129
    }

    needs "a box"
    fn s08_no_link_in_the_project_leads_our_writes_elsewhere(turn, who) {
        let project = Project::named(turn.world, who, "links", "sandbox-name: links\nhttp-domain-whitelist: [ok.test]\n")?;
        let victim = who.home().join("victim");
        turn.world.write(who, &victim, "untouched\n")?;
        let plant = format!("ln -sf {} opencode.json; mkdir -p .git; ln -sf {} .git/config; ln -sf /home/{} link", victim.display(), victim.display(), who.account());
        project.run(&["sh", "-c", &plant])?;
        project.run(&["sh", "-c", "echo evil > opencode.json; echo evil > .git/config; echo evil > link/victim; true"])?;
        assert_eq!(std::fs::read_to_string(turn.world.outside(&victim))?, "untouched\n");
    }

    needs "a box"
    fn s08_the_programs_of_the_fence_are_not_written(turn, who) {
        let project = turn.project(who)?;
        let line = "for f in /run/ocs $(command -v bwrap nft ip python3 sh) /etc/resolv.conf /etc/hosts /etc/ld.so.preload /etc/passwd; do \
                    (echo x >>$f) 2>/dev/null && echo wrote $f; (rm -f $f) 2>/dev/null && [ ! -e $f ] && echo removed $f; done; true";
        let evidence = turn.inside(&project, &["sh", "-c", line])?;
        let real = evidence.client.stdout.lines().filter(|line| *line != "removed /etc/ld.so.preload").count();
        assert_eq!(real, 0, "{evidence}");
    }

    needs "a box"
    fn s09_three_descriptors_are_open_at_the_agent_s_start(turn, who) {
        let project = turn.project(who)?;
        let evidence = turn.inside(&project, &["sh", "-c", "ls /proc/$$/fd"])?;
        assert_eq!(evidence.client.stdout, "0\n1\n2\n", "{evidence}");
    }

    needs "a box"
    fn s10_what_the_caller_s_environment_holds_is_nowhere_in_the_box(turn, who) {
        let project = turn.project(who)?;
        let canary = "canary-7731";
        let script = "import glob, os\n\
            canary = b'canary-' + b'7731'\n\
            for path in glob.glob('/proc/[0-9]*/environ') + glob.glob('/proc/[0-9]*/cmdline'):\n  \
            try:\n    \
            if canary in open(path, 'rb').read(): print(path)\n  \
            except OSError: pass";
        let words = ["ocs", "run", "--", "python3", "-c", script];
        let secrets = [("GITHUB_TOKEN", canary), ("AWS_SECRET_ACCESS_KEY", canary), ("SSH_AUTH_SOCK", canary)];
        let finished = turn.world.run(who, Call::new(&words).with(&secrets).within(project.directory()))?;
        assert_eq!((finished.code(), finished.stdout.as_str()), (0, EMPTY), "{finished}");
    }

    needs "a box"
    fn s11_the_agent_has_no_capability_in_any_set(turn, who) {
        let project = turn.project(who)?;
        let evidence = turn.inside(&project, &["sh", "-c", "grep -E '^Cap(Inh|Prm|Eff|Bnd|Amb)' /proc/self/status | awk '{print $2}' | sort -u"])?;
        assert_eq!(evidence.client.stdout, "0000000000000000\n", "{evidence}");
    }

    needs "a box"
    fn s13_setuid_programs_give_nothing(turn, who) {
        let project = turn.project(who)?;
        let line = "grep NoNewPrivs /proc/self/status | awk '{print $2}'; for p in su sudo mount ping newgrp chsh passwd; do f=$(command -v $p) || continue; \
                    case $p in su) su -c id root </dev/null;; sudo) sudo -n id;; esac; done 2>/dev/null; true";
        let evidence = turn.inside(&project, &["sh", "-c", line])?;
        assert_eq!(evidence.client.stdout, "1\n", "{evidence}");
    }

    needs "a box"
    fn s14_no_namespace_is_entered_again(turn, who) {
        let project = turn.project(who)?;
        let script = "import ctypes, os\n\
            libc = ctypes.CDLL(None, use_errno=True)\n\
            for pid in (1, os.getpid(), os.getppid()):\n  \
            for kind in ('net', 'user', 'mnt', 'pid', 'cgroup', 'uts', 'ipc'):\n    \
            try: fd = os.open(f'/proc/{pid}/ns/{kind}', os.O_RDONLY)\n    \
            except OSError: continue\n    \
            if libc.setns(fd, 0) == 0: print('entered', pid, kind)";
        let evidence = turn.inside(&project, &["python3", "-c", script])?;
        assert_eq!((evidence.client.code(), evidence.client.stdout.as_str()), (0, EMPTY), "{evidence}");
    }

    needs "variables of its caller"
    fn s17_the_proxy_dials_directly_whatever_its_caller_s_variables_say(turn, who) {
        let project = turn.project(who)?;
        let evil = format!("http://{EVIL_ADDRESS}:80");
        let names = ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
        let variables = names.map(|name| (name, evil.as_str()));
        let words = ["ocs", "run", "--", "curl", "-sS", "https://ok.test/"];
        let finished = turn.world.run(who, Call::new(&words).with(&variables).within(project.directory()))?;
        assert_eq!(finished.stdout, "hello from ok.test\n", "{finished}");
        let reached: Vec<_> = turn.world.readings()?.connections.into_iter().map(|seen| seen.sni).collect();
        assert_eq!(reached, [Some("ok.test".to_owned())]);
        assert_eq!(project.newest_record()?.decided(), [Decided::request("ok.test", 443, "allow")]);
    }
}

open_cases! {
    s15_a_config_swapped_while_it_is_read_is_judged_as_one: "the fault suites try it (a file that changes during a reload); not a case of the box";
}
