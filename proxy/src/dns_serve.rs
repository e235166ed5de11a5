//! Serves the DNS stub over UDP and TCP, on sockets inside the agent's namespace.
//!
//! One datagram is answered before the next is read: an answer costs microseconds and waits for nobody, and what a
//! flood loses is its own. Of TCP connections the oldest goes when there are too many, so that those who stall cannot
//! keep others out.
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

use crate::dns_stub::Stub;

/// The longest question that is read over UDP; one with a full name and every EDNS option of common clients is under 600
/// bytes, a longer one is cut and malformed.
const UDP_BYTES: usize = 4096;
/// From a TCP connection's start, or a message's end, to the end of the next message, and of writing its answer.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(5); // resolv.conf(5): what a client itself waits by default
/// TCP connections served at once; the next one takes the place of the oldest.
const CONNECTIONS: usize = 64;
/// Questions on one TCP connection.
const QUESTIONS: usize = 1000;
/// After an error of accept(2) or recvfrom(2): descriptors or memory may come back.
const PAUSE: Duration = Duration::from_millis(50);

/// Answers datagrams until `shutdown`.
pub async fn udp(socket: UdpSocket, stub: Arc<Stub>, shutdown: impl Future<Output = ()>) {
    let serve = async {
        let mut buffer = vec![0; UDP_BYTES];
        loop {
            let Ok((length, from)) = socket.recv_from(&mut buffer).await else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            let message = buffer.get(..length).unwrap_or_default();
            if let Some(answer) = stub.answer(message, Instant::now()) {
                // An asker whose queue is full, or who is gone, asks again.
                drop(socket.try_send_to(&answer, from));
            }
        }
    };
    tokio::select! {
        () = serve => {}
        () = shutdown => {}
    }
}

/// Serves TCP connections until `shutdown`.
pub async fn tcp(listener: TcpListener, stub: Arc<Stub>, shutdown: impl Future<Output = ()>) {
    let mut connections = Connections::default();
    let serve = async {
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => connections.admit(stream, &stub),
                    Err(_) => tokio::time::sleep(PAUSE).await,
                },
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
