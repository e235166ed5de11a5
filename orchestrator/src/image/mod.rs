//! What the container engines start from: the room `image/` as it is compiled in, the names of the images, and the commands
//! that make them. Not responsible for starting containers (`engine`), nor for what an agent may reach.
//! Clauses: B3, B4 (the seccomp profile), U3.
mod context;
mod libraries;
pub(crate) mod seccomp;

pub(crate) mod build;
pub(crate) mod compose;
pub(crate) mod kit;
pub(crate) mod sidecar;
pub(crate) mod versions;

use serde_json::{Map, Value};

use crate::sandbox_id::SandboxId;

/// The agent's own config where nobody watches: inside the box all is allowed, and nothing asks (COMPATIBILITY O9). The one
/// that `init` writes for people is `image/agent/opencode.jsonc`.
pub(crate) fn unattended() -> Map<String, Value> {
    // Ours, and read by a test: what is no JSON would leave the agent with its own defaults, which ask.
    serde_json::from_str(include_str!(
        "../../../image/agent/opencode-unattended.json"
    ))
    .unwrap_or_default()
}

/// The fence's image: the same for every sandbox.
pub(crate) const SIDECAR: &str = "opencode-sandbox-sidecar";

/// The label that holds the hash of what an image was made from.
pub(crate) const INPUTS_LABEL: &str = "ocs.inputs";

/// The agent's image, named as opencode-sandbox named it (COMPATIBILITY 4.5).
pub(crate) fn agent_image(id: &SandboxId) -> String {
    format!("opencode-sandbox-{id}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn where_nobody_watches_all_is_allowed_inside() {
        assert_eq!(
            json!(super::unattended()),
            json!({"permission": {"*": "allow"}})
        );
    }
}
