//! A refused destination that a person is asked about: what an answer opens, and what none does. Clause P10.

use serde_json::{Value, json};

use crate::support::admin::{Socket, asked, document, posted, until, watched};
use crate::support::client::{Answer, Client};
use crate::support::dns::Dns;
use crate::support::origin::Origin;
use crate::support::proxy::Proxy;

struct Desk {
    proxy: Proxy,
    socket: Socket,
    dns: Dns,
    origin: Origin,
}

impl Desk {
    fn open(policy: &str, patience: &str) -> Self {
        let dns = Dns::start();
        let (proxy, socket) = watched(policy, &dns, &["--ask", patience]);
        Self {
            proxy,
            socket,
            dns,
            origin: Origin::http(),
        }
    }

    /// A client whose request for a name, on the origin's port, is on its way.
    fn wants(&self, name: &str) -> Client {
        self.wants_on(name, self.origin.port())
    }

    fn wants_on(&self, name: &str, port: u16) -> Client {
        let mut client = Client::connect(self.proxy.address);
        client.send(format!(
            "GET http://{name}:{port}/ HTTP/1.1\r\nHost: {name}:{port}\r\n\r\n"
        ));
        client
    }

    /// Waits until so many requests wait for the question about a name, and gives its number.
    fn question(&self, name: &str, waiting: u64) -> u64 {
        let of = |listing: &Value| {
            let questions = listing["questions"].as_array().unwrap().clone();
            questions
                .into_iter()
                .find(|it| it["host"] == name && it["state"] == "open" && it["waiting"] == waiting)
        };
        let listing = until(&self.socket, "/questions", |listing| of(listing).is_some());
        of(&listing).unwrap()["question"].as_u64().unwrap()
    }

    fn says(&self, question: u64, answer: &str) -> u16 {
        let body = json!({"answer": answer, "user": "alice"}).to_string();
        posted(&self.socket, &format!("/questions/{question}"), &body)
    }

    fn questions(lines: &[Value]) -> Vec<Value> {
        let mine = lines.iter().filter(|line| line["event"] == "question");
        mine.map(|line| {
            json!([
                line["question"],
                line["host"],
                line["port"],
                line["answer"],
                line["by"],
                line["waiting"]
            ])
        })
        .collect()
    }
}

fn me() -> Value {
    json!({"uid": nix_uid(), "user": "alice"})
}

fn nix_uid() -> u32 {
    std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap())
}

fn refused(answer: &Answer, reason: &str) {
    assert_eq!(
        (answer.status, answer.reason().as_deref()),
        (403, Some(reason)),
        "{answer:?}"
    );
}

fn port(desk: &Desk) -> u16 {
    desk.origin.port()
}

#[test]
fn once_is_for_those_that_wait_and_the_next_is_asked_about_anew() {
    let desk = Desk::open("", "30");
    let (mut one, mut two) = (desk.wants("ok.test"), desk.wants("ok.test"));
    let question = desk.question("ok.test", 2);
    assert!(
        desk.dns.asked().is_empty(),
        "nothing is resolved before the answer"
    );
    assert_eq!(desk.says(question, "once"), 200);
    assert_eq!((one.answer().status, two.answer().status), (200, 200));
    let mut three = desk.wants("ok.test");
    let next = desk.question("ok.test", 1);
    assert_ne!(next, question);
    assert_eq!(desk.says(next, "deny"), 200);
    refused(&three.answer(), "not-whitelisted");
    let at = port(&desk);
    let lines = desk.proxy.stop();
    assert_eq!(
        Desk::questions(&lines),
        [
            json!([1, "ok.test", at, "once", me(), 2]),
            json!([2, "ok.test", at, "deny", me(), 1]),
        ]
    );
    let rules: Vec<&Value> = lines
        .iter()
        .filter(|line| line["decision"] == "allow")
        .map(|line| &line["rule"])
        .collect();
    let rule = json!({"file": "ocs approve", "line": 1, "text": format!("ok.test:{at}")});
    assert_eq!(rules, [&rule, &rule]);
}

#[test]
fn for_the_run_is_that_name_on_that_port_and_nothing_beside_it() {
    let desk = Desk::open("", "30");
    let mut one = desk.wants("ok.test");
    let question = desk.question("ok.test", 1);
    assert_eq!(desk.says(question, "run"), 200);
    assert_eq!(one.answer().status, 200);
    // No question any longer, also after the file was changed.
    assert_eq!(desk.wants("ok.test").answer().status, 200);
    desk.proxy
        .write_policy("# another\nhttp-domain-whitelist: [other.test]\n");
    desk.proxy.wait_told("policy 3 is in force");
    assert_eq!(desk.wants("ok.test").answer().status, 200);
    for (name, port) in [
        ("a.ok.test", port(&desk)),
        ("ok.test", 1),
        ("k.test", port(&desk)),
    ] {
        let mut client = desk.wants_on(name, port);
        let question = desk.question(name, 1);
        assert_eq!(desk.says(question, "deny"), 200);
        refused(&client.answer(), "not-whitelisted");
    }
    // A file that refuses the name wins over what was granted.
    desk.proxy.write_policy("http-domain-denylist: [ok.test]\n");
    desk.proxy.wait_told("policy 4 is in force");
    refused(&desk.wants("ok.test").answer(), "denylisted");
    let lines = desk.proxy.stop();
    let policies: Vec<Value> = lines
        .iter()
        .filter(|line| line["event"] == "policy")
        .map(|line| json!([line["generation"], line["source"] == "ocs approve"]))
        .collect();
    assert_eq!(
        policies,
        [
            json!([1, false]),
            json!([2, true]),
            json!([3, false]),
            json!([4, false])
        ]
    );
}

#[test]
fn a_no_counts_for_the_run_and_nothing_was_resolved_or_dialled() {
    let desk = Desk::open("", "30");
    let mut client = desk.wants("ok.test");
    assert_eq!(desk.says(desk.question("ok.test", 1), "deny"), 200);
    refused(&client.answer(), "not-whitelisted");
    refused(&desk.wants("ok.test").answer(), "not-whitelisted");
    assert!(desk.dns.asked().is_empty());
    assert!(desk.origin.seen().is_empty());
    let lines = desk.proxy.stop();
    assert_eq!(Desk::questions(&lines).len(), 1);
}

#[test]
fn where_nobody_answers_it_is_refused_in_time_and_a_late_answer_opens_the_next_try() {
    let desk = Desk::open("", "1");
    let mut client = desk.wants("ok.test");
    refused(&client.answer(), "not-whitelisted");
    // The same is not waited for twice: who tries again and again is told at once.
    refused(&desk.wants("ok.test").answer(), "not-whitelisted");
    let listing = document(&desk.socket, "/questions");
    assert_eq!(listing["questions"][0]["state"], "unanswered");
    assert_eq!(listing["questions"][0]["left_ms"], Value::Null);
    assert_eq!(desk.says(1, "once"), 409);
    assert_eq!(desk.says(1, "run"), 200);
    assert_eq!(desk.wants("ok.test").answer().status, 200);
    let at = port(&desk);
    let lines = desk.proxy.stop();
    assert_eq!(
        Desk::questions(&lines),
        [
            json!([1, "ok.test", at, null, null, 1]),
            json!([1, "ok.test", at, "run", me(), 1]),
        ]
    );
}

#[test]
fn for_good_waits_for_the_file_and_the_file_s_line_is_the_rule() {
    let desk = Desk::open("", "30");
    let mut client = desk.wants("ok.test");
    let question = desk.question("ok.test", 1);
    assert_eq!(desk.says(question, "always"), 200);
    let listing = document(&desk.socket, "/questions");
    assert_eq!(listing["questions"][0]["state"], "changing");
    let at = port(&desk);
    desk.proxy
        .write_policy(&format!("http-domain-whitelist: ['ok.test:{at}']\n"));
    assert_eq!(client.answer().status, 200);
    assert_eq!(document(&desk.socket, "/questions")["questions"], json!([]));
    let lines = desk.proxy.stop();
    assert_eq!(
        Desk::questions(&lines),
        [json!([1, "ok.test", at, "always", me(), 1])]
    );
    let allowed = lines
        .iter()
        .find(|line| line["decision"] == "allow")
        .unwrap();
    assert_eq!(allowed["rule"]["text"], format!("ok.test:{at}"));
    assert_ne!(allowed["rule"]["file"], "ocs approve");
}

#[test]
fn a_granted_name_that_leads_to_a_private_address_stays_refused() {
    let desk = Desk::open("", "30");
    desk.dns.set("in.test", &["10.0.0.5"]);
    let mut client = desk.wants("in.test");
    assert_eq!(desk.says(desk.question("in.test", 1), "run"), 200);
    refused(&client.answer(), "private-address");
    desk.proxy.stop();
}

#[test]
fn what_no_answer_could_open_is_refused_at_once() {
    let desk = Desk::open("http-domain-denylist: [.bad.test]\n", "30");
    let port = port(&desk);
    for (target, reason) in [
        ("a.bad.test".to_owned(), "denylisted"),
        ("93.184.215.14".to_owned(), "ip-literal"),
        ("[::1]".to_owned(), "ip-literal"),
        ("docker.host".to_owned(), "not-whitelisted"),
        ("localhost".to_owned(), "private-address"),
        ("com".to_owned(), "not-whitelisted"),
        ("ocs-probe.invalid".to_owned(), "not-whitelisted"),
    ] {
        refused(&desk.wants_on(&target, port).answer(), reason);
    }
    let counts = json!({"asking": true, "open": 0, "unanswered": 0, "unasked": 0});
    assert_eq!(document(&desk.socket, "/status")["questions"], counts);
    desk.proxy.stop();
}

#[test]
fn a_flood_of_names_is_sixteen_questions_and_of_requests_sixty_four_that_wait() {
    let desk = Desk::open("", "30");
    let mut waiting: Vec<Client> = (0..16).map(|n| desk.wants(&format!("n{n}.test"))).collect();
    until(&desk.socket, "/status", |status| {
        status["questions"]["open"] == 16
    });
    refused(&desk.wants("n16.test").answer(), "not-whitelisted");
    waiting.extend((0..48).map(|_| desk.wants("n0.test")));
    let question = desk.question("n0.test", 49);
    refused(&desk.wants("n0.test").answer(), "not-whitelisted");
    let counts = json!({"asking": true, "open": 16, "unanswered": 0, "unasked": 2});
    assert_eq!(document(&desk.socket, "/status")["questions"], counts);
    assert_eq!(desk.says(question, "deny"), 200);
    refused(&waiting[0].answer(), "not-whitelisted");
    // There is room again.
    let mut client = desk.wants("n16.test");
    assert_eq!(desk.says(desk.question("n16.test", 1), "once"), 200);
    assert_eq!(client.answer().status, 502, "nobody has that name");
    // The end does not wait for answers.
    let lines = desk.proxy.stop();
    let denied = lines
        .iter()
        .filter(|line| line["decision"] == "deny")
        .count();
    assert_eq!(denied, 67);
}

#[test]
fn only_who_has_the_socket_answers_and_only_in_one_form() {
    let desk = Desk::open("", "30");
    let mut client = desk.wants("ok.test");
    let question = desk.question("ok.test", 1);
    for (path, body, status) in [
        ("/questions/1", "", 400),
        ("/questions/1", "{\"answer\":\"yes\",\"user\":null}", 400),
        (
            "/questions/1",
            "{\"answer\":\"run\",\"user\":null,\"port\":22}",
            400,
        ),
        (
            "/questions/1",
            &format!("{{\"answer\":\"run\",\"user\":\"{}\"}}", "x".repeat(5000)),
            400,
        ),
        ("/questions/x", "{\"answer\":\"run\",\"user\":null}", 400),
        ("/questions/2", "{\"answer\":\"run\",\"user\":null}", 404),
        ("/questions", "{\"answer\":\"run\",\"user\":null}", 405),
    ] {
        assert_eq!(posted(&desk.socket, path, body), status, "{path} {body}");
    }
    assert!(asked(&desk.socket, "/questions/1").starts_with("HTTP/1.1 404"));
    assert_eq!(desk.says(question, "deny"), 200);
    refused(&client.answer(), "not-whitelisted");
    desk.proxy.stop();
}

#[test]
fn over_tcp_the_questions_are_seen_and_no_answer_is_taken() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let dns = Dns::start();
    let listen = address.to_string();
    let (proxy, socket) = watched("", &dns, &["--admin-listen", &listen, "--ask", "30"]);
    let mut client = Client::connect(proxy.address);
    client.send("CONNECT ok.test:443 HTTP/1.1\r\n\r\n");
    until(&socket, "/status", |status| {
        status["questions"]["open"] == 1
    });
    let seen = |path: &str, host: &str| {
        let mut watcher = Client::connect(address);
        watcher.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        let answer = watcher.rest_text();
        let status = answer.split(' ').nth(1).map(str::to_owned);
        (
            status.unwrap(),
            answer.split("\r\n\r\n").nth(1).unwrap().to_owned(),
        )
    };
    assert_eq!(
        seen("/live", &listen),
        ("200".to_owned(), "live\n".to_owned())
    );
    assert_eq!(
        seen("/ready", "localhost"),
        ("200".to_owned(), "ready\n".to_owned())
    );
    assert!(
        seen("/metrics", "[::1]:1")
            .1
            .contains("ocs_questions_open 1\n")
    );
    // A name that was rebound to loopback leads a browser here.
    for host in [
        "rebound.test",
        "127.0.0.1.rebound.test",
        "",
        "127.0.0.1@rebound.test",
    ] {
        assert_eq!(seen("/questions", host).0, "421", "{host}");
    }
    let mut other = Client::connect(address);
    let body = "{\"answer\":\"run\",\"user\":null}";
    let length = body.len();
    other.send(format!(
        "POST /questions/1 HTTP/1.1\r\nHost: {listen}\r\nContent-Length: {length}\r\n\r\n{body}"
    ));
    assert!(other.rest_text().starts_with("HTTP/1.1 403 "));
    proxy.signal("-TERM");
    refused(&client.answer(), "not-whitelisted");
    proxy.stop_after_signal();
}

#[test]
fn without_the_flag_nothing_waits() {
    let (proxy, socket) = watched("", &Dns::start(), &[]);
    let mut client = Client::connect(proxy.address);
    client.send("CONNECT ok.test:443 HTTP/1.1\r\n\r\n");
    refused(&client.answer(), "not-whitelisted");
    let listing = json!({"v": 1, "asking": false, "unasked": 0, "questions": []});
    assert_eq!(document(&socket, "/questions"), listing);
    proxy.stop();
}
