//! The one load client that all proxies meet: the works of the table, over loopback.
//!
//! Not responsible for starting anything, nor for figures: each work does a counted number of operations and fails on
//! the first answer that is not the expected one, so that no proxy is quick at being wrong.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::rustls::ClientConfig;

use crate::tls;

/// What is done to a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// New CONNECT, one request, close.
    Tunnel,
    /// Requests in tunnels that stay open.
    Open,
    /// Plain HTTP in absolute form, kept alive.
    Plain,
    /// Bytes down a tunnel; one operation is a mebibyte.
    Download,
    /// Bytes up a tunnel; one operation is a mebibyte.
    Upload,
    /// CONNECT to a name that is not listed; where there is no CONNECT, a request to a port that is not.
    Refused,
    /// New CONNECT, TLS, one request, close.
    Secure,
}

/// Where a work goes.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    /// What the client connects to: the proxy, or what it takes for the origin.
    pub(crate) to: SocketAddr,
    /// The origin's name and port as the proxy is told it.
    pub(crate) origin: String,
    /// Whether the client knows of the proxy.
    pub(crate) way: Way,
    /// How it trusts the origin.
    pub(crate) tls: Arc<ClientConfig>,
}

/// How a client comes to a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// It is redirected, and knows nothing.
    Captured,
    /// It asks.
    Explicit,
}

/// What a work took on the client's side.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    /// Wall time of the whole.
    pub(crate) wall: Duration,
    /// Each operation's latency in microseconds, sorted.
    pub(crate) latencies_us: Vec<u64>,
}

const PATIENCE: Duration = Duration::from_secs(60);
const LANES: u64 = 16; // connections at once: enough to keep two cores busy, measured
const MEBIBYTE: u64 = 1 << 20;

/// Does `count` operations.
///
/// # Errors
/// Any answer that is not the expected one.
pub(crate) async fn run(work: Work, route: &Route, count: u64) -> Result<Run> {
    let start = Instant::now();
    let lanes = match work {
        Work::Download | Work::Upload => 1,
        Work::Tunnel | Work::Open | Work::Plain | Work::Refused | Work::Secure => LANES.min(count),
    };
    let mut set = JoinSet::new();
    for lane in 0..lanes {
        let share = count / lanes + u64::from(lane < count % lanes);
        let route = route.clone();
        set.spawn(async move {
            timeout(PATIENCE, one_lane(work, &route, share))
                .await
                .context("took over a minute")?
        });
    }
    let mut latencies_us = Vec::new();
    while let Some(done) = set.join_next().await {
        latencies_us.append(&mut done??);
    }
    latencies_us.sort_unstable();
    Ok(Run {
        wall: start.elapsed(),
        latencies_us,
    })
}

/// Opens tunnels, to be held until the value is dropped.
///
/// # Errors
/// A tunnel that was not granted.
pub(crate) async fn hold(route: &Route, count: usize) -> Result<Vec<std::net::TcpStream>> {
    let mut held = Vec::with_capacity(count);
    for _ in 0..count {
        let mut stream = tunnel(route).await?;
        if route.way == Way::Captured {
            // Without a request nothing says that the tunnel stands.
            exchange(&mut stream, &get(route, "/small")).await?;
        }
        held.push(stream.into_std()?);
    }
    Ok(held)
}

async fn one_lane(work: Work, route: &Route, count: u64) -> Result<Vec<u64>> {
    match work {
        Work::Tunnel => tunnels(route, count).await,
        Work::Open => open(route, count).await,
        Work::Plain => plain(route, count).await,
        Work::Refused => refusals(route, count).await,
        Work::Secure => secured(route, count).await,
        Work::Download => Ok(vec![download(route, count).await?]),
        Work::Upload => Ok(vec![upload(route, count).await?]),
    }
}

fn get(route: &Route, path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", route.origin).into_bytes()
}

async fn tunnels(route: &Route, count: u64) -> Result<Vec<u64>> {
    let get = get(route, "/small");
    let mut took = Vec::new();
    for _ in 0..count {
        let began = Instant::now();
        exchange(&mut tunnel(route).await?, &get).await?;
        took.push(micros(began));
    }
    Ok(took)
}

async fn secured(route: &Route, count: u64) -> Result<Vec<u64>> {
    let get = get(route, "/small");
    let mut took = Vec::new();
    for _ in 0..count {
        let began = Instant::now();
        let mut stream = tls::shake(&route.tls, tunnel(route).await?).await?;
        exchange(&mut stream, &get).await?;
        took.push(micros(began));
    }
    Ok(took)
}

async fn open(route: &Route, count: u64) -> Result<Vec<u64>> {
    let get = get(route, "/small");
    let mut stream = tunnel(route).await?;
    let mut took = Vec::new();
    for _ in 0..count {
        let began = Instant::now();
        exchange(&mut stream, &get).await?;
        took.push(micros(began));
    }
    Ok(took)
}

async fn refusals(route: &Route, count: u64) -> Result<Vec<u64>> {
    let mut took = Vec::new();
    for _ in 0..count {
        let began = Instant::now();
        refused(route).await?;
        took.push(micros(began));
    }
    Ok(took)
}

/// Plain requests over one connection; a peer that keeps nothing alive pays for a new one each time.
async fn plain(route: &Route, count: u64) -> Result<Vec<u64>> {
    let get = match route.way {
        Way::Captured => get(route, "/small"),
        Way::Explicit => get(route, &format!("http://{}/small", route.origin)),
    };
    let mut took = Vec::new();
    let mut stream = connect(route.to).await?;
    let mut reused = false;
    for _ in 0..count {
        let began = Instant::now();
        let mut kept = exchange(&mut stream, &get).await;
        if kept.is_err() && reused {
            stream = connect(route.to).await?;
            kept = exchange(&mut stream, &get).await;
        }
        reused = kept?;
        if !reused {
            stream = connect(route.to).await?;
        }
        took.push(micros(began));
    }
    Ok(took)
}

#[expect(
    clippy::disallowed_methods,
    reason = "a load client connects to the proxy that it measures, on loopback"
)]
async fn connect(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(address)
        .await
        .with_context(|| format!("connect {address}"))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn tunnel(route: &Route) -> Result<TcpStream> {
    let mut stream = connect(route.to).await?;
    if route.way == Way::Captured {
        return Ok(stream);
    }
    let head = format!("CONNECT {0} HTTP/1.1\r\nHost: {0}\r\n\r\n", route.origin);
    stream.write_all(head.as_bytes()).await?;
    let answer = head_of(&mut stream).await?;
    ensure!(
        answer.starts_with("HTTP/1.1 200") || answer.starts_with("HTTP/1.0 200"),
        "tunnel refused: {answer}"
    );
    Ok(stream)
}

async fn refused(route: &Route) -> Result<()> {
    let mut stream = connect(route.to).await?;
    let request = match route.way {
        Way::Captured => get(route, "/small"),
        Way::Explicit => {
            b"CONNECT refused.test:443 HTTP/1.1\r\nHost: refused.test:443\r\n\r\n".to_vec()
        }
    };
    stream.write_all(&request).await?;
    let answer = head_of(&mut stream).await?; // the client has what it wants to know, and closes
    ensure!(answer.get(9..12) == Some("403"), "not refused: {answer}");
    Ok(())
}

async fn head_of(stream: &mut TcpStream) -> Result<String> {
    let mut head = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let n = stream.read(&mut buffer).await?;
        ensure!(
            n > 0,
            "closed before a whole head: {}",
            String::from_utf8_lossy(&head)
        );
        head.extend_from_slice(buffer.get(..n).unwrap_or_default());
        if head.windows(4).any(|w| w == b"\r\n\r\n") {
            return Ok(String::from_utf8_lossy(&head).into_owned());
        }
    }
}

/// Sends a request and reads its whole answer; `false` when the other side will close.
async fn exchange<S>(stream: &mut S, request: &[u8]) -> Result<bool>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    stream.write_all(request).await?;
    let mut answer = Vec::with_capacity(1024);
    let mut buffer = [0; 4096];
    loop {
        let n = stream.read(&mut buffer).await?;
        ensure!(
            n > 0,
            "closed before the answer's end: {}",
            String::from_utf8_lossy(&answer)
        );
        answer.extend_from_slice(buffer.get(..n).unwrap_or_default());
        if let Some(at) = answer.windows(4).position(|w| w == b"\r\n\r\n") {
            let head =
                String::from_utf8_lossy(answer.get(..at).unwrap_or_default()).to_ascii_lowercase();
            ensure!(head.get(9..12) == Some("200"), "unexpected answer: {head}");
            let length = head
                .lines()
                .find_map(|l| l.strip_prefix("content-length:"))
                .context("no length")?;
            if answer.len() >= at + 4 + length.trim().parse::<usize>()? {
                let closes = head.contains("\r\nconnection: close") || head.starts_with("http/1.0");
                return Ok(!closes);
            }
        }
    }
}

async fn download(route: &Route, mebibytes: u64) -> Result<u64> {
    let mut stream = tunnel(route).await?;
    let began = Instant::now();
    let head = format!(
        "GET /bulk HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
        route.origin
    );
    let mut buffer = vec![0; 1 << 20];
    for _ in 0..mebibytes.div_ceil(crate::origin::BULK_MEBIBYTES) {
        stream.write_all(head.as_bytes()).await?;
        let mut got = 0;
        loop {
            let n = stream.read(&mut buffer).await?;
            if n == 0 {
                break;
            }
            got += n as u64;
        }
        ensure!(
            got >= crate::origin::BULK_MEBIBYTES * MEBIBYTE,
            "short download: {got} bytes"
        );
        stream = tunnel(route).await?;
    }
    Ok(micros(began))
}

async fn upload(route: &Route, mebibytes: u64) -> Result<u64> {
    let mut stream = tunnel(route).await?;
    let began = Instant::now();
    let block = vec![b'x'; 1 << 20];
    stream
        .write_all(&(mebibytes * MEBIBYTE).to_be_bytes())
        .await?;
    for _ in 0..mebibytes {
        stream.write_all(&block).await?;
    }
    let got = stream.read_u64().await.context("the sink did not answer")?;
    ensure!(
        got == mebibytes * MEBIBYTE,
        "the sink got {got} bytes, not {}",
        mebibytes * MEBIBYTE
    );
    Ok(micros(began))
}

fn micros(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX)
}
