use super::*;

/// What a program answers: a small reader of the few instructions that the compiler emits.
fn answer(program: &[u8], call: i64, arguments: [u64; 6]) -> u32 {
    let mut data = Vec::new();
    data.extend_from_slice(&u32::try_from(call).unwrap().to_ne_bytes());
    data.extend_from_slice(&ARCH.to_ne_bytes());
    data.extend_from_slice(&0u64.to_ne_bytes());
    arguments
        .iter()
        .for_each(|value| data.extend_from_slice(&value.to_ne_bytes()));
    let (mut at, mut accumulator) = (0usize, 0u32);
    loop {
        let i = &program[at * 8..at * 8 + 8];
        let k = u32::from_ne_bytes(i[4..].try_into().unwrap());
        let (code, jt, jf) = (u16::from_ne_bytes(i[..2].try_into().unwrap()), i[2], i[3]);
        at += 1;
        let mut jump = |yes: bool| at += usize::from(if yes { jt } else { jf });
        match code {
            0x20 => accumulator = word(&data[k as usize..]),
            0x54 => accumulator &= k,
            0x05 => at += k as usize,
            0x15 => jump(accumulator == k),
            0x25 => jump(accumulator > k),
            0x35 => jump(accumulator >= k),
            0x06 => return k,
            other => panic!("instruction {other:#x}"),
        }
    }
}

fn word(bytes: &[u8]) -> u32 {
    u32::from_ne_bytes(bytes[..4].try_into().unwrap())
}

// linux/audit.h
#[cfg(target_arch = "x86_64")]
const ARCH: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCH: u32 = 0xc000_00b7;

const ALLOW: u32 = 0x7fff_0000; // linux/seccomp.h SECCOMP_RET_ALLOW
const EPERM: u32 = 0x0005_0000 | 1;
const ENOSYS: u32 = 0x0005_0000 | 38;

/// The stricter answer of the two; of two errors, that of the later program, as the kernel has it.
fn verdict(call: i64, arguments: &[u64]) -> u32 {
    let mut six = [0; 6];
    six[..arguments.len()].copy_from_slice(arguments);
    let [first, second] = programs().unwrap();
    let (first, second) = (answer(&first, call, six), answer(&second, call, six));
    if second == ALLOW { first } else { second }
}

fn verdicts(cases: &[(i64, &[u64])]) -> Vec<u32> {
    cases
        .iter()
        .map(|(call, arguments)| verdict(*call, arguments))
        .collect()
}

#[test]
fn what_every_program_needs_is_allowed() {
    let calls = [
        libc::SYS_read,
        libc::SYS_openat,
        libc::SYS_mmap,
        libc::SYS_execve,
        libc::SYS_futex,
        libc::SYS_statx,
        libc::SYS_getrandom,
    ];
    assert_eq!(calls.map(|call| verdict(call, &[])), [ALLOW; 7]);
}

#[test]
fn what_reaches_past_the_box_is_refused_and_the_unknown_does_not_exist() {
    let refused = [
        libc::SYS_ptrace,
        libc::SYS_bpf,
        libc::SYS_keyctl,
        libc::SYS_mount,
        libc::SYS_fsopen,
        libc::SYS_setns,
        libc::SYS_unshare,
        libc::SYS_io_uring_setup,
        libc::SYS_process_vm_writev,
        libc::SYS_pidfd_getfd,
        libc::SYS_open_by_handle_at,
        libc::SYS_userfaultfd,
        libc::SYS_perf_event_open,
        libc::SYS_kexec_load,
    ];
    assert_eq!(refused.map(|call| verdict(call, &[])), [EPERM; 14]);
    let x32 = 0x4000_0000 + libc::SYS_read;
    assert_eq!(verdict(x32, &[]), ENOSYS);
    assert_eq!(
        [libc::SYS_clone3, libc::SYS_openat2, 9999].map(|call| verdict(call, &[])),
        [ENOSYS; 3]
    );
}

#[test]
fn sockets_are_unix_internet_and_route_netlink_only() {
    let (stream, dgram, raw) = (1, 2, 3);
    let socket = libc::SYS_socket;
    let good: &[(i64, &[u64])] = &[
        (socket, &[1, stream, 0]),
        (socket, &[2, stream, 6]),
        (socket, &[2, stream | 0o2_000_000, 262]),
        (socket, &[10, dgram, 17]),
        (socket, &[2, dgram, 1]),
        (socket, &[16, raw, 0]),
        (libc::SYS_socketpair, &[1, stream, 0]),
    ];
    assert_eq!(verdicts(good), [ALLOW; 7]);
    let bad: &[(i64, &[u64])] = &[
        (socket, &[17, raw, 0]),    // AF_PACKET
        (socket, &[40, stream, 0]), // AF_VSOCK
        (socket, &[38, 5, 0]),      // AF_ALG
        (socket, &[31, raw, 1]),    // AF_BLUETOOTH
        (socket, &[44, raw, 0]),    // AF_XDP
        (socket, &[16, raw, 12]),   // NETLINK_NETFILTER
        (socket, &[2, raw, 1]),     // raw ICMP
        (socket, &[10, raw | 0o2_000_000, 255]),
        (socket, &[2, 10, 768]),     // SOCK_PACKET
        (socket, &[2, stream, 132]), // SCTP
        (socket, &[17 | 1 << 32, raw, 0]),
        (libc::SYS_socketpair, &[2, stream, 0]),
    ];
    assert_eq!(verdicts(bad), [EPERM; 12]);
}

#[test]
fn threads_start_and_namespaces_do_not() {
    // pthread_create's flags, and vfork's, of glibc.
    assert_eq!(
        verdicts(&[
            (libc::SYS_clone, &[0x003d_0f00]),
            (libc::SYS_clone, &[0x4111])
        ]),
        [ALLOW; 2]
    );
    for flag in lists::NEW_NAMESPACE {
        assert_eq!(
            verdict(libc::SYS_clone, &[u64::from(*flag) | 17]),
            EPERM,
            "{flag:#x}"
        );
    }
}

#[test]
fn nothing_is_typed_into_the_terminal_even_with_stray_high_bits() {
    let cases: &[(i64, &[u64])] = &[
        (libc::SYS_ioctl, &[0, 0x5412]),
        (libc::SYS_ioctl, &[0, 0x5412 | 1 << 40]),
        (libc::SYS_ioctl, &[0, 0x541c]),
        (libc::SYS_ioctl, &[0, 0x5423]),
    ];
    assert_eq!(verdicts(cases), [EPERM; 4]);
    assert_eq!(verdict(libc::SYS_ioctl, &[0, 0x5413]), ALLOW); // TIOCGWINSZ, the neighbour
}

#[test]
fn setuid_files_are_not_made_and_ordinary_modes_are() {
    let (creat, at) = (0o100, 0xffff_ff9c);
    let bad: &[(i64, &[u64])] = &[
        (libc::SYS_fchmod, &[3, 0o4755]),
        (libc::SYS_fchmodat, &[at, 0, 0o6711]),
        (libc::SYS_openat, &[at, 0, creat | 1, 0o4700]),
        (libc::SYS_mknodat, &[at, 0, 0o104_755]),
    ];
    assert_eq!(verdicts(bad), [EPERM; 4]);
    let good: &[(i64, &[u64])] = &[
        (libc::SYS_fchmod, &[3, 0o2755]),
        (libc::SYS_openat, &[at, 0, creat | 1, 0o644]),
        (libc::SYS_openat, &[at, 0, 0, 0o4700]), // no creation: the register is not a mode
    ];
    assert_eq!(verdicts(good), [ALLOW; 3]);
}

#[test]
fn personalities_and_group_signals_are_refused() {
    let cases: &[(i64, &[u64])] = &[
        (libc::SYS_personality, &[0]),
        (libc::SYS_personality, &[0xffff_ffff]),
        (libc::SYS_personality, &[0x0040_0000]), // READ_IMPLIES_EXEC
        (libc::SYS_pidfd_send_signal, &[3, 9, 0, 0]),
        (libc::SYS_pidfd_send_signal, &[3, 9, 0, 4]),
    ];
    assert_eq!(verdicts(cases), [ALLOW, ALLOW, EPERM, ALLOW, EPERM]);
}

#[test]
fn the_programs_fit_into_what_the_kernel_takes() {
    let [first, second] = programs().unwrap();
    // linux/bpf_common.h BPF_MAXINSNS
    assert!(
        first.len() / 8 < 4096 && second.len() / 8 < 4096,
        "{} {}",
        first.len() / 8,
        second.len() / 8
    );
}

#[test]
fn another_processor_s_calls_end_the_process() {
    let [first, _] = programs().unwrap();
    let arch = answer_of_arch(&first, 0x4000_0003); // AUDIT_ARCH_I386
    assert_eq!(arch, 0x8000_0000); // SECCOMP_RET_KILL_PROCESS
}

fn answer_of_arch(program: &[u8], arch: u32) -> u32 {
    // The first two instructions load the architecture and compare it.
    let compare = &program[8..16];
    assert_eq!(u16::from_ne_bytes(compare[..2].try_into().unwrap()), 0x15);
    assert_ne!(u32::from_ne_bytes(compare[4..].try_into().unwrap()), arch);
    let at = (2 + usize::from(compare[3])) * 8;
    assert_eq!(
        u16::from_ne_bytes(program[at..at + 2].try_into().unwrap()),
        0x06
    );
    u32::from_ne_bytes(program[at + 4..at + 8].try_into().unwrap())
}
