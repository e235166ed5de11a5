//! Lookups against a server of the test's own, which writes down what it was asked.

use std::sync::atomic::{AtomicUsize, Ordering};

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;

use super::*;
use crate::fake_dns::{Asked, Data, FakeDns, Reply, addresses};

const TIMEOUT: Duration = Duration::from_secs(5);

fn name(text: &str) -> DnsName {
    DnsName::parse(text).unwrap()
}

fn ips(all: &[&str]) -> Vec<IpAddr> {
    all.iter().map(|text| text.parse().unwrap()).collect()
}

/// Files of an otherwise empty system.
fn files(hosts: &str, resolv_conf: &str) -> (Files, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let files = Files {
        hosts: directory.path().join("hosts"),
        resolv_conf: directory.path().join("resolv.conf"),
    };
    std::fs::write(&files.hosts, hosts).unwrap();
    std::fs::write(&files.resolv_conf, resolv_conf).unwrap();
    (files, directory)
}

fn resolver(servers: &[&FakeDns]) -> Resolver {
    let (files, _directory) = files("", "");
    let servers = Servers::Given(servers.iter().map(|server| server.address).collect());
    Resolver::new(servers, files, TIMEOUT)
}

async fn found(resolver: &Resolver, text: &str) -> Result<Vec<IpAddr>, ResolveError> {
    resolver
        .addresses(&name(text))
        .await
        .map(|found| found.to_vec())
}

#[tokio::test]
async fn both_families_are_found_by_two_questions_for_the_very_name() {
    let server = FakeDns::start(|name, kind| {
        addresses(
            name,
            kind,
            60,
            &["203.0.113.5", "203.0.113.6", "2001:db8::5"],
        )
    })
    .await;
    let resolver = resolver(&[&server]);
    assert_eq!(
        found(&resolver, "ok.test").await,
        Ok(ips(&["203.0.113.5", "203.0.113.6", "2001:db8::5"]))
    );
    let mut asked = server.asked();
    asked.sort_by_key(|asked| u16::from(asked.kind));
    let question = |kind| Asked {
        name: "ok.test.".into(),
        kind,
        tcp: false,
    };
    assert_eq!(asked, [question(RecordType::A), question(RecordType::AAAA)]);
}

#[tokio::test]
async fn w1_a_search_domain_and_a_bare_name_never_become_another_question() {
    let server = FakeDns::start(|_, _| Reply::Code(ResponseCode::NXDomain, Some(60))).await;
    let text = "search evil.test\ndomain evil.test\noptions ndots:15\nnameserver 127.0.0.1\n";
    let (files, _directory) = files("", text);
    let resolver = Resolver::new(Servers::Given(vec![server.address]), files, TIMEOUT);
    for bare in ["intranet", "ok.test", "localhost.localdomain"] {
        assert_eq!(found(&resolver, bare).await, Err(ResolveError::NotFound));
    }
    for asked in server.asked() {
        assert!(matches!(
            asked.name.as_str(),
            "intranet." | "ok.test." | "localhost.localdomain."
        ));
        assert!(matches!(asked.kind, RecordType::A | RecordType::AAAA));
    }
    assert_eq!(server.asked().len(), 6);
}

#[tokio::test]
async fn n23_a_chain_of_aliases_is_followed_in_the_answer_and_no_further() {
    let server = FakeDns::start(|name, kind| {
        let alias =
            |owner: &str, target: &str| (owner.to_owned(), 60, Data::Alias(target.to_owned()));
        match (name, kind) {
            ("whole.test.", RecordType::A) => Reply::Records(vec![
                (
                    "end.evil.test.".into(),
                    60,
                    Data::Address("203.0.113.5".parse().unwrap()),
                ),
                (
                    "unrelated.test.".into(),
                    60,
                    Data::Address("203.0.113.99".parse().unwrap()),
                ),
                alias("middle.test.", "END.evil.test."),
                alias("whole.test.", "middle.test."),
            ]),
            ("open.test.", RecordType::A) => {
                Reply::Records(vec![alias("open.test.", "evil.test.")])
            }
            ("loop.test.", RecordType::A) => Reply::Records(vec![
                alias("loop.test.", "a.test."),
                alias("a.test.", "loop.test."),
            ]),
            _ => Reply::Code(ResponseCode::NoError, Some(60)),
        }
    })
    .await;
    let resolver = resolver(&[&server]);
    assert_eq!(
        found(&resolver, "whole.test").await,
        Ok(ips(&["203.0.113.5"]))
    );
    assert_eq!(
        found(&resolver, "open.test").await,
        Err(ResolveError::NotFound)
    );
    assert_eq!(
        found(&resolver, "loop.test").await,
        Err(ResolveError::NotFound)
    );
    let names: Vec<_> = server.asked().into_iter().map(|asked| asked.name).collect();
    assert!(
        !names
            .iter()
            .any(|name| name.contains("evil") || name.contains("a.test")),
        "{names:?}"
    );
}

#[tokio::test]
async fn i15_with_a_ttl_of_zero_each_lookup_gives_what_was_answered_then() {
    let turn = AtomicUsize::new(0);
    let server = FakeDns::start(move |name, kind| {
        let flip = if kind == RecordType::A {
            turn.fetch_add(1, Ordering::Relaxed)
        } else {
            0
        };
        addresses(name, kind, 0, &[["203.0.113.5", "127.0.0.1"][flip % 2]])
    })
    .await;
    let resolver = resolver(&[&server]);
    assert_eq!(found(&resolver, "ok.test").await, Ok(ips(&["203.0.113.5"])));
    assert_eq!(found(&resolver, "ok.test").await, Ok(ips(&["127.0.0.1"])));
}

#[tokio::test]
async fn an_answer_is_remembered_for_its_ttl_and_asked_for_again_after_it() {
    let server = FakeDns::start(|name, kind| addresses(name, kind, 60, &["203.0.113.5"])).await;
    let resolver = resolver(&[&server]);
    for _ in 0..3 {
        assert_eq!(found(&resolver, "ok.test").await, Ok(ips(&["203.0.113.5"])));
    }
    assert_eq!(server.asked().len(), 2);
    let known = |after| {
        resolver
            .remembered()
            .get(&name("ok.test"), Instant::now() + after)
            .is_some()
    };
    assert_eq!(
        (
            known(Duration::from_secs(59)),
            known(Duration::from_secs(61))
        ),
        (true, false)
    );
}

#[tokio::test]
async fn no_answer_is_remembered_for_longer_than_its_bound() {
    let server = FakeDns::start(|name, kind| match name {
        "absent.test." => Reply::Code(ResponseCode::NXDomain, Some(86_400)),
        "broken.test." => Reply::Code(ResponseCode::ServFail, None),
        _ => addresses(name, kind, u32::MAX, &["203.0.113.5"]),
    })
    .await;
    let resolver = resolver(&[&server]);
    assert_eq!(found(&resolver, "ok.test").await, Ok(ips(&["203.0.113.5"])));
    assert_eq!(
        found(&resolver, "absent.test").await,
        Err(ResolveError::NotFound)
    );
    assert_eq!(
        found(&resolver, "broken.test").await,
        Err(ResolveError::Failed)
    );
    let known = |text: &str, after| {
        resolver
            .remembered()
            .get(&name(text), Instant::now() + Duration::from_secs(after))
            .is_some()
    };
    let seen = [
        ("ok.test", 3590),
        ("ok.test", 3601),
        ("absent.test", 55),
        ("absent.test", 61),
        ("broken.test", 2),
    ]
    .map(|(text, after)| known(text, after));
    assert_eq!(seen, [true, false, true, false, false]);
}

#[tokio::test]
async fn d12_answers_with_another_id_or_from_another_port_are_ignored() {
    let server = FakeDns::start(|name, kind| {
        Reply::AfterForgeries(Box::new(addresses(
            name,
            kind,
            60,
            &["203.0.113.5", "2001:db8::5"],
        )))
    })
    .await;
    assert_eq!(
        found(&resolver(&[&server]), "ok.test").await,
        Ok(ips(&["203.0.113.5", "2001:db8::5"]))
    );
}

#[tokio::test]
async fn a_truncated_answer_is_fetched_over_tcp() {
    let server = FakeDns::start(|name, kind| {
        Reply::OverTcp(Box::new(addresses(name, kind, 60, &["203.0.113.5"])))
    })
    .await;
    assert_eq!(
        found(&resolver(&[&server]), "ok.test").await,
        Ok(ips(&["203.0.113.5"]))
    );
    assert!(
        server
            .asked()
            .iter()
            .any(|asked| asked.tcp && asked.name == "ok.test.")
    );
}

#[tokio::test]
async fn one_family_is_enough_when_the_other_fails() {
    for broken in [RecordType::A, RecordType::AAAA] {
        let server = FakeDns::start(move |name, kind| {
            if kind == broken {
                return Reply::Code(ResponseCode::ServFail, None);
            }
            addresses(name, kind, 60, &["203.0.113.5", "2001:db8::5"])
        })
        .await;
        let expected = if broken == RecordType::A {
            "2001:db8::5"
        } else {
            "203.0.113.5"
        };
        assert_eq!(
            found(&resolver(&[&server]), "ok.test").await,
            Ok(ips(&[expected]))
        );
    }
}

#[tokio::test]
async fn a_server_that_says_nothing_is_a_timeout_and_then_remembered_briefly() {
    let server = FakeDns::start(|_, _| Reply::Silence).await;
    let (files, _directory) = files("", "");
    let servers = Servers::Given(vec![server.address]);
    let resolver = Resolver::new(servers, files, Duration::from_millis(300));
    assert_eq!(
        found(&resolver, "ok.test").await,
        Err(ResolveError::TimedOut)
    );
    let asked = server.asked().len();
    assert_eq!(
        found(&resolver, "ok.test").await,
        Err(ResolveError::TimedOut)
    );
    assert_eq!(server.asked().len(), asked);
}

#[tokio::test]
async fn a_server_that_refuses_is_a_failure_and_the_next_one_is_asked() {
    let broken = FakeDns::start(|_, _| Reply::Code(ResponseCode::Refused, None)).await;
    let good = FakeDns::start(|name, kind| addresses(name, kind, 60, &["203.0.113.5"])).await;
    assert_eq!(
        found(&resolver(&[&broken]), "ok.test").await,
        Err(ResolveError::Failed)
    );
    let resolver = resolver(&[&broken, &good]);
    assert_eq!(found(&resolver, "ok.test").await, Ok(ips(&["203.0.113.5"])));
    let before = broken.asked().len();
    assert_eq!(
        found(&resolver, "other.test").await,
        Ok(ips(&["203.0.113.5"]))
    );
    assert_eq!(
        broken.asked().len(),
        before,
        "the one that answered last is asked first"
    );
}

#[tokio::test]
async fn without_a_server_every_name_fails_at_once() {
    let (files, _directory) = files("", "search evil.test\n");
    let resolver = Resolver::new(Servers::System, files, TIMEOUT);
    assert_eq!(found(&resolver, "ok.test").await, Err(ResolveError::Failed));
}

#[tokio::test]
async fn the_hosts_file_answers_first_and_nobody_is_asked() {
    let server = FakeDns::start(|name, kind| addresses(name, kind, 60, &["203.0.113.5"])).await;
    let text = "# ours\n192.0.2.7 Ok.test alias.test # comment\n2001:db8::7 ok.test\nnonsense\n";
    let (files, _directory) = files(text, "");
    let resolver = Resolver::new(Servers::Given(vec![server.address]), files, TIMEOUT);
    assert_eq!(
        found(&resolver, "ok.test").await,
        Ok(ips(&["192.0.2.7", "2001:db8::7"]))
    );
    assert_eq!(
        found(&resolver, "alias.test").await,
        Ok(ips(&["192.0.2.7"]))
    );
    assert_eq!(server.asked(), []);
}

#[tokio::test]
async fn files_that_change_are_read_again() {
    let (files, _directory) = files("192.0.2.7 ok.test\n", "");
    let upstream = Upstream::new(Servers::System, files.clone(), TIMEOUT);
    assert_eq!(
        upstream
            .ask(&name("ok.test"))
            .await
            .outcome
            .unwrap()
            .to_vec(),
        ips(&["192.0.2.7"])
    );
    std::fs::write(&files.hosts, "192.0.2.8 ok.test # moved\n").unwrap();
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_eq!(
        upstream
            .ask(&name("ok.test"))
            .await
            .outcome
            .unwrap()
            .to_vec(),
        ips(&["192.0.2.8"])
    );
}

#[tokio::test]
async fn r10_a_hundred_who_ask_for_one_name_share_one_lookup() {
    let server = FakeDns::start(|name, kind| {
        let answer = addresses(name, kind, 0, &["203.0.113.5"]);
        Reply::Late(Duration::from_millis(100), Box::new(answer))
    })
    .await;
    let resolver = Arc::new(resolver(&[&server]));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let resolver = Arc::clone(&resolver);
        tasks.spawn(async move { found(&resolver, "ok.test").await });
    }
    while let Some(answer) = tasks.join_next().await {
        assert_eq!(answer.unwrap(), Ok(ips(&["203.0.113.5"])));
    }
    assert_eq!(server.asked().len(), 2);
    assert_eq!(resolver.flights().len(), 0);
}

#[tokio::test]
async fn r10_past_the_bound_of_lookups_a_new_name_is_told_so_and_a_known_one_still_joins() {
    let server = FakeDns::start(|_, _| Reply::Silence).await;
    let resolver = Arc::new(resolver(&[&server]));
    let waiting: Vec<_> = (0..LOOKUPS)
        .map(|number| resolver.board(&name(&format!("n{number}.test"))).unwrap())
        .collect();
    assert_eq!(
        found(&resolver, "one.more.test").await,
        Err(ResolveError::Busy)
    );
    assert!(resolver.board(&name("n0.test")).is_ok());
    drop(waiting);
    assert_eq!(resolver.flights().len(), 0);
}

#[tokio::test]
async fn whoever_gives_up_leaves_the_lookup_to_those_who_still_wait() {
    let server = FakeDns::start(|name, kind| {
        Reply::Late(
            Duration::from_millis(200),
            Box::new(addresses(name, kind, 60, &["203.0.113.5"])),
        )
    })
    .await;
    let resolver = Arc::new(resolver(&[&server]));
    let first = tokio::spawn({
        let resolver = Arc::clone(&resolver);
        async move { found(&resolver, "ok.test").await }
    });
    while server.asked().is_empty() {
        tokio::task::yield_now().await;
    }
    let ok = name("ok.test");
    let second = resolver.addresses(&ok);
    tokio::pin!(second);
    assert!(futures_now(&mut second).await.is_none());
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    assert_eq!(
        second.await.map(|found| found.to_vec()),
        Ok(ips(&["203.0.113.5"]))
    );
    assert_eq!(resolver.flights().len(), 0);
}

/// Polls once.
async fn futures_now<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    std::future::poll_fn(|cx| match std::pin::Pin::new(&mut *future).poll(cx) {
        std::task::Poll::Ready(output) => std::task::Poll::Ready(Some(output)),
        std::task::Poll::Pending => std::task::Poll::Ready(None),
    })
    .await
}

#[test]
fn what_is_remembered_is_bounded_and_the_oldest_goes_first() {
    let (mut remembered, now) = (Remembered::default(), Instant::now());
    let answer = Answer {
        outcome: Ok(ips(&["203.0.113.5"]).into()),
        holds: Duration::from_secs(60),
    };
    for number in 0..REMEMBERED + 10 {
        remembered.insert(&name(&format!("n{number}.test")), &answer, now);
        remembered.insert(&name(&format!("n{number}.test")), &answer, now);
    }
    assert_eq!(
        (remembered.by_name.len(), remembered.order.len()),
        (REMEMBERED, REMEMBERED)
    );
    assert_eq!(remembered.get(&name("n9.test"), now), None);
    assert_eq!(remembered.get(&name("n10.test"), now), Some(answer.outcome));
}
