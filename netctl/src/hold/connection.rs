//! The unix connection to the proxy: whole messages of JSON, with descriptors beside them.
//!
//! Not here: what the messages ask for (`dial`).

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType, sockopt,
};

use super::leash::Leash;
use super::{HoldError, Sockets, sockets_message};
use crate::protocol::Reply;

/// Longest message: a spec with full lists is some 20 KiB.
pub(super) const MESSAGE_MAX: usize = 65_536;

/// A connected `SOCK_SEQPACKET` socket.
#[derive(Debug)]
pub(super) struct Connection(OwnedFd);

impl Connection {
    /// The descriptor, if it is a connection of the right kind.
    pub(super) fn inherited(fd: OwnedFd) -> Result<Self, HoldError> {
        let is_ours = sockopt::socket_domain(&fd) == Ok(AddressFamily::UNIX)
            && sockopt::socket_type(&fd) == Ok(SocketType::SEQPACKET);
        if is_ours {
            Ok(Self(fd))
        } else {
            Err(failed(
                "use standard input, which is no SOCK_SEQPACKET unix socket",
                Errno::NOTSOCK,
            ))
        }
    }

    /// The next message, waiting for it; nothing where the peer is gone. Descriptors that come along are not taken.
    pub(super) fn receive(&self) -> Result<Option<Vec<u8>>, HoldError> {
        let mut bytes = vec![0; MESSAGE_MAX];
        let (read, whole) = loop {
            match rustix::net::recv(&self.0, &mut bytes, RecvFlags::TRUNC) {
                Err(Errno::INTR) => {}
                Err(Errno::CONNRESET) => return Ok(None),
                Err(errno) => return Err(failed("read a message", errno)),
                Ok((read, length)) => break (read, length),
            }
        };
        if whole > read {
            return Err(failed(
                "read a message longer than any of the contract",
                Errno::MSGSIZE,
            ));
        }
        bytes.truncate(read);
        Ok((!bytes.is_empty()).then_some(bytes))
    }

    /// Hands the sockets over and closes our own.
    pub(super) fn send_sockets(&self, sockets: Sockets) -> Result<(), HoldError> {
        let descriptors: Vec<BorrowedFd<'_>> = sockets.iter().map(|(_, fd)| fd.as_fd()).collect();
        self.send(&sockets_message(&sockets), &descriptors)?;
        drop(sockets); // the proxy's, from here on
        Ok(())
    }

    pub(super) fn send(
        &self,
        reply: &Reply,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(), HoldError> {
        let bytes = serde_json::to_vec(reply).map_err(|error| HoldError::Connection {
            what: "spell a message",
            source: error.into(),
        })?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(failed("send so many descriptors", Errno::MSGSIZE));
        }
        loop {
            match rustix::net::sendmsg(
                &self.0,
                &[io::IoSlice::new(&bytes)],
                &mut control,
                SendFlags::NOSIGNAL,
            ) {
                Err(Errno::INTR) => {}
                Err(errno) => return Err(failed("send a message", errno)),
                Ok(_) => return Ok(()),
            }
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// More than the contract has names.
const DESCRIPTORS_MAX: usize = 16;

fn failed(what: &'static str, errno: Errno) -> HoldError {
    HoldError::Connection {
        what,
        source: errno.into(),
    }
}

/// A socket that waits for the proxy at a path, which goes when it does.
#[derive(Debug)]
pub(super) struct Listener {
    socket: OwnedFd,
    path: PathBuf,
    /// Who may connect, where that is not the owner alone.
    peer: Option<u32>,
}

/// Waits at `path`, where nothing may be yet. Only the same user may connect (mode 0600), or `peer`: then the path is open to
/// all, and the kernel is asked who came.
pub(super) fn listen(path: &Path, peer: Option<u32>) -> Result<Listener, HoldError> {
    let mask = if peer.is_some() { 0o111 } else { 0o177 };
    let listen = || -> rustix::io::Result<OwnedFd> {
        let address = SocketAddrUnix::new(path)?;
        let socket = rustix::net::socket_with(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        let before = rustix::process::umask(Mode::from_raw_mode(mask));
        let bound = rustix::net::bind(&socket, &address);
        rustix::process::umask(before);
        bound?;
        rustix::net::listen(&socket, 1)?;
        Ok(socket)
    };
    let socket =
        listen().map_err(|errno| failed("listen for the proxy at the path of --socket", errno))?;
    Ok(Listener {
        socket,
        path: path.to_owned(),
        peer,
    })
}

impl Listener {
    /// The first who comes, and may; the path goes then, and nobody else can. Nothing, if the starter goes before.
    pub(super) fn accept(self, leash: Option<&Leash>) -> Result<Option<Connection>, HoldError> {
        loop {
            let mut waiting = vec![PollFd::new(&self.socket, PollFlags::IN)];
            waiting.extend(leash.map(|leash| PollFd::new(leash, PollFlags::IN)));
            match poll(&mut waiting, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(failed("wait for the proxy", errno)),
            }
            let mut ready = waiting.iter().map(|waiting| !waiting.revents().is_empty());
            let (came, ended) = (ready.next(), ready.next());
            if ended == Some(true) && leash.is_some_and(Leash::let_go) {
                return Ok(None);
            }
            if came != Some(true) {
                continue;
            }
            match rustix::net::accept_with(&self.socket, SocketFlags::CLOEXEC) {
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(errno) => return Err(failed("accept the proxy's connection", errno)),
                Ok(fd) if self.may(&fd) => return Ok(Some(Connection(fd))),
                Ok(stranger) => drop(stranger),
            }
        }
    }

    fn may(&self, came: &OwnedFd) -> bool {
        // By nix: a peer in another container has no pid here, and the kernel's 0 is none that rustix can hold.
        let is = |uid| getsockopt(came, PeerCredentials).is_ok_and(|peer| peer.uid() == uid);
        self.peer.is_none_or(is)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.path)); // whoever took it away did what we would have done
    }
}
