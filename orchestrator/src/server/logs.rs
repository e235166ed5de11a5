//! `ocs logs`: what the server wrote, what its supervisor had to say, and, while it runs, what the parts of the fence said.
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::lease::{Standing, look};
use super::log::{self, readable};
use crate::cli::LogsArgs;
use crate::console::{Console, Style};
use crate::exit::{Exit, Failure};
use crate::project::Project;
use crate::world::World;

const PAUSE: Duration = Duration::from_millis(200);

/// Runs `ocs logs`.
///
/// # Errors
/// There is no project, or no server was ever started (exit 1).
pub(crate) fn logs(
    args: &LogsArgs,
    world: &World,
    console: &mut Console<'_>,
) -> Result<Exit, Failure> {
    let project = super::project(world, console)?;
    let mut files: Vec<Followed> = places(&project).into_iter().map(Followed::new).collect();
    let mut any = false;
    loop {
        // Looked at before the files are read: what was written before the end is then read.
        let runs = look(&project.state().run()) != Standing::Absent;
        for file in &mut files {
            any |= file.print(console)?;
        }
        console.flush()?;
        if !args.follow || !runs {
            break;
        }
        std::thread::sleep(PAUSE);
    }
    if !any {
        return Err(
            Failure::new(Exit::No, "no server of this sandbox wrote anything").next("ocs start"),
        );
    }
    Ok(Exit::Ok)
}

/// The logs that there are: name and place.
fn places(project: &Project) -> Vec<(&'static str, PathBuf)> {
    let state = project.state();
    let server = log::of_server(state);
    let mut places = vec![
        ("server", log::old(&server)),
        ("server", server),
        ("supervisor", log::of_supervisor(state)),
    ];
    if let Standing::Held(Some(facts)) = look(&state.run())
        && let Some(run) = &facts.run
    {
        let directory = state.run().join(run);
        for part in ["proxy", "netctl"] {
            places.push((part, directory.join(format!("{part}.log"))));
        }
    }
    places
}

/// A log that is read to its end, again and again.
struct Followed {
    name: &'static str,
    path: PathBuf,
    /// The file that was read, and how far.
    read: Option<(u64, u64)>,
}

impl Followed {
    fn new((name, path): (&'static str, PathBuf)) -> Self {
        Self {
            name,
            path,
            read: None,
        }
    }

    /// Prints what is new; gives whether there was anything.
    fn print(&mut self, console: &mut Console<'_>) -> Result<bool, Failure> {
        let Ok((text, at)) = since(&self.path, self.read) else {
            return Ok(false);
        };
        self.read = Some(at);
        let readable = readable(&text);
        for line in readable.lines() {
            let name = console.styled(Style::Dim, self.name);
            console.line(format_args!("{name} | {line}"))?;
        }
        Ok(!text.is_empty())
    }
}

/// Whole lines that were written since, and where they end. A file that was replaced is read from its start.
fn since(path: &Path, read: Option<(u64, u64)>) -> std::io::Result<(Vec<u8>, (u64, u64))> {
    let mut file = File::open(path)?;
    let inode = file.metadata()?.ino();
    let from = read
        .filter(|(same, _)| *same == inode)
        .map_or(0, |(_, at)| at);
    file.seek(SeekFrom::Start(from))?;
    let mut text = Vec::new();
    file.read_to_end(&mut text)?;
    let whole = text
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |at| at + 1);
    text.truncate(whole);
    let length = u64::try_from(whole).unwrap_or_default();
    Ok((text, (inode, from + length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_lines_are_read_and_a_new_file_from_its_start() {
        let keep = tempfile::tempdir().unwrap();
        let path = keep.path().join("x.log");
        std::fs::write(&path, "one\ntw").unwrap();
        let (text, at) = since(&path, None).unwrap();
        assert_eq!((text.as_slice(), at.1), (&b"one\n"[..], 4));
        std::fs::OpenOptions::new()
            .append(true)
            .open(&path)
            .and_then(|mut file| std::io::Write::write_all(&mut file, b"o\n"))
            .unwrap();
        let (text, at) = since(&path, Some(at)).unwrap();
        assert_eq!((text.as_slice(), at.1), (&b"two\n"[..], 8));
        let beside = keep.path().join("y.log");
        std::fs::write(&beside, "new\n").unwrap();
        std::fs::rename(beside, &path).unwrap();
        assert_eq!(since(&path, Some(at)).unwrap().0, b"new\n");
    }
}
