use std::collections::BTreeSet;

use super::*;
use crate::matcher::Action;

const SEALED: &str = include_str!("../../snapshots/sealed.json");
const SHARED: &str = include_str!("../../snapshots/shared.json");

fn plan(json: &str) -> Plan {
    Plan::build(&Spec::parse(json.as_bytes()).unwrap())
}

#[test]
fn the_sealed_plan_is_the_reviewed_one() {
    assert_eq!(
        plan(SEALED).to_string(),
        include_str!("../../snapshots/sealed.nft")
    );
}

#[test]
fn the_shared_plan_is_the_reviewed_one() {
    assert_eq!(
        plan(SHARED).to_string(),
        include_str!("../../snapshots/shared.nft")
    );
}

#[test]
fn n6_the_last_rule_of_the_output_chain_rejects_whatever_comes_to_it() {
    for json in [SEALED, SHARED] {
        let plan = plan(json);
        let output = plan
            .chains()
            .iter()
            .find(|chain| chain.hook == Hook::Output)
            .unwrap();
        assert_eq!(
            output.rules.last().unwrap(),
            &Rule::new(Clause::N6, [], [Action::Count, Action::RejectProhibited])
        );
    }
}

#[test]
fn every_clause_has_its_row_in_security_md() {
    let rows: BTreeSet<&str> = include_str!("../../../docs/security.md")
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(' ').next())
        .collect();
    let missing: Vec<_> = Clause::ALL
        .iter()
        .filter(|clause| !rows.contains(clause.id()))
        .collect();
    assert_eq!(missing, Vec::<&Clause>::new());
}

#[test]
fn every_clause_is_kept_by_some_rule() {
    let plans = [plan(SEALED), plan(SHARED)];
    let kept: BTreeSet<Clause> = plans
        .iter()
        .flat_map(Plan::chains)
        .flat_map(|chain| chain.rules.iter().map(|rule| rule.clause))
        .collect();
    assert_eq!(kept, BTreeSet::from(Clause::ALL));
}

#[test]
fn a_chain_that_filters_drops_what_no_rule_ended() {
    let policies = [Hook::Forward, Hook::Input, Hook::Output].map(Hook::policy);
    assert_eq!(policies, [Policy::Drop; 3]);
}
