//! The system calls that an agent may make, as two BPF programs for `bwrap --add-seccomp-fd`. Pure: builds bytes only.
//!
//! `allowed` is what an ordinary program needs; whatever is on no list, and whatever a later kernel adds, does not exist
//! (`ENOSYS`), so that libraries fall back (`clone3` to `clone`, `openat2` to `openat`). `refused` answers `EPERM` to what
//! reaches past the box, and to harmless calls with harmful arguments. The kernel takes the stricter of the two, and of two
//! errors that of the program installed last; `refused` is the last.
//!
//! Arguments that the kernel reads as 32 bits are compared as 32 bits: a stray high bit must not change the answer.
//! Clauses: B3, B4.
mod lists;

use std::collections::BTreeMap;

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch,
};

/// How many programs there are.
pub(crate) const COUNT: usize = 2;

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// The two programs, each as the bytes of `struct sock_filter[]`, in the order to install them.
///
/// # Errors
/// The processor is none that we have lists for, or a list is beyond what BPF can hold (ours, and found by a test).
pub fn programs() -> Result<[Vec<u8>; COUNT], BackendError> {
    Ok([bytes(&allowed()?), bytes(&refused()?)])
}

fn allowed() -> Result<BpfProgram, BackendError> {
    let rules = lists::allowed().map(|call| (call, Vec::new()));
    compile(
        rules.collect(),
        SeccompAction::Errno(errno(libc::ENOSYS)),
        SeccompAction::Allow,
    )
}

fn refused() -> Result<BpfProgram, BackendError> {
    let mut rules: Rules = lists::refused().map(|call| (call, Vec::new())).collect();
    for (call, rule) in arguments()? {
        rules.entry(call).or_default().push(rule);
    }
    compile(
        rules,
        SeccompAction::Allow,
        SeccompAction::Errno(errno(libc::EPERM)),
    )
}

/// Calls that are refused for some arguments only.
fn arguments() -> Result<Vec<(i64, SeccompRule)>, BackendError> {
    let mut rules = Vec::new();
    // socket(2), socketpair(2): what is none of these families has no business in the box (vsock, packet, bluetooth, ..).
    let families = [
        libc::AF_UNIX,
        libc::AF_INET,
        libc::AF_INET6,
        libc::AF_NETLINK,
    ];
    rules.push((libc::SYS_socket, none_of(0, &families)?));
    rules.push((libc::SYS_socketpair, none_of(0, &[libc::AF_UNIX])?));
    // Netlink is for getifaddrs(3) alone; nftables, audit, xfrm, kobject events are other protocols of it.
    let mut netlink = vec![is(0, SeccompCmpOp::Eq, libc::AF_NETLINK)?];
    netlink.push(is(2, SeccompCmpOp::Ne, libc::NETLINK_ROUTE)?);
    rules.push((libc::SYS_socket, SeccompRule::new(netlink)?));
    for family in [libc::AF_INET, libc::AF_INET6] {
        rules.extend(inet(family)?);
    }
    // clone(2) takes its flags first on both processors. CLONE_NEWTIME shares its bit with the exit signal here.
    for flag in lists::NEW_NAMESPACE {
        rules.push((libc::SYS_clone, masked(0, *flag)?));
    }
    // Typing into the terminal that we share (TIOCSTI, TIOCLINUX), and line disciplines, which load kernel modules.
    for request in [libc::TIOCSTI, libc::TIOCLINUX, libc::TIOCSETD] {
        let request = u64::from(u32::try_from(request).unwrap_or(u32::MAX));
        rules.push((
            libc::SYS_ioctl,
            SeccompRule::new(vec![word(1, SeccompCmpOp::Eq, request)?])?,
        ));
    }
    // personality(2): Linux, or asking. Others switch protections of memory off.
    let asking = u64::from(u32::MAX);
    let other = vec![
        word(0, SeccompCmpOp::Ne, 0)?,
        word(0, SeccompCmpOp::Ne, asking)?,
    ];
    rules.push((libc::SYS_personality, SeccompRule::new(other)?));
    // pidfd_send_signal(2) to a process group, whose members may be outside: flag 4, pidfd.h PIDFD_SIGNAL_PROCESS_GROUP.
    rules.push((
        libc::SYS_pidfd_send_signal,
        SeccompRule::new(vec![word(3, SeccompCmpOp::Ne, 0)?])?,
    ));
    rules.extend(setuid()?);
    Ok(rules)
}

/// A setuid file made in the project would be one on the host too. (Setgid stays: directories of teams have it.)
fn setuid() -> Result<Vec<(i64, SeccompRule)>, BackendError> {
    let bit = |argument| {
        word(
            argument,
            SeccompCmpOp::MaskedEq(libc::S_ISUID.into()),
            libc::S_ISUID.into(),
        )
    };
    let mut rules = Vec::new();
    for (call, mode) in lists::MODES {
        rules.push((*call, SeccompRule::new(vec![bit(*mode)?])?));
    }
    // Without one of these flags the mode is whatever the register held.
    for flag in [libc::O_CREAT, libc::O_TMPFILE] {
        for (call, flags, mode) in lists::CREATIONS {
            let creates = word(*flags, SeccompCmpOp::MaskedEq(number(flag)), number(flag))?;
            rules.push((*call, SeccompRule::new(vec![creates, bit(*mode)?])?));
        }
    }
    Ok(rules)
}

/// The Internet families: no raw and no packet sockets, and no protocol beyond those that every client uses.
fn inet(family: i32) -> Result<Vec<(i64, SeccompRule)>, BackendError> {
    let here = || is(0, SeccompCmpOp::Eq, family);
    let mut rules = Vec::new();
    for kind in [libc::SOCK_RAW, SOCK_PACKET] {
        // linux/net.h SOCK_TYPE_MASK: the flags SOCK_CLOEXEC and SOCK_NONBLOCK share the argument.
        let of_kind = word(1, SeccompCmpOp::MaskedEq(0xf), number(kind))?;
        rules.push((libc::SYS_socket, SeccompRule::new(vec![here()?, of_kind])?));
    }
    let known = [
        0,
        libc::IPPROTO_TCP,
        libc::IPPROTO_UDP,
        libc::IPPROTO_ICMP,
        libc::IPPROTO_ICMPV6,
        libc::IPPROTO_MPTCP,
    ];
    let mut conditions = vec![here()?];
    for protocol in known {
        conditions.push(is(2, SeccompCmpOp::Ne, protocol)?);
    }
    rules.push((libc::SYS_socket, SeccompRule::new(conditions)?));
    Ok(rules)
}

/// linux/net.h; libc's own is deprecated.
const SOCK_PACKET: i32 = 10;

fn none_of(argument: u8, values: &[i32]) -> Result<SeccompRule, BackendError> {
    let conditions = values
        .iter()
        .map(|value| is(argument, SeccompCmpOp::Ne, *value));
    SeccompRule::new(conditions.collect::<Result<_, _>>()?)
}

fn masked(argument: u8, bits: u32) -> Result<SeccompRule, BackendError> {
    let bits = u64::from(bits);
    SeccompRule::new(vec![word(argument, SeccompCmpOp::MaskedEq(bits), bits)?])
}

fn is(argument: u8, operator: SeccompCmpOp, value: i32) -> Result<SeccompCondition, BackendError> {
    word(argument, operator, number(value))
}

fn word(
    argument: u8,
    operator: SeccompCmpOp,
    value: u64,
) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)
}

/// A constant of the C library, none of which is negative here.
fn number(value: i32) -> u64 {
    u64::from(value.unsigned_abs())
}

fn errno(value: i32) -> u32 {
    value.unsigned_abs()
}

fn compile(
    rules: Rules,
    otherwise: SeccompAction,
    matched: SeccompAction,
) -> Result<BpfProgram, BackendError> {
    let processor = TargetArch::try_from(std::env::consts::ARCH)?;
    SeccompFilter::new(rules, otherwise, matched, processor)?.try_into()
}

/// `struct sock_filter` of linux/filter.h, in the processor's byte order: that is what the kernel is given.
fn bytes(program: &BpfProgram) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(program.len().saturating_mul(8));
    for instruction in program {
        bytes.extend_from_slice(&instruction.code.to_ne_bytes());
        bytes.extend_from_slice(&[instruction.jt, instruction.jf]);
        bytes.extend_from_slice(&instruction.k.to_ne_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests;
