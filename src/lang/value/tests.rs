//! The verdicts noted "2.6" were seen with `haproxy -c` 2.6.12.

use super::ValueErrorKind::*;
use super::*;
use proptest::prelude::*;

fn ms(word: &str) -> Result<u32, ValueError> {
    time_ms(word.as_bytes(), Unit::Ms)
}

fn kind_at<T: std::fmt::Debug>(result: Result<T, ValueError>) -> (ValueErrorKind, usize) {
    let e = result.unwrap_err();
    (e.kind, e.at)
}

#[test]
fn every_unit_of_time_is_read() {
    for (word, want) in [
        ("0", 0),
        ("10", 10),
        ("2000ms", 2_000),
        ("5s", 5_000),
        ("2m", 120_000),
        ("60m", 3_600_000),
        ("1h", 3_600_000),
        ("24h", 86_400_000),
        ("1d", 86_400_000),
        ("1500us", 2),
        ("1us", 1),
        ("0us", 0),
    ] {
        assert_eq!(ms(word), Ok(want), "{word}");
    }
}

#[test]
fn a_bare_number_counts_in_the_unit_of_the_keyword() {
    assert_eq!(time_s(b"5", Unit::S), Ok(5));
    assert_eq!(time_ms(b"5", Unit::S), Ok(5_000));
    assert_eq!(time_s(b"1500ms", Unit::S), Ok(2));
    assert_eq!(time_us(b"5", Unit::Us), Ok(5));
}

#[test]
fn a_time_of_two_to_the_31_milliseconds_or_more_overflows() {
    // 2.6: 24d and 2147483647 pass; 25d, 2147483648, 2147484s and twenty nines are "timer overflow".
    assert_eq!(ms("2147483647"), Ok(TIME_MAX_MS));
    assert_eq!(ms("24d"), Ok(2_073_600_000));
    for word in [
        "25d",
        "2147483648",
        "2147484s",
        "99999999999999999999",
        "99999999999999999999d",
    ] {
        assert_eq!(kind_at(ms(word)), (TimeOverflow, 0), "{word}");
    }
    assert_eq!(
        ms("25d").unwrap_err().message("25d", "timeout connect"),
        "timer overflow in argument '25d' to 'timeout connect' (maximum value is 2147483647 ms or ~24.8 days)"
    );
}

#[test]
fn what_is_no_digit_or_unit_is_unexpected_at_its_byte() {
    // 2.6: all refused with "unexpected character '<c>' in 'timeout connect'".
    for (word, c, at) in [
        ("1x", 'x', 1),
        ("10.5s", '.', 2),
        ("-1", '-', 0),
        ("s", 's', 0),
        ("1S", 'S', 1),
        ("+5", '+', 0),
        ("0x10", 'x', 1),
        (" ", ' ', 0),
        ("1é", 'é', 1),
        ("1u", 'u', 1),
    ] {
        assert_eq!(kind_at(ms(word)), (Unexpected(c), at), "{word}");
    }
    assert_eq!(
        ms("1x").unwrap_err().message("1x", "timeout connect"),
        "unexpected character 'x' in 'timeout connect'"
    );
}

#[test]
fn junk_after_the_unit_is_an_error_where_haproxy_announces_one() {
    // 2.6 warns: "This will be reported as an error in next versions."
    assert_eq!(kind_at(ms("1sx")), (AfterUnit('x'), 2));
    assert_eq!(kind_at(ms("1ms1")), (AfterUnit('1'), 3));
    assert_eq!(kind_at(ms("1ss")), (AfterUnit('s'), 2));
}

#[test]
fn nothing_is_no_time() {
    assert_eq!(kind_at(ms("")), (Empty, 0));
}

#[test]
fn unitless_timeouts_below_100_are_suspicious_except_0() {
    // 3.4 warns of 1 to 99, not of 100.
    for (word, want) in [
        ("0", false),
        ("1", true),
        ("99", true),
        ("100", false),
        ("50ms", false),
        ("x", false),
    ] {
        assert_eq!(is_suspiciously_small(word.as_bytes()), want, "{word}");
    }
}

#[test]
fn sizes_take_k_m_g_in_either_case() {
    for (word, want) in [
        ("16384", 16_384),
        ("16k", 16_384),
        ("16K", 16_384),
        ("1m", 1 << 20),
        ("1G", 1 << 30),
        ("0", 0),
    ] {
        assert_eq!(size(word.as_bytes()), Ok(want), "{word}");
    }
}

#[test]
fn junk_and_overflow_in_sizes_are_errors() {
    // 3.4 refuses 16x; 2.6 took it for 16.
    assert_eq!(kind_at(size(b"16x")), (Unexpected('x'), 2));
    assert_eq!(kind_at(size(b"16kb")), (Unexpected('b'), 3));
    assert_eq!(kind_at(size(b"1.5m")), (Unexpected('.'), 1));
    assert_eq!(kind_at(size(b"-1")), (Unexpected('-'), 0));
    assert_eq!(kind_at(size(b"18446744073709551616")), (SizeOverflow, 0));
    assert_eq!(kind_at(size(b"17179869184g")), (SizeOverflow, 0));
}

#[test]
fn whole_numbers_keep_to_their_range_and_take_no_unit() {
    assert_eq!(uint(b"256", 0..=256), Ok(256));
    assert_eq!(uint(b"010", 0..=256), Ok(10));
    let out = OutOfRange { min: 0, max: 256 };
    for word in ["257", "-1", "99999999999", "99999999999999999999999"] {
        assert_eq!(
            kind_at(uint(word.as_bytes(), 0..=256)),
            (out.clone(), 0),
            "{word}"
        );
    }
    assert_eq!(kind_at(uint(b"1k", 0..=256)), (Unexpected('k'), 1));
    assert_eq!(kind_at(uint(b"x", 0..=256)), (Unexpected('x'), 0));
    assert_eq!(kind_at(uint(b"", 0..=256)), (Empty, 0));
}

#[test]
fn signed_numbers_take_either_sign() {
    assert_eq!(int(b"-20", -20..=19), Ok(-20));
    assert_eq!(int(b"+19", -20..=19), Ok(19));
    assert_eq!(int(b"-9223372036854775808", i64::MIN..=0), Ok(i64::MIN));
    assert_eq!(
        kind_at(int(b"-21", -20..=19)),
        (OutOfRange { min: -20, max: 19 }, 0)
    );
    assert_eq!(kind_at(int(b"-", -20..=19)), (Empty, 1));
    assert_eq!(kind_at(int(b"-1x", -20..=19)), (Unexpected('x'), 2));
    assert_eq!(kind_at(int(b"--1", -20..=19)), (Unexpected('-'), 1));
}

#[test]
fn percentages_may_show_their_sign() {
    assert_eq!(percent(b"50", 50), Ok(50));
    assert_eq!(percent(b"50%", 50), Ok(50));
    assert_eq!(
        kind_at(percent(b"51%", 50)),
        (OutOfRange { min: 0, max: 50 }, 0)
    );
    assert_eq!(kind_at(percent(b"%", 50)), (Empty, 0));
}

#[test]
fn booleans_are_on_and_off_in_lower_case_only() {
    assert_eq!((on_off(b"on"), on_off(b"off")), (Ok(true), Ok(false)));
    // 2.6 refuses `yes` and `ON`.
    assert_eq!(kind_at(on_off(b"ON")), (NotOnOff, 0));
    assert_eq!(kind_at(on_off(b"yes")), (NotOnOff, 0));
}

#[test]
fn modes_are_octal() {
    assert_eq!(mode(b"660"), Ok(0o660));
    assert_eq!(mode(b"0600"), Ok(0o600));
    assert_eq!(kind_at(mode(b"888")), (NotMode, 0));
    assert_eq!(kind_at(mode(b"0x1")), (NotMode, 1));
    assert_eq!(kind_at(mode(b"")), (NotMode, 0));
    // 2.6 takes 10000; no permission bit is that high.
    assert_eq!(kind_at(mode(b"10000")), (NotMode, 0));
}

proptest! {
    #[test]
    fn no_word_makes_a_parser_panic(word in prop::collection::vec(any::<u8>(), 0..40)) {
        let all = [
            time_ms(&word, Unit::S).err(),
            size(&word).err(),
            uint(&word, 0..=9).err(),
            int(&word, -9..=9).err(),
            percent(&word, 100).err(),
            mode(&word).err(),
        ];
        for e in all.into_iter().flatten() {
            prop_assert!(e.at <= word.len());
        }
    }

    #[test]
    fn a_written_time_is_read_back(n in 0u32..=TIME_MAX_MS) {
        prop_assert_eq!(time_ms(format!("{n}ms").as_bytes(), Unit::S), Ok(n));
    }
}
