//! `ocs init`: writes the files of a project, asking for each as opencode-sandbox did (COMPATIBILITY 4.8 to 4.10, O1). Never
//! overwrites. Not responsible for approving what it wrote: the first start does.
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use policies::{Config, Source};

use crate::cli::{BuildArgs, InitArgs};
use crate::config_file::CONFIG_FILE;
use crate::console::{Answer, Console};
use crate::engine::client::Client;
use crate::exit::{Exit, Failure};
use crate::image;
use crate::policy_cmd;
use crate::project::{self, HOOK_FILE};
use crate::sandbox_id::nearest_name;
use crate::world::World;

/// One file of a project.
struct Template {
    name: &'static str,
    /// What it is for, in the question.
    role: &'static str,
    text: &'static str,
    mode: u32,
}

const TEMPLATES: [Template; 4] = [
    Template {
        name: "mise.toml",
        role: "the tools that mise installs",
        text: include_str!("../templates/mise.toml"),
        mode: 0o644,
    },
    Template {
        name: CONFIG_FILE,
        role: "what the agent may reach",
        text: include_str!("../templates/opencode-sandbox-config.yaml"),
        mode: 0o644,
    },
    Template {
        name: "opencode.jsonc",
        role: "the agent's own permissions",
        text: include_str!("../../image/agent/opencode.jsonc"),
        mode: 0o644,
    },
    Template {
        name: HOOK_FILE,
        role: "what this host runs before a start; nothing yet",
        text: include_str!("../templates/opencode-sandbox-pre-start-container.sh"),
        mode: 0o755,
    },
];

/// What the agent of the template needs itself; every further host is the project's own decision.
const USUAL_PRESETS: [&str; 2] = ["github-copilot", "opencode"];

/// Runs `ocs init`.
///
/// # Errors
/// The directory or a preset does not exist, nobody can be asked, the config was declined, or a file cannot be written.
pub(crate) fn run(
    args: &InitArgs,
    world: &World,
    console: &mut Console<'_>,
) -> Result<Exit, Failure> {
    let dir = args
        .dir
        .as_deref()
        .map_or(world.cwd.clone(), |dir| world.cwd.join(dir));
    let dir = dir
        .canonicalize()
        .ok()
        .filter(|dir| dir.is_dir())
        .ok_or_else(|| {
            Failure::usage(format!("there is no directory {}", dir.display()))
                .next(format!("mkdir {}", dir.display()))
        })?;
    project::refuse_state_inside(&dir, world)?;
    // Whatever could go wrong is found before the first file is written.
    let config = config_for(&dir, &args.presets)?;
    if !args.yes && !console.terminal().stdin {
        return Err(Failure::usage("there is nobody to ask")
            .next("ocs init --yes writes every missing file"));
    }
    for template in &TEMPLATES {
        let text = if template.name == CONFIG_FILE {
            &config
        } else {
            template.text
        };
        create(&dir, template, text, args, console)?;
    }
    if !args.yes && dir == world.cwd && build_image(world, console)? == Answer::Yes {
        return image::build::run(&BuildArgs::default(), world, console);
    }
    console.note("next: ocs policy check, then ocs run -- opencode");
    Ok(Exit::Ok)
}

/// The fifth step, where there is an engine that needs an image.
fn build_image(world: &World, console: &mut Console<'_>) -> Result<Answer, Failure> {
    match Client::find(None, &world.cwd, world) {
        Ok(client) => {
            let engine = client.kind.name();
            let question = format!(
                "build the agent's image with {engine} (ocs build; the engine native needs none)?"
            );
            console.confirm(question, Answer::Yes)
        }
        Err(_) => Ok(Answer::No),
    }
}

fn create(
    dir: &Path,
    template: &Template,
    text: &str,
    args: &InitArgs,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    let Template {
        name, role, mode, ..
    } = template;
    let path = dir.join(name);
    if path.symlink_metadata().is_ok() {
        console.note(format_args!("kept {name}: it is there already"));
        return Ok(());
    }
    if !args.yes
        && console.confirm(format_args!("create {name} ({role})?"), Answer::Yes)? == Answer::No
    {
        if *name == CONFIG_FILE {
            return Err(Failure::new(
                Exit::No,
                format!("without {name} this is no project"),
            ));
        }
        console.note(format_args!("left out {name}"));
        return Ok(());
    }
    let failed = |error: io::Error| {
        Failure::new(Exit::No, format!("write {}", path.display())).because(error)
    };
    // `create_new` fails for whatever came there meanwhile, a dangling link included.
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(*mode)
        .open(&path)
        .map_err(failed)?;
    if let Err(error) = file.write_all(text.as_bytes()) {
        // Half a file would be kept by the next init.
        fs::remove_file(&path).ok();
        return Err(failed(error));
    }
    console.note(format_args!("wrote {name}"));
    Ok(())
}

/// The config for a project in `dir`: one name, made from the directory's, and the presets asked for.
fn config_for(dir: &Path, presets: &[String]) -> Result<String, Failure> {
    for preset in presets {
        policy_cmd::find_preset(preset)?;
    }
    let usual = || USUAL_PRESETS.map(str::to_owned).to_vec();
    let mut presets = if presets.is_empty() {
        usual()
    } else {
        presets.to_vec()
    };
    presets.sort();
    presets.dedup();
    let presets: Vec<String> = presets
        .iter()
        .map(|preset| format!("  - {preset}"))
        .collect();
    let name = nearest_name(&dir.file_name().unwrap_or_default().to_string_lossy());
    // The one name that is no text in YAML.
    let name = if name == "null" { "\"null\"" } else { &name };
    let [_, template, ..] = &TEMPLATES;
    let text = template
        .text
        .replace("@NAME@", name)
        .replace("@PRESETS@", &presets.join("\n"));
    match Config::parse(&Source {
        name: CONFIG_FILE,
        text: &text,
    }) {
        Ok(_) => Ok(text),
        Err(errors) => {
            Err(Failure::new(Exit::No, "the config that was made is wrong").because(errors))
        }
    }
}

#[cfg(test)]
mod tests;
