//! From what was written to a [`Config`]: references, inherited values, defaults and cross-checks.
//!
//! Runs even where mistakes were found before, so that one run shows all; what it then builds is dropped.

use std::collections::{HashMap, HashSet};

use super::address;
use super::balance;
use super::check_raw;
use super::http_options;
use super::load::LoadInputs;
use super::logging;
use super::model::*;
use super::options;
use super::pages;
use super::proxy;
use super::raw::*;
use super::rule_resolve;
use super::servers;
use super::userlists;
use super::words::{Cx, Said};
use crate::lang::diag::{Form, Severity, did_you_mean, nearest};
use crate::lang::source::{FileId, Span};

/// haproxy's number for the first proxy: 1 is taken by its own admin proxy.
const FIRST_IID: u32 = 2;
/// `retries` where none is written.
const RETRIES: u32 = 3;
/// Backlog where no limit is known at all.
const BACKLOG: u32 = 1024;

/// Builds the configuration of one worker.
pub(super) fn config(raw: &Raw, inputs: &LoadInputs<'_>, cx: &mut Cx<'_>) -> Config {
    let sections: Vec<&ProxyRaw> = raw
        .sections
        .iter()
        .filter(|s| s.kind != SectionKind::Defaults)
        .collect();
    let mut out = Config {
        global: global(&raw.global, inputs, cx),
        ..Config::default()
    };
    out.userlists = userlists::resolve(raw, cx).into();
    names(&sections, cx);
    mixed_defaults(raw, cx);
    for section in &sections {
        later_issues(section, cx);
    }
    let iids = numbers(&sections, cx);
    for (section, iid) in sections.iter().zip(iids) {
        let proxy = ProxyId(index(out.proxies.len()));
        let front = section
            .kind
            .has_front()
            .then(|| FrontendId(index(out.frontends.len())));
        let back = section
            .kind
            .has_back()
            .then(|| BackendId(index(out.backends.len())));
        out.proxies.push(Proxy {
            name: section.name.clone(),
            iid,
            frontend: front,
            backend: back,
            mode: section.set.mode,
            disabled: section.set.disabled,
            description: section.description.clone(),
            http: super::http::Http {
                stats: super::stats_page::resolve(section, &out.global, cx),
                pages: pages::resolve(section, raw, cx),
                abort_on_close: section.set.options.abortonclose != Some(false),
                ..persistence(section, cx)
            },
            span: section.span,
        });
        if front.is_some() {
            let frontend = frontend(section, proxy, raw, inputs, &mut out, cx);
            out.frontends.push(frontend);
        }
        if back.is_some() {
            let backend = backend(section, proxy, raw, &mut out, cx);
            out.backends.push(backend);
        }
        missing_timeouts(section, cx);
        ignored_log_format(section, &out, front, cx);
    }
    default_backends(&sections, raw, &mut out, cx);
    rule_resolve::switching(&sections, raw, &mut out, cx);
    full_connections(&sections, inputs, &mut out);
    servers::resolve(&sections, &mut out, cx);
    for (section, id) in sections.iter().zip(0..) {
        logging::resolve(section, ProxyId(id), &mut out, cx);
        http_options::resolve(section, ProxyId(id), &mut out, cx);
        pages::settle(section, ProxyId(id), &mut out, cx);
        balance::resolve(section, ProxyId(id), &mut out, cx);
        rule_resolve::resolve(section, ProxyId(id), raw, &mut out, cx);
        check_raw::resolve(section, ProxyId(id), &mut out, cx);
    }
    out.guids = super::guid::resolve(&sections, &out, cx);
    out.stats_file = raw.global.stats_file.as_deref().map(|path| cx.below(path));
    out.server_states = state_files(&sections, &raw.global, &out, cx);
    shared_addresses(&out, cx);
    out
}

/// The files that tell how servers were before a reload, each with its backends.
fn state_files(
    sections: &[&ProxyRaw],
    global: &GlobalRaw,
    out: &Config,
    cx: &Cx<'_>,
) -> Vec<StateFile> {
    let base = global.state_base.as_deref().unwrap_or("");
    let path = |name: &str| cx.below(&std::path::Path::new(base).join(name).to_string_lossy());
    let mut files = Vec::new();
    let mut all = Vec::new();
    for (section, proxy) in sections.iter().zip(&out.proxies) {
        let Some(backend) = proxy.backend.filter(|_| !proxy.disabled) else {
            continue;
        };
        match section.set.load_states {
            LoadStates::None => {}
            LoadStates::Global => all.push(backend),
            LoadStates::Local => files.push(StateFile {
                path: path(section.set.state_file.as_deref().unwrap_or(&section.name)),
                own: true,
                backends: vec![backend],
            }),
        }
    }
    if let (Some(name), false) = (&global.state_file, all.is_empty()) {
        let global = StateFile {
            path: path(name),
            own: false,
            backends: all,
        };
        files.insert(0, global);
    }
    files
}

/// An index that fits the ids: a file cannot hold more sections or servers than that.
pub(super) fn index(len: usize) -> u32 {
    u32::try_from(len).expect("fewer items than bytes in the files")
}

// ---------------------------------------------------------------- global

fn global(raw: &GlobalRaw, inputs: &LoadInputs<'_>, cx: &mut Cx<'_>) -> Global {
    let mut out = raw.out.clone();
    out.maxconn = inputs.maxconn.or(out.maxconn);
    out.log = targets(&raw.log, &[]);
    if let (Some(limit), Some(threads)) = (raw.thread_hard_limit, out.nbthread)
        && threads > limit
    {
        let text =
            format!("nbthread {threads} is above thread-hard-limit, which keeps it at {limit}.");
        cx.diags.push(Severity::Warning, None, text);
    }
    let shards = out
        .nbthread
        .unwrap_or(inputs.shards)
        .min(raw.thread_hard_limit.unwrap_or(u32::MAX))
        .max(1);
    if raw.thread_hard_limit.is_some() {
        out.nbthread = Some(shards);
    }
    out.cpu_map = cpu_map(&raw.cpu_map, shards);
    out
}

/// CPUs of each shard; later lines win, and `auto:` deals them out one by one.
fn cpu_map(lines: &[CpuMap], shards: u32) -> Vec<Vec<usize>> {
    if lines.is_empty() {
        return Vec::new();
    }
    let mut out = vec![Vec::new(); shards as usize];
    for line in lines {
        let of_set = (0..shards).filter(|&thread| line.threads.contains(thread));
        for (nth, thread) in of_set.enumerate() {
            let cpus = if line.one_each {
                line.cpus.get(nth).map_or_else(Vec::new, |&cpu| vec![cpu])
            } else {
                line.cpus.clone()
            };
            if !cpus.is_empty() {
                out[thread as usize] = cpus;
            }
        }
    }
    out
}

/// The targets of a section, `log global` replaced; none of the global ones twice.
pub(super) fn targets(lines: &[LogLine], global: &[LogLine]) -> Vec<LogTarget> {
    let of = |line: &LogLine| match line {
        LogLine::To(target) => Some(target.clone()),
        LogLine::Global => None,
    };
    lines
        .iter()
        .flat_map(|line| match line {
            LogLine::Global => global.iter().filter_map(of).collect(),
            LogLine::To(target) => vec![target.clone()],
        })
        .collect()
}

// ---------------------------------------------------------------- names and numbers

fn names(sections: &[&ProxyRaw], cx: &mut Cx<'_>) {
    let mut seen: HashMap<&str, Vec<&ProxyRaw>> = HashMap::new();
    for section in sections {
        let others = seen.entry(&section.name).or_default();
        let clash = |o: &&&ProxyRaw| {
            (o.kind.has_front() && section.kind.has_front())
                || (o.kind.has_back() && section.kind.has_back())
        };
        if let Some(other) = others.iter().find(clash) {
            let text = format!(
                "{} '{}' has the same name as {} '{}' declared at {}.",
                section.kind.word(),
                section.name,
                other.kind.word(),
                other.name,
                cx.place(other.span)
            );
            let _: Said = cx.alert(section.span, text);
        } else if let Some(other) = others.first() {
            let text = format!(
                "{} '{}' shares its name with {} '{}' declared at {}, which haproxy 3.3 and later refuse.",
                section.kind.word(),
                section.name,
                other.kind.word(),
                other.name,
                cx.place(other.span)
            );
            cx.warning(section.span, text)
                .help("give each section a name of its own");
        }
        others.push(section);
    }
}

/// A defaults section that some name with `from` and others get because it is the last: haproxy refuses to guess.
fn mixed_defaults(raw: &Raw, cx: &mut Cx<'_>) {
    let proxies = || {
        raw.sections
            .iter()
            .filter(|s| s.kind != SectionKind::Defaults)
    };
    for (at, defaults) in raw.sections.iter().enumerate() {
        let named = proxies().any(|s| s.from == Some((at, true)));
        let implicit = proxies().find(|s| s.from == Some((at, false)));
        if let (true, Some(section)) = (named, implicit) {
            let text = format!(
                "defaults section '{}' (declared at {}) is explicitly referenced by another proxy and implicitly used here.",
                defaults.name,
                cx.place(defaults.span)
            );
            let help = format!(
                "write 'from {}' here too, or begin a section 'defaults' of its own",
                defaults.name
            );
            let _: Said = cx.alert_help(section.span, text, help);
        }
    }
}

/// `id` of each section, else the next free number from [`FIRST_IID`].
fn numbers(sections: &[&ProxyRaw], cx: &mut Cx<'_>) -> Vec<u32> {
    let mut owners: HashMap<u32, &ProxyRaw> = HashMap::new();
    for section in sections {
        let Some((id, span)) = section.id else {
            continue;
        };
        if let Some(other) = owners.get(&id) {
            let text = format!(
                "{} {} reuses same custom id as {} {} (declared at {}).",
                section.kind.called(),
                section.name,
                other.kind.called(),
                other.name,
                cx.place(other.span)
            );
            let _: Said = cx.alert(span, text);
        } else {
            owners.insert(id, section);
        }
    }
    let written: Vec<Option<u32>> = sections.iter().map(|s| s.id.map(|id| id.0)).collect();
    numbered(&written, FIRST_IID)
}

/// Numbers as haproxy gives them: a written one stands; others get the first free number from their own place on.
pub(super) fn numbered(written: &[Option<u32>], first: u32) -> Vec<u32> {
    let taken: HashSet<u32> = written.iter().flatten().copied().collect();
    let mut next = first;
    let mut number = |own: &Option<u32>| {
        let mut number = next;
        if own.is_none() {
            while taken.contains(&number) {
                number += 1;
            }
        }
        next = number + 1;
        own.unwrap_or(number)
    };
    written.iter().map(&mut number).collect()
}

// ---------------------------------------------------------------- what belongs to later issues

/// Says, once a name, what this section needs and we do not have.
///
/// In TCP mode HTTP keywords have no effect, in haproxy either, which says so for some.
fn later_issues(section: &ProxyRaw, cx: &mut Cx<'_>) {
    if section.set.disabled {
        return;
    }
    let http = section.set.mode == Mode::Http;
    let of_binds = section.binds.iter().flat_map(|b| &b.options.not_yet);
    let of_servers = section.servers.iter().flat_map(|s| &s.options.not_yet);
    let mut ignored: Vec<&str> = Vec::new();
    for item in section.set.not_yet.iter().chain(of_binds).chain(of_servers) {
        match (item.layer, http) {
            (Layer::HttpQuiet, false) => {}
            (Layer::Http, false) => {
                if !ignored.contains(&&*item.name) {
                    ignored.push(&item.name);
                    let text = needs_http(&item.name, section);
                    cx.warning(item.span, text).form(Form::Bare);
                }
            }
            (_, true) | (Layer::Rules | Layer::Any, false) => {
                let _: Said = cx.not_yet(item.span, &item.name);
            }
        }
    }
    for (keyword, at) in section.set.http_only.iter().filter(|_| !http) {
        if keyword.sections & proxy::section_bit(section.kind) != 0 {
            cx.warning(*at, needs_http(keyword.name, section))
                .form(Form::Bare);
        }
    }
    if let (Some(at), false) = (section.set.httplog_at, http) {
        let text = format!(
            "'option httplog' not usable with {} '{}' (needs 'mode http'). Falling back to 'option tcplog'.",
            section.kind.called(),
            section.name
        );
        if section.kind.has_front() {
            cx.warning(at, text);
        }
    }
}

/// `nosplice` of the process beats what the section asks for.
fn splice(out: &Config, auto: Option<bool>, own: Option<bool>) -> Splice {
    if out.global.nosplice {
        return Splice::Never;
    }
    options::splice(auto, own)
}

/// haproxy's words about an HTTP keyword in TCP mode.
fn needs_http(keyword: &str, section: &ProxyRaw) -> String {
    let (kind, name) = (section.kind.called(), &section.name);
    match keyword {
        "http-request" | "http-response" | "http-after-response" | "redirect" => {
            format!("'{keyword}' rules ignored for {kind} '{name}' as they require HTTP mode.")
        }
        "monitor-uri" => {
            format!("monitor-uri will be ignored for {kind} '{name}' (needs 'mode http').")
        }
        _ => format!("'{keyword}' ignored for {kind} '{name}' as it requires HTTP mode."),
    }
}

// ---------------------------------------------------------------- frontends

fn frontend(
    section: &ProxyRaw,
    proxy: ProxyId,
    raw: &Raw,
    inputs: &LoadInputs<'_>,
    out: &mut Config,
    cx: &mut Cx<'_>,
) -> Frontend {
    let set = &section.set;
    let id = FrontendId(index(out.frontends.len()));
    if section.binds.is_empty() && !set.disabled && !section.set.mistaken && !cx.lines_lost {
        let text = format!(
            "{} '{}' has no 'bind' directive. Please declare it as a backend if this was intended.",
            section.kind.called(),
            section.name
        );
        cx.warning(section.span, text).form(Form::Bare);
    }
    let maxconn = set.maxconn.or(inputs.frontend_maxconn).unwrap_or(0);
    let limit = if maxconn > 0 {
        maxconn
    } else {
        out.global.maxconn.unwrap_or(BACKLOG)
    };
    let shards = out.global.nbthread.unwrap_or(inputs.shards);
    let mut binds = Vec::new();
    let luids = bind_numbers(section, cx);
    for (bind, luid) in section.binds.iter().zip(luids) {
        let bind_id = BindId(index(out.binds.len()));
        let backlog = bind.options.backlog.or(set.backlog).unwrap_or(limit);
        let bind = resolve_bind(bind, id, luid, backlog, raw, shards, cx);
        out.binds.push(bind);
        binds.push(bind_id);
    }
    Frontend {
        name: section.name.clone(),
        proxy,
        mode: set.mode,
        disabled: set.disabled,
        binds,
        maxconn,
        rate_limit_sessions: set.rate_limit_sessions,
        timeout_client_ms: set.timeout.client,
        timeout_client_fin_ms: set.timeout.client_fin,
        default_backend: None,
        monitor_net: set.monitor_net,
        tcpka: set.client_ka,
        independent_streams: set.options.independent_streams,
        dontlognull: set.options.dontlognull,
        dontlog_normal: set.options.dontlog_normal,
        logasap: set.options.logasap,
        log_separate_errors: set.options.log_separate_errors,
        socket_stats: set.options.socket_stats,
        tcp_smart_accept: set.options.smart_accept == Some(true),
        log_format: LogFormat::default(),
        log: targets(&set.log, &raw.global.log),
        log_tag: set.log_tag.clone(),
        splice_request: splice(out, set.options.splice_auto, set.options.splice_request),
        splice_response: splice(out, set.options.splice_auto, set.options.splice_response),
        grace_ms: set.grace_ms,
        span: section.span,
    }
}

/// `id` of each address, else the next free number from 1.
fn bind_numbers(section: &ProxyRaw, cx: &mut Cx<'_>) -> Vec<u32> {
    let mut owners: HashMap<u32, Span> = HashMap::new();
    for (id, span) in section.binds.iter().filter_map(|b| b.options.id) {
        if let Some(first) = owners.get(&id) {
            let text = format!(
                "'bind' : 'id' : custom id {id} already used at {}.",
                cx.place(*first)
            );
            let _: Said = cx.alert(span, text);
        }
        owners.insert(id, span);
    }
    let written: Vec<Option<u32>> = section
        .binds
        .iter()
        .map(|b| b.options.id.map(|id| id.0))
        .collect();
    numbered(&written, 1)
}

fn resolve_bind(
    bind: &BindRaw,
    frontend: FrontendId,
    luid: u32,
    backlog: u32,
    raw: &Raw,
    shards: u32,
    cx: &mut Cx<'_>,
) -> Bind {
    let options = &bind.options;
    let common = &raw.global.unix_bind;
    let unix = matches!(bind.address, BindAddress::Unix(_));
    let or_common = |own: Option<u32>, common: Option<u32>| own.or_else(|| common.filter(|_| unix));
    let mut threads = options.threads.clone();
    threads.retain(|&t| t < shards);
    if threads.is_empty() && !options.threads.is_empty() {
        let text = format!("'bind' : 'thread' names no thread that exists: there are {shards}.");
        let _: Said = cx.alert(bind.span, text);
    }
    let word = options.shards.or(raw.global.default_shards);
    Bind {
        frontend,
        address: prefixed(&bind.address, common.prefix.as_deref()),
        name: options.name.clone(),
        luid,
        backlog,
        maxconn: options.maxconn.unwrap_or(0),
        accept_proxy: options.accept_proxy,
        transparent: options.transparent,
        interface: options.interface.clone(),
        mode: or_common(options.owner.mode, common.mode),
        uid: or_common(options.owner.uid, common.uid),
        gid: or_common(options.owner.gid, common.gid),
        v4v6: options.v4v6,
        v6only: options.v6only,
        defer_accept: options.defer_accept,
        tfo: options.tfo,
        mss: options.mss,
        tcp_ut_ms: options.tcp_ut_ms,
        shards: match word {
            Some(ShardsWord::Number(n)) => Some(n),
            Some(ShardsWord::ByThread) | None => None,
        },
        threads,
        nice: options.nice,
        span: bind.span,
    }
}

/// `unix-bind prefix` goes before each path.
fn prefixed(address: &BindAddress, prefix: Option<&str>) -> BindAddress {
    match (address, prefix) {
        (BindAddress::Unix(path), Some(prefix)) => {
            let mut whole = std::ffi::OsString::from(prefix);
            whole.push(path);
            BindAddress::Unix(whole.into())
        }
        _ => address.clone(),
    }
}

fn default_backends(sections: &[&ProxyRaw], raw: &Raw, out: &mut Config, cx: &mut Cx<'_>) {
    let by_name: HashMap<&str, BackendId> = out
        .backends
        .iter()
        .zip(0..)
        .map(|(b, i)| (&*b.name, BackendId(i)))
        .collect();
    let mut found = Vec::new();
    // One line of a defaults section may be wrong for many.
    let mut said: HashSet<(FileId, u32)> = HashSet::new();
    let fronts = sections.iter().filter(|s| s.kind.has_front());
    for (section, frontend) in fronts.zip(0..) {
        let Some(word) = &section.set.default_backend else {
            // A listen section is its own backend.
            if section.kind == SectionKind::Listen {
                found.push((frontend, by_name.get(&*section.name).copied()));
            }
            continue;
        };
        let name = word.text();
        let backend = by_name.get(&*name).copied();
        if section.kind == SectionKind::Listen && *name == section.name {
            let text = format!("Proxy '{name}': loop detected for default_backend: '{name}'.");
            cx.diags.alert(word.span, text).form(Form::Bare);
        } else if section.kind == SectionKind::Listen && !section.servers.is_empty() {
            let text = format!(
                "In proxy '{}', the 'default_backend' rule always has precedence over the servers, which will never be used.",
                section.name
            );
            cx.warning(word.span, text).form(Form::Bare);
        }
        let certain = !section.set.disabled && !raw.skipped.iter().any(|s| *s == name);
        if backend.is_none() && certain && said.insert((word.span.file, word.span.line)) {
            let near = did_you_mean(&nearest(&name, by_name.keys().copied()));
            let text = format!(
                "Proxy '{}': unable to find required default_backend: '{name}'{near}",
                section.name
            );
            cx.diags.alert(word.span, text).form(Form::Bare);
        }
        if let Some(id) = backend {
            let back = out.proxy(out.backend(id).proxy);
            same_mode(section, back, word.span, "as its default backend", cx);
        }
        found.push((frontend, backend));
    }
    for (frontend, backend) in found {
        out.frontends[frontend as usize].default_backend = backend;
    }
}

/// A frontend in HTTP mode has nothing to give to a backend that speaks bytes. (One in TCP mode becomes an HTTP one
/// for an HTTP backend.)
pub(super) fn same_mode(section: &ProxyRaw, back: &Proxy, at: Span, how: &str, cx: &mut Cx<'_>) {
    match (section.set.mode, back.mode) {
        _ if section.set.disabled || back.disabled => {}
        (Mode::Http, Mode::Tcp) => {
            let (own, other) = (cx.place(section.span), cx.place(back.span));
            let (kind, name) = (section.kind.called(), &section.name);
            let text = format!(
                "http {kind} '{name}' ({own}) tries to use incompatible tcp backend '{}' ({other}) {how} (see 'mode').",
                back.name
            );
            cx.mistakes += 1;
            cx.diags.alert(at, text).form(Form::Config);
        }
        _ => {}
    }
}

/// Two binds of one address: connections would go to either, so it is said; a unix path has one owner only.
fn shared_addresses(out: &Config, cx: &mut Cx<'_>) {
    let mut seen: HashMap<(&BindAddress, Option<&str>), &Bind> = HashMap::new();
    for bind in out
        .binds
        .iter()
        .filter(|b| !out.frontend(b.frontend).disabled)
    {
        let key = (&bind.address, bind.interface.as_deref());
        let Some(first) = seen.get(&key) else {
            seen.insert(key, bind);
            continue;
        };
        let place = cx.place(first.span);
        let shown = shown(&bind.address);
        if bind.address.shardable() {
            let text = format!(
                "'bind {shown}' is also at {place}: the kernel spreads connections over both."
            );
            cx.warning(bind.span, text)
                .help("keep one of the two lines, or give one 'interface' or another address");
        } else {
            let text = format!("'bind {shown}' is already at {place}: it can have one owner only.");
            let _: Said = cx.alert(bind.span, text);
        }
    }
}

fn shown(address: &BindAddress) -> String {
    match address {
        BindAddress::Ip(ip) => ip.to_string(),
        BindAddress::Unix(path) => path.display().to_string(),
        BindAddress::Abns(name) => format!("abns@{}", String::from_utf8_lossy(name)),
        BindAddress::Abnsz(name) => format!("abnsz@{}", String::from_utf8_lossy(name)),
        BindAddress::Fd(fd) => format!("fd@{fd}"),
    }
}

// ---------------------------------------------------------------- backends

fn backend(
    section: &ProxyRaw,
    proxy: ProxyId,
    raw: &Raw,
    out: &mut Config,
    cx: &mut Cx<'_>,
) -> Backend {
    let set = &section.set;
    let timeout = &set.timeout;
    set.checks.look_at_external(section, &out.global, cx);
    Backend {
        name: section.name.clone(),
        proxy,
        mode: set.mode,
        disabled: set.disabled,
        servers: Vec::new(),
        balance: balance(section, cx),
        hash_type: set.hash_type,
        hash_balance_factor: set.hash_balance_factor,
        hash_affinity: set.hash_affinity,
        retries: set.retries.unwrap_or(RETRIES),
        redispatch: set.redispatch,
        dispatch: dispatch(section, cx),
        transparent: set.options.transparent,
        fullconn: set.fullconn.unwrap_or(0),
        timeout_connect_ms: timeout.connect,
        timeout_server_ms: timeout.server,
        timeout_server_fin_ms: timeout.server_fin,
        timeout_tunnel_ms: timeout.tunnel,
        timeout_queue_ms: timeout.queue.or(timeout.connect),
        timeout_check_ms: timeout.check,
        check: set.checks.kind(&out.global),
        source: set.source.clone(),
        tcpka: set.server_ka,
        independent_streams: set.options.independent_streams,
        allbackups: set.options.allbackups,
        abortonclose: set.options.abortonclose == Some(true),
        tcp_smart_connect: set.options.smart_connect,
        log_health_checks: set.options.log_health_checks,
        splice_request: splice(out, set.options.splice_auto, set.options.splice_request),
        splice_response: splice(out, set.options.splice_auto, set.options.splice_response),
        log: targets(&set.log, &raw.global.log),
        log_tag: set.log_tag.clone(),
        template: super::added::Template::of(section).into(),
        span: section.span,
    }
}

/// In TCP mode keys of HTTP requests fall back to round robin, as in haproxy.
fn balance(section: &ProxyRaw, cx: &mut Cx<'_>) -> Balance {
    let Some((balance, at)) = &section.set.balance else {
        return Balance::Random(2);
    };
    let http = section.set.mode == Mode::Http;
    match balance {
        Balance::Key(kind) if kind.needs_http() && !http => {
            let text = format!(
                "Layer 7 hash not possible for {} '{}' (needs 'mode http'). Falling back to round robin.",
                section.kind.called(),
                section.name
            );
            cx.warning(*at, text).form(Form::Bare);
            Balance::RoundRobin
        }
        other => other.clone(),
    }
}

/// Persistence as the section's proxy has it: without effect in TCP mode, which is said.
fn persistence(section: &ProxyRaw, cx: &mut Cx<'_>) -> super::http::Http {
    let set = &section.set;
    let mut http = set.http.clone();
    if let Some(cookie) = &mut http.cookie {
        cookie.dynamic_key = set.dynamic_key.clone().filter(|_| set.cookie_dynamic);
    }
    if !section.kind.has_back() || set.disabled {
        return http;
    }
    if let (Some(at), Mode::Tcp) = (set.cookie_at, set.mode) {
        let text = format!(
            "cookie will be ignored for {} '{}' (needs 'mode http').",
            section.kind.called(),
            section.name
        );
        cx.warning(at, text).form(Form::Bare);
        http.cookie = None;
    }
    http
}

/// `dispatch` counts only where no algorithm was asked for.
fn dispatch(section: &ProxyRaw, cx: &mut Cx<'_>) -> Option<std::net::SocketAddr> {
    let (address, at) = section.dispatch?;
    if section.set.balance.is_some() && !section.servers.is_empty() {
        let text = format!(
            "dispatch address of {} '{}' will be ignored in balance mode.",
            section.kind.called(),
            section.name
        );
        cx.warning(at, text).form(Form::Bare);
        return None;
    }
    Some(address)
}

/// `fullconn` where none is written: a tenth of what the frontends of a backend may take together, at least 1.
fn full_connections(sections: &[&ProxyRaw], inputs: &LoadInputs<'_>, out: &mut Config) {
    let process = out.global.maxconn.unwrap_or(inputs.computed_maxconn);
    let mut sums = vec![0u64; out.backends.len()];
    for (frontend, id) in out.frontends.iter().zip(0..) {
        let most = if frontend.maxconn > 0 {
            frontend.maxconn
        } else {
            process
        };
        let reached: HashSet<BackendId> = out.backends_of(FrontendId(id)).collect();
        for backend in reached {
            sums[backend.index()] += u64::from(most);
        }
    }
    let backs = sections.iter().filter(|s| s.kind.has_back());
    for ((backend, sum), section) in out.backends.iter_mut().zip(sums).zip(backs) {
        if section.set.fullconn.is_none() {
            backend.fullconn = u32::try_from(sum.div_ceil(10)).unwrap_or(u32::MAX).max(1);
        }
    }
}

// ---------------------------------------------------------------- what a section lacks

/// One warning that lists the timeouts a section lacks. In TCP `timeout tunnel` stands for `timeout server`.
fn missing_timeouts(section: &ProxyRaw, cx: &mut Cx<'_>) {
    let (set, timeout) = (&section.set, &section.set.timeout);
    if set.disabled || set.mistaken || cx.lines_lost {
        return;
    }
    let mut missing = Vec::new();
    if section.kind.has_front() && timeout.client.is_none() {
        missing.push("'client'");
    }
    if section.kind.has_back() && (!section.servers.is_empty() || section.dispatch.is_some()) {
        if timeout.connect.is_none() {
            missing.push("'connect'");
        }
        if timeout.server.is_none() && (set.mode == Mode::Http || timeout.tunnel.is_none()) {
            missing.push("'server'");
        }
    }
    if missing.is_empty() {
        return;
    }
    let text = format!(
        "missing timeouts for {} '{}': {}.",
        section.kind.called(),
        section.name,
        missing.join(", ")
    );
    cx.warning(section.span, text)
        .form(Form::Bare)
        .help("without them a silent peer is waited for without end");
}

fn ignored_log_format(
    section: &ProxyRaw,
    out: &Config,
    front: Option<FrontendId>,
    cx: &mut Cx<'_>,
) {
    let (Some(front), Some(at)) = (front, section.set.log_format_at) else {
        return;
    };
    if out.frontend(front).log.is_empty() && !section.set.disabled {
        let text = format!(
            "log format ignored for {} '{}' since it has no log address.",
            section.kind.called(),
            section.name
        );
        cx.warning(at, text).form(Form::Bare);
    }
}

/// The first address of a list, of any family.
pub(super) fn first_address(list: &[std::net::IpAddr]) -> Option<std::net::IpAddr> {
    address::pick(list, crate::lang::addr::Family::Either)
}

/// What is allowed and probably not meant (`-dD`).
pub(super) fn diagnostics(config: &Config, cx: &mut Cx<'_>) {
    let reaches = |id: u32| config.backends_of(FrontendId(id));
    for (frontend, id) in config
        .frontends
        .iter()
        .zip(0..)
        .filter(|(f, _)| !f.disabled)
    {
        if reaches(id).next().is_none() {
            let text = format!(
                "frontend '{}' leads to no backend: its connections are closed.",
                frontend.name
            );
            cx.diags.push(Severity::Diag, Some(frontend.span), text);
        }
    }
    for (backend, id) in config.backends.iter().zip(0..).filter(|(b, _)| !b.disabled) {
        let fronts = 0..index(config.frontends.len());
        let used = fronts
            .into_iter()
            .any(|front| reaches(front).any(|b| b == BackendId(id)));
        if !used {
            let text = format!("backend '{}' is used by no frontend.", backend.name);
            cx.diags.push(Severity::Diag, Some(backend.span), text);
        }
        let way_out = backend.dispatch.is_some() || backend.transparent;
        if used && backend.servers.is_empty() && !way_out {
            let text = format!(
                "backend '{}' has no server: its connections are closed.",
                backend.name
            );
            cx.diags.push(Severity::Diag, Some(backend.span), text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `show stat` of haproxy 2.6 shows for servers without, with 1, without, with 9, without `id`.
    #[test]
    fn numbers_go_on_from_the_place_in_the_file() {
        assert_eq!(
            numbered(&[None, Some(1), None, Some(9), None], 1),
            [2, 1, 4, 9, 6]
        );
    }
}
