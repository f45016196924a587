//! Servers that an operator adds while the process runs (`add server`, management.txt 9.3): read by the same
//! tables as those of the file, beginning with the `default-server` of their backend (haproxy 3.4; 2.6 does not).

use std::collections::HashMap;
use std::net::IpAddr;

use super::load::World;
use super::model::*;
use super::raw::{InitAddr, ProxyRaw, SectionKind, ServerOptions, ServerRaw, Settings};
use super::resolve::index;
use super::words::{Args, Cx, Owner, Said, Sense};
use super::{server, servers};
use crate::lang::diag::{Severity, did_you_mean, nearest};
use crate::lang::lexer::{Line, WORDS_MAX, Word};
use crate::lang::source::{FileId, Sources, Span};

/// What servers of a backend begin with that come later.
#[derive(Debug, Clone, Default)]
pub struct Template {
    options: ServerOptions,
    cookie_dynamic: bool,
    dynamic_key: Option<Box<[u8]>>,
    listen: bool,
}

impl Template {
    pub(super) fn of(section: &ProxyRaw) -> Self {
        let set = &section.set;
        Self {
            options: set.server.clone(),
            cookie_dynamic: set.cookie_dynamic,
            dynamic_key: set.dynamic_key.clone(),
            listen: section.kind == SectionKind::Listen,
        }
    }
}

/// A server that was read, and its `guid`.
#[derive(Debug)]
pub struct Added {
    pub server: Server,
    pub guid: Option<Box<str>>,
}

/// Options of the file that haproxy does not take here, which it says by name (seen on 2.6).
pub(super) const REFUSED: &[&str] = &[
    "cookie",
    "init-addr",
    "log-proto",
    "max-reuse",
    "namespace",
    "no-agent-check",
    "no-check",
    "no-check-send-proxy",
    "non-stick",
    "redir",
    "resolve-net",
    "resolve-opts",
    "resolve-prefer",
    "resolvers",
    "socks4",
    "stick",
    "tcp-ut",
];

/// Options that may be used here, in order.
pub fn options() -> Vec<&'static str> {
    let all = server::TABLE.iter().map(|keyword| keyword.name);
    let mut names: Vec<_> = all.filter(|name| !REFUSED.contains(name)).collect();
    names.sort_unstable();
    names
}

/// Nothing outside is asked: names stay unresolved, as in haproxy.
struct Nowhere;

impl World for Nowhere {
    fn resolve(&self, _: &str) -> Result<Vec<IpAddr>, String> {
        Err("not looked up".to_owned())
    }
    fn user(&self, _: &str) -> Option<u32> {
        None
    }
    fn group(&self, _: &str) -> Option<u32> {
        None
    }
}

/// May servers be added to it? Where a map says which server a key leads to, each one would move most of them.
pub fn takes_servers(backend: &Backend) -> bool {
    match backend.balance {
        Balance::RoundRobin | Balance::LeastConn | Balance::First | Balance::Random(_) => true,
        Balance::StaticRr => false,
        Balance::Source | Balance::Key(_) => backend.hash_type.method == HashMethod::Consistent,
    }
}

/// Reads `<name> <address> [options]`.
///
/// # Errors
/// What an operator is told.
pub fn server(config: &Config, id: BackendId, words: &[&str]) -> Result<Added, String> {
    let mut sources = Sources::default();
    let line = line(words, &mut sources)?;
    let mut cx = Cx::at_run_time(&sources, &Nowhere);
    let backend = config.backend(id);
    let read = read(config, backend, &line, &mut cx);
    let prefix = format!(
        "'server {}/{}' : ",
        backend.name,
        words.first().unwrap_or(&"")
    );
    let server = read.and_then(|(section, raw)| resolve(config, id, &section, raw, &mut cx));
    let alerts = cx
        .diags
        .list
        .iter()
        .filter(|d| d.severity == Severity::Alert);
    let texts: Vec<&str> = alerts
        .map(|d| d.text.strip_prefix(&prefix).unwrap_or(&d.text))
        .collect();
    match server {
        Ok(server) if texts.is_empty() => Ok(server),
        _ => Err(texts.join("\n")),
    }
}

/// The words as a line of a file of their own.
fn line(words: &[&str], sources: &mut Sources) -> Result<Line, String> {
    if words.len() >= WORDS_MAX {
        return Err(format!("too many words, {WORDS_MAX} are the most."));
    }
    let words: Vec<&str> = std::iter::once("server")
        .chain(words.iter().copied())
        .collect();
    let file = sources.add("command", words.join(" ").as_bytes());
    let mut col = 0;
    let mut place = |text: &str| {
        let span = Span {
            file,
            line: 1,
            col,
            len: index(text.len()),
        };
        col += span.len + 1;
        Word {
            bytes: text.into(),
            span,
        }
    };
    let words: Vec<Word> = words.iter().map(|text| place(text)).collect();
    Ok(Line {
        span: words[0].span,
        words,
    })
}

fn read(
    config: &Config,
    backend: &Backend,
    line: &Line,
    cx: &mut Cx<'_>,
) -> Result<(ProxyRaw, ServerRaw), Said> {
    let template = &backend.template;
    let kind = if template.listen {
        SectionKind::Listen
    } else {
        SectionKind::Backend
    };
    let set = Settings {
        mode: backend.mode,
        source: backend.source.clone(),
        server: template.options.clone(),
        cookie_dynamic: template.cookie_dynamic,
        dynamic_key: template.dynamic_key.clone(),
        ..Settings::default()
    };
    let mut section = ProxyRaw::new(kind, set, line.span);
    section.name.clone_from(&backend.name);
    let mut args = Args {
        cx,
        line,
        name: "server",
        prefix: String::new(),
        head: line.span,
        sense: Sense::Plain,
        at: 1,
        owner: Owner {
            kind: kind.word(),
            name: &backend.name,
        },
    };
    server::server(&mut section, &mut args)?;
    let mut raw = section.servers.pop().expect("just read");
    let options = &mut raw.options;
    options.init_addr = vec![InitAddr::None];
    options.disabled = false;
    // Those of `default-server` that are of no use here are as if they were not there.
    (options.cookie, options.redir, options.max_reuse) = (None, None, None);
    for item in std::mem::take(&mut options.not_yet) {
        let quiet = matches!(
            item.layer,
            super::raw::Layer::HttpQuiet | super::raw::Layer::Http
        );
        if backend.mode == Mode::Http || !quiet {
            let _: Said = cx.not_yet(item.span, &item.name);
        }
    }
    let named = |s: &&ServerId| config.server(**s).name == raw.name;
    if backend.servers.iter().any(|s| named(&s)) {
        let text = "Already exists a server with the same name in backend.";
        return Err(cx.alert(raw.name_span, text));
    }
    Ok((section, raw))
}

fn resolve(
    config: &Config,
    id: BackendId,
    section: &ProxyRaw,
    raw: ServerRaw,
    cx: &mut Cx<'_>,
) -> Result<Added, Said> {
    let backend = config.backend(id);
    let guid = raw.options.guid.clone();
    if let Some((guid, span)) = &guid
        && config.guids.iter().any(|g| g.text == *guid)
    {
        return Err(cx.alert(*span, format!("'guid' : '{guid}' is already used.")));
    }
    let puid = number(config, backend, &raw, cx)?;
    let track = match &raw.options.track {
        Some(word) => Some(tracked(config, backend, word, cx)?),
        None => None,
    };
    let ports = servers::Ports::unknown();
    let server = servers::one(section, &raw, id, puid, &ports, &mut HashMap::new(), cx);
    let server = Server {
        track,
        added: true,
        span: Span {
            file: FileId(0),
            line: 0,
            col: 0,
            len: 0,
        },
        ..server
    };
    let guid = guid.map(|(text, _)| text);
    Ok(Added { server, guid })
}

/// `id`, which nobody else has, or the first free number.
fn number(
    config: &Config,
    backend: &Backend,
    raw: &ServerRaw,
    cx: &mut Cx<'_>,
) -> Result<u32, Said> {
    let owner = |puid: u32| {
        let mut servers = backend.servers.iter().map(|&id| config.server(id));
        servers.find(|server| server.puid == puid)
    };
    let Some((puid, span)) = raw.options.id else {
        // Gaps are taken first: numbers do not grow with each server that comes and goes.
        return Ok((1..).find(|&n| owner(n).is_none()).expect("u32 has more"));
    };
    match owner(puid) {
        None => Ok(puid),
        Some(other) => {
            let at = config.files.get(usize::from(other.span.file.0));
            let at = match at.filter(|_| !other.added) {
                Some(name) => format!(" at {name}:{}", other.span.line),
                None => String::new(),
            };
            let text = format!(
                "'id' : custom id {puid} already used{at} ('server {}')",
                other.name
            );
            Err(cx.alert(span, text))
        }
    }
}

/// The server that it follows: one of the file, which is checked.
fn tracked(config: &Config, own: &Backend, word: &Word, cx: &mut Cx<'_>) -> Result<ServerId, Said> {
    let text = word.text();
    let (backend, name) = match text.split_once('/') {
        None => (own, &*text),
        Some((proxy, name)) => match config.backends.iter().find(|b| b.name == proxy) {
            Some(backend) => (backend, name),
            None => {
                let near = did_you_mean(&nearest(proxy, config.backends.iter().map(|b| &*b.name)));
                let text = format!("unable to find required proxy '{proxy}' for tracking{near}");
                return Err(cx.alert(word.span, text));
            }
        },
    };
    let mut servers = backend.servers.iter().copied();
    let Some(id) = servers.find(|&id| config.server(id).name == name) else {
        let names = backend.servers.iter().map(|&id| &*config.server(id).name);
        let near = did_you_mean(&nearest(name, names));
        let end = if near.is_empty() { "." } else { "" };
        let text = format!("unable to find required server '{name}' for tracking{near}{end}");
        return Err(cx.alert(word.span, text));
    };
    let server = config.server(id);
    let shown = format!("{}/{name}", backend.name);
    let why = if server.added {
        "it is a dynamic server"
    } else if server.check.is_none() && server.track.is_none() {
        "it does not have any check nor agent enabled"
    } else {
        return Ok(id);
    };
    let text = format!("unable to use {shown} for tracking as {why}.");
    Err(cx.alert(word.span, text))
}
