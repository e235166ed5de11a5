//! `ocs tui`: an agent tool in this terminal, behind the fence, chosen as COMPATIBILITY 2.2 has it.
use std::ffi::OsString;

use policies::Config;

use crate::cli::TuiArgs;
use crate::console::Console;
use crate::exit::{Exit, Failure};
use crate::launch::{self, Order, warn};
use crate::outfit::Outfit;
use crate::project::Project;
use crate::provider::Permission;
use crate::server;
use crate::tools::{Profile, on_path};
use crate::world::World;

/// Runs `ocs tui`.
///
/// # Errors
/// No such tool is there (exit 1), or as `ocs run`.
pub(crate) fn run(
    args: &TuiArgs,
    world: &World,
    console: &mut Console<'_>,
) -> Result<Exit, Failure> {
    let project = server::project(world, console)?;
    let config = launch::config(&project, console)?;
    let there = |name: &str| on_path(name, None, world).is_some();
    let listed = world.variable("TOOLS").unwrap_or_default();
    let offered = offered(&listed.to_string_lossy(), &there, console);
    let wanted = args.tool.clone().or_else(|| {
        let default = world.variable("DEFAULT_TOOL")?;
        Some(default.to_string_lossy().into_owned()).filter(|name| !name.is_empty())
    });
    let name = match wanted {
        Some(name) if is_name(&name) && there(&name) => name,
        Some(name) => {
            let name = name.escape_debug();
            return Err(
                Failure::new(Exit::No, format!("the tool `{name}` is not available"))
                    .next(format!("one of: {}", offered.join(", "))),
            );
        }
        None => choose(offered, world, console)?,
    };
    let profile = Profile::found(&Profile::named(&name)?, world);
    serve(&profile, args, (&project, &config), world, console)
}

/// Runs a tool in this terminal, behind the fence.
///
/// # Errors
/// As `ocs run`.
pub(crate) fn serve(
    profile: &Profile,
    args: &TuiArgs,
    (project, config): (&Project, &Config),
    world: &World,
    console: &mut Console<'_>,
) -> Result<Exit, Failure> {
    let outfit = Outfit::lasting(
        profile,
        Permission::Attended,
        (project, config),
        world,
        console,
    )?;
    let words = profile.interactive(&outfit.words);
    let mut command: Vec<OsString> = words.into_iter().map(OsString::from).collect();
    command.extend(args.arguments.iter().cloned());
    let order = Order {
        engine: args.fence.engine,
        mode: args.fence.mode.map(Into::into),
        ask: args.asking.ask,
        environment: outfit.environment,
        shows: outfit.shows,
        ..Order::of(command)
    };
    let prepared = launch::prepare(order, project, config, world, console)?;
    launch::warn_of_skipped(&prepared.skipped, console);
    let ended = prepared.bring_up(console)?.attend(None);
    ended.tell(console);
    match &ended.summary {
        Ok(summary) => summary.show(console),
        Err(error) => warn(
            &format!("read {}: {error}", ended.facts.record.display()),
            console,
        ),
    }
    Ok(ended.exit)
}

fn is_name(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    !name.is_empty() && !name.starts_with('-') && name.bytes().all(inner)
}

/// The tools of the list that are names and are there; a word about each that is not.
fn offered(listed: &str, there: &dyn Fn(&str) -> bool, console: &mut Console<'_>) -> Vec<String> {
    let listed = if listed.trim().is_empty() {
        "opencode,omp"
    } else {
        listed
    };
    let mut offered = Vec::new();
    for name in listed
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
    {
        let why = if !is_name(name) {
            "is no tool's name"
        } else if !there(name) {
            "is not installed"
        } else {
            offered.push(name.to_owned());
            continue;
        };
        warn(&format!("`{name}` {why}, and is left out"), console);
    }
    offered
}

fn choose(
    mut offered: Vec<String>,
    world: &World,
    console: &mut Console<'_>,
) -> Result<String, Failure> {
    let Some(first) = offered.first().cloned() else {
        return Err(Failure::new(Exit::No, "no agent tool is available")
            .next("install opencode, or name yours: TOOLS=name ocs tui"));
    };
    if offered.len() == 1 || !world.terminal.stdin {
        return Ok(first);
    }
    for (number, name) in offered.iter().enumerate() {
        console.note(format_args!("  {}) {name}", number + 1));
    }
    console.prompt(format_args!(
        "tool [1-{}, Enter for {first}]: ",
        offered.len()
    ));
    let answer = console.answer()?.unwrap_or_default();
    let answer = answer.trim();
    if answer.is_empty() {
        return Ok(first);
    }
    let index = answer
        .parse::<usize>()
        .ok()
        .and_then(|number| number.checked_sub(1))
        .filter(|index| *index < offered.len());
    match index {
        Some(index) => Ok(offered.swap_remove(index)),
        None => {
            warn(
                &format!("`{answer}` is none of them: {first} it is"),
                console,
            );
            Ok(first)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::console::tests::captured;
    use crate::world::Terminal;

    fn there(name: &str) -> bool {
        name != "omp"
    }

    fn chosen(offered: &[&str], typed: &str, person: bool) -> (Option<String>, String) {
        let terminal = Terminal {
            stdin: person,
            ..Terminal::default()
        };
        let mut world = World::of(Path::new("/"), Path::new("/h"), vec![]);
        world.terminal = terminal;
        let offered = offered.iter().map(|name| (*name).to_owned()).collect();
        let (chosen, _, err) = captured(typed, terminal, |console| {
            choose(offered, &world, console).ok()
        });
        (chosen, err)
    }

    #[test]
    fn what_is_no_name_or_not_there_is_left_out_with_a_word() {
        let (offered, _, err) = captured("", Terminal::default(), |console| {
            offered("opencode, omp,a b,../x,-y", &there, console)
        });
        assert_eq!(offered, ["opencode"]);
        assert_eq!(
            err,
            "warning: `omp` is not installed, and is left out\n\
             warning: `a b` is no tool's name, and is left out\n\
             warning: `../x` is no tool's name, and is left out\n\
             warning: `-y` is no tool's name, and is left out\n"
        );
    }

    #[test]
    fn enter_takes_the_first_a_number_its_tool_and_junk_the_first_with_a_word() {
        let tools = ["opencode", "aider"];
        for (typed, expected, word) in [
            ("\n", "opencode", false),
            ("2\n", "aider", false),
            ("3\n", "opencode", true),
            ("0\n", "opencode", true),
            ("x\n", "opencode", true),
        ] {
            let (chosen, err) = chosen(&tools, typed, true);
            assert_eq!(chosen.as_deref(), Some(expected), "{typed:?}");
            assert_eq!(err.contains("warning:"), word, "{typed:?}");
        }
    }

    #[test]
    fn one_tool_is_taken_unasked_and_none_is_an_error() {
        assert_eq!(
            chosen(&["aider"], "", true),
            (Some("aider".to_owned()), String::new())
        );
        assert_eq!(chosen(&[], "", true), (None, String::new()));
    }
}
