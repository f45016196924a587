//! Converters beside haproxy's: `cases.txt` says what it makes of some thousand samples.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::Write;

use super::*;
use crate::lang::expr::VarNames;
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

/// A name with its arguments: in single quotes as they are, else without escapes.
fn split(word: &str) -> Vec<(String, Vec<Arg>)> {
    let mut out = Vec::new();
    let mut chars = word.chars().peekable();
    while chars.peek().is_some() {
        let mut name = String::new();
        while let Some(c) = chars.next_if(|&c| !matches!(c, ',' | '(')) {
            name.push(c);
        }
        let mut args = Vec::new();
        if chars.next() == Some('(') {
            let (mut text, mut any, mut quoted) = (String::new(), false, false);
            loop {
                match chars.next().unwrap() {
                    '\'' => quoted = !quoted,
                    ')' if !quoted => break,
                    ',' if !quoted => {
                        args.push(std::mem::take(&mut text));
                        any = true;
                    }
                    c => text.push(c),
                }
            }
            if any || !text.is_empty() {
                args.push(text);
            }
            chars.next_if_eq(&',');
        }
        let arg = |text: String| Arg {
            text: text.into_bytes(),
            at: 0,
        };
        out.push((name, args.into_iter().map(arg).collect()));
    }
    out
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

fn parse(word: &str, vars: &mut VarNames) -> Result<Vec<Converter>, Fault> {
    let parse = |(name, args): &(String, Vec<Arg>)| {
        with_cx(vars, |cx| Converter::parse(name, args, SPAN, cx))
    };
    split(word).iter().map(parse).collect()
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

/// What the converters make of the sample, with types checked where one follows the other.
fn run(input: &str, converters: &str) -> String {
    let arena = Arena::new();
    let mut names = VarNames::default();
    let mut vars = HashMap::new();
    for (name, value) in VARS {
        let id = names.id(crate::lang::subject::Scope::Txn, name);
        vars.insert(id, sample(value, &arena));
    }
    let converters = match parse(converters, &mut names) {
        Ok(converters) => converters,
        Err(fault) => return format!("error: {}", fault.text),
    };
    let stream = Stream {
        arena: &arena,
        vars: RefCell::new(vars),
    };
    let mut value = Some(sample(input, &arena));
    let mut kind = value.unwrap().kind();
    for converter in &converters {
        if !kind.casts_to(converter.input()) {
            return format!("error: converter '{}' cannot be applied.", converter.name());
        }
        value = value.and_then(|value| converter.apply(value, &stream, &arena));
        if !converter.keeps_kind() {
            kind = converter.output();
        }
        let is = |value: Value<'_>| kind == Kind::Any || value.kind() == kind;
        assert!(value.is_none_or(is), "{converter:?} gave {value:?}");
    }
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
