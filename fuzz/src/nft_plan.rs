//! A spec is refused, or its plan lets nothing through that the spec does not name, and ends in a refusal.

use netctl::matcher::{Action, Match};
use netctl::plan::{Chain, Hook, Plan, Policy};
use netctl::spec::{EndpointText, Spec, SpecError, SpecText};

/// A spec of any bytes.
///
/// # Panics
/// Where a promise is broken.
pub fn holds(data: &[u8]) {
    let spec = match Spec::parse(data) {
        Ok(spec) => spec,
        Err(SpecError::Json(_)) => return,
        Err(SpecError::Meaning(mistakes)) => {
            assert!(!mistakes.is_empty());
            return;
        }
    };
    let text: SpecText = serde_json::from_slice(data).expect("it was parsed");
    let again = serde_json::to_vec(&text).expect("a spec is written");
    assert_eq!(
        Spec::parse(&again).ok().as_ref(),
        Some(&spec),
        "written and read again"
    );
    let plan = Plan::build(&spec);
    assert_eq!(plan, Plan::build(&spec));
    nft_text(&plan);
    for chain in plan.chains() {
        ends_in_refusal(chain);
        if chain.hook == Hook::Output {
            for rule in &chain.rules {
                if rule.actions.contains(&Action::Accept) {
                    assert!(named(&text, &rule.matches), "nobody named {rule}");
                }
            }
        }
    }
}

fn ends_in_refusal(chain: &Chain) {
    if chain.hook == Hook::Redirect {
        assert_eq!(chain.hook.policy(), Policy::Accept);
        assert!(
            chain
                .rules
                .iter()
                .all(|rule| matches!(rule.actions.as_slice(), [Action::Redirect(_)]))
        );
        return;
    }
    assert_eq!(chain.hook.policy(), Policy::Drop);
    // The last acceptance stands before the first refusal, and what refuses last asks nothing of the packet but TCP.
    let refuses =
        |action: &Action| matches!(action, Action::RejectReset | Action::RejectProhibited);
    let first = chain
        .rules
        .iter()
        .position(|rule| rule.actions.iter().any(refuses));
    let last = chain
        .rules
        .iter()
        .rposition(|rule| rule.actions.contains(&Action::Accept));
    assert!(
        first.is_none_or(|first| last.is_none_or(|last| last < first)),
        "{chain}"
    );
    if chain.hook == Hook::Output {
        let rule = chain.rules.last().expect("rules");
        assert!(
            rule.matches.is_empty() && rule.actions.last() == Some(&Action::RejectProhibited),
            "{rule}"
        );
    }
}

/// Whether what an accepting rule of the output chain matches is in the spec.
fn named(text: &SpecText, matches: &[Match]) -> bool {
    match (text, matches) {
        (_, [Match::Established]) => true,
        (SpecText::Sealed { .. }, [Match::Protocol(_), Match::Loopback(_)]) => true,
        (SpecText::Shared { .. }, [Match::Neighbour(_)]) => true,
        (
            SpecText::Shared { proxy_uid, .. },
            [
                Match::Uid(uid),
                Match::ToLoopbackInterface | Match::Protocol(_),
            ],
        ) => uid.get() == *proxy_uid,
        (
            SpecText::Shared {
                proxy_uid,
                agent_uid,
                explicit,
                dns,
                own_ports,
                host_ports,
                resolvers,
                ..
            },
            [
                Match::Uid(uid),
                Match::Destination(address),
                Match::DestinationPort(_, ports),
            ],
        ) => {
            let (first, last) = (
                u32::from(ports.first().get()),
                u32::from(ports.last().get()),
            );
            let endpoint = EndpointText {
                address: *address,
                port: first,
            };
            let home = matches!(address.to_string().as_str(), "127.0.0.1" | "::1");
            let own = home
                && (*explicit == first && first == last
                    || *dns == Some(first) && first == last
                    || own_ports
                        .iter()
                        .any(|own| own.first == first && own.last == last));
            let host = first == last && host_ports.contains(&endpoint);
            let resolver = first == last && resolvers.contains(&endpoint);
            (uid.get() == *agent_uid && (own || host)) || (uid.get() == *proxy_uid && resolver)
        }
        _ => false,
    }
}

/// The text that `nft` and people read holds nothing but rules: no quote or line of the spec's making.
fn nft_text(plan: &Plan) {
    let text = plan.to_string();
    assert!(
        text.bytes()
            .all(|byte| byte == b'\n' || byte == b'\t' || (b' '..=b'~').contains(&byte))
    );
    assert_eq!(text.matches('{').count(), text.matches('}').count());
    let rules: usize = plan.chains().iter().map(|chain| chain.rules.len()).sum();
    assert_eq!(
        text.lines()
            .filter(|line| line.contains(" comment \""))
            .count(),
        rules
    );
    let json: serde_json::Value = serde_json::from_str(&plan.to_json()).expect("JSON");
    assert_eq!(
        json["chains"].as_array().map(Vec::len),
        Some(plan.chains().len())
    );
}
