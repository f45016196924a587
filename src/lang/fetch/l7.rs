//! HTTP: the parts of heads and bodies (configuration.txt 7.3.6). Headers, cookies and credentials have files of their own.

mod auth;
mod cookies;
mod headers;
mod params;
pub mod target;

pub(super) use auth::Credential;
pub(super) use cookies::CookieAs;
pub(super) use headers::{Header, HeaderAs};
pub(super) use params::Param;

use super::{Fetch as Any, Making};
use crate::base::hash;
use crate::lang::expr::Needs;
use crate::lang::sample::{Arena, Value};
use crate::lang::subject::{Bytes, Subject};
use crate::proto::http::{Head, Version};
use bumpalo::collections::Vec as ArenaVec;
use std::net::IpAddr;

#[derive(Clone, Debug)]
pub(in crate::lang) enum Fetch {
    Method,
    Url,
    UrlIp,
    UrlPort,
    Path,
    PathQuery,
    /// Whether the question mark belongs to it.
    Query {
        with_question_mark: bool,
    },
    /// Host and path, with the query or not.
    Base {
        query: bool,
    },
    Base32 {
        with_src: bool,
    },
    Url32 {
        with_src: bool,
    },
    Version(Of),
    Status,
    Header(Of, Header, HeaderAs),
    HeaderCount(Of, Header),
    /// Names of all headers and what joins them.
    HeaderNames(Of, u8),
    /// All headers as text, with the empty line behind them; or as lengths and bytes.
    Headers(Of),
    HeadersBinary(Of),
    Cookie(Of, Box<[u8]>, CookieAs),
    CookieCount(Of, Box<[u8]>),
    CookieNames(Of, u8),
    UrlParam(Param),
    BodyParam(Param),
    Body(Of),
    BodyLen(Of),
    BodySize(Of),
    CaptureHeader(Of, usize),
    /// Method, target and version of the request as it came: 0, 1, 2.
    Captured(u8),
    ResponseVersion,
    Auth(Credential),
}

/// Whose message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::lang) enum Of {
    Request,
    Response,
    /// The response's while one is handled, else the request's.
    AtHand,
}

impl Of {
    fn head(self, subject: &dyn Subject) -> Option<&Head> {
        match self {
            Self::Request => subject.request(),
            Self::Response => subject.response(),
            Self::AtHand => subject.response().or_else(|| subject.request()),
        }
    }
    fn is_response(self, subject: &dyn Subject) -> bool {
        match self {
            Self::Request => false,
            Self::Response => true,
            Self::AtHand => subject.response().is_some(),
        }
    }
    fn body(self, subject: &dyn Subject) -> Option<Bytes<'_>> {
        if self.is_response(subject) {
            subject.response_body()
        } else {
            subject.request_body()
        }
    }
}

impl Fetch {
    pub(super) fn one<'a>(
        &'a self,
        subject: &'a dyn Subject,
        arena: &'a Arena,
    ) -> Option<Value<'a>> {
        match self {
            Self::Header(of, header, kind) => {
                header.one(of.head(subject)?).and_then(|v| kind.of(v))
            }
            Self::HeaderCount(of, header) => {
                Some(Value::Int(header.values(of.head(subject)?).count() as i64))
            }
            Self::HeaderNames(of, delim) => Some(headers::names(of.head(subject)?, *delim, arena)),
            Self::Headers(of) => Some(headers::text(of.head(subject)?, arena)),
            Self::HeadersBinary(of) => Some(headers::binary(of.head(subject)?, arena)),
            Self::Cookie(of, name, kind) => {
                let values = cookies::values(of.head(subject)?, of.is_response(subject), name);
                kind.of(if name.is_empty() {
                    values.into_iter().next()
                } else {
                    values.last()
                }?)
            }
            Self::CookieCount(of, name) => {
                let values = cookies::values(of.head(subject)?, of.is_response(subject), name);
                Some(Value::Int(values.count() as i64))
            }
            Self::CookieNames(of, delim) => Some(cookies::names(
                of.head(subject)?,
                of.is_response(subject),
                *delim,
                arena,
            )),
            Self::UrlParam(param) => param.in_target(subject.request()?.target()).next(),
            Self::BodyParam(param) => param.in_body(subject.request_body()?.bytes).next(),
            Self::Body(of) => Some(Value::Bin(of.body(subject)?.bytes)),
            Self::BodyLen(of) => Some(Value::Int(of.body(subject)?.bytes.len() as i64)),
            Self::BodySize(of) => {
                let body = of.body(subject)?;
                let size = body.announced.unwrap_or(body.bytes.len() as u64);
                Some(Value::Int(size.try_into().unwrap_or(i64::MAX)))
            }
            Self::CaptureHeader(of, index) => match of {
                Of::Response => subject.response_capture(*index),
                _ => subject.request_capture(*index),
            }
            .map(Value::Str),
            Self::Captured(part) => {
                let (method, target, version) = subject.original_request()?;
                Some(Value::Str(match part {
                    0 => method,
                    1 => target,
                    _ => version,
                }))
            }
            Self::ResponseVersion => {
                Some(Value::Str(subject.response()?.version.text().as_bytes()))
            }
            Self::Auth(credential) => credential.get(subject, arena),
            Self::Version(of) => Some(Value::Str(match of.head(subject)?.version {
                Version::Http10 => b"1.0",
                Version::Http11 => b"1.1",
            })),
            Self::Status => Some(Value::Int(subject.response()?.status.into())),
            _ => self.of_request(subject.request()?, subject, arena),
        }
    }

    /// What the request line and the host say.
    fn of_request<'a>(
        &'a self,
        head: &'a Head,
        subject: &'a dyn Subject,
        arena: &'a Arena,
    ) -> Option<Value<'a>> {
        Some(match self {
            Self::Method => Value::Method(head.method()),
            Self::Url => Value::Str(head.target()),
            Self::Path => Value::Str(target::path(head.target())?),
            Self::PathQuery => Value::Str(target::path_and_query(head.target())?),
            Self::Query { with_question_mark } => {
                let target = head.target();
                let at = memchr::memchr(b'?', target)?;
                Value::Str(&target[if *with_question_mark { at } else { at + 1 }..])
            }
            Self::UrlIp => Value::Ip(target::host_and_port(head.target())?.0),
            Self::UrlPort => Value::Int(target::host_and_port(head.target())?.1.into()),
            Self::Base { query } => {
                let path = if *query {
                    target::path_and_query(head.target())
                } else {
                    target::path(head.target())
                };
                Value::Str(base(head, path.unwrap_or_default(), arena))
            }
            Self::Base32 { with_src } => {
                let path = target::path(head.target());
                let base = base(head, path.unwrap_or_default(), arena);
                hashed(base, *with_src, subject, arena)?
            }
            Self::Url32 { with_src } => {
                let path = target::path_and_query(head.target());
                let host = head.first(b"host");
                let url = joined(host, path.unwrap_or_default(), arena);
                hashed(url, *with_src, subject, arena)?
            }
            _ => return None,
        })
    }

    pub(super) fn each<'a>(
        &'a self,
        subject: &'a dyn Subject,
        arena: &'a Arena,
        each: &mut dyn FnMut(Value<'a>) -> bool,
    ) {
        match self {
            Self::Header(of, header, kind) if header.iterates() => {
                let Some(head) = of.head(subject) else { return };
                for value in header.values(head).filter_map(|v| kind.of(v)) {
                    if !each(value) {
                        return;
                    }
                }
            }
            Self::Cookie(of, name, kind) => {
                let Some(head) = of.head(subject) else { return };
                let values = cookies::values(head, of.is_response(subject), name);
                for value in values.filter_map(|v| kind.of(v)) {
                    if !each(value) {
                        return;
                    }
                }
            }
            Self::UrlParam(param) => {
                let Some(head) = subject.request() else {
                    return;
                };
                param.in_target(head.target()).all(each);
            }
            Self::BodyParam(param) => {
                let Some(body) = subject.request_body() else {
                    return;
                };
                param.in_body(body.bytes).all(each);
            }
            other => {
                if let Some(value) = other.one(subject, arena) {
                    each(value);
                }
            }
        }
    }

    pub(super) fn waits(&self, subject: &dyn Subject) -> bool {
        match self {
            Self::Auth(credential) => credential.waits(subject),
            Self::Body(of) | Self::BodyLen(of) | Self::BodySize(of) => {
                let pending = subject.pending();
                let needs = if of.is_response(subject) {
                    Needs::RESPONSE_BODY
                } else {
                    Needs::REQUEST_BODY
                };
                pending.has(needs)
            }
            _ => false,
        }
    }

    pub(super) fn name_userlist(&mut self, list: Option<u32>) {
        if let Self::Auth(credential) = self {
            credential.name_userlist(list);
        }
    }

    pub(super) fn auth_group(&self) -> Option<u32> {
        match self {
            Self::Auth(Credential::Group(list)) => *list,
            _ => None,
        }
    }
}

/// The first Host and `path`.
fn base<'a>(head: &'a Head, path: &'a [u8], arena: &'a Arena) -> &'a [u8] {
    let host = head.first(b"host");
    let first = host.and_then(|host| headers::parts(host, false).next());
    joined(first, path, arena)
}

fn joined<'a>(host: Option<&'a [u8]>, path: &'a [u8], arena: &'a Arena) -> &'a [u8] {
    let Some(host) = host else {
        return path;
    };
    let mut out = ArenaVec::with_capacity_in(host.len() + path.len(), arena);
    out.extend_from_slice(host);
    out.extend_from_slice(path);
    out.into_bump_slice()
}

fn hashed<'a>(
    text: &[u8],
    with_src: bool,
    subject: &dyn Subject,
    arena: &'a Arena,
) -> Option<Value<'a>> {
    let hash = hash::avalanche(hash::sdbm(text));
    if !with_src {
        return Some(Value::Int(hash.into()));
    }
    let mut out = ArenaVec::with_capacity_in(20, arena);
    out.extend_from_slice(&hash.to_be_bytes());
    match subject.src()?.ip() {
        IpAddr::V4(ip) => out.extend_from_slice(&ip.octets()),
        IpAddr::V6(ip) => out.extend_from_slice(&ip.octets()),
    }
    Some(Value::Bin(out.into_bump_slice()))
}

// ---------------------------------------------------------------- readers of arguments

type Made = Result<Any, String>;

pub(super) fn made(fetch: Fetch) -> Made {
    Ok(Any::L7(fetch))
}
pub(super) fn header(of: Of, kind: HeaderAs, full: bool, given: &Making<'_>) -> Made {
    made(Fetch::Header(of, Header::read(given, full)?, kind))
}
pub(super) fn header_count(of: Of, full: bool, given: &Making<'_>) -> Made {
    made(Fetch::HeaderCount(of, Header::read(given, full)?))
}
fn delimiter(given: &Making<'_>) -> u8 {
    given.text(0).first().copied().unwrap_or(b',')
}
pub(super) fn header_names(of: Of, given: &Making<'_>) -> Made {
    made(Fetch::HeaderNames(of, delimiter(given)))
}
pub(super) fn cookie(of: Of, kind: CookieAs, given: &Making<'_>) -> Made {
    made(Fetch::Cookie(of, given.text(0).into(), kind))
}
pub(super) fn cookie_count(of: Of, given: &Making<'_>) -> Made {
    made(Fetch::CookieCount(of, given.text(0).into()))
}
pub(super) fn cookie_names(of: Of, given: &Making<'_>) -> Made {
    made(Fetch::CookieNames(of, delimiter(given)))
}
pub(super) fn query(given: &Making<'_>) -> Made {
    let with_question_mark = match given.text(0) {
        b"" => false,
        b"with_qm" => true,
        _ => return Err("expects 'with_qm' option only".to_owned()),
    };
    made(Fetch::Query { with_question_mark })
}
pub(super) fn capture(of: Of, given: &Making<'_>) -> Made {
    match usize::try_from(given.int(0).unwrap_or(0)) {
        Ok(index) => made(Fetch::CaptureHeader(of, index)),
        Err(_) => Err("capture index must not be negative".to_owned()),
    }
}
pub(super) fn url_param(int: bool, given: &Making<'_>) -> Made {
    made(Fetch::UrlParam(Param::read(given, int)?))
}
pub(super) fn body_param(given: &Making<'_>) -> Made {
    made(Fetch::BodyParam(Param::read_body(given)?))
}
pub(super) fn auth_list(group: bool, given: &mut Making<'_>) -> Made {
    super::internal::refer(given, super::Reference::Userlist);
    made(Fetch::Auth(if group {
        Credential::Group(None)
    } else {
        Credential::Valid(None)
    }))
}
pub(super) fn auth(credential: Credential) -> Made {
    made(Fetch::Auth(credential))
}
pub(super) fn bearer(given: &Making<'_>) -> Made {
    auth(Credential::Bearer(
        given.text(0).to_ascii_lowercase().into(),
    ))
}
