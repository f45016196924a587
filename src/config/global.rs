//! Keywords of the `global` section (configuration.txt 3).

use std::path::PathBuf;

use super::bind;
use super::keyword::{Arity, G, Keyword, MANY, NONE, ONE};
use super::log;
use super::model::CloseSpread;
use super::raw::{CpuMap, GlobalRaw, ThreadSet};
use super::words::{Args, Said};
use crate::lang::lexer::Word;
use crate::lang::value::{self, Unit};

const fn kw(
    name: &'static str,
    args: Arity,
    usage: &'static str,
    doc: &'static str,
    parse: super::keyword::Parse<GlobalRaw>,
) -> Keyword<GlobalRaw> {
    Keyword::new(name, G, args, usage, doc, parse)
}

/// A tuning hint of haproxy's engine.
const fn hint(name: &'static str, doc: &'static str) -> Keyword<GlobalRaw> {
    Keyword::new(name, G, (0, MANY), "…", doc, |_, _| Ok(())).no_meaning()
}

/// Switches one flag on.
macro_rules! on {
    ($field:ident) => {
        |g, _| {
            g.out.$field = true;
            Ok(())
        }
    };
}
/// Reads a count of at least this.
macro_rules! count {
    ($field:ident, $least:expr) => {
        |g, a| {
            g.out.$field = a.count($least)?.into();
            Ok(())
        }
    };
}
/// Reads a size in bytes of `tune`.
macro_rules! tune_size {
    ($field:ident, $least:expr) => {
        |g, a| {
            g.out.tune.$field = a.size($least)?;
            Ok(())
        }
    };
}
/// Reads a text.
macro_rules! text {
    ($field:ident, $what:expr) => {
        |g, a| {
            g.out.$field = Some(a.text($what)?.into_owned());
            Ok(())
        }
    };
}

/// Most threads haproxy's syntax allows; ours are shards.
const THREADS_MAX: i64 = 4096;
/// Least buffer that holds what one read brings and a PROXY header.
const BUFSIZE_MIN: u32 = 1024;

/// The smallest pipe.
const PAGE: u32 = 4096;

/// Every keyword of `global`.
pub(super) static TABLE: &[Keyword<GlobalRaw>] = &[
    kw(
        "chroot",
        ONE,
        "<directory>",
        "the process' root once it serves",
        |g, a| {
            let dir = a.text("a directory as an argument")?;
            if dir == "auto" {
                return Err(a.cx.not_yet(a.head, "chroot auto"));
            }
            g.out.chroot = Some(PathBuf::from(&*dir));
            Ok(())
        },
    )
    .once("'chroot'"),
    kw(
        "cpu-map",
        (2, MANY),
        "[auto:]<group>[/<threads>] <cpus> [<cpus>…]",
        "CPUs of each thread",
        cpu_map,
    ),
    kw("daemon", NONE, "", "goes to the background", on!(daemon)),
    kw(
        "debug",
        NONE,
        "",
        "stays in the foreground and says more, as -d",
        on!(debug),
    )
    .obsolete("-d on the command line"),
    kw(
        "description",
        (1, MANY),
        "<text>",
        "text in the statistics",
        |g, a| {
            g.out.description = Some(words(a));
            Ok(())
        },
    ),
    kw(
        "expose-deprecated-directives",
        NONE,
        "",
        "no warnings about deprecated keywords",
        |g, a| {
            g.expose_deprecated = true;
            a.cx.deprecated_silent = true;
            Ok(())
        },
    ),
    kw(
        "expose-experimental-directives",
        NONE,
        "",
        "experimental keywords are allowed",
        |_, _| Ok(()),
    ),
    kw(
        "external-check",
        (0, 1),
        "[preserve-env]",
        "commands may check servers",
        |g, a| {
            if let Some(word) = a.next() {
                if word.bytes != b"preserve-env" {
                    let text = format!(
                        "'external-check' only supports 'preserve-env' as an argument, found '{}'.",
                        word.text()
                    );
                    return Err(a.fail(word.span, text));
                }
                g.out.external_check_env = true;
            }
            g.out.external_check = true;
            Ok(())
        },
    ),
    kw(
        "insecure-fork-wanted",
        NONE,
        "",
        "the process may start others: commands that check servers",
        |g, a| {
            g.out.insecure_fork_wanted = a.on();
            Ok(())
        },
    )
    .invertible(),
    kw(
        "fd-hard-limit",
        ONE,
        "<number>",
        "most descriptors the process asks for",
        |g, a| {
            g.out.fd_hard_limit = Some(u64::from(a.count(0)?)).filter(|&n| n > 0);
            Ok(())
        },
    )
    .once("'fd-hard-limit'"),
    kw(
        "gid",
        ONE,
        "<number>",
        "group to run as, by number",
        |g, a| {
            g.out.gid = Some(a.count(0)?);
            Ok(())
        },
    )
    .once("group/gid"),
    kw(
        "close-spread-time",
        ONE,
        "<time> | infinite",
        "time over which a soft stop closes kept client connections",
        |g, a| {
            g.out.close_spread = if a.eat("infinite") {
                CloseSpread::Never
            } else {
                match a.time_ms(Unit::Ms)? {
                    0 => CloseSpread::AtOnce,
                    ms => CloseSpread::Over(ms),
                }
            };
            Ok(())
        },
    ),
    kw(
        "grace",
        ONE,
        "<time>",
        "time between SIGUSR1 and the stop",
        |g, a| {
            g.out.grace_ms = Some(a.time_ms(Unit::Ms)?);
            Ok(())
        },
    ),
    kw("group", ONE, "<name>", "group to run as", |g, a| {
        g.out.gid = Some(bind::group(a)?);
        Ok(())
    })
    .once("group/gid"),
    kw(
        "hard-stop-after",
        ONE,
        "<time>",
        "longest soft stop",
        |g, a| {
            g.out.hard_stop_after_ms = Some(a.time_ms(Unit::Ms)?).filter(|&ms| ms > 0);
            Ok(())
        },
    ),
    kw(
        "master-worker",
        (0, 1),
        "[no-exit-on-failure]",
        "a master starts the worker that serves, as -W",
        |g, a| {
            if let Some(word) = a.next() {
                if word.bytes != b"no-exit-on-failure" {
                    let text = format!(
                        "'master-worker' only supports 'no-exit-on-failure' option (got '{}').",
                        word.text()
                    );
                    return Err(a.fail(word.span, text));
                }
                g.out.no_exit_on_failure = true;
            }
            g.out.master_worker = true;
            Ok(())
        },
    ),
    kw(
        "mworker-max-reloads",
        ONE,
        "<number>",
        "reloads after which an old worker is ended",
        count!(mworker_max_reloads, 0),
    ),
    kw(
        "log",
        (0, MANY),
        "<address> [len <n>] [format <f>] [sample <r>:<n>] <facility> [<max> [<min>]]",
        "where logs go",
        |g, a| log::parse(&mut g.log, a, false),
    )
    .invertible(),
    kw(
        "log-send-hostname",
        (0, 1),
        "[<text>]",
        "host name in each syslog header",
        |g, a| {
            g.out.log_send_hostname =
                Some(a.next().map_or_else(String::new, |w| w.text().into_owned()));
            Ok(())
        },
    )
    .once("'log-send-hostname'"),
    kw(
        "log-tag",
        ONE,
        "<tag>",
        "tag of each syslog line",
        text!(log_tag, "a tag for use in syslog"),
    ),
    kw(
        "maxconn",
        ONE,
        "<number>",
        "connections of the process",
        |g, a| {
            g.out.maxconn = Some(a.count(0)?).filter(|&n| n > 0);
            Ok(())
        },
    )
    .once("'maxconn'"),
    kw(
        "maxconnrate",
        ONE,
        "<number>",
        "connections per second of the process",
        count!(maxconnrate, 0),
    )
    .once("'maxconnrate'"),
    kw(
        "maxsessrate",
        ONE,
        "<number>",
        "sessions per second of the process",
        count!(maxsessrate, 0),
    )
    .once("'maxsessrate'"),
    kw("maxpipes", ONE, "<number>", "pipes for splicing", |g, a| {
        g.out.maxpipes = Some(a.count(0)?);
        Ok(())
    })
    .once("'maxpipes'"),
    kw(
        "nbproc",
        ONE,
        "<number>",
        "number of processes: threads here",
        |g, a| {
            let wanted = u32::try_from(a.number(1..=THREADS_MAX)?).expect("within the range");
            if wanted > 1 && g.out.nbthread.is_none() {
                g.out.nbthread = Some(wanted);
            }
            Ok(())
        },
    )
    .obsolete("nbthread <number>"),
    kw(
        "nbthread",
        ONE,
        "<number>",
        "number of shards, each a thread",
        |g, a| {
            g.out.nbthread =
                Some(u32::try_from(a.number(1..=THREADS_MAX)?).expect("within the range"));
            Ok(())
        },
    ),
    kw(
        "node",
        ONE,
        "<name>",
        "name in the statistics",
        text!(node, "a name"),
    ),
    kw("nosplice", NONE, "", "never splices", on!(nosplice)),
    kw(
        "pidfile",
        ONE,
        "<file>",
        "file the process id is written to",
        |g, a| {
            g.out.pidfile = Some(PathBuf::from(&*a.text("a file name as an argument")?));
            Ok(())
        },
    )
    .once("'pidfile'"),
    kw(
        "presetenv",
        (0, MANY),
        "<name> <value>",
        "sets a variable unless set",
        environment,
    ),
    kw("quiet", NONE, "", "no output at start", on!(quiet)),
    kw(
        "resetenv",
        (0, MANY),
        "[<name>…]",
        "removes all variables but these",
        environment,
    ),
    kw(
        "server-state-base",
        ONE,
        "<directory>",
        "where files with servers' states are",
        |g, a| {
            g.state_base = Some(a.text("one argument: a directory path")?.into_owned());
            Ok(())
        },
    ),
    kw(
        "server-state-file",
        ONE,
        "<file>",
        "servers' states before a reload",
        |g, a| {
            g.state_file = Some(a.text("one argument: a file path")?.into_owned());
            Ok(())
        },
    ),
    kw(
        "stats-file",
        ONE,
        "<file>",
        "counters of before a reload, as 'dump stats-file' wrote them",
        |g, a| {
            g.stats_file = Some(a.text("one argument: a file path")?.into_owned());
            Ok(())
        },
    ),
    kw(
        "setenv",
        (0, MANY),
        "<name> <value>",
        "sets a variable",
        environment,
    ),
    kw(
        "max-spread-checks",
        ONE,
        "<delay>",
        "longest time over which first probes are spread",
        |g, a| {
            g.out.max_spread_checks_ms = Some(a.time_ms(Unit::Ms)?);
            Ok(())
        },
    ),
    kw(
        "spread-checks",
        ONE,
        "<0..50>",
        "percent by which probe times vary",
        |g, a| {
            g.out.spread_checks = u8::try_from(a.number(0..=50)?).expect("within the range");
            Ok(())
        },
    )
    .once("'spread-checks'"),
    kw(
        "stats socket",
        (0, MANY),
        "<address> [mode <m>] [level <l>] [<bind options>…]",
        "an admin socket",
        bind::stats_socket,
    ),
    kw(
        "stats timeout",
        ONE,
        "<time>",
        "silence after which an admin connection closes",
        |g, a| {
            let span = a.rest().first().map_or(a.head, |w| w.span);
            g.out.stats_timeout_ms = a.time_ms(Unit::Ms)?;
            if g.out.stats_timeout_ms == 0 {
                return Err(a.fail(
                    span,
                    "a positive value is expected for 'stats timeout' in 'global section'.",
                ));
            }
            Ok(())
        },
    ),
    kw(
        "stats maxconn",
        ONE,
        "<number>",
        "admin connections at a time",
        count!(stats_maxconn, 1),
    ),
    kw(
        "strict-limits",
        NONE,
        "",
        "limits that cannot be had refuse the start",
        |g, a| {
            g.out.strict_limits = Some(a.on());
            Ok(())
        },
    )
    .invertible(),
    kw(
        "thread-groups",
        ONE,
        "<number>",
        "haproxy's thread groups",
        |_, a| a.number(1..=64).map(|_| ()),
    )
    .no_meaning(),
    kw(
        "thread-hard-limit",
        ONE,
        "<number>",
        "most shards, however many CPUs",
        |g, a| {
            g.thread_hard_limit = Some(a.count(1)?);
            Ok(())
        },
    ),
    kw(
        "tune.bufsize",
        ONE,
        "<size>",
        "bytes of a relay buffer",
        tune_size!(bufsize, BUFSIZE_MIN),
    ),
    kw(
        "tune.disable-fast-forward",
        NONE,
        "",
        "never splices",
        on!(nosplice),
    ),
    kw(
        "tune.disable-zero-copy-forwarding",
        NONE,
        "",
        "never splices",
        on!(nosplice),
    ),
    kw(
        "tune.http.maxhdr",
        ONE,
        "<number>",
        "fields a head may have, its first line counted",
        |g, a| {
            let word = a.expect("an integer argument")?;
            let number = value::int(&word.bytes, 1..=32_767);
            g.out.tune.http_maxhdr = number
                .ok()
                .and_then(|n| u16::try_from(n).ok())
                .ok_or(())
                .map_err(|()| {
                    let text = format!("'{}' expects a numeric value between 1 and 32767", a.name);
                    a.fail(word.span, text)
                })?;
            Ok(())
        },
    ),
    kw(
        "tune.listener.default-shards",
        ONE,
        "{by-process|by-thread|by-group}",
        "listening sockets of an address",
        |g, a| {
            g.default_shards = Some(bind::shards(a)?);
            Ok(())
        },
    ),
    kw(
        "tune.maxaccept",
        ONE,
        "<number>",
        "connections accepted in a row (-1: any number)",
        |g, a| {
            g.out.tune.maxaccept =
                u32::try_from(a.number(-1..=i64::from(i32::MAX))?).unwrap_or(u32::MAX);
            Ok(())
        },
    )
    .once("'tune.maxaccept'"),
    kw(
        "tune.maxrewrite",
        ONE,
        "<size>",
        "bytes of a buffer that a head must leave to rules, at most half of it",
        tune_size!(maxrewrite, 0),
    )
    .once("'tune.maxrewrite'"),
    kw(
        "tune.pipesize",
        ONE,
        "<size>",
        "bytes of a pipe (0: as without this line)",
        |g, a| {
            // The kernel rounds up to whole pages.
            if let wanted @ 1.. = a.size(0)? {
                g.out.tune.pipesize = wanted.max(PAGE);
            }
            Ok(())
        },
    ),
    kw(
        "tune.rcvbuf.client",
        ONE,
        "<size>",
        "kernel receive buffer towards clients",
        tune_size!(rcvbuf_client, 0),
    )
    .once("'tune.rcvbuf.client'"),
    kw(
        "tune.rcvbuf.server",
        ONE,
        "<size>",
        "kernel receive buffer towards servers",
        tune_size!(rcvbuf_server, 0),
    )
    .once("'tune.rcvbuf.server'"),
    kw(
        "tune.relay-memory",
        ONE,
        "<size>",
        "bytes of all buffers and pipes together (ours)",
        |g, a| {
            let word = a.expect("a size in bytes")?;
            g.out.tune.relay_memory =
                value::size(&word.bytes).map_err(|e| a.bad_value(word, &e))?;
            Ok(())
        },
    ),
    kw(
        "tune.sndbuf.client",
        ONE,
        "<size>",
        "kernel send buffer towards clients",
        tune_size!(sndbuf_client, 0),
    )
    .once("'tune.sndbuf.client'"),
    kw(
        "tune.sndbuf.server",
        ONE,
        "<size>",
        "kernel send buffer towards servers",
        tune_size!(sndbuf_server, 0),
    )
    .once("'tune.sndbuf.server'"),
    kw(
        "uid",
        ONE,
        "<number>",
        "user to run as, by number",
        |g, a| {
            g.out.uid = Some(a.count(0)?);
            Ok(())
        },
    )
    .once("user/uid"),
    kw(
        "ulimit-n",
        ONE,
        "<number>",
        "descriptors the process asks for",
        |g, a| {
            g.out.ulimit_n = Some(u64::from(a.count(0)?)).filter(|&n| n > 0);
            Ok(())
        },
    )
    .once("'ulimit-n'"),
    kw(
        "unix-bind",
        (2, MANY),
        "[prefix <p>] [mode <m>] [user|uid <u>] [group|gid <g>]",
        "owner of unix sockets of 'bind'",
        unix_bind,
    ),
    kw(
        "unsetenv",
        (0, MANY),
        "<name>…",
        "removes variables",
        environment,
    ),
    kw("user", ONE, "<name>", "user to run as", user).once("user/uid"),
    kw(
        "zero-warning",
        NONE,
        "",
        "any warning refuses the start",
        |g, _| {
            g.zero_warning = true;
            Ok(())
        },
    ),
    hint("busy-polling", "haproxy's poller").invertible(),
    hint("cpu-affinity", "how haproxy ties threads to CPUs"),
    hint("cpu-policy", "which CPUs haproxy takes by itself"),
    hint("cpu-set", "which CPUs haproxy looks at"),
    hint("insecure-setuid-wanted", "haproxy's no-new-privileges"),
    hint("max-threads-per-group", "haproxy's thread groups"),
    hint("no-memory-trimming", "haproxy's allocator"),
    hint("noepoll", "haproxy's poller"),
    hint("noevports", "haproxy's poller"),
    hint("nogetaddrinfo", "haproxy's resolver call"),
    hint("nokqueue", "haproxy's poller"),
    hint("nopoll", "haproxy's poller"),
    hint("noreuseport", "haproxy's listeners"),
    hint("numa-cpu-mapping", "which CPUs haproxy takes by itself").invertible(),
    hint("prealloc-fd", "haproxy's descriptor table"),
    hint("profiling.memory", "haproxy's profiler"),
    hint("profiling.tasks", "haproxy's profiler"),
    hint("stats bind-process", "haproxy's processes"),
    hint("stress-level", "haproxy's own tests"),
    hint("thread-group", "haproxy's thread groups"),
    hint(
        "tune.buffers.limit",
        "haproxy's buffers; see tune.relay-memory",
    ),
    hint("tune.buffers.reserve", "haproxy's buffers"),
    hint("tune.chksize", "haproxy's check buffers"),
    hint("tune.epoll.mask-events", "haproxy's poller"),
    hint("tune.events.max-events-at-once", "haproxy's events"),
    hint("tune.fail-alloc", "haproxy's own tests"),
    hint("tune.fd.edge-triggered", "haproxy's poller"),
    hint("tune.idle-pool.shared", "haproxy's idle connections"),
    hint("tune.idletimer", "haproxy's buffers"),
    hint(
        "tune.listener.multi-queue",
        "haproxy's accept queues; placement is by load here",
    ),
    hint("tune.max-checks-per-thread", "haproxy's check scheduler"),
    hint("tune.max-rules-at-once", "haproxy's rule engine"),
    hint("tune.maxpollevents", "haproxy's poller"),
    hint("tune.memory.hot-size", "haproxy's allocator"),
    hint("tune.pattern.cache-size", "haproxy's pattern cache"),
    hint("tune.pool-high-fd-ratio", "haproxy's idle connections"),
    hint("tune.pool-low-fd-ratio", "haproxy's idle connections"),
    hint("tune.recv_enough", "haproxy's reads"),
    hint("tune.renice.runtime", "haproxy's nice value"),
    hint("tune.renice.startup", "haproxy's nice value"),
    hint("tune.ring.queues", "haproxy's rings"),
    hint("tune.runqueue-depth", "haproxy's scheduler"),
    hint("tune.sched.low-latency", "haproxy's scheduler"),
    hint(
        "tune.takeover-other-tg-connections",
        "haproxy's idle connections",
    ),
    hint("warn-blocked-traffic-after", "haproxy's watchdog"),
];

/// The variables were set while the lines were read (`lang::lexer`), which also said what was wrong.
fn environment(_: &mut GlobalRaw, _: &mut Args<'_, '_>) -> Result<(), Said> {
    Ok(())
}

/// The rest of the line, one space between the words.
pub(super) fn words(args: &mut Args<'_, '_>) -> String {
    let mut out = Vec::new();
    while let Some(word) = args.next() {
        out.push(word.text().into_owned());
    }
    out.join(" ")
}

fn user(global: &mut GlobalRaw, args: &mut Args<'_, '_>) -> Result<(), Said> {
    global.out.uid = Some(bind::user(args)?);
    Ok(())
}

fn unix_bind(global: &mut GlobalRaw, args: &mut Args<'_, '_>) -> Result<(), Said> {
    while let Some(word) = args.next() {
        let owner = &mut global.unix_bind;
        match &*word.text() {
            "prefix" => owner.prefix = Some(args.text("a path after 'prefix'")?.into_owned()),
            "mode" => owner.mode = Some(bind::mode(args)?),
            "uid" => owner.uid = Some(args.count(0)?),
            "gid" => owner.gid = Some(args.count(0)?),
            "user" => owner.uid = Some(bind::user(args)?),
            "group" => owner.gid = Some(bind::group(args)?),
            other => {
                let text = format!(
                    "'unix-bind' only supports the 'prefix', 'mode', 'user', 'group', 'uid' and 'gid' options (got '{other}')."
                );
                return Err(args.fail(word.span, text));
            }
        }
    }
    Ok(())
}

/// `[auto:]GROUP[/THREADS] CPUS…`. The first number is a thread group since 2.7; there is one group here.
fn cpu_map(global: &mut GlobalRaw, args: &mut Args<'_, '_>) -> Result<(), Said> {
    let word = args.expect("a thread set")?;
    let text = word.text().into_owned();
    let (one_each, set) = text
        .strip_prefix("auto:")
        .map_or((false, &*text), |rest| (true, rest));
    let (group, threads) = set.split_once('/').unwrap_or((set, "all"));
    let (Some(group), Some(threads)) = (thread_set(group), thread_set(threads)) else {
        let what = "cpu-map expects a thread group and thread set ('all', 'odd', 'even', a number or a range), \
                    followed by a list of CPU ranges";
        return Err(args.fail(word.span, format!("{what} (got '{text}').")));
    };
    let mut cpus = Vec::new();
    while let Some(word) = args.next() {
        cpus.extend(cpu_set(args, word)?);
    }
    if !group.contains(0) {
        let text = format!(
            "cpu-map '{text}' is of a thread group that does not exist: there is only group 1."
        );
        args.cx
            .warning(word.span, text)
            .help("cpu-map 1/<thread> <cpus>");
        return Ok(());
    }
    global.cpu_map.push(CpuMap {
        threads,
        cpus,
        one_each,
    });
    Ok(())
}

fn thread_set(text: &str) -> Option<ThreadSet> {
    Some(match text {
        "all" => ThreadSet::All,
        "odd" => ThreadSet::Odd,
        "even" => ThreadSet::Even,
        _ => {
            let (low, high) = bind::range(text)?;
            ThreadSet::Range(low - 1, high - 1)
        }
    })
}

/// Highest CPU number Linux is built for.
const CPU_MAX: u32 = 8191;

fn cpu_set(args: &mut Args<'_, '_>, word: &Word) -> Result<Vec<usize>, Said> {
    let text = word.text().into_owned();
    let mut out = Vec::new();
    for part in text.split(',') {
        let (low, high) = part.split_once('-').unwrap_or((part, part));
        let low = value::uint(low.as_bytes(), 0..=CPU_MAX);
        let range = low.and_then(|low| Ok((low, value::uint(high.as_bytes(), low..=CPU_MAX)?)));
        match range {
            Ok((low, high)) => out.extend((low..=high).map(|cpu| cpu as usize)),
            Err(_) => {
                let text =
                    format!("cpu-map : '{part}' is no CPU number or range from 0 to {CPU_MAX}.");
                return Err(args.fail(word.span, text));
            }
        }
    }
    Ok(out)
}
