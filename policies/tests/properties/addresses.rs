//! Addresses: literals that are asked for, answers that are pinned, and the name in a ClientHello.

use std::net::{IpAddr, SocketAddr};

use policies::address::{is_metadata, is_public};
use policies::{Reason, Target, Verdict, Via};
use proptest::prelude::*;
use proptest::sample::select;

use crate::files::{asked, cases, file, name, policy, port, request, verdict_of, via};

fn address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<[u8; 4]>().prop_map(IpAddr::from),
        any::<[u16; 8]>().prop_map(IpAddr::from),
        any::<[u8; 4]>().prop_map(|v4| IpAddr::V6(std::net::Ipv4Addr::from(v4).to_ipv6_mapped())),
        select(vec![
            "127.0.0.1",
            "10.0.0.1",
            "169.254.169.254",
            "93.184.215.14",
            "::1",
            "fd00::1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b::5db8:d70e",
            "2606:2800::1",
            "::ffff:10.0.0.1",
            "2002:7f00:1::",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "ff02::1",
        ])
        .prop_map(|text| text.parse().unwrap()),
    ]
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn a_literal_is_refused_unless_that_very_one_is_listed(
        file in file(), address in address(), port in port(), via in via()
    ) {
        let host = match address {
            IpAddr::V4(v4) => v4.to_string(),
            IpAddr::V6(v6) => format!("[{v6}]"),
        };
        let listed = file.llm.iter().any(|(_, listed, at)| *listed == host && *at == port)
            || file.tcp.iter().any(|(listed, at)| *listed == host && *at == port);
        let verdict = verdict_of(&file.policy(), &request(&host, port, via));
        if !listed {
            let reason = if file.mode == policies::Mode::None { Reason::Mode } else { Reason::IpLiteral };
            prop_assert_eq!(verdict.map_err(|deny| deny.reason), Err(reason));
        }
    }

    #[test]
    fn what_is_pinned_was_resolved_and_is_public(
        resolved in prop::collection::vec(address(), 0..6), plain in any::<bool>()
    ) {
        let policy = policy("sandbox-name: demo\nhttp-domain-whitelist:\n  - a.test\n");
        let (port, via) = if plain { (80, Via::Http) } else { (443, Via::Connect) };
        let Verdict::Allow(permit) = policy.decide(&request("a.test", port, via)) else {
            panic!("listed");
        };
        let good: Vec<IpAddr> = resolved.iter().copied().filter(|address| is_public(*address)).collect();
        match policy.pin(permit, &resolved) {
            Ok(pinned) => {
                let dialled: Vec<IpAddr> = pinned.addresses().iter().map(SocketAddr::ip).collect();
                prop_assert_eq!(&dialled, &good);
                prop_assert!(pinned.addresses().iter().all(|at| at.port() == port));
                prop_assert_eq!(dialled.len() + pinned.dropped().len(), resolved.len());
            }
            Err(deny) => {
                prop_assert!(good.is_empty());
                let reason = if resolved.is_empty() {
                    Reason::DnsFailed
                } else {
                    Reason::PrivateAddress
                };
                prop_assert_eq!(deny.reason, reason);
            }
        }
    }

    #[test]
    fn what_was_allowed_is_pinned_to_public_addresses_or_to_what_is_listed(
        file in file(), asked in asked(), resolved in prop::collection::vec(address(), 1..6)
    ) {
        let policy = file.policy();
        let Verdict::Allow(permit) = policy.decide(&asked) else { return Ok(()) };
        let (target, host) = (permit.target().clone(), asked.destination.host.to_string());
        let model = file.llm.iter().any(|(_, listed, _)| *listed == host);
        match (policy.pin(permit, &resolved), target) {
            (Ok(pinned), Target::Resolve(_)) => {
                prop_assert_eq!(pinned.addresses().len() + pinned.dropped().len(), resolved.len());
                for at in pinned.addresses() {
                    prop_assert!(resolved.contains(&at.ip()));
                    prop_assert!(!is_metadata(at.ip()), "{}", at);
                    prop_assert!(is_public(at.ip()) || model, "{}", at);
                }
            }
            (Ok(pinned), Target::Address(literal)) => {
                prop_assert_eq!(pinned.addresses(), &[SocketAddr::new(literal, asked.destination.port.get())]);
            }
            (Ok(pinned), Target::SandboxHost) => {
                prop_assert!(pinned.addresses().iter().all(|at| at.ip().is_loopback()));
            }
            (Err(deny), target) => {
                prop_assert!(matches!(target, Target::Resolve(_)));
                prop_assert_eq!(deny.reason, Reason::PrivateAddress);
                prop_assert_eq!(deny.dropped.len(), resolved.len());
            }
        }
    }

    #[test]
    fn no_sni_but_the_destination_is_confirmed(sni in "\\PC{0,12}", other in name()) {
        let policy = policy("sandbox-name: demo\nhttp-domain-whitelist:\n  - a.x.test\n");
        let Verdict::Allow(permit) = policy.decide(&request("a.x.test", 443, Via::Connect)) else {
            panic!("listed");
        };
        for text in [sni.as_str(), other.as_str()] {
            let same = text.eq_ignore_ascii_case("a.x.test");
            prop_assert_eq!(policy.confirm_sni(&permit, Some(text)).is_ok(), same, "{}", text);
        }
        prop_assert_eq!(policy.confirm_sni(&permit, None).map_err(|deny| deny.reason), Err(Reason::NoSni));
    }
}
