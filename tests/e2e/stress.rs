//! Many, large, slow, broken and interrupted. Sizes fit continuous integration; `RINGWAY_FULL=1`
//! runs those of the acceptance list.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use socket2::{Domain, Protocol, Socket, Type};

use crate::support::client::{connect_to, hold, reset, who};
use crate::support::daemon::listeners;
use crate::support::pattern::{Dice, Pattern};
use crate::support::server::listen;
use crate::support::{
    Admin, Daemon, Launch, Server, USUAL, UdpLog, connect, full, on_haproxy, port, refused, sized,
    talk, until, within,
};

/// A balancer with `threads` threads before `servers`, and `global` added.
fn balancer(threads: u32, global: &str, lines: &str) -> (Daemon, u16) {
    let front = port();
    let config = format!(
        "global\n nbthread {threads}\n{global}{USUAL} timeout client 60s\n timeout server 60s\n timeout queue 60s\n timeout connect 20s\n\
         listen l\n bind 127.0.0.1:{front}\n{lines}"
    );
    (Daemon::start(&config), front)
}

/// Reads a header of three numbers (seed, bytes to come, bytes to send), then does both at once and
/// at the end says how many bytes came, all as they should be.
fn both_ways(failures: Arc<Mutex<Vec<String>>>) -> Server {
    Server::new(move |mut stream, _| {
        let mut header = [0; 24];
        if stream.read_exact(&mut header).is_err() {
            return;
        }
        let number = |i: usize| u64::from_le_bytes(header[8 * i..8 * i + 8].try_into().unwrap());
        let (seed, come, go) = (number(0), number(1), number(2));
        let mut twin = stream.try_clone().unwrap();
        let sender = std::thread::spawn(move || -> io::Result<()> {
            let mut dice = Dice(seed ^ 5);
            Pattern(!seed).send(&mut twin, go, || dice.between(1, 100_000) as usize)?;
            twin.shutdown(Shutdown::Write)
        });
        let received = Pattern(seed).receive(&mut stream);
        let sent = sender.join().unwrap();
        if !matches!(received, Ok(n) if n == come) || sent.is_err() {
            failures.lock().unwrap().push(format!(
                "server, seed {seed}: {received:?} of {come}, {sent:?}"
            ));
        }
    })
}

// issue point 3
#[test]
fn gigabytes_both_ways_through_many_connections_arrive_as_sent() {
    let failures = Arc::new(Mutex::new(Vec::new()));
    let server = both_ways(Arc::clone(&failures));
    let (daemon, front) = balancer(2, "", &format!(" server s {}\n", server.addr()));
    let (connections, total) = sized((40, 200 << 20), (200, 2 << 30));
    let each = total / connections;
    let work = |n: u64| -> io::Result<()> {
        let mut dice = Dice(n * 977);
        // Sizes differ, and so does how they are cut; a few connections are tiny.
        let (up, down) = (
            dice.between(each / 2, each * 3 / 2),
            dice.between(each / 2, each * 3 / 2),
        );
        let (up, down) = if n % 10 == 9 {
            (up % 5000, down % 5000)
        } else {
            (up, down)
        };
        let mut stream = connect(front);
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        stream.set_write_timeout(Some(Duration::from_secs(60)))?;
        stream.write_all(&[n.to_le_bytes(), up.to_le_bytes(), down.to_le_bytes()].concat())?;
        let mut twin = stream.try_clone()?;
        let sender = std::thread::spawn(move || -> io::Result<()> {
            let largest = [200, 1500, 20_000, 250_000][n as usize % 4];
            Pattern(n).send(&mut twin, up, || dice.between(1, largest) as usize)?;
            twin.shutdown(Shutdown::Write)
        });
        let got = Pattern(!n).receive(&mut stream)?;
        sender.join().unwrap()?;
        if got == down {
            Ok(())
        } else {
            Err(io::Error::other(format!("{got} of {down} came down")))
        }
    };
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..sized(20, 50) {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::AcqRel) as u64;
                    if n >= connections {
                        return;
                    }
                    if let Err(e) = work(n) {
                        failures.lock().unwrap().push(format!("client {n}: {e}"));
                    }
                }
            });
        }
    });
    assert!(
        failures.lock().unwrap().is_empty(),
        "{:#?}",
        failures.lock().unwrap()
    );
    let admin = daemon.admin();
    until("all sessions are over", || {
        admin.count("l", "FRONTEND", "scur") == 0
    });
    assert_eq!(admin.count("l", "FRONTEND", "stot"), connections);
}

// issue point 3
#[test]
fn small_segments_through_splice_never_stall() {
    let server = Server::new(|mut stream, _| {
        if let Ok(n) = Pattern(9).receive(&mut stream) {
            let _ = stream.write_all(&n.to_le_bytes());
        }
    });
    let (_daemon, front) = balancer(2, "", &format!(" server s {}\n", server.addr()));
    let runs = sized(400, 10_000);
    let next = AtomicUsize::new(0);
    let stalls = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                loop {
                    let run = next.fetch_add(1, Ordering::AcqRel);
                    if run >= runs {
                        return;
                    }
                    let segment = [1, 128, 1448][run % 3];
                    // A burst that earns a pipe, then segments of one size, each its own packet.
                    let (burst, tail) = (96 * 1024, (segment * 300) as u64);
                    let mut stream = connect(front);
                    let mut sent = 0_u64;
                    let piece = || {
                        let n = if sent < burst { 32 * 1024 } else { segment };
                        sent += n as u64;
                        n
                    };
                    let outcome =
                        Pattern(9)
                            .send(&mut stream, burst + tail, piece)
                            .and_then(|()| {
                                stream.shutdown(Shutdown::Write)?;
                                let mut answer = [0; 8];
                                stream.read_exact(&mut answer)?;
                                Ok(u64::from_le_bytes(answer))
                            });
                    if !matches!(outcome, Ok(n) if n == burst + tail) {
                        stalls
                            .lock()
                            .unwrap()
                            .push(format!("run {run}, segments of {segment}: {outcome:?}"));
                    }
                }
            });
        }
    });
    assert!(
        stalls.lock().unwrap().is_empty(),
        "{:#?}",
        stalls.lock().unwrap()
    );
}

/// Sends for ever, with a small buffer of its own, so that what is under way is the balancer's.
fn endless() -> Server {
    Server::new(|stream, _| {
        let socket = Socket::from(stream);
        let _ = socket.set_send_buffer_size(32 * 1024);
        let mut stream = TcpStream::from(socket);
        let _ = stream.read(&mut [0; 64]);
        let chunk = vec![b'x'; 16 * 1024];
        while stream.write_all(&chunk).is_ok() {}
    })
}

/// A client whose receive buffer is small.
fn narrow(front: u16) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).unwrap();
    socket.set_recv_buffer_size(8 * 1024).unwrap();
    socket
        .connect(&std::net::SocketAddr::from(([127, 0, 0, 1], front)).into())
        .unwrap();
    let mut stream = TcpStream::from(socket);
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    stream.write_all(b"go").unwrap();
    stream
}

/// Bytes that the balancer says it holds for relays, in buffers and pipes together.
fn held_bytes(admin: &Admin) -> u64 {
    if on_haproxy() {
        0
    } else {
        admin.info_number("BufferBytes") + admin.info_number("PipeBytes")
    }
}

fn available_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// Small socket buffers in the balancer, so that memory outside of it stays known.
const NARROW: &str = " tune.sndbuf.client 16384\n tune.rcvbuf.server 16384\n";

// issue point 3
#[test]
fn readers_that_are_slow_from_the_start_cost_little() {
    let server = endless();
    let (daemon, front) = balancer(2, NARROW, &format!(" server s {}\n", server.addr()));
    let admin = daemon.admin();
    let readers: Vec<_> = (0..20).map(|_| narrow(front)).collect();
    let stop = Arc::new(AtomicBool::new(false));
    let threads: Vec<_> = readers
        .into_iter()
        .map(|mut reader| {
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || {
                let mut buf = [0; 5_000];
                let mut got = 0;
                // 100 KB a second.
                while !stop.load(Ordering::Acquire) {
                    got += reader.read(&mut buf).unwrap();
                    std::thread::sleep(Duration::from_millis(50));
                }
                got
            })
        })
        .collect();
    let mut most = 0;
    let end = Instant::now() + sized(Duration::from_secs(4), Duration::from_secs(60));
    while Instant::now() < end {
        most = most.max(held_bytes(&admin));
        std::thread::sleep(Duration::from_millis(100));
    }
    stop.store(true, Ordering::Release);
    for thread in threads {
        assert!(
            thread.join().unwrap() > 100_000,
            "a slow reader still gets its bytes"
        );
    }
    assert!(most <= 20 * 128 * 1024, "{most} bytes for 20 slow readers");
}

// issue point 3
#[test]
fn downloads_that_stall_hold_no_more_than_the_bounds() {
    let server = endless();
    let (daemon, front) = balancer(2, NARROW, &format!(" server s {}\n", server.addr()));
    let admin = daemon.admin();
    let n = sized(100, 500);
    let before = available_bytes();
    let stalled: Vec<_> = (0..n).map(|_| narrow(front)).collect();
    until("all of them run", || {
        admin.count("l", "FRONTEND", "scur") == n
    });
    std::thread::sleep(Duration::from_secs(3));
    let held = held_bytes(&admin);
    assert!(
        held <= n * 128 * 1024,
        "{held} bytes for {n} stalled readers"
    );
    if full() {
        // Pipes, buffers and sockets of both sides: nothing that only the kernel sees.
        let used = before.saturating_sub(available_bytes());
        assert!(
            used <= n * 1024 * 1024,
            "{used} bytes of memory for {n} stalled readers"
        );
    }
    drop(stalled);
    until("all is given back", || {
        admin.count("l", "FRONTEND", "scur") == 0
    });
    until("no buffer is held for nobody", || {
        held_bytes(&admin) <= 4 << 20
    });
}

// issue point 3
#[test]
fn a_budget_bounds_all_relays_together_and_everybody_else_is_served() {
    if on_haproxy() {
        return; // has no such budget
    }
    let (server, other) = (endless(), Server::named("A"));
    let budget: u64 = sized(8 << 20, 64 << 20);
    let side = port();
    let (daemon, front) = balancer(
        2,
        &format!("{NARROW} maxconn 6000\n tune.relay-memory {budget}\n"),
        &format!(
            " server s {0}\nlisten other\n bind 127.0.0.1:{side}\n server a {1}\n",
            server.addr(),
            other.addr()
        ),
    );
    let admin = daemon.admin();
    let n = sized(500, 5000);
    let _stalled: Vec<_> = (0..n).map(|_| narrow(front)).collect();
    until("all of them run", || {
        admin.count("l", "FRONTEND", "scur") == n
    });
    let end = Instant::now() + Duration::from_secs(3);
    while Instant::now() < end {
        let held = held_bytes(&admin);
        assert!(held <= budget, "{held} bytes with a budget of {budget}");
        assert_eq!(who(side), "A");
    }
}

/// A server in one thread that knows at every moment how many connections are open: ends that have
/// arrived are taken note of before a new connection counts. Answers each first byte after a pause.
struct Counting {
    port: u16,
    peak: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Counting {
    fn new(pause: Duration) -> Self {
        let port = port();
        let listener = listen(([127, 0, 0, 1], port).into(), 1024).unwrap();
        listener.set_nonblocking(true).unwrap();
        let (peak, stop) = (
            Arc::new(AtomicUsize::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let (most, stopped) = (Arc::clone(&peak), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let mut open: Vec<(TcpStream, Instant)> = Vec::new();
            while !stopped.load(Ordering::Acquire) {
                let accepted = listener.accept().ok();
                // Whoever is gone sent its FIN before the balancer could connect anew.
                open.retain_mut(|(stream, since)| {
                    let mut byte = [0; 16];
                    match stream.read(&mut byte) {
                        Ok(0) => false,
                        Ok(_) => true,
                        Err(e) if e.kind() == ErrorKind::WouldBlock => {
                            if since.elapsed() >= pause {
                                let _ = stream.write_all(b"done");
                                *since = Instant::now() + Duration::from_secs(3600);
                            }
                            true
                        }
                        Err(_) => false,
                    }
                });
                match accepted {
                    Some((stream, _)) => {
                        stream.set_nonblocking(true).unwrap();
                        open.push((stream, Instant::now()));
                        most.fetch_max(open.len(), Ordering::AcqRel);
                    }
                    None => std::thread::sleep(Duration::from_micros(300)),
                }
            }
        });
        Self {
            port,
            peak,
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        let _ = self.thread.take().map(std::thread::JoinHandle::join);
    }
}

// issue point 4
#[test]
fn a_servers_maxconn_is_never_exceeded_and_everybody_is_served() {
    for threads in [1, 4] {
        let servers: Vec<_> = (0..3)
            .map(|_| Counting::new(Duration::from_millis(3)))
            .collect();
        let lines: String = servers
            .iter()
            .enumerate()
            .map(|(i, s)| format!(" server s{i} 127.0.0.1:{} maxconn 5\n", s.port))
            .collect();
        let (daemon, front) = balancer(threads, "", &lines);
        let (clients, each) = sized((60, 20), (200, 100));
        let failures = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..clients {
                scope.spawn(|| {
                    for _ in 0..each {
                        let mut stream = connect(front);
                        stream
                            .set_read_timeout(Some(Duration::from_secs(30)))
                            .unwrap();
                        let answer = stream
                            .write_all(b"x")
                            .and_then(|()| crate::support::client::read_piece(&mut stream));
                        if !matches!(answer.as_deref(), Ok("done")) {
                            failures.lock().unwrap().push(format!("{answer:?}"));
                        }
                    }
                });
            }
        });
        let failures = failures.into_inner().unwrap();
        assert!(
            failures.is_empty(),
            "{threads} threads, {} failures: {:?}",
            failures.len(),
            failures.first()
        );
        for server in &servers {
            let peak = server.peak.load(Ordering::Acquire);
            assert!(
                peak <= 5,
                "{threads} threads: {peak} connections where 5 are allowed"
            );
        }
        assert_eq!(
            daemon.admin().count("l", "FRONTEND", "stot"),
            clients * each
        );
    }
}

// issue point 7
#[test]
fn connections_of_an_inherited_socket_spread_over_all_threads() {
    if on_haproxy() {
        return; // no figures by thread
    }
    let server = Server::named("A");
    let front = port();
    let daemon = Launch::new(&format!(
        "global\n nbthread 4\n{USUAL}listen l\n bind fd@9\n server s {}\n",
        server.addr()
    ))
    .inheriting(front)
    .start();
    assert_eq!(listeners(daemon.pid, front), 1);
    let _held: Vec<_> = (0..200).map(|_| hold(front)).collect();
    let by_shard = || {
        let text = daemon.admin().run("show activity");
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("connections: "))
            .expect("a line for connections")
            .to_owned();
        let list = line.split_once('[').unwrap().1.trim_end_matches(']');
        list.split_ascii_whitespace()
            .map(|n| n.parse::<u64>().unwrap())
            .collect::<Vec<_>>()
    };
    let even = || {
        let by_shard = by_shard();
        by_shard.len() == 4 && by_shard.iter().max().unwrap() - by_shard.iter().min().unwrap() <= 2
    };
    assert!(within(Duration::from_secs(3), even), "{:?}", by_shard());
}

// issue point 8
#[test]
fn random_payloads_to_every_port_hurt_nobody() {
    let server = Server::echo();
    let [plain, header, command] = [port(), port(), port()];
    let mut daemon = Launch::new(&format!(
        "global\n stats socket ipv4@127.0.0.1:{command} level admin\n stats socket @DIR@/admin level admin\ndefaults\n mode tcp\n balance roundrobin\n \
         timeout connect 2s\n timeout client 500ms\n timeout server 500ms\nlisten l\n bind 127.0.0.1:{plain}\n server s {0}\n\
         listen p\n bind 127.0.0.1:{header} accept-proxy\n server s {0}\n",
        server.addr()
    ))
    .ports(&[plain, header, command])
    .start();
    let mut dice = Dice(42);
    for n in 0..sized(300, 1000) {
        let mut payload = vec![0; dice.between(1, 3000) as usize];
        Pattern(n).fill(0, &mut payload);
        match n % 4 {
            0 => payload.splice(0..0, *b"PROXY TCP4 ").for_each(drop),
            1 => payload
                .splice(0..0, *b"\r\n\r\n\0\r\nQUIT\n\x21\x11")
                .for_each(drop),
            _ => {}
        }
        for port in [plain, header, command] {
            let mut stream = connect(port);
            let _ = stream.write_all(&payload);
            // The admin socket serves a few at a time: each waits for its end.
            if n % 3 == 0 || port == command {
                let _ = stream.shutdown(Shutdown::Write);
                let patience = if port == command { 500 } else { 20 };
                stream
                    .set_read_timeout(Some(Duration::from_millis(patience)))
                    .unwrap();
                while stream
                    .read(&mut [0; 4096])
                    .is_ok_and(|n| n > 0 && port == command)
                {}
            }
        }
    }
    assert!(daemon.alive());
    let admin = daemon.admin();
    until("all is over", || {
        admin.count("l", "FRONTEND", "scur") == 0 && admin.count("p", "FRONTEND", "scur") == 0
    });
    assert_eq!(admin.count("l", "FRONTEND", "stot"), sized(300, 1000));
    let mut client = connect(plain);
    assert_eq!(talk(&mut client, "well?"), "well?");
}

// issue point 8
#[test]
fn abrupt_ends_leave_nothing_behind() {
    let server = endless();
    let echo = Server::echo();
    let second = port();
    let (daemon, front) = balancer(
        2,
        "",
        &format!(
            " server s {}\nlisten m\n bind 127.0.0.1:{second}\n server e {}\n",
            server.addr(),
            echo.addr()
        ),
    );
    let admin = daemon.admin();
    who(second);
    let n = sized(1000, 5000);
    // Before any byte, in the middle of a download, in the middle of an upload.
    let before = daemon.fds();
    for i in 0..n {
        let mut stream = connect(if i % 3 == 1 { front } else { second });
        match i % 3 {
            0 => {}
            1 => {
                let _ = stream.write_all(b"go");
                let _ = stream.read(&mut [0; 100]);
            }
            _ => drop(stream.write_all(&[b'u'; 30_000])),
        }
        reset(stream);
    }
    let sessions =
        |column: &str| admin.count("l", "FRONTEND", column) + admin.count("m", "FRONTEND", column);
    until("all sessions are over", || sessions("scur") == 0);
    assert_eq!(sessions("stot"), n + 1);
    assert_eq!(
        admin.count("l", "BACKEND", "scur") + admin.count("m", "BACKEND", "scur"),
        0
    );
    // Pipes and idle buffers may stay pooled.
    until("descriptors are given back", || daemon.fds() <= before + 40);
    let mut client = connect(second);
    assert_eq!(talk(&mut client, "well?"), "well?");
}

fn cpu_ms(daemon: &Daemon) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", daemon.pid)).unwrap();
    let cells: Vec<_> = stat
        .rsplit_once(')')
        .unwrap()
        .1
        .split_ascii_whitespace()
        .collect();
    (cells[11].parse::<u64>().unwrap() + cells[12].parse::<u64>().unwrap()) * 10
}

// issue point 8
#[test]
fn a_full_table_of_descriptors_pauses_accepting_and_does_not_spin() {
    let server = Server::named("A");
    let (daemon, front) = balancer(2, "", &format!(" server s {}\n", server.addr()));
    for _ in 0..4 {
        assert_eq!(who(front), "A");
    }
    let limit = |files: usize| {
        let done = Command::new("prlimit")
            .args([
                "--pid",
                &daemon.pid.to_string(),
                &format!("--nofile={files}:20000"),
            ])
            .status();
        assert!(done.expect("prlimit runs").success());
    };
    limit(daemon.fds() + 20);
    let mut clients: Vec<_> = (0..40).map(|_| connect(front)).collect();
    for client in &mut clients {
        client.write_all(b"x").unwrap();
    }
    std::thread::sleep(Duration::from_millis(500));
    let before = cpu_ms(&daemon);
    std::thread::sleep(Duration::from_secs(1));
    let spent = cpu_ms(&daemon) - before;
    assert!(spent < 300, "{spent} ms of CPU in a second of waiting");
    limit(20_000);
    for client in &mut clients {
        let answer = crate::support::client::read_piece(client);
        // Those for whom only the second descriptor was missing may have been answered with an end.
        assert!(answer.is_ok(), "{answer:?}");
    }
    drop(clients);
    assert_eq!(who(front), "A");
    let admin = daemon.admin();
    until("counters are exact again", || {
        admin.count("l", "FRONTEND", "scur") == 0
    });
}

// issue point 8
#[test]
fn sigusr1_under_load_cuts_no_accepted_connection() {
    let server = Server::named("A");
    let (mut daemon, front) = balancer(2, "", &format!(" server s {}\n", server.addr()));
    let stop = AtomicBool::new(false);
    let (served, cut) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                while !stop.load(Ordering::Acquire) {
                    let Ok(mut stream) = connect_to(([127, 0, 0, 1], front).into()) else {
                        return;
                    };
                    // The first answer proves that it was accepted; from there on nothing may fail.
                    let first = stream
                        .write_all(b"1")
                        .and_then(|()| crate::support::client::read_piece(&mut stream));
                    if !matches!(first.as_deref(), Ok("A:1")) {
                        continue;
                    }
                    let more = (0..3).try_for_each(|_| {
                        std::thread::sleep(Duration::from_millis(3));
                        stream.write_all(b"2")?;
                        let got = crate::support::client::read_piece(&mut stream)?;
                        if got == "2" {
                            Ok(())
                        } else {
                            Err(io::Error::other(format!("{got:?}")))
                        }
                    });
                    match more {
                        Ok(()) => drop(served.fetch_add(1, Ordering::AcqRel)),
                        Err(e) => cut.lock().unwrap().push(e.to_string()),
                    }
                }
            });
        }
        std::thread::sleep(sized(Duration::from_millis(800), Duration::from_secs(5)));
        daemon.signal(Signal::SIGUSR1);
        let ended = daemon.ended_within(Duration::from_secs(8));
        stop.store(true, Ordering::Release);
        assert_eq!(ended.map(|status| status.code()), Some(Some(0)));
    });
    until("the port is closed", || refused(front));
    assert!(cut.lock().unwrap().is_empty(), "{:?}", cut.lock().unwrap());
    assert!(
        served.load(Ordering::Acquire) > 50,
        "{} served",
        served.load(Ordering::Acquire)
    );
}

// issue: one connection that goes wrong never ends another
#[test]
fn a_fault_in_one_connection_ends_no_other() {
    if on_haproxy() {
        return; // cannot be asked to fail
    }
    let (server, log) = (Server::named("A"), UdpLog::new());
    // A place that a fault did not give back would be missed at once.
    let (daemon, front) = balancer(
        2,
        &format!(" log 127.0.0.1:{} local0\n", log.port),
        &format!(
            " log global\n option tcplog\n server s {} maxconn 20\n",
            server.addr()
        ),
    );
    let admin = daemon.admin();
    let (mut held, _) = hold(front);
    let before = daemon.fds();
    let faults = sized(200, 1000);
    admin.run(&format!("debug dev panic {faults}"));
    let (served, cut) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let end = Instant::now() + Duration::from_secs(60);
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                while admin.info_number("Panics") < faults && Instant::now() < end {
                    for _ in 0..20 {
                        let counter = if who(front) == "A" { &served } else { &cut };
                        counter.fetch_add(1, Ordering::AcqRel);
                    }
                }
            });
        }
    });
    assert_eq!(admin.info_number("Panics"), faults);
    // A fault after the answer, while closing, is not seen by the client.
    assert!(
        cut.load(Ordering::Acquire) as u64 <= faults,
        "{cut:?} were cut by {faults} faults"
    );
    for _ in 0..40 {
        assert_eq!(who(front), "A");
    }
    assert_eq!(talk(&mut held, "still here"), "still here");
    until("only that one is left", || {
        admin.count("l", "FRONTEND", "scur") == 1
    });
    assert_eq!(admin.count("l", "s", "scur"), 1);
    assert_eq!(admin.count("l", "s", "qcur"), 0);
    until("descriptors are given back", || daemon.fds() <= before + 20);
    // The log says of each which connection it was and how far it had come.
    log.wait_n("ended by an internal error at stage", faults as usize);
}
