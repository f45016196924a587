//! Sessions that last: as many as the limit of descriptors allows, most of them silent, for as long as
//! the full run takes.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::support::client::connect_to;
use crate::support::server::listen;
use crate::support::{Daemon, Launch, port, sized, until};

/// Sends back what it gets, on one thread however many there are.
struct Echo {
    addr: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Echo {
    fn new() -> Self {
        let addr = SocketAddr::from(([127, 0, 0, 1], port()));
        let listener = listen(addr, 4096).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || echo_all(&listener, &stopped));
        Self {
            addr,
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn echo_all(listener: &TcpListener, stop: &AtomicBool) {
    const LISTENER: u64 = 0;
    let epoll = Epoll::new(EpollCreateFlags::empty()).unwrap();
    let add = |fd: &dyn AsFd, id: u64| epoll.add(fd, EpollEvent::new(EpollFlags::EPOLLIN, id));
    listener.set_nonblocking(true).unwrap();
    add(listener, LISTENER).unwrap();
    let mut streams = HashMap::new();
    let mut next = LISTENER + 1;
    let mut events = vec![EpollEvent::empty(); 256];
    let mut buf = [0; 4096];
    while !stop.load(Ordering::Acquire) {
        let n = epoll.wait(&mut events, EpollTimeout::from(100_u8));
        for event in &events[..n.unwrap_or(0)] {
            if event.data() == LISTENER {
                while let Ok((stream, _)) = listener.accept() {
                    stream.set_nodelay(true).unwrap();
                    add(&stream, next).unwrap();
                    streams.insert(next, stream);
                    next += 1;
                }
                continue;
            }
            let Some(mut stream) = streams.get(&event.data()) else {
                continue;
            };
            // What is said is short and answered at once, so that a write never has to wait.
            let alive = match stream.read(&mut buf) {
                Ok(0) | Err(_) => false,
                Ok(n) => stream.write_all(&buf[..n]).is_ok(),
            };
            if !alive {
                streams.remove(&event.data());
            }
        }
    }
}

/// Raises this process' soft limit of descriptors to the hard one, and tells it.
fn descriptors() -> usize {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    usize::try_from(soft).unwrap()
}

fn resident_kb(daemon: &Daemon) -> u64 {
    let text = daemon.proc_status("VmRSS");
    text.trim_end_matches(" kB").parse().unwrap()
}

/// Time on a core so far.
fn cpu(daemon: &Daemon) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", daemon.pid)).unwrap();
    let after = stat.rsplit_once(") ").unwrap().1.split(' ');
    let ticks: u64 = after
        .skip(11)
        .take(2)
        .map(|t| t.parse::<u64>().unwrap())
        .sum();
    Duration::from_millis(ticks * 10)
}

/// Says a word and waits for the echo; how long it took.
fn beat(stream: &mut TcpStream, n: usize) -> Duration {
    let began = Instant::now();
    let word = format!("{n:08}");
    let mut back = [0; 8];
    let answered = stream
        .write_all(word.as_bytes())
        .and_then(|()| stream.read_exact(&mut back));
    answered.unwrap_or_else(|e| panic!("session {n}, descriptor {}: {e}", stream.as_raw_fd()));
    assert_eq!(back, word.as_bytes());
    began.elapsed()
}

// V13, V11: long-lived sessions
#[test]
fn sessions_that_are_silent_for_long_are_all_there_and_memory_stays_flat() {
    let (echo, front) = (Echo::new(), port());
    // Without a maxconn: as many as the limit of descriptors allows.
    let daemon = Launch::new(&format!(
        "global\n nbthread 2\n stats socket @DIR@/admin\ndefaults\n mode tcp\n timeout connect 10s\n timeout client 24h\n \
         timeout server 24h\n balance leastconn\nlisten l\n bind 127.0.0.1:{front}\n maxconn 100000\n server s {}\n",
        echo.addr
    ))
    .start();
    let allowed = usize::try_from(daemon.admin().info_number("Maxconn")).unwrap();
    // Both ends are in this process, which other tests share in the short run.
    let ends = (descriptors() - 300) / 2;
    let sessions = sized(1000, allowed).min(ends);
    let seconds = std::env::var("RINGWAY_LONG_SECONDS").ok();
    let seconds = seconds.map_or_else(|| sized(4, 900), |text| text.parse().unwrap());

    let before = (resident_kb(&daemon), daemon.fds());
    let mut held: Vec<_> = (0..sessions)
        .map(|n| {
            let mut stream = connect_to(([127, 0, 0, 1], front).into()).unwrap();
            beat(&mut stream, n);
            stream
        })
        .collect();
    let admin = daemon.admin();
    assert_eq!(admin.count("l", "FRONTEND", "scur"), sessions as u64);
    let full_kb = resident_kb(&daemon);

    // One in eight says a word from time to time, as the clients of a broker do; the others nothing.
    let (began, busy) = (Instant::now(), cpu(&daemon));
    let end = began + Duration::from_secs(seconds);
    let (mut beats, mut slowest, mut largest_kb) = (0, Duration::ZERO, full_kb);
    while Instant::now() < end {
        for n in (0..sessions).step_by(8) {
            slowest = slowest.max(beat(&mut held[n], n));
            beats += 1;
        }
        largest_kb = largest_kb.max(resident_kb(&daemon));
        assert_eq!(admin.count("l", "FRONTEND", "scur"), sessions as u64);
        std::thread::sleep(Duration::from_secs(sized(1, 10)));
    }
    let share = (cpu(&daemon) - busy).as_secs_f64() / began.elapsed().as_secs_f64();

    // Who was silent all the time is served as on the first day.
    for (n, stream) in held.iter_mut().enumerate() {
        slowest = slowest.max(beat(stream, n));
    }
    let activity = admin.run("show activity");
    let line = activity
        .lines()
        .find(|line| line.starts_with("connections:"));
    println!(
        "{sessions} sessions of {allowed} allowed, {:?}: {} KB before, {full_kb} KB with all, {largest_kb} KB at most; \
         {beats} beats, slowest echo {slowest:?}, {:.2} % of a core; {}",
        began.elapsed(),
        before.0,
        share * 100.0,
        line.unwrap_or("no threads")
    );
    assert!(
        largest_kb < full_kb + full_kb / 50 + 1024,
        "{full_kb} KB grew to {largest_kb} KB"
    );
    let threads: Vec<usize> = line
        .and_then(|line| line.split_once('['))
        .map(|(_, list)| list.split(' ').filter_map(|n| n.parse().ok()).collect())
        .unwrap_or_default();
    assert_eq!(threads.len(), 2, "{activity}");
    assert!(threads.iter().all(|&n| n * 3 > sessions), "{threads:?}");

    drop(held);
    until("all are gone", || admin.count("l", "FRONTEND", "scur") == 0);
    until("so are their descriptors", || daemon.fds() <= before.1 + 8);
}
