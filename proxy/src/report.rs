//! What the program says: to people on standard error, to its starter on standard output.
//!
//! The only room that prints. Nothing of a request is printed: that is the record's.

use std::io::{self, Write};

use serde::Serialize;

/// Tells people. A closed standard error is no reason to stop.
pub(crate) fn tell(text: &str) {
    drop(writeln!(io::stderr().lock(), "ocs-proxy: {text}"));
}

#[derive(Serialize)]
struct Ready {
    v: u32,
    kind: &'static str,
    pid: u32,
    generation: u64,
}

/// Tells the starter that everything is served.
///
/// # Errors
/// Nobody reads it: the starter is gone.
pub(crate) fn ready(generation: u64) -> io::Result<()> {
    let line = Ready {
        v: 1,
        kind: "ready",
        pid: std::process::id(),
        generation,
    };
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, &line)?;
    out.write_all(b"\n")?;
    out.flush()
}
