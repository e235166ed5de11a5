//! `ocs task --attach`: a task for the sandbox's server that runs already, which spares the start of box and agent. The text goes
//! in the body of a request to the published port of this host; the server is the agent's own and its answers its words.
//!
//! What it asks about this task is granted, as in a task of its own; what a config denies stays denied. When the time is over,
//! or a signal comes, the conversation is told to stop; the box is the server's, and stays.
//! Clauses: O6, O7, U2.
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};
use tokio::runtime::Builder;

use super::api::{Api, ApiError};
use super::changes::Tree;
use super::place::Place;
use super::report::{Attached, Report};
use crate::cli::TaskArgs;
use crate::console::Console;
use crate::exit::{Exit, Failure};
use crate::mcp::told_to_end;
use crate::project::Project;
use crate::server;
use crate::summary::refused_since;
use crate::tools::{Told, of_messages};
use crate::world::World;

/// How often the server is asked whether it asks something.
const ASKING: Duration = Duration::from_millis(200);
/// How long a conversation may take to stop, and any other answer may take.
const SOON: Duration = Duration::from_secs(10);
/// Of a process that SIGTERM ended.
const TERMINATED: u8 = 143;

/// Does one task.
pub(super) fn perform(
    args: &TaskArgs,
    begun: Instant,
    task: Vec<u8>,
    (project, world): (&Project, &World),
    console: &mut Console<'_>,
) -> Result<(Report, Exit), Failure> {
    let text = String::from_utf8(task)
        .map_err(|_| Failure::usage("a server takes text, and the task is none (UTF-8)"))?;
    let (facts, api) = server::to_attach(project)?;
    let place = Place::new(project, args, world, text.as_bytes())?;
    let (before, since) = (Tree::of(project.root()), SystemTime::now().into());
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime =
        runtime.map_err(|error| Failure::new(Exit::No, "start a runtime").because(error))?;
    let limit = Duration::from_secs(args.timeout).saturating_sub(begun.elapsed());
    let (told, events, over) = runtime.block_on(converse(&api, &text, limit));
    place.keep_events(&events)?;
    let refused = match &facts.record {
        Some(record) => refused_since(record, since)
            .map_err(|error| Failure::new(Exit::No, "read the record").because(error))?,
        None => Vec::new(),
    };
    let (exit, timed_out) = match over {
        Over::Done => (Exit::Ok, false),
        Over::Late => (Exit::Timeout, true),
        Over::Signal => (Exit::Agent(TERMINATED), false),
    };
    let attached = Attached {
        exit,
        timed_out,
        refused,
        run: facts.run,
        record: facts.record,
    };
    let report = Report::of_attached(attached, told, begun.elapsed())
        .with_changes(before.changed(&Tree::of(project.root())))
        .with_events(place.events());
    let exit = report.exit();
    console.flush()?;
    Ok((report, exit))
}

/// Why a conversation is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Over {
    Done,
    Late,
    Signal,
}

/// One task in a conversation of its own: what came of it, and all that was said.
async fn converse(api: &Api, text: &str, limit: Duration) -> (Told, Vec<Value>, Over) {
    // As OpenCode's own headless client begins one: there is nobody to answer a question.
    let wanted = json!({
        "title": "ocs task",
        "permission": [{"permission": "question", "pattern": "*", "action": "deny"}],
    });
    let made = api.post("/session", &wanted, SOON).await;
    let session = match made
        .as_ref()
        .map(|made| made.get("id").and_then(Value::as_str))
    {
        Ok(Some(id)) if is_plain(id) => id.to_owned(),
        Ok(_) => {
            return (
                failed(None, "the server began no conversation"),
                Vec::new(),
                Over::Done,
            );
        }
        Err(error) => return (failed(None, &error.to_string()), Vec::new(), Over::Done),
    };
    let (said, over) = wait(api, &session, text, limit).await;
    let messages = api.get(&format!("/session/{session}/message"), SOON).await;
    let messages = match messages {
        Ok(Value::Array(messages)) => messages,
        Ok(_) | Err(_) => Vec::new(),
    };
    let mut told = of_messages(&messages);
    told.session = Some(session);
    if let (Over::Done, Err(error)) = (over, said) {
        told.error = told.error.or_else(|| Some(error.to_string()));
    }
    (told, messages, over)
}

/// Says the text, grants what is asked, and waits until the answer is there or the time is over.
async fn wait(
    api: &Api,
    session: &str,
    text: &str,
    limit: Duration,
) -> (Result<Value, ApiError>, Over) {
    let path = format!("/session/{session}/message");
    let body = json!({"parts": [{"type": "text", "text": text}]});
    let mut saying = std::pin::pin!(api.post(&path, &body, Duration::MAX));
    let mut late = std::pin::pin!(tokio::time::sleep(limit));
    let mut signal = std::pin::pin!(told_to_end());
    // Beside the others, all the time: a server that is slow to say what it asks does not put off the end.
    let over = tokio::select! {
        said = &mut saying => return (said, Over::Done),
        () = &mut late => Over::Late,
        () = &mut signal => Over::Signal,
        () = grant_all(api, session) => Over::Late,
    };
    let abort = format!("/session/{session}/abort");
    // Its answer to the text is its end; where neither comes, it is the server's owner who can end it.
    api.post(&abort, &json!({}), SOON).await.ok();
    let said = tokio::time::timeout(SOON, saying).await;
    (said.unwrap_or(Err(ApiError::Slow)), over)
}

/// Grants what this conversation asks, for as long as it is polled.
async fn grant_all(api: &Api, session: &str) {
    loop {
        tokio::time::sleep(ASKING).await;
        grant(api, session).await;
    }
}

/// Grants what this conversation asks, once each. What cannot be asked now is asked again soon.
async fn grant(api: &Api, session: &str) {
    let Ok(Value::Array(asked)) = api.get("/permission", SOON).await else {
        return;
    };
    for asked in asked {
        let of = |key| asked.get(key).and_then(Value::as_str);
        if let (Some(id), Some(true)) = (of("id"), of("sessionID").map(|of| of == session))
            && is_plain(id)
        {
            let path = format!("/permission/{id}/reply");
            api.post(&path, &json!({"reply": "once"}), SOON).await.ok();
        }
    }
}

/// What the server calls something becomes part of a path.
fn is_plain(id: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    !id.is_empty() && id.len() <= 128 && id.bytes().all(plain)
}

fn failed(session: Option<String>, why: &str) -> Told {
    Told {
        session,
        error: Some(why.to_owned()),
        ..Told::default()
    }
}
