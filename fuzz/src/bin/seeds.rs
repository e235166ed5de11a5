//! Writes the seeds of every target, or of one, to `fuzz/corpus/TARGET`; what the engine found stays beside them.

use std::path::Path;

fn main() -> std::io::Result<()> {
    let only = std::env::args().nth(1);
    for (target, _) in fuzz::TARGETS {
        if only.as_deref().is_some_and(|only| only != target) {
            continue;
        }
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("corpus")
            .join(target);
        std::fs::create_dir_all(&folder)?;
        let seeds = fuzz::seeds::of(target)?;
        for (number, seed) in seeds.iter().enumerate() {
            std::fs::write(folder.join(format!("seed-{number:04}")), seed)?;
        }
        println!("{target}: {} seeds", seeds.len());
    }
    Ok(())
}
