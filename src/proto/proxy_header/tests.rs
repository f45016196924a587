//! Each verdict was seen on haproxy 2.6.12 with `bind … accept-proxy` and `send-proxy` to a listener that showed what
//! it had understood, unless the test says otherwise.

use super::*;
use proptest::prelude::*;

fn addresses(source: &str, destination: &str) -> Option<Addresses> {
    Some(Addresses {
        source: source.parse().unwrap(),
        destination: destination.parse().unwrap(),
    })
}

fn done(bytes: &[u8]) -> (Header, usize) {
    match parse(bytes) {
        Ok(Parse::Done(header, used)) => (header, used),
        other => panic!("{:?}: {other:?}", String::from_utf8_lossy(bytes)),
    }
}

/// What a v1 line says, after `PROXY `.
fn line(rest: &str) -> Result<Option<Addresses>, ProxyError> {
    match parse(format!("PROXY {rest}\r\n").as_bytes())? {
        Parse::Done(header, used) => {
            assert_eq!(used, rest.len() + 8);
            Ok(header.addresses)
        }
        Parse::Partial => panic!("{rest}: a whole line is no part"),
    }
}

fn tlv(kind: u8, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_tlvs(
        &[Tlv {
            kind,
            value: value.to_vec(),
        }],
        &mut out,
    )
    .unwrap();
    out
}

const IPV4: &[u8] = &[1, 2, 3, 4, 5, 6, 7, 8, 4, 87, 0, 80];

fn binary(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let mut out = SIGNATURE.to_vec();
    out.extend([command, family]);
    out.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
    out.extend(body);
    out
}

fn with_tlvs(tlvs: &[u8]) -> Vec<u8> {
    binary(0x21, 0x11, &[IPV4, tlvs].concat())
}

#[test]
fn a_v1_line_gives_the_addresses_and_leaves_what_follows() {
    let (header, used) = done(b"PROXY TCP4 1.2.3.4 5.6.7.8 1111 80\r\nDATA");
    assert_eq!(header.addresses, addresses("1.2.3.4:1111", "5.6.7.8:80"));
    assert_eq!((header.version, used), (Version::V1, 36));
    let (header, _) = done(b"PROXY TCP6 2001:db8::1 ::ffff:5.6.7.8 1111 80\r\n");
    assert_eq!(
        header.addresses,
        addresses("[2001:db8::1]:1111", "[::ffff:5.6.7.8]:80")
    );
}

#[test]
fn unknown_stands_alone() {
    assert_eq!(line("UNKNOWN"), Ok(None));
    // The specification lets more follow, haproxy does not.
    for rest in [
        "UNKNOWN foo",
        "UNKNOWN ",
        "UNKNOWN ffff::1 ffff::2 1 2",
        "UNKNOWNX",
    ] {
        assert_eq!(line(rest), Err(ProxyError::V1Protocol), "{rest}");
    }
}

#[test]
fn other_v1_protocols_are_unhandled() {
    for rest in [
        "UDP4 1.2.3.4 5.6.7.8 1111 80",
        "tcp4 1.2.3.4 5.6.7.8 1111 80",
        "",
        " ",
    ] {
        assert_eq!(line(rest), Err(ProxyError::V1Protocol), "{rest}");
    }
}

#[test]
fn a_v1_line_ends_in_crlf_and_nothing_less() {
    for bytes in [
        "PROXY TCP4 1.2.3.4 5.6.7.8 1111 80\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 1111 80\rX",
        "PROXY TCP4 1.2.3.4 5.6.7.8 11\r11 80\r\n",
        "PROXY UNKNOWN\n",
    ] {
        assert_eq!(
            parse(bytes.as_bytes()),
            Err(ProxyError::V1LineEnd),
            "{bytes:?}"
        );
    }
}

#[test]
fn v1_fields_have_one_space_between_and_none_after() {
    for rest in [
        "TCP4  1.2.3.4 5.6.7.8 1111 80",
        "TCP4 1.2.3.4  5.6.7.8 1111 80",
        "TCP4 1.2.3.4 5.6.7.8 1111 80 ",
        "TCP4 1.2.3.4 5.6.7.8 1111 80 x",
        "TCP4 1.2.3.4 5.6.7.8 1111",
        "TCP4 ",
        "TCP4",
        // haproxy takes an empty port for 0.
        "TCP4 1.2.3.4 5.6.7.8  80",
        "TCP4 1.2.3.4 5.6.7.8 1 ",
    ] {
        assert_eq!(line(rest), Err(ProxyError::V1Fields), "{rest}");
    }
}

#[test]
fn v1_addresses_are_of_the_announced_family() {
    for rest in [
        "TCP4 ::1 5.6.7.8 1111 80",
        "TCP4 1.2.3.4 ::1 1111 80",
        "TCP6 1.2.3.4 5.6.7.8 1111 80",
        "TCP6 ::1 5.6.7.8 1111 80",
        "TCP4 a.b.c.d 5.6.7.8 1 2",
        "TCP4 1.2.3.4.5 5.6.7.8 1 2",
        "TCP4 +1.2.3.4 5.6.7.8 1 2",
        // haproxy reads these two as 1.2.3.0 and 1.2.4.200.
        "TCP4 1.2.3 5.6.7.8 1111 80",
        "TCP4 1.2.3.456 5.6.7.8 1111 80",
    ] {
        assert_eq!(line(rest), Err(ProxyError::V1Address), "{rest}");
    }
}

#[test]
fn leading_zeros_of_v1_are_decimal() {
    let want = Ok(addresses("10.2.3.4:11", "5.6.7.8:80"));
    assert_eq!(line("TCP4 010.2.3.4 5.6.7.8 0011 80"), want);
    assert_eq!(line("TCP4 10.2.3.4 5.6.7.08 11 80"), want);
}

#[test]
fn v1_ports_keep_sixteen_bits() {
    for (port, want) in [
        ("65535", 65535),
        ("65536", 0),
        ("65537", 1),
        ("99999999999", 59391),
        ("0", 0),
    ] {
        let got = line(&format!("TCP4 1.2.3.4 5.6.7.8 {port} 80"))
            .unwrap()
            .unwrap();
        assert_eq!(got.source.port(), want, "{port}");
    }
    for port in ["-1", "+1", "1x", "x", "0x1"] {
        assert_eq!(
            line(&format!("TCP4 1.2.3.4 5.6.7.8 {port} 80")),
            Err(ProxyError::V1Port),
            "{port}"
        );
    }
}

#[test]
fn a_v1_line_has_107_bytes_at_most() {
    let longest = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
    assert!(line(&format!("TCP6 {longest} {longest} 65535 65535")).is_ok());
    let zeros = |n: usize| format!("PROXY TCP4 1.2.3.4 5.6.7.8 1 {}1\r\n", "0".repeat(n));
    let fits = zeros(107 - zeros(0).len());
    assert_eq!(done(fits.as_bytes()).1, V1_MAX);
    assert_eq!(
        parse(zeros(108 - zeros(0).len()).as_bytes()),
        Err(ProxyError::V1LineEnd),
        "the CR is at the bound"
    );
    assert_eq!(parse(zeros(200).as_bytes()), Err(ProxyError::V1TooLong));
    assert_eq!(
        parse(&zeros(200).as_bytes()[..107]),
        Err(ProxyError::V1TooLong),
        "no byte more is waited for"
    );
}

#[test]
fn what_begins_as_neither_version_is_known_at_its_first_wrong_byte() {
    for bytes in [
        &b"GET / HTTP/1.0\r\n\r\n"[..],
        b"proxy TCP4",
        b"PROXY\tTCP4",
        b"PRODATA",
        b"\r\n\r\nX",
        b"\0",
    ] {
        assert_eq!(parse(bytes), Err(ProxyError::NotProxy), "{bytes:?}");
    }
    assert_eq!(parse(b""), Ok(Parse::Partial));
}

#[test]
fn a_v2_header_gives_the_addresses() {
    let (header, used) = done(&[binary(0x21, 0x11, IPV4), b"DATA".to_vec()].concat());
    assert_eq!(header.addresses, addresses("1.2.3.4:1111", "5.6.7.8:80"));
    assert_eq!((header.version, used), (Version::V2, 28));
    let body: Vec<u8> = (0..32).chain([4, 87, 0, 80]).collect();
    let (header, _) = done(&binary(0x21, 0x21, &body));
    assert_eq!(
        header.addresses,
        addresses(
            "[1:203:405:607:809:a0b:c0d:e0f]:1111",
            "[1011:1213:1415:1617:1819:1a1b:1c1d:1e1f]:80"
        )
    );
}

#[test]
fn local_is_taken_whatever_it_carries() {
    let bad_checksum = [IPV4, &tlv(CRC32C, &[1, 2, 3, 4])].concat();
    for (family, body) in [
        (0x00, &b""[..]),
        (0x11, IPV4),
        (0x55, b"abc"),
        (0x11, b"\x01\xff"),
        (0x11, &bad_checksum),
    ] {
        let (header, used) = done(&binary(0x20, family, body));
        assert_eq!(
            (header.addresses, header.tlvs.len(), used),
            (None, 0, 16 + body.len())
        );
    }
}

#[test]
fn v2_carries_tcp_only() {
    let unix = [0u8; 216];
    let ipv6 = [0u8; 36];
    for (family, body) in [
        (0x00, &b""[..]),
        (0x00, IPV4),
        (0x10, IPV4),
        (0x01, IPV4),
        (0x12, IPV4),
        (0x22, &ipv6),
        (0x31, &unix),
        (0x32, &unix),
        (0x41, IPV4),
        (0x13, IPV4),
    ] {
        assert_eq!(
            parse(&binary(0x21, family, body)),
            Err(ProxyError::V2Family),
            "{family:#x}"
        );
    }
}

#[test]
fn other_versions_and_commands_are_refused() {
    assert_eq!(parse(&binary(0x22, 0x11, IPV4)), Err(ProxyError::V2Command));
    assert_eq!(parse(&binary(0x11, 0x11, IPV4)), Err(ProxyError::NotProxy));
    assert_eq!(parse(&binary(0x31, 0x11, IPV4)), Err(ProxyError::NotProxy));
}

#[test]
fn a_v2_header_shorter_than_its_addresses_is_refused_before_they_come() {
    assert_eq!(
        parse(&binary(0x21, 0x11, &IPV4[..11])),
        Err(ProxyError::V2Addresses)
    );
    assert_eq!(
        parse(&binary(0x21, 0x21, IPV4)),
        Err(ProxyError::V2Addresses)
    );
    assert_eq!(
        parse(&binary(0x21, 0x11, b"")),
        Err(ProxyError::V2Addresses)
    );
}

#[test]
fn tlvs_end_where_the_header_ends() {
    assert_eq!(done(&with_tlvs(&tlv(0x04, b""))).0.tlvs.len(), 1);
    for tlvs in [&b"\x04"[..], b"\x04\x00", b"\x04\x00\x05x"] {
        assert_eq!(parse(&with_tlvs(tlvs)), Err(ProxyError::V2Tlv), "{tlvs:?}");
    }
}

#[test]
fn tlvs_are_kept_by_kind() {
    let tlvs = [
        tlv(0x02, b"example.com"),
        tlv(0xee, b"x"),
        tlv(0x05, b"id"),
        tlv(0x20, b"\x01"),
    ]
    .concat();
    let (header, _) = done(&with_tlvs(&tlvs));
    assert_eq!(header.authority(), Some(&b"example.com"[..]));
    assert_eq!(header.unique_id(), Some(&b"id"[..]));
    assert_eq!(header.tlv(0xee), Some(&b"x"[..]));
    assert_eq!(header.tlv(0x01), None);
}

#[test]
fn authority_and_unique_id_are_bounded() {
    assert!(parse(&with_tlvs(&tlv(AUTHORITY, &[b'x'; 255]))).is_ok());
    assert_eq!(
        parse(&with_tlvs(&tlv(AUTHORITY, &[b'x'; 256]))),
        Err(ProxyError::V2Authority)
    );
    assert!(parse(&with_tlvs(&tlv(UNIQUE_ID, &[b'x'; 128]))).is_ok());
    assert_eq!(
        parse(&with_tlvs(&tlv(UNIQUE_ID, &[b'x'; 129]))),
        Err(ProxyError::V2UniqueId)
    );
}

#[test]
fn a_checksum_has_to_be_right() {
    // The bytes haproxy 2.6 sent with `proxy-v2-options crc32c`, from 127.0.0.1:57810 to 127.0.0.1:21021.
    let sent = b"\r\n\r\n\x00\r\nQUIT\n!\x11\x00\x13\x7f\x00\x00\x01\x7f\x00\x00\x01\xe1\xd2R\x1d\x03\x00\x04\xb6J\xef\x06";
    let (header, used) = done(sent);
    assert_eq!(
        header.addresses,
        addresses("127.0.0.1:57810", "127.0.0.1:21021")
    );
    assert_eq!((header.tlvs.len(), used), (0, sent.len()));
    for at in 16..sent.len() - 7 {
        let mut wrong = sent.to_vec();
        wrong[at] ^= 1;
        assert_eq!(parse(&wrong), Err(ProxyError::V2Checksum), "byte {at}");
    }
    for len in [0, 2, 3, 5] {
        assert_eq!(
            parse(&with_tlvs(&tlv(CRC32C, &[0; 5][..len]))),
            Err(ProxyError::V2ChecksumForm)
        );
    }
    let twice = [&sent[16..], &tlv(CRC32C, &[0; 4])].concat();
    assert!(parse(&binary(0x21, 0x11, &twice)).is_err());
}

#[test]
fn crc32c_of_the_usual_vector() {
    // RFC 3720 B.4 and the check value of the catalogue of CRCs.
    assert_eq!(!crc32c(!0, b"123456789"), 0xe306_9283);
    assert_eq!(!crc32c(!0, &[0; 32]), 0x8a91_36aa);
}

#[test]
fn a_v2_header_fits_a_buffer_or_is_refused_at_once() {
    assert!(matches!(
        parse(&with_tlvs(&tlv(4, &[b'x'; 16_340]))),
        Ok(Parse::Done(..))
    ));
    let long = with_tlvs(&tlv(4, &[b'x'; 20_000]));
    assert_eq!(parse(&long[..16]), Err(ProxyError::V2TooLong));
}

#[test]
fn a_header_is_awaited_at_every_split() {
    let mut checked = Vec::new();
    let tlvs = [Tlv {
        kind: 0x05,
        value: b"id".to_vec(),
    }];
    encode_v2(
        addresses("[::1]:1", "[::2]:2"),
        &tlvs,
        Checksum::With,
        &mut checked,
    )
    .unwrap();
    for whole in [
        b"PROXY TCP4 1.2.3.4 5.6.7.8 1111 80\r\n".to_vec(),
        b"PROXY TCP6 ::1 ::2 1 2\r\n".to_vec(),
        b"PROXY UNKNOWN\r\n".to_vec(),
        binary(0x21, 0x11, IPV4),
        binary(0x20, 0x00, b""),
        binary(0x20, 0x99, b"skipped"),
        checked,
    ] {
        for end in 0..whole.len() {
            assert_eq!(
                parse(&whole[..end]),
                Ok(Parse::Partial),
                "{end} of {whole:?}"
            );
        }
        assert_eq!(done(&whole).1, whole.len());
        assert_eq!(
            done(&[&whole[..], b"PROXY "].concat()).1,
            whole.len(),
            "what follows is not looked at"
        );
    }
}

#[test]
fn encoders_write_haproxys_bytes() {
    let mut out = Vec::new();
    encode_v1(addresses("127.0.0.1:37418", "127.0.0.1:21020"), &mut out);
    encode_v1(addresses("[::1]:45186", "[::1]:21020"), &mut out);
    encode_v1(None, &mut out);
    encode_v1(
        addresses("[2001:db8::1]:46498", "127.0.0.1:21022"),
        &mut out,
    );
    assert_eq!(
        String::from_utf8_lossy(&out),
        "PROXY TCP4 127.0.0.1 127.0.0.1 37418 21020\r\n\
         PROXY TCP6 ::1 ::1 45186 21020\r\n\
         PROXY UNKNOWN\r\n\
         PROXY TCP6 2001:db8::1 ::ffff:127.0.0.1 46498 21022\r\n"
    );
    let v2 = |addresses, checksum| {
        let mut out = Vec::new();
        encode_v2(addresses, &[], checksum, &mut out).unwrap();
        out
    };
    assert_eq!(
        v2(None, Checksum::Without),
        b"\r\n\r\n\x00\r\nQUIT\n \x00\x00\x00",
        "a health check"
    );
    assert_eq!(
        v2(None, Checksum::With),
        b"\r\n\r\n\x00\r\nQUIT\n \x00\x00\x07\x03\x00\x04\xa9\xb8~\x8f",
        "a client on a unix socket"
    );
    assert_eq!(
        v2(addresses("127.0.0.1:57810", "127.0.0.1:21021"), Checksum::With),
        b"\r\n\r\n\x00\r\nQUIT\n!\x11\x00\x13\x7f\x00\x00\x01\x7f\x00\x00\x01\xe1\xd2R\x1d\x03\x00\x04\xb6J\xef\x06"
    );
    assert_eq!(
        v2(addresses("[2001:db8::1]:51592", "127.0.0.1:21023"), Checksum::With),
        b"\r\n\r\n\x00\r\nQUIT\n!!\x00+ \x01\r\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\
          \x00\x00\x00\x00\x00\xff\xff\x7f\x00\x00\x01\xc9\x88R\x1f\x03\x00\x04\x94\xf2\x85w",
        "mixed families"
    );
}

#[test]
fn too_many_tlvs_leave_the_buffer_as_it_was() {
    let mut out = b"before".to_vec();
    let half = Tlv {
        kind: 4,
        value: vec![0; 40_000],
    };
    for tlvs in [
        vec![half.clone(), half],
        vec![Tlv {
            kind: 4,
            value: vec![0; 70_000],
        }],
    ] {
        assert_eq!(
            encode_v2(None, &tlvs, Checksum::With, &mut out),
            Err(TooLong)
        );
        assert_eq!(out, b"before");
    }
}

#[test]
fn every_error_has_haproxys_log_text() {
    assert_eq!(
        ProxyError::V1Protocol.to_string(),
        "Received an unhandled protocol in the PROXY protocol header"
    );
    assert_eq!(
        ProxyError::V2Family.to_string(),
        "Received an invalid PROXY protocol header"
    );
    assert_eq!(
        ProxyError::Truncated.to_string(),
        "Truncated PROXY protocol header received"
    );
    assert_eq!(
        ProxyError::NotProxy.to_string(),
        "Received something which does not look like a PROXY protocol header"
    );
}

fn some_addresses() -> impl Strategy<Value = Addresses> {
    let pair = |ips: (IpAddr, IpAddr), ports: (u16, u16)| Addresses {
        source: SocketAddr::new(ips.0, ports.0),
        destination: SocketAddr::new(ips.1, ports.1),
    };
    let v4 = any::<([u8; 4], [u8; 4])>().prop_map(|(a, b)| (a.into(), b.into()));
    let v6 = any::<([u8; 16], [u8; 16])>().prop_map(|(a, b)| (a.into(), b.into()));
    (prop_oneof![v4, v6], any::<(u16, u16)>()).prop_map(move |(ips, ports)| pair(ips, ports))
}

proptest! {
    #[test]
    fn a_v1_line_reads_back(addresses in some_addresses()) {
        let mut out = Vec::new();
        encode_v1(Some(addresses), &mut out);
        let (header, used) = done(&out);
        prop_assert_eq!((header.addresses, used), (Some(addresses), out.len()));
    }

    #[test]
    fn a_v2_header_reads_back(
        addresses in prop::option::of(some_addresses()),
        values in prop::collection::vec((prop::sample::select(vec![1u8, 2, 4, 5, 0x20, 0xee]), prop::collection::vec(any::<u8>(), 0..128)), 0..8),
        with in any::<bool>(),
    ) {
        let tlvs: Vec<Tlv> = values.into_iter().map(|(kind, value)| Tlv { kind, value }).collect();
        let checksum = if with { Checksum::With } else { Checksum::Without };
        let mut out = Vec::new();
        encode_v2(addresses, &tlvs, checksum, &mut out).unwrap();
        let (header, used) = done(&out);
        prop_assert_eq!((header.addresses, used), (addresses, out.len()));
        prop_assert_eq!(header.tlvs, if addresses.is_some() { tlvs } else { Vec::new() });
    }

    #[test]
    fn no_bytes_make_it_panic_and_a_prefix_never_says_more(
        start in prop::sample::select(vec![&b"PROXY "[..], b"PROXY TCP4 ", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0", b"\r\n\r\n\0\r\nQUIT\n", b""]),
        rest in prop::collection::vec(any::<u8>(), 0..150),
    ) {
        let whole = [start, &rest].concat();
        let verdict = parse(&whole);
        if let Ok(Parse::Done(_, used)) = verdict {
            prop_assert!(used <= whole.len());
        }
        for end in 0..whole.len() {
            match parse(&whole[..end]) {
                // What is decided early stays decided.
                Ok(Parse::Done(header, used)) => prop_assert_eq!(&verdict, &Ok(Parse::Done(header, used))),
                Err(_) => prop_assert!(verdict.is_err()),
                Ok(Parse::Partial) => {}
            }
        }
    }
}
