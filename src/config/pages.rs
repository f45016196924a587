//! Pages of proxies instead of the built-in ones (configuration.txt 4.2, `errorfile` and its kin) and `http-errors`
//! sections (3.8). What is sent in the end is made by [`super::reply`].

use std::sync::Arc;

use super::http::{Page, Pages};
use super::keyword::{B, D, F, HTTP_ERRORS, Keyword, L, MANY, Sections};
use super::language::Names;
use super::model::{Config, ProxyId};
use super::raw::{ProxyRaw, Raw};
use super::words::{Args, Cx, Said};
use crate::lang::diag::{Form, did_you_mean, nearest};
use crate::lang::expr;
use crate::lang::lexer::Word;
use crate::lang::rules::reply::ReplyFor;
use crate::lang::rules::{Reply, ReplyBody};
use crate::lang::source::Span;
use crate::proto::http::Head;
use crate::proto::page;

/// One `http-errors` section.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) name: String,
    pub(super) span: Span,
    pages: Vec<(u16, Page)>,
}

impl Group {
    pub(super) fn new(name: String, span: Span) -> Self {
        Self {
            name,
            span,
            pages: Vec::new(),
        }
    }
    /// The file it has for a status.
    pub(super) fn raw_page(&self, status: u16) -> Option<Arc<[u8]>> {
        let page = self.pages.iter().rev().find(|(s, _)| *s == status);
        match page {
            Some((_, Page::Raw(bytes))) => Some(Arc::clone(bytes)),
            _ => None,
        }
    }
}

/// One line of a proxy or its `defaults`; later ones win.
#[derive(Debug, Clone)]
pub(super) enum PageLine {
    Own(u16, Page),
    /// `http-error status … default-errorfiles`: what came before does not count.
    Reset(u16),
    /// `errorfiles`: all of a group, or these.
    Of {
        group: Word,
        only: Vec<(u16, Span)>,
    },
}

/// Of both sides.
const DFLB: Sections = D | F | L | B;

const fn kw(
    name: &'static str,
    usage: &'static str,
    doc: &'static str,
    parse: super::keyword::Parse<ProxyRaw>,
) -> Keyword<ProxyRaw> {
    Keyword::new(name, DFLB, (0, MANY), usage, doc, parse)
}

/// In proxies.
pub(super) static TABLE: &[Keyword<ProxyRaw>] = &[
    kw(
        "errorfile",
        "<status> <file>",
        "this whole answer instead of an error page; an empty file closes without a word",
        |p, a| {
            let (status, page) = error_file(a)?;
            p.set.pages.push(PageLine::Own(status, page));
            Ok(())
        },
    ),
    kw(
        "errorfiles",
        "<name> [<status>…]",
        "the pages of an 'http-errors' section, or some of them",
        error_files,
    ),
    kw("errorloc", "<status> <url>", "as 'errorloc302'", |p, a| {
        location(p, a, 302)
    }),
    kw(
        "errorloc302",
        "<status> <url>",
        "a redirect by 302 instead of an error page",
        |p, a| location(p, a, 302),
    ),
    kw(
        "errorloc303",
        "<status> <url>",
        "a redirect by 303 instead of an error page",
        |p, a| location(p, a, 303),
    ),
    kw(
        "http-error",
        "status <status> [content-type <type>] [<body>] [hdr <name> <format>]…",
        "an answer made for each request instead of an error page",
        http_error,
    ),
];

/// In `http-errors`.
pub(super) static GROUP_TABLE: &[Keyword<Group>] = &[Keyword::new(
    "errorfile",
    HTTP_ERRORS,
    (0, MANY),
    "<status> <file>",
    "the whole answer for this status",
    |g, a| {
        let (status, page) = error_file(a)?;
        set(&mut g.pages, status, &page);
        Ok(())
    },
)];

/// A status that has a page.
fn status(args: &mut Args<'_, '_>, word: &Word) -> Result<u16, Said> {
    let text = word.text();
    let status = text.parse().ok().filter(|&s| page::page(s).is_some());
    status.ok_or(()).map_err(|()| {
        let what = format!("{} : status code '{text}' not handled.", args.name);
        args.fail_help(word.span, what, known())
    })
}

/// The two arguments of most of these keywords; haproxy passes over what follows them.
fn two<'a>(args: &mut Args<'a, '_>, what: &str) -> Result<(u16, &'a Word), Said> {
    let (Some(code), Some(word)) = (args.next(), args.next()) else {
        let text = format!(
            "{} : expects <status_code> and <{what}> as arguments.",
            args.name
        );
        let end = args.end();
        return Err(args.fail(end, text));
    };
    let status = status(args, code)?;
    passed_over(args);
    Ok((status, word))
}

fn passed_over(args: &mut Args<'_, '_>) {
    if let Some(extra) = args.next() {
        let text = format!(
            "{} : '{}' and what follows is ignored.",
            args.name,
            extra.text()
        );
        args.cx.warning(extra.span, text);
    }
}

fn error_file(args: &mut Args<'_, '_>) -> Result<(u16, Page), Said> {
    let (status, word) = two(args, "file")?;
    let name = word.text();
    let bytes = args.cx.world.read(&args.cx.below(&name)).map_err(|why| {
        let text = format!("{} : error opening file '{name}' ({why}).", args.name);
        args.fail(word.span, text)
    })?;
    if !bytes.is_empty() {
        page::read_file(&bytes, &mut Head::default()).map_err(|why| {
            let text = format!("{} : '{name}': {why}", args.name);
            args.fail(word.span, text)
        })?;
    }
    Ok((status, Page::Raw(Arc::from(bytes))))
}

fn location(proxy: &mut ProxyRaw, args: &mut Args<'_, '_>, code: u16) -> Result<(), Said> {
    let (status, word) = two(args, "url")?;
    if word.bytes.iter().any(u8::is_ascii_control) {
        let text = format!("{} : an URL has no control characters.", args.name);
        return Err(args.fail(word.span, text));
    }
    let page = Page::Location(code, word.bytes.clone().into());
    proxy.set.pages.push(PageLine::Own(status, page));
    Ok(())
}

fn error_files(proxy: &mut ProxyRaw, args: &mut Args<'_, '_>) -> Result<(), Said> {
    let Some(group) = args.next() else {
        let text = format!("{} : expects <name> as argument.", args.name);
        let end = args.end();
        return Err(args.fail(end, text));
    };
    let mut only = Vec::new();
    while let Some(word) = args.next() {
        only.push((status(args, word)?, word.span));
    }
    let group = group.clone();
    proxy.set.pages.push(PageLine::Of { group, only });
    Ok(())
}

fn http_error(proxy: &mut ProxyRaw, args: &mut Args<'_, '_>) -> Result<(), Said> {
    let (words, at) = (args.rest(), args.head);
    let read = |cx: &mut expr::Cx<'_>| Reply::parse(words, ReplyFor::Error, at, cx);
    let (reply, taken) = args.cx.language(Form::Parsing, "http-error : ", read)?;
    let status = reply.status;
    let word_behind = |name: &[u8]| {
        let at = words[..taken].iter().position(|w| w.bytes == name)?;
        words.get(at + 1)
    };
    let Some(code) = word_behind(b"status").filter(|_| status > 0) else {
        let end = args.end();
        return Err(args.fail(
            end,
            "http-error : expects at least a <status> as arguments.",
        ));
    };
    if let Some(extra) = words.get(taken) {
        let text = format!("http-error : unknown keyword '{}'.", extra.text());
        return Err(args.fail(extra.span, text));
    }
    if page::page(status).is_none() {
        let text = format!("http-error: status code '{status}' not handled.");
        return Err(args.fail_help(code.span, text, known()));
    }
    let line = match reply.body {
        ReplyBody::Page => PageLine::Reset(status),
        ReplyBody::Raw(file) => PageLine::Own(status, Page::Raw(file)),
        ReplyBody::Section(_) => PageLine::Of {
            group: word_behind(b"errorfiles").unwrap_or(code).clone(),
            only: vec![(status, code.span)],
        },
        _ => PageLine::Own(status, Page::Reply(Box::new(reply))),
    };
    proxy.set.pages.push(line);
    Ok(())
}

/// The statuses that have pages, for messages.
fn known() -> String {
    let all: Vec<String> = page::statuses().map(|s| s.to_string()).collect();
    format!("pages exist for {}", all.join(" "))
}

/// The pages in force for a section, its groups looked up.
pub(super) fn resolve(section: &ProxyRaw, raw: &Raw, cx: &mut Cx<'_>) -> Pages {
    let mut out = Pages::default();
    let (kind, owner) = (section.kind.called(), &section.name);
    for line in &section.set.pages {
        let (group, only) = match line {
            PageLine::Own(status, page) => {
                set(&mut out.by_status, *status, page);
                continue;
            }
            PageLine::Reset(status) => {
                out.by_status.retain(|(s, _)| s != status);
                continue;
            }
            PageLine::Of { group, only } => (group, only),
        };
        let name = group.text();
        let Some(found) = raw.http_errors.iter().find(|g| g.name == name) else {
            let near = did_you_mean(&nearest(&name, raw.http_errors.iter().map(|g| &*g.name)));
            let place = cx.place(group.span);
            let text = format!(
                "{kind} '{owner}': unknown http-errors section '{name}' (at {place}){near}"
            );
            let _: Said = cx.alert_as(Form::Bare, group.span, text);
            continue;
        };
        for (status, page) in &found.pages {
            if only.is_empty() || only.iter().any(|(s, _)| s == status) {
                set(&mut out.by_status, *status, page);
            }
        }
        let missing = only
            .iter()
            .filter(|(s, _)| found.pages.iter().all(|(p, _)| p != s));
        for (status, span) in missing {
            let place = cx.place(*span);
            let text = format!(
                "{kind} '{owner}' : status '{status}' not declared in http-errors section '{name}' (at {place})."
            );
            cx.warning(*span, text).form(Form::Bare);
        }
    }
    out
}

fn set(pages: &mut Vec<(u16, Page)>, status: u16, page: &Page) {
    pages.retain(|(s, _)| *s != status);
    pages.push((status, page.clone()));
}

/// Settles the names in replies of proxy `id`.
pub(super) fn settle(section: &ProxyRaw, id: ProxyId, out: &mut Config, cx: &mut Cx<'_>) {
    let mut pages = std::mem::take(&mut out.proxies[id.index()].http.pages);
    let names = Names {
        config: out,
        proxy: id,
        acls: Some(&section.acls),
        groups: &[],
    };
    for (_, page) in &mut pages.by_status {
        let Page::Reply(reply) = page else { continue };
        if let Err(text) = reply.settle(&names) {
            let text = format!("'http-error' : {text}");
            let _: Said = cx.alert_as(Form::Late, section.span, text);
        }
    }
    out.proxies[id.index()].http.pages = pages;
}
