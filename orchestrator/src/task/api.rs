//! Questions to an OpenCode server on a published port of this host. Its answers are the agent's: their size is bounded, and
//! nothing of them is believed but that they are JSON.
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

/// The largest answer. As values it can take twenty times as much memory.
const ANSWER_MAX_BYTES: usize = 16 << 20;

/// A server, and who asks.
#[derive(Debug)]
pub(crate) struct Api {
    port: u16,
    authorization: String,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    /// It cannot be reached, or broke off.
    #[error("the server does not answer: {0}")]
    Gone(String),
    /// It answers something else.
    #[error("the server refuses: {0}")]
    Refused(StatusCode),
    /// Not in time.
    #[error("the server does not answer in time")]
    Slow,
}

impl Api {
    /// The server at `port` of 127.0.0.1; `authorization` is that header's value.
    pub(crate) fn new(port: u16, authorization: String) -> Self {
        Self {
            port,
            authorization,
        }
    }

    /// What is at `path`.
    pub(super) async fn get(&self, path: &str, limit: Duration) -> Result<Value, ApiError> {
        self.ask(Method::GET, path, Bytes::new(), limit).await
    }

    /// What it says to `body`.
    pub(super) async fn post(
        &self,
        path: &str,
        body: &Value,
        limit: Duration,
    ) -> Result<Value, ApiError> {
        self.ask(Method::POST, path, body.to_string().into(), limit)
            .await
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        limit: Duration,
    ) -> Result<Value, ApiError> {
        let answer = tokio::time::timeout(limit, self.answer(method, path, body));
        let (status, body) = answer
            .await
            .map_err(|_| ApiError::Slow)?
            .map_err(ApiError::Gone)?;
        if !status.is_success() {
            return Err(ApiError::Refused(status));
        }
        serde_json::from_slice(&body).map_err(|error| ApiError::Gone(error.to_string()))
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the host's own published port, where our proxy listens"
    )]
    async fn answer(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), String> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let stream = TcpStream::connect(address)
            .await
            .map_err(|error| error.to_string())?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| error.to_string())?;
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("Host", address.to_string())
            .header("Authorization", &self.authorization)
            .header("Content-Type", "application/json")
            .body(Full::new(body))
            .map_err(|error| error.to_string())?;
        let answered = async {
            let answer = sender
                .send_request(request)
                .await
                .map_err(|error| error.to_string())?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), ANSWER_MAX_BYTES)
                .collect()
                .await;
            let body = body.map_err(|error| error.to_string())?;
            Ok((status, body.to_bytes()))
        };
        // The connection does its work while it is polled, and may end before the answer was read to its end.
        let mut answered = std::pin::pin!(answered);
        tokio::select! {
            answer = &mut answered => answer,
            ended = connection => match ended {
                Ok(()) => answered.await,
                Err(error) => Err(error.to_string()),
            },
        }
    }
}
