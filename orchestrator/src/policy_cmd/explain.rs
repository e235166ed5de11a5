//! `ocs policy explain`: asks the matcher of the wire about one destination. Resolves nothing, sends nothing.
//! Clauses: P1, P2, P4, P5.
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use policies::{Destination, Port, Request, Surroundings, Verdict, Via};

use crate::cli::ExplainArgs;
use crate::config_file::ConfigFile;
use crate::console::{Console, escaped};
use crate::exit::{Exit, Failure};
use crate::project::ProjectError;
use crate::world::World;

/// Runs `ocs policy explain`.
///
/// # Errors
/// What was asked is no destination, the config is wrong, or stdout cannot be written to.
pub(super) fn run(
    args: &ExplainArgs,
    world: &World,
    console: &mut Console<'_>,
) -> Result<Exit, Failure> {
    let request = request(&args.destination, args.via)?;
    let file = ConfigFile::find(args.config.as_deref(), world)?;
    let (config, _) = file.parse().map_err(ProjectError::Config)?;
    // What the engine `native` takes for the host; only whether there is a host counts here.
    let host_addresses = vec![
        IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::LOCALHOST),
    ];
    let surroundings = Surroundings {
        host_addresses,
        own_addresses: Vec::new(),
    };
    let policy = config.policy(args.mode.map(Into::into), surroundings);
    let explanation = policy.explain(&request);
    if args.json {
        console.document(&explanation.to_json())?;
    } else {
        for line in explanation.to_string().lines() {
            console.line(escaped(line))?;
        }
    }
    Ok(match explanation.verdict {
        Verdict::Allow(_) => Exit::Ok,
        Verdict::Deny(_) => Exit::No,
    })
}

/// What a person means by a URL or `HOST[:PORT]`.
fn request(text: &str, via: Option<Via>) -> Result<Request, Failure> {
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (Some(scheme.to_ascii_lowercase()), rest),
        None => (None, text),
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let (port, usual) = match scheme.as_deref() {
        None | Some("https" | "wss") => (443, Via::Connect),
        Some("http" | "ws") => (80, Via::Http),
        Some("ssh") => (22, Via::Connect),
        Some("git") => (9418, Via::Connect), // IANA service names: git
        Some(other) => {
            return Err(Failure::usage(format!(
                "`{}://` has no port that is known here",
                escaped(other)
            ))
            .next("ocs policy explain HOST:PORT"));
        }
    };
    let destination =
        Destination::parse_authority(authority, Port::new(port)).map_err(|error| {
            Failure::usage(format!("`{}` is no destination", escaped(text)))
                .because(error)
                .next("ocs policy explain HOST[:PORT], or a URL")
        })?;
    // Port 80 carries plain HTTP; a tunnel to it is another question, and --via asks it.
    let plain = scheme.is_none() && destination.port.get() == 80;
    let via = via.unwrap_or(if plain { Via::Http } else { usual });
    Ok(Request { destination, via })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_and_hosts_are_read_as_people_mean_them() {
        let cases = [
            ("example.org", "example.org:443", Via::Connect),
            ("Example.ORG.", "example.org:443", Via::Connect),
            ("example.org:80", "example.org:80", Via::Http),
            ("example.org:22", "example.org:22", Via::Connect),
            (
                "https://example.org/a:b?c#d",
                "example.org:443",
                Via::Connect,
            ),
            ("HTTPS://example.org:8443", "example.org:8443", Via::Connect),
            ("http://example.org?x", "example.org:80", Via::Http),
            ("http://example.org:8080/", "example.org:8080", Via::Http),
            ("wss://example.org", "example.org:443", Via::Connect),
            ("ssh://example.org/x.git", "example.org:22", Via::Connect),
            ("[::1]:443", "[::1]:443", Via::Connect),
            ("192.0.2.1", "192.0.2.1:443", Via::Connect),
        ];
        for (text, destination, via) in cases {
            let found = request(text, None).unwrap();
            assert_eq!(
                (found.destination.to_string().as_str(), found.via),
                (destination, via),
                "{text}"
            );
        }
    }

    #[test]
    fn the_way_can_be_chosen() {
        let found = request("http://example.org", Some(Via::CapturedHttp)).unwrap();
        assert_eq!(found.via, Via::CapturedHttp);
    }

    #[test]
    fn what_is_no_destination_is_refused_with_the_reason() {
        let refused = |text: &str| request(text, None).unwrap_err();
        let next = "ocs policy explain HOST[:PORT], or a URL";
        let expected = "`https://me@example.org/` is no destination: user information is not allowed in front of a host";
        assert_eq!(
            refused("https://me@example.org/"),
            Failure::usage(expected).next(next)
        );
        let expected = "`\\u{1b}[2J` is no destination: the host has a character that is not a letter, digit, `-`, `_` or `.`";
        assert_eq!(refused("\u{1b}[2J").to_string(), expected);
        let expected = Failure::usage("`gopher://` has no port that is known here");
        assert_eq!(
            refused("gopher://x"),
            expected.next("ocs policy explain HOST:PORT")
        );
        for text in [
            "",
            "https://",
            "a..b",
            "example.org:0",
            "example.org:65536",
            "2130706433",
        ] {
            assert_eq!(refused(text).exit(), Exit::Usage, "{text}");
        }
    }
}
