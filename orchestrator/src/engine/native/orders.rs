//! What `ocs run` tells the process at the gate, and what it hears from it: one JSON value a line, over two pipes.
//! Data only.
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::bwrap::Argument;
use crate::engine::cover::Covers;
use crate::probe::{Finding, Targets};

/// The first order: go into the namespaces, and protect the control files.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Join {
    /// The process that holds the namespaces, a child of ours that nobody has waited for: its number is still its own.
    pub(crate) holder: u32,
    /// What to protect.
    pub(crate) covers: Covers,
}

/// The second order, given once the proxy serves: try the fence.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Try {
    /// What to try.
    pub(crate) targets: Targets,
}

/// The last order, given only for a proof: become the box.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Open {
    /// Bubblewrap.
    pub(crate) program: PathBuf,
    /// Its arguments.
    pub(crate) arguments: Vec<Argument>,
    /// What it runs, argument by argument, as bytes.
    pub(crate) command: Vec<Vec<u8>>,
}

/// The one line that comes back.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) enum Report {
    /// It could not be tried, or the box could not be made.
    Failed(String),
    /// What came of it.
    Findings(Vec<Finding>),
}

/// The only order to `box-mend`: cover again what is uncovered.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Mend {
    /// The process whose namespaces to join: bubblewrap, which the gate became.
    pub(crate) gate: u32,
    /// What to protect.
    pub(crate) covers: Covers,
}
