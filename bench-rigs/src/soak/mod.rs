//! The soak: many requests through one balancer, cut off at random by clients and origin, and at the end all who
//! counted must agree: client, origin, log, statistics. Its memory must not have grown.
//!
//! Client and origin are plain blocking threads. Requests are numbered, the number is in the path; so every request
//! is followed by itself (`ledger`), and not only sums are compared.

mod client;
mod ledger;
mod origin;
mod plan;

use crate::balancer::{Balancer, Contestant};
use crate::cli::Soak;
use crate::run::{Scratch, free_ports, placement};
use crate::{Fallible, sys};
use ledger::{Ledger, Lines};
use plan::Act;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const STACK: usize = 128 << 10;
const SAMPLE_EVERY: Duration = Duration::from_millis(250);
const TELL_EVERY: Duration = Duration::from_secs(10);
/// Nothing moves for so long: a hang.
const STALL_LIMIT: Duration = Duration::from_secs(40);
/// For the last sessions and log lines.
const SETTLE_LIMIT: Duration = Duration::from_secs(15);
/// Of the log's socket. A line lost there would look like one never written.
const LOG_BUFFER: usize = 16 << 20;
const LOG_LINE_MAX: usize = 2_048;
/// The first part of a run fills pools and buffers.
const WARM_SHARE: f64 = 0.25;
/// Fewer samples of memory say nothing about its growth.
const SAMPLES_MIN: usize = 40;

/// Runs it, prints what was counted, and fails if the counts differ or memory grew.
pub(crate) fn run(wanted: &Soak) -> Fallible<()> {
    let cores = sys::allowed_cores().map_err(|error| format!("sched_getaffinity: {error}"))?;
    let (balancer_cores, load_core) = placement(&cores, wanted.threads)?;
    sys::raise_open_files().map_err(|error| format!("limit of open files: {error}"))?;
    let scratch = Scratch::create()?;
    let (ports, listener, _beside) = free_ports(std::process::id())?;
    let ledger = Arc::new(Ledger::new(wanted.requests));
    let log = LogReader::start(ports.beside(), &ledger)?;
    origin::serve(listener, &ledger).map_err(|error| format!("origin: {error}"))?;
    let admin = scratch.0.join("admin.sock");
    let text = config(
        wanted,
        ports.front(),
        ports.origin(),
        ports.beside(),
        &admin,
    );
    let contestant = Contestant::at_defaults("balancer", &wanted.ringway);
    println!("balancer: {}", contestant.version()?);
    println!(
        "requests {}, connections {}, seed {}, threads {}",
        wanted.requests, wanted.connections, wanted.seed, wanted.threads
    );
    let balancer = contestant.start_with(&text, &[ports.front()], &balancer_cores, &scratch.0)?;
    // The connection that found out whether it is up has ended by the time of the first reading.
    settle(&log, &admin)?;
    let before = Totals::read(&admin)?;
    let lines_before = ledger.lines();
    sys::pin_thread(&[load_core]).map_err(|error| format!("sched_setaffinity: {error}"))?;
    let started = Instant::now();
    let memory =
        load(wanted, ports.front(), &ledger, &balancer).map_err(|why| balancer.with_words(&why))?;
    let took = started.elapsed();
    settle(&log, &admin)?;
    let totals = Totals::read(&admin)?.since(&before);
    let dropped = log.stop()?;
    balancer.stop()?;
    println!(
        "took {:.1} s, {:.0} requests a second\n",
        took.as_secs_f64(),
        wanted.requests as f64 / took.as_secs_f64()
    );
    let told = Report {
        ledger: &ledger,
        lines: less(ledger.lines(), &lines_before),
        totals,
        dropped,
        memory,
        slack_kib: wanted.memory_slack_kib,
    };
    told.print()
}

fn config(
    wanted: &Soak,
    front: SocketAddr,
    origin: SocketAddr,
    log: SocketAddr,
    admin: &Path,
) -> String {
    format!(
        "global\n    nbthread {}\n    maxconn 4000\n    stats socket {} level admin\n    log {log} local0\n\n\
         defaults\n    mode http\n    log global\n    log-format \"%ST %ts %HP\"\n    option dontlognull\n    \
         timeout connect 5s\n    timeout client 10s\n    timeout http-request 3s\n    timeout server 3s\n\n\
         frontend front\n    bind {front}\n    option forwardfor\n    acl static path_beg /static/\n    use_backend \
         other if static\n    default_backend back\n\nbackend back\n    server origin {origin}\n\nbackend other\n    \
         server origin {origin}\n",
        wanted.threads,
        admin.display()
    )
}

/// Resident memory of the balancer while the load ran: requests begun, KiB.
type Memory = Vec<(f64, f64)>;

fn load(
    wanted: &Soak,
    front: SocketAddr,
    ledger: &Arc<Ledger>,
    balancer: &Balancer,
) -> Fallible<Memory> {
    let mut workers = Vec::with_capacity(wanted.connections);
    for place in 0..wanted.connections {
        let (ledger, seed) = (Arc::clone(ledger), wanted.seed.wrapping_add(place as u64));
        let worker = thread::Builder::new()
            .stack_size(STACK)
            .spawn(move || client::work(front, &ledger, seed.wrapping_mul(0x1_0000_0001)))
            .map_err(|error| format!("thread: {error}"))?;
        workers.push(worker);
    }
    let meter = balancer.meter();
    let mut memory = Memory::new();
    let (mut told, mut moved, mut last) = (Instant::now(), Instant::now(), 0);
    while workers.iter().any(|worker| !worker.is_finished()) {
        thread::sleep(SAMPLE_EVERY);
        let (taken, rss) = (ledger.taken(), meter.rss_kib()?);
        memory.push((taken as f64, rss as f64));
        if taken != last {
            (moved, last) = (Instant::now(), taken);
        }
        if moved.elapsed() > STALL_LIMIT {
            return Err(format!(
                "no new request for {STALL_LIMIT:?} after {taken}: connections hang"
            ));
        }
        if told.elapsed() > TELL_EVERY {
            eprintln!("{taken} requests begun, {rss} KiB resident");
            told = Instant::now();
        }
    }
    Ok(memory)
}

/// Waits until no session is left and no log line comes any more.
fn settle(log: &LogReader, admin: &Path) -> Fallible<()> {
    let deadline = Instant::now() + SETTLE_LIMIT;
    let mut quiet = 0;
    let mut lines = log.count();
    while quiet < 4 {
        thread::sleep(SAMPLE_EVERY);
        let now = log.count();
        let sessions = Totals::read(admin)?.of("front", "FRONTEND", "scur");
        quiet = if sessions == 0 && now == lines {
            quiet + 1
        } else {
            0
        };
        lines = now;
        if Instant::now() > deadline {
            return Err(format!(
                "{sessions} sessions are left {SETTLE_LIMIT:?} after the last request"
            ));
        }
    }
    Ok(())
}

/// Receives the log in a thread of its own.
struct LogReader {
    over: Arc<AtomicBool>,
    ledger: Arc<Ledger>,
    thread: thread::JoinHandle<()>,
    port: u16,
}

impl LogReader {
    fn start(address: SocketAddr, ledger: &Arc<Ledger>) -> Fallible<Self> {
        let told = |error| format!("log on {address}: {error}");
        let socket = UdpSocket::bind(address).map_err(told)?;
        sys::widen_receive_buffer(&socket, LOG_BUFFER).map_err(told)?;
        socket
            .set_read_timeout(Some(Duration::from_millis(50)))
            .map_err(told)?;
        let over = Arc::new(AtomicBool::new(false));
        let (stop, book) = (Arc::clone(&over), Arc::clone(ledger));
        let body = move || {
            let mut line = [0; LOG_LINE_MAX];
            while !stop.load(Ordering::Relaxed) {
                if let Ok(got) = socket.recv(&mut line) {
                    book.logged(&String::from_utf8_lossy(&line[..got]));
                }
            }
        };
        let thread = thread::Builder::new()
            .name("log".to_owned())
            .spawn(body)
            .map_err(|error| format!("thread: {error}"))?;
        Ok(Self {
            over,
            ledger: Arc::clone(ledger),
            thread,
            port: address.port(),
        })
    }

    fn count(&self) -> usize {
        self.ledger.lines().total
    }

    /// Lines that the kernel threw away before they were read.
    fn stop(self) -> Fallible<usize> {
        let table = std::fs::read_to_string("/proc/net/udp")
            .map_err(|error| format!("/proc/net/udp: {error}"))?;
        self.over.store(true, Ordering::Relaxed);
        // It cannot panic, and takes at most one timeout.
        let _ended = self.thread.join();
        Ok(udp_drops(&table, self.port))
    }
}

/// The last column of the line whose local port it is (proc(5)).
fn udp_drops(table: &str, port: u16) -> usize {
    let local = format!(":{port:04X}");
    table
        .lines()
        .filter(|line| {
            let address = line.split_ascii_whitespace().nth(1);
            address.is_some_and(|address| address.ends_with(&local))
        })
        .filter_map(|line| line.split_ascii_whitespace().last()?.parse::<usize>().ok())
        .sum()
}

/// `show stat`, the numbers in it.
#[derive(Debug, Default)]
struct Totals(HashMap<(String, String, String), i64>);

impl Totals {
    fn read(admin: &Path) -> Fallible<Self> {
        let told = |error| format!("{}: {error}", admin.display());
        let mut stream = UnixStream::connect(admin).map_err(told)?;
        stream.set_read_timeout(Some(SETTLE_LIMIT)).map_err(told)?;
        stream.write_all(b"show stat\n").map_err(told)?;
        let mut text = String::new();
        stream.read_to_string(&mut text).map_err(told)?;
        Ok(Self::parse(&text))
    }

    fn parse(text: &str) -> Self {
        let mut lines = text.lines();
        let names: Vec<&str> = lines
            .next()
            .unwrap_or_default()
            .trim_start_matches("# ")
            .split(',')
            .collect();
        let mut cells = HashMap::new();
        for line in lines {
            let values: Vec<&str> = line.split(',').collect();
            let [proxy, row, ..] = values[..] else {
                continue;
            };
            for (name, value) in names.iter().zip(&values) {
                if let Ok(value) = value.parse() {
                    cells.insert(
                        (proxy.to_owned(), row.to_owned(), (*name).to_owned()),
                        value,
                    );
                }
            }
        }
        Self(cells)
    }

    /// 0 where it is empty or missing.
    fn of(&self, proxy: &str, row: &str, column: &str) -> i64 {
        let key = (proxy.to_owned(), row.to_owned(), column.to_owned());
        self.0.get(&key).copied().unwrap_or(0)
    }

    fn since(mut self, before: &Self) -> Self {
        for (key, value) in &mut self.0 {
            *value -= before.0.get(key).copied().unwrap_or(0);
        }
        self
    }
}

fn less(mut lines: Lines, before: &Lines) -> Lines {
    lines.total -= before.total;
    for (key, count) in &before.by_end {
        *lines.by_end.entry(key.clone()).or_default() -= count;
    }
    for (key, count) in &before.bad {
        *lines.bad.entry(key.clone()).or_default() -= count;
    }
    lines.odd -= before.odd;
    lines
}

struct Report<'l> {
    ledger: &'l Ledger,
    lines: Lines,
    totals: Totals,
    dropped: usize,
    memory: Memory,
    slack_kib: u64,
}

/// Two counts that must be equal, or the first at most the second.
struct Check {
    what: String,
    left: i64,
    right: i64,
    at_most: bool,
}

impl Check {
    fn holds(&self) -> bool {
        self.left == self.right || (self.at_most && self.left < self.right)
    }
}

fn signed(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

impl Report<'_> {
    fn print(&self) -> Fallible<()> {
        println!("{}", self.ledger.table());
        let mut ends = String::from("log lines by end and status:");
        for ((end, status), count) in &self.lines.by_end {
            let _infallible = write!(ends, " {end}/{status}:{count}");
        }
        println!("{ends}\n");
        for (proxy, row) in [
            ("front", "FRONTEND"),
            ("back", "origin"),
            ("back", "BACKEND"),
        ] {
            let mut text = format!("show stat {proxy}/{row}:");
            for column in [
                "stot",
                "req_tot",
                "hrsp_1xx",
                "hrsp_2xx",
                "hrsp_3xx",
                "hrsp_4xx",
                "hrsp_5xx",
                "hrsp_other",
                "ereq",
                "econ",
                "eresp",
                "cli_abrt",
                "srv_abrt",
                "wretr",
                "wredis",
            ] {
                let value = self.totals.of(proxy, row, column);
                let _infallible = write!(text, " {column}={value}");
            }
            println!("{text}");
        }
        println!();
        let mut failed = 0;
        for check in self.checks() {
            let sign = match (check.holds(), check.at_most) {
                (true, false) => "=",
                (true, true) => "<=",
                (false, _) => "DIFFERS FROM",
            };
            failed += usize::from(!check.holds());
            println!("{}: {} {sign} {}", check.what, check.left, check.right);
        }
        for (what, count, first) in self.ledger.contradictions() {
            failed += usize::from(count > 0);
            println!("{what}: {count} {first}");
        }
        println!(
            "requests sent again over a new connection: {}",
            self.ledger.repeats()
        );
        failed += usize::from(!self.memory_is_flat());
        if failed > 0 {
            return Err(format!("{failed} counts are not as they should be"));
        }
        println!("all counts agree");
        Ok(())
    }

    fn checks(&self) -> Vec<Check> {
        let front = |column| self.totals.of("front", "FRONTEND", column);
        let check = |what: &str, left: i64, right: i64, at_most| Check {
            what: what.to_owned(),
            left,
            right,
            at_most,
        };
        let bad: usize = self.lines.bad.values().sum();
        let named = self.ledger.named_lines();
        let mut all = vec![
            check("log lines lost on the way", signed(self.dropped), 0, false),
            check("log lines not understood", signed(self.lines.odd), 0, false),
            check(
                "log lines, and those with a request or a bad one",
                signed(self.lines.total),
                signed(named + bad),
                false,
            ),
            check(
                "lines of bad requests, and clients that sent part of a head or nonsense",
                signed(bad),
                signed(self.ledger.did(&[
                    Act::HeadReset,
                    Act::HeadEnd,
                    Act::Malformed,
                    Act::Stall,
                    // Their reset may be seen before they are read.
                    Act::RequestReset,
                    Act::UploadReset,
                ])),
                true,
            ),
            check(
                "requests answered, and log lines of requests",
                signed(self.ledger.answers()),
                signed(named),
                true,
            ),
            check(
                "different requests at the origin, and log lines of requests",
                signed(self.ledger.origin_requests()),
                signed(named),
                true,
            ),
            check(
                "req_tot of the frontend, and log lines",
                front("req_tot"),
                signed(self.lines.total),
                false,
            ),
        ];
        for class in 1..=5_u16 {
            let column = format!("hrsp_{class}xx");
            all.push(check(
                &format!("{column} of the frontend, and log lines"),
                self.totals.of("front", "FRONTEND", &column),
                signed(self.lines.of_class(class)),
                false,
            ));
        }
        all.push(check(
            "hrsp_other of the frontend, and log lines without a status",
            front("hrsp_other"),
            signed(self.lines.count(|_, status| !(100..600).contains(&status))),
            false,
        ));
        let back = |column| self.totals.of("back", "BACKEND", column);
        let ended = |wanted: &dyn Fn(&str) -> bool| signed(self.lines.ended(wanted));
        for (what, left, right) in [
            (
                "cli_abrt of the backend, and lines of requests that the client ended (C.)",
                back("cli_abrt"),
                ended(&|end| end.starts_with('C')),
            ),
            (
                "srv_abrt of the backend, and lines of responses that the server cut (SD)",
                back("srv_abrt"),
                ended(&|end| end == "SD"),
            ),
            (
                "eresp of the backend, and lines of requests without a good response (SH, sH, PH)",
                back("eresp"),
                ended(&|end| matches!(end, "SH" | "sH" | "PH")),
            ),
            (
                "econ of the backend, and lines of requests without a connection (SC, sC)",
                back("econ"),
                ended(&|end| matches!(end, "SC" | "sC")),
            ),
            (
                "req_tot of the backend, and log lines of requests",
                back("req_tot"),
                signed(named),
            ),
        ] {
            all.push(check(what, left, right, false));
        }
        all.push(check(
            "ereq of the frontend, and log lines of what was no request",
            front("ereq"),
            signed(bad),
            false,
        ));
        all
    }

    /// Compares the first quarter after the warm-up with the last one, and tells the slope between.
    fn memory_is_flat(&self) -> bool {
        let end = self.memory.last().map_or(0.0, |(requests, _)| *requests);
        let warm = self
            .memory
            .partition_point(|(requests, _)| *requests < end * WARM_SHARE);
        let samples = &self.memory[warm..];
        let (first, last) = (samples.first(), samples.last());
        let (Some(first), Some(last)) = (first, last) else {
            println!("memory: too short a run to tell");
            return true;
        };
        let mean = |part: &[(f64, f64)]| {
            part.iter().map(|(_, rss)| rss).sum::<f64>() / part.len().max(1) as f64
        };
        let quarter = (samples.len() / 4).max(1);
        let (early, late) = (
            mean(&samples[..quarter]),
            mean(&samples[samples.len() - quarter..]),
        );
        println!(
            "memory: {:.0} KiB at {:.0} requests, {:.0} KiB at {:.0}; slope {:.1} KiB per million requests; mean of \
             the quarters {early:.0} and {late:.0} KiB, {} samples",
            first.1,
            first.0,
            last.1,
            last.0,
            slope(samples) * 1e6,
            samples.len()
        );
        let flat = samples.len() < SAMPLES_MIN || late - early <= self.slack_kib as f64;
        if !flat {
            println!("memory GREW by more than {} KiB", self.slack_kib);
        }
        flat
    }
}

/// Of the line through the samples, by least squares.
fn slope(samples: &[(f64, f64)]) -> f64 {
    let count = samples.len() as f64;
    let (mut x_sum, mut y_sum) = (0.0, 0.0);
    for (x, y) in samples {
        x_sum += x;
        y_sum += y;
    }
    let (x_mean, y_mean) = (x_sum / count, y_sum / count);
    let (mut above, mut below) = (0.0, 0.0);
    for (x, y) in samples {
        above += (x - x_mean) * (y - y_mean);
        below += (x - x_mean) * (x - x_mean);
    }
    if below > 0.0 { above / below } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_its_slope() {
        assert!((slope(&[(0.0, 5.0), (2.0, 9.0), (4.0, 13.0)]) - 2.0).abs() < 1e-9);
        assert_eq!(slope(&[(3.0, 5.0)]), 0.0);
    }

    #[test]
    fn statistics_are_read_by_their_names_and_subtracted() {
        let text = "# pxname,svname,scur,req_tot,\nfront,FRONTEND,0,12,\nback,BACKEND,,3,\n\n";
        let totals = Totals::parse(text);
        assert_eq!(totals.of("front", "FRONTEND", "req_tot"), 12);
        assert_eq!(totals.of("back", "BACKEND", "scur"), 0);
        let since = Totals::parse(text).since(&totals);
        assert_eq!(since.of("front", "FRONTEND", "req_tot"), 0);
    }

    #[test]
    fn drops_are_those_of_the_port() {
        let table = "  sl  local_address rem_address st drops\n 1: 0100007F:59C2 00000000:0000 07 0 7\n 2: \
                     0100007F:59C3 00000000:0000 07 0 9\n";
        assert_eq!(udp_drops(table, 0x59c2), 7);
        assert_eq!(udp_drops(table, 0x1234), 0);
    }
}
