//! Expected texts are lines that haproxy 2.6.12 sent for these formats and requests, times and ports as they were.

use std::net::{IpAddr, SocketAddr};

use super::*;
use crate::lang::expr::VarNames;
use crate::lang::sample::Value;
use crate::lang::source::FileId;
use crate::lang::subject::{Fact, LogCount};

/// A stream of which everything is known.
struct Known {
    src: Option<SocketAddr>,
    request: Option<(&'static [u8], &'static [u8], &'static [u8])>,
    request_captures: Vec<Option<&'static [u8]>>,
    response_captures: Vec<Option<&'static [u8]>>,
    facts: Vec<(Fact, Value<'static>)>,
    offset_s: i64,
}

impl Default for Known {
    fn default() -> Self {
        Self {
            src: Some("127.0.0.1:33250".parse().unwrap()),
            request: Some((b"GET", b"http://ex.com/p/a%20th?q=1&b=\"z\"", b"HTTP/1.1")),
            request_captures: vec![Some(b"a\"b#c{d}|e\\f]g"), None, Some(b"caf\xc3\xa9\tt")],
            response_captures: vec![Some(b"o\"r|g")],
            facts: vec![
                (Fact::AcceptDateUs, Value::Int(1_795_225_624_721_000)),
                (Fact::RequestDateUs, Value::Int(1_795_225_624_019_000)),
                (Fact::FrontName, Value::Str(b"f10")),
                (Fact::BackName, Value::Str(b"b12")),
                (Fact::ServerName, Value::Str(b"s1")),
                (Fact::RequestCookie, Value::Str(b"sid=ab#c|\\]\"")),
                (Fact::Pid, Value::Int(19_847)),
                (Fact::StreamId, Value::Int(46)),
                (Fact::Status, Value::Int(200)),
                (Fact::ServerIn, Value::Int(88)),
                (Fact::ClientIn, Value::Int(122)),
                (Fact::TermState, Value::Str(b"--VN")),
                (Fact::RequestHeadMs, Value::Int(3)),
                (Fact::IdleMs, Value::Int(20)),
                (Fact::HandshakeMs, Value::Int(100)),
                (Fact::QueueMs, Value::Int(4)),
                (Fact::ConnectMs, Value::Int(5)),
                (Fact::ResponseHeadMs, Value::Int(6)),
                (Fact::ResponseDataMs, Value::Int(7)),
                (Fact::ActiveMs, Value::Int(22)),
                (Fact::TotalMs, Value::Int(142)),
                (Fact::BindId, Value::Int(1)),
            ],
            offset_s: 0,
        }
    }
}

impl Known {
    fn with(mut self, fact: Fact, value: Value<'static>) -> Self {
        self.facts.retain(|f| f.0 != fact);
        self.facts.push((fact, value));
        self
    }
    fn without(mut self, fact: Fact) -> Self {
        self.facts.retain(|f| f.0 != fact);
        self
    }
}

impl Subject for Known {
    fn src(&self) -> Option<SocketAddr> {
        self.src
    }
    fn dst(&self) -> Option<SocketAddr> {
        self.src.map(|s| SocketAddr::new(s.ip(), 25_024))
    }
    fn original_request(&self) -> Option<(&[u8], &[u8], &[u8])> {
        self.request
    }
    fn captures(&self) -> (usize, usize) {
        (self.request_captures.len(), self.response_captures.len())
    }
    fn request_capture(&self, index: usize) -> Option<&[u8]> {
        self.request_captures[index]
    }
    fn response_capture(&self, index: usize) -> Option<&[u8]> {
        self.response_captures[index]
    }
    fn fact(&self, fact: Fact) -> Option<Value<'_>> {
        if matches!(fact, Fact::LocalOffsetS(_)) {
            return Some(Value::Int(self.offset_s));
        }
        let found = self.facts.iter().find(|f| f.0 == fact);
        found.map(|f| f.1)
    }
    fn log_count(&self, which: LogCount) -> u32 {
        match which {
            LogCount::Process => 4,
            LogCount::Frontend => 3,
            LogCount::Backend => 2,
            LogCount::Server => 1,
        }
    }
}

fn word(text: &str) -> Word {
    Word {
        bytes: text.as_bytes().to_vec(),
        span: Span {
            file: FileId(0),
            line: 1,
            col: 0,
            len: text.len() as u32,
        },
    }
}

fn parse(text: &str, purpose: Purpose) -> Result<LogFormat, Fault> {
    let mut vars = VarNames::default();
    let mut cx = Cx {
        vars: &mut vars,
        read: &|_| Err("no file".to_owned()),
        resolve: &|_| None::<IpAddr>,
        warnings: Vec::new(),
        env: &|_| None,
    };
    LogFormat::read(&word(text), purpose, &mut cx)
}

fn rendered(text: &str, purpose: Purpose, subject: &dyn Subject) -> String {
    let format = parse(text, purpose).unwrap();
    let mut out = Vec::new();
    format.render(subject, &Arena::new(), &mut out);
    String::from_utf8(out).unwrap()
}

fn log(text: &str) -> String {
    rendered(text, Purpose::Log, &Known::default())
}

fn fault(text: &str) -> String {
    parse(text, Purpose::Log).unwrap_err().text
}

#[test]
fn flags_change_what_they_are_for_and_nothing_else() {
    for (format, line) in [
        (
            "a%ci|%{+Q}ci|%{+X}ci|%{+E}ci|%{+Q,+E}ci",
            "a127.0.0.1|\"127.0.0.1\"|7F000001|127.0.0.1|\"127.0.0.1\"",
        ),
        ("%{+X,+Q}ci", "7F000001"),
        ("a%cp|%{+Q}cp|%{+X}cp", "a33250|33250|81E2"),
        ("%fi:%{+X}fp", "127.0.0.1:61C0"),
        ("%Ts|%{+X}Ts", "1795225624|6B00F818"),
        ("%ms|%{+X}ms", "721|2D1"),
        ("%f|%{+Q}f|%{+X}f|%ft", "f10|\"f10\"|f10|f10"),
        ("%pid|%{+X}pid|%{+Q}pid", "19847|4D87|19847"),
        ("%rt|%{+X}rt", "46|002E"),
        ("%lc|%{+X}lc", "0|0000"),
        ("%{+X}Ta|%{+X}B|%{+X}ST|%{+X}fc", "22|88|200|3"),
        ("%{+Q}ST|%{+Q}tsc|%{+Q}Ts", "200|--VN|1795225624"),
        (
            "%ts|%tsc|%ac/%fc/%bc/%sc/%rc %sq/%bq",
            "--|--VN|4/3/2/1/0 0/0",
        ),
        ("%B|%U", "88|122"),
        (
            "%Th/%Ti/%TR/%Tq/%Tw/%Tc/%Tr/%Td/%Ta/%Tt",
            "100/20/3/123/4/5/6/7/22/142",
        ),
        ("%sslv|%{+Q}sslv|%{+E}sslc", "-|\"\"|-"),
        ("%bi|%bp|%{+Q}si|%{+X}bi", "-|-|\"\"|-"),
        ("%ID|%{+Q}ID|%CS|%{+Q}CS", "-|\"\"|-|\"\""),
    ] {
        assert_eq!(log(format), line, "{format}");
    }
}

#[test]
fn what_comes_from_outside_is_encoded_as_haproxy_does() {
    let uri = "http://ex.com/p/a%20th?q=1&b=#22z#22";
    for (format, line) in [
        ("%r", format!("GET {uri} HTTP/1.1")),
        ("%{+Q}r", format!("\"GET {uri} HTTP/1.1\"")),
        ("%HU", uri.to_owned()),
        ("%HP|%HPO", "http://ex.com/p/a%20th|/p/a%20th".to_owned()),
        ("%HQ", "?q=1&b=#22z#22".to_owned()),
        ("%{+Q}HM %HV", "\"GET\" HTTP/1.1".to_owned()),
        (
            "%hr",
            "{a#22b#23c#7Bd#7D#7Ce\\f]g||caf#C3#A9#09t}".to_owned(),
        ),
        (
            "%{+Q}hr",
            "\"{a#22b#23c#7Bd#7D#7Ce\\f]g||caf#C3#A9#09t}\"".to_owned(),
        ),
        (
            "%{+E}hr",
            "{a#22b#23c#7Bd#7D#7Ce\\\\f\\]g||caf#C3#A9#09t}".to_owned(),
        ),
        (
            "%hrl",
            "a#22b#23c#7Bd#7D#7Ce\\f]g - caf#C3#A9#09t".to_owned(),
        ),
        (
            "%{+Q}hrl",
            "\"a#22b#23c#7Bd#7D#7Ce\\f]g\" \"\" \"caf#C3#A9#09t\"".to_owned(),
        ),
        ("%hs %hsl", "{o#22r#7Cg} o#22r#7Cg".to_owned()),
        (
            "%CC|%{+E}CC",
            "sid=ab#c|\\]\"|sid=ab#c|\\\\\\]\\\"".to_owned(),
        ),
    ] {
        assert_eq!(log(format), line, "{format}");
    }
}

#[test]
fn only_the_last_sign_of_each_word_in_braces_counts() {
    for (flags, shown) in [
        ("Q", "127.0.0.1"),
        ("+QX", "127.0.0.1"),
        ("Q+X", "7F000001"),
        ("+X+Q", "\"127.0.0.1\""),
        ("-Q+X", "7F000001"),
        ("+Q,", "\"127.0.0.1\""),
        (",+Q", "\"127.0.0.1\""),
        ("+X,Q", "7F000001"),
        ("+q", "127.0.0.1"),
        (" +Q", "\"127.0.0.1\""),
        ("++Q", "\"127.0.0.1\""),
        ("+Q-Q", "127.0.0.1"),
        ("+Q,+", "\"127.0.0.1\""),
        ("+Z,+Q", "\"127.0.0.1\""),
        ("foo", "127.0.0.1"),
        ("", "127.0.0.1"),
    ] {
        assert_eq!(log(&format!("%{{{flags}}}ci")), shown, "{flags}");
    }
}

#[test]
fn flags_of_o_hold_until_the_next_o() {
    assert_eq!(log("%{+Q}o %ci %{-Q}b %s"), "\"127.0.0.1\" b12 \"s1\"");
    assert_eq!(log("%{+Q}o %b %{+E}o %b %{-Q}o%b"), "\"b12\" \"b12\" b12");
    assert_eq!(log("%{+X}o %{-X,+Q}ci %{+Q}cp"), "\"127.0.0.1\" 81E2");
}

#[test]
fn spaces_are_merged_in_log_lines_and_kept_in_messages() {
    let bare = Known {
        request_captures: Vec::new(),
        response_captures: Vec::new(),
        request: Some((b"OPTIONS", b"*", b"HTTP/1.1")),
        ..Known::default()
    };
    let log = |text| rendered(text, Purpose::Log, &bare);
    assert_eq!(log("%hr %hs %{+Q}r"), "\"OPTIONS * HTTP/1.1\"");
    assert_eq!(log("  a  b %hr  c "), "a b c ");
    assert_eq!(log("x %hr"), "x ");
    assert_eq!(log("%hr %hs"), "");
    assert_eq!(log("a %HPO b %{+Q}HPO %{+Q}hr x"), "a  b \"\" x");
    assert_eq!(log("%ci\t%cp  \t %b"), "127.0.0.1\t33250 \t b12");
    let message = |text| rendered(text, Purpose::Message, &bare);
    assert_eq!(message(" a   b %hr c "), " a   b  c ");
}

#[test]
fn nothing_is_a_dash_only_in_log_lines() {
    let bare = Known {
        request_captures: vec![None],
        ..Known::default()
    };
    let format = "%{+Q}ID|%sslv|%CS|%bi|%{+Q}si|%hrl|%{+Q}hrl";
    assert_eq!(
        rendered(format, Purpose::Message, &bare),
        "\"\"||||\"\"|-|\"\""
    );
    assert_eq!(
        rendered(format, Purpose::Log, &bare),
        "\"\"|-|-|-|\"\"|-|\"\""
    );
}

#[test]
fn dates_are_local_with_milliseconds_or_with_their_zone() {
    assert_eq!(
        log("%t|%tr|%T|%Tl|%trg|%trl"),
        "21/Nov/2026:01:47:04.721|21/Nov/2026:01:47:04.019|21/Nov/2026:01:47:04 +0000\
         |21/Nov/2026:01:47:04 +0000|21/Nov/2026:01:47:04 +0000|21/Nov/2026:01:47:04 +0000"
    );
    let west = Known {
        offset_s: -12_600,
        ..Known::default()
    };
    let expected = "20/Nov/2026:22:17:04.721|21/Nov/2026:01:47:04 +0000|20/Nov/2026:22:17:04 -0330";
    assert_eq!(rendered("%t|%T|%Tl", Purpose::Log, &west), expected);
    let mut out = Vec::new();
    let mut clock = LocalClock::new(|_| -12_600);
    let format = parse("%t|%T|%Tl", Purpose::Log).unwrap();
    format.render_at(&west, &Arena::new(), &mut clock, &mut out);
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

#[test]
fn a_plus_sign_marks_what_may_still_grow_and_a_redispatch() {
    let asap = Known::default()
        .with(Fact::LogAsap, Value::Bool(true))
        .with(Fact::UserMs, Value::Int(5))
        .with(Fact::Retries, Value::Int(2))
        .with(Fact::Redispatched, Value::Bool(true));
    assert_eq!(
        rendered("%Ta|%Tt|%Tu|%B|%U|%Td|%{+Q}B|%rc", Purpose::Log, &asap),
        "+22|+142|+5|+88|122|7|+88|+2"
    );
}

#[test]
fn a_stream_that_got_nowhere_has_placeholders() {
    let bare = Known {
        request: None,
        facts: Vec::new(),
        ..Known::default()
    }
    .with(Fact::FrontName, Value::Str(b"f0"));
    assert_eq!(
        rendered(
            "%r|%HM|%HU|%HV|%HP|%HPO|%HQ|%{+Q}r|%s|%b|%TR|%Tq|%Td|%Ti|%rc|%tsc|%ts",
            Purpose::Log,
            &bare
        ),
        "<BADREQ>|<BADREQ>|<BADREQ>|<BADREQ>|<BADREQ>|<BADREQ>|<BADREQ>|\"<BADREQ>\"|<NOSRV>|f0|-1|-1|-1|0|0|----|--"
    );
    let stats = Known::default()
        .without(Fact::ServerName)
        .with(Fact::Applet, Value::Str(b"<STATS>"));
    assert_eq!(rendered("%b/%s", Purpose::Log, &stats), "b12/<STATS>");
}

#[test]
fn parts_of_odd_targets() {
    for (method, uri, parts) in [
        (&b"OPTIONS"[..], &b"*"[..], "*|*||"),
        (b"GET", b"/aa?", "/aa?|/aa|/aa|?"),
        (b"CONNECT", b"a.b:80", "a.b:80|a.b:80||"),
        (b"GET", b"http://h", "http://h|http://h||"),
        (b"GET", b"/x://y/z", "/x://y/z|/x://y/z|/x://y/z|"),
    ] {
        let subject = Known {
            request: Some((method, uri, b"HTTP/1.1")),
            ..Known::default()
        };
        assert_eq!(rendered("%HU|%HP|%HPO|%HQ", Purpose::Log, &subject), parts);
    }
}

#[test]
fn a_request_line_is_shown_up_to_1023_bytes() {
    static LONG: [u8; 3000] = [b'a'; 3000];
    let long = |uri: &'static [u8]| Known {
        request: Some((b"GET", uri, b"HTTP/1.1")),
        ..Known::default()
    };
    let line = |uri, format| rendered(format, Purpose::Log, &long(uri));
    assert_eq!(line(&LONG, "%r").len(), 1023);
    assert_eq!(line(&LONG, "%HU").len(), 1019);
    assert_eq!(line(&LONG, "%HV"), "HTTP/0.9");
    assert_eq!(line(&LONG[..1016], "%HV"), "HT");
    assert!(line(&LONG[..1016], "%r").ends_with("a HT"));
}

#[test]
fn a_unix_client_is_the_number_of_its_bind() {
    let unix = Known {
        src: None,
        ..Known::default()
    };
    assert_eq!(
        rendered("%ci|%cp|%fi|%fp|%{+Q}ci", Purpose::Log, &unix),
        "unix|1|unix|1|\"unix\""
    );
    let v6 = Known {
        src: Some("[::1]:1031".parse().unwrap()),
        ..Known::default()
    };
    assert_eq!(
        rendered("%ci|%{+X}ci|%{+X}cp", Purpose::Log, &v6),
        "::1|00000000000000000000000000000001|0407"
    );
}

#[test]
fn a_percent_sign_before_anything_else_is_lost() {
    for (format, line) in [
        ("x%%ci", "x%ci"),
        ("x%%%%", "x%%"),
        ("x%-b", "x-b"),
        ("x%]y", "x]y"),
        ("x%_ci", "x_ci"),
        ("x%;%ci", "x;127.0.0.1"),
        ("%ci_abc", "127.0.0.1_abc"),
        ("%ci]", "127.0.0.1]"),
    ] {
        assert_eq!(log(format), line, "{format}");
    }
}

#[test]
fn mistakes_are_told_in_haproxys_words() {
    for (format, text) in [
        (
            "%foo",
            "no such format variable 'foo'. If you wanted to emit the '%' character verbatim, you need to use '%%'.",
        ),
        (
            "%ciX",
            "no such format variable 'ciX'. If you wanted to emit the '%' character verbatim, you need to use '%%'.",
        ),
        ("%", "truncated line after '%'."),
        ("%ci%", "truncated line after '%'."),
        ("%{+Q", "truncated line after '+Q'."),
        (
            "%{+Q}",
            "parse argument modifier without variable name near '%{+Q}'.",
        ),
        (
            "%{+Q} x",
            "parse argument modifier without variable name near '%{+Q}'.",
        ),
        (
            "%{+Q}-b",
            "parse argument modifier without variable name near '%{+Q}'.",
        ),
        ("%[src", "missing ']' after 'src'."),
        ("%{+Q}[src", "missing ']' after 'src'."),
        (
            "% ci",
            "unexpected variable name near ' ' at position 1 line : '% ci'. Maybe you want to write a single '%', use the syntax '%%'.",
        ),
        (
            "%1",
            "unexpected variable name near '1' at position 1 line : '%1'. Maybe you want to write a single '%', use the syntax '%%'.",
        ),
    ] {
        assert_eq!(fault(format), text, "{format}");
    }
    let near = parse("ab %ciX", Purpose::Log).unwrap_err();
    assert_eq!((near.span.col, near.span.len), (4, 3));
    assert_eq!(near.help.as_deref(), Some("'%ci' exists"));
}

#[test]
fn aliases_that_only_http_has_are_found() {
    let of = |text| parse(text, Purpose::Log).unwrap().http_only().map(|f| f.0);
    assert_eq!(of("%ci %hr %tr %HM"), Some("tr"));
    assert_eq!(of("%ci %hr %tsc %ST"), None);
}

#[test]
fn the_end_of_an_expression_is_found_behind_brackets_in_its_arguments() {
    let end = |text: &str| expression_end(text.as_bytes());
    assert_eq!(end("src]x"), End::Bracket(3));
    assert_eq!(end("str(a]b)]x"), End::Bracket(8));
    assert_eq!(end("str(']')]x"), End::Bracket(8));
    assert_eq!(end("str(\"a\\\")]\")]x"), End::Bracket(12));
    assert_eq!(end("str('a)]b')]"), End::Bracket(11));
    assert_eq!(end("src,ipmask(24),upper]"), End::Bracket(20));
    assert_eq!(end("str(a)"), End::Never);
    assert_eq!(end("str(a\\)b)]"), End::Other(7));
}

#[test]
fn expressions_are_written_as_haproxy_does() {
    for (format, line) in [
        (
            "%[src]|%{+X}[src]|%{+Q}[src]",
            "127.0.0.1|127.0.0.1|\"127.0.0.1\"",
        ),
        ("%[int(42)]|%{+X}[int(42)]|%{+Q}[int(42)]", "42|42|\"42\""),
        ("%[bool(1)]|%{+Q}[bool(1)]", "1|\"1\""),
        ("%{+Q}o %[src] %{-Q}[src]", "\"127.0.0.1\" 127.0.0.1"),
        ("%{+Q}[str(a b)]%{+X}[int(-4)]", "\"a b\"-4"),
        ("%[str(']')]x%[str(\"a]b\")]", "]xa]b"),
        (
            "%{+E}[str('a]b\"')]|%{+Q,+E}[str('\\')]",
            "a\\]b\\\"|\"\\\\\"",
        ),
        ("%[str(a%ci)]%[str(#\u{e9})]", "a%ci#\u{e9}"),
        (
            "%[var(txn.x)]|%{+Q}[var(txn.x)]|%{+E}[var(txn.x)]|%{+Q,+E}[var(txn.x)]",
            "-|\"\"|-|\"\"",
        ),
    ] {
        assert_eq!(log(format), line, "{format}");
    }
    let of = |purpose| {
        rendered(
            "%{+Q}[src]|%{+Q}[var(txn.x)]|%[str('a\u{7}')]|%{+Q}HM",
            purpose,
            &Known::default(),
        )
    };
    assert_eq!(of(Purpose::Message), "127.0.0.1||a%07|\"GET\"");
    assert_eq!(of(Purpose::Id), "127.0.0.1||a%07|\"GET\"");
    assert_eq!(of(Purpose::Value), "\"127.0.0.1\"|\"\"|a\u{7}|\"GET\"");
}

#[test]
fn an_expression_that_lines_cannot_have_is_found() {
    let format = parse("%[src] %[req.hdr(host)]", Purpose::Log).unwrap();
    let out = format.misplaced(Place::Logs).unwrap();
    assert_eq!(
        out.text,
        "sample fetch <req.hdr(host)> may not be reliably used here because it needs 'HTTP request headers' which is not available here."
    );
    assert_eq!((out.span.col, out.span.len), (7, 16));
    assert_eq!(format.misplaced(Place::FrontRequestHeader), None);
    assert!(
        fault("%[foo]")
            .starts_with("failed to parse sample expression <foo> : unknown fetch method 'foo'")
    );
    assert_eq!(
        fault("%[str(a)b]"),
        "expected ']' after 'str(a)', but found 'b'."
    );
}

#[test]
fn a_format_without_values_is_known_beforehand() {
    let literal = |text, purpose| {
        let format = parse(text, purpose).unwrap();
        format
            .literal()
            .map(|l| String::from_utf8(l.to_vec()).unwrap())
    };
    assert_eq!(
        literal("a  b%%", Purpose::Message).as_deref(),
        Some("a  b%")
    );
    assert_eq!(literal(" a  b ", Purpose::Log).as_deref(), Some("a b "));
    assert_eq!(literal("a%ci", Purpose::Message), None);
    assert_eq!(literal("", Purpose::Message).as_deref(), Some(""));
}

#[test]
fn json_shows_named_parts_with_their_types() {
    assert_eq!(
        log("%{+json}o x %(client)ci %cp %(port)cp %(none)ID %(bytes:str)B %(line)r %(ok:bool)ST"),
        "{\"client\": \"127.0.0.1\", \"port\": 33250, \"none\": null, \"bytes\": \"88\", \
         \"line\": \"GET http://ex.com/p/a%20th?q=1&b=#22z#22 HTTP/1.1\", \"ok\": true}"
    );
    assert_eq!(
        log("%{+json,+Q}o%(l)hrl%(h)hs%(c)CC"),
        "{\"l\": [\"a#22b#23c#7Bd#7D#7Ce\\\\f]g\", \"\", \"caf#C3#A9#09t\"], \"h\": \"{o#22r#7Cg}\", \
         \"c\": \"sid=ab#c|\\\\]\\\"\"}"
    );
    assert_eq!(log("a %{+json}f %(n)b"), "a \"f10\" b12");
}

#[test]
fn cbor_is_hexadecimal_unless_bytes_are_asked_for() {
    // {"a": "s1", "b": 200, "c": null}, RFC 8949.
    assert_eq!(
        log("%{+cbor}o %(a)s %(b)ST %(c)ID"),
        "BF616162733161621 8C86163F6FF".replace(' ', "")
    );
    let format = parse("%{+cbor,+bin}o %(a)s", Purpose::Log).unwrap();
    let mut out = Vec::new();
    format.render(&Known::default(), &Arena::new(), &mut out);
    assert_eq!(out, b"\xbf\x61a\x62s1\xff");
}

#[test]
fn names_and_types_are_read() {
    assert_eq!(log("%(n)ci %(n:str){+Q}b"), "127.0.0.1 \"b12\"");
    assert!(fault("%(n:foo)ci").starts_with("unexpected output type 'foo'"));
}

proptest::proptest! {
    /// Whatever is written, and whoever asks: an answer or a fault that points into the word.
    #[test]
    fn no_format_panics(text in "([%{}\\[\\]()+,:\"' a-z]|%\\{[+-][QXE]\\}|%(ci|t|hr|hsl|r|HPO|o|Ts|tsc)|%\\[(src|str\\(a\\))\\]){0,12}") {
        for purpose in [Purpose::Log, Purpose::Message, Purpose::Value, Purpose::Id] {
            match parse(&text, purpose) {
                Ok(format) => {
                    let (arena, mut out) = (Arena::new(), Vec::new());
                    format.render(&Known::default(), &arena, &mut out);
                    if let Some(literal) = format.literal() {
                        let mut other = Vec::new();
                        render::format(&format, &Known::default(), &arena, None, &mut other);
                        proptest::prop_assert_eq!(literal, &*other);
                    }
                }
                Err(fault) => {
                    let end = fault.span.col + fault.span.len;
                    proptest::prop_assert!(end as usize <= text.len());
                }
            }
        }
    }
}
