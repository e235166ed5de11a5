//! A scripted stand-in for an OpenAI-compatible model server: it never thinks, it plays its steps.
//!
//! Responsible for: `/v1/models` and `/v1/chat/completions`, streamed or whole. The step follows from how many tool
//! results the conversation holds, so the server keeps no state and may be asked twice.
//! Not for: judging what the agent did with a step.

use std::convert::Infallible;
use std::sync::Arc;

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// The name of the one model.
pub const MODEL: &str = "scripted";

/// One turn of the model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Calls the agent's bash tool with this command.
    Bash(String),
    /// Says this, and ends the task.
    Say(String),
}

/// Serves the script for as long as the process lives.
///
/// # Errors
/// The listener fails.
pub async fn serve(listener: TcpListener, steps: Vec<Step>) -> Result<()> {
    let steps = Arc::new(steps);
    loop {
        let (stream, _) = listener.accept().await.context("accept a connection")?;
        let steps = Arc::clone(&steps);
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let steps = Arc::clone(&steps);
                async move { Ok::<_, Infallible>(respond(request, &steps).await) }
            });
            hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await
        });
    }
}

async fn respond(request: Request<Incoming>, steps: &[Step]) -> Response<Full<Bytes>> {
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/v1/models") => json_response(
            &json!({"object": "list", "data": [{"id": MODEL, "object": "model", "owned_by": "tests"}]}),
        ),
        (&Method::POST, "/v1/chat/completions") => match request.into_body().collect().await {
            Ok(body) => complete(&body.to_bytes(), steps),
            Err(error) => failed(StatusCode::BAD_REQUEST, &error.to_string()),
        },
        _ => failed(StatusCode::NOT_FOUND, "no such endpoint"),
    }
}

fn complete(body: &[u8], steps: &[Step]) -> Response<Full<Bytes>> {
    let Ok(asked) = serde_json::from_slice::<Value>(body) else {
        return failed(StatusCode::BAD_REQUEST, "not JSON");
    };
    let step = next_step(&asked, steps);
    if asked.get("stream").and_then(Value::as_bool) == Some(true) {
        stream(&step)
    } else {
        json_response(&whole(&step))
    }
}

/// A conversation without tools is the agent asking for a title.
fn next_step(asked: &Value, steps: &[Step]) -> Step {
    let has_tools = asked
        .get("tools")
        .and_then(Value::as_array)
        .is_some_and(|tools| !tools.is_empty());
    if !has_tools {
        return Step::Say("A scripted task".to_owned());
    }
    let messages = asked
        .get("messages")
        .and_then(Value::as_array)
        .map_or(&[][..], Vec::as_slice);
    let played = messages
        .iter()
        .filter(|message| message.get("role") == Some(&json!("tool")))
        .count();
    steps
        .get(played)
        .cloned()
        .unwrap_or_else(|| Step::Say("The script is at its end.".to_owned()))
}

fn message(step: &Step) -> (Value, &'static str) {
    match step {
        Step::Say(text) => (json!({"role": "assistant", "content": text}), "stop"),
        Step::Bash(line) => {
            let arguments =
                json!({"command": line, "description": "Runs a step of the script"}).to_string();
            let function = json!({"name": "bash", "arguments": arguments});
            let call =
                json!({"index": 0, "id": "call_1", "type": "function", "function": function});
            (
                json!({"role": "assistant", "content": null, "tool_calls": [call]}),
                "tool_calls",
            )
        }
    }
}

fn whole(step: &Step) -> Value {
    let (message, reason) = message(step);
    let choice = json!({"index": 0, "message": message, "finish_reason": reason});
    json!({"id": "chatcmpl-1", "object": "chat.completion", "created": 0, "model": MODEL, "choices": [choice], "usage": usage()})
}

/// The step as two server-sent chunks: what is said, and that it ends.
fn stream(step: &Step) -> Response<Full<Bytes>> {
    let (delta, reason) = message(step);
    let chunk = |choices: Value| json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 0, "model": MODEL, "choices": choices, "usage": usage()});
    let chunks = [
        chunk(json!([{"index": 0, "delta": delta, "finish_reason": null}])),
        chunk(json!([{"index": 0, "delta": {}, "finish_reason": reason}])),
    ];
    let mut body: String = chunks
        .iter()
        .map(|chunk| format!("data: {chunk}\n\n"))
        .collect();
    body.push_str("data: [DONE]\n\n");
    with_type("text/event-stream", StatusCode::OK, body)
}

fn usage() -> Value {
    json!({"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2})
}

fn json_response(value: &Value) -> Response<Full<Bytes>> {
    with_type("application/json", StatusCode::OK, value.to_string())
}

fn failed(status: StatusCode, why: &str) -> Response<Full<Bytes>> {
    with_type(
        "application/json",
        status,
        json!({"error": {"message": why}}).to_string(),
    )
}

fn with_type(kind: &'static str, status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(
        hyper::header::CONTENT_TYPE,
        hyper::header::HeaderValue::from_static(kind),
    );
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script() -> Vec<Step> {
        vec![Step::Bash("true".to_owned()), Step::Say("done".to_owned())]
    }

    #[test]
    fn a_conversation_without_tools_gets_a_title() {
        let asked = json!({"messages": [{"role": "user", "content": "x"}]});
        assert_eq!(
            next_step(&asked, &script()),
            Step::Say("A scripted task".to_owned())
        );
    }

    #[test]
    fn each_tool_result_moves_the_script_on_by_one_step() {
        let tools = json!([{"type": "function"}]);
        let asked = |messages: Value| json!({"tools": tools, "messages": messages});
        assert_eq!(
            next_step(&asked(json!([{"role": "user"}])), &script()),
            Step::Bash("true".to_owned())
        );
        let later = json!([{"role": "user"}, {"role": "assistant"}, {"role": "tool"}]);
        assert_eq!(
            next_step(&asked(later), &script()),
            Step::Say("done".to_owned())
        );
    }
}
