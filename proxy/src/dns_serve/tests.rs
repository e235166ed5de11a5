//! The stub on real sockets of loopback.

use std::net::SocketAddr;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RecordType;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::*;
use crate::dns_stub::tests::{question, stub};

struct Served {
    udp: SocketAddr,
    tcp: SocketAddr,
    _ends: [oneshot::Sender<()>; 2],
    tasks: [JoinHandle<()>; 2],
}

async fn serve() -> Served {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    // As the holder makes it.
    socket2::SockRef::from(&socket)
        .set_recv_buffer_size(8 << 20)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (stub, addresses) = (
        stub(),
        (socket.local_addr().unwrap(), listener.local_addr().unwrap()),
    );
    let ((end1, ended1), (end2, ended2)) = (oneshot::channel(), oneshot::channel());
    let tasks = [
        tokio::spawn(udp(socket, Arc::clone(&stub), async { drop(ended1.await) })),
        tokio::spawn(tcp(listener, stub, async { drop(ended2.await) })),
    ];
    Served {
        udp: addresses.0,
        tcp: addresses.1,
        _ends: [end1, end2],
        tasks,
    }
}

#[expect(clippy::disallowed_methods, reason = "the test is the client")]
async fn connect(to: SocketAddr) -> TcpStream {
    TcpStream::connect(to).await.unwrap()
}

fn framed(message: &[u8]) -> Vec<u8> {
    let length = u16::try_from(message.len()).unwrap();
    [&length.to_be_bytes(), message].concat()
}

async fn ask_udp(server: SocketAddr, question: &[u8]) -> Message {
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    client.send_to(question, server).await.unwrap();
    let mut answer = [0; 512];
    let (length, from) = client.recv_from(&mut answer).await.unwrap();
    assert_eq!(from, server);
    Message::from_vec(&answer[..length]).unwrap()
}

async fn read_tcp(stream: &mut TcpStream) -> Message {
    let length = stream.read_u16().await.unwrap();
    let mut answer = vec![0; usize::from(length)];
    stream.read_exact(&mut answer).await.unwrap();
    Message::from_vec(&answer).unwrap()
}

#[tokio::test]
async fn a_datagram_is_answered_to_its_asker() {
    let served = serve().await;
    let allowed = ask_udp(served.udp, &question("ok.test.", RecordType::A)).await;
    let refused = ask_udp(served.udp, &question("evil.test.", RecordType::A)).await;
    assert_eq!(
        (allowed.answers.len(), refused.metadata.response_code),
        (1, ResponseCode::Refused)
    );
}

#[tokio::test]
async fn after_a_flood_of_malformed_datagrams_the_next_question_is_answered() {
    let served = serve().await;
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for length in 0..2000_usize {
        client
            .send_to(&vec![0x3f; length % 600], served.udp)
            .await
            .unwrap();
    }
    let answer = ask_udp(served.udp, &question("ok.test.", RecordType::A)).await;
    assert_eq!(answer.answers.len(), 1);
}

/// Sends questions as fast as it can from `sockets` sockets, until it is dropped.
struct Flood {
    over: Arc<std::sync::atomic::AtomicBool>,
    thread: Option<std::thread::JoinHandle<u64>>,
}

impl Flood {
    fn start(server: SocketAddr, sockets: usize) -> Self {
        let over = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let ended = Arc::clone(&over);
        let flood = question("secret.evil.test.", RecordType::A);
        let thread = std::thread::spawn(move || {
            let open = || std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            let sockets: Vec<_> = (0..sockets).map(|_| open()).collect();
            let mut sent = 0;
            while !ended.load(std::sync::atomic::Ordering::Relaxed) {
                for socket in &sockets {
                    sent += u64::from(socket.send_to(&flood, server).is_ok());
                }
            }
            sent
        });
        Self {
            over,
            thread: Some(thread),
        }
    }

    /// How much was sent.
    fn end(mut self) -> u64 {
        self.over.store(true, std::sync::atomic::Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap()
    }
}

/// How many of `questions` are answered to a resolver that asks twice and waits for 5 s each time, resolv.conf(5).
async fn answered(server: SocketAddr, questions: usize) -> usize {
    let mut answered = 0;
    for number in 0..questions {
        let name = format!("n{number}.w.test.");
        for _ in 0..2 {
            let asked = question(&name, RecordType::A);
            let asking = ask_udp(server, &asked);
            if tokio::time::timeout(Duration::from_secs(5), asking)
                .await
                .is_ok()
            {
                answered += 1;
                break;
            }
        }
    }
    answered
}

/// The stub on a thread of its own, as it runs.
fn serve_apart() -> SocketAddr {
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(async {
            let served = serve().await;
            tell.send(served.udp).unwrap();
            std::future::pending::<()>().await;
        });
    });
    told.recv().unwrap()
}

#[tokio::test]
async fn d13_a_flood_from_one_port_or_from_many_costs_the_other_askers_no_answer() {
    for sockets in [1, 400] {
        let server = serve_apart();
        let flood = Flood::start(server, sockets);
        let answered = answered(server, 100).await;
        let sent = flood.end();
        assert_eq!(answered, 100, "{sockets} sockets sent {sent}");
    }
}

#[tokio::test]
async fn more_connections_at_once_than_are_served_are_all_answered() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = framed(&question("ok.test.", RecordType::A));
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS + 50 {
        let mut client = connect(address).await;
        client.write_all(&asked).await.unwrap();
        clients.push(client);
    }
    let serving = tokio::spawn(tcp(listener, stub(), std::future::pending()));
    for client in &mut clients {
        assert_eq!(read_tcp(client).await.answers.len(), 1);
    }
    serving.abort();
}

#[tokio::test]
async fn several_questions_on_one_connection_are_answered_even_when_sent_at_once() {
    let served = serve().await;
    let mut stream = connect(served.tcp).await;
    let questions = [
        framed(&question("ok.test.", RecordType::A)),
        framed(&question("evil.test.", RecordType::A)),
    ];
    stream.write_all(&questions.concat()).await.unwrap();
    let (first, second) = (read_tcp(&mut stream).await, read_tcp(&mut stream).await);
    assert_eq!(
        (first.answers.len(), second.metadata.response_code),
        (1, ResponseCode::Refused)
    );
}

#[tokio::test]
async fn d13_connections_that_stall_keep_nobody_out() {
    let served = serve().await;
    let mut stalled = Vec::new();
    for _ in 0..CONNECTIONS + 10 {
        let mut stream = connect(served.tcp).await;
        stream.write_all(&[0]).await.unwrap();
        stalled.push(stream);
    }
    let mut stream = connect(served.tcp).await;
    stream
        .write_all(&framed(&question("ok.test.", RecordType::A)))
        .await
        .unwrap();
    assert_eq!(read_tcp(&mut stream).await.answers.len(), 1);
    let udp = ask_udp(served.udp, &question("ok.test.", RecordType::A)).await;
    assert_eq!(udp.answers.len(), 1);
    // The oldest one had to go, the youngest did not.
    assert_eq!(stalled[0].read(&mut [0]).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn a_connection_that_brings_no_question_is_closed() {
    let served = serve().await;
    let mut stream = connect(served.tcp).await;
    stream
        .write_all(&framed(b"GET / HTTP/1.1\r\n\xff"))
        .await
        .unwrap();
    // "GE" is an id, "T " flags of opcode 10: an error comes back, and the connection may go on.
    let answer = read_tcp(&mut stream).await;
    assert_eq!(answer.metadata.response_code, ResponseCode::NotImp);
    stream.write_all(&framed(b"short")).await.unwrap();
    assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_says_nothing_is_closed_after_its_time() {
    let served = serve().await;
    let mut stream = connect(served.tcp).await;
    let start = Instant::now();
    assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
    assert_eq!(start.elapsed(), MESSAGE_TIMEOUT);
}

#[tokio::test]
async fn shutdown_ends_both_and_closes_what_is_open() {
    let served = serve().await;
    let mut stream = connect(served.tcp).await;
    stream
        .write_all(&framed(&question("ok.test.", RecordType::A)))
        .await
        .unwrap();
    read_tcp(&mut stream).await;
    let Served {
        _ends: ends, tasks, ..
    } = served;
    drop(ends);
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(stream.read(&mut [0]).await.unwrap_or(0), 0);
}
