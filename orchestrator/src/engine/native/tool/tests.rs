use std::fs;
use std::os::unix::fs::symlink;

use super::*;

/// A host made of files: a home and a project in a directory of its own.
struct Host {
    keep: tempfile::TempDir,
    places: Places,
}

impl Host {
    fn new() -> Self {
        let keep = tempfile::tempdir().unwrap();
        let root = keep.path().canonicalize().unwrap();
        let places = Places {
            home: root.join("home/user"),
            project: root.join("home/user/code/app"),
        };
        fs::create_dir_all(&places.project).unwrap();
        Self { keep, places }
    }

    fn home(&self, path: &str) -> PathBuf {
        self.places.home.join(path)
    }

    fn program(&self, path: &str, content: &str) -> PathBuf {
        let path = self.home(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        path
    }

    fn link(&self, path: &str, target: &str) {
        let path = self.home(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(target, path).unwrap();
    }

    fn find(&self, name: &str, search: &[&str]) -> Result<Tool, ToolError> {
        let search = search.iter().map(|dir| self.home(dir));
        let path = std::env::join_paths(search.chain(["/usr/bin".into()])).unwrap();
        find(
            name.as_ref(),
            Some(&path),
            &self.places.project,
            &self.places,
        )
    }

    fn shown(&self, name: &str, search: &[&str]) -> Vec<String> {
        let shown = self.find(name, search).unwrap().shown;
        let below = |path: PathBuf| {
            path.strip_prefix(&self.places.home)
                .unwrap()
                .display()
                .to_string()
        };
        shown.into_iter().map(below).collect()
    }
}

#[test]
fn a_tool_of_the_system_needs_nothing_shown() {
    let host = Host::new();
    let tool = host.find("env", &[]).unwrap();
    assert_eq!(
        (tool.program, tool.shown),
        (PathBuf::from("/usr/bin/env"), Vec::new())
    );
    assert_eq!(tool.search, [PathBuf::from("/usr/bin")]);
    assert_eq!(
        unknown("x".as_ref(), Some("/a:b::/c".as_ref())).search,
        [PathBuf::from("/a"), PathBuf::from("/c")]
    );
}

#[test]
fn a_tool_with_a_directory_of_its_own_shows_that_directory() {
    let host = Host::new();
    host.program(".opencode/bin/opencode", "elf");
    assert_eq!(host.shown("opencode", &[".opencode/bin"]), [".opencode"]);
    host.program(".nvm/versions/node/v20/bin/node", "elf");
    assert_eq!(
        host.shown("node", &[".nvm/versions/node/v20/bin"]),
        [".nvm/versions/node/v20"]
    );
}

#[test]
fn a_package_of_npm_shows_its_modules_and_its_interpreter() {
    let host = Host::new();
    host.program(
        ".npm-global/lib/node_modules/opencode-ai/bin/opencode",
        "#!/usr/bin/env node\n",
    );
    host.link(
        ".npm-global/bin/opencode",
        "../lib/node_modules/opencode-ai/bin/opencode",
    );
    host.program(".nvm/versions/node/v20/bin/node", "elf");
    let search = [".npm-global/bin", ".nvm/versions/node/v20/bin"];
    assert_eq!(
        host.shown("opencode", &search),
        [".npm-global", ".nvm/versions/node/v20"]
    );
}

#[test]
fn a_file_in_a_shared_directory_is_shown_alone_with_what_it_links_to() {
    let host = Host::new();
    host.program(
        ".local/share/uv/tools/aider/bin/aider",
        "#!/usr/bin/env -S FOO=1 python -u\n",
    );
    host.link(".local/bin/aider", "../share/uv/tools/aider/bin/aider");
    host.program(".local/bin/secret", "#!/bin/sh\n");
    host.program(".local/bin/python", "elf");
    assert_eq!(
        host.shown("aider", &[".local/bin"]),
        [
            ".local/bin/aider",
            ".local/share/uv/tools/aider",
            ".local/bin/python"
        ]
    );
}

#[test]
fn a_program_in_cargo_s_home_does_not_show_cargo_s_token() {
    let host = Host::new();
    host.program(".cargo/bin/rg", "elf");
    host.program(".cargo/credentials.toml", "token");
    assert_eq!(host.shown("rg", &[".cargo/bin"]), [".cargo/bin/rg"]);
}

#[test]
fn a_program_in_a_person_s_own_directory_is_shown_alone() {
    let host = Host::new();
    host.program("bin/tool", "elf");
    host.program("scripts/run", "elf");
    assert_eq!(host.shown("tool", &["bin"]), ["bin/tool"]);
    assert_eq!(host.shown("run", &["scripts"]), ["scripts/run"]);
}

#[test]
fn a_program_of_the_project_is_in_the_box_already() {
    let host = Host::new();
    let program = host.program("code/app/node_modules/.bin/tool", "#!/bin/sh\n");
    assert_eq!(
        host.shown("tool", &["code/app/node_modules/.bin"]),
        Vec::<String>::new()
    );
    assert_eq!(
        host.find("./node_modules/.bin/tool", &[]).unwrap().program,
        host.places.project.join("./node_modules/.bin/tool")
    );
    assert_eq!(
        host.find(program.to_str().unwrap(), &[]).unwrap().program,
        program
    );
}

#[test]
fn a_program_among_credentials_is_refused_however_it_is_reached() {
    let host = Host::new();
    host.program(".ssh/tool", "elf");
    host.link(".local/bin/tool", "../../.ssh/tool");
    for search in [".ssh", ".local/bin"] {
        let error = host.find("tool", &[search]).unwrap_err();
        assert!(
            error
                .to_string()
                .ends_with(".ssh, which the box never shows"),
            "{error}"
        );
    }
}

#[test]
fn what_is_not_there_is_not_found_and_a_loop_of_links_neither() {
    let host = Host::new();
    assert_eq!(
        host.find("no-such", &[]).unwrap_err().to_string(),
        "command not found: no-such"
    );
    host.link(".local/bin/a", "b");
    host.link(".local/bin/b", "a");
    assert!(host.find("a", &[".local/bin"]).is_err());
    drop(host.keep);
}

#[test]
fn a_home_what_holds_it_and_what_holds_keys_are_never_shown_whole() {
    let host = Host::new();
    let never = [
        "",
        ".local",
        ".cargo",
        ".config",
        ".config/gh",
        ".local/share",
        "code",
        ".aws/cli",
    ];
    for place in never {
        assert!(!host.places.may_show(&host.home(place)), "{place}");
    }
    for place in ["/", "/home", "/home/other", "/opt", "/etc", "/tmp"] {
        assert!(!host.places.may_show(Path::new(place)), "{place}");
    }
    for place in [
        ".pyenv",
        ".nvm/versions/node/v20",
        ".local/share/uv/tools/x",
        "code/other",
    ] {
        assert!(host.places.may_show(&host.home(place)), "{place}");
    }
    assert!(host.places.may_show(Path::new("/opt/tool")));
}
