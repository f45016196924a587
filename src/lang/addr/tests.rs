//! Unless a test says otherwise, the verdict is that of `haproxy -c` 2.6.12 on the same word in the same place.

use super::*;
use proptest::prelude::*;

fn inet(host: Host, port: Port) -> Address {
    Address::Inet {
        host,
        port,
        family: Family::Either,
        transport: Transport::Stream,
        mptcp: false,
    }
}

fn of(family: Family, host: Host, port: Port) -> Address {
    Address::Inet {
        host,
        port,
        family,
        transport: Transport::Stream,
        mptcp: false,
    }
}

fn ip(text: &str) -> Host {
    Host::Ip(text.parse().unwrap())
}

fn name(text: &str) -> Host {
    Host::Name(text.to_owned())
}

fn unix(path: &str) -> Address {
    Address::Unix {
        path: path.to_owned(),
        transport: Transport::Stream,
    }
}

fn bind_one(word: &str) -> Address {
    let mut list = bind(word).unwrap_or_else(|e| panic!("{word}: {e}"));
    assert_eq!(list.len(), 1);
    list.remove(0)
}

#[test]
fn a_bind_takes_every_form_of_host_and_port() {
    use Port::*;
    for (word, want) in [
        ("1.2.3.4:80", inet(ip("1.2.3.4"), Fixed(80))),
        (":80", inet(Host::Any4, Fixed(80))),
        ("*:80", inet(Host::Any4, Fixed(80))),
        ("0.0.0.0:80", inet(Host::Any4, Fixed(80))),
        ("[::]:80", inet(Host::Any6, Fixed(80))),
        (":::80", inet(Host::Any6, Fixed(80))),
        ("::1:80", inet(ip("::1"), Fixed(80))),
        ("[::1]:80", inet(ip("::1"), Fixed(80))),
        ("[1.2.3.4]:80", inet(ip("1.2.3.4"), Fixed(80))),
        ("::ffff:1.2.3.4:80", inet(ip("::ffff:1.2.3.4"), Fixed(80))),
        ("1.2.3.4:80-90", inet(ip("1.2.3.4"), Range(80, 90))),
        ("1.2.3.4:80-80", inet(ip("1.2.3.4"), Range(80, 80))),
        ("1.2.3.4:0080", inet(ip("1.2.3.4"), Fixed(80))),
        ("1.2.3.4:65535", inet(ip("1.2.3.4"), Fixed(65535))),
        ("localhost:80", inet(name("localhost"), Fixed(80))),
        (
            "web_1.example.com.:80",
            inet(name("web_1.example.com."), Fixed(80)),
        ),
    ] {
        assert_eq!(bind_one(word), want, "{word}");
    }
}

#[test]
fn short_and_octal_ipv4_means_what_inet_aton_says() {
    // 2.6 takes 1.2.3:80, 0:80 and 01.2.3.4:80 through getaddrinfo.
    for (word, want) in [
        ("1.2.3:80", ip("1.2.0.3")),
        ("0:80", Host::Any4),
        ("010.2.3.4:80", ip("8.2.3.4")),
        ("0x7f.1:80", ip("127.0.0.1")),
        ("2130706433:80", ip("127.0.0.1")),
    ] {
        assert_eq!(bind_one(word), inet(want, Port::Fixed(80)), "{word}");
    }
}

#[test]
fn a_prefix_chooses_the_family() {
    use Port::Fixed;
    for (word, want) in [
        ("ipv4@1.2.3.4:80", of(Family::V4, ip("1.2.3.4"), Fixed(80))),
        ("ipv6@::1:80", of(Family::V6, ip("::1"), Fixed(80))),
        ("ipv4@:80", of(Family::V4, Host::Any4, Fixed(80))),
        ("ipv6@:80", of(Family::V6, Host::Any6, Fixed(80))),
        ("ipv6@*:80", of(Family::V6, Host::Any6, Fixed(80))),
        (
            "ipv6@localhost:80",
            of(Family::V6, name("localhost"), Fixed(80)),
        ),
        ("tcp@1.2.3.4:80", inet(ip("1.2.3.4"), Fixed(80))),
        ("tcp4@1.2.3.4:80", of(Family::V4, ip("1.2.3.4"), Fixed(80))),
        ("tcp6@::1:80", of(Family::V6, ip("::1"), Fixed(80))),
        (
            "stream+ipv4@1.2.3.4:80",
            of(Family::V4, ip("1.2.3.4"), Fixed(80)),
        ),
        ("stream+1.2.3.4:80", inet(ip("1.2.3.4"), Fixed(80))),
    ] {
        assert_eq!(bind_one(word), want, "{word}");
    }
    for word in ["ipv6@1.2.3.4:80", "ipv4@::1:80"] {
        assert!(
            bind(word)
                .unwrap_err()
                .message
                .starts_with("invalid address"),
            "{word}"
        );
    }
}

#[test]
fn mptcp_is_marked_as_3_1_has_it() {
    let got = bind_one("mptcp6@:80");
    assert!(
        matches!(
            got,
            Address::Inet {
                mptcp: true,
                family: Family::V6,
                host: Host::Any6,
                ..
            }
        ),
        "{got:?}"
    );
}

#[test]
fn paths_abstract_names_and_descriptors_need_no_port() {
    assert_eq!(bind_one("/tmp/x"), unix("/tmp/x"));
    assert_eq!(bind_one("unix@/tmp/x"), unix("/tmp/x"));
    assert_eq!(bind_one("unix@x"), unix("x"));
    assert_eq!(bind_one("uxst@/x"), unix("/x"));
    assert_eq!(bind_one("stream+unix@/tmp/x"), unix("/tmp/x"));
    assert_eq!(bind_one("abns@foo"), Address::Abns("foo".into()));
    assert_eq!(bind_one("stream+abns@x"), Address::Abns("x".into()));
    assert_eq!(bind_one("abnsz@foo"), Address::Abnsz("foo".into()));
    assert_eq!(bind_one("fd@3"), Address::Fd(3));
    assert_eq!(bind_one("sockpair@3"), Address::Sockpair(3));
}

#[test]
fn a_comma_separates_the_addresses_of_one_bind() {
    let ports: Vec<Port> = bind(":3389,:1494,:5900")
        .unwrap()
        .iter()
        .map(Address::port)
        .collect();
    assert_eq!(
        ports,
        [Port::Fixed(3389), Port::Fixed(1494), Port::Fixed(5900)]
    );
    assert_eq!(bind("/tmp/x,:80").unwrap().len(), 2);
    assert_eq!(
        bind(":80,").unwrap().len(),
        1,
        "2.6 takes a comma at the end"
    );
    let e = bind(",:80").unwrap_err();
    assert_eq!(
        e.message,
        "'' resolves to an empty address (environment variable missing?)"
    );
}

#[test]
fn a_mistake_in_a_list_points_at_its_own_place() {
    let e = bind(":80,1.2.3.4:abc").unwrap_err();
    assert_eq!(
        (e.message.as_str(), e.at, e.len),
        (
            "invalid character 'a' in port number 'abc' in '1.2.3.4:abc'",
            12,
            1
        )
    );
}

#[test]
fn what_a_bind_refuses_it_refuses_in_haproxys_words() {
    for (word, want) in [
        ("1.2.3.4", "missing port specification in '1.2.3.4'"),
        ("1.2.3.4:", "missing port specification in '1.2.3.4:'"),
        ("[::1]", "missing port specification in '[::1]'"),
        ("*", "missing port specification in '*'"),
        (":", "missing port specification in ':'"),
        ("::", "missing port specification in '::'"),
        ("1.2.3.4:0", "invalid port '0'"),
        ("1.2.3.4:65536", "invalid port '65536'"),
        (
            "1.2.3.4:-1",
            "port offset not permitted here in '1.2.3.4:-1'",
        ),
        (
            "1.2.3.4:+1",
            "port offset not permitted here in '1.2.3.4:+1'",
        ),
        ("1.2.3.4:90-80", "invalid port range '90-80'"),
        ("1.2.3.4:80-", "invalid port ''"),
        ("1.2.3.4:80-70000", "invalid port '70000'"),
        (
            "1.2.3.4:abc",
            "invalid character 'a' in port number 'abc' in '1.2.3.4:abc'",
        ),
        (
            "256.1.1.1:80",
            "invalid address: '256.1.1.1' in '256.1.1.1:80'",
        ),
        (
            "1.2.3.4:80:90",
            "invalid address: '1.2.3.4:80' in '1.2.3.4:80:90'",
        ),
        ("::1]:80", "invalid address: '::1]' in '::1]:80'"),
        ("[]:80", "invalid address: '[]' in '[]:80'"),
        ("a b:80", "invalid address: 'a b' in 'a b:80'"),
        ("-foo:80", "invalid address: '-foo' in '-foo:80'"),
        (
            "fe80::1%eth0:80",
            "invalid address: 'fe80::1%eth0' in 'fe80::1%eth0:80'",
        ),
        (
            "foo@1.2.3.4:80",
            "invalid address: 'foo@1.2.3.4' in 'foo@1.2.3.4:80'",
        ),
        (
            "stream+stream+:80",
            "invalid address: 'stream+' in 'stream+stream+:80'",
        ),
        (
            "udp@1.2.3.4:80",
            "dgram-type address not acceptable in 'udp@1.2.3.4:80'",
        ),
        (
            "stream+udp@1.2.3.4:80",
            "dgram-type address not acceptable in 'stream+udp@1.2.3.4:80'",
        ),
        (
            "dgram+/tmp/x",
            "dgram-type address not acceptable in 'dgram+/tmp/x'",
        ),
        (
            "fd@x",
            "file descriptor 'x' is not a valid integer in 'fd@x'",
        ),
        ("fd@", "file descriptor '' is not a valid integer in 'fd@'"),
        (
            "fd@-1",
            "file descriptor '-1' is not a valid integer in 'fd@-1'",
        ),
        (
            "fd@3x",
            "file descriptor '3x' is not a valid integer in 'fd@3x'",
        ),
        // Ours alone: 2.6 was built without QUIC, and takes an empty path.
        ("quic4@:443", "QUIC is not supported yet in 'quic4@:443'"),
        ("unix@", "invalid socket path in 'unix@'"),
        ("ring@x", "a log target is not acceptable here in 'ring@x'"),
    ] {
        assert_eq!(bind(word).unwrap_err().message, want, "{word}");
    }
}

#[test]
fn junk_after_a_port_is_an_error_where_haproxy_reads_on_in_silence() {
    // 2.6 takes 80x for 80 and 80-81-82 for 80-81.
    let e = bind("1.2.3.4:80x").unwrap_err();
    assert_eq!(
        (e.message.as_str(), e.at),
        (
            "invalid character 'x' in port number '80x' in '1.2.3.4:80x'",
            10
        )
    );
    let e = bind(":80-81-82").unwrap_err();
    assert_eq!(
        (e.message.as_str(), e.at),
        (
            "invalid character '-' in port number '81-82' in ':80-81-82'",
            6
        )
    );
}

#[test]
fn a_bare_ipv6_bind_is_shown_how_to_write_its_port() {
    let e = bind("fe80::ffff:1:2:f0f0").map(|_| ()).unwrap_err();
    assert_eq!(
        e.message,
        "invalid character 'f' in port number 'f0f0' in 'fe80::ffff:1:2:f0f0'"
    );
    let e = bind("::1").unwrap_err();
    assert_eq!(e.help.as_deref(), Some("write '[::1]:<port>'"));
}

#[test]
fn a_socket_path_is_bounded_by_the_kernel() {
    let long = format!("/{}", "a".repeat(UNIX_PATH_MAX));
    assert!(
        bind(&long)
            .unwrap_err()
            .message
            .contains("too long (max 107)")
    );
    assert!(bind(&long[..UNIX_PATH_MAX]).is_ok());
}

#[test]
fn a_server_may_leave_out_its_port_or_write_an_offset() {
    use Port::*;
    for (word, want) in [
        ("1.2.3.4", inet(ip("1.2.3.4"), None)),
        ("1.2.3.4:", inet(ip("1.2.3.4"), None)),
        ("1.2.3.4:0", inet(ip("1.2.3.4"), Fixed(0))),
        ("1.2.3.4:+1", inet(ip("1.2.3.4"), Offset(1))),
        ("1.2.3.4:-90", inet(ip("1.2.3.4"), Offset(-90))),
        ("[::1]", inet(ip("::1"), None)),
        ("::1:80", inet(ip("::1"), Fixed(80))),
        ("*", inet(Host::Any4, None)),
        (":80", inet(Host::Any4, Fixed(80))),
        (":", inet(Host::Any4, None)),
        ("ipv6@", of(Family::V6, Host::Any6, None)),
        ("web1.kevin.com:80", inet(name("web1.kevin.com"), Fixed(80))),
    ] {
        assert_eq!(server(word), Ok(want), "{word}");
    }
}

#[test]
fn a_bare_ipv6_server_is_an_address_without_a_port() {
    // 2.6 takes the last group for a port and cannot resolve the rest.
    assert_eq!(server("::1"), Ok(inet(ip("::1"), Port::None)));
    assert_eq!(
        server("2001:db8::5"),
        Ok(inet(ip("2001:db8::5"), Port::None))
    );
    assert_eq!(server("::"), Ok(inet(Host::Any6, Port::None)));
}

#[test]
fn a_server_takes_no_range_descriptor_datagram_or_list() {
    for (word, want) in [
        (
            "1.2.3.4:80-90",
            "port range not permitted here in '1.2.3.4:80-90'",
        ),
        (
            "1.2.3.4:80-",
            "port range not permitted here in '1.2.3.4:80-'",
        ),
        ("1.2.3.4:65536", "invalid port '65536'"),
        ("fd@3", "a file descriptor is not acceptable here in 'fd@3'"),
        (
            "fd@x",
            "file descriptor 'x' is not a valid integer in 'fd@x'",
        ),
        (
            "udp4@1.2.3.4:80",
            "dgram-type address not acceptable in 'udp4@1.2.3.4:80'",
        ),
        // 2.6 says "could not resolve address" of these, later.
        (
            "1.2.3.4:80,1.2.3.5:81",
            "invalid address: '1.2.3.4:80,1.2.3.5' in '1.2.3.4:80,1.2.3.5:81'",
        ),
        (
            "256.1.1.1:80",
            "invalid address: '256.1.1.1' in '256.1.1.1:80'",
        ),
    ] {
        assert_eq!(server(word).unwrap_err().message, want, "{word}");
    }
    assert_eq!(server("abns@foo"), Ok(Address::Abns("foo".into())));
    assert_eq!(server("/tmp/x,:80"), Ok(unix("/tmp/x,:80")));
}

#[test]
fn a_source_is_an_ip_with_or_without_port() {
    assert_eq!(source("1.2.3.4"), Ok(inet(ip("1.2.3.4"), Port::None)));
    assert_eq!(source("0.0.0.0"), Ok(inet(Host::Any4, Port::None)));
    assert_eq!(source(":8000"), Ok(inet(Host::Any4, Port::Fixed(8000))));
    for (word, want) in [
        (
            "1.2.3.4:80-90",
            "port range not permitted here in '1.2.3.4:80-90'",
        ),
        (
            "1.2.3.4:+1",
            "port offset not permitted here in '1.2.3.4:+1'",
        ),
        ("fd@3", "a file descriptor is not acceptable here in 'fd@3'"),
        // 2.6 takes a path, for no purpose.
        (
            "/tmp/x",
            "a unix socket address is not acceptable here in '/tmp/x'",
        ),
    ] {
        assert_eq!(source(word).unwrap_err().message, want, "{word}");
    }
}

#[test]
fn a_log_target_is_a_datagram_unless_its_prefix_says_stream() {
    let transport = |word: &str| match log(word).unwrap() {
        Address::Inet { transport, .. } | Address::Unix { transport, .. } => transport,
        other => panic!("{other:?}"),
    };
    for word in [
        "1.2.3.4",
        "/dev/log",
        "udp@1.2.3.4:514",
        "dgram+1.2.3.4:514",
        "uxdg@/x",
    ] {
        assert_eq!(transport(word), Transport::Datagram, "{word}");
    }
    for word in [
        "tcp@1.2.3.4:514",
        "stream+unix@/x",
        "stream+1.2.3.4:514",
        "uxst@/x",
    ] {
        assert_eq!(transport(word), Transport::Stream, "{word}");
    }
}

#[test]
fn a_log_may_go_to_descriptors_rings_and_backends() {
    assert_eq!(log("stdout"), Ok(Address::Fd(1)));
    assert_eq!(log("stderr"), Ok(Address::Fd(2)));
    assert_eq!(log("fd@7"), Ok(Address::Fd(7)));
    assert_eq!(log("ring@r"), Ok(Address::Ring("r".into())));
    assert_eq!(log("backend@b"), Ok(Address::Backend("b".into())));
    assert!(log("ring@").is_err());
    assert_eq!(
        log("1.2.3.4:80-90").unwrap_err().message,
        "port range not permitted here in '1.2.3.4:80-90'"
    );
}

#[test]
fn networks_take_a_length_or_a_mask() {
    for (word, want) in [
        ("1.2.3.4", "1.2.3.4/32"),
        ("1.2.3.4/24", "1.2.3.4/24"),
        ("1.2.3.4/255.255.255.0", "1.2.3.4/24"),
        ("::1/64", "::1/64"),
        ("::/0", "::/0"),
        ("::1/ffff::", "::1/16"),
        // As 2.6 through `get acl`: the last number fills the rest.
        ("10/8", "0.0.0.10/8"),
        ("10.1/16", "10.0.0.1/16"),
    ] {
        assert_eq!(
            network(word).unwrap(),
            want.parse::<IpNet>().unwrap(),
            "{word}"
        );
    }
}

#[test]
fn a_bad_length_or_mask_is_pointed_at() {
    for word in [
        "1.2.3.4/33",
        "1.2.3.4/",
        "1.2.3.4/24x",
        "1.2.3.4/255.0.255.0",
        "::1/129",
        "1.2.3.4/999999",
    ] {
        let e = network(word).unwrap_err();
        assert_eq!(e.at, word.find('/').unwrap() + 1, "{word}");
        assert_eq!(
            e.message,
            format!("'{word}' is not a valid IPv4 or IPv6 address")
        );
    }
    for word in ["*", "foo/8", "", "localhost"] {
        assert_eq!(network(word).unwrap_err().at, 0, "{word}");
    }
}

#[test]
fn an_address_prints_as_it_can_be_written() {
    for word in [
        "0.0.0.0:80",
        "[::]:80",
        "[::1]:80-90",
        "ipv4@localhost:80",
        "mptcp@1.2.3.4:80",
        "/tmp/x",
        "unix@x",
        "abns@a",
        "abnsz@a",
        "fd@3",
        "sockpair@4",
    ] {
        assert_eq!(bind_one(word).to_string(), word);
    }
    assert_eq!(server("1.2.3.4:-5").unwrap().to_string(), "1.2.3.4:-5");
}

proptest! {
    #[test]
    fn no_word_makes_a_parser_panic_and_blame_stays_inside(word in "\\PC{0,30}") {
        let all = [
            bind(&word).err(),
            server(&word).err(),
            source(&word).err(),
            log(&word).err(),
            network(&word).err(),
        ];
        for e in all.into_iter().flatten() {
            prop_assert!(e.at + e.len <= word.len(), "{e:?} of {word:?}");
        }
    }

    #[test]
    fn words_of_address_characters_never_panic(word in "[0-9a-fx:.,@+*/\\[\\]-]{0,24}") {
        let _ = (bind(&word), server(&word), network(&word));
    }

    #[test]
    fn what_is_printed_reads_back(
        host in prop_oneof![
            Just(Host::Any4),
            Just(Host::Any6),
            any::<[u8; 4]>().prop_map(|b| b.into()).prop_map(|ip: Ipv4Addr| match ip {
                Ipv4Addr::UNSPECIFIED => Host::Any4,
                ip => Host::Ip(ip.into()),
            }),
            any::<[u8; 16]>().prop_map(|b| Host::Ip(Ipv6Addr::from(b).into())),
        ],
        port in prop_oneof![
            Just(Port::None),
            any::<u16>().prop_map(Port::Fixed),
            (-65535i32..=65535).prop_map(Port::Offset),
        ],
    ) {
        let address = inet(host, port);
        prop_assert_eq!(server(&address.to_string()), Ok(address));
    }
}
