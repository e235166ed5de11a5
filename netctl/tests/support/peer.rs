//! Somebody outside: another network namespace at the other end of a veth pair, with services on it.

use std::collections::BTreeMap;
use std::net::{TcpListener, UdpSocket};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;

use super::{in_another_namespace, ip};

type Task = Box<dyn FnOnce() + Send>;

/// The peer: 192.0.2.2 and `2001:db8::2`.
pub(crate) struct Peer {
    tasks: Option<Sender<Task>>,
    thread: Option<JoinHandle<()>>,
    tcp: BTreeMap<u16, TcpListener>,
    _udp: UdpSocket,
}

/// Makes the calling thread's namespace 192.0.2.1 and `2001:db8::1`, with a peer.
pub(crate) fn world() -> Peer {
    let (tell, id) = mpsc::channel();
    let (tasks, queue): (Sender<Task>, Receiver<Task>) = mpsc::channel();
    let thread = in_another_namespace(move || {
        tell.send(rustix::thread::gettid().as_raw_nonzero())
            .unwrap();
        queue.into_iter().for_each(|task| task());
    });
    let mut peer = Peer {
        tasks: Some(tasks),
        thread: Some(thread),
        tcp: BTreeMap::new(),
        _udp: UdpSocket::bind("127.0.0.1:0")
            .unwrap_or_else(|_| UdpSocket::bind("0.0.0.0:0").unwrap()),
    };
    ip(&format!(
        "link add here type veth peer name there netns {}",
        id.recv().unwrap()
    ));
    ip("link set lo up");
    addresses("here", 1);
    (peer.tcp, peer._udp) = peer.within(|| {
        addresses("there", 2);
        let listeners = [80, 5432].map(|port| (port, TcpListener::bind(("::", port)).unwrap()));
        (
            BTreeMap::from(listeners),
            UdpSocket::bind("[::]:53").unwrap(),
        )
    });
    peer
}

fn addresses(device: &str, number: u8) {
    ip(&format!("addr add 192.0.2.{number}/24 dev {device}"));
    ip(&format!(
        "addr add 2001:db8::{number}/64 dev {device} nodad"
    ));
    ip(&format!("link set {device} up"));
}

impl Peer {
    /// Runs `body` in the peer's namespace.
    pub(crate) fn within<T: Send + 'static>(&self, body: impl FnOnce() -> T + Send + 'static) -> T {
        let (tell, result) = mpsc::channel();
        let task = Box::new(move || tell.send(body()).unwrap());
        self.tasks.as_ref().unwrap().send(task).unwrap();
        result.recv().unwrap()
    }

    /// One of its listeners.
    pub(crate) fn tcp(&self, port: u16) -> TcpListener {
        self.tcp[&port].try_clone().unwrap()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.tasks.take());
        drop(self.thread.take().map(JoinHandle::join)); // it says why it failed on stderr
    }
}
