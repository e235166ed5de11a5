//! Origins that are programs of their own: a database, an ssh server. They run on the internet's side until the world ends.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::spec::Program;

/// How long a database may take to begin, on a machine that does other things too.
const PATIENCE: Duration = Duration::from_secs(60);

/// Starts it in the calling thread's network, and waits until it listens.
///
/// # Errors
/// It did not: the error shows what it said.
#[expect(
    clippy::disallowed_methods,
    reason = "origins of other protocols are the protocols' own servers, and this looks whether they listen"
)]
pub(super) fn serve(program: &Program) -> Result<()> {
    let said = format!("/tmp/origin-{}.log", program.port);
    let log = File::create(&said).with_context(|| format!("make {said}"))?;
    let (name, arguments) = program.words.split_first().context("no program to serve")?;
    let mut command = Command::new(name);
    command.args(arguments).stdin(Stdio::null());
    command.stdout(log.try_clone().context("share a log")?);
    // Whatever becomes of it, process 1 reaps it.
    drop(
        command
            .stderr(log)
            .spawn()
            .with_context(|| format!("start {name}"))?,
    );
    let begun = Instant::now();
    while TcpStream::connect((Ipv4Addr::LOCALHOST, program.port)).is_err() {
        if begun.elapsed() > PATIENCE {
            let said = fs::read_to_string(&said).unwrap_or_default();
            bail!("{name} does not listen on {}: {said}", program.port);
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
