//! `guid`: names of sections and servers that stay the same from one configuration to the next, so that counters find
//! their owners again (configuration.txt 4.2 and 5.2 `guid`, 3.1 `stats-file`).

use std::collections::HashMap;

use super::model::{BackendId, Config, FrontendId, ServerId};
use super::raw::ProxyRaw;
use super::words::{Args, Cx, Said};
use crate::lang::source::Span;

/// Longest name, in characters.
const LONGEST: usize = 127;

/// A name as written, and where.
pub(super) type Written = (Box<str>, Span);

/// Whose name it is. A `listen` section gives its name to both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    Frontend(FrontendId),
    Backend(BackendId),
    Server(ServerId),
}

/// A name and its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guid {
    pub text: Box<str>,
    pub of: Named,
}

pub(super) fn parse(args: &mut Args<'_, '_>) -> Result<Written, Said> {
    let word = args.expect("a unique name")?;
    let (text, span) = (word.text(), word.span);
    args.done()?;
    read(&text)
        .map(|text| (text.into(), span))
        .map_err(|why| args.fail(span, format!("'guid' : {why}.")))
}

/// The same for a word among others.
pub(super) fn option(args: &mut Args<'_, '_>) -> Result<Written, Said> {
    let word = args.expect("a unique name")?;
    let (text, span) = (word.text(), word.span);
    read(&text)
        .map(|text| (text.into(), span))
        .map_err(|why| args.fail(span, format!("'guid' : {why}.")))
}

fn read(text: &str) -> Result<&str, String> {
    let bad = |c: char| !(c.is_ascii_alphanumeric() || ".:-_".contains(c));
    if text.is_empty() {
        return Err("a name cannot be empty".to_owned());
    }
    if text.len() > LONGEST {
        return Err(format!("a name has at most {LONGEST} characters"));
    }
    match text.chars().find(|&c| bad(c)) {
        Some(c) => Err(format!(
            "character '{c}' is not permitted in '{text}' (only letters, digits and any of '.:-_')"
        )),
        None => Ok(text),
    }
}

/// All names, each of which stands once. `sections` are those of `out.proxies`.
pub(super) fn resolve(sections: &[&ProxyRaw], out: &Config, cx: &mut Cx<'_>) -> Vec<Guid> {
    let mut all = Vec::new();
    let mut owners: HashMap<&str, Span> = HashMap::new();
    let once = |guid: &Written, whose: String, cx: &mut Cx<'_>, first: Option<Span>| {
        if let Some(first) = first {
            let text = format!(
                "{whose} : 'guid' : '{}' is already used at {}.",
                guid.0,
                cx.place(first)
            );
            let _: Said = cx.alert(guid.1, text);
        }
    };
    for (section, proxy) in sections.iter().zip(&out.proxies) {
        if let Some(guid) = &section.guid {
            let first = owners.insert(&guid.0, guid.1);
            once(guid, format!("'{}'", section.name), cx, first);
            let sides = [
                proxy.frontend.map(Named::Frontend),
                proxy.backend.map(Named::Backend),
            ];
            all.extend(sides.into_iter().flatten().map(|of| Guid {
                text: guid.0.clone(),
                of,
            }));
        }
        let Some(back) = proxy.backend else { continue };
        for (server, &id) in section.servers.iter().zip(&out.backend(back).servers) {
            if let Some(guid) = &server.options.guid {
                let first = owners.insert(&guid.0, guid.1);
                let whose = format!("'server {}/{}'", section.name, server.name);
                once(guid, whose, cx, first);
                all.push(Guid {
                    text: guid.0.clone(),
                    of: Named::Server(id),
                });
            }
        }
    }
    all
}
