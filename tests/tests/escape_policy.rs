//! The battery, config and policy (P): the file says what it says, or nothing starts.
//! Clauses: P1, P2, P3, P8, P9, B2, U1, U4.

use harness::escape::Turn;
use harness::order::EVIL_ADDRESS;
use harness::project::{Decided, Project};
use harness::world::{As, Call};
use harness::{open_cases, product_cases};

const HEAD: &str = "sandbox-name: config\n";

/// Each of these configs starts nothing: 64, and not a line from the command.
fn start_nothing(turn: &Turn<'_>, who: As, bodies: &[&str]) -> anyhow::Result<()> {
    for body in bodies {
        let project = Project::named(turn.world, who, "config", &format!("{HEAD}{body}\n"))?;
        let finished = project.run(&["echo", "ran"])?;
        anyhow::ensure!(
            finished.code() == 64 && finished.stdout.is_empty(),
            "{body}: {finished}"
        );
        anyhow::ensure!(
            finished.stderr.contains("opencode-sandbox-config.yaml:"),
            "no place: {finished}"
        );
    }
    anyhow::ensure!(
        turn.world.readings()? == harness::spec::Readings::default(),
        "something left"
    );
    Ok(())
}

product_cases! {
    needs "approval of control files"
    fn p01_a_config_that_changed_since_its_approval_starts_nothing_unasked(turn, who) {
        let project = Project::named(turn.world, who, "changed", "sandbox-name: changed\nhttp-domain-whitelist:\n  - ok.test\n")?;
        project.run(&["true"])?.succeeded()?;
        project.write("opencode-sandbox-config.yaml", "sandbox-name: changed\nhttp-domain-whitelist:\n  - ok.test\n  - evil.test\n")?;
        let finished = project.run(&["sh", "-c", "echo ran; curl -sS https://evil.test/"])?;
        assert_ne!(finished.code(), 0, "{finished}");
        assert_eq!(finished.stdout, "", "{finished}");
        assert!(finished.stderr.contains("evil.test"), "the difference is not shown: {finished}");
        assert_eq!(turn.world.readings()?, harness::spec::Readings::default());
    }

    needs "approval of control files"
    fn p02_what_the_agent_leaves_as_a_hook_is_not_run(turn, who) {
        let project = Project::named(turn.world, who, "hooked", "sandbox-name: hooked\nhttp-domain-whitelist: []\n")?;
        let plant = "for f in opencode-sandbox-pre-start-container.sh .git/hooks/pre-commit mise.toml; do mkdir -p $(dirname $f); \
                     echo 'touch /tmp/hook-ran-here; touch hook-ran' > $f; chmod +x $f; done 2>/dev/null; true";
        project.run(&["sh", "-c", plant])?;
        let finished = project.run(&["true"])?;
        assert_eq!(finished.code(), 0, "{finished}");
        for name in ["hook-ran", "opencode-sandbox-pre-start-container.sh"] {
            assert!(!turn.world.outside(&project.directory().join(name)).exists(), "{name}");
        }
    }

    needs "a config of its own form"
    fn p03_a_list_that_is_empty_missing_or_null_lists_nothing(turn, who) {
        for (name, list) in [("one", "http-domain-whitelist: []\n"), ("two", ""), ("three", "http-domain-whitelist:\n"), ("four", "http-domain-whitelist: null\n")] {
            let project = Project::named(turn.world, who, name, &format!("sandbox-name: {name}\n{list}"))?;
            let evidence = turn.inside(&project, &["curl", "-sS", "https://ok.test/"])?;
            evidence.nothing_left(&[])?;
            assert_eq!(evidence.requests()?, [Decided::request("ok.test", 443, "not-whitelisted")]);
        }
    }

    needs "a config of its own form"
    fn p04_an_unknown_key_starts_nothing_and_the_nearest_is_named(turn, who) {
        start_nothing(&turn, who, &["http-domain-whitelst:\n  - ok.test", "Http-Domain-Whitelist:\n  - ok.test"])?;
        let project = Project::named(turn.world, who, "config", &format!("{HEAD}http-domain-whitelst:\n  - ok.test\n"))?;
        assert!(project.run(&["true"])?.stderr.contains("http-domain-whitelist"));
    }

    needs "a config of its own form"
    fn p06_values_of_another_type_start_nothing(turn, who) {
        start_nothing(&turn, who, &[
            "http-domain-whitelist:\n  - 443", "http-domain-whitelist:\n  - yes", "http-domain-whitelist:\n  - 1.1",
            "http-domain-whitelist: ok.test", "http-domain-whitelist:\n  - [ok.test]", "host-ports:\n  - 08x", "host-ports: 5432",
        ])?;
    }

    needs "a config of its own form"
    fn p07_nothing_in_a_config_becomes_a_rule_or_a_command(turn, who) {
        start_nothing(&turn, who, &[
            "http-domain-whitelist:\n  - \"ok.test\\nhttp_access allow all\"", "http-domain-whitelist:\n  - 'ok.test; drop'",
            "http-domain-whitelist:\n  - '$(touch /tmp/injected)'", "http-domain-whitelist:\n  - '`id`.test'",
            "host-ports:\n  - '5432; flush ruleset'", "env:\n  'A=B; id': x",
        ])?;
        assert!(!turn.world.outside(std::path::Path::new("/tmp/injected")).exists());
    }

    needs "a config of its own form"
    fn p08_what_is_no_domain_starts_nothing(turn, who) {
        start_nothing(&turn, who, &[
            "http-domain-whitelist:\n  - https://x.test/", "http-domain-whitelist:\n  - x.test/path", "http-domain-whitelist:\n  - '*x.test'",
            "http-domain-whitelist:\n  - 'x.*'", "http-domain-whitelist:\n  - x.test:0", "http-domain-whitelist:\n  - 'x test'",
        ])?;
    }

    needs "explain"
    fn p11_explain_and_the_wire_give_one_verdict(turn, who) {
        let project = turn.project(who)?;
        for (url, allowed) in [
            ("https://ok.test/", true), ("https://OK.test./", true), ("https://a.w.test/", true), ("https://bad.w.test/", false),
            ("https://evil.test/", false), ("http://x.ok.test/", false), ("https://1.1.1.1/", false), ("http://ok.test:8080/", false),
        ] {
            let explained = project.ocs(&["policy", "explain", "--json", url])?;
            let evidence = turn.inside(&project, &["curl", "-sS", "-o", "/dev/null", url])?;
            let on_wire = evidence.requests()?.iter().any(|request| request.verdict == "allow");
            assert_eq!(on_wire, allowed, "{url}: {evidence}");
            assert_eq!(explained.stdout.contains("\"allow\""), allowed, "{url}: {explained}");
        }
    }

    needs "variables of its caller"
    fn p12_no_variable_opens_the_fence(turn, who) {
        let project = turn.project(who)?;
        let variables = [
            ("HTTPJAIL_DANGER_DISABLE_CERT_VALIDATION", "1"), ("AWF_ALLOW_DOMAINS", "*"), ("OCS_ALLOW", "*"), ("OCS_MODE", "observe"),
            ("RUST_LOG", "trace"), ("LD_PRELOAD", "/project/evil.so"), ("OCS_NETWORK_MODE", "observe"), ("NO_PROXY", "*"), ("no_proxy", "*"),
        ];
        let line = "curl -sS https://evil.test/; curl -sS --noproxy '*' http://evil.test/; env | grep -ciE 'preload|rust_log'";
        let words = ["ocs", "run", "--", "sh", "-c", line];
        let finished = turn.world.run(who, Call::new(&words).with(&variables).within(project.directory()))?;
        assert_eq!(finished.stdout, "0\n", "{finished}");
        assert_eq!(turn.world.readings()?, harness::spec::Readings::default());
        assert!(!project.newest_record()?.decided().is_empty());
    }

    needs "a config of its own form"
    fn p13_a_version_that_is_not_known_starts_nothing(turn, who) {
        start_nothing(&turn, who, &["version: 99", "schema-version: 2"])?;
    }

    needs "two sandboxes"
    fn p14_one_sandbox_does_not_reach_another(turn, who) {
        let first = Project::named(turn.world, who, "first", "sandbox-name: first\nhttp-domain-whitelist: [evil.test]\n")?;
        let second = Project::named(turn.world, who, "second", "sandbox-name: second\nhttp-domain-whitelist: [ok.test]\n")?;
        let serve = "d=$PWD; cd /tmp; echo secret >s; (python3 -m http.server --bind 0.0.0.0 8123 >/dev/null 2>&1 &) ; \
                     until nc -z 127.0.0.1 8123; do sleep 0.05; done; touch $d/up; until [ -e $d/done ]; do sleep 0.05; done";
        let running = first.start(&["sh", "-c", serve])?;
        let up = turn.world.outside(&first.directory().join("up"));
        turn.world.settle(|_| up.exists())?;
        let line = format!("for a in 127.0.0.1 {} docker.host {EVIL_ADDRESS}; do curl -fsS -m 4 --noproxy '*' http://$a:8123/s; done; \
                    curl -sS -o /dev/null -w '%{{http_connect}}' https://evil.test/; ls /home 2>/dev/null | grep -c first; true", harness::inside::HOST_V4);
        let evidence = turn.inside(&second, &["sh", "-c", &line])?;
        first.write("done", "")?;
        running.wait()?.succeeded()?;
        assert_eq!(evidence.client.stdout, "4030\n", "{evidence}");
        evidence.nothing_left(&[])?;
    }
}

open_cases! {
    p10_a_lower_level_does_not_widen_what_a_higher_one_denies: "there is one level of config: nothing lies above a project's own file";
    p15_a_preset_does_not_widen_by_itself: "presets are bundled with the program; approval does not yet hold their hash";
}
