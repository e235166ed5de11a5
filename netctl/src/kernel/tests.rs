use std::io;

use netlink_packet_core::NetlinkBuffer;

use super::attributes::Attributes;
use super::*;
use crate::expression::{Expression, lower};

/// The expressions of every rule of both plans, as bytes that the kernel is sent, and as they were meant. Counters are
/// left out: the kernel is sent none of the numbers that it sends back.
fn rules() -> Vec<(Vec<u8>, Vec<Expression>)> {
    let plans = [
        include_bytes!("../../snapshots/sealed.json").as_slice(),
        include_bytes!("../../snapshots/shared.json").as_slice(),
    ]
    .map(|json| Plan::build(&Spec::parse(json).unwrap()));
    let meant = plans
        .iter()
        .flat_map(Plan::chains)
        .flat_map(|chain| &chain.rules)
        .map(lower);
    let sent = plans.iter().flat_map(|plan| {
        let transaction = Transaction::replace(plan);
        let rules = transaction
            .messages()
            .iter()
            .filter(|message| message.about.starts_with("rule"));
        rules
            .map(|message| expressions_of(&message.bytes))
            .collect::<Vec<_>>()
    });
    sent.zip(meant)
        .filter(|(_, meant)| !meant.contains(&Expression::Counter))
        .collect()
}

fn expressions_of(message: &[u8]) -> Vec<u8> {
    let message = NetlinkBuffer::new_checked(message).unwrap();
    let mut attributes = Attributes::parse(&message.payload()[4..]).unwrap();
    attributes.take(4).unwrap().to_vec() // NFTA_RULE_EXPRESSIONS
}

#[test]
fn what_the_kernel_is_sent_reads_back_as_it_was_meant() {
    let rules = rules();
    assert_eq!(
        rules.len(),
        2 + 2 + 5 + 1 + 24 + 8,
        "all but those that count"
    );
    for (sent, meant) in rules {
        assert_eq!(decode::expressions(&sent), Ok(meant));
    }
}

#[test]
fn no_prefix_of_a_rule_reads_as_the_whole_rule() {
    for (sent, meant) in rules() {
        for end in 0..sent.len() {
            assert_ne!(
                decode::expressions(&sent[..end]),
                Ok(meant.clone()),
                "{end} bytes"
            );
        }
    }
}

#[test]
fn an_error_says_whose_fault_it_is_and_what_to_type() {
    let told = |errno: Errno| KernelError::of("rule `x`", io::Error::from(errno)).to_string();
    for errno in [
        Errno::OPNOTSUPP,
        Errno::NOENT,
        Errno::PROTONOSUPPORT,
        Errno::AFNOSUPPORT,
    ] {
        assert!(
            told(errno)
                .starts_with("the kernel lacks rule `x`; as root type: modprobe -a nf_tables "),
            "{errno}"
        );
    }
    for errno in [Errno::PERM, Errno::ACCESS] {
        assert_eq!(
            told(errno),
            "not permitted: rule `x`; this needs CAP_NET_ADMIN over the network namespace"
        );
    }
    assert_eq!(told(Errno::NOBUFS), "rule `x`");
}
