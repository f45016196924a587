use super::super::fixture::{Asked, FRONT, head, rule, shown};
use super::super::{RuleSet, SetIf};
use super::*;

/// Rules and requests with what haproxy 2.6.12 made of them: three lines each.
const EDITS: &str = include_str!("edits.txt");

#[test]
fn a_request_is_edited_as_haproxy_edits_it() {
    let lines: Vec<&str> = EDITS
        .lines()
        .filter(|l| !l.is_empty() && !l.starts_with('#'))
        .collect();
    let mut failed = Vec::new();
    for case in lines.chunks(3) {
        let [rule_text, given, wanted] = case else {
            panic!("three lines a case: {case:?}");
        };
        let parsed = match rule(RuleSet::HttpRequest, &FRONT, rule_text) {
            Ok(rule) => rule,
            Err(fault) => panic!("{rule_text}: {}", fault.text),
        };
        let mut asked = Asked {
            request: head(given.trim()),
        };
        let arena = Arena::new();
        let effect = {
            let subject: &dyn Subject = &asked;
            parsed.action.work_out(subject, &arena)
        };
        let got = match effect.carry_out(&mut asked.request) {
            Ok(()) => shown(&asked.request),
            Err(RuleError::BadEscape) => "400".to_owned(),
            Err(_) => "500".to_owned(),
        };
        if got.trim() != wanted.trim() {
            let wanted = wanted.trim();
            failed.push(format!("{rule_text}\n {given}\n  {wanted}\n  {got}\n"));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn a_target_keeps_no_blank_and_a_method_is_a_token() {
    for (text, wanted) in [
        (r#"set-path "/a b""#, Ok("GET /a%20b")),
        (r#"replace-uri .* "/a\x7f""#, Ok("GET /a%7F")),
        (r#"set-method "G T""#, Err(RuleError::BadMethod)),
        (r"replace-uri .* '\1'", Err(RuleError::BadTarget)),
    ] {
        let parsed = rule(RuleSet::HttpRequest, &FRONT, text).unwrap();
        let mut asked = Asked {
            request: head("GET /x"),
        };
        let arena = Arena::new();
        let effect = parsed.action.work_out(&asked, &arena);
        let got = effect.carry_out(&mut asked.request);
        let got = got.map(|()| shown(&asked.request));
        assert_eq!(got, wanted.map(str::to_owned), "{text}");
    }
}

#[test]
fn an_edit_that_does_not_fit_leaves_the_head_as_it_was() {
    for text in [
        "add-header x-long 0123456789",
        "set-header x-a 0123456789012345678901",
        "replace-header x-a .* 0123456789012345678901",
        "set-path /0123456789012345678901",
        "set-method M0123456789012345678901",
    ] {
        let parsed = rule(RuleSet::HttpRequest, &FRONT, text).unwrap();
        let mut asked = Asked {
            request: head("GET /x | x-a: 1"),
        };
        let arena = Arena::new();
        let room = asked.request.wire_len() + 10;
        let effect = parsed.action.work_out(&asked, &arena);
        let got = effect.carry_out_within(&mut asked.request, room);
        assert_eq!(got, Err(RuleError::TooLarge), "{text}");
        assert_eq!(shown(&asked.request), "GET /x | x-a: 1", "{text}");
    }
}

#[test]
fn a_status_brings_its_reason() {
    for (text, wanted) in [
        ("set-status 418", "418 I'm a teapot"),
        ("set-status 299", "299 Success"),
        ("set-status 503 reason \"Slow Down\"", "503 Slow Down"),
    ] {
        let parsed = rule(RuleSet::HttpResponse, &FRONT, text).unwrap();
        let mut response = Head::default();
        response.set_status(200, b"OK");
        let arena = Arena::new();
        let effect = parsed.action.work_out(&Asked::default(), &arena);
        effect.carry_out(&mut response).unwrap();
        let reason = String::from_utf8_lossy(response.reason()).into_owned();
        assert_eq!(format!("{} {reason}", response.status), wanted);
    }
}

#[test]
fn a_variable_is_set_only_where_all_conditions_hold() {
    let holds = |bits: u8, old: Option<Value<'_>>, new: Value<'_>| SetIf(bits).holds(old, new);
    let (one, two) = (Value::Int(1), Value::Int(2));
    assert!(holds(0, None, one) && holds(0, Some(two), one));
    assert!(!holds(SetIf::EXISTS, None, one) && holds(SetIf::EXISTS, Some(two), one));
    assert!(holds(SetIf::NOT_EXISTS, None, one) && !holds(SetIf::NOT_SET, Some(two), one));
    assert!(holds(SetIf::EMPTY, None, Value::Str(b"")) && !holds(SetIf::EMPTY, None, one));
    assert!(!holds(SetIf::NOT_EMPTY, None, Value::Str(b"")) && holds(SetIf::NOT_EMPTY, None, one));
    assert!(holds(SetIf::GREATER, Some(two), one) && !holds(SetIf::GREATER, Some(one), one));
    assert!(holds(SetIf::LESS, Some(one), two) && !holds(SetIf::LESS, Some(two), two));
    assert!(holds(SetIf::LESS, Some(Value::Str(b"x")), two));
}
