//! `stats …` of a proxy: the statistics page and who may see it (configuration.txt 4.2, `stats enable` and its kin).
//!
//! Any such line makes a page, with haproxy's values for all that is not written. A section with a line of its own
//! inherits nothing of the page in its `defaults`, in haproxy either (seen on 2.6).

use super::global::words;
use super::http::Stats;
use super::keyword::{Arity, B, D, F, Keyword, L, MANY, Sections};
use super::model::{Global, Mode};
use super::raw::{ProxyRaw, SectionKind};
use super::rule_lines;
use super::words::{Args, Cx, Said};
use crate::lang::diag::Form;
use crate::lang::fetch::Place;
use crate::lang::lexer::Word;
use crate::lang::rules::{Rule, RuleSet};
use crate::lang::source::Span;
use crate::lang::value::{self, Unit};

/// Where the page is if no line says so.
const URI: &[u8] = b"/haproxy?stats";
/// The mark in [`ProxyRaw::seen`] that the section has a line of its own.
const SEEN: &str = "stats";

const DFLB: Sections = D | F | L | B;
/// haproxy passes over words behind the argument; so do we, but we say so.
const ANY: Arity = (0, MANY);

const fn kw(
    name: &'static str,
    usage: &'static str,
    doc: &'static str,
    parse: super::keyword::Parse<ProxyRaw>,
) -> Keyword<ProxyRaw> {
    Keyword::new(name, DFLB, ANY, usage, doc, parse)
}

/// Every `stats` keyword of proxies.
pub(super) static TABLE: &[Keyword<ProxyRaw>] = &[
    Keyword::new(
        "stats admin",
        F | L | B,
        ANY,
        "{if|unless} <condition>",
        "who may act on servers by the statistics page; several lines add up",
        |p, a| {
            let places = [Place::FrontRequestHeader, Place::BackRequestHeader];
            let when = rule_lines::needed(p, a, "stats admin", "rule", places)?;
            page(p, a).admin.push(when);
            Ok(())
        },
    ),
    kw(
        "stats auth",
        "<user>:<password>",
        "who may see the statistics page; several lines add up",
        auth,
    ),
    kw("stats enable", "", "a statistics page", |p, a| {
        page(p, a);
        end(a);
        Ok(())
    }),
    kw(
        "stats hide-version",
        "",
        "the page does not name the version, as it does by default",
        |p, a| {
            page(p, a).show_version = false;
            end(a);
            Ok(())
        },
    ),
    Keyword::new(
        "stats http-request",
        F | L | B,
        ANY,
        "{allow|deny|auth [realm <realm>]|…} [{if|unless} <condition>]",
        "rules of the statistics page alone, as http-request",
        http_request,
    ),
    kw(
        "stats realm",
        "<realm>",
        "what the browser shows when it asks for a password",
        |p, a| {
            let word = argument(a, "'realm' needs an realm name.")?;
            page(p, a).realm = Some(word.bytes.clone().into());
            end(a);
            Ok(())
        },
    ),
    kw(
        "stats refresh",
        "<delay>",
        "seconds after which a browser asks again",
        refresh,
    ),
    kw(
        "stats scope",
        "{<proxy>|.}",
        "a proxy that the page shows, '.' its own; none given: all",
        |p, a| {
            let name = argument(a, "'scope' needs a proxy name.")?
                .text()
                .into_owned();
            let stats = page(p, a);
            if !stats.scope.contains(&name) {
                stats.scope.push(name);
            }
            end(a);
            Ok(())
        },
    ),
    kw(
        "stats show-desc",
        "[<text>]",
        "the page has this description, or the one of 'global'",
        |p, a| {
            page(p, a).show_desc = Some(words(a));
            Ok(())
        },
    ),
    kw(
        "stats show-legends",
        "",
        "the page tells modes, numbers, addresses, cookies and algorithms",
        |p, a| {
            page(p, a).show_legends = true;
            end(a);
            Ok(())
        },
    ),
    kw(
        "stats show-modules",
        "",
        "the page has columns for TLS, HTTP/2 and HTTP/1",
        |p, a| {
            page(p, a).show_modules = true;
            end(a);
            Ok(())
        },
    ),
    kw(
        "stats show-node",
        "[<name>]",
        "the page names this node, or the one of 'global'",
        show_node,
    ),
    kw(
        "stats show-version",
        "",
        "the page names the version",
        |p, a| {
            page(p, a).show_version = true;
            end(a);
            Ok(())
        },
    ),
    kw(
        "stats uri",
        "<prefix>",
        "requests whose path begins so are for the page",
        uri,
    ),
];

impl Stats {
    /// haproxy's page where only its existence is written; `span` is the line that did it.
    pub fn new(span: Span) -> Self {
        Self {
            uri: URI.into(),
            realm: None,
            auth: Vec::new(),
            refresh_s: None,
            show_version: false,
            show_legends: false,
            show_modules: false,
            show_node: None,
            show_desc: None,
            scope: Vec::new(),
            admin: Vec::new(),
            rules: Vec::new(),
            span,
        }
    }
}

/// The section's own page, begun anew at its first `stats` line.
pub(super) fn page<'p>(proxy: &'p mut ProxyRaw, args: &mut Args<'_, '_>) -> &'p mut Stats {
    let first = !proxy.seen.contains(&SEEN);
    let slot = &mut proxy.set.http.stats;
    if first {
        proxy.seen.push(SEEN);
        if let Some(inherited) = slot.take()
            && !inherited.auth.is_empty()
        {
            let text = "the 'stats auth' lines of 'defaults' do not hold for this page: a section with a \
                        'stats' line of its own inherits none.";
            args.cx.notice(args.head, text);
        }
    }
    slot.get_or_insert_with(|| Stats::new(args.head))
}

/// The argument a keyword must have.
fn argument<'w>(args: &mut Args<'w, '_>, missing: &str) -> Result<&'w Word, Said> {
    args.next()
        .filter(|word| !word.bytes.is_empty())
        .ok_or(())
        .map_err(|()| args.fail(args.end(), missing))
}

/// Says what is passed over.
fn end(args: &mut Args<'_, '_>) {
    if let Some(word) = args.next() {
        let text = format!("'{}' ignores what follows: '{}'.", args.name, word.text());
        args.cx.warning(word.span, text);
    }
}

fn auth(proxy: &mut ProxyRaw, args: &mut Args<'_, '_>) -> Result<(), Said> {
    let word = argument(args, "'auth' needs a user:password account.")?;
    let mut account = word.bytes.clone();
    if !account.contains(&b':') {
        let text = format!("user '{}' may log in without a password.", word.text());
        args.cx
            .warning(word.span, text)
            .help("write <user>:<password>");
        account.push(b':');
    }
    page(proxy, args).auth.push(account.into());
    end(args);
    Ok(())
}

fn http_request(proxy: &mut ProxyRaw, args: &mut Args<'_, '_>) -> Result<(), Said> {
    let words = rule_lines::take(args);
    let mut rule = rule_lines::parsed(proxy, args, RuleSet::HttpRequest, words)?;
    rule_lines::give_slot(proxy, &mut rule);
    let rules = &mut page(proxy, args).rules;
    let unreached = rules.last().is_some_and(Rule::is_final);
    rules.push(rule);
    if unreached {
        let text = "previous 'stats' action has no condition attached, further entries are NOOP.";
        args.cx.warning(args.head, text).tight();
    }
    Ok(())
}

fn uri(proxy: &mut ProxyRaw, args: &mut Args<'_, '_>) -> Result<(), Said> {
    let word = argument(args, "'uri' needs an URI prefix.")?;
    if word.bytes[0] != b'/' {
        let text = format!(
            "no path begins with '{}': they all begin with '/'.",
            word.text()
        );
        args.cx.warning(word.span, text);
    }
    page(proxy, args).uri = word.bytes.clone().into();
    end(args);
    Ok(())
}

fn refresh(proxy: &mut ProxyRaw, args: &mut Args<'_, '_>) -> Result<(), Said> {
    let word = args.expect("a time (in seconds)")?;
    let seconds = value::time_s(&word.bytes, Unit::S).map_err(|e| args.bad_value(word, &e))?;
    page(proxy, args).refresh_s = Some(seconds).filter(|&s| s > 0);
    end(args);
    Ok(())
}

fn show_node(proxy: &mut ProxyRaw, args: &mut Args<'_, '_>) -> Result<(), Said> {
    let name = match args.next() {
        None => String::new(),
        Some(word) => {
            let allowed = |b: &u8| b.is_ascii_alphanumeric() || b"-_.".contains(b);
            if !word.bytes.iter().all(allowed) {
                let text = "'stats show-node' takes a name of letters, digits, '-', '_' and '.'.";
                return Err(args.fail(word.span, text));
            }
            word.text().into_owned()
        }
    };
    page(proxy, args).show_node = Some(name);
    end(args);
    Ok(())
}

/// The page of a section with what is known only once everything was read; `None` where there is none.
pub(super) fn resolve(section: &ProxyRaw, global: &Global, cx: &mut Cx<'_>) -> Option<Stats> {
    let mut stats = section.set.http.stats.clone()?;
    let (kind, name) = (section.kind.called(), &section.name);
    if section.set.mode != Mode::Http {
        let text =
            format!("'stats' statement ignored for {kind} '{name}' as it requires HTTP mode.");
        cx.warning(stats.span, text).form(Form::Bare);
        return None;
    }
    for shown in stats.scope.iter_mut().filter(|shown| *shown == ".") {
        shown.clone_from(name);
    }
    if stats.show_desc.as_deref() == Some("") {
        stats.show_desc.clone_from(&global.description);
        if stats.show_desc.is_none() && section.kind != SectionKind::Defaults {
            let text =
                "'show-desc' requires a parameter or 'desc' to be set in the global section.";
            cx.warning(stats.span, text);
        }
    }
    if !stats.rules.is_empty() && (!stats.auth.is_empty() || stats.realm.is_some()) {
        let text = format!(
            "proxy '{name}': stats 'auth'/'realm' and 'http-request' can't be used at the same time."
        );
        let _: Said = cx.alert_help(
            stats.span,
            text,
            "'stats http-request auth realm <realm> unless <condition>' asks for a password too",
        );
        if let Some(told) = cx.diags.list.last_mut() {
            told.form(Form::Config);
        }
    }
    Some(stats)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Input, LoadInputs, load};

    /// The page of the last proxy.
    fn page(sections: &str) -> Option<Stats> {
        let text = format!(
            "global\n description of all\ndefaults\n mode http\n timeout client 1s\n timeout server 1s\n \
             timeout connect 1s\n{sections}"
        );
        let loaded = load(&LoadInputs {
            inputs: vec![Input::Text {
                name: "t.cfg".to_owned(),
                bytes: text.into_bytes(),
            }],
            ..LoadInputs::default()
        });
        let config = loaded.config;
        let mut config = config.unwrap_or_else(|| panic!("refused: {:#?}", loaded.diags.list));
        config.proxies.pop().expect("one was written").http.stats
    }

    fn own(lines: &str) -> Stats {
        page(&format!("listen own\n bind :1080\n {lines}")).expect("a line makes a page")
    }

    #[test]
    fn any_line_makes_a_page_with_haproxys_values() {
        assert!(page("listen own\n bind :1080").is_none());
        for line in [
            "stats enable",
            "stats hide-version",
            "stats realm x",
            "stats refresh 0",
        ] {
            let page = own(line);
            assert_eq!(&*page.uri, b"/haproxy?stats", "{line}");
            assert!(!page.show_version && page.auth.is_empty() && page.scope.is_empty());
            assert_eq!(page.refresh_s, None);
        }
    }

    /// The page of the seed that has no `stats enable`.
    #[test]
    fn a_page_needs_no_line_that_enables_it() {
        let page = own(
            "stats refresh 30s\n stats uri /stats\n stats realm HAProxy\\ Stats\n stats auth admin:admin",
        );
        assert_eq!(&*page.uri, b"/stats");
        assert_eq!(page.refresh_s, Some(30));
        assert_eq!(page.realm.as_deref(), Some(&b"HAProxy Stats"[..]));
        assert_eq!(page.auth, [(*b"admin:admin").into()]);
    }

    #[test]
    fn lines_add_up_or_replace_each_other() {
        let page = own(
            "stats auth a:b\n stats auth c:d:e\n stats auth nobody\n stats uri /x\n stats uri /y\n \
             stats refresh 1500ms\n stats scope .\n stats scope other\n stats scope .\n stats show-version\n \
             stats show-legends\n stats show-modules\n stats show-node\n stats show-desc",
        );
        let accounts: Vec<&[u8]> = page.auth.iter().map(|a| &**a).collect();
        assert_eq!(accounts, [&b"a:b"[..], b"c:d:e", b"nobody:"]);
        assert_eq!((&*page.uri, page.refresh_s), (&b"/y"[..], Some(2)));
        assert_eq!(page.scope, ["own", "other"]);
        assert!(page.show_version && page.show_legends && page.show_modules);
        assert_eq!(page.show_node.as_deref(), Some(""));
        assert_eq!(page.show_desc.as_deref(), Some("of all"));
        let page = own(
            "stats show-version\n stats hide-version\n stats show-desc a b\n stats show-node n-1",
        );
        assert!(!page.show_version);
        assert_eq!(page.show_desc.as_deref(), Some("a b"));
        assert_eq!(page.show_node.as_deref(), Some("n-1"));
    }

    #[test]
    fn a_section_with_a_line_of_its_own_inherits_nothing_of_the_page() {
        let defaults = " stats uri /d\n stats refresh 7s\n stats scope .\n stats auth a:b\n";
        let inherited = page(&format!("{defaults}listen own\n bind :1080")).unwrap();
        assert_eq!(
            (&*inherited.uri, inherited.refresh_s),
            (&b"/d"[..], Some(7))
        );
        assert_eq!(
            (&*inherited.scope, inherited.auth.len()),
            (&["own".to_owned()][..], 1)
        );
        let own = page(&format!(
            "{defaults}listen own\n bind :1080\n stats refresh 5s"
        ))
        .unwrap();
        assert_eq!(
            (&*own.uri, own.refresh_s),
            (&b"/haproxy?stats"[..], Some(5))
        );
        assert!(own.scope.is_empty() && own.auth.is_empty());
    }

    #[test]
    fn in_tcp_mode_there_is_no_page() {
        assert!(page("listen own\n mode tcp\n bind :1080\n stats enable").is_none());
    }
}
