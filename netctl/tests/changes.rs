//! Every single change of what stands in the kernel is seen when it is read back, and told as one difference.
//!
//! Clauses: N1, N10.

#[cfg(test)]
mod support;

use std::collections::BTreeSet;

use netctl::kernel::{self, Difference};
use netctl::plan::Plan;
use netctl::spec::Spec;
use support::{SEALED, differences, inside, ip, nft, nft_takes, shared, spec, with_text};

#[test]
fn n10_a_rule_that_is_gone_is_seen_whichever_it_is() {
    inside("n10_a_rule_that_is_gone_is_seen_whichever_it_is", || {
        for spec in [spec(SEALED), shared()] {
            kernel::replace(&spec).unwrap();
            each_rule(&spec, |text, rule, chain, number| {
                assert_eq!(
                    with_text(&spec, &text.replacen(&format!("\t\t{rule}\n"), "", 1)),
                    [Difference::RuleMissing {
                        chain: chain.to_owned(),
                        number,
                        planned: rule.to_owned(),
                    }]
                );
            });
        }
    });
}

#[test]
fn n10_a_rule_that_was_slipped_in_is_seen_wherever_it_is() {
    inside(
        "n10_a_rule_that_was_slipped_in_is_seen_wherever_it_is",
        || {
            for spec in [spec(SEALED), shared()] {
                kernel::replace(&spec).unwrap();
                each_rule(&spec, |text, rule, chain, number| {
                    let line = format!("\t\t{rule}\n");
                    assert_eq!(
                        with_text(
                            &spec,
                            &text.replacen(&line, &format!("\t\tudp sport 7 accept\n{line}"), 1)
                        ),
                        [Difference::RuleExtra {
                            chain: chain.to_owned(),
                            number,
                            found: "meta l4proto; == 0x11; @th,0,16; == 0x0007; accept".to_owned(),
                        }]
                    );
                });
            }
        },
    );
}

/// Calls `test` for each rule: the plan's text, the rule's, its chain and its place.
fn each_rule(spec: &Spec, mut test: impl FnMut(&str, &str, &str, usize)) {
    let plan = Plan::build(spec);
    let text = plan.to_string();
    for chain in plan.chains() {
        for (at, rule) in chain.rules.iter().enumerate() {
            let rule = rule.to_string();
            if text.matches(&format!("\t\t{rule}\n")).count() == 1 {
                test(&text, &rule, chain.hook.name(), at + 1);
            }
        }
    }
}

/// Each is made wherever it can be made, one at a time.
const CHANGES: [(&str, &str); 38] = [
    ("dport 53 ", "dport 54 "),
    ("tcp dport", "udp dport"),
    ("redirect to :53", "redirect to :54"),
    ("redirect to :3129", "redirect to :3128"),
    ("daddr != 127.0.0.0/8", "daddr != 127.0.0.0/16"),
    ("daddr 127.0.0.0/8", "daddr != 127.0.0.0/8"),
    ("daddr 127.0.0.1 ", "daddr 127.0.0.2 "),
    ("daddr ::1", "daddr ::2"),
    ("l4proto tcp", "l4proto sctp"),
    ("l4proto != tcp", "l4proto != udp"),
    ("established,related", "established,related,new"),
    ("accept comment", "drop comment"),
    ("accept comment", "counter accept comment"),
    ("counter log", "log"),
    ("counter reject", "reject"),
    ("group 1 ", "group 2 "),
    ("group 9 ", "group 1 "),
    ("snaplen 128", "snaplen 64"),
    ("queue-threshold 32", "queue-threshold 33"),
    ("prefix \"N6\"", "prefix \"N5\""),
    ("reject with tcp reset", "accept"),
    ("icmpx admin-prohibited", "icmpx no-route"),
    ("iif \"lo\"", "iif != \"lo\""),
    ("oif \"lo\"", "iif \"lo\""),
    ("skuid 4101", "skuid 4102"),
    ("skuid 4102", "skuid 0"),
    ("hoplimit 255", "hoplimit 254"),
    ("nd-neighbor-solicit", "nd-redirect"),
    ("1000/second", "1001/second"),
    ("burst 1000", "burst 1001"),
    ("1000/second", "1000/minute"),
    ("comment \"N6\"", "comment \"N5\""),
    ("policy drop", "policy accept"),
    ("policy accept", "policy drop"),
    ("priority 0", "priority 1"),
    ("priority -100", "priority -99"),
    ("hook input", "hook prerouting"),
    ("hook forward", "hook postrouting"),
];

#[test]
fn n10_a_rule_or_chain_that_was_changed_is_seen_whatever_was_changed() {
    inside(
        "n10_a_rule_or_chain_that_was_changed_is_seen_whatever_was_changed",
        || {
            let mut unused: BTreeSet<_> = CHANGES.into_iter().collect();
            for spec in [spec(SEALED), shared()] {
                kernel::replace(&spec).unwrap();
                let text = Plan::build(&spec).to_string();
                for (from, to) in CHANGES {
                    for (at, _) in text.match_indices(from) {
                        let changed = format!("{}{to}{}", &text[..at], &text[at + from.len()..]);
                        if !nft_takes(&changed) {
                            continue; // such as a TCP reset for SCTP
                        }
                        let found = differences(&spec);
                        assert_eq!(
                            found.len(),
                            1,
                            "`{from}` to `{to}` at byte {at}: {found:?}\n{changed}"
                        );
                        unused.remove(&(from, to));
                    }
                }
            }
            assert_eq!(unused, BTreeSet::new(), "changes that were never made");
        },
    );
}

#[test]
fn n10_whatever_else_changes_in_the_namespace_is_seen() {
    inside("n10_whatever_else_changes_in_the_namespace_is_seen", || {
        let spec = spec(SEALED);
        let nft_changes: [(&str, &[&str]); 6] = [
            (
                "add table inet aside",
                &["table inet aside stands and is not ours"],
            ),
            (
                "add table ip aside; add chain ip aside out { type filter hook output priority -200; policy accept; }",
                &["table ip aside stands and is not ours"],
            ),
            ("delete table inet ocs", &["table inet ocs does not stand"]),
            (
                "add table inet ocs { flags dormant; }",
                &["table inet ocs has flags 0x1"],
            ),
            (
                "add set inet ocs holes { type ipv4_addr; }",
                &["table inet ocs holds 5 things, not 4 chains"],
            ),
            (
                "add chain inet ocs aside",
                &[
                    "table inet ocs holds 5 things, not 4 chains",
                    "chain aside stands and was not planned",
                ],
            ),
        ];
        for (change, seen) in nft_changes {
            kernel::replace(&spec).unwrap();
            nft(change);
            assert_eq!(differences(&spec), seen, "{change}");
            nft("flush ruleset");
        }
    });
}

#[test]
fn n10_whatever_changes_of_the_links_is_seen() {
    inside("n10_whatever_changes_of_the_links_is_seen", || {
        let spec = spec(SEALED);
        let no_route = [
            "there is no `local default dev lo` for ip",
            "there is no `local default dev lo` for ip6",
        ];
        kernel::replace(&spec).unwrap();
        ip("route del local default dev lo table local");
        ip("-6 route del local default dev lo table local");
        assert_eq!(differences(&spec), no_route);
        kernel::replace(&spec).unwrap();
        ip("address del 198.18.0.1/32 dev lo");
        ip("-6 address del 2001:2::1/128 dev lo");
        assert_eq!(
            differences(&spec),
            ["lo does not have 198.18.0.1", "lo does not have 2001:2::1"]
        );
        kernel::replace(&spec).unwrap();
        assert_eq!(differences(&spec), [""; 0]);
        ip("link set lo down");
        assert_eq!(differences(&spec), ["lo is down"]);
        kernel::replace(&spec).unwrap();
        ip("link add outside type veth peer name inside");
        assert_eq!(
            BTreeSet::from_iter(differences(&spec)),
            BTreeSet::from([
                "interface inside is there".to_owned(),
                "interface outside is there".to_owned()
            ])
        );
    });
}
