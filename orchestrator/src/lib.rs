//! `ocs`: finds the project, brings its sandbox up, reports what happened. It decides nothing: `policies` does.
//!
//! The map: `cli` says what can be typed, `dispatch` calls the command's module, `world` is what we were started in,
//! `console` is where text goes, `exit` is how we end. `project` finds and names; the commands are below it.
#![forbid(unsafe_code)]

pub mod approval;
pub mod bringup;
pub mod cli;
mod config_edit;
pub mod config_file;
pub mod console;
pub mod control;
pub mod diff;
pub mod dispatch;
pub mod engine;
mod environment;
pub mod exit;
mod git_config;
mod git_identity;
pub mod hook;
mod policy_copy;
pub mod probe;
pub mod project;
pub mod sandbox_id;
pub mod world;

mod admin;
mod approve;
mod audit_cmd;
mod autonomous;
mod check;
mod checkpoint;
mod crystallize;
mod curl;
mod doctor;
mod image;
mod init;
mod launch;
mod llm;
mod mcp;
mod mcp_servers;
mod monitor;
mod outfit;
mod policy_cmd;
mod provider;
mod reset;
mod run;
mod server;
mod state;
mod summary;
mod task;
mod teardown;
mod tools;
mod tui;
mod verify;
mod whole_file;
