//! A DNS server that answers what the test says, and remembers every question.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};

use hickory_proto::op::{Message, MessageType, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA};
use hickory_proto::rr::{RData, Record, RecordType};

/// What a name has, each time it is asked for; the last of several stays.
type Zone = HashMap<String, Vec<Vec<IpAddr>>>;

pub struct Dns {
    pub address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
    asked: Arc<Mutex<Vec<(String, RecordType)>>>,
}

impl Dns {
    pub fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let zone: Arc<Mutex<Zone>> = Arc::default();
        let asked: Arc<Mutex<Vec<(String, RecordType)>>> = Arc::default();
        let (theirs, heard) = (Arc::clone(&zone), Arc::clone(&asked));
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                let query = Message::from_vec(&buffer[..length]).unwrap();
                let answer = answer(&query, &theirs, &heard);
                socket.send_to(&answer.to_vec().unwrap(), from).ok();
            }
        });
        let dns = Self {
            address,
            zone,
            asked,
        };
        for name in ["ok.test", "a.w.test", "w.test", "evil.test"] {
            dns.set(name, &["127.0.0.1"]);
        }
        dns
    }

    /// Another server, which the test itself plays.
    pub fn played_by(address: SocketAddr) -> Self {
        Self {
            address,
            zone: Arc::default(),
            asked: Arc::default(),
        }
    }

    pub fn set(&self, name: &str, addresses: &[&str]) {
        self.set_in_turn(name, &[addresses]);
    }

    /// Other addresses each time the name is asked for.
    pub fn set_in_turn(&self, name: &str, turns: &[&[&str]]) {
        let parse = |turn: &&[&str]| turn.iter().map(|text| text.parse().unwrap()).collect();
        self.zone
            .lock()
            .unwrap()
            .insert(name.to_owned(), turns.iter().map(parse).collect());
    }

    /// The names that were asked for, once each, in order.
    pub fn asked(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for (name, _) in self.asked.lock().unwrap().iter() {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        names
    }

    /// The types that were asked for.
    pub fn types(&self) -> Vec<RecordType> {
        self.asked
            .lock()
            .unwrap()
            .iter()
            .map(|(_, kind)| *kind)
            .collect()
    }
}

fn answer(
    query: &Message,
    zone: &Mutex<Zone>,
    asked: &Mutex<Vec<(String, RecordType)>>,
) -> Message {
    let question = query.queries.first().unwrap().clone();
    let name = question.name().to_ascii().trim_end_matches('.').to_owned();
    let kind = question.query_type();
    asked.lock().unwrap().push((name.clone(), kind));
    let mut zone = zone.lock().unwrap();
    let mut message = query.clone();
    message.metadata.message_type = MessageType::Response;
    message.metadata.recursion_available = true;
    let Some(turns) = zone.get_mut(&name) else {
        message.metadata.response_code = ResponseCode::NXDomain;
        return message;
    };
    // A turn is over once it was asked for A; AAAA comes along.
    let now = turns.first().cloned().unwrap_or_default();
    if turns.len() > 1 && kind == RecordType::A {
        turns.remove(0);
    }
    for address in now {
        let data = match address {
            IpAddr::V4(v4) if kind == RecordType::A => RData::A(A(v4)),
            IpAddr::V6(v6) if kind == RecordType::AAAA => RData::AAAA(AAAA(v6)),
            _ => continue,
        };
        message
            .answers
            .push(Record::from_rdata(question.name().clone(), 0, data));
    }
    message
}
