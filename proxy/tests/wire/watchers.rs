//! `/status` and its neighbours, as whoever watches the proxy sees them.

use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::support::admin::{self, Socket, asked, document, until};
use crate::support::client::Client;
use crate::support::dns::Dns;
use crate::support::proxy::Proxy;

/// A proxy that can be watched.
fn watched() -> (Proxy, Socket) {
    admin::watched("", &Dns::start(), &[])
}

fn limit_files(proxy: &Proxy, soft: &str) {
    let pid = proxy.pid().to_string();
    let status = std::process::Command::new("prlimit")
        .args(["--pid", &pid, &format!("--fsize={soft}:unlimited")])
        .status();
    assert!(status.unwrap().success());
}

fn refused(proxy: &Proxy) -> u16 {
    let mut client = Client::connect(proxy.address);
    client.send("CONNECT evil.test:443 HTTP/1.1\r\n\r\n");
    client.answer().status
}

#[test]
fn status_says_how_the_record_the_policy_and_the_requests_stand() {
    let (proxy, socket) = watched();
    let mode = std::fs::metadata(&*socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(refused(&proxy), 403);
    let now = document(&socket, "/status");
    let lines = proxy.lines();
    assert_eq!(now["phase"], "running");
    assert_eq!(
        (&now["record"]["ok"], &now["record"]["lines"]),
        (&true.into(), &3.into())
    );
    assert_eq!(
        (&now["policy"]["ok"], &now["policy"]["error"]),
        (&true.into(), &Value::Null)
    );
    assert_eq!(now["policy"]["hash"], lines[1]["hash"]);
    assert_eq!(
        now["requests"],
        serde_json::json!({"allowed": 0, "denied": 1, "open": 0})
    );
    assert!(asked(&socket, "/elsewhere").starts_with("HTTP/1.1 404 "));
    proxy.stop();
}

#[test]
fn status_says_that_a_full_disk_refuses_requests_until_there_is_room() {
    let (proxy, socket) = watched();
    let length = std::fs::metadata(proxy.record_file()).unwrap().len();
    limit_files(&proxy, &(length + 100).to_string());
    assert_eq!((refused(&proxy), refused(&proxy)), (503, 503));
    let full = &document(&socket, "/status")["record"];
    assert_eq!((&full["ok"], &full["lost"]), (&false.into(), &2.into()));
    assert!(asked(&socket, "/ready").starts_with("HTTP/1.1 503 "));
    limit_files(&proxy, "unlimited");
    // Nobody has to ask for anything: what is owed is tried again by itself.
    let room = until(&socket, "/status", |status| status["record"]["ok"] == true);
    assert_eq!(room["record"]["lost"], 0);
    assert!(asked(&socket, "/ready").starts_with("HTTP/1.1 200 "));
    assert_eq!(refused(&proxy), 403);
    proxy.stop();
}

#[test]
fn status_says_what_is_wrong_with_a_changed_policy_until_it_is_mended() {
    let (proxy, socket) = watched();
    proxy.write_policy("http-domain-whitelist: ['*']\n");
    let broken = until(&socket, "/status", |status| status["policy"]["ok"] == false);
    let error = broken["policy"]["error"].as_str().unwrap();
    assert!(error.contains("opencode-sandbox-config.yaml:4:"), "{error}");
    assert_eq!(broken["policy"]["generation"], 1);
    proxy.write_policy("http-domain-whitelist: [a.test]\n");
    let mended = until(&socket, "/status", |status| status["policy"]["ok"] == true);
    assert_eq!(
        (&mended["policy"]["generation"], &mended["policy"]["error"]),
        (&2.into(), &Value::Null)
    );
    proxy.stop();
}
