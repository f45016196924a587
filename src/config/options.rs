//! `option …` of proxies (configuration.txt 4.2).

use super::keyword::{Arity, B, D, F, Keyword, L, NONE, Sections};
use super::model::*;
use super::raw::ProxyRaw;
use super::words::{Args, Said, Sense};

/// Of both sides.
const DFLB: Sections = D | F | L | B;
/// Of the frontend.
const FRONT: Sections = D | F | L;
/// Of the backend.
const BACK: Sections = D | L | B;

const fn flag(
    name: &'static str,
    sections: Sections,
    doc: &'static str,
    parse: super::keyword::Parse<ProxyRaw>,
) -> Keyword<ProxyRaw> {
    Keyword::new(name, sections, NONE, "", doc, parse).invertible()
}

const fn opt(
    name: &'static str,
    sections: Sections,
    args: Arity,
    usage: &'static str,
    doc: &'static str,
    parse: super::keyword::Parse<ProxyRaw>,
) -> Keyword<ProxyRaw> {
    Keyword::new(name, sections, args, usage, doc, parse)
}

/// Sets one flag from the sense of the line.
macro_rules! set {
    ($field:ident) => {
        |p, a| {
            p.set.options.$field = a.on();
            Ok(())
        }
    };
}
/// Sets one flag of three states: absent, on, off.
macro_rules! set_or_default {
    ($field:ident) => {
        |p, a| {
            p.set.options.$field = (a.sense != Sense::Default).then_some(a.on());
            Ok(())
        }
    };
}

/// Every `option` we have.
pub(super) static TABLE: &[Keyword<ProxyRaw>] = &[
    flag(
        "option abortonclose",
        DFLB,
        "drops queued requests of clients that went away (the default in HTTP mode)",
        set_or_default!(abortonclose),
    ),
    flag(
        "option allbackups",
        BACK,
        "uses all backup servers, not only the first",
        set!(allbackups),
    ),
    flag(
        "option clitcpka",
        FRONT,
        "TCP keep-alive towards clients",
        |p, a| {
            p.set.client_ka.enabled = a.on();
            Ok(())
        },
    ),
    flag(
        "option contstats",
        FRONT,
        "counts bytes while they flow (always so here)",
        |_, _| Ok(()),
    ),
    flag(
        "option dontlog-normal",
        FRONT,
        "logs only what went wrong",
        set!(dontlog_normal),
    ),
    flag(
        "option dontlognull",
        FRONT,
        "does not log connections without data",
        set!(dontlognull),
    ),
    flag(
        "option independent-streams",
        DFLB,
        "each direction times out on its own",
        set!(independent_streams),
    ),
    flag(
        "option independant-streams",
        DFLB,
        "each direction times out on its own",
        set!(independent_streams),
    )
    .obsolete("option independent-streams"),
    flag(
        "option log-health-checks",
        BACK,
        "logs every change of a check's outcome",
        set!(log_health_checks),
    ),
    flag(
        "option log-separate-errors",
        FRONT,
        "logs failures at level err",
        set!(log_separate_errors),
    ),
    flag(
        "option logasap",
        FRONT,
        "logs without waiting for the end",
        set!(logasap),
    ),
    opt(
        "option redispatch",
        BACK,
        (0, 1),
        "[<interval>]",
        "retries may go to another server",
        redispatch,
    )
    .invertible(),
    flag(
        "option socket-stats",
        FRONT,
        "counts each listening address apart",
        set!(socket_stats),
    ),
    flag(
        "option splice-auto",
        DFLB,
        "streams earn a pipe (the default here)",
        set_or_default!(splice_auto),
    ),
    flag(
        "option splice-request",
        DFLB,
        "client to server through a pipe from the start",
        set_or_default!(splice_request),
    ),
    flag(
        "option splice-response",
        DFLB,
        "server to client through a pipe from the start",
        set_or_default!(splice_response),
    ),
    flag(
        "option srvtcpka",
        BACK,
        "TCP keep-alive towards servers",
        |p, a| {
            p.set.server_ka.enabled = a.on();
            Ok(())
        },
    ),
    flag(
        "option tcp-smart-accept",
        FRONT,
        "saves an ACK at accept",
        set_or_default!(smart_accept),
    ),
    flag(
        "option tcp-smart-connect",
        BACK,
        "saves an ACK at connect",
        set!(smart_connect),
    ),
    opt(
        "option tcpka",
        DFLB,
        NONE,
        "",
        "TCP keep-alive on both sides",
        |p, _| {
            p.set.client_ka.enabled = true;
            p.set.server_ka.enabled = true;
            Ok(())
        },
    ),
    flag(
        "option transparent",
        BACK,
        "connects to the address the client asked for",
        transparent,
    ),
];

fn redispatch(proxy: &mut ProxyRaw, args: &mut Args<'_, '_>) -> Result<(), Said> {
    proxy.set.redispatch = match (args.on(), args.is_empty()) {
        (false, _) => Redispatch(0),
        (true, true) => Redispatch(-1),
        (true, false) => {
            let range = i64::from(i32::MIN + 1)..=i64::from(i32::MAX);
            Redispatch(i32::try_from(args.number(range)?).expect("within the range"))
        }
    };
    Ok(())
}

fn transparent(proxy: &mut ProxyRaw, args: &mut Args<'_, '_>) -> Result<(), Said> {
    proxy.set.options.transparent = args.on();
    if args.on() && !args.cx.deprecated_silent {
        let text = format!("'{}' is deprecated and will go in haproxy 3.5.", args.name);
        args.cx
            .warning(args.head, text)
            .help("a server of address 0.0.0.0 does the same");
    }
    Ok(())
}

/// Which way a direction is asked to go, from `splice-auto` and its own option.
pub(super) fn splice(auto: Option<bool>, own: Option<bool>) -> Splice {
    match (own, auto) {
        (Some(true), _) => Splice::Always,
        (Some(false), _) | (None, Some(false)) => Splice::Never,
        (None, None | Some(true)) => Splice::Earned,
    }
}
