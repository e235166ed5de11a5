//! Finds the process behind a connection, where it can be told.
//!
//! The kernel tells the inode of the connecting socket, `/proc` who holds it open. The search begins where the last
//! ones ended, and with the youngest processes (measured: 10 us for the process and descriptor of the last time, 100 us
//! for a new process). It costs a bounded part of a core; past that, and where the holder is gone already, nobody is named
//! rather than somebody wrongly. A process is what the record may say, never what a verdict rests on.
//!
//! Clauses: R1, W8.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::ffi::CStr;
use std::fmt::Write as _;
use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use policies::audit::{Process, Text};
use rustix::fs::{CWD, Mode, OFlags, RawDir};
use tokio::time::Instant;

use crate::sock_diag::SockDiag;

/// Processes that are tried first: those found last.
const RECENT: usize = 8;
/// Process numbers below the last one given out that are tried next.
const YOUNG: u32 = 16;
/// One search of all processes may take so long; some hundred processes take half of it (measured: 1.5 us each).
const SEARCH: Duration = Duration::from_millis(2);
/// All searches of all processes within one [`WINDOW`] may take so long together: a tenth of a core.
const SEARCHES: Duration = Duration::from_millis(100);
/// See [`SEARCHES`].
const WINDOW: Duration = Duration::from_secs(1);
/// Longest path of an executable that is read.
const PATH_BYTES: usize = 4096; // linux/limits.h, PATH_MAX

/// Asks the kernel which process holds a socket in the agent's namespace.
#[derive(Debug, Default)]
pub struct Processes(Option<Finder>);

impl Processes {
    /// Looks among the processes that have the same `/proc` as we, for sockets of the namespace that `sock_diag` was
    /// made in.
    ///
    /// # Errors
    /// There is no `/proc`.
    pub fn new(sock_diag: OwnedFd) -> io::Result<Self> {
        let proc = Proc::open()?;
        Ok(Self(Some(Finder {
            diag: Mutex::new(SockDiag::new(sock_diag)),
            search: Mutex::new(Search {
                outside: proc.namespace("self"),
                recent: VecDeque::new(),
                spent: Duration::ZERO,
                window: Instant::now(),
            }),
            proc,
        })))
    }

    /// Whether it can be told at all.
    #[must_use]
    pub fn is_able(&self) -> bool {
        self.0.is_some()
    }

    /// The process whose socket is connected from `client` to `remote`, as it sees it itself; unknown where it cannot
    /// be told.
    #[must_use]
    pub fn find(&self, client: SocketAddr, remote: SocketAddr) -> Process {
        let found = self
            .0
            .as_ref()
            .and_then(|finder| finder.find(client, remote));
        found.unwrap_or(Process::UNKNOWN)
    }
}

#[derive(Debug)]
struct Finder {
    diag: Mutex<SockDiag>,
    search: Mutex<Search>,
    proc: Proc,
}

/// What earlier searches left.
#[derive(Debug)]
struct Search {
    /// Our own network namespace: whoever is in it is not in the agent's.
    outside: Option<Link>,
    /// The processes found last, and the descriptor that the socket was.
    recent: VecDeque<(u32, u32)>,
    spent: Duration,
    window: Instant,
}

impl Finder {
    fn find(&self, client: SocketAddr, remote: SocketAddr) -> Option<Process> {
        let inode = {
            let diag = self.diag.lock().unwrap_or_else(PoisonError::into_inner);
            diag.inode(client, remote)?
        };
        let pid = {
            let mut search = self.search.lock().unwrap_or_else(PoisonError::into_inner);
            search.holder(&self.proc, &socket_link(inode))?
        };
        Some(Process {
            pid: Some(pid),
            exe: self.proc.executable(pid),
        })
    }
}

impl Search {
    /// A process that holds the socket open. If several do, it is the one tried first.
    fn holder(&mut self, proc: &Proc, socket: &Link) -> Option<u32> {
        let mut same = self.recent.iter().copied();
        if let Some((pid, _)) = same.find(|(pid, fd)| proc.holds(*pid, *fd, socket)) {
            return Some(pid);
        }
        let (pid, fd) = self
            .among_young(proc, socket)
            .or_else(|| self.among_recent(proc, socket))
            .or_else(|| self.among_all(proc, socket))?;
        let pid = proc.leader(pid)?;
        self.recent.retain(|(known, _)| *known != pid);
        self.recent.push_front((pid, fd));
        self.recent.truncate(RECENT);
        Some(pid)
    }

    fn among_young(&self, proc: &Proc, socket: &Link) -> Option<(u32, u32)> {
        let last = proc.last_pid()?;
        let young = last.saturating_sub(YOUNG)..=last;
        young.rev().find_map(|pid| self.within(proc, pid, socket))
    }

    fn among_recent(&self, proc: &Proc, socket: &Link) -> Option<(u32, u32)> {
        self.recent
            .iter()
            .find_map(|(pid, _)| self.within(proc, *pid, socket))
    }

    /// All processes, the youngest first, as far as time allows.
    fn among_all(&mut self, proc: &Proc, socket: &Link) -> Option<(u32, u32)> {
        let start = Instant::now();
        if start.duration_since(self.window) >= WINDOW {
            (self.window, self.spent) = (start, Duration::ZERO);
        }
        let most = SEARCH.min(SEARCHES.saturating_sub(self.spent));
        let mut found = None;
        for pid in proc.pids().into_iter().rev() {
            if start.elapsed() >= most {
                break;
            }
            found = self.within(proc, pid, socket);
            if found.is_some() {
                break;
            }
        }
        self.spent += start.elapsed();
        found
    }

    /// The descriptor of `pid` that is the socket, if the process is not one of our own namespace.
    fn within(&self, proc: &Proc, pid: u32, socket: &Link) -> Option<(u32, u32)> {
        let mut name = Link::default();
        write!(name, "{pid}").ok()?;
        let namespace = proc.namespace(name.as_str()?)?;
        if Some(&namespace) == self.outside.as_ref() {
            return None;
        }
        let fd = proc
            .descriptors(pid)
            .rev() // the newest is among the highest
            .find(|fd| proc.holds(pid, *fd, socket))?;
        Some((pid, fd))
    }
}

/// `/proc`, as we see it.
#[derive(Debug)]
struct Proc(OwnedFd);

impl Proc {
    fn open() -> io::Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::PATH;
        Ok(Self(rustix::fs::openat(
            CWD,
            c"/proc",
            flags,
            Mode::empty(),
        )?))
    }

    /// Which network namespace a process is in; `None` if it is gone, or not ours to look into.
    fn namespace(&self, process: &str) -> Option<Link> {
        let mut path = Link::default();
        write!(path, "{process}/ns/net").ok()?;
        self.link(&path)
    }

    /// Whether descriptor `fd` of `pid` is that socket.
    fn holds(&self, pid: u32, fd: u32, socket: &Link) -> bool {
        let mut path = Link::default();
        write!(path, "{pid}/fd/{fd}").is_ok() && self.link(&path).as_ref() == Some(socket)
    }

    fn link(&self, path: &Link) -> Option<Link> {
        let mut link = Link::default();
        let length =
            rustix::fs::readlinkat_raw(&self.0, path.as_str()?, &mut link.bytes[..]).ok()?;
        // What fills the whole buffer may have been cut, and is no link that is looked for.
        link.length = length;
        (length < link.bytes.len()).then_some(link)
    }

    fn descriptors(&self, pid: u32) -> impl DoubleEndedIterator<Item = u32> {
        let mut path = Link::default();
        let listed = write!(path, "{pid}/fd")
            .ok()
            .and_then(|()| self.numbers(path.as_str()?));
        listed.unwrap_or_default().into_iter()
    }

    fn pids(&self) -> Vec<u32> {
        self.numbers(".").unwrap_or_default()
    }

    /// The names in a directory that are numbers, in the directory's order: rising.
    fn numbers(&self, path: &str) -> Option<Vec<u32>> {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY;
        let directory = rustix::fs::openat(&self.0, path, flags, Mode::empty()).ok()?;
        let mut buffer = [MaybeUninit::uninit(); 8192];
        let mut entries = RawDir::new(directory, &mut buffer);
        let mut numbers = Vec::new();
        while let Some(Ok(entry)) = entries.next() {
            numbers.extend(number(entry.file_name()));
        }
        Some(numbers)
    }

    /// The number that the last process or thread was given: the last word of `loadavg`.
    fn last_pid(&self) -> Option<u32> {
        let mut buffer = [0; 64];
        let text = self.text("loadavg", &mut buffer)?;
        text.split_whitespace().next_back()?.parse().ok()
    }

    /// The process that a thread belongs to: a young number may be a thread's.
    fn leader(&self, thread: u32) -> Option<u32> {
        let mut path = Link::default();
        write!(path, "{thread}/status").ok()?;
        let mut buffer = [0; 256];
        let text = self.text(path.as_str()?, &mut buffer)?;
        let (_, rest) = text.split_once("\nTgid:")?;
        rest.split_whitespace().next()?.parse().ok()
    }

    /// The start of a file; a process may have any bytes for a name.
    fn text<'a>(&self, path: &str, buffer: &'a mut [u8]) -> Option<Cow<'a, str>> {
        let flags = OFlags::CLOEXEC | OFlags::RDONLY;
        let file = rustix::fs::openat(&self.0, path, flags, Mode::empty()).ok()?;
        let length = rustix::io::read(file, &mut *buffer).ok()?;
        buffer.get(..length).map(String::from_utf8_lossy)
    }

    fn executable(&self, pid: u32) -> Option<Text> {
        let mut path = Link::default();
        write!(path, "{pid}/exe").ok()?;
        let mut bytes = [0; PATH_BYTES];
        let length = rustix::fs::readlinkat_raw(&self.0, path.as_str()?, &mut bytes[..]).ok()?;
        bytes.get(..length).map(Text::from_bytes)
    }
}

fn number(name: &CStr) -> Option<u32> {
    name.to_str().ok()?.parse().ok()
}

/// What `/proc` shows for a descriptor that is the socket with that inode.
fn socket_link(inode: u32) -> Link {
    let mut link = Link::default();
    // Eight letters, brackets and ten digits always fit.
    write!(link, "socket:[{inode}]").ok();
    link
}

/// A short text of `/proc` without an allocation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Link {
    bytes: [u8; 32],
    length: usize,
}

impl Link {
    fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(self.bytes.get(..self.length)?).ok()
    }
}

impl std::fmt::Write for Link {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let room = self.bytes.get_mut(self.length..).unwrap_or_default();
        let place = room.get_mut(..text.len()).ok_or(std::fmt::Error)?;
        place.copy_from_slice(text.as_bytes());
        self.length += text.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    use rustix::net::{AddressFamily, SocketFlags, SocketType, netlink::SOCK_DIAG, socket_with};

    /// As in a sandbox, but for the namespace: the test's own process is not left out.
    fn processes() -> Processes {
        let flags = SocketFlags::CLOEXEC;
        let diag = socket_with(
            AddressFamily::NETLINK,
            SocketType::DGRAM,
            flags,
            Some(SOCK_DIAG),
        )
        .unwrap();
        let processes = Processes::new(diag).unwrap();
        search(&processes).outside = None;
        processes
    }

    fn search(processes: &Processes) -> std::sync::MutexGuard<'_, Search> {
        processes.0.as_ref().unwrap().search.lock().unwrap()
    }

    #[expect(clippy::disallowed_methods, reason = "the test is the client")]
    fn connect(listener: &TcpListener) -> TcpStream {
        TcpStream::connect(listener.local_addr().unwrap()).unwrap()
    }

    fn found(processes: &Processes, client: &TcpStream) -> Process {
        processes.find(client.local_addr().unwrap(), client.peer_addr().unwrap())
    }

    fn ourselves() -> Process {
        let exe = std::env::current_exe().unwrap();
        Process {
            pid: Some(std::process::id()),
            exe: Some(Text::new(exe.to_str().unwrap())),
        }
    }

    #[test]
    fn a10_the_process_that_connected_is_found_with_its_executable() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = connect(&listener);
        assert_eq!(found(&processes(), &client), ourselves());
    }

    #[test]
    fn the_process_found_last_is_found_again_by_its_next_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let processes = processes();
        let (first, second) = (connect(&listener), connect(&listener));
        assert_eq!(found(&processes, &first), ourselves());
        assert_eq!(found(&processes, &second), ourselves());
        assert_eq!(search(&processes).recent.len(), 1);
        drop(first);
        assert_eq!(found(&processes, &second), ourselves());
    }

    #[test]
    fn another_process_that_connects_is_found_as_itself() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        #[expect(
            clippy::disallowed_methods,
            reason = "the test needs a client that is another process"
        )]
        let mut child = std::process::Command::new("bash")
            .args([
                "-c",
                &format!("exec 3<>/dev/tcp/127.0.0.1/{port}; read -r line <&3"),
            ])
            .spawn()
            .unwrap();
        let (server, peer) = listener.accept().unwrap();
        let process = processes().find(peer, server.local_addr().unwrap());
        drop(server);
        child.wait().unwrap();
        assert_eq!(process.pid, Some(child.id()));
        assert!(process.exe.unwrap().as_str().ends_with("/bash"));
    }

    #[test]
    fn a_holder_in_our_own_namespace_is_never_named() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = connect(&listener);
        let processes = processes();
        search(&processes).outside = Proc::open().unwrap().namespace("self");
        assert_eq!(found(&processes, &client), Process::UNKNOWN);
    }

    #[test]
    fn a_connection_that_is_gone_and_a_proxy_without_the_socket_know_nobody() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = connect(&listener);
        let (local, remote) = (client.local_addr().unwrap(), client.peer_addr().unwrap());
        assert_eq!(Processes::default().find(local, remote), Process::UNKNOWN);
        drop(client);
        assert_eq!(processes().find(local, remote), Process::UNKNOWN);
    }

    #[test]
    fn searches_of_all_processes_stop_when_their_time_is_spent() {
        let mut search = Search {
            outside: None,
            recent: VecDeque::new(),
            spent: SEARCHES,
            window: Instant::now(),
        };
        let socket = socket_link(u32::MAX);
        assert_eq!(search.among_all(&Proc::open().unwrap(), &socket), None);
        assert!(search.spent < SEARCHES + SEARCH);
    }

    #[test]
    fn a_text_that_is_longer_than_any_of_proc_is_refused() {
        let mut link = Link::default();
        assert!(write!(link, "{}", "x".repeat(32)).is_ok());
        assert!(write!(link, "y").is_err());
        assert_eq!(socket_link(u32::MAX).as_str(), Some("socket:[4294967295]"));
    }
}
