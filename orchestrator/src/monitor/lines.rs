//! The lines, in the shapes of sandboxed-opencode's monitors (COMPATIBILITY 1.27 to 1.29). Names are the agent's, escaped.
use std::fs;
use std::time::SystemTime;

use policies::audit::Timestamp;
use serde::Serialize;

use super::processes::{Inside, Times};

/// Ours, in every box: the proxy's listeners and the DNS stub (docs/architecture.md, "Ports inside the namespace").
const OURS: [u16; 3] = [53, 3128, 3129];
/// How many processes are named.
const TOP: usize = 10;
/// `USER_HZ` of every Linux that we run on (time(7)), and the size of a page there.
const TICKS_PER_SECOND: u64 = 100;
const PAGE_KB: u64 = 4;

#[derive(Debug, Serialize)]
pub(super) struct Ports {
    timestamp: Timestamp,
    /// `ok` or `warning`.
    status: &'static str,
    expected_ports: Vec<u16>,
    unexpected: Vec<Listener>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Listener {
    address: String,
    process: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Resources {
    timestamp: Timestamp,
    #[serde(flatten)]
    machine: Machine,
    process_count: usize,
    top_processes: Vec<Top>,
}

#[derive(Debug, PartialEq, Serialize)]
struct Top {
    user: &'static str,
    pid: u32,
    /// Seconds of processor time since the look before.
    cpu: f64,
    /// Percent of the machine's memory.
    mem: f64,
    command: String,
}

#[derive(Debug, Serialize)]
pub(super) struct Summary {
    timestamp: Timestamp,
    process_count: usize,
    #[serde(flatten)]
    machine: Machine,
    portscan_warnings: u64,
    resource_snapshots: u64,
    listeners: Vec<String>,
}

/// The machine's memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Machine {
    mem_total_kb: u64,
    mem_available_kb: u64,
    mem_used_pct: f64,
    swap_total_kb: u64,
    swap_free_kb: u64,
}

impl Machine {
    pub(super) fn now() -> Self {
        Self::of(&fs::read_to_string("/proc/meminfo").unwrap_or_default())
    }

    fn of(meminfo: &str) -> Self {
        let of = |name: &str| {
            let line = meminfo
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            let number = line.and_then(|rest| rest.split_ascii_whitespace().next()?.parse().ok());
            number.unwrap_or_default()
        };
        let (total, available) = (of("MemTotal"), of("MemAvailable"));
        Self {
            mem_total_kb: total,
            mem_available_kb: available,
            mem_used_pct: percent(total.saturating_sub(available), total),
            swap_total_kb: of("SwapTotal"),
            swap_free_kb: of("SwapFree"),
        }
    }
}

impl Ports {
    pub(super) fn is_warning(&self) -> bool {
        !self.unexpected.is_empty()
    }
}

pub(super) fn ports(found: &Inside, published: &[u16]) -> Ports {
    let mut expected_ports = [&OURS, published].concat();
    expected_ports.sort_unstable();
    let unexpected: Vec<Listener> = found
        .listeners
        .iter()
        .filter(|(address, _)| !expected_ports.contains(&address.port()))
        .map(|(address, process)| Listener {
            address: address.to_string(),
            process: process.clone(),
        })
        .collect();
    Ports {
        timestamp: SystemTime::now().into(),
        status: if unexpected.is_empty() {
            "ok"
        } else {
            "warning"
        },
        expected_ports,
        unexpected,
    }
}

pub(super) fn resources(found: &Inside, machine: Machine, before: &mut Times) -> Resources {
    let mut all: Vec<(u64, &super::processes::Process)> = found
        .processes
        .iter()
        .map(|process| {
            let earlier = before.get(&process.pid).copied().unwrap_or_default();
            (process.ticks.saturating_sub(earlier), process)
        })
        .collect();
    *before = found
        .processes
        .iter()
        .map(|process| (process.pid, process.ticks))
        .collect();
    all.sort_by_key(|(ticks, process)| std::cmp::Reverse((*ticks, process.pages)));
    let top = all.into_iter().take(TOP).map(|(ticks, process)| Top {
        user: crate::engine::native::view::USER,
        pid: process.pid,
        cpu: percent(ticks, TICKS_PER_SECOND) / 100.0,
        mem: percent(process.pages.saturating_mul(PAGE_KB), machine.mem_total_kb),
        command: process.name.clone(),
    });
    Resources {
        timestamp: SystemTime::now().into(),
        machine,
        process_count: found.processes.len(),
        top_processes: top.collect(),
    }
}

pub(super) fn summary(found: &Inside, machine: Machine, warnings: u64, snapshots: u64) -> Summary {
    Summary {
        timestamp: SystemTime::now().into(),
        process_count: found.processes.len(),
        machine,
        portscan_warnings: warnings,
        resource_snapshots: snapshots,
        listeners: found.listeners.keys().map(ToString::to_string).collect(),
    }
}

/// With one decimal.
fn percent(part: u64, whole: u64) -> f64 {
    let tenths = part
        .saturating_mul(1000)
        .checked_div(whole)
        .unwrap_or_default();
    f64::from(u32::try_from(tenths).unwrap_or(u32::MAX)) / 10.0
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn the_machine_s_memory_is_read_by_name() {
        let text = "MemTotal:       1000 kB\nMemFree: 1 kB\nMemAvailable:    250 kB\nSwapTotal: 5 kB\nSwapFree: 4 kB\n";
        let expected = Machine {
            mem_total_kb: 1000,
            mem_available_kb: 250,
            mem_used_pct: 75.0,
            swap_total_kb: 5,
            swap_free_kb: 4,
        };
        assert_eq!(Machine::of(text), expected);
        assert_eq!(Machine::of(""), Machine::default());
    }

    #[test]
    fn a_port_that_nobody_expects_is_a_warning_with_its_holder() {
        let mut found = Inside::default();
        let listener =
            |text: &str, who: Option<&str>| (text.parse().unwrap(), who.map(str::to_owned));
        found.listeners = BTreeMap::from([
            listener("127.0.0.1:3128", None),
            listener("127.0.0.1:4096", None),
        ]);
        assert!(!ports(&found, &[4096]).is_warning());
        found
            .listeners
            .extend([listener("127.0.0.1:8080", Some("nc (7)"))]);
        let line = ports(&found, &[4096]);
        let expected = Listener {
            address: "127.0.0.1:8080".to_owned(),
            process: Some("nc (7)".to_owned()),
        };
        assert_eq!(
            (line.status, line.expected_ports, line.unexpected),
            ("warning", vec![53, 3128, 3129, 4096], vec![expected])
        );
    }
}
