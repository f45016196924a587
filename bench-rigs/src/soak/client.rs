//! A client: one connection at a time, requests as they are drawn.

use super::ledger::Ledger;
use super::origin::PATIENCE;
use super::plan::{Act, Dice, Plan, filler};
use socket2::SockRef;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

type Connection = BufReader<TcpStream>;

/// Sends requests until none is left.
pub(super) fn work(front: SocketAddr, ledger: &Ledger, seed: u64) {
    let mut dice = Dice::new(seed);
    let mut kept = None;
    while let Some(id) = ledger.take() {
        let plan = Plan::draw(&mut dice);
        ledger.planned(id, plan);
        let connection = kept.take().map_or_else(|| connect(front), Ok);
        let done = connection.and_then(|it| perform(it, id, plan, ledger, &mut dice));
        // What was cut off is in the ledger as such; only a wait without an end is wrong in itself.
        match done {
            Ok(connection) => kept = connection,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                ledger.fault(format!(
                    "request {id} ({plan:?}) got nothing for {PATIENCE:?}"
                ));
            }
            Err(_) => {}
        }
    }
}

fn connect(front: SocketAddr) -> io::Result<Connection> {
    let stream = TcpStream::connect_timeout(&front, PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(BufReader::new(stream))
}

fn request(id: usize, plan: Plan) -> Vec<u8> {
    let Plan {
        act,
        part,
        bytes,
        upload,
    } = plan;
    let method = if upload > 0 { "POST" } else { "GET" };
    let mut text = format!(
        "{method} /{id}/{}/{bytes} HTTP/1.1\r\nHost: soak.example\r\n",
        part.letter()
    );
    if act == Act::Closing {
        text.push_str("Connection: close\r\n");
    }
    if upload > 0 {
        text.push_str(&format!("Content-Length: {upload}\r\n"));
    }
    text.push_str("\r\n");
    let mut text = text.into_bytes();
    text.resize(text.len() + upload, filler(id));
    text
}

fn reset(connection: &Connection) -> io::Result<()> {
    SockRef::from(connection.get_ref()).set_linger(Some(Duration::ZERO))
}

/// The connection, where it can take another request.
fn perform(
    mut connection: Connection,
    id: usize,
    plan: Plan,
    ledger: &Ledger,
    dice: &mut Dice,
) -> io::Result<Option<Connection>> {
    let text = request(id, plan);
    let head = text.len() - plan.upload;
    match plan.act {
        // `Behind` is never drawn: it goes with the one before.
        Act::Plain | Act::Closing | Act::Behind => {
            // A refusal may come, and the connection end, before all of the body was taken.
            let sent = connection.get_mut().write_all(&text);
            let keeps = answer(&mut connection, id, plan, ledger)?;
            Ok((sent.is_ok() && keeps).then_some(connection))
        }
        Act::Pipelined => {
            let Some(other) = ledger.take() else {
                connection.get_mut().write_all(&text)?;
                answer(&mut connection, id, plan, ledger)?;
                return Ok(None);
            };
            // The second one is sound; whether it is answered depends on the first.
            let second = Plan {
                act: Act::Behind,
                part: super::plan::Part::Plain,
                ..plan
            };
            ledger.planned(other, second);
            let mut both = text;
            both.extend(request(other, second));
            connection.get_mut().write_all(&both)?;
            let keeps = answer(&mut connection, id, plan, ledger)?
                && answer(&mut connection, other, second, ledger)?;
            Ok(keeps.then_some(connection))
        }
        Act::HalfClose => {
            connection.get_mut().write_all(&text)?;
            connection.get_ref().shutdown(Shutdown::Write)?;
            answer(&mut connection, id, plan, ledger).map(|_| None)
        }
        Act::HeadReset => {
            let some = 1 + dice.below(head - 1);
            connection.get_mut().write_all(&text[..some])?;
            reset(&connection).map(|()| None)
        }
        Act::HeadEnd => {
            let some = 1 + dice.below(head - 1);
            connection.get_mut().write_all(&text[..some])?;
            connection.get_ref().shutdown(Shutdown::Write)?;
            refusal(&mut connection).map(|()| None)
        }
        Act::Stall => {
            connection.get_mut().write_all(&text[..head / 2])?;
            refusal(&mut connection).map(|()| None)
        }
        Act::Malformed => {
            let text = format!("GET /{id} x/a/0 HTTP/1.1\r\nHost: a b\r\nno colon\r\n\r\n");
            connection.get_mut().write_all(text.as_bytes())?;
            refusal(&mut connection).map(|()| None)
        }
        Act::RequestReset => {
            connection.get_mut().write_all(&text)?;
            reset(&connection).map(|()| None)
        }
        Act::UploadReset => {
            connection
                .get_mut()
                .write_all(&text[..head + plan.upload / 2])?;
            reset(&connection).map(|()| None)
        }
        Act::UploadEnd => {
            connection
                .get_mut()
                .write_all(&text[..head + plan.upload / 2])?;
            connection.get_ref().shutdown(Shutdown::Write)?;
            answer(&mut connection, id, plan, ledger).map(|_| None)
        }
        Act::ResponseReset | Act::ResponseClose => {
            connection.get_mut().write_all(&text)?;
            let head = head_of(&mut connection)?;
            ledger.answered(id, head.status, false);
            let mut some = vec![0; 1 + dice.below(40_000)];
            connection.read_exact(&mut some)?;
            if plan.act == Act::ResponseReset {
                reset(&connection)?;
            }
            Ok(None)
        }
    }
}

/// What comes where no request was: anything, up to the end.
fn refusal(connection: &mut Connection) -> io::Result<()> {
    io::copy(connection, &mut io::sink()).map(drop)
}

struct Head {
    status: u16,
    id: Option<usize>,
    length: Option<u64>,
    chunked: bool,
    close: bool,
}

fn ended(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, what)
}

fn head_of(connection: &mut Connection) -> io::Result<Head> {
    let mut line = String::new();
    if connection.read_line(&mut line)? == 0 {
        return Err(ended("no response"));
    }
    let status = line.split(' ').nth(1).and_then(|word| word.parse().ok());
    let mut head = Head {
        status: status.ok_or_else(|| ended("no status"))?,
        id: None,
        length: None,
        chunked: false,
        close: false,
    };
    loop {
        line.clear();
        if connection.read_line(&mut line)? == 0 {
            return Err(ended("no end of the head"));
        }
        let field = line.trim_end().to_ascii_lowercase();
        match field.split_once(':') {
            None if field.is_empty() => return Ok(head),
            Some(("x-id", value)) => head.id = value.trim().parse().ok(),
            Some(("content-length", value)) => head.length = value.trim().parse().ok(),
            Some(("transfer-encoding", _)) => head.chunked = true,
            Some(("connection", value)) => head.close = value.trim() == "close",
            _ => {}
        }
    }
}

/// Reads a response into the ledger. Whether the connection can take another request.
fn answer(connection: &mut Connection, id: usize, plan: Plan, ledger: &Ledger) -> io::Result<bool> {
    let head = head_of(connection)?;
    ledger.answered(id, head.status, false);
    if head.id.is_some_and(|other| other != id) {
        ledger.fault(format!("request {id} got the answer of {:?}", head.id));
    }
    // Pages of the balancer have no number.
    let checked = head.id.map(|_| filler(id));
    let (mut framed, mut got) = (true, 0);
    if head.chunked {
        loop {
            let mut line = String::new();
            if connection.read_line(&mut line)? == 0 {
                return Err(ended("no chunk"));
            }
            let size = u64::from_str_radix(line.trim_end(), 16);
            let size = size.map_err(|_| ended("no size of a chunk"))?;
            got += body(connection, size, checked, id, ledger)?;
            line.clear();
            if connection.read_line(&mut line)? == 0 {
                return Err(ended("no end of a chunk"));
            }
            if size == 0 {
                break;
            }
        }
    } else if let Some(length) = head.length {
        got += body(connection, length, checked, id, ledger)?;
    } else {
        framed = false;
        let mut rest = Vec::new();
        connection.read_to_end(&mut rest)?;
        got += rest.len();
        if rest.iter().any(|byte| Some(*byte) != checked) {
            ledger.fault(format!("request {id}: its body is another one's"));
        }
    }
    if checked.is_some() && got != plan.bytes {
        ledger.fault(format!(
            "request {id} ({plan:?}) got {got} bytes as a whole answer"
        ));
    }
    ledger.answered(id, head.status, true);
    Ok(framed && !head.close)
}

fn body(
    connection: &mut Connection,
    length: u64,
    checked: Option<u8>,
    id: usize,
    ledger: &Ledger,
) -> io::Result<usize> {
    let wanted = usize::try_from(length).unwrap_or(usize::MAX);
    let mut left = wanted;
    while left > 0 {
        let some = connection.fill_buf()?;
        if some.is_empty() {
            return Err(ended("no end of the body"));
        }
        let used = some.len().min(left);
        if checked.is_some_and(|byte| some[..used].iter().any(|other| *other != byte)) {
            ledger.fault(format!("request {id}: its body is another one's"));
        }
        connection.consume(used);
        left -= used;
    }
    Ok(wanted)
}
