//! The processes of a box and the ports on which they listen, from the host's `/proc`. All of a box descends from the `ocs`
//! that brought it up, and lives in a process namespace below that one's own.
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

/// A process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: u32,
    parent: u32,
    /// Its name, 15 bytes at most: the agent's choice. Command lines can hold secrets, and are not read.
    pub(super) name: String,
    /// Processor time, in ticks of the clock.
    pub(super) ticks: u64,
    /// Memory that it holds, in pages.
    pub(super) pages: u64,
}

/// What a box consists of at a moment.
#[derive(Debug, Default)]
pub(crate) struct Inside {
    pub(super) processes: Vec<Process>,
    /// Listening TCP sockets, and who holds each where that can be seen.
    pub(super) listeners: BTreeMap<SocketAddr, Option<String>>,
}

/// Processor time by process, of the look before.
pub(super) type Times = HashMap<u32, u64>;

impl Inside {
    /// The numbers of its processes, as the host counts.
    pub(crate) fn pids(&self) -> impl Iterator<Item = u32> {
        self.processes.iter().map(|process| process.pid)
    }

    /// That which descends from `ocs`.
    pub(crate) fn of(ocs: u32) -> Self {
        let all = processes();
        let deep = depth(ocs);
        let mut ours = BTreeSet::from([ocs]);
        // A child is not always younger by number; so until nothing is added.
        loop {
            let more: Vec<u32> = all
                .iter()
                .filter(|process| ours.contains(&process.parent) && !ours.contains(&process.pid))
                .map(|process| process.pid)
                .collect();
            if more.is_empty() {
                break;
            }
            ours.extend(more);
        }
        let inside = |process: &Process| ours.contains(&process.pid) && depth(process.pid) > deep;
        let processes: Vec<Process> = all.into_iter().filter(inside).collect();
        let listeners = listeners(&processes);
        Self {
            processes,
            listeners,
        }
    }
}

fn processes() -> Vec<Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid: u32| stat(pid, &fs::read_to_string(format!("/proc/{pid}/stat")).ok()?))
        .collect()
}

/// proc(5), `stat`: the name stands in parentheses and may hold any character; fields are counted behind it.
fn stat(pid: u32, text: &str) -> Option<Process> {
    let (head, rest) = text.rsplit_once(')')?;
    let name = head.split_once('(')?.1;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    Some(Process {
        pid,
        parent: u32::try_from(number(4)?).ok()?,
        name: name.escape_debug().to_string(),
        ticks: number(14)?.saturating_add(number(15)?),
        pages: number(24)?,
    })
}

/// How many process namespaces a process has a number in, from ours on down (proc(5), `NSpid`).
fn depth(pid: u32) -> usize {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    numbers.map_or(0, |numbers| numbers.split_ascii_whitespace().count())
}

fn listeners(processes: &[Process]) -> BTreeMap<SocketAddr, Option<String>> {
    let mut found = BTreeMap::new();
    let Some(first) = processes.first() else {
        return found;
    };
    let holders = holders(processes);
    for table in ["tcp", "tcp6"] {
        // One network namespace for all of a box.
        let text =
            fs::read_to_string(format!("/proc/{}/net/{table}", first.pid)).unwrap_or_default();
        for (address, inode) in text.lines().filter_map(listening) {
            found.insert(address, holders.get(&inode).cloned());
        }
    }
    found
}

/// A line of `/proc/net/tcp` of a socket in state LISTEN (0A, the kernel's `tcp_states.h`), and its inode.
fn listening(line: &str) -> Option<(SocketAddr, u64)> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    if *fields.get(3)? != "0A" {
        return None;
    }
    let (address, port) = fields.get(1)?.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    Some((
        SocketAddr::new(ip(address)?, port),
        fields.get(9)?.parse().ok()?,
    ))
}

/// Words of 32 bits, each in the machine's own byte order.
fn ip(hex: &str) -> Option<IpAddr> {
    let mut bytes = Vec::with_capacity(16);
    for at in (0..hex.len()).step_by(8) {
        let word = u32::from_str_radix(hex.get(at..at + 8)?, 16).ok()?;
        bytes.extend(word.to_ne_bytes());
    }
    if let Ok(four) = <[u8; 4]>::try_from(bytes.as_slice()) {
        return Some(Ipv4Addr::from(four).into());
    }
    <[u8; 16]>::try_from(bytes)
        .ok()
        .map(|sixteen| Ipv6Addr::from(sixteen).into())
}

/// Which process holds a socket, where the kernel lets us see.
fn holders(processes: &[Process]) -> HashMap<u64, String> {
    let mut holders = HashMap::new();
    for process in processes {
        let directory = format!("/proc/{}/fd", process.pid);
        for entry in fs::read_dir(Path::new(&directory))
            .into_iter()
            .flatten()
            .flatten()
        {
            let inode = fs::read_link(entry.path()).ok().and_then(|link| {
                let inner = link
                    .to_str()?
                    .strip_prefix("socket:[")?
                    .strip_suffix(']')?
                    .parse()
                    .ok()?;
                Some(inner)
            });
            if let Some(inode) = inode {
                holders.insert(inode, format!("{} ({})", process.name, process.pid));
            }
        }
    }
    holders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_newlines_moves_no_field() {
        let text = "7 (a) S 1 (\n) S 3 7 7 0 -1 4194560 1 2 3 4 50 60 7 8 20 0 1 0 100 2000 30 18446744073709551615\n";
        let expected = Process {
            pid: 7,
            parent: 3,
            name: "a) S 1 (\\n".to_owned(),
            ticks: 110,
            pages: 30,
        };
        assert_eq!(stat(7, text), Some(expected));
        assert_eq!(stat(7, "7 (a"), None);
    }

    #[test]
    fn only_listening_sockets_are_taken_with_their_address() {
        let line = |address: &str, state: &str| {
            format!(" 0: {address}:1F90 00000000:0000 {state} 0:0 00:0 0 1000 0 4242 1")
        };
        let address = |text: &str| Some((text.parse().unwrap(), 4242));
        if cfg!(target_endian = "little") {
            assert_eq!(
                listening(&line("0100007F", "0A")),
                address("127.0.0.1:8080")
            );
            assert_eq!(
                listening(&line("00000000000000000000000001000000", "0A")),
                address("[::1]:8080")
            );
        }
        assert_eq!(listening(&line("0100007F", "01")), None);
        assert_eq!(listening("  sl  local_address rem_address   st"), None);
    }

    #[test]
    fn what_is_no_deeper_than_we_are_is_no_box() {
        let found = Inside::of(std::process::id());
        assert_eq!(
            (found.processes, found.listeners),
            (Vec::new(), BTreeMap::new())
        );
    }
}
