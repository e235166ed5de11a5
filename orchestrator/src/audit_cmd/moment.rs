//! A moment as people type it: exact, a date, or how long ago. Reads no clock.
use std::time::Duration;

use policies::audit::Timestamp;

use crate::exit::Failure;

/// Reads `--since` or `--until`.
///
/// # Errors
/// The text is no moment (exit 64).
pub(super) fn parse(text: &str, now: Timestamp) -> Result<Timestamp, Failure> {
    let exact = match text.len() {
        10 => format!("{text}T00:00:00.000Z"),
        20 => text.replace('Z', ".000Z"),
        _ => text.to_owned(),
    };
    Timestamp::parse(&exact)
        .or_else(|| ago(text, now))
        .ok_or_else(|| {
            Failure::usage(format!("`{}` is no moment", crate::console::escaped(text)))
                .next("write 2026-11-21T01:14:00Z, 2026-11-21, or 90s, 15m, 2h, 7d")
        })
}

fn ago(text: &str, now: Timestamp) -> Option<Timestamp> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    if !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let ago = Duration::from_secs(number.parse::<u64>().ok()?.checked_mul(seconds)?);
    let millis = u64::try_from(ago.as_millis()).ok()?;
    Some(Timestamp::from_unix_millis(
        now.unix_millis().saturating_sub(millis),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_exact_dates_or_ago() {
        let now = Timestamp::parse("2026-11-21T01:14:00.500Z").unwrap();
        let cases = [
            ("2026-11-20T23:59:59.999Z", "2026-11-20T23:59:59.999Z"),
            ("2026-11-20T23:59:59Z", "2026-11-20T23:59:59.000Z"),
            ("2026-11-20", "2026-11-20T00:00:00.000Z"),
            ("90s", "2026-11-21T01:12:30.500Z"),
            ("15m", "2026-11-21T00:59:00.500Z"),
            ("2h", "2026-11-20T23:14:00.500Z"),
            ("7d", "2026-11-14T01:14:00.500Z"),
            ("99999d", "1970-01-01T00:00:00.000Z"),
        ];
        for (text, expected) in cases {
            assert_eq!(
                parse(text, now).map(|time| time.to_string()),
                Ok(expected.to_owned()),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        let now = Timestamp::from_unix_millis(0);
        for text in [
            "",
            "h",
            "+1h",
            "1.5h",
            "1w",
            "2026-02-30",
            "2026-11-20 10:00:00Z",
            "99999999999999999999d",
        ] {
            let expected = Failure::usage(format!("`{text}` is no moment"))
                .next("write 2026-11-21T01:14:00Z, 2026-11-21, or 90s, 15m, 2h, 7d");
            assert_eq!(parse(text, now), Err(expected));
        }
    }
}
