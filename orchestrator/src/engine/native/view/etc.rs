//! `/etc` of the box: an allow-list of the host's, because what it is not known to be harmless is not shown, and files of
//! our own in place of those that would tell about the host or lead out of the box.
//! Clauses: B1.
use std::path::{Path, PathBuf};

use super::{Entry, HOME, Ids, USER};

/// Read by programs everywhere, and without a secret of the host. Not here, for what they may hold: `gitconfig`, `npmrc`,
/// `pip.conf`, `environment`, `ssl/private`, `pki/tls/private`.
const SHOWN: [&str; 46] = [
    "alternatives",
    "bash.bashrc",
    "bash_completion.d",
    "bashrc",
    "ca-certificates",
    "ca-certificates.conf",
    "crypto-policies",
    "debian_version",
    "ethertypes",
    "fonts",
    "gai.conf",
    "groff",
    "host.conf",
    "inputrc",
    "issue",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "locale.alias",
    "locale.conf",
    "localtime",
    "lsb-release",
    "magic",
    "magic.mime",
    "mailcap",
    "manpath.config",
    "mime.types",
    "networks",
    "os-release",
    "perl",
    "pki/ca-trust",
    "pki/tls/cert.pem",
    "pki/tls/certs",
    "pki/tls/openssl.cnf",
    "profile",
    "profile.d",
    "protocols",
    "redhat-release",
    "rpc",
    "services",
    "shells",
    "ssl/cert.pem",
    "ssl/certs",
    "ssl/openssl.cnf",
    "terminfo",
    "timezone",
];

/// Their names carry versions: `python3.11`, `java-17-openjdk`.
const SHOWN_PREFIXES: [&str; 2] = ["java", "python"];

pub(super) fn entries(ids: Ids) -> Vec<Entry> {
    let etc = Path::new("/etc");
    let mut names: Vec<PathBuf> = SHOWN.iter().map(PathBuf::from).collect();
    let listed = std::fs::read_dir(etc)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name());
    let versioned = listed.filter(|name| {
        SHOWN_PREFIXES
            .iter()
            .any(|prefix| name.as_encoded_bytes().starts_with(prefix.as_bytes()))
    });
    names.extend(versioned.map(PathBuf::from));
    names.sort();
    let mut entries: Vec<Entry> = names
        .into_iter()
        .map(|name| etc.join(name))
        // A link that leads nowhere on the host cannot be bound.
        .filter(|path| path.exists())
        .map(|path| Entry::ReadOnly { from: path.clone(), at: path })
        .collect();
    entries.extend(ours(ids).map(|(name, text)| Entry::File {
        at: etc.join(name),
        text,
    }));
    entries
}

fn ours(ids: Ids) -> [(&'static str, String); 6] {
    let Ids { uid, gid } = ids;
    let shell = if Path::new("/bin/bash").exists() {
        "/bin/bash"
    } else {
        "/bin/sh"
    };
    // The first entry for an id is its name: the agent's stands before that of a system user with the same number.
    let passwd = format!(
        "{USER}:x:{uid}:{gid}:{USER}:{HOME}:{shell}\nroot:x:0:0:root:/nonexistent:/usr/sbin/nologin\n\
         nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
    );
    let group = format!("{USER}:x:{gid}:\nroot:x:0:\nnogroup:x:65534:\n");
    let hosts = "127.0.0.1 localhost sandbox\n::1 localhost ip6-localhost ip6-loopback sandbox\n";
    [
        ("group", group),
        ("hostname", "sandbox\n".to_owned()),
        ("hosts", hosts.to_owned()),
        ("nsswitch.conf", NSSWITCH.to_owned()),
        ("passwd", passwd),
        // Port 53 of every address ends at the stub (N4); a search list would only make more queries.
        (
            "resolv.conf",
            "nameserver 127.0.0.1\noptions timeout:2 attempts:2\n".to_owned(),
        ),
    ]
}

const NSSWITCH: &str = "\
passwd: files
group: files
shadow: files
hosts: files dns
networks: files
protocols: files
services: files
ethers: files
rpc: files
";
