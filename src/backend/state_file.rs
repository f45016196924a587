//! `server-state-file`: what `show servers state` wrote before a reload is how the servers begin
//! (configuration.txt `load-server-state-from-file`; management.txt, format version 1).
//!
//! Names tell which server a line is about. Taken over are the administrative state, the operational one with the
//! time it has lasted, the weight where the file's initial weight is still the configuration's, and the port. The
//! address stays the configuration's, as in haproxy.

use std::sync::atomic::Ordering::*;

use super::change::{self, Change};
use crate::base::tick::Tick;
use crate::config::{BackendId, ServerAddress, ServerId, ServerPort};
use crate::shared::Shared;
use crate::shared::server_cell::{OpState, admin};

/// Fields of a line.
const FIELDS: usize = 25;

/// What a line says, as far as it is taken over.
struct Line<'a> {
    backend: &'a str,
    server: &'a str,
    op: Result<OpState, &'a str>,
    admin: Result<u8, &'a str>,
    weight: u32,
    initial: u32,
    since_s: u64,
    port: u16,
}

impl<'a> Line<'a> {
    /// `None`: a comment, or no line of such a file.
    fn read(text: &'a str) -> Option<Self> {
        if text.starts_with('#') {
            return None;
        }
        let cells: Vec<&str> = text.split_ascii_whitespace().collect();
        if cells.len() < FIELDS {
            return None;
        }
        let known = admin::MAINT | admin::DRAIN | admin::CMAINT;
        let both = admin::FMAINT | admin::FDRAIN;
        Some(Self {
            backend: cells[1],
            server: cells[3],
            op: match cells[5] {
                "0" => Ok(OpState::Stopped),
                "1" => Ok(OpState::Starting),
                "2" => Ok(OpState::Running),
                "3" => Ok(OpState::Stopping),
                other => Err(other),
            },
            admin: match cells[6].parse::<u8>() {
                Ok(bits) if bits & !known == 0 && bits & both != both => Ok(bits),
                _ => Err(cells[6]),
            },
            weight: cells[7].parse().ok()?,
            initial: cells[8].parse().ok()?,
            since_s: cells[9].parse().ok()?,
            port: cells[18].parse().unwrap_or(0),
        })
    }
}

/// Is it a file of the one version there is?
pub fn has_version(text: &str) -> bool {
    text.lines().next().is_some_and(|line| line.trim() == "1")
}

/// Gives the servers of these backends the states in the file, before the shards start. What is to be said about it.
pub fn apply(shared: &Shared, backends: &[BackendId], text: &str, now: Tick) -> Vec<String> {
    let mut said = Vec::new();
    for line in text.lines().skip(1).filter_map(Line::read) {
        let config = &shared.config;
        let server = backends
            .iter()
            .map(|&id| config.backend(id))
            .filter(|backend| backend.name == line.backend)
            .flat_map(|backend| &backend.servers)
            .find(|&&id| config.server(id).name == line.server);
        let Some(&id) = server else { continue };
        let name = format!("{}/{}", line.backend, line.server);
        match (line.op, line.admin) {
            (Err(value), _) => said.push(format!(
                "server-state application failed for server '{name}', invalid srv_op_state value '{value}'"
            )),
            (_, Err(value)) => said.push(format!(
                "server-state application failed for server '{name}', invalid srv_admin_state value '{value}'"
            )),
            (Ok(op), Ok(bits)) => {
                let change = begin_as(shared, id, &line, op, bits, now);
                said.extend(change.lines.iter().map(|line| line.on_stderr(config).1));
            }
        }
    }
    said
}

fn begin_as(
    shared: &Shared,
    id: ServerId,
    line: &Line<'_>,
    op: OpState,
    bits: u8,
    now: Tick,
) -> Change {
    let (server, cell) = (shared.config.server(id), shared.server(id));
    if let ServerAddress::Ip {
        ip,
        port: ServerPort::Fixed(port),
    } = server.address
        && line.port != 0
        && line.port != port
    {
        cell.place.set(ip, ServerPort::Fixed(line.port));
    }
    if line.initial == server.weight && line.weight <= 256 {
        cell.set_weight(line.weight);
    }
    let mut change = Change::default();
    let mut add = |more: Change| change.lines.extend(more.lines);
    if server.disabled && bits & (admin::CMAINT | admin::FMAINT) == admin::CMAINT {
        // The file disabled it then, too, and an operator had enabled it since.
        add(change::set_ready(shared, id, now));
    }
    if server.track.is_none() {
        add(change::restore(shared, id, op, now));
    }
    add(change::restore_admin(shared, id, bits, now));
    cell.before_ms
        .store(line.since_s.saturating_mul(1000), Relaxed);
    change
}
