//! Casts, each compared with what haproxy 2.6 makes of the same sample.

use super::*;

fn ip(text: &str) -> Value<'static> {
    Value::Ip(text.parse().unwrap())
}

fn cast<'a>(from: Value<'a>, to: Kind, arena: &'a Arena) -> Option<Value<'a>> {
    from.cast(to, arena)
}

#[test]
fn numbers_are_read_as_far_as_they_go() {
    let arena = Arena::new();
    for (text, n) in [
        ("12abc", 12),
        ("abc", 0),
        ("-12", -12),
        ("+12", 12),
        (" 12", 0),
        ("12 ", 12),
        ("0x12", 0),
        ("9223372036854775808", i64::MAX),
        ("-9223372036854775808", i64::MIN),
        ("-9223372036854775809", i64::MIN),
        ("92233720368547758070", i64::MAX),
        ("-", 0),
        ("--5", 0),
        ("-1x", -1),
    ] {
        let got = cast(Value::Str(text.as_bytes()), Kind::Int, &arena);
        assert_eq!(got, Some(Value::Int(n)), "{text}");
    }
    assert_eq!(cast(Value::Str(b""), Kind::Int, &arena), None);
    assert_eq!(cast(Value::Str(b""), Kind::Bool, &arena), None);
    assert_eq!(
        cast(ip("1.2.3.4"), Kind::Int, &arena),
        Some(Value::Int(16_909_060))
    );
    assert_eq!(cast(ip("::1"), Kind::Int, &arena), None);
    assert_eq!(
        cast(Value::Bool(true), Kind::Int, &arena),
        Some(Value::Int(1))
    );
    assert_eq!(
        cast(Value::Str(b"true"), Kind::Bool, &arena),
        Some(Value::Bool(false))
    );
}

#[test]
fn addresses_are_read_with_what_follows_an_ipv4_one() {
    let arena = Arena::new();
    for (text, address) in [
        ("1.2.3.4", Some("1.2.3.4")),
        ("1.2.3.4x", Some("1.2.3.4")),
        ("1.2.3.4:80", Some("1.2.3.4")),
        ("0001.2.3.4", Some("1.2.3.4")),
        (" 1.2.3.4", None),
        ("1.2.3.256", None),
        ("1.2.3", None),
        ("1.2.3.", None),
        ("1..3.4", None),
        ("1.2.3.4.5", None),
        ("2001:db8::1", Some("2001:db8::1")),
        ("::1.2.3.4", Some("::1.2.3.4")),
        ("1:2:3:4:5:6:7::", Some("1:2:3:4:5:6:7:0")),
        ("::1 ", None),
        ("::1%eth0", None),
        ("::00001", None),
        ("[::1]", None),
        ("", None),
        ("localhost", None),
    ] {
        let got = cast(Value::Str(text.as_bytes()), Kind::Addr, &arena);
        assert_eq!(got, address.map(ip), "{text}");
    }
    assert_eq!(
        cast(Value::Int(4_294_967_297), Kind::Addr, &arena),
        Some(ip("0.0.0.1"))
    );
    assert_eq!(
        cast(Value::Int(-1), Kind::Addr, &arena),
        Some(ip("255.255.255.255"))
    );
}

#[test]
fn texts_are_those_of_haproxy() {
    let arena = Arena::new();
    for (value, text) in [
        (Value::Bool(true), "1"),
        (Value::Bool(false), "0"),
        (Value::Int(i64::MIN), "-9223372036854775808"),
        (Value::Int(0), "0"),
        (ip("1.2.3.4"), "1.2.3.4"),
        (ip("::ffff:1.2.3.4"), "::ffff:1.2.3.4"),
        (ip("::1.2.3.4"), "::1.2.3.4"),
        (ip("::0.1.2.3"), "::0.1.2.3"),
        (ip("::1:0:0"), "::1:0:0"),
        (ip("::1"), "::1"),
        (ip("::"), "::"),
        (ip("64:ff9b::102:304"), "64:ff9b::102:304"),
        (Value::Bin(b"ab\0c"), "ab"),
        (Value::Bin(b"a\xff"), "a\u{ff}"),
        (Value::Method(b"GET"), "GET"),
    ] {
        let Some(Value::Str(got)) = cast(value, Kind::Str, &arena) else {
            panic!("{value:?}");
        };
        let got: String = got.iter().map(|&b| char::from(b)).collect();
        assert_eq!(got, text, "{value:?}");
    }
}

#[test]
fn numbers_and_addresses_are_binary_in_network_order() {
    let arena = Arena::new();
    let bin = |v| cast(v, Kind::Bin, &arena);
    assert_eq!(
        bin(Value::Int(300)),
        Some(Value::Bin(&[0, 0, 0, 0, 0, 0, 1, 44]))
    );
    assert_eq!(
        bin(Value::Bool(true)),
        Some(Value::Bin(&[0, 0, 0, 0, 0, 0, 0, 1]))
    );
    assert_eq!(bin(ip("1.2.3.4")), Some(Value::Bin(&[1, 2, 3, 4])));
    assert_eq!(bin(Value::Str(b"a\0")), Some(Value::Bin(b"a\0")));
}

#[test]
fn what_can_never_be_cast_is_known_beforehand() {
    use Kind::{Addr, Any, Bin, Bool, Int, Method, Str};
    let arena = Arena::new();
    let samples = [
        Value::Bool(true),
        Value::Int(1),
        ip("1.2.3.4"),
        Value::Str(b"1.2.3.4"),
        Value::Bin(b"1"),
        Value::Method(b"GET"),
    ];
    for value in samples {
        for to in [Any, Bool, Int, Addr, Str, Bin, Method] {
            let works = cast(value, to, &arena).is_some();
            assert!(!works || value.kind().casts_to(to), "{value:?} {to:?}");
        }
    }
    // As haproxy refuses them.
    for (from, to) in [
        (Addr, Bool),
        (Bin, Int),
        (Bin, Bool),
        (Bin, Addr),
        (Method, Int),
        (Bool, Addr),
    ] {
        assert!(!from.casts_to(to), "{from:?} {to:?}");
    }
}
