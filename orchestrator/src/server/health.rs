//! Asks a published port again and again until the server behind it serves: 200 to who knows the password, and 401 to who
//! does not. Decides nothing; says what it saw last where it gives up.
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::password::Password;

/// Whom to ask for what.
#[derive(Debug)]
pub(super) struct Check {
    /// Of 127.0.0.1.
    pub(super) port: u16,
    pub(super) path: &'static str,
    pub(super) user: &'static str,
}

/// How long one question may take.
const ONE: Duration = Duration::from_secs(2);
/// How long until the next.
const PAUSE: Duration = Duration::from_millis(100);

/// Why a server does not serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ill {
    /// It ended, or is ending.
    Gone,
    /// It did not answer in time; what it said last.
    Slow(String),
    /// It lets in who does not know the password.
    Open,
}

impl Check {
    /// Waits until it serves.
    ///
    /// # Errors
    /// It does not; see [`Ill`].
    pub(super) fn until_well(
        &self,
        password: &Password,
        limit: Duration,
        gone: &AtomicBool,
    ) -> Result<(), Ill> {
        let deadline = Instant::now() + limit;
        let known = format!("Authorization: {}\r\n", password.authorization(self.user));
        loop {
            if gone.load(Ordering::Acquire) {
                return Err(Ill::Gone);
            }
            let last = match self.ask(&known) {
                Ok(200) => return self.refuses_strangers(),
                Ok(status) => format!("it answers {status}"),
                Err(error) => error.to_string(),
            };
            if Instant::now() >= deadline {
                return Err(Ill::Slow(last));
            }
            std::thread::sleep(PAUSE);
        }
    }

    fn refuses_strangers(&self) -> Result<(), Ill> {
        match self.ask("") {
            Ok(200..=399) => Err(Ill::Open),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// The status of the answer to one question.
    #[expect(
        clippy::disallowed_methods,
        reason = "the host's own published port, where our proxy listens"
    )]
    fn ask(&self, header: &str) -> io::Result<u16> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let mut stream = TcpStream::connect_timeout(&address, ONE)?;
        stream.set_read_timeout(Some(ONE))?;
        stream.set_write_timeout(Some(ONE))?;
        let (path, port) = (self.path, self.port);
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{header}Connection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes())?;
        // `HTTP/1.1 200`
        let mut head = [0; 12];
        stream.read_exact(&mut head)?;
        status(&head).ok_or_else(|| io::Error::other("it answers, but not in HTTP"))
    }
}

fn status(head: &[u8]) -> Option<u16> {
    let rest = std::str::from_utf8(head).ok()?.strip_prefix("HTTP/1.")?;
    rest.split_once(' ')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_from_the_first_line_only() {
        assert_eq!(status(b"HTTP/1.1 401"), Some(401));
        assert_eq!(status(b"HTTP/1.0 200"), Some(200));
        for head in [&b"SSH-2.0-Open"[..], b"HTTP/2 200 OK", b"HTTP/1.1 2x0"] {
            assert_eq!(status(head), None);
        }
    }
}
