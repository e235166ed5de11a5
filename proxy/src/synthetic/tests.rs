//! The table of names: stable, bounded, and never a name for another's connection.

use super::*;

fn name(text: &str) -> DnsName {
    DnsName::parse(text).unwrap()
}

fn numbered(number: u32) -> DnsName {
    name(&format!("n{number}.w.test"))
}

/// A table with every address taken, all used at `now`.
fn full(now: Instant) -> Synthetic {
    let table = Synthetic::default();
    for number in 0..CAPACITY {
        assert!(matches!(
            table.issue(&numbered(number), now),
            Issued::First(_)
        ));
    }
    table
}

#[test]
fn a_name_keeps_its_address() {
    let (table, now) = (Synthetic::default(), Instant::now());
    let first = Ipv4Addr::new(198, 18, 1, 0);
    let second = Ipv4Addr::new(198, 18, 1, 1);
    assert_eq!(
        [
            table.issue(&name("ok.test"), now),
            table.issue(&name("a.w.test"), now),
            table.issue(&name("OK.test."), now + REUSE_AFTER * 2),
        ],
        [
            Issued::First(first),
            Issued::First(second),
            Issued::Again(first)
        ]
    );
}

#[test]
fn an_issued_address_names_its_name() {
    let (table, now) = (Synthetic::default(), Instant::now());
    let Issued::First(address) = table.issue(&name("ok.test"), now) else {
        panic!("not issued");
    };
    assert_eq!(table.hold(address, now).unwrap().name(), &name("ok.test"));
}

#[test]
fn an_address_that_was_never_issued_names_nothing() {
    let (table, now) = (Synthetic::default(), Instant::now());
    assert!(matches!(
        table.issue(&name("ok.test"), now),
        Issued::First(_)
    ));
    for address in [
        "198.18.1.1", // the next to be issued
        "198.18.0.0",
        "198.18.0.255",
        "198.17.255.255",
        "198.19.255.255",
        "198.20.0.0",
        "0.0.0.0",
        "255.255.255.255",
    ] {
        assert!(
            table.hold(address.parse().unwrap(), now).is_none(),
            "{address}"
        );
    }
}

#[test]
fn the_range_has_its_edges_where_rfc_2544_has_them() {
    let inside = ["198.18.0.0", "198.18.1.0", "198.19.255.255"];
    let outside = ["198.17.255.255", "198.20.0.0", "0.0.0.0", "255.255.255.255"];
    assert!(
        inside
            .iter()
            .all(|address| in_range(address.parse().unwrap()))
    );
    assert!(
        !outside
            .iter()
            .any(|address| in_range(address.parse().unwrap()))
    );
}

#[test]
fn every_address_is_issued_once_and_lies_in_the_range() {
    let (table, now) = (Synthetic::default(), Instant::now());
    let mut seen = std::collections::HashSet::new();
    for number in 0..CAPACITY {
        let Issued::First(address) = table.issue(&numbered(number), now) else {
            panic!("{number} was not issued");
        };
        assert!(in_range(address) && seen.insert(address), "{address}");
    }
    assert_eq!(table.issue(&name("one.more.test"), now), Issued::Full);
}

#[test]
fn a_million_names_leave_the_table_bounded_and_the_first_as_it_was() {
    let now = Instant::now();
    let table = Synthetic::default();
    let first = table.issue(&numbered(0), now);
    let mut refused = 0;
    for number in 1..1_000_000 {
        if table.issue(&numbered(number), now) == Issued::Full {
            refused += 1;
        }
    }
    let Issued::First(address) = first else {
        panic!("{first:?}");
    };
    assert_eq!(table.issue(&numbered(0), now), Issued::Again(address));
    assert_eq!(
        (table.issued(), refused),
        (131_072 - 257, 1_000_000 - (131_072 - 257))
    );
    let names = table.table().by_name.len();
    assert_eq!(names, table.issued());
}

#[test]
fn a_full_table_gives_a_new_name_the_address_unused_for_longest_after_its_time() {
    let start = Instant::now();
    let table = full(start);
    let Issued::Again(second) = table.issue(&numbered(1), start) else {
        panic!("gone");
    };
    assert!(matches!(table.issue(&numbered(0), start), Issued::Again(_)));
    // 2 is now the one unused for longest, then 3, and so on; 1 and 0 come last.
    let just_before = start + REUSE_AFTER - Duration::from_millis(1);
    assert_eq!(table.issue(&name("new.test"), just_before), Issued::Full);
    let after = start + REUSE_AFTER;
    let Issued::First(reused) = table.issue(&name("new.test"), after) else {
        panic!("not reused");
    };
    assert_eq!(u32::from(reused), u32::from(second) + 1);
    assert_eq!(table.hold(reused, after).unwrap().name(), &name("new.test"));
    assert_eq!(table.issued(), usize::try_from(CAPACITY).unwrap());
}

#[test]
fn a_name_that_lost_its_address_gets_another_one() {
    let start = Instant::now();
    let table = full(start);
    let after = start + REUSE_AFTER;
    let taken = table.issue(&name("new.test"), after);
    let again = table.issue(&numbered(0), after);
    let (Issued::First(taken), Issued::First(again)) = (taken, again) else {
        panic!("{taken:?} {again:?}");
    };
    assert_ne!(taken, again);
}

#[test]
fn an_address_with_an_open_connection_is_never_given_away() {
    let start = Instant::now();
    let table = full(start);
    let oldest = Ipv4Addr::from(FIRST + RESERVED_LOW);
    let held = table.hold(oldest, start).unwrap();
    for number in 1..CAPACITY {
        assert!(matches!(
            table.issue(&numbered(number), start),
            Issued::Again(_)
        ));
    }
    let after = start + REUSE_AFTER;
    let Issued::First(given) = table.issue(&name("new.test"), after) else {
        panic!("not reused");
    };
    assert_ne!(given, oldest);
    assert_eq!(table.hold(oldest, after).unwrap().name(), held.name());
}

#[test]
fn with_connections_open_to_the_oldest_names_a_new_one_is_refused_and_the_search_is_short() {
    let start = Instant::now();
    let table = full(start);
    let oldest: Vec<_> = (0..100)
        .map(|slot| {
            table
                .hold(Ipv4Addr::from(FIRST + RESERVED_LOW + slot), start)
                .unwrap()
        })
        .collect();
    for number in 100..CAPACITY {
        assert!(matches!(
            table.issue(&numbered(number), start),
            Issued::Again(_)
        ));
    }
    let after = start + REUSE_AFTER;
    assert_eq!(table.issue(&name("new.test"), after), Issued::Full);
    drop(oldest);
}

#[test]
fn a_connection_that_ends_counts_as_use() {
    let now = Instant::now();
    let table = Synthetic::default();
    let Issued::First(address) = table.issue(&name("ok.test"), now) else {
        panic!("not issued");
    };
    let held = table.hold(address, now).unwrap();
    assert_eq!(table.table().slots[0].open, 1);
    drop(held);
    assert_eq!(table.table().slots[0].open, 0);
    assert!(table.table().slots[0].used >= now);
}
