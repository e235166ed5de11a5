//! Serves `/live`, `/ready`, `/status` and `/metrics` to whoever watches the proxy, on a socket that the agent cannot reach.
//!
//! A unix socket of mode 0600 beside the record; on request a loopback address of the host as well. It only answers:
//! nothing is changed and nobody is dialled from here. Not here: what is counted (`metrics.rs`). Clauses: W8

use std::convert::Infallible;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::app::App;
use crate::live::Phase;
use crate::status::Status;

/// Watchers at once; more wait in the backlog.
const WATCHERS: usize = 16;
/// How long a watcher may take to ask.
const HEAD: Duration = Duration::from_secs(5);
/// The text format of Prometheus.
const METRICS: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// Makes the socket, for its owner only. One that a dead proxy left is replaced.
///
/// # Errors
/// The directory is not there or not ours.
pub fn bind(path: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    // unix(7): 108 bytes, and state lies deep below a home; a directory's descriptor makes any path short.
    let (directory, name) = (path.parent(), path.file_name());
    let listener = match directory.zip(name) {
        Some((directory, name)) if directory != Path::new("") => {
            let directory = File::open(directory)?;
            let short = format!("/proc/self/fd/{}", directory.as_raw_fd());
            UnixListener::bind(Path::new(&short).join(name))?
        }
        Some(_) | None => UnixListener::bind(path)?,
    };
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// A socket that watchers come to.
pub trait Watched: Send + Sync + 'static {
    /// What one of them speaks over.
    type Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    /// Waits for the next.
    fn next(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

impl Watched for UnixListener {
    type Stream = UnixStream;

    async fn next(&self) -> io::Result<UnixStream> {
        Ok(self.accept().await?.0)
    }
}

impl Watched for TcpListener {
    type Stream = TcpStream;

    async fn next(&self) -> io::Result<TcpStream> {
        Ok(self.accept().await?.0)
    }
}

/// Serves watchers until the proxy ends.
pub async fn serve(listener: impl Watched, app: Arc<App>) {
    let slots = Arc::new(Semaphore::new(WATCHERS));
    let mut watchers = JoinSet::new();
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
            return;
        };
        while watchers.try_join_next().is_some() {}
        let stream = tokio::select! {
            () = app.live.reached(Phase::Ending) => return,
            stream = listener.next() => stream,
        };
        match stream {
            Ok(stream) => {
                let app = Arc::clone(&app);
                watchers.spawn(async move {
                    watch(stream, &app).await;
                    drop(slot);
                });
            }
            // EMFILE and the like: others hold what is missing, and will let go.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn watch(stream: impl AsyncRead + AsyncWrite + Unpin, app: &Arc<App>) {
    let answer = service_fn(|request: Request<Incoming>| {
        let answer = answer(&request, app);
        async move { Ok::<_, Infallible>(answer) }
    });
    // A watcher that breaks off is its own affair.
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), answer)
        .await
        .ok();
}

fn answer<B>(request: &Request<B>, app: &App) -> Response<Full<Bytes>> {
    let (status, kind, body) = match (request.method(), request.uri().path()) {
        (&Method::GET, "/live") => (StatusCode::OK, PLAIN, "live\n".to_owned()),
        (&Method::GET, "/ready") => match app.live.phase() {
            Phase::Running => (StatusCode::OK, PLAIN, "ready\n".to_owned()),
            Phase::Draining | Phase::Ending => (
                StatusCode::SERVICE_UNAVAILABLE,
                PLAIN,
                "ending\n".to_owned(),
            ),
        },
        (&Method::GET, "/status") => {
            // Our own values: they always serialize.
            let status = serde_json::to_string(&Status::of(app)).unwrap_or_default();
            (StatusCode::OK, JSON, status + "\n")
        }
        (&Method::GET, "/metrics") => (StatusCode::OK, METRICS, app.sink.metrics().render()),
        (&Method::GET, _) => (
            StatusCode::NOT_FOUND,
            PLAIN,
            "there is /live, /ready, /status and /metrics\n".to_owned(),
        ),
        (_, _) => (
            StatusCode::METHOD_NOT_ALLOWED,
            PLAIN,
            "only GET\n".to_owned(),
        ),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
