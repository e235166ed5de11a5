//! How our reader, hyper's and Node's read what the engine found: each class with its count and its shortest example.

use std::collections::BTreeMap;
use std::path::Path;

fn main() -> std::io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/destinations");
    let mut classes: BTreeMap<String, (usize, Vec<u8>)> = BTreeMap::new();
    for entry in std::fs::read_dir(folder)? {
        let input = std::fs::read(entry?.path())?;
        if let Some(class) = fuzz::destinations::class(&input) {
            let (count, shortest) = classes.entry(class).or_insert_with(|| (0, input.clone()));
            *count += 1;
            if input.len() < shortest.len() {
                *shortest = input;
            }
        }
    }
    println!("inputs\tocs\thyper\tnode\tshortest");
    for (class, (count, shortest)) in classes {
        println!(
            "{count}\t{class}\t{}",
            shortest.get(2..).unwrap_or_default().escape_ascii()
        );
    }
    Ok(())
}
