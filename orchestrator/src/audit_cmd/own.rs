//! Which events are attempts of `ocs` itself: bring-up's proof and `ocs verify` ask for names of nobody, and are refused. A
//! report is about the agent; `query` and `export` show every event.
//!
//! An agent that asks for the same names is left out of reports too: they lead nowhere. Their attempts at addresses are
//! shown: an agent may try the same address in earnest, and nothing in the record tells the two apart.
use policies::audit::{Decision, Event};

/// RFC 2606 section 2: names of nobody, ours by their first label.
const NAMES: [&str; 2] = ["ocs-probe.invalid", "ocs-verify.invalid"];

/// Whether an event is one of our own attempts.
pub(super) fn is_attempt(event: &Event) -> bool {
    match event {
        Event::Request(event) => {
            let host = event.host.as_ref().map(ToString::to_string);
            event.decision == Decision::Deny && host.is_some_and(|host| is_nobody(&host))
        }
        Event::Dns(event) => event.decision == Decision::Deny && is_nobody(event.name.as_str()),
        Event::Close(_)
        | Event::Gap(_)
        | Event::Packet(_)
        | Event::Policy(_)
        | Event::Question(_)
        | Event::Start(_)
        | Event::Stop(_) => false,
    }
}

fn is_nobody(host: &str) -> bool {
    let within = |name: &&str| host == *name || host.ends_with(&format!(".{name}"));
    NAMES.iter().any(within)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_nobody_are_ours_and_their_neighbours_are_not() {
        for ours in ["ocs-probe.invalid", "p1.ocs-verify.invalid"] {
            assert!(is_nobody(ours), "{ours}");
        }
        for not in [
            "invalid",
            "xocs-probe.invalid",
            "ocs-probe.invalid.test",
            "192.0.2.1",
            "2001:db8::1",
            "evil.test",
        ] {
            assert!(!is_nobody(not), "{not}");
        }
    }
}
