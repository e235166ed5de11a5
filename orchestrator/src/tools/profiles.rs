//! What is known of each tool. A new version that differs gets an arm here, and nothing else changes.

use super::{Events, Profile, Server, Version};

/// OpenCode 1.x: `opencode run --help`, `opencode serve --help` and `opencode attach --help` of 1.18.
const OPENCODE_1: Server = Server {
    api: &["serve"],
    web: &["web"],
    attach: &["attach"],
    client: "--attach",
    health: "/global/health",
    user: "opencode",
    password: "OPENCODE_SERVER_PASSWORD",
};

/// OpenCode 2 has no `web`, and clients name their server by `--server` (its documentation, "Migrate from V1").
const OPENCODE_2: Server = Server {
    web: &["serve"],
    attach: &["--server"],
    client: "--server",
    ..OPENCODE_1
};

/// 1.17 calls it `--dangerously-skip-permissions`; 1.18 `--auto`. What a config denies stays denied.
const HEADLESS_1_17: &[&str] = &["run", "--format", "json", "--dangerously-skip-permissions"];
const HEADLESS_1: &[&str] = &["run", "--format", "json", "--auto"];

/// What would ask hosts that no project lists.
const OPENCODE_OFFLINE: &[(&str, &str)] = &[
    ("OPENCODE_DISABLE_AUTOUPDATE", "1"),
    ("OPENCODE_DISABLE_LSP_DOWNLOAD", "1"),
    ("OPENCODE_DISABLE_MODELS_FETCH", "1"),
];

pub(super) fn opencode(program: Vec<String>, version: Option<Version>) -> Profile {
    let (headless, server) = match version {
        Some(Version { major: 2.., .. }) => (HEADLESS_1, OPENCODE_2),
        Some(Version {
            major: 1,
            minor: ..18,
        }) => (HEADLESS_1_17, OPENCODE_1),
        Some(Version { .. }) | None => (HEADLESS_1, OPENCODE_1),
    };
    Profile {
        name: "opencode",
        program,
        interactive: &[],
        headless,
        session: Some("--session"),
        server: Some(server),
        events: Events::OpenCode,
        state: Some(".local/share/opencode"),
        config: Some("OPENCODE_CONFIG"),
        mcp_servers: None,
        environment: OPENCODE_OFFLINE,
    }
}

/// OMP: `--mode json` is one task with a stream of events; what is piped in is the prompt.
pub(super) fn omp(program: Vec<String>) -> Profile {
    Profile {
        name: "omp",
        program,
        interactive: &[],
        headless: &["--mode", "json", "--auto-approve"],
        session: Some("--resume"),
        server: None,
        events: Events::Omp,
        state: Some(".omp"),
        config: None,
        mcp_servers: None,
        environment: &[],
    }
}

/// Claude Code: `--print` reads the prompt from stdin; started by root it skips permissions only where `IS_SANDBOX` is set.
pub(super) fn claude(program: Vec<String>) -> Profile {
    Profile {
        name: "claude",
        program,
        interactive: &[],
        headless: &[
            "--print",
            "--output-format",
            "stream-json",
            "--verbose",
            "--permission-mode",
            "bypassPermissions",
        ],
        session: Some("--resume"),
        server: None,
        events: Events::Claude,
        state: Some(".claude"),
        config: None,
        mcp_servers: Some("--mcp-config"),
        environment: &[
            ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"),
            ("DISABLE_AUTOUPDATER", "1"),
            ("IS_SANDBOX", "1"),
        ],
    }
}

/// Any other: a program that reads a task from stdin, does it, and says on stdout what came of it.
pub(super) fn command(program: Vec<String>) -> Profile {
    Profile {
        name: "command",
        program,
        interactive: &[],
        headless: &[],
        session: None,
        server: None,
        events: Events::Text,
        state: None,
        config: None,
        mcp_servers: None,
        environment: &[],
    }
}
