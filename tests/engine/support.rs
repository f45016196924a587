//! A balancer of a few shards in threads of the test, before an echo server.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ringway::config::*;
use ringway::lang::source::{FileId, Span};
use ringway::proxy::logs::LogOutputs;
use ringway::shard::{PollerKind, ShardSetup};
use ringway::shared::{Message, Phase, Shared};

const SPAN: Span = Span {
    file: FileId(0),
    line: 1,
    col: 0,
    len: 0,
};

/// Runs `test` over io_uring and over epoll.
pub(crate) fn both_pollers(test: impl Fn(PollerKind)) {
    test(PollerKind::IoUring);
    test(PollerKind::Epoll);
}

pub(crate) struct World {
    pub(crate) address: SocketAddr,
    pub(crate) shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

fn reuseport_listener(address: SocketAddr) -> OwnedFd {
    let socket =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.set_reuse_address(true).expect("reuse address");
    socket.set_reuse_port(true).expect("reuse port");
    socket.bind(&address.into()).expect("bound");
    socket.listen(128).expect("listening");
    socket.into()
}

impl World {
    /// Before a server that echoes.
    pub(crate) fn echo(poller: PollerKind, shards: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let to = listener.local_addr().expect("its number");
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream: TcpStream = stream.expect("accepted");
                std::thread::spawn(move || {
                    let mut buffer = vec![0; 1 << 16];
                    while let Ok(n) = stream.read(&mut buffer) {
                        if n == 0 || stream.write_all(&buffer[..n]).is_err() {
                            break;
                        }
                    }
                });
            }
        });
        Self::new(poller, shards, to, |_| {})
    }

    pub(crate) fn new(
        poller: PollerKind,
        shards: usize,
        to: SocketAddr,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let first = reuseport_listener("127.0.0.1:0".parse().expect("an address"));
        let first = socket2::Socket::from(first);
        let address = first
            .local_addr()
            .expect("bound")
            .as_socket()
            .expect("of IP");
        let mut config = config(address, to);
        change(&mut config);
        let logs = LogOutputs::open(&config);
        let shared = Arc::new(Shared::new(Arc::new(config), shards));
        let mut listeners: Vec<OwnedFd> = vec![first.into()];
        listeners.extend((1..shards).map(|_| reuseport_listener(address)));
        let threads = listeners
            .into_iter()
            .enumerate()
            .map(|(index, fd)| {
                let setup = ShardSetup {
                    index,
                    cpus: Vec::new(),
                    shared: Arc::clone(&shared),
                    poller,
                    listeners: vec![(BindId(0), fd)],
                    pipes: Vec::new(),
                    pipes_max: 16,
                    logs: logs.clone(),
                    facts: Default::default(),
                };
                std::thread::spawn(move || ringway::shard::run(setup).expect("the shard runs"))
            })
            .collect();
        Self {
            address,
            shared,
            threads,
        }
    }

    /// Waits until no connection is left, and checks that every gauge came back to zero.
    pub(crate) fn expect_idle(&self) {
        let until = Instant::now() + Duration::from_secs(5);
        while self.shared.process.connections.load(Relaxed) > 0 {
            assert!(Instant::now() < until, "connections are left");
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(self.shared.frontends[0].connections.load(Relaxed), 0);
        assert_eq!(self.shared.sum(|s| &s.backends[0].current), 0);
        assert_eq!(self.shared.server_connections(ServerId(0)), 0);
        assert!(
            self.shared
                .shards
                .iter()
                .all(|s| s.connections.load(Relaxed) == 0)
        );
    }

    /// Soft stop: every thread ends by itself.
    pub(crate) fn stop(self) {
        self.shared.process.set_phase(Phase::SoftStop);
        self.shared.hint_all(|| Message::Phase);
        for thread in self.threads {
            thread.join().expect("no shard panicked");
        }
    }
}

fn config(address: SocketAddr, to: SocketAddr) -> Config {
    let proxy = ProxyId(0);
    Config {
        global: Global {
            maxconn: Some(10_000),
            ..Global::default()
        },
        proxies: vec![Proxy {
            name: "relay".into(),
            iid: 2,
            frontend: Some(FrontendId(0)),
            backend: Some(BackendId(0)),
            mode: Mode::Tcp,
            disabled: false,
            description: None,
            http: Default::default(),
            span: SPAN,
        }]
        .into(),
        frontends: vec![Frontend {
            name: "relay".into(),
            proxy,
            mode: Mode::Tcp,
            disabled: false,
            binds: vec![BindId(0)],
            maxconn: 0,
            rate_limit_sessions: 0,
            timeout_client_ms: Some(30_000),
            timeout_client_fin_ms: None,
            default_backend: Some(BackendId(0)),
            monitor_net: None,
            tcpka: KeepAlive::default(),
            independent_streams: false,
            dontlognull: false,
            dontlog_normal: false,
            logasap: false,
            log_separate_errors: false,
            socket_stats: false,
            tcp_smart_accept: false,
            log_format: LogFormat::Tcp,
            log: Vec::new(),
            log_tag: None,
            splice_request: Splice::Earned,
            splice_response: Splice::Earned,
            grace_ms: None,
            span: SPAN,
        }]
        .into(),
        backends: vec![Backend {
            name: "relay".into(),
            proxy,
            mode: Mode::Tcp,
            disabled: false,
            servers: vec![ServerId(0)],
            balance: Balance::RoundRobin,
            hash_type: HashType::default(),
            hash_balance_factor: 0,
            hash_affinity: Affinity::Always,
            retries: 3,
            redispatch: Redispatch(0),
            dispatch: None,
            transparent: false,
            fullconn: 1000,
            timeout_connect_ms: Some(5000),
            timeout_server_ms: Some(30_000),
            timeout_server_fin_ms: None,
            timeout_tunnel_ms: None,
            timeout_queue_ms: Some(5000),
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
            span: SPAN,
        }]
        .into(),
        servers: vec![Server {
            address_remembered: false,
            socks4: None,
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
            name: "s1".into(),
            backend: BackendId(0),
            puid: 1,
            address: ServerAddress::Ip {
                ip: to.ip(),
                port: ServerPort::Fixed(to.port()),
            },
            host_text: to.ip().to_string(),
            weight: 1,
            backup: false,
            disabled: false,
            check: None,
            maxconn: 0,
            minconn: 0,
            maxqueue: 0,
            slowstart_ms: 0,
            send_proxy: None,
            source: None,
            track: None,
            tcp_ut_ms: None,
            tfo: false,
            span: SPAN,
        }]
        .into(),
        vars: Vec::new(),
        asked: Default::default(),
        files: Default::default(),
        guids: Default::default(),
        stats_file: Default::default(),
        userlists: Vec::new().into(),
        binds: vec![Bind {
            frontend: FrontendId(0),
            address: BindAddress::Ip(address),
            name: None,
            luid: 1,
            backlog: 128,
            maxconn: 0,
            accept_proxy: false,
            transparent: false,
            interface: None,
            mode: None,
            uid: None,
            gid: None,
            v4v6: false,
            v6only: false,
            defer_accept: false,
            tfo: false,
            mss: None,
            tcp_ut_ms: None,
            shards: None,
            threads: Vec::new(),
            nice: 0,
            span: SPAN,
        }]
        .into(),
        lists: Arc::default(),
        server_states: Vec::new(),
    }
}
