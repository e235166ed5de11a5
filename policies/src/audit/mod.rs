//! The form of the record: events, the chain that binds its lines, and the reader that checks it.
//!
//! Data only: no file is opened here, no clock is read. `docs/audit-log.md` is the same for people.
//! Clauses: R3, R4.

mod chain;
mod encode;
mod event;
#[cfg(test)]
mod hostile;
mod line;
mod part;
#[cfg(test)]
pub(crate) mod sample;
mod text;
mod time;
mod verify;

pub(crate) use chain::hex;
pub use chain::{Chain, Header, Mark};
pub use event::{
    Approver, CloseEvent, Decision, DnsEvent, Event, GapEvent, Lost, Outcome, PacketEvent,
    PolicyEvent, Process, QuestionEvent, Reply, RequestEvent, StartEvent, StopEvent,
};
pub use line::Record;
pub use part::{LAST_PART, Packing, Part};
pub use text::Text;
pub use time::Timestamp;
pub use verify::{BadLine, Fault, Verified, Verifier};
