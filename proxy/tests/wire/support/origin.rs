//! An origin that answers by script, and remembers every connection and every byte.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};

use socket2::{Domain, Socket, Type};

use super::PATIENCE;

pub struct Origin {
    pub address: SocketAddr,
    seen: Arc<(Mutex<Vec<Vec<u8>>>, Condvar)>,
}

/// One connection at an origin; what it reads is remembered.
pub struct Guest {
    pub stream: TcpStream,
    index: usize,
    seen: Arc<(Mutex<Vec<Vec<u8>>>, Condvar)>,
    ahead: Vec<u8>,
}

impl Origin {
    /// Serves each connection by `script`, each on its own thread.
    pub fn start(script: impl Fn(&mut Guest) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen: Arc<(Mutex<Vec<Vec<u8>>>, Condvar)> = Arc::default();
        let (script, theirs) = (Arc::new(script), Arc::clone(&seen));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                stream.set_nodelay(true).unwrap();
                let index = {
                    let mut seen = theirs.0.lock().unwrap();
                    seen.push(Vec::new());
                    theirs.1.notify_all();
                    seen.len() - 1
                };
                let (seen, script) = (Arc::clone(&theirs), Arc::clone(&script));
                std::thread::spawn(move || {
                    script(&mut Guest {
                        stream,
                        index,
                        seen,
                        ahead: Vec::new(),
                    });
                });
            }
        });
        Self { address, seen }
    }

    /// Answers every request with `200` and a body that tells its request line.
    pub fn http() -> Self {
        Self::start(|guest| {
            while let Some(head) = guest.head() {
                let line = head.split("\r\n").next().unwrap().to_owned();
                let length = line.len();
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{line}");
                guest.write(answer.as_bytes());
            }
        })
    }

    /// Answers every request with the same bytes, and keeps the connection.
    pub fn saying(answer: &[u8]) -> Self {
        let answer = answer.to_vec();
        Self::start(move |guest| {
            while guest.head().is_some() {
                guest.write(&answer);
            }
        })
    }

    /// Sends back what it receives.
    pub fn echo() -> Self {
        Self::start(|guest| {
            let mut buffer = vec![0; 65536];
            while let Some(count) = guest.read(&mut buffer) {
                guest.write(&buffer[..count]);
            }
            guest.stream.shutdown(Shutdown::Write).ok();
        })
    }

    /// Reads, and says nothing.
    pub fn silent() -> Self {
        Self::start(|guest| {
            let mut buffer = vec![0; 65536];
            while guest.read(&mut buffer).is_some() {}
        })
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// What each connection has brought.
    pub fn seen(&self) -> Vec<Vec<u8>> {
        self.seen.0.lock().unwrap().clone()
    }

    /// What each connection has brought, as text.
    pub fn heard(&self) -> Vec<String> {
        self.seen()
            .iter()
            .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
            .collect()
    }

    /// Waits until what was seen is as `wanted`.
    pub fn wait(&self, wanted: impl Fn(&[Vec<u8>]) -> bool) {
        let seen = self.seen.0.lock().unwrap();
        let (seen, late) = self
            .seen
            .1
            .wait_timeout_while(seen, PATIENCE, |seen| !wanted(seen))
            .unwrap();
        assert!(!late.timed_out(), "the origin saw {seen:?}");
    }
}

impl Guest {
    /// Reads once; `None` at the end.
    pub fn read(&mut self, buffer: &mut [u8]) -> Option<usize> {
        let count = self.stream.read(buffer).ok().filter(|count| *count > 0)?;
        let mut seen = self.seen.0.lock().unwrap();
        seen[self.index].extend_from_slice(&buffer[..count]);
        self.seen.1.notify_all();
        Some(count)
    }

    /// Reads one head, and a body if its length is told.
    pub fn head(&mut self) -> Option<String> {
        let mut buffer = [0; 65536];
        let end = loop {
            if let Some(at) = self.ahead.windows(4).position(|it| it == b"\r\n\r\n") {
                break at + 4;
            }
            let count = self.read(&mut buffer)?;
            self.ahead.extend_from_slice(&buffer[..count]);
        };
        let head = String::from_utf8_lossy(&self.ahead[..end]).into_owned();
        self.ahead.drain(..end);
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("Content-Length: "));
        let length: usize = length.map_or(0, |length| length.trim().parse().unwrap());
        while self.ahead.len() < length {
            let count = self.read(&mut buffer)?;
            self.ahead.extend_from_slice(&buffer[..count]);
        }
        self.ahead.drain(..length);
        Some(head)
    }

    pub fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).ok();
    }
}

/// A listener whose queue of connections is full: Linux then drops a SYN, as a black hole does.
pub fn black_hole() -> (TcpListener, Vec<Socket>) {
    let stream = || Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let socket = stream();
    socket
        .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
        .unwrap();
    socket.listen(0).unwrap();
    let hole: TcpListener = socket.into();
    let address = hole.local_addr().unwrap();
    let fill = |_| {
        let one = stream();
        one.set_nonblocking(true).unwrap();
        one.connect(&address.into()).ok();
        one
    };
    (hole, (0..4).map(fill).collect())
}
