//! Judges a request by name and by address, and says in the same words why not.
//!
//! The only caller of the resolver. Clauses: W1, P7

use policies::{Permit, PinnedPermit, Policy, Request, Target, Verdict};

use tokio::time::Instant;

use crate::app::App;
use crate::resolve::ResolveError;
use crate::respond::Refusal;

/// By name.
pub(crate) fn by_name(policy: &Policy, request: &Request) -> Result<Permit, Refusal> {
    match policy.decide(request) {
        Verdict::Allow(permit) => Ok(permit),
        Verdict::Deny(deny) => Err(Refusal::Denied(deny)),
    }
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
