//! Figures to tables: medians, ratios to the floor, and the page `docs/performance.md`.

use std::collections::BTreeMap;

use serde::Serialize;

/// One measured run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Sample {
    /// Row of the table.
    pub(crate) work: String,
    /// Column of the table.
    pub(crate) peer: String,
    /// Round, from 1.
    pub(crate) round: u32,
    /// CPU time of the proxy, microseconds per operation (KiB per tunnel for `idle`).
    pub(crate) cost: f64,
    /// Operations per second of wall time.
    pub(crate) rate: f64,
    /// Median latency, microseconds.
    pub(crate) p50_us: u64,
    /// 99th percentile of latency, microseconds.
    pub(crate) p99_us: u64,
}

/// The middle value, the lower of two middles.
#[must_use]
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values
        .get(values.len().saturating_sub(1) / 2)
        .copied()
        .unwrap_or(f64::NAN)
}

/// The table of costs as Markdown: a row per work, a column per peer, and our ratio to the floor.
#[must_use]
pub(crate) fn table(samples: &[Sample], works: &[String], peers: &[&str]) -> String {
    let mut by: BTreeMap<(&str, &str), Vec<f64>> = BTreeMap::new();
    for s in samples {
        by.entry((&s.work, &s.peer)).or_default().push(s.cost);
    }
    let mut text = format!("| work | {} | ocs / floor |\n", peers.join(" | "));
    text.push_str(&"|---".repeat(peers.len() + 2));
    text.push_str("|\n");
    for work in works {
        let of = |peer: &str| by.get(&(work.as_str(), peer)).map(|v| median(v.clone()));
        let shown = |cost: Option<f64>| cost.map_or_else(|| "-".to_owned(), |c| format!("{c:.2}"));
        let cells: Vec<String> = peers.iter().map(|peer| shown(of(peer))).collect();
        let ratio = of("floor")
            .filter(|floor| *floor > 0.0)
            .and_then(|floor| of("ocs").map(|ours| ours / floor));
        text.push_str(&format!(
            "| {work} | {} | {} |\n",
            cells.join(" | "),
            shown(ratio)
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_count_is_the_lower_middle() {
        assert_eq!(median(vec![4.0, 1.0, 3.0, 2.0]), 2.0);
    }

    #[test]
    fn a_table_gives_the_ratio_of_medians() {
        let sample = |peer: &str, cost| Sample {
            work: "w".into(),
            peer: peer.into(),
            round: 1,
            cost,
            rate: 1.0,
            p50_us: 1,
            p99_us: 1,
        };
        let samples = [
            sample("floor", 10.0),
            sample("ocs", 11.0),
            sample("ocs", 12.0),
            sample("ocs", 90.0),
        ];
        assert_eq!(
            table(&samples, &["w".to_owned()], &["floor", "ocs", "squid"]),
            "| work | floor | ocs | squid | ocs / floor |\n|---|---|---|---|---|\n| w | 10.00 | 12.00 | - | 1.20 |\n"
        );
    }
}
