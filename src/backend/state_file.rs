//! `server-state-file`: what `show servers state` wrote before a reload is how the servers begin
//! (configuration.txt `load-server-state-from-file`; management.txt, format version 1).
//!
//! Names tell which server a line is about; it counts as a whole or not at all. Taken over are the administrative state,
//! the operational one with the time it has lasted, the weight where the file's initial weight is still the
//! configuration's, the port, the last check's result, whether checks and agent are on, and where both go. The address
//! stays the configuration's, unless that is a name with `init-addr last`. All as haproxy 2.6.12 does it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::Ordering::*;

use super::change::{self, Change};
use crate::base::tick::Tick;
use crate::config::{BackendId, ServerAddress, ServerId, ServerPort};
use crate::shared::Shared;
use crate::shared::server_cell::{LastCheck, OpState, admin};

/// Fields of a line.
const FIELDS: usize = 25;

/// What a line says, as far as it is taken over.
struct Line<'a> {
    op: OpState,
    admin: u8,
    weight: u32,
    initial: u32,
    since_s: u64,
    /// Short name of the last check's status.
    status: &'static str,
    checks_off: bool,
    agent_off: bool,
    port: u16,
    address: &'a str,
    check: Probed<'a>,
    agent: Probed<'a>,
}

/// Where a kind of probes goes: `-` and 0 where the file says nothing.
#[derive(Clone, Copy)]
struct Probed<'a> {
    addr: &'a str,
    port: &'a str,
}

/// Names of the statuses by haproxy's numbers; those that are nobody's result are empty.
const STATUSES: [&str; 21] = [
    "", "", "", "HANA", "SOCKERR", "", "L4OK", "L4TOUT", "L4CON", "L6OK", "L6TOUT", "L6RSP",
    "L7TOUT", "L7RSP", "", "L7OK", "L7OKC", "L7STS", "PROCERR", "PROCTOUT", "PROCOK",
];
/// Highest number of a result, and bits of the state of checks: one is there, it is on.
const RESULTS: usize = 4;
const THERE: usize = 2;
const ON: usize = 4;
const STATE_BITS: usize = 0x1f;
/// In maintenance since the name no longer resolves to it (haproxy's mark, not kept).
const HMAINT: u8 = 0x40;

impl<'a> Line<'a> {
    /// The fields of one server, or what is wrong with them.
    fn read(cells: &[&'a str]) -> Result<Self, String> {
        let mut wrong = Vec::new();
        let op = match cells[5] {
            "0" => Some(OpState::Stopped),
            "1" => Some(OpState::Starting),
            "2" => Some(OpState::Running),
            "3" => Some(OpState::Stopping),
            _ => None,
        };
        if op.is_none() {
            wrong.push(("srv_op_state", cells[5]));
        }
        let known = admin::MAINT | admin::DRAIN | admin::CMAINT | HMAINT;
        let both = admin::FMAINT | admin::FDRAIN;
        let bits = cells[6].parse::<u8>().ok();
        let bits = bits.filter(|bits| bits & !known == 0 && bits & both != both);
        if bits.is_none() {
            wrong.push(("srv_admin_state", cells[6]));
        }
        let mut number = |at: usize, name: &'static str, most: usize| {
            let number = cells[at].parse::<usize>().ok().filter(|n| *n <= most);
            if number.is_none() {
                wrong.push((name, cells[at]));
            }
            number.unwrap_or(0)
        };
        let weight = number(7, "srv_uweight", 256);
        let initial = number(8, "srv_iweight", 256);
        let status = number(10, "srv_check_status", STATUSES.len() - 1);
        number(11, "srv_check_result", RESULTS);
        number(12, "srv_check_health", usize::MAX);
        let check = number(13, "srv_check_state", STATE_BITS);
        let agent = number(14, "srv_agent_state", STATE_BITS);
        let is_off = |state: usize| state & THERE != 0 && state & ON == 0;
        match (op, bits) {
            (Some(op), Some(admin)) if wrong.is_empty() => Ok(Self {
                op,
                admin,
                weight: weight as u32,
                initial: initial as u32,
                since_s: cells[9].parse().unwrap_or(0),
                status: STATUSES[status],
                checks_off: is_off(check),
                agent_off: is_off(agent),
                port: cells[18].parse().unwrap_or(0),
                address: cells[4],
                check: Probed {
                    addr: cells[22],
                    port: cells[21],
                },
                agent: Probed {
                    addr: cells[23],
                    port: cells[24],
                },
            }),
            _ => {
                let each = wrong
                    .iter()
                    .map(|(name, value)| format!("invalid {name} value '{value}'"));
                Err(each.collect::<Vec<_>>().join(", "))
            }
        }
    }
}

impl Probed<'_> {
    /// Address and port, where they are given.
    fn read(self) -> Result<(Option<IpAddr>, Option<u16>), String> {
        let port = match self.port.parse::<i64>() {
            Ok(0) => None,
            Err(_) => return Err("provided port is not an integer".to_owned()),
            Ok(port) => {
                Some(u16::try_from(port).map_err(|_| "provided port is invalid".to_owned())?)
            }
        };
        match self.addr {
            "-" => Ok((None, port)),
            text => match text.parse() {
                Ok(ip) => Ok((Some(ip), port)),
                Err(_) => Err(format!("invalid addr '{text}'")),
            },
        }
    }

    fn is_empty(self) -> bool {
        self.addr == "-" && self.port == "0"
    }
}

/// Is it a file of the one version there is?
pub fn has_version(text: &str) -> bool {
    text.lines().next().is_some_and(|line| line.trim() == "1")
}

/// Words of each line that is one, and its number as haproxy counts: from the version on, which is 0.
fn lines(text: &str) -> impl Iterator<Item = (usize, Vec<&str>)> {
    let numbered = text.lines().enumerate().skip(1);
    numbered
        .map(|(number, line)| (number, line.split_ascii_whitespace().collect::<Vec<_>>()))
        .filter(|(_, cells)| cells.first().is_some_and(|first| !first.starts_with('#')))
}

/// The first line with too few fields: nothing of such a file counts.
pub fn corrupted_at(text: &str) -> Option<usize> {
    lines(text)
        .find(|(_, cells)| cells.len() < FIELDS)
        .map(|(number, _)| number)
}

/// Gives the servers of these backends the states in the file, before the shards start. What is to be said about it.
pub fn apply(shared: &Shared, backends: &[BackendId], text: &str, now: Tick) -> Vec<String> {
    let mut known = HashMap::new();
    for (_, cells) in lines(text).filter(|(_, cells)| cells.len() >= FIELDS) {
        known.insert((cells[1], cells[3]), cells);
    }
    let config = &shared.config;
    let mut said = Vec::new();
    for &back in backends {
        let backend = config.backend(back);
        for &id in &backend.servers {
            let name = &config.server(id).name;
            let Some(cells) = known.get(&(backend.name.as_str(), name.as_str())) else {
                continue;
            };
            let whole = format!("'{}/{name}'", backend.name);
            match Line::read(cells) {
                Err(wrong) => said.push(format!(
                    "server-state application failed for server {whole}, {wrong}"
                )),
                Ok(line) => {
                    let change = begin_as(shared, id, &line, now);
                    said.extend(change.lines.iter().map(|line| line.on_stderr(config).1));
                    if let Err(why) = send_probes(shared, id, &line) {
                        said.push(format!(
                            "server-state partially applied for server {whole}, {why}"
                        ));
                    }
                }
            }
        }
    }
    said
}

/// Where checks and agent go, and whether they are on.
fn send_probes(shared: &Shared, id: ServerId, line: &Line<'_>) -> Result<(), String> {
    let (server, cell) = (shared.config.server(id), shared.server(id));
    cell.checks_off
        .store(line.checks_off && server.check.is_some(), Relaxed);
    cell.agent_off
        .store(line.agent_off && server.agent.is_some(), Relaxed);
    if !line.check.is_empty() {
        if server.check.is_none() || line.checks_off {
            return Err("health checks are not enabled on this server".to_owned());
        }
        let (addr, port) = line.check.read()?;
        change::set_check_place(shared, id, addr, port);
    }
    if line.agent.addr != "-" || server.agent.is_some() && !line.agent.is_empty() {
        if server.agent.is_none() || line.agent_off {
            return Err("agent checks are not enabled on this server".to_owned());
        }
        let (addr, port) = line.agent.read()?;
        change::set_agent_place(shared, id, addr, port);
    }
    Ok(())
}

fn begin_as(shared: &Shared, id: ServerId, line: &Line<'_>, now: Tick) -> Change {
    let (server, cell) = (shared.config.server(id), shared.server(id));
    let port = match server.address {
        ServerAddress::Ip { port, .. } | ServerAddress::Unresolved { port, .. } => match port {
            ServerPort::Fixed(_) if line.port != 0 => Some(ServerPort::Fixed(line.port)),
            own => Some(own),
        },
        ServerAddress::Unix(_) | ServerAddress::Abns(_) => None,
    };
    let remembered = line
        .address
        .parse()
        .ok()
        .filter(|_| server.address_remembered);
    match (&server.address, port, remembered) {
        (_, Some(port), Some(ip)) if !IpAddr::is_unspecified(&ip) => {
            let _: Change = change::set_address(shared, id, ip, port, now);
        }
        (ServerAddress::Ip { ip, port: own }, Some(port), _) if port != *own => {
            cell.place.set(*ip, port);
        }
        _ => {}
    }
    if let Ok(mut last) = cell.last_check.lock() {
        *last = LastCheck {
            status: line.status,
            ..LastCheck::default()
        };
    }
    if line.initial == server.weight && line.weight <= 256 {
        cell.set_weight(line.weight);
    }
    let mut change = Change::default();
    let mut add = |more: Change| change.lines.extend(more.lines);
    let mut bits = line.admin;
    if bits & admin::CMAINT != 0 && !server.disabled {
        // The file disabled it then, and does not any more.
        bits &= !admin::FMAINT;
    }
    if server.disabled && bits & (admin::CMAINT | admin::FMAINT) == admin::CMAINT {
        // The file disabled it then, too, and an operator had enabled it since.
        add(change::set_ready(shared, id, now));
    }
    if server.track.is_none() {
        add(change::restore(shared, id, line.op, now));
    }
    add(change::restore_admin(shared, id, bits, now));
    cell.before_ms
        .store(line.since_s.saturating_mul(1000), Relaxed);
    change
}
