//! Keywords of `defaults`, `frontend`, `listen` and `backend` other than `option` (configuration.txt 4.2).

use super::address;
use super::balance;
use super::bind;
use super::global::words;
use super::keyword::{Arity, B, D, F, Keyword, L, MANY, NONE, ONE, Sections};
use super::log;
use super::model::*;
use super::raw::{LoadStates, ProxyRaw, SectionKind};
use super::server;
use super::words::{Args, Said, To};
use crate::lang::diag::{did_you_mean, nearest};
use crate::lang::value::{self, Unit};

/// Of both sides.
const DFLB: Sections = D | F | L | B;
/// Of the frontend.
const FRONT: Sections = D | F | L;
/// Of the backend.
const BACK: Sections = D | L | B;

/// Of a section with a backend, not of what it inherits.
const OWN_BACK: Sections = L | B;

const fn kw(
    name: &'static str,
    sections: Sections,
    args: Arity,
    usage: &'static str,
    doc: &'static str,
    parse: super::keyword::Parse<ProxyRaw>,
) -> Keyword<ProxyRaw> {
    Keyword::new(name, sections, args, usage, doc, parse)
}

/// A timeout in milliseconds, where 0 is none.
macro_rules! timeout {
    ($name:expr, $sections:expr, $field:ident, $doc:expr) => {
        kw($name, $sections, ONE, "<delay>", $doc, |p, a| {
            p.set.timeout.$field = timeout(a)?;
            Ok(())
        })
    };
}
/// A part of the keep-alive of one side.
macro_rules! keep_alive {
    ($name:expr, $sections:expr, $side:ident, $field:ident, $read:expr, $usage:expr, $doc:expr) => {
        kw($name, $sections, ONE, $usage, $doc, |p, a| {
            p.set.$side.$field = Some($read(a)?).filter(|&n| n > 0);
            Ok(())
        })
    };
}

/// Every keyword of proxies but `option …`.
pub(super) static TABLE: &[Keyword<ProxyRaw>] = &[
    kw(
        "backlog",
        FRONT,
        ONE,
        "<number>",
        "places in the kernel's queue",
        |p, a| {
            p.set.backlog = Some(a.count(0)?).filter(|&n| n > 0);
            Ok(())
        },
    ),
    kw(
        "balance",
        BACK,
        (0, MANY),
        "<algorithm> [<arguments>]",
        "how servers are chosen",
        balance::balance,
    ),
    kw(
        "bind",
        F | L,
        (0, MANY),
        "<address>[,…] [<options>…]",
        "where to listen",
        bind::bind,
    ),
    keep_alive!(
        "clitcpka-cnt",
        FRONT,
        client_ka,
        count,
        |a: &mut Args<'_, '_>| a.count(0),
        "<count>",
        "keep-alive probes to clients"
    ),
    keep_alive!(
        "clitcpka-idle",
        FRONT,
        client_ka,
        idle_s,
        seconds,
        "<time>",
        "silence before keep-alive probes to clients"
    ),
    keep_alive!(
        "clitcpka-intvl",
        FRONT,
        client_ka,
        intvl_s,
        seconds,
        "<time>",
        "time between keep-alive probes to clients"
    ),
    timeout!("clitimeout", FRONT, client, "as 'timeout client'").obsolete("timeout client <delay>"),
    timeout!("contimeout", BACK, connect, "as 'timeout connect'")
        .obsolete("timeout connect <delay>"),
    kw(
        "default-server",
        BACK,
        (0, MANY),
        "<options>…",
        "options of the servers that follow",
        server::default_server,
    )
    .strict_place(),
    kw(
        "default_backend",
        FRONT,
        (0, 1),
        "<backend>",
        "where connections go",
        |p, a| {
            let word = a.expect("a backend name")?;
            p.set.default_backend = Some(word.clone());
            Ok(())
        },
    ),
    kw(
        "description",
        F | L | B,
        (1, MANY),
        "<text>",
        "text in the statistics",
        |p, a| {
            p.description = Some(words(a));
            Ok(())
        },
    ),
    kw(
        "disabled",
        DFLB,
        NONE,
        "",
        "the section is not used",
        |p, _| {
            p.set.disabled = true;
            Ok(())
        },
    ),
    kw(
        "dispatch",
        L | B,
        ONE,
        "<addr>:<port>",
        "where connections go without servers",
        dispatch,
    )
    .obsolete("server <name> <addr>:<port>"),
    kw(
        "enabled",
        DFLB,
        NONE,
        "",
        "undoes 'disabled' of defaults",
        |p, _| {
            p.set.disabled = false;
            Ok(())
        },
    ),
    kw(
        "fullconn",
        BACK,
        ONE,
        "<number>",
        "connections at which minconn has become maxconn",
        |p, a| {
            p.set.fullconn = Some(a.count(0)?).filter(|&n| n > 0);
            Ok(())
        },
    ),
    kw(
        "grace",
        FRONT,
        ONE,
        "<time>",
        "time to go on serving after SIGUSR1",
        |p, a| {
            p.set.grace_ms = Some(a.time_ms(Unit::Ms)?);
            Ok(())
        },
    )
    .obsolete("grace <time> in the global section"),
    kw(
        "hash-type",
        BACK,
        (1, 3),
        "{map-based|consistent} [<function>] [avalanche]",
        "how hashes choose",
        balance::hash_type,
    ),
    kw(
        "guid",
        F | L | B,
        ONE,
        "<name>",
        "name under which its counters are found again after a reload",
        |p, a| {
            p.guid = Some(super::guid::parse(a)?);
            Ok(())
        },
    ),
    kw(
        "id",
        F | L | B,
        ONE,
        "<number>",
        "number in the statistics",
        |p, a| {
            let span = a.rest().first().map_or(a.head, |w| w.span);
            p.id = Some((a.count(1)?, span));
            Ok(())
        },
    ),
    kw(
        "log",
        DFLB,
        (0, MANY),
        "{global | <address> … <facility> [<max> [<min>]]}",
        "where logs go",
        |p, a| log::parse(&mut p.set.log, a, true),
    )
    .invertible(),
    kw(
        "load-server-state-from-file",
        BACK,
        ONE,
        "{ global | local | none }",
        "begins with the servers' states before a reload",
        |p, a| {
            let word = a.expect("'global', 'local' or 'none'")?;
            p.set.load_states = match &*word.text() {
                "global" => LoadStates::Global,
                "local" => LoadStates::Local,
                "none" => LoadStates::None,
                other => {
                    let text = format!(
                        "'load-server-state-from-file' expects 'global', 'local' or 'none'. Got '{other}'."
                    );
                    return Err(a.fail(word.span, text));
                }
            };
            Ok(())
        },
    ),
    kw(
        "log-tag",
        DFLB,
        ONE,
        "<tag>",
        "tag of each syslog line",
        |p, a| {
            p.set.log_tag = Some(a.text("a tag for use in syslog")?.into_owned());
            Ok(())
        },
    ),
    kw(
        "server-state-file-name",
        OWN_BACK,
        (0, 1),
        "[use-backend-name|<file>]",
        "file of its servers' states with 'local'; its own name unless given",
        |p, a| {
            let name = a.next().map(|word| word.text().into_owned());
            a.done()?;
            p.set.state_file = name.filter(|name| name != "use-backend-name");
            Ok(())
        },
    ),
    kw(
        "maxconn",
        FRONT,
        ONE,
        "<number>",
        "connections at a time; more wait in the backlog",
        |p, a| {
            p.set.maxconn = Some(a.count(0)?);
            Ok(())
        },
    ),
    kw(
        "mode",
        DFLB,
        ONE,
        "{tcp|http}",
        "what the section speaks",
        mode,
    ),
    kw(
        "monitor-net",
        FRONT,
        ONE,
        "<network>",
        "connections from there are closed at once, unlogged",
        |p, a| {
            let word = a.expect("a network")?;
            p.set.monitor_net = Some(address::network(a, word)?);
            Ok(())
        },
    )
    .obsolete("tcp-request connection reject if { src <network> }"),
    kw(
        "rate-limit sessions",
        FRONT,
        ONE,
        "<number>",
        "new sessions per second",
        |p, a| {
            p.set.rate_limit_sessions = a.count(0)?;
            Ok(())
        },
    ),
    kw(
        "redispatch",
        BACK,
        NONE,
        "",
        "as 'option redispatch'",
        |p, _| {
            p.set.redispatch = Redispatch(-1);
            Ok(())
        },
    )
    .obsolete("option redispatch"),
    kw(
        "retries",
        BACK,
        ONE,
        "<number>",
        "attempts after a failed connect",
        |p, a| {
            p.set.retries = Some(a.count(0)?);
            Ok(())
        },
    ),
    kw(
        "server",
        L | B,
        (0, MANY),
        "<name> <address>[:<port>] [<options>…]",
        "a server",
        server::server,
    )
    .strict_place(),
    kw(
        "source",
        BACK,
        (1, MANY),
        "<addr>[:<port>] [usesrc <addr>|client|clientip] [interface <name>]",
        "address to connect from",
        |p, a| {
            p.set.source = Some(address::source(a, false)?);
            a.done()
        },
    ),
    keep_alive!(
        "srvtcpka-cnt",
        BACK,
        server_ka,
        count,
        |a: &mut Args<'_, '_>| a.count(0),
        "<count>",
        "keep-alive probes to servers"
    ),
    keep_alive!(
        "srvtcpka-idle",
        BACK,
        server_ka,
        idle_s,
        seconds,
        "<time>",
        "silence before keep-alive probes to servers"
    ),
    keep_alive!(
        "srvtcpka-intvl",
        BACK,
        server_ka,
        intvl_s,
        seconds,
        "<time>",
        "time between keep-alive probes to servers"
    ),
    timeout!("srvtimeout", BACK, server, "as 'timeout server'").obsolete("timeout server <delay>"),
    timeout!(
        "timeout check",
        BACK,
        check,
        "time for a probe once connected"
    ),
    timeout!("timeout client", FRONT, client, "silence of a client"),
    timeout!(
        "timeout client-fin",
        FRONT,
        client_fin,
        "silence of a client whose side is half closed"
    ),
    timeout!(
        "timeout connect",
        BACK,
        connect,
        "time for a connect to a server"
    ),
    timeout!("timeout queue", BACK, queue, "time in the queue"),
    timeout!("timeout server", BACK, server, "silence of a server"),
    timeout!(
        "timeout server-fin",
        BACK,
        server_fin,
        "silence of a server whose side is half closed"
    ),
    timeout!(
        "timeout tunnel",
        BACK,
        tunnel,
        "silence of both sides once data has flowed both ways"
    ),
    kw(
        "transparent",
        BACK,
        NONE,
        "",
        "as 'option transparent'",
        |p, _| {
            p.set.options.transparent = true;
            Ok(())
        },
    )
    .obsolete("option transparent"),
];

/// A time in milliseconds; 0 is none. From 1 to 99 without a unit, seconds were probably meant.
pub(super) fn timeout(args: &mut Args<'_, '_>) -> Result<Option<u32>, Said> {
    let word = args
        .rest()
        .first()
        .filter(|w| value::is_suspiciously_small(&w.bytes));
    let ms = args.time_ms(Unit::Ms)?;
    if let Some(word) = word {
        let text = format!("'{}' is suspiciously small: {ms} milliseconds.", args.name);
        args.cx.warning(word.span, text).help(format!(
            "write '{ms}ms' if this is meant, '{ms}s' if seconds are"
        ));
    }
    Ok(Some(ms).filter(|&ms| ms > 0))
}

fn seconds(args: &mut Args<'_, '_>) -> Result<u32, Said> {
    let word = args.expect("an integer value (in seconds)")?;
    value::time_s(&word.bytes, Unit::S).map_err(|e| args.bad_value(word, &e))
}

fn mode(proxy: &mut ProxyRaw, args: &mut Args<'_, '_>) -> Result<(), Said> {
    let word = args.expect("'tcp' or 'http'")?;
    proxy.set.mode_at = Some(args.head.to(word.span));
    match &*word.text() {
        "tcp" => proxy.set.mode = Mode::Tcp,
        "http" => proxy.set.mode = Mode::Http,
        "health" => {
            let help = "in HTTP, 'http-request return status 200' answers the same";
            return Err(args.fail_help(word.span, "'mode health' doesn't exist anymore.", help));
        }
        "log" | "spop" | "syslog" | "peers" => {
            let name = format!("mode {}", word.text());
            return Err(args.cx.not_yet(word.span, &name));
        }
        other => {
            let hint = did_you_mean(&nearest(other, ["tcp", "http"]));
            return Err(args.fail(word.span, format!("unknown proxy mode '{other}'{hint}")));
        }
    }
    Ok(())
}

fn dispatch(proxy: &mut ProxyRaw, args: &mut Args<'_, '_>) -> Result<(), Said> {
    let word = args.expect("<addr>:<port>")?;
    let address = address::socket(args, word)?;
    if address.port() == 0 {
        let text = format!(
            "'dispatch' : missing port number in '{}', <addr>:<port> expected.",
            word.text()
        );
        return Err(args.fail(word.span, text));
    }
    proxy.dispatch = Some((address, args.head));
    Ok(())
}

/// Sections a keyword stands in, of this kind.
pub(super) fn section_bit(kind: SectionKind) -> Sections {
    match kind {
        SectionKind::Defaults => D,
        SectionKind::Frontend => F,
        SectionKind::Listen => L,
        SectionKind::Backend => B,
    }
}
