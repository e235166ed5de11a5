//! `ocs mcp`: the sandbox as tools of a host's agent, over stdin and stdout or over HTTP on the loopback.
//!
//! Every task is an `ocs task` of its own, started by this process and ended with it: what holds for that command holds here,
//! and any number run at once. The project's files are read through the kernel's containment, and nothing that a repository
//! names is run outside a box, git included. The only module of the orchestrator with an async runtime.
//! Clauses: O8.

mod files;
mod http;
mod jobs;
mod schema;
mod shop;
mod token;

use std::sync::Arc;

use rmcp::ServiceExt;
use tokio::runtime::Runtime;

use crate::cli::McpArgs;
use crate::console::{Console, escaped};
use crate::exit::{Exit, Failure};
use crate::launch;
use crate::project::Project;
use crate::world::World;
pub(crate) use files::{Files, read_named};
pub(crate) use http::told_to_end;
use jobs::Jobs;
use shop::Shop;

/// Serves until the client goes, or a signal comes.
///
/// # Errors
/// There is no project here, or nothing to listen on.
pub(crate) fn run(
    args: &McpArgs,
    world: &World,
    console: &mut Console<'_>,
) -> Result<Exit, Failure> {
    let project = Project::find(args.sandbox.config.as_deref(), world)?;
    launch::config(&project, console)?; // a mistake is told now, not at the first task
    let jobs = Jobs::new(args, world, &project);
    let shop = Arc::new(Shop::new(jobs, project.root())?);
    let runtime =
        Runtime::new().map_err(|error| Failure::new(Exit::No, "start a runtime").because(error))?;
    let ended = match &args.http {
        None => runtime.block_on(stdio(Arc::clone(&shop))),
        Some(address) => {
            let address = http::address(address)?;
            let (file, token) = token::of(project.state())?;
            let listener = runtime.block_on(http::listen(address))?;
            let at = http::address_of(&listener)?;
            console.note(format_args!("MCP server: http://{at}/mcp"));
            console.note(format_args!(
                "bearer token: in {}",
                escaped(&file.display().to_string())
            ));
            runtime.block_on(http::serve(listener, at, token, Arc::clone(&shop)))
        }
    };
    shop.jobs().end_all();
    runtime.shutdown_background();
    ended.map(|()| Exit::Ok)
}

async fn stdio(shop: Arc<Shop>) -> Result<(), Failure> {
    let failed = |what: &'static str| {
        move |error: String| Failure::new(Exit::No, format!("{what}: {error}"))
    };
    let service = shop
        .serve(rmcp::transport::stdio())
        .await
        .map_err(|error| failed("speak with the client")(error.to_string()))?;
    tokio::select! {
        ended = service.waiting() => ended.map(drop).map_err(|error| failed("serve the client")(error.to_string())),
        () = told_to_end() => Ok(()),
    }
}
