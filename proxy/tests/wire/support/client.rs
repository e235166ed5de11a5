//! A client that sends exactly the bytes it is told to.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use super::PATIENCE;

pub struct Client {
    pub stream: TcpStream,
    ahead: Vec<u8>,
}

/// One answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    /// The reason that the head tells programs.
    pub fn reason(&self) -> Option<String> {
        let details = self.head.split("details=\"").nth(1)?;
        Some(details.split('"').next()?.to_owned())
    }
}

impl Client {
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            ahead: Vec::new(),
        }
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        // The proxy may have closed already; what it then says is what counts.
        self.stream.write_all(bytes.as_ref()).ok();
        self
    }

    pub fn finish(&mut self) -> &mut Self {
        self.stream.shutdown(Shutdown::Write).ok();
        self
    }

    fn fill(&mut self) -> usize {
        let mut buffer = [0; 65536];
        let count = self.stream.read(&mut buffer).unwrap_or(0);
        self.ahead.extend_from_slice(&buffer[..count]);
        count
    }

    /// Reads one answer with its length told; its body is empty for a 101 or a tunnel's 200.
    pub fn answer(&mut self) -> Answer {
        let end = loop {
            if let Some(at) = self.ahead.windows(4).position(|it| it == b"\r\n\r\n") {
                break at + 4;
            }
            let so_far = String::from_utf8_lossy(&self.ahead).into_owned();
            assert!(self.fill() > 0, "closed after {so_far:?}");
        };
        let head = String::from_utf8_lossy(&self.ahead[..end]).into_owned();
        self.ahead.drain(..end);
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("Content-Length: "));
        let length: usize = length.map_or(0, |length| length.trim().parse().unwrap());
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let body = String::from_utf8_lossy(&self.exactly(length)).into_owned();
        Answer { status, head, body }
    }

    /// Reads so many bytes.
    pub fn exactly(&mut self, length: usize) -> Vec<u8> {
        while self.ahead.len() < length {
            assert!(
                self.fill() > 0,
                "closed after {} of {length} bytes",
                self.ahead.len()
            );
        }
        let rest = self.ahead.split_off(length);
        std::mem::replace(&mut self.ahead, rest)
    }

    /// Reads to the end.
    pub fn rest(&mut self) -> Vec<u8> {
        while self.fill() > 0 {}
        std::mem::take(&mut self.ahead)
    }

    /// As text, to the end.
    pub fn rest_text(&mut self) -> String {
        String::from_utf8_lossy(&self.rest()).into_owned()
    }

    /// Reads an answer and then the end.
    pub fn last_answer(&mut self) -> Answer {
        let answer = self.answer();
        assert_eq!(self.rest_text(), "", "after {answer:?}");
        answer
    }

    /// Opens a tunnel.
    pub fn tunnel(address: SocketAddr, to: &str) -> Self {
        let mut client = Self::connect(address);
        client.send(format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n"));
        assert_eq!(client.answer().status, 200, "CONNECT {to}");
        client
    }
}
