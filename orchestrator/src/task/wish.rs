//! Where the text of a task comes from: the command line, a file, stdin, or the variables that earlier systems had.
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::cli::TaskArgs;
use crate::console::Console;
use crate::exit::Failure;
use crate::mcp::read_named;
use crate::project::Project;
use crate::world::World;

/// A longer task is refused.
const TASK_MAX_BYTES: u64 = 16 << 20;

/// The text, exactly as it was given.
pub(super) fn read(
    args: &TaskArgs,
    project: &Project,
    world: &World,
    console: &mut Console<'_>,
) -> Result<Vec<u8>, Failure> {
    let text = match (&args.text, &args.file) {
        (Some(text), _) if text == "-" => console.rest(TASK_MAX_BYTES + 1)?,
        (Some(text), _) => text.as_bytes().to_owned(),
        (None, Some(file)) => of_file(&world.cwd.join(file), project)?,
        (None, None) => of_variables(project, world)?,
    };
    if text.iter().all(u8::is_ascii_whitespace) {
        return Err(nothing());
    }
    if u64::try_from(text.len()).is_ok_and(|length| length > TASK_MAX_BYTES) {
        let message = format!("the task is longer than {TASK_MAX_BYTES} bytes");
        return Err(
            Failure::usage(message).next("write it to a file of the project, and name that")
        );
    }
    Ok(text)
}

fn of_file(path: &Path, project: &Project) -> Result<Vec<u8>, Failure> {
    read_named(path, project.root(), TASK_MAX_BYTES)
        .map_err(|why| Failure::usage(format!("read the task: {why}")))
}

/// `TASK_FILE` as sandboxed-opencode had it, `TASK` as the sub-agent proposal did; an empty one is none.
fn of_variables(project: &Project, world: &World) -> Result<Vec<u8>, Failure> {
    let given = |name| world.variable(name).filter(|value| !value.is_empty());
    match (given("TASK_FILE"), given("TASK")) {
        (Some(file), _) => of_file(&world.cwd.join(PathBuf::from(file)), project),
        (None, Some(text)) => Ok(text.as_bytes().to_owned()),
        (None, None) => Err(nothing()),
    }
}

fn nothing() -> Failure {
    Failure::usage("there is no task")
        .next("ocs task 'what is to be done', --file FILE, or - for stdin")
}
