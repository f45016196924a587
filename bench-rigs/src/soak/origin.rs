//! The origin: a thread for each connection, which does with each request what its path says.

use super::ledger::{Ledger, id_of};
use super::plan::{Part, filler};
use socket2::SockRef;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

const PAUSE: Duration = Duration::from_millis(5);
const STACK: usize = 128 << 10;
/// Longer than any timeout of the balancer.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// Serves until the process ends.
pub(super) fn serve(listener: TcpListener, ledger: &Arc<Ledger>) -> io::Result<()> {
    let ledger = Arc::clone(ledger);
    let accept = move || {
        for stream in listener.incoming().flatten() {
            let ledger = Arc::clone(&ledger);
            let started = thread::Builder::new().stack_size(STACK).spawn(move || {
                // Either side may end a connection at any time; the ledger tells what mattered.
                let _ended = connection(stream, &ledger);
            });
            if let Err(error) = started {
                eprintln!("soak: no thread for the origin: {error}");
            }
        }
    };
    thread::Builder::new().stack_size(STACK).spawn(accept)?;
    Ok(())
}

fn connection(stream: TcpStream, ledger: &Ledger) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let post = line.starts_with("POST ");
        let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
        let (mut length, mut close, mut expects) = (0_u64, false, false);
        loop {
            line.clear();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let field = line.trim_end().to_ascii_lowercase();
            match field.split_once(':') {
                None if field.is_empty() => break,
                Some(("content-length", value)) => length = value.trim().parse().unwrap_or(0),
                Some(("connection", value)) => close = value.trim() == "close",
                Some(("expect", _)) => expects = true,
                _ => {}
            }
        }
        let mut words = path.split('/').skip(2);
        let part = words.next().and_then(|word| word.chars().next());
        let bytes = words.next().and_then(|word| word.parse().ok());
        let (Some(id), Some(part), Some(bytes)) =
            (id_of(&path), part.and_then(Part::of_letter), bytes)
        else {
            ledger.fault(format!("the origin was asked for '{path}'"));
            return Ok(());
        };
        if expects {
            ledger.fault(format!("the origin was asked for '{path}' with Expect"));
        }
        ledger.at_origin(id, !post && part == Part::NoHead);
        // Some origins answer before they have read a body, and close.
        let rude = id % 2 == 1 && !part.is_sound();
        if !rude {
            let read = io::copy(&mut reader.by_ref().take(length), &mut io::sink())?;
            if read < length {
                return Ok(());
            }
        }
        if !act(reader.get_mut(), id, part, bytes)? || close || rude {
            return Ok(());
        }
    }
}

/// Whether the connection stays.
fn act(stream: &mut TcpStream, id: usize, part: Part, bytes: usize) -> io::Result<bool> {
    let body = vec![filler(id); bytes];
    let head = |status: &str, more: &str| {
        format!("HTTP/1.1 {status}\r\nX-Id: {id}\r\nContent-Type: text/plain\r\n{more}\r\n")
            .into_bytes()
    };
    let whole = |status: &str| {
        let mut text = head(status, &format!("Content-Length: {bytes}\r\n"));
        text.extend_from_slice(&body);
        text
    };
    // At least one byte is missing.
    let cut = || {
        let mut text = head("200 OK", &format!("Content-Length: {}\r\n", bytes + 1));
        text.extend_from_slice(&body[..bytes / 2]);
        text
    };
    match part {
        Part::Plain => stream.write_all(&whole("200 OK"))?,
        Part::NotFound => stream.write_all(&whole("404 Not Found"))?,
        Part::Unavailable => stream.write_all(&whole("503 Service Unavailable"))?,
        Part::Chunked => {
            let mut text = head("200 OK", "Transfer-Encoding: chunked\r\n");
            for piece in body.chunks(1_000) {
                text.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
                text.extend_from_slice(piece);
                text.extend_from_slice(b"\r\n");
            }
            text.extend_from_slice(b"0\r\n\r\n");
            stream.write_all(&text)?;
        }
        Part::Closing => {
            let mut text = head(
                "200 OK",
                &format!("Connection: close\r\nContent-Length: {bytes}\r\n"),
            );
            text.extend_from_slice(&body);
            stream.write_all(&text)?;
            return Ok(false);
        }
        Part::Unframed => {
            let mut text = head("200 OK", "Connection: close\r\n");
            text.extend_from_slice(&body);
            stream.write_all(&text)?;
            return Ok(false);
        }
        Part::SlowHead => {
            thread::sleep(PAUSE);
            stream.write_all(&whole("200 OK"))?;
        }
        Part::SlowBody => {
            let text = whole("200 OK");
            let (first, second) = text.split_at(text.len() - bytes / 2);
            stream.write_all(first)?;
            thread::sleep(PAUSE);
            stream.write_all(second)?;
        }
        Part::NoHead => return Ok(false),
        Part::ShortHead => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nX-Id:")?;
            return Ok(false);
        }
        Part::ShortBody => {
            stream.write_all(&cut())?;
            return Ok(false);
        }
        Part::ResetBody => {
            stream.write_all(&cut())?;
            SockRef::from(&*stream).set_linger(Some(Duration::ZERO))?;
            return Ok(false);
        }
        Part::Garbage => {
            stream.write_all(b"HTTP/1.1 2x0 OK\r\nContent Length: 0\r\n\r\n")?;
            return Ok(false);
        }
        Part::Silent => {
            let mut rest = [0; 64];
            while stream.read(&mut rest)? > 0 {}
            return Ok(false);
        }
    }
    Ok(true)
}
