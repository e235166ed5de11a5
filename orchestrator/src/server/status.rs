//! `ocs status` and `ocs list`: what runs, from the leases, the proxies' own counters, and the notes of their engines.
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::lease::{Facts, Phase, Standing, look};
use crate::admin;
use crate::cli::{ListArgs, StatusArgs};
use crate::console::{Console, Style, escaped};
use crate::exit::{Exit, Failure};
use crate::launch::NOTES;
use crate::monitor::Newest;
use crate::project::{ProjectError, STATE_ROOT};
use crate::world::World;

/// What `ocs status --json` prints.
#[derive(Debug, Default, Serialize)]
struct Document {
    v: u32,
    sandbox: String,
    /// `stopped`, `starting` or `running`.
    state: &'static str,
    #[serde(flatten)]
    facts: Option<Facts>,
    /// What the proxy counts; none where it cannot be asked.
    fence: Option<Counters>,
    /// What was last seen of it from outside.
    monitor: Newest,
    /// What a person should know.
    warnings: Vec<String>,
}

/// What a proxy has counted since its start.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub(super) struct Counters {
    policy_generation: u64,
    allowed: u64,
    refused: u64,
    packets_refused: u64,
    /// Events that the record does not hold; a whole record has none.
    unrecorded: u64,
}

/// Runs `ocs status`.
///
/// # Errors
/// There is no project here.
pub(crate) fn status(
    args: &StatusArgs,
    world: &World,
    console: &mut Console<'_>,
) -> Result<Exit, Failure> {
    let project = super::project(world, console)?;
    let run = project.state().run();
    let document = document(project.id().as_str(), &run);
    if args.json {
        console.document(&document)?;
    } else {
        show(&document, console)?;
    }
    Ok(match document.state {
        "running" => Exit::Ok,
        _ => Exit::No,
    })
}

fn document(sandbox: &str, run: &Path) -> Document {
    let mut document = Document {
        v: 1,
        sandbox: sandbox.to_owned(),
        state: "stopped",
        ..Document::default()
    };
    let Standing::Held(facts) = look(run) else {
        return document;
    };
    document.state = facts
        .as_ref()
        .map_or(Phase::Starting, |facts| facts.phase)
        .as_str();
    if let Some(id) = facts.as_ref().and_then(|facts| facts.run.as_ref()) {
        let directory = run.join(id);
        let before = facts.as_ref().map(|facts| facts.before).unwrap_or_default();
        document.fence = counters(&directory).map(|fence| fence.since(before));
        let notes = std::fs::read_to_string(directory.join(NOTES)).unwrap_or_default();
        document.warnings = notes.lines().map(str::to_owned).collect();
        let said = admin::get(&directory, "/status").ok();
        let said = said.and_then(|page| serde_json::from_str::<Said>(&page.body).ok());
        document.warnings.extend(said.iter().flat_map(warnings));
        if document.fence.is_none() && document.state == "running" {
            let unknown = "the proxy cannot be asked what it counts";
            document.warnings.push(unknown.to_owned());
        }
        if document.fence.is_some_and(|fence| fence.unrecorded > 0) {
            let missing = "the record does not hold every event: see ocs audit verify";
            document.warnings.push(missing.to_owned());
        }
    }
    if let Some(record) = facts.as_ref().and_then(|facts| facts.record.as_ref()) {
        document.monitor = Newest::of(record);
    }
    document.facts = facts.map(|facts| *facts);
    document
}

fn show(document: &Document, console: &mut Console<'_>) -> Result<(), Failure> {
    let style = match document.state {
        "running" => Style::Good,
        "starting" => Style::Warn,
        _ => Style::Dim,
    };
    let state = console.styled(style, document.state);
    console.line(format_args!("{} is {state}", document.sandbox))?;
    let Some(facts) = &document.facts else {
        return Ok(());
    };
    let (engine, mode, tool) = (&facts.engine, &facts.mode, &facts.tool);
    console.line(format_args!("  url      {}", facts.url))?;
    console.line(format_args!(
        "  engine   {engine}, network-mode {mode}, {tool}"
    ))?;
    console.line(format_args!(
        "  since    {}, process {}",
        facts.since, facts.pid
    ))?;
    if let Some(fence) = &document.fence {
        let Counters {
            policy_generation,
            allowed,
            refused,
            packets_refused,
            ..
        } = fence;
        console.line(format_args!("  policy   generation {policy_generation}"))?;
        console.line(format_args!(
            "  requests {allowed} allowed, {refused} refused; {packets_refused} packets refused"
        ))?;
    }
    if let Some(record) = &facts.record {
        console.line(format_args!("  record   {}", record.display()))?;
    }
    for line in document.monitor.lines() {
        console.line(format_args!("  {}", escaped(&line)))?;
    }
    for warning in &document.warnings {
        let label = console.styled(Style::Warn, "warning");
        console.line(format_args!("  {label}  {}", escaped(warning)))?;
    }
    Ok(())
}

impl Counters {
    /// What came after `before`, which is bring-up's own.
    fn since(self, before: Self) -> Self {
        Self {
            allowed: self.allowed.saturating_sub(before.allowed),
            refused: self.refused.saturating_sub(before.refused),
            packets_refused: self.packets_refused.saturating_sub(before.packets_refused),
            ..self
        }
    }
}

/// Asks the proxy of a run what it counts.
pub(super) fn counters(run: &Path) -> Option<Counters> {
    let page = admin::get(run, "/metrics").ok()?;
    (page.status == 200).then(|| counted(&page.body))
}

/// What a proxy says of itself; what we do not need is passed over.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Said {
    record: SaidOfRecord,
    policy: SaidOfPolicy,
    questions: SaidOfQuestions,
}

#[derive(Debug, Deserialize)]
#[serde(default)]
struct SaidOfRecord {
    ok: bool,
    lost: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct SaidOfPolicy {
    error: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct SaidOfQuestions {
    open: u64,
    unanswered: u64,
}

impl Default for SaidOfRecord {
    fn default() -> Self {
        Self { ok: true, lost: 0 }
    }
}

/// What a person should know of what a proxy says.
fn warnings(said: &Said) -> Vec<String> {
    let mut warnings = Vec::new();
    if !said.record.ok {
        warnings.push(format!(
            "the record cannot be written (is the disk full?): every new request is refused, {} so far",
            said.record.lost
        ));
    }
    if let Some(error) = &said.policy.error {
        warnings.push(format!(
            "the config changed and is not in force; the policy before it is: {error}"
        ));
    }
    let SaidOfQuestions { open, unanswered } = said.questions;
    if open + unanswered > 0 {
        warnings.push(format!(
            "{open} questions wait and {unanswered} were not answered in time: ocs approve"
        ));
    }
    warnings
}

fn counted(page: &str) -> Counters {
    let mut counters = Counters::default();
    for line in page.lines() {
        let Some((name, value)) = line.rsplit_once(' ') else {
            continue;
        };
        let Ok(value) = value.trim().parse::<u64>() else {
            continue;
        };
        let (family, labels) = name.split_once('{').unwrap_or((name, ""));
        let counter = match family {
            "ocs_policy_generation" => &mut counters.policy_generation,
            "ocs_requests_total" if labels.contains("\"allow\"") => &mut counters.allowed,
            "ocs_requests_total" => &mut counters.refused,
            "ocs_packets_refused_total" => &mut counters.packets_refused,
            "ocs_unrecorded_total" => &mut counters.unrecorded,
            _ => continue,
        };
        *counter += value;
    }
    counters
}

/// What `ocs list --json` prints.
#[derive(Serialize)]
struct Listing {
    v: u32,
    sandboxes: Vec<Document>,
}

/// Runs `ocs list`.
///
/// # Errors
/// Nobody knows the user's home.
pub(crate) fn list(
    args: &ListArgs,
    world: &World,
    console: &mut Console<'_>,
) -> Result<Exit, Failure> {
    let home = world.home.as_deref().ok_or(ProjectError::NoHome)?;
    let mut sandboxes: Vec<Document> = sandboxes(&home.join(STATE_ROOT))
        .into_iter()
        .map(|(name, path)| document(&name, &path.join("run")))
        .collect();
    sandboxes.sort_by(|one, other| one.sandbox.cmp(&other.sandbox));
    if args.json {
        console.document(&Listing { v: 1, sandboxes })?;
        return Ok(Exit::Ok);
    }
    let width = sandboxes
        .iter()
        .map(|document| document.sandbox.len())
        .max()
        .unwrap_or_default();
    for Document {
        sandbox,
        state,
        facts,
        ..
    } in &sandboxes
    {
        let (url, project) = facts.as_ref().map_or_else(Default::default, |facts| {
            (facts.url.as_str(), facts.project.display().to_string())
        });
        let line = format!(
            "{:width$}  {state:8}  {url:22}  {project}",
            escaped(sandbox)
        );
        console.line(line.trim_end())?;
    }
    Ok(Exit::Ok)
}

fn sandboxes(root: &Path) -> Vec<(String, PathBuf)> {
    let entries = std::fs::read_dir(root).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| {
            (
                entry.file_name().to_string_lossy().into_owned(),
                entry.path(),
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_s_page_is_read_by_family_and_label() {
        let page = "# HELP x y\nocs_policy_generation 3\n\
            ocs_requests_total{decision=\"allow\",reason=\"\"} 5\n\
            ocs_requests_total{decision=\"deny\",reason=\"port\"} 2\n\
            ocs_requests_total{decision=\"deny\",reason=\"not-whitelisted\"} 4\n\
            ocs_packets_refused_total 7\nocs_unrecorded_total 0\nocs_open 1\n";
        let expected = Counters {
            policy_generation: 3,
            allowed: 5,
            refused: 6,
            packets_refused: 7,
            unrecorded: 0,
        };
        assert_eq!(counted(page), expected);
    }

    #[test]
    fn a_full_disk_a_broken_config_and_open_questions_are_warnings() {
        let said = r#"{"v":1,"record":{"ok":false,"lines":9,"lost":4},"policy":{"ok":false,"error":"f:4: no"},
            "questions":{"asking":true,"open":1,"unanswered":2,"unasked":0}}"#;
        let expected = [
            "the record cannot be written (is the disk full?): every new request is refused, 4 so far",
            "the config changed and is not in force; the policy before it is: f:4: no",
            "1 questions wait and 2 were not answered in time: ocs approve",
        ];
        assert_eq!(warnings(&serde_json::from_str(said).unwrap()), expected);
        // An older proxy says less, and nothing of it is wrong.
        assert_eq!(warnings(&serde_json::from_str("{}").unwrap()), [""; 0]);
    }

    #[test]
    fn a_sandbox_that_never_ran_is_stopped() {
        let keep = tempfile::tempdir().unwrap();
        let document = document("x-1", &keep.path().join("run"));
        assert_eq!((document.state, document.facts), ("stopped", None));
    }
}
