//! Verdicts of `haproxy -cc` 2.6.12 unless noted.

use super::*;
use proptest::prelude::*;

fn predicates() -> Predicates {
    Predicates {
        version: "2.6.12".into(),
        features: vec!["THREAD"],
        enabled: vec!["SPLICE"],
    }
}

fn cc(text: &str) -> Result<bool, String> {
    let env = Env::from_pairs([("A", "va"), ("E", ""), ("L", "x y  z")]);
    evaluate(text, &env, &predicates()).map_err(|e| e.message)
}

fn at(text: &str) -> usize {
    evaluate(text, &Env::default(), &predicates())
        .unwrap_err()
        .at
}

#[test]
fn integers_and_operators_mean_what_they_mean_in_c() {
    for (text, want) in [
        ("", false),
        ("  ", false),
        ("0", false),
        ("00", false),
        ("1", true),
        ("-1", true),
        ("+1", true),
        ("0x1", true),
        ("99999999999999999999", true),
        (" 1", true),
        ("1 ", true),
        ("!1", false),
        ("!!1", true),
        ("!  (0)", true),
        ("1&&0||1", true),
        ("1 || 0 && 0", true),
        ("((1))", true),
        ("(0)||(1)", true),
        ("!(0 || 1) && 1", false),
        ("0 && 1 || 1 && 1", true),
    ] {
        assert_eq!(cc(text), Ok(want), "{text}");
    }
}

#[test]
fn predicates_ask_the_environment_the_version_and_the_features() {
    for (text, want) in [
        ("defined(A)", true),
        ("defined(E)", true),
        ("defined(NOPE)", false),
        ("defined()", false),
        ("defined", false),
        ("feature(THREAD)", true),
        ("feature(NOPE)", false),
        ("feature( THREAD)", false),
        ("streq(a,a)", true),
        ("streq(,)", true),
        ("streq(a b,a b)", true),
        ("streq(a, a)", false),
        ("strneq(a,b)", true),
        ("streq(\"$A\",va)", true),
        ("streq(\"${L}\",\"x y  z\")", true),
        ("streq(\"${NO-d}\",d)", true),
        ("version_atleast(2.6)", true),
        ("version_atleast(2.6.12)", true),
        ("version_atleast(2.6.13)", false),
        ("version_atleast(2.6-dev1)", true),
        ("version_atleast()", true),
        ("version_atleast", true),
        ("version_atleast(foo)", true),
        ("version_before(2.7-dev1)", true),
        ("version_before(2.6)", false),
        // 2.8 and later.
        ("strstr(haystack,st)", true),
        ("strstr(a,b)", false),
        ("enabled(SPLICE)", true),
        ("enabled(KQUEUE)", false),
        ("openssl_version_atleast(1.1)", false),
    ] {
        assert_eq!(cc(text), Ok(want), "{text}");
    }
}

#[test]
fn arguments_keep_commas_and_parentheses_within_their_own_quotes() {
    assert_eq!(cc(r#"streq(\"a)b\",\"a)b\")"#), Ok(true));
    assert_eq!(cc(r#"streq('"a,b"','"a,b"')"#), Ok(true));
    // The line's quotes are gone before arguments are cut.
    assert_eq!(
        cc(r#"streq("a,b",x)"#).unwrap_err(),
        "expected ')' before ',x)' in argument 2 of predicate 'streq' used in conditional expression"
    );
}

#[test]
fn mistakes_are_told_in_haproxys_words() {
    for (text, want) in [
        ("foo", "unparsable conditional expression 'foo'"),
        ("foo bar", "unparsable conditional expression 'foo bar'"),
        (")", "unparsable conditional expression ')'"),
        ("()", "unparsable conditional expression ')'"),
        ("!", "unparsable conditional expression '!'"),
        ("&& 1", "unparsable conditional expression '&& 1'"),
        ("1 &&", "unparsable conditional expression '&&'"),
        ("0 && foo", "unparsable conditional expression 'foo'"),
        ("1 || foo(", "unparsable conditional expression 'foo('"),
        ("a(b", "unparsable conditional expression 'a(b'"),
        ("(1", "expected ')' after conditional expression '(1'"),
        (
            "1 2",
            "unexpected character '2' at the end of conditional expression '1 2'",
        ),
        (
            "1)",
            "unexpected character ')' at the end of conditional expression '1)'",
        ),
        (
            "1 & 1",
            "unexpected character '&' at the end of conditional expression '1 & 1'",
        ),
        (
            "12a",
            "unexpected character 'a' at the end of conditional expression '12a'",
        ),
        (
            "defined (A)",
            "unexpected character '(' at the end of conditional expression 'defined (A)'",
        ),
        (
            "defined(X",
            "expected ')' in argument 1 of predicate 'defined' used in conditional expression",
        ),
        (
            "feature(a,b)",
            "expected ')' before ',b)' in argument 1 of predicate 'feature' used in conditional expression",
        ),
    ] {
        assert_eq!(cc(text), Err(want.to_owned()), "{text}");
    }
    // haproxy counts this argument from 0.
    for text in ["streq", "streq()", "streq(a", "streq(a)", "1 || streq(a"] {
        assert_eq!(
            cc(text).unwrap_err(),
            "missing arguments (got 1/2), type 'string' expected in argument 2 of predicate 'streq' \
             used in conditional expression",
            "{text}"
        );
    }
    assert!(
        cc("enabled(SPLISE)")
            .unwrap_err()
            .contains("unknown option 'SPLISE'")
    );
}

#[test]
fn mistakes_are_told_with_their_place_in_the_text_as_written() {
    assert_eq!(at("1 && "), 2);
    assert_eq!(at("1 2"), 2);
    assert_eq!(at("streq(a)"), 7);
    assert_eq!(at("streq(a,b,c)"), 9);
    assert_eq!(
        at("\"1\" 2"),
        4,
        "quotes count though they are gone when the condition is read"
    );
    assert_eq!(at("\"1"), 0);
    assert_eq!(at("defined(X"), 9);
}

#[test]
fn nesting_is_bounded() {
    let deep = |n: usize| format!("{}1{}", "(".repeat(n), ")".repeat(n));
    assert_eq!(cc(&deep(DEPTH_MAX - 1)), Ok(true));
    assert!(cc(&deep(100_000)).unwrap_err().contains("nested deeper"));
    assert_eq!(cc(&format!("{}1", "!".repeat(100_000))), Ok(true));
    assert_eq!(cc(&format!("1{}", "&&1".repeat(100_000))), Ok(true));
}

#[test]
fn versions_are_ordered_as_they_were_released() {
    let sorted = [
        "2.4-dev1",
        "2.4-dev19",
        "2.4-rc1",
        "2.4",
        "2.4.1",
        "2.10-dev0",
        "3.4.0",
        "3.4.1",
    ];
    for pair in sorted.windows(2) {
        assert_eq!(
            compare_versions(pair[0], pair[1]),
            Ordering::Less,
            "{pair:?}"
        );
    }
    assert_eq!(compare_versions("3.4", "3.4.0"), Ordering::Equal);
    assert_eq!(
        compare_versions("99999999999999999999999", "1"),
        Ordering::Greater
    );
}

proptest! {
    #[test]
    fn no_condition_panics_and_blame_stays_inside(text in "[ 01a-c(),!&|\"'\\\\$x]{0,40}") {
        if let Err(e) = evaluate(&text, &Env::default(), &predicates()) {
            prop_assert!(e.at <= text.len());
        }
    }
}
