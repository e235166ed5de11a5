//! What each tool does. Failures are the tool's, in words that the client's model reads; only a call that makes no sense is the
//! protocol's.
//! Clauses: O8.
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, Implementation,
    JsonObject, ListToolsResult, PaginatedRequestParams, ProgressNotificationParam,
    ServerCapabilities, ServerConfig,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer, ServerHandler};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::files::Files;
use super::jobs::{Job, Jobs};
use super::schema;
use crate::exit::{Exit, Failure};

/// Seconds of a task that names none.
const TIMEOUT: u64 = 300;
/// Seconds of a delegated task: it has no argument for that.
const DELEGATED: u64 = 600;
/// How often a client is told that a task is still at work.
const PROGRESS: Duration = Duration::from_secs(2);
/// The conversation of delegated tasks.
const SESSION: &str = "mcp";
/// The most refusals that are given: the newest.
const REFUSALS_MAX: usize = 1000;

/// One project's tools.
pub(super) struct Shop {
    jobs: Jobs,
    files: Files,
    /// The delegated task at work.
    delegated: Mutex<Option<u64>>,
}

/// What a tool gives: text, and the same as data where it is data. An error is told to the client's model.
struct Given {
    text: String,
    data: Option<Value>,
}

impl Shop {
    pub(super) fn new(jobs: Jobs, root: &Path) -> Result<Self, Failure> {
        let files = Files::of(root).map_err(|error| {
            Failure::new(Exit::No, format!("open {}", root.display())).because(error)
        })?;
        Ok(Self {
            jobs,
            files,
            delegated: Mutex::new(None),
        })
    }

    pub(super) fn jobs(&self) -> &Jobs {
        &self.jobs
    }

    async fn run_in_sandbox(
        &self,
        arguments: &Arguments,
        context: &RequestContext<RoleServer>,
    ) -> Result<Given, Given> {
        let task = arguments.text("task")?;
        let timeout = arguments.number("timeout")?.unwrap_or(TIMEOUT);
        let job = self
            .jobs
            .task(task, &["--timeout".to_owned(), timeout.to_string()]);
        let document = self.document(job, timeout, context).await?;
        Given::document(&document, |text, _| text)
    }

    async fn delegate_task(
        &self,
        arguments: &Arguments,
        context: &RequestContext<RoleServer>,
    ) -> Result<Given, Given> {
        let task = arguments.text("instructions")?;
        let words = ["--session", SESSION, "--timeout", &DELEGATED.to_string()].map(str::to_owned);
        let job = {
            let mut delegated = self
                .delegated
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            if delegated.is_some() {
                return Err(Given::text(
                    "a delegated task is at work: abort_task ends it",
                ));
            }
            let job = self.jobs.task(task, &words);
            *delegated = Some(job.number());
            job
        };
        // Taken back however this ends, the client's going away included.
        let _at_work = AtWork(&self.delegated);
        let document = self.document(job, DELEGATED, context).await?;
        let result = |_, document: &Value| {
            document
                .get("result")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        Given::document(&document, result)
    }

    fn abort_task(&self) -> Given {
        let delegated = *self
            .delegated
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let asked = delegated.is_some_and(|number| self.jobs.ask(number));
        Given::text(if asked {
            "the delegated task is being ended"
        } else {
            "no delegated task is at work"
        })
    }

    async fn get_project_status(&self) -> Result<Given, Given> {
        // Git runs what a repository's config names, and the agent writes repositories: so it runs in a box.
        let status = self.git(&["git", "status", "--short"]).await?;
        let log = self
            .git(&["git", "log", "--oneline", "-10"])
            .await
            .unwrap_or_default();
        let status = if status.is_empty() {
            "(clean)".to_owned()
        } else {
            status
        };
        let at_work = self
            .delegated
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_some();
        Ok(Given {
            text: format!("{status}\n\n{log}"),
            data: Some(json!({"status": status, "log": log, "delegated_task": at_work})),
        })
    }

    async fn git(&self, command: &[&str]) -> Result<String, Given> {
        let done = self.jobs.offline(command).done().await;
        let done = done.map_err(|error| Given::text(&format!("git cannot be asked: {error}")))?;
        match done.code {
            Some(0) => Ok(String::from_utf8_lossy(&done.output).trim_end().to_owned()),
            Some(code) => Err(Given::text(&format!(
                "git cannot tell: it ended with {code}"
            ))),
            None => Err(Given::text("git was ended")),
        }
    }

    async fn get_refused_requests(&self, arguments: &Arguments) -> Result<Given, Given> {
        let mut words = ["audit", "query", "--decision", "deny", "--json"]
            .map(str::to_owned)
            .to_vec();
        if let Some(since) = arguments.optional("since")? {
            words.push(format!("--since={since}"));
        }
        let done = self.jobs.ours(&words).done().await;
        let done =
            done.map_err(|error| Given::text(&format!("the record cannot be read: {error}")))?;
        if done.code == Some(64) && arguments.optional("since")?.is_some() {
            return Err(Given::text(
                "`since` is no moment, or there is no record yet",
            ));
        }
        let text = String::from_utf8_lossy(&done.output);
        let lines: Vec<&str> = text.lines().collect();
        let newest = lines.iter().skip(lines.len().saturating_sub(REFUSALS_MAX));
        let refused: Vec<Value> = newest
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect();
        let data = json!({"refused": refused, "of": lines.len()});
        Ok(Given {
            text: data.to_string(),
            data: Some(data),
        })
    }

    /// Waits for a task, tells of its progress, and gives its document.
    async fn document(
        &self,
        mut job: Job,
        timeout: u64,
        context: &RequestContext<RoleServer>,
    ) -> Result<Value, Given> {
        let begun = Instant::now();
        let mut tick = tokio::time::interval(PROGRESS);
        let done = loop {
            tokio::select! {
                done = job.done() => break done,
                () = context.ct.cancelled() => return Err(Given::text("the client took the task back; it is being ended")),
                _ = tick.tick() => progress(begun.elapsed(), timeout, context).await,
            }
        };
        let done =
            done.map_err(|error| Given::text(&format!("the task cannot be started: {error}")))?;
        serde_json::from_slice(&done.output).map_err(|_| {
            Given::text(&format!(
                "the task ended with {:?} and told nothing",
                done.code
            ))
        })
    }
}

async fn progress(elapsed: Duration, timeout: u64, context: &RequestContext<RoleServer>) {
    let Some(token) = context.meta.get_progress_token() else {
        return;
    };
    let seconds = u32::try_from(elapsed.as_secs()).unwrap_or(u32::MAX);
    let of = u32::try_from(timeout).unwrap_or(u32::MAX);
    let told = ProgressNotificationParam::new(token, elapsed.as_secs_f64())
        .with_total(f64::from(of))
        .with_message(format!("the agent is at work for {seconds} s"));
    // A client that is not there any longer shows at the next thing that is sent.
    context.peer.notify_progress(told).await.ok();
}

struct AtWork<'a>(&'a Mutex<Option<u64>>);

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Given {
    fn text(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            data: None,
        }
    }

    /// A task's document: an error unless it says that all is well.
    fn document(document: &Value, text: impl Fn(String, &Value) -> String) -> Result<Self, Self> {
        let well = document.get("ok").and_then(Value::as_bool) == Some(true);
        let whole = document.to_string();
        let given = |text| Self {
            text,
            data: Some(document.clone()),
        };
        if well {
            Ok(given(text(whole, document)))
        } else {
            Err(given(whole))
        }
    }

    fn result(given: Result<Self, Self>) -> CallToolResult {
        let (mut result, data) = match given {
            Ok(Self { text, data }) => (
                CallToolResult::success(vec![ContentBlock::text(text)]),
                data,
            ),
            Err(Self { text, data }) => {
                (CallToolResult::error(vec![ContentBlock::text(text)]), data)
            }
        };
        result.structured_content = data;
        result
    }
}

/// A call's arguments.
struct Arguments(JsonObject);

impl Arguments {
    fn optional(&self, name: &str) -> Result<Option<String>, Given> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(Given::text(&format!("`{name}` is text"))),
        }
    }

    fn text(&self, name: &str) -> Result<String, Given> {
        let text = self.optional(name)?;
        text.filter(|text| !text.trim().is_empty())
            .ok_or_else(|| Given::text(&format!("`{name}` is missing or empty")))
    }

    fn number(&self, name: &str) -> Result<Option<u64>, Given> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match value.as_u64() {
                Some(number @ 1..=604_800) => Ok(Some(number)),
                Some(_) | None => Err(Given::text(&format!(
                    "`{name}` is a number of seconds, 1 to 604800"
                ))),
            },
        }
    }
}

impl ServerHandler for Shop {
    fn get_info(&self) -> ServerConfig {
        let about = "Coding tasks on one project, each done by an agent in a sandbox whose only way out is the project's whitelist.";
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("ocs", env!("CARGO_PKG_VERSION")))
            .with_instructions(about)
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(schema::tools()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let arguments = Arguments(request.arguments.unwrap_or_default());
        let given = match request.name.as_ref() {
            "run_in_sandbox" => self.run_in_sandbox(&arguments, &context).await,
            "delegate_task" => self.delegate_task(&arguments, &context).await,
            "abort_task" => Ok(self.abort_task()),
            "read_project_file" => self.read(&arguments),
            "list_project_files" => self.list(&arguments),
            "get_project_status" => self.get_project_status().await,
            "get_refused_requests" => self.get_refused_requests(&arguments).await,
            name => {
                let message = format!("there is no tool `{}`", name.escape_debug());
                return Err(ErrorData::invalid_params(message, None));
            }
        };
        Ok(Given::result(given).into())
    }
}

impl Shop {
    fn read(&self, arguments: &Arguments) -> Result<Given, Given> {
        let path = arguments.text("path")?;
        let text = self.files.read(&path);
        text.map(|text| Given { text, data: None })
            .map_err(|error| Given::text(&error))
    }

    fn list(&self, arguments: &Arguments) -> Result<Given, Given> {
        let path = arguments
            .optional("path")?
            .unwrap_or_else(|| ".".to_owned());
        let pattern = arguments
            .optional("pattern")?
            .filter(|pattern| !pattern.is_empty());
        let names = self
            .files
            .list(&path, pattern.as_deref())
            .map_err(|error| Given::text(&error))?;
        Ok(Given {
            text: names.join("\n"),
            data: Some(json!({"files": names})),
        })
    }
}
