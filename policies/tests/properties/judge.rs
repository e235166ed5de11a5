//! The verdict on a request: what the file says, and how it moves when the file does.

use policies::{Config, Mode, Reason, Source, Verdict};
use proptest::prelude::*;
use proptest::sample::select;

use crate::files::{
    allowing, asked, cases, entry, file, host, lets, name, policy, port, request, verdict_of, via,
    within,
};

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn the_judge_agrees_with_an_oracle_that_reads_text(
        file in file(), host in name(), port in port(), via in via()
    ) {
        let allowed = verdict_of(&file.policy(), &request(&host, port, via)).is_ok();
        prop_assert_eq!(allowed, file.allows(&host, port, via), "{}", file.text());
    }

    #[test]
    fn the_order_of_the_file_changes_no_verdict(
        file in file(), asked in asked(), turn in 0_usize..6
    ) {
        let mut other = file.clone();
        other.allow.reverse();
        other.deny.reverse();
        other.host_ports.reverse();
        other.llm.reverse();
        other.tcp.reverse();
        if !other.allow.is_empty() {
            let by = turn % other.allow.len();
            other.allow.rotate_left(by);
        }
        let (one, two) = (file.policy(), other.policy());
        // The line differs, the entry does not.
        let text_of = |verdict| match verdict {
            Verdict::Allow(permit) => {
                (None, permit.rule().map(|rule| rule.text.clone()), Some(permit.carries()))
            }
            Verdict::Deny(deny) => (Some(deny.reason), deny.rule.map(|rule| rule.text), None),
        };
        prop_assert_eq!(
            text_of(one.decide(&asked)), text_of(two.decide(&asked)), "{}{}", file.text(), other.text()
        );
        prop_assert_eq!(one.hash(), two.hash());
    }

    #[test]
    fn one_more_deny_entry_never_allows_more(
        file in file(), more in entry(), asked in asked()
    ) {
        let before = file.policy().decide(&asked);
        let mut stricter = file;
        stricter.deny.push(more.clone());
        let after = stricter.policy().decide(&asked);
        prop_assert!(within(lets(&after), lets(&before)), "{:?} -> {:?}", before, after);
        let hit = more.hits(&asked.destination.host.to_string(), asked.destination.port.get());
        if hit && stricter.mode != Mode::None {
            prop_assert!(matches!(after, Verdict::Deny(deny) if deny.reason == Reason::Denylisted));
        }
    }

    #[test]
    fn one_more_entry_that_allows_never_takes_anything_away(
        file in file(), more in allowing(), asked in asked()
    ) {
        let before = lets(&file.policy().decide(&asked));
        let after = lets(&file.with(more).policy().decide(&asked));
        prop_assert!(within(before, after), "{:?} -> {:?}", before, after);
    }

    #[test]
    fn a_stricter_mode_never_lets_more_through(file in file(), asked in asked()) {
        let mut before = None;
        for mode in Mode::ALL {
            let now = lets(&file.in_mode(mode).policy().decide(&asked));
            prop_assert!(within(before, now), "{}: {:?} -> {:?}", mode, before, now);
            before = now;
        }
        prop_assert_eq!(lets(&file.in_mode(Mode::None).policy().decide(&asked)), None);
    }

    #[test]
    fn explain_says_what_decide_says_and_a_refusal_has_a_reason_that_is_known(
        file in file(), asked in asked()
    ) {
        let policy = file.policy();
        let (verdict, explanation) = (policy.decide(&asked), policy.explain(&asked));
        prop_assert_eq!(&explanation.verdict, &verdict);
        let json = explanation.to_json();
        match verdict {
            Verdict::Allow(_) => {
                prop_assert_eq!(&json["decision"], "allow");
                prop_assert!(json["reason"].is_null());
            }
            Verdict::Deny(deny) => {
                prop_assert_eq!(&json["decision"], "deny");
                prop_assert_eq!(json["reason"].as_str(), Some(deny.reason.code()));
                prop_assert!(Reason::ALL.contains(&deny.reason));
            }
        }
    }

    #[test]
    fn a_suggestion_is_taken_by_the_file_and_then_allows(
        file in file(), host in prop_oneof![
            host(),
            select(vec!["yes", "null", "1e5", "docker.host", "host.docker.internal", "com",
                "93.184.215.14", "[2606:2800::1]", "10.0.0.5", "169.254.169.254", "localhost",
                "_x.test", "-x.test", "0x.test", "co.uk", "github.io"]).prop_map(str::to_owned),
        ],
        port in port(), via in via()
    ) {
        let asked = request(&host, port, via);
        let Err(deny) = verdict_of(&file.policy(), &asked) else { return Ok(()) };
        let Some(suggestion) = deny.suggestion else { return Ok(()) };
        prop_assert_ne!(deny.reason, Reason::Denylisted);
        let text = file.text();
        let key = format!("{}:\n", suggestion.key());
        prop_assert!(text.contains(&key), "{suggestion}");
        let text = text.replacen(&key, &format!("{key}  - {}\n", suggestion.entry()), 1);
        let source = Source { name: "config", text: &text };
        let parsed = Config::parse(&source);
        prop_assert!(parsed.is_ok(), "{}\n{}", parsed.unwrap_err(), text);
        let after = verdict_of(&policy(&text), &asked);
        prop_assert!(after.is_ok(), "{:?}\n{}", after, text);
    }
}
