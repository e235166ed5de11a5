//! Which files make up which record: the project's own runs, any file, stdin. A record that was rotated is its parts in
//! their order and the open file last. Opens no file.
use std::io;
use std::path::{Path, PathBuf};

use policies::audit::{Packing, Part};

use crate::exit::{Exit, Failure};
use crate::project::Project;
use crate::world::World;

use super::lines::Place;

/// One record: its files in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Whole {
    /// Never empty.
    pub(super) places: Vec<Place>,
    /// Where its first line is to be found.
    pub(super) begins: Begins,
}

/// Where a record begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begins {
    /// Somebody named later parts alone: the first line is not among them.
    Earlier,
    /// In the first file.
    Here,
}

/// The records to read: `files`, or without any the project's own, oldest run first.
///
/// # Errors
/// There is no project, or it has no record yet (exit 64).
pub(super) fn records(files: &[PathBuf], world: &World) -> Result<Vec<Whole>, Failure> {
    if !files.is_empty() {
        return Ok(named(files, world));
    }
    let project = Project::find(None, world)?;
    let directory = project.state().audit();
    let found = match files_in(&directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => {
            let failure = Failure::new(Exit::No, format!("read {}", directory.display()));
            return Err(failure.because(error));
        }
        Ok(found) => found,
    };
    if found.is_empty() {
        let message = format!("there is no record in {}", directory.display());
        return Err(Failure::usage(message).next("ocs run -- CMD writes one"));
    }
    let by_record = found.chunk_by(|one, other| open_file(one) == open_file(other));
    Ok(by_record.map(|files| Whole::of(files.to_vec())).collect())
}

/// The files of records in a directory, record by record in the order of their names, each record's in its own order.
///
/// # Errors
/// It cannot be read.
pub(crate) fn files_in(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if name(&path).contains(".jsonl") {
            files.push(path);
        }
    }
    Ok(in_order(files))
}

/// The files of the record whose open file this is: its parts, then itself.
///
/// # Errors
/// Its directory cannot be read.
pub(crate) fn files_of(open: &Path) -> io::Result<Vec<PathBuf>> {
    let directory = match open.parent() {
        Some(parent) if parent != Path::new("") => parent,
        Some(_) | None => Path::new("."),
    };
    let mut files = vec![open.to_owned()];
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let part = Part::parse(&name(&path));
        if part.number.is_some() && part.open == Part::parse(&name(open)).open {
            files.push(path);
        }
    }
    Ok(in_order(files))
}

/// The files that somebody named. An open file stands for its whole record, unless parts of it are named as well.
fn named(files: &[PathBuf], world: &World) -> Vec<Whole> {
    let mut records: Vec<Whole> = Vec::new();
    let mut seen: Vec<PathBuf> = Vec::new();
    for file in files {
        if file.to_str() == Some("-") {
            records.push(Whole {
                places: vec![Place::Stdin],
                begins: Begins::Here,
            });
            continue;
        }
        let path = world.cwd.join(file);
        let open = open_file(&path);
        if seen.contains(&open) {
            continue;
        }
        let paths = files.iter().map(|file| world.cwd.join(file));
        let mine: Vec<PathBuf> = paths.filter(|path| open_file(path) == open).collect();
        seen.push(open);
        let is_part = |path: &PathBuf| Part::parse(&name(path)).number.is_some();
        let whole = match mine.iter().any(is_part) {
            true => Whole::of_parts(in_order(mine)),
            // A directory that cannot be listed may still hold a file that can be read.
            false => Whole::of(files_of(&path).unwrap_or(vec![path])),
        };
        records.push(whole);
    }
    records
}

impl Whole {
    /// A record of which no part may be missing.
    fn of(files: Vec<PathBuf>) -> Self {
        Self {
            places: files.into_iter().map(Place::File).collect(),
            begins: Begins::Here,
        }
    }

    /// What somebody named part by part: it may begin later.
    fn of_parts(files: Vec<PathBuf>) -> Self {
        let whole = Self::of(files);
        match whole.places.first().and_then(Place::number) {
            Some(number) if number > 1 => Self {
                begins: Begins::Earlier,
                ..whole
            },
            Some(_) | None => whole,
        }
    }
}

impl Place {
    /// Which part of its record it is.
    fn number(&self) -> Option<u32> {
        match self {
            Self::File(path) => Part::parse(&name(path)).number,
            Self::Stdin => None,
        }
    }
}

/// Sorted; of a part that is there packed and unpacked, the unpacked one: somebody is packing it.
fn in_order(mut files: Vec<PathBuf>) -> Vec<PathBuf> {
    let order = |path: &PathBuf| {
        let part = Part::parse(&name(path));
        (
            open_file(path),
            part.place(),
            part.packing != Packing::Plain,
        )
    };
    files.sort_by_cached_key(order);
    files.dedup_by_key(|path| (open_file(path), Part::parse(&name(path)).place()));
    files
}

fn open_file(path: &Path) -> PathBuf {
    path.with_file_name(Part::parse(&name(path)).open)
}

fn name(path: &Path) -> std::borrow::Cow<'_, str> {
    path.file_name().unwrap_or_default().to_string_lossy()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(names: &[&str]) -> (tempfile::TempDir, World) {
        let keep = tempfile::tempdir().unwrap();
        for name in names {
            std::fs::write(keep.path().join(name), "").unwrap();
        }
        let world = World::of(keep.path(), keep.path(), vec![]);
        (keep, world)
    }

    fn found(files: &[&str], world: &World) -> Vec<(Vec<String>, Begins)> {
        let files: Vec<PathBuf> = files.iter().map(PathBuf::from).collect();
        let records = records(&files, world).unwrap().into_iter();
        let shown = |place: Place| match place {
            Place::File(path) => name(&path).into_owned(),
            Place::Stdin => "-".to_owned(),
        };
        records
            .map(|it| (it.places.into_iter().map(shown).collect(), it.begins))
            .collect()
    }

    const NAMES: [&str; 6] = [
        "b.jsonl",
        "a.jsonl",
        "a.00002.jsonl",
        "a.00002.jsonl.gz",
        "a.00001.jsonl.zst",
        "a.00010.jsonl",
    ];

    fn row(files: &[&str], begins: Begins) -> (Vec<String>, Begins) {
        (
            files.iter().map(|name| (*name).to_owned()).collect(),
            begins,
        )
    }

    #[test]
    fn a_directory_gives_record_by_record_and_part_by_part() {
        let (keep, _) = directory(&NAMES);
        let files = files_in(keep.path()).unwrap();
        let names: Vec<_> = files.iter().map(|path| name(path).into_owned()).collect();
        let expected = [
            "a.00001.jsonl.zst",
            "a.00002.jsonl",
            "a.00010.jsonl",
            "a.jsonl",
            "b.jsonl",
        ];
        assert_eq!(names, expected);
    }

    #[test]
    fn an_open_file_stands_for_its_record_and_a_part_for_itself() {
        let (_keep, world) = directory(&NAMES);
        let all = [
            "a.00001.jsonl.zst",
            "a.00002.jsonl",
            "a.00010.jsonl",
            "a.jsonl",
        ];
        assert_eq!(found(&["a.jsonl"], &world), [row(&all, Begins::Here)]);
        assert_eq!(
            found(&["b.jsonl", "a.00002.jsonl.gz", "-"], &world),
            [
                row(&["b.jsonl"], Begins::Here),
                row(&["a.00002.jsonl.gz"], Begins::Earlier),
                row(&["-"], Begins::Here)
            ]
        );
        assert_eq!(
            found(&NAMES, &world),
            [row(&["b.jsonl"], Begins::Here), row(&all, Begins::Here)]
        );
        assert_eq!(
            found(&["a.jsonl", "a.00010.jsonl"], &world),
            [row(&["a.00010.jsonl", "a.jsonl"], Begins::Earlier)]
        );
    }

    #[test]
    fn a_record_whose_first_part_is_gone_still_has_to_begin_with_it() {
        let (_keep, world) = directory(&["a.00002.jsonl", "a.jsonl"]);
        assert_eq!(
            found(&["a.jsonl"], &world),
            [row(&["a.00002.jsonl", "a.jsonl"], Begins::Here)]
        );
    }

    #[test]
    fn a_file_that_is_not_there_is_named_all_the_same() {
        let (_keep, world) = directory(&[]);
        assert_eq!(
            found(&["x.jsonl"], &world),
            [row(&["x.jsonl"], Begins::Here)]
        );
    }
}
