//! The world's DNS: answers from the zone, logs every query that reaches port 53 of any address.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result};
use hickory_proto::op::{Message, Query as Question, ResponseCode};
use hickory_proto::rr::{Name, RData, Record, RecordType, rdata};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::watch;

use crate::spec::{Answers, Manner, Query};

/// Where a spoofer would have the code under test go.
const ATTACKER: &str = "11.66.66.66";

/// Names under it are the world's own marks in the log, not queries.
const MARK: &str = "mark.world";

/// The zone and what was asked of it.
#[derive(Debug)]
pub(super) struct Dns {
    state: Mutex<State>,
    marks: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    zone: BTreeMap<String, Answers>,
    asked: BTreeMap<(String, RecordType), usize>,
    log: Vec<Query>,
}

/// One reply, and how long it waits.
struct Sent {
    bytes: Vec<u8>,
    after: Duration,
}

impl Dns {
    pub(super) fn new(zone: BTreeMap<String, Answers>) -> Arc<Self> {
        let state = Mutex::new(State {
            zone,
            ..State::default()
        });
        Arc::new(Self {
            state,
            marks: watch::Sender::new(0),
        })
    }

    pub(super) fn set(&self, name: String, answers: Answers) -> Result<()> {
        let mut state = self.state.lock().map_err(|_| anyhow::anyhow!("poisoned"))?;
        state.asked.retain(|(asked, _), _| *asked != name);
        state.zone.insert(name, answers);
        Ok(())
    }

    pub(super) fn queries(&self) -> Result<Vec<Query>> {
        Ok(self
            .state
            .lock()
            .map_err(|_| anyhow::anyhow!("poisoned"))?
            .log
            .clone())
    }

    pub(super) fn forget(&self) -> Result<()> {
        self.state
            .lock()
            .map_err(|_| anyhow::anyhow!("poisoned"))?
            .log
            .clear();
        Ok(())
    }

    /// Waits until every datagram that came before now is in the log: a mark is sent after them to each socket.
    pub(super) async fn catch_up(&self, markers: &[UdpSocket]) -> Result<()> {
        let mut marks = self.marks.subscribe();
        let goal = *marks.borrow_and_update() + u64::try_from(markers.len())?;
        for marker in markers {
            let mut message = Message::query();
            message.add_query(Question::query(Name::from_ascii(MARK)?, RecordType::TXT));
            marker
                .send(&message.to_vec()?)
                .await
                .context("send a mark")?;
        }
        let seen = marks.wait_for(|count| *count >= goal);
        tokio::time::timeout(Duration::from_secs(5), seen)
            .await
            .context("the DNS log stands still")??;
        Ok(())
    }

    /// Serves datagrams for as long as the world lives.
    pub(super) async fn serve_udp(self: Arc<Self>, socket: UdpSocket) -> Result<()> {
        let socket = Arc::new(socket);
        let mut buffer = vec![0; 65_535];
        loop {
            let (length, from) = socket
                .recv_from(&mut buffer)
                .await
                .context("receive a query")?;
            let Some(datagram) = buffer.get(..length) else {
                continue;
            };
            for sent in self.replies(datagram)? {
                let socket = Arc::clone(&socket);
                tokio::spawn(async move {
                    tokio::time::sleep(sent.after).await;
                    socket.send_to(&sent.bytes, from).await
                });
            }
        }
    }

    /// Serves connections for as long as the world lives.
    pub(super) async fn serve_tcp(self: Arc<Self>, listener: TcpListener) -> Result<()> {
        loop {
            let (stream, _) = listener.accept().await.context("accept a DNS connection")?;
            let dns = Arc::clone(&self);
            tokio::spawn(async move { dns.converse(stream).await });
        }
    }

    async fn converse(&self, mut stream: TcpStream) -> Result<()> {
        loop {
            let length = stream.read_u16().await?;
            let mut query = vec![0; usize::from(length)];
            stream.read_exact(&mut query).await?;
            for sent in self.replies(&query)? {
                tokio::time::sleep(sent.after).await;
                stream.write_u16(u16::try_from(sent.bytes.len())?).await?;
                stream.write_all(&sent.bytes).await?;
            }
        }
    }

    fn replies(&self, datagram: &[u8]) -> Result<Vec<Sent>> {
        let mut state = self.state.lock().map_err(|_| anyhow::anyhow!("poisoned"))?;
        let parsed = Message::from_vec(datagram).ok();
        let Some((message, question)) =
            parsed.and_then(|m| m.queries.first().cloned().map(|q| (m, q)))
        else {
            state.log.push(Query {
                name: datagram.escape_ascii().to_string(),
                kind: "unreadable".to_owned(),
            });
            return Ok(Vec::new());
        };
        let name = question
            .name
            .to_ascii()
            .trim_end_matches('.')
            .to_ascii_lowercase();
        if name == MARK {
            self.marks.send_modify(|count| *count += 1);
            return Ok(Vec::new());
        }
        let kind = question.query_type;
        state.log.push(Query {
            name: name.clone(),
            kind: kind.to_string(),
        });
        let nth = state.asked.entry((name.clone(), kind)).or_default();
        *nth += 1;
        let nth = *nth - 1;
        let answers = state.find(&name).cloned();
        drop(state);
        answer(&message, &question, answers.as_ref(), nth)
    }
}

impl State {
    fn find(&self, name: &str) -> Option<&Answers> {
        if let Some(answers) = self.zone.get(name) {
            return Some(answers);
        }
        let mut rest = name;
        while let Some((_, parent)) = rest.split_once('.') {
            if let Some(answers) = self.zone.get(&format!("*.{parent}")) {
                return Some(answers);
            }
            rest = parent;
        }
        None
    }
}

fn answer(
    asked: &Message,
    question: &Question,
    answers: Option<&Answers>,
    nth: usize,
) -> Result<Vec<Sent>> {
    let mut reply = Message::response(asked.metadata.id, asked.metadata.op_code);
    reply.metadata.recursion_available = true;
    reply.metadata.recursion_desired = asked.metadata.recursion_desired;
    reply.add_query(question.clone());
    let Some(answers) = answers else {
        reply.metadata.response_code = ResponseCode::NXDomain;
        return Ok(vec![Sent {
            bytes: reply.to_vec()?,
            after: Duration::ZERO,
        }]);
    };
    let after = Duration::from_millis(answers.delay_ms);
    match answers.manner {
        Manner::Silent => return Ok(Vec::new()),
        Manner::Failing => {
            reply.metadata.response_code = ResponseCode::ServFail;
            return Ok(vec![Sent {
                bytes: reply.to_vec()?,
                after,
            }]);
        }
        Manner::Truthful | Manner::Spoofed => {}
    }
    let mut sent = Vec::new();
    if answers.manner == Manner::Spoofed && question.query_type == RecordType::A {
        let mut lie = reply.clone();
        lie.metadata.id ^= 0x5555;
        lie.add_answer(record(question.name.clone(), 60, ATTACKER.parse()?));
        sent.push(Sent {
            bytes: lie.to_vec()?,
            after: Duration::ZERO,
        });
    }
    let mut owner = question.name.clone();
    if let Some(alias) = &answers.cname {
        let target = Name::from_ascii(format!("{alias}."))?;
        reply.add_answer(Record::from_rdata(
            owner,
            answers.ttl,
            RData::CNAME(rdata::CNAME(target.clone())),
        ));
        owner = target;
    }
    let set = answers.sets.get(nth).or_else(|| answers.sets.last());
    for address in set
        .into_iter()
        .flatten()
        .filter(|address| wanted(question.query_type, address))
    {
        reply.add_answer(record(owner.clone(), answers.ttl, *address));
    }
    sent.push(Sent {
        bytes: reply.to_vec()?,
        after,
    });
    Ok(sent)
}

fn wanted(kind: RecordType, address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => kind == RecordType::A,
        IpAddr::V6(_) => kind == RecordType::AAAA,
    }
}

fn record(owner: Name, ttl: u32, address: IpAddr) -> Record {
    let data = match address {
        IpAddr::V4(address) => RData::A(rdata::A(address)),
        IpAddr::V6(address) => RData::AAAA(rdata::AAAA(address)),
    };
    Record::from_rdata(owner, ttl, data)
}
