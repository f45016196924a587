//! Reload after reload under load: nobody is refused, nobody is reset, no request fails, and connections that are held
//! end when their clients end them. Short in continuous integration; `RINGWAY_FULL=1` runs the numbers of the
//! acceptance list, and the same loop with haproxy beside it, whose figures are printed and not judged.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::support::client::connect_to;
use crate::support::{
    Daemon, Launch, Server, TempDir, balancer, full, oracle, port, sized, within,
};

/// Clients that open a connection for each request, and clients that keep theirs.
const NEW: usize = 4;
const KEPT: usize = 6;
const BODY: &str = "well";
/// A start that takes longer than this counts as one that failed.
const START: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// `-sf`, the admin socket is found.
    Finish,
    /// `-x` and `-sf`.
    Takeover,
    /// SIGUSR2 to the master.
    Master,
}

/// What became of the requests.
#[derive(Debug, Default)]
struct Tally {
    answered: AtomicU64,
    refused: AtomicU64,
    reset: AtomicU64,
    failed: AtomicU64,
    /// A connection that had served before was closed when the next request was under way: what HTTP cannot avoid.
    crossed: AtomicU64,
    examples: Mutex<Vec<String>>,
}

impl Tally {
    fn lost(&self, count: &AtomicU64, what: String) {
        count.fetch_add(1, SeqCst);
        let mut examples = self.examples.lock().unwrap();
        if examples.len() < 10 {
            examples.push(what);
        }
    }

    fn by_error(&self, when: &str, error: &std::io::Error) {
        let count = match error.kind() {
            ErrorKind::ConnectionRefused => &self.refused,
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => &self.reset,
            _ => &self.failed,
        };
        self.lost(count, format!("{when}: {error}"));
    }

    fn text(&self, took: Duration) -> String {
        let [answered, refused, reset, failed, crossed] = [
            &self.answered,
            &self.refused,
            &self.reset,
            &self.failed,
            &self.crossed,
        ]
        .map(|count| count.load(SeqCst));
        format!(
            "{answered} answered ({:.0}/s), {refused} refused, {reset} reset, {failed} failed, {crossed} crossed a close {:?}",
            answered as f64 / took.as_secs_f64(),
            self.examples.lock().unwrap()
        )
    }

    fn losses(&self) -> u64 {
        self.refused.load(SeqCst) + self.reset.load(SeqCst) + self.failed.load(SeqCst)
    }
}

/// What one request on one connection came to.
enum Came {
    Answer {
        stays: bool,
    },
    /// The end, or a reset, before the first byte of an answer.
    Nothing(Option<std::io::Error>),
    Wrong(String),
}

fn request(stream: &mut TcpStream, keep: bool) -> Came {
    let text: &[u8] = if keep {
        b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
    } else {
        b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
    };
    if let Err(error) = stream.write_all(text) {
        return Came::Nothing(Some(error));
    }
    let (mut space, mut held) = ([0; 2048], 0);
    loop {
        match stream.read(&mut space[held..]) {
            Ok(0) if held == 0 => return Came::Nothing(None),
            Ok(0) => return Came::Wrong(format!("cut off after {held} bytes")),
            Ok(count) => held += count,
            Err(error) if held == 0 => return Came::Nothing(Some(error)),
            Err(error) => return Came::Wrong(format!("after {held} bytes: {error}")),
        }
        let text = String::from_utf8_lossy(&space[..held]);
        if let Some((head, body)) = text.split_once("\r\n\r\n")
            && body.len() >= BODY.len()
        {
            if !head.starts_with("HTTP/1.1 200 ") || body != BODY {
                return Came::Wrong(text.into_owned());
            }
            let stays = !head.to_ascii_lowercase().contains("connection: close");
            return Came::Answer { stays };
        }
    }
}

/// A connection for each request.
fn ask_anew(front: u16, tally: &Tally) {
    let mut stream = match connect_to(([127, 0, 0, 1], front).into()) {
        Ok(stream) => stream,
        Err(error) => return tally.by_error("connect", &error),
    };
    match request(&mut stream, false) {
        Came::Answer { .. } => {
            tally.answered.fetch_add(1, SeqCst);
            match stream.read(&mut [0; 16]) {
                Ok(0) => {}
                Ok(_) => tally.lost(&tally.failed, "more than the answer".to_owned()),
                Err(error) => tally.by_error("at the end", &error),
            }
        }
        Came::Nothing(Some(error)) => tally.by_error("new", &error),
        Came::Nothing(None) => tally.lost(&tally.failed, "new: no answer".to_owned()),
        Came::Wrong(what) => tally.lost(&tally.failed, format!("new: {what}")),
    }
}

/// One connection for as many requests as it serves, at least one.
fn ask_again(front: u16, tally: &Tally, over: &AtomicBool) {
    let mut stream = match connect_to(([127, 0, 0, 1], front).into()) {
        Ok(stream) => stream,
        Err(error) => return tally.by_error("connect", &error),
    };
    let mut served = 0;
    while !over.load(SeqCst) {
        match request(&mut stream, true) {
            Came::Answer { stays } => {
                tally.answered.fetch_add(1, SeqCst);
                served += 1;
                if !stays {
                    return;
                }
            }
            Came::Nothing(error) if served > 0 => {
                return tally.lost(&tally.crossed, format!("request {served}: {error:?}"));
            }
            Came::Nothing(Some(error)) => return tally.by_error("kept, first", &error),
            Came::Nothing(None) => return tally.lost(&tally.failed, "kept, first".to_owned()),
            Came::Wrong(what) => return tally.lost(&tally.failed, format!("kept: {what}")),
        }
        if ended(&stream) {
            return;
        }
    }
}

/// Whether the other side closed meanwhile: a client looks before it sends.
fn ended(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let ended = !matches!(stream.peek(&mut [0]), Err(e) if e.kind() == ErrorKind::WouldBlock);
    stream.set_nonblocking(false).unwrap();
    ended
}

/// Answers requests on kept connections.
fn web_server() -> Server {
    Server::new(|mut stream, _| {
        let (mut space, mut held) = ([0; 4096], 0);
        loop {
            match stream.read(&mut space[held..]) {
                Ok(count) if count > 0 => held += count,
                _ => return,
            }
            if space[..held].ends_with(b"\r\n\r\n") {
                held = 0;
                let answer = format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{BODY}",
                    BODY.len()
                );
                if stream.write_all(answer.as_bytes()).is_err() {
                    return;
                }
            }
        }
    })
}

/// A connection through the TCP relay, whose other side answers `A:` once and then what it gets.
struct Held(TcpStream);

impl Held {
    #[track_caller]
    fn new(relay: u16) -> Self {
        let mut held = Self(connect_to(([127, 0, 0, 1], relay).into()).expect("the relay listens"));
        held.say("x", "A:x");
        held
    }

    #[track_caller]
    fn say(&mut self, text: &str, answer: &str) {
        self.0.write_all(text.as_bytes()).expect("it is alive");
        let mut came = vec![0; answer.len()];
        self.0.read_exact(&mut came).expect("it is alive");
        assert_eq!(came, answer.as_bytes());
    }

    /// Its own end, seen from both sides.
    #[track_caller]
    fn end(mut self) {
        self.say("still here", "still here");
        self.0.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(self.0.read(&mut [0; 8]).expect("an end in order"), 0);
    }
}

struct Place {
    dir: TempDir,
    front: u16,
    relay: u16,
    web: Server,
    echo: Server,
}

impl Place {
    fn new() -> Self {
        Self {
            dir: TempDir::new(),
            front: port(),
            relay: port(),
            web: web_server(),
            echo: Server::named("A"),
        }
    }

    fn admin(&self) -> String {
        self.dir.file("admin.sock")
    }

    fn config(&self) -> String {
        format!(
            "global\n nbthread 2\n maxconn 3000\n mworker-max-reloads 10000\n\
             \x20stats socket {} mode 600 level admin expose-fd listeners\n\
             defaults\n timeout connect 20s\n timeout client 10m\n timeout server 10m\n\
             listen w\n mode http\n bind 127.0.0.1:{}\n server s {}\n\
             listen r\n mode tcp\n bind 127.0.0.1:{}\n server s {}\n",
            self.admin(),
            self.front,
            self.web.addr(),
            self.relay,
            self.echo.addr()
        )
    }

    fn broken(&self) -> String {
        format!("{} no such line\n", self.config())
    }
}

/// The processes of one run, in whatever way they follow each other.
struct Chain<'a> {
    program: PathBuf,
    how: How,
    place: &'a Place,
    now: Daemon,
    /// Those that still have sessions.
    former: Vec<Daemon>,
}

impl<'a> Chain<'a> {
    #[track_caller]
    fn start(program: &Path, how: How, place: &'a Place) -> Self {
        let launch = Launch::of(program.to_owned(), &place.config());
        let now = match how {
            How::Master => {
                let master = launch.ports(&[]).arg("-W").spawn(&["-db"]);
                wait("the first worker serves", || {
                    master.output().contains("Loading success.")
                });
                master
            }
            _ => behind(launch),
        };
        Self {
            program: program.to_owned(),
            how,
            place,
            now,
            former: Vec::new(),
        }
    }

    fn launch(&self, config: &str) -> Launch {
        let mut launch = Launch::of(self.program.clone(), config);
        let pids = self.former.iter().chain([&self.now]);
        let pids: Vec<_> = pids.map(|daemon| daemon.pid.to_string()).collect();
        if self.how == How::Takeover {
            launch = launch.arg("-x").arg(&self.place.admin());
        }
        launch = launch.arg("-sf");
        pids.iter().fold(launch, |launch, pid| launch.arg(pid))
    }

    #[track_caller]
    fn reload(&mut self) {
        if self.how == How::Master {
            let config = self.place.config();
            return self.signal(&config, &["Loading success."]);
        }
        let next = self.launch(&self.place.config());
        let next = behind(next);
        self.former.push(std::mem::replace(&mut self.now, next));
        self.former.retain_mut(Daemon::alive);
    }

    /// One that must change nothing.
    #[track_caller]
    fn fail(&mut self) {
        let config = self.place.broken();
        if self.how == How::Master {
            return self.signal(&config, &["Failed to load worker", "Loading failure!"]);
        }
        assert_eq!(self.launch(&config).arg("-db").run().code(), 1);
        assert!(self.now.alive());
    }

    #[track_caller]
    fn signal(&self, config: &str, said: &[&str]) {
        let count = || {
            let all = self.now.output();
            said.iter()
                .map(|text| all.matches(text).count())
                .sum::<usize>()
        };
        let before = count();
        self.now.dir.write("cfg", config);
        self.now.signal(Signal::SIGUSR2);
        let mut sent = Instant::now();
        wait("the master says how it went", || {
            // haproxy's loses a signal that comes while it replaces itself.
            if self.program == oracle() && sent.elapsed() > Duration::from_secs(1) {
                self.now.signal(Signal::SIGUSR2);
                sent = Instant::now();
            }
            count() > before
        });
    }

    /// Processes that are not the newest.
    fn left(&mut self) -> usize {
        if self.how == How::Master {
            let path = format!("/proc/{0}/task/{0}/children", self.now.pid);
            let text = std::fs::read_to_string(path).unwrap_or_default();
            return text.split_ascii_whitespace().count().saturating_sub(1);
        }
        self.former.retain_mut(Daemon::alive);
        self.former.len()
    }
}

/// In the background, so that its parent tells when it serves: looking for its sockets among so many takes long.
#[track_caller]
fn behind(launch: Launch) -> Daemon {
    let pidfile = launch.dir().file("pid");
    launch
        .arg("-D")
        .arg("-p")
        .arg(&pidfile)
        .start_daemon(&pidfile)
}

#[track_caller]
fn wait(what: &str, holds: impl FnMut() -> bool) {
    assert!(
        within(START, holds),
        "never happened within {START:?}: {what}"
    );
}

/// Reloads so often under load. Gives what became of the requests, and how long it took.
#[track_caller]
fn run(program: &Path, how: How, reloads: usize, held: usize) -> (Arc<Tally>, Duration) {
    let place = Place::new();
    let mut chain = Chain::start(program, how, &place);
    let mut holding: Vec<Held> = (0..held).map(|_| Held::new(place.relay)).collect();
    let (tally, over) = (Arc::new(Tally::default()), AtomicBool::new(false));
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let end = Ends(&over);
        for n in 0..NEW + KEPT {
            let (tally, over, place) = (&tally, &over, &place);
            scope.spawn(move || {
                while !over.load(SeqCst) && tally.losses() < 1000 {
                    if n < NEW {
                        ask_anew(place.front, tally);
                    } else {
                        ask_again(place.front, tally, over);
                    }
                }
            });
        }
        for n in 0..reloads {
            let before = tally.answered.load(SeqCst);
            chain.reload();
            if n % 10 == 4 {
                chain.fail();
            }
            // Some end of their own will now and then, others come to the newest process.
            if n % 25 == 7 {
                let count = held / 10;
                holding.drain(..count).for_each(Held::end);
                holding.extend((0..count).map(|_| Held::new(place.relay)));
            }
            wait("requests go on", || {
                tally.answered.load(SeqCst) > before + sized(50, 500)
            });
        }
        drop(end);
    });
    let took = begun.elapsed();
    for (n, held) in holding.iter_mut().enumerate() {
        held.say(&n.to_string(), &n.to_string());
    }
    holding.into_iter().for_each(Held::end);
    wait("those before leave", || chain.left() == 0);
    (tally, took)
}

/// Ends what waits for the flag, also where a check fails.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

#[track_caller]
fn nothing_is_lost(how: How, reloads: (usize, usize)) {
    let (reloads, held) = (sized(reloads.0, reloads.1), sized(100, 500));
    let (tally, took) = run(&balancer(), how, reloads, held);
    let own = tally.text(took);
    eprintln!("{how:?}, {reloads} reloads, {held} held: {own}");
    if full() && balancer() != oracle() {
        let (tally, took) = run(&oracle(), how, reloads, held);
        eprintln!("{how:?}, haproxy: {}", tally.text(took));
    }
    assert_eq!(tally.losses(), 0, "{own}");
    // A client that is kept from running for half a second may still cross a close; it was two for each reload.
    let crossed = tally.crossed.load(SeqCst);
    assert!(crossed <= 1 + reloads as u64 / 10, "{own}");
}

// R12
#[test]
fn nothing_is_lost_by_processes_that_follow_each_other() {
    nothing_is_lost(How::Finish, (10, 200));
}

// R12
#[test]
fn nothing_is_lost_by_workers_of_a_master_that_follow_each_other() {
    nothing_is_lost(How::Master, (10, 200));
}

// R12
#[test]
fn nothing_is_lost_by_processes_that_are_told_where_to_take_over() {
    nothing_is_lost(How::Takeover, (5, 50));
}
