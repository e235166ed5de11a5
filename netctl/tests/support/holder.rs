//! A running `ocs-netctl hold`, and the proxy's end of its connection.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, SocketFlags,
    SocketType,
};
use serde_json::Value;

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_ocs-netctl");

/// `ocs-netctl hold` with a connection as its stdin.
pub(crate) struct Holder {
    pub(crate) child: Child,
    /// The proxy's end; taken to close it.
    pub(crate) connection: Option<OwnedFd>,
    stdout: BufReader<ChildStdout>,
}

impl Holder {
    /// Starts it in the namespace of the calling thread, whose end is its end too.
    pub(crate) fn start(arguments: &[&str], spec: &str) -> Self {
        let (ours, theirs) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .unwrap();
        let mut child = Command::new(PROGRAM)
            .arg("hold")
            .args(arguments)
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        rustix::net::send(&ours, spec.as_bytes(), SendFlags::empty()).unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self {
            child,
            connection: Some(ours),
            stdout,
        }
    }

    /// The next line on its stdout.
    pub(crate) fn line(&mut self) -> Value {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"))
    }

    /// The line that says that the fence stands.
    pub(crate) fn ready(&mut self) -> Value {
        let line = self.line();
        assert_eq!(line["kind"], "ready", "{line}");
        line
    }

    /// The next message, with its descriptors.
    pub(crate) fn receive(&self) -> (Value, Vec<OwnedFd>) {
        receive(self.connection.as_ref().unwrap())
    }

    /// The sockets by name.
    pub(crate) fn sockets(&self) -> Sockets {
        sockets(self.receive())
    }

    /// Sends a message and gives the answer.
    pub(crate) fn ask(&self, message: &str) -> (Value, Vec<OwnedFd>) {
        rustix::net::send(
            self.connection.as_ref().unwrap(),
            message.as_bytes(),
            SendFlags::empty(),
        )
        .unwrap();
        self.receive()
    }

    /// Closes the connection and waits for its end.
    pub(crate) fn close(mut self) -> ExitStatus {
        drop(self.connection.take());
        self.child.wait().unwrap()
    }
}

/// The next message of a connection, with its descriptors.
pub(crate) fn receive(connection: &OwnedFd) -> (Value, Vec<OwnedFd>) {
    let mut bytes = [0; 4096];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(16))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut buffers = [IoSliceMut::new(&mut bytes)];
    let read = rustix::net::recvmsg(
        connection,
        &mut buffers,
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )
    .unwrap()
    .bytes;
    let descriptors = control
        .drain()
        .filter_map(|message| {
            if let RecvAncillaryMessage::ScmRights(fds) = message {
                Some(fds)
            } else {
                None
            }
        })
        .flatten()
        .collect();
    (serde_json::from_slice(&bytes[..read]).unwrap(), descriptors)
}

/// The sockets of the first message, by name.
pub(crate) fn sockets((message, descriptors): (Value, Vec<OwnedFd>)) -> Sockets {
    assert_eq!(
        (&message["v"], &message["kind"]),
        (&1.into(), &"sockets".into())
    );
    let names = message["names"].as_array().unwrap();
    assert_eq!(names.len(), descriptors.len());
    let named = names.iter().map(|name| name.as_str().unwrap().to_owned());
    Sockets(named.zip(descriptors).collect())
}

/// What the holder handed over.
pub(crate) struct Sockets(pub(crate) BTreeMap<String, OwnedFd>);

impl Sockets {
    pub(crate) fn names(&self) -> Vec<&str> {
        self.0.keys().map(String::as_str).collect()
    }

    pub(crate) fn take(&mut self, name: &str) -> OwnedFd {
        self.0
            .remove(name)
            .unwrap_or_else(|| panic!("no socket {name}"))
    }

    /// A listener that waits, unlike the proxy's.
    pub(crate) fn listener(&mut self, name: &str) -> TcpListener {
        let listener = TcpListener::from(self.take(name));
        listener.set_nonblocking(false).unwrap();
        listener
    }

    /// A datagram socket that waits, unlike the proxy's.
    pub(crate) fn datagrams(&mut self, name: &str) -> UdpSocket {
        let socket = UdpSocket::from(self.take(name));
        socket.set_nonblocking(false).unwrap();
        socket
    }
}
