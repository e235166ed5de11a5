//! A DNS server of the tests' own, on loopback, over UDP and TCP. It writes down every question that it gets.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, SOA};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;

/// What a question is answered with.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// These records, as (owner, TTL, what).
    Records(Vec<(String, u32, Data)>),
    /// A response code, and a SOA with this minimum where there is one.
    Code(ResponseCode, Option<u32>),
    /// Over UDP a truncated answer, over TCP this one.
    OverTcp(Box<Self>),
    /// This, but first a message with another id and one from another port.
    AfterForgeries(Box<Self>),
    /// This, after so long.
    Late(Duration, Box<Self>),
    /// Nothing.
    Silence,
}

/// The data of a record.
#[derive(Debug, Clone)]
pub(crate) enum Data {
    Address(IpAddr),
    Alias(String),
}

/// One question as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) name: String,
    pub(crate) kind: RecordType,
    pub(crate) tcp: bool,
}

/// A server; it ends when it is dropped.
#[derive(Debug)]
pub(crate) struct FakeDns {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    _tasks: JoinSet<()>,
}

type Script = Arc<dyn Fn(&str, RecordType) -> Reply + Send + Sync>;

impl FakeDns {
    /// Starts a server that answers by `script`.
    pub(crate) async fn start(
        script: impl Fn(&str, RecordType) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
                break (udp, tcp);
            }
        };
        let script: Script = Arc::new(script);
        let asked = Arc::<Mutex<Vec<Asked>>>::default();
        let address = udp.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(serve_udp(
            Arc::new(udp),
            Arc::clone(&script),
            Arc::clone(&asked),
        ));
        tasks.spawn(serve_tcp(tcp, script, Arc::clone(&asked)));
        Self {
            address,
            asked,
            _tasks: tasks,
        }
    }

    /// Every question so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

/// The given addresses, each in its family; no record in the other.
pub(crate) fn addresses(name: &str, kind: RecordType, ttl: u32, all: &[&str]) -> Reply {
    let of_kind = all
        .iter()
        .map(|text| text.parse::<IpAddr>().unwrap())
        .filter(|address| address.is_ipv4() == (kind == RecordType::A));
    let records: Vec<_> = of_kind
        .map(|address| (name.to_owned(), ttl, Data::Address(address)))
        .collect();
    if records.is_empty() {
        return Reply::Code(ResponseCode::NoError, Some(60));
    }
    Reply::Records(records)
}

async fn serve_udp(socket: Arc<UdpSocket>, script: Script, asked: Arc<Mutex<Vec<Asked>>>) {
    let mut buffer = [0; 2048];
    let mut late = JoinSet::new();
    while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
        let question = Message::from_vec(&buffer[..length]).unwrap();
        let reply = note(&question, &script, &asked, false);
        let socket = Arc::clone(&socket);
        late.spawn(async move { reply_udp(&socket, from, &question, reply).await });
    }
}

async fn reply_udp(socket: &UdpSocket, to: SocketAddr, question: &Message, mut reply: Reply) {
    loop {
        reply = match reply {
            Reply::Silence => return,
            Reply::Late(wait, then) => {
                tokio::time::sleep(wait).await;
                *then
            }
            Reply::AfterForgeries(then) => {
                let forged = |id| {
                    let wrong = addresses(
                        "ok.test.",
                        question.queries[0].query_type(),
                        60,
                        &["6.6.6.6", "::6"],
                    );
                    let mut message = response(question, &wrong);
                    message.metadata.id = id;
                    message.to_vec().unwrap()
                };
                let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
                stranger
                    .send_to(&forged(question.metadata.id), to)
                    .await
                    .unwrap();
                socket
                    .send_to(&forged(question.metadata.id ^ 1), to)
                    .await
                    .unwrap();
                *then
            }
            Reply::OverTcp(_) => {
                let mut message = response(question, &Reply::Records(Vec::new()));
                message.metadata.truncation = true;
                socket
                    .send_to(&message.to_vec().unwrap(), to)
                    .await
                    .unwrap();
                return;
            }
            Reply::Records(_) | Reply::Code(..) => {
                let message = response(question, &reply);
                socket
                    .send_to(&message.to_vec().unwrap(), to)
                    .await
                    .unwrap();
                return;
            }
        };
    }
}

async fn serve_tcp(listener: TcpListener, script: Script, asked: Arc<Mutex<Vec<Asked>>>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(converse(stream, Arc::clone(&script), Arc::clone(&asked)));
    }
}

async fn converse(mut stream: TcpStream, script: Script, asked: Arc<Mutex<Vec<Asked>>>) {
    while let Ok(length) = stream.read_u16().await {
        let mut bytes = vec![0; usize::from(length)];
        stream.read_exact(&mut bytes).await.unwrap();
        let question = Message::from_vec(&bytes).unwrap();
        let mut reply = note(&question, &script, &asked, true);
        if let Reply::OverTcp(then) = reply {
            reply = *then;
        }
        let bytes = response(&question, &reply).to_vec().unwrap();
        stream
            .write_u16(u16::try_from(bytes.len()).unwrap())
            .await
            .unwrap();
        stream.write_all(&bytes).await.unwrap();
    }
}

fn note(question: &Message, script: &Script, asked: &Mutex<Vec<Asked>>, tcp: bool) -> Reply {
    assert_eq!(question.queries.len(), 1);
    let (name, kind) = (
        question.queries[0].name().to_ascii(),
        question.queries[0].query_type(),
    );
    let reply = script(&name, kind);
    asked.lock().unwrap().push(Asked { name, kind, tcp });
    reply
}

fn response(question: &Message, reply: &Reply) -> Message {
    let mut message = Message::new(
        question.metadata.id,
        MessageType::Response,
        question.metadata.op_code,
    );
    message.add_queries(question.queries.iter().cloned());
    match reply {
        Reply::Records(records) => {
            for (owner, ttl, data) in records {
                let data = match data {
                    Data::Address(IpAddr::V4(address)) => RData::A(A(*address)),
                    Data::Address(IpAddr::V6(address)) => RData::AAAA(AAAA(*address)),
                    Data::Alias(target) => RData::CNAME(CNAME(Name::from_ascii(target).unwrap())),
                };
                message.add_answer(Record::from_rdata(
                    Name::from_ascii(owner).unwrap(),
                    *ttl,
                    data,
                ));
            }
        }
        Reply::Code(code, minimum) => {
            message.metadata.response_code = *code;
            if let Some(minimum) = minimum {
                let soa = SOA::new(Name::root(), Name::root(), 1, 60, 60, 60, *minimum);
                let zone = Name::from_ascii("test.").unwrap();
                message.add_authority(Record::from_rdata(zone, 3600, RData::SOA(soa)));
            }
        }
        Reply::OverTcp(_) | Reply::AfterForgeries(_) | Reply::Late(..) | Reply::Silence => {
            unreachable!("unwrapped before")
        }
    }
    message
}
