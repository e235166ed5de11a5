//! `clients-table MACHINE`: prints `docs/clients.md` from what the suite `clients` wrote.

use std::io::Write;

use anyhow::Result;
use harness::client::render;

fn main() -> Result<()> {
    let machine: Vec<String> = std::env::args().skip(1).collect();
    let text = render(&machine.join(" "))?;
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(())
}
