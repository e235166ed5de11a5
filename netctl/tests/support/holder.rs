//! A running `ocs-netctl hold`, and the proxy's end of its connection.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType,
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
        Self::start_with(PROGRAM, &[&["hold"], arguments].concat(), spec)
    }

    /// The same, by way of another program.
    pub(crate) fn start_with(program: &str, arguments: &[&str], spec: &str) -> Self {
        let holder = Self::start_silently(program, arguments);
        holder.tell(spec);
        holder
    }

    /// The same, and says nothing to it.
    pub(crate) fn start_silently(program: &str, arguments: &[&str]) -> Self {
        let (ours, theirs) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .unwrap();
        Self::spawn(program, arguments, Stdio::from(theirs), Some(ours))
    }

    /// The spec comes from a pipe, and the connection is made at a path.
    pub(crate) fn start_piped(arguments: &[&str], spec: &str) -> Self {
        let mut holder = Self::spawn(PROGRAM, arguments, Stdio::piped(), None);
        holder
            .child
            .stdin
            .take()
            .unwrap()
            .write_all(spec.as_bytes())
            .unwrap();
        holder
    }

    /// The spec comes as the first line of a pipe, which is given too: its end is the starter's.
    pub(crate) fn start_attached(arguments: &[&str], spec: &str) -> (Self, ChildStdin) {
        let mut holder = Self::spawn(PROGRAM, arguments, Stdio::piped(), None);
        let mut stdin = holder.child.stdin.take().unwrap();
        writeln!(stdin, "{}", spec.replace('\n', "")).unwrap();
        (holder, stdin)
    }

    fn spawn(program: &str, arguments: &[&str], stdin: Stdio, connection: Option<OwnedFd>) -> Self {
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(stdin)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self {
            child,
            connection,
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

    /// Sends a message.
    pub(crate) fn tell(&self, message: &str) {
        let connection = self.connection.as_ref().unwrap();
        rustix::net::send(connection, message.as_bytes(), SendFlags::NOSIGNAL).unwrap();
    }

    /// Sends a message and gives the answer.
    pub(crate) fn ask(&self, message: &str) -> (Value, Vec<OwnedFd>) {
        self.tell(message);
        self.receive()
    }

    /// Closes the connection and waits for its end.
    pub(crate) fn close(mut self) -> ExitStatus {
        drop(self.connection.take());
        self.child.wait().unwrap()
    }
}

/// A connection to the holder at `path`.
pub(crate) fn connect(path: &str) -> OwnedFd {
    let socket = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
    .unwrap();
    rustix::net::connect(&socket, &SocketAddrUnix::new(path).unwrap()).unwrap();
    socket
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

/// The connection of an answer that has one.
pub(crate) fn dialled((message, mut descriptors): (Value, Vec<OwnedFd>), id: u64) -> TcpStream {
    assert_eq!(
        message,
        serde_json::json!({ "v": 1, "kind": "dialled", "id": id })
    );
    assert_eq!(descriptors.len(), 1);
    TcpStream::from(descriptors.remove(0))
}

/// The reason of an answer that has no connection.
pub(crate) fn refusal((message, descriptors): (Value, Vec<OwnedFd>), id: u64) -> String {
    assert_eq!(
        (&message["kind"], &message["id"]),
        (&"refused".into(), &id.into()),
        "{message}"
    );
    assert_eq!(descriptors.len(), 0);
    message["error"].as_str().unwrap().to_owned()
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
