//! The HTTP driver over the simulated engine: an input says what a client and a server send, and when.
//!
//! Bytes of the input: the configuration, then steps. A step is its kind and a length of two bytes, and for the
//! kinds that send as many bytes as it says. Whatever happens, everything is given back at the end.

use std::cell::RefCell;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::LazyLock;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use ringway::base::tick::Tick;
use ringway::config::{BindId, Config, Input, LoadInputs, load};
use ringway::io::engine::{Engine, Limits};
use ringway::io::sim::{Answer, Net, SimKernel};
use ringway::proxy::logs::LogOutputs;
use ringway::shard::Shard;
use ringway::shared::{Message, Phase, Shared};

const FRONT: u16 = 1000;
const BACK: u16 = 2000;

const HEAD: &str = "defaults
 mode http
 timeout connect 1s
 timeout client 5s
 timeout server 5s
 timeout http-request 2s
 timeout http-keep-alive 2s
 timeout queue 1s
";

static CONFIGS: LazyLock<Vec<Arc<Config>>> = LazyLock::new(|| {
    [
        "listen l\n bind :1000\n server s 127.0.0.1:2000\n",
        "listen l\n bind :1000\n http-reuse always\n retry-on all-retryable-errors\n option abortonclose
 option forwardfor\n cookie S insert indirect nocache\n server s 127.0.0.1:2000 cookie s0 maxconn 1\n",
        "listen l\n bind :1000 accept-proxy\n option http-buffer-request\n option httpclose
 cookie S prefix\n http-request set-header a %[req.hdr(b),lower]\n http-request deny if { path_beg /d }
 http-request redirect location /x if { path_end /r }\n http-response replace-header c (.*) x\\1
 http-request wait-for-body time 1s at-least 20
 http-response wait-for-body time 1s at-least 30 if { capture.req.uri -m beg /w }\n http-response pause 10ms if { capture.req.uri -m beg /w }
 http-response set-header l %[res.body_len]\n server s 127.0.0.1:2000 cookie s0\n",
        "listen l\n bind :1000\n option accept-invalid-http-request\n option accept-invalid-http-response
 option http-server-close\n option splice-request\n option splice-response\n cookie S rewrite
 monitor-uri /m\n stats uri /s\n http-request replace-path /a(.*) /b\\1\n http-request normalize-uri path-merge-slashes
 http-request early-hint link x if { path_beg /h }\n http-request tarpit if { path_beg /t }
 http-request return status 200 content-type a/b lf-string %[path] if { path_beg /q }\n server s 127.0.0.1:2000 cookie s0\n",
    ]
    .iter()
    .map(|text| {
        let inputs = LoadInputs {
            inputs: vec![Input::Text {
                name: "fuzz".to_owned(),
                bytes: format!("{HEAD}{text}").into_bytes(),
            }],
            ..LoadInputs::default()
        };
        let loaded = load(&inputs);
        Arc::new(loaded.config.unwrap_or_else(|| panic!("{:?}", loaded.diags)))
    })
    .collect()
});

struct Scene {
    net: Rc<RefCell<Net>>,
    shared: Arc<Shared>,
    shard: Shard<SimKernel>,
    alive: bool,
    clients: Vec<RawFd>,
    servers: Vec<RawFd>,
}

impl Scene {
    fn new(which: usize, seed: u64) -> Self {
        let config = Arc::clone(&CONFIGS[which % CONFIGS.len()]);
        let logs = LogOutputs::open(&config);
        let shared = Arc::new(Shared::new(config, 1));
        let net = Net::new(seed, 1);
        net.borrow_mut().answer(BACK, Answer::Accept);
        let limits = Limits {
            buffer: [512, 16_384][(seed % 2) as usize],
            memory: 10 << 20,
            pipes: (seed % 3) as usize,
            ..Limits::default()
        };
        let engine = Engine::new(SimKernel::new(&net, 0, true), limits, Vec::new());
        let bell = net.borrow().bell(0);
        shared.shards[0]
            .bell
            .install(move || bell.store(true, SeqCst));
        let logs = logs.shard(&shared, 0);
        let mut shard = Shard::new(Arc::clone(&shared), 0, engine, logs, Tick(1000), seed);
        let fd = net.borrow_mut().listen(FRONT);
        shard.add_listener_fd(BindId(0), fd);
        shard.start();
        Self {
            net,
            shared,
            shard,
            alive: true,
            clients: Vec::new(),
            servers: Vec::new(),
        }
    }

    fn settle(&mut self) {
        for _ in 0..3 {
            let busy = self.net.borrow().busy_wires();
            for fd in busy {
                self.net.borrow_mut().deliver(fd);
            }
            if self.alive {
                self.alive = self.shard.turn();
                if !self.alive {
                    self.shard.end();
                }
            }
            while let Some(fd) = self.net.borrow_mut().take_arrived(BACK) {
                self.servers.push(fd);
            }
        }
        // Both ends read all that comes, and say nothing of it.
        for fd in self.clients.iter().chain(&self.servers) {
            while let Ok(bytes) = self.net.borrow_mut().outside_recv(*fd, 65_536)
                && !bytes.is_empty()
            {}
        }
    }

    fn step(&mut self, kind: u8, length: usize, bytes: &[u8]) {
        let mut net = self.net.borrow_mut();
        let client = self.clients.last().copied();
        let server = self.servers.last().copied();
        match kind % 10 {
            0..=2 => {
                let fd = client.or_else(|| net.client(FRONT));
                if let Some(fd) = fd {
                    if client.is_none() {
                        self.clients.push(fd);
                    }
                    let _ = net.outside_send(fd, bytes);
                }
            }
            3..=5 => {
                if let Some(fd) = server {
                    let _ = net.outside_send(fd, bytes);
                }
            }
            6 => {
                if let Some(fd) = if length.is_multiple_of(2) {
                    client
                } else {
                    server
                } {
                    net.outside_fin(fd);
                }
            }
            7 => {
                let list = if length.is_multiple_of(2) {
                    &mut self.clients
                } else {
                    &mut self.servers
                };
                if let Some(fd) = list.pop() {
                    net.outside_close(fd, length % 4 < 2);
                }
            }
            8 => net.now += (length % 3000) as u64,
            _ => {
                if self.clients.len() < 4
                    && let Some(fd) = net.client(FRONT)
                {
                    self.clients.push(fd);
                }
            }
        }
    }

    /// Lets everything come to its end; how many answers of servers passed.
    fn end(mut self) -> u64 {
        for fd in self.clients.drain(..).collect::<Vec<_>>() {
            self.net.borrow_mut().outside_close(fd, false);
        }
        self.shared.process.set_phase(Phase::SoftStop);
        self.shared.hint_all(|| Message::Phase);
        for round in 0..3000 {
            self.settle();
            for fd in &self.servers {
                self.net.borrow_mut().outside_fin(*fd);
            }
            if !self.alive {
                break;
            }
            if round % 5 == 4 {
                self.net.borrow_mut().now += 400;
            }
        }
        assert!(!self.alive, "does not come to an end");
        let shared = &self.shared;
        assert_eq!(shared.sum(|s| &s.activity.panics), 0, "a driver panicked");
        assert_eq!(shared.process.connections.load(Relaxed), 0, "places");
        assert_eq!(
            shared.sum(|s| &s.backends[0].current),
            0,
            "sessions of the backend"
        );
        assert_eq!(
            shared.servers[0].places.load(Relaxed),
            0,
            "places of the server"
        );
        assert_eq!(shared.sum(|s| &s.servers[0].idle), 0, "idle connections");
        assert_eq!(
            shared.sum(|s| &s.listeners[0].current),
            0,
            "sessions of the bind"
        );
        assert_eq!(self.shard.local.sessions.len(), 0, "sessions");
        assert_eq!(self.shard.local.pool.len(), 0, "idle");
        assert_eq!(self.shard.engine.held(), (0, 0), "buffers and pipes");
        assert_eq!(self.shard.engine.socks(), 0, "sockets");
        assert_eq!(self.net.borrow().held_by_shards(), 0, "descriptors");
        shared.sum(|s| &s.servers[0].responses[2])
    }
}

/// One input.
pub(crate) fn run(data: &[u8]) {
    play(data);
}

/// One input; how many 2xx of servers it brought about.
pub(crate) fn play(data: &[u8]) -> u64 {
    let Some((first, mut rest)) = data.split_first() else {
        return 0;
    };
    let mut scene = Scene::new(usize::from(*first & 7), u64::from(*first >> 3));
    for _ in 0..64 {
        let [kind, low, high, after @ ..] = rest else {
            break;
        };
        let length = usize::from(u16::from_le_bytes([*low, *high]));
        let sends = kind % 10 < 6;
        let n = if sends { length.min(after.len()) } else { 0 };
        scene.step(*kind, length, &after[..n]);
        rest = &after[n..];
        scene.settle();
    }
    scene.end()
}
