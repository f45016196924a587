//! The same tests over both executors, on real sockets.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::*;
use crate::config::{
    BindAddress, CliLevel, Config, Facility, Input, Level, LoadInputs, LogAddress, LogTarget,
    LogWire, StatsSocket, load,
};
use crate::io::sys::rights;
use crate::lang::source::{FileId, Span};
use crate::observe::cli::Rights;

/// A control thread with a unix socket (admin) and a TCP socket (user).
struct Rig {
    handle: ControlHandle,
    path: PathBuf,
    tcp: std::net::SocketAddr,
    shared: Arc<Shared>,
    offered: TcpListener,
    door: UnixStream,
}

fn config(text: &str) -> Config {
    let inputs = vec![Input::Text {
        name: "test.cfg".into(),
        bytes: text.into(),
    }];
    let loaded = load(&LoadInputs {
        inputs,
        shards: 2,
        ..LoadInputs::default()
    });
    assert!(!loaded.diags.has_errors(), "{:#?}", loaded.diags.list);
    loaded.config.expect("there was no error")
}

fn socket(address: BindAddress, level: CliLevel) -> StatsSocket {
    StatsSocket {
        address,
        level,
        mode: None,
        uid: None,
        gid: None,
        backlog: None,
        maxconn: None,
        expose_fd: false,
        span: Span {
            file: FileId(0),
            line: 1,
            col: 0,
            len: 0,
        },
    }
}

fn rig(poller: Wanted, servers: usize, change: impl FnOnce(&mut Config)) -> Rig {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = format!(
        "ringway-control-{}-{}.sock",
        std::process::id(),
        COUNT.fetch_add(1, Relaxed)
    );
    let path = std::env::temp_dir().join(name);
    let _ = std::fs::remove_file(&path);
    let unix = UnixListener::bind(&path).unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = tcp.local_addr().unwrap();
    let lines: String = (0..servers)
        .map(|n| format!(" server s{n} 127.0.0.1:80\n"))
        .collect();
    let mut config = config(&format!(
        "defaults\n timeout connect 1s\n timeout client 1s\n timeout server 1s\nbackend b\n{lines}"
    ));
    config.global.stats_sockets = vec![
        socket(BindAddress::Unix(path.clone()), CliLevel::Admin),
        socket(BindAddress::Ip(address), CliLevel::User),
    ];
    change(&mut config);
    let logs = LogOutputs::open(&config);
    let shared = Arc::new(Shared::new(Arc::new(config), 2));
    let offered = tcp.try_clone().unwrap();
    let (door, passage) = UnixStream::pair().unwrap();
    let handle = spawn(ControlSetup {
        shared: Arc::clone(&shared),
        sockets: vec![(unix.into(), 0), (tcp.into(), 1)],
        offered: vec![handover::Offered {
            fd: offered.as_raw_fd(),
            bind: 0,
            interface: None,
        }],
        channel: None,
        door: Some(passage.into()),
        logs,
        facts: Facts {
            version: "3.4.0-ringway-test".into(),
            ..Facts::default()
        },
        poller,
    })
    .unwrap();
    Rig {
        handle,
        path,
        tcp: address,
        shared,
        offered,
        door,
    }
}

impl Rig {
    fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(&self.path).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        stream
    }

    fn ask(&self, command: &str) -> String {
        let mut stream = self.connect();
        stream.write_all(command.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn stop(self) {
        self.handle.stop();
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Runs a test over both executors. Where there is no io_uring at all, glommio cannot be shown.
fn over_both(test: impl Fn(Wanted)) {
    test(Wanted::Poll);
    if io_uring::IoUring::new(2).is_ok() {
        test(Wanted::Glommio);
    }
}

const VERSION: &str = "3.4.0-ringway-test\n\n";

#[test]
fn a_command_is_answered_and_the_connection_closed() {
    over_both(|poller| {
        let rig = rig(poller, 1, |_| {});
        assert_eq!(rig.ask("show version\n"), VERSION);
        assert_eq!(rig.ask("show cli level\n"), "admin\n\n");
        let cli = format!(
            "HAPROXY_CLI=unix@{};ipv4@{}\n\n",
            rig.path.display(),
            rig.tcp
        );
        assert_eq!(rig.ask("show env HAPROXY_CLI\n"), cli);
        let mut tcp = TcpStream::connect(rig.tcp).unwrap();
        tcp.write_all(b"show cli level\n").unwrap();
        let mut answer = String::new();
        tcp.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "user\n\n");
        rig.stop();
    });
}

#[test]
fn the_poller_names_itself() {
    over_both(|poller| {
        let rig = rig(poller, 1, |_| {});
        let name = if poller == Wanted::Poll {
            "poll"
        } else {
            "glommio"
        };
        assert_eq!(rig.handle.poller_name(), name);
        assert!(
            rig.ask("show info\n")
                .contains(&format!("\nControlPoller: {name}\n"))
        );
        rig.stop();
    });
}

#[test]
fn commands_may_come_in_parts() {
    over_both(|poller| {
        let rig = rig(poller, 1, |_| {});
        let mut stream = rig.connect();
        for part in [&b"show ver"[..], b"sion\nshow", b" version\n"] {
            stream.write_all(part).unwrap();
            thread::sleep(Duration::from_millis(20));
        }
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap_or_default();
        assert!(answer.starts_with(VERSION));
        rig.stop();
    });
}

#[test]
fn a_prompt_stays_open_until_quit() {
    over_both(|poller| {
        let rig = rig(poller, 1, |_| {});
        let mut stream = rig.connect();
        let mut read = |want: &str, send: &str| {
            stream.write_all(send.as_bytes()).unwrap();
            let mut got = vec![0; want.len()];
            stream.read_exact(&mut got).unwrap();
            assert_eq!(String::from_utf8(got).unwrap(), want);
        };
        read("\n> ", "prompt\n");
        read("3.4.0-ringway-test\n\n> ", "show version\n");
        read("hi\n\n> ", "echo hi\n");
        stream.write_all(b"quit\n").unwrap();
        assert_eq!(stream.read_to_string(&mut String::new()).unwrap(), 0);
        rig.stop();
    });
}

/// 3,000 servers are 1.5 MB of CSV: more than any socket buffer takes.
#[test]
fn a_reader_that_does_not_read_stops_nobody_else() {
    over_both(|poller| {
        let rig = rig(poller, 3000, |_| {});
        let mut slow: Vec<UnixStream> = (0..5).map(|_| rig.connect()).collect();
        for stream in &mut slow {
            stream.write_all(b"show stat\n").unwrap();
        }
        thread::sleep(Duration::from_millis(50));
        let began = Instant::now();
        assert_eq!(rig.ask("show version\n"), VERSION);
        assert!(began.elapsed() < Duration::from_secs(2));
        let whole = rig.ask("show stat\n");
        for mut stream in slow {
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            assert_eq!(answer, whole);
        }
        assert_eq!(whole.lines().count(), 3000 + 3);
        rig.stop();
    });
}

#[test]
fn a_reader_that_never_reads_is_closed_after_the_timeout() {
    over_both(|poller| {
        let rig = rig(poller, 3000, |config| {
            config.global.stats_timeout_ms = 100;
            config.global.stats_maxconn = 1;
        });
        let mut stuck = rig.connect();
        stuck.write_all(b"show stat\n").unwrap();
        // Served only once the other one's place is free.
        let began = Instant::now();
        assert_eq!(rig.ask("show version\n"), VERSION);
        assert!(began.elapsed() < Duration::from_secs(5));
        rig.stop();
    });
}

#[test]
fn a_silent_client_is_closed_after_the_timeout() {
    over_both(|poller| {
        let rig = rig(poller, 1, |config| config.global.stats_timeout_ms = 100);
        let mut stream = rig.connect();
        let began = Instant::now();
        assert_eq!(stream.read_to_string(&mut String::new()).unwrap(), 0);
        assert!(
            began.elapsed() >= Duration::from_millis(90),
            "{:?}",
            began.elapsed()
        );
        rig.stop();
    });
}

#[test]
fn connections_beyond_the_limit_wait() {
    over_both(|poller| {
        let rig = rig(poller, 1, |config| config.global.stats_maxconn = 2);
        let mut held: Vec<UnixStream> = (0..2).map(|_| rig.connect()).collect();
        for stream in &mut held {
            stream.write_all(b"prompt\n").unwrap();
            stream.read_exact(&mut [0; 3]).unwrap();
        }
        let mut third = rig.connect();
        third.write_all(b"show version\n").unwrap();
        third
            .set_read_timeout(Some(Duration::from_millis(100)))
            .unwrap();
        assert!(third.read(&mut [0; 10]).is_err(), "the third was served");
        drop(held.pop());
        third
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        let mut answer = String::new();
        third.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, VERSION);
        rig.stop();
    });
}

#[test]
fn a_line_too_long_is_refused_with_an_answer() {
    over_both(|poller| {
        let rig = rig(poller, 1, |_| {});
        let mut stream = rig.connect();
        stream.write_all(&[b'x'; 40_000]).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "Command line is too long.\n\n");
        rig.stop();
    });
}

#[test]
fn a_server_is_disabled_and_the_log_says_so() {
    over_both(|poller| {
        let log = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        log.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let rig = rig(poller, 2, |config| {
            config.backends[0].log = vec![LogTarget {
                to: LogAddress::Udp(log.local_addr().unwrap()),
                facility: Facility(16),
                max_level: Level::Debug,
                min_level: Level::Emerg,
                len: 1024,
                format: LogWire::Priority,
                sample: None,
            }];
            config.global.quiet = true;
        });
        assert_eq!(rig.ask("disable server b/s0\n"), "\n");
        let mut line = [0; 1024];
        let length = log.recv(&mut line).unwrap();
        let text = String::from_utf8_lossy(&line[..length]).into_owned();
        assert!(
            text.contains("Server b/s0 is going DOWN for maintenance"),
            "{text}"
        );
        assert!(
            rig.ask("show servers state\n")
                .contains("\n2 b 1 s0 127.0.0.1 0 1 ")
        );
        rig.stop();
    });
}

#[test]
fn a_thousand_connections_one_after_the_other_leave_nothing_behind() {
    over_both(|poller| {
        let rig = rig(poller, 1, |_| {});
        let open = || std::fs::read_dir("/proc/self/task").unwrap().count();
        let threads = open();
        for n in 0..1000 {
            if n % 3 == 0 {
                // Goes away without a word, or in the middle of one.
                let mut stream = rig.connect();
                stream.write_all(b"show st").unwrap();
            } else {
                assert_eq!(rig.ask("show version\n"), VERSION);
            }
        }
        assert!(
            open() <= threads + 8,
            "threads come and go with other tests only"
        );
        rig.stop();
    });
}

#[test]
fn stopping_closes_the_sockets_at_once() {
    over_both(|poller| {
        let rig = rig(poller, 3000, |_| {});
        let mut idle = rig.connect();
        let mut stuck = rig.connect();
        stuck.write_all(b"show stat\n").unwrap();
        idle.write_all(b"prompt\n").unwrap();
        idle.read_exact(&mut [0; 3]).unwrap();
        let began = Instant::now();
        rig.handle.stop();
        assert_eq!(idle.read_to_string(&mut String::new()).unwrap_or(0), 0);
        // A ring that ends gives its files back some milliseconds later, from a worker of the kernel.
        while UnixStream::connect(&rig.path).is_ok() {
            assert!(
                began.elapsed() < Duration::from_secs(2),
                "somebody still listens"
            );
            thread::sleep(Duration::from_millis(5));
        }
        assert!(
            began.elapsed() < Duration::from_secs(2),
            "{:?}",
            began.elapsed()
        );
        let _ = std::fs::remove_file(&rig.path);
    });
}

#[test]
fn sockets_are_their_owners_again_when_the_process_that_took_them_is_gone() {
    over_both(|poller| {
        let rig = rig(poller, 1, |config| {
            config.global.stats_sockets[0].expose_fd = true;
        });
        let handed = || rig.shared.process.handed_over.lock().unwrap().clone();
        let take = |word: &str| {
            let mut stream = rig.connect();
            stream.write_all(word.as_bytes()).unwrap();
            let mut count = [0; 4];
            stream.read_exact(&mut count).unwrap();
            assert_eq!(i32::from_ne_bytes(count), 1);
            let (bytes, fds) = rights::receive(stream.as_raw_fd(), &mut [0; 64]).unwrap();
            assert!(bytes > 0 && fds.len() == 1);
            stream
        };
        let mut follower = take("_getsocks all\n");
        assert_eq!(handed(), [rig.offered.as_raw_fd()]);
        follower.write_all(b"_held\n").unwrap();
        drop(follower);
        let until = Instant::now() + Duration::from_secs(10);
        while !handed().is_empty() {
            assert!(Instant::now() < until, "they stay handed over");
            thread::sleep(Duration::from_millis(5));
        }
        // haproxy closes as soon as it has them: nobody knows what became of it.
        drop(take("_getsocks\n"));
        thread::sleep(Duration::from_millis(100));
        assert_eq!(handed().len(), 1);
        rig.stop();
    });
}

#[test]
fn a_connection_that_the_master_passes_on_has_the_rights_it_says() {
    over_both(|poller| {
        let rig = rig(poller, 1, |_| {});
        for (level, answer) in [(CliLevel::User, "user\n\n"), (CliLevel::Admin, "admin\n\n")] {
            let (mut own, theirs) = UnixStream::pair().unwrap();
            let rights = Rights {
                level,
                expert: false,
                experimental: false,
            };
            let fds = [theirs.as_raw_fd()];
            rights::send(rig.door.as_raw_fd(), &[rights.pack()], &fds).unwrap();
            drop(theirs);
            own.write_all(b"show cli level\n").unwrap();
            let mut text = String::new();
            own.read_to_string(&mut text).unwrap();
            assert_eq!(text, answer);
        }
        rig.stop();
    });
}
