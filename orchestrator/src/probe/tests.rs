use super::*;

fn all_refused() -> Vec<Finding> {
    Probe::ALL
        .map(|probe| Finding {
            probe,
            outcome: Outcome::Refused("so".to_owned()),
        })
        .into()
}

fn holes(read_back: ReadBack, findings: &[Finding]) -> Vec<Probe> {
    match Proven::by(read_back, findings) {
        Ok(_) => Vec::new(),
        Err(unproven) => unproven.holes.iter().map(|hole| hole.probe).collect(),
    }
}

#[test]
fn only_a_whole_set_of_refusals_is_a_proof() {
    let read_back = ReadBack { ipv6: true };
    assert_eq!(holes(read_back, &all_refused()), []);
    assert_eq!(holes(read_back, &[]), Probe::ALL);
    for (index, probe) in Probe::ALL.into_iter().enumerate() {
        for outcome in [
            Outcome::Hung,
            Outcome::NoIpv6,
            Outcome::Passed(String::new()),
            Outcome::Untried(String::new()),
        ] {
            let mut findings = all_refused();
            findings[index].outcome = outcome;
            assert_eq!(holes(read_back, &findings), [probe]);
        }
        let mut missing = all_refused();
        missing.remove(index);
        assert_eq!(holes(read_back, &missing), [probe]);
        let mut twice = all_refused();
        twice.push(twice[index].clone());
        assert_eq!(holes(read_back, &twice), [probe]);
    }
}

#[test]
fn a_kernel_without_ipv6_has_nothing_to_refuse_there_and_only_there() {
    let without: Vec<Finding> = Probe::ALL
        .map(|probe| Finding {
            probe,
            outcome: Outcome::NoIpv6,
        })
        .into();
    let over_ipv4 = [
        Probe::Interfaces,
        Probe::Tcp4,
        Probe::Udp4,
        Probe::Dns4,
        Probe::Proxy4,
    ];
    assert_eq!(holes(ReadBack { ipv6: false }, &without), over_ipv4);
}
