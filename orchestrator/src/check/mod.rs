//! `ocs check`: what can be wrong with a project before anybody attacks it: its config, its control files, the box that runs
//! now as the host's kernel sees it, and secrets that lie in the project, where the agent reads them.
//!
//! Attacks are `ocs verify`'s, what this machine can do is `ocs doctor`'s. Containers are not looked into: it is said.
//! Clauses: B1, B3, B4, P9, O12.
mod living;
mod secrets;

use serde::Serialize;

use crate::approval::{Approval, Snapshot};
use crate::cli::ProjectCheckArgs;
use crate::console::{Console, Style, escaped};
use crate::exit::{Exit, Failure};
use crate::project::Project;
use crate::server::{self, Standing};
use crate::world::World;

/// One thing that was looked at.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    check: &'static str,
    verdict: Verdict,
    detail: String,
}

/// What came of it. Only `bad` makes the command end with 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Verdict {
    /// As it should be.
    Good,
    /// Worth a look.
    Warn,
    /// It could not be looked at.
    Unknown,
    /// Wrong.
    Bad,
}

impl Finding {
    pub(super) fn of(check: &'static str, verdict: Verdict, detail: impl Into<String>) -> Self {
        Self {
            check,
            verdict,
            detail: detail.into(),
        }
    }
}

/// What `--json` prints.
#[derive(Serialize)]
struct Document {
    v: u32,
    ok: bool,
    findings: Vec<Finding>,
}

/// Runs `ocs check`.
///
/// # Errors
/// There is no project here, or its config is wrong (64).
pub(crate) fn run(
    args: &ProjectCheckArgs,
    world: &World,
    console: &mut Console<'_>,
) -> Result<Exit, Failure> {
    let project = Project::find(None, world)?;
    let (_, warnings) = project.config()?;
    let mut findings = vec![Finding::of(
        "config",
        Verdict::Good,
        "it can be used as it is",
    )];
    for policies::Warning(warning) in &warnings {
        findings.push(Finding::of("config", Verdict::Warn, warning.to_string()));
    }
    findings.push(control_files(&project)?);
    findings.extend(running(&project));
    findings.extend(secrets::in_project(&project));
    let ok = findings
        .iter()
        .all(|finding| finding.verdict != Verdict::Bad);
    if args.json {
        console.document(&Document { v: 1, ok, findings })?;
    } else {
        for finding in &findings {
            show(finding, console)?;
        }
    }
    Ok(if ok { Exit::Ok } else { Exit::No })
}

fn control_files(project: &Project) -> Result<Finding, Failure> {
    let check = "control-files";
    Ok(match Snapshot::take(project)?.compare(project)? {
        Approval::Approved => Finding::of(check, Verdict::Good, "as they were approved"),
        Approval::FirstUse => Finding::of(
            check,
            Verdict::Warn,
            "nobody approved them yet: ocs policy approve",
        ),
        Approval::Changed(changes) => {
            let names: Vec<&str> = changes.iter().map(|change| change.name.as_str()).collect();
            let detail = format!(
                "changed since they were approved: {}; ocs policy diff",
                names.join(", ")
            );
            Finding::of(check, Verdict::Warn, detail)
        }
    })
}

fn running(project: &Project) -> Vec<Finding> {
    let check = "box";
    match server::look(&project.state().run()) {
        Standing::Absent => vec![Finding::of(check, Verdict::Good, "no server runs")],
        Standing::Held(Some(facts)) if facts.engine == "native" => living::findings(facts.pid),
        Standing::Held(_) => {
            let detail =
                "a server runs, and is still starting or in a container: it is not looked into";
            vec![Finding::of(check, Verdict::Unknown, detail)]
        }
    }
}

fn show(finding: &Finding, console: &mut Console<'_>) -> Result<(), Failure> {
    let (style, word) = match finding.verdict {
        Verdict::Good => (Style::Good, "good"),
        Verdict::Warn => (Style::Warn, "warn"),
        Verdict::Unknown => (Style::Dim, "unknown"),
        Verdict::Bad => (Style::Bad, "bad"),
    };
    let word = console.styled(style, format!("{word:7}"));
    console.line(format_args!(
        "{word} {:13} {}",
        finding.check,
        escaped(&finding.detail)
    ))
}
