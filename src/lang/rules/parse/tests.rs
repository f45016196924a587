use super::super::ReplyBody;
use super::super::fixture::{BACK, FRONT, rule};
use super::*;
use crate::lang::rules::{Action, Normalizer, Timeout};

const HQ: RuleSet = RuleSet::HttpRequest;

fn says(set: RuleSet, section: &Section<'_>, line: &str) -> String {
    match rule(set, section, line) {
        Ok(_) => "fine".to_owned(),
        Err(fault) => fault.text,
    }
}

/// The lines as haproxy 2.6.12 answers them, without the list of known actions.
#[test]
fn a_mistake_in_an_argument_is_named_as_haproxy_names_it() {
    let inner = |line: &str, text: &str| {
        let name = line.split(' ').next().unwrap();
        let text = format!(
            "error detected in frontend 'x' while parsing 'http-request {name}' rule : {text}."
        );
        assert_eq!(says(HQ, &FRONT, line), text, "{line}");
    };
    for (line, text) in [
        ("deny status", "'status' expects <status_code> as argument"),
        ("deny status 999", "Unexpected status code '999'"),
        (
            "deny hdr a",
            "'hdr' expects <name> and <value> as arguments",
        ),
        (
            "deny content-type",
            "'content-type' expects <ctype> as argument",
        ),
        ("deny string", "'string' expects <str> as argument"),
        (
            "deny string abc",
            "a content type must be defined when non-empty payload is configured",
        ),
        (
            "deny lf-string abc",
            "a content type must be defined with a log-format payload",
        ),
        (
            "deny file /nonexistent",
            "error opening file '/nonexistent'",
        ),
        (
            "deny default-errorfiles string abc",
            "unexpected 'string' argument, 'default-errorfiles' already defined",
        ),
        ("return status 700", "Unexpected status code '700'"),
        ("return status 99", "Unexpected status code '99'"),
        (
            "return status 418 default-errorfiles",
            "status code '418' not handled by default with 'default-errorfiles' argument",
        ),
        ("tarpit status 777", "Unexpected status code '777'"),
        ("auth realm", "missing realm value"),
        ("add-header", "expects exactly 2 arguments"),
        ("add-header a", "expects exactly 2 arguments"),
        ("del-header", "expects at least 1 argument"),
        ("del-header a -m", "-m flag expects exactly 1 argument"),
        (
            "del-header a -m foo",
            "-m with unsupported matching method 'foo'",
        ),
        ("replace-header a b", "expects exactly 3 arguments"),
        (
            "replace-path a",
            "expects exactly 2 arguments <match-regex> and <replace-format>",
        ),
        (
            "replace-uri a b c",
            "expects exactly 2 arguments <match-regex> and <replace-format>",
        ),
        ("set-method", "expects exactly 1 argument <format>"),
        ("set-method GET x", "expects exactly 1 argument <format>"),
        (
            "set-log-level foo",
            "expects exactly 1 argument (log level name or 'silent')",
        ),
        ("set-nice", "expects exactly 1 argument (integer value)"),
        ("set-mark", "expects exactly 1 argument (integer/hex value)"),
        (
            "set-mark foo",
            "invalid character starting at 'foo' (integer/hex value expected)",
        ),
        ("set-timeout", "expects exactly 2 arguments"),
        ("set-timeout server", "expects exactly 2 arguments"),
        (
            "set-timeout server 5s",
            "proxy 'x' has no backend capability",
        ),
        (
            "set-var",
            "invalid or incomplete action 'set-var'. Expects 'set-var(<var-name>)', 'set-var-fmt(<var-name>)' or \
             'unset-var(<var-name>)'",
        ),
        (
            "set-var(",
            "incomplete argument after action 'set-var('. Expects 'set-var(<var-name>)', 'set-var-fmt(<var-name>)' \
             or 'unset-var(<var-name>)'",
        ),
        ("set-var()", "Empty variable name cannot be accepted"),
        (
            "set-var(foo.bar) str(a)",
            "invalid variable name 'foo.bar'. A variable name must be start by its scope. The scope can be 'proc', \
             'sess', 'txn', 'req', 'res' or 'check'",
        ),
        ("set-var(txn.bar)", "missing fetch method"),
        ("set-var(txn.b,foo) str(a)", "unknown condition \"foo\""),
        (
            "capture src",
            "expects <expression> [ 'len' <length> | id <idx> ]",
        ),
        (
            "capture src foo",
            "expects <expression> [ 'len' <length> | id <idx> ]",
        ),
        ("strict-mode", "expects exactly 1 arguments"),
        (
            "strict-mode foo",
            "Unexpected value 'foo'. Only 'on' and 'off' are supported",
        ),
        ("wait-for-body", "expects time <time> [ at-least <bytes> ]"),
        ("wait-for-body time", "missing argument for 'time'"),
        (
            "wait-for-body at-least 1k",
            "expects time <time> [ at-least <bytes> ]",
        ),
        (
            "redirect",
            "redirection type expected ('prefix', 'location', or 'scheme')",
        ),
        ("redirect location", "missing argument for 'location'"),
        (
            "redirect location /a code 305",
            "'code': unsupported HTTP code '305' (must be one of 301, 302, 303, 307 or 308)",
        ),
    ] {
        inner(line, text);
    }
}

#[test]
fn what_stands_behind_an_action_is_a_condition() {
    assert_eq!(
        says(HQ, &FRONT, "allow extra"),
        "'http-request allow' expects either 'if' or 'unless' followed by a condition but found 'extra'."
    );
    assert_eq!(
        says(RuleSet::TcpRequest, &FRONT, "accept x"),
        "'tcp-request content accept' only accepts 'if' or 'unless', in frontend 'x' (got 'x')"
    );
}

#[test]
fn an_action_of_another_set_is_unknown_with_the_nearest_name() {
    let text = says(HQ, &FRONT, "den");
    assert!(text.starts_with("'http-request' expects 'add-acl(*)', 'add-header', "));
    assert!(
        text.ends_with(", but got 'den'. Did you mean 'deny' maybe ?"),
        "{text}"
    );
    let text = says(RuleSet::HttpAfterResponse, &FRONT, "deny");
    assert!(text.contains("but got 'deny'"), "{text}");
    let text = says(RuleSet::TcpConnection, &FRONT, "foo");
    assert!(
        text.starts_with("'tcp-request connection' expects 'accept', "),
        "{text}"
    );
    assert!(text.ends_with(" in frontend 'x' (got 'foo')."), "{text}");
    assert!(says(HQ, &FRONT, "").ends_with("but got '' (missing argument)."));
}

#[test]
fn actions_of_later_versions_are_refused_by_name() {
    for (line, name) in [
        ("track-sc0 src", "http-request track-sc0"),
        ("sc-inc-gpc0(0)", "http-request sc-inc-gpc0"),
        ("lua.foo", "http-request lua.foo"),
        ("cache-use x", "http-request cache-use"),
        ("set-map(x) a b", "http-request set-map"),
        ("use-service lua.x", "http-request use-service lua.x"),
    ] {
        let fault = rule(HQ, &FRONT, line).unwrap_err();
        assert_eq!(fault.not_yet.as_deref(), Some(name), "{line}");
    }
}

#[test]
fn actions_are_read_with_their_arguments() {
    let action = |set: RuleSet, section: &Section<'_>, line: &str| {
        let parsed = rule(set, section, line);
        parsed
            .unwrap_or_else(|f| panic!("{line}: {}", f.text))
            .action
    };
    let of = |line: &str| action(HQ, &FRONT, line);
    assert!(matches!(
        of("deny"),
        Action::Deny(Reply {
            status: 403,
            body: ReplyBody::Page,
            ..
        })
    ));
    assert!(matches!(
        of("deny deny_status 429"),
        Action::Deny(Reply { status: 429, .. })
    ));
    assert!(matches!(
        of("tarpit"),
        Action::Tarpit(Reply { status: 500, .. })
    ));
    let Action::Deny(reply) = action(RuleSet::HttpResponse, &BACK, "deny") else {
        panic!("a denial");
    };
    assert_eq!(reply.status, 502);
    let Action::Return(reply) = of("return status 404 content-type text/plain file page hdr X-A b")
    else {
        panic!("an answer");
    };
    assert_eq!((reply.status, &*reply.headers[0].0), (404, &b"x-a"[..]));
    assert!(matches!(&reply.body, ReplyBody::Text { text, .. } if **text == *b"hello\n"));
    assert!(matches!(
        of("return"),
        Action::Return(Reply {
            status: 200,
            body: ReplyBody::Empty,
            ..
        })
    ));
    assert!(matches!(of("auth"), Action::Auth(None)));
    assert!(matches!(of("auth realm \"a b\""), Action::Auth(Some(realm)) if *realm == *b"a b"));
    assert!(matches!(
        of("set-log-level silent"),
        Action::SetLogLevel(None)
    ));
    assert!(matches!(
        of("set-log-level err"),
        Action::SetLogLevel(Some(3))
    ));
    assert!(matches!(of("set-nice 5000"), Action::SetNice(1024)));
    assert!(matches!(
        of("set-mark 0x10"),
        Action::SetClientMark(Number::Fixed(16))
    ));
    assert!(matches!(
        of("set-tos 300"),
        Action::SetClientTos(Number::Fixed(300))
    ));
    assert!(matches!(
        of("wait-for-body time 1s at-least 1k"),
        Action::WaitForBody(1000, 1024)
    ));
    assert!(matches!(of("strict-mode off"), Action::StrictMode(false)));
    assert!(matches!(of("pause 20ms"), Action::Pause(Number::Fixed(20))));
    assert!(matches!(
        of("normalize-uri path-strip-dotdot full"),
        Action::Normalize(Normalizer::PathStripDotdot { full: true })
    ));
    let timeout = action(HQ, &BACK, "set-timeout tunnel 5s");
    assert!(matches!(
        timeout,
        Action::SetTimeout(Timeout::Tunnel, Number::Fixed(5000))
    ));
    let tcp = |line: &str| action(RuleSet::TcpRequest, &FRONT, line);
    assert!(matches!(tcp("accept"), Action::Allow));
    assert!(matches!(
        tcp("switch-mode http proto h1"),
        Action::SwitchHttp
    ));
    let proxy = action(RuleSet::TcpConnection, &FRONT, "expect-proxy layer4");
    assert!(matches!(proxy, Action::ExpectProxy));
    assert!(matches!(of("unset-var(txn.a)"), Action::UnsetVar(_)));
}

#[test]
fn a_look_around_is_refused_with_the_reason() {
    let fault = rule(HQ, &FRONT, "replace-path (?=a) b").unwrap_err();
    assert!(
        fault
            .text
            .contains("failed to parse the regex : regex '(?=a)' is invalid (error=")
    );
    assert!(fault.help.unwrap().contains("look-around"));
}

#[test]
fn services_are_haproxys_exporter_or_refused_by_name() {
    assert_eq!(says(HQ, &FRONT, "use-service prometheus-exporter"), "fine");
    let of = |line: &str| says(HQ, &FRONT, line);
    assert!(of("use-service nope").ends_with("rule : 'nope' unknown service name."));
    assert!(of("use-service").ends_with("rule : 'use-service' expects a service name."));
    let fault = rule(HQ, &FRONT, "use-service prometheus-export").unwrap_err();
    assert_eq!(fault.help.as_deref(), Some("'prometheus-exporter' is near"));
    assert!(
        says(
            RuleSet::TcpRequest,
            &FRONT,
            "use-service prometheus-exporter"
        )
        .ends_with("only available on 'http-request' rulesets")
    );
}
