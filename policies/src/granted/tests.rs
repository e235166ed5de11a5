use super::*;
use crate::{Config, Port, Source, Surroundings, Via};

const CONFIG: &str = "sandbox-name: x\nhttp-domain-whitelist: [listed.example.org]\nhttp-domain-denylist: [.bad.example.org]\n";

fn policy(mode: Mode) -> Policy {
    let source = Source {
        name: "f",
        text: CONFIG,
    };
    let (config, _) = Config::parse(&source).unwrap();
    let surroundings = Surroundings {
        host_addresses: vec!["127.0.0.1".parse().unwrap()],
        own_addresses: Vec::new(),
    };
    config.policy(Some(mode), surroundings)
}

fn request(authority: &str, via: Via) -> Request {
    Request {
        destination: Destination::parse_authority(authority, None).unwrap(),
        via,
    }
}

fn question(policy: &Policy, authority: &str, via: Via) -> Option<Granted> {
    let request = request(authority, via);
    match policy.decide(&request) {
        Verdict::Deny(deny) => policy.question(&request, &deny, 7),
        Verdict::Allow(_) => None,
    }
}

fn allows(policy: &Policy, authority: &str, via: Via) -> bool {
    matches!(policy.decide(&request(authority, via)), Verdict::Allow(_))
}

#[test]
fn only_a_name_that_no_entry_refuses_can_be_asked_about() {
    let filtered = policy(Mode::Filtered);
    for (authority, via) in [
        ("new.example.org:443", Via::Connect),
        ("new.example.org:80", Via::Http),
        ("new.example.org:8443", Via::CapturedTls),
        ("listed.example.org:8443", Via::Connect),
        ("github.io:443", Via::Connect),
    ] {
        assert!(question(&filtered, authority, via).is_some(), "{authority}");
    }
    for (authority, via) in [
        ("listed.example.org:443", Via::Connect),
        ("bad.example.org:443", Via::Connect),
        ("a.bad.example.org:8443", Via::Connect),
        ("93.184.215.14:443", Via::Connect),
        ("[::1]:443", Via::Connect),
        ("169.254.169.254:80", Via::Http),
        ("docker.host:22", Via::Connect),
        ("host.docker.internal:443", Via::Connect),
        ("localhost:443", Via::Connect),
        ("com:443", Via::Connect),
        ("co.uk:443", Via::Connect),
        ("ocs-probe.invalid:443", Via::Connect),
        ("new.example.org:22", Via::CapturedTcp),
    ] {
        assert_eq!(question(&filtered, authority, via), None, "{authority}");
    }
    for mode in [Mode::None, Mode::Restricted, Mode::Observe] {
        for authority in ["new.example.org:443", "bad.example.org:443"] {
            let asked = question(&policy(mode), authority, Via::Connect);
            assert_eq!(asked, None, "{authority} in {mode}");
        }
    }
}

#[test]
fn what_is_granted_once_is_this_request_and_no_other() {
    let policy = policy(Mode::Filtered);
    let granted = question(&policy, "new.example.org:443", Via::Connect).unwrap();
    let asked = request("new.example.org:443", Via::Connect);
    let Verdict::Allow(permit) = policy.decide_granted(&asked, &granted) else {
        panic!("not granted");
    };
    let rule = Rule {
        file: Arc::from(GRANTED_BY),
        line: 7,
        text: Arc::from("new.example.org:443"),
    };
    assert_eq!(permit.rule(), Some(&rule));
    assert_eq!(permit.carries(), Carries::Tls);
    assert!(!allows(&policy, "new.example.org:443", Via::Connect));
    for other in [
        "new.example.org:80",
        "a.new.example.org:443",
        "example.org:443",
    ] {
        let other = request(other, Via::Connect);
        assert!(matches!(
            policy.decide_granted(&other, &granted),
            Verdict::Deny(_)
        ));
    }
    // An open connection lives on under it, until an entry refuses its name.
    assert!(matches!(policy.rejudge(&permit), Verdict::Allow(_)));
    let refusing = Source {
        name: "f",
        text: "sandbox-name: x\nhttp-domain-denylist: [new.example.org]\n",
    };
    let (refusing, _) = Config::parse(&refusing).unwrap();
    let refusing = refusing.policy(None, policy.surroundings.clone());
    assert!(matches!(refusing.rejudge(&permit), Verdict::Deny(_)));
    assert!(matches!(
        self::policy(Mode::Restricted).rejudge(&permit),
        Verdict::Deny(_)
    ));
}

#[test]
fn what_is_granted_for_the_run_is_that_name_on_that_port() {
    let before = policy(Mode::Filtered);
    let granted = question(&before, "new.example.org:443", Via::Connect).unwrap();
    let after = before.clone().granting([granted.clone()]);
    assert_ne!(after.hash(), before.hash());
    assert_eq!(
        after.clone().granting([granted.clone()]).hash(),
        after.hash()
    );
    assert_eq!(before.clone().granting([]).hash(), before.hash());
    assert!(allows(&after, "new.example.org:443", Via::Connect));
    assert!(allows(&after, "new.example.org:443", Via::CapturedTls));
    assert!(after.opens_port(Port::HTTPS));
    for outside in [
        "new.example.org:444",
        "new.example.org:80",
        "a.new.example.org:443",
        "example.org:443",
        "bad.example.org:443",
    ] {
        assert!(!allows(&after, outside, Via::Connect), "{outside}");
    }
    let name = |text| DnsName::parse(text).unwrap();
    assert!(matches!(
        after.allows_name(&name("new.example.org")),
        crate::NameVerdict::Allow(Some(rule)) if &*rule.file == GRANTED_BY
    ));
    assert!(matches!(
        after.allows_name(&name("a.new.example.org")),
        crate::NameVerdict::Deny(_)
    ));
}

#[test]
fn a_grant_that_is_taken_to_a_stricter_mode_gives_nothing_there() {
    let granted = question(&policy(Mode::Filtered), "new.example.org:443", Via::Connect).unwrap();
    for mode in [Mode::None, Mode::Restricted] {
        let elsewhere = policy(mode).granting([granted.clone()]);
        assert!(!allows(&elsewhere, "new.example.org:443", Via::Connect));
    }
}

#[test]
fn a_granted_name_that_leads_to_a_private_address_stays_refused() {
    let policy = policy(Mode::Filtered);
    let granted = question(&policy, "new.example.org:443", Via::Connect).unwrap();
    let asked = request("new.example.org:443", Via::Connect);
    for private in ["10.0.0.5", "127.0.0.1", "169.254.169.254", "fd00::1", "::1"] {
        let Verdict::Allow(permit) = policy.decide_granted(&asked, &granted) else {
            panic!("not granted");
        };
        let refused = policy.pin(permit, &[private.parse().unwrap()]).unwrap_err();
        assert_eq!(refused.reason, Reason::PrivateAddress, "{private}");
    }
    assert_eq!(granted.destination().port, Port::HTTPS);
}
