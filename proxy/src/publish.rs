//! Published ports: connections of the host to a service inside the sandbox.
//!
//! A port of the host's loopback leads to one port of the namespace's loopback, over the channel to `ocs-netctl`, which
//! connects to published ports only. What comes in this way takes a slot like any client; nothing gets out by it but
//! answers. In a container it is the engine that listens on the host's loopback, and its gateway that connects here.
//!
//! Not here: asking `ocs-netctl` (`dial_in`).
//!
//! Clauses: N9, W8.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::str::FromStr;
use std::sync::Arc;

use policies::Port;
use tokio::net::{TcpListener, TcpStream};

use crate::app::App;
use crate::dial_in::DialIn;
use crate::idle::Meters;
use crate::listener::accept;
use crate::live::Phase;
use crate::relay::{self, Ends};

/// A port of the host's loopback, and the port inside that it leads to. Written `HOST:INSIDE`, or once if they agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// On 127.0.0.1 of the host.
    pub host: Port,
    /// On 127.0.0.1 of the namespace.
    pub inside: Port,
}

impl FromStr for Published {
    type Err = policies::HostError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (host, inside) = text.split_once(':').unwrap_or((text, text));
        Ok(Self {
            host: Port::parse(host)?,
            inside: Port::parse(inside)?,
        })
    }
}

impl Published {
    /// Listens for those who may come.
    ///
    /// # Errors
    /// The port is taken, or is not ours to take.
    pub fn listen(self, callers: Callers) -> io::Result<std::net::TcpListener> {
        let address = match callers {
            Callers::Loopback => Ipv4Addr::LOCALHOST,
            Callers::Gateway(_) => Ipv4Addr::UNSPECIFIED,
        };
        let listener = std::net::TcpListener::bind(SocketAddr::from((address, self.host.get())))?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    }
}

/// Who may connect to published ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Callers {
    /// A container's default gateway, by which the engine leads the host's loopback here; no neighbour is it.
    Gateway(Ipv4Addr),
    /// The host's own processes: the listener is on its loopback, and nobody else can.
    Loopback,
}

impl Callers {
    fn admit(self, peer: SocketAddr) -> bool {
        match self {
            Self::Gateway(gateway) => peer.ip() == gateway || peer.ip().is_loopback(),
            Self::Loopback => true,
        }
    }
}

/// Leads connections to `inside` until the proxy drains.
pub async fn serve(
    listener: TcpListener,
    (inside, callers): (Port, Callers),
    dial_in: Arc<DialIn>,
    app: Arc<App>,
) {
    let mut draining = pin!(app.live.reached(Phase::Draining));
    loop {
        let (client, peer) = tokio::select! {
            biased;
            () = &mut draining => return,
            accepted = accept(&listener) => accepted,
        };
        if callers.admit(peer) {
            admit(client, inside, &dial_in, &app);
        } else {
            tracing::warn!(%peer, "a neighbour may not use a published port");
            client.set_zero_linger().ok();
        }
    }
}

fn admit(client: TcpStream, inside: Port, dial_in: &Arc<DialIn>, app: &Arc<App>) {
    // Without room it is closed: on this side nobody is owed a reason in a protocol that we do not know.
    let Some(slot) = app.slots.take() else {
        return;
    };
    let (dial_in, app) = (Arc::clone(dial_in), Arc::clone(app));
    drop(tokio::spawn(async move {
        tokio::select! {
            () = lead(client, inside, &dial_in, &app) => {}
            () = app.live.reached(Phase::Ending) => {}
        }
        drop(slot);
    }));
}

async fn lead(client: TcpStream, inside: Port, dial_in: &DialIn, app: &App) {
    client.set_nodelay(true).ok();
    match dial_in
        .connect(inside.get(), app.limits.connect_timeout)
        .await
    {
        Ok(origin) => {
            origin.set_nodelay(true).ok();
            let ends = Ends {
                client,
                origin,
                held_up: Vec::new(),
                held_down: Vec::new(),
            };
            // How it ended is told by the sockets; the record is of what goes out.
            relay::run(ends, &Meters::default(), app.limits.idle_timeout).await;
        }
        Err(error) => {
            tracing::info!(port = inside.get(), %error, "a published port could not be reached");
            client.set_zero_linger().ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<(u16, u16)> {
        let published: Published = text.parse().ok()?;
        Some((published.host.get(), published.inside.get()))
    }

    #[test]
    fn a_port_is_published_under_its_own_number_or_another() {
        assert_eq!(parsed("4096"), Some((4096, 4096)));
        assert_eq!(parsed("4100:4096"), Some((4100, 4096)));
    }

    #[test]
    fn behind_a_gateway_nobody_else_is_let_in() {
        let callers = Callers::Gateway(Ipv4Addr::new(192, 0, 2, 1));
        let admits = |peer: &str| callers.admit(peer.parse().unwrap());
        assert!(admits("192.0.2.1:40000") && admits("127.0.0.1:40000"));
        for neighbour in ["192.0.2.2:40000", "192.0.2.0:1", "[::ffff:192.0.2.1]:1"] {
            assert!(!admits(neighbour), "{neighbour}");
        }
    }

    #[test]
    fn what_is_no_port_is_not_published() {
        for text in [
            "",
            "0",
            ":",
            "4096:",
            ":4096",
            "1:2:3",
            "0.0.0.0:80:80",
            "65536",
            "+1",
            "1:0",
        ] {
            assert_eq!(parsed(text), None, "{text}");
        }
    }
}
