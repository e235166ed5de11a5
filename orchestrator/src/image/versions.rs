//! `ocs versions`: what is pinned, for people and for machines. Asks nobody.
use std::collections::BTreeMap;

use serde::Serialize;

use super::context;
use crate::cli::VersionsArgs;
use crate::console::Console;
use crate::exit::{Exit, Failure};

#[derive(Serialize)]
struct Document {
    v: u32,
    ocs: &'static str,
    /// As in `image/versions.env`, names in small letters with hyphens.
    image: BTreeMap<String, &'static str>,
}

/// Prints the versions.
///
/// # Errors
/// stdout cannot be written to.
pub(crate) fn run(args: &VersionsArgs, console: &mut Console<'_>) -> Result<Exit, Failure> {
    let spelled = |name: &str| name.to_ascii_lowercase().replace('_', "-");
    let pinned = context::versions().into_iter();
    let document = Document {
        v: 1,
        ocs: env!("CARGO_PKG_VERSION"),
        image: pinned.map(|(name, value)| (spelled(name), value)).collect(),
    };
    if args.json {
        console.document(&document)?;
        return Ok(Exit::Ok);
    }
    console.line(format_args!("{:<16} {}", "ocs", document.ocs))?;
    for (name, value) in &document.image {
        console.line(format_args!("{name:<16} {value}"))?;
    }
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::tests::captured;
    use crate::world::Terminal;

    #[test]
    fn the_pinned_versions_are_printed_as_text_and_as_json() {
        let print = |json| {
            let (ended, out, _) = captured("", Terminal::default(), |console| {
                run(&VersionsArgs { json }, console)
            });
            assert_eq!(ended, Ok(Exit::Ok));
            out
        };
        let document: serde_json::Value = serde_json::from_str(&print(true)).unwrap();
        let image = document["image"].as_object().unwrap();
        let text = print(false);
        assert_eq!(text.lines().count(), image.len() + 1);
        for (name, value) in image {
            let line = format!("{name:<16} {}", value.as_str().unwrap());
            assert!(text.lines().any(|found| found == line), "{line}");
        }
        assert_eq!(
            image["opencode-version"],
            context::versions()["OPENCODE_VERSION"]
        );
    }
}
