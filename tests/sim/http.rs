//! HTTP sessions in a world of their own: clients that send requests in pieces, pipeline, abort and stall;
//! servers that answer in every form, early, cut, or not at all; one to four shards between them.
//!
//! Every body is made from the number of its request, and every response names it, so a byte in the wrong
//! place and a response given to another request are seen at once. Both ends read with a reader of their own.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use ringway::base::tick::Tick;
use ringway::config::{BackendId, BindId, Config, Input, LoadInputs, ServerId, load};
use ringway::io::engine::{Engine, Limits};
use ringway::io::sim::{Answer, Net, Random, SimKernel};
use ringway::proxy::logs::LogOutputs;
use ringway::shard::Shard;
use ringway::shared::{Message, Phase, Shared};

const FRONT: u16 = 1000;
const BACK: u16 = 2000;
const PROXY_LINE: &[u8] = b"PROXY TCP4 192.0.2.1 192.0.2.2 40000 443\r\n";

/// What happens, where `RINGWAY_TRACE` is set.
macro_rules! trace {
    ($($what:tt)*) => {
        if std::env::var_os("RINGWAY_TRACE").is_some() {
            eprintln!($($what)*);
        }
    };
}

/// What is broken on purpose, in the world's view of things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    KeepAPlace,
    /// A server answers a request with the response of the one before.
    Mix,
    /// A byte of a response is not the one that was sent.
    LoseAByte,
    /// A request reaches its server once more than was sent.
    SendAgain,
    /// A request is sent over a connection on which an earlier response was not read yet.
    Unread,
}

/// How much goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    /// Everything that can.
    Wild,
    /// Nothing: every request has its whole answer, and reaches a server once.
    Calm,
    /// Nothing but so many drivers that panic.
    Panics(u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Length,
    Chunked,
    UntilClose,
    /// 204 or 304, or the answer to HEAD.
    Bare(u16),
}

/// What the server does beside answering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Twist {
    None,
    /// The answer comes before the body of the request was read.
    Early,
    /// Interim answers come first.
    Interim,
    /// Ends the connection after its answer.
    Close,
    /// Both directions become streams.
    Upgrade,
    /// The answer stops in the middle; by FIN or by RST.
    Cut(bool),
    /// The connection ends without an answer.
    Hangup(bool),
    Garbage,
    /// Bytes nobody asked for follow the answer.
    Extra,
    Silent,
}

/// One request, and what its server is to do.
#[derive(Clone, Debug)]
struct Plan {
    method: &'static str,
    /// Bytes of its body, and their form.
    body: u64,
    chunked: bool,
    old: bool,
    close: bool,
    size: u64,
    form: Form,
    twist: Twist,
    /// How often a server saw its head; and whether one sent its whole answer.
    seen: u32,
    done: bool,
    refused: bool,
}

fn content(id: usize, at: u64) -> u8 {
    b'a' + ((id as u64).wrapping_mul(31).wrapping_add(at * 7 + at / 251) % 26) as u8
}
fn body(id: usize, size: u64) -> Vec<u8> {
    (0..size).map(|at| content(id, at)).collect()
}

/// A body as it is read, whatever its form.
#[derive(Debug)]
enum Left {
    Length(u64),
    /// In a line of framing; in a chunk with so many bytes left; behind it; in the trailers.
    Line,
    Chunk(u64),
    Behind,
    Trailers,
    UntilClose,
}

fn line(inbox: &mut Vec<u8>) -> Option<String> {
    let at = inbox.windows(2).position(|w| w == b"\r\n")?;
    let line = String::from_utf8_lossy(&inbox[..at]).into_owned();
    inbox.drain(..at + 2);
    Some(line)
}

/// Takes what came of the body; true at its end.
fn read_body(left: &mut Left, inbox: &mut Vec<u8>, id: usize, got: &mut u64) -> bool {
    loop {
        let most = match left {
            Left::Length(n) | Left::Chunk(n) => *n,
            Left::UntilClose => u64::MAX,
            Left::Line => {
                let Some(line) = line(inbox) else {
                    return false;
                };
                let digits = line.split(';').next().expect("split gives one");
                let size = u64::from_str_radix(digits.trim(), 16);
                let size = size.unwrap_or_else(|_| panic!("a chunk size '{line}'"));
                *left = if size == 0 {
                    Left::Trailers
                } else {
                    Left::Chunk(size)
                };
                continue;
            }
            Left::Behind => {
                let Some(line) = line(inbox) else {
                    return false;
                };
                assert_eq!(line, "", "behind a chunk");
                *left = Left::Line;
                continue;
            }
            Left::Trailers => match line(inbox) {
                None => return false,
                Some(line) if line.is_empty() => return true,
                Some(_) => continue,
            },
        };
        let n = most.min(inbox.len() as u64);
        for byte in inbox.drain(..n as usize) {
            assert_eq!(
                byte as char,
                content(id, *got) as char,
                "byte {got} of body {id}"
            );
            *got += 1;
        }
        match left {
            Left::Length(rest) => {
                *rest -= n;
                return *rest == 0;
            }
            Left::Chunk(rest) => {
                *rest -= n;
                if *rest > 0 {
                    return false;
                }
                *left = Left::Behind;
            }
            _ => return false,
        }
    }
}

struct Head {
    first: String,
    fields: Vec<(String, String)>,
}

impl Head {
    fn take(inbox: &mut Vec<u8>) -> Option<Self> {
        let end = inbox.windows(4).position(|w| w == b"\r\n\r\n")?;
        let text = String::from_utf8_lossy(&inbox[..end]).into_owned();
        inbox.drain(..end + 4);
        let mut lines = text.split("\r\n");
        let first = lines.next().expect("split gives one").to_owned();
        let fields = lines
            .map(|line| {
                let (name, value) = line.split_once(':').expect("a field has a colon");
                (name.to_ascii_lowercase(), value.trim().to_owned())
            })
            .collect();
        Some(Self { first, fields })
    }
    fn get(&self, name: &str) -> Option<&str> {
        let mut found = self.fields.iter().filter(|f| f.0 == name);
        let value = found.next().map(|f| f.1.as_str());
        assert!(found.next().is_none(), "{name} comes once");
        value
    }
    fn id(&self) -> Option<usize> {
        self.get("x-id")
            .map(|id| id.parse().expect("a number was written"))
    }
    /// The form of its body.
    fn form(&self) -> Option<Left> {
        let length = self.get("content-length");
        match self.get("transfer-encoding") {
            Some(coding) => {
                assert_eq!(coding, "chunked");
                assert!(length.is_none(), "both framings");
                Some(Left::Line)
            }
            None => length.map(|n| Left::Length(n.parse().expect("a number"))),
        }
    }
}

#[derive(Debug)]
struct Client {
    fd: RawFd,
    out: VecDeque<u8>,
    inbox: Vec<u8>,
    /// To be sent; sent and not answered yet.
    planned: VecDeque<usize>,
    waiting: VecDeque<usize>,
    pipelines: bool,
    /// The body of the answer to the first of `waiting`: its rest, what came of it, whose it is.
    reading: Option<(Left, u64, Option<usize>)>,
    tunnel: Option<(usize, u64, u64)>,
    /// The last answer said that it is the last.
    last: bool,
    fin: bool,
    stalled: bool,
    /// Neither reads nor writes any more; deadlines are to end it.
    dead: bool,
    /// It left before its answers, or cut a request.
    spoilt: bool,
}

#[derive(Debug)]
struct Origin {
    fd: RawFd,
    out: VecDeque<u8>,
    inbox: Vec<u8>,
    header: bool,
    request: Option<(usize, Option<Left>, u64)>,
    /// The answer to this one is being written.
    answering: Option<usize>,
    end: End,
    tunnel: Option<(usize, u64, u64)>,
    eof: bool,
    fin: bool,
    before: Option<usize>,
    dirty: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Keep,
    Fin,
    Reset,
}

pub(crate) struct HttpWorld {
    random: Random,
    net: Rc<RefCell<Net>>,
    shards: Vec<Shard<SimKernel>>,
    alive: Vec<bool>,
    shared: Arc<Shared>,
    /// The configuration, to be shown with a failure.
    text: String,
    plans: Vec<Plan>,
    clients: Vec<Client>,
    origins: Vec<Origin>,
    clients_left: usize,
    fault: Fault,
    mood: Mood,
    began: u64,
    /// Clients of a calm world whose answers were cut.
    cut: u32,
    /// An operator ended sessions of a server.
    killed: bool,
    panics_left: u32,
    faults_left: u32,
    winding: bool,
    accept_proxy: bool,
    send_proxy: bool,
    /// Most times that one request may be sent: with a body or an effect; one that may be repeated.
    sends: (u32, u32),
    /// Responses that came whole.
    pub(crate) whole: u64,
    pub(crate) panics: u64,
}

impl HttpWorld {
    pub(crate) fn new(seed: u64, fault: Fault, mood: Mood) -> Self {
        let mut random = Random::new(seed ^ 0x477);
        let calm = mood != Mood::Wild;
        let shard_count = 1 + random.below(4);
        let servers = 1 + random.below(3);
        let (accept_proxy, send_proxy) = (random.chance(15), random.chance(15));
        let settings = Settings::new(&mut random, calm, accept_proxy, send_proxy, servers);
        let config = config(settings.text.clone());
        let logs = LogOutputs::open(&config);
        let shared = Arc::new(Shared::new(Arc::new(config), shard_count));
        let net = Net::new(seed, shard_count);
        if !calm && random.chance(15) {
            net.borrow_mut().fd_limit = 25 + random.below(60);
        }
        net.borrow_mut().slots_per_pipe = 1 + random.below(20);
        let multishot = random.chance(50);
        let limits = Limits {
            buffer: [256, 1024, 16_384][random.below(3)],
            memory: if calm {
                10 << 20
            } else {
                [65_536, 10 << 20][random.below(2)]
            },
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
        Self {
            clients_left: 3 + random.below(15),
            random,
            net,
            alive: vec![true; shard_count],
            shards,
            shared,
            text: settings.text,
            plans: Vec::new(),
            clients: Vec::new(),
            origins: Vec::new(),
            fault,
            mood,
            began: 1000,
            cut: 0,
            killed: false,
            panics_left: if let Mood::Panics(n) = mood { n } else { 0 },
            faults_left: 1,
            winding: false,
            accept_proxy,
            send_proxy,
            sends: settings.sends,
            whole: 0,
            panics: 0,
        }
    }

    fn calm(&self) -> bool {
        self.mood != Mood::Wild
    }
    fn servers(&self) -> usize {
        self.shared.config.servers.len()
    }

    pub(crate) fn run(&mut self) {
        for shard in &mut self.shards {
            shard.start();
        }
        for _ in 0..3000 {
            self.step();
            if self.clients_left == 0 && self.clients.is_empty() {
                break;
            }
        }
        self.wind_down();
        self.take_stock();
    }

    fn step(&mut self) {
        match self.random.below(12) {
            0 => self.new_client(),
            1 => self.take_connections(),
            2 | 3 => self.deliver(),
            4 if !self.calm() => self.mischief(),
            4 if self.panics_left > 0 && self.random.chance(30) => {
                self.panics_left -= 1;
                self.shared.process.panics_wanted.fetch_add(1, SeqCst);
            }
            4..=6 if !self.clients.is_empty() => {
                let index = self.random.below(self.clients.len());
                if !self.clients[index].stalled {
                    self.client_acts(index);
                }
            }
            7 | 8 if !self.origins.is_empty() => {
                let index = self.random.below(self.origins.len());
                self.origin_acts(index);
            }
            _ => {
                let index = self.random.below(self.shards.len());
                self.turn_of(index);
            }
        }
        self.check_limits();
    }

    // ------------------------------------------------------------ plans

    fn plan(&mut self) -> usize {
        let r = &mut self.random;
        let calm = self.mood != Mood::Wild;
        let size = |r: &mut Random| {
            let most = [0, 1, 40, 900, 20_000, 120_000][r.below(6)];
            r.below(most + 1) as u64
        };
        let method = ["GET", "GET", "GET", "HEAD", "POST", "POST", "PUT"][r.below(7)];
        let with_body = matches!(method, "POST" | "PUT");
        let old = r.chance(10);
        let mut form = [Form::Length, Form::Length, Form::Chunked, Form::UntilClose][r.below(4)];
        if r.chance(8) {
            form = Form::Bare([204, 304][r.below(2)]);
        }
        let twist = match r.below(if calm { 40 } else { 100 }) {
            0..=3 => Twist::Interim,
            4..=6 => Twist::Close,
            7..=9 if !old && method == "GET" => Twist::Upgrade,
            7..=59 => Twist::None,
            60..=66 => Twist::Early,
            67..=72 => Twist::Cut(r.chance(50)),
            73..=77 => Twist::Hangup(r.chance(50)),
            78..=80 => Twist::Garbage,
            81..=84 => Twist::Extra,
            85..=87 => Twist::Silent,
            _ => Twist::None,
        };
        let close = r.chance(10) && twist != Twist::Upgrade;
        if twist == Twist::Extra && form == Form::UntilClose {
            form = Form::Length;
        }
        let size_of_answer = match form {
            Form::Bare(_) => 0,
            _ => size(r),
        };
        self.plans.push(Plan {
            method,
            body: if with_body { size(r) } else { 0 },
            chunked: with_body && !old && r.chance(40),
            old,
            close,
            size: size_of_answer,
            form,
            twist,
            seen: 0,
            done: false,
            refused: !calm && r.chance(5),
        });
        self.plans.len() - 1
    }

    fn request(&mut self, id: usize) -> Vec<u8> {
        let plan = self.plans[id].clone();
        let version = if plan.old { "1.0" } else { "1.1" };
        let verb = if plan.refused { "no" } else { "r" };
        let mut out = format!(
            "{} /{verb}/{id} HTTP/{version}\r\nhost: h\r\nx-id: {id}\r\n",
            plan.method
        );
        if plan.close {
            out += "Connection: close\r\n";
        } else if plan.old {
            out += "connection: keep-alive\r\n";
        } else if plan.twist == Twist::Upgrade {
            out += "connection: upgrade\r\nupgrade: stream\r\n";
        }
        let mut out = out.into_bytes();
        self.put_body(
            &mut out,
            id,
            plan.body,
            plan.chunked,
            matches!(plan.method, "POST" | "PUT"),
        );
        out
    }

    /// The end of the head and the body behind it.
    fn put_body(&mut self, out: &mut Vec<u8>, id: usize, size: u64, chunked: bool, has: bool) {
        if !has {
            out.extend_from_slice(b"\r\n");
            return;
        }
        let body = body(id, size);
        if !chunked {
            out.extend_from_slice(format!("Content-Length: {size}\r\n\r\n").as_bytes());
            out.extend_from_slice(&body);
            return;
        }
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
        let mut at = 0;
        while at < body.len() {
            let most = [3, 1000, 70_000][self.random.below(3)];
            let n = (1 + self.random.below(most)).min(body.len() - at);
            let extension = ["", "", ";a=b"][self.random.below(3)];
            out.extend_from_slice(format!("{n:x}{extension}\r\n").as_bytes());
            out.extend_from_slice(&body[at..at + n]);
            out.extend_from_slice(b"\r\n");
            at += n;
        }
        let trailers = ["", "", "x-t: 1\r\n"][self.random.below(3)];
        out.extend_from_slice(format!("0\r\n{trailers}\r\n").as_bytes());
    }

    // ------------------------------------------------------------ clients

    fn new_client(&mut self) {
        if self.clients_left == 0 || self.winding {
            return;
        }
        self.clients_left -= 1;
        let Some(fd) = self.net.borrow_mut().client(FRONT) else {
            return;
        };
        let count = 1 + self.random.below(6);
        let planned = (0..count).map(|_| self.plan()).collect();
        let mut out = VecDeque::new();
        if self.accept_proxy {
            out.extend(PROXY_LINE);
        }
        self.clients.push(Client {
            fd,
            out,
            inbox: Vec::new(),
            planned,
            waiting: VecDeque::new(),
            // What is on its way while the balancer closes resets the connection under the answer.
            pipelines: self.random.chance(40)
                && !(self.calm() && self.text.contains("option httpclose")),
            reading: None,
            tunnel: None,
            last: false,
            fin: false,
            stalled: false,
            dead: false,
            spoilt: false,
        });
    }

    fn client_acts(&mut self, index: usize) {
        if self.clients[index].dead {
            return;
        }
        self.plan_next(index);
        self.client_sends(index);
        self.client_reads(index);
    }

    fn plan_next(&mut self, index: usize) {
        let client = &self.clients[index];
        let free = client.waiting.is_empty() || client.pipelines;
        let barred = client.last || client.fin || client.tunnel.is_some();
        // Nothing may follow a request that may change what the connection speaks, or that ends it.
        let alone = client.waiting.back().is_some_and(|&id| {
            let plan = &self.plans[id];
            let last = plan.form == Form::UntilClose || plan.old && plan.form == Form::Chunked;
            plan.close || plan.twist == Twist::Upgrade || last && self.calm()
        });
        if !free || barred || alone {
            return;
        }
        if let Some(id) = self.clients[index].planned.pop_front() {
            let bytes = self.request(id);
            let client = &mut self.clients[index];
            client.out.extend(bytes);
            client.waiting.push_back(id);
            trace!("client {} sends {id}", client.fd);
        } else if self.clients[index].waiting.is_empty() && self.random.chance(50) {
            self.leave(index, false);
        }
    }

    fn client_sends(&mut self, index: usize) {
        let most = [1, 7, 200, 5000, 40_000][self.random.below(5)];
        let Some(client) = self.clients.get_mut(index) else {
            return;
        };
        let n = most.min(client.out.len());
        if n > 0 && !client.fin {
            let bytes: Vec<u8> = client.out.iter().take(n).copied().collect();
            match self.net.borrow_mut().outside_send(client.fd, &bytes) {
                Ok(n) => drop(client.out.drain(..n)),
                Err(errno) if errno.would_block() => {}
                // The balancer takes no more of it; its answer may still come.
                Err(_) => {
                    client.out.clear();
                    client.fin = true;
                }
            }
        }
        if let Some((id, sent, _)) = &mut client.tunnel
            && client.out.is_empty()
            && !client.fin
        {
            if *sent < 5000 {
                let bytes = (*sent..*sent + 500).map(|at| content(*id, at));
                client.out.extend(bytes);
                *sent += 500;
            } else {
                client.fin = true;
                self.net.borrow_mut().outside_fin(client.fd);
            }
        }
    }

    fn client_reads(&mut self, index: usize) {
        let max = 1 + self.random.below(20_000);
        let Some(client) = self.clients.get_mut(index) else {
            return;
        };
        let result = self.net.borrow_mut().outside_recv(client.fd, max);
        match result {
            Ok(bytes) if bytes.is_empty() => self.client_ended(index, true),
            Ok(bytes) => {
                client.inbox.extend(bytes);
                while index < self.clients.len() && self.understand(index) {}
            }
            Err(errno) if errno.would_block() => {}
            Err(_) => self.client_ended(index, false),
        }
    }

    /// Takes one step in what came; false: more is needed.
    fn understand(&mut self, index: usize) -> bool {
        let client = &mut self.clients[index];
        if let Some((id, _, got)) = &mut client.tunnel {
            for byte in client.inbox.drain(..) {
                assert_eq!(byte, content(*id, *got), "byte {got} of tunnel {id}");
                *got += 1;
            }
            return false;
        }
        if let Some((left, got, id)) = &mut client.reading {
            let Some(id) = *id else {
                // A page of ours: any bytes.
                let n = match left {
                    Left::Length(n) => (*n).min(client.inbox.len() as u64),
                    _ => client.inbox.len() as u64,
                };
                client.inbox.drain(..n as usize);
                if let Left::Length(rest) = left {
                    *rest -= n;
                    if *rest == 0 {
                        self.answered(index, None);
                        return true;
                    }
                }
                return false;
            };
            if self.fault == Fault::LoseAByte && client.inbox.len() > 50 {
                client.inbox.remove(40);
            }
            if !read_body(left, &mut client.inbox, id, got) {
                return false;
            }
            let got = *got;
            assert_eq!(got, self.plans[id].size, "length of body {id}");
            self.answered(index, Some(id));
            return true;
        }
        let Some(head) = Head::take(&mut client.inbox) else {
            return false;
        };
        self.take_head(index, &head);
        true
    }

    fn take_head(&mut self, index: usize, head: &Head) {
        let status: u16 = head
            .first
            .split(' ')
            .nth(1)
            .and_then(|s| s.parse().ok())
            .expect("a status");
        let client = &mut self.clients[index];
        let waiting = client.waiting.front().copied();
        let id = head.id();
        assert!(!client.last, "a response after the last");
        if let Some(id) = id {
            assert_eq!(Some(id), waiting, "the response of another request");
        }
        if (100..200).contains(&status) && status != 101 {
            assert!(waiting.is_some(), "an interim answer to nobody");
            return;
        }
        if status == 101 {
            let id = id.expect("only servers switch");
            assert_eq!(self.plans[id].twist, Twist::Upgrade);
            client.tunnel = Some((id, 0, 0));
            return;
        }
        client.last = head.get("connection") == Some("close");
        let Some(id) = id else {
            let known = [400, 403, 408, 500, 502, 503, 504];
            assert!(known.contains(&status), "{status} without a server");
            let fine = self.mood == Mood::Wild
                || waiting.is_none() && status == 408
                || client.planned.is_empty() && waiting.is_none();
            assert!(
                fine,
                "{status} in a calm world for {waiting:?}: {:?}",
                waiting.map(|id| &self.plans[id])
            );
            let bare = waiting.is_some_and(|id| self.plans[id].method == "HEAD");
            let left = head.form().filter(|_| !bare);
            match left {
                Some(Left::Length(0)) => self.answered(index, None),
                None if bare => self.answered(index, None),
                Some(left) => client.reading = Some((left, 0, None)),
                None => client.reading = Some((Left::UntilClose, 0, None)),
            }
            return;
        };
        let plan = &self.plans[id];
        assert!(!plan.refused, "{id} was to be refused");
        if plan.method == "HEAD" || matches!(plan.form, Form::Bare(_)) {
            self.answered(index, Some(id));
            return;
        }
        let left = head.form().unwrap_or(Left::UntilClose);
        if let Left::Length(n) = left {
            assert_eq!(n, plan.size, "announced for {id}");
        }
        let client = &mut self.clients[index];
        if matches!(left, Left::Length(0)) {
            self.answered(index, Some(id));
        } else {
            client.reading = Some((left, 0, Some(id)));
        }
    }

    fn answered(&mut self, index: usize, id: Option<usize>) {
        self.whole += u64::from(id.is_some());
        let client = &mut self.clients[index];
        client.reading = None;
        client.waiting.pop_front();
    }

    /// The balancer ended the connection, in good order or not.
    fn client_ended(&mut self, index: usize, clean: bool) {
        let client = &mut self.clients[index];
        if clean && client.tunnel.is_some() && !client.fin {
            // The server said all; what this side says still goes there.
            return;
        }
        if let Some((Left::UntilClose, got, id)) = &client.reading {
            if let (Some(id), true) = (*id, clean) {
                let plan = &self.plans[id];
                let cut = *got != plan.size && plan.done && !client.spoilt;
                let late = self.killed || self.net.borrow().now > self.began + 4000;
                let panicked = matches!(self.mood, Mood::Panics(_));
                assert!(
                    !cut || late || panicked,
                    "{got} of {} bytes of {id}",
                    plan.size
                );
                self.cut += u32::from(panicked && *got != plan.size);
            }
            let id = *id;
            if clean {
                self.answered(index, id);
            }
        }
        let client = &self.clients[index];
        let tunnel = client
            .tunnel
            .is_some_and(|(_, sent, got)| sent < 5000 || got < 5000);
        // What was sent behind an answer that was the last is not answered.
        let unanswered = !client.last && !client.waiting.is_empty() && client.tunnel.is_none();
        if self.calm() && (unanswered || client.reading.is_some() || tunnel) && !client.spoilt {
            self.cut += 1;
            if self.mood == Mood::Calm {
                let waiting: Vec<_> = client.waiting.iter().map(|id| &self.plans[*id]).collect();
                let (out, inbox) = (client.out.len(), client.inbox.len());
                panic!(
                    "cut ({clean}) with {out} to send, {inbox} unread, at {:?}: {waiting:#?}",
                    client.reading
                );
            }
        }
        self.leave(index, false);
    }

    fn leave(&mut self, index: usize, reset: bool) {
        let client = self.clients.swap_remove(index);
        trace!("client {} leaves, {reset}", client.fd);
        self.net.borrow_mut().outside_close(client.fd, reset);
    }

    // ------------------------------------------------------------ servers

    fn take_connections(&mut self) {
        for server in 0..self.servers() {
            let arrived = self.net.borrow_mut().take_arrived(BACK + server as u16);
            if let Some(fd) = arrived {
                self.origins.push(Origin {
                    fd,
                    out: VecDeque::new(),
                    inbox: Vec::new(),
                    header: self.send_proxy,
                    request: None,
                    answering: None,
                    end: End::Keep,
                    tunnel: None,
                    eof: false,
                    fin: false,
                    before: None,
                    dirty: false,
                });
            }
        }
    }

    fn origin_acts(&mut self, index: usize) {
        let max = 1 + self.random.below(20_000);
        let origin = &mut self.origins[index];
        if !origin.eof {
            let result = self.net.borrow_mut().outside_recv(origin.fd, max);
            match result {
                Ok(bytes) if bytes.is_empty() => origin.eof = true,
                Ok(bytes) => {
                    origin.inbox.extend(bytes);
                    while self.serve(index) {}
                }
                Err(errno) if errno.would_block() => {}
                Err(_) => return self.origin_leaves(index, false),
            }
        }
        self.origin_writes(index);
    }

    fn serve(&mut self, index: usize) -> bool {
        let Some(origin) = self.origins.get_mut(index) else {
            return false;
        };
        if origin.header {
            let Some(text) = line(&mut origin.inbox) else {
                return false;
            };
            assert!(text.starts_with("PROXY "), "{text}");
            origin.header = false;
            return true;
        }
        if let Some((id, _, got)) = &mut origin.tunnel {
            for byte in origin.inbox.drain(..) {
                assert_eq!(byte, content(*id, *got), "byte {got} up tunnel {id}");
                *got += 1;
            }
            return false;
        }
        if let Some((id, Some(left), got)) = &mut origin.request {
            if !read_body(left, &mut origin.inbox, *id, got) {
                return false;
            }
            assert_eq!(*got, self.plans[*id].body, "length of request {id}");
            let id = *id;
            origin.request = Some((id, None, 0));
            if origin.answering.is_none() {
                self.answer(index, id);
            }
            self.finish_origin(index);
            return true;
        }
        if origin.request.is_some() || origin.answering.is_some() {
            assert!(
                origin.inbox.is_empty() || origin.dirty,
                "a request before the answer to the last"
            );
            return false;
        }
        let Some(head) = Head::take(&mut origin.inbox) else {
            return false;
        };
        let id = head.id().expect("every request has it");
        let mut words = head.first.split(' ');
        let (method, target) = (words.next(), words.next());
        let plan = &mut self.plans[id];
        assert_eq!(method, Some(plan.method));
        assert_eq!(target, Some(format!("/r/{id}").as_str()));
        plan.seen += 1;
        if self.fault == Fault::SendAgain && self.faults_left > 0 {
            plan.seen += 20;
        }
        trace!(
            "{} gets {id} {left:?}",
            self.origins[index].fd,
            left = head.form()
        );
        let repeatable = matches!(plan.method, "GET" | "HEAD" | "PUT");
        let most = if repeatable {
            self.sends.1
        } else {
            self.sends.0
        };
        assert!(
            plan.seen <= most,
            "request {id} was sent {} times",
            plan.seen
        );
        if self.calm() {
            let plan = &self.plans[id];
            assert!(
                plan.seen == 1,
                "request {id} was sent {} times in a calm world",
                plan.seen
            );
        }
        let left = head.form().filter(|left| !matches!(left, Left::Length(0)));
        if let Some(Left::Length(n)) = left {
            assert_eq!(n, self.plans[id].body);
        }
        let early = self.plans[id].twist == Twist::Early;
        let ready = left.is_none();
        self.origins[index].request = Some((id, left, 0));
        if head.get("connection") == Some("close") {
            self.origins[index].end = End::Fin;
        }
        if early || ready {
            self.answer(index, id);
        }
        true
    }

    /// Writes what the plan wants as the answer.
    fn answer(&mut self, index: usize, id: usize) {
        let mut said = id;
        if self.fault == Fault::Mix
            && let Some(before) = self.origins[index].before
        {
            said = before;
        }
        let plan = self.plans[id].clone();
        trace!("{} answers {id} {plan:?}", self.origins[index].fd);
        let mut out = Vec::new();
        let mut end = self.origins[index].end;
        if let (Fault::Unread, Some(before)) = (self.fault, self.origins[index].before) {
            let unread =
                format!("HTTP/1.1 200 Fine\r\nx-id: {before}\r\ncontent-length: 0\r\n\r\n");
            out.extend_from_slice(unread.as_bytes());
        }
        if plan.twist == Twist::Interim {
            for _ in 0..1 + self.random.below(3) {
                out.extend_from_slice(
                    format!("HTTP/1.1 103 Early Hints\r\nx-id: {said}\r\n\r\n").as_bytes(),
                );
            }
        }
        if plan.twist == Twist::Upgrade {
            let text = format!(
                "HTTP/1.1 101 Switching\r\nx-id: {said}\r\nconnection: upgrade\r\nupgrade: stream\r\n\r\n"
            );
            let origin = &mut self.origins[index];
            origin.out.extend(text.bytes());
            origin.tunnel = Some((id, 0, 0));
            return;
        }
        let status = match plan.form {
            Form::Bare(status) => status,
            _ => 200,
        };
        let mut head = format!("HTTP/1.1 {status} Fine\r\nX-Id: {said}\r\n");
        if end == End::Fin || plan.twist == Twist::Close {
            end = End::Fin;
            head += "connection: close\r\n";
        }
        out.extend_from_slice(head.as_bytes());
        let of_head = plan.method == "HEAD";
        match plan.form {
            _ if of_head => {
                out.extend_from_slice(format!("content-length: {}\r\n\r\n", plan.size).as_bytes())
            }
            Form::Bare(_) => out.extend_from_slice(b"\r\n"),
            Form::Length => self.put_body(&mut out, said, plan.size, false, true),
            Form::Chunked => self.put_body(&mut out, said, plan.size, true, true),
            Form::UntilClose => {
                out.extend_from_slice(b"\r\n");
                out.extend(body(said, plan.size));
                end = End::Fin;
            }
        }
        match plan.twist {
            Twist::Cut(reset) => {
                let whole = out.len();
                out.truncate(self.random.below(whole));
                end = if reset { End::Reset } else { End::Fin };
            }
            Twist::Hangup(reset) => {
                out.clear();
                end = if reset { End::Reset } else { End::Fin };
            }
            Twist::Garbage => {
                let lengths = 1 + self.random.below(300);
                out = (0..lengths)
                    .map(|_| b"\0HTP/1 20\r\n:;x"[self.random.below(14)])
                    .collect();
                end = End::Fin;
            }
            Twist::Extra => out.extend_from_slice(b"\0nobody asked for this\r\n\r\n"),
            Twist::Silent => out.clear(),
            _ => {}
        }
        let origin = &mut self.origins[index];
        origin.dirty |= matches!(plan.twist, Twist::Extra | Twist::Silent);
        origin.out.extend(out);
        origin.end = end;
        origin.answering = Some(id);
        origin.before = Some(id);
    }

    fn origin_writes(&mut self, index: usize) {
        let most = [1, 7, 200, 5000, 40_000][self.random.below(5)];
        let Some(origin) = self.origins.get_mut(index) else {
            return;
        };
        let n = most.min(origin.out.len());
        if n > 0 && !origin.fin {
            let bytes: Vec<u8> = origin.out.iter().take(n).copied().collect();
            let result = self.net.borrow_mut().outside_send(origin.fd, &bytes);
            match result {
                Ok(n) => drop(origin.out.drain(..n)),
                Err(errno) if errno.would_block() => {}
                Err(_) => return self.origin_leaves(index, false),
            }
        }
        self.finish_origin(index);
    }

    fn finish_origin(&mut self, index: usize) {
        let origin = &mut self.origins[index];
        if !origin.out.is_empty() {
            return;
        }
        if let Some((id, sent, _)) = &mut origin.tunnel {
            if *sent < 5000 {
                origin
                    .out
                    .extend((*sent..*sent + 500).map(|at| content(*id, at)));
                *sent += 500;
            } else if !origin.fin {
                origin.fin = true;
                self.net.borrow_mut().outside_fin(origin.fd);
            }
        } else if let Some(id) = origin.answering
            && self.plans[id].twist != Twist::Silent
        {
            // An early answer: the rest of the request may still come.
            let rest = matches!(origin.request, Some((_, Some(_), _)));
            match origin.end {
                End::Reset => return self.origin_leaves(index, true),
                End::Fin => {
                    if !origin.fin {
                        origin.fin = true;
                        self.net.borrow_mut().outside_fin(origin.fd);
                    }
                    let cut = matches!(
                        self.plans[id].twist,
                        Twist::Cut(_) | Twist::Hangup(_) | Twist::Garbage
                    );
                    self.plans[id].done |= !cut;
                }
                End::Keep if !rest => {
                    self.plans[id].done = true;
                    (origin.answering, origin.request) = (None, None);
                }
                End::Keep => {}
            }
        }
        let origin = &self.origins[index];
        if origin.eof && (origin.fin || origin.tunnel.is_none()) {
            self.origin_leaves(index, false);
        }
    }

    fn origin_leaves(&mut self, index: usize, reset: bool) {
        let origin = self.origins.swap_remove(index);
        trace!("{} leaves, {reset}", origin.fd);
        self.net.borrow_mut().outside_close(origin.fd, reset);
    }

    // ------------------------------------------------------------ what happens to them

    fn deliver(&mut self) {
        let busy = self.net.borrow().busy_wires();
        if !busy.is_empty() {
            let fd = busy[self.random.below(busy.len())];
            self.net.borrow_mut().deliver(fd);
        }
    }

    fn mischief(&mut self) {
        let client = self.random.below(self.clients.len());
        match self.random.below(40) {
            0 => {
                let server = BACK + self.random.below(self.servers()) as u16;
                let answer = [
                    Answer::Accept,
                    Answer::Accept,
                    Answer::Refuse,
                    Answer::Silent,
                ][self.random.below(4)];
                self.net.borrow_mut().answer(server, answer);
            }
            1 => {
                let jump = self.random.below(6000) as u64;
                self.net.borrow_mut().now += jump;
            }
            2 | 3 if !self.clients.is_empty() => {
                let reset = self.random.chance(50);
                self.leave(client, reset);
            }
            4 | 5 if !self.clients.is_empty() => {
                // A half-close, perhaps in the middle of a request.
                let client = &mut self.clients[client];
                if !client.fin {
                    client.fin = true;
                    client.spoilt = true;
                    client.out.clear();
                    self.net.borrow_mut().outside_fin(client.fd);
                }
            }
            6..=8 if !self.clients.is_empty() => self.clients[client].stalled ^= true,
            9 if !self.clients.is_empty() => self.clients[client].dead = true,
            10..=12 if !self.origins.is_empty() => {
                // A server ends a connection, kept or not.
                let index = self.random.below(self.origins.len());
                let idle = self.origins[index].answering.is_none();
                if idle || self.random.chance(30) {
                    // What was sent may not arrive.
                    if let Some(id) = self.origins[index].before {
                        self.plans[id].done = false;
                    }
                    let reset = self.random.chance(40);
                    self.origin_leaves(index, reset);
                }
            }
            13 => {
                let server = ServerId(self.random.below(self.servers()) as u32);
                let weight = self.random.below(3) as u32;
                self.shared.server(server).set_weight(weight);
                self.shared.bump(BackendId(0));
            }
            14 if self.random.chance(20) => {
                let to = self.random.below(self.shards.len());
                while self.shared.send(to, Message::State).is_ok() {}
            }
            15 if self.random.chance(20) => {
                let server = ServerId(self.random.below(self.servers()) as u32);
                let to = self.random.below(self.shards.len());
                let _ = self.shared.send(
                    to,
                    Message::KillServer(server, ringway::shared::KillFor::Operator),
                );
                self.killed = true;
            }
            _ => {
                let small = self.random.below(50) as u64;
                self.net.borrow_mut().now += small;
            }
        }
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
    fn check_limits(&self) {
        let process = &self.shared.process;
        let limit = process.maxconn.load(Relaxed);
        assert!(
            process.connections.load(Relaxed) <= limit,
            "maxconn of the process"
        );
        for local in self.shards.iter().map(|shard| &shard.local) {
            let owners = local.sessions.len() + local.probes.len() + local.listeners.len() + 1;
            assert!(local.timers.len() <= owners, "timers pile up");
        }
        for (index, server) in self.shared.config.servers.iter().enumerate() {
            if server.maxconn > 0 {
                let places = self.shared.servers[index].places.load(Relaxed);
                assert!(places <= server.maxconn, "maxconn of {}", server.name);
            }
        }
    }

    // ------------------------------------------------------------ the end

    fn wind_down(&mut self) {
        self.winding = true;
        for server in 0..self.servers() {
            self.net
                .borrow_mut()
                .answer(BACK + server as u16, Answer::Accept);
            self.shared.server(ServerId(server as u32)).set_weight(1);
        }
        self.shared.bump(BackendId(0));
        self.net.borrow_mut().fd_limit = usize::MAX;
        // A socket's buffer may be of a few bytes: long bodies then take long.
        let pause = if self.calm() { 200 } else { 50 };
        for round in 0..200_000 {
            for index in 0..self.shards.len() {
                self.turn_of(index);
            }
            let busy = self.net.borrow().busy_wires();
            for fd in busy {
                self.net.borrow_mut().deliver(fd);
            }
            self.take_connections();
            for index in (0..self.origins.len()).rev() {
                if index < self.origins.len() {
                    self.origin_acts(index);
                }
            }
            for index in (0..self.clients.len()).rev() {
                if index < self.clients.len() {
                    self.client_acts(index);
                }
            }
            let living = self.clients.iter().filter(|c| !c.dead).count();
            if living == 0 && self.shared.phase() == Phase::Running && round > 20 {
                self.shared.process.set_phase(Phase::SoftStop);
                self.shared.hint_all(|| Message::Phase);
            }
            if self.alive.iter().all(|alive| !alive) {
                return;
            }
            if round % pause == pause - 1 {
                self.net.borrow_mut().now += 500;
            }
        }
        let stages: Vec<_> = self
            .shards
            .iter()
            .flat_map(|s| {
                s.local
                    .sessions
                    .keys()
                    .into_iter()
                    .map(|key| ringway::proxy::http::stage_name(&s.local, key))
            })
            .collect();
        for shard in &self.shards {
            for key in shard.local.sessions.keys() {
                trace!("{:#?}", shard.local.sessions.get(key));
            }
        }
        for client in &self.clients {
            trace!("client {}: {} to send", client.fd, client.out.len());
        }
        panic!(
            "does not come to an end: sessions {stages:?}, {} clients, {} origins, {:?}",
            self.clients.len(),
            self.origins.len(),
            self.shared.process
        );
    }

    fn take_stock(&mut self) {
        if self.fault == Fault::KeepAPlace {
            self.shared.process.connections.fetch_add(1, SeqCst);
        }
        let shared = &self.shared;
        assert_eq!(
            shared.process.connections.load(Relaxed),
            0,
            "places of the process"
        );
        for front in shared.frontends.iter() {
            assert_eq!(front.connections.load(Relaxed), 0, "places of the frontend");
        }
        for index in 0..shared.backends.len() {
            assert_eq!(
                shared.sum(|s| &s.backends[index].current),
                0,
                "sessions of the backend"
            );
            assert_eq!(
                shared.backends[index].queued_total.load(Relaxed),
                0,
                "queue of the backend"
            );
        }
        for server in 0..self.servers() {
            let row = shared.server_connections(ServerId(server as u32));
            assert_eq!(row, 0, "row of server {server}");
            let cell = &shared.servers[server];
            assert_eq!(cell.places.load(Relaxed), 0, "places of server {server}");
            assert_eq!(cell.queued.load(Relaxed), 0, "queue of server {server}");
            assert_eq!(
                shared.sum(|s| &s.servers[server].idle),
                0,
                "idle gauge of server {server}"
            );
        }
        assert_eq!(
            shared.sum(|s| &s.listeners[0].current),
            0,
            "sessions of the bind"
        );
        for shard in &self.shards {
            let (local, who) = (&shard.local, shard.local.shard);
            assert_eq!(local.sessions.len(), 0, "sessions of shard {who}");
            assert_eq!(local.relays.len(), 0, "relays of shard {who}");
            assert_eq!(local.pool.len(), 0, "idle connections of shard {who}");
            assert!(local.waits.is_empty(), "tickets of shard {who}");
            assert_eq!(
                shard.engine.held(),
                (0, 0),
                "buffers and pipes of shard {who}"
            );
            assert_eq!(shard.engine.pipes().0, 0, "pipes lent by shard {who}");
            assert_eq!(shard.engine.socks(), 0, "sockets of shard {who}");
            assert_eq!(local.cells().connections.load(Relaxed), 0);
        }
        assert_eq!(self.net.borrow().held_by_shards(), 0, "descriptors");
        assert_eq!(self.net.borrow().listeners_open(), 0, "listeners");
        self.panics = shared.sum(|s| &s.activity.panics);
        assert!(
            u64::from(self.cut) <= self.panics,
            "{} clients were cut by {} panics",
            self.cut,
            self.panics
        );
    }
}

impl Drop for HttpWorld {
    fn drop(&mut self) {
        if std::thread::panicking() && self.fault == Fault::None {
            eprintln!("{}", self.text);
        }
    }
}

struct Settings {
    text: String,
    sends: (u32, u32),
}

impl Settings {
    fn new(
        r: &mut Random,
        calm: bool,
        accept_proxy: bool,
        send_proxy: bool,
        servers: usize,
    ) -> Self {
        let mut text = String::new();
        let mut add = |line: String| {
            text += &line;
            text.push('\n');
        };
        let maxconn = if calm {
            10_000
        } else {
            [3, 20, 10_000][r.below(3)]
        };
        add(format!("global\n maxconn {maxconn}\ndefaults\n mode http"));
        let (long, short, patience) = if calm {
            (600_000, 600_000, 600_000)
        } else {
            (9000, 3000, 500)
        };
        add(format!(
            " timeout connect 2s\n timeout client {long}ms\n timeout server {long}ms"
        ));
        add(format!(
            " timeout queue {short}ms\n timeout http-request {short}ms\n timeout tunnel {long}ms"
        ));
        add(format!(
            " timeout http-keep-alive {}",
            if calm { "60s" } else { "2s" }
        ));
        let retries = r.below(4) as u32;
        add(format!(" retries {retries}"));
        add([" option redispatch", " no option redispatch"][r.below(2)].into());
        add(format!(
            " http-reuse {}",
            ["never", "safe", "aggressive", "always"][r.below(4)]
        ));
        add(" option http-keep-alive".into());
        match r.below(8) {
            0 => add(" option http-server-close".into()),
            1 => add(" option httpclose".into()),
            _ => {}
        }
        let words = [
            "conn-failure",
            "all-retryable-errors",
            "empty-response response-timeout",
            "none",
        ];
        let on = r.below(5).min(3);
        let on = if calm { 0 } else { on };
        add(format!(" retry-on {}", words[on]));
        if !calm && r.chance(30) {
            add(" option abortonclose".into());
        }
        if r.chance(25) {
            add(" option http-buffer-request".into());
        }
        match r.below(3) {
            0 => add(" option splice-request\n option splice-response".into()),
            1 => add(" option splice-auto".into()),
            _ => {}
        }
        if r.chance(15) {
            add(" option prefer-last-server".into());
        }
        add("frontend f".into());
        let proxy = if accept_proxy { " accept-proxy" } else { "" };
        add(format!(" bind 127.0.0.1:{FRONT}{proxy}"));
        if !calm && r.chance(40) {
            add(format!(" maxconn {}", 2 + r.below(10)));
        }
        add(" http-request deny if { path_beg /no/ }\n http-request add-header x-a %[src]".into());
        if r.chance(30) {
            add(" option forwardfor".into());
        }
        if r.chance(15) {
            add(format!(" http-request wait-for-body time {patience}ms"));
        }
        if r.chance(20) {
            add(" http-response set-header x-b %[status]".into());
        }
        match r.below(12) {
            0 => add(format!(" http-response wait-for-body time {patience}ms")),
            1 => add(format!(
                " http-response wait-for-body time {patience}ms at-least 100"
            )),
            2 => add(
                " http-response pause 30ms\n http-response set-header x-l %[res.body_len]".into(),
            ),
            _ => {}
        }
        add(" default_backend b\nbackend b".into());
        add(format!(
            " balance {}",
            [
                "roundrobin",
                "leastconn",
                "first",
                "uri",
                "random",
                "hdr(x-id)"
            ][r.below(6)]
        ));
        if r.chance(30) {
            add(" cookie S insert indirect nocache".into());
        }
        for index in 0..servers {
            let mut line = format!(
                " server s{index} 127.0.0.1:{} cookie c{index}",
                BACK + index as u16
            );
            if r.chance(50) {
                line += &format!(" maxconn {}", 1 + r.below(3));
            }
            if !calm && r.chance(20) {
                line += " maxqueue 2";
            }
            if r.chance(20) {
                line += &format!(" max-reuse {}", r.below(3));
            }
            if r.chance(20) {
                line += &format!(" pool-max-conn {}", r.below(3));
            }
            if r.chance(20) {
                line += " pool-purge-delay 300ms";
            }
            if !calm && r.chance(30) {
                line += " check inter 700ms";
            }
            if send_proxy {
                line += " send-proxy";
            }
            add(line);
        }
        let again = if (1..=2).contains(&on) { retries } else { 0 };
        // Each send may meet a kept connection that had ended, and then goes out once more.
        Self {
            text,
            sends: (1 + again, 2 * (1 + again)),
        }
    }
}

pub(crate) fn config(text: String) -> Config {
    let input = Input::Text {
        name: "sim".to_owned(),
        bytes: text.clone().into_bytes(),
    };
    let inputs = LoadInputs {
        inputs: vec![input],
        ..LoadInputs::default()
    };
    let loaded = load(&inputs);
    let Some(config) = loaded.config else {
        panic!("{text}\n{:?}", loaded.diags);
    };
    config
}
