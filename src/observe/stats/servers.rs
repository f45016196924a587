//! `show servers state`, in the format of haproxy's server state file (management.txt 9.3, version
//! 1), and `show servers conn`.

use std::io::Write;
use std::sync::atomic::Ordering::Relaxed;

use super::{Dump, PIECE_BYTES, View};
use crate::backend::server;
use crate::config::{BackendId, Server, ServerAddress, ServerId, ServerPort};
use crate::shared::ServerCell;
use crate::shared::server_cell::admin;

const STATE_HEADER: &str = "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state \
    srv_uweight srv_iweight srv_time_since_last_change srv_check_status srv_check_result srv_check_health \
    srv_check_state srv_agent_state bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl \
    srv_check_port srv_check_addr srv_agent_addr srv_agent_port\n";

/// Which of the two lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum List {
    State,
    Connections,
}

/// A `show servers …` under way.
#[derive(Debug)]
pub struct ServersDump {
    list: List,
    only: Option<BackendId>,
    /// The next server: its backend, and its place there.
    backend: usize,
    server: usize,
    started: bool,
}

impl ServersDump {
    /// Of one backend, or of all.
    pub fn new(list: List, only: Option<BackendId>) -> Self {
        Self {
            list,
            only,
            backend: 0,
            server: 0,
            started: false,
        }
    }
}

impl Dump for ServersDump {
    fn more(&mut self, view: &View<'_>, out: &mut Vec<u8>) -> bool {
        if !self.started {
            self.started = true;
            match self.list {
                List::State => out.extend_from_slice(STATE_HEADER.as_bytes()),
                List::Connections => push_connections_header(view, out),
            }
        }
        let until = out.len() + PIECE_BYTES;
        let config = &view.shared.config;
        while let Some(backend) = config.backends.get(self.backend) {
            if out.len() >= until {
                return true;
            }
            let disabled = config.proxy(backend.proxy).disabled;
            let meant = self.only.is_none_or(|only| only.index() == self.backend);
            let Some(&id) = backend
                .servers
                .get(self.server)
                .filter(|_| meant && !disabled)
            else {
                (self.backend, self.server) = (self.backend + 1, 0);
                continue;
            };
            self.server += 1;
            match self.list {
                List::State => push_state(view, id, out),
                List::Connections => push_connections(view, id, out),
            }
        }
        false
    }
}

fn push_state(view: &View<'_>, id: ServerId, out: &mut Vec<u8>) {
    let (config, cell) = (view.shared.config.server(id), view.shared.server(id));
    let backend = view.shared.config.backend(config.backend);
    let iid = view.shared.config.proxy(backend.proxy).iid;
    let (address, port) = address(config, cell);
    let since = (view.since(cell.changed_ms.load(Relaxed)) + cell.before_ms.load(Relaxed)) / 1000;
    let (status, result, health, state) = check_numbers(config, cell);
    let name = match &config.address {
        ServerAddress::Unresolved { name, .. } => name.as_str(),
        ServerAddress::Ip { .. } if config.host_text.parse::<std::net::IpAddr>().is_err() => {
            named(&config.host_text)
        }
        _ => "-",
    };
    let (check_addr, check_port) = config
        .check
        .as_ref()
        .map_or((None, 0), |check| server::probed(view.shared, id, check));
    let asked = cell.check_port.load(Relaxed);
    let check_port = if i32::from(check_port) == port {
        asked
    } else {
        check_port
    };
    let check_addr = check_addr.map_or_else(|| "-".into(), |a| a.to_string());
    let forced = u8::from(config.id_written);
    // haproxy's bits: 2 there is one, 4 it is asked, 16 it is an agent.
    let agent_state = match &config.agent {
        None => 0,
        Some(_) if cell.agent_off.load(Relaxed) => 18,
        Some(_) => 22,
    };
    let (agent_addr, agent_port) = config.agent.as_ref().map_or((None, 0), |agent| {
        server::agent_place(view.shared, id, agent)
    });
    let agent_addr = agent_addr.map_or_else(|| "-".into(), |a| a.to_string());
    writeln!(
        out,
        "{iid} {} {} {} {address} {} {} {} {} {since} {status} {result} {health} {state} {agent_state} 0 {forced} {name} \
         {port} - 0 {check_port} {check_addr} {agent_addr} {agent_port}",
        backend.name,
        config.puid,
        config.name,
        cell.op() as u8,
        cell.admin(),
        cell.weight(),
        config.weight,
    )
    .expect("a vector takes every byte");
}

/// The name in an address as written (`web1:80`); `-` if it holds none.
fn named(written: &str) -> &str {
    let host = written.rsplit_once(':').map_or(written, |(host, _)| host);
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let is_name = bare.parse::<std::net::IpAddr>().is_err()
        && bare.starts_with(|c: char| c.is_ascii_alphanumeric());
    if is_name && !host.contains('@') {
        host
    } else {
        "-"
    }
}

/// Address and port; `-` and 0 where there is none.
fn address(server: &Server, cell: &ServerCell) -> (String, i32) {
    let port = |port: &ServerPort| match port {
        ServerPort::Fixed(port) => i32::from(*port),
        ServerPort::Mapped(offset) => *offset,
    };
    match &*cell.place.or(&server.address) {
        ServerAddress::Ip { ip, port: p } => (ip.to_string(), port(p)),
        ServerAddress::Unresolved { port: p, .. } => ("-".into(), port(p)),
        ServerAddress::Unix(_) | ServerAddress::Abns(_) => ("-".into(), 0),
    }
}

/// haproxy's numbers for the last check: status, result, health, state.
///
/// Status: 0 unknown, 1 initialising, 6 and up by layer. Result: 0 unknown, 2 failed, 3 passed.
/// State: 2 configured, 4 enabled, 8 paused by maintenance.
fn check_numbers(server: &Server, cell: &ServerCell) -> (u8, u8, i32, u8) {
    // What begins in maintenance has nothing that could pause.
    let paused = if cell.admin() & admin::MAINT == 0 || cell.fresh.load(Relaxed) {
        0
    } else {
        8
    };
    let health = cell.health.load(Relaxed).max(0);
    let status = cell.last_check.lock().map_or("", |last| last.status);
    let number = match status {
        "UNK" => 0,
        "HANA" => 3,
        "SOCKERR" => 4,
        "L4OK" => 6,
        "L4TOUT" => 7,
        "L4CON" => 8,
        "L6OK" => 9,
        "L6TOUT" => 10,
        "L6RSP" => 11,
        "L7TOUT" => 12,
        "L7RSP" => 13,
        "L7OK" => 15,
        "L7OKC" => 16,
        "L7STS" => 17,
        "PROCERR" => 18,
        "PROCTOUT" => 19,
        "PROCOK" => 20,
        _ => 1,
    };
    let result = match status {
        "" => 0,
        "L4OK" | "L6OK" | "L7OK" | "PROCOK" => 3,
        "L7OKC" => 4,
        _ => 2,
    };
    if server.check.is_none() {
        // 'set server … health' keeps a health for them as well, which haproxy 3.4 does not show.
        return (number, result, 0, paused);
    }
    let state = if cell.checks_off.load(Relaxed) { 2 } else { 6 };
    (number, result, health, state | paused)
}

fn push_connections_header(view: &View<'_>, out: &mut Vec<u8>) {
    writeln!(
        out,
        "# bkname/svname bkid/svid addr port - purge_delay served used_cur used_max need_est idle_sess unsafe_nb \
         safe_nb idle_lim idle_cur idle_per_thr[{}]",
        view.shared.shards.len()
    )
    .expect("a vector takes every byte");
}

/// Idle connections do not exist in TCP: their columns are 0, without a limit.
fn push_connections(view: &View<'_>, id: ServerId, out: &mut Vec<u8>) {
    let (config, cell) = (view.shared.config.server(id), view.shared.server(id));
    let backend = view.shared.config.backend(config.backend);
    let iid = view.shared.config.proxy(backend.proxy).iid;
    let (address, port) = address(config, cell);
    let current = view.shared.server_connections(id);
    let most = cell.current_max.load(Relaxed);
    write!(
        out,
        "{}/{} {iid}/{} {address} {port} - 5000 {current} {current} {most} {most} 0 0 0 -1 0",
        backend.name, config.name, config.puid
    )
    .expect("a vector takes every byte");
    for _ in 0..view.shared.shards.len() {
        out.extend_from_slice(b" 0");
    }
    out.push(b'\n');
}
