//! The seccomp profile of containers, `image/seccomp.json`: complete and default-deny, the same lists as the engine native's
//! (`engine/native/seccomp`), in the form that Docker and Podman read. What stands here is the text; the tests hold it to the
//! lists, to COMPATIBILITY 1.17 and W32, and to the rule that nothing passes that a filter cannot read.
//! Clauses: B3, B4.

/// The profile, for `--security-opt seccomp=FILE`.
pub(crate) const PROFILE: &str = include_str!("../../../image/seccomp.json");

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use serde_json::Value;

    use super::*;

    const EPERM: u64 = 1;
    const ENOSYS: u64 = 38;

    /// What the profile answers to a call: `None` lets it pass. Rules with conditions pass if any of them holds, as
    /// libseccomp builds them; several conditions of one rule must all hold.
    fn answer(call: &str, arguments: &[u64]) -> Option<u64> {
        let profile: Value = serde_json::from_str(PROFILE).unwrap();
        let mut refused = profile["defaultErrnoRet"].as_u64();
        for rule in profile["syscalls"].as_array().unwrap() {
            let names = rule["names"].as_array().unwrap();
            if !names.iter().any(|name| name == call) {
                continue;
            }
            let conditions = rule["args"].as_array();
            let holds = conditions.is_none_or(|all| all.iter().all(|one| met(one, arguments)));
            match rule["action"].as_str().unwrap() {
                "SCMP_ACT_ALLOW" if holds => return None,
                "SCMP_ACT_ERRNO" if holds => refused = rule["errnoRet"].as_u64(),
                "SCMP_ACT_ALLOW" | "SCMP_ACT_ERRNO" => {}
                other => panic!("{other}"),
            }
        }
        refused
    }

    fn met(condition: &Value, arguments: &[u64]) -> bool {
        let number = |key: &str| condition[key].as_u64().unwrap();
        let index = usize::try_from(number("index")).unwrap();
        let argument = arguments.get(index).copied().unwrap_or(0);
        match condition["op"].as_str().unwrap() {
            "SCMP_CMP_EQ" => argument == number("value"),
            "SCMP_CMP_MASKED_EQ" => argument & number("value") == number("valueTwo"),
            other => panic!("{other}: a stray high bit would change its answer"),
        }
    }

    fn names(action: &str) -> BTreeSet<String> {
        let profile: Value = serde_json::from_str(PROFILE).unwrap();
        let rules = profile["syscalls"].as_array().unwrap().iter();
        let names = rules
            .filter(|rule| rule["action"] == action)
            .flat_map(|rule| rule["names"].as_array().unwrap());
        names
            .map(|name| name.as_str().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn whatever_is_on_no_list_does_not_exist() {
        let profile: Value = serde_json::from_str(PROFILE).unwrap();
        assert_eq!(profile["defaultAction"], "SCMP_ACT_ERRNO");
        for call in [
            "modify_ldt",
            "memfd_secret",
            "a_call_of_tomorrow",
            "clone3",
            "openat2",
        ] {
            assert_eq!(answer(call, &[]), Some(ENOSYS), "{call}");
        }
        // No second set of numbers (i386, x32) beside the processor's own.
        for processor in profile["archMap"].as_array().unwrap() {
            assert_eq!(processor["subArchitectures"], Value::Array(Vec::new()));
        }
        for rule in profile["syscalls"].as_array().unwrap() {
            assert!(
                rule.get("includes").is_none(),
                "nothing depends on capabilities"
            );
        }
    }

    #[test]
    fn all_41_denials_of_sandboxed_opencode_are_refusals_here() {
        let denials = "acct add_key bpf clock_adjtime clock_settime create_module delete_module finit_module \
            get_kernel_syms init_module io_uring_enter io_uring_register io_uring_setup kexec_file_load kexec_load keyctl \
            lookup_dcookie mount mount_setattr move_mount nfsservctl open_tree perf_event_open pivot_root ptrace \
            query_module quotactl quotactl_fd reboot request_key setdomainname sethostname swapon swapoff syslog umount \
            umount2 unshare userfaultfd vm86 vm86old";
        let denials: Vec<&str> = denials.split_ascii_whitespace().collect();
        assert_eq!(denials.len(), 41);
        for call in denials {
            assert_eq!(answer(call, &[]), Some(EPERM), "{call}");
        }
    }

    #[test]
    fn what_those_denials_missed_is_refused_too() {
        for call in [
            "setns",
            "process_vm_readv",
            "process_vm_writev",
            "fsopen",
            "fsmount",
            "fsconfig",
            "fspick",
            "open_by_handle_at",
            "pidfd_getfd",
            "chroot",
        ] {
            assert_eq!(answer(call, &[]), Some(EPERM), "{call}");
        }
        // clone(2): each CLONE_NEW* alone, and with the signal that fork asks for.
        for flag in [
            0x2_0000,
            0x200_0000,
            0x400_0000,
            0x800_0000,
            0x1000_0000,
            0x2000_0000,
            0x4000_0000,
        ] {
            assert_eq!(answer("clone", &[flag | 17]), Some(ENOSYS), "{flag:#x}");
        }
        assert_eq!(answer("clone", &[0x3d_0f00]), None, "a thread");
        assert_eq!(answer("clone", &[17]), None, "a fork");
    }

    #[test]
    fn sockets_are_of_four_families_and_never_raw() {
        let (unix, v4, netlink, v6, packet, vsock, alg) = (1, 2, 16, 10, 17, 40, 38);
        let (stream, datagram, raw, sctp) = (1, 2, 3, 5);
        let flags = 0o2_004_000; // SOCK_CLOEXEC and SOCK_NONBLOCK
        for family in [v4, v6] {
            for kind in [stream, datagram] {
                assert_eq!(answer("socket", &[family, kind | flags, 0]), None);
            }
            for kind in [raw, sctp, 10] {
                assert_eq!(answer("socket", &[family, kind | flags, 0]), Some(ENOSYS));
            }
        }
        assert_eq!(answer("socket", &[unix, 5, 0]), None);
        assert_eq!(answer("socket", &[netlink, raw, 0]), None, "NETLINK_ROUTE");
        assert_eq!(
            answer("socket", &[netlink, raw, 12]),
            Some(ENOSYS),
            "NETLINK_NETFILTER"
        );
        for family in [packet, vsock, alg, 0, 45] {
            assert_eq!(
                answer("socket", &[family, stream, 0]),
                Some(ENOSYS),
                "{family}"
            );
        }
        assert_eq!(
            answer("socket", &[vsock | 1 << 32, stream, 0]),
            Some(ENOSYS)
        );
        assert_eq!(answer("socketpair", &[vsock, stream, 0]), Some(ENOSYS));
    }

    #[test]
    fn no_file_becomes_setuid_whichever_call_makes_it() {
        let (suid, plain, create) = (0o4755, 0o755, 0o101);
        let modes = [
            ("chmod", 1),
            ("fchmod", 1),
            ("creat", 1),
            ("mknod", 1),
            ("fchmodat", 2),
            ("fchmodat2", 2),
            ("mknodat", 2),
        ];
        for (call, index) in modes {
            let with = |mode| {
                let mut arguments = [0; 4];
                arguments[index] = mode;
                answer(call, &arguments)
            };
            assert_eq!((with(plain), with(suid)), (None, Some(ENOSYS)), "{call}");
        }
        assert_eq!(answer("openat", &[0, 0, create, plain]), None);
        assert_eq!(answer("openat", &[0, 0, create, suid]), Some(ENOSYS));
        assert_eq!(
            answer("openat", &[0, 0, 0, suid]),
            None,
            "the register held that"
        );
        assert_eq!(
            answer("open", &[0, 0x41_0000, suid]),
            Some(ENOSYS),
            "O_TMPFILE"
        );
    }

    /// The names in the table of the engine native, by list. (Read as text: the table itself is numbers.)
    fn native() -> BTreeMap<&'static str, BTreeSet<String>> {
        let text = include_str!("../engine/native/seccomp/lists.rs");
        let mut lists: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        for part in text.split("\nconst ").skip(1) {
            let (name, rest) = part.split_once(':').unwrap();
            let list = rest.split_once("];").map_or("", |(list, _)| list);
            let calls = list.split("libc::SYS_").skip(1);
            let end = |call: &str| {
                call.find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                    .unwrap_or(call.len())
            };
            let calls = calls.map(|call| call[..end(call)].to_owned());
            lists.entry(name).or_default().extend(calls);
        }
        lists
    }

    #[test]
    fn containers_and_the_engine_native_have_the_same_lists() {
        const REFUSED: [&str; 5] = [
            "OTHERS_MEMORY",
            "MOUNTS_AND_NAMESPACES",
            "KERNEL",
            "KEYS_AND_MACHINE",
            "PORTS",
        ];
        let mut native = native();
        let refused: BTreeSet<String> = REFUSED
            .iter()
            .flat_map(|list| native.remove(list).unwrap())
            .collect();
        let allowed: BTreeSet<String> = native.into_values().flatten().collect();
        assert!(
            allowed.len() > 250 && refused.len() > 45,
            "{} {}",
            allowed.len(),
            refused.len()
        );
        // Those that the table has as bare numbers, being newer than the crate's list.
        let newer = "cachestat fchmodat2 futex_requeue futex_wait futex_waitv futex_wake getxattrat listxattrat \
            map_shadow_stack mseal removexattrat setxattrat sync_file_range2";
        let more: BTreeSet<String> = newer.split_ascii_whitespace().map(str::to_owned).collect();
        let passes = names("SCMP_ACT_ALLOW");
        assert_eq!(passes, allowed.union(&more).cloned().collect());
        let refusals = names("SCMP_ACT_ERRNO");
        assert_eq!(
            refused.difference(&refusals).collect::<Vec<_>>(),
            Vec::<&String>::new()
        );
        assert_eq!(
            refusals.intersection(&passes).collect::<Vec<_>>(),
            Vec::<&String>::new()
        );
    }
}
