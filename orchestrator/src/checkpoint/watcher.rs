//! Signs each part of a record as it is closed, and the end when the run is over.
use std::io::{self, PipeWriter};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::SystemTime;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use policies::audit::Part;

/// Watches the record of a run that goes on. Dropped, it stops without a word about the end.
#[derive(Debug)]
pub(crate) struct Watcher {
    record: PathBuf,
    /// Closed, it ends the thread.
    stop: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    /// Begins to watch. What cannot be watched is signed at the end alone.
    pub(crate) fn begin(record: &Path) -> Self {
        let watching = Self::watch(record).ok();
        let (stop, thread) = watching.unzip();
        Self {
            record: record.to_owned(),
            stop,
            thread,
        }
    }

    /// Signs the end: nobody writes to the record any longer.
    ///
    /// # Errors
    /// It could not be signed.
    pub(crate) fn end(mut self) -> io::Result<()> {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A thread that failed signed too little; the end is signed all the same.
            thread.join().ok();
        }
        super::sign_end(&self.record, SystemTime::now())
    }

    fn watch(record: &Path) -> io::Result<(PipeWriter, JoinHandle<()>)> {
        let directory = record
            .parent()
            .ok_or(io::ErrorKind::InvalidInput)?
            .to_owned();
        let name = record
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        inotify.add_watch(&directory, AddWatchFlags::IN_MOVED_TO)?;
        let (stopped, stop) = io::pipe()?;
        let thread = std::thread::Builder::new()
            .name("checkpoints".to_owned())
            .spawn(move || {
                while wait(&inotify, &stopped) {
                    closed(&inotify, &directory, &name);
                }
                closed(&inotify, &directory, &name);
            })?;
        Ok((stop, thread))
    }
}

/// Waits for a part. False: the run is over.
fn wait(inotify: &Inotify, stopped: &impl AsFd) -> bool {
    let mut waiting = [
        PollFd::new(inotify.as_fd(), PollFlags::POLLIN),
        PollFd::new(stopped.as_fd(), PollFlags::POLLIN),
    ];
    match poll(&mut waiting, PollTimeout::NONE) {
        Ok(_) => {}
        Err(Errno::EINTR) => return true,
        Err(_) => return false,
    }
    let [_, stopped] = waiting;
    stopped.any() != Some(true)
}

/// Signs the parts that were closed since the last look.
fn closed(inotify: &Inotify, directory: &Path, open: &str) {
    let Ok(events) = inotify.read_events() else {
        return;
    };
    for name in events.into_iter().filter_map(|event| event.name) {
        let part = Part::parse(&name.to_string_lossy());
        if part.open == open && part.number.is_some() {
            // Unsigned, the chain still binds it to the end, which is signed.
            super::sign(&directory.join(name), SystemTime::now()).ok();
        }
    }
}
