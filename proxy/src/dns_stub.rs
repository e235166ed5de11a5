//! Answers DNS inside the agent's namespace: a synthetic address for a name that is allowed, REFUSED for every other.
//!
//! It never asks anyone: no query leaves, whatever comes in. `localhost` and the sandbox's own names are loopback. An
//! allowed name has an A record and no other address record, so that clients need not try twice; any other type of
//! question could carry data nowhere, and is refused all the same.
//!
//! Not here: reading and writing sockets (`dns_serve`), which names are allowed (`Policy::allows_name`), which address
//! a name has (`synthetic`).
//!
//! Clauses: W1, W8.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::opt::EdnsOption;
use hickory_proto::rr::rdata::{A, AAAA, SOA};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use policies::audit::{Decision, DnsEvent, Event, GapEvent, Lost, Text};
use policies::{DnsName, NameVerdict, Reason};
use tokio::time::Instant;

use crate::synthetic::{Issued, Synthetic};
use crate::tally::{Tally, Window};

/// Seconds that a client may keep an answer: short next to [`crate::synthetic::REUSE_AFTER`].
pub const TTL: u32 = 60;
/// The longest answer that we announce to read over UDP. RFC 9715 section 3 (1400), minus room for tunnels.
const PAYLOAD: u16 = 1232;
/// A DNS message's header. RFC 1035 section 4.1.1.
const HEADER: usize = 12;
/// EDE code "Prohibited". RFC 8914 section 4.19.
const EDE_PROHIBITED: u16 = 18;
/// The EDNS option of extended errors. RFC 8914 section 2.
const EDE_OPTION: u16 = 15;
/// Additional records that a question may have: OPT, and TSIG from clients that sign.
const MOST_ADDITIONALS: u16 = 2;

/// Judges names by the policy in force.
pub type Judge = Box<dyn Fn(&DnsName) -> NameVerdict + Send + Sync>;

/// The stub of one run.
pub struct Stub {
    judge: Judge,
    synthetic: Synthetic,
    own_names: Vec<DnsName>,
    seen: Tally<Seen>,
}

impl std::fmt::Debug for Stub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stub")
            .field("own_names", &self.own_names)
            .finish_non_exhaustive()
    }
}

/// One kind of query, as it is counted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Seen {
    /// More kinds than one window tells apart.
    Beyond,
    Query {
        name: Text,
        kind: Text,
        refused: Option<Reason>,
    },
}

/// What a question comes to.
enum Finding {
    /// This address, and it is the first time that the name gets one.
    Address(Ipv4Addr, Times),
    /// The name exists, and has nothing of this type.
    Nothing,
    /// `localhost`, or a name of the sandbox itself: loopback.
    Own(RData),
    Refused(Reason),
}

#[derive(PartialEq, Eq)]
enum Times {
    Again,
    First,
}

/// The types of question that are told apart.
enum Asked {
    A,
    Aaaa,
    Other,
    /// HTTPS or SVCB: clients ask for them along with the addresses.
    Service,
}

impl Asked {
    fn of(kind: RecordType) -> Self {
        if kind == RecordType::A {
            return Self::A;
        }
        if kind == RecordType::AAAA {
            return Self::Aaaa;
        }
        if kind == RecordType::HTTPS || kind == RecordType::SVCB {
            return Self::Service;
        }
        Self::Other
    }
}

impl Stub {
    /// A stub that judges names by `judge` and takes addresses from `synthetic`. `own_names` are the sandbox's own:
    /// they are loopback.
    #[must_use]
    pub fn new(judge: Judge, synthetic: Synthetic, own_names: Vec<DnsName>) -> Arc<Self> {
        Arc::new(Self {
            judge,
            synthetic,
            own_names,
            seen: Tally::new(),
        })
    }

    /// Tells what was asked to `record`, aggregated, until `shutdown`; then the rest.
    pub async fn report(&self, record: impl Fn(Event), shutdown: impl Future<Output = ()>) {
        let tell = |window: Window<Seen>| {
            for (seen, count) in window {
                record(event(seen, count));
            }
        };
        self.seen.run(tell, shutdown).await;
    }

    /// The answer to one message; `None` for what is no question, and deserves none.
    #[must_use]
    pub fn answer(&self, message: &[u8], now: Instant) -> Option<Vec<u8>> {
        let header = Header::read(message);
        let Some(header) = header.filter(|header| !header.is_response) else {
            self.count(Text::new(""), Text::new(""), Some(Reason::Malformed));
            return None;
        };
        let response = self.response(message, &header, now);
        response.to_vec().ok()
    }

    fn response(&self, message: &[u8], header: &Header, now: Instant) -> Message {
        if header.op_code != OpCode::Query {
            self.count(Text::new(""), Text::new(""), Some(Reason::Malformed));
            return error(header, ResponseCode::NotImp);
        }
        let asked = Some(message)
            .filter(|_| header.is_one_question)
            .and_then(|bytes| Message::from_vec(bytes).ok());
        let Some((query, edns)) =
            asked.and_then(|mut asked| Some((asked.queries.pop()?, asked.edns)))
        else {
            self.count(Text::new(""), Text::new(""), Some(Reason::Malformed));
            return error(header, ResponseCode::FormErr);
        };
        let mut response = error(header, ResponseCode::NoError);
        // What a client of ours asks for, it gets: no recursion is missing. Without the flag Go takes an empty answer
        // for a lame referral (net/dnsclient_unix.go, checkHeader, Go 1.22).
        response.metadata.recursion_available = true;
        if let Some(edns) = &edns {
            response.set_edns(our_edns());
            if edns.version() != 0 {
                self.count(shown(query.name()), kind(&query), Some(Reason::Dns));
                response.metadata.response_code = ResponseCode::BADVERS;
                response.add_query(query);
                return response;
            }
        }
        self.fill(&mut response, query, now);
        response
    }

    /// Writes the answer to `query` into a response that has none yet.
    fn fill(&self, response: &mut Message, query: Query, now: Instant) {
        let finding = self.find(&query, now);
        let refused = match &finding {
            Finding::Refused(reason) => Some(Some(*reason)),
            Finding::Address(_, Times::First) => Some(None),
            Finding::Address(_, Times::Again) | Finding::Nothing | Finding::Own(_) => None,
        };
        if let Some(refused) = refused {
            self.count(shown(query.name()), kind(&query), refused);
        }
        let name = query.name().clone();
        let data = match finding {
            Finding::Address(address, _) => Some(RData::A(A(address))),
            Finding::Own(data) => Some(data),
            Finding::Nothing => None,
            Finding::Refused(reason) => {
                refuse(response, reason);
                response.add_query(query);
                return;
            }
        };
        response.add_query(query);
        match data {
            Some(data) => response.add_answer(Record::from_rdata(name, TTL, data)),
            None => response.add_authority(Record::from_rdata(
                name,
                TTL,
                RData::SOA(start_of_authority()),
            )),
        };
    }

    fn find(&self, query: &Query, now: Instant) -> Finding {
        let Some(name) = name_of(query.name()).filter(|_| query.query_class() == DNSClass::IN)
        else {
            return Finding::Refused(Reason::Dns);
        };
        let asked = Asked::of(query.query_type());
        if is_localhost(&name) || self.own_names.contains(&name) {
            return match asked {
                Asked::A => Finding::Own(RData::A(A(Ipv4Addr::LOCALHOST))),
                Asked::Aaaa => Finding::Own(RData::AAAA(AAAA(Ipv6Addr::LOCALHOST))),
                Asked::Service | Asked::Other => Finding::Refused(Reason::Dns),
            };
        }
        if let NameVerdict::Deny(_) = (self.judge)(&name) {
            return Finding::Refused(Reason::Dns);
        }
        match asked {
            Asked::A => match self.synthetic.issue(&name, now) {
                Issued::First(address) => Finding::Address(address, Times::First),
                Issued::Again(address) => Finding::Address(address, Times::Again),
                Issued::Full => Finding::Refused(Reason::Limit),
            },
            Asked::Aaaa | Asked::Service => Finding::Nothing,
            Asked::Other => Finding::Refused(Reason::Dns),
        }
    }

    fn count(&self, name: Text, kind: Text, refused: Option<Reason>) {
        let seen = Seen::Query {
            name,
            kind,
            refused,
        };
        self.seen.count(seen, 1, |_| Seen::Beyond);
    }
}

fn event(seen: Seen, count: u64) -> Event {
    match seen {
        Seen::Beyond => Event::Gap(GapEvent {
            lost: Lost::Dns,
            count: Some(count),
        }),
        Seen::Query {
            name,
            kind,
            refused,
        } => Event::Dns(DnsEvent {
            name,
            kind,
            decision: if refused.is_some() {
                Decision::Deny
            } else {
                Decision::Allow
            },
            reason: refused,
            count,
        }),
    }
}

/// What of a message's header decides before anything else is read.
struct Header {
    id: u16,
    is_response: bool,
    is_one_question: bool,
    op_code: OpCode,
    recursion_desired: bool,
}

impl Header {
    fn read(message: &[u8]) -> Option<Self> {
        let (header, _) = message.split_first_chunk::<HEADER>()?;
        let [id0, id1, flags0, _, qd0, qd1, an0, an1, ns0, ns1, ar0, ar1] = *header;
        let additionals = u16::from_be_bytes([ar0, ar1]);
        Some(Self {
            id: u16::from_be_bytes([id0, id1]),
            is_response: flags0 & 0x80 != 0,
            // A question with answers in it is no question; an IXFR has an authority, and is refused anyway.
            is_one_question: [qd0, qd1] == [0, 1]
                && [an0, an1, ns0, ns1] == [0; 4]
                && additionals <= MOST_ADDITIONALS,
            op_code: OpCode::from_u8((flags0 >> 3) & 0x0f),
            recursion_desired: flags0 & 1 != 0,
        })
    }
}

/// A response without question or answer.
fn error(header: &Header, code: ResponseCode) -> Message {
    let mut response = Message::new(header.id, MessageType::Response, header.op_code);
    response.metadata.response_code = code;
    response.metadata.recursion_desired = header.recursion_desired;
    response
}

/// Sets the code of a refusal, and says why to those who understand extended errors.
fn refuse(response: &mut Message, reason: Reason) {
    response.metadata.response_code = if reason == Reason::Limit {
        ResponseCode::ServFail // a full table may have room later
    } else {
        ResponseCode::Refused
    };
    if let Some(edns) = response.edns.as_mut() {
        let mut data = EDE_PROHIBITED.to_be_bytes().to_vec();
        data.extend_from_slice(format!("ocs: {}", reason.code()).as_bytes());
        edns.options_mut()
            .insert(EdnsOption::Unknown(EDE_OPTION, data));
    }
}

fn our_edns() -> Edns {
    let mut edns = Edns::new();
    edns.set_max_payload(PAYLOAD);
    edns
}

/// Stands in every empty answer, so that a client may remember it for [`TTL`]. RFC 2308 section 3.
fn start_of_authority() -> SOA {
    SOA::new(Name::root(), Name::root(), 1, 60, 60, 60, TTL)
}

/// The name asked for, if each label is one of ours: a dot inside a label, say, is not what it looks like in text.
fn name_of(name: &Name) -> Option<DnsName> {
    let mut text = String::new();
    for label in name {
        if label.contains(&b'.') {
            return None;
        }
        if !text.is_empty() {
            text.push('.');
        }
        text.push_str(std::str::from_utf8(label).ok()?);
    }
    DnsName::parse(&text).ok()
}

/// RFC 6761 section 6.3: `localhost` and all below it.
fn is_localhost(name: &DnsName) -> bool {
    name.labels().next_back() == Some("localhost")
}

/// The name as the record shows it: any bytes, a dot inside of a label told from one between two.
fn shown(name: &Name) -> Text {
    Text::from_labels(name.iter().map(<[u8]>::to_ascii_lowercase))
}

fn kind(query: &Query) -> Text {
    let kind = query.query_type();
    if let RecordType::Unknown(number) = kind {
        return Text::new(&format!("TYPE{number}"));
    }
    Text::new(&kind.to_string())
}

#[cfg(test)]
pub(crate) mod tests;
