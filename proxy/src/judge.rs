//! Judges a request by name and by address, and says in the same words why not.
//!
//! The only caller of the resolver. Clauses: W1, P7

use std::sync::Arc;

use policies::audit::Process;
use policies::{Permit, PinnedPermit, Policy, Request, Target, Verdict};

use tokio::time::Instant;

use crate::app::App;
use crate::questions;
use crate::resolve::ResolveError;
use crate::respond::Refusal;

/// By name, and by a person where one may be asked; gives the policy to judge the rest by.
pub(crate) async fn by_name(
    app: &Arc<App>,
    request: &Request,
    process: &Process,
) -> Result<(Arc<Policy>, Permit), Refusal> {
    let policy = app.live.policy();
    match policy.decide(request) {
        Verdict::Allow(permit) => Ok((policy, permit)),
        Verdict::Deny(deny) => {
            // What seldom happens takes no room in every session.
            let permit = Box::pin(questions::ask(app, &policy, request, process, deny)).await?;
            Ok((app.live.policy(), permit))
        }
    }
}

/// By name and by address.
pub(crate) async fn pin(
    app: &Arc<App>,
    request: &Request,
    process: &Process,
) -> Result<PinnedPermit, Refusal> {
    let (policy, permit) = by_name(app, request, process).await?;
    by_address(app, &policy, permit).await
}

/// By address: only a name that is allowed is looked up, and every answer is screened.
pub(crate) async fn by_address(
    app: &App,
    policy: &Policy,
    permit: Permit,
) -> Result<PinnedPermit, Refusal> {
    let resolved = match permit.target() {
        Target::Resolve(_) => {
            let asked = Instant::now();
            let answer = app.resolver.lookup(&permit).await;
            app.sink.metrics().dns.observe(asked.elapsed());
            answer.map_err(refusal)?
        }
        Target::Address(_) | Target::SandboxHost => Vec::new(),
    };
    policy.pin(permit, &resolved).map_err(Refusal::Denied)
}

fn refusal(error: ResolveError) -> Refusal {
    match error {
        ResolveError::Busy => Refusal::Limit,
        ResolveError::Failed | ResolveError::NotFound => Refusal::NoAddress,
        ResolveError::TimedOut => Refusal::NoAnswer,
    }
}
