//! `visit [--root] LINE`: runs a shell line in the usual project of a fresh world, and shows what the world saw of it.
//! For a person who writes or mends a suite.

use std::io::Write;

use anyhow::{Result, bail};
use harness::order::Order;
use harness::project::{Project, USUAL};
use harness::world::{As, Call, World};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (who, line) = match arguments.as_slice() {
        [line] => (As::Ordinary, line),
        [root, line] if root == "--root" => (As::Root, line),
        _ => bail!("usage: visit [--root] LINE"),
    };
    let world = World::new(&Order::usual()?)?;
    let project = Project::new(&world, who, USUAL)?;
    let finished = project.call(Call::new(&["sh", "-c", line]))?;
    let mut out = std::io::stdout();
    writeln!(out, "{finished}\n{:#?}", world.readings()?)?;
    if let Ok(record) = project.newest_record() {
        writeln!(out, "{}", record.lines.join("\n"))?;
    }
    Ok(())
}
