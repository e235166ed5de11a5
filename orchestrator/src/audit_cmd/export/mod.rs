//! `ocs audit export`: events in the form of a standard, one line each, in constant memory. `docs/audit-export.md` says
//! which field goes where; a field that the standard has no place for is kept, apart.
//! Clauses: R4.
mod cef;
mod ecs;
mod ocsf;
pub(super) mod otlp;

use policies::audit::Record;
use serde_json::{Map, Value};

use crate::cli::{ExportArgs, ExportFormat};
use crate::console::{Console, ascii_json};
use crate::exit::{Exit, Failure};
use crate::world::World;

use super::filter::Filter;
use super::record;

/// Who says all this.
const PRODUCT: &str = "ocs";
/// The version that stands in every exported line.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Runs `ocs audit export`.
///
/// # Errors
/// A filter is none, or a record cannot be read.
pub(super) fn run(
    args: &ExportArgs,
    world: &World,
    console: &mut Console<'_>,
) -> Result<Exit, Failure> {
    let filter = Filter::new(&args.filter, world)?;
    let unread = record::each(&args.files, world, |record| {
        if !filter.takes(&record) {
            return Ok(());
        }
        console.bytes(line(args.format, &record).as_bytes())?;
        console.bytes(b"\n")
    })?;
    unread.tell(console);
    Ok(Exit::Ok)
}

fn line(format: ExportFormat, record: &Record) -> String {
    match format {
        ExportFormat::Cef => cef::line(record),
        ExportFormat::Ecs => ascii_json(&ecs::document(record).to_string()),
        ExportFormat::Ocsf => ascii_json(&ocsf::event(record).to_string()),
        ExportFormat::Otlp => {
            let logs = [otlp::log_record(record)];
            ascii_json(&otlp::request(&record.sandbox, &logs).to_string())
        }
    }
}

/// An object without what is not known: a null says nothing to a collector.
fn known<const N: usize>(fields: [(&str, Value); N]) -> Value {
    let is_known = |value: &Value| match value {
        Value::Null => false,
        Value::Object(object) => !object.is_empty(),
        Value::Array(array) => !array.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
    };
    let fields = fields.into_iter().filter(|(_, value)| is_known(value));
    Value::Object(
        fields
            .map(|(name, value)| (name.to_owned(), value))
            .collect::<Map<_, _>>(),
    )
}

#[cfg(test)]
mod tests;
