//! A request and a response to ask expressions of, in tests.

use std::net::SocketAddr;

use crate::lang::acl::{Acls, Condition, Verdict};
use crate::lang::expr::{Cx, Expr, Fault, Needs, Settle, VarNames};
use crate::lang::lexer::Word;
use crate::lang::sample::{Arena, Value};
use crate::lang::source::{FileId, Span};
use crate::lang::subject::{Bytes, Fact, Login, ProxyRef, Secret, ServerRef, Subject, VarId};
use crate::proto::http::{Head, Version};

#[derive(Debug, Default)]
pub(in crate::lang) struct Fixture {
    pub(in crate::lang) request: Option<Head>,
    pub(in crate::lang) response: Option<Head>,
    pub(in crate::lang) body: Vec<u8>,
    pub(in crate::lang) bytes: Option<(Vec<u8>, bool)>,
    pub(in crate::lang) src: Option<SocketAddr>,
    pub(in crate::lang) pending: Needs,
    /// `None`: hashes are still being worked out.
    pub(in crate::lang) hashed: Option<bool>,
}

impl Fixture {
    /// A request as it is written on the wire, body and all.
    pub(in crate::lang) fn request(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
        let mut lines = head.split("\r\n");
        let mut first = lines.next().unwrap().splitn(3, ' ');
        let mut request = Head::default();
        request.set_method(first.next().unwrap().as_bytes());
        request.set_target(first.next().unwrap().as_bytes());
        if first.next() == Some("HTTP/1.0") {
            request.version = Version::Http10;
        }
        push(&mut request, lines);
        Self {
            request: Some(request),
            body: dechunked(body),
            src: Some("127.0.0.1:4711".parse().unwrap()),
            ..Self::default()
        }
    }
    #[must_use]
    pub(in crate::lang) fn response(mut self, text: &str) -> Self {
        let mut lines = text.trim_end().split("\r\n");
        let mut first = lines.next().unwrap().splitn(3, ' ');
        let mut response = Head::default();
        if first.next() == Some("HTTP/1.0") {
            response.version = Version::Http10;
        }
        let status = first.next().unwrap().parse().unwrap();
        response.set_status(status, first.next().unwrap_or("").as_bytes());
        push(&mut response, lines);
        self.response = Some(response);
        self
    }
    /// Text of what the expression gives; `None` for nothing.
    pub(in crate::lang) fn text(&self, expr: &str) -> Option<String> {
        let text = self.bytes_of(expr)?;
        Some(String::from_utf8_lossy(&text).into_owned())
    }
    pub(in crate::lang) fn bytes_of(&self, text: &str) -> Option<Vec<u8>> {
        let mut expr = with_cx(|cx| Expr::parse(&word(text), cx))
            .unwrap_or_else(|fault| panic!("{text}: {}", fault.text));
        expr.settle(&Names).expect(text);
        let arena = Arena::new();
        Some(expr.eval(self, &arena)?.text(&arena).to_vec())
    }
    /// Verdict of a condition, words in haproxy's quotes.
    pub(in crate::lang) fn holds(&self, text: &str) -> Verdict {
        let mut condition = with_cx(|cx| Condition::parse(&words(text), &Acls::default(), cx))
            .unwrap_or_else(|fault| panic!("{text}: {}", fault.text));
        condition.settle(&Acls::default(), &Names).expect(text);
        condition.holds(self, &Arena::new())
    }
    /// Texts of all an ACL would look at.
    pub(in crate::lang) fn texts(&self, expr: &str) -> Vec<String> {
        let expr = with_cx(|cx| Expr::parse(&word(expr), cx)).unwrap();
        let arena = Arena::new();
        let mut out = Vec::new();
        expr.eval_each(self, &arena, &mut |value| {
            out.push(String::from_utf8_lossy(value.text(&arena)).into_owned());
            true
        });
        out
    }
}

/// The data of one chunk, or all of a body that does not look chunked.
fn dechunked(body: &str) -> Vec<u8> {
    match body.strip_suffix("\r\n0\r\n\r\n") {
        Some(chunk) => chunk.split_once("\r\n").unwrap().1.into(),
        None => body.into(),
    }
}

fn push<'a>(head: &mut Head, lines: impl Iterator<Item = &'a str>) {
    for line in lines {
        let (name, value) = line.split_once(':').unwrap();
        head.push(name.as_bytes(), value.trim().as_bytes());
    }
}

pub(in crate::lang) fn word(text: &str) -> Word {
    Word {
        bytes: text.into(),
        span: Span {
            file: FileId(0),
            line: 1,
            col: 0,
            len: text.len() as u32,
        },
    }
}

/// A list `u` of users, one backend `b`.
#[derive(Debug)]
pub(in crate::lang) struct Names;

impl Settle for Names {
    fn proxy(&self, name: &str) -> ProxyRef {
        (name == "b").then_some(7)
    }
    fn server(&self, _: &str) -> ServerRef {
        None
    }
    fn userlist(&self, name: &str) -> Option<u32> {
        (name == "u").then_some(0)
    }
    fn here(&self) -> &str {
        "f"
    }
    fn is_backend(&self) -> bool {
        false
    }
}

/// Words split at blanks that no double quotes enclose; `\"` is a quote.
pub(in crate::lang) fn words(text: &str) -> Vec<Word> {
    let mut out = vec![String::new()];
    let (mut quoted, mut chars) = (false, text.chars());
    while let Some(c) = chars.next() {
        let last = out.last_mut().expect("never empty");
        match c {
            '\\' if chars.as_str().starts_with('"') => last.extend(chars.next()),
            '"' => quoted = !quoted,
            ' ' if !quoted => out.push(String::new()),
            c => last.push(c),
        }
    }
    out.iter().map(|text| word(text)).collect()
}

pub(in crate::lang) fn with_cx<T>(run: impl FnOnce(&mut Cx<'_>) -> T) -> T {
    with_warnings(run).0
}

/// What `run` gives, and the texts of the warnings it left.
pub(in crate::lang) fn with_warnings<T>(run: impl FnOnce(&mut Cx<'_>) -> T) -> (T, Vec<String>) {
    let mut vars = VarNames::default();
    let mut cx = Cx {
        vars: &mut vars,
        read: &|path| match path.to_str() {
            Some("names.txt") => Ok(b"# names\nalpha\n\n beta\r\n".to_vec()),
            _ => Err("No such file or directory".to_owned()),
        },
        resolve: &|name| (name == "localhost").then(|| "127.0.0.1".parse().unwrap()),
        warnings: Vec::new(),
        env: &|name| (name == "HOME").then(|| "/root".to_owned()),
    };
    let out = run(&mut cx);
    let warnings = cx.warnings.into_iter().map(|(_, text, _)| text).collect();
    (out, warnings)
}

/// The message about an expression that cannot be read.
pub(in crate::lang) fn fault(expr: &str) -> Fault {
    with_cx(|cx| Expr::parse(&word(expr), cx)).expect_err(expr)
}

impl Subject for Fixture {
    fn request(&self) -> Option<&Head> {
        self.request.as_ref()
    }
    fn response(&self) -> Option<&Head> {
        self.response.as_ref()
    }
    fn request_body(&self) -> Option<Bytes<'_>> {
        Some(Bytes {
            bytes: &self.body,
            complete: true,
            announced: None,
        })
    }
    fn request_bytes(&self) -> Option<Bytes<'_>> {
        self.bytes.as_ref().map(|(bytes, complete)| Bytes {
            bytes,
            complete: *complete,
            announced: None,
        })
    }
    fn src(&self) -> Option<SocketAddr> {
        self.src
    }
    fn pending(&self) -> Needs {
        self.pending
    }
    fn fact(&self, fact: Fact) -> Option<Value<'_>> {
        Some(match fact {
            Fact::NowUs => Value::Int(1_700_000_000_123_456),
            Fact::Random => Value::Int(0xdead_beef),
            Fact::FirstRequest => Value::Bool(true),
            Fact::BackServers(None) => Value::Int(1),
            Fact::BackServers(Some(n)) => Value::Int(n.into()),
            _ => return None,
        })
    }
    fn var(&self, _: VarId) -> Option<Value<'_>> {
        None
    }
    fn user(&self, _list: u32, name: &[u8]) -> Option<Login<'_>> {
        static GROUPS: std::sync::LazyLock<Vec<String>> =
            std::sync::LazyLock::new(|| vec!["admin".to_owned()]);
        let secret = match name {
            b"a" => Secret::Plain(b"b"),
            b"h" => Secret::Hashed,
            _ => return None,
        };
        Some(Login {
            secret,
            groups: &GROUPS,
        })
    }
    fn password(&self, _list: u32, _user: &[u8], _password: &[u8]) -> Option<bool> {
        self.hashed
    }
}
