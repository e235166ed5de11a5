//! The battery, names (N): spellings of an allowed name pass, everything that is not plainly one does not.
//! Clauses: P1, P2, P3, P9, W1.

use harness::escape::row::{Row, connect, get, raw, tunnel};
use harness::{cases, product_cases};

/// A CONNECT and an absolute form, both malformed.
fn no_name(host: &str) -> [Row; 2] {
    [
        connect(&format!("{host}:443")).malformed(),
        get(&format!("http://{host}/")).malformed(),
    ]
}

/// A CONNECT and an absolute form, both refused under this name.
fn refused(host: &str, recorded: &str, reason: &str) -> [Row; 2] {
    [
        connect(&format!("{host}:443")).refused(recorded, 443, reason),
        get(&format!("http://{host}/")).refused(recorded, 80, reason),
    ]
}

/// A tunnel and an absolute form, both reaching this name.
fn passes(host: &str, recorded: &str) -> [Row; 2] {
    [
        tunnel(&format!("{host}:443")).passes(recorded, 443),
        get(&format!("http://{host}/")).passes(recorded, 80),
    ]
}

cases! {
    n01_a_trailing_dot_on_an_allowed_name_is_dropped: [get("http://ok.test./").passes("ok.test", 80)];
    n02_a_trailing_dot_on_a_denied_name_changes_nothing: [
        refused("evil.test.", "evil.test", "not-whitelisted"),
        refused("bad.w.test.", "bad.w.test", "denylisted"),
    ].concat();
    n03_empty_labels_are_malformed: ["ok.test..", ".ok.test", "a..w.test"].map(no_name).concat();
    n04_brackets_round_a_name_are_malformed: ["[evil.test]", "[ok.test]"].map(no_name).concat();
    n05_case_is_one_name: [passes("OK.TEST", "ok.test"), passes("Ok.TeSt", "ok.test")].concat();
    n06_a_suffix_is_a_whole_label: [
        refused("evilw.test", "evilw.test", "not-whitelisted"),
        refused("w.test.evil.test", "w.test.evil.test", "not-whitelisted"),
    ].concat();
    n07_a_suffix_entry_holds_its_apex_and_an_exact_one_nothing_below: [
        passes("w.test", "w.test"),
        refused("x.ok.test", "x.ok.test", "not-whitelisted"),
    ].concat();
    n08_a_suffix_entry_holds_names_of_any_depth: passes("a.b.c.d.w.test", "a.b.c.d.w.test");
    n09_a_nul_in_a_name_is_malformed: ["evil.test\0.w.test", "ok.test\0.evil.test"].map(no_name).concat();
    n10_white_space_in_a_name_is_malformed: [
        "evil.test\r\n.w.test", "evil.test\r.w.test", "evil.test\n.w.test", "evil.test\t.w.test", "evil.test .w.test",
        "ok.test%0d%0a.w.test",
    ].map(no_name).concat();
    n11_a_name_is_never_percent_decoded: ["ok%2etest", "%65vil.test", "%6fk.test"].map(no_name).concat();
    n12_user_information_is_malformed: [
        no_name("ok.test@evil.test"), no_name("ok.test:80@evil.test"), no_name("evil.test@ok.test"),
    ].concat();
    n14_only_ascii_is_a_name: ["\u{ff4f}\u{ff4b}.test", "ok\u{3002}test", "o\u{ad}k.test"].map(no_name).concat();
    n16_labels_past_63_and_names_past_253_are_malformed: [
        no_name(&format!("{}.w.test", "a".repeat(64))),
        no_name(&format!("{}aw.test", "aaaaaaa.".repeat(31))),
        passes(&format!("{}.w.test", "a".repeat(63)), &format!("{}.w.test", "a".repeat(63))),
    ].concat();
    n17_an_underscore_is_part_of_a_name: passes("_dmarc.w.test", "_dmarc.w.test");
    n19_names_of_the_machine_itself_are_refused: [
        refused("localhost", "localhost", "private-address"),
        refused("localhost.localdomain", "localhost.localdomain", "private-address"),
        refused("evil.localhost", "evil.localhost", "private-address"),
        [connect("docker.host:9999").refused("docker.host", 9999, "port"),
         get("http://docker.host/").refused("docker.host", 80, "port")],
    ].concat();
    n21_a_name_denied_below_an_allowed_one_is_refused: [
        refused("bad.w.test", "bad.w.test", "denylisted"),
        [raw("CONNECT BAD.w.test:443 HTTP/1.1\r\nHost: BAD.w.test:443\r\n\r\n").refused("bad.w.test", 443, "denylisted"),
         get("http://good.w.test/").passes("good.w.test", 80)],
    ].concat();
    n23_an_alias_is_followed_in_the_answer_and_its_target_never_asked_for: passes("alias.test", "alias.test");
    n24_no_address_is_ever_looked_up_backwards: [
        connect("203.0.113.7:443").refused("203.0.113.7", 443, "ip-literal"),
        get("http://203.0.113.7/").refused("203.0.113.7", 80, "ip-literal"),
    ];
}

product_cases! {
    needs "a config of its own form"
    fn n20_patterns_that_are_too_broad_start_nothing(turn, who) {
        for pattern in ["*", "'.com'", "'.co.uk'", "'.github.io'", "'*.com'", "'.'", "com"] {
            let config = format!("sandbox-name: broad\nhttp-domain-whitelist:\n  - {pattern}\n");
            let project = harness::project::Project::named(turn.world, who, "broad", &config)?;
            let finished = project.run(&["echo", "ran"])?;
            assert_eq!((finished.code(), finished.stdout.as_str()), (64, ""), "{pattern}: {finished}");
            assert!(finished.stderr.contains("opencode-sandbox-config.yaml:3:"), "{finished}");
        }
    }
}
