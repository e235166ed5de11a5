//! Serves `/live`, `/ready`, `/status`, `/questions` and `/metrics` to whoever watches the proxy, on a socket that the agent cannot reach.
//!
//! A unix socket of mode 0600 beside the record; on request a loopback address of the host as well. Nobody is dialled from
//! here, and nothing is changed but by `POST /questions/N`, over the unix socket, where the kernel says who it is.
//! Not here: what is counted (`metrics.rs`), what an answer opens (`questions.rs`). Clauses: P10, W8

use std::convert::Infallible;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Collected, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue};
use hyper::http::uri::Authority;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use policies::audit::{Approver, Reply, Text};
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::app::App;
use crate::live::Phase;
use crate::metrics::Waiting;
use crate::questions::{self, Unheard};
use crate::status::Status;

/// Watchers at once; more wait in the backlog.
const WATCHERS: usize = 16;
/// Bytes of an answer to a question; a user's name is the longest of it.
const LONGEST_ANSWER: usize = 4096;
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

    /// Whose process it is, where the kernel says so.
    fn uid(stream: &Self::Stream) -> Option<u32>;
}

impl Watched for UnixListener {
    type Stream = UnixStream;

    async fn next(&self) -> io::Result<UnixStream> {
        Ok(self.accept().await?.0)
    }

    fn uid(stream: &UnixStream) -> Option<u32> {
        stream.peer_cred().ok().map(|peer| peer.uid())
    }
}

impl Watched for TcpListener {
    type Stream = TcpStream;

    async fn next(&self) -> io::Result<TcpStream> {
        Ok(self.accept().await?.0)
    }

    fn uid(_: &TcpStream) -> Option<u32> {
        None
    }
}

/// Serves watchers until the proxy ends.
pub async fn serve<L: Watched>(listener: L, app: Arc<App>) {
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
                let uid = L::uid(&stream);
                watchers.spawn(async move {
                    watch(stream, uid, &app).await;
                    drop(slot);
                });
            }
            // EMFILE and the like: others hold what is missing, and will let go.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn watch(stream: impl AsyncRead + AsyncWrite + Unpin, uid: Option<u32>, app: &Arc<App>) {
    let answer = service_fn(async |request: Request<Incoming>| {
        if uid.is_none() && !names_loopback(&request) {
            let said = "the Host is not this machine's loopback\n".to_owned();
            return Ok::<_, Infallible>(respond(StatusCode::MISDIRECTED_REQUEST, PLAIN, said));
        }
        let answer = match request.uri().path().strip_prefix("/questions/") {
            Some(number) if request.method() == Method::POST => {
                let number = number.parse().ok();
                reply(number, request.into_body(), uid, app).await
            }
            Some(_) | None => answer(&request, app),
        };
        Ok(answer)
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

/// Whether a request over TCP was meant for us: a browser may be led here by a name that was rebound to loopback.
fn names_loopback<B>(request: &Request<B>) -> bool {
    let host = request.headers().get(HOST);
    let authority = host.and_then(|host| host.to_str().ok()?.parse::<Authority>().ok());
    authority
        .is_some_and(|authority| matches!(authority.host(), "127.0.0.1" | "[::1]" | "localhost"))
}

fn answer<B>(request: &Request<B>, app: &App) -> Response<Full<Bytes>> {
    let (status, kind, body) = match (request.method(), request.uri().path()) {
        (&Method::GET, "/live") => (StatusCode::OK, PLAIN, "live\n".to_owned()),
        (&Method::GET, "/ready") => match app.live.phase() {
            Phase::Running if app.sink.standing().refuses => (
                StatusCode::SERVICE_UNAVAILABLE,
                PLAIN,
                "the record cannot be written\n".to_owned(),
            ),
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
        (&Method::GET, "/questions") => {
            let listing = app.questions.listing(&app.live.policy());
            let listing = serde_json::to_string(&listing).unwrap_or_default();
            (StatusCode::OK, JSON, listing + "\n")
        }
        (&Method::GET, "/metrics") => {
            let waiting = Waiting {
                record: app.sink.standing().owed,
                questions: app.questions.counts().open,
            };
            (StatusCode::OK, METRICS, app.sink.metrics().render(&waiting))
        }
        (&Method::GET, _) => (
            StatusCode::NOT_FOUND,
            PLAIN,
            "there is /live, /ready, /status, /questions and /metrics\n".to_owned(),
        ),
        (_, _) => (
            StatusCode::METHOD_NOT_ALLOWED,
            PLAIN,
            "only GET\n".to_owned(),
        ),
    };
    respond(status, kind, body)
}

fn respond(status: StatusCode, kind: HeaderValue, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

/// What is posted to `/questions/N`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    answer: Reply,
    user: Option<String>,
}

async fn reply(
    number: Option<u32>,
    body: Incoming,
    uid: Option<u32>,
    app: &App,
) -> Response<Full<Bytes>> {
    let said = |status, text: &str| respond(status, PLAIN, format!("{text}\n"));
    let Some(uid) = uid else {
        return said(StatusCode::FORBIDDEN, "answers come over the unix socket");
    };
    let body = timeout(HEAD, Limited::new(body, LONGEST_ANSWER).collect()).await;
    let bytes = body.ok().and_then(Result::ok).map(Collected::to_bytes);
    let answer = bytes.and_then(|bytes| serde_json::from_slice::<Answer>(&bytes).ok());
    let (Some(number), Some(Answer { answer, user })) = (number, answer) else {
        return said(StatusCode::BAD_REQUEST, "that is no answer to a question");
    };
    let by = Approver {
        uid,
        user: user.as_deref().map(Text::new),
    };
    match questions::answer(app, number, answer, by) {
        Ok(()) => said(StatusCode::OK, answer.code()),
        Err(Unheard::Unknown) => said(
            StatusCode::NOT_FOUND,
            "there is no such question any longer",
        ),
        Err(Unheard::Late) => said(StatusCode::CONFLICT, "no request waits for it any longer"),
        Err(Unheard::Unrecorded) => said(
            StatusCode::SERVICE_UNAVAILABLE,
            "the record could not be written",
        ),
    }
}
