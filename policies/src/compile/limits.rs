//! `limits`: numbers, and durations with their unit.

use std::time::Duration;

use super::Compiler;
use crate::yaml::{Node, Scalar, quoted};
use crate::{Bytes, Cpus, Limits};

pub(crate) const KEYS: [&str; 7] = [
    "connections",
    "head-timeout",
    "connect-timeout",
    "idle-timeout",
    "memory",
    "pids",
    "cpus",
];

/// More connections than a process may have descriptors for (`fs.nr_open` of Linux).
const MAX_CONNECTIONS: u32 = 1_048_576;
/// `PID_MAX_LIMIT` of Linux on 64 bits.
const MAX_PIDS: u32 = 4_194_304;
/// A box with less starts no agent, and nobody has more (Linux on 64 bits: 2^47 of a process).
const MEMORY: std::ops::RangeInclusive<u64> = (16 << 20)..=(1 << 47);
/// A hundredth of a processor is what a period of the kernel's can hold; more than `NR_CPUS` nobody has.
const CPUS_MILLI: std::ops::RangeInclusive<u32> = 10..=8_192_000;
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
                "memory" => limits.memory = self.memory(value, scalar),
                "cpus" => limits.cpus = self.cpus(value, scalar),
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

    fn memory(&mut self, node: &Node, scalar: &Scalar) -> Option<Bytes> {
        let bytes = parse_bytes(&scalar.text).filter(|bytes| MEMORY.contains(bytes));
        if bytes.is_none() {
            let text = quoted(&scalar.text);
            let message = format!("`limits.memory`: {text} is no amount from 16MiB to 128TiB");
            let write = corrected_bytes(&scalar.text).map(|text| format!("memory: {text}"));
            self.error(node.place, message, write);
        }
        bytes.map(Bytes)
    }

    fn cpus(&mut self, node: &Node, scalar: &Scalar) -> Option<Cpus> {
        let milli = parse_milli(&scalar.text).filter(|milli| CPUS_MILLI.contains(milli));
        if milli.is_none() {
            let text = quoted(&scalar.text);
            let message = format!("`limits.cpus`: {text} is no number from 0.01 to 8192");
            self.error(node.place, message, None);
        }
        milli.map(|milli| Cpus { milli })
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

/// `512MiB`, `8GiB`: powers of 1024, as engines count.
fn parse_bytes(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let shift = match unit {
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "TiB" => 40,
        _ => return None,
    };
    whole(number)?.checked_mul(1 << shift)
}

/// `8g`, `8GB` and the like, as other tools write it.
fn corrected_bytes(text: &str) -> Option<String> {
    let lower = text.to_ascii_lowercase().replace(' ', "");
    let digits = lower.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = lower.split_at_checked(digits)?;
    let unit = match unit {
        "k" | "kb" | "kib" => "KiB",
        "m" | "mb" | "mib" => "MiB",
        "g" | "gb" | "gib" => "GiB",
        "t" | "tb" | "tib" => "TiB",
        _ => return None,
    };
    let text = format!("{number}{unit}");
    parse_bytes(&text)
        .filter(|bytes| MEMORY.contains(bytes))
        .map(|_| text)
}

/// `2`, `1.5`, `0.125`: thousandths.
fn parse_milli(text: &str) -> Option<u32> {
    let (whole_part, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if fraction.len() > 3 {
        return None;
    }
    let fraction = whole(&format!("{fraction:0<3}")).filter(|_| !fraction.is_empty())?;
    let milli = whole(whole_part)?
        .checked_mul(1000)?
        .checked_add(fraction)?;
    u32::try_from(milli).ok()
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
