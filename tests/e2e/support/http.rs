//! Plain HTTP/1 on both sides of the balancer: a client that shows what came, and origins that record what
//! they got. Neither corrects, follows or retries anything.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex};

use super::Server;
use super::client::connect;

/// A message as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Message {
    /// Request line or status line.
    pub(crate) line: String,
    /// Fields in their order; names as they came.
    pub(crate) fields: Vec<(String, String)>,
    /// The body without its framing; trailers stand behind it, a line each.
    pub(crate) body: String,
    /// It came to its end; false where the connection ended first.
    pub(crate) whole: bool,
}

impl Message {
    /// Word `n` of the first line.
    pub(crate) fn word(&self, n: usize) -> &str {
        self.line.split(' ').nth(n).unwrap_or_default()
    }

    pub(crate) fn method(&self) -> &str {
        self.word(0)
    }

    pub(crate) fn target(&self) -> &str {
        self.word(1)
    }

    /// Status of an answer; 0 where there is none.
    pub(crate) fn status(&self) -> u16 {
        self.word(1).parse().unwrap_or(0)
    }

    /// All values of the fields called `name`, in order.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let named = self
            .fields
            .iter()
            .filter(|(field, _)| field.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str()).collect()
    }

    /// The first value of `name`.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).first().copied()
    }

    /// All of it in one line, as far as it concerns framing and routing.
    pub(crate) fn brief(&self) -> String {
        let fields = self.fields.iter().map(|(name, value)| match value.len() {
            0..200 => format!("{name}: {value}"),
            n => format!("{name}: {n} bytes"),
        });
        let fields = fields.collect::<Vec<_>>().join(" | ");
        let line = match self.line.len() {
            0..200 => self.line.clone(),
            n => format!("{n} bytes"),
        };
        let body = match self.body.len() {
            0..300 => format!("{:?}", self.body),
            n => format!("{n} bytes"),
        };
        let whole = if self.whole { "" } else { " CUT" };
        format!("{line} [{fields}] {body}{whole}")
    }
}

/// One byte, one character.
pub(crate) fn text(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

/// How long a body is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Length {
    Bytes(usize),
    Chunked,
    UntilEnd,
}

/// A connection and what of it was read but not used.
pub(crate) struct Wire {
    pub(crate) stream: TcpStream,
    rest: Vec<u8>,
}

impl Wire {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            rest: Vec::new(),
        }
    }

    #[track_caller]
    pub(crate) fn to(port: u16) -> Self {
        Self::new(connect(port))
    }

    /// Sends; that the other side has ended already is nothing to fail for.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref());
    }

    /// Ends the sending side.
    pub(crate) fn finish(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Reads more; false at the end, in whatever way it came.
    fn fill(&mut self) -> bool {
        let mut buf = [0; 16_384];
        loop {
            match self.stream.read(&mut buf) {
                Ok(0) => return false,
                Ok(n) => {
                    self.rest.extend_from_slice(&buf[..n]);
                    return true;
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    panic!("nothing came in time; so far {:?}", text(&self.rest))
                }
                Err(_) => return false,
            }
        }
    }

    /// Whether the other side ends, without another byte.
    pub(crate) fn ended(&mut self) -> bool {
        self.rest.is_empty() && !self.fill()
    }

    /// All that comes until the end.
    pub(crate) fn all(&mut self) -> String {
        while self.fill() {}
        text(&std::mem::take(&mut self.rest))
    }

    /// At least `n` bytes, taken out; fewer at the end.
    pub(crate) fn take(&mut self, n: usize) -> Vec<u8> {
        while self.rest.len() < n && self.fill() {}
        let n = n.min(self.rest.len());
        self.rest.drain(..n).collect()
    }

    /// Up to and with the next line feed.
    fn line(&mut self) -> Option<String> {
        let mut seen = 0;
        loop {
            if let Some(at) = self.rest[seen..].iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=seen + at).collect();
                return Some(text(&line));
            }
            seen = self.rest.len();
            if !self.fill() {
                return None;
            }
        }
    }

    fn head(&mut self) -> Option<Message> {
        let mut message = Message::default();
        loop {
            let Some(line) = self.line() else {
                if message.line.is_empty() && self.rest.is_empty() {
                    return None;
                }
                message.fields.push(("CUT".to_owned(), self.all()));
                return Some(message);
            };
            let line = line.strip_suffix("\r\n").unwrap_or(&line);
            if message.line.is_empty() {
                line.clone_into(&mut message.line);
            } else if line.is_empty() {
                message.whole = true;
                return Some(message);
            } else {
                let (name, value) = line.split_once(':').unwrap_or((line, ""));
                let value = value.strip_prefix(' ').unwrap_or(value);
                message.fields.push((name.to_owned(), value.to_owned()));
            }
        }
    }

    fn body(&mut self, message: &mut Message, length: Length) {
        match length {
            Length::Bytes(n) => {
                message.body = text(&self.take(n));
                message.whole = message.body.chars().count() == n;
            }
            Length::UntilEnd => message.body = self.all(),
            Length::Chunked => message.whole = self.chunks(message).is_some(),
        }
    }

    fn chunks(&mut self, message: &mut Message) -> Option<()> {
        loop {
            let line = self.line()?;
            let size = line.split([';', '\r']).next()?;
            let size = usize::from_str_radix(size, 16).ok()?;
            let data = self.take(size);
            message.body.push_str(&text(&data));
            if data.len() < size {
                return None;
            }
            if size > 0 {
                self.line()?;
                continue;
            }
            loop {
                let line = self.line()?;
                if line == "\r\n" {
                    return Some(());
                }
                message.body.push_str(&format!("\n{}", line.trim_end()));
            }
        }
    }

    /// The next request; None at the end. A client that waits for it is told to go on.
    pub(crate) fn request(&mut self) -> Option<Message> {
        let mut message = self.head()?;
        if message.whole && message.get("expect") == Some("100-continue") {
            self.send("HTTP/1.1 100 Continue\r\n\r\n");
        }
        if message.whole && message.method() != "CONNECT" {
            let length = length_of(&message).unwrap_or(Length::Bytes(0));
            self.body(&mut message, length);
        }
        Some(message)
    }

    /// The next answer to a request with `method`, interim or final; None at the end.
    pub(crate) fn answer(&mut self, method: &str) -> Option<Message> {
        let mut message = self.head()?;
        let bare = method == "HEAD" || matches!(message.status(), 100 | 102..=199 | 204 | 304);
        if message.whole && !bare {
            let length = length_of(&message).unwrap_or(Length::UntilEnd);
            let tunnel =
                message.status() == 101 || method == "CONNECT" && message.status() / 100 == 2;
            self.body(&mut message, if tunnel { Length::UntilEnd } else { length });
        }
        Some(message)
    }

    /// The next final answer.
    #[track_caller]
    pub(crate) fn last_answer(&mut self, method: &str) -> Message {
        loop {
            let answer = self
                .answer(method)
                .unwrap_or_else(|| panic!("the connection ended without an answer"));
            if answer.status() >= 200 {
                return answer;
            }
        }
    }

    /// Sends a request without a body and reads its answer. `fields` are whole lines.
    #[track_caller]
    pub(crate) fn get(&mut self, target: &str, fields: &str) -> Message {
        self.send(format!("GET {target} HTTP/1.1\r\nHost: h\r\n{fields}\r\n"));
        self.last_answer("GET")
    }
}

fn length_of(message: &Message) -> Option<Length> {
    if !message.all("transfer-encoding").is_empty() {
        return Some(Length::Chunked);
    }
    let length = message.get("content-length")?;
    Some(Length::Bytes(length.trim().parse().unwrap_or(usize::MAX)))
}

/// A request on a connection of its own.
#[track_caller]
pub(crate) fn get(port: u16, target: &str, fields: &str) -> Message {
    Wire::to(port).get(target, fields)
}

/// An answer with a body of this length.
pub(crate) fn ok(fields: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n{fields}\r\n{body}")
}

/// What an [`Origin`] sends.
pub(crate) struct Reply {
    text: String,
    end: bool,
}

impl Reply {
    /// Nothing, and the connection stays.
    pub(crate) fn none() -> Self {
        let (text, end) = (String::new(), false);
        Self { text, end }
    }

    /// The connection ends behind it, whatever it says.
    pub(crate) fn last(text: String) -> Self {
        Self { text, end: true }
    }
}

impl From<&str> for Reply {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl From<String> for Reply {
    /// The connection ends behind it if it is without a length or says `close`.
    fn from(text: String) -> Self {
        let end = ends(&text);
        Self { text, end }
    }
}

/// An HTTP server that keeps connections, records every request and answers as told.
pub(crate) struct Origin {
    pub(crate) server: Server,
    asked: Arc<Mutex<Vec<Message>>>,
}

impl Origin {
    /// `answer` gives what to send.
    pub(crate) fn new<R: Into<Reply>>(
        answer: impl Fn(&Message) -> R + Send + Sync + 'static,
    ) -> Self {
        Self::at(([127, 0, 0, 1], super::port()).into(), answer)
    }

    pub(crate) fn at<R: Into<Reply>>(
        addr: std::net::SocketAddr,
        answer: impl Fn(&Message) -> R + Send + Sync + 'static,
    ) -> Self {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let record: Arc<Mutex<Vec<Message>>> = Arc::clone(&asked);
        let server = Server::at(addr, move |stream, _| {
            let mut wire = Wire::new(stream);
            while let Some(request) = wire.request() {
                let whole = request.whole;
                record.lock().unwrap().push(request.clone());
                if !whole {
                    return;
                }
                let reply = answer(&request).into();
                if wire.stream.write_all(&bytes(&reply.text)).is_err() || reply.end {
                    // What is behind is read, so that the end is no reset.
                    wire.finish();
                    wire.all();
                    return;
                }
            }
        });
        Self { server, asked }
    }

    /// Answers every request with `name` as its body.
    pub(crate) fn named(name: &str) -> Self {
        let reply = ok("", name);
        Self::new(move |_| reply.clone())
    }

    pub(crate) fn addr(&self) -> String {
        self.server.addr()
    }

    /// The requests so far, oldest first.
    pub(crate) fn asked(&self) -> Vec<Message> {
        self.asked.lock().unwrap().clone()
    }

    /// The last request.
    #[track_caller]
    pub(crate) fn last(&self) -> Message {
        self.asked().pop().expect("a request came")
    }

    /// The requests since the last call.
    pub(crate) fn drain(&self) -> Vec<Message> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

/// The inverse of [`text`].
pub(crate) fn bytes(text: &str) -> Vec<u8> {
    text.chars()
        .map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?'))
        .collect()
}

/// Whether a connection ends behind this reply.
fn ends(reply: &str) -> bool {
    let head = reply.split("\r\n\r\n").next().unwrap_or_default();
    let head = head.to_ascii_lowercase();
    let framed = head.contains("\r\ncontent-length:") || head.contains("\r\ntransfer-encoding:");
    let bare = head.starts_with("http/1.1 304") || head.starts_with("http/1.1 204");
    !(framed || bare) || head.contains("\r\nconnection: close")
}
