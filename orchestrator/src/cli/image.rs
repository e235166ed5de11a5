//! `ocs build`, `ocs versions`, `ocs compose`: what can be typed.
use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

const BUILD_HELP: &str = "\
Two images: the agent's, opencode-sandbox-<SANDBOX_ID>, and the fence's, opencode-sandbox-sidecar. Each is built when what \
goes into it changed, and not otherwise. What the builder says goes to docker-build.log in the state directory. The steps of \
the agent's image use the engine's network, unfenced: mise.toml is one of them, and counts once it is approved.

Exit codes: 0 built or nothing changed, 64 the config or an argument is wrong, 69 no engine, or a program is missing, 70 a \
build failed.";

/// `ocs build`.
#[derive(Args, Debug, Default)]
#[command(after_help = BUILD_HELP)]
pub struct BuildArgs {
    /// Whose engine builds [default: docker where it is installed, else podman]
    #[arg(long, value_name = "ENGINE", value_enum)]
    pub engine: Option<ContainerEngine>,
    /// Run every step again, whatever is cached
    #[arg(long)]
    pub no_cache: bool,
    /// Another base for the agent's image; one with glibc, and with apt-get where packages are asked for
    #[arg(long, value_name = "IMAGE")]
    pub base: Option<String>,
    /// The Python of the base's archive that is `python3`, such as 3.11
    #[arg(long, value_name = "VERSION")]
    pub python: Option<String>,
    /// Certificates (PEM) that the build and the agent trust besides, where the network intercepts TLS
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// The engine's network for the steps of the build, such as host
    #[arg(long, value_name = "NAME")]
    pub network: Option<String>,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

/// Whose engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ContainerEngine {
    /// docker, with Colima and Docker Desktop
    Docker,
    /// podman, with its machine
    Podman,
}

/// `ocs versions`.
#[derive(Args, Debug)]
pub struct VersionsArgs {
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

const COMPOSE_HELP: &str = "\
The file goes to stdout. It runs the images of ocs build with the shared topology: one network namespace, rules put up once \
before the agent starts, which then has no capability. docs/compose.md says what is weaker than under ocs start.

Exit codes: 0 printed, 64 the config is wrong or --host-address is needed.";

/// `ocs compose`.
#[derive(Args, Debug)]
#[command(after_help = COMPOSE_HELP)]
pub struct ComposeArgs {
    /// The host as its containers reach it, where the config has host-ports
    #[arg(long, value_name = "ADDRESS")]
    pub host_address: Option<IpAddr>,
}
