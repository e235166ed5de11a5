//! What must hold for every policy and every request, tried on many.

use proptest::prelude::*;

use crate::pattern::{List, Pattern};
use crate::{
    Carries, Config, Destination, DnsName, Host, Mode, NameVerdict, Policy, Reason, Request,
    Source, Surroundings, Verdict, Via,
};

/// A file in parts, so that one can be added.
#[derive(Debug, Clone)]
struct Parts {
    mode: Mode,
    sections: [(&'static str, Vec<String>); 5],
}

const ALLOW: usize = 0;
const DENY: usize = 1;
const HOST: usize = 2;
const LLM: usize = 3;
const TCP: usize = 4;

impl Parts {
    fn text(&self) -> String {
        let mut text = format!("sandbox-name: a\nnetwork-mode: {}\n", self.mode);
        for (key, entries) in &self.sections {
            text.push_str(&format!("{key}:\n"));
            for entry in entries {
                text.push_str(&format!("  - {entry}\n"));
            }
        }
        text
    }

    fn policy(&self) -> Policy {
        let text = self.text();
        let source = Source {
            name: "f",
            text: &text,
        };
        let (config, _) =
            Config::parse(&source).unwrap_or_else(|errors| panic!("{errors}\n{text}"));
        config.policy(None, surroundings())
    }

    fn with(&self, section: usize, entry: &str) -> Self {
        let mut parts = self.clone();
        parts.sections[section].1.push(entry.to_owned());
        parts
    }

    fn in_mode(&self, mode: Mode) -> Self {
        Self {
            mode,
            ..self.clone()
        }
    }
}

fn surroundings() -> Surroundings {
    Surroundings {
        host_addresses: vec!["127.0.0.1".parse().unwrap()],
        own_addresses: vec![],
    }
}

/// Few labels, so that names and patterns meet often.
fn name() -> impl Strategy<Value = String> {
    proptest::string::string_regex("(a\\.){0,2}(a|ab)\\.t\\.test").unwrap()
}

fn port() -> impl Strategy<Value = u16> {
    prop_oneof![Just(80), Just(443), Just(8080), Just(22)]
}

fn pattern() -> impl Strategy<Value = String> {
    (proptest::bool::ANY, name(), proptest::option::of(port())).prop_map(|(below, name, port)| {
        let dot = if below { "." } else { "" };
        let port = port.map_or(String::new(), |port| format!(":{port}"));
        format!("{dot}{name}{port}")
    })
}

fn host() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => name(),
        1 => Just("docker.host".to_owned()),
        1 => Just("host.docker.internal".to_owned()),
        1 => Just("93.184.215.14".to_owned()),
        1 => Just("10.0.0.13".to_owned()),
        1 => Just("localhost".to_owned()),
    ]
}

fn model_server() -> impl Strategy<Value = String> {
    let host = host().prop_filter("the sandbox itself", |host| host != "localhost");
    (prop_oneof![Just("http"), Just("https")], host, port())
        .prop_map(|(scheme, host, port)| format!("{scheme}://{host}:{port}/v1"))
}

fn raw() -> impl Strategy<Value = String> {
    let host = prop_oneof![4 => name(), 1 => Just("93.184.215.14".to_owned()), 1 => Just("10.0.0.13".to_owned())];
    (host, port()).prop_map(|(host, port)| format!("{host}:{port}"))
}

fn some<T: std::fmt::Debug>(of: impl Strategy<Value = T>) -> impl Strategy<Value = Vec<T>> {
    proptest::collection::vec(of, 0..4)
}

fn mode() -> impl Strategy<Value = Mode> {
    prop_oneof![1 => Just(Mode::None), 2 => Just(Mode::Restricted), 6 => Just(Mode::Filtered), 2 => Just(Mode::Observe)]
}

fn parts() -> impl Strategy<Value = Parts> {
    let host_port = port().prop_map(|port| port.to_string());
    (
        mode(),
        some(pattern()),
        some(pattern()),
        some(host_port),
        some(model_server()),
        some(raw()),
    )
        .prop_map(|(mode, allow, deny, host, llm, tcp)| Parts {
            mode,
            sections: [
                ("http-domain-whitelist", allow),
                ("http-domain-denylist", deny),
                ("host-ports", host),
                ("llm-endpoints", llm),
                ("tcp-endpoints", tcp),
            ],
        })
}

/// One more entry of any list that allows.
fn allowing() -> impl Strategy<Value = (usize, String)> {
    prop_oneof![
        pattern().prop_map(|entry| (ALLOW, entry)),
        port().prop_map(|entry| (HOST, entry.to_string())),
        model_server().prop_map(|entry| (LLM, entry)),
        raw().prop_map(|entry| (TCP, entry)),
    ]
}

fn request() -> impl Strategy<Value = Request> {
    let via = proptest::sample::select(Via::ALL.to_vec());
    (host(), port(), via).prop_map(|(host, port, via)| Request {
        destination: Destination::parse_authority(&format!("{host}:{port}"), None).unwrap(),
        via,
    })
}

/// What a verdict lets through: nothing, or what may be inside.
fn lets(verdict: &Verdict) -> Option<Carries> {
    match verdict {
        Verdict::Allow(permit) => Some(permit.carries()),
        Verdict::Deny(_) => None,
    }
}

/// Whether all that `small` lets through `large` lets through as well.
fn within(small: Option<Carries>, large: Option<Carries>) -> bool {
    use Carries::{Http, Raw, Tls, TlsOrHttp};
    match (small, large) {
        (None, _) | (Some(_), Some(Raw)) => true,
        (Some(_), None) | (Some(Raw), Some(_)) => false,
        (Some(Http), Some(large)) => matches!(large, Http | TlsOrHttp),
        (Some(Tls), Some(large)) => matches!(large, Tls | TlsOrHttp),
        (Some(TlsOrHttp), Some(large)) => large == TlsOrHttp,
    }
}

/// The denylist and the whitelist by their words, entry by entry, as slowly as one likes.
fn by_the_words(parts: &Parts, request: &Request) -> Option<bool> {
    let Host::Name(name) = &request.destination.host else {
        return None;
    };
    let port = request.destination.port;
    let covers = |entry: &String, list| {
        let (pattern, _) = Pattern::parse(entry, list).unwrap();
        pattern.covers(name).then(|| pattern.port())
    };
    let denied = parts.sections[DENY]
        .1
        .iter()
        .filter_map(|entry| covers(entry, List::Deny));
    if denied
        .into_iter()
        .any(|listed| listed.is_none_or(|listed| listed == port))
    {
        return Some(false);
    }
    let mut allowed = parts.sections[ALLOW]
        .1
        .iter()
        .filter_map(|entry| covers(entry, List::Whitelist));
    Some(
        allowed.any(|listed| match (listed, request.via, port.get()) {
            (Some(listed), via, _) => listed == port && via != Via::CapturedTcp,
            (None, Via::Connect | Via::CapturedTls, 443)
            | (None, Via::Http | Via::CapturedHttp, 80) => true,
            (None, _, _) => false,
        }),
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn one_more_entry_of_the_denylist_never_allows_more(parts in parts(), entry in pattern(), request in request()) {
        let before = lets(&parts.policy().decide(&request));
        let after = lets(&parts.with(DENY, &entry).policy().decide(&request));
        prop_assert!(within(after, before), "{:?} -> {:?}", before, after);
    }

    #[test]
    fn one_more_entry_that_allows_never_takes_anything_away(parts in parts(), (section, entry) in allowing(), request in request()) {
        let before = lets(&parts.policy().decide(&request));
        let after = lets(&parts.with(section, &entry).policy().decide(&request));
        prop_assert!(within(before, after), "{:?} -> {:?}", before, after);
    }

    #[test]
    fn a_stricter_mode_never_lets_more_through(parts in parts(), request in request()) {
        let mut before = None;
        for mode in Mode::ALL {
            let now = lets(&parts.in_mode(mode).policy().decide(&request));
            prop_assert!(within(before, now), "{}: {:?} -> {:?}", mode, before, now);
            before = now;
        }
        prop_assert_eq!(lets(&parts.in_mode(Mode::None).policy().decide(&request)), None);
    }

    #[test]
    fn the_lists_of_domains_do_what_their_words_say(parts in parts(), request in request()) {
        let mut parts = parts.in_mode(Mode::Filtered);
        parts.sections[LLM].1.clear();
        parts.sections[TCP].1.clear();
        if let (Some(expected), Host::Name(name)) = (by_the_words(&parts, &request), &request.destination.host)
            && crate::special::of(name).is_none()
        {
            let verdict = parts.policy().decide(&request);
            prop_assert_eq!(lets(&verdict).is_some(), expected, "{:?}", verdict);
        }
    }

    #[test]
    fn the_order_of_entries_changes_nothing_but_line_numbers(parts in parts(), request in request()) {
        let mut turned = parts.clone();
        for (_, entries) in &mut turned.sections {
            entries.reverse();
        }
        let (one, other) = (parts.policy(), turned.policy());
        prop_assert_eq!(one.hash(), other.hash());
        let text = |verdict: Verdict| match verdict {
            Verdict::Allow(permit) => format!("{:?} {:?}", permit.carries(), permit.rule().map(|rule| rule.text.clone())),
            Verdict::Deny(deny) => format!("{:?} {:?}", deny.reason, deny.rule.map(|rule| rule.text)),
        };
        prop_assert_eq!(text(one.decide(&request)), text(other.decide(&request)));
    }

    #[test]
    fn explain_says_what_decide_says(parts in parts(), request in request()) {
        let policy = parts.policy();
        let (verdict, explanation) = (policy.decide(&request), policy.explain(&request));
        prop_assert_eq!(&explanation.verdict, &verdict);
        let word = if lets(&verdict).is_some() { "allow" } else { "deny" };
        let json = explanation.to_json();
        prop_assert_eq!(json["decision"].as_str(), Some(word));
    }

    #[test]
    fn a_suggested_line_allows_what_was_refused(parts in parts(), request in request()) {
        if let Verdict::Deny(deny) = parts.policy().decide(&request)
            && let Some(suggestion) = deny.suggestion
        {
            let section = parts.sections.iter().position(|(key, _)| *key == suggestion.key()).unwrap();
            let after = parts.with(section, &suggestion.entry()).policy().decide(&request);
            prop_assert!(lets(&after).is_some(), "{} did not help: {:?}", suggestion, after);
        }
    }

    #[test]
    fn the_stub_answers_for_exactly_the_names_of_which_some_port_is_open(parts in parts(), name in host()) {
        let policy = parts.policy();
        let Ok(name) = DnsName::parse(&name) else { return Ok(()); };
        let open = [22, 80, 443, 8080].into_iter().any(|port| {
            Via::ALL.into_iter().any(|via| {
                let destination = Destination { host: Host::Name(name.clone()), port: crate::Port::new(port).unwrap() };
                lets(&policy.decide(&Request { destination, via })).is_some()
            })
        });
        match policy.allows_name(&name) {
            NameVerdict::Allow(_) => prop_assert!(open || policy.mode() == Mode::Observe),
            NameVerdict::Deny(deny) => prop_assert!(!open, "{:?}", deny),
        }
    }

    #[test]
    fn all_names_of_the_host_get_one_verdict(parts in parts(), port in port(), via in proptest::sample::select(Via::ALL.to_vec())) {
        let policy = parts.policy();
        let verdicts = crate::special::HOST_ALIASES.map(|alias| {
            let destination = Destination::parse_authority(&format!("{alias}:{port}"), None).unwrap();
            match policy.decide(&Request { destination, via }) {
                Verdict::Allow(permit) => format!("{:?} {:?} {:?}", permit.carries(), permit.target(), permit.rule()),
                Verdict::Deny(deny) => format!("{:?} {:?} {:?}", deny.reason, deny.rule, deny.suggestion),
            }
        });
        prop_assert!(verdicts.iter().all(|verdict| *verdict == verdicts[0]), "{:?}", verdicts);
    }

    #[test]
    fn what_was_allowed_is_pinned_to_public_addresses_or_listed_ones(parts in parts(), request in request(), last in 0_u8..=255) {
        let policy = parts.policy();
        let answers = ["93.184.215.14", "10.0.0.5", "169.254.169.254", "127.0.0.1", "::1", "fd00::1"].map(|text| text.parse().unwrap());
        let answers = &answers[usize::from(last) % 6..];
        let Verdict::Allow(permit) = policy.decide(&request) else { return Ok(()); };
        let resolves = matches!(permit.target(), crate::Target::Resolve(_));
        match policy.pin(permit, answers) {
            Ok(pinned) => {
                prop_assert!(!pinned.addresses().is_empty());
                for socket in pinned.addresses() {
                    let address = socket.ip();
                    prop_assert!(!crate::address::is_metadata(address));
                    let host = format!("://{}:", request.destination.host);
                    let listed = !resolves || parts.sections[LLM].1.iter().any(|url| url.contains(&host));
                    prop_assert!(crate::address::is_public(address) || listed, "{}", address);
                }
                if resolves {
                    prop_assert_eq!(pinned.addresses().len() + pinned.dropped().len(), answers.len());
                }
            }
            Err(deny) => {
                prop_assert_eq!(deny.reason, Reason::PrivateAddress);
                prop_assert_eq!(deny.dropped.len(), answers.len());
            }
        }
    }
}
