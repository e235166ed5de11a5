//! The escape battery: hostile cases, each judged at the origins, at the DNS server and by the record.
//!
//! Responsible for: the ground that a section's cases share, and running one row of a case on it. A row is data
//! (`row.rs`), so the same row runs against `ocs` as root, as an ordinary user, and against a peer (`peer.rs`).
//! Not for: the cases themselves (`tests/tests/escape_*.rs`, named by the catalogue's ids), or the table (`board.rs`).

pub mod board;
pub mod judge;
mod log;
mod peer;
pub mod row;
pub mod table;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::order::Order;
use crate::project::Project;
use crate::run::Finished;
use crate::spec::Answers;
use crate::world::{As, Call, World};
use judge::Evidence;
use peer::Peer;
use row::Row;

/// The catalogue's fixture: one exact name, one name with all below it, one port of the host, one name refused below an
/// allowed one. The others lead to addresses that must not be dialled.
pub const POLICY: &str = "\
sandbox-name: battery
http-domain-whitelist:
  - ok.test
  - .w.test
  - private.test
  - metadata.test
  - mixed.test
  - six.test
  - alias.test
  - nowhere.test
http-domain-denylist:
  - bad.w.test
host-ports:
  - 5432
";

/// What a section's tests stand on: one world, in which one case at a time is tried.
#[derive(Debug)]
pub struct Ground {
    world: World,
    turn: Mutex<()>,
}

/// The world of the running section; it goes with the last test that holds it.
static SHARED: Mutex<Weak<Ground>> = Mutex::new(Weak::new());

/// The ground, made by whoever comes first.
///
/// # Errors
/// The world could not be made.
pub fn ground() -> Result<Arc<Ground>> {
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(ground) = shared.upgrade() {
        return Ok(ground);
    }
    let ground = Arc::new(Ground {
        world: World::new(&order()?)?,
        turn: Mutex::new(()),
    });
    *shared = Arc::downgrade(&ground);
    Ok(ground)
}

fn order() -> Result<Order> {
    let aliased = Answers {
        cname: Some("target.evil.test".to_owned()),
        ..Answers::always(&["11.22.33.13".parse()?])
    };
    Ok(Order::usual()?
        .name("six.test", Answers::always(&["fd00::1".parse()?]))
        .name("alias.test", aliased))
}

impl Ground {
    /// Alone with the world, which has forgotten what was before.
    ///
    /// # Errors
    /// The world does not answer.
    pub fn turn(&self) -> Result<Turn<'_>> {
        let alone = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.world.forget()?;
        Ok(Turn {
            world: &self.world,
            _alone: alone,
        })
    }
}

/// The world for one case.
#[derive(Debug)]
pub struct Turn<'g> {
    /// The world, which only this case uses now.
    pub world: &'g World,
    _alone: MutexGuard<'g, ()>,
}

impl Turn<'_> {
    /// The section's project of this user.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn project(&self, who: As) -> Result<Project<'_>> {
        let project = Project::named(self.world, who, "battery", POLICY)?;
        project.write("attack.py", ATTACK)?;
        Ok(project)
    }

    /// Runs a command in the box, and collects what is known of it afterwards.
    ///
    /// # Errors
    /// It could not be started, or there is no record.
    pub fn inside(&self, project: &Project<'_>, words: &[&str]) -> Result<Evidence> {
        self.world.forget()?;
        let client = project.run(words)?;
        self.evidence(client, Some(project))
    }

    fn evidence(&self, client: Finished, project: Option<&Project<'_>>) -> Result<Evidence> {
        Ok(Evidence {
            readings: self.world.readings()?,
            record: project.map(Project::newest_record).transpose()?,
            client,
        })
    }
}

/// What runs in the box (or beside a peer): `attack.py`.
const ATTACK: &str = include_str!("attack.py");

/// Runs each row of a case, and fails with every one that did not end as it must.
///
/// # Errors
/// What was let out, refused too much, or not recorded.
pub fn hold(name: &str, who: As, rows: &[Row]) -> Result<()> {
    let ground = ground()?;
    let turn = ground.turn()?;
    if let Some(peer) = Peer::chosen()? {
        return beside(name, &turn, peer, rows);
    }
    let project = turn.project(who)?;
    let begun = Instant::now();
    let mut wrong = Vec::new();
    for rows in batches(rows) {
        let words = words(rows);
        let command: Vec<_> = words.iter().map(String::as_str).collect();
        let evidence = turn.inside(&project, &command)?;
        if let Err(error) = evidence.judge(rows) {
            wrong.push(format!("{rows:?}: {error:#}\n{evidence}"));
        }
    }
    board::note("native", who.account(), name, begun.elapsed())?;
    if !wrong.is_empty() {
        bail!(
            "{} of {} rows:\n{}",
            wrong.len(),
            rows.len(),
            wrong.join("\n\n")
        );
    }
    Ok(())
}

/// Neighbouring rows that must be refused share a run, since the record tells them apart; all others have their own.
fn batches(rows: &[Row]) -> impl Iterator<Item = &[Row]> {
    rows.chunk_by(|one, next| one.expect.is_refused_request() && next.expect.is_refused_request())
}

fn words(rows: &[Row]) -> Vec<String> {
    let mut words: Vec<_> = ["timeout", "60", "python3", "attack.py"]
        .map(str::to_owned)
        .into();
    for (index, row) in rows.iter().enumerate() {
        if index > 0 {
            words.push("+".to_owned());
        }
        words.extend(row.attack.words());
    }
    words
}

/// The same rows against another proxy: what counts is what reached the origins and the DNS server.
fn beside(name: &str, turn: &Turn<'_>, peer: Peer, rows: &[Row]) -> Result<()> {
    let begun = Instant::now();
    let mut leaks = Vec::new();
    let serving = peer.start(turn.world)?;
    for rows in batches(rows) {
        turn.world.forget()?;
        let words = words(rows);
        let command: Vec<_> = words.iter().map(String::as_str).collect();
        // A peer may keep what it refused open: waiting long for its end tells nothing. What must pass gets its time.
        let refused = rows.iter().all(|row| row.expect.is_refused_request());
        let patience = [("ATTACK_LIMIT", if refused { "1" } else { "6" })];
        let call = Call::new(&command)
            .within(serving.directory())
            .with(&patience);
        let client = turn.world.run(As::Ordinary, call)?;
        let evidence = turn.evidence(client, None)?;
        if let Err(error) = evidence.judge_outside(rows) {
            leaks.push(format!("{error:#}"));
        }
    }
    serving.stop(turn.world)?;
    leaks.dedup();
    board::note_peer(peer.name(), name, begun.elapsed(), &leaks)?;
    if leaks.is_empty() {
        Ok(())
    } else {
        Err(anyhow::anyhow!(leaks.join("; "))).with_context(|| peer.name())
    }
}

/// Whether a case that needs more than a proxy is to be passed over, because a peer is being tried.
///
/// # Errors
/// The peer's name is unknown, or the board cannot be written.
pub fn beside_a_peer(name: &str, needs: &str) -> Result<bool> {
    let Some(peer) = Peer::chosen()? else {
        return Ok(false);
    };
    board::note_peer_lacks(peer.name(), name, needs)?;
    Ok(true)
}

/// Makes the two tests of each case that is rows of data: `NAME: [ROW, ..]`.
#[macro_export]
macro_rules! cases {
    ($($(#[$meta:meta])* $name:ident: $rows:expr;)*) => {
        $crate::for_each_user! {
            $($(#[$meta])* fn $name(who) {
                $crate::escape::hold(stringify!($name), who, &$rows)
            })*
        }
    };
}

/// Makes the two tests of each case that needs more than a proxy in front of the agent; the words say what.
#[macro_export]
macro_rules! product_cases {
    ($(needs $needs:literal $(#[$meta:meta])* fn $name:ident($turn:ident, $who:ident) $body:block)*) => {
        $crate::for_each_user! {
            $($(#[$meta])* fn $name($who) {
                if $crate::escape::beside_a_peer(stringify!($name), $needs)? {
                    return Ok(());
                }
                let ground = $crate::escape::ground()?;
                let $turn = ground.turn()?;
                let begun = std::time::Instant::now();
                $body
                $crate::escape::board::note("native", $who.account(), stringify!($name), begun.elapsed())
            })*
        }
    };
}

/// Names the cases that cannot be tried yet, with the reason: they count as open, not as held.
#[macro_export]
macro_rules! open_cases {
    ($($name:ident: $reason:literal;)*) => {$(
        #[test]
        #[ignore = $reason]
        fn $name() {
            panic!("open: {}", $reason);
        }
    )*};
}
