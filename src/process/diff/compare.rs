//! Two configurations section by section, and what each difference means for connections.

use std::collections::{HashMap, HashSet};

use super::rules::{Line, Step, lists, steps, without_rules};
use super::tree::Tree;
use super::{Act, Change, Side};
use crate::base::items::Items;
use crate::config::{
    Backend, Balance, Bind, BindAddress, Config, Frontend, HashMethod, Proxy, Server,
    ServerAddress, ServerPort,
};
use crate::lang::subject::{Scope, VarId};
use crate::proxy::trace;

/// Settings of the master, which no reload starts anew.
const OF_MASTER: &[&str] = &[
    "daemon",
    "master_worker",
    "no_exit_on_failure",
    "mworker_max_reloads",
    "pidfile",
];
/// Settings for which the new process has to be started with privilege.
const PRIVILEGED: &[&str] = &["uid", "gid", "chroot"];

const NEW_ONLY: &str =
    "for new connections: those that are open go on in the old process as they were";

/// Every difference, in order of the old file, what is new last.
pub(super) fn all(old: &Side, new: &Side) -> Vec<Change> {
    let mut out = Vec::new();
    global(old, new, &mut out);
    let key = |proxy: &Proxy| title(proxy);
    pairs(
        &list(&old.config.proxies),
        &list(&new.config.proxies),
        key,
        |title, pair| match pair {
            Pair::Both(a, b) => proxies(&title, (a, old), (b, new), &mut out),
            Pair::Old(a) => out.push(section(&title, Act::Removed, closed(a, &old.config))),
            Pair::New(b) => {
                let effect = (b.frontend.is_some() && !b.disabled)
                    .then(|| "its listeners are opened by the new process".to_owned());
                out.push(section(&title, Act::Added, effect));
            }
        },
    );
    let key = |list: &crate::config::userlist::Userlist| list.name.clone();
    pairs(
        &list(&old.config.userlists),
        &list(&new.config.userlists),
        key,
        |name, pair| {
            let act = match pair {
                Pair::Both(a, b) if Tree::of(a) == Tree::of(b) => return,
                Pair::Both(..) => Act::Changed,
                Pair::Old(_) => Act::Removed,
                Pair::New(_) => Act::Added,
            };
            let effect =
                (act == Act::Changed).then(|| "users, groups or passwords differ".to_owned());
            out.push(section(&format!("userlist {name}"), act, effect));
        },
    );
    out
}

fn list<T: Clone>(items: &Items<T>) -> Vec<T> {
    items.iter().cloned().collect()
}

/// The same thing in both, or in one.
enum Pair<'a, T> {
    Both(&'a T, &'a T),
    Old(&'a T),
    New(&'a T),
}

/// Goes over what has a name, in order of the old list, what is new last.
fn pairs<'a, T>(
    old: &'a [T],
    new: &'a [T],
    key: impl Fn(&T) -> String,
    mut each: impl FnMut(String, Pair<'a, T>),
) {
    // Of several with one name (binds of one address) the first belongs to the first.
    let numbered = |list: &'a [T]| {
        let mut seen = HashMap::<String, u32>::new();
        let mut named = Vec::new();
        for item in list {
            let nth = seen.entry(key(item)).or_default();
            *nth += 1;
            named.push(((key(item), *nth), item));
        }
        named
    };
    let (old, new) = (numbered(old), numbered(new));
    let keys: HashMap<_, _> = new.iter().cloned().collect();
    let known: HashSet<_> = old.iter().map(|(name, _)| name).collect();
    for (name, a) in &old {
        match keys.get(name) {
            Some(b) => each(name.0.clone(), Pair::Both(a, b)),
            None => each(name.0.clone(), Pair::Old(a)),
        }
    }
    for (name, b) in new.iter().filter(|(name, _)| !known.contains(name)) {
        each(name.0.clone(), Pair::New(b));
    }
}

fn title(proxy: &Proxy) -> String {
    let kind = match (proxy.frontend, proxy.backend) {
        (Some(_), Some(_)) => "listen",
        (Some(_), None) => "frontend",
        _ => "backend",
    };
    format!("{kind} {}", proxy.name)
}

fn section(title: &str, act: Act, effect: Option<String>) -> Change {
    Change {
        section: title.to_owned(),
        what: "section",
        name: String::new(),
        act,
        from: None,
        to: None,
        effect,
    }
}

fn closed(proxy: &Proxy, config: &Config) -> Option<String> {
    let frontend = config.frontend(proxy.frontend?);
    let binds = frontend
        .binds
        .iter()
        .map(|id| address(&config.bind(*id).address));
    let binds = binds.collect::<Vec<_>>().join(", ");
    Some(format!(
        "listeners are closed ({binds}); connections that are open go on until they end"
    ))
}

// ---------------------------------------------------------------- settings

/// A tree without what only tells where something stands or how it is counted.
fn settled(value: &impl std::fmt::Debug, config: &Config) -> Tree {
    Tree::of(value).map(&|tree| plain(tree, config))
}

fn plain(tree: Tree, config: &Config) -> Tree {
    let number = |list: &[Tree]| match list {
        [Tree::Atom(n)] => n.parse::<usize>().ok(),
        _ => None,
    };
    let named =
        |name: Option<&String>| Tree::Text(name.map_or_else(|| "?".to_owned(), String::clone));
    match tree {
        Tree::Struct(name, _) if name == "Span" => Tree::Atom(String::new()),
        Tree::Struct(name, fields) if name == "Expr" => {
            let text = fields.into_iter().find(|(name, _)| name == "text");
            text.map_or(Tree::Atom(name), |(_, text)| text)
        }
        Tree::Struct(name, fields) if name == "VarId" => {
            let tree = Tree::Struct(name, fields);
            let id = tree.field("name").and_then(Tree::shown);
            let id = id.and_then(|n| n.parse().ok()).unwrap_or(u32::MAX);
            let scope = tree
                .field("scope")
                .and_then(Tree::shown)
                .unwrap_or_default();
            let variable = trace::variable(
                config,
                VarId {
                    scope: Scope::Txn,
                    name: id,
                },
            );
            Tree::Text(variable.replacen("txn", &scope.to_lowercase(), 1))
        }
        Tree::Struct(name, mut fields) => {
            fields.retain(|(name, _)| name != "span");
            Tree::Struct(name, fields)
        }
        Tree::Tuple(name, list) => match (name.as_str(), number(&list)) {
            ("BackendId", Some(n)) => named(config.backends.get(n).map(|b| &b.name)),
            ("FrontendId", Some(n)) => named(config.frontends.get(n).map(|f| &f.name)),
            ("ProxyId", Some(n)) => named(config.proxies.get(n).map(|p| &p.name)),
            ("ServerId", Some(n)) => named(config.servers.get(n).map(|s| &s.name)),
            _ => Tree::Tuple(name, list),
        },
        other => other,
    }
}

/// The fields of two structs that differ, those in `skip` left out; of structs within them the parts.
fn fields(old: &Tree, new: &Tree, skip: &[&str], before: &str) -> Vec<(String, Tree, Tree)> {
    let mut out = Vec::new();
    let (Tree::Struct(_, ours), Tree::Struct(_, _)) = (old, new) else {
        return out;
    };
    for (name, from) in ours {
        let Some(to) = new.field(name).filter(|to| *to != from) else {
            continue;
        };
        if skip.contains(&name.as_str()) {
            continue;
        }
        let path = if before.is_empty() {
            name.clone()
        } else {
            format!("{before}.{name}")
        };
        let inside = match (inner(from), inner(to)) {
            (Tree::Struct(a, _), Tree::Struct(b, _)) if a == b && a != "LogFormat" => {
                fields(inner(from), inner(to), &[], &path)
            }
            _ => Vec::new(),
        };
        if inside.is_empty() {
            out.push((path, from.clone(), to.clone()));
        } else {
            out.extend(inside);
        }
    }
    out
}

fn inner(tree: &Tree) -> &Tree {
    match tree {
        Tree::Tuple(name, list) if name == "Some" && list.len() == 1 => &list[0],
        other => other,
    }
}

/// A field's name and value as people read them: units behind the value.
fn readable(path: &str, value: &Tree) -> (String, String) {
    let shown = value.shown();
    let (name, unit) = match (path.strip_suffix("_ms"), path.strip_suffix("_s")) {
        (Some(name), _) => (name, "ms"),
        (_, Some(name)) => (name, "s"),
        _ => (path, ""),
    };
    let shown = match shown {
        Some(text) if text.is_empty() => "set".to_owned(),
        Some(text) => format!("{text}{unit}"),
        None => "not set".to_owned(),
    };
    (name.replace(['_', '.'], " "), shown)
}

fn settings(
    section: &str,
    what: &'static str,
    name: &str,
    differ: Vec<(String, Tree, Tree)>,
    effect: impl Fn(&str, &Tree, &Tree) -> Option<String>,
    out: &mut Vec<Change>,
) {
    for (path, from, to) in differ {
        let (label, old) = readable(&path, &from);
        let (_, new) = readable(&path, &to);
        let (old, new) = if old == new || label.ends_with("auth") {
            // What differs is not in what is shown, or is a password.
            (None, None)
        } else {
            (Some(old), Some(new))
        };
        out.push(Change {
            section: section.to_owned(),
            what,
            name: format!("{name} {label}").trim().to_owned(),
            act: Act::Changed,
            from: old,
            to: new,
            effect: effect(&path, &from, &to),
        });
    }
}

fn global(old: &Side, new: &Side, out: &mut Vec<Change>) {
    let tree = |side: &Side| {
        let mut global = side.config.global.clone();
        // Among them the names of the files.
        global.env.retain(|(name, _)| !name.starts_with("HAPROXY_"));
        settled(&global, &side.config)
    };
    let differ = fields(&tree(old), &tree(new), &[], "");
    let effect = |path: &str, _: &Tree, _: &Tree| {
        let field = path.split('.').next().unwrap_or(path);
        Some(if OF_MASTER.contains(&field) {
            "needs a restart: no reload starts the master anew".to_owned()
        } else if PRIVILEGED.contains(&field) {
            "in the new process, which has to be started with privilege (root)".to_owned()
        } else if field == "nbthread" || field == "cpu_map" {
            "in the new process: its shards take all listeners over".to_owned()
        } else if field == "stats_sockets" {
            "connections to the admin socket end with the old process".to_owned()
        } else {
            "in the new process; the old one goes on as it was until its last session ends"
                .to_owned()
        })
    };
    settings("global", "setting", "", differ, effect, out);
}

// ---------------------------------------------------------------- proxies

fn proxies(
    title: &str,
    (a, old): (&Proxy, &Side),
    (b, new): (&Proxy, &Side),
    out: &mut Vec<Change>,
) {
    let skip = ["iid", "frontend", "backend", "http", "name"];
    let tree = |proxy: &Proxy, side: &Side| {
        // Rules are compared by themselves, and some are too long to be written out.
        let mut bare = proxy.clone();
        bare.http = without_rules(&proxy.http);
        settled(&bare, &side.config)
    };
    let (from, to) = (tree(a, old), tree(b, new));
    let differ = fields(&from, &to, &skip, "");
    settings(
        title,
        "setting",
        "",
        differ,
        |_, _, _| Some(NEW_ONLY.to_owned()),
        out,
    );
    if let (Some(x), Some(y)) = (from.field("http"), to.field("http")) {
        let differ = fields(x, y, &[], "");
        settings(title, "setting", "", differ, of_http, out);
    }
    if let (Some(x), Some(y)) = (a.frontend, b.frontend) {
        let pair = (old.config.frontend(x), new.config.frontend(y));
        frontends(title, pair, (&old.config, &new.config), out);
    }
    if let (Some(x), Some(y)) = (a.backend, b.backend) {
        let pair = (old.config.backend(x), new.config.backend(y));
        backends(title, pair, (&old.config, &new.config), out);
    }
    let (before, after) = (lists(&a.http, old), lists(&b.http, new));
    let none: Vec<Line> = Vec::new();
    for (kind, list) in &after {
        let own = before.iter().find(|(k, _)| k == kind);
        rule_steps(title, kind, own.map_or(&none, |(_, l)| l), list, out);
    }
    for (kind, list) in &before {
        if !after.iter().any(|(k, _)| k == kind) {
            rule_steps(title, kind, list, &none, out);
        }
    }
}

fn of_http(path: &str, from: &Tree, to: &Tree) -> Option<String> {
    let field = path.split('.').next().unwrap_or(path);
    let cookie = |tree: &Tree| inner(tree).field("name").and_then(Tree::shown);
    Some(match field {
        "cookie" if path == "cookie.name" => format!(
            "clients that have cookie '{}' are balanced anew",
            from.shown().unwrap_or_default()
        ),
        "cookie" if cookie(from).is_some() && cookie(to).is_none() => format!(
            "clients that have cookie '{}' no longer stay with their server",
            cookie(from).unwrap_or_default()
        ),
        "hash_key" => "keys are spread anew: most clients come to another server".to_owned(),
        _ => NEW_ONLY.to_owned(),
    })
}

fn rule_steps(title: &str, kind: &'static str, old: &[Line], new: &[Line], out: &mut Vec<Change>) {
    let found = steps(old, new);
    let gone: Vec<&Line> = found
        .iter()
        .filter_map(|s| match s {
            Step::Gone(line) => Some(line),
            Step::Came(_) => None,
        })
        .collect();
    for step in &found {
        let (line, act) = match step {
            Step::Gone(line) => (line, Act::Removed),
            Step::Came(line) => (line, Act::Added),
        };
        let effect = match step {
            Step::Came(line) if gone.iter().any(|l| l.meaning == line.meaning) => {
                Some("the same rule at another place".to_owned())
            }
            Step::Came(line) if gone.iter().any(|l| l.text == line.text) => Some(format!(
                "the same line, but its ACLs ask: {}",
                line.meaning.trim()
            )),
            _ => None,
        };
        let mut change = Change {
            section: title.to_owned(),
            what: "rule",
            name: line.text.clone(),
            act,
            from: None,
            to: None,
            effect,
        };
        if line.text.is_empty() {
            kind.clone_into(&mut change.name);
        }
        out.push(change);
    }
}

// ---------------------------------------------------------------- frontends

fn frontends(
    title: &str,
    (a, b): (&Frontend, &Frontend),
    (old, new): (&Config, &Config),
    out: &mut Vec<Change>,
) {
    let differ = fields(
        &settled(a, old),
        &settled(b, new),
        &["proxy", "binds", "name", "mode", "disabled"],
        "",
    );
    settings(
        title,
        "setting",
        "",
        differ,
        |_, _, _| Some(NEW_ONLY.to_owned()),
        out,
    );
    let list = |frontend: &Frontend, config: &Config| -> Vec<Bind> {
        let binds = frontend.binds.iter();
        binds.map(|id| config.bind(*id).clone()).collect()
    };
    let (ours, theirs) = (list(a, old), list(b, new));
    pairs(
        &ours,
        &theirs,
        |bind| address(&bind.address),
        |at, pair| {
            let (act, effect) = match pair {
                Pair::Both(x, y) => {
                    let skip = ["frontend", "luid", "address"];
                    let differ = fields(&settled(x, old), &settled(y, new), &skip, "");
                    let effect = |_: &str, _: &Tree, _: &Tree| {
                        Some("for connections that the new process accepts".to_owned())
                    };
                    settings(title, "bind", &at, differ, effect, out);
                    return;
                }
                Pair::Old(_) => (
                    Act::Removed,
                    "the listener is closed; connections that came by it go on until they end",
                ),
                Pair::New(_) => (Act::Added, "the new process opens the listener"),
            };
            out.push(Change {
                section: title.to_owned(),
                what: "bind",
                name: at,
                act,
                from: None,
                to: None,
                effect: Some(effect.to_owned()),
            });
        },
    );
}

fn address(address: &BindAddress) -> String {
    let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
    match address {
        BindAddress::Ip(at) => at.to_string(),
        BindAddress::Unix(path) => format!("unix@{}", path.display()),
        BindAddress::Abns(name) => format!("abns@{}", text(name)),
        BindAddress::Abnsz(name) => format!("abnsz@{}", text(name)),
        BindAddress::Fd(n) => format!("fd@{n}"),
    }
}

// ---------------------------------------------------------------- backends

fn backends(
    title: &str,
    (a, b): (&Backend, &Backend),
    (old, new): (&Config, &Config),
    out: &mut Vec<Change>,
) {
    let skip = ["proxy", "servers", "name", "mode", "disabled"];
    let differ = fields(&settled(a, old), &settled(b, new), &skip, "");
    let keyed = a.balance.is_keyed() || b.balance.is_keyed();
    let effect = |path: &str, _: &Tree, _: &Tree| {
        let field = path.split('.').next().unwrap_or(path);
        Some(match field {
            "balance" | "hash_type" | "hash_balance_factor" if keyed => {
                "keys are spread anew: most clients come to another server".to_owned()
            }
            "fullconn" => "follows from the frontends' maxconn where it is not written".to_owned(),
            _ => NEW_ONLY.to_owned(),
        })
    };
    settings(title, "setting", "", differ, effect, out);
    let list = |backend: &Backend, config: &Config| -> Vec<Server> {
        let servers = backend.servers.iter();
        servers.map(|id| config.server(*id).clone()).collect()
    };
    let (ours, theirs) = (list(a, old), list(b, new));
    let spread = redistribution(b, ours.len().max(theirs.len()));
    pairs(
        &ours,
        &theirs,
        |s| s.name.clone(),
        |name, pair| {
            let change = |act, at: &Server, effect: Vec<String>| Change {
                section: title.to_owned(),
                what: "server",
                name: name.clone(),
                act,
                from: (act == Act::Removed).then(|| server_address(at)),
                to: (act == Act::Added).then(|| server_address(at)),
                effect: (!effect.is_empty()).then(|| effect.join("; ")),
            };
            match pair {
                Pair::Both(x, y) => servers(title, (x, y), (old, new), b, &spread, out),
                Pair::Old(x) => {
                    let mut effect = vec!["connections to it go on until they end".to_owned()];
                    effect.extend(x.cookie.as_ref().map(|value| {
                        let value = String::from_utf8_lossy(value);
                        format!("clients whose cookie says '{value}' are balanced anew")
                    }));
                    effect.extend(spread.clone());
                    out.push(change(Act::Removed, x, effect));
                }
                Pair::New(y) => {
                    out.push(change(Act::Added, y, spread.clone().into_iter().collect()));
                }
            }
        },
    );
    order(title, (&ours, &theirs), b, out);
}

/// What another set of servers, or other weights, mean for keys.
fn redistribution(backend: &Backend, servers: usize) -> Option<String> {
    if !backend.balance.is_keyed() {
        return None;
    }
    Some(match backend.hash_type.method {
        HashMethod::MapBased => {
            "hash: most keys come to another server ('hash-type consistent' would move few)"
                .to_owned()
        }
        HashMethod::Consistent => {
            format!(
                "hash: about one key in {} comes to another server",
                servers.max(1)
            )
        }
    })
}

/// The order of servers decides where a map of keys leads.
fn order(
    title: &str,
    (old, new): (&[Server], &[Server]),
    backend: &Backend,
    out: &mut Vec<Change>,
) {
    let mapped = backend.balance.is_keyed() && backend.hash_type.method == HashMethod::MapBased;
    let common = |list: &[Server], other: &[Server]| -> Vec<String> {
        let names = list.iter().map(|s| s.name.clone());
        names
            .filter(|n| other.iter().any(|o| o.name == *n))
            .collect()
    };
    let (before, after) = (common(old, new), common(new, old));
    if !mapped || before == after {
        return;
    }
    out.push(Change {
        section: title.to_owned(),
        what: "servers",
        name: "order".to_owned(),
        act: Act::Changed,
        from: Some(before.join(" ")),
        to: Some(after.join(" ")),
        effect: redistribution(backend, after.len()),
    });
}

fn servers(
    title: &str,
    (a, b): (&Server, &Server),
    (old, new): (&Config, &Config),
    backend: &Backend,
    spread: &Option<String>,
    out: &mut Vec<Change>,
) {
    let mut skip = vec!["name", "backend"];
    // The number matters only where the algorithm goes by it.
    let by_number = backend.balance == Balance::First
        || backend.balance.is_keyed() && backend.hash_type.method == HashMethod::Consistent;
    if !by_number {
        skip.push("puid");
    }
    // How it was written says nothing where the address is the same.
    if a.address == b.address {
        skip.push("host_text");
    }
    let differ = fields(&settled(a, old), &settled(b, new), &skip, "");
    let effect = |path: &str, from: &Tree, _: &Tree| {
        let field = path.split('.').next().unwrap_or(path);
        match field {
            "cookie" => Some(format!(
                "clients whose cookie says '{}' are balanced anew",
                from.shown().unwrap_or_default()
            )),
            "weight" | "puid" | "backup" if spread.is_some() => spread.clone(),
            "address" | "host_text" => {
                Some("new connections go there; those to the old address go on".to_owned())
            }
            "check" | "agent" => Some("checks begin anew in the new process".to_owned()),
            _ => Some(NEW_ONLY.to_owned()),
        }
    };
    settings(title, "server", &a.name, differ, effect, out);
}

fn server_address(server: &Server) -> String {
    let port = |port: &ServerPort| match port {
        ServerPort::Fixed(port) => port.to_string(),
        ServerPort::Mapped(by) => format!("{by:+}"),
    };
    match &server.address {
        ServerAddress::Ip { ip, port: p } => format!("{ip}:{}", port(p)),
        ServerAddress::Unresolved { name, port: p } => format!("{name}:{}", port(p)),
        ServerAddress::Unix(path) => path.display().to_string(),
        ServerAddress::Abns(name) => format!("abns@{}", String::from_utf8_lossy(name)),
    }
}
