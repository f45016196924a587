//! Servers of all backends: names, numbers, addresses, checks and whom they track.

use std::collections::HashMap;
use std::net::IpAddr;

use super::model::*;
use super::persistence;
use super::raw::*;
use super::resolve::{first_address, index, numbered};
use super::words::{Cx, Said};
use crate::lang::diag::{Form, did_you_mean, nearest};
use crate::lang::source::Span;

/// Fills [`Config::servers`] and the lists of the backends.
pub(super) fn resolve(sections: &[&ProxyRaw], out: &mut Config, cx: &mut Cx<'_>) {
    let backs: Vec<&ProxyRaw> = sections
        .iter()
        .copied()
        .filter(|s| s.kind.has_back())
        .collect();
    let mut looked_up = HashMap::new();
    let mut raws: Vec<&ServerRaw> = Vec::new();
    for (section, back) in backs.iter().zip(0..) {
        let back = BackendId(back);
        let numbers = numbers(section, cx);
        let ports = ports_in_front(sections, out, back);
        for (server, puid) in section.servers.iter().zip(numbers) {
            let id = ServerId(index(out.servers.len()));
            let server_out = one(section, server, back, puid, &ports, &mut looked_up, cx);
            out.servers.push(server_out);
            out.backends[back.index()].servers.push(id);
            raws.push(server);
        }
    }
    track(&raws, out, cx);
}

/// `id` of each server, else the next free number from 1; a name stands once in a backend.
fn numbers(section: &ProxyRaw, cx: &mut Cx<'_>) -> Vec<u32> {
    let mut names: HashMap<&str, &ServerRaw> = HashMap::new();
    let mut owners: HashMap<u32, &ServerRaw> = HashMap::new();
    for server in &section.servers {
        if let Some(first) = names.get(&*server.name) {
            let text = format!(
                "'server {}/{}' : the name is already used at {}.",
                section.name,
                server.name,
                cx.place(first.span)
            );
            let _: Said = cx.alert(server.name_span, text);
        } else {
            names.insert(&server.name, server);
        }
        let Some((id, span)) = server.options.id else {
            continue;
        };
        if let Some(first) = owners.get(&id) {
            let text = format!(
                "'server {}/{}' : 'id' : custom id {id} already used at {} ('server {}').",
                section.name,
                server.name,
                cx.place(first.span),
                first.name
            );
            let _: Said = cx.alert(span, text);
        } else {
            owners.insert(id, server);
        }
    }
    let written: Vec<Option<u32>> = section
        .servers
        .iter()
        .map(|s| s.options.id.map(|id| id.0))
        .collect();
    numbered(&written, 1)
}

/// Ports on which connections for a backend arrive.
pub(super) struct Ports {
    /// Each once.
    list: Vec<u16>,
    /// A mistake before may be why there are not more.
    uncertain: bool,
}

impl Ports {
    /// Nobody looked.
    pub(super) fn unknown() -> Self {
        Self {
            list: Vec::new(),
            uncertain: false,
        }
    }
}

fn ports_in_front(sections: &[&ProxyRaw], out: &Config, backend: BackendId) -> Ports {
    let fronts = sections.iter().filter(|s| s.kind.has_front());
    let mut ports = Ports {
        list: Vec::new(),
        uncertain: false,
    };
    for ((section, frontend), id) in fronts.zip(&out.frontends).zip(0..) {
        if frontend.disabled || !out.backends_of(FrontendId(id)).any(|b| b == backend) {
            continue;
        }
        ports.uncertain |= section.set.mistaken;
        let of_bind = |&bind: &BindId| match &out.bind(bind).address {
            BindAddress::Ip(address) => Some(address.port()),
            _ => None,
        };
        ports.list.extend(frontend.binds.iter().filter_map(of_bind));
    }
    ports.list.sort_unstable();
    ports.list.dedup();
    ports
}

pub(super) fn one(
    section: &ProxyRaw,
    raw: &ServerRaw,
    backend: BackendId,
    puid: u32,
    ports: &Ports,
    looked_up: &mut HashMap<String, Result<Vec<IpAddr>, String>>,
    cx: &mut Cx<'_>,
) -> Server {
    let options = &raw.options;
    let address = address(section, raw, looked_up, cx);
    let cookie = cookie(section, raw, &address, cx);
    // A minconn that maxconn does not exceed leaves nothing to grow: it is the limit.
    let fixed = options.minconn > 0 && options.minconn >= options.maxconn;
    Server {
        name: raw.name.clone(),
        backend,
        puid,
        check: check(section, raw, &address, ports, cx),
        address,
        host_text: raw.host_text.clone(),
        address_remembered: matches!(raw.address, HostAddress::Name(..))
            && options.init_addr.first() == Some(&InitAddr::Last),
        weight: options.weight,
        backup: options.backup,
        disabled: options.disabled,
        maxconn: if fixed {
            options.minconn
        } else {
            options.maxconn
        },
        minconn: if fixed { 0 } else { options.minconn },
        maxqueue: options.maxqueue,
        slowstart_ms: options.slowstart_ms,
        send_proxy: options.send_proxy,
        socks4: options.socks4,
        source: options
            .source
            .clone()
            .or_else(|| section.set.source.clone()),
        track: None,
        tcp_ut_ms: options.tcp_ut_ms,
        tfo: options.tfo,
        cookie,
        redir: options.redir.as_ref().map(|r| r.0.clone()),
        pool_max: options.pool_max,
        pool_low: options.pool_low,
        pool_purge_ms: options.pool_purge_ms,
        max_reuse: options.max_reuse,
        watch: watch(section, raw, cx),
        agent: agent(section, raw, cx),
        pinned: Pinned::default(),
        id_written: raw.options.id.is_some(),
        added: false,
        span: raw.span,
    }
}

fn agent(section: &ProxyRaw, raw: &ServerRaw, cx: &mut Cx<'_>) -> Option<Agent> {
    let options = &raw.options;
    let at = options.agent?;
    let (proxy, name) = (&section.name, &raw.name);
    let Some(port) = options.agent_port else {
        let text = format!(
            "'server {proxy}/{name}' : server {name} does not have agent port. Agent check has been disabled."
        );
        let _: Said = cx.alert_help(at, text, "'agent-port <port>' names it");
        return None;
    };
    if let Some(track) = &options.track {
        let text = format!(
            "'server {proxy}/{name}' : unable to enable checks and tracking at the same time!"
        );
        let _: Said = cx.alert(track.span, text);
    }
    Some(Agent {
        inter_ms: options.agent_inter_ms,
        // 'addr' is where both kinds of probes go.
        addr: options.agent_addr.or(options.check_addr),
        port,
        send: options.agent_send.clone(),
    })
}

/// What but checks changes the server, and what its changes lead to.
fn watch(section: &ProxyRaw, raw: &ServerRaw, cx: &mut Cx<'_>) -> Watch {
    let options = &raw.options;
    let (proxy, name) = (&section.name, &raw.name);
    let mut observe = None;
    if let Some((layer, at)) = options.observe {
        if layer == Observed::L7 && section.set.mode != Mode::Http {
            let text =
                format!("'server {proxy}/{name}' : 'layer7' can only be used in http proxies.");
            let _: Said = cx.alert(at, text);
        } else if options.check.is_none() && options.on_down_ms.is_none() {
            let text =
                format!("'server {proxy}/{name}' : 'observe' has no effect without 'check'.");
            cx.warning(at, text);
        } else {
            observe = Some(Observe {
                layer,
                limit: options.error_limit,
                clients: options.error_clients,
                on_error: options.on_error,
            });
        }
    }
    if let (Some((_, at)), Some(_)) = (options.init_state, &options.track) {
        let text = format!(
            "'server {proxy}/{name}' : 'init-state' and 'track' cannot be used at the same time."
        );
        let _: Said = cx.alert(at, text);
    }
    let on_down = on_down(section, raw, cx);
    Watch {
        observe,
        on_down,
        shutdown_on_down: options.shutdown_on_down,
        shutdown_backups_on_up: options.shutdown_backups_on_up,
        init_state: options
            .init_state
            .map(|(state, _)| state)
            .unwrap_or_default(),
    }
}

/// `on-down retry`, where something may mark the server down.
fn on_down(section: &ProxyRaw, raw: &ServerRaw, cx: &mut Cx<'_>) -> Option<OnDown> {
    let options = &raw.options;
    let (retry_ms, at) = options.on_down_ms?;
    let prefix = format!("'server {}/{}' : ", section.name, raw.name);
    if options.track.is_some() {
        let text =
            "'on-down' and 'track' cannot be used at the same time: the tracked server decides.";
        let _: Said = cx.alert(at, prefix + text);
        return None;
    }
    if options.redir.is_some() {
        let text = "'on-down' and 'redir' cannot be used at the same time: a redirect tells nothing about the server.";
        let _: Said = cx.alert(at, prefix + text);
        return None;
    }
    let unchecked = options.check.is_none();
    if unchecked && options.observe.is_none() {
        let text =
            "'on-down' has no effect without 'check' or 'observe': nothing marks the server down.";
        let _: Said = cx.alert(at, prefix + text);
        return None;
    }
    if unchecked && matches!(options.on_error, OnError::FastInter | OnError::SuddenDeath) {
        let text = "without 'check' 'on-error' can only be 'mark-down'.";
        let _: Said = cx.alert(at, prefix + text);
        return None;
    }
    Some(OnDown {
        retry_ms,
        rise: options.rise,
    })
}

/// The value of the persistence cookie that leads to the server; HTTP only, as `redir`.
fn cookie(
    section: &ProxyRaw,
    raw: &ServerRaw,
    address: &ServerAddress,
    cx: &mut Cx<'_>,
) -> Option<Box<[u8]>> {
    let (set, options) = (&section.set, &raw.options);
    if set.mode == Mode::Http {
        let own = options.cookie.as_ref().map(|c| c.0.clone());
        let key = set.dynamic_key.as_deref().filter(|_| set.cookie_dynamic);
        return own.or_else(|| persistence::dynamic_value(key?, address));
    }
    if set.disabled {
        return None;
    }
    let (kind, name) = (section.kind.called(), &section.name);
    if let Some((_, at)) = options.redir {
        let text = format!(
            "{kind} '{name}' : server cannot have cookie or redirect prefix in non-HTTP mode."
        );
        let _: Said = cx.alert(at, text);
    } else if let Some((_, at)) = options.cookie {
        let text = format!(
            "{kind} '{name}' : ignoring cookie for server '{}' as HTTP mode is disabled.",
            raw.name
        );
        cx.warning(at, text).form(Form::Bare);
    }
    None
}

/// The address, its name looked up in the order of `init-addr`.
fn address(
    section: &ProxyRaw,
    raw: &ServerRaw,
    looked_up: &mut HashMap<String, Result<Vec<IpAddr>, String>>,
    cx: &mut Cx<'_>,
) -> ServerAddress {
    let (name, port) = match &raw.address {
        HostAddress::Ip(ip, port) => {
            return ServerAddress::Ip {
                ip: *ip,
                port: *port,
            };
        }
        HostAddress::Unix(path) => return ServerAddress::Unix(path.clone()),
        HostAddress::Abns(name) => return ServerAddress::Abns(name.clone()),
        HostAddress::Name(name, port) => (name, *port),
    };
    let unresolved = ServerAddress::Unresolved {
        name: name.clone(),
        port,
    };
    let mut why = String::new();
    for step in &raw.options.init_addr {
        match step {
            InitAddr::Last => {}
            InitAddr::None => return unresolved,
            InitAddr::Ip(ip) => return ServerAddress::Ip { ip: *ip, port },
            InitAddr::Libc => {
                let world = cx.world;
                match looked_up
                    .entry(name.clone())
                    .or_insert_with(|| world.resolve(name))
                {
                    Ok(list) => {
                        if let Some(ip) = first_address(list) {
                            return ServerAddress::Ip { ip, port };
                        }
                    }
                    Err(reason) => why = format!(" ({reason})"),
                }
            }
        }
    }
    if !section.set.disabled {
        let text = format!(
            "'server {}/{}' : could not resolve address '{name}'{why}.",
            section.name, raw.name
        );
        let help =
            "'init-addr last,libc,none' lets the process start with this server in maintenance";
        if cx.tolerate_unresolved {
            cx.warning(raw.span, text)
                .help("the server starts in maintenance");
        } else {
            let _: Said = cx.alert_help(raw.span, text, help);
        }
    }
    unresolved
}

fn check(
    section: &ProxyRaw,
    raw: &ServerRaw,
    address: &ServerAddress,
    ports: &Ports,
    cx: &mut Cx<'_>,
) -> Option<Check> {
    let options = &raw.options;
    let at = options.check?;
    if let Some(track) = &options.track {
        let text = format!(
            "'server {}/{}' : unable to enable checks and tracking at the same time!",
            section.name, raw.name
        );
        let _: Said = cx.alert(track.span, text);
    }
    if options.check_via_socks4 && options.socks4.is_none() {
        let text = format!(
            "'server {}/{}' : 'check-via-socks4' has no effect without 'socks4'.",
            section.name, raw.name
        );
        cx.warning(at, text);
    }
    let own = match address {
        ServerAddress::Ip { port, .. } | ServerAddress::Unresolved { port, .. } => *port,
        ServerAddress::Unix(_) | ServerAddress::Abns(_) => ServerPort::Fixed(0),
    };
    let port = match (options.check_port, own) {
        (Some(port), _) | (None, ServerPort::Fixed(port)) => port,
        (None, ServerPort::Mapped(by)) => mapped_port(section, raw, ports, by, at, cx)?,
    };
    // A header is of use only where the probe goes the way of the traffic.
    let same_way = options.check_port.is_none() && options.check_addr.is_none();
    let send_proxy = match (options.check_send_proxy, options.send_proxy) {
        (true, own) => Some(own.unwrap_or(ProxyProtocol::V1)),
        (false, own) => own.filter(|_| same_way),
    };
    Some(Check {
        inter_ms: options.inter_ms,
        fastinter_ms: options.fastinter_ms,
        downinter_ms: options.downinter_ms,
        rise: options.rise,
        fall: options.fall,
        addr: options.check_addr,
        port,
        send_proxy,
        via_socks4: options.check_via_socks4,
    })
}

/// The port probed on a server that has none of its own: the only one connections arrive on.
fn mapped_port(
    section: &ProxyRaw,
    raw: &ServerRaw,
    ports: &Ports,
    by: i32,
    at: Span,
    cx: &mut Cx<'_>,
) -> Option<u16> {
    if section.set.disabled || section.set.mistaken || ports.uncertain || cx.lines_lost {
        return None;
    }
    let (kind, proxy, server) = (section.kind.called(), &section.name, &raw.name);
    let [listening] = *ports.list else {
        let text =
            format!("{kind} '{proxy}': server '{server}' has neither service port nor check port.");
        let help = match ports.list.len() {
            0 => "write 'port <port>' after 'check'".to_owned(),
            n => format!("connections arrive on {n} ports: write 'port <port>' after 'check'"),
        };
        let _: Said = cx.alert_help(at, text, help);
        return None;
    };
    match u16::try_from(i32::from(listening) + by) {
        Ok(port) if port > 0 => {
            let text = format!(
                "{kind} '{proxy}': server '{server}' has no port of its own and is checked on port {port}."
            );
            cx.notice(at, text)
                .help(format!("'port {port}' after 'check' says so"));
            Some(port)
        }
        _ => {
            let text = format!(
                "{kind} '{proxy}': server '{server}' would be checked on port {listening}{by:+}, which does not exist."
            );
            let _: Said = cx.alert(at, text);
            None
        }
    }
}

// ---------------------------------------------------------------- track

/// Finds whom each server tracks; the end of a chain has to be checked, and no chain comes back to its start.
fn track(raws: &[&ServerRaw], out: &mut Config, cx: &mut Cx<'_>) {
    let mut found: Vec<Option<ServerId>> = vec![None; raws.len()];
    for (at, raw) in raws.iter().enumerate() {
        if let Some(word) = &raw.options.track {
            found[at] = tracked(out, ServerId(index(at)), &word.text(), word.span, cx);
        }
    }
    for (at, raw) in raws.iter().enumerate() {
        let (Some(word), Some(first)) = (&raw.options.track, found[at]) else {
            continue;
        };
        let id = ServerId(index(at));
        match end_of_chain(&found, id) {
            None => {
                let text = format!(
                    "'server {}' : unable to track {} as it belongs to a tracking chain looping back to {}.",
                    shown(out, id),
                    shown(out, first),
                    shown(out, id)
                );
                let _: Said = cx.alert(word.span, text);
                // One message a loop: the others in it are silent from here on.
                found[at] = None;
            }
            Some(end)
                if raws[end.index()].options.check.is_none()
                    && raws[end.index()].options.track.is_none() =>
            {
                let text = format!(
                    "'server {}' : unable to use {} for tracking as it does not have any check nor agent enabled.",
                    shown(out, id),
                    shown(out, end)
                );
                let _: Said = cx.alert(word.span, text);
            }
            Some(_) => {}
        }
    }
    for (server, tracked) in out.servers.iter_mut().zip(found) {
        server.track = tracked;
    }
}

/// The last server of the chain that begins at `start`, `None` if it never ends.
fn end_of_chain(found: &[Option<ServerId>], start: ServerId) -> Option<ServerId> {
    let mut at = start;
    for _ in 0..=found.len() {
        match found[at.index()] {
            Some(next) => at = next,
            None => return Some(at),
        }
    }
    None
}

fn tracked(
    out: &Config,
    own: ServerId,
    text: &str,
    span: Span,
    cx: &mut Cx<'_>,
) -> Option<ServerId> {
    let own_back = out.server(own).backend;
    let (back, name) = match text.split_once('/') {
        None => (own_back, text),
        Some((proxy, name)) => match out.backends.iter().position(|b| b.name == proxy) {
            Some(at) => (BackendId(index(at)), name),
            None => {
                let near = did_you_mean(&nearest(proxy, out.backends.iter().map(|b| &*b.name)));
                let text = format!(
                    "'server {}' : unable to find required proxy '{proxy}' for tracking{near}",
                    shown(out, own)
                );
                let _: Said = cx.alert(span, text);
                return None;
            }
        },
    };
    let servers = &out.backend(back).servers;
    let hit = servers
        .iter()
        .copied()
        .find(|&s| out.server(s).name == name);
    if hit.is_none() {
        let near = did_you_mean(&nearest(
            name,
            servers.iter().map(|&s| &*out.server(s).name),
        ));
        let text = format!(
            "'server {}' : unable to find required server '{name}' for tracking{near}",
            shown(out, own)
        );
        let _: Said = cx.alert(span, text);
    }
    hit
}

fn shown(out: &Config, id: ServerId) -> String {
    let server = out.server(id);
    format!("{}/{}", out.backend(server.backend).name, server.name)
}
