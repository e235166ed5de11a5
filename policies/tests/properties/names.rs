//! Names: what a pattern covers, which names the stub answers for, and the host's own.

use policies::{DnsName, List, NameVerdict, Pattern, Port, Verdict, Via};
use proptest::prelude::*;
use proptest::sample::select;

use crate::files::{cases, entry, file, host, name, port, request, verdict_of, via};

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn a_pattern_covers_names_by_whole_labels_from_the_right_and_no_others(
        entry in entry(), host in name(), list in select(vec![List::Deny, List::Whitelist])
    ) {
        let (pattern, warning) = Pattern::parse(&entry.text(), list).unwrap();
        prop_assert_eq!(warning, None);
        prop_assert_eq!(pattern.to_string(), entry.text());
        prop_assert_eq!(pattern.covers(&DnsName::parse(&host).unwrap()), entry.covers(&host));
        // Its neighbours: a label that only ends alike, one label less, one more behind.
        let beside = format!("x{}", entry.name);
        let above = entry.name.split_once('.').unwrap().1.to_owned();
        let behind = format!("{}.com", entry.name);
        for outside in [beside, above, behind] {
            prop_assert!(!pattern.covers(&DnsName::parse(&outside).unwrap()), "{}", outside);
        }
    }

    #[test]
    fn a_name_has_one_canonical_form_which_is_read_as_itself(
        text in "[a-zA-Z0-9_-]{1,8}(\\.[a-zA-Z0-9_-]{1,8}){0,3}\\.?"
    ) {
        if let Ok(name) = DnsName::parse(&text) {
            prop_assert_eq!(DnsName::parse(name.as_str()), Ok(name.clone()));
            let bare = text.strip_suffix('.').unwrap_or(&text);
            prop_assert!(bare.eq_ignore_ascii_case(name.as_str()));
        }
    }

    #[test]
    fn the_stub_answers_exactly_for_names_that_some_request_may_reach(
        file in file(), host in host()
    ) {
        let policy = file.policy();
        let Ok(name) = DnsName::parse(&host) else { return Ok(()) };
        let answered = matches!(policy.allows_name(&name), NameVerdict::Allow(_));
        let reachable = [80, 443, 8080, 22, 1, 65535, 9].iter().any(|port| {
            Via::ALL.into_iter().any(|via| verdict_of(&policy, &request(&host, *port, via)).is_ok())
        });
        prop_assert_eq!(answered, reachable, "{}", file.text());
    }

    #[test]
    fn no_name_is_reached_on_a_port_that_is_open_to_none(
        file in file(), host in name(), port in port(), via in via()
    ) {
        let policy = file.policy();
        if verdict_of(&policy, &request(&host, port, via)).is_ok() {
            prop_assert!(policy.opens_port(Port::new(port).unwrap()), "{}", file.text());
        }
    }

    #[test]
    fn the_host_has_one_verdict_under_every_name_and_is_reached_by_its_ports_alone(
        file in file(), port in port(), via in via()
    ) {
        let policy = file.policy();
        let verdicts: Vec<_> = ["docker.host", "host.docker.internal", "HOST.containers.internal."]
            .into_iter()
            .map(|alias| match policy.decide(&request(alias, port, via)) {
                Verdict::Allow(permit) => {
                    format!("{:?} {:?} {:?}", permit.carries(), permit.target(), permit.rule())
                }
                Verdict::Deny(deny) => format!("{deny:?}"),
            })
            .collect();
        prop_assert!(verdicts.iter().all(|verdict| *verdict == verdicts[0]), "{:?}", verdicts);
        let model = file.llm.iter().any(|(_, host, listed)| {
            matches!(host.as_str(), "docker.host" | "host.docker.internal") && *listed == port
        });
        let listed = file.mode != policies::Mode::None && file.host_ports.contains(&port);
        let allowed = verdict_of(&policy, &request("docker.host", port, via)).is_ok();
        prop_assert!(allowed == listed || (allowed && model), "{}", file.text());
    }
}
