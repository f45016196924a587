//! Free ports on loopback, 20000 to 24999, below the kernel's range for outgoing connections.
//!
//! Tests run in parallel, as threads of one process or as processes of their own: a port is taken
//! by locking a file named after it for the life of the process, so that neither kind collides.
//! A socket stays bound to it as well, never listening: on hosts whose range for outgoing
//! connections covers these ports, no connection of somebody else is given one of them.

use std::fs::File;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

const FIRST: u16 = 20_000;
const LAST: u16 = 24_999;

static HELD: Mutex<Vec<(u16, Held)>> = Mutex::new(Vec::new());

/// What keeps a port: its locked file, and a socket bound to it that listeners may join (SO_REUSEADDR).
struct Held {
    _file: File,
    _socket: Socket,
}

/// A port nobody else uses, for TCP and UDP alike.
pub(crate) fn port() -> u16 {
    ports_in_a_row(1)
}

/// The first of `n` consecutive free ports.
pub(crate) fn ports_in_a_row(n: u16) -> u16 {
    let mut held = HELD
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let span = LAST - FIRST + 1;
    let start = (std::process::id().wrapping_mul(37) % u32::from(span)) as u16;
    let after_last = held.last().map_or(start, |(port, _)| port - FIRST + 1);
    for step in 0..span {
        let first = FIRST + (after_last + step) % span;
        if first + n - 1 > LAST {
            continue;
        }
        let row: Option<Vec<_>> = (first..first + n)
            .map(|port| Some((port, lock(port)?)))
            .collect();
        if let Some(row) = row {
            held.extend(row);
            return first;
        }
    }
    panic!("no {n} free ports in a row between {FIRST} and {LAST}");
}

/// Locks the file of `port`, if nobody has it and nothing is bound to the port itself.
fn lock(port: u16) -> Option<Held> {
    let dir = std::env::temp_dir().join("ringway-e2e-ports");
    std::fs::create_dir_all(&dir).ok()?;
    let file = File::create(dir.join(port.to_string())).ok()?;
    file.try_lock().ok()?;
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).ok()?;
    // Joins what waits for TIME_WAIT to end, and nothing that is in use.
    socket
        .set_reuse_address(true)
        .and_then(|()| socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)).into()))
        .ok()?;
    UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).ok()?;
    Some(Held {
        _file: file,
        _socket: socket,
    })
}

/// Opens a socket on a port that was given out. A process that another test has just forked holds a copy of every
/// socket until it executes its program, so a port that is free may be busy for a moment.
pub(crate) fn patiently<T>(mut open: impl FnMut() -> std::io::Result<T>) -> std::io::Result<T> {
    let until = Instant::now() + Duration::from_secs(5);
    loop {
        match open() {
            Err(e) if e.kind() == ErrorKind::AddrInUse && Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(5));
            }
            result => return result,
        }
    }
}
