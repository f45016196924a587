use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use super::*;
use crate::config::{Facility, LogSample, LogWire};

/// A directory of its own for sockets, removed at the end.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ringway-logs-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
    fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn target(to: LogAddress) -> LogTarget {
    LogTarget {
        to,
        facility: Facility(16),
        max_level: Level::Debug,
        min_level: Level::Emerg,
        len: 1024,
        format: LogWire::Raw,
        sample: None,
    }
}

fn outputs(targets: &[LogTarget]) -> (LogOutputs, Arc<Shared>) {
    let mut config = Config::default();
    config.global.log = targets.to_vec();
    let outputs = LogOutputs::open(&config);
    (outputs, Arc::new(Shared::new(Arc::new(config), 2)))
}

fn receiver(path: &Path) -> UnixDatagram {
    let _ = std::fs::remove_file(path);
    let socket = UnixDatagram::bind(path).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    socket
}

fn received(socket: &UnixDatagram) -> String {
    let mut bytes = [0; 2048];
    let n = socket.recv(&mut bytes).unwrap();
    String::from_utf8(bytes[..n].to_vec()).unwrap()
}

const NOW: u64 = 1_795_215_390_640_318;

#[test]
fn lines_reach_udp_and_unix_sockets() {
    let dir = Dir::new("both");
    let unix = receiver(&dir.join("log"));
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    udp.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let targets = [
        target(LogAddress::Unix(dir.join("log"))),
        LogTarget {
            format: LogWire::Priority,
            ..target(LogAddress::Udp(udp.local_addr().unwrap()))
        },
    ];
    let (outputs, shared) = outputs(&targets);
    let mut logs = outputs.shard(&shared, 1);
    logs.push(&targets, Level::Info, None, NOW, b"hello");
    assert_eq!(received(&unix), "hello\n");
    let mut bytes = [0; 100];
    let n = udp.recv(&mut bytes).unwrap();
    assert_eq!(&bytes[..n], b"<134>hello\n");
    assert_eq!(shared.shards[1].activity.logs_sent.get(), 2);
    assert_eq!(shared.shards[0].activity.logs_sent.get(), 0);
}

#[test]
fn tags_are_the_proxys_or_the_process_or_haproxy() {
    let dir = Dir::new("tag");
    let unix = receiver(&dir.join("log"));
    let mut config = Config::default();
    config.global.log = vec![LogTarget {
        format: LogWire::Local,
        ..target(LogAddress::Unix(dir.join("log")))
    }];
    let pid = std::process::id();
    let mut logs = LogOutputs::open(&config).process(None);
    logs.push(&config.global.log, Level::Info, None, NOW, b"x");
    assert!(received(&unix).ends_with(&format!(" haproxy[{pid}]: x\n")));
    config.global.log_tag = Some("lb".into());
    let mut logs = LogOutputs::open(&config).process(None);
    logs.push(&config.global.log, Level::Info, None, NOW, b"x");
    assert!(received(&unix).ends_with(&format!(" lb[{pid}]: x\n")));
    logs.push(&config.global.log, Level::Info, Some("own"), NOW, b"x");
    assert!(received(&unix).ends_with(&format!(" own[{pid}]: x\n")));
}

/// Closes a receiver for good: a child forked by another test holds a copy until it executes.
fn close(receiver: UnixDatagram, path: &Path) {
    let probe = UnixDatagram::unbound().unwrap();
    probe.connect(path).unwrap();
    drop(receiver);
    let end = Instant::now() + Duration::from_secs(5);
    while probe.send(b"anyone?").is_ok() {
        assert!(Instant::now() < end, "somebody keeps {}", path.display());
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_restarted_syslogd_is_found_again() {
    let dir = Dir::new("restart");
    let path = dir.join("log");
    let first = receiver(&path);
    let targets = [target(LogAddress::Unix(path.clone()))];
    let (outputs, shared) = outputs(&targets);
    let mut logs = outputs.shard(&shared, 0);
    logs.push(&targets, Level::Info, None, NOW, b"one");
    assert_eq!(received(&first), "one\n");
    close(first, &path);
    let second = receiver(&path);
    logs.push(&targets, Level::Info, None, NOW, b"two");
    assert_eq!(received(&second), "two\n");
    assert_eq!(shared.shards[0].activity.logs_dropped.get(), 0);
}

#[test]
fn a_socket_that_is_gone_is_tried_once_a_second_and_counted() {
    let dir = Dir::new("gone");
    let path = dir.join("log");
    let targets = [target(LogAddress::Unix(path.clone()))];
    let (outputs, shared) = outputs(&targets);
    let mut logs = outputs.shard(&shared, 0);
    logs.push(&targets, Level::Info, None, NOW, b"lost");
    let back = receiver(&path);
    logs.push(&targets, Level::Info, None, NOW, b"too early");
    assert_eq!(shared.shards[0].activity.logs_dropped.get(), 2);
    logs.links.unix[0].retry_at = Some(Instant::now());
    logs.push(&targets, Level::Info, None, NOW, b"found");
    assert_eq!(received(&back), "found\n");
}

#[test]
fn a_path_renamed_before_the_shard_starts_keeps_its_connection() {
    // What chroot does to a path, without the privilege: it can no longer be looked up.
    let dir = Dir::new("jail");
    let unix = receiver(&dir.join("log"));
    let targets = [target(LogAddress::Unix(dir.join("log")))];
    let (outputs, shared) = outputs(&targets);
    std::fs::rename(dir.join("log"), dir.join("elsewhere")).unwrap();
    let mut logs = outputs.shard(&shared, 0);
    logs.push(&targets, Level::Info, None, NOW, b"still");
    assert_eq!(received(&unix), "still\n");
}

#[test]
fn a_full_socket_drops_and_does_not_wait() {
    let dir = Dir::new("full");
    let _nobody_reads = receiver(&dir.join("log"));
    let targets = [target(LogAddress::Unix(dir.join("log")))];
    let (outputs, shared) = outputs(&targets);
    let mut logs = outputs.shard(&shared, 0);
    for _ in 0..2000 {
        logs.push(&targets, Level::Info, None, NOW, b"x");
    }
    let activity = &shared.shards[0].activity;
    assert!(activity.logs_dropped.get() > 0);
    assert_eq!(activity.logs_dropped.get() + activity.logs_sent.get(), 2000);
}

#[test]
fn samples_are_counted_over_all_shards() {
    let dir = Dir::new("sample");
    let unix = receiver(&dir.join("log"));
    let sample = Some(LogSample {
        ranges: vec![(1, 1)],
        size: 2,
    });
    let targets = [LogTarget {
        sample,
        ..target(LogAddress::Unix(dir.join("log")))
    }];
    let (outputs, shared) = outputs(&targets);
    let mut shards = [outputs.shard(&shared, 0), outputs.shard(&shared, 1)];
    for n in 0..4_u8 {
        shards[usize::from(n >= 1)].push(&targets, Level::Info, None, NOW, &[b'a' + n]);
    }
    assert_eq!(received(&unix), "a\n");
    assert_eq!(received(&unix), "c\n");
}

#[test]
fn a_descriptor_gets_its_lines_in_order() {
    let (mut read, write) = io::pipe().unwrap();
    let targets = [target(LogAddress::Fd(write.as_raw_fd()))];
    let (outputs, shared) = outputs(&targets);
    let mut logs = outputs.shard(&shared, 0);
    let mut want = String::new();
    for n in 0..1000 {
        logs.push(&targets, Level::Info, None, NOW, n.to_string().as_bytes());
        want += &format!("{n}\n");
    }
    outputs.drain(Duration::from_secs(5));
    drop(write);
    let mut got = String::new();
    read.read_to_string(&mut got).unwrap();
    assert_eq!(got, want);
}

#[test]
fn a_pipe_that_nobody_reads_stops_no_one() {
    let (_read, write) = io::pipe().unwrap();
    let targets = [LogTarget {
        len: 60_000,
        ..target(LogAddress::Fd(write.as_raw_fd()))
    }];
    let (outputs, shared) = outputs(&targets);
    let mut logs = outputs.shard(&shared, 0);
    let began = Instant::now();
    let long = vec![b'x'; 1000];
    for _ in 0..10_000 {
        logs.push(&targets, Level::Info, None, NOW, &long);
    }
    let activity = &shared.shards[0].activity;
    // 64 KB in the pipe, one write in the thread's hand, the queue: the rest was dropped.
    assert!(activity.logs_sent.get() <= QUEUE_LINES as u64 + 80);
    assert_eq!(
        activity.logs_dropped.get() + activity.logs_sent.get(),
        10_000
    );
    outputs.drain(Duration::from_millis(20));
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[test]
fn flags_of_a_descriptor_stay_as_found_and_a_full_one_is_waited_for() {
    let (mut read, write) = io::pipe().unwrap();
    let flags = |fd: &io::PipeWriter| nix::fcntl::fcntl(fd, nix::fcntl::FcntlArg::F_GETFL).unwrap();
    let nonblocking =
        nix::fcntl::OFlag::from_bits_truncate(flags(&write)) | nix::fcntl::OFlag::O_NONBLOCK;
    nix::fcntl::fcntl(&write, nix::fcntl::FcntlArg::F_SETFL(nonblocking)).unwrap();
    let before = flags(&write);
    let targets = [target(LogAddress::Fd(write.as_raw_fd()))];
    let (outputs, shared) = outputs(&targets);
    let mut logs = outputs.shard(&shared, 0);
    let long = vec![b'y'; 999];
    for _ in 0..200 {
        logs.push(&targets, Level::Info, None, NOW, &long);
    }
    assert_eq!(flags(&write), before);
    let mut got = vec![0; 200_000];
    read.read_exact(&mut got).unwrap();
    assert_eq!(got.iter().filter(|&&b| b == b'\n').count(), 200);
}

#[test]
fn a_closed_pipe_counts_what_it_lost() {
    let (read, write) = io::pipe().unwrap();
    drop(read);
    let targets = [target(LogAddress::Fd(write.as_raw_fd()))];
    let (outputs, shared) = outputs(&targets);
    let mut logs = outputs.shard(&shared, 0);
    for _ in 0..3 {
        logs.push(&targets, Level::Info, None, NOW, b"z");
    }
    outputs.drain(Duration::from_secs(5));
    assert_eq!(outputs.dropped(), 3);
}
