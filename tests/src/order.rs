//! What a test may order of its world, and how its files are laid out.
//!
//! ```text
//! DIR/home           becomes /home:  alice, root, bin (the programs under test), tools (the tests' own programs),
//!                                    static (files that origins serve)
//! DIR/tmp            becomes /tmp
//! DIR/etc/*          become /etc/{passwd,group,resolv.conf,ssl/certs/ca-certificates.crt}
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::unistd::geteuid;

use crate::binaries;
use crate::certificates::Authority;
use crate::spec::{Answers, Bind, HostListener, Listener, Service, Spec};
use crate::world::ORDINARY_ID;

/// Where `ok.test` is.
pub const OK_ADDRESS: &str = "11.22.33.10";
/// The same, over IPv6.
pub const OK_ADDRESS_V6: &str = "2a0f:ffff:11::10";
/// Where `evil.test` is.
pub const EVIL_ADDRESS: &str = "11.22.33.66";

/// A world to be made.
#[derive(Debug, Clone)]
pub struct Order {
    zone: BTreeMap<String, Answers>,
    host: Vec<HostListener>,
    origins: Vec<Listener>,
    shown: Vec<Bind>,
    pub(crate) by_ordinary: bool,
}

impl Order {
    /// The names and ports that most suites use.
    ///
    /// # Errors
    /// Never, while the addresses in this file are addresses.
    pub fn usual() -> Result<Self> {
        let zone = [
            ("ok.test", &[OK_ADDRESS, OK_ADDRESS_V6][..]),
            ("w.test", &["11.22.33.11"]),
            ("*.w.test", &["11.22.33.11"]),
            ("evil.test", &[EVIL_ADDRESS]),
            ("*.evil.test", &[EVIL_ADDRESS]),
            ("x.ok.test", &[EVIL_ADDRESS]),
            ("private.test", &["10.0.0.5"]),
            ("metadata.test", &["169.254.169.254"]),
            ("mixed.test", &["11.22.33.12", "127.0.0.1"]),
        ];
        let mut order = Self {
            zone: BTreeMap::new(),
            host: Vec::new(),
            origins: Vec::new(),
            shown: Vec::new(),
            by_ordinary: false,
        };
        for (name, addresses) in zone {
            let addresses = addresses
                .iter()
                .map(|text| text.parse())
                .collect::<Result<Vec<IpAddr>, _>>()?;
            order
                .zone
                .insert(name.to_owned(), Answers::always(&addresses));
        }
        order.origins = [
            (22, Service::Banner),
            (80, Service::Http),
            (443, Service::Https),
            (4444, Service::Echo),
            (5432, Service::Echo),
            (8080, Service::Http),
            (8443, Service::Https),
        ]
        .map(|(port, service)| Listener { port, service })
        .to_vec();
        Ok(order
            .host_port(Ipv4Addr::LOCALHOST, 5432, Service::Echo)
            .host_port(Ipv4Addr::UNSPECIFIED, 9999, Service::Http))
    }

    /// One more name.
    #[must_use]
    pub fn name(mut self, name: &str, answers: Answers) -> Self {
        self.zone.insert(name.to_owned(), answers);
        self
    }

    /// One more listener of the host.
    #[must_use]
    pub fn host_port(mut self, address: impl Into<IpAddr>, port: u16, service: Service) -> Self {
        self.host.push(HostListener {
            address: address.into(),
            port,
            service,
        });
        self
    }

    /// Shows a directory of this machine in the world, below `/home`.
    #[must_use]
    pub fn showing(mut self, from: &Path, to: &Path) -> Self {
        self.shown.push(Bind {
            from: from.to_owned(),
            to: to.to_owned(),
        });
        self
    }

    /// Made without any privilege, even where the suite has some.
    #[must_use]
    pub fn made_by_an_ordinary_user(mut self) -> Self {
        self.by_ordinary = true;
        self
    }

    /// Lays the files out and says what is to be made of them.
    pub(crate) fn furnish(&self, at: &Path, authority: &Authority) -> Result<Spec> {
        fs::set_permissions(at, fs::Permissions::from_mode(0o755))
            .context("open the world's directory")?;
        let homes = [
            "home/alice",
            "home/root",
            "home/bin",
            "home/tools",
            "home/static",
            "tmp",
            "etc",
        ];
        for directory in homes {
            fs::create_dir_all(at.join(directory)).with_context(|| format!("make {directory}"))?;
        }
        fs::set_permissions(at.join("tmp"), fs::Permissions::from_mode(0o1777))
            .context("open /tmp")?;
        for home in ["home/alice", "home/root"] {
            fs::set_permissions(at.join(home), fs::Permissions::from_mode(0o700))
                .context("close a home")?;
        }
        if geteuid().is_root() {
            chown(at.join("home/alice"), Some(ORDINARY_ID), Some(ORDINARY_ID))
                .context("own a home")?;
        }
        accounts(at)?;
        fs::write(
            at.join("etc/resolv.conf"),
            format!("nameserver {}\n", crate::inside::RESOLVER),
        )?;
        trust(at, authority)?;
        let mut binds = self.place_shown(at)?;
        let resolver_file =
            fs::canonicalize("/etc/resolv.conf").unwrap_or_else(|_| "/etc/resolv.conf".into());
        for (from, to) in [
            ("etc/passwd", Path::new("/etc/passwd")),
            ("etc/group", Path::new("/etc/group")),
            ("etc/resolv.conf", &resolver_file),
            (
                "etc/ca-certificates.crt",
                Path::new("/etc/ssl/certs/ca-certificates.crt"),
            ),
            ("home", Path::new("/home")),
            ("tmp", Path::new("/tmp")),
        ] {
            binds.push(Bind {
                from: at.join(from),
                to: to.to_owned(),
            });
        }
        Ok(Spec {
            zone: self.zone.clone(),
            origins: self.origins.clone(),
            host: self.host.clone(),
            certificate: fs::read_to_string(authority.certificate())
                .context("read the certificate")?,
            key: fs::read_to_string(authority.key()).context("read the key")?,
            files: PathBuf::from("/home/static"),
            binds,
        })
    }

    /// Mounts that lie below our own `home` come first: the whole of it is then bound over `/home`.
    fn place_shown(&self, at: &Path) -> Result<Vec<Bind>> {
        let mut binds = vec![
            Bind {
                from: binaries::directory()?.to_owned(),
                to: at.join("home/bin"),
            },
            Bind {
                from: binaries::ours()?,
                to: at.join("home/tools"),
            },
        ];
        for Bind { from, to } in &self.shown {
            let to = at.join(to.strip_prefix("/").unwrap_or(to));
            fs::create_dir_all(&to).with_context(|| format!("make {}", to.display()))?;
            binds.push(Bind {
                from: from.clone(),
                to,
            });
        }
        Ok(binds)
    }
}

/// The machine's accounts, with root's home in the world's and alice beside it.
fn accounts(at: &Path) -> Result<()> {
    let known = fs::read_to_string("/etc/passwd").context("read /etc/passwd")?;
    let mut lines: Vec<String> = known
        .lines()
        .filter(|line| !line.starts_with("root:"))
        .map(str::to_owned)
        .collect();
    lines.insert(0, "root:x:0:0:root:/home/root:/bin/bash".to_owned());
    lines.push(format!(
        "alice:x:{ORDINARY_ID}:{ORDINARY_ID}::/home/alice:/bin/bash"
    ));
    fs::write(at.join("etc/passwd"), lines.join("\n") + "\n").context("write passwd")?;
    let groups = fs::read_to_string("/etc/group").context("read /etc/group")?;
    fs::write(
        at.join("etc/group"),
        format!("{groups}alice:x:{ORDINARY_ID}:\n"),
    )
    .context("write group")
}

/// The system's own trust, and the tests' authority.
fn trust(at: &Path, authority: &Authority) -> Result<()> {
    let system = fs::read_to_string("/etc/ssl/certs/ca-certificates.crt")
        .context("package ca-certificates")?;
    let root = fs::read_to_string(authority.root()).context("read the authority")?;
    fs::write(at.join("etc/ca-certificates.crt"), system + &root)
        .context("write the trusted certificates")
}
