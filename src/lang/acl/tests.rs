use super::*;
use crate::lang::fetch::fixture::{Fixture, Names, with_cx, with_warnings, word, words};

fn request() -> Fixture {
    Fixture::request(
        "GET /static/Images/logo.png?x=1&y=two HTTP/1.1\r\nHost: www.Example.com:8080\r\nX-List: one, Two,three\r\nCookie: a=1; b=two\r\nContent-Length: 0\r\nAuthorization: Basic YTpi\r\n\r\n",
    )
}

fn condition(text: &str) -> Condition {
    with_cx(|cx| Condition::parse(&words(text), &Acls::default(), cx))
        .unwrap_or_else(|fault| panic!("{text}: {}", fault.text))
}

fn holds(subject: &Fixture, text: &str) -> Verdict {
    condition(text).holds(subject, &Arena::new())
}

#[test]
fn tests_of_each_method_match_as_the_manual_says() {
    let subject = request();
    for (test, expected) in [
        ("path_beg /static/", true),
        ("path_beg /img /static", true),
        ("path_beg /Static", false),
        ("path_beg -i /STATIC", true),
        ("path_end .png .gif", true),
        ("path_end .PNG", false),
        ("path_end -i .PNG", true),
        ("path_sub mages/l", true),
        ("path_sub -i IMAGES", true),
        ("path_dir static", true),
        ("path_dir Images/logo.png", true),
        ("path_dir Image", false),
        ("path_reg ^/static/.*\\.png$", true),
        ("path_reg -i ^/STATIC", true),
        ("path_len 23", true),
        ("path_len gt 23", false),
        ("path_len 20:30", true),
        ("path -m len lt 5", false),
        ("path /static/Images/logo.png", true),
        ("hdr(host) -i www.example.com:8080", true),
        ("hdr(host) www.example.com:8080", false),
        ("hdr_dom(host) Example", true),
        ("hdr_dom(host) .com:8080", true),
        ("hdr_dom(host) xample", false),
        ("hdr_beg(host) www.", true),
        ("hdr(x-list) Two", true),
        ("hdr(x-list,1) Two", false),
        ("hdr(x-list,-1) three", true),
        ("hdr_cnt(x-list) 3", true),
        ("hdr_cnt(x-list) gt 3", false),
        ("hdr(none) -m found", false),
        ("hdr(host) -m found", true),
        ("cook(b) two", true),
        ("cook two", true),
        ("url_param(y) two", true),
        ("urlp(x) -m int 1", true),
        ("method GET POST", true),
        ("method POST", false),
        ("src 127.0.0.0/8", true),
        ("src 10.0.0.0/8 192.168.0.1", false),
        ("src localhost", true),
        ("src_port 4000:5000", true),
        ("ssl_fc", false),
        ("always_true", true),
        ("int(5) ge 5", true),
        ("int(0) -m bool", false),
        ("bin(4142) -m bin 4142", true),
        ("req.ver 1.1", true),
        ("http_first_req", true),
        ("nbsrv ge 1", true),
        ("path -f names.txt", false),
        ("str(beta) -f names.txt", true),
        ("str(x) -m str -f names.txt -- x", true),
        ("query -m found", true),
        ("http_auth_user a", true),
    ] {
        let expected = if expected {
            Verdict::Holds
        } else {
            Verdict::Fails
        };
        assert_eq!(
            holds(&subject, &format!("if {{ {test} }}")),
            expected,
            "{test}"
        );
    }
}

#[test]
fn predefined_acls_hold_for_what_their_names_say() {
    let subject = request();
    for name in [
        "TRUE",
        "METH_GET",
        "HTTP",
        "HTTP_1.1",
        "HTTP_URL_SLASH",
        "LOCALHOST",
        "WAIT_END",
    ] {
        assert_eq!(
            holds(&subject, &format!("if {name}")),
            Verdict::Holds,
            "{name}"
        );
    }
    for name in [
        "FALSE",
        "METH_POST",
        "HTTP_1.0",
        "HTTP_URL_ABS",
        "HTTP_URL_STAR",
        "HTTP_CONTENT",
        "REQ_CONTENT",
        "RDP_COOKIE",
    ] {
        assert_eq!(
            holds(&subject, &format!("if {name}")),
            Verdict::Fails,
            "{name}"
        );
    }
}

#[test]
fn terms_side_by_side_must_all_hold_and_groups_need_one() {
    let subject = request();
    for (text, expected) in [
        ("if TRUE FALSE", false),
        ("if TRUE !FALSE", true),
        ("if TRUE ! FALSE", true),
        ("if TRUE !!FALSE", false),
        ("if FALSE or TRUE", true),
        ("if FALSE || FALSE", false),
        ("unless FALSE", true),
        ("unless FALSE or TRUE", false),
        ("if", true),
        ("if !{ ssl_fc }", true),
        ("if ! { ssl_fc } { path_beg / }", true),
    ] {
        let expected = if expected {
            Verdict::Holds
        } else {
            Verdict::Fails
        };
        assert_eq!(holds(&subject, text), expected, "{text}");
    }
}

#[test]
fn what_is_not_known_yet_decides_nothing() {
    let mut subject = Fixture {
        bytes: Some((b"ab".to_vec(), false)),
        ..Fixture::default()
    };
    use Verdict::{Fails, Holds, Later};
    for (text, now, at_the_end) in [
        ("if { req.len gt 10 }", Later, Fails),
        ("if { req.len gt 1 }", Holds, Holds),
        ("if !{ req.len gt 10 }", Later, Holds),
        ("if FALSE { req.len gt 10 }", Fails, Fails),
        ("if { req.len gt 10 } FALSE", Fails, Fails),
        ("if TRUE { req.len gt 10 }", Later, Fails),
        ("if TRUE or { req.len gt 10 }", Holds, Holds),
        ("if { req.len gt 10 } or TRUE", Holds, Holds),
        ("unless { req.len gt 10 }", Later, Holds),
        ("if WAIT_END", Later, Holds),
        ("if { req.payload(0,2) -m bin 6162 }", Holds, Holds),
        ("if { req.payload(0,2) -m bin 6163 }", Fails, Fails),
        ("if { req.payload(0,3) -m bin 616263 }", Later, Fails),
        ("if { req.ssl_hello_type 1 }", Fails, Fails),
    ] {
        subject.bytes = Some((b"ab".to_vec(), false));
        assert_eq!(holds(&subject, text), now, "{text}");
        subject.bytes = Some((b"ab".to_vec(), true));
        assert_eq!(holds(&subject, text), at_the_end, "{text}");
    }
    let waiting = Fixture {
        pending: Needs::REQUEST_HEAD,
        ..Fixture::default()
    };
    assert_eq!(holds(&waiting, "if { path_beg / }"), Later);
    assert_eq!(holds(&waiting, "if HTTP"), Later);
    assert_eq!(holds(&Fixture::default(), "if HTTP"), Fails);
}

#[test]
fn names_are_settled_and_those_that_do_not_exist_are_said() {
    let mut settled = condition("if { nbsrv(b) eq 7 }");
    settled.settle(&Acls::default(), &Names).unwrap();
    assert_eq!(settled.holds(&request(), &Arena::new()), Verdict::Holds);
    for (text, message) in [
        (
            "if { nbsrv(zz) gt 1 }",
            "unable to find backend 'zz' referenced in arg 1 of ACL keyword 'nbsrv' in proxy 'f'.",
        ),
        (
            "if { nbsrv gt 1 }",
            "proxy 'f', referenced in arg 1 of ACL keyword 'nbsrv' in proxy 'f', has not backend capability.",
        ),
        (
            "if { http_auth(v) }",
            "unable to find userlist 'v' referenced in arg 1 of ACL keyword 'http_auth' in proxy 'f'.",
        ),
        (
            "if { http_auth }",
            "missing userlist name in arg 1 of ACL keyword 'http_auth' in proxy 'f'.",
        ),
    ] {
        let mut condition = condition(text);
        assert_eq!(
            condition.settle(&Acls::default(), &Names).unwrap_err(),
            message
        );
    }
}

#[test]
fn users_are_let_in_by_password_and_group_and_hashes_are_waited_for() {
    let holds = |subject: &Fixture, text: &str| {
        let mut condition = condition(text);
        condition.settle(&Acls::default(), &Names).unwrap();
        condition.holds(subject, &Arena::new())
    };
    let mut subject = request();
    assert_eq!(holds(&subject, "if { http_auth(u) }"), Verdict::Holds);
    assert_eq!(
        holds(&subject, "if { http_auth_group(u) admin }"),
        Verdict::Holds
    );
    assert_eq!(
        holds(&subject, "if { http_auth_group(u) other }"),
        Verdict::Fails
    );
    let with = |user: &str| {
        Fixture::request(&format!(
            "GET / HTTP/1.1\r\nAuthorization: Basic {user}\r\n\r\n"
        ))
    };
    // "a:x", "z:b", "h:x", no colon, no base64.
    for bad in ["YTp4", "ejpi", "YQ==", "!!!!", ""] {
        assert_eq!(
            holds(&with(bad), "if { http_auth(u) }"),
            Verdict::Fails,
            "{bad}"
        );
        assert_eq!(
            holds(&with(bad), "if !{ http_auth(u) }"),
            Verdict::Holds,
            "{bad}"
        );
    }
    subject = with("aDp4");
    assert_eq!(holds(&subject, "if { http_auth(u) }"), Verdict::Later);
    assert_eq!(holds(&subject, "if !{ http_auth(u) }"), Verdict::Later);
    subject.hashed = Some(true);
    assert_eq!(holds(&subject, "if { http_auth(u) }"), Verdict::Holds);
    subject.hashed = Some(false);
    assert_eq!(holds(&subject, "if !{ http_auth(u) }"), Verdict::Holds);
}

#[test]
fn lines_of_one_name_are_joined_even_those_further_down() {
    let test = |text: &str| {
        let words: Vec<_> = text.split(' ').map(word).collect();
        Arc::new(with_cx(|cx| Test::parse(&words, cx)).unwrap())
    };
    let mut acls = Acls {
        lines: vec![("a".to_owned(), test("path_beg /none"))],
    };
    let mut condition = with_cx(|cx| Condition::parse(&words("if a"), &acls, cx)).unwrap();
    acls.lines.push(("a".to_owned(), test("path_beg /static")));
    assert_eq!(condition.holds(&request(), &Arena::new()), Verdict::Fails);
    condition.settle(&acls, &Names).unwrap();
    assert_eq!(condition.holds(&request(), &Arena::new()), Verdict::Holds);
}

#[test]
fn mistakes_are_said_as_haproxy_says_them() {
    for (text, message) in [
        ("foo", "unknown fetch method 'foo' in ACL expression 'foo'"),
        ("hdr(host", "ACL keyword 'hdr' : expected ')'."),
        (
            "hdr(host)x",
            "ACL keyword 'hdr' : missing comma after fetch keyword.",
        ),
        ("path(1)", "ACL keyword 'path' : expected ')' before '1)'."),
        (
            "hdr(host,a)",
            "ACL keyword 'hdr' : failed to parse 'a' as type 'integer' at position 2.",
        ),
        (
            "hdr(host,1,2)",
            "ACL keyword 'hdr' : expected ')' before ',2)'.",
        ),
        (
            "path,foo /a",
            "ACL keyword 'path' : unknown converter 'foo'.",
        ),
        (
            "bool(1),ipmask(24) -m found",
            "converter 'ipmask' cannot be applied in ACL expression 'bool(1),ipmask(24)'.",
        ),
        ("src_port a", "'a' is not a number."),
        ("src_port 1:a", "'1:a' is not a valid number range."),
        ("src_port 5:1", "'5:1' is not a valid number range."),
        (
            "path -f names.txt -m str a",
            "'-m' must only be specified before patterns and files in parsing ACL expression.",
        ),
        (
            "src_port -f names.txt",
            "'alpha' is not a number at line 2 of file 'names.txt'.",
        ),
        (
            "src_port gt x",
            "'x' is neither a number nor a supported operator.",
        ),
        ("req.ssl_ver 3.x", "'3.x' is not a dotted number."),
        (
            "int(1) -5",
            "'-5' is not a valid ACL option. Please use '--' before any pattern beginning with a '-'.",
        ),
        (
            "path -m foo a",
            "unknown matching method 'foo' when parsing ACL expression",
        ),
        (
            "bool(2)",
            "invalid args in fetch method 'bool' : Expects 'true', 'false', '0' or '1' in ACL expression 'bool(2)'.",
        ),
        (
            "int(x)",
            "fetch method 'int' : failed to parse 'x' as type 'integer' at position 1 in ACL expression 'int(x)'.",
        ),
        (
            "bin(zz) -m found",
            "invalid args in fetch method 'bin' : an hex digit is expected (found 'z') in ACL expression 'bin(zz)'.",
        ),
        ("bin(41) -m bin zz", "an hex digit is expected (found 'z')."),
        (
            "bin(41) 41",
            "matching method must be specified first (using '-m') when using a sample fetch of this type ('bin').",
        ),
        (
            "bin(41) -m int 1",
            "matching method 'int' cannot be used with fetch keyword 'bin'.",
        ),
        (
            "method -m bool",
            "matching method 'bool' cannot be used with fetch keyword 'method'.",
        ),
        (
            "path -z a",
            "'-z' is not a valid ACL option. Please use '--' before any pattern beginning with a '-'.",
        ),
        (
            "var(a) -m found",
            "invalid args in fetch method 'var' : invalid variable name 'a'. A variable name must be start by its scope. The scope can be 'proc', 'sess', 'txn', 'req', 'res' or 'check' in ACL expression 'var(a)'.",
        ),
        (
            "var(txn.a-b) -m found",
            "invalid args in fetch method 'var' : invalid syntax at char '-b' in ACL expression 'var(txn.a-b)'.",
        ),
        (
            "var -m found",
            "invalid args in fetch method 'var' : Empty variable name cannot be accepted in ACL expression 'var'.",
        ),
        (
            "date(0,zz) gt 1",
            "invalid args in fetch method 'date' : expects 's', 'ms' or 'us', got 'zz' in ACL expression 'date(0,zz)'.",
        ),
        (
            "payload(0) -m found",
            "ACL keyword 'payload' : missing arguments (got 1/2), type 'integer' expected.",
        ),
        (
            "payload -m found",
            "ACL keyword 'payload' : expected type 'integer' at position 1, but got nothing.",
        ),
        (
            "ipv4(1) 1.1.1.1",
            "fetch method 'ipv4' : failed to parse '1' as type 'IPv4 address' at position 1 in ACL expression 'ipv4(1)'.",
        ),
        (
            "path -m reg (?=x)",
            "regex '(?=x)' is invalid (error=look-ahead is not supported, erroffset=0).",
        ),
        ("sc0_conn_cur gt 1", "'sc0_conn_cur' is not supported yet."),
    ] {
        let fault = with_cx(|cx| Test::parse(&words(text), cx)).expect_err(text);
        assert!(fault.text.starts_with(message), "{text}: {}", fault.text);
    }
    let fault = |text: &str| {
        with_cx(|cx| Condition::parse(&words(text), &Acls::default(), cx))
            .expect_err(text)
            .text
    };
    assert_eq!(fault("if { path_beg"), "missing closing '}' in condition.");
    assert_eq!(
        fault("if { }"),
        "missing fetch method in ACL expression ''."
    );
    assert!(fault("if true").starts_with("no such ACL : 'true'"));
    assert!(fault("if }").starts_with("no such ACL : '}'"));
}

#[test]
fn an_acl_without_patterns_is_warned_of_unless_it_says_that_it_means_it() {
    for (text, warned) in [
        ("hdr(host)", true),
        ("method", true),
        ("src_port gt", false),
        ("path --", false),
        ("path -m found", false),
        ("path -m str", false),
        ("bool(1)", false),
        ("ssl_fc", false),
    ] {
        let (_, warnings) = with_warnings(|cx| Test::parse(&words(text), cx).unwrap());
        assert_eq!(!warnings.is_empty(), warned, "{text}");
    }
}

#[test]
fn acl_in_an_expression_means_the_lines_of_that_name() {
    let test = |text: &str| Arc::new(with_cx(|cx| Test::parse(&words(text), cx)).unwrap());
    let acls = Acls {
        lines: vec![
            ("a".to_owned(), test("path_beg /none")),
            ("a".to_owned(), test("path_beg /static")),
            ("b".to_owned(), test("nbsrv(b) gt 100")),
        ],
    };
    let holds = |text: &str| {
        let mut condition = condition(text);
        condition.settle(&acls, &Names)?;
        Ok(condition.holds(&request(), &Arena::new()))
    };
    assert_eq!(holds("if { acl(a) }"), Ok(Verdict::Holds));
    assert_eq!(holds("if { acl(a,b) }"), Ok(Verdict::Fails));
    assert_eq!(holds("if { acl(a,!b) }"), Ok(Verdict::Holds));
    assert_eq!(
        holds("if { acl(zz) }"),
        Err("ACL 'zz' not found".to_owned())
    );
}

#[test]
fn what_is_not_to_be_had_in_a_place_is_warned_of_and_never_matches() {
    let mut settled = condition("if TRUE { path_beg / }");
    assert_eq!(settled.never_in([Place::FrontRequestHeader]), None);
    assert_eq!(settled.holds(&request(), &Arena::new()), Verdict::Holds);
    assert_eq!(
        settled
            .never_in([Place::FrontResponseHeader, Place::BackResponseHeader])
            .as_deref(),
        Some(
            "anonymous acl will never match because it uses keyword 'path_beg' which is incompatible with 'backend http-response header rule'"
        )
    );
    let mut of_listen = condition("if { be_id 3 }");
    assert_eq!(
        of_listen.never_in([Place::FrontRequestHeader, Place::BackRequestHeader]),
        None
    );
    settled.settle(&Acls::default(), &Names).unwrap();
    assert_eq!(settled.holds(&request(), &Arena::new()), Verdict::Fails);
}

mod index {
    use proptest::prelude::*;

    use super::*;

    /// Criteria that share few texts, so that rules overlap.
    fn rule() -> impl Strategy<Value = String> {
        let text = prop::sample::select(vec![
            "/a", "/ab", "/abc", "/b", "/", "/A", "h", "H", "h.b", "1", "2", "/abcd", "/ab/c",
        ]);
        let texts = prop::collection::vec(text, 1..4).prop_map(|texts| texts.join(" "));
        let criterion = prop::sample::select(vec![
            "path_beg",
            "path_beg -i",
            "path",
            "hdr(host)",
            "hdr(host) -i",
            "hdr(x)",
            "path_end",
            "url_param(p)",
            "path,lower",
            "src -m str",
        ]);
        let plain =
            (criterion, texts).prop_map(|(criterion, texts)| format!("{{ {criterion} {texts} }}"));
        prop_oneof![
            8 => plain.clone(),
            1 => plain.clone().prop_map(|test| format!("!{test}")),
            1 => (plain.clone(), plain.clone()).prop_map(|(a, b)| format!("{a} {b}")),
            2 => (plain.clone(), plain).prop_map(|(a, b)| format!("{a} or {b}")),
            1 => Just("{ req.len gt 5 }".to_owned()),
            1 => Just("FALSE".to_owned()),
        ]
    }

    proptest! {
        #[test]
        fn the_index_finds_what_one_after_the_other_does(
            rules in prop::collection::vec(rule(), 0..40),
            path in "/[abA]{0,4}(/c)?(\\?p=[12])?",
            host in "[hH](\\.b)?",
            values in prop::collection::vec("[12h]", 0..3),
            bytes in prop::option::of(any::<bool>()),
            pending in any::<bool>(),
        ) {
            let conditions: Vec<_> = rules
                .iter()
                .map(|rule| condition(&format!("if {rule}")))
                .collect();
            let mut request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n");
            for value in &values {
                request += &format!("X: {value}\r\n");
            }
            let mut subject = Fixture::request(&(request + "\r\n"));
            subject.bytes = bytes.map(|complete| (b"abc".to_vec(), complete));
            if pending {
                subject.request = None;
                subject.pending = Needs::REQUEST_HEAD;
            }
            let arena = Arena::new();
            let expected = conditions
                .iter()
                .enumerate()
                .find_map(|(at, condition)| match condition.holds(&subject, &arena) {
                    Verdict::Holds => Some(First::Holds(at)),
                    Verdict::Later => Some(First::Later(at)),
                    Verdict::Fails => None,
                })
                .unwrap_or(First::None);
            let index = SwitchIndex::new(conditions.iter().map(Some));
            prop_assert_eq!(index.first(&subject, &arena), expected);
        }
    }
}

#[test]
fn plain_tests_take_no_memory_at_all() {
    let subject = request();
    let arena = Arena::new();
    for text in [
        "if { path_beg /static /a /b /c /d /e /f /g }",
        "if { hdr(host) a.example b.example }",
        "if { hdr(x-list) three }",
        "if { path_reg ^/static } { src 10.0.0.0/8 }",
        "if METH_GET { cook(a) 1 } !{ ssl_fc } { hdr_cnt(host) 1 }",
        "if { url_param(y) two } { path_sub mages } { path_dir static }",
    ] {
        let _: Verdict = condition(text).holds(&subject, &arena);
        assert_eq!(arena.allocated_bytes(), 0, "{text}");
    }
}

/// Nanoseconds of usual tests; run by hand, with optimisation.
#[test]
#[ignore = "measures"]
fn speed() {
    let request = Fixture::request(
        "GET /static/images/logo.png?x=1 HTTP/1.1\r\nHost: www.example.com\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\nAccept: text/html,application/xhtml+xml\r\nAccept-Language: en\r\nAccept-Encoding: gzip\r\nConnection: keep-alive\r\nCookie: a=1; SERVERID=s1\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n",
    );
    let mut arena = Arena::new();
    let mut time = |name: &str, run: &dyn Fn(&Arena)| {
        const ROUNDS: u32 = 200_000;
        let start = std::time::Instant::now();
        for _ in 0..ROUNDS {
            run(&arena);
            arena.reset();
        }
        println!("{name:60} {:6} ns", (start.elapsed() / ROUNDS).as_nanos());
    };
    for text in [
        "if { path_beg /static }",
        "if { path_end .png .gif .jpg }",
        "if { hdr(host) www.example.com }",
        "if { hdr(host) -i WWW.example.com }",
        "if { hdr(x-forwarded-for) -m found }",
        "if { cook(SERVERID) s1 }",
        "if { src 10.0.0.0/8 192.168.0.0/16 }",
        "if METH_GET !{ ssl_fc }",
        "if { path_reg ^/static/.*\\.png$ }",
        "if { path,lower -m beg /static }",
    ] {
        let condition = condition(text);
        time(text, &|arena| {
            std::hint::black_box(condition.holds(&request, arena));
        });
    }
    for (criterion, ends) in [("path_beg", ""), ("hdr(host) -i", ".example.com")] {
        let begins = if criterion == "path_beg" { "/" } else { "" };
        let rules: Vec<_> = (0..1000)
            .map(|n| condition(&format!("if {{ {criterion} {begins}site{n}{ends} }}")))
            .collect();
        let index = SwitchIndex::new(rules.iter().map(Some));
        time(
            &format!("1000 rules of {criterion}, none holds"),
            &|arena| {
                std::hint::black_box(index.first(&request, arena));
            },
        );
        let texts: Vec<_> = (0..1000)
            .map(|n| format!("{begins}site{n}{ends}"))
            .collect();
        let one = condition(&format!("if {{ {criterion} {} }}", texts.join(" ")));
        time(
            &format!("1000 patterns of {criterion}, none matches"),
            &|arena| {
                std::hint::black_box(one.holds(&request, arena));
            },
        );
    }
}
