//! `bind` and `stats socket` lines (configuration.txt 5.1).

use super::address;
use super::keyword::{Arity, BIND, Keyword, NONE, ONE};
use super::known;
use super::model::*;
use super::raw::{BindOptions, BindRaw, GlobalRaw, NotYetRaw, ProxyRaw, ShardsWord};
use super::tail::{self, Tail};
use super::words::{Args, Said, To};
use crate::lang::lexer::Word;
use crate::lang::source::Span;
use crate::lang::value::{self, Unit};

impl Tail for BindOptions {
    const TABLE: &'static [Keyword<Self>] = TABLE;
    const KNOWN: &'static [known::Known] = known::BIND_OPTIONS;
    fn not_yet(&mut self) -> &mut Vec<NotYetRaw> {
        &mut self.not_yet
    }
}

const fn opt(
    name: &'static str,
    args: Arity,
    usage: &'static str,
    doc: &'static str,
    parse: super::keyword::Parse<BindOptions>,
) -> Keyword<BindOptions> {
    Keyword::new(name, BIND, args, usage, doc, parse)
}

/// Highest number of listening sockets or threads that haproxy's syntax can name.
const THREADS_MAX: u32 = 4096;

/// What may follow the addresses of `bind`.
pub(super) static TABLE: &[Keyword<BindOptions>] = &[
    opt(
        "accept-proxy",
        NONE,
        "",
        "a PROXY header, v1 or v2, must open each connection",
        |b, _| {
            b.accept_proxy = true;
            Ok(())
        },
    ),
    opt(
        "backlog",
        ONE,
        "<number>",
        "places in the kernel's queue",
        |b, a| {
            b.backlog = Some(a.count(0)?);
            Ok(())
        },
    ),
    opt(
        "defer-accept",
        NONE,
        "",
        "accepts only once data has come",
        |b, _| {
            b.defer_accept = true;
            Ok(())
        },
    ),
    opt(
        "expose-fd",
        ONE,
        "listeners",
        "hands listening sockets to who asks on this stats socket",
        |b, a| {
            let word = a.expect("listeners")?;
            if word.bytes != b"listeners" {
                let text = format!(
                    "'expose-fd' only supports 'listeners' (got '{}').",
                    word.text()
                );
                return Err(a.fail(word.span, text));
            }
            b.expose_fd = true;
            Ok(())
        },
    ),
    opt(
        "gid",
        ONE,
        "<number>",
        "group of the unix socket by number",
        |b, a| {
            b.owner.gid = Some(a.count(0)?);
            Ok(())
        },
    ),
    opt(
        "group",
        ONE,
        "<name>",
        "group of the unix socket",
        |b, a| {
            b.owner.gid = Some(group(a)?);
            Ok(())
        },
    ),
    opt("id", ONE, "<number>", "number in the statistics", |b, a| {
        let span = a.rest().first().map_or(a.head, |w| w.span);
        b.id = Some((a.count(1)?, span));
        Ok(())
    }),
    opt(
        "interface",
        ONE,
        "<name>",
        "serves only this network interface",
        |b, a| {
            b.interface = Some(interface(a)?);
            Ok(())
        },
    ),
    opt(
        "level",
        ONE,
        "{user|operator|admin}",
        "what this stats socket may do",
        |b, a| {
            let word = a.expect("a level")?;
            b.level = Some(match &*word.text() {
                "user" => CliLevel::User,
                "operator" => CliLevel::Operator,
                "admin" => CliLevel::Admin,
                other => {
                    let text = format!(
                        "'level' only supports 'user', 'operator', and 'admin' (got '{other}')."
                    );
                    return Err(a.fail(word.span, text));
                }
            });
            Ok(())
        },
    ),
    opt(
        "maxconn",
        ONE,
        "<number>",
        "connections at a time through this address",
        |b, a| {
            b.maxconn = Some(a.count(0)?);
            Ok(())
        },
    ),
    opt(
        "mode",
        ONE,
        "<octal>",
        "permissions of the unix socket",
        |b, a| {
            b.owner.mode = Some(mode(a)?);
            Ok(())
        },
    ),
    opt(
        "mss",
        ONE,
        "<size>",
        "largest TCP segment announced",
        |b, a| {
            let span = a.rest().first().map_or(a.head, |w| w.span);
            let mss = i32::try_from(a.number(-65_535..=65_535)?).expect("within the range");
            if mss == 0 {
                return Err(a.fail(
                    span,
                    "'mss' : expects an MSS with and absolute value between 1 and 65535.",
                ));
            }
            b.mss = Some(mss);
            Ok(())
        },
    ),
    opt("name", ONE, "<name>", "name in the statistics", |b, a| {
        b.name = Some(a.text("a name")?.into_owned());
        Ok(())
    }),
    opt(
        "nice",
        ONE,
        "<-1024..1024>",
        "the order of haproxy's tasks",
        |b, a| {
            b.nice = i32::try_from(a.number(-1024..=1024)?).expect("within the range");
            Ok(())
        },
    )
    .no_meaning(),
    opt(
        "shards",
        ONE,
        "{<number>|by-thread|by-group}",
        "listening sockets of this address",
        |b, a| {
            b.shards = Some(shards(a)?);
            Ok(())
        },
    ),
    opt(
        "tcp-ut",
        ONE,
        "<delay>",
        "longest time sent bytes may stay unacknowledged",
        |b, a| {
            b.tcp_ut_ms = Some(a.time_ms(Unit::Ms)?);
            Ok(())
        },
    ),
    opt("tfo", NONE, "", "TCP fast open", |b, _| {
        b.tfo = true;
        Ok(())
    }),
    opt(
        "thread",
        ONE,
        "[<group>/]{all|odd|even|<n>[-<m>]}[,...]",
        "shards that serve this address",
        |b, a| {
            let word = a.expect("a set of threads")?;
            b.threads = threads(a, word)?;
            Ok(())
        },
    ),
    opt(
        "transparent",
        NONE,
        "",
        "binds to addresses that are not the host's",
        |b, _| {
            b.transparent = true;
            Ok(())
        },
    ),
    opt(
        "uid",
        ONE,
        "<number>",
        "owner of the unix socket by number",
        |b, a| {
            b.owner.uid = Some(a.count(0)?);
            Ok(())
        },
    ),
    opt("user", ONE, "<name>", "owner of the unix socket", |b, a| {
        b.owner.uid = Some(user(a)?);
        Ok(())
    }),
    opt(
        "v4v6",
        NONE,
        "",
        "an IPv6 socket serves IPv4 too",
        |b, _| {
            (b.v4v6, b.v6only) = (true, false);
            Ok(())
        },
    ),
    opt(
        "v6only",
        NONE,
        "",
        "an IPv6 socket serves IPv6 only",
        |b, _| {
            (b.v4v6, b.v6only) = (false, true);
            Ok(())
        },
    ),
];

/// Octal permissions.
pub(super) fn mode(args: &mut Args<'_, '_>) -> Result<u32, Said> {
    let word = args.expect("an octal mode")?;
    value::mode(&word.bytes).map_err(|e| args.bad_value(word, &e))
}

/// A user's number by name.
pub(super) fn user(args: &mut Args<'_, '_>) -> Result<u32, Said> {
    let word = args.expect("a user name")?;
    let name = word.text();
    match args.cx.world.user(&name) {
        Some(uid) => Ok(uid),
        None => {
            let text = format!("cannot find user id for '{name}'.");
            Err(args.fail_help(
                word.span,
                text,
                "create this user, or give its number with 'uid'",
            ))
        }
    }
}

/// A group's number by name.
pub(super) fn group(args: &mut Args<'_, '_>) -> Result<u32, Said> {
    let word = args.expect("a group name")?;
    let name = word.text();
    match args.cx.world.group(&name) {
        Some(gid) => Ok(gid),
        None => {
            let text = format!("cannot find group id for '{name}'.");
            Err(args.fail_help(
                word.span,
                text,
                "create this group, or give its number with 'gid'",
            ))
        }
    }
}

/// A network interface, whose names Linux bounds at 15 bytes.
pub(super) fn interface(args: &mut Args<'_, '_>) -> Result<String, Said> {
    let word = args.expect("an interface name")?;
    if word.bytes.is_empty() || word.bytes.len() > 15 {
        let text = format!(
            "'interface' : '{}' is not a name of 1 to 15 bytes.",
            word.text()
        );
        return Err(args.fail(word.span, text));
    }
    Ok(word.text().into_owned())
}

/// `shards` of a bind line and `tune.listener.default-shards`.
pub(super) fn shards(args: &mut Args<'_, '_>) -> Result<ShardsWord, Said> {
    let word = args.expect("a number, 'by-thread' or 'by-group'")?;
    match &*word.text() {
        // There are no groups here: what haproxy does for each group is done for each shard.
        "by-thread" | "by-group" => return Ok(ShardsWord::ByThread),
        "by-process" => return Ok(ShardsWord::Number(1)),
        _ => {}
    }
    value::uint(&word.bytes, 1..=THREADS_MAX).map(ShardsWord::Number).map_err(|_| {
        let text = format!(
            "'{}' : invalid value '{}', allowed are 1..{THREADS_MAX}, 'by-thread' and 'by-group'.",
            args.name,
            word.text()
        );
        args.fail(word.span, text)
    })
}

/// A set of threads as 0-based shard numbers; empty means all. `G/` before a set names group 1, the only one.
fn threads(args: &mut Args<'_, '_>, word: &Word) -> Result<Vec<u32>, Said> {
    let text = word.text().into_owned();
    let mut out = Vec::new();
    for part in text.split(',') {
        let set = part.strip_prefix("1/").unwrap_or(part);
        match set {
            "all" => return Ok(Vec::new()),
            "odd" => out.extend((0..THREADS_MAX).step_by(2)),
            "even" => out.extend((1..THREADS_MAX).step_by(2)),
            _ => match range(set) {
                Some((low, high)) => out.extend(low - 1..high),
                None => {
                    let text = format!("'thread' : '{part}' is not a valid number/range.");
                    return Err(args.fail(word.span, text));
                }
            },
        }
    }
    out.sort_unstable();
    out.dedup();
    Ok(out)
}

/// `n` or `low-high`, counted from 1.
pub(super) fn range(text: &str) -> Option<(u32, u32)> {
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    let low = value::uint(low.as_bytes(), 1..=THREADS_MAX).ok()?;
    let high = value::uint(high.as_bytes(), low..=THREADS_MAX).ok()?;
    Some((low, high))
}

/// A `bind` line: options are shared by all its addresses.
pub(super) fn bind(proxy: &mut ProxyRaw, args: &mut Args<'_, '_>) -> Result<(), Said> {
    let Some(place) = args.next() else {
        let text =
            "'bind' expects {<path>|[addr1]:port1[-end1]}{,[addr]:port[-end]}... as arguments.";
        return Err(args.fail(args.end(), text));
    };
    let addresses = address::bind(args, place);
    args.prefix = format!(
        "'bind {}' in section '{}' : ",
        place.text(),
        args.owner.kind
    );
    let mut options = BindOptions::default();
    let read = tail::read(&mut options, args);
    let addresses = addresses?;
    read?;
    if options.level.is_some() || options.expose_fd {
        let text =
            "'level' and 'expose-fd' are of 'stats socket' lines and have no meaning on this one.";
        args.cx.notice(args.head, text);
    }
    if let (Some((_, span)), [_, _, ..]) = (options.id, &*addresses) {
        return Err(args.fail(span, "'id' can only be used with a single socket."));
    }
    add(proxy, addresses, &options, args.head.to(place.span));
    Ok(())
}

/// The address on a section's header line, as older versions had it.
pub(super) fn add(
    proxy: &mut ProxyRaw,
    addresses: Vec<BindAddress>,
    options: &BindOptions,
    span: Span,
) {
    for address in addresses {
        proxy.binds.push(BindRaw {
            address,
            options: options.clone(),
            span,
        });
    }
}

/// `stats socket` of the global section.
pub(super) fn stats_socket(global: &mut GlobalRaw, args: &mut Args<'_, '_>) -> Result<(), Said> {
    let Some(place) = args.next() else {
        let text =
            "'stats socket' in global section expects an address or a path to a UNIX socket.";
        return Err(args.fail(args.end(), text));
    };
    let addresses = address::bind(args, place);
    args.prefix = format!("'stats socket {}' : ", place.text());
    let mut options = BindOptions::default();
    let read = tail::read(&mut options, args);
    let addresses = addresses?;
    read?;
    for not_yet in &options.not_yet {
        let _: Said = args.cx.not_yet(not_yet.span, &not_yet.name);
    }
    for address in addresses {
        global.out.stats_sockets.push(StatsSocket {
            address,
            level: options.level.unwrap_or_default(),
            mode: options.owner.mode,
            uid: options.owner.uid,
            gid: options.owner.gid,
            backlog: options.backlog,
            maxconn: options.maxconn,
            expose_fd: options.expose_fd,
            span: args.head.to(place.span),
        });
    }
    Ok(())
}
