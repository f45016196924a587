//! A host or container that forbids io_uring: the same program must serve, admin socket included.

use crate::support::client::{hold, who};
use crate::support::pattern::Pattern;
use crate::support::{
    Daemon, Launch, Server, USUAL, UdpLog, ask, connect, on_haproxy, port, until,
};

/// Becomes the program given, with a seccomp filter that answers io_uring_setup, _enter and
/// _register (425 to 427 on every architecture) with EPERM, as container runtimes do.
const FORBID_IO_URING: &str = r#"
import ctypes, os, struct, sys
insn = lambda code, jt, jf, k: struct.pack("HBBI", code, jt, jf, k)
code = b"".join([
    insn(0x20, 0, 0, 0),            # load the system call's number
    insn(0x35, 0, 2, 425),          # below 425: allow
    insn(0x25, 1, 0, 427),          # above 427: allow
    insn(0x06, 0, 0, 0x00050001),   # errno EPERM
    insn(0x06, 0, 0, 0x7fff0000),   # allow
])
class Prog(ctypes.Structure):
    _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.c_void_p)]
buf = ctypes.create_string_buffer(code, len(code))
prog = Prog(len(code) // 8, ctypes.cast(buf, ctypes.c_void_p))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.byref(prog), 0, 0) == 0
os.execvp(sys.argv[1], sys.argv[1:])
"#;

fn without_io_uring(config: &str) -> Daemon {
    Launch::new(config)
        .under(&["python3", "-c", FORBID_IO_URING])
        .start()
}

// issue: seccomp
#[test]
fn without_io_uring_everything_is_served() {
    let (a, b, log) = (Server::named("A"), Server::named("B"), UdpLog::new());
    let mut dying = Server::named("C");
    let (front, bulk) = (port(), port());
    let echo = Server::echo();
    let daemon = without_io_uring(&format!(
        "global\n nbthread 2\n log 127.0.0.1:{} local0\n{USUAL} log global\n option tcplog\n timeout client 20s\nlisten l\n balance leastconn\n \
         bind 127.0.0.1:{front}\n server a {}\n server b {}\n server c {} check inter 100 fall 2 weight 0\n\
         listen bulk\n bind 127.0.0.1:{bulk}\n server e {}\n",
        log.port,
        a.addr(),
        b.addr(),
        dying.addr(),
        echo.addr()
    ));
    let held: Vec<_> = (0..6).map(|_| hold(front)).collect();
    assert_eq!(held.iter().filter(|(_, name)| name == "A").count(), 3);
    let admin = daemon.admin();
    assert_eq!(admin.count("l", "FRONTEND", "scur"), 6);
    drop(held);
    log.wait_n(" l l/", 6);
    dying.stop();
    log.wait("Server l/c is DOWN");
    let mut up = connect(bulk);
    let mut down = up.try_clone().unwrap();
    let sender = std::thread::spawn(move || {
        Pattern(1).send(&mut up, 64 << 20, || 65_536).unwrap();
        up.shutdown(std::net::Shutdown::Write).unwrap();
    });
    assert_eq!(Pattern(1).receive(&mut down).unwrap(), 64 << 20);
    sender.join().unwrap();
    if !on_haproxy() {
        assert!(
            admin.info()["Poller"].contains("epoll"),
            "{:?}",
            admin.info().get("Poller")
        );
        assert!(
            daemon.output().contains("io_uring"),
            "one line says why: {}",
            daemon.output()
        );
        assert!(
            admin.info_number("TotalBytesSpliced") > 0,
            "bulk is spliced here too"
        );
    }
}

// issue: seccomp
#[test]
fn without_io_uring_signals_and_timers_work() {
    let server = Server::silent();
    let front = port();
    let mut daemon = without_io_uring(&format!(
        "{USUAL} timeout client 400\nlisten l\n bind 127.0.0.1:{front}\n server s {}\n",
        server.addr()
    ));
    let (_, took) =
        crate::support::closed_within(std::time::Duration::from_secs(5), &mut connect(front));
    crate::support::about(400, took);
    assert_eq!(ask(front, "x").unwrap_or_default(), "");
    assert_eq!(who(front), "end");
    daemon.signal(nix::sys::signal::Signal::SIGUSR1);
    let mut code = None;
    until("it ends", || {
        code = daemon
            .ended_within(std::time::Duration::ZERO)
            .and_then(|status| status.code());
        code.is_some()
    });
    assert_eq!(code, Some(0));
}
