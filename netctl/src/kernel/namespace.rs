//! A user and a network namespace of the process's own.
//!
//! The user namespace owns the network namespace: whoever holds a capability in it could change the rules, and that is
//! this process alone, until it gives them up (`privilege`). The process keeps its uid and gid, mapped to themselves: an
//! agent that bubblewrap starts in a user namespace within has the same uid as its files, and a program that joins from
//! outside loses its capabilities at its first exec, as any uid but 0 does.
//!
//! Clauses: N1, N11.

use std::io;

use nix::sched::{CloneFlags, unshare};
use rustix::io::Errno;
use rustix::process::{getegid, geteuid};

use super::KernelError;

/// Leaves the namespaces that the process was started in. The process must have one thread.
///
/// # Errors
/// [`KernelError::Missing`] where the kernel has no user namespaces, or not for this user.
pub fn unshare_user_and_net() -> Result<(), KernelError> {
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET).map_err(|errno| {
        refused(
            io::Error::from(errno),
            "make a user and a network namespace",
        )
    })?;
    // Before gid_map, or the kernel refuses an ordinary user's mapping (user_namespaces(7)).
    write("/proc/self/setgroups", "deny")?;
    write("/proc/self/uid_map", &format!("{uid} {uid} 1"))?;
    write("/proc/self/gid_map", &format!("{gid} {gid} 1"))
}

/// Lets our own group open ping sockets (icmp(7), `ping_group_range`), so that what they send meets the rules, is refused
/// there and is on record (N6). Without it the kernel refuses the socket, and nobody knows that somebody tried.
///
/// A namespace whose `/proc/sys` is read-only, as a container's is, keeps the kernel's refusal: no packet either way.
pub fn let_pings_meet_the_rules() {
    let gid = getegid().as_raw();
    std::fs::write(PING_GROUPS, format!("{gid} {gid}")).ok();
}

/// Of the network namespace of whoever opens it; IPv6 has no other.
const PING_GROUPS: &str = "/proc/sys/net/ipv4/ping_group_range";

fn write(path: &str, text: &str) -> Result<(), KernelError> {
    std::fs::write(path, text).map_err(|error| refused(error, &format!("write {path}")))
}

fn refused(error: io::Error, what: &str) -> KernelError {
    let advice = match Errno::from_io_error(&error) {
        Some(Errno::PERM | Errno::ACCESS) => NOT_FOR_USERS,
        Some(Errno::NOSPC | Errno::USERS) => {
            "as root type: sysctl -w user.max_user_namespaces=15000 user.max_net_namespaces=15000"
        }
        Some(Errno::INVAL | Errno::NOSYS | Errno::NOENT) => {
            "this kernel was built without CONFIG_USER_NS or CONFIG_NET_NS: use one that has them"
        }
        Some(_) | None => {
            return KernelError::Refused {
                what: what.to_owned(),
                source: error,
            };
        }
    };
    KernelError::Missing {
        what: format!("user namespaces for this user ({what}: {error})"),
        advice,
    }
}

/// Distributions have their own switches: Debian's sysctl, Ubuntu's `AppArmor` restriction.
pub(crate) const NOT_FOR_USERS: &str = "as root type: sysctl -w kernel.unprivileged_userns_clone=1 (Debian), or sysctl \
                                        -w kernel.apparmor_restrict_unprivileged_userns=0 (Ubuntu); inside a \
                                        container, its seccomp profile must allow unshare";
