//! How things are called: conditions, algorithms, endings, in words a reader of the file knows.

use crate::backend::persist::Found;
use crate::backend::{Ask, Choice};
use crate::config::http::HashKey;
use crate::config::{Backend, Balance, Config, HashMethod, ServerAddress, ServerId, ServerPort};
use crate::io::op::Target;
use crate::lang::acl::Verdict;
use crate::lang::acl::told::{TermTold, TestTold};
use crate::proxy::trace::{Effect, NamedBy, ServerTold};

/// Samples shown of one test.
const VALUES_MAX: usize = 4;
/// Characters shown of one text.
const TEXT_MAX: usize = 200;

pub(super) fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Holds => "holds",
        Verdict::Fails => "does not hold",
        Verdict::Later => "is not decided yet",
    }
}

/// In quotes, control characters escaped, cut where it is long.
pub(super) fn quoted(text: &str) -> String {
    let cut: String = text.chars().take(TEXT_MAX).collect();
    let dots = if cut.len() < text.len() { "..." } else { "" };
    format!("{cut:?}{dots}")
}

/// One term of a condition in a line: what it is, and why it came out so.
pub(super) fn term(term: &TermTold) -> String {
    let name = match &term.name {
        Some(name) => format!("acl {name}"),
        None => "{ }".to_owned(),
    };
    let not = if term.negated { "!" } else { "" };
    let positive = term.verdict.negated(term.negated);
    let tests: Vec<String> = match term.tests.iter().find(|t| t.verdict == Verdict::Holds) {
        // One line of an ACL is enough for it to hold.
        Some(hit) => vec![test(hit)],
        None => term.tests.iter().map(test).collect(),
    };
    let name = match (&term.name, term.negated) {
        (None, false) => return tests.join("; "),
        (None, true) => "not".to_owned(),
        _ => format!("{not}{name}"),
    };
    let of = if term.negated && term.name.is_some() {
        format!(" (the acl {})", verdict(positive))
    } else {
        String::new()
    };
    format!("{name} {}{of}: {}", verdict(term.verdict), tests.join("; "))
}

fn test(test: &TestTold) -> String {
    let TestTold {
        criterion, method, ..
    } = test;
    let hit = test.values.iter().find(|value| value.hit);
    if let Some(hit) = hit {
        return match &hit.pattern {
            Some(pattern) => format!(
                "{criterion} = {}, matches {} ({method})",
                quoted(&hit.text),
                quoted(pattern)
            ),
            None => format!("{criterion} = {}", quoted(&hit.text)),
        };
    }
    let waits = if test.verdict == Verdict::Later {
        ", and more may come"
    } else {
        ""
    };
    if test.values.is_empty() {
        return format!("{criterion} gives nothing{waits}");
    }
    let shown = test.values.iter().take(VALUES_MAX);
    let shown: Vec<String> = shown.map(|value| quoted(&value.text)).collect();
    let more = test.values.len().saturating_sub(VALUES_MAX);
    let more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    let plain = matches!(method.as_str(), "bool" | "found");
    let none = if plain {
        String::new()
    } else {
        format!(", matches no pattern ({method})")
    };
    format!("{criterion} = {}{more}{none}{waits}", shown.join(", "))
}

/// A change in a line.
pub(super) fn effect(effect: &Effect) -> String {
    let Effect {
        what,
        name,
        from,
        to,
    } = effect;
    let name = if name.is_empty() {
        (*what).to_owned()
    } else {
        format!("{what} {name}")
    };
    match (from, to) {
        (None, Some(to)) => format!("{name} = {}", quoted(to)),
        (Some(from), Some(to)) => format!("{name}: {} -> {}", quoted(from), quoted(to)),
        (Some(from), None) => format!("{name} removed (was {})", quoted(from)),
        (None, None) => name,
    }
}

/// What a rule's final word means.
pub(super) fn outcome(word: &str) -> &str {
    match word {
        "allow" => "the rest of this list is skipped",
        "deny" => "the request ends here: denied",
        "tarpit" => "the request ends here: held in the tarpit, then denied",
        "answer" => "the request ends here: answered by the balancer",
        "auth" => "the request ends here: asked for a password",
        "reject" => "it ends here: the connection is closed without an answer",
        "silent-drop" => "it ends here: dropped without a word",
        "statistics" => "the statistics page answers",
        "metrics" => "the exporter of metrics answers",
        "wait-for-body" => "waits for the body",
        "pause" => "pauses",
        "verify-password" => "waits until the password is verified",
        other => other,
    }
}

pub(super) fn cookie(found: Found) -> &'static str {
    match found {
        Found::None => "is not in the request",
        Found::Valid => "names a server that is up",
        Found::Down => "names a server that is down",
        Found::Invalid => "names no server of this backend",
        Found::Expired => "was idle for too long",
        Found::Old => "is too old",
        Found::Unused => "is there, but something else chose the server",
    }
}

pub(super) fn balance(backend: &Backend) -> String {
    match &backend.balance {
        Balance::RoundRobin => "roundrobin".to_owned(),
        Balance::StaticRr => "static-rr".to_owned(),
        Balance::LeastConn => "leastconn".to_owned(),
        Balance::First => "first".to_owned(),
        Balance::Random(draws) => format!("random({draws})"),
        Balance::Source => "source".to_owned(),
        Balance::Key(kind) => match kind {
            crate::config::KeyKind::Uri => "uri",
            crate::config::KeyKind::UrlParam => "url_param",
            crate::config::KeyKind::Header => "hdr",
            crate::config::KeyKind::RdpCookie => "rdp-cookie",
            crate::config::KeyKind::Expr => "hash",
        }
        .to_owned(),
    }
}

fn hashed(config: &Config, backend: &Backend) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match &config.proxy(backend.proxy).http.hash_key {
        Some(HashKey::Uri { whole, .. }) if *whole => "the whole URI".to_owned(),
        Some(HashKey::Uri { .. }) => "the path".to_owned(),
        Some(HashKey::UrlParam { name, .. }) => format!("parameter '{}'", text(name)),
        Some(HashKey::Header { name, .. }) => format!("header '{}'", text(name)),
        Some(HashKey::RdpCookie { name }) => format!("RDP cookie '{}'", text(name)),
        Some(HashKey::Expr(expr)) => expr.text().to_owned(),
        None => "the key".to_owned(),
    }
}

/// Why this server, or why none.
pub(super) fn server(config: &Config, told: &ServerTold) -> String {
    let backend = config.backend(told.backend);
    let name = |id: ServerId| config.server(id).name.clone();
    let state = usable(config, told);
    let by_algorithm = || match told.choice {
        Choice::Nobody => format!("no server of backend '{}' is usable", backend.name),
        _ if told.usable.len() == 1 => state.clone(),
        _ => format!("{}; {state}", algorithm(config, backend, &told.ask)),
    };
    match told.named {
        Some((id, by)) if !told.elsewhere => {
            let by = match by {
                NamedBy::UseServer => "a 'use-server' rule names it",
                NamedBy::Cookie => "the cookie names it",
                NamedBy::Last => "the client's last server ('option prefer-last-server')",
            };
            match told.choice {
                Choice::Full(_) => format!("{by}, but '{}' and its queue are full", name(id)),
                Choice::Wait(_) => format!("{by}; '{}' has no place: the request waits", name(id)),
                _ => by.to_owned(),
            }
        }
        Some((id, _)) => format!(
            "'{}' was named but cannot take it; {}",
            name(id),
            by_algorithm()
        ),
        None => match told.choice {
            Choice::Wait(_) => format!("no place is free: the request waits ({})", by_algorithm()),
            _ => by_algorithm(),
        },
    }
}

fn algorithm(config: &Config, backend: &Backend, ask: &Ask) -> String {
    let name = balance(backend);
    let method = match backend.hash_type.method {
        HashMethod::MapBased => "map-based",
        HashMethod::Consistent => "consistent",
    };
    match &backend.balance {
        Balance::Source => match ask.client {
            Some(ip) => format!("balance source: the hash of {ip} ({method}) leads there"),
            None => "balance source, but the client has no address: servers take turns".to_owned(),
        },
        Balance::Key(_) => match ask.key {
            Some(key) => format!(
                "balance {name}: the hash of {} is {key:#010x} ({method}), which leads there",
                hashed(config, backend)
            ),
            None => format!(
                "balance {name}: {} is not there, servers take turns",
                hashed(config, backend)
            ),
        },
        Balance::Random(_) => format!("balance {name}: by chance, another time another one"),
        Balance::First => "balance first: the first that has a place".to_owned(),
        Balance::LeastConn => {
            "balance leastconn: the fewest connections, none being open here".to_owned()
        }
        Balance::RoundRobin | Balance::StaticRr => {
            format!("balance {name}: the first turn here, in service the next in turn")
        }
    }
}

/// Who could be chosen.
fn usable(config: &Config, told: &ServerTold) -> String {
    let all = &config.backend(told.backend).servers;
    let backup = |id: &ServerId| config.server(*id).backup;
    if let [(_, weight)] = told.usable[..] {
        let backup = told.usable.iter().any(|(id, _)| backup(id));
        let what = match (all.len(), backup) {
            (1, _) => "the only server",
            (_, true) => "the backup server, as no other is usable",
            (_, false) => "the only usable server",
        };
        return format!("{what} (weight {weight})");
    }
    let list: Vec<String> = told
        .usable
        .iter()
        .map(|(id, weight)| format!("{} weight {weight}", config.server(*id).name))
        .collect();
    let only_backups = told.usable.iter().all(|(id, _)| backup(id)) && !told.usable.is_empty();
    let note = if only_backups {
        ", backup servers as no other is usable"
    } else if told.usable.len() < all.len()
        && all
            .iter()
            .any(|id| !backup(id) && !told.usable.iter().any(|u| u.0 == *id))
    {
        ", others are down or out of use"
    } else {
        ""
    };
    format!("of {}{note}", list.join(", "))
}

pub(super) fn server_address(address: &ServerAddress) -> String {
    let port = |port: &ServerPort| match port {
        ServerPort::Fixed(port) => port.to_string(),
        ServerPort::Mapped(by) => format!("{by:+}"),
    };
    match address {
        ServerAddress::Ip { ip, port: p } if ip.is_ipv6() => format!("[{ip}]:{}", port(p)),
        ServerAddress::Ip { ip, port: p } => format!("{ip}:{}", port(p)),
        ServerAddress::Unresolved { name, port: p } => format!("{name}:{}", port(p)),
        ServerAddress::Unix(path) => path.display().to_string(),
        ServerAddress::Abns(name) => format!("abns@{}", String::from_utf8_lossy(name)),
    }
}

pub(super) fn target(target: &Target) -> String {
    match target {
        Target::Ip(to) => to.to_string(),
        Target::Unix(path) => path.display().to_string(),
        Target::Abstract(name) => format!("abns@{}", String::from_utf8_lossy(name)),
    }
}

/// The letters of a log line's state, in words; `None` for an ordinary end.
pub(super) fn ending(state: &str) -> Option<String> {
    let mut letters = state.chars();
    let (cause, stage) = (letters.next()?, letters.next()?);
    let cause = match cause {
        'C' => "the client aborted",
        'c' => "the client took too long",
        'S' => "no server could be had, or it refused",
        's' => "a server took too long",
        'P' => "the balancer refused it",
        'L' => "the balancer answered itself",
        'R' => "the balancer ran out of resources",
        'I' => "an internal error",
        'K' => "killed",
        _ => return None,
    };
    let stage = match stage {
        'R' => ", before a server was looked for",
        'Q' => ", in a queue",
        'C' => ", before it reached a server",
        'H' => ", while the answer was waited for",
        'D' => ", in the middle of the data",
        'T' => ", in the tarpit",
        _ => "",
    };
    Some(format!("{cause}{stage}"))
}
