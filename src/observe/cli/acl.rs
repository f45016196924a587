//! `show acl`, `add acl`, `del acl`, `clear acl`, `get acl`, `prepare acl`, `commit acl` (management.txt 9.3).

use std::fmt::Write;

use super::{Answer, World};
use crate::lang::acl::{List, Lists, Live};
use crate::lang::pattern::Method;
use crate::shared::Message;

const UNKNOWN: &str = "Unknown ACL identifier. Please use #<id> or <file>.";

/// A version in front of the other words (`@3`), and those.
fn version(words: &[String]) -> (Option<u32>, &[String]) {
    match words {
        [word, rest @ ..] => match word.strip_prefix('@') {
            Some(number) => (Some(number.parse().unwrap_or(0)), rest),
            None => (None, words),
        },
        [] => (None, words),
    }
}

fn lists<'a>(world: &World<'a>) -> &'a Lists {
    &world.view.shared.config.lists
}

/// The list of `#<id>` or `<file>`.
fn list<'a>(word: Option<&String>, world: &World<'a>) -> Result<&'a List, Answer> {
    let word = word.map_or("", String::as_str);
    let number = word.strip_prefix('#').map(|n| n.parse::<u32>().ok());
    let all = &lists(world).all;
    let found = match number {
        Some(number) => all.iter().find(|list| Some(list.id) == number),
        None => all.iter().find(|list| list.file.as_deref() == Some(word)),
    };
    found.ok_or_else(|| Answer::error(UNKNOWN))
}

/// Puts what changed in force, and has the shards look up anew what they indexed.
fn publish(list: &List, world: &World<'_>) {
    lists(world).publish(list);
    world.view.shared.hint_all(|| Message::Patterns);
}

/// Without a list: all of them, by number; with one: its patterns.
pub(super) fn show(words: &[String], world: &World<'_>) -> Answer {
    let (wanted, words) = version(words);
    if words.is_empty() {
        return Answer::Text(overview(lists(world)));
    }
    match list(words.first(), world) {
        Ok(list) => {
            let state = list.state();
            let mut text = Vec::new();
            for entry in state.of(wanted.unwrap_or(state.current)) {
                text.extend_from_slice(format!("{:#x} ", entry.number).as_bytes());
                if !entry.operator.is_empty() {
                    text.extend_from_slice(entry.operator.as_bytes());
                    text.push(b' ');
                }
                text.extend_from_slice(&entry.text);
                text.push(b'\n');
            }
            Answer::Bytes(text)
        }
        Err(answer) => answer,
    }
}

fn overview(lists: &Lists) -> String {
    let mut all: Vec<&List> = lists.all.iter().collect();
    all.sort_by_key(|list| list.id);
    let mut text = String::from("# id (file) description\n");
    for list in all {
        let state = list.state();
        let file = list.file.as_deref().unwrap_or("");
        let told = match (&list.file, list.uses.first()) {
            (Some(name), _) => {
                let by = list.uses.iter();
                let by = by.map(|(file, line)| format!("by acl at file '{file}' line {line}"));
                let by: Vec<_> = by.collect();
                format!("pattern loaded from file '{name}' used {}", by.join(", "))
            }
            (None, Some((file, line))) => {
                format!("acl '{}' file '{file}' line {line}", list.keyword)
            }
            (None, None) => format!("acl '{}'", list.keyword),
        };
        writeln!(
            text,
            "{} ({file}) {told}. curr_ver={} next_ver={} entry_cnt={}",
            list.id,
            state.current,
            state.next,
            state.entries.len()
        )
        .expect("a text takes every character");
    }
    text
}

/// `add acl [@<ver>] <acl> <pattern>`, or a payload with a pattern a line.
pub(super) fn add(words: &[String], world: &World<'_>) -> Answer {
    let (wanted, words) = version(words);
    let lines: Vec<&str> = match words {
        [_] => world.payload.lines().filter(|l| !l.is_empty()).collect(),
        [_, pattern, ..] => vec![pattern],
        [] => Vec::new(),
    };
    if lines.is_empty() {
        return Answer::error("'add acl' expects two parameters: ACL identifier and pattern.");
    }
    let list = match list(words.first(), world) {
        Ok(list) => list,
        Err(answer) => return answer,
    };
    let version = {
        let state = list.state();
        match wanted {
            Some(version) if version > state.next => {
                return Answer::error(
                    "Version number in the future, please use 'prepare acl' before.",
                );
            }
            wanted => wanted.unwrap_or(state.current),
        }
    };
    let mut outcome = Answer::done();
    for line in lines {
        if let Err(why) = list.check(line.as_bytes()) {
            outcome = Answer::error(why + ".");
            break;
        }
        list.state().push(version, line.as_bytes());
    }
    if version == list.state().current {
        publish(list, world);
    }
    outcome
}

/// `del acl <acl> <pattern>|#<number>`.
pub(super) fn del(words: &[String], world: &World<'_>) -> Answer {
    let [_, key, ..] = words else {
        return Answer::error("This command expects two parameters: ACL identifier and key.");
    };
    let list = match list(words.first(), world) {
        Ok(list) => list,
        Err(answer) => return answer,
    };
    let digits = key.strip_prefix('#');
    let number = digits.map(|n| n.strip_prefix("0x").unwrap_or(n));
    let number = number.and_then(|n| u64::from_str_radix(n, 16).ok());
    let gone = {
        let mut state = list.state();
        let (current, before) = (state.current, state.entries.len());
        state.entries.retain(|entry| {
            let meant = match digits {
                Some(_) => Some(entry.number) == number,
                None => entry.version == current && *entry.text == *key.as_bytes(),
            };
            !meant
        });
        before != state.entries.len()
    };
    if !gone {
        return Answer::error("Key not found.");
    }
    publish(list, world);
    Answer::done()
}

/// `clear acl [@<ver>] <acl>`: the present version, or one that is prepared.
pub(super) fn clear(words: &[String], world: &World<'_>) -> Answer {
    let (wanted, words) = version(words);
    if words.is_empty() {
        return Answer::error("Missing ACL identifier.");
    }
    match list(words.first(), world) {
        Ok(list) => {
            {
                let mut state = list.state();
                let version = wanted.unwrap_or(state.current);
                state.entries.retain(|entry| entry.version != version);
            }
            publish(list, world);
            Answer::done()
        }
        Err(answer) => answer,
    }
}

/// `prepare acl <acl>`: room for a new version beside the present one.
pub(super) fn prepare(words: &[String], world: &World<'_>) -> Answer {
    match list(words.first(), world) {
        Ok(list) => {
            let mut state = list.state();
            state.next += 1;
            Answer::Info(format!("New version created: {}", state.next))
        }
        Err(answer) => answer,
    }
}

/// `commit acl @<ver> <acl>`: that version is in force, older ones are gone.
pub(super) fn commit(words: &[String], world: &World<'_>) -> Answer {
    let (Some(version), words) = version(words) else {
        return Answer::error("Missing version number.");
    };
    if words.is_empty() {
        return Answer::error("Missing ACL identifier.");
    }
    match list(words.first(), world) {
        Ok(list) => {
            {
                let mut state = list.state();
                if version <= state.current || version > state.next {
                    return Answer::error("Version number out of range.");
                }
                state.current = version;
                state.entries.retain(|entry| entry.version >= version);
            }
            publish(list, world);
            Answer::done()
        }
        Err(answer) => answer,
    }
}

/// `get acl <acl> <value>`: what each test with that list makes of a value.
pub(super) fn get(words: &[String], world: &World<'_>) -> Answer {
    let [_, value, ..] = words else {
        return Answer::error("Missing ACL identifier and/or key.");
    };
    let list = match list(words.first(), world) {
        Ok(list) => list,
        Err(answer) => return answer,
    };
    let mut text = Vec::new();
    for live in &list.tests {
        let case = if live.ignore_case {
            "insensitive"
        } else {
            "sensitive"
        };
        let head = format!("type={}, case={case}, match=", type_name(live.method));
        text.extend_from_slice(head.as_bytes());
        match list.find(live, value.as_bytes()) {
            Some(pattern) => {
                let found = format!("yes, idx={}, pattern=\"", index(live));
                text.extend_from_slice(found.as_bytes());
                text.extend_from_slice(&pattern);
                text.extend_from_slice(b"\"\n");
            }
            None => text.extend_from_slice(b"no\n"),
        }
    }
    Answer::Bytes(text)
}

fn type_name(method: Method) -> &'static str {
    let named = Method::NAMES.iter().find(|(_, of)| *of == method);
    named.map_or("str", |(name, _)| name)
}

/// How haproxy keeps such patterns.
fn index(live: &Live) -> &'static str {
    match live.method {
        Method::Ip => "tree",
        Method::Str | Method::Beg if !live.ignore_case => "tree",
        _ => "list",
    }
}
