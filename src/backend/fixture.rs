//! Backends for tests, without a configuration file.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use crate::config::CheckKind;
use crate::config::model::*;
use crate::lang::source::{FileId, Span};
use crate::shared::Shared;

const NOWHERE: Span = Span {
    file: FileId(0),
    line: 0,
    col: 0,
    len: 0,
};

/// A server as most tests want it: weight 1, no limit, not checked.
pub(crate) fn server(name: &str, puid: u32) -> Server {
    Server {
        cookie: None,
        redir: None,
        pool_max: None,
        pool_low: 0,
        pool_purge_ms: 5000,
        max_reuse: None,
        watch: Watch::default(),
        agent: None,
        pinned: Default::default(),
        id_written: false,
        added: false,
        name: name.into(),
        backend: BackendId(0),
        puid,
        address: ServerAddress::Ip {
            ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: ServerPort::Fixed(80),
        },
        host_text: "127.0.0.1".into(),
        address_remembered: false,
        weight: 1,
        backup: false,
        disabled: false,
        check: None,
        maxconn: 0,
        minconn: 0,
        maxqueue: 0,
        slowstart_ms: 0,
        send_proxy: None,
        socks4: None,
        source: None,
        track: None,
        tcp_ut_ms: None,
        tfo: false,
        span: NOWHERE,
    }
}

/// A process with one server, checked with `rise 2 fall 3`, that is watched like this.
pub(crate) fn checked(watch: Watch) -> Shared {
    let check = Check {
        inter_ms: 1000,
        fastinter_ms: None,
        downinter_ms: None,
        rise: 2,
        fall: 3,
        addr: None,
        port: 80,
        send_proxy: None,
        via_socks4: false,
    };
    let server = Server {
        check: Some(check),
        watch,
        ..server("s", 1)
    };
    shared(vec![(backend("b", Balance::RoundRobin), vec![server])], 1)
}

/// Servers s1, s2, … of these weights.
pub(crate) fn weighted(weights: &[u32]) -> Vec<Server> {
    let make = |(i, &weight): (usize, &u32)| {
        let n = u32::try_from(i + 1).expect("few");
        Server {
            weight,
            ..server(&format!("s{n}"), n)
        }
    };
    weights.iter().enumerate().map(make).collect()
}

pub(crate) fn backend(name: &str, balance: Balance) -> Backend {
    Backend {
        name: name.into(),
        proxy: ProxyId(0),
        mode: Mode::Tcp,
        disabled: false,
        servers: Vec::new(),
        balance,
        hash_type: HashType::default(),
        hash_balance_factor: 0,
        hash_affinity: Affinity::Always,
        retries: 3,
        redispatch: Redispatch(0),
        dispatch: None,
        transparent: false,
        fullconn: 100,
        timeout_connect_ms: None,
        timeout_server_ms: None,
        timeout_server_fin_ms: None,
        timeout_tunnel_ms: None,
        timeout_queue_ms: None,
        timeout_check_ms: None,
        check: CheckKind::TcpConnect,
        source: None,
        tcpka: KeepAlive::default(),
        independent_streams: false,
        allbackups: false,
        abortonclose: false,
        tcp_smart_connect: false,
        log_health_checks: false,
        splice_request: Splice::Earned,
        splice_response: Splice::Earned,
        log: Vec::new(),
        log_tag: None,
        template: Default::default(),
        span: NOWHERE,
    }
}

/// One process of these backends.
pub(crate) fn shared(backends: Vec<(Backend, Vec<Server>)>, shards: usize) -> Shared {
    let mut config = Config::default();
    for (mut backend, servers) in backends {
        let id = BackendId(u32::try_from(config.backends.len()).expect("few"));
        for server in servers {
            backend
                .servers
                .push(ServerId(u32::try_from(config.servers.len()).expect("few")));
            config.servers.push(Server {
                backend: id,
                ..server
            });
        }
        backend.proxy = ProxyId(id.0);
        config.proxies.push(Proxy {
            name: backend.name.clone(),
            iid: id.0 + 2,
            frontend: None,
            backend: Some(id),
            mode: backend.mode,
            disabled: false,
            description: None,
            http: Default::default(),
            span: NOWHERE,
        });
        config.backends.push(backend);
    }
    Shared::new(Arc::new(config), shards)
}
