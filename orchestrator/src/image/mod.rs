//! What the container engines start from: the room `image/` as it is compiled in, the names of the images, and the commands
//! that make them. Not responsible for starting containers (`engine`), nor for what an agent may reach.
//! Clauses: B3, B4 (the seccomp profile), U3.
mod context;
mod libraries;
pub(crate) mod seccomp;

pub(crate) mod build;
pub(crate) mod compose;
pub(crate) mod versions;

use crate::sandbox_id::SandboxId;

/// The agent's own config where nobody watches: everything inside the box is allowed (COMPATIBILITY O9). The one that
/// `init` writes for people is `image/agent/opencode.jsonc`.
#[allow(
    dead_code,
    reason = "the command for unattended tasks is being built on it"
)]
pub(crate) const UNATTENDED: &str = include_str!("../../../image/agent/opencode-unattended.jsonc");

/// The fence's image: the same for every sandbox.
pub(crate) const SIDECAR: &str = "opencode-sandbox-sidecar";

/// The label that holds the hash of what an image was made from.
pub(crate) const INPUTS_LABEL: &str = "ocs.inputs";

/// The agent's image, named as opencode-sandbox named it (COMPATIBILITY 4.5).
pub(crate) fn agent_image(id: &SandboxId) -> String {
    format!("opencode-sandbox-{id}")
}
