//! The bundled lists of hosts, each host with a reason.
//!
//! The files lie in `policies/presets/`; their form is described there.

/// A bundled list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preset {
    /// The name that `presets` takes.
    pub name: &'static str,
    /// One sentence.
    pub description: String,
    /// The hosts.
    pub hosts: Vec<PresetHost>,
}

/// One host of a preset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresetHost {
    /// The pattern as written.
    pub pattern: String,
    /// Why it is needed.
    pub reason: String,
    /// The line in the preset's file.
    pub line: u32,
}

/// The names of all presets, sorted.
pub fn names() -> impl Iterator<Item = &'static str> {
    std::iter::empty()
}

/// The preset of that name.
#[must_use]
pub const fn get(_name: &str) -> Option<Preset> {
    None
}
