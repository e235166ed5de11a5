//! A certificate authority of the tests' own, made anew in each test process.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::command;

/// Names that the origins' certificate is good for.
const NAMES: &[&str] = &[
    "ok.test",
    "w.test",
    "*.w.test",
    "a.b.c.d.w.test",
    "evil.test",
    "x.ok.test",
    "other.test",
    "private.test",
    "metadata.test",
    "mixed.test",
    "registry.test",
    "docker.host",
    "model.test",
];

static AUTHORITY: OnceLock<Option<Authority>> = OnceLock::new();

/// The authority and one certificate that it signed.
#[derive(Debug)]
pub struct Authority {
    directory: TempDir,
}

impl Authority {
    /// The one of this process, made at first use.
    ///
    /// # Errors
    /// `openssl` is missing or refuses.
    pub fn of_this_process() -> Result<&'static Self> {
        AUTHORITY
            .get_or_init(|| Self::make().ok())
            .as_ref()
            .context("make a certificate authority (package openssl)")
    }

    /// PEM of the authority itself.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.directory.path().join("root.pem")
    }

    /// PEM of the origins' certificate.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.directory.path().join("origin.pem")
    }

    /// PEM of the origins' key.
    #[must_use]
    pub fn key(&self) -> PathBuf {
        self.directory.path().join("origin.key")
    }

    fn make() -> Result<Self> {
        let directory = tempfile::tempdir().context("make a directory for certificates")?;
        let at = directory.path();
        let names: Vec<String> = NAMES.iter().map(|name| format!("DNS:{name}")).collect();
        std::fs::write(
            at.join("origin.ext"),
            format!("subjectAltName={}\n", names.join(",")),
        )?;
        openssl(
            at,
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj /CN=world-test-authority -keyout root.key -out root.pem",
        )?;
        openssl(
            at,
            "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=origin.world -keyout origin.key -out origin.csr",
        )?;
        openssl(
            at,
            "x509 -req -in origin.csr -CA root.pem -CAkey root.key -CAcreateserial -days 3650 -extfile origin.ext -out origin.pem",
        )?;
        Ok(Self { directory })
    }
}

fn openssl(directory: &Path, arguments: &str) -> Result<()> {
    let mut command = command::new("openssl");
    command.args(arguments.split(' ')).current_dir(directory);
    command::output(command).map(drop)
}
