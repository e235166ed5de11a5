//! Which version of a tool lies there, without running it: a program that a project names is never started outside the box.

use std::path::Path;

use serde::Deserialize;

/// What of a version tells profiles apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version {
    /// The first number.
    pub(crate) major: u32,
    /// The second.
    pub(crate) minor: u32,
}

impl Version {
    /// The first two numbers of `1.18.33`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split('.');
        Some(Self {
            major: numbers.next()?.parse().ok()?,
            minor: numbers.next()?.parse().ok()?,
        })
    }
}

/// A package keeps its programs at most this deep.
const DEPTH_MAX: usize = 3;
/// No package's description is larger.
const BYTES_MAX: u64 = 1 << 20;

/// The version in the `package.json` of the package that the program is part of.
pub(super) fn beside(program: &Path) -> Option<Version> {
    #[derive(Deserialize)]
    struct Package {
        version: Option<String>,
    }
    let program = program.canonicalize().ok()?;
    let above = program.ancestors().skip(1).take(DEPTH_MAX);
    let package = above
        .map(|directory| directory.join("package.json"))
        .find(|path| path.is_file())?;
    if package.metadata().ok()?.len() > BYTES_MAX {
        return None;
    }
    let text = std::fs::read_to_string(package).ok()?;
    let package: Package = serde_json::from_str(&text).ok()?;
    Version::parse(&package.version?)
}
