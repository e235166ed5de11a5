//! The client that everyone has: curl, with TLS of OpenSSL's own server behind the proxy.

use std::net::TcpListener;
use std::process::{Child, Command, Output, Stdio};

use crate::support::dns::Dns;
use crate::support::origin::Origin;
use crate::support::pattern;
use crate::support::proxy::Proxy;
fn curl(proxy: &Proxy, arguments: &[&str]) -> Output {
    Command::new("curl")
        .args([
            "-sS",
            "--max-time",
            "20",
            "-x",
            &format!("http://{}", proxy.address),
        ])
        .args(arguments)
        .env_clear()
        .output()
        .unwrap()
}

struct TlsServer {
    child: Child,
    port: u16,
    directory: tempfile::TempDir,
}

impl TlsServer {
    /// `openssl s_server -www` with a certificate for `ok.test`.
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let run = |arguments: &[&str]| {
            let mut command = Command::new("openssl");
            command
                .args(arguments)
                .current_dir(directory.path())
                .stdin(Stdio::null());
            command.stdout(Stdio::null()).stderr(Stdio::null());
            command
        };
        let made = run(&[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=ok.test",
            "-addext",
            "subjectAltName=DNS:ok.test",
            "-keyout",
            "key.pem",
            "-out",
            "cert.pem",
        ])
        .status()
        .unwrap();
        assert!(made.success());
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let accept = format!("127.0.0.1:{port}");
        let child = run(&[
            "s_server", "-www", "-accept", &accept, "-key", "key.pem", "-cert", "cert.pem",
        ])
        .spawn()
        .unwrap();
        while std::net::TcpStream::connect(&accept).is_err() {
            std::thread::yield_now();
        }
        Self {
            child,
            port,
            directory,
        }
    }

    fn certificate(&self) -> String {
        self.directory.path().join("cert.pem").display().to_string()
    }
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[test]
fn curl_gets_https_through_the_proxy_and_is_told_when_it_may_not() {
    let dns = Dns::start();
    let server = TlsServer::start();
    let port = server.port;
    let proxy = Proxy::start(
        &format!("http-domain-whitelist: ['ok.test:{port}']\n"),
        &dns,
    );
    let certificate = server.certificate();
    let output = curl(
        &proxy,
        &[
            "--cacert",
            &certificate,
            &format!("https://ok.test:{port}/"),
        ],
    );
    assert!(output.status.success(), "{output:?}");
    assert!(
        String::from_utf8_lossy(&output.stdout).contains("s_server"),
        "{output:?}"
    );
    let output = curl(
        &proxy,
        &[
            "--cacert",
            &certificate,
            &format!("https://evil.test:{port}/"),
        ],
    );
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("403"), "{told}");
    let events = proxy.settled(2);
    let decisions: Vec<&str> = events
        .iter()
        .filter_map(|event| event["decision"].as_str())
        .collect();
    assert_eq!(decisions, ["allow", "deny"]);
    assert_eq!(events[0]["sni"], "ok.test");
    proxy.stop();
}

#[test]
fn t01_curl_with_another_name_in_its_hello_is_told_by_an_alert() {
    let dns = Dns::start();
    let server = TlsServer::start();
    let port = server.port;
    let proxy = Proxy::start(
        &format!("http-domain-whitelist: ['ok.test:{port}', 'a.w.test:{port}']\n"),
        &dns,
    );
    // The URL's name goes into the hello, the other one into the CONNECT.
    let elsewhere = format!("a.w.test:{port}:ok.test:{port}");
    let output = curl(
        &proxy,
        &[
            "-k",
            "--connect-to",
            &elsewhere,
            &format!("https://a.w.test:{port}/"),
        ],
    );
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{output:?}");
    assert!(told.contains("alert"), "{told}");
    let events = proxy.settled(1);
    assert_eq!(
        (&events[0]["reason"], &events[0]["sni"]),
        (&"sni-mismatch".into(), &"a.w.test".into())
    );
    proxy.stop();
}

#[test]
fn curl_uploads_and_downloads_plain_http_byte_for_byte() {
    let origin = Origin::start(|guest| {
        while let Some(head) = guest.head() {
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("Content-Length: "))
                .unwrap_or("0");
            let body = format!("{length} bytes");
            guest.write(
                format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
                    body.len()
                )
                .as_bytes(),
            );
        }
    });
    let dns = Dns::start();
    let port = origin.port();
    let proxy = Proxy::start(
        &format!("http-domain-whitelist: ['ok.test:{port}']\n"),
        &dns,
    );
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("body");
    let body: Vec<u8> = pattern(8 << 20);
    std::fs::write(&file, &body).unwrap();
    let url = format!("http://ok.test:{port}/");
    let output = curl(&proxy, &["-T", file.to_str().unwrap(), &url]);
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        format!("{} bytes", body.len()),
        "{output:?}"
    );
    origin.wait(|seen| seen.iter().any(|it| it.ends_with(&body)));
    let output = curl(&proxy, &[&url, &url, &url]);
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "0 bytes0 bytes0 bytes",
        "{output:?}"
    );
    proxy.stop();
}
