//! TLS on both ends: the origin's certificate, and the load client that trusts it and nothing else.

use std::{path::Path, process::Command, sync::Arc};

use anyhow::{Context, Result, ensure};
use tokio::net::TcpStream;
use tokio_rustls::rustls::{
    ClientConfig, RootCertStore,
    client::Resumption,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::origin::NAME;

/// Makes `origin.pem` and `origin.key`.
///
/// # Errors
/// openssl is missing or refuses.
#[expect(
    clippy::disallowed_methods,
    reason = "the bench makes its origin's certificate"
)]
pub(crate) fn certificate(dir: &Path) -> Result<()> {
    let made = Command::new("openssl")
        .args(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=bench"
                .split(' '),
        )
        .args(["-addext", "basicConstraints=critical,CA:FALSE", "-addext"])
        .arg(format!("subjectAltName=DNS:{NAME}"))
        .args(["-keyout", "origin.key", "-out", "origin.pem"])
        .current_dir(dir)
        .output()
        .context("start openssl")?;
    ensure!(
        made.status.success(),
        "openssl: {}",
        String::from_utf8_lossy(&made.stderr)
    );
    Ok(())
}

/// What every connection of the load client is made with: no session is resumed.
///
/// # Errors
/// There is no certificate.
pub(crate) fn config(dir: &Path) -> Result<Arc<ClientConfig>> {
    let mut trusted = RootCertStore::empty();
    trusted.add(
        CertificateDer::from_pem_file(dir.join("origin.pem")).context("read the certificate")?,
    )?;
    let mut config = ClientConfig::builder()
        .with_root_certificates(trusted)
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// Shakes hands with the origin.
///
/// # Errors
/// Whoever is there is not the origin.
pub(crate) async fn shake(
    config: &Arc<ClientConfig>,
    stream: TcpStream,
) -> Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(NAME)?;
    TlsConnector::from(Arc::clone(config))
        .connect(name, stream)
        .await
        .context("shake hands")
}
