//! The rules in a kernel: put up, read back, taken away; whole or not at all.
//!
//! Clauses: N1, N10.

#[cfg(test)]
mod support;

use std::collections::BTreeSet;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use netctl::kernel::{self, Ipv6, KernelError, Transaction};
use netctl::plan::Plan;
use support::{SEALED, differences, inside, ip, nft, nft_file, run, shared, spec};

const NONE: [&str; 0] = [];

#[test]
fn n10_what_was_put_up_reads_back_equal_also_the_second_time() {
    inside(
        "n10_what_was_put_up_reads_back_equal_also_the_second_time",
        || {
            for spec in [spec(SEALED), shared(), spec(SEALED)] {
                kernel::replace(&spec).unwrap();
                let once = nft("list ruleset");
                kernel::replace(&spec).unwrap();
                assert_eq!(nft("list ruleset"), once);
                assert_eq!(differences(&spec), NONE);
            }
        },
    );
}

#[test]
fn n10_a_new_namespace_needs_no_deletion() {
    inside("n10_a_new_namespace_needs_no_deletion", || {
        kernel::create(&spec(SEALED)).unwrap();
        assert_eq!(differences(&spec(SEALED)), NONE);
    });
}

#[test]
fn n10_rules_that_stood_before_are_found_by_reading_back() {
    inside(
        "n10_rules_that_stood_before_are_found_by_reading_back",
        || {
            nft(
                "add table inet ocs; add chain inet ocs output { type filter hook output priority 0; }; \
             add rule inet ocs output accept",
            );
            kernel::create(&spec(SEALED)).unwrap();
            assert_eq!(
                differences(&spec(SEALED)),
                ["rule 1 of chain output, `accept`, was not planned"]
            );
        },
    );
}

#[test]
fn clearing_leaves_nothing_and_touches_no_table_of_others() {
    inside(
        "clearing_leaves_nothing_and_touches_no_table_of_others",
        || {
            nft("add table ip neighbour");
            kernel::replace(&spec(SEALED)).unwrap();
            kernel::clear().unwrap();
            assert_eq!(nft("list ruleset"), "table ip neighbour {\n}\n");
            kernel::clear().unwrap();
            assert_eq!(nft("list tables"), "table ip neighbour\n");
        },
    );
}

#[test]
fn nft_reads_a_plan_s_text_as_the_rules_that_we_put_up() {
    inside(
        "nft_reads_a_plan_s_text_as_the_rules_that_we_put_up",
        || {
            ip("link set lo up"); // nft knows lo by its index either way
            for spec in [spec(SEALED), shared()] {
                nft_file(&Plan::build(&spec).to_string());
                // Routes and addresses are no rules: nft has none to put up.
                let of_lo = ["there is no `local default", "lo does not have "];
                let rules: Vec<String> = differences(&spec)
                    .into_iter()
                    .filter(|it| !of_lo.iter().any(|other| it.starts_with(other)))
                    .collect();
                assert_eq!(rules, NONE);
            }
        },
    );
}

#[test]
fn the_longest_spec_fits_one_transaction() {
    inside("the_longest_spec_fits_one_transaction", || {
        let list = |item: fn(u32) -> String| (0..64).map(item).collect::<Vec<_>>().join(",");
        let json = format!(
            r#"{{"v":1,"topology":"shared","proxy_uid":1,"agent_uid":2,"explicit":1,"dns":2,"nflog_group":1,
                "own_ports":[{}],"host_ports":[{}],"resolvers":[{}],"published":[{}]}}"#,
            list(|at| format!(
                r#"{{"first":{},"last":{}}}"#,
                1000 + at * 10,
                1005 + at * 10
            )),
            list(|at| format!(r#"{{"address":"2001:db8::{at:x}:1","port":1}}"#)),
            list(|at| format!(r#"{{"address":"2001:db8::{at:x}:1","port":1}}"#)),
            list(|at| (5000 + at).to_string()),
        );
        let spec = spec(&json);
        kernel::replace(&spec).unwrap();
        assert_eq!(differences(&spec), NONE);
    });
}

#[test]
fn n10_whichever_message_fails_the_old_rules_stand() {
    inside("n10_whichever_message_fails_the_old_rules_stand", || {
        kernel::replace(&shared()).unwrap();
        let before = nft("list ruleset");
        let count = Transaction::replace(&Plan::build(&spec(SEALED)))
            .messages()
            .len();
        assert_eq!(
            count,
            3 + 4 + 13 + 2,
            "tables, chains, rules, begin and end"
        );
        for at in 0..count {
            let mut transaction = Transaction::replace(&Plan::build(&spec(SEALED)));
            // The type's lower byte: a message that no subsystem knows.
            transaction.messages_mut()[at].bytes[4] = 0xfe;
            let about = transaction.messages()[at].about.clone();
            assert!(transaction.commit().is_err(), "message {at}, {about}");
            assert_eq!(nft("list ruleset"), before, "message {at}, {about}");
        }
        assert_eq!(differences(&shared()), NONE);
    });
}

/// The program's own calls, not the transaction's messages: sockets that are not given, sends and answers that fail.
#[test]
fn n10_whichever_system_call_fails_the_rules_stand_as_before_or_whole() {
    const CALLS: &str = "bind,recvfrom,recvmsg,sendmsg,sendto,setsockopt,socket";
    inside(
        "n10_whichever_system_call_fails_the_rules_stand_as_before_or_whole",
        || {
            let apply = |at: usize| {
                let line = format!(
                    "strace -qq -o /dev/null -e trace={CALLS} -e inject={CALLS}:error=ENOBUFS:when={at} \
                     {} apply < {}/snapshots/sealed.json 2>/dev/null; echo $?",
                    support::holder::PROGRAM,
                    env!("CARGO_MANIFEST_DIR")
                );
                run("sh", &["-c", &line])
            };
            kernel::replace(&spec(SEALED)).unwrap();
            let whole = nft("list ruleset");
            for before in [None, Some(shared())] {
                let failed = (1..).find(|at| {
                    nft("flush ruleset");
                    before
                        .iter()
                        .for_each(|spec| kernel::replace(spec).unwrap());
                    let old = nft("list ruleset");
                    let code = apply(*at);
                    let now = nft("list ruleset");
                    assert!(now == old || now == whole, "call {at}: {now}");
                    assert!(code != "0\n" || now == whole, "call {at} failed unseen");
                    assert!(code == "0\n" || code == "70\n", "call {at}: {code}");
                    code == "0\n"
                });
                assert!(failed > Some(10), "{failed:?}");
                assert_eq!(differences(&spec(SEALED)), NONE);
            }
        },
    );
}

#[test]
fn a_refused_message_is_named() {
    inside("a_refused_message_is_named", || {
        let mut transaction = Transaction::replace(&Plan::build(&spec(SEALED)));
        let messages = transaction.messages_mut();
        let at = messages
            .iter()
            .position(|message| message.about.contains("redirect to :3129"))
            .unwrap();
        messages[at].bytes[4] = 0xfe;
        let error = transaction.commit().unwrap_err().to_string();
        assert!(
            error.contains(
                "rule `meta l4proto tcp ip daddr != 127.0.0.0/8 redirect to :3129 comment \"N3\"`"
            ),
            "{error}"
        );
    });
}

#[test]
fn n10_no_packet_slips_through_while_rules_are_replaced() {
    inside(
        "n10_no_packet_slips_through_while_rules_are_replaced",
        || {
            kernel::replace(&spec(SEALED)).unwrap();
            let stop = Arc::new(AtomicBool::new(false));
            let agent = std::thread::spawn({
                let stop = Arc::clone(&stop);
                move || {
                    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
                    let mut sent = 0_u32;
                    while !stop.load(Ordering::Relaxed) {
                        assert!(
                            socket.send_to(b"slip", "203.0.113.9:443").is_err(),
                            "datagram {sent} passed"
                        );
                        sent += 1;
                    }
                    sent
                }
            });
            for _ in 0..50 {
                kernel::replace(&spec(SEALED)).unwrap();
            }
            stop.store(true, Ordering::Relaxed);
            assert!(agent.join().unwrap() > 0);
        },
    );
}

#[test]
fn n1_a_namespace_with_another_interface_is_not_sealed() {
    inside(
        "n1_a_namespace_with_another_interface_is_not_sealed",
        || {
            ip("link add outside type veth peer name inside");
            let error = kernel::replace(&spec(SEALED)).unwrap_err();
            let KernelError::Occupied { interfaces } = error else {
                panic!("{error}");
            };
            assert_eq!(
                BTreeSet::from_iter(interfaces),
                BTreeSet::from(["inside".to_owned(), "outside".to_owned()])
            );
            assert_eq!(nft("list ruleset"), "", "nothing was touched");
        },
    );
}

#[test]
fn n1_a_namespace_without_ipv6_is_sealed_as_well() {
    inside("n1_a_namespace_without_ipv6_is_sealed_as_well", || {
        for which in ["all", "default", "lo"] {
            std::fs::write(format!("/proc/sys/net/ipv6/conf/{which}/disable_ipv6"), "1").unwrap();
        }
        kernel::replace(&spec(SEALED)).unwrap();
        assert_eq!(
            (differences(&spec(SEALED)), kernel::ipv6().unwrap()),
            (vec![], Ipv6::Off)
        );
        assert_eq!(ip("-6 route show table all"), "");
    });
}

#[test]
fn a_table_that_the_spec_names_may_stand_beside_ours() {
    inside("a_table_that_the_spec_names_may_stand_beside_ours", || {
        let shared = include_str!("../snapshots/shared.json");
        nft("add table ip nat");
        kernel::replace(&spec(shared)).unwrap();
        assert_eq!(differences(&spec(shared)), NONE);
        nft("add table ip6 nat");
        assert_eq!(
            differences(&spec(shared)),
            ["table ip6 nat stands and is not ours"]
        );
    });
}

#[test]
fn the_program_applies_verifies_and_clears() {
    inside("the_program_applies_verifies_and_clears", || {
        let program = support::holder::PROGRAM;
        let with = |arguments: &str| {
            let line = format!(
                "exec {program} {arguments} < {}/snapshots/sealed.json",
                env!("CARGO_MANIFEST_DIR")
            );
            run("sh", &["-c", &line])
        };
        assert_eq!(with("apply"), "");
        assert_eq!(with("verify"), "");
        assert_eq!(
            with("verify --json"),
            "{\"differences\":[],\"enforced\":true,\"v\":1}\n"
        );
        assert_eq!(run(program, &["clear"]), "");
        assert_eq!(nft("list ruleset"), "");
        let line = format!(
            "{program} verify < {}/snapshots/sealed.json; test $? = 70",
            env!("CARGO_MANIFEST_DIR")
        );
        assert_eq!(run("sh", &["-c", &line]), "table inet ocs does not stand\n");
    });
}
