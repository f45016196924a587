//! The client's side: connect, say something, see what comes back and when the connection ends.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::PATIENCE;

/// A connection to `port` on 127.0.0.1 whose reads and writes are bounded.
#[track_caller]
pub(crate) fn connect(port: u16) -> TcpStream {
    connect_to(([127, 0, 0, 1], port).into())
        .unwrap_or_else(|e| panic!("connect to port {port}: {e}"))
}

/// A bounded connection to `addr`.
pub(crate) fn connect_to(addr: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&addr, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A bounded connection to `port` that leaves from `source` (an address of this host).
pub(crate) fn connect_from(source: &str, port: u16) -> io::Result<TcpStream> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    let source: std::net::IpAddr = source.parse().expect("an address");
    socket.bind(&SocketAddr::new(source, 0).into())?;
    socket.connect_timeout(&SocketAddr::from(([127, 0, 0, 1], port)).into(), PATIENCE)?;
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Sends `text`, ends the sending side, and reads all that comes.
pub(crate) fn ask(port: u16, text: &str) -> io::Result<String> {
    ask_at(([127, 0, 0, 1], port).into(), text)
}

/// As [`ask`], of any address.
pub(crate) fn ask_at(addr: SocketAddr, text: &str) -> io::Result<String> {
    let mut stream = connect_to(addr)?;
    stream.write_all(text.as_bytes())?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Sends `text` and reads one piece of the answer, leaving the connection open.
#[track_caller]
pub(crate) fn talk(stream: &mut TcpStream, text: &str) -> String {
    stream.write_all(text.as_bytes()).unwrap();
    read_piece(stream).unwrap_or_else(|e| panic!("no answer to {text:?}: {e}"))
}

/// What one read gives; the empty text is the end.
pub(crate) fn read_piece(stream: &mut TcpStream) -> io::Result<String> {
    let mut buf = [0; 4096];
    let n = stream.read(&mut buf)?;
    Ok(String::from_utf8_lossy(&buf[..n]).into_owned())
}

/// Name of the server that answers a new connection to `port` (see `Server::named`), or what went
/// wrong, as text: `"end"` for a connection closed unanswered.
pub(crate) fn who(port: u16) -> String {
    match ask(port, "x") {
        Ok(answer) => answer
            .split_once(':')
            .map_or_else(|| "end".to_owned(), |(name, _)| name.to_owned()),
        Err(e) => e.kind().to_string(),
    }
}

/// A connection to `port` that stays open, with the name of the server that took it.
#[track_caller]
pub(crate) fn hold(port: u16) -> (TcpStream, String) {
    let mut stream = connect(port);
    let answer = talk(&mut stream, "x");
    let name = answer
        .split_once(':')
        .map_or("end", |(name, _)| name)
        .to_owned();
    (stream, name)
}

/// How a connection ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// In order, by FIN.
    Closed,
    /// By RST.
    Reset,
}

/// Waits at most `limit` for the other side to end the connection; what still arrives is thrown
/// away. Gives the way it ended and how long that took.
#[track_caller]
pub(crate) fn closed_within(limit: Duration, stream: &mut TcpStream) -> (End, Duration) {
    let start = Instant::now();
    let mut buf = [0; 4096];
    loop {
        let left = limit
            .checked_sub(start.elapsed())
            .filter(|left| !left.is_zero());
        let left = left.unwrap_or_else(|| panic!("still open after {limit:?}"));
        stream.set_read_timeout(Some(left)).unwrap();
        match stream.read(&mut buf) {
            Ok(0) => return (End::Closed, start.elapsed()),
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::ConnectionReset => {
                return (End::Reset, start.elapsed());
            }
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(e) => panic!("reading until the end: {e}"),
        }
    }
}

/// Ends a connection by RST (linger 0).
pub(crate) fn reset(stream: TcpStream) {
    let socket = socket2::Socket::from(stream);
    let _ = socket.set_linger(Some(Duration::ZERO));
}

/// Whether `port` refuses a new connection right now.
pub(crate) fn refused(port: u16) -> bool {
    TcpStream::connect_timeout(&([127, 0, 0, 1], port).into(), Duration::from_secs(2))
        .is_err_and(|e| e.kind() == ErrorKind::ConnectionRefused)
}
