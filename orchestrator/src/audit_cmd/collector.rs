//! Hands log records to a collector of OpenTelemetry by HTTP, from this host, for `ocs audit follow --otlp`.
//!
//! The record is the queue: what the collector does not take yet is not read on, so nothing grows and no writer waits. What
//! it never takes is counted, and said.
use std::time::Duration;

use policies::audit::Record;
use serde_json::Value;

use crate::console::{Console, Style, ascii_json, escaped};
use crate::curl;
use crate::engine::spawn::{Input, Messages, SpawnError};

use super::export::otlp;

/// Bytes of log records in one request: with what is around them less than a pipe holds (64 KiB: pipe(7)).
const BATCH_BYTES: usize = 48 << 10;
/// How long a collector may take, and when curl itself is given up.
const ANSWER_SECONDS: &str = "10";
const CURL_LIMIT: Duration = Duration::from_secs(15);
/// How long is waited before each further try; then the batch is lost.
const AGAIN_AFTER: [Duration; 4] = [
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
];
/// Statuses after which the same may be sent again (OTLP specification 1.5, "Retryable Response Codes"); 0 is no answer.
const RETRYABLE: [u16; 5] = [0, 429, 502, 503, 504];

/// A collector, and what is to be sent to it next.
#[derive(Debug)]
pub(super) struct Collector {
    url: String,
    again_after: Vec<Duration>,
    sandbox: String,
    batch: Vec<Value>,
    bytes: usize,
    /// Events that it never took.
    lost: u64,
}

impl Collector {
    pub(super) fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            again_after: AGAIN_AFTER.to_vec(),
            sandbox: String::new(),
            batch: Vec::new(),
            bytes: 0,
            lost: 0,
        }
    }

    /// Takes one event; what was taken before goes out where the batch is full or of another sandbox.
    pub(super) fn add(&mut self, record: &Record, console: &mut Console<'_>) {
        let event = otlp::log_record(record);
        let bytes = ascii_json(&event.to_string()).len() + 1;
        if self.sandbox != record.sandbox || self.bytes + bytes > BATCH_BYTES {
            self.send(console);
        }
        record.sandbox.clone_into(&mut self.sandbox);
        self.bytes += bytes;
        self.batch.push(event);
    }

    /// Sends what there is, again where that may help.
    pub(super) fn send(&mut self, console: &mut Console<'_>) {
        let batch = std::mem::take(&mut self.batch);
        self.bytes = 0;
        if batch.is_empty() {
            return;
        }
        let count = batch.len() as u64;
        let body = ascii_json(&otlp::request(&self.sandbox, &batch).to_string());
        let mut waits = self.again_after.iter();
        let lost = loop {
            match post(&self.url, &body) {
                Ok(rejected) => {
                    break (rejected > 0)
                        .then(|| (rejected.min(count), "it rejected them".to_owned()));
                }
                Err((status, why)) => match waits.next().filter(|_| RETRYABLE.contains(&status)) {
                    Some(wait) => std::thread::sleep(*wait),
                    None => break Some((count, why)),
                },
            }
        };
        if let Some((events, why)) = lost {
            self.lost += events;
            let label = console.styled_note(Style::Warn, "warning:");
            console.note(format_args!(
                "{label} the collector did not take {events} events ({}); {} in all; the record has them",
                escaped(&why),
                self.lost
            ));
        }
    }
}

/// Posts one request; how many log records were rejected, or the status with what it means.
fn post(url: &str, body: &str) -> Result<u64, (u16, String)> {
    let more = [
        "--header",
        "Content-Type: application/json",
        "--header",
        "Expect:",
        "--data-binary",
        "@-",
    ];
    let curl = curl::call(url, ANSWER_SECONDS, &more);
    let curl = curl.streams(Input::Text(body.as_bytes().to_vec()), Messages::Nowhere);
    let ended = match curl.run(CURL_LIMIT) {
        Ok(ended) => ended,
        // Never retryable: it will not be there the next time either.
        Err(error @ SpawnError::Start { .. }) => return Err((1, error.to_string())),
        Err(error) => return Err((0, error.to_string())),
    };
    let text = String::from_utf8_lossy(&ended.output).into_owned();
    let (answer, status) = curl::answer(&text);
    match (ended.status.code(), status.parse().unwrap_or(0)) {
        (Some(0), 200..=299) => Ok(rejected(answer)),
        (Some(0), status) => Err((status, format!("status {status}"))),
        (code, _) => Err((0, format!("curl ended with {}", code.unwrap_or(-1)))),
    }
}

/// `partialSuccess.rejectedLogRecords` of the answer.
fn rejected(answer: &str) -> u64 {
    let answer: Value = serde_json::from_str(answer).unwrap_or_default();
    let count = answer.pointer("/partialSuccess/rejectedLogRecords");
    count
        .and_then(|count| count.as_u64().or_else(|| count.as_str()?.parse().ok()))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;
    use policies::audit::Timestamp;

    use crate::audit_cmd::tests::events;
    use crate::console::tests::captured;
    use crate::world::Terminal;

    fn recorded() -> Vec<Record> {
        let record = |(seq, event)| Record {
            seq,
            time: Timestamp::from_unix_millis(1_795_223_640_123),
            sandbox: "app-1".to_owned(),
            run: "run-1".to_owned(),
            event,
        };
        (1..).zip(events()).map(record).collect()
    }

    /// A collector that gives these answers, one connection each; its address, and what it was sent.
    fn collector(
        answers: &'static [&'static str],
    ) -> (String, std::thread::JoinHandle<Vec<Value>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/v1/logs", listener.local_addr().unwrap());
        let serve = move || {
            let mut seen = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let (mut bytes, mut buffer) = (Vec::new(), [0; 65536]);
                let body = loop {
                    let count = stream.read(&mut buffer).unwrap();
                    bytes.extend_from_slice(&buffer[..count]);
                    let text = String::from_utf8_lossy(&bytes).into_owned();
                    let Some((head, body)) = text.split_once("\r\n\r\n") else {
                        continue;
                    };
                    assert!(head.starts_with("POST /v1/logs HTTP/1.1"), "{head}");
                    assert!(head.contains("Content-Type: application/json"), "{head}");
                    let length = head.split("Content-Length: ").nth(1).unwrap();
                    let length: usize = length.lines().next().unwrap().parse().unwrap();
                    if body.len() == length {
                        break body.to_owned();
                    }
                };
                seen.push(serde_json::from_str(&body).unwrap());
                stream.write_all(answer.as_bytes()).unwrap();
            }
            seen
        };
        (url, std::thread::spawn(serve))
    }

    fn send(url: &str, records: &[Record]) -> (u64, String) {
        let mut collector = Collector {
            again_after: vec![Duration::from_millis(1); 2],
            ..Collector::new(url)
        };
        let ((), _, err) = captured("", Terminal::default(), |console| {
            for record in records {
                collector.add(record, console);
            }
            collector.send(console);
        });
        (collector.lost, err)
    }

    const TAKEN: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
    const BUSY: &str = "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n";
    const WRONG: &str = "HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n";
    const SOME: &str = "HTTP/1.1 200 OK\r\nContent-Length: 48\r\n\r\n{\"partialSuccess\":{\"rejectedLogRecords\":\"3\"}}   ";

    fn count(request: &Value) -> usize {
        let logs = &request["resourceLogs"][0]["scopeLogs"][0]["logRecords"];
        logs.as_array().unwrap().len()
    }

    #[test]
    fn a_collector_that_is_busy_is_asked_again_and_loses_nothing() {
        let (url, seen) = collector(&[BUSY, TAKEN]);
        let records = recorded();
        assert_eq!(send(&url, &records), (0, String::new()));
        let seen = seen.join().unwrap();
        assert_eq!(seen[0], seen[1]);
        assert_eq!(count(&seen[0]), records.len());
        let resource = &seen[0]["resourceLogs"][0]["resource"]["attributes"][2];
        assert_eq!(resource["value"]["stringValue"], records[0].sandbox);
    }

    #[test]
    fn what_a_collector_never_takes_is_counted_and_said() {
        let records = recorded();
        let count = records.len() as u64;
        for (answers, lost) in [
            (&[WRONG][..], count),
            (&[BUSY, BUSY, BUSY], count),
            (&[SOME], 3),
        ] {
            let (url, seen) = collector(answers);
            let (told, err) = send(&url, &records);
            assert_eq!((told, seen.join().unwrap().len()), (lost, answers.len()));
            assert!(
                err.contains(&format!("did not take {lost} events")),
                "{err}"
            );
        }
        let gone = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/v1/logs", gone.local_addr().unwrap());
        drop(gone);
        assert_eq!(send(&url, &records).0, count);
    }

    #[test]
    fn a_request_is_bounded_and_of_one_sandbox() {
        let (url, seen) = collector(&[TAKEN, TAKEN, TAKEN]);
        let one = recorded().remove(4);
        let size = ascii_json(&otlp::log_record(&one).to_string()).len() + 1;
        let fits = BATCH_BYTES / size;
        let mut records = vec![one.clone(); fits + 1];
        records.push(Record {
            sandbox: "other".to_owned(),
            ..one
        });
        assert_eq!(send(&url, &records), (0, String::new()));
        let counts: Vec<usize> = seen.join().unwrap().iter().map(count).collect();
        assert_eq!(counts, [fits, 1, 1]);
    }
}
