//! Tries, in namespaces of this very process, what a fence needs: the only honest answer to "may I". A sysctl can say yes
//! where a security module says no. Whatever it makes goes with the process.
//! Clauses: N1 (a network namespace), N10 (`nf_tables`), B3 (a user namespace inside).
use std::io;

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto,
    setsockopt, socket, sockopt,
};
use nix::sys::time::TimeVal;
use nix::unistd::{getgid, getuid, sethostname};

/// One step's name and outcome, in the order that they were tried; those after a failed one that they need are left out.
pub(super) type Steps = Vec<(&'static str, io::Result<()>)>;

/// Tries them all. Must be called before any thread is started: a process of several cannot change its user namespace.
pub(super) fn probe() -> Steps {
    let (uid, gid) = (getuid().as_raw(), getgid().as_raw());
    let mut steps = vec![("user-namespace", enter_user_namespace(uid, gid))];
    if is_failed(&steps) {
        return steps;
    }
    let spaces = CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWUTS | CloneFlags::CLONE_NEWNS;
    steps.push(("other-namespaces", unshare(spaces).map_err(io::Error::from)));
    if is_failed(&steps) {
        return steps;
    }
    // A security module may grant the namespace and no capability in it.
    steps.push((
        "capabilities",
        sethostname("sandbox").map_err(io::Error::from),
    ));
    steps.push((
        "nf-tables",
        ask_netfilter(NFNL_SUBSYS_NFTABLES, NFT_MSG_GETGEN),
    ));
    steps.push(("nflog", ask_netfilter(NFNL_SUBSYS_ULOG, NFULNL_MSG_CONFIG)));
    steps.push(("inner-user-namespace", enter_user_namespace(0, 0)));
    steps
}

fn is_failed(steps: &Steps) -> bool {
    steps.last().is_some_and(|(_, outcome)| outcome.is_err())
}

fn enter_user_namespace(uid: u32, gid: u32) -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWUSER)?;
    // user_namespaces(7): a process without privilege gives up setgroups before it maps its group.
    std::fs::write("/proc/self/setgroups", "deny")?;
    std::fs::write("/proc/self/uid_map", format!("0 {uid} 1"))?;
    std::fs::write("/proc/self/gid_map", format!("0 {gid} 1"))
}

const NFNL_SUBSYS_NFTABLES: u8 = 10; // linux/netfilter/nfnetlink.h
const NFNL_SUBSYS_ULOG: u8 = 4; // linux/netfilter/nfnetlink.h
const NFT_MSG_GETGEN: u8 = 16; // linux/netfilter/nf_tables.h
const NFULNL_MSG_CONFIG: u8 = 1; // linux/netfilter/nfnetlink_log.h
const NLM_F_REQUEST: u16 = 1; // linux/netlink.h
const NLMSG_ERROR: u16 = 2; // linux/netlink.h
const WAIT_S: i64 = 5;

/// Sends a bare message to a subsystem of netfilter. The kernel answers EINVAL where it has no such subsystem, and EPERM
/// where we hold no capability; any other answer comes from the subsystem itself.
fn ask_netfilter(subsystem: u8, message: u8) -> io::Result<()> {
    let socket = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkNetFilter,
    )?;
    setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::new(WAIT_S, 0))?;
    let kernel = NetlinkAddr::new(0, 0);
    sendto(
        std::os::fd::AsRawFd::as_raw_fd(&socket),
        &request(subsystem, message),
        &kernel,
        MsgFlags::empty(),
    )?;
    let mut answer = [0; 256];
    let length = recv(
        std::os::fd::AsRawFd::as_raw_fd(&socket),
        &mut answer,
        MsgFlags::empty(),
    )?;
    match error_of(answer.get(..length).unwrap_or_default()) {
        Some(Errno::EINVAL) => Err(io::Error::other("the kernel has no such subsystem")),
        Some(Errno::EPERM) => Err(Errno::EPERM.into()),
        Some(_) | None => Ok(()),
    }
}

/// A netlink header (16 bytes) and netfilter's own (family, version, resource), all zero but what names the message.
fn request(subsystem: u8, message: u8) -> Vec<u8> {
    const LENGTH: u32 = 20;
    let kind = u16::from(subsystem) << 8 | u16::from(message);
    let mut bytes = Vec::new();
    bytes.extend(LENGTH.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(NLM_F_REQUEST.to_ne_bytes());
    bytes.extend([0; 8]); // sequence and port
    bytes.extend([0; 4]); // family, version, resource
    bytes
}

/// The error in an answer, if it is one; an answer that is too short is one.
fn error_of(answer: &[u8]) -> Option<Errno> {
    let kind = answer
        .get(4..6)
        .and_then(|bytes| bytes.try_into().ok())
        .map(u16::from_ne_bytes);
    let code = answer
        .get(16..20)
        .and_then(|bytes| bytes.try_into().ok())
        .map(i32::from_ne_bytes);
    match (kind, code) {
        (Some(NLMSG_ERROR), Some(0)) => None,
        (Some(NLMSG_ERROR), Some(code)) => Some(Errno::from_raw(code.saturating_neg())),
        (Some(_), Some(_)) => None,
        _ => Some(Errno::EINVAL),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(kind: u16, code: i32) -> Vec<u8> {
        let mut bytes = vec![0; 4];
        bytes.extend(kind.to_ne_bytes());
        bytes.extend([0; 10]);
        bytes.extend(code.to_ne_bytes());
        bytes
    }

    #[test]
    fn answers_are_told_apart() {
        assert_eq!(error_of(&answer(NLMSG_ERROR, -1)), Some(Errno::EPERM));
        assert_eq!(error_of(&answer(NLMSG_ERROR, -22)), Some(Errno::EINVAL));
        assert_eq!(error_of(&answer(NLMSG_ERROR, 0)), None);
        assert_eq!(error_of(&answer(0x0a0f, 7)), None);
        assert_eq!(
            error_of(&answer(NLMSG_ERROR, i32::MIN)),
            Some(Errno::UnknownErrno)
        );
        for short in 0..20 {
            assert_eq!(
                error_of(&answer(NLMSG_ERROR, 0)[..short]),
                Some(Errno::EINVAL),
                "{short}"
            );
        }
    }

    #[test]
    fn a_request_is_as_long_as_it_says() {
        let bytes = request(NFNL_SUBSYS_NFTABLES, NFT_MSG_GETGEN);
        assert_eq!(bytes.len(), 20);
        assert_eq!(bytes[..8], [20u32.to_ne_bytes(), [16, 10, 1, 0]].concat()); // this machine is little-endian
    }
}
