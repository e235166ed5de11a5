//! A bounded pool of pipes for splice(2); a flow borrows one only while it is busy.
//!
//! Clauses: W8

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};

/// Bytes that one pipe is asked to hold: what a user may ask for, pipe(7) "pipe-max-size". A quarter of it costs an upload
/// 2.7 times the calls.
const CAPACITY: usize = 1024 * 1024;
/// Pipes that are made at most; those of an ordinary user share 64 MiB, pipe(7) "pipe-user-pages-soft".
const MOST: usize = 32;

static POOL: Mutex<Pool> = Mutex::new(Pool {
    idle: Vec::new(),
    made: 0,
});

struct Pool {
    idle: Vec<Pipe>,
    made: usize,
}

/// An empty pipe with room for [`CAPACITY`] bytes, or what the kernel gave.
#[derive(Debug)]
struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
}

/// A pipe on loan, and what is in it. Given back empty, it goes to the pool; otherwise it is closed.
#[derive(Debug)]
pub(crate) struct Loan {
    pipe: Option<Pipe>,
    inside: usize,
}

impl Loan {
    /// Borrows a pipe; `None` when all are out, or none can be made: the caller copies.
    pub(crate) fn take() -> Option<Self> {
        let mut pool = Pool::lock();
        let pipe = match pool.idle.pop() {
            Some(pipe) => pipe,
            None if pool.made < MOST => {
                let pipe = Pipe::make()?;
                pool.made += 1;
                pipe
            }
            None => return None,
        };
        Some(Self {
            pipe: Some(pipe),
            inside: 0,
        })
    }

    /// Bytes inside.
    pub(crate) fn inside(&self) -> usize {
        self.inside
    }

    /// Moves up to `most` bytes from a socket into the empty pipe; zero is the end of the stream.
    pub(crate) fn draw(&mut self, from: BorrowedFd<'_>, most: usize) -> io::Result<usize> {
        let Some(pipe) = &self.pipe else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let moved = shift(from, pipe.write.as_fd(), most.min(CAPACITY))?;
        self.inside += moved;
        Ok(moved)
    }

    /// Moves what is inside to a socket.
    pub(crate) fn pour(&mut self, to: BorrowedFd<'_>) -> io::Result<usize> {
        let Some(pipe) = &self.pipe else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let moved = shift(pipe.read.as_fd(), to, self.inside)?;
        self.inside -= moved;
        Ok(moved)
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        let Some(pipe) = self.pipe.take() else { return };
        let mut pool = Pool::lock();
        if self.inside == 0 {
            pool.idle.push(pipe);
        } else {
            pool.made -= 1;
        }
    }
}

impl Pool {
    fn lock() -> MutexGuard<'static, Self> {
        // Whoever panicked held no more than the lock: the pool is whole at every step.
        POOL.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pipe {
    fn make() -> Option<Self> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).ok()?;
        // Refused past the user's share of pipe memory: the pipe then keeps its smaller size.
        fcntl_setpipe_size(&write, CAPACITY).ok();
        Some(Self { read, write })
    }
}

fn shift(from: BorrowedFd<'_>, to: BorrowedFd<'_>, most: usize) -> io::Result<usize> {
    let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
    Ok(splice(from, None, to, None, most, flags)?)
}
