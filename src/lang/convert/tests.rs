//! Converters beside haproxy's: `cases.txt` says what it makes of some thousand samples.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::Write;

use super::*;
use crate::lang::expr::{Expr, VarNames};
use crate::lang::lexer::Word;
use crate::lang::source::FileId;
use crate::lang::subject::{Fact, VarId};

/// Variables that converters may change, two capture slots and a backend `b` with servers `s` and `t`.
struct Stream<'a> {
    arena: &'a Arena,
    vars: RefCell<HashMap<VarId, Value<'a>>>,
}

fn copied<'a>(value: Value<'_>, arena: &'a Arena) -> Value<'a> {
    match value {
        Value::Bool(v) => Value::Bool(v),
        Value::Int(v) => Value::Int(v),
        Value::Ip(v) => Value::Ip(v),
        Value::Str(v) => Value::Str(arena.alloc_slice_copy(v)),
        Value::Bin(v) => Value::Bin(arena.alloc_slice_copy(v)),
        Value::Method(v) => Value::Method(arena.alloc_slice_copy(v)),
    }
}

impl Subject for Stream<'_> {
    fn var(&self, id: VarId) -> Option<Value<'_>> {
        self.vars.borrow().get(&id).copied()
    }
    fn set_var(&self, id: VarId, value: Option<Value<'_>>) {
        let mut vars = self.vars.borrow_mut();
        match value {
            Some(value) => vars.insert(id, copied(value, self.arena)),
            None => vars.remove(&id),
        };
    }
    fn set_request_capture(&self, index: usize, _: &[u8]) -> bool {
        index == 0
    }
    fn set_response_capture(&self, index: usize, _: &[u8]) -> bool {
        index == 0
    }
    fn backend_named(&self, name: &[u8]) -> Option<u32> {
        (name == b"b").then_some(1)
    }
    fn server_named(&self, backend: Option<&[u8]>, name: &[u8]) -> Option<u32> {
        (backend == Some(b"b") && matches!(name, b"s" | b"t")).then_some(0)
    }
    fn fact(&self, fact: Fact) -> Option<Value<'_>> {
        match fact {
            Fact::BackServers(Some(1)) => Some(Value::Int(2)),
            Fact::ServerQueue(Some(0)) => Some(Value::Int(0)),
            // An hour east of Greenwich as 2026 begins.
            Fact::LocalOffsetS(1_767_225_600) => Some(Value::Int(3_600)),
            _ => None,
        }
    }
}

const SPAN: Span = Span {
    file: FileId(0),
    line: 1,
    col: 0,
    len: 0,
};

fn with_cx<R>(vars: &mut VarNames, run: impl FnOnce(&mut Cx<'_>) -> R) -> R {
    let mut cx = Cx {
        vars,
        read: &|_| Err("no files here".to_owned()),
        resolve: &|_| None,
        warnings: Vec::new(),
        env: &|_| None,
    };
    run(&mut cx)
}

fn sample<'a>(text: &str, arena: &'a Arena) -> Value<'a> {
    let (fetch, arg) = text.split_once('(').unwrap_or((text, ""));
    let arg = arg.strip_suffix(')').unwrap_or(arg);
    match fetch {
        "str" => Value::Str(arena.alloc_slice_copy(arg.as_bytes())),
        "bin" => {
            let byte = |i: usize| u8::from_str_radix(&arg[i..i + 2], 16).unwrap();
            Value::Bin(arena.alloc_slice_fill_iter((0..arg.len() / 2).map(|i| byte(2 * i))))
        }
        "int" => Value::Int(arg.parse().unwrap()),
        "bool" => Value::Bool(arg == "true"),
        "ipv4" | "ipv6" => Value::Ip(arg.parse().unwrap()),
        "method" => Value::Method(b"GET"),
        _ => panic!("no fetch {fetch}"),
    }
}

fn shown(value: Option<Value<'_>>) -> String {
    match value {
        None => "none".to_owned(),
        Some(Value::Bool(v)) => u8::from(v).to_string(),
        Some(Value::Int(v)) => v.to_string(),
        Some(Value::Ip(_)) => {
            String::from_utf8_lossy(value.unwrap().text(&Arena::new())).into_owned()
        }
        Some(Value::Str(v) | Value::Bin(v) | Value::Method(v)) => {
            if v.iter().all(|c| matches!(c, b' '..=b'~')) {
                return format!("\"{}\"", String::from_utf8_lossy(v));
            }
            let mut out = "x".to_owned();
            for byte in v {
                write!(out, "{byte:02x}").unwrap();
            }
            out
        }
    }
}

const VARS: &[(&str, &str)] = &[
    ("i", "int(7)"),
    ("n", "int(-3)"),
    ("z", "int(0)"),
    ("s", "str(abc)"),
    ("e", "str()"),
    ("b", "bin(610062)"),
    ("t", "bool(true)"),
    ("ip", "ipv4(10.1.2.3)"),
    ("num", "str(42x)"),
    ("big", "int(9223372036854775807)"),
    ("nonce", "str(AAAAAAAAAAAAAAAA)"),
    ("key", "str(AAAAAAAAAAAAAAAAAAAAAA==)"),
    ("tag", "str(q25H1CzsE731OmeyEle93w==)"),
];

/// What the whole expression gives.
fn run(input: &str, converters: &str) -> String {
    let arena = Arena::new();
    let mut names = VarNames::default();
    let mut vars = HashMap::new();
    for (name, value) in VARS {
        let id = names.id(crate::lang::subject::Scope::Txn, name);
        vars.insert(id, sample(value, &arena));
    }
    let text = format!("{input},{converters}");
    let word = Word {
        span: Span {
            len: u32::try_from(text.len()).unwrap(),
            ..SPAN
        },
        bytes: text.into_bytes(),
    };
    let expr = match with_cx(&mut names, |cx| Expr::parse(&word, cx)) {
        Ok(expr) => expr,
        Err(fault) => return format!("error: {}", fault.text),
    };
    let stream = Stream {
        arena: &arena,
        vars: RefCell::new(vars),
    };
    let value = expr.eval(&stream, &arena);
    let is = |value: Value<'_>| expr.kind() == Kind::Any || value.kind() == expr.kind();
    assert!(value.is_none_or(is), "{input},{converters} gave {value:?}");
    shown(value)
}

#[test]
fn converters_make_of_samples_what_haproxys_make() {
    let mut compared = 0;
    let mut wrong = Vec::new();
    let mut long = HashMap::new();
    for line in include_str!("cases.txt").lines() {
        if line.starts_with('#') {
            continue;
        }
        let parts: Vec<&str> = line.split('\t').collect();
        let &[input, converters, expected] = &parts[..] else {
            // A long sample, and what stands for it.
            long.insert(parts[0], parts[1]);
            continue;
        };
        let got = run(long.get(input).unwrap_or(&input), converters);
        if got != expected {
            wrong.push(format!("{input},{converters}: {got}, not {expected}"));
        }
        compared += 1;
    }
    assert!(
        wrong.is_empty(),
        "{} of {compared}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(compared > 1000);
}

#[test]
fn the_table_is_in_order_of_names() {
    assert!(table::TABLE.is_sorted_by(|a, b| a.name < b.name));
    assert!(known("lower") && known("map_str") && !known("lowr"));
}

#[test]
fn mistakes_are_placed_on_the_argument() {
    let mut vars = VarNames::default();
    let arg = |text: &str, at| Arg {
        text: text.into(),
        at,
    };
    // str(x),field(0,_)
    let span = Span {
        col: 30,
        len: 17,
        ..SPAN
    };
    let args = [arg("0", 13), arg("_", 15)];
    let fault = with_cx(&mut vars, |cx| {
        Converter::parse("field", &args, span, cx).unwrap_err()
    });
    assert_eq!((fault.span.col, fault.span.len), (43, 1));
    let fault = with_cx(&mut vars, |cx| {
        Converter::parse("lowr", &[], span, cx).unwrap_err()
    });
    assert_eq!(fault.text, "unknown converter 'lowr'.");
    assert_eq!(fault.help.as_deref(), Some("did you mean 'lower' maybe ?"));
    let fault = with_cx(&mut vars, |cx| {
        Converter::parse("map_str", &[], span, cx).unwrap_err()
    });
    assert_eq!(fault.not_yet.as_deref(), Some("map_str"));
}

/// What haproxy 2.6 does not have, or does otherwise: see the manual of 3.4 and the top of `convert.rs`.
#[test]
fn converters_of_later_versions_do_what_the_manual_says() {
    for (input, converters, expected) in [
        ("str(a=1&b=2&bc=3&d)", "param(b)", "\"2\""),
        ("str(a=1&b=2&bc=3&d)", "param(bc)", "\"3\""),
        ("str(a=1&b=2&bc=3&d)", "param(d)", "\"\""),
        ("str(a=1&b=2&bc=3&d)", "param(x)", "none"),
        ("str(a=1;b=2)", "param(b,;)", "\"2\""),
        (
            "str(a)",
            "param(b,;;)",
            "error: invalid args in converter 'param' : Delimiter must be exactly 1 character.",
        ),
        ("str(www.example.com)", "reverse_dom", "\"com.example.www\""),
        ("str()", "reverse_dom", "\"\""),
        ("bin(05ff)", "base2", "\"0000010111111111\""),
        ("bin(01020304050607)", "le2dec(:,2)", "\"513:1027:1541:7\""),
        ("bin(01020304050607)", "le2dec(-,2,1)", "\"513-1027-1541\""),
        ("bin(7f000001)", "le2dec(.,1)", "\"127.0.0.1\""),
        (
            "int(1700000000123)",
            "ms_utime('%s.%3N')",
            "\"1700000000.123\"",
        ),
        (
            "int(1700000000123456)",
            "us_utime('%T.%6N %N %2N')",
            "\"22:13:20.123456 123456000 12\"",
        ),
        (
            "int(1700000000123)",
            "ms_ltime('%T.%N',-200)",
            "\"22:13:19.923000000\"",
        ),
        (
            "int(1767225600)",
            "ltime('%F %T %z')",
            "\"2026-01-01 01:00:00 +0100\"",
        ),
        ("str(abcdef)", "bytes(1,txn.i)", "\"bcdef\""),
        ("str(abcdefghijk)", "bytes(txn.i)", "\"hijk\""),
        ("str(abcdef)", "bytes(1,txn.none)", "none"),
        ("str(b)", "fe_exists", "0"),
        ("str(x)", "when(normal)", "\"x\""),
        ("str(x)", "when(error)", "none"),
        ("str(x)", "when(!error)", "\"x\""),
        ("str(x)", "when(forwarded)", "none"),
        ("str(YQ==)", "ub64dec", "\"a\""),
        ("str(YWJj=)", "ub64dec", "none"),
        ("str(YWI==)", "ub64dec", "none"),
        ("int(-1)", "add(-1)", "-2"),
        ("str(for=127.0.0.1;proto=http)", "rfc7239_is_valid", "1"),
        ("str(proto=custom)", "rfc7239_is_valid", "0"),
        ("str(for=2001:db8::1)", "rfc7239_is_valid", "0"),
        ("str(for=_a;for=_b)", "rfc7239_is_valid", "0"),
        ("str(for=_a;)", "rfc7239_is_valid", "0"),
        ("str()", "rfc7239_is_valid", "0"),
        (
            "str(For=_a; By=unknown)",
            "rfc7239_field(by)",
            "\"unknown\"",
        ),
        // for="[2001:db8::1]:80";host="x.org:80"
        (
            "bin(666f723d225b323030313a6462383a3a315d3a3830223b686f73743d22782e6f72673a383022)",
            "rfc7239_field(host)",
            "\"x.org:80\"",
        ),
        (
            "bin(666f723d225b323030313a6462383a3a315d3a3830223b686f73743d22782e6f72673a383022)",
            "rfc7239_field(for),rfc7239_n2nn",
            "2001:db8::1",
        ),
        ("str(127.0.0.1:9999)", "rfc7239_n2nn", "127.0.0.1"),
        ("str(127.0.0.1:9999)", "rfc7239_n2np", "9999"),
        ("str(_name:_port)", "rfc7239_n2nn", "\"_name\""),
        ("str(_name:_port)", "rfc7239_n2np", "\"_port\""),
        ("str(_name)", "rfc7239_n2np", "none"),
        (
            "str(x)",
            "rfc7239_field(x)",
            "error: invalid args in converter 'rfc7239_field' : invalid rfc7239 field 'x'.",
        ),
        (
            "bin(656e3b713d302c66723b713d302e31)",
            "language(es;fr;en)",
            "\"fr\"",
        ),
        ("bin(010000000508ac02100a)", "ungrpc(2,uint32)", "none"),
        (
            "str(eyJhIjoxfQ.eyJiIjoyfQ.c2ln)",
            "jwt_header_query",
            "\"{\"a\":1}\"",
        ),
        (
            "str(eyJhIjoxfQ.eyJiIjoyfQ.c2ln)",
            "jwt_payload_query",
            "\"{\"b\":2}\"",
        ),
        // {"a":[1,{"b":"]"}],"u":"é€😀"}
        (
            "bin(7b2261223a5b312c7b2262223a225d227d5d2c2275223a225c75303065395c75323061635c75643833645c7564653030227d)",
            "json_query('$.a')",
            "\"[1,{\"b\":\"]\"}]\"",
        ),
        (
            "bin(7b2261223a5b312c7b2262223a225d227d5d2c2275223a225c75303065395c75323061635c75643833645c7564653030227d)",
            "json_query('$.u')",
            "xc3a9e282acf09f9880",
        ),
        // Half a pair of surrogates.
        (
            "bin(7b2275223a225c7564383364227d)",
            "json_query('$.u')",
            "none",
        ),
        (
            "bin(00000000000000000000000000000000)",
            "aes_gcm_enc(128,txn.nonce,txn.key,txn.new)",
            "x0388dace60b6a392f328c2b971b2fe78",
        ),
        (
            "bin(00000000000000000000000000000000)",
            "aes_gcm_enc(128,txn.nonce,txn.key,txn.new),bytes(0,0),concat(,txn.new)",
            "\"q25H1CzsE731OmeyEle93w==\"",
        ),
        (
            "str(x)",
            "digest(sm3)",
            "error: 'digest(sm3)' is not supported yet.",
        ),
        (
            "str(x)",
            "jwt_verify(RS256,/etc/pem)",
            "error: 'jwt_verify(RS256)' is not supported yet.",
        ),
        (
            "str(x)",
            "jwt_verify(txn.alg,/etc/pem)",
            "error: 'jwt_verify with the algorithm in a variable' is not supported yet.",
        ),
    ] {
        let got = run(input, converters);
        assert_eq!(got, expected, "{input},{converters}");
    }
}

#[test]
fn what_is_encrypted_is_decrypted_with_its_tag_only() {
    let sizes = [("128", 16), ("192", 24), ("256", 32)];
    for ((bits, key), nonce) in sizes
        .into_iter()
        .flat_map(|key| [(key, 8), (key, 12), (key, 16)])
    {
        let base64 = |len: usize| {
            let arena = Arena::new();
            let bytes: Vec<u8> = (0..len as u8).collect();
            String::from_utf8_lossy(codec::to_base64_padded(&bytes, &arena)).into_owned()
        };
        let (key, nonce) = (base64(key), base64(nonce));
        let sealed = format!("aes_gcm_enc({bits},{nonce},{key},txn.new,YWFk)");
        let opened = format!("{sealed},aes_gcm_dec({bits},{nonce},{key},txn.new,YWFk)");
        assert_eq!(run("str(a secret)", &opened), "\"a secret\"");
        let forged = format!("{sealed},aes_gcm_dec({bits},{nonce},{key},txn.new)");
        assert_eq!(run("str(a secret)", &forged), "none");
        let forged = format!("{sealed},aes_gcm_dec({bits},{nonce},{key},txn.tag,YWFk)");
        assert_eq!(run("str(a secret)", &forged), "none");
    }
}

/// Arguments that converters may meet, right and wrong.
const ARGS: &[&str] = &[
    "",
    "0",
    "1",
    "2",
    "-1",
    "7",
    "8",
    "64",
    "128",
    "99999999999999999999",
    "a",
    ".",
    "/,;",
    "txn.i",
    "txn.s",
    "txn.e",
    "txn.b",
    "txn.ip",
    "txn.nonce",
    "txn.key",
    "txn.tag",
    "txn.none",
    "sha256",
    "HS256",
    "int",
    "int32",
    "sint64",
    "double",
    "utf8ps",
    "utf8",
    "$.a",
    "$[1].b",
    "1.2",
    "%c%U%V%G%30N%_300Y%",
    "(a)(b)?|",
    "x*",
    "\\1\\0\\x41",
    "g",
    "YWI=",
    "ms",
    "es;fr",
    "24",
    "ffff::",
    "error",
    "ifgt",
    "MsgType",
];

proptest::proptest! {
    #[test]
    fn no_converter_panics(
        entry in 0..table::TABLE.len(),
        args in proptest::collection::vec(0..ARGS.len(), 0..6),
        text in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..64),
        plain in "[a-zA-Z0-9=/+%.:;,&?{}\\[\\]\"\\\\ \\x01-]{0,48}",
        number in proptest::prelude::any::<i64>(),
        form in 0..8_usize,
    ) {
        let name = table::TABLE[entry].name;
        let args: Vec<Arg> = args
            .iter()
            .map(|&i| Arg { text: ARGS[i].into(), at: 0 })
            .collect();
        let mut names = VarNames::default();
        let parsed = with_cx(&mut names, |cx| Converter::parse(name, &args, SPAN, cx));
        if let Ok(converter) = parsed {
            let arena = Arena::new();
            let vars = VARS
                .iter()
                .map(|(name, value)| {
                    (names.id(crate::lang::subject::Scope::Txn, name), sample(value, &arena))
                })
                .collect();
            let stream = Stream { arena: &arena, vars: RefCell::new(vars) };
            let value = match form {
                0 => Value::Int(number),
                1 => Value::Bool(number > 0),
                2 => Value::Ip(std::net::Ipv6Addr::from(number as u128).into()),
                3 => Value::Ip(std::net::Ipv4Addr::from(number as u32).into()),
                4 => Value::Bin(&text),
                5 => Value::Str(&text),
                6 => Value::Bin(plain.as_bytes()),
                _ => Value::Str(plain.as_bytes()),
            };
            let got = converter.apply(value, &stream, &arena);
            let kind = converter.output();
            let is = |value: Value<'_>| kind == Kind::Any || value.kind() == kind;
            assert!(got.is_none_or(is), "{converter:?} gave {got:?}");
        }
    }
}
