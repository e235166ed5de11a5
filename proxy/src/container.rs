//! What is different in a container of our own: the namespace's sockets come over a path on a volume, the starter is known by
//! standard input alone, and the engine tells in files where the host is.
//!
//! Not here: what the sockets are (`sockets`), and what published ports lead to (`publish`).
//!
//! Clauses: N9, U1, U2.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use tokio::io::unix::AsyncFd;

use crate::sockets::watch;

/// Something that an engine tells its containers, and that is not there.
#[derive(Debug, thiserror::Error)]
pub enum Untold {
    /// `ocs-netctl` does not wait at the path, and nobody came to in time.
    #[error("connect to ocs-netctl at {path}: {error}")]
    Holder {
        /// The path.
        path: String,
        /// The system's word.
        error: io::Error,
    },
    /// The host has no address under this name.
    #[error("/etc/hosts has no address for {0}: the engine was not told where the host is")]
    Host(String),
    /// No route leads out.
    #[error("this container has no default gateway, by which published ports could be reached")]
    Gateway,
    /// A file of the system cannot be read.
    #[error("read {path}: {error}")]
    Unreadable {
        /// Which.
        path: &'static str,
        /// The system's word.
        error: io::Error,
    },
}

/// The holder is started at the same time, and its path is there a moment after its rules are.
const PATIENCE: Duration = Duration::from_secs(15);
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// The connection to `ocs-netctl`, which waits for one at `path`.
///
/// # Errors
/// [`Untold::Holder`]: nobody waits there, or not for us.
pub(crate) fn connect(path: &Path) -> Result<OwnedFd, Untold> {
    let failed = |errno: Errno| Untold::Holder {
        path: path.display().to_string(),
        error: errno.into(),
    };
    let address = SocketAddrUnix::new(path).map_err(failed)?;
    let until = Instant::now() + PATIENCE;
    loop {
        let socket = rustix::net::socket_with(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .map_err(failed)?;
        match rustix::net::connect(&socket, &address) {
            Ok(()) => return Ok(socket),
            // Not there yet, or there and not listening yet.
            Err(Errno::NOENT | Errno::CONNREFUSED) if Instant::now() < until => {
                std::thread::sleep(LOOK_AGAIN);
            }
            Err(errno) => return Err(failed(errno)),
        }
    }
}

/// What ties the proxy to its starter: standard input, which nobody writes to, and which ends when the starter is gone.
#[derive(Debug)]
pub(crate) struct Leash(AsyncFd<OwnedFd>);

impl Leash {
    /// Takes standard input. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// It is no pipe, socket or terminal, and so would never tell.
    pub(crate) fn on_stdin() -> io::Result<Self> {
        watch(io::stdin().as_fd().try_clone_to_owned()?).map(Self)
    }

    /// Returns when the starter is gone.
    pub(crate) async fn let_go(&self) {
        let mut ignored = [0; 256];
        loop {
            let read = self.0.async_io(tokio::io::Interest::READABLE, |fd| {
                rustix::io::read(fd, &mut ignored).map_err(io::Error::from)
            });
            if matches!(read.await, Ok(0) | Err(_)) {
                return;
            }
        }
    }
}

const HOSTS: &str = "/etc/hosts";
const ROUTES: &str = "/proc/net/route";

/// The addresses that the engine wrote into the hosts file for `name`.
///
/// # Errors
/// [`Untold`]: there is none.
pub(crate) fn host_addresses(name: &str) -> Result<Vec<IpAddr>, Untold> {
    let addresses = addresses_of(name, &read(HOSTS)?);
    if addresses.is_empty() {
        return Err(Untold::Host(name.to_owned()));
    }
    Ok(addresses)
}

/// The container's default gateway.
///
/// # Errors
/// [`Untold`]: there is none.
pub(crate) fn gateway() -> Result<Ipv4Addr, Untold> {
    default_route(&read(ROUTES)?).ok_or(Untold::Gateway)
}

fn read(path: &'static str) -> Result<String, Untold> {
    std::fs::read_to_string(path).map_err(|error| Untold::Unreadable { path, error })
}

/// hosts(5): an address, then its names; what follows a `#` is a comment.
fn addresses_of(name: &str, hosts: &str) -> Vec<IpAddr> {
    let lines = hosts
        .lines()
        .filter_map(|line| line.split('#').next())
        .map(str::split_whitespace);
    let mut found: Vec<IpAddr> = Vec::new();
    for mut words in lines {
        let Some(address) = words.next().and_then(|word| word.parse().ok()) else {
            continue;
        };
        if words.any(|word| word.eq_ignore_ascii_case(name)) && !found.contains(&address) {
            found.push(address);
        }
    }
    found
}

/// `/proc/net/route`: interface, destination, gateway, in hexadecimal, as the bytes lie in memory.
fn default_route(table: &str) -> Option<Ipv4Addr> {
    table.lines().skip(1).find_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let destination = u32::from_str_radix(words.next()?, 16).ok()?;
        let gateway = u32::from_str_radix(words.next()?, 16).ok()?;
        (destination == 0 && gateway != 0).then(|| Ipv4Addr::from(gateway.to_ne_bytes()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_docker_host(hosts: &str) -> Vec<String> {
        let found = addresses_of("docker.host", hosts);
        found.iter().map(IpAddr::to_string).collect()
    }

    #[test]
    fn the_host_is_where_the_hosts_file_says() {
        let hosts = "127.0.0.1\tlocalhost\n192.0.2.1\thost.docker.internal Docker.Host\n2001:db8::1 docker.host\n";
        assert_eq!(of_docker_host(hosts), ["192.0.2.1", "2001:db8::1"]);
    }

    #[test]
    fn what_only_looks_like_the_host_is_not_it() {
        let hosts = "# 192.0.2.1 docker.host\n192.0.2.2 other # docker.host\n192.0.2.3 docker.host.evil\n\
                     nonsense docker.host\n192.0.2.4\n\n";
        assert_eq!(of_docker_host(hosts), [""; 0]);
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn the_gateway_is_that_of_the_default_route() {
        let heading = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\n";
        let route = |rest: &str| default_route(&format!("{heading}{rest}"));
        let network = "eth0\t000012AC\t00000000\t0001\t0\t0\t0\t0000FFFF\n";
        let default = "eth0\t00000000\t010012AC\t0003\t0\t0\t0\t00000000\n";
        let expected = Some(Ipv4Addr::new(172, 18, 0, 1));
        assert_eq!(route(&format!("{network}{default}")), expected);
        for without in [
            "",
            network,
            "eth0\t00000000\t00000000\t0001\n",
            "eth0\tx\ty\n",
        ] {
            assert_eq!(route(without), None, "{without}");
        }
    }
}
