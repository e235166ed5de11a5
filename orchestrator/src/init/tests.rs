use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::*;
use crate::console::tests::captured;
use crate::world::Terminal;

struct Place {
    _keep: tempfile::TempDir,
    home: PathBuf,
    base: PathBuf,
}

fn place() -> Place {
    let keep = tempfile::tempdir().unwrap();
    let base = keep.path().canonicalize().unwrap();
    let home = base.join("home");
    fs::create_dir(&home).unwrap();
    Place {
        _keep: keep,
        home,
        base,
    }
}

impl Place {
    fn project(&self, name: &str) -> PathBuf {
        let dir = self.base.join(name);
        fs::create_dir(&dir).unwrap();
        dir
    }

    /// Runs init in `dir`; `typed` is what a person answers, none is nobody.
    fn init(&self, dir: &Path, line: &str, typed: Option<&str>) -> (Result<Exit, Failure>, String) {
        let words = ["ocs", "init"].into_iter().chain(line.split_whitespace());
        let Ok(crate::cli::Command::Init(args)) = crate::cli::parse(words.map(Into::into)) else {
            panic!("{line}")
        };
        let terminal = Terminal {
            stdin: typed.is_some(),
            ..Terminal::default()
        };
        let world = World::of(dir, &self.home, vec![]);
        let (end, out, err) = captured(typed.unwrap_or_default(), terminal, |console| {
            run(&args, &world, console)
        });
        assert_eq!(out, "");
        (end, err)
    }
}

fn files(dir: &Path) -> Vec<(String, u32)> {
    let entry = |entry: io::Result<fs::DirEntry>| {
        let entry = entry.unwrap();
        (
            entry.file_name().into_string().unwrap(),
            entry.metadata().unwrap().permissions().mode() & 0o111,
        )
    };
    let mut files: Vec<_> = fs::read_dir(dir).unwrap().map(entry).collect();
    files.sort();
    files
}

const WROTE_ALL: &str = "\
wrote mise.toml
wrote opencode-sandbox-config.yaml
wrote opencode.jsonc
wrote opencode-sandbox-pre-start-container.sh
next: ocs policy check, then ocs run -- opencode
";

#[test]
fn yes_writes_every_file_without_asking() {
    let place = place();
    let dir = place.project("My_App");
    assert_eq!(
        place.init(&dir, "--yes", None),
        (Ok(Exit::Ok), WROTE_ALL.to_owned())
    );
    let expected = [
        ("mise.toml", 0),
        ("opencode-sandbox-config.yaml", 0),
        ("opencode-sandbox-pre-start-container.sh", 0o111),
        ("opencode.jsonc", 0),
    ];
    assert_eq!(
        files(&dir),
        expected.map(|(name, mode)| (name.to_owned(), mode))
    );
}

#[test]
fn enter_is_yes_and_junk_is_asked_about_again() {
    let place = place();
    let dir = place.project("p");
    let (end, err) = place.init(&dir, "", Some("\nwhat\n\nn\n\n"));
    let expected = "\
create mise.toml (the tools that mise installs)? [Y/n] wrote mise.toml
create opencode-sandbox-config.yaml (what the agent may reach)? [Y/n] please answer y or n
create opencode-sandbox-config.yaml (what the agent may reach)? [Y/n] wrote opencode-sandbox-config.yaml
create opencode.jsonc (the agent's own permissions)? [Y/n] left out opencode.jsonc
create opencode-sandbox-pre-start-container.sh (what this host runs before a start; nothing yet)? [Y/n] \
wrote opencode-sandbox-pre-start-container.sh
next: ocs policy check, then ocs run -- opencode
";
    assert_eq!((end, err.as_str()), (Ok(Exit::Ok), expected));
    assert!(!dir.join("opencode.jsonc").exists());
}

#[test]
fn what_is_there_is_never_overwritten() {
    let place = place();
    let dir = place.project("p");
    fs::write(dir.join("mise.toml"), "mine").unwrap();
    std::os::unix::fs::symlink("/nowhere/at/all", dir.join("opencode.jsonc")).unwrap();
    let (end, err) = place.init(&dir, "--yes", None);
    let expected = "\
kept mise.toml: it is there already
wrote opencode-sandbox-config.yaml
kept opencode.jsonc: it is there already
wrote opencode-sandbox-pre-start-container.sh
next: ocs policy check, then ocs run -- opencode
";
    assert_eq!((end, err.as_str()), (Ok(Exit::Ok), expected));
    assert_eq!(fs::read_to_string(dir.join("mise.toml")).unwrap(), "mine");
    assert!(!dir.join("opencode.jsonc").exists());
}

#[test]
fn declining_the_config_ends_it() {
    let place = place();
    let dir = place.project("p");
    let (end, _) = place.init(&dir, "", Some("y\nn\n"));
    let expected = Failure::new(
        Exit::No,
        "without opencode-sandbox-config.yaml this is no project",
    );
    assert_eq!(end, Err(expected));
    assert_eq!(files(&dir), [("mise.toml".to_owned(), 0)]);
}

#[test]
fn without_a_terminal_and_without_yes_nothing_is_written() {
    let place = place();
    let dir = place.project("p");
    let expected =
        Failure::usage("there is nobody to ask").next("ocs init --yes writes every missing file");
    assert_eq!(place.init(&dir, "", None), (Err(expected), String::new()));
    assert_eq!(files(&dir), []);
}

#[test]
fn presets_are_those_asked_for_and_an_unknown_one_writes_nothing() {
    let place = place();
    let dir = place.project("p");
    let expected = Failure::usage("there is no preset `nope`").next("ocs policy presets");
    assert_eq!(
        place.init(&dir, "--yes --preset npm --preset nope", None),
        (Err(expected), String::new())
    );
    assert_eq!(files(&dir), []);
    assert_eq!(
        place
            .init(
                &dir,
                "--yes --preset npm --preset crates --preset npm",
                None
            )
            .0,
        Ok(Exit::Ok)
    );
    let text = fs::read_to_string(dir.join(CONFIG_FILE)).unwrap();
    let (config, warnings) = Config::parse(&Source {
        name: "f",
        text: &text,
    })
    .unwrap();
    assert_eq!(config.presets().collect::<Vec<_>>(), ["crates", "npm"]);
    assert_eq!(warnings, []);
}

#[test]
fn the_directory_can_be_named_and_must_be_there() {
    let place = place();
    let dir = place.project("p");
    assert_eq!(
        place.init(&place.base, "p --yes", None),
        (Ok(Exit::Ok), WROTE_ALL.to_owned())
    );
    assert_eq!(files(&dir).len(), 4);
    let path = place.base.join("q").display().to_string();
    let expected =
        Failure::usage(format!("there is no directory {path}")).next(format!("mkdir {path}"));
    assert_eq!(place.init(&place.base, "q --yes", None).0, Err(expected));
}

#[test]
fn a_home_does_not_become_a_project() {
    let place = place();
    let (end, _) = place.init(&place.home, "--yes", None);
    assert_eq!(
        end.unwrap_err().next_step(),
        Some("keep the project in a directory of its own")
    );
    assert_eq!(files(&place.home), []);
}

#[test]
fn every_directory_name_gives_a_config_that_is_right() {
    for name in [
        "My_App",
        "..",
        "\u{e9}t\u{e9}",
        "a: b #c",
        "-",
        "9",
        "null",
        "a".repeat(200).as_str(),
    ] {
        let text = config_for(&Path::new("/x").join(name), &[]).unwrap();
        let (_, warnings) = Config::parse(&Source {
            name: "f",
            text: &text,
        })
        .unwrap();
        assert_eq!(warnings, [], "{name}");
    }
}

#[test]
fn every_example_in_the_config_is_right_too() {
    let text = config_for(Path::new("/x/p"), &[]).unwrap();
    let uncommented: Vec<&str> = text
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(example) if !example.starts_with(' ') || example.starts_with("  ") => example,
            _ => line,
        })
        .collect();
    let text = uncommented.join("\n");
    let (config, warnings) = Config::parse(&Source {
        name: "f",
        text: &text,
    })
    .unwrap();
    assert_eq!(warnings, []);
    assert_eq!(config.host_ports().len(), 1);
    assert_eq!(config.limits().connections, 10_000);
    let keys: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with(['#', ' ']))
        .filter_map(|line| line.split_once(':').map(|(key, _)| key))
        .collect();
    // DESIGN "Config", every key once.
    let expected = [
        "sandbox-name",
        "http-domain-whitelist",
        "http-domain-denylist",
        "presets",
        "host-ports",
        "llm-endpoints",
        "tcp-endpoints",
        "private-addresses",
        "network-mode",
        "env-passthrough",
        "env",
        "agent",
        "read-only-paths",
        "limits",
    ];
    assert_eq!(keys, expected);
}

#[test]
fn the_agents_config_denies_what_controls_the_box() {
    let without_comments: String = TEMPLATES[2]
        .text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect();
    let config: serde_json::Value = serde_json::from_str(&without_comments).unwrap();
    let permission = &config["permission"];
    assert_eq!(
        (&permission["*"], &permission["bash"]),
        (&"ask".into(), &"ask".into())
    );
    for tool in ["read", "edit"] {
        for file in [
            "opencode.jsonc",
            CONFIG_FILE,
            HOOK_FILE,
            "*.env",
            ".secret*",
        ] {
            assert_eq!(permission[tool][file], "deny", "{tool} {file}");
        }
    }
}
