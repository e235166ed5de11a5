//! What can be typed: the commands and flags of DESIGN "Commands", as types. Parses; runs nothing, prints nothing.
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

mod approve;
mod audit;
mod autonomous;
mod image;
mod mcp;
mod policy;
mod server;
mod task;

pub use approve::{AnswerArgs, AskArgs};
pub use audit::{
    AuditCommand, ExportArgs, ExportFormat, FilterArgs, FollowArgs, FormArgs, QueryArgs,
    ReportArgs, VerifyArgs,
};
pub use autonomous::AutonomousArgs;
pub use image::{BuildArgs, ComposeArgs, ContainerEngine, VersionsArgs};
pub use mcp::McpArgs;
pub use policy::{
    ApproveArgs, CheckArgs, DiffArgs, ExplainArgs, PolicyCommand, PresetsArgs, ReloadArgs,
    SchemaArgs, SuggestArgs,
};
pub use task::TaskArgs;

pub use server::{
    ListArgs, LogsArgs, ResetArgs, StartArgs, StatusArgs, StopArgs, TerminalArgs, TuiArgs,
};

/// The names that opencode-sandbox's commands had, as links to this binary, and what they mean now.
const OLD_NAMES: [(&str, &str); 6] = [
    ("ocs-init", "init"),
    ("ocs-rebuild-container", "build"),
    ("ocs-start-container", "start"),
    ("ocs-terminal", "terminal"),
    ("ocs-web", "web"),
    ("ocs-web-auth", "web-auth"),
];

const EXIT_CODES: &str = "\
Exit codes:
  0    done              64   wrong usage or config; nothing was started
  1    the answer is no  69   an engine, program or kernel feature is missing
  124  timeout           70   the fence could not be put up or proven
  otherwise the code of the command that ran behind the fence";

/// Runs a coding agent in a box whose only way out is a proxy that enforces the project's whitelist.
#[derive(Debug, Parser)]
#[command(name = "ocs", version, after_help = EXIT_CODES, subcommand_required = true, arg_required_else_help = true)]
#[command(max_term_width = 100, disable_help_subcommand = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write the project's files, asking for each; never overwrites
    Init(InitArgs),
    /// Run any command behind the fence
    Run(RunArgs),
    /// Answer what running sandboxes were refused, while they wait
    Approve(AnswerArgs),
    /// Let the agent do one task with nobody there; stdout is one JSON document
    Task(Box<TaskArgs>),
    /// Let the agent work on a specification with nobody there, until it is done
    Autonomous(AutonomousArgs),
    /// Start the agent's server behind the fence
    Start(StartArgs),
    /// Start it for programs: nobody is asked, and tasks attach to it
    Conductor(StartArgs),
    /// End the agent's server, and wait until nothing of it is left
    Stop(StopArgs),
    /// Say whether the agent's server runs, and how it is
    Status(StatusArgs),
    /// Every sandbox of this user
    List(ListArgs),
    /// What the agent's server and its fence wrote
    Logs(LogsArgs),
    /// Open the agent's server in a browser
    Web,
    /// The same, with the password in the address
    WebAuth,
    /// A terminal's client of the agent's server, on this host
    Terminal(TerminalArgs),
    /// An agent tool in this terminal, behind the fence
    Tui(TuiArgs),
    /// Clear state of this sandbox
    Reset(ResetArgs),
    /// Serve the sandbox as tools for a host's agent (Model Context Protocol)
    Mcp(McpArgs),
    /// Check, explain and approve what may go out
    #[command(subcommand, arg_required_else_help = true)]
    Policy(PolicyCommand),
    /// Read the record of what went out and what was refused
    #[command(subcommand, arg_required_else_help = true)]
    Audit(AuditCommand),
    /// Build the images of the container engines, where what goes into them changed
    Build(BuildArgs),
    /// Print a compose file that runs the same fence without ocs
    Compose(ComposeArgs),
    /// Say which versions the images are made of
    Versions(VersionsArgs),
    /// Look for what is wrong with the project: config, control files, boxes, secrets
    Check(ProjectCheckArgs),
    /// Skills of the project
    #[command(subcommand, arg_required_else_help = true)]
    Skill(SkillCommand),
    /// Attack a throw-away sandbox from inside, and say clause by clause what held
    Verify(ProveArgs),
    /// Say what this machine can do, and what to type where something is missing
    Doctor(DoctorArgs),
    /// The inner half of `doctor`; started by ocs itself.
    #[command(hide = true)]
    ProbeNamespaces,
    /// The process at the gate of a box; started by ocs itself.
    #[command(hide = true)]
    BoxEnter(BoxEnterArgs),
    /// The first program in a box; started by ocs itself.
    #[command(hide = true)]
    BoxExec(BoxExecArgs),
    /// The attacks of `verify`; started by ocs itself.
    #[command(hide = true)]
    BoxVerify(BoxVerifyArgs),
    /// Repairs the protection of a control file; started by ocs itself.
    #[command(hide = true)]
    BoxMend(BoxMendArgs),
}

const INIT_HELP: &str = "\
Files: mise.toml, opencode-sandbox-config.yaml, opencode.jsonc, opencode-sandbox-pre-start-container.sh. What is there \
stays as it is. Without --preset the config allows what OpenCode itself needs with the model that opencode.jsonc names; \
ocs policy presets shows what else there is.

Exit codes: 0 done, 1 the config was declined, 64 nobody to ask, no such directory or preset: nothing was written.";

/// `ocs init`.
#[derive(Args, Debug)]
#[command(after_help = INIT_HELP)]
pub struct InitArgs {
    /// The project's directory [default: the working directory]
    pub dir: Option<PathBuf>,
    /// Write every missing file without asking
    #[arg(long, short)]
    pub yes: bool,
    /// A bundled list of hosts to allow; may be given more than once
    #[arg(long = "preset", value_name = "NAME")]
    pub presets: Vec<String>,
}

/// What every command takes that brings a box up.
#[derive(Args, Clone, Copy, Debug, PartialEq, Eq)]
pub struct FenceArgs {
    /// What builds the box
    #[arg(long, value_name = "ENGINE", value_enum, default_value_t = Engine::Auto)]
    pub engine: Engine,
    /// How much of the network it gets; the config says where this does not
    #[arg(long, value_name = "MODE", value_enum)]
    pub mode: Option<Mode>,
}

/// The same, where the config may be another.
#[derive(Args, Clone, Debug)]
pub struct SandboxArgs {
    /// The box.
    #[command(flatten)]
    pub fence: FenceArgs,
    /// Another config in place of the project's own
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// `ocs run`.
#[derive(Args, Debug)]
pub struct RunArgs {
    /// The box, and of which config.
    #[command(flatten)]
    pub sandbox: SandboxArgs,
    /// Whether a person is asked.
    #[command(flatten)]
    pub asking: AskArgs,
    /// Let `observe`, which passes every public destination, run with nobody watching
    #[arg(long)]
    pub allow_observe: bool,
    /// Print the summary at the end as one JSON document on stderr
    #[arg(long)]
    pub json: bool,
    /// The command and its arguments
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        required = true,
        value_name = "CMD"
    )]
    pub command: Vec<OsString>,
}

/// What builds the box.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Engine {
    /// the project's own, native where the kernel allows it, else an engine found
    Auto,
    /// containers, by the docker client: Docker Engine, Docker Desktop, Colima
    Docker,
    /// user namespaces and bubblewrap: no daemon, no root
    Native,
    /// containers, by the podman client, rootless or not
    Podman,
}

/// The network modes, from the strictest to the widest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// no network
    None,
    /// model servers and host ports only
    Restricted,
    /// what the whitelist allows
    Filtered,
    /// every public destination, all recorded
    Observe,
}

impl From<Mode> for policies::Mode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::None => Self::None,
            Mode::Restricted => Self::Restricted,
            Mode::Filtered => Self::Filtered,
            Mode::Observe => Self::Observe,
        }
    }
}

/// `ocs box-enter`: descriptors by number.
#[derive(Args, Clone, Copy, Debug)]
pub struct BoxEnterArgs {
    /// Orders come here.
    #[arg(long)]
    pub orders: i32,
    /// The report goes there.
    #[arg(long)]
    pub report: i32,
    /// Stays open as long as the box lives.
    #[arg(long)]
    pub alive: i32,
}

/// `ocs box-exec`.
#[derive(Args, Debug)]
pub struct BoxExecArgs {
    /// The most processes and threads in the box.
    #[arg(long)]
    pub processes: Option<u64>,
    /// The command and its arguments.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    pub command: Vec<OsString>,
}

/// `ocs box-mend`: a descriptor by number.
#[derive(Args, Clone, Copy, Debug)]
pub struct BoxMendArgs {
    /// The order comes here.
    #[arg(long)]
    pub orders: i32,
}

const CHECK_HELP: &str = "\
Secrets are known by the forms that their issuers gave them, and never printed. Attacks are those of ocs verify.

Exit codes: 0 nothing is wrong, 1 something is, 64 the config is wrong.";

/// `ocs check`.
#[derive(Args, Clone, Debug)]
#[command(after_help = CHECK_HELP)]
pub struct ProjectCheckArgs {
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

/// `ocs skill`.
#[derive(Clone, Debug, Subcommand)]
pub enum SkillCommand {
    /// Let the agent write down what the last work taught, as skills/NAME.md
    Crystallize(CrystallizeArgs),
}

/// `ocs skill crystallize`.
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "stdout is the document of ocs task. Exit codes: as ocs task; 1 the agent wrote no such skill."
)]
pub struct CrystallizeArgs {
    /// The skill's name: lower-case letters, digits and `-`
    pub name: String,
    /// The box, and of which config.
    #[command(flatten)]
    pub sandbox: SandboxArgs,
}

const VERIFY_HELP: &str = "\
Nothing is sent to anybody, even where the fence is broken: names are of .invalid, addresses of documentation. The attempts \
stand in the project's record like any run's.

Exit codes: 0 every attempt was refused as it must be, 64 wrong usage or config, 69 something is missing here, 70 a hole, \
which is named.";

/// `ocs verify`.
#[derive(Args, Debug)]
#[command(after_help = VERIFY_HELP)]
pub struct ProveArgs {
    /// The box, and of which config.
    #[command(flatten)]
    pub sandbox: SandboxArgs,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

/// `ocs box-verify`: what must not be seen.
#[derive(Args, Debug)]
pub struct BoxVerifyArgs {
    /// The home of whoever started it, on the host.
    #[arg(long)]
    pub home: PathBuf,
    /// The project's state directory, on the host.
    #[arg(long)]
    pub state: PathBuf,
}

/// `ocs doctor`.
#[derive(Args, Debug)]
#[command(after_help = "Exit codes: 0 ocs run works here, 69 something that it needs is missing.")]
pub struct DoctorArgs {
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

/// What was typed is not a command to run: help, a version, or a mistake.
#[derive(Debug)]
pub enum NotACommand {
    /// Text that was asked for; exit 0.
    Asked(String),
    /// A mistake, with clap's account of it; exit 64.
    Mistake(String),
    /// The same of `ocs task`, whose stdout is a JSON document even then.
    MistakenTask(String),
}

/// Reads the command line. The first argument is the name that we were called by.
///
/// # Errors
/// There is no command to run; see [`NotACommand`].
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, NotACommand> {
    let arguments = translated(arguments);
    let is_task = arguments.get(1).is_some_and(|word| word == "task");
    let answer = |error: clap::Error| {
        if is_task && error.use_stderr() {
            NotACommand::MistakenTask(error.render().to_string())
        } else {
            answer(&error)
        }
    };
    let found = Cli::command()
        .try_get_matches_from(arguments)
        .map_err(answer)?;
    Cli::from_arg_matches(&found)
        .map(|cli| cli.command)
        .map_err(answer)
}

fn answer(error: &clap::Error) -> NotACommand {
    let text = error.render().to_string();
    if error.use_stderr() {
        NotACommand::Mistake(text)
    } else {
        NotACommand::Asked(text)
    }
}

/// `ocs-init x` means `ocs init x`.
fn translated(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = arguments.into_iter().collect();
    let called = arguments
        .first()
        .and_then(|name| Path::new(name).file_name())
        .unwrap_or_default()
        .to_owned();
    if let Some((_, now)) = OLD_NAMES.iter().find(|(old, _)| OsStr::new(old) == called) {
        arguments.splice(..1, [OsString::from("ocs"), OsString::from(now)]);
    }
    arguments
}

#[cfg(test)]
mod tests;
