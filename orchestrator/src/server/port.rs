//! The port of the host that a server is published on: the one asked for, or the next free one from 4096. Two starts of one
//! user choose one after the other; the choice is held until the proxy has the port.
use std::fs::{File, OpenOptions};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::OpenOptionsExt;

use nix::fcntl::{Flock, FlockArg};
use policies::Port;

use crate::exit::{Exit, Failure};
use crate::project::StateDir;

/// OpenCode's own, in the box and, where it is free, outside.
pub(super) const USUAL: u16 = 4096;
/// How far is looked.
const LAST: u16 = USUAL + 999;

/// A port that was free, and the turn to take it.
#[derive(Debug)]
pub(super) struct Chosen {
    pub(super) port: Port,
    /// Nobody else of this user chooses as long as this lives.
    pub(super) turn: Flock<File>,
}

/// Chooses.
///
/// # Errors
/// The port asked for is taken (exit 64), or all are.
pub(super) fn choose(wanted: Option<Port>, state: &StateDir) -> Result<Chosen, Failure> {
    let path = state.root().join("ports.lock");
    let failed = |error: std::io::Error| {
        Failure::new(Exit::No, format!("lock {}", path.display())).because(error)
    };
    let mut options = OpenOptions::new();
    let options = options.write(true).create(true).truncate(false);
    let file = options.mode(0o600).open(&path).map_err(failed)?;
    let turn =
        Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, error)| failed(error.into()))?;
    if let Some(port) = wanted {
        return match probe(port) {
            Ok(()) => Ok(Chosen { port, turn }),
            Err(error) => Err(Failure::usage(format!(
                "port {port} of 127.0.0.1 cannot be had: {error}"
            ))
            .next("ocs start, which takes the next free one, or ocs list to see whose it is")),
        };
    }
    let free = (USUAL..=LAST)
        .filter_map(Port::new)
        .find(|port| probe(*port).is_ok());
    let port = free.ok_or_else(|| {
        Failure::usage(format!(
            "no port of 127.0.0.1 from {USUAL} to {LAST} is free"
        ))
        .next("ocs start --port PORT")
    })?;
    Ok(Chosen { port, turn })
}

fn probe(port: Port) -> std::io::Result<()> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port.get())).map(drop)
}
