//! Servers of the demo, and clients that keep its counters moving: plain threads, bounded in number.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

/// Connections one origin serves at a time; more are closed at once.
const CONNECTIONS_MAX: usize = 64;
/// Bytes of `/bulk`.
const BULK_BYTES: usize = 256 << 20;
const PIECE: usize = 256 << 10;
/// Longest line that is answered.
const LINE_MAX: u64 = 64 << 10;
/// Pause between two visits of the demo's own client.
const PAUSE: Duration = Duration::from_millis(200);

/// Starts an origin; the port it listens on.
pub(super) fn start(name: &'static str) -> io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    let open = Arc::new(AtomicUsize::new(0));
    thread::Builder::new()
        .name(format!("origin-{name}"))
        .spawn(move || {
            for stream in listener.incoming().flatten() {
                if open.fetch_add(1, Relaxed) < CONNECTIONS_MAX {
                    let open = Arc::clone(&open);
                    let served = thread::Builder::new().spawn(move || {
                        // A client that leaves in the middle is none of our business.
                        let _ = serve(name, stream);
                        open.fetch_sub(1, Relaxed);
                    });
                    if served.is_ok() {
                        continue;
                    }
                }
                open.fetch_sub(1, Relaxed);
            }
        })?;
    Ok(port)
}

/// Every request gets the origin's name, or bulk.
fn serve(name: &str, stream: TcpStream) -> io::Result<()> {
    let mut out = stream.try_clone()?;
    let mut input = BufReader::new(stream);
    let mut line = Vec::new();
    loop {
        line.clear();
        if input.by_ref().take(LINE_MAX).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        skip_head(&mut input)?;
        if line.starts_with(b"GET /bulk") {
            bulk(&mut out)?;
        } else {
            hello(name, &mut out)?;
        }
    }
}

/// Reads up to the empty line.
fn skip_head(input: &mut impl BufRead) -> io::Result<()> {
    let mut head = String::new();
    let mut limited = input.take(LINE_MAX);
    loop {
        head.clear();
        if limited.read_line(&mut head)? == 0 || head.trim_end().is_empty() {
            return Ok(());
        }
    }
}

fn hello(name: &str, out: &mut impl Write) -> io::Result<()> {
    let body = format!("Hello from {name}.\n");
    write!(
        out,
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn bulk(out: &mut impl Write) -> io::Result<()> {
    write!(
        out,
        "HTTP/1.1 200 OK\r\nContent-Length: {BULK_BYTES}\r\n\r\n"
    )?;
    let piece = vec![0; PIECE];
    for _ in 0..BULK_BYTES / PIECE {
        out.write_all(&piece)?;
    }
    Ok(())
}

/// A client that comes some five times a second for as long as the process lives.
pub(super) fn visit(port: u16) {
    let visits = move || loop {
        let _ = visit_once(port);
        thread::sleep(PAUSE);
    };
    // Without it the table only shows the visitor's own connections.
    let _ = thread::Builder::new().name("visitor".into()).spawn(visits);
}

fn visit_once(port: u16) -> io::Result<()> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: demo\r\nConnection: close\r\n\r\n")?;
    io::copy(&mut stream, &mut io::sink())?;
    Ok(())
}
