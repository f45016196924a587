//! The world outside the shards: clients, servers, the wire and the clock.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use ringway::base::tick::Tick;
use ringway::config::*;
use ringway::io::engine::{Engine, Limits};
use ringway::io::kernel::Errno;
use ringway::io::sim::{Answer, Net, Random, SimKernel};
use ringway::lang::source::{FileId, Span};
use ringway::proto::proxy_header::{self, Parse};
use ringway::proxy::logs::LogOutputs;
use ringway::shard::Shard;
use ringway::shared::{Message, Phase, Shared};

const FRONT: u16 = 1000;
const BACK: u16 = 2000;
const SPAN: Span = Span {
    file: FileId(0),
    line: 1,
    col: 0,
    len: 0,
};
const TIMEOUT_MS: u32 = 20_000;
/// `timeout client-fin`, where it is given.
const SHORTEST_TIMEOUT_MS: u32 = 5000;

/// What is broken on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    LoseAByte,
    KeepAPlace,
}

/// One end outside: a client, or a server's side of a connection.
#[derive(Debug)]
struct End {
    fd: RawFd,
    /// Position in the stream it sends and in the one it receives; byte i of stream s is `content(s, i)`.
    stream: u64,
    sent: u64,
    to_send: u64,
    got: u64,
    /// Stream of the other side, once known from its first byte.
    peer_stream: Option<u64>,
    finished_sending: bool,
    saw_eof: bool,
    broken: bool,
    /// Reads nothing for now.
    stalled: bool,
    /// PROXY header still to be sent before the stream.
    header: Vec<u8>,
    /// A PROXY header comes before the other side's stream; what came of it so far.
    awaits_header: bool,
    header_got: Vec<u8>,
}

fn content(stream: u64, at: u64) -> u8 {
    if at < 8 {
        return (stream >> (at * 8)) as u8;
    }
    (stream.wrapping_mul(31).wrapping_add(at * 7) % 251) as u8
}

impl End {
    fn new(fd: RawFd, stream: u64, to_send: u64) -> Self {
        Self {
            fd,
            stream,
            sent: 0,
            to_send,
            got: 0,
            peer_stream: None,
            finished_sending: false,
            saw_eof: false,
            broken: false,
            stalled: false,
            header: Vec::new(),
            awaits_header: false,
            header_got: Vec::new(),
        }
    }

    /// What is left of `bytes` after the PROXY header, if one is due.
    fn without_header(&mut self, bytes: Vec<u8>) -> Vec<u8> {
        if !self.awaits_header {
            return bytes;
        }
        self.header_got.extend(bytes);
        match proxy_header::parse(&self.header_got).expect("a header comes first") {
            Parse::Partial => Vec::new(),
            Parse::Done(_, used) => {
                self.awaits_header = false;
                self.header_got.split_off(used)
            }
        }
    }
}

pub(crate) struct World {
    random: Random,
    net: Rc<RefCell<Net>>,
    shards: Vec<Shard<SimKernel>>,
    alive: Vec<bool>,
    shared: Arc<Shared>,
    ends: Vec<End>,
    /// First bytes of each stream, to tell who is on the other side.
    heads: BTreeMap<u64, usize>,
    servers: usize,
    clients_left: usize,
    next_stream: u64,
    fault: Fault,
    pub(crate) relayed: u64,
    paused_once: bool,
}

impl World {
    pub(crate) fn new(seed: u64, fault: Fault) -> Self {
        let mut random = Random::new(seed ^ 0x5eed);
        let shard_count = 1 + random.below(8);
        let servers = 1 + random.below(4);
        let config = config(&mut random, servers);
        let logs = LogOutputs::open(&config);
        let shared = Arc::new(Shared::new(Arc::new(config), shard_count));
        let net = Net::new(seed, shard_count);
        if random.chance(20) {
            net.borrow_mut().fd_limit = 20 + random.below(60);
        }
        net.borrow_mut().slots_per_pipe = 1 + random.below(20);
        let multishot = random.chance(50);
        let limits = Limits {
            buffer: [64, 1024, 16_384][random.below(3)],
            memory: [4096, 100_000, 10 << 20][random.below(3)],
            pipe_size: 1 << 20,
            pipes: random.below(6),
            copy_per_turn: 65_536,
            stream_per_turn: 1 << (10 + random.below(10)),
            socks: 100_000,
        };
        let shards = (0..shard_count)
            .map(|index| {
                let kernel = SimKernel::new(&net, index, multishot);
                let engine = Engine::new(kernel, limits, Vec::new());
                let bell = net.borrow().bell(index);
                shared.shards[index]
                    .bell
                    .install(move || bell.store(true, SeqCst));
                let logs = logs.shard(&shared, index);
                let mut shard =
                    Shard::new(Arc::clone(&shared), index, engine, logs, Tick(1000), seed);
                let fd = net.borrow_mut().listen(FRONT);
                shard.add_listener_fd(BindId(0), fd);
                shard
            })
            .collect();
        for server in 0..servers {
            net.borrow_mut()
                .answer(BACK + server as u16, Answer::Accept);
        }
        let clients_left = 5 + random.below(40);
        Self {
            random,
            net,
            alive: vec![true; shard_count],
            shards,
            shared,
            ends: Vec::new(),
            heads: BTreeMap::new(),
            servers,
            clients_left,
            next_stream: 1,
            fault,
            relayed: 0,
            paused_once: false,
        }
    }

    /// Lives through the seed's events, then lets everything come to its end and takes stock.
    pub(crate) fn run(&mut self) {
        for shard in &mut self.shards {
            shard.start();
        }
        for _ in 0..4000 {
            self.step(false);
            if self.clients_left == 0 && self.ends.is_empty() {
                break;
            }
        }
        self.wind_down();
        self.take_stock();
    }

    fn step(&mut self, calm: bool) {
        match self.random.below(10) {
            0 if !calm => self.new_client(),
            1 | 2 => self.take_server_connections(),
            3 | 4 => self.deliver(),
            5 if !calm => self.mischief(),
            5..=7 => self.ends_act(calm),
            _ => self.turn(),
        }
        self.check_limits();
    }

    fn new_client(&mut self) {
        if self.clients_left == 0 {
            return;
        }
        self.clients_left -= 1;
        let fd = self.net.borrow_mut().client(FRONT);
        if let Some(fd) = fd {
            self.add_end(fd);
            if self.shared.config.binds[0].accept_proxy {
                let end = self.ends.last_mut().expect("just added");
                end.header = b"PROXY TCP4 192.0.2.1 192.0.2.2 40000 443\r\n".to_vec();
            }
        }
    }

    fn add_end(&mut self, fd: RawFd) {
        let stream = self.next_stream;
        self.next_stream += 1;
        let size = [0, 1, 9, 500, 20_000, 300_000][self.random.below(6)];
        let to_send = self.random.below(size + 1) as u64;
        self.heads.insert(stream, self.ends.len());
        self.ends.push(End::new(fd, stream, to_send));
    }

    fn take_server_connections(&mut self) {
        for server in 0..self.servers {
            let arrived = self.net.borrow_mut().take_arrived(BACK + server as u16);
            if let Some(fd) = arrived {
                self.add_end(fd);
                let end = self.ends.last_mut().expect("just added");
                end.awaits_header = self.shared.config.servers[server].send_proxy.is_some();
            }
        }
    }

    fn deliver(&mut self) {
        let busy = self.net.borrow().busy_wires();
        if !busy.is_empty() {
            let fd = busy[self.random.below(busy.len())];
            self.net.borrow_mut().deliver(fd);
        }
    }

    fn mischief(&mut self) {
        match self.random.below(40) {
            0 => {
                let server = BACK + self.random.below(self.servers) as u16;
                let answer = [Answer::Accept, Answer::Refuse, Answer::Silent][self.random.below(3)];
                self.net.borrow_mut().answer(server, answer);
            }
            1 => {
                // A jump of the clock.
                let jump = self.random.below(10_000) as u64;
                self.net.borrow_mut().now += jump;
            }
            2 | 3 if !self.ends.is_empty() => {
                let end = self.random.below(self.ends.len());
                let fd = self.ends[end].fd;
                self.net.borrow_mut().outside_close(fd, true);
                self.ends[end].broken = true;
                self.forget(end);
            }
            4 => {
                let server = ServerId(self.random.below(self.servers) as u32);
                let weight = self.random.below(3) as u32;
                self.shared.server(server).set_weight(weight);
                self.shared.bump(BackendId(0));
            }
            5 if self.random.chance(20) => {
                self.paused_once = true;
                self.shared.process.set_phase(Phase::Paused);
                self.shared.hint_all(|| Message::Phase);
                for index in 0..self.shards.len() {
                    self.turn_of(index);
                }
                self.shared.process.set_phase(Phase::Running);
                self.shared.hint_all(|| Message::Phase);
            }
            6..=9 if !self.ends.is_empty() => {
                let end = self.random.below(self.ends.len());
                self.ends[end].stalled ^= true;
            }
            10 if self.random.chance(20) => {
                // A full mailbox: hints are lost, and connections stay where they were accepted.
                let to = self.random.below(self.shards.len());
                while self.shared.send(to, Message::State).is_ok() {}
            }
            _ => {
                let small = self.random.below(50) as u64;
                self.net.borrow_mut().now += small;
            }
        }
    }

    fn ends_act(&mut self, calm: bool) {
        if self.ends.is_empty() {
            return;
        }
        let index = self.random.below(self.ends.len());
        if self.random.chance(50) || calm {
            self.send_some(index);
        }
        if index < self.ends.len() && (calm || !self.ends[index].stalled) {
            self.read_some(index);
        }
    }

    fn send_some(&mut self, index: usize) {
        let end = &mut self.ends[index];
        if end.finished_sending {
            return;
        }
        if !end.header.is_empty() {
            let most = 1 + self.random.below(end.header.len());
            let result = self
                .net
                .borrow_mut()
                .outside_send(end.fd, &end.header[..most]);
            match result {
                Ok(n) => drop(end.header.drain(..n)),
                Err(errno) if errno.would_block() => {}
                Err(_) => {
                    (end.finished_sending, end.broken) = (true, true);
                    self.maybe_done(index);
                }
            }
            return;
        }
        if end.sent == end.to_send {
            end.finished_sending = true;
            let fd = end.fd;
            self.net.borrow_mut().outside_fin(fd);
            self.maybe_done(index);
            return;
        }
        let most = (end.to_send - end.sent).min(1 + self.random.below(30_000) as u64);
        let bytes: Vec<u8> = (end.sent..end.sent + most)
            .map(|at| content(end.stream, at))
            .collect();
        let result = self.net.borrow_mut().outside_send(end.fd, &bytes);
        match result {
            Ok(n) => self.ends[index].sent += n as u64,
            Err(errno) if errno.would_block() => {}
            Err(_) => {
                // The other side takes no more; what it said may still come.
                let end = &mut self.ends[index];
                (end.finished_sending, end.broken) = (true, true);
                self.maybe_done(index);
            }
        }
    }

    fn read_some(&mut self, index: usize) {
        let max = 1 + self.random.below(20_000);
        let fd = self.ends[index].fd;
        let result = self.net.borrow_mut().outside_recv(fd, max);
        match result {
            Ok(bytes) if bytes.is_empty() => {
                self.ends[index].saw_eof = true;
                self.check_complete(index);
                self.maybe_done(index);
            }
            Ok(bytes) => {
                let bytes = self.ends[index].without_header(bytes);
                if !bytes.is_empty() {
                    self.check_bytes(index, &bytes);
                }
            }
            Err(errno) if errno.would_block() => {}
            Err(Errno(_)) => {
                self.ends[index].broken = true;
                self.net.borrow_mut().outside_close(fd, false);
                self.forget(index);
            }
        }
    }

    /// Every byte is the one the other side sent at that place.
    fn check_bytes(&mut self, index: usize, bytes: &[u8]) {
        let end = &mut self.ends[index];
        let skip = self.fault == Fault::LoseAByte && end.got > 100;
        for byte in &bytes[usize::from(skip)..] {
            if end.got < 8 {
                let known = end.peer_stream.get_or_insert(0);
                *known |= u64::from(*byte) << (end.got * 8);
            } else {
                let stream = end.peer_stream.expect("known after eight bytes");
                assert_eq!(
                    *byte,
                    content(stream, end.got),
                    "byte {} of stream {stream}",
                    end.got
                );
            }
            end.got += 1;
        }
        self.relayed += bytes.len() as u64;
    }

    /// An end in good order means that everything the other side sent has come, if it ended in good order too.
    fn check_complete(&self, index: usize) {
        let end = &self.ends[index];
        let Some(stream) = end.peer_stream.filter(|_| end.got >= 8) else {
            return;
        };
        if let Some(&other) = self.heads.get(&stream)
            && let Some(other) = self.ends.get(other).filter(|o| o.stream == stream)
            && other.finished_sending
            && !other.broken
        {
            // A timeout of ours may cut a stream; then the other side's bytes were never all taken.
            if other.sent == other.to_send && end.got != other.sent {
                assert!(
                    self.may_have_timed_out(),
                    "{} of {} bytes of stream {stream}",
                    end.got,
                    other.sent
                );
            }
        }
    }

    /// Whether so much time passed that a deadline of a relaying session may have cut it.
    fn may_have_timed_out(&self) -> bool {
        self.net.borrow().now >= 1000 + u64::from(SHORTEST_TIMEOUT_MS)
    }

    fn maybe_done(&mut self, index: usize) {
        let end = &self.ends[index];
        if end.finished_sending && end.saw_eof {
            let fd = end.fd;
            self.net.borrow_mut().outside_close(fd, false);
            self.forget(index);
        }
    }

    fn forget(&mut self, index: usize) {
        let gone = self.ends.swap_remove(index);
        self.heads.remove(&gone.stream);
        if let Some(moved) = self.ends.get(index) {
            self.heads.insert(moved.stream, index);
        }
    }

    fn turn(&mut self) {
        let index = self.random.below(self.shards.len());
        self.turn_of(index);
    }

    fn turn_of(&mut self, index: usize) {
        if self.alive[index] {
            self.alive[index] = self.shards[index].turn();
            if !self.alive[index] {
                self.shards[index].end();
            }
        }
    }

    /// Limits are never exceeded, at any moment.
    fn check_limits(&mut self) {
        let process = &self.shared.process;
        if self.shared.phase() == Phase::Running {
            let limit = process.maxconn.load(Relaxed);
            // Draining a backlog on pause may pass the limit; nobody is cut off for it.
            if !self.paused_once {
                assert!(
                    process.connections.load(Relaxed) <= limit,
                    "maxconn of the process"
                );
            }
        }
        for local in self.shards.iter().map(|shard| &shard.local) {
            // One each, and the one of every second.
            let owners = local.relays.len() + local.probes.len() + local.listeners.len() + 1;
            assert!(local.timers.len() <= owners, "timers pile up");
        }
        for (index, server) in self.shared.config.servers.iter().enumerate() {
            if server.maxconn > 0 {
                let places = self.shared.servers[index].places.load(Relaxed);
                let row = self.shared.server_connections(ServerId(index as u32));
                assert!(places <= server.maxconn, "maxconn of {}", server.name);
                assert!(row <= server.maxconn, "connections of {}", server.name);
            }
        }
    }

    fn wind_down(&mut self) {
        for server in 0..self.servers {
            self.net
                .borrow_mut()
                .answer(BACK + server as u16, Answer::Accept);
            self.shared.server(ServerId(server as u32)).set_weight(1);
        }
        self.shared.bump(BackendId(0));
        self.net.borrow_mut().fd_limit = usize::MAX;
        for round in 0..200_000 {
            self.step(true);
            for index in 0..self.shards.len() {
                self.turn_of(index);
            }
            let busy = self.net.borrow().busy_wires();
            for fd in busy {
                self.net.borrow_mut().deliver(fd);
            }
            self.take_server_connections();
            for index in (0..self.ends.len()).rev() {
                if index < self.ends.len() {
                    self.send_some(index);
                }
                if index < self.ends.len() {
                    self.read_some(index);
                }
            }
            let quiet = self.ends.is_empty() && self.shared.process.connections.load(Relaxed) == 0;
            if quiet && self.shared.phase() == Phase::Running && round > 20 {
                self.shared.process.set_phase(Phase::SoftStop);
                self.shared.hint_all(|| Message::Phase);
            }
            if self.alive.iter().all(|alive| !alive) {
                return;
            }
            // Nothing moves by itself any more: let time pass.
            if round % 50 == 49 {
                self.net.borrow_mut().now += 500;
            }
        }
        let waiting: Vec<_> = self.shards.iter().map(|s| s.local.relays.len()).collect();
        panic!(
            "does not come to an end: relays {waiting:?}, {} ends, {:?}",
            self.ends.len(),
            self.shared.process
        );
    }

    fn take_stock(&mut self) {
        if self.fault == Fault::KeepAPlace {
            self.shared.process.connections.fetch_add(1, SeqCst);
        }
        let process = &self.shared.process;
        assert_eq!(
            process.connections.load(Relaxed),
            0,
            "places of the process"
        );
        assert_eq!(
            self.shared.frontends[0].connections.load(Relaxed),
            0,
            "places of the frontend"
        );
        assert_eq!(
            self.shared.sum(|s| &s.backends[0].current),
            0,
            "sessions of the backend"
        );
        for server in 0..self.servers {
            assert_eq!(
                self.shared.server_connections(ServerId(server as u32)),
                0,
                "row of server {server}"
            );
            assert_eq!(
                self.shared.servers[server].places.load(Relaxed),
                0,
                "places of server {server}"
            );
            assert_eq!(
                self.shared.servers[server].queued.load(Relaxed),
                0,
                "queue of server {server}"
            );
        }
        assert_eq!(
            self.shared.backends[0].queued_total.load(Relaxed),
            0,
            "queue of the backend"
        );
        for shard in &self.shards {
            assert_eq!(
                shard.local.relays.len(),
                0,
                "slots of shard {}",
                shard.local.shard
            );
            assert_eq!(
                shard.engine.held(),
                (0, 0),
                "buffers and pipes of shard {}",
                shard.local.shard
            );
            assert_eq!(
                shard.engine.socks(),
                0,
                "sockets of shard {}",
                shard.local.shard
            );
            assert_eq!(shard.local.cells().connections.load(Relaxed), 0);
        }
        assert_eq!(self.net.borrow().held_by_shards(), 0, "descriptors");
        assert_eq!(self.net.borrow().listeners_open(), 0, "listeners");
        let opened = self.shared.sum(|s| &s.frontends[0].connections);
        let accepted = self.shared.sum(|s| &s.activity.accepted);
        assert!(
            opened >= accepted,
            "{opened} sessions of {accepted} accepted"
        );
    }
}

fn check(port: u16) -> Check {
    Check {
        inter_ms: 700,
        fastinter_ms: None,
        downinter_ms: None,
        rise: 1,
        fall: 2,
        addr: None,
        port,
        send_proxy: None,
        via_socks4: false,
    }
}

fn config(random: &mut Random, servers: usize) -> Config {
    let balance = [
        Balance::RoundRobin,
        Balance::LeastConn,
        Balance::StaticRr,
        Balance::First,
        Balance::Random(2),
        Balance::Source,
    ];
    let mut config = Config {
        global: Global {
            maxconn: Some([3, 20, 10_000][random.below(3)]),
            ..Global::default()
        },
        ..Config::default()
    };
    let splice = [Splice::Earned, Splice::Always, Splice::Never][random.below(3)];
    config.proxies.push(Proxy {
        name: "relay".into(),
        iid: 2,
        frontend: Some(FrontendId(0)),
        backend: Some(BackendId(0)),
        mode: Mode::Tcp,
        disabled: false,
        description: None,
        http: Default::default(),
        span: SPAN,
    });
    config.frontends.push(Frontend {
        name: "relay".into(),
        proxy: ProxyId(0),
        mode: Mode::Tcp,
        disabled: false,
        binds: vec![BindId(0)],
        maxconn: [0, 2, 15][random.below(3)],
        rate_limit_sessions: [0, 0, 5][random.below(3)],
        timeout_client_ms: Some(TIMEOUT_MS),
        timeout_client_fin_ms: [None, Some(SHORTEST_TIMEOUT_MS)][random.below(2)],
        default_backend: Some(BackendId(0)),
        monitor_net: None,
        tcpka: KeepAlive::default(),
        independent_streams: random.chance(30),
        dontlognull: false,
        dontlog_normal: false,
        logasap: false,
        log_separate_errors: false,
        socket_stats: false,
        tcp_smart_accept: false,
        log_format: LogFormat::Tcp,
        log: Vec::new(),
        log_tag: None,
        splice_request: splice,
        splice_response: splice,
        grace_ms: None,
        span: SPAN,
    });
    config.backends.push(Backend {
        name: "relay".into(),
        proxy: ProxyId(0),
        mode: Mode::Tcp,
        disabled: false,
        servers: (0..servers as u32).map(ServerId).collect(),
        balance: balance[random.below(balance.len())].clone(),
        hash_type: HashType::default(),
        hash_balance_factor: 0,
        hash_affinity: Affinity::Always,
        retries: random.below(4) as u32,
        redispatch: Redispatch([0, -1, 1][random.below(3)]),
        dispatch: None,
        transparent: false,
        fullconn: 10,
        timeout_connect_ms: Some(2000),
        timeout_server_ms: Some(TIMEOUT_MS),
        timeout_server_fin_ms: None,
        timeout_tunnel_ms: None,
        timeout_queue_ms: Some(3000),
        timeout_check_ms: None,
        check: CheckKind::TcpConnect,
        source: None,
        tcpka: KeepAlive::default(),
        independent_streams: random.chance(30),
        allbackups: false,
        abortonclose: random.chance(30),
        tcp_smart_connect: false,
        log_health_checks: false,
        splice_request: splice,
        splice_response: splice,
        log: Vec::new(),
        log_tag: None,
        template: Default::default(),
        span: SPAN,
    });
    for index in 0..servers {
        let maxconn = [0, 1, 3][random.below(3)];
        config.servers.push(Server {
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
            name: format!("s{index}"),
            backend: BackendId(0),
            puid: index as u32 + 1,
            address: ServerAddress::Ip {
                ip: std::net::Ipv4Addr::LOCALHOST.into(),
                port: ServerPort::Fixed(BACK + index as u16),
            },
            host_text: "127.0.0.1".into(),
            weight: 1,
            backup: false,
            disabled: false,
            check: random.chance(40).then(|| check(BACK + index as u16)),
            maxconn,
            minconn: 0,
            maxqueue: [0, 0, 2][random.below(3)],
            slowstart_ms: 0,
            send_proxy: [None, None, Some(ProxyProtocol::V1), Some(ProxyProtocol::V2)]
                [random.below(4)],
            source: None,
            track: None,
            tcp_ut_ms: None,
            tfo: false,
            span: SPAN,
        });
    }
    config.binds.push(Bind {
        frontend: FrontendId(0),
        address: BindAddress::Ip(std::net::SocketAddr::new(
            std::net::Ipv4Addr::LOCALHOST.into(),
            FRONT,
        )),
        name: None,
        luid: 1,
        backlog: 1 + random.below(100) as u32,
        maxconn: 0,
        accept_proxy: random.chance(25),
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
    });
    config
}
