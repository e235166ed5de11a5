//! Streamable HTTP on the loopback: who may speak, and how much. The bearer token first, then Host, Origin and the size, which
//! the SDK checks as it is told here.
//! Clauses: O8.
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::shop::Shop;
use super::token::Token;
use crate::exit::{Exit, Failure};

/// The largest request.
const BODY_MAX_BYTES: usize = 4 << 20;
/// Connections at once; more wait.
const CONNECTIONS: usize = 64;
/// How long the head of a request may take.
const HEAD: Duration = Duration::from_secs(10);

type Answer = Response<BoxBody<Bytes, Infallible>>;
type Mcp = StreamableHttpService<Arc<Shop>, LocalSessionManager>;

/// An address of the loopback, or a port of it.
///
/// # Errors
/// It is anything else.
pub(super) fn address(text: &str) -> Result<SocketAddr, Failure> {
    let port = text
        .parse::<u16>()
        .ok()
        .map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    match port.or_else(|| text.parse().ok()) {
        Some(address) if address.ip().is_loopback() => Ok(address),
        Some(_) | None => {
            let message = format!("`{}` is no address of the loopback", text.escape_debug());
            Err(Failure::usage(message).next("--http 127.0.0.1:8443"))
        }
    }
}

/// Listens there.
///
/// # Errors
/// Somebody else does.
pub(super) async fn listen(address: SocketAddr) -> Result<TcpListener, Failure> {
    let listener = TcpListener::bind(address).await;
    listener.map_err(|error| Failure::new(Exit::No, format!("listen on {address}")).because(error))
}

/// Where it listens.
///
/// # Errors
/// It does not.
pub(super) fn address_of(listener: &TcpListener) -> Result<SocketAddr, Failure> {
    listener
        .local_addr()
        .map_err(|error| Failure::new(Exit::No, "ask for the address").because(error))
}

/// Serves until a signal comes.
pub(super) async fn serve(
    listener: TcpListener,
    at: SocketAddr,
    token: Token,
    shop: Arc<Shop>,
) -> Result<(), Failure> {
    let port = at.port();
    let hosts = ["127.0.0.1", "localhost", "[::1]"].map(|host| format!("{host}:{port}"));
    let origins = hosts.each_ref().map(|host| format!("http://{host}"));
    let config = StreamableHttpServerConfig::default()
        .with_allowed_hosts(hosts)
        .with_allowed_origins(origins)
        .enforce_origin_validation()
        .with_max_request_body_bytes(BODY_MAX_BYTES);
    let mcp: Mcp = StreamableHttpService::new(
        move || Ok(Arc::clone(&shop)),
        Arc::new(LocalSessionManager::default()),
        config,
    );
    let gate = Arc::new((mcp, token));
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = tokio::task::JoinSet::new();
    let mut over = std::pin::pin!(told_to_end());
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
            return Ok(());
        };
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(_) => {
                    // Out of descriptors, most likely: those that are in use are given back.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
            () = &mut over => return Ok(()),
        };
        while connections.try_join_next().is_some() {}
        let gate = Arc::clone(&gate);
        connections.spawn(async move {
            let service = service_fn(|request| {
                let gate = Arc::clone(&gate);
                async move { Ok::<_, Infallible>(respond(request, &gate.0, &gate.1).await) }
            });
            let mut server = hyper::server::conn::http1::Builder::new();
            server.timer(TokioTimer::new()).header_read_timeout(HEAD);
            // A client that goes away is no failure of ours.
            server
                .serve_connection(TokioIo::new(stream), service)
                .await
                .ok();
            drop(slot);
        });
    }
}

async fn respond(request: Request<Incoming>, mcp: &Mcp, token: &Token) -> Answer {
    if request.uri().path() != "/mcp" {
        return refused(StatusCode::NOT_FOUND, "the server is at /mcp");
    }
    let shown = request
        .headers()
        .get(AUTHORIZATION)
        .map(hyper::header::HeaderValue::as_bytes);
    let shown = shown.and_then(|value| value.strip_prefix(b"Bearer "));
    if !shown.is_some_and(|shown| token.is(shown)) {
        let mut answer = refused(
            StatusCode::UNAUTHORIZED,
            "the bearer token is missing or wrong",
        );
        let scheme = hyper::header::HeaderValue::from_static("Bearer");
        answer.headers_mut().insert(WWW_AUTHENTICATE, scheme);
        return answer;
    }
    mcp.handle(request).await
}

fn refused(status: StatusCode, why: &'static str) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from_static(why.as_bytes())).boxed());
    *answer.status_mut() = status;
    answer
}

/// Comes with SIGTERM or SIGINT.
pub(crate) async fn told_to_end() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut int)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
}
