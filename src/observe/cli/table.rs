//! The commands of the admin socket, one item each: words, arguments, level, help, function; and
//! the names of those that haproxy has and this program has not yet.

use super::{Answer, Guarded, Rights, World, absent, acl, admin, inside, servers, sess, show};
use crate::config::CliLevel;

/// One command.
#[derive(Debug)]
struct Item {
    words: &'static [&'static str],
    /// Shown behind the words.
    arguments: &'static str,
    /// Empty: a command for tests, which no list shows.
    help: &'static str,
    /// Least level that may use it.
    level: CliLevel,
    run: Run,
}

#[derive(Clone, Copy, Debug)]
enum Run {
    /// Gets the words behind the command's own.
    Do(fn(&[String], &World<'_>) -> Answer),
    Help,
    TellLevel,
    /// `expert-mode` and its like.
    Guarded(Guarded),
    /// Gives rights up.
    Lower(CliLevel),
}

/// A table line: words, arguments, level, help, what it does.
macro_rules! commands {
    ($([$($word:literal)*] $arguments:literal $level:ident $help:literal => $run:expr;)*) => {
        &[$(Item {
            words: &[$($word),*],
            arguments: $arguments,
            help: $help,
            level: CliLevel::$level,
            run: $run,
        },)*]
    };
}

const COMMANDS: &[Item] = commands! {
    ["add" "acl"] "[@<ver>] <acl> <pattern>" Operator "add a pattern to an ACL" => Run::Do(acl::add);
    ["add" "map"] "[@<ver>] <map> <key> <value>" Operator "add an entry to a map" => Run::Do(absent::map);
    ["add" "server"] "<bk>/<srv> <addr> [options]" Admin "make a new server, in maintenance" => Run::Do(servers::add);
    ["clear" "acl"] "[@<ver>] <acl>" Operator "take all patterns out of an ACL" => Run::Do(acl::clear);
    ["clear" "counters"] "" Operator "let maxima of the statistics start again" => Run::Do(admin::clear_counters);
    ["clear" "counters" "all"] "" Admin "let all counters of the statistics start again" => Run::Do(admin::clear_all_counters);
    ["clear" "map"] "[@<ver>] <map>" Operator "take all entries out of a map" => Run::Do(absent::map);
    ["clear" "table"] "<table> [<filter>]*" Operator "take entries out of a stick table" => Run::Do(absent::clear_table);
    ["commit" "acl"] "@<ver> <acl>" Operator "put a prepared version of an ACL in force" => Run::Do(acl::commit);
    ["commit" "map"] "@<ver> <map>" Operator "put a prepared version of a map in force" => Run::Do(absent::commit_map);
    ["debug" "dev" "panic"] "[n]" Admin "" => Run::Do(admin::inject_panics);
    ["del" "acl"] "<acl> [<pattern>|#<ref>]" Operator "take a pattern out of an ACL" => Run::Do(acl::del);
    ["del" "map"] "<map> [<key>|#<ref>]" Operator "take an entry out of a map" => Run::Do(absent::map);
    ["del" "server"] "<bk>/<srv>" Admin "take a server in maintenance away" => Run::Do(servers::del);
    ["disable" "agent"] "<bk>/<srv>" Admin "stop the agent checks of a server" => Run::Do(admin::disable_agent);
    ["disable" "frontend"] "<frontend>" Admin "close a frontend to new connections, for a while" => Run::Do(admin::disable_frontend);
    ["disable" "health"] "<bk>/<srv>" Admin "stop the health checks of a server" => Run::Do(admin::disable_health);
    ["disable" "server"] "<bk>/<srv>" Admin "put a server into maintenance" => Run::Do(admin::disable_server);
    ["dump" "stats-file"] "" User "counters of what has a guid, for 'stats-file'" => Run::Do(show::stats_file);
    ["echo"] "[text]" User "answer with the text" => Run::Do(show::echo);
    ["enable" "agent"] "<bk>/<srv>" Admin "start the agent checks of a server again" => Run::Do(admin::enable_agent);
    ["enable" "frontend"] "<frontend>" Admin "open a frontend again" => Run::Do(admin::enable_frontend);
    ["enable" "health"] "<bk>/<srv>" Admin "start the health checks of a server again" => Run::Do(admin::enable_health);
    ["enable" "server"] "<bk>/<srv>" Admin "take a server out of maintenance and drain" => Run::Do(admin::enable_server);
    ["experimental-mode"] "[on|off]" Admin "allow or forbid experimental commands" => Run::Guarded(Guarded::Experimental);
    ["expert-mode"] "[on|off]" Admin "allow or forbid commands for experts" => Run::Guarded(Guarded::Expert);
    ["get" "acl"] "<acl> <value>" User "the patterns of an ACL that a value matches" => Run::Do(acl::get);
    ["get" "map"] "<map> <value>" User "the entries of a map that a value matches" => Run::Do(absent::map);
    ["get" "weight"] "<bk>/<srv>" User "weight of a server, now and as configured" => Run::Do(admin::get_weight);
    ["operator"] "" Operator "lower this connection's level to operator" => Run::Lower(CliLevel::Operator);
    ["prepare" "acl"] "<acl>" Operator "begin a new version of an ACL" => Run::Do(acl::prepare);
    ["prepare" "map"] "<map>" Operator "begin a new version of a map" => Run::Do(absent::map);
    ["set" "map"] "<map> [<key>|#<ref>] <value>" Operator "change an entry of a map" => Run::Do(absent::map);
    ["set" "maxconn" "frontend"] "<frontend> <value>" Admin "limit of a frontend's connections" => Run::Do(admin::set_maxconn_frontend);
    ["set" "maxconn" "global"] "<value>" Admin "limit of the process' connections" => Run::Do(admin::set_maxconn_global);
    ["set" "maxconn" "server"] "<bk>/<srv> <value>" Admin "limit of a server's connections" => Run::Do(admin::set_maxconn_server);
    ["set" "profiling"] "<what> {auto|on|off}" Admin "measure tasks or memory, which is not there" => Run::Do(inside::set_profiling);
    ["set" "rate-limit"] "<what> global <value>" Admin "limit of connections or sessions a second" => Run::Do(admin::set_rate_limit);
    ["set" "server"] "<bk>/<srv> [opts]" Admin "state, health, address, checks or weight of a server" => Run::Do(admin::set_server);
    ["set" "severity-output"] "[none|number|string]" User "show how serious messages are, or no longer" => Run::Do(show::set_severity);
    ["set" "table"] "<table> key <k> [data.* <v>]*" Operator "write an entry of a stick table" => Run::Do(absent::set_table);
    ["set" "timeout"] "cli <delay>" User "how long this connection may be idle" => Run::Do(show::set_timeout);
    ["set" "weight"] "<bk>/<srv> <weight>[%]" Admin "weight of a server" => Run::Do(admin::set_weight);
    ["show" "acl"] "[@<ver>] [<acl>]" User "ACLs, or the patterns of one" => Run::Do(acl::show);
    ["show" "activity"] "" User "what each shard did" => Run::Do(show::activity);
    ["show" "backend"] "" User "names of the backends" => Run::Do(show::backend);
    ["show" "cache"] "" Operator "caches" => Run::Do(absent::show_cache);
    ["show" "cli" "level"] "" User "level of this connection" => Run::TellLevel;
    ["show" "cli" "sockets"] "" User "admin sockets and their levels" => Run::Do(show::cli_sockets);
    ["show" "drain"] "" User "connections left on servers that take none, and the age of the oldest" => Run::Do(show::drain);
    ["show" "env"] "[var]" Operator "environment of the process" => Run::Do(show::env);
    ["show" "errors"] "[<px>]" Operator "protocol errors captured last" => Run::Do(show::errors);
    ["show" "events"] "[<sink>] [-w] [-n] [-0]" User "places where events are collected" => Run::Do(absent::show_events);
    ["show" "info"] "[desc|json|typed]*" User "what the process is and does" => Run::Do(show::info);
    ["show" "map"] "[@<ver>] [<map>]" User "maps, or the entries of one" => Run::Do(absent::show_map);
    ["show" "peers"] "[dict|-] [<section>]" User "peers" => Run::Do(absent::show_peers);
    ["show" "pools"] "[by*] [match <p>] [<n>]" User "what memory is used for" => Run::Do(inside::pools);
    ["show" "profiling"] "" Operator "what is measured of tasks and memory" => Run::Do(inside::profiling);
    ["show" "resolvers"] "[<id>]" User "counters of name servers" => Run::Do(absent::show_resolvers);
    ["show" "schema" "json"] "" User "schema of statistics in JSON" => Run::Do(inside::schema);
    ["show" "servers" "conn"] "[<backend>]" User "connections to servers" => Run::Do(show::servers_conn);
    ["show" "servers" "state"] "[<backend>]" User "servers in the format of a state file" => Run::Do(show::servers_state);
    ["show" "sess"] "[<id>|all|help|<filter>]*" Operator "sessions, one line each or one at length" => Run::Do(sess::show);
    ["show" "ssl" "ca-file"] "[<file>]" User "files of certificate authorities" => Run::Do(absent::show_files);
    ["show" "ssl" "cert"] "[<file>]" User "certificates" => Run::Do(absent::show_certificates);
    ["show" "ssl" "crl-file"] "[<file>]" User "files of revoked certificates" => Run::Do(absent::show_files);
    ["show" "ssl" "crt-list"] "[-n] [<list>]" User "lists of certificates" => Run::Do(absent::show_lists);
    ["show" "ssl" "ocsp-response"] "[<id>]" User "answers about certificates" => Run::Do(absent::show_ocsp);
    ["show" "startup-logs"] "" Operator "what was said while starting" => Run::Do(show::startup_logs);
    ["show" "stat"] "[json|no-maint|typed|up]*" User "counters of proxies and servers" => Run::Do(show::stat);
    ["show" "table"] "[<table> [<filter>]*]" User "stick tables, or the entries of one" => Run::Do(absent::show_table);
    ["show" "tasks"] "" User "tasks that wait to be run" => Run::Do(inside::tasks);
    ["show" "threads"] "" User "the shards, one after the other" => Run::Do(inside::threads);
    ["show" "tls-keys"] "[<id>|*]" User "keys of TLS tickets" => Run::Do(absent::show_tls_keys);
    ["show" "trace"] "[<source>]" User "sources of traces" => Run::Do(absent::show_trace);
    ["show" "version"] "" User "version of the process" => Run::Do(show::version);
    ["shutdown" "frontend"] "<frontend>" Admin "give the sockets of a frontend up, for good" => Run::Do(admin::shutdown_frontend);
    ["shutdown" "session"] "<id>" Admin "end a session" => Run::Do(sess::shutdown);
    ["shutdown" "sessions" "server"] "<bk>/<srv>" Admin "end the sessions of a server" => Run::Do(sess::shutdown_server);
    ["trace"] "[<source>|0]" Operator "switch traces, of which there are none" => Run::Do(absent::trace);
    ["user"] "" User "lower this connection's level to user" => Run::Lower(CliLevel::User);
    ["wait"] "{-h|<delay>} [srv-removable <bk>/<srv>]" User "answer after a while, or when a server may be deleted" => Run::Do(show::wait);
    ["help"] "[<command>]" User "this list, or the part of it that fits" => Run::Help;
    ["prompt"] "[help|n|i|p|timed]" User "stay open and ask for commands, or no longer" => Run::Do(show::prompt);
    ["quit"] "" User "close the connection" => Run::Do(show::quit);
};

/// The items at the end of the table that every list ends with.
const ALWAYS_LISTED: usize = 3;

/// Commands of haproxy 3.4 that are not here yet, by the words that tell them apart.
const NOT_YET: &[&str] = &[
    "abort ssl ca-file",
    "abort ssl cert",
    "abort ssl crl-file",
    "acme",
    "add backend",
    "add ssl ca-file",
    "add ssl crt-list",
    "commit ssl ca-file",
    "commit ssl cert",
    "commit ssl crl-file",
    "debug",
    "del backend",
    "del ssl ca-file",
    "del ssl cert",
    "del ssl crl-file",
    "del ssl crt-list",
    "disable dynamic-cookie backend",
    "dump ssl cert",
    "enable dynamic-cookie backend",
    "get var",
    "hard-reload",
    "httpclient",
    "mcli-debug-mode",
    "new ssl ca-file",
    "new ssl cert",
    "new ssl crl-file",
    "publish backend",
    "release-pools",
    "reload",
    "reopen logs",
    "set anon",
    "set dynamic-cookie-key backend",
    "set ssl ca-file",
    "set ssl cert",
    "set ssl crl-file",
    "set ssl ocsp-response",
    "set ssl tls-key",
    "set var",
    "show anon",
    "show dev",
    "show fd",
    "show libs",
    "show proc",
    "show quic",
    "show ssl ocsp-updates",
    "show ssl providers",
    "show ssl sni",
    "unpublish backend",
    "update ssl ocsp-response",
];

/// Runs the command that `words` name.
pub fn run(words: &[String], rights: Rights, world: &World<'_>) -> Answer {
    let level = rights.level;
    let Some(item) = find(words) else {
        return unknown(words, level);
    };
    if level < item.level {
        return Answer::error("Permission denied");
    }
    let arguments = &words[item.words.len()..];
    match item.run {
        Run::Do(run) => run(arguments, world),
        Run::Help => Answer::Info(format!(
            "The following commands are valid at this level:\n{}",
            list(&fitting(arguments, level))
        )),
        Run::Guarded(mode) => switch(mode, rights, arguments.first().map(String::as_str)),
        Run::TellLevel => Answer::Info(show::level_name(level).into()),
        Run::Lower(to) => Answer::Level(to),
    }
}

/// Tells whether such commands are allowed, or allows or forbids them; another word changes nothing, as in haproxy.
fn switch(mode: Guarded, rights: Rights, word: Option<&str>) -> Answer {
    let (name, is_on) = match mode {
        Guarded::Expert => ("expert-mode", rights.expert),
        Guarded::Experimental => ("experimental-mode", rights.experimental),
    };
    match word {
        None => Answer::Text(format!("{name} is {}\n", if is_on { "ON" } else { "OFF" })),
        Some("on") => Answer::Guarded(mode, true),
        Some("off") => Answer::Guarded(mode, false),
        Some(_) => Answer::done(),
    }
}

/// The command whose words all stand at the front.
fn find(words: &[String]) -> Option<&'static Item> {
    let fits = |item: &&Item| {
        item.words.len() <= words.len() && item.words.iter().zip(words).all(|(a, b)| a == b)
    };
    COMMANDS
        .iter()
        .filter(fits)
        .max_by_key(|item| item.words.len())
}

fn unknown(words: &[String], level: CliLevel) -> Answer {
    let Some(first) = words.first() else {
        return Answer::Info(format!(
            "Unknown command. Please enter one of the following commands only:\n{}",
            list(&fitting(&[], level))
        ));
    };
    let begins = |name: &&&str| {
        name.split(' ').zip(words).filter(|(a, b)| a == b).count() == name.split(' ').count()
    };
    if let Some(name) = NOT_YET.iter().find(begins) {
        return Answer::error(format!("'{name}' is not supported yet."));
    }
    let near = fitting(words, level);
    if near.len() == ALWAYS_LISTED {
        let all = list(&fitting(&[], level));
        return Answer::Info(format!(
            "Unknown command: '{first}'. Please enter one of the following commands only:\n{all}"
        ));
    }
    Answer::Info(format!(
        "Unknown command: '{first}', but maybe one of the following ones is a better match:\n{}",
        list(&near)
    ))
}

/// Commands that begin with these words, else those that look like them, and the last three always.
fn fitting(words: &[String], level: CliLevel) -> Vec<&'static Item> {
    let (table, always) = COMMANDS.split_at(COMMANDS.len() - ALWAYS_LISTED);
    let allowed: Vec<&Item> = table.iter().filter(|item| item.level <= level).collect();
    let common = |item: &Item| {
        item.words
            .iter()
            .zip(words)
            .take_while(|(a, b)| a == b)
            .count()
    };
    let most = allowed.iter().map(|item| common(item)).max().unwrap_or(0);
    let mut found: Vec<&Item> = if words.is_empty() {
        allowed
    } else if most > 0 {
        let whole = allowed.iter().filter(|item| common(item) == most).copied();
        let fits = |item: &&Item| {
            words
                .get(most)
                .is_none_or(|word| looks_like(item.words.get(most), word))
        };
        let near: Vec<&Item> = whole.clone().filter(fits).collect();
        if near.is_empty() {
            whole.collect()
        } else {
            near
        }
    } else {
        let text = words.join(" ");
        allowed
            .into_iter()
            .filter(|item| strsim::jaro_winkler(&item.words.join(" "), &text) > 0.8)
            .collect()
    };
    found.extend(always);
    found
}

/// Is the word meant, perhaps misspelt or not yet complete?
fn looks_like(meant: Option<&&str>, word: &str) -> bool {
    meant.is_some_and(|meant| meant.starts_with(word) || strsim::jaro_winkler(meant, word) > 0.85)
}

/// Two columns, as haproxy's help.
fn list(items: &[&Item]) -> String {
    let line = |item: &&Item| {
        let usage = format!("{} {}", item.words.join(" "), item.arguments);
        format!("  {:<40}: {}\n", usage.trim_end(), item.help)
    };
    let shown = items.iter().filter(|item| !item.help.is_empty());
    shown.map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_both_there_and_not_yet_there() {
        for item in COMMANDS {
            let name = item.words.join(" ");
            if name == "debug dev panic" {
                continue; // ours alone among haproxy's own, none of which is here
            }
            assert!(
                !NOT_YET
                    .iter()
                    .any(|n| *n == name || name.starts_with(&format!("{n} "))),
                "{name}"
            );
        }
    }

    #[test]
    fn the_table_is_in_order_for_readers() {
        let names: Vec<String> = COMMANDS.iter().map(|item| item.words.join(" ")).collect();
        assert!(names[..names.len() - ALWAYS_LISTED].is_sorted());
        assert!(NOT_YET.is_sorted());
    }
}
