//! The world process from its order to its end.
//!
//! The order is the first line of stdin; every further line is answered by one on stdout. The end of stdin ends the
//! world: a test that dies takes it along.

use std::io::{self, BufRead, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

use super::dns::Dns;
use super::links::Networks;
use super::origin::{self, Answering, Log};
use super::{census, flows, program, tls};
use crate::spec::{Ask, Bind, HostListener, Listener, Readings, Reply, Service, Spec};

/// Held while a program of ours runs, so that the reaper takes only what was orphaned.
static SPAWNING: Mutex<()> = Mutex::new(());

/// Makes the world that stdin orders, and serves it until stdin ends.
///
/// # Errors
/// Whatever hinders the world from being made as ordered.
pub fn main() -> Result<()> {
    ensure!(
        std::process::id() == 1,
        "the world must be process 1 of a pid namespace; tests start it"
    );
    let mut lines = io::stdin().lock().lines();
    let order = lines
        .next()
        .context("no order on stdin")?
        .context("read the order")?;
    let spec: Spec = serde_json::from_str(&order).context("parse the order")?;
    spec.binds.iter().try_for_each(bind)?;
    let networks = Networks::make()?;
    networks.on_internet(flows::start)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let world = World::open(&runtime, spec, networks)?;
    runtime.spawn(reap());
    let mut out = io::stdout().lock();
    answer(&mut out, &Reply::Done)?;
    for line in lines {
        let ask =
            serde_json::from_str(&line.context("read an order")?).context("parse an order")?;
        let reply = runtime
            .block_on(world.obey(ask))
            .unwrap_or_else(|error| Reply::Failed(format!("{error:#}")));
        answer(&mut out, &reply)?;
    }
    Ok(())
}

fn answer(out: &mut impl Write, reply: &Reply) -> Result<()> {
    serde_json::to_writer(&mut *out, reply).context("write a reply")?;
    out.write_all(b"\n")
        .and_then(|()| out.flush())
        .context("write a reply")
}

fn bind(bind: &Bind) -> Result<()> {
    let (from, to) = (&bind.from, &bind.to);
    mount(
        Some(from),
        to,
        None::<&str>,
        MsFlags::MS_BIND | MsFlags::MS_REC,
        None::<&str>,
    )
    .with_context(|| format!("bind {} to {}", from.display(), to.display()))
}

struct World {
    networks: Networks,
    dns: Arc<Dns>,
    log: Arc<Log>,
    markers: [tokio::net::UdpSocket; 2],
}

impl World {
    fn open(runtime: &Runtime, spec: Spec, networks: Networks) -> Result<Self> {
        let guard = runtime.enter();
        let (dns, log) = (Dns::new(spec.zone), Arc::new(Log::default()));
        let tls = tls::acceptor(&spec.certificate, &spec.key)?;
        let answering = Answering {
            log: Arc::clone(&log),
            tls,
            files: spec.files,
        };
        let sockets = networks.on_internet(move || InternetSockets::open(&spec.origins))?;
        for socket in sockets.datagram {
            runtime.spawn(Arc::clone(&dns).serve_udp(tokio::net::UdpSocket::from_std(socket)?));
        }
        for listener in sockets.dns {
            runtime.spawn(Arc::clone(&dns).serve_tcp(tokio::net::TcpListener::from_std(listener)?));
        }
        for (listener, service) in sockets.origins {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            runtime.spawn(origin::serve(
                "internet",
                listener,
                service,
                answering.clone(),
            ));
        }
        let [marker4, marker6] = sockets.markers.map(tokio::net::UdpSocket::from_std);
        let markers = [marker4?, marker6?];
        for (listener, service) in networks.on_host(move || host_sockets(&spec.host))? {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            runtime.spawn(origin::serve("host", listener, service, answering.clone()));
        }
        drop(guard);
        Ok(Self {
            networks,
            dns,
            log,
            markers,
        })
    }

    async fn obey(&self, ask: Ask) -> Result<Reply> {
        match ask {
            Ask::Answer(name, answers) => self.dns.set(name, answers)?,
            Ask::Census => {
                return Ok(Reply::Census(with_reaper_held(|| {
                    census::take(&self.networks)
                })?));
            }
            Ask::Forget => {
                self.catch_up().await?;
                self.dns.forget()?;
                self.log.forget()?;
                with_reaper_held(|| self.networks.on_internet(flows::forget))?;
            }
            Ask::Readings => {
                self.catch_up().await?;
                let flows = with_reaper_held(|| self.networks.on_internet(flows::read))?;
                let connections = self.log.connections()?;
                return Ok(Reply::Readings(Readings {
                    queries: self.dns.queries()?,
                    connections,
                    flows,
                }));
            }
            Ask::Serve(program) => {
                with_reaper_held(|| self.networks.on_internet(move || program::serve(&program)))?;
            }
        }
        Ok(Reply::Done)
    }

    async fn catch_up(&self) -> Result<()> {
        self.dns.catch_up(&self.markers).await
    }
}

struct InternetSockets {
    datagram: Vec<UdpSocket>,
    dns: Vec<TcpListener>,
    origins: Vec<(TcpListener, Service)>,
    markers: [UdpSocket; 2],
}

impl InternetSockets {
    fn open(origins: &[Listener]) -> Result<Self> {
        let (any4, any6) = (
            IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        );
        let datagram = [any4, any6].map(|address| datagram(SocketAddr::new(address, 53)));
        let dns = vec![stream(any4, 53)?, stream(any6, 53)?];
        let mut listeners = Vec::new();
        for Listener { port, service } in origins {
            for address in [any4, any6] {
                listeners.push((stream(address, *port)?, *service));
            }
        }
        let markers = [
            mark(Ipv4Addr::LOCALHOST.into())?,
            mark(Ipv6Addr::LOCALHOST.into())?,
        ];
        Ok(Self {
            datagram: datagram.into_iter().collect::<Result<_>>()?,
            dns,
            origins: listeners,
            markers,
        })
    }
}

fn host_sockets(listeners: &[HostListener]) -> Result<Vec<(TcpListener, Service)>> {
    listeners
        .iter()
        .map(|entry| Ok((stream(entry.address, entry.port)?, entry.service)))
        .collect()
}

/// A socket whose datagrams reach the DNS server by the loopback, past the counters.
fn mark(loopback: IpAddr) -> Result<UdpSocket> {
    let socket = datagram(SocketAddr::new(loopback, 0))?;
    socket
        .connect((loopback, 53))
        .context("point a mark at the DNS server")?;
    Ok(socket)
}

fn datagram(address: SocketAddr) -> Result<UdpSocket> {
    let domain = socket2::Domain::for_address(address);
    let socket =
        socket2::Socket::new(domain, socket2::Type::DGRAM, None).context("make a UDP socket")?;
    if address.is_ipv6() {
        socket.set_only_v6(true).context("keep IPv6 apart")?;
    }
    socket
        .bind(&address.into())
        .with_context(|| format!("bind UDP {address}"))?;
    socket.set_nonblocking(true).context("unblock a socket")?;
    Ok(socket.into())
}

fn stream(address: IpAddr, port: u16) -> Result<TcpListener> {
    let address = SocketAddr::new(address, port);
    let domain = socket2::Domain::for_address(address);
    let socket =
        socket2::Socket::new(domain, socket2::Type::STREAM, None).context("make a TCP socket")?;
    socket.set_reuse_address(true).context("reuse an address")?;
    if address.is_ipv6() {
        socket.set_only_v6(true).context("keep IPv6 apart")?;
    }
    socket
        .bind(&address.into())
        .with_context(|| format!("bind TCP {address}"))?;
    socket
        .listen(1024)
        .with_context(|| format!("listen on {address}"))?;
    socket.set_nonblocking(true).context("unblock a socket")?;
    Ok(socket.into())
}

fn with_reaper_held<T>(work: impl FnOnce() -> T) -> T {
    let guard = SPAWNING.lock().unwrap_or_else(PoisonError::into_inner);
    let result = work();
    drop(guard);
    result
}

/// What every process 1 owes: orphans do not stay zombies.
async fn reap() -> Result<()> {
    let mut ended = signal(SignalKind::child()).context("watch for ended processes")?;
    loop {
        with_reaper_held(|| {
            loop {
                match waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG)) {
                    Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => break,
                    Ok(_) | Err(_) => {}
                }
            }
        });
        ended.recv().await.context("no more signals")?;
    }
}
