//! `server` and `default-server` lines (configuration.txt 5.2).

use super::address;
use super::keyword::{Arity, Keyword, NONE, ONE, SERVER};
use super::known;
use super::model::*;
use super::raw::{InitAddr, NotYetRaw, ProxyRaw, ServerOptions, ServerRaw};
use super::tail::{self, Tail};
use super::words::{Args, Said, To};
use crate::lang::diag::{did_you_mean, nearest};
use crate::lang::value::Unit;

impl Tail for ServerOptions {
    const TABLE: &'static [Keyword<Self>] = TABLE;
    const KNOWN: &'static [known::Known] = known::SERVER_OPTIONS;
    fn not_yet(&mut self) -> &mut Vec<NotYetRaw> {
        &mut self.not_yet
    }
}

const fn opt(
    name: &'static str,
    args: Arity,
    usage: &'static str,
    doc: &'static str,
    parse: super::keyword::Parse<ServerOptions>,
) -> Keyword<ServerOptions> {
    Keyword::new(name, SERVER, args, usage, doc, parse)
}

/// What may follow a server's address.
pub(super) static TABLE: &[Keyword<ServerOptions>] = &[
    opt(
        "addr",
        ONE,
        "<ip>[:<port>]",
        "address probed, where not the server's own",
        |s, a| {
            let word = a.expect("<addr>")?;
            let probed = address::socket(a, word)?;
            s.check_addr = Some(probed.ip());
            if probed.port() > 0 {
                s.check_port = Some(probed.port());
            }
            Ok(())
        },
    ),
    opt(
        "agent-addr",
        ONE,
        "<ip>",
        "address of the agent, where not the server's own",
        |s, a| {
            let word = a.expect("<addr>")?;
            s.agent_addr = Some(address::socket(a, word)?.ip());
            Ok(())
        },
    ),
    opt(
        "agent-check",
        NONE,
        "",
        "asks an agent for weight and state",
        |s, a| {
            s.agent = Some(a.head);
            Ok(())
        },
    ),
    opt(
        "no-agent-check",
        NONE,
        "",
        "undoes 'agent-check' of default-server",
        |s, _| {
            s.agent = None;
            Ok(())
        },
    ),
    opt(
        "agent-inter",
        ONE,
        "<delay>",
        "time between questions to the agent",
        |s, a| {
            s.agent_inter_ms = interval(a)?;
            Ok(())
        },
    ),
    opt("agent-port", ONE, "<port>", "port of the agent", |s, a| {
        let port = a.number(0..=65_535)?;
        s.agent_port = Some(u16::try_from(port).expect("within the range")).filter(|&p| p > 0);
        Ok(())
    }),
    opt(
        "agent-send",
        ONE,
        "<string>",
        "what the agent is told first",
        |s, a| {
            s.agent_send = a.expect("<string>")?.bytes.clone().into();
            Ok(())
        },
    ),
    opt(
        "backup",
        NONE,
        "",
        "used only while no other server is up",
        |s, _| {
            s.backup = true;
            Ok(())
        },
    ),
    opt(
        "no-backup",
        NONE,
        "",
        "undoes 'backup' of default-server",
        |s, _| {
            s.backup = false;
            Ok(())
        },
    ),
    opt("check", NONE, "", "probes the server", |s, a| {
        s.check = Some(a.head);
        Ok(())
    }),
    opt(
        "no-check",
        NONE,
        "",
        "undoes 'check' of default-server",
        |s, _| {
            s.check = None;
            Ok(())
        },
    ),
    opt(
        "check-send-proxy",
        NONE,
        "",
        "a PROXY header opens each probe",
        |s, _| {
            s.check_send_proxy = true;
            Ok(())
        },
    ),
    opt(
        "no-check-send-proxy",
        NONE,
        "",
        "undoes 'check-send-proxy'",
        |s, _| {
            s.check_send_proxy = false;
            Ok(())
        },
    ),
    opt(
        "check-via-socks4",
        NONE,
        "",
        "probes go by the proxy of 'socks4', too",
        |s, _| {
            s.check_via_socks4 = true;
            Ok(())
        },
    ),
    opt(
        "cookie",
        ONE,
        "<value>",
        "value of the backend's cookie that leads here",
        |s, a| {
            let word = a.expect("<value>")?;
            s.cookie = Some(((*word.bytes).into(), a.head.to(word.span)));
            Ok(())
        },
    ),
    opt("disabled", NONE, "", "starts in maintenance", |s, _| {
        s.disabled = true;
        Ok(())
    }),
    opt(
        "enabled",
        NONE,
        "",
        "undoes 'disabled' of default-server",
        |s, _| {
            s.disabled = false;
            Ok(())
        },
    ),
    opt(
        "downinter",
        ONE,
        "<delay>",
        "time between probes while down",
        |s, a| {
            s.downinter_ms = Some(interval(a)?);
            Ok(())
        },
    ),
    opt(
        "error-clients",
        ONE,
        "<count>",
        "client addresses that the errors of 'error-limit' have to come from (Ringway's own)",
        |s, a| {
            s.error_clients = a.count(1)?;
            Ok(())
        },
    ),
    opt(
        "error-limit",
        ONE,
        "<count>",
        "errors in a row that 'observe' takes for a failure",
        |s, a| {
            s.error_limit = a.count(1)?;
            Ok(())
        },
    ),
    opt(
        "fall",
        ONE,
        "<count>",
        "failed probes until the server is down",
        |s, a| {
            s.fall = a.count(1)?;
            Ok(())
        },
    ),
    opt(
        "fastinter",
        ONE,
        "<delay>",
        "time between probes while changing state",
        |s, a| {
            s.fastinter_ms = Some(interval(a)?);
            Ok(())
        },
    ),
    opt(
        "guid",
        ONE,
        "<name>",
        "name under which its counters are found again after a reload",
        |s, a| {
            s.guid = Some(super::guid::option(a)?);
            Ok(())
        },
    ),
    opt(
        "id",
        ONE,
        "<number>",
        "number in statistics and consistent hashes",
        |s, a| {
            let span = a.rest().first().map_or(a.head, |w| w.span);
            s.id = Some((a.count(1)?, span));
            Ok(())
        },
    ),
    opt(
        "init-addr",
        ONE,
        "{last|libc|none|<ip>}[,...]",
        "how its name becomes an address at start",
        init_addr,
    ),
    opt(
        "init-state",
        ONE,
        "{fully-up|up|down|fully-down|none}",
        "state before the first check",
        |s, a| {
            let span = a.rest().first().map_or(a.head, |w| w.span);
            let known = [
                ("fully-up", Some(InitState::FullyUp)),
                ("up", Some(InitState::Up)),
                ("down", Some(InitState::Down)),
                ("fully-down", Some(InitState::FullyDown)),
                ("none", None),
            ];
            s.init_state = one_of(a, &known)?.map(|state| (state, span));
            Ok(())
        },
    ),
    opt("inter", ONE, "<delay>", "time between probes", |s, a| {
        s.inter_ms = interval(a)?;
        Ok(())
    }),
    opt(
        "maxconn",
        ONE,
        "<number>",
        "connections at a time; more wait in the queue",
        |s, a| {
            s.maxconn = a.count(0)?;
            Ok(())
        },
    ),
    opt(
        "max-reuse",
        ONE,
        "<count>",
        "times a connection is used again; -1: no limit",
        |s, a| {
            let times = a.number(-1..=i64::from(i32::MAX))?;
            s.max_reuse = u32::try_from(times).ok();
            Ok(())
        },
    ),
    opt(
        "maxqueue",
        ONE,
        "<number>",
        "places in its queue",
        |s, a| {
            s.maxqueue = a.count(0)?;
            Ok(())
        },
    ),
    opt(
        "minconn",
        ONE,
        "<number>",
        "maxconn at low load, growing with the backend's",
        |s, a| {
            s.minconn = a.count(0)?;
            Ok(())
        },
    ),
    opt(
        "observe",
        (0, 1),
        "{layer4|layer7|none}",
        "watches the traffic for errors",
        |s, a| {
            let at = a.rest().first().map_or(a.head, |w| a.head.to(w.span));
            let known = [
                ("none", None),
                ("layer4", Some(Observed::L4)),
                ("layer7", Some(Observed::L7)),
            ];
            s.observe = one_of(a, &known)?.map(|layer| (layer, at));
            Ok(())
        },
    ),
    opt(
        "on-down",
        (1, 2),
        "{retry <time>|none}",
        "a server that failed is tried by one connection of a client after this time (Ringway's own)",
        |s, a| {
            let at = a.rest().first().map_or(a.head, |w| a.head.to(w.span));
            s.on_down_ms = match one_of(a, &[("retry", true), ("none", false)]) {
                Ok(true) => Some((interval(a)?, at)),
                Ok(false) => None,
                Err(said) => {
                    // Its time is no option.
                    a.next();
                    return Err(said);
                }
            };
            Ok(())
        },
    ),
    opt(
        "on-error",
        (0, 1),
        "{fastinter|fail-check|sudden-death|mark-down}",
        "what too many errors lead to",
        |s, a| {
            let known = [
                ("fastinter", OnError::FastInter),
                ("fail-check", OnError::FailCheck),
                ("sudden-death", OnError::SuddenDeath),
                ("mark-down", OnError::MarkDown),
            ];
            s.on_error = one_of(a, &known)?;
            Ok(())
        },
    ),
    opt(
        "on-marked-down",
        (0, 1),
        "shutdown-sessions",
        "ends the server's sessions when it goes down",
        |s, a| {
            s.shutdown_on_down = one_of(a, &[("shutdown-sessions", true)])?;
            Ok(())
        },
    ),
    opt(
        "on-marked-up",
        (0, 1),
        "shutdown-backup-sessions",
        "ends the backup servers' sessions when it comes up",
        |s, a| {
            s.shutdown_backups_on_up = one_of(a, &[("shutdown-backup-sessions", true)])?;
            Ok(())
        },
    ),
    opt(
        "pool-low-conn",
        ONE,
        "<max>",
        "idle connections below which other threads take none",
        |s, a| {
            s.pool_low = a.count(0)?;
            Ok(())
        },
    ),
    opt(
        "pool-max-conn",
        ONE,
        "<max>",
        "idle connections kept; -1: no limit",
        |s, a| {
            let span = a.rest().first().map_or(a.head, |w| w.span);
            let most = a.number(i64::from(i32::MIN)..=i64::from(i32::MAX))?;
            if most < -1 {
                return Err(a.fail(span, "'pool-max-conn' must be >= -1."));
            }
            s.pool_max = u32::try_from(most).ok();
            Ok(())
        },
    ),
    opt(
        "pool-purge-delay",
        ONE,
        "<delay>",
        "time after which half of the idle connections close",
        |s, a| {
            s.pool_purge_ms = a.time_ms(Unit::Ms)?;
            Ok(())
        },
    ),
    opt(
        "port",
        ONE,
        "<port>",
        "port probed, where not the server's own",
        |s, a| {
            let port = a.number(0..=65_535)?;
            s.check_port = Some(u16::try_from(port).expect("within the range")).filter(|&p| p > 0);
            Ok(())
        },
    ),
    opt(
        "redir",
        ONE,
        "<prefix>",
        "GET and HEAD are answered with a redirection to there",
        |s, a| {
            let word = a.expect("<prefix>")?;
            s.redir = Some(((*word.bytes).into(), a.head.to(word.span)));
            Ok(())
        },
    ),
    opt(
        "rise",
        ONE,
        "<count>",
        "good probes until the server is up",
        |s, a| {
            s.rise = a.count(1)?;
            Ok(())
        },
    ),
    opt(
        "send-proxy",
        NONE,
        "",
        "sends a PROXY v1 header first",
        |s, _| {
            s.send_proxy = Some(ProxyProtocol::V1);
            Ok(())
        },
    ),
    opt("no-send-proxy", NONE, "", "undoes 'send-proxy'", |s, _| {
        s.send_proxy = s.send_proxy.filter(|&p| p != ProxyProtocol::V1);
        Ok(())
    }),
    opt(
        "send-proxy-v2",
        NONE,
        "",
        "sends a PROXY v2 header first",
        |s, _| {
            s.send_proxy = Some(ProxyProtocol::V2);
            Ok(())
        },
    ),
    opt(
        "no-send-proxy-v2",
        NONE,
        "",
        "undoes 'send-proxy-v2'",
        |s, _| {
            s.send_proxy = s.send_proxy.filter(|&p| p != ProxyProtocol::V2);
            Ok(())
        },
    ),
    opt(
        "slowstart",
        ONE,
        "<time>",
        "time over which a returning server regains its weight",
        |s, a| {
            s.slowstart_ms = a.time_ms(Unit::Ms)?;
            Ok(())
        },
    ),
    opt(
        "socks4",
        ONE,
        "<addr>:<port>",
        "SOCKS4 proxy by which connections reach the server",
        |s, a| {
            let word = a.expect("<addr>:<port> as argument")?;
            let proxy = address::socket(a, word)?;
            if proxy.port() == 0 {
                let text = format!(
                    "'socks4 {0}' : missing port specification in '{0}'.",
                    word.text()
                );
                return Err(a.fail(word.span, text));
            }
            s.socks4 = Some(proxy);
            Ok(())
        },
    ),
    opt(
        "source",
        ONE,
        "<addr>[:<port>[-<port>]] [usesrc …] [interface <name>]",
        "address to connect from",
        |s, a| {
            s.source = Some(address::source(a, true)?);
            Ok(())
        },
    ),
    opt(
        "tcp-ut",
        ONE,
        "<delay>",
        "longest time sent bytes may stay unacknowledged",
        |s, a| {
            s.tcp_ut_ms = Some(a.time_ms(Unit::Ms)?);
            Ok(())
        },
    ),
    opt(
        "tfo",
        NONE,
        "",
        "TCP fast open towards the server",
        |s, _| {
            s.tfo = true;
            Ok(())
        },
    ),
    opt("no-tfo", NONE, "", "undoes 'tfo'", |s, _| {
        s.tfo = false;
        Ok(())
    }),
    opt(
        "track",
        ONE,
        "[<backend>/]<server>",
        "follows the state of that server",
        |s, a| {
            s.track = Some(a.expect("[<proxy>/]<server>")?.clone());
            Ok(())
        },
    ),
    opt("weight", ONE, "<0..256>", "share of the load", |s, a| {
        s.weight = u32::try_from(a.number(0..=256)?).expect("within the range");
        Ok(())
    }),
];

/// The next word, which has to be one of these.
fn one_of<T: Copy>(args: &mut Args<'_, '_>, known: &[(&'static str, T)]) -> Result<T, Said> {
    let word = args.next();
    let text = word.map(|w| w.text().into_owned()).unwrap_or_default();
    if let Some((_, value)) = known.iter().find(|(name, _)| *name == text) {
        return Ok(*value);
    }
    let span = word.map_or_else(|| args.end(), |w| w.span);
    let names: Vec<String> = known.iter().map(|(name, _)| format!("'{name}'")).collect();
    let near = did_you_mean(&nearest(&text, known.iter().map(|(name, _)| *name)));
    let expects = match names.as_slice() {
        [only] => format!("expects {only}"),
        several => format!("expects one of {}", several.join(", ")),
    };
    let text = format!("'{}' {expects} but got '{text}'{near}", args.name);
    Err(args.fail(span, if near.is_empty() { text + "." } else { text }))
}

/// A time between probes: haproxy refuses 0.
fn interval(args: &mut Args<'_, '_>) -> Result<u32, Said> {
    let span = args.rest().first().map_or(args.head, |w| w.span);
    let ms = args.time_ms(Unit::Ms)?;
    if ms == 0 {
        let text = format!("'{}' has to be > 0.", args.name);
        return Err(args.fail(span, text));
    }
    Ok(ms)
}

fn init_addr(server: &mut ServerOptions, args: &mut Args<'_, '_>) -> Result<(), Said> {
    let word = args.expect("a comma-separated list of methods")?;
    let text = word.text();
    let mut steps = Vec::new();
    for step in text.split(',') {
        steps.push(match (step, step.parse()) {
            ("last", _) => InitAddr::Last,
            ("libc", _) => InitAddr::Libc,
            ("none", _) => InitAddr::None,
            (_, Ok(ip)) => InitAddr::Ip(ip),
            _ => {
                let text = format!(
                    "'init-addr' : unknown init-addr method '{step}', supported methods are 'libc', 'last', 'none' \
                     and an address."
                );
                return Err(args.fail(word.span, text));
            }
        });
    }
    server.init_addr = steps;
    Ok(())
}

/// A `server` line.
pub(super) fn server(proxy: &mut ProxyRaw, args: &mut Args<'_, '_>) -> Result<(), Said> {
    let (Some(name), Some(place)) = (args.next(), args.next()) else {
        return Err(args.fail(
            args.end(),
            "'server' expects <name> and <addr>[:<port>] as arguments.",
        ));
    };
    let text = name.text().into_owned();
    if let Some(bad) = text
        .chars()
        .find(|&c| !(c.is_ascii_alphanumeric() || "._-:".contains(c)))
    {
        let what = format!("character '{bad}' is not permitted in server name '{text}'.");
        return Err(args.fail(name.span, what));
    }
    args.prefix = format!("'server {}/{text}' : ", args.owner.name);
    let (address, host_text) = address::server(args, place)?;
    let mut options = proxy.set.server.clone();
    tail::read(&mut options, args)?;
    proxy.servers.push(ServerRaw {
        name: text,
        name_span: name.span,
        address,
        host_text,
        options,
        span: args.head.to(place.span),
    });
    Ok(())
}

/// A `default-server` line: what later `server` lines begin with.
pub(super) fn default_server(proxy: &mut ProxyRaw, args: &mut Args<'_, '_>) -> Result<(), Said> {
    args.prefix = "'default-server' : ".to_owned();
    let own = |word: &&crate::lang::lexer::Word| word.bytes == b"id" || word.bytes == b"guid";
    if let Some(word) = args.rest().iter().find(own) {
        let text = format!("'{}' is of one server and not allowed here.", word.text());
        return Err(args.fail(word.span, text));
    }
    tail::read(&mut proxy.set.server, args)
}
