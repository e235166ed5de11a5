//! The attempts at the box itself: what is seen, what may be opened, what a system call gives. Nothing is written: a file is
//! only opened for writing, and closed again.
//! Clauses: N1, N11, B1, B2, B3, B4, B5, B7, R5.
use std::borrow::Cow;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::{AccessFlags, Uid, access, setuid};
use socket2::{Domain, Protocol, Socket, Type};

use super::finding::{Finding, Outcome};
use crate::cli::BoxVerifyArgs;
use crate::control::{CONTROLS, Kind};

type Attempt = fn(&BoxVerifyArgs) -> Outcome;

/// Each with its clause; in this order, since the first one counts our own descriptors.
const ATTEMPTS: &[(&str, &str, Attempt)] = &[
    ("B5", "a descriptor beside the three", |_| descriptors()),
    ("N1", "an interface beside lo", |_| interfaces()),
    ("N1", "a listener beside the proxy's and the stub's", |_| {
        listeners()
    }),
    ("N11", "a capability in the agent", |_| capabilities()),
    ("B1", "credentials of the host's user", |args| {
        credentials(&args.home)
    }),
    ("B1", "sockets of the host", |_| sockets()),
    ("B1", "writing to system directories", |_| {
        system_directories()
    }),
    ("B1", "the kernel's settings", |_| kernel_settings()),
    ("B3", "regaining privileges by setuid programs", |_| {
        status_is("NoNewPrivs", "1")
    }),
    ("B3", "entering a namespace", |_| entered()),
    ("B4", "a filter of system calls is in force", |_| {
        status_is("Seccomp", "2")
    }),
    // socket(2): AF_PACKET 17, AF_VSOCK 40, AF_ALG 38, AF_NETLINK 16 with NETLINK_NETFILTER 12, raw ICMP and ICMPv6.
    ("B4", "a packet socket", |_| socket(17, Type::RAW, 3)),
    ("B4", "a socket to a virtual machine's host", |_| {
        socket(40, Type::STREAM, 0)
    }),
    ("B4", "a socket to the kernel's ciphers", |_| {
        socket(38, Type::SEQPACKET, 0)
    }),
    ("B4", "a socket to the kernel's rules", |_| {
        socket(16, Type::RAW, 12)
    }),
    ("B4", "a raw socket", |_| {
        socket(libc::AF_INET, Type::RAW, 1)
    }),
    ("B4", "a raw IPv6 socket", |_| {
        socket(libc::AF_INET6, Type::RAW, 58)
    }),
    ("B4", "a tunnel device", |_| {
        not_opened(&["/dev/net/tun", "/dev/mem", "/dev/kmsg", "/dev/kvm"])
    }),
    ("B7", "a process of ours", |_| processes()),
    ("B7", "abstract sockets in the namespace", |_| {
        abstract_sockets()
    }),
    ("R5", "the record and the state", |args| {
        not_seen(std::slice::from_ref(&args.state))
    }),
];

/// What would change this very process where it works, and so must come after all others.
const LAST: &[(&str, &str, Attempt)] = &[
    ("B3", "becoming another user", |_| {
        // 4100: nobody of ours in the sealed topology, and never the agent.
        refused_call(&setuid(Uid::from_raw(4100)))
    }),
    ("B3", "a user namespace", |_| {
        refused_call(&unshare(CloneFlags::CLONE_NEWUSER))
    }),
    ("B3", "a network namespace", |_| {
        refused_call(&unshare(CloneFlags::CLONE_NEWNET))
    }),
    ("B3", "a mount namespace", |_| {
        refused_call(&unshare(CloneFlags::CLONE_NEWNS))
    }),
    ("B4", "a mount", |_| {
        let flags = MsFlags::empty();
        refused_call(&mount(
            Some("none"),
            "/tmp",
            Some("tmpfs"),
            flags,
            None::<&str>,
        ))
    }),
];

/// What must be reported.
pub(super) fn expected() -> impl Iterator<Item = (&'static str, Cow<'static, str>)> {
    let fixed = ATTEMPTS
        .iter()
        .chain(LAST)
        .map(|(clause, what, _)| (*clause, Cow::Borrowed(*what)));
    let controls = CONTROLS
        .iter()
        .map(|control| ("B2", Cow::Owned(format!("changing {}", control.path))));
    fixed.chain(controls)
}

/// The attempts that come before those over the network: the first counts our own descriptors.
pub(super) fn first(args: &BoxVerifyArgs) -> Vec<Finding> {
    let mut findings = made(ATTEMPTS, args);
    findings.extend(CONTROLS.iter().map(|control| Finding {
        clause: "B2",
        what: format!("changing {}", control.path).into(),
        outcome: changed(control.path, control.kind),
    }));
    findings
}

/// The attempts that come after everything else.
pub(super) fn last(args: &BoxVerifyArgs) -> Vec<Finding> {
    made(LAST, args)
}

fn made(attempts: &[(&'static str, &'static str, Attempt)], args: &BoxVerifyArgs) -> Vec<Finding> {
    let made = attempts.iter().map(|(clause, what, attempt)| Finding {
        clause,
        what: Cow::Borrowed(*what),
        outcome: attempt(args),
    });
    made.collect()
}

fn held(how: &str) -> Outcome {
    Outcome::Held(how.to_owned())
}

/// Nothing was found: held; else what was.
fn none_of(found: &[String], how: &str) -> Outcome {
    if found.is_empty() {
        held(how)
    } else {
        Outcome::Hole(found.join(", "))
    }
}

fn judged(found: io::Result<Vec<String>>, how: &str) -> Outcome {
    match found {
        Ok(found) => none_of(&found, how),
        Err(error) => Outcome::Hole(format!("it could not be tried: {error}")),
    }
}

/// A call that must fail.
fn refused_call<T>(called: &nix::Result<T>) -> Outcome {
    match called {
        Ok(_) => Outcome::Hole("the call worked".to_owned()),
        Err(error) => Outcome::Held(error.desc().to_owned()),
    }
}

fn descriptors() -> Outcome {
    let listed = fs::read_dir("/proc/self/fd").map(|entries| {
        let numbers = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut others: Vec<String> = numbers
            .filter(|number| !["0", "1", "2"].contains(&number.as_str()))
            .collect();
        // The listing's own is among them, and is the lowest that was free.
        others.retain(|number| number != "3");
        others
    });
    judged(listed, "0, 1 and 2")
}

fn interfaces() -> Outcome {
    // proc_pid_net(5): two lines of headings, then a line for each, its name before the colon.
    let table = fs::read_to_string("/proc/self/net/dev").map(|table| {
        let names = table
            .lines()
            .skip(2)
            .filter_map(|line| line.split(':').next());
        let names = names.map(|name| name.trim().to_owned());
        names.filter(|name| name != "lo").collect::<Vec<_>>()
    });
    judged(table, "only lo")
}

fn listeners() -> Outcome {
    // docs/architecture.md, "Ports inside the namespace".
    const OURS: [u16; 3] = [53, 3128, 3129];
    let mut others = Vec::new();
    for table in ["/proc/self/net/tcp", "/proc/self/net/tcp6"] {
        let Ok(text) = fs::read_to_string(table) else {
            continue; // no IPv6
        };
        for line in text.lines().skip(1) {
            let mut fields = line.split_whitespace();
            // proc_pid_net(5): local address and port in hexadecimal; state 0A is LISTEN.
            let (local, state) = (fields.nth(1), fields.nth(1));
            let port = local.and_then(|local| local.rsplit(':').next());
            let port = port.and_then(|port| u16::from_str_radix(port, 16).ok());
            match port {
                Some(port) if state == Some("0A") && !OURS.contains(&port) => {
                    others.push(port.to_string());
                }
                _ => {}
            }
        }
    }
    none_of(&others, "53, 3128 and 3129")
}

fn status() -> io::Result<String> {
    fs::read_to_string("/proc/self/status")
}

fn field<'t>(status: &'t str, name: &str) -> Option<&'t str> {
    status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .map(str::trim)
}

fn status_is(name: &str, wanted: &str) -> Outcome {
    match status().map(|status| field(&status, name).map(str::to_owned)) {
        Ok(Some(value)) if value == wanted => Outcome::Held(format!("{name} {value}")),
        Ok(value) => Outcome::Hole(format!("{name} is {}", value.unwrap_or_default())),
        Err(error) => Outcome::Hole(format!("it could not be tried: {error}")),
    }
}

fn capabilities() -> Outcome {
    let found = status().map(|status| {
        let sets = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"];
        let full = sets.iter().filter(|set| {
            field(&status, set).is_none_or(|value| value.chars().any(|digit| digit != '0'))
        });
        full.map(|set| (*set).to_owned()).collect::<Vec<_>>()
    });
    judged(found, "all five sets are empty")
}

fn credentials(home: &Path) -> Outcome {
    let names = [
        ".ssh",
        ".aws",
        ".gnupg",
        ".docker",
        ".kube",
        ".netrc",
        ".config/gcloud",
        ".azure",
        ".git-credentials",
        ".npmrc",
        ".pypirc",
        ".cargo/credentials.toml",
        ".opencode-sandbox",
        ".bash_history",
    ];
    let mut places: Vec<PathBuf> = names.iter().map(|name| home.join(name)).collect();
    places.push("/etc/ssh/ssh_host_ed25519_key".into());
    // An image's own are there for whoever is 0 in it, with no password in them: crypt(5) says what one looks like.
    let secret = |path: &&str| fs::read_to_string(*path).is_ok_and(|text| text.contains(":$"));
    let shadow = ["/etc/shadow", "/etc/gshadow"].into_iter();
    places.extend(shadow.filter(secret).map(PathBuf::from));
    let read = |path: &PathBuf| File::open(path).is_ok() || fs::read_dir(path).is_ok();
    let found: Vec<String> = places
        .iter()
        .filter(|path| read(path))
        .map(|path| path.display().to_string())
        .collect();
    none_of(&found, "none can be read")
}

fn sockets() -> Outcome {
    not_seen(
        &[
            "/run/docker.sock",
            "/var/run/docker.sock",
            "/run/podman/podman.sock",
            "/run/containerd/containerd.sock",
            "/run/dbus/system_bus_socket",
            "/run/systemd/private",
            "/tmp/.X11-unix",
        ]
        .map(PathBuf::from),
    )
}

fn not_seen(paths: &[PathBuf]) -> Outcome {
    let seen = paths.iter().filter(|path| path.symlink_metadata().is_ok());
    let seen: Vec<String> = seen.map(|path| path.display().to_string()).collect();
    none_of(&seen, "not there")
}

fn not_opened(paths: &[&str]) -> Outcome {
    let opens = |path: &&&str| OpenOptions::new().read(true).write(true).open(path).is_ok();
    let opened: Vec<String> = paths
        .iter()
        .filter(opens)
        .map(|path| (*path).to_owned())
        .collect();
    none_of(&opened, "cannot be opened")
}

fn system_directories() -> Outcome {
    let writable = |path: &&&str| access(**path, AccessFlags::W_OK).is_ok();
    let paths = [
        "/",
        "/usr",
        "/usr/bin",
        "/etc",
        "/opt",
        "/var",
        "/sys",
        "/proc/sys/kernel",
    ];
    let found: Vec<String> = paths
        .iter()
        .filter(writable)
        .map(|path| (*path).to_owned())
        .collect();
    none_of(&found, "read-only")
}

fn kernel_settings() -> Outcome {
    let opens = |path: &&&str| OpenOptions::new().write(true).open(path).is_ok();
    let paths = [
        "/proc/sys/net/ipv4/ip_forward",
        "/proc/sys/net/ipv4/conf/lo/route_localnet",
        "/proc/sys/kernel/core_pattern",
        "/proc/sysrq-trigger",
    ];
    let found: Vec<String> = paths
        .iter()
        .filter(opens)
        .map(|path| (*path).to_owned())
        .collect();
    none_of(&found, "cannot be opened for writing")
}

fn entered() -> Outcome {
    let found = fs::read_dir("/proc/self/ns").map(|entries| {
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let enters = |path: &PathBuf| {
            File::open(path).is_ok_and(|file| setns(file, CloneFlags::empty()).is_ok())
        };
        let entered = paths.filter(enters);
        entered
            .map(|path| path.display().to_string())
            .collect::<Vec<_>>()
    });
    judged(found, "refused")
}

fn socket(family: i32, kind: Type, protocol: i32) -> Outcome {
    match Socket::new(Domain::from(family), kind, Some(Protocol::from(protocol))) {
        Ok(_) => Outcome::Hole("the socket was made".to_owned()),
        Err(error) => Outcome::Held(error.to_string()),
    }
}

fn processes() -> Outcome {
    let found = fs::read_dir("/proc").map(|entries| {
        let names = entries.filter_map(|entry| {
            let path = entry.ok()?.path();
            fs::read_to_string(path.join("comm")).ok()
        });
        let names = names.map(|name| name.trim().to_owned());
        let ours = |name: &String| name == "ocs-proxy" || name == "ocs-netctl";
        names.filter(ours).collect::<Vec<_>>()
    });
    judged(found, "none is seen")
}

fn abstract_sockets() -> Outcome {
    // proc_pid_net(5): the eighth field is the path; an abstract one begins with @.
    let found = fs::read_to_string("/proc/self/net/unix").map(|table| {
        let names = table
            .lines()
            .skip(1)
            .filter_map(|line| line.split_whitespace().nth(7));
        names.map(str::to_owned).collect::<Vec<_>>()
    });
    judged(found, "none")
}

/// Present or not, the place must not be the agent's to change: where it is not there, what holds it is read-only.
fn changed(path: &str, kind: Kind) -> Outcome {
    let not_writable = |path: &Path| access(path, AccessFlags::W_OK).err().map(io::Error::from);
    let refused = match kind {
        Kind::File => OpenOptions::new().write(true).open(path).err(),
        Kind::Directory => not_writable(Path::new(path)),
    };
    match refused {
        None => Outcome::Hole("it can be written to".to_owned()),
        Some(error) if error.kind() == io::ErrorKind::NotFound => {
            let above = Path::new(path).parent();
            let above = above.filter(|above| !above.as_os_str().is_empty());
            match above.and_then(not_writable) {
                Some(error) if error.kind() != io::ErrorKind::NotFound => {
                    Outcome::Held(format!("not there, and cannot be made: {error}"))
                }
                _ => Outcome::Hole("it is not there, and can be made".to_owned()),
            }
        }
        Some(error) => Outcome::Held(error.to_string()),
    }
}
