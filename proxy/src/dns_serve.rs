//! Serves the DNS stub over UDP and TCP, on sockets inside the agent's namespace.
//!
//! The kernel's queue of datagrams is emptied before any of them is answered, and the askers take turns
//! (`dns_askers`), so that what a flood loses is its own. Of TCP connections the oldest goes when there are too many, so
//! that those who stall cannot keep others out; each is read once before the next is accepted.
//!
//! All of it runs on a thread of its own: what a flood of questions costs is not taken from those who are relayed.
//!
//! Not here: what the answer is (`dns_stub`).
//!
//! Clauses: W1, W8.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

use crate::dns_askers::Askers;
use crate::dns_stub::Stub;
use crate::listener::accept;

/// The longest question that is read over UDP: as much as we announce to read (`dns_stub`). A longer one is cut and malformed.
const UDP_BYTES: usize = 1232;
/// Datagrams taken from the kernel before some are answered: more than its default queue holds
/// (`net.core.rmem_default` / the 768 bytes that it counts for a small one, Linux 6.18: 277). Whoever made the socket
/// asked for a longer queue.
const READS: usize = 512;
/// Datagrams answered before the kernel's queue is emptied again: each costs about five reads.
const ANSWERS: usize = 16;
/// From a TCP connection's start, or a message's end, to the end of the next message, and of writing its answer.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(5); // resolv.conf(5): what a client itself waits by default
/// TCP connections served at once; the next one takes the place of the oldest.
const CONNECTIONS: usize = 64;
/// Questions on one TCP connection.
const QUESTIONS: usize = 1000;
/// After an error of recvfrom(2): memory may come back.
const PAUSE: Duration = Duration::from_millis(50);

/// Answers datagrams until `shutdown`.
pub async fn udp(socket: UdpSocket, stub: Arc<Stub>, shutdown: impl Future<Output = ()>) {
    let serve = async {
        let mut buffer = vec![0; UDP_BYTES];
        let mut askers = Askers::default();
        loop {
            if askers.is_empty() && socket.readable().await.is_err() {
                tokio::time::sleep(PAUSE).await;
            }
            if read(&socket, &mut buffer, &mut askers).is_err() {
                tokio::time::sleep(PAUSE).await;
            }
            for _ in 0..ANSWERS {
                let Some((from, message)) = askers.pop() else {
                    break;
                };
                if let Some(answer) = stub.answer(&message, Instant::now()) {
                    // An asker whose queue is full, or who is gone, asks again.
                    drop(socket.try_send_to(&answer, from));
                }
            }
            // The other socket, and those who ask over TCP, have their turn.
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = serve => {}
        () = shutdown => {}
    }
}

/// Has what the kernel's queue holds wait with its askers.
fn read(socket: &UdpSocket, buffer: &mut [u8], askers: &mut Askers) -> io::Result<()> {
    for _ in 0..READS {
        match socket.try_recv_from(buffer) {
            Ok((length, from)) => askers.push(from, buffer.get(..length).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Serves TCP connections until `shutdown`.
pub async fn tcp(listener: TcpListener, stub: Arc<Stub>, shutdown: impl Future<Output = ()>) {
    let mut connections = Connections::default();
    let serve = async {
        loop {
            tokio::select! {
                (stream, _) = accept(&listener) => {
                    connections.admit(stream, &stub);
                    // What it asked already is answered before others may take its place.
                    tokio::task::yield_now().await;
                }
                Some(_) = connections.tasks.join_next() => {}
            }
        }
    };
    tokio::select! {
        () = serve => {}
        () = shutdown => {}
    }
}

/// The open connections, oldest first.
#[derive(Default)]
struct Connections {
    tasks: JoinSet<()>,
    order: VecDeque<AbortHandle>,
}

impl Connections {
    fn admit(&mut self, stream: TcpStream, stub: &Arc<Stub>) {
        self.order.retain(|task| !task.is_finished());
        if self.order.len() >= CONNECTIONS
            && let Some(oldest) = self.order.pop_front()
        {
            oldest.abort();
        }
        let stub = Arc::clone(stub);
        let task = self.tasks.spawn(async move {
            // However it ends, it has ended.
            drop(converse(stream, &stub).await);
        });
        self.order.push_back(task);
    }
}

async fn converse(mut stream: TcpStream, stub: &Stub) -> io::Result<()> {
    for _ in 0..QUESTIONS {
        let exchange = exchange(&mut stream, stub);
        tokio::time::timeout(MESSAGE_TIMEOUT, exchange).await??;
    }
    Ok(())
}

/// One question and its answer, each with its length before it. RFC 1035 section 4.2.2.
async fn exchange(stream: &mut TcpStream, stub: &Stub) -> io::Result<()> {
    let length = stream.read_u16().await?;
    let mut message = vec![0; usize::from(length)];
    stream.read_exact(&mut message).await?;
    let answer = stub.answer(&message, Instant::now());
    let answer = answer.ok_or(io::ErrorKind::InvalidData)?;
    let length = u16::try_from(answer.len()).map_err(|_| io::ErrorKind::InvalidData)?;
    let mut framed = length.to_be_bytes().to_vec();
    framed.extend_from_slice(&answer);
    stream.write_all(&framed).await
}

#[cfg(test)]
mod tests;
