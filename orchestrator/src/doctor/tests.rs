use std::fs;
use std::path::Path;

use super::*;

const PROBED: &str = "user-namespace: ok\nother-namespaces: ok\ncapabilities: ok\nnf-tables: ok\nnflog: ok\n\
    inner-user-namespace: ok\n";

/// A machine on which everything works, as a directory.
fn machine() -> tempfile::TempDir {
    let keep = tempfile::tempdir().unwrap();
    let root = keep.path();
    write(root, "proc/sys/kernel/osrelease", "6.1.0-13-amd64\n");
    write(
        root,
        "proc/sys/kernel/seccomp/actions_avail",
        "kill_process errno allow\n",
    );
    write(root, "proc/sys/net/ipv6/conf/all/disable_ipv6", "0\n");
    write(root, "proc/self/cgroup", "0::/user.slice/x\n");
    write(
        root,
        "sys/fs/cgroup/cgroup.controllers",
        "cpu io memory pids\n",
    );
    write(
        root,
        "sys/fs/cgroup/user.slice/x/cgroup.controllers",
        "cpu memory pids\n",
    );
    write(root, "sys/fs/cgroup/user.slice/x/cgroup.procs", "");
    write(
        root,
        "etc/os-release",
        "NAME=x\nID=ubuntu\nID_LIKE=debian\n",
    );
    program(root, "usr/bin/bwrap", "bubblewrap 0.8.0");
    program(root, "ocs/ocs-netctl", "");
    program(root, "ocs/ocs-proxy", "");
    program(root, "bin/bash", "");
    program(root, "bin/docker", "Docker version 20.10.24, build 297e128");
    program(root, "bin/podman", "podman version 4.3.1");
    keep
}

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn program(root: &Path, path: &str, version: &str) {
    write(root, path, &format!("#!/bin/sh\necho '{version}'\n"));
    fs::set_permissions(
        root.join(path),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
}

/// Every check as `state name: detail [fix]`, with the machine's directory left out.
fn checked(keep: &tempfile::TempDir, probed: Option<&str>) -> Vec<String> {
    let checks = checks::all(&Machine::of(keep.path(), probed));
    let line = |check: Check| {
        let state = serde_json::to_string(&check.state)
            .unwrap()
            .replace('"', "");
        let fix = check.fix.map(|fix| format!(" [{fix}]")).unwrap_or_default();
        let line = format!("{state} {}: {}{fix}", check.name, check.detail);
        line.replace(&keep.path().display().to_string(), "")
    };
    checks.into_iter().map(line).collect()
}

/// The lines that are not as on the machine on which everything works.
fn changed(keep: &tempfile::TempDir, probed: Option<&str>) -> Vec<String> {
    let usual = checked(&machine(), Some(PROBED));
    checked(keep, probed)
        .into_iter()
        .filter(|line| !usual.contains(line))
        .collect()
}

#[test]
fn a_machine_on_which_everything_works_is_told_so() {
    let expected = [
        "ok kernel: Linux 6.1.0-13-amd64",
        "ok user namespaces: made, with a network and capabilities of their own",
        "ok nf_tables: answers in a namespace of its own",
        "ok nflog: answers in a namespace of its own",
        "ok bubblewrap: 0.8.0 at /usr/bin/bwrap",
        "ok seccomp: kill_process errno allow",
        "ok ocs-netctl: /ocs/ocs-netctl",
        "ok ocs-proxy: /ocs/ocs-proxy",
        "ok IPv6: on",
        "ok cgroup: version 2, delegated: cpu, memory, pids",
        "ok bash: /bin/bash",
        "ok docker: Docker version 20.10.24, build 297e128",
        "ok podman: podman version 4.3.1",
    ];
    assert_eq!(checked(&machine(), Some(PROBED)), expected);
}

#[test]
fn whoever_stands_in_the_way_of_user_namespaces_is_named() {
    let cases = [
        (
            "proc/sys/user/max_user_namespaces",
            "0\n",
            "user.max_user_namespaces is 0",
            "sudo sysctl -w user.max_user_namespaces=15000",
        ),
        (
            "proc/sys/kernel/unprivileged_userns_clone",
            "0\n",
            "kernel.unprivileged_userns_clone is 0",
            "sudo sysctl -w kernel.unprivileged_userns_clone=1",
        ),
        (
            "proc/sys/kernel/apparmor_restrict_unprivileged_userns",
            "1\n",
            "AppArmor restricts them",
            "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
        ),
        (
            ".dockerenv",
            "",
            "this is a container",
            "start this container with --security-opt seccomp=unconfined --security-opt apparmor=unconfined",
        ),
    ];
    for (path, text, who, fix) in cases {
        let keep = machine();
        write(keep.path(), path, text);
        let denied = "user-namespace: EPERM: Operation not permitted\n";
        let not_asked = "not asked: there was no namespace to ask in";
        let expected = [
            format!(
                "missing user namespaces: user namespace: EPERM: Operation not permitted ({who}) [{fix}]"
            ),
            format!("missing nf_tables: {not_asked}"),
            format!("missing nflog: {not_asked}"),
        ];
        assert_eq!(changed(&keep, Some(denied)), expected);
    }
}

#[test]
fn a_namespace_without_capabilities_is_not_one() {
    let probed = PROBED
        .replace(
            "capabilities: ok",
            "capabilities: EPERM: Operation not permitted",
        )
        .replace("nf-tables: ok", "nf-tables: EPERM: Operation not permitted");
    let expected = [
        "missing user namespaces: capabilities: EPERM: Operation not permitted \
         [allow user namespaces to this user; see user_namespaces(7)]",
        "missing nf_tables: EPERM: Operation not permitted [sudo modprobe nf_tables]",
    ];
    assert_eq!(changed(&machine(), Some(&probed)), expected);
}

#[test]
fn without_a_probe_nothing_is_taken_for_granted() {
    let not_asked = "not asked: there was no namespace to ask in";
    let expected = [
        "missing user namespaces: the probe could not be run".to_owned(),
        format!("missing nf_tables: {not_asked}"),
        format!("missing nflog: {not_asked}"),
    ];
    assert_eq!(changed(&machine(), None), expected);
}

#[test]
fn every_program_that_is_missing_or_too_old_is_named_with_its_cure() {
    let keep = machine();
    program(keep.path(), "usr/bin/bwrap", "bubblewrap 0.7.1");
    for gone in ["ocs/ocs-proxy", "bin/bash", "bin/docker", "bin/podman"] {
        fs::remove_file(keep.path().join(gone)).unwrap();
    }
    let expected = [
        "missing bubblewrap: bubblewrap 0.7.1 at /usr/bin/bwrap; 0.8.0 or later is wanted [sudo apt-get install bubblewrap]",
        "missing ocs-proxy: not at /ocs/ocs-proxy [install ocs whole: its programs lie in one directory]",
        "limited bash: not found: a project's hook cannot run [sudo apt-get install bash]",
        "limited docker: not found; ocs run does not need it",
        "limited podman: not found; ocs run does not need it",
    ];
    assert_eq!(changed(&keep, Some(PROBED)), expected);
    fs::remove_file(keep.path().join("usr/bin/bwrap")).unwrap();
    write(keep.path(), "etc/os-release", "ID=\"fedora\"\n");
    assert_eq!(
        changed(&keep, Some(PROBED))[0],
        "missing bubblewrap: not installed [sudo dnf install bubblewrap]"
    );
}

#[test]
fn cgroups_that_cannot_limit_are_told() {
    let keep = machine();
    write(
        keep.path(),
        "sys/fs/cgroup/user.slice/x/cgroup.controllers",
        "memory\n",
    );
    assert_eq!(
        changed(&keep, Some(PROBED)),
        ["limited cgroup: version 2, without: cpu, pids"]
    );
    fs::remove_file(keep.path().join("sys/fs/cgroup/cgroup.controllers")).unwrap();
    let version_1 = "limited cgroup: version 1: limits on memory and cpus can be set by root only";
    assert_eq!(changed(&keep, Some(PROBED)), [version_1]);
}

#[test]
fn a_kernel_without_ipv6_is_as_good() {
    let keep = machine();
    fs::remove_file(keep.path().join("proc/sys/net/ipv6/conf/all/disable_ipv6")).unwrap();
    assert_eq!(
        changed(&keep, Some(PROBED)),
        ["ok IPv6: off: the box has IPv4 only"]
    );
}
