use super::*;

fn v4_at(bits: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from_bits(bits))
}

fn v6_at(bits: u128) -> IpAddr {
    IpAddr::V6(Ipv6Addr::from_bits(bits))
}

/// Whether another row holds the address too, so that a neighbour is no outsider.
fn in_another_v4(row: &Block<Ipv4Net>, address: Ipv4Addr) -> bool {
    SPECIAL_V4
        .iter()
        .any(|other| other.net != row.net && other.net.contains(&address))
}

#[test]
fn each_v4_range_is_refused_from_its_first_to_its_last_address_and_its_neighbours_are_not() {
    for row in &SPECIAL_V4 {
        let (first, last) = (row.net.network().to_bits(), row.net.broadcast().to_bits());
        let middle = first + (last - first) / 2;
        for inside in [first, middle, last] {
            assert!(!is_public(v4_at(inside)), "{} of {row:?}", v4_at(inside));
        }
        for outside in [first.checked_sub(1), last.checked_add(1)]
            .into_iter()
            .flatten()
        {
            let address = Ipv4Addr::from_bits(outside);
            let expected = !in_another_v4(row, address);
            assert_eq!(
                is_public(IpAddr::V4(address)),
                expected,
                "{address} beside {row:?}"
            );
        }
    }
}

#[test]
fn each_v6_range_is_refused_from_its_first_to_its_last_address() {
    for row in &SPECIAL_V6 {
        let (first, last) = (row.net.network().to_bits(), row.net.broadcast().to_bits());
        for inside in [first, first + (last - first) / 2, last] {
            // The well-known NAT64 prefix lies in 0000::/8 and is judged by what is inside it.
            let inside = v6_at(inside);
            assert!(!is_public(inside), "{inside} of {row:?}");
        }
    }
}

#[test]
fn v6_ranges_within_global_unicast_end_where_the_registry_says() {
    for (outside, what) in [
        ("2001:200::", "after 2001::/23"),
        (
            "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff",
            "before 2001:db8::/32",
        ),
        ("2001:db9::", "after 2001:db8::/32"),
        (
            "2001:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            "before 2002::/16",
        ),
        ("2003::", "after 2002::/16"),
        (
            "3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            "before 3fff::/20",
        ),
        ("3fff:1000::", "after 3fff::/20"),
        ("2000::", "the first of 2000::/3"),
        (
            "3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            "the last of 2000::/3",
        ),
    ] {
        assert!(is_public(outside.parse().unwrap()), "{outside}: {what}");
    }
    for (outside, what) in [
        ("1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "before 2000::/3"),
        ("4000::", "after 2000::/3"),
        ("64:ff9a:ffff:ffff:ffff:ffff:ffff:ffff", "before NAT64"),
        ("64:ff9b:0:0:0:1::", "after NAT64"),
        ("5eff::", "before 5f00::/16"),
        ("fbff::", "before fc00::/7"),
        ("fe00::", "between fc00::/7 and fe80::/10"),
    ] {
        assert!(!is_public(outside.parse().unwrap()), "{outside}: {what}");
    }
}

#[test]
fn the_rows_that_are_globally_reachable_and_serve_origins_are_public() {
    for text in [
        "192.31.196.1",    // AS112-v4, RFC 7535
        "192.52.193.1",    // AMT, RFC 7450
        "192.175.48.1",    // AS112 service, RFC 7534
        "2620:4f:8000::1", // AS112 service, RFC 7534
        "1.1.1.1",
        "93.184.215.14",
        "2606:2800:21f::1",
        "64:ff9b::5db8:d70e", // 93.184.215.14 behind NAT64
    ] {
        assert!(is_public(text.parse().unwrap()), "{text}");
    }
}

#[test]
fn a_v4_address_inside_a_v6_one_is_found_in_every_disguise() {
    let metadata = Ipv4Addr::new(169, 254, 169, 254);
    for text in [
        "::ffff:169.254.169.254",
        "::169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1:a9fe:a9:fe00::",
        "64:ff9b:1::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
        "2001:0:4136:e378:8000:63bf:5601:5601",
        "fe80::5efe:169.254.169.254",
        "2606:2800::200:5efe:169.254.169.254",
    ] {
        let address: Ipv6Addr = text.parse().unwrap();
        assert_eq!(embedded(address), Some(metadata), "{text}");
        assert!(is_metadata(IpAddr::V6(address)), "{text}");
        assert!(!is_public(IpAddr::V6(address)), "{text}");
    }
    for text in ["::", "::1", "2606:2800::1", "fd00::1"] {
        assert_eq!(embedded(text.parse().unwrap()), None, "{text}");
    }
}

#[test]
fn every_disguise_of_a_public_v4_address_but_nat64_is_refused_all_the_same() {
    for text in [
        "::ffff:93.184.215.14",
        "::93.184.215.14",
        "64:ff9b:1::5db8:d70e",
        "2002:5db8:d70e::1",
        "2001:0:4136:e378:8000:63bf:a247:28f1",
    ] {
        assert!(!is_public(text.parse().unwrap()), "{text}");
    }
    for text in [
        "64:ff9b::7f00:1",
        "64:ff9b::a00:1",
        "64:ff9b::",
        "64:ff9b::c612:1",
    ] {
        assert!(!is_public(text.parse().unwrap()), "{text}");
    }
}

#[test]
fn metadata_services_are_refused_even_where_the_registry_calls_the_address_public() {
    for address in METADATA {
        assert!(!is_public(address), "{address}");
        assert!(!is_lan(address), "{address}");
    }
    assert_eq!(
        why_not_public("168.63.129.16".parse().unwrap()),
        Some("cloud metadata service")
    );
    assert!(is_public("168.63.129.15".parse().unwrap()));
    assert!(is_public("168.63.129.17".parse().unwrap()));
}

#[test]
fn a_local_network_is_what_a_model_server_may_be_in() {
    let lan = [
        "10.0.0.13",
        "172.31.255.255",
        "192.168.1.1",
        "127.0.0.1",
        "100.64.0.1",
        "100.127.255.255",
        "::1",
        "fd00::1",
    ];
    let not = [
        "172.32.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "169.254.1.1",
        "fe80::1",
        "8.8.8.8",
        "::ffff:10.0.0.1",
        "0.0.0.0",
    ];
    for (list, expected) in [(&lan[..], true), (&not[..], false)] {
        for text in list {
            assert_eq!(is_lan(text.parse().unwrap()), expected, "{text}");
        }
    }
}

#[test]
fn nobody_answers_at_unspecified_multicast_and_broadcast_addresses() {
    for text in [
        "0.0.0.0",
        "0.1.2.3",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "ff02::1",
        "::ffff:0.0.0.0",
        "64:ff9b::e000:1",
    ] {
        assert!(is_nobody(text.parse().unwrap()), "{text}");
    }
    for text in [
        "127.0.0.1",
        "::1",
        "10.0.0.1",
        "169.254.1.1",
        "fe80::1",
        "240.0.0.1",
        "::ffff:10.0.0.1",
    ] {
        assert!(!is_nobody(text.parse().unwrap()), "{text}");
    }
}
