//! Figures to tables: medians, and our ratios to the floor and to each peer.

use std::collections::BTreeMap;

/// One measured run.
#[derive(Clone, Debug)]
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

impl Sample {
    /// One that has no clients whose latency could be told.
    pub(crate) fn of(work: &str, peer: &str, round: u32, cost: f64) -> Self {
        Self {
            work: work.to_owned(),
            peer: peer.to_owned(),
            round,
            cost,
            rate: 0.0,
            p50_us: 0,
            p99_us: 0,
        }
    }
}

/// All samples, a line each, the fields parted by tabs.
#[must_use]
pub(crate) fn raw(samples: &[Sample]) -> String {
    let mut text = String::from("work\tpeer\tround\tcost\trate\tp50_us\tp99_us\n");
    for s in samples {
        text.push_str(&format!(
            "{}\t{}\t{}\t{:.2}\t{:.0}\t{}\t{}\n",
            s.work, s.peer, s.round, s.cost, s.rate, s.p50_us, s.p99_us
        ));
    }
    text
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

/// The table of costs as Markdown: a row per work, a column per peer, and our ratio to the floor and to each other peer.
#[must_use]
pub(crate) fn table(samples: &[Sample], works: &[String], peers: &[&str]) -> String {
    let mut by: BTreeMap<(&str, &str), Vec<f64>> = BTreeMap::new();
    for s in samples {
        by.entry((&s.work, &s.peer)).or_default().push(s.cost);
    }
    let others: Vec<&str> = peers
        .iter()
        .copied()
        .filter(|p| !p.starts_with("ocs"))
        .collect();
    let ratios: Vec<String> = others.iter().map(|peer| format!("ocs / {peer}")).collect();
    let mut text = format!(
        "| work | {} | {} |\n",
        peers.join(" | "),
        ratios.join(" | ")
    );
    text.push_str(&"|---".repeat(peers.len() + others.len() + 1));
    text.push_str("|\n");
    for work in works {
        let of = |peer: &str| by.get(&(work.as_str(), peer)).map(|v| median(v.clone()));
        let shown = |cost: Option<f64>| cost.map_or_else(|| "-".to_owned(), |c| format!("{c:.2}"));
        let costs: Vec<String> = peers.iter().map(|peer| shown(of(peer))).collect();
        let ratio = |peer: &&str| {
            let other = of(peer).filter(|other| *other > 0.0);
            shown(other.and_then(|other| of("ocs").map(|ours| ours / other)))
        };
        let ratios: Vec<String> = others.iter().map(ratio).collect();
        text.push_str(&format!(
            "| {work} | {} | {} |\n",
            costs.join(" | "),
            ratios.join(" | ")
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
        let sample = |peer: &str, cost| Sample::of("w", peer, 1, cost);
        let samples = [
            sample("floor", 10.0),
            sample("ocs", 11.0),
            sample("ocs", 12.0),
            sample("ocs", 90.0),
        ];
        assert_eq!(
            table(&samples, &["w".to_owned()], &["floor", "ocs", "squid"]),
            "| work | floor | ocs | squid | ocs / floor | ocs / squid |\n|---|---|---|---|---|---|\n\
             | w | 10.00 | 12.00 | - | 1.20 | - |\n"
        );
    }
}
