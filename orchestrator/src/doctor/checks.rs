//! What doctor concludes from what it saw: pure over a [`Machine`].
use crate::engine::native::bwrap;

use super::machine::Machine;
use super::{Check, State};

/// Bubblewrap learned `--disable-userns` in 0.8.0, and the engine `native` wants it.
const BWRAP_MINIMUM: (u32, u32) = (0, 8);

/// Everything, in the order that a reader mends it.
pub(super) fn all(machine: &Machine) -> Vec<Check> {
    let mut checks = vec![kernel(machine), namespaces(machine)];
    checks.extend(netfilter(machine));
    checks.extend([bubblewrap(machine), seccomp(machine)]);
    checks.extend(["ocs-netctl", "ocs-proxy"].map(|name| companion(machine, name)));
    checks.extend([ipv6(machine), cgroup(machine), bash(machine)]);
    checks.extend(["docker", "podman"].map(|name| container_engine(machine, name)));
    checks
}

fn kernel(machine: &Machine) -> Check {
    match machine.text("proc/sys/kernel/osrelease") {
        Some(release) => ok("kernel", format!("Linux {release}")),
        None => missing("kernel", "not Linux: the engine native needs it", None),
    }
}

fn namespaces(machine: &Machine) -> Check {
    let name = "user namespaces";
    let Some(probed) = &machine.probed else {
        return missing(name, "the probe could not be run", None);
    };
    let steps = [
        "user-namespace",
        "other-namespaces",
        "capabilities",
        "inner-user-namespace",
    ];
    let failed = steps
        .into_iter()
        .find_map(|step| Some((step, failure_of(probed, step)?)));
    match failed {
        None => ok(
            name,
            "made, with a network and capabilities of their own".to_owned(),
        ),
        Some((step, why)) => {
            let (reason, fix) = userns_fix(machine);
            missing(
                name,
                &format!("{}: {why}{reason}", step.replace('-', " ")),
                Some(fix),
            )
        }
    }
}

/// Who stands in the way of user namespaces, as far as the kernel tells, and what to type.
fn userns_fix(machine: &Machine) -> (&'static str, String) {
    let is = |path: &str, value: &str| machine.text(path).as_deref() == Some(value);
    if is("proc/sys/user/max_user_namespaces", "0") {
        return (
            " (user.max_user_namespaces is 0)",
            "sudo sysctl -w user.max_user_namespaces=15000".to_owned(),
        );
    }
    if is("proc/sys/kernel/unprivileged_userns_clone", "0") {
        let fix = "sudo sysctl -w kernel.unprivileged_userns_clone=1";
        return (" (kernel.unprivileged_userns_clone is 0)", fix.to_owned());
    }
    if is("proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1") {
        let fix = "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0";
        return (" (AppArmor restricts them)", fix.to_owned());
    }
    if machine.has(".dockerenv") || machine.has("run/.containerenv") {
        let fix = "start this container with --security-opt seccomp=unconfined --security-opt apparmor=unconfined";
        return (" (this is a container)", fix.to_owned());
    }
    (
        "",
        "allow user namespaces to this user; see user_namespaces(7)".to_owned(),
    )
}

fn netfilter(machine: &Machine) -> [Check; 2] {
    let fix = |module: &str| Some(format!("sudo modprobe {module}"));
    let check = |name, step, module| match machine
        .probed
        .as_deref()
        .map(|probed| outcome(probed, step))
    {
        Some(Some("ok")) => ok(name, "answers in a namespace of its own".to_owned()),
        Some(Some(why)) => missing(name, why, fix(module)),
        Some(None) | None => missing(name, "not asked: there was no namespace to ask in", None),
    };
    [
        check("nf_tables", "nf-tables", "nf_tables"),
        check("nflog", "nflog", "nfnetlink_log"),
    ]
}

fn bubblewrap(machine: &Machine) -> Check {
    let name = "bubblewrap";
    let install = Some(install(machine, "bubblewrap"));
    let Some(program) = machine.program_at(&bwrap::PLACES) else {
        return missing(name, "not installed", install);
    };
    let Some(version) = machine.version(&program) else {
        return missing(
            name,
            &format!("{} does not run", program.display()),
            install,
        );
    };
    let number = version.rsplit(' ').next().unwrap_or_default();
    let mut parts = number
        .split('.')
        .map(|part| part.parse::<u32>().unwrap_or(0));
    let found = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    if found < BWRAP_MINIMUM {
        return missing(
            name,
            &format!(
                "{version} at {}; 0.8.0 or later is wanted",
                program.display()
            ),
            install,
        );
    }
    ok(name, format!("{number} at {}", program.display()))
}

fn seccomp(machine: &Machine) -> Check {
    match machine.text("proc/sys/kernel/seccomp/actions_avail") {
        Some(actions) if actions.split(' ').any(|action| action == "errno") => {
            ok("seccomp", actions)
        }
        Some(_) | None => missing(
            "seccomp",
            "the kernel has no seccomp filters (CONFIG_SECCOMP_FILTER)",
            None,
        ),
    }
}

fn companion(machine: &Machine, name: &'static str) -> Check {
    match machine.companion(name) {
        Ok(path) => ok(name, path.display().to_string()),
        Err(path) => {
            let fix = "install ocs whole: its programs lie in one directory".to_owned();
            missing(name, &format!("not at {}", path.display()), Some(fix))
        }
    }
}

fn ipv6(machine: &Machine) -> Check {
    let off = machine
        .text("proc/sys/net/ipv6/conf/all/disable_ipv6")
        .is_none_or(|value| value == "1");
    let detail = if off {
        "off: the box has IPv4 only"
    } else {
        "on"
    };
    ok("IPv6", detail.to_owned())
}

fn cgroup(machine: &Machine) -> Check {
    let name = "cgroup";
    let Some(own) = machine.text("proc/self/cgroup") else {
        return limited(
            name,
            "none: limits on memory, pids and cpus cannot be set",
            None,
        );
    };
    let unified = own
        .lines()
        .find_map(|line| line.strip_prefix("0::"))
        .unwrap_or("/");
    if !machine.has("sys/fs/cgroup/cgroup.controllers") {
        return limited(
            name,
            "version 1: limits on memory and cpus can be set by root only",
            None,
        );
    }
    let place = format!("sys/fs/cgroup{}", if unified == "/" { "" } else { unified });
    let controllers = machine
        .text(&format!("{place}/cgroup.controllers"))
        .unwrap_or_default();
    let wanted = ["cpu", "memory", "pids"];
    let lacks: Vec<&str> = wanted
        .into_iter()
        .filter(|want| controllers.split(' ').all(|has| has != *want))
        .collect();
    if !machine.can_write(&format!("{place}/cgroup.procs")) {
        let fix = "systemd-run --user --scope -p Delegate=yes ocs run ...";
        return limited(
            name,
            "version 2, not delegated to this user: limits are not set",
            Some(fix.to_owned()),
        );
    }
    if lacks.is_empty() {
        return ok(name, "version 2, delegated: cpu, memory, pids".to_owned());
    }
    limited(
        name,
        &format!("version 2, without: {}", lacks.join(", ")),
        None,
    )
}

fn bash(machine: &Machine) -> Check {
    match machine.program("bash") {
        Some(path) => ok("bash", path.display().to_string()),
        None => limited(
            "bash",
            "not found: a project's hook cannot run",
            Some(install(machine, "bash")),
        ),
    }
}

fn container_engine(machine: &Machine, name: &'static str) -> Check {
    match machine
        .program(name)
        .map(|program| (machine.version(&program), program))
    {
        Some((Some(version), _)) => ok(name, version),
        Some((None, program)) => {
            limited(name, &format!("{} does not run", program.display()), None)
        }
        None => limited(name, "not found; ocs run does not need it", None),
    }
}

/// What a step came to: `ok`, what failed, or none where it was not tried.
fn outcome<'p>(probed: &'p str, step: &str) -> Option<&'p str> {
    probed
        .lines()
        .find_map(|line| line.strip_prefix(step)?.strip_prefix(": "))
}

fn failure_of<'p>(probed: &'p str, step: &str) -> Option<&'p str> {
    match outcome(probed, step) {
        Some("ok") => None,
        Some(why) => Some(why),
        None => Some("not tried"),
    }
}

/// How this distribution installs a package, by `ID` and `ID_LIKE` of os-release(5).
fn install(machine: &Machine, package: &str) -> String {
    let release = machine.text("etc/os-release").unwrap_or_default();
    let value = |key: &str| {
        release
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
    };
    let ids = [value("ID"), value("ID_LIKE")]
        .map(|ids| ids.unwrap_or_default().replace('"', ""))
        .join(" ");
    let is = |id: &str| ids.split(' ').any(|known| known == id);
    let sudo = if machine.is_root { "" } else { "sudo " };
    if is("debian") || is("ubuntu") {
        return format!("{sudo}apt-get install {package}");
    }
    if is("fedora") || is("rhel") {
        return format!("{sudo}dnf install {package}");
    }
    if is("arch") {
        return format!("{sudo}pacman -S {package}");
    }
    if is("alpine") {
        return format!("{sudo}apk add {package}");
    }
    if is("suse") {
        return format!("{sudo}zypper install {package}");
    }
    format!("install the package {package}")
}

fn ok(name: &'static str, detail: String) -> Check {
    Check {
        name,
        state: State::Ok,
        detail,
        fix: None,
    }
}

fn limited(name: &'static str, detail: &str, fix: Option<String>) -> Check {
    Check {
        name,
        state: State::Limited,
        detail: detail.to_owned(),
        fix,
    }
}

fn missing(name: &'static str, detail: &str, fix: Option<String>) -> Check {
    Check {
        name,
        state: State::Missing,
        detail: detail.to_owned(),
        fix,
    }
}
