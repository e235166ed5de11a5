//! `read-only-paths`: which places of the host a box shows because the config lists them. What holds credentials is refused.
//! Clauses: B1.
use std::path::{Path, PathBuf};

use policies::Config;

use super::warn;
use crate::console::Console;
use crate::engine::native::tool::Places;
use crate::exit::Failure;
use crate::project::Project;
use crate::world::World;

/// Where nothing is shown from: the user's home, and the project.
pub(super) fn places(project: &Project, world: &World) -> Places {
    let home = world.home.clone().unwrap_or_default();
    Places {
        home: home.canonicalize().unwrap_or(home),
        project: project.root().to_owned(),
    }
}

/// What is listed and there: where it really is, and where it is asked for.
///
/// # Errors
/// A path, or what it leads to, may not be shown (exit 64).
pub(super) fn read_only(
    config: &Config,
    places: &Places,
    console: &mut Console<'_>,
) -> Result<Vec<(PathBuf, PathBuf)>, Failure> {
    let mut shown = Vec::new();
    for path in config.read_only_paths() {
        let at = path.expand(&places.home);
        let Ok(from) = at.canonicalize() else {
            warn(
                &format!(
                    "read-only-paths: {} is not there, and is not shown",
                    at.display()
                ),
                console,
            );
            continue;
        };
        if let Some(place) = places.refuses(&at).or_else(|| places.refuses(&from)) {
            let (path, place) = (path.as_str(), place.display());
            return Err(Failure::usage(format!(
                "read-only-paths: `{path}` would show {place}"
            )));
        }
        if let Some(why) = refused_behind_links(&from, &places.home) {
            let (path, place) = (path.as_str(), from.display());
            return Err(Failure::usage(format!(
                "read-only-paths: `{path}` leads to {place}, which cannot be shown: {why}"
            )));
        }
        shown.push((from, at));
    }
    Ok(shown)
}

/// What the config's text could not say: a link may lead to where no config may point.
fn refused_behind_links(real: &Path, home: &Path) -> Option<&'static str> {
    policies::why_not_shown(&real.to_string_lossy(), home.to_str())
}
