//! `ocs policy diff` and `approve`: what changed in the control files, and a person's yes to it.
//! Clauses: B2.
use serde::Serialize;

use crate::approval::{Approval, Change, Snapshot};
use crate::cli::{ApproveArgs, DiffArgs};
use crate::console::{Answer, Console, Style};
use crate::diff;
use crate::exit::{Exit, Failure};
use crate::project::Project;
use crate::world::World;

/// What `ocs policy diff --json` prints.
#[derive(Serialize)]
struct Document<'a> {
    v: u32,
    /// `approved`, `changed` or `first-use`.
    state: &'static str,
    fingerprint: String,
    changes: Vec<ChangeDocument<'a>>,
}

#[derive(Serialize)]
struct ChangeDocument<'a> {
    file: &'a str,
    change: &'static str,
    diff: String,
}

/// Runs `ocs policy diff`.
///
/// # Errors
/// There is no project, or a control file or the lock cannot be read for what it is (exit 64).
pub(super) fn diff(
    args: &DiffArgs,
    world: &World,
    console: &mut Console<'_>,
) -> Result<Exit, Failure> {
    let project = Project::find(args.config.as_deref(), world)?;
    let snapshot = Snapshot::take(&project)?;
    let approval = snapshot.compare(&project)?;
    let (state, changes) = match &approval {
        Approval::Approved => ("approved", Vec::new()),
        Approval::Changed(changes) => ("changed", changes.clone()),
        Approval::FirstUse => ("first-use", snapshot.as_new()),
    };
    if args.json {
        let changes = changes.iter().map(document).collect();
        console.document(&Document {
            v: 1,
            state,
            fingerprint: snapshot.fingerprint(),
            changes,
        })?;
    } else {
        for (style, line) in changes.iter().flat_map(diff::lines) {
            match style {
                Some(style) => console.line(console.styled(style, line))?,
                None => console.line(line)?,
            }
        }
        console.note(match approval {
            Approval::Approved => "the control files are what was approved",
            Approval::Changed(_) => {
                "these changes are not approved; to approve them: ocs policy approve"
            }
            Approval::FirstUse => {
                "nothing was approved yet; to approve all of this: ocs policy approve"
            }
        });
        console.note(format_args!("fingerprint {}", snapshot.fingerprint()));
    }
    Ok(if approval == Approval::Approved {
        Exit::Ok
    } else {
        Exit::No
    })
}

/// Runs `ocs policy approve`.
///
/// # Errors
/// There is no project, a control file cannot be read for what it is, the fingerprint differs, or nobody said yes (exit 64).
pub(super) fn approve(
    args: &ApproveArgs,
    world: &World,
    console: &mut Console<'_>,
) -> Result<Exit, Failure> {
    let project = Project::find(args.config.as_deref(), world)?;
    let snapshot = Snapshot::take(&project)?;
    // A damaged lock says nothing about what was approved: everything is new again.
    let approval = snapshot.compare(&project).unwrap_or_else(|damaged| {
        console.note(damaged);
        Approval::FirstUse
    });
    let changes = match approval {
        Approval::Approved => {
            console.note("the control files are what was approved already");
            return pinned(args, &snapshot).map(|()| Exit::Ok);
        }
        Approval::Changed(changes) => changes,
        Approval::FirstUse => snapshot.as_new(),
    };
    diff::show(&changes, console);
    pinned(args, &snapshot)?;
    if !args.yes {
        if !console.terminal().stdin {
            return Err(Failure::usage("there is nobody to ask").next(format!(
                "review the above, then: ocs policy approve --yes --hash {}",
                snapshot.fingerprint()
            )));
        }
        let question = console.styled_note(Style::Warn, "approve this?");
        if console.confirm(question, Answer::No)? == Answer::No {
            return Err(Failure::usage("nothing was approved"));
        }
    }
    snapshot.approve(&project, world.now.into())?;
    console.note(format_args!(
        "approved; fingerprint {}",
        snapshot.fingerprint()
    ));
    Ok(Exit::Ok)
}

fn pinned(args: &ApproveArgs, snapshot: &Snapshot) -> Result<(), Failure> {
    let found = snapshot.fingerprint();
    match &args.hash {
        Some(hash) if *hash != found => Err(Failure::usage(format!(
            "the control files have the fingerprint {found}, not the one given"
        ))
        .next("ocs policy diff, and review what is there")),
        Some(_) | None => Ok(()),
    }
}

fn document(change: &Change) -> ChangeDocument<'_> {
    let kind = match (&change.before, &change.after) {
        (None, _) => "new",
        (_, None) => "gone",
        (Some(_), Some(_)) => "changed",
    };
    ChangeDocument {
        file: &change.name,
        change: kind,
        diff: diff::text(std::slice::from_ref(change)),
    }
}
