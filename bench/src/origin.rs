//! The origin that every proxy carries to: nginx for HTTP, and a byte-counting sink for uploads.

use std::{
    fs,
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    thread,
};

use anyhow::{Context, Result};

use crate::peer::{Daemon, spawn};
use crate::tls;

/// Where nginx answers.
pub(crate) const HTTP_PORT: u16 = 18080;
/// The same, where only HTTP may be spoken.
pub(crate) const PLAIN_PORT: u16 = 18082;
/// The same inside TLS.
pub(crate) const TLS_PORT: u16 = 18443;
/// Listed for no name.
pub(crate) const REFUSED_PORT: u16 = 18099;
/// Where the sink counts.
pub(crate) const SINK_PORT: u16 = 18081;
/// The size of `/bulk`.
pub(crate) const BULK_MEBIBYTES: u64 = 1024;
/// The origin's name; the bench's own `/etc/hosts` leads it to 127.0.0.1.
pub(crate) const NAME: &str = "origin.test";

/// Starts nginx with a small answer (1 KiB) and a bulk one, its log off.
///
/// # Errors
/// nginx is missing or does not start.
pub(crate) fn start(dir: &Path) -> Result<Daemon> {
    let root = dir.join("www");
    fs::create_dir_all(&root)?;
    fs::write(root.join("small"), vec![b's'; 1024])?;
    fs::File::create(root.join("bulk"))?.set_len(BULK_MEBIBYTES << 20)?; // sparse: the disk costs nothing
    tls::certificate(dir)?;
    let conf = dir.join("nginx.conf");
    fs::write(
        &conf,
        format!(
            "daemon off; pid {dir}/nginx.pid; error_log /dev/null; worker_processes 1;\n\
             events {{ worker_connections 20000; }}\n\
             http {{ access_log off; sendfile on; keepalive_requests 100000000; keepalive_timeout 3600s;\n\
             client_body_temp_path {dir}/b; proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f; uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;\n\
             server {{ listen 127.0.0.1:{HTTP_PORT} backlog=4096; listen 127.0.0.1:{PLAIN_PORT} backlog=4096;\n\
             listen 127.0.0.1:{TLS_PORT} ssl backlog=4096; ssl_certificate {dir}/origin.pem; ssl_certificate_key {dir}/origin.key; root {root}; }} }}\n",
            dir = dir.display(),
            root = root.display(),
        ),
    )?;
    spawn("nginx", &["-c", &conf.display().to_string()], HTTP_PORT)
        .context("start nginx (Debian's nginx-light)")
}

/// Starts the sink: told a number of bytes, it reads as many and answers how many came (eight bytes, big endian, both).
///
/// # Errors
/// The port is taken.
pub(crate) fn sink() -> Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", SINK_PORT)).context("bind the sink")?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || count(stream));
        }
    });
    Ok(())
}

fn count(mut stream: TcpStream) -> io::Result<()> {
    let mut announced = [0; 8];
    stream.read_exact(&mut announced)?;
    let mut rest = (&stream).take(u64::from_be_bytes(announced));
    let got = io::copy(&mut rest, &mut io::sink())?;
    stream.write_all(&got.to_be_bytes())
}
