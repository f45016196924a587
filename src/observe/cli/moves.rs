//! `set server … addr`, `check-addr`, `check-port` and their like: where a server and its checks are.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::Ordering::Relaxed;

use super::{Answer, World};
use crate::backend::change;
use crate::config::{Server, ServerAddress, ServerId, ServerPort};

/// An address as the command line of the socket takes it: no names.
fn ip(word: &str) -> Option<IpAddr> {
    if word == "*" {
        return Some(Ipv4Addr::UNSPECIFIED.into());
    }
    let bare = word.strip_prefix('[').and_then(|w| w.strip_suffix(']'));
    bare.unwrap_or(word).parse().ok()
}

/// The word behind `port`; empty if there is none behind it.
fn port_word(words: &[String]) -> Option<&str> {
    match words {
        [word, rest @ ..] if word == "port" => Some(rest.first().map_or("", String::as_str)),
        _ => None,
    }
}

/// `addr <ip> [port <port>]`: connections from now on go there. haproxy tells in one line what became of both.
pub(super) fn addr(id: ServerId, words: &[String], world: &World<'_>) -> Answer {
    let Some(word) = words.first().filter(|word| !word.is_empty()) else {
        return Answer::error("set server <b>/<s> addr requires an address and optionally a port.");
    };
    let shared = world.view.shared;
    let (server, cell) = (shared.config.server(id), shared.server(id));
    let told = |text: String| Answer::Warning(text + " by 'stats socket command'");
    let Some(wanted) = ip(word) else {
        return told(format!("Invalid addr '{word}'"));
    };
    let (now, port) = match &*cell.place.or(&server.address) {
        ServerAddress::Ip { ip, port } => (Some(*ip), *port),
        ServerAddress::Unresolved { port, .. } => (None, *port),
        ServerAddress::Unix(_) | ServerAddress::Abns(_) => {
            return told(
                "Update for the current server address family is only supported through configuration file"
                    .to_owned(),
            );
        }
    };
    // Only where the file has such an address the client's own is known when it connects.
    if wanted.is_unspecified() && now != Some(wanted) {
        return told(format!(
            "Invalid addr '{word}': the unspecified address is not supported yet"
        ));
    }
    let mut text = if now == Some(wanted) {
        "no need to change the addr".to_owned()
    } else {
        let before = now.map_or_else(String::new, |ip| ip.to_string());
        format!("IP changed from '{before}' to '{word}'")
    };
    let mut port_then = port;
    if let Some(word) = port_word(&words[1..]) {
        text += ", ";
        match new_port(word, cell.check_port.load(Relaxed), server) {
            Ok(new) if new == port => text += "no need to change the port",
            Ok(new) => {
                text += &format!("port changed from '{}' to '{}'", shown(port), shown(new));
                port_then = new;
            }
            Err(why) => text += &why,
        }
    }
    if now != Some(wanted) || port_then != port {
        let change = change::set_address(shared, id, wanted, port_then, world.view.now);
        world.tell.tell(&change);
    }
    told(text)
}

fn shown(port: ServerPort) -> String {
    match port {
        ServerPort::Fixed(port) => port.to_string(),
        ServerPort::Mapped(by) => format!("{by:+}"),
    }
}

/// A port, or with a sign a distance from the client's. Numbers that are no ports are refused, where haproxy takes
/// their lowest 16 bits.
fn new_port(word: &str, asked: u16, server: &Server) -> Result<ServerPort, String> {
    let bad = || format!("problem converting port '{word}' to an int");
    if !word.starts_with(['+', '-']) {
        return word.parse().map(ServerPort::Fixed).map_err(|_| bad());
    }
    let by: i32 = word.parse().map_err(|_| bad())?;
    if by.unsigned_abs() > u32::from(u16::MAX) {
        return Err(bad());
    }
    let written = match &server.address {
        ServerAddress::Ip { port, .. } => *port,
        _ => ServerPort::Fixed(0),
    };
    let own_port_probed = server
        .check
        .as_ref()
        .is_none_or(|check| asked == 0 && (written == ServerPort::Fixed(check.port)));
    if own_port_probed {
        return Err(
            "can't change <port> to port map because it is incompatible with current health check port configuration \
             (use 'port' statement from the 'server' directive."
                .to_owned(),
        );
    }
    // Only where the file has such a port the client's own is known when it connects.
    match written {
        ServerPort::Mapped(_) => Ok(ServerPort::Mapped(by)),
        ServerPort::Fixed(_) => {
            Err("a port map is not supported yet where the file gives a port".to_owned())
        }
    }
}

/// `check-addr <ip> [port <port>]`.
pub(super) fn check_addr(id: ServerId, words: &[String], world: &World<'_>) -> Answer {
    let Some(word) = words.first().filter(|word| !word.is_empty()) else {
        return Answer::error(
            "set server <b>/<s> check-addr requires an address and optionally a port.",
        );
    };
    let shared = world.view.shared;
    if shared.config.server(id).check.is_none() {
        return Answer::Warning(NO_CHECK.into());
    }
    let port = match port_word(&words[1..]).map(check_port_number) {
        None => None,
        Some(Ok(port)) => Some(port),
        Some(Err(why)) => return Answer::Warning(why.into()),
    };
    let Some(ip) = ip(word) else {
        return Answer::Warning(format!("invalid addr '{word}'"));
    };
    change::set_check_place(shared, id, Some(ip), port);
    Answer::done()
}

/// `check-port <port>`; 0: as without one.
pub(super) fn check_port(id: ServerId, words: &[String], world: &World<'_>) -> Answer {
    let Some(word) = words.first().filter(|word| !word.is_empty()) else {
        return Answer::error("set server <b>/<s> check-port requires a port.");
    };
    let shared = world.view.shared;
    if shared.config.server(id).check.is_none() {
        return Answer::Warning(NO_CHECK.into());
    }
    match check_port_number(word) {
        Ok(port) => {
            change::set_check_place(shared, id, None, Some(port));
            Answer::done()
        }
        Err(why) => Answer::Warning(why.into()),
    }
}

/// `agent-addr <ip> [port <port>]`.
pub(super) fn agent_addr(id: ServerId, words: &[String], world: &World<'_>) -> Answer {
    let Some(word) = words.first().filter(|word| !word.is_empty()) else {
        return without_agent("agent-addr", words);
    };
    let port = match port_word(&words[1..]).map(check_port_number) {
        None => None,
        Some(Ok(port)) => Some(port),
        Some(Err(why)) => return Answer::Warning(why.into()),
    };
    let Some(ip) = ip(word) else {
        return Answer::Warning(format!("invalid addr '{word}'"));
    };
    change::set_agent_place(world.view.shared, id, Some(ip), port);
    Answer::done()
}

/// `agent-port <port>`.
pub(super) fn agent_port(id: ServerId, word: Option<&str>, world: &World<'_>) -> Answer {
    let Some(word) = word.filter(|word| !word.is_empty()) else {
        return without_agent("agent-port", &[]);
    };
    match check_port_number(word) {
        Ok(port) => {
            change::set_agent_place(world.view.shared, id, None, Some(port));
            Answer::done()
        }
        Err(why) => Answer::Warning(why.into()),
    }
}

const NO_CHECK: &str = "health checks are not enabled on this server";

fn check_port_number(word: &str) -> Result<u16, &'static str> {
    let number: i64 = word
        .parse()
        .map_err(|_| "provided port is not an integer")?;
    u16::try_from(number).map_err(|_| "provided port is invalid")
}

/// `fqdn <name>`: a new name is resolved by a `resolvers` section, of which there are none yet.
pub(super) fn fqdn(words: &[String]) -> Answer {
    if words.first().is_none_or(String::is_empty) {
        return Answer::error("set server <b>/<s> fqdn requires a FQDN.");
    }
    Answer::error("set server <b>/<s> fqdn failed because no resolution is configured.")
}

/// What a server without an agent answers to `agent`, `agent-addr`, `agent-port` and `agent-send`.
pub(super) fn without_agent(what: &str, words: &[String]) -> Answer {
    let given = words.first().is_some_and(|word| !word.is_empty());
    match what {
        "agent-addr" if !given => Answer::error(
            "set server <b>/<s> agent-addr requires an address and optionally a port.",
        ),
        "agent-port" if !given => Answer::error("set server <b>/<s> agent-port requires a port."),
        "agent-addr" | "agent-port" => Answer::error("agent checks are not enabled on this server"),
        _ => Answer::error("agent checks are not enabled on this server."),
    }
}
