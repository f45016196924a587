//! `ringway explain`: what a configuration makes of one request, and why.
//!
//! The drivers that serve run over a simulated kernel ([`world`]) with a trace: what is told is what runs. Nothing
//! touches the network (names are resolved as `-c` does), no port is bound, no file written, no line logged, no
//! command run. Servers count as up unless `--down` or a state file says otherwise.

mod report;
mod words;
mod world;

use std::ffi::OsString;
use std::io::IsTerminal;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use super::{look, say};
use crate::config::{BindAddress, BindId, Config, Frontend, Mode, ServerId};
use crate::lang::diag::nearest;
use report::Report;
use world::Play;

/// Says what a configuration makes of one request, and why: rules, backend, server, answer.
///
/// The real rules and algorithms run over a simulated network: no port is bound, nothing is sent, logged or
/// written. Servers are assumed to be up and to answer 200.
#[derive(Debug, Parser)]
#[command(name = "ringway explain", bin_name = "ringway explain")]
struct Options {
    /// Read this file, or the *.cfg of this directory; may be repeated
    #[arg(short = 'f', value_name = "FILE|DIR", required = true)]
    files: Vec<PathBuf>,
    /// Go there first
    #[arg(short = 'C', value_name = "DIR")]
    dir: Option<PathBuf>,
    /// 'GET http://host/path', 'GET /path' or a URL alone; TCP frontends need none
    request: Option<String>,
    /// A header field of the request; may be repeated
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// Body of the request; in TCP mode the client's first bytes
    #[arg(long, value_name = "TEXT")]
    body: Option<String>,
    /// Where the client comes from
    #[arg(long, value_name = "IP[:PORT]")]
    src: Option<String>,
    /// What the client connects to (default: the address of the bind)
    #[arg(long, value_name = "IP[:PORT]")]
    dst: Option<String>,
    /// Which frontend (default: the one that listens on the URL's port)
    #[arg(long, value_name = "NAME")]
    frontend: Option<String>,
    /// A server that is down; may be repeated
    #[arg(long, value_name = "BACKEND/SERVER")]
    down: Vec<String>,
    /// States of servers, as 'show servers state' writes them
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// Status that the server answers with
    #[arg(long, value_name = "CODE", default_value_t = 200, value_parser = clap::value_parser!(u16).range(200..=599))]
    status: u16,
    /// A header field of the server's answer; may be repeated
    #[arg(long, value_name = "NAME: VALUE")]
    answer_header: Vec<String>,
    /// For programs
    #[arg(long)]
    json: bool,
}

/// Its options, for documentation.
pub fn describe() -> clap::Command {
    <Options as clap::CommandFactory>::command()
}

/// Explains; `words` are those after `explain`. 0: explained, 1: not possible, 2: wrong command line.
pub fn main(words: impl Iterator<Item = OsString>) -> ExitCode {
    let words = std::iter::once(OsString::from("ringway explain")).chain(words);
    let options = match Options::try_parse_from(words) {
        Ok(options) => options,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(1));
        }
    };
    match explain(&options) {
        Ok(text) => {
            say::out(&text);
            ExitCode::SUCCESS
        }
        Err(text) => {
            if !text.is_empty() {
                eprintln!("ringway explain: {text}");
            }
            ExitCode::FAILURE
        }
    }
}

/// The report as text or JSON. An error is what is said of it; empty: it was said already.
fn explain(options: &Options) -> Result<String, String> {
    look::go_to(options.dir.as_deref())?;
    let state = match &options.state {
        Some(path) => Some(
            std::fs::read_to_string(path)
                .map_err(|why| format!("cannot read {}: {why}", path.display()))?,
        ),
        None => None,
    };
    let (mut config, sources) = look::valid(&options.files).ok_or_else(String::new)?;
    let asked = Asked::read(options)?;
    let (frontend, bind) = entrance(&config, options.frontend.as_deref(), &asked)?;
    if frontend.mode == Mode::Http && options.request.is_none() {
        return Err(format!(
            "frontend '{}' speaks HTTP: say what is asked, such as 'GET /path'",
            frontend.name
        ));
    }
    let frontend = frontend.name.clone();
    let http = config.frontend(config.bind(bind).frontend).mode == Mode::Http;
    let raw = !http && options.request.is_none();
    let down = options
        .down
        .iter()
        .map(|name| server_named(&config, name))
        .collect::<Result<Vec<_>, _>>()?;
    let (src, dst) = ends(&config, bind, options, &asked)?;
    let bytes = if raw {
        options.body.clone().unwrap_or_default().into_bytes()
    } else {
        asked.wire(&options.headers, options.body.as_deref())?
    };
    let play = Play {
        bind,
        src,
        dst,
        bytes: bytes.clone(),
        http: !raw,
        down,
        state,
        answer: answer(options)?,
    };
    world::disarm(&mut config);
    let course = world::play(config.clone(), play);
    let report = Report {
        config: &config,
        sources: &sources,
        frontend,
        bind,
        src,
        dst,
        asked: bytes,
        raw,
        status: options.status,
        down: &options.down,
        with_state: options.state.is_some(),
        course,
    };
    Ok(if options.json {
        format!("{:#}\n", report.json())
    } else {
        report.text(std::io::stdout().is_terminal())
    })
}

/// What is asked for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Asked {
    method: String,
    target: String,
    host: Option<String>,
    port: Option<u16>,
}

impl Asked {
    fn read(options: &Options) -> Result<Self, String> {
        let Some(text) = options.request.as_deref() else {
            return Ok(Self::default());
        };
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        let (method, url) = match words[..] {
            [url] if url.starts_with('/') || url.contains("://") => ("GET", url),
            [method, url] => (method, url),
            [method, url, version] if version.starts_with("HTTP/") => (method, url),
            _ => {
                return Err(format!(
                    "'{text}' is no request: write 'GET http://host/path'"
                ));
            }
        };
        let mut asked = Self {
            method: method.to_owned(),
            target: url.to_owned(),
            ..Self::default()
        };
        if let Some((scheme, rest)) = url.split_once("://") {
            let default = match scheme {
                "http" => 80,
                "https" => 443,
                _ => return Err(format!("scheme '{scheme}' in '{url}': http or https")),
            };
            let at = rest.find(['/', '?']).unwrap_or(rest.len());
            let (host, path) = rest.split_at(at);
            let path = path.split('#').next().unwrap_or_default();
            asked.target = if path.starts_with('/') {
                path.to_owned()
            } else {
                format!("/{path}")
            };
            asked.port = Some(port_of(host).unwrap_or(default));
            asked.host = Some(host.to_owned());
        }
        Ok(asked)
    }

    /// The request as a client sends it.
    fn wire(&self, headers: &[String], body: Option<&str>) -> Result<Vec<u8>, String> {
        let fields = headers
            .iter()
            .map(|h| field(h))
            .collect::<Result<Vec<_>, _>>()?;
        let has = |name: &str| fields.iter().any(|(n, _)| n.eq_ignore_ascii_case(name));
        let mut out = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        if let Some(host) = self.host.as_ref().filter(|_| !has("host")) {
            out.push_str(&format!("Host: {host}\r\n"));
        }
        for (name, value) in &fields {
            out.push_str(&format!("{name}: {value}\r\n"));
        }
        let body = body.unwrap_or_default();
        if !body.is_empty() && !has("content-length") && !has("transfer-encoding") {
            out.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        out.push_str("\r\n");
        out.push_str(body);
        Ok(out.into_bytes())
    }
}

/// Name and value of a field as it is written after `-H`.
fn field(text: &str) -> Result<(&str, &str), String> {
    let (name, value) = text
        .split_once(':')
        .ok_or_else(|| format!("header '{text}' has no colon: write 'Name: value'"))?;
    if text.contains(['\r', '\n']) {
        return Err(format!("header '{name}' holds a line break"));
    }
    Ok((name.trim(), value.trim()))
}

fn answer(options: &Options) -> Result<Vec<u8>, String> {
    let reason = crate::proto::page::reason(options.status);
    let mut out = format!("HTTP/1.1 {} {reason}\r\n", options.status);
    let mut length = matches!(options.status, 204 | 304);
    for header in &options.answer_header {
        let (name, value) = field(header)?;
        length |= name.eq_ignore_ascii_case("content-length")
            || name.eq_ignore_ascii_case("transfer-encoding");
        out.push_str(&format!("{name}: {value}\r\n"));
    }
    if !length {
        out.push_str("Content-Length: 0\r\n");
    }
    out.push_str("\r\n");
    Ok(out.into_bytes())
}

/// The port behind a host, IPv6 in brackets.
fn port_of(host: &str) -> Option<u16> {
    let (before, port) = host.rsplit_once(':')?;
    (!before.contains(':') || before.ends_with(']')).then(|| port.parse().ok())?
}

/// The frontend and the bind by which the request comes in.
fn entrance<'c>(
    config: &'c Config,
    name: Option<&str>,
    asked: &Asked,
) -> Result<(&'c Frontend, BindId), String> {
    let open = || {
        let frontends = config.frontends.iter();
        frontends.filter(|f| !f.disabled && !f.binds.is_empty())
    };
    let on_port = |frontend: &Frontend, port: u16| {
        let binds = frontend.binds.iter().copied();
        let mut binds = binds.filter(|id| match &config.bind(*id).address {
            BindAddress::Ip(at) => at.port() == port,
            _ => false,
        });
        binds.next()
    };
    let names = || {
        let names: Vec<&str> = open().map(|f| f.name.as_str()).collect();
        names.join(", ")
    };
    let of = |frontend: &'c Frontend| {
        let bind = asked.port.and_then(|port| on_port(frontend, port));
        (frontend, bind.unwrap_or(frontend.binds[0]))
    };
    if let Some(name) = name {
        let found = open().find(|f| f.name == name);
        return found.map(of).ok_or_else(|| {
            let near = nearest(name, open().map(|f| f.name.as_str()));
            let hint = near.first().map_or_else(
                || format!("there are {}", names()),
                |n| format!("did you mean '{n}'?"),
            );
            format!("no frontend '{name}' that listens: {hint}")
        });
    }
    let wants_http = !asked.method.is_empty();
    let all: Vec<&Frontend> = open().collect();
    let suited: Vec<&Frontend> = all
        .iter()
        .copied()
        .filter(|f| (f.mode == Mode::Http) == wants_http)
        .collect();
    let by_port: Vec<&Frontend> = match asked.port {
        Some(port) => all
            .iter()
            .copied()
            .filter(|f| on_port(f, port).is_some())
            .collect(),
        None => Vec::new(),
    };
    match (&by_port[..], &suited[..], &all[..]) {
        ([one], ..) | ([], [one], _) | ([], [], [one]) => Ok(of(one)),
        ([], [], []) => Err("no frontend listens in this configuration".to_owned()),
        _ => Err(format!(
            "several frontends could take it ({}): choose one with '--frontend <name>'",
            names()
        )),
    }
}

/// Addresses of the connection: as asked, else a client of this host at the bind's address.
fn ends(
    config: &Config,
    bind: BindId,
    options: &Options,
    asked: &Asked,
) -> Result<(SocketAddr, SocketAddr), String> {
    let listens = match &config.bind(bind).address {
        BindAddress::Ip(at) => *at,
        _ => SocketAddr::from((Ipv4Addr::LOCALHOST, asked.port.unwrap_or(80))),
    };
    let src = match &options.src {
        Some(text) => address(text, 50_000)?,
        None if listens.is_ipv6() && !listens.ip().is_unspecified() => {
            SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, 50_000))
        }
        None => SocketAddr::from((Ipv4Addr::LOCALHOST, 50_000)),
    };
    let here = match (listens.ip().is_unspecified(), src) {
        (false, _) => listens.ip(),
        (true, SocketAddr::V4(_)) => Ipv4Addr::LOCALHOST.into(),
        (true, SocketAddr::V6(_)) => std::net::Ipv6Addr::LOCALHOST.into(),
    };
    let dst = match &options.dst {
        Some(text) => address(text, listens.port())?,
        None => SocketAddr::new(here, listens.port()),
    };
    Ok((src, dst))
}

/// An address with or without a port.
fn address(text: &str, port: u16) -> Result<SocketAddr, String> {
    let plain = text.trim_matches(['[', ']']);
    let ip: Result<IpAddr, _> = plain.parse();
    ip.map(|ip| SocketAddr::new(ip, port))
        .or_else(|_| text.parse())
        .map_err(|_| {
            format!("'{text}' is no address: write 192.0.2.1, 192.0.2.1:4000 or [::1]:4000")
        })
}

fn server_named(config: &Config, name: &str) -> Result<ServerId, String> {
    let (backend, server) = name
        .split_once('/')
        .ok_or_else(|| format!("'{name}' names no server: write 'backend/server'"))?;
    let full = |id: &ServerId| {
        let server = config.server(*id);
        format!("{}/{}", config.backend(server.backend).name, server.name)
    };
    let ids: Vec<ServerId> = (0..config.servers.len() as u32).map(ServerId).collect();
    let found = ids.iter().copied().find(|id| {
        let own = config.server(*id);
        own.name == server && config.backend(own.backend).name == backend
    });
    found.ok_or_else(|| {
        let all: Vec<String> = ids.iter().map(full).collect();
        let near = nearest(name, all.iter().map(String::as_str));
        let hint = near
            .first()
            .map_or_else(String::new, |n| format!("; did you mean '{n}'?"));
        format!("no server '{name}'{hint}")
    })
}

#[cfg(test)]
mod tests;
