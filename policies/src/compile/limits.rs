//! `limits`: numbers, and durations with their unit.

use std::time::Duration;

use super::Compiler;
use crate::Limits;
use crate::yaml::{Node, Scalar, quoted};

pub(crate) const KEYS: [&str; 5] = [
    "connections",
    "head-timeout",
    "connect-timeout",
    "idle-timeout",
    "pids",
];

/// More connections than a process may have descriptors for (`fs.nr_open` of Linux).
const MAX_CONNECTIONS: u32 = 1_048_576;
/// `PID_MAX_LIMIT` of Linux on 64 bits.
const MAX_PIDS: u32 = 4_194_304;
/// A week: longer is no limit.
const MAX_DURATION: Duration = Duration::from_secs(7 * 24 * 3600);

impl Compiler {
    pub(super) fn limits(&mut self, node: &Node) -> Limits {
        let mut limits = Limits::UNLESS_LISTED;
        let sections = self
            .map(node, "`limits`", &KEYS, "limits.")
            .unwrap_or_default();
        for (key, value) in sections {
            let full = format!("limits.{key}");
            let Some(scalar) = self.scalar(value, &full) else {
                continue;
            };
            match key {
                "connections" => {
                    let number = self.number(value, scalar, &full, MAX_CONNECTIONS);
                    limits.connections = number.unwrap_or(limits.connections);
                }
                "pids" => limits.pids = self.number(value, scalar, &full, MAX_PIDS),
                _ => {
                    let Some(duration) = self.duration(value, scalar, &full) else {
                        continue;
                    };
                    match key {
                        "head-timeout" => limits.head_timeout = duration,
                        "connect-timeout" => limits.connect_timeout = duration,
                        _ => limits.idle_timeout = duration,
                    }
                }
            }
        }
        limits
    }

    fn number(&mut self, node: &Node, scalar: &Scalar, key: &str, max: u32) -> Option<u32> {
        let number = whole(&scalar.text).and_then(|number| u32::try_from(number).ok());
        let number = number.filter(|number| (1..=max).contains(number));
        if number.is_none() {
            let message = format!(
                "`{key}`: {} is no number from 1 to {max}",
                quoted(&scalar.text)
            );
            self.error(node.place, message, None);
        }
        number
    }

    fn duration(&mut self, node: &Node, scalar: &Scalar, key: &str) -> Option<Duration> {
        let duration = parse_duration(&scalar.text);
        let good = duration.filter(|duration| !duration.is_zero() && *duration <= MAX_DURATION);
        if good.is_none() {
            let message = format!(
                "`{key}`: {} is no time between 1ms and 168h",
                quoted(&scalar.text)
            );
            let key = key.rsplit('.').next().unwrap_or(key);
            self.error(
                node.place,
                message,
                corrected(&scalar.text).map(|text| format!("{key}: {text}")),
            );
        }
        good
    }
}

/// Plain decimal digits.
fn whole(text: &str) -> Option<u64> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if plain { text.parse().ok() } else { None }
}

/// `500ms`, `10s`, `5m`, `2h`.
fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let number = whole(number)?;
    let seconds = |factor: u64| number.checked_mul(factor).map(Duration::from_secs);
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "s" => seconds(1),
        "m" => seconds(60),
        "h" => seconds(3600),
        _ => None,
    }
}

/// A number without unit, or with one that is written otherwise.
fn corrected(text: &str) -> Option<String> {
    let lower = text.to_ascii_lowercase().replace(' ', "");
    let digits = lower.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = lower.split_at_checked(digits)?;
    let unit = match unit {
        "" | "s" | "sec" | "secs" | "second" | "seconds" => "s",
        "ms" | "msec" | "millis" | "milliseconds" => "ms",
        "m" | "min" | "mins" | "minute" | "minutes" => "m",
        "h" | "hour" | "hours" => "h",
        _ => return None,
    };
    let number = whole(number).filter(|number| *number > 0)?;
    parse_duration(&format!("{number}{unit}")).filter(|time| *time <= MAX_DURATION)?;
    Some(format!("{number}{unit}"))
}
