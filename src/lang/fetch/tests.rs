use super::fixture::{Fixture, fault};
use crate::lang::acl::Verdict;

#[test]
fn outside_of_acls_one_of_several_values_is_given() {
    let subject = Fixture::request(
        "GET /p?a=1&a=2 HTTP/1.1\r\nX-List: one, two\r\nX-List: three\r\nCookie: c=1; c=2\r\n\r\n",
    )
    .response("HTTP/1.1 200 OK\r\nSet-Cookie: s=9; path=/\r\n\r\n");
    for (expr, value) in [
        ("req.hdr(x-list)", Some("three")),
        ("req.hdr(x-list,1)", Some("one")),
        ("req.hdr(x-list,-2)", Some("two")),
        ("req.fhdr(x-list,1)", Some("one, two")),
        ("req.hdr(none)", None),
        ("req.cook(c)", Some("2")),
        ("url_param(a)", Some("1")),
        ("res.cook(s)", Some("9")),
        ("status", Some("200")),
    ] {
        assert_eq!(subject.text(expr).as_deref(), value, "{expr}");
    }
    assert_eq!(subject.texts("req.hdr(x-list)"), ["one", "two", "three"]);
    assert_eq!(subject.texts("req.cook(c)"), ["1", "2"]);
    assert_eq!(subject.texts("url_param(a)"), ["1", "2"]);
}

#[test]
fn mistakes_are_said_as_haproxy_says_them() {
    for (expr, message) in [
        ("hdr(host", "fetch method 'hdr' : expected ')'."),
        ("hdr(host)x", "missing comma after fetch keyword 'hdr'."),
        ("sc0_conn_cur", "'sc0_conn_cur' is not supported yet."),
        (
            "int(x)",
            "fetch method 'int' : failed to parse 'x' as type 'integer' at position 1.",
        ),
        (",lower", "missing fetch method."),
        ("(a)", "missing fetch method."),
        ("hdr(host),bar", "unknown converter 'bar'."),
        (
            "hdr(host),lower(",
            "invalid arg 1 in converter 'lower' : expected ')'.",
        ),
        (
            "hdr(host),lower()x",
            "missing comma after converter 'lower'.",
        ),
        (
            "path,field(1)",
            "invalid arg 2 in converter 'field' : missing arguments (got 1/2), type 'string' expected.",
        ),
        (
            "always_true,ipmask(24)",
            "converter 'ipmask' cannot be applied.",
        ),
        ("bin(41),add(1)", "converter 'add' cannot be applied."),
        ("src,map(x)", "'map' is not supported yet."),
    ] {
        assert_eq!(fault(expr).text, message, "{expr}");
    }
}

/// Left out is what haproxy makes of numbers that are none (`hdr_val` of `+7` is -43) or do not fit 32 bits.
///
/// What haproxy 2.6 gave: requests, then each expression with its values, then each condition with its verdicts.
const ORACLE: &str = include_str!("tests/oracle.tsv");

/// What haproxy 2.6 gave in `http-response` rules: responses, expressions, conditions.
const RESPONSES: &str = include_str!("tests/responses.tsv");

/// The messages of a table.
fn messages(table: &str) -> Vec<Fixture> {
    let unescaped = |text: &str| {
        let text = text.replace("\\r", "\r").replace("\\n", "\n");
        text.replace("\\\\", "\\")
    };
    let of = |line: &str| {
        let request = "GET /0 HTTP/1.1\r\nHost: h\r\nX-Req: 1\r\nCookie: c=7\r\n\r\n";
        match line.split_once('\t')? {
            ("request", text) => Some(Fixture::request(&unescaped(text))),
            ("response", text) => Some(Fixture::request(request).response(&unescaped(text))),
            _ => None,
        }
    };
    table.lines().filter_map(of).collect()
}

/// A text as haproxy's log format shows it.
fn shown(text: &[u8]) -> String {
    let show = |&b: &u8| match b {
        0..=31 | 127 => format!("%{b:02X}"),
        b => char::from(b).to_string(),
    };
    text.iter().map(show).collect()
}

#[test]
fn expressions_give_what_haproxy_gave() {
    for table in [ORACLE, RESPONSES] {
        compare_expressions(table);
    }
}

fn compare_expressions(table: &str) {
    let requests = messages(table);
    let mut wrong = Vec::new();
    for line in table.lines() {
        let Some(row) = line.strip_prefix("expr\t") else {
            continue;
        };
        let mut row = row.split('\t');
        let expr = row.next().unwrap();
        for (at, (request, expected)) in requests.iter().zip(row).enumerate() {
            let expected = (expected != "NONE").then(|| expected.to_owned());
            let given = request.bytes_of(expr).map(|text| shown(&text));
            if given != expected {
                wrong.push(format!(
                    "{expr} of request {at}: {given:?}, haproxy {expected:?}"
                ));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn conditions_hold_where_they_did_in_haproxy() {
    for table in [ORACLE, RESPONSES] {
        compare_conditions(table);
    }
}

fn compare_conditions(table: &str) {
    let requests = messages(table);
    let mut wrong = Vec::new();
    for line in table.lines() {
        let Some(row) = line.strip_prefix("acl\t") else {
            continue;
        };
        let (text, bits) = row.split_once('\t').unwrap();
        for (at, (request, bit)) in requests.iter().zip(bits.chars()).enumerate() {
            let given = request.holds(text);
            let expected = if bit == '1' {
                Verdict::Holds
            } else {
                Verdict::Fails
            };
            if given != expected {
                wrong.push(format!(
                    "{text} of request {at}: {given:?}, haproxy {expected:?}"
                ));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// What haproxy 2.6 saw in the first bytes of connections, once no more came: the bytes, then expressions with values.
const BYTES: &str = include_str!("tests/bytes.tsv");

#[test]
fn bytes_show_what_they_showed_haproxy() {
    let mut subject = Fixture::default();
    let mut wrong = Vec::new();
    for line in BYTES.lines() {
        let (expr, expected) = line.split_once('\t').unwrap();
        if expr == "bytes" {
            subject.bytes = Some((super::unhex(expected.as_bytes()).unwrap(), true));
            let text = String::from_utf8_lossy(&subject.bytes.as_ref().unwrap().0).into_owned();
            subject.request = (text.contains(" HTTP/1.") && text.ends_with("\r\n\r\n"))
                .then(|| Fixture::request(&text).request.unwrap());
            continue;
        }
        let expected = (expected != "NONE").then(|| expected.to_owned());
        let given = subject.bytes_of(expr).map(|text| shown(&text));
        if given != expected {
            wrong.push(format!(
                "{expr}: {given:?}, haproxy {expected:?} of {:02x?}",
                subject.bytes
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn a_hello_in_pieces_is_waited_for_and_no_cut_gives_another_name() {
    let hello = BYTES
        .lines()
        .find_map(|line| line.strip_prefix("bytes\t"))
        .unwrap();
    let hello = super::unhex(hello.as_bytes()).unwrap();
    for cut in 0..hello.len() {
        let subject = Fixture {
            bytes: Some((hello[..cut].to_vec(), false)),
            ..Fixture::default()
        };
        assert_eq!(
            subject.holds("if { req.ssl_hello_type 1 }"),
            Verdict::Later,
            "{cut}"
        );
        let name = subject.holds("if { req.ssl_sni www.example.com }");
        assert!(matches!(name, Verdict::Later | Verdict::Holds), "{cut}");
        assert_ne!(
            subject.holds("if { req.ssl_sni -m found } !{ req.ssl_sni www.example.com }"),
            Verdict::Holds,
            "{cut}"
        );
    }
}

mod any_text {
    use proptest::prelude::*;

    use super::super::fixture::{with_cx, word};
    use super::super::table;
    use super::*;
    use crate::lang::acl::{Acls, Condition};
    use crate::lang::expr::Expr;
    use crate::lang::sample::Arena;

    /// Names that exist, and what makes arguments, quotes and chains of any text.
    fn expression() -> impl Strategy<Value = String> {
        let names: Vec<String> = crate::lang::fetch::FETCHES
            .iter()
            .copied()
            .chain(crate::lang::convert::names())
            .chain([
                "if", "{", "}", "!", "or", "-m", "str", "reg", "-i", "--", "gt",
            ])
            .map(str::to_owned)
            .collect();
        let piece = prop_oneof![
            4 => prop::sample::select(names),
            4 => "[(),'\"\\\\ 0-9a-z.:/+-]{0,6}",
            1 => "\\PC{0,4}",
        ];
        prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn is_read_or_refused_and_what_is_read_can_be_evaluated(text in expression()) {
            let subject = Fixture {
                bytes: Some((text.clone().into_bytes(), true)),
                ..Fixture::request("GET /a?b=c HTTP/1.1\r\nHost: h\r\nCookie: a=b\r\n\r\n")
            };
            let arena = Arena::new();
            let read = with_cx(|cx| Expr::parse(&word(&text), cx));
            if let Ok(expr) = &read {
                let _: Option<_> = expr.eval(&subject, &arena);
            }
            if let Err(fault) = &read {
                prop_assert!(fault.span.col + fault.span.len <= text.len() as u32, "{}", fault.text);
            }
            let words: Vec<_> = text.split(' ').map(word).collect();
            if let Ok(condition) = with_cx(|cx| Condition::parse(&words, &Acls::default(), cx)) {
                let _: Verdict = condition.holds(&subject, &arena);
            }
        }
    }

    #[test]
    fn every_fetch_of_the_table_is_a_name_of_haproxys() {
        for name in table::names() {
            assert!(
                super::super::is_known(name) || name.contains(['+', '-']),
                "{name}"
            );
        }
    }
}
