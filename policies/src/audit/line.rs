//! One line of a record, read: in one pass where its fields stand as they are written, in two where another tool put them
//! in another order. Not its digest, and not its place in the chain (`verify.rs`).
//! Clauses: R3, R4.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::value::{BorrowedStrDeserializer, MapAccessDeserializer};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, Visitor};

use super::chain::VERSION;
use super::{
    CloseEvent, DnsEvent, Event, Fault, GapEvent, PacketEvent, PolicyEvent, QuestionEvent,
    RequestEvent, StartEvent, StopEvent, Timestamp,
};

/// A line that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its number.
    pub seq: u64,
    /// When.
    pub time: Timestamp,
    /// Which sandbox.
    pub sandbox: String,
    /// Which run.
    pub run: String,
    /// What happened.
    pub event: Event,
}

/// The fields that every line has, in whatever order.
#[derive(Debug, Deserialize)]
struct Common<'line> {
    v: u64,
    seq: u64,
    #[serde(borrow)]
    prev: Cow<'line, str>,
    time: Timestamp,
    sandbox: String,
    run: String,
}

/// A line in one pass: the common fields first, then `event`, then the event's own.
struct InOrder<'line> {
    common: Common<'line>,
    event: Event,
}

impl Record {
    /// Reads a line without its newline, and checks its form alone: not its digest, not its place in a chain.
    ///
    /// # Errors
    /// [`Fault::Event`] for what is not an event of the record.
    pub fn parse(line: &[u8]) -> Result<Self, Fault> {
        parse(line).map(|(record, _)| record)
    }
}

/// A line, and its `prev`.
pub(super) fn parse(line: &[u8]) -> Result<(Record, Cow<'_, str>), Fault> {
    let (common, event) = match serde_json::from_slice::<InOrder<'_>>(line) {
        Ok(InOrder { common, event }) => (common, event),
        // Written by another tool in another order, or wrong: this says which.
        Err(_) => in_any_order(line)?,
    };
    let Common {
        v,
        seq,
        prev,
        time,
        sandbox,
        run,
    } = common;
    if v != VERSION {
        return Err(Fault::Event(format!("version {v} is not known")));
    }
    let record = Record {
        seq,
        time,
        sandbox,
        run,
        event,
    };
    Ok((record, prev))
}

fn in_any_order(line: &[u8]) -> Result<(Common<'_>, Event), Fault> {
    let unknown = |error: serde_json::Error| {
        // It counts lines from what it was given, which is one.
        Fault::Event(error.to_string().replace(" at line 1 column ", " at byte "))
    };
    let common: Common<'_> = serde_json::from_slice(line).map_err(unknown)?;
    // Another version's events are not ours to read: its number is the better answer.
    if common.v != VERSION {
        return Err(Fault::Event(format!("version {} is not known", common.v)));
    }
    let event: Event = serde_json::from_slice(line).map_err(unknown)?;
    Ok((common, event))
}

impl<'line> Deserialize<'line> for InOrder<'line> {
    fn deserialize<D: Deserializer<'line>>(line: D) -> Result<Self, D::Error> {
        line.deserialize_map(InOrderVisitor)
    }
}

struct InOrderVisitor;

impl<'line> Visitor<'line> for InOrderVisitor {
    type Value = InOrder<'line>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a line of the record")
    }

    fn visit_map<M: MapAccess<'line>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let common = Common {
            v: field(&mut map, "v")?,
            seq: field(&mut map, "seq")?,
            prev: Cow::Borrowed(field(&mut map, "prev")?),
            time: field(&mut map, "time")?,
            sandbox: field(&mut map, "sandbox")?,
            run: field(&mut map, "run")?,
        };
        let kind: &str = field(&mut map, "event")?;
        let own = MapAccessDeserializer::new(Own(map));
        let event = match kind {
            "close" => Event::Close(CloseEvent::deserialize(own)?),
            "dns" => Event::Dns(DnsEvent::deserialize(own)?),
            "gap" => Event::Gap(GapEvent::deserialize(own)?),
            "packet" => Event::Packet(PacketEvent::deserialize(own)?),
            "policy" => Event::Policy(PolicyEvent::deserialize(own)?),
            "question" => Event::Question(QuestionEvent::deserialize(own)?),
            "request" => Event::Request(RequestEvent::deserialize(own)?),
            "start" => Event::Start(StartEvent::deserialize(own)?),
            "stop" => Event::Stop(StopEvent::deserialize(own)?),
            other => return Err(Error::custom(format_args!("unknown event `{other}`"))),
        };
        Ok(InOrder { common, event })
    }
}

/// The next field, which must be this one.
fn field<'line, T: Deserialize<'line>, M: MapAccess<'line>>(
    map: &mut M,
    name: &'static str,
) -> Result<T, M::Error> {
    match map.next_key::<&str>()? {
        Some(found) if found == name => map.next_value(),
        Some(_) | None => Err(Error::custom("the fields stand in another order")),
    }
}

/// The fields behind `event`: none of the common ones again, which other readers would take for the line's.
struct Own<M>(M);

impl<'line, M: MapAccess<'line>> MapAccess<'line> for Own<M> {
    type Error = M::Error;

    fn next_key_seed<K: DeserializeSeed<'line>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, M::Error> {
        match self.0.next_key::<&str>()? {
            None => Ok(None),
            Some("v" | "seq" | "prev" | "time" | "sandbox" | "run" | "event") => {
                Err(Error::custom("a field stands there twice"))
            }
            Some(key) => seed
                .deserialize(BorrowedStrDeserializer::new(key))
                .map(Some),
        }
    }

    fn next_value_seed<V: DeserializeSeed<'line>>(
        &mut self,
        seed: V,
    ) -> Result<V::Value, M::Error> {
        self.0.next_value_seed(seed)
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn a_line_means_the_same_in_whatever_order_its_fields_stand() {
        for line in sample::record().split(|byte| *byte == b'\n') {
            if line.is_empty() {
                continue;
            }
            let straight = serde_json::from_slice::<InOrder<'_>>(line).unwrap();
            // serde_json's own map sorts its keys.
            let value: serde_json::Value = serde_json::from_slice(line).unwrap();
            let sorted = value.to_string();
            assert!(serde_json::from_slice::<InOrder<'_>>(sorted.as_bytes()).is_err());
            let (record, prev) = parse(sorted.as_bytes()).unwrap();
            assert_eq!(
                (&record.event, prev),
                (&straight.event, straight.common.prev)
            );
            assert_eq!(Record::parse(line), Ok(record));
        }
    }

    #[test]
    fn a_common_field_that_stands_there_twice_is_refused_wherever_it_does() {
        let record = sample::record();
        let line = record.split(|byte| *byte == b'\n').next().unwrap();
        let line = std::str::from_utf8(line).unwrap();
        for field in [
            "\"v\":1",
            "\"seq\":1",
            "\"run\":\"x\"",
            "\"event\":\"start\"",
            "\"mode\":\"none\"",
        ] {
            for changed in [
                format!("{{{field},{}", &line[1..]),
                format!("{},{field}}}", &line[..line.len() - 1]),
            ] {
                assert!(Record::parse(changed.as_bytes()).is_err(), "{changed}");
            }
        }
    }
}
