use std::net::Ipv4Addr;

use super::*;

fn mistakes(json: &str) -> Vec<String> {
    match Spec::parse(json.as_bytes()) {
        Err(SpecError::Meaning(mistakes)) => mistakes.iter().map(ToString::to_string).collect(),
        other => panic!("a spec with mistakes was wanted, not {other:?}"),
    }
}

fn refused_as_json(json: &str) -> String {
    match Spec::parse(json.as_bytes()) {
        Err(SpecError::Json(error)) => error.to_string(),
        other => panic!("text that is no spec was wanted, not {other:?}"),
    }
}

fn port(number: u16) -> Port {
    Port::new(number).unwrap()
}

#[test]
fn a_sealed_spec_means_what_it_says() {
    let spec = Spec::parse(
        br#"{"v":1,"topology":"sealed","explicit":3128,"capture":3129,"dns":53,"nflog_group":7,"published":[4096,80]}"#,
    );
    assert_eq!(
        spec.unwrap(),
        Spec::Sealed(Sealed {
            explicit: port(3128),
            capture: port(3129),
            dns: port(53),
            nflog_group: NflogGroup::new(7).unwrap(),
            published: BTreeSet::from([port(80), port(4096)]),
        })
    );
}

#[test]
fn a_shared_spec_means_what_it_says() {
    let spec = Spec::parse(
        br#"{"v":1,"topology":"shared","proxy_uid":65532,"agent_uid":1000,"explicit":3128,"nflog_group":1,
             "own_ports":[{"first":3000,"last":3010}],
             "host_ports":[{"address":"192.0.2.1","port":5432}],
             "resolvers":[{"address":"127.0.0.11","port":53}],
             "other_tables":[{"family":"ip","name":"nat"}]}"#,
    );
    assert_eq!(
        spec.unwrap(),
        Spec::Shared(Shared {
            proxy: Uid::new(65532).unwrap(),
            agent: Uid::new(1000).unwrap(),
            explicit: port(3128),
            dns: None,
            own_ports: BTreeSet::from([PortRange::new(port(3000), port(3010)).unwrap()]),
            host_ports: BTreeSet::from([Endpoint {
                address: Ipv4Addr::new(192, 0, 2, 1).into(),
                port: port(5432),
            }]),
            resolvers: BTreeSet::from([Endpoint {
                address: Ipv4Addr::new(127, 0, 0, 11).into(),
                port: port(53),
            }]),
            nflog_group: NflogGroup::new(1).unwrap(),
            published: BTreeSet::new(),
            other_tables: vec![Table {
                family: "ip".to_owned(),
                name: "nat".to_owned(),
            }],
        })
    );
}

#[test]
fn every_mistake_in_a_sealed_spec_is_named_at_once() {
    let found = mistakes(
        r#"{"v":2,"topology":"sealed","explicit":0,"capture":53,"dns":53,"nflog_group":65536,
            "published":[4096,4096,53,65536]}"#,
    );
    assert_eq!(
        found,
        [
            "v: 2 is not known here; write 1",
            "explicit: 0 is no port; write one from 1 to 65535",
            "published[1]: 4096 stands here twice",
            "published[2]: 53 is taken by `capture`",
            "published[3]: 65536 is no port; write one from 1 to 65535",
            "nflog_group: 65536 is no group to log to; write one from 1 to 65535",
            "dns: 53 is taken by `capture`",
        ]
    );
}

#[test]
fn every_mistake_in_a_shared_spec_is_named_at_once() {
    let found = mistakes(
        r#"{"v":1,"topology":"shared","proxy_uid":0,"agent_uid":0,"explicit":3128,"dns":3128,"nflog_group":0,
            "own_ports":[{"first":3000,"last":2999},{"first":3100,"last":3200},{"first":4000,"last":4010},{"first":4010,"last":4010}],
            "host_ports":[{"address":"127.0.0.1","port":1},{"address":"::ffff:192.0.2.1","port":1},
                          {"address":"224.0.0.1","port":1},{"address":"192.0.2.1","port":1},{"address":"192.0.2.1","port":1}],
            "resolvers":[{"address":"0.0.0.0","port":0}],
            "published":[3128],
            "other_tables":[{"family":"inet","name":"ocs"},{"family":"ipv4","name":"nat"}]}"#,
    );
    assert_eq!(
        found,
        [
            "proxy_uid: 0 cannot be fenced by uid; write one from 1 to 4294967294",
            "agent_uid: 0 cannot be fenced by uid; write one from 1 to 4294967294",
            "agent_uid: 0 is the proxy's too; the agent would have the proxy's way out",
            "dns: 3128 is taken by `explicit`",
            "published[0]: 3128 is taken by `explicit`",
            "own_ports[0]: 3000 to 2999 runs backwards",
            "own_ports[1]: 3100-3200 holds the port of `explicit`",
            "own_ports[3]: 4010 overlaps 4000-4010",
            "host_ports[1].address: ::ffff:192.0.2.1 is not canonical; write 192.0.2.1",
            "host_ports[2].address: 224.0.0.1 names more than one",
            "host_ports[4]: 192.0.2.1 port 1 stands here twice",
            "host_ports: 127.0.0.1 is loopback; write the port in `own_ports`",
            "resolvers[0].address: 0.0.0.0 names no one",
            "resolvers[0].port: 0 is no port; write one from 1 to 65535",
            "other_tables[0]: inet ocs is the fence itself",
            "other_tables[1]: no such family; write one of inet, ip, ip6, arp, bridge, netdev",
            "nflog_group: 0 is no group to log to; write one from 1 to 65535",
        ]
    );
}

#[test]
fn a_list_that_no_person_wrote_is_refused() {
    let list = |length: u32| {
        let ports: Vec<String> = (1..=length).map(|at| (10_000 + at).to_string()).collect();
        format!(
            r#"{{"v":1,"topology":"sealed","explicit":3128,"capture":3129,"dns":53,"nflog_group":1,"published":[{}]}}"#,
            ports.join(",")
        )
    };
    assert!(Spec::parse(list(64).as_bytes()).is_ok());
    assert_eq!(
        mistakes(&list(65)),
        ["published: 65 entries; 64 is the most that is taken"]
    );
}

#[test]
fn an_unknown_field_is_refused_with_its_place() {
    let json = r#"{"v":1,"topology":"sealed","explicit":3128,"capture":3129,"dns":53,"nflog_group":1,"allow":[]}"#;
    assert!(refused_as_json(json).starts_with("unknown field `allow`"));
}

#[test]
fn a_field_of_the_other_topology_is_refused() {
    let json = r#"{"v":1,"topology":"sealed","explicit":3128,"capture":3129,"dns":53,"nflog_group":1,"proxy_uid":1}"#;
    assert!(refused_as_json(json).starts_with("unknown field `proxy_uid`"));
}

#[test]
fn every_prefix_of_a_spec_is_refused() {
    let json = include_bytes!("../../snapshots/shared.json");
    let whole = json.trim_ascii_end();
    assert!(Spec::parse(whole).is_ok());
    for end in 0..whole.len() {
        assert!(
            Spec::parse(&whole[..end]).is_err(),
            "a prefix of {end} bytes passed"
        );
    }
}

#[test]
fn the_uid_that_means_none_is_no_uid() {
    assert_eq!([0, u32::MAX].map(Uid::new), [None, None]);
    assert!(Uid::new(1).is_some() && Uid::new(u32::MAX - 1).is_some());
}
