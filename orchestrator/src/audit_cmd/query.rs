//! `ocs audit query`: the events that fit, one line each. Keeps nothing: a record of any length is read in the same memory.
use policies::Reason;
use policies::audit::{Event, Record};

use crate::cli::QueryArgs;
use crate::console::{Console, Style, escaped};
use crate::exit::{Exit, Failure};
use crate::world::World;

use super::filter::Filter;
use super::row::{Row, code, reply, word};
use super::{csv, record};

/// Runs `ocs audit query`.
///
/// # Errors
/// A filter is none, or a record cannot be read.
pub(super) fn run(
    args: &QueryArgs,
    world: &World,
    console: &mut Console<'_>,
) -> Result<Exit, Failure> {
    let filter = Filter::new(&args.filter, world)?;
    if args.form.csv {
        console.bytes(csv::HEADER.as_bytes())?;
    }
    let unread = record::each_line(&args.files, world, |record, line| {
        if !filter.takes(&record) {
            return Ok(());
        }
        if args.form.json {
            console.bytes(line)?;
            return console.bytes(b"\n");
        }
        if args.form.csv {
            return console.bytes(csv::line(&Row::of(&record)).as_bytes());
        }
        if is_shown(&record, &filter) {
            return show(&record, console);
        }
        Ok(())
    })?;
    unread.tell(console);
    Ok(Exit::Ok)
}

/// Whether people are shown an event: ends of requests say nothing by themselves where decisions were asked for.
pub(super) fn is_shown(record: &Record, filter: &Filter) -> bool {
    filter.takes_every_kind() || Row::of(record).decision.is_some()
}

/// One event on a line of its own.
///
/// # Errors
/// stdout cannot be written to.
pub(super) fn show(record: &Record, console: &mut Console<'_>) -> Result<(), Failure> {
    let row = Row::of(record);
    let time = console.styled(Style::Dim, record.time);
    let Some(decision) = row.decision else {
        return console.line(format_args!(
            "{time} {:<6} {}",
            row.kind,
            escaped(&told(&record.event))
        ));
    };
    let style = match decision {
        policies::audit::Decision::Allow => Style::Good,
        policies::audit::Decision::Deny => Style::Bad,
    };
    let word = console.styled(style, format!("{:<6}", word(decision)));
    let rule = row
        .rule
        .map(|rule| format!("{}:{} {}", rule.file, rule.line, rule.text));
    let mut why: Vec<String> = row
        .reason
        .map(|reason| Reason::code(reason).to_owned())
        .into_iter()
        .chain(rule)
        .collect();
    if row.count != 1 {
        why.push(format!("{} times", row.count));
    }
    why.extend(row.process_name());
    let via = row.via.unwrap_or_default();
    let way = row
        .protocol
        .map_or(via.to_owned(), |protocol| format!("{via}/{protocol}"));
    let (way, destination) = (escaped(&way), escaped(&row.destination()));
    console.line(format_args!(
        "{time} {word} {way:<13} {destination}  {}",
        escaped(&why.join(", "))
    ))
}

/// What an event without a decision says.
fn told(event: &Event) -> String {
    match event {
        Event::Close(close) => format!(
            "request {}: {}, {} bytes up, {} down, {} ms",
            close.id,
            code(&close.outcome),
            close.bytes_up,
            close.bytes_down,
            close.duration_ms
        ),
        Event::Gap(gap) => {
            let count = gap
                .count
                .map_or("an unknown number of".to_owned(), |count| count.to_string());
            format!("{count} events are missing here: {}", code(&gap.lost))
        }
        Event::Policy(policy) => {
            format!(
                "generation {}, mode {}, {} {}",
                policy.generation, policy.mode, policy.source, policy.hash
            )
        }
        Event::Question(question) => {
            let by = question.by.as_ref().map(|by| match &by.user {
                Some(user) => format!(" by {user} (uid {})", by.uid),
                None => format!(" by uid {}", by.uid),
            });
            format!(
                "{}:{}: {}{}, {} waited, {} ms",
                question.host,
                question.port,
                reply(question),
                by.unwrap_or_default(),
                question.waiting,
                question.duration_ms
            )
        }
        Event::Start(start) => format!(
            "ocs {}, engine {}, mode {}",
            start.version, start.engine, start.mode
        ),
        Event::Stop(stop) => format!(
            "{}: {} requests allowed, {} refused, {} packets refused",
            stop.cause, stop.allowed, stop.denied, stop.packets
        ),
        Event::Dns(_) | Event::Packet(_) | Event::Request(_) => String::new(),
    }
}
