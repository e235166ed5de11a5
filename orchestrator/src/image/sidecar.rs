//! The fence's image, for a start: the one that `ocs build` makes, made here where it is not there or was made of other programs
//! than those beside `ocs`. Nothing is fetched for it.
//! Clauses: N11.
use std::io;
use std::path::Path;

use super::context::Inputs;
use super::{INPUTS_LABEL, SIDECAR, libraries};
use crate::engine::client::{Build, Cache, Client};
use crate::exit::{Exit, Failure};
use crate::world::World;

/// Gives what identifies the image whatever happens to its name meanwhile. `scratch` is a directory of the run.
///
/// # Errors
/// The programs cannot be read, or the engine does not make the image (exit 69).
pub(crate) fn ensure(client: &Client, world: &World, scratch: &Path) -> Result<String, Failure> {
    let unread = |error: io::Error| {
        Failure::new(Exit::Missing, "read ocs-proxy and ocs-netctl").because(error)
    };
    let inputs = Inputs::sidecar(&libraries::programs(world)?).map_err(unread)?;
    let hash = inputs.hash();
    let there = || client.image(SIDECAR, INPUTS_LABEL);
    if let Some((id, _)) = there().filter(|(_, made_of)| *made_of == hash) {
        return Ok(id);
    }
    let context = scratch.join("sidecar");
    inputs.write(&context).map_err(unread)?;
    let build = Build {
        name: SIDECAR,
        context: &context,
        arguments: Vec::new(),
        labels: vec![format!("{INPUTS_LABEL}={hash}")],
        network: None,
        cache: Cache::Used,
    };
    let mut last = String::new();
    let ended = client.build(&build, &mut |line| {
        if !line.trim().is_empty() {
            line.clone_into(&mut last);
        }
        Ok(())
    });
    let refused = |why: &str| {
        let message = format!(
            "{} does not make the image {SIDECAR}: {why}",
            client.kind.name()
        );
        Failure::new(Exit::Missing, message)
            .next(format!("ocs build --engine {}", client.kind.name()))
    };
    let ended = ended.map_err(|error| refused(&error.to_string()))?;
    std::fs::remove_dir_all(&context).map_err(unread)?;
    if !ended.success() {
        return Err(refused(&last));
    }
    match there().filter(|(_, made_of)| *made_of == hash) {
        Some((id, _)) => Ok(id),
        None => Err(refused("it is not there after its build")),
    }
}
