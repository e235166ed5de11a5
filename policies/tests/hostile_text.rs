//! Text of anybody's making, given to the readers of files and authorities: it is read or refused, with a place in the
//! file, without a panic, and without a character in the answer that a terminal would act on.
//! Clauses: P3, P9.
#![expect(clippy::unwrap_used, reason = "tests")]

use policies::{Config, Destination, Port, Source};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::RngSeed;

/// The same cases every time; `PROPTEST_RNG_SEED` and `PROPTEST_CASES` find others.
fn cases() -> ProptestConfig {
    let config = ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    match config.rng_seed {
        RngSeed::Random => ProptestConfig {
            rng_seed: RngSeed::Fixed(20_261_121),
            ..config
        },
        RngSeed::Fixed(_) => config,
    }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn a_canonical_authority_is_read_back_as_itself(text in "[a-zA-Z0-9._:@%\\[\\]-]{0,24}") {
        if let Ok(destination) = Destination::parse_authority(&text, None) {
            let shown = destination.to_string();
            prop_assert_eq!(Destination::parse_authority(&shown, None), Ok(destination));
            prop_assert_eq!(shown.to_ascii_lowercase(), shown);
        }
    }

    #[test]
    fn an_authority_of_any_characters_is_read_or_refused(text in "\\PC{0,40}") {
        if let Ok(destination) = Destination::parse_authority(&text, Port::new(443)) {
            prop_assert!(text.is_ascii());
            prop_assert!(!text.contains(['@', '%', '/', '\\', ' ']));
            drop(destination);
        }
    }

    #[test]
    fn a_file_of_any_characters_is_read_or_refused_with_a_place(text in "[\\PC\\n\\t]{0,200}") {
        refused_or_read(&text)?;
    }

    #[test]
    fn a_file_of_pieces_of_yaml_is_read_or_refused_with_a_place(
        pieces in prop::collection::vec(select(vec![
            "sandbox-name:", " demo", "\n", "  ", "- ", "http-domain-whitelist:", "host-ports:",
            "env:", "a.test", "*", ".", "\"", "'", "[", "]", "{", "}", ":", "&a ", "*a", "!!str ",
            "<<: ", "---\n", "...\n", "%YAML 1.2\n", "? ", "|\n", ">-\n", "\u{1b}", "\u{202e}", "\\e", "demo: ", "#", "\t", "\r\n", "0",
            "5432", "~", "\u{feff}", "\0", "//", "://", "@", "10.0.0.0/8", "::", "limits:",
            "private-addresses:", "llm-endpoints:", "tcp-endpoints:", "read-only-paths:",
            "agent:", "presets:", "npm", ",", ";",
        ]), 0..40)
    ) {
        refused_or_read(&pieces.concat())?;
    }
}

fn refused_or_read(text: &str) -> Result<(), TestCaseError> {
    let source = Source {
        name: "config",
        text,
    };
    if let Err(errors) = Config::parse(&source) {
        let lines = u32::try_from(text.lines().count()).unwrap() + 2;
        prop_assert!(!errors.errors().is_empty());
        for error in errors.errors() {
            prop_assert!((1..=lines).contains(&error.line), "{error}");
            prop_assert!(error.column >= 1);
            let shown = error.to_string();
            let odd =
                |char: char| !matches!(char, '\'' | '"' | '\\') && char.escape_debug().len() > 1;
            prop_assert!(!shown.contains(odd), "{shown:?}");
        }
    }
    Ok(())
}

#[test]
fn every_beginning_of_a_full_file_is_read_or_refused() {
    let text = "sandbox-name: demo\nhttp-domain-whitelist:\n  - .a.test:8443 # c\n  - \"b.test\"\n\
        host-ports: [5432, '22']\nllm-endpoints:\n  - http://[fd00::1]:8000/v1\n\
        tcp-endpoints:\n  - g.test:22\nprivate-addresses:\n  - 10.0.0.0/8\nnetwork-mode: observe\n\
        env:\n  A: \"x\"\nenv-passthrough:\n  B: C\nlimits:\n  connections: 5\n  idle-timeout: 1h\n";
    for end in 0..=text.len() {
        refused_or_read(&text[..end]).unwrap();
    }
    assert!(
        Config::parse(&Source {
            name: "config",
            text
        })
        .is_ok()
    );
}

/// What could be pasted into any entry to reach a reader's terminal, or to fill it.
#[test]
fn no_message_repeats_what_a_terminal_would_act_on_or_pages_of_text() {
    let long = "a".repeat(1 << 14);
    for key in KEYS {
        for shape in SHAPES {
            for payload in PAYLOADS.into_iter().chain([long.as_str()]) {
                let text = format!(
                    "sandbox-name: demo\n{}",
                    shape.replace('K', key).replace('P', payload)
                );
                refused_or_read(&text).unwrap();
                let source = Source {
                    name: "config",
                    text: &text,
                };
                if let Err(errors) = Config::parse(&source) {
                    assert!(errors.to_string().len() < 2_000, "{key} {shape}");
                }
            }
        }
    }
}

const PAYLOADS: [&str; 8] = [
    "\\e[2K", "\\u202e", "\\x07", "\\u2066", "\\n", "\\0", "\\x7f", "\\u0085",
];

const KEYS: [&str; 15] = [
    "sandbox-name",
    "http-domain-whitelist",
    "http-domain-denylist",
    "presets",
    "host-ports",
    "llm-endpoints",
    "tcp-endpoints",
    "private-addresses",
    "network-mode",
    "env-passthrough",
    "env",
    "agent",
    "read-only-paths",
    "limits",
    "unknown",
];

const SHAPES: [&str; 20] = [
    "K: \"P\"\n",
    "K:\n  - \"P\"\n",
    "K:\n  - \"*P\"\n",
    "K:\n  - \"*.P\"\n",
    "K:\n  - \".P\"\n",
    "K:\n  - \"http://P\"\n",
    "K:\n  - \"http://a.test/P\"\n",
    "K:\n  - \"a.test:P\"\n",
    "K:\n  - \"a.test/P\"\n",
    "K:\n  - \"P@a.test:22\"\n",
    "K:\n  - \"[P]\"\n",
    "K:\n  - \"22 P\"\n",
    "K:\n  - \"/P\"\n",
    "K:\n  - \"~/P\"\n",
    "K:\n  \"P\": x\n",
    "K:\n  A: \"P\"\n",
    "K:\n  connections: \"P\"\n",
    "K:\n  tool: \"P\"\n",
    "\"P\": x\n",
    "\"KP\": x\n",
];
