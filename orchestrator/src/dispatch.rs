//! Calls the command's module, and turns its end into words and a code. No command lives here.
use crate::cli::{Command, NotACommand, SkillCommand};
use crate::console::{Console, Style};
use crate::exit::{Exit, Failure};
use crate::tools::Face;
use crate::world::World;

/// Runs one command.
///
/// # Errors
/// What the command could not do, with the code to end with.
pub fn run(command: &Command, world: &World, console: &mut Console<'_>) -> Result<Exit, Failure> {
    crate::engine::spawn::end_with_parent(world);
    match command {
        Command::Approve(args) => crate::approve::run(args, world, console),
        Command::Audit(command) => crate::audit_cmd::run(command, world, console),
        Command::Autonomous(args) => crate::autonomous::run(args, world, console),
        Command::Build(args) => crate::image::build::run(args, world, console),
        Command::Check(args) => crate::check::run(args, world, console),
        Command::Skill(SkillCommand::Crystallize(args)) => {
            crate::crystallize::run(args, world, console)
        }
        Command::Compose(args) => crate::image::compose::run(args, world, console),
        Command::Versions(args) => crate::image::versions::run(args, console),
        Command::Doctor(args) => crate::doctor::run(args, world, console),
        Command::Init(args) => crate::init::run(args, world, console),
        Command::ProbeNamespaces => crate::doctor::probe(console),
        Command::Policy(command) => crate::policy_cmd::run(command, world, console),
        Command::Mcp(args) => crate::mcp::run(args, world, console),
        Command::Task(args) => crate::task::run(args, world, console),
        Command::Run(args) => crate::run::run(args, world, console),
        Command::Start(args) => crate::server::start(args, Face::Web, world, console),
        Command::Conductor(args) => crate::server::start(args, Face::Api, world, console),
        Command::Stop(args) => crate::server::stop(args, world, console),
        Command::Status(args) => crate::server::status(args, world, console),
        Command::List(args) => crate::server::list(args, world, console),
        Command::Logs(args) => crate::server::logs(args, world, console),
        Command::Web => crate::server::web(world, console),
        Command::WebAuth => crate::server::web_auth(world, console),
        Command::Terminal(args) => crate::server::terminal(args, world, console),
        Command::Tui(args) => crate::tui::run(args, world, console),
        Command::Reset(args) => crate::reset::run(args, world, console),
        Command::Verify(args) => crate::verify::run(args, world, console),
        Command::BoxVerify(args) => crate::verify::attack(args, console),
        Command::BoxEnter(args) => crate::run::enter(*args),
        Command::BoxExec(args) => crate::run::become_agent(args),
        Command::BoxMend(args) => crate::run::mend(*args),
    }
}

/// Answers a command line that names nothing to run.
///
/// # Errors
/// The command line was a mistake (exit 64).
pub fn answer(answer: &NotACommand, console: &mut Console<'_>) -> Result<Exit, Failure> {
    match answer {
        NotACommand::Asked(text) => console.bytes(text.as_bytes()).map(|()| Exit::Ok),
        NotACommand::Mistake(text) => {
            console.prompt(text);
            Ok(Exit::Usage)
        }
        NotACommand::MistakenTask(text) => crate::task::mistaken(text, console),
    }
}

/// Says why the command failed, if it did; gives the code to end with.
pub fn end(ended: Result<Exit, Failure>, console: &mut Console<'_>) -> Exit {
    let failure = match ended.and_then(|exit| console.flush().map(|()| exit)) {
        Ok(exit) => return exit,
        Err(failure) => failure,
    };
    if failure.is_silent() {
        return failure.exit();
    }
    let label = console.styled_note(Style::Bad, "ocs:");
    console.note(format_args!("{label} {failure}"));
    if let Some(next) = failure.next_step() {
        let label = console.styled_note(Style::Dim, "next:");
        console.note(format_args!("{label} {next}"));
    }
    failure.exit()
}
