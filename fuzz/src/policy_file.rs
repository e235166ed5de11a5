//! A project's file is read, or refused with places and words that no terminal acts on; what is read judges by its words.

use policies::{Config, Destination, Mode, Policy, Request, Source, Surroundings, Verdict, Via};

/// A file of any bytes; what stands behind a NUL is the destination that is asked for.
///
/// # Panics
/// Where a promise is broken.
pub fn holds(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let (text, asked) = text.rsplit_once('\0').unwrap_or((text, "a.test:443"));
    let source = Source {
        name: "config",
        text,
    };
    match Config::parse(&source) {
        Err(errors) => {
            // A carriage return alone ends a line as well: YAML 1.2, section 5.4.
            let lines = text.split(['\n', '\r']).count();
            let lines = u32::try_from(lines).expect("a short file") + 1;
            assert!(!errors.errors().is_empty());
            for error in errors.errors() {
                assert!(
                    (1..=lines).contains(&error.line) && error.column >= 1,
                    "{error}"
                );
                readable(&error.to_string());
            }
        }
        Ok((config, warnings)) => {
            for warning in &warnings {
                readable(&warning.to_string());
            }
            judged(&config, text, asked);
        }
    }
}

fn readable(shown: &str) {
    let odd =
        |char: char| !matches!(char, '\'' | '"' | '\\' | '\n') && char.escape_debug().len() > 1;
    assert!(!shown.contains(odd), "{shown:?}");
}

fn policy(config: &Config, mode: Option<Mode>) -> Policy {
    let surroundings = Surroundings {
        host_addresses: vec![std::net::IpAddr::from([127, 0, 0, 1])],
        own_addresses: Vec::new(),
    };
    config.policy(mode, surroundings)
}

fn judged(config: &Config, text: &str, asked: &str) {
    let whole = policy(config, None);
    assert_eq!(whole.mode(), config.mode());
    // The same text means the same, byte for byte.
    let (again, _) = Config::parse(&Source {
        name: "config",
        text,
    })
    .expect("it was read once");
    assert_eq!(policy(&again, None).hash(), whole.hash());
    let Ok(destination) = Destination::parse_authority(asked, None) else {
        return;
    };
    let shut = policy(config, Some(Mode::None));
    for via in Via::ALL {
        let request = Request {
            destination: destination.clone(),
            via,
        };
        let verdict = whole.decide(&request);
        assert_eq!(whole.explain(&request).verdict, verdict);
        assert!(matches!(shut.decide(&request), Verdict::Deny(_)));
        if let Verdict::Deny(deny) = &verdict {
            assert!(policies::Reason::ALL.contains(&deny.reason));
            if let Some(suggestion) = &deny.suggestion {
                readable(&suggestion.to_string());
            }
        }
        if let Verdict::Allow(permit) = verdict {
            assert_eq!(permit.request(), &request);
            assert!(permit.rule().is_some() || whole.mode() == Mode::Observe);
        }
    }
}
