//! `ocs-proxy`: parses, starts, exits.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    proxy::main(std::env::args_os())
}
