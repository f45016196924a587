//! What text is given to: expressions, log formats, whole configurations.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use ringway::config::{Input, LoadInputs, World, load};
use ringway::lang::expr::{Cx, Expr, VarNames};
use ringway::lang::lexer::Word;
use ringway::lang::logformat::LogFormat;
use ringway::lang::sample::{Arena, Kind};
use ringway::lang::source::{FileId, Span};
use ringway::lang::subject::{Bytes, Subject};
use ringway::proto::http::Head;

pub(crate) const FETCHES: &[&str] = &[
    "req.hdr(",
    "path",
    "url_param(",
    "req.cook(",
    "src",
    "dst",
    "int(",
    "str(",
    "bin(",
    "var(txn.a)",
    "rand(",
    "date",
    ",lower",
    ",upper",
    ",hex",
    ",base64",
    ",b64dec",
    ",field(",
    ",word(",
    ",regsub(",
    ",bytes(",
    ",ipmask(",
    ",add(",
    ",mul(",
    ",div(",
    ",mod(",
    ",json_query(",
    ",url_dec",
    ",url_enc",
    ",crc32",
    ",sdbm",
    ",ltime(",
    ",utime(",
    ",concat(",
    ",iif(",
    ",json(",
    ",set-var(txn.a)",
    ",xxh64",
    ",sha2(256)",
    ",length",
    ",strcmp(txn.a)",
    ",rtrim(",
    ",ungrpc(",
    ",protobuf(",
    ",fix_is_valid",
    ",mqtt_is_valid",
    ",jwt_header_query(",
    ",digest(",
    ",hmac(",
    ",reverse",
    ",be2dec(",
    ",be2hex(",
    ",cut_crlf",
    ",param(",
    ",add_item(",
    ",language(",
    ",host_only",
    ",ms_ltime(",
    ")",
    ",",
    "-1",
    "9223372036854775807",
    "-9223372036854775808",
    "query",
    "method",
    "req.body",
    "req.body_param(",
    "capture.req.hdr(",
    "unique-id",
    "req.fhdr(",
    "req.hdr_ip(",
    "res.hdr(",
    "status",
    "req.payload(",
    "req.ssl_hello_type",
    "hdr_val(",
];

pub(crate) const KEYWORDS: &[&str] = &[
    "\n",
    " ",
    "global\n",
    "defaults\n",
    "frontend f\n",
    "backend b\n",
    "listen l\n",
    "userlist u\n",
    " bind :80\n",
    " server s 127.0.0.1:80\n",
    " mode http\n",
    " mode tcp\n",
    " acl a path_beg /x\n",
    " if a\n",
    " unless ",
    " or ",
    " { path /x }",
    " use_backend b if ",
    " http-request ",
    "deny",
    "set-header x y",
    " log-format \"%ci\"\n",
    " cookie S ",
    " balance ",
    " timeout client 1s\n",
    " option ",
    "httplog",
    "forwardfor",
    " http-response ",
    " tcp-request ",
    "content",
    "connection",
    "track-sc0 src",
    " stick-table type ip size 1k\n",
    " stats enable\n",
    " errorfile 503 /x\n",
    " redirect ",
    "location /",
    "prefix /",
    " maxconn ",
    " from x\n",
    ".if 1\n",
    ".endif\n",
    ".else\n",
    "${A}",
    "\"",
    "'",
    "\\",
    "peers p\n",
    "resolvers r\n",
    "program p\n",
    " default-server ",
    "check",
    "weight ",
    " server-template s 3 h:1\n",
    " http-check ",
    " tcp-check ",
    "http-errors e\n",
    " monitor-uri /m\n",
    " capture request header h len 5\n",
    " unique-id-format %[rand]\n",
    " retry-on ",
    " default_backend b\n",
    " no ",
    "!",
    " -m reg ",
    " -i ",
    " -f x ",
    " rspadd x\n",
    " reqrep a b\n",
    " block if a\n",
    "presetenv A b\n",
    "18446744073709551616",
    "-1",
    "1d",
    "25d",
    "99999999999s",
];

fn word(bytes: &[u8]) -> Word {
    Word {
        bytes: bytes.to_vec(),
        span: Span {
            file: FileId(0),
            line: 1,
            col: 0,
            len: bytes.len() as u32,
        },
    }
}

fn with_cx(act: impl FnOnce(&mut Cx<'_>)) {
    let mut vars = VarNames::default();
    let mut cx = Cx {
        vars: &mut vars,
        read: &|_| Err("none".to_owned()),
        resolve: &|_| None,
        warnings: Vec::new(),
        env: &|_| None,
    };
    act(&mut cx);
}

/// A request and its answer, and whatever body the input has behind its first line.
struct Asked<'a> {
    request: Head,
    response: Head,
    body: &'a [u8],
}

impl<'a> Asked<'a> {
    fn new(body: &'a [u8]) -> Self {
        let (mut request, mut response) = (Head::default(), Head::default());
        request.set_method(b"POST");
        request.set_target(b"/a/b%20c?x=1&y=%zz&x=&=#");
        for (name, value) in [
            (&b"host"[..], &b"www.Example.com:80"[..]),
            (b"cookie", b"S=a; b=\"c,d\"; ;=x; S=2"),
            (b"accept-language", b"de;q=0.5, en, fr;q=x"),
            (b"x-forwarded-for", b"192.0.2.1, 2001:db8::1,"),
            (b"authorization", b"Basic dTpw"),
            (b"content-type", b"application/x-www-form-urlencoded"),
            (b"x-int", b"-12abc"),
        ] {
            request.push(name, value);
        }
        response.set_status(200, b"OK");
        response.push(b"set-cookie", b"S=v; Path=/; HttpOnly");
        response.push(b"etag", b"\"x\"");
        Self {
            request,
            response,
            body,
        }
    }
}

impl Subject for Asked<'_> {
    fn request(&self) -> Option<&Head> {
        Some(&self.request)
    }
    fn response(&self) -> Option<&Head> {
        Some(&self.response)
    }
    fn request_body(&self) -> Option<Bytes<'_>> {
        Some(Bytes {
            bytes: self.body,
            complete: true,
            announced: None,
        })
    }
    fn request_bytes(&self) -> Option<Bytes<'_>> {
        Some(Bytes {
            bytes: self.body,
            complete: false,
            announced: None,
        })
    }
    fn src(&self) -> Option<SocketAddr> {
        Some(SocketAddr::new(Ipv4Addr::new(192, 0, 2, 1).into(), 4711))
    }
}

fn split(data: &[u8]) -> (&[u8], &[u8]) {
    let end = memchr(b'\n', data);
    (&data[..end], data.get(end + 1..).unwrap_or_default())
}

fn memchr(byte: u8, data: &[u8]) -> usize {
    data.iter().position(|b| *b == byte).unwrap_or(data.len())
}

/// The first line is the expression, the rest the body it may ask for.
pub(crate) fn expression(data: &[u8]) {
    let (text, body) = split(data);
    with_cx(|cx| {
        let Ok(expr) = Expr::parse(&word(text), cx) else {
            return;
        };
        let (subject, arena) = (Asked::new(body), Arena::new());
        let _ = expr.waits(&subject);
        if let Some(value) = expr.eval(&subject, &arena) {
            for kind in [Kind::Str, Kind::Int, Kind::Bin, Kind::Bool] {
                let _ = value.cast(kind, &arena);
            }
            let _ = value.text(&arena);
        }
    });
}

/// The first line is the format, in each of its places.
pub(crate) fn log_format(data: &[u8]) {
    let (text, body) = split(data);
    let word = word(text);
    let subject = Asked::new(body);
    for parse in [
        LogFormat::parse,
        LogFormat::parse_value,
        LogFormat::parse_log,
        LogFormat::parse_id,
    ] {
        with_cx(|cx| {
            if let Ok(format) = parse(&word, cx) {
                let mut out = Vec::new();
                format.render(&subject, &Arena::new(), &mut out);
            }
        });
    }
}

/// No names, no files, no users.
struct Nowhere;

impl World for Nowhere {
    fn resolve(&self, _host: &str) -> Result<Vec<IpAddr>, String> {
        Err("no address".to_owned())
    }
    fn read(&self, _path: &Path) -> Result<Vec<u8>, String> {
        Err("no file".to_owned())
    }
    fn user(&self, _name: &str) -> Option<u32> {
        None
    }
    fn group(&self, _name: &str) -> Option<u32> {
        None
    }
}

/// A whole configuration: it is accepted, or refused with a message that can be shown.
pub(crate) fn configuration(data: &[u8]) {
    let inputs = LoadInputs {
        inputs: vec![Input::Text {
            name: "fuzz".to_owned(),
            bytes: data.to_vec(),
        }],
        diagnostics: true,
        shards: 4,
        world: &Nowhere,
        ..LoadInputs::default()
    };
    let loaded = load(&inputs);
    let alerts = loaded.diags.has_errors();
    assert_eq!(
        loaded.config.is_none(),
        alerts,
        "refused without a reason, or accepted with one"
    );
    for diag in &loaded.diags.list {
        let _ = format!("{diag:?}");
    }
}
