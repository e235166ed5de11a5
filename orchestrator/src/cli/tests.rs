use super::*;

fn typed(line: &str) -> Result<Command, NotACommand> {
    parse(line.split_whitespace().map(OsString::from))
}

#[test]
fn the_definition_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn help_lists_every_command_in_its_order() {
    let Err(NotACommand::Asked(help)) = typed("ocs --help") else {
        panic!("no help")
    };
    let listed: Vec<&str> = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    let built = [
        "init",
        "run",
        "approve",
        "task",
        "autonomous",
        "start",
        "conductor",
        "stop",
        "status",
        "list",
        "logs",
        "web",
        "web-auth",
        "terminal",
        "tui",
        "reset",
        "mcp",
        "policy",
        "audit",
        "build",
        "compose",
        "versions",
        "check",
        "skill",
        "verify",
        "doctor",
    ];
    assert_eq!(listed, built);
}

#[test]
fn the_old_names_are_the_new_commands() {
    assert!(matches!(typed("/usr/bin/ocs-init --yes d"), Ok(Command::Init(args)) if args.yes));
    assert!(matches!(
        typed("ocs-rebuild-container --no-cache"),
        Ok(Command::Build(args)) if args.no_cache
    ));
}

#[test]
fn the_old_names_of_the_server_are_the_new_commands() {
    assert!(matches!(
        typed("/usr/bin/ocs-start-container"),
        Ok(Command::Start(_))
    ));
    assert!(
        matches!(typed("ocs-terminal --session s"), Ok(Command::Terminal(args)) if args.arguments == ["--session", "s"])
    );
    assert!(matches!(typed("./ocs-web"), Ok(Command::Web)));
    assert!(matches!(typed("ocs-web-auth"), Ok(Command::WebAuth)));
}

#[test]
fn the_command_of_run_keeps_its_own_flags() {
    for line in [
        "ocs run --mode none -- curl -sS --json x",
        "ocs run --mode none curl -sS --json x",
    ] {
        let Ok(Command::Run(args)) = typed(line) else {
            panic!("{line}")
        };
        assert_eq!(args.command, ["curl", "-sS", "--json", "x"]);
        assert_eq!(
            (
                args.sandbox.fence.mode,
                args.sandbox.fence.engine,
                args.json
            ),
            (Some(Mode::None), Engine::Auto, false)
        );
    }
}

#[test]
fn a_mistake_is_a_mistake() {
    for line in [
        "ocs",
        "ocs nothing",
        "ocs run",
        "ocs run --engine xen -- true",
    ] {
        assert!(
            matches!(typed(line), Err(NotACommand::Mistake(_))),
            "{line}"
        );
    }
}
