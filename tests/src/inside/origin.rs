//! The world's TCP listeners: each connection is logged byte for byte before it is answered.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context as Task, Poll, ready};

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue, LOCATION};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::spec::{Connection, HttpRequest, Service};

/// Most of one connection's bytes that are kept: a bulk transfer is judged by its first part.
const KEPT: usize = 256 * 1024;

/// What all listeners share.
#[derive(Debug, Default)]
pub(super) struct Log(Mutex<Vec<Arc<Mutex<Seen>>>>);

#[derive(Debug)]
struct Seen {
    side: &'static str,
    local: SocketAddr,
    sni: Option<String>,
    wire: Vec<u8>,
    requests: Vec<HttpRequest>,
}

/// What a listener needs to answer.
#[derive(Clone)]
pub(super) struct Answering {
    pub(super) log: Arc<Log>,
    pub(super) tls: TlsAcceptor,
    pub(super) files: PathBuf,
}

impl Log {
    pub(super) fn connections(&self) -> Result<Vec<Connection>> {
        let all = self.0.lock().map_err(|_| anyhow::anyhow!("poisoned"))?;
        all.iter()
            .map(|seen| Ok(seen.lock().map_err(|_| anyhow::anyhow!("poisoned"))?.told()))
            .collect()
    }

    pub(super) fn forget(&self) -> Result<()> {
        self.0
            .lock()
            .map_err(|_| anyhow::anyhow!("poisoned"))?
            .clear();
        Ok(())
    }

    fn open(&self, side: &'static str, local: SocketAddr) -> Result<Arc<Mutex<Seen>>> {
        let seen = Seen {
            side,
            local,
            sni: None,
            wire: Vec::new(),
            requests: Vec::new(),
        };
        let seen = Arc::new(Mutex::new(seen));
        self.0
            .lock()
            .map_err(|_| anyhow::anyhow!("poisoned"))?
            .push(Arc::clone(&seen));
        Ok(seen)
    }
}

impl Seen {
    fn told(&self) -> Connection {
        Connection {
            side: self.side.to_owned(),
            address: self.local.ip().to_canonical(),
            port: self.local.port(),
            sni: self.sni.clone(),
            wire: self.wire.escape_ascii().to_string(),
            requests: self.requests.clone(),
        }
    }
}

/// Accepts for as long as the world lives.
pub(super) async fn serve(
    side: &'static str,
    listener: TcpListener,
    service: Service,
    answering: Answering,
) -> Result<()> {
    loop {
        let (stream, _) = listener.accept().await.context("accept a connection")?;
        let answering = answering.clone();
        tokio::spawn(async move { converse(side, stream, service, answering).await });
    }
}

async fn converse(
    side: &'static str,
    stream: TcpStream,
    service: Service,
    answering: Answering,
) -> Result<()> {
    let seen = answering.log.open(side, stream.local_addr()?)?;
    let mut stream = Tee {
        inner: stream,
        seen: Arc::clone(&seen),
    };
    match service {
        Service::Http => http(stream, seen, answering.files).await,
        Service::Https => {
            let stream = answering.tls.accept(stream).await.context("shake hands")?;
            let name = stream.get_ref().1.server_name().map(str::to_owned);
            seen.lock().map_err(|_| anyhow::anyhow!("poisoned"))?.sni = name;
            http(stream, seen, answering.files).await
        }
        Service::Banner => {
            stream.write_all(b"SSH-2.0-world\r\n").await?;
            tokio::io::copy(&mut stream, &mut tokio::io::sink()).await?;
            Ok(())
        }
        Service::Echo => {
            let mut buffer = vec![0; 16 * 1024];
            loop {
                let length = stream.read(&mut buffer).await?;
                let Some(bytes) = buffer.get(..length).filter(|bytes| !bytes.is_empty()) else {
                    return Ok(());
                };
                stream.write_all(bytes).await?;
            }
        }
    }
}

async fn http<S>(stream: S, seen: Arc<Mutex<Seen>>, files: PathBuf) -> Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| {
        let (seen, files) = (Arc::clone(&seen), files.clone());
        async move { Ok::<_, Infallible>(respond(request, &seen, files).await) }
    });
    hyper::server::conn::http1::Builder::new()
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service)
        .await
        .context("serve HTTP")
}

async fn respond(
    request: Request<Incoming>,
    seen: &Mutex<Seen>,
    files: PathBuf,
) -> Response<Full<Bytes>> {
    let head = HttpRequest {
        method: request.method().to_string(),
        target: request.uri().to_string(),
        headers: request
            .headers()
            .iter()
            .map(|(name, value)| {
                (
                    name.to_string(),
                    value.as_bytes().escape_ascii().to_string(),
                )
            })
            .collect(),
    };
    let host = head.header("host").unwrap_or_default().to_owned();
    let path = request.uri().path().to_owned();
    let query = request.uri().query().unwrap_or_default().to_owned();
    if let Ok(mut seen) = seen.lock() {
        seen.requests.push(head);
    }
    let body = match request.into_body().collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => return plain(StatusCode::BAD_REQUEST, error.to_string().into()),
    };
    if let Some(name) = path.strip_prefix("/static/") {
        let name = if name.ends_with('/') {
            format!("{name}index.html")
        } else {
            name.to_owned()
        };
        let mut response = file(files.join(&name)).await;
        if name.ends_with(".html") {
            let html = HeaderValue::from_static("text/html");
            response.headers_mut().insert(CONTENT_TYPE, html);
        }
        return response;
    }
    if let Some(count) = path
        .strip_prefix("/bytes/")
        .and_then(|count| count.parse::<usize>().ok())
    {
        return plain(StatusCode::OK, vec![b'x'; count].into());
    }
    match path.as_str() {
        "/redirect" => redirect(&query),
        "/sink" => plain(StatusCode::OK, format!("got {} bytes\n", body.len()).into()),
        _ => plain(StatusCode::OK, format!("hello from {host}\n").into()),
    }
}

async fn file(path: PathBuf) -> Response<Full<Bytes>> {
    match tokio::task::spawn_blocking(move || std::fs::read(path)).await {
        Ok(Ok(content)) => plain(StatusCode::OK, content.into()),
        Ok(Err(_)) | Err(_) => plain(StatusCode::NOT_FOUND, Bytes::from_static(b"no such file\n")),
    }
}

fn redirect(query: &str) -> Response<Full<Bytes>> {
    let target = query.strip_prefix("to=").unwrap_or_default();
    let mut response = plain(StatusCode::FOUND, Bytes::new());
    if let Ok(value) = target.parse() {
        response.headers_mut().insert(LOCATION, value);
    }
    response
}

fn plain(status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response
}

/// Writes down what is read, before anybody acts on it.
#[derive(Debug)]
struct Tee {
    inner: TcpStream,
    seen: Arc<Mutex<Seen>>,
}

impl AsyncRead for Tee {
    fn poll_read(
        mut self: Pin<&mut Self>,
        task: &mut Task<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(task, buffer))?;
        let fresh = buffer.filled().get(before..).unwrap_or_default();
        if let Ok(mut seen) = self.seen.lock() {
            let room = KEPT.saturating_sub(seen.wire.len());
            seen.wire.extend(fresh.iter().take(room));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tee {
    fn poll_write(
        mut self: Pin<&mut Self>,
        task: &mut Task<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(task, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(task)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(task)
    }
}
