//! The head of a request: read in whatever pieces it comes, parsed once whole, refused with a page if it is bad.

use super::*;
use crate::proto::h1::{self, H1Error, Limits, Parse};
use crate::proto::proxy_header;
use crate::proxy::early::{self, Failed};
use crate::shared::errors::Capture;

/// Bytes of the request line kept for the log (`tune.http.logurilen`).
const LINE_MAX: usize = 1024;

impl Session {
    pub(super) fn on_client_bytes(
        &mut self,
        t: &mut Txn,
        local: &mut Local,
        io: &mut dyn Io,
        buf: Buf,
    ) {
        match self.stage {
            Stage::Header => self.on_header_bytes(t, local, io, buf),
            Stage::Idle | Stage::Request => self.take_request(t, local, io, buf),
            Stage::Body => self.on_body_bytes(t, local, io, buf),
            Stage::Linger => {
                io.give_buf(buf);
                self.read_client(io);
            }
            Stage::Exchange if t.up.state == Move::Reading => self.pass_up(t, local, io, buf),
            // Kept until there is use for it; nothing more is read meanwhile.
            _ => self.keep_client_bytes(io, buf),
        }
    }

    /// Holds `buf` behind what is held already: a body that is to be sent once more, say, while the next request
    /// comes in.
    fn keep_client_bytes(&mut self, io: &mut dyn Io, buf: Buf) {
        self.carry = Some(match self.carry.take() {
            None => buf,
            Some(before) => {
                let all = [before.bytes(), buf.bytes()].concat();
                io.give_buf(before);
                io.give_buf(buf);
                Buf::of(&all)
            }
        });
    }

    /// The PROXY header of `accept-proxy`.
    fn on_header_bytes(&mut self, t: &mut Txn, local: &mut Local, io: &mut dyn Io, mut buf: Buf) {
        let before = self.partial.len();
        self.partial.extend_from_slice(buf.bytes());
        match proxy_header::parse(&self.partial) {
            Ok(proxy_header::Parse::Partial) if self.partial.len() < proxy_header::V2_MAX => {
                io.give_buf(buf);
                self.read_client(io);
            }
            Ok(proxy_header::Parse::Done(header, used)) => {
                if let Some(ends) = header.addresses {
                    (self.src, self.dst) = (Some(ends.source), Some(ends.destination));
                    self.ends = (self.src, self.dst);
                }
                self.received_proxy = true;
                self.partial = Vec::new();
                buf.consume(used - before);
                t.any = !buf.is_empty();
                if !self.admitted(local, io) {
                    io.give_buf(buf);
                    self.over = true;
                    return;
                }
                self.enter(Stage::Idle, local.now);
                if buf.is_empty() {
                    io.give_buf(buf);
                    self.read_client(io);
                } else {
                    self.take_request(t, local, io, buf);
                }
            }
            Ok(proxy_header::Parse::Partial) => {
                io.give_buf(buf);
                let text = proxy_header::ProxyError::Truncated.log_text();
                self.header_failed(local, text);
            }
            Err(error) => {
                io.give_buf(buf);
                self.header_failed(local, error.log_text());
            }
        }
    }

    /// Bytes of a request's head, first or further ones.
    pub(super) fn take_request(
        &mut self,
        t: &mut Txn,
        local: &mut Local,
        io: &mut dyn Io,
        mut buf: Buf,
    ) {
        if self.stage == Stage::Idle {
            t.idle_ms = local.now - self.since;
            t.began = local.moment;
            self.enter(Stage::Request, local.now);
        }
        let limits = limits(local, self.front(local).unsafe_request);
        let parsed = if self.partial.is_empty() {
            h1::request_head(buf.bytes(), &limits, &mut t.request)
        } else {
            self.partial.extend_from_slice(buf.bytes());
            h1::request_head(&self.partial, &limits, &mut t.request)
        };
        let parsed = parsed.and_then(|parse| {
            if let Parse::Done { .. } = parse {
                t.framing = h1::request_framing(&mut t.request, &limits)?;
            }
            Ok(parse)
        });
        match parsed {
            Ok(Parse::Partial) => {
                if self.partial.is_empty() {
                    self.partial.extend_from_slice(buf.bytes());
                }
                io.give_buf(buf);
                if self.eof {
                    self.refuse_request(t, local, io, 400, Cause::Client);
                } else {
                    self.read_client(io);
                }
            }
            Ok(Parse::Done { used }) => {
                let before = self.partial.len().saturating_sub(buf.len());
                let body = &buf.bytes()[used - before..];
                if t.framing.body == h1::Body::Chunked
                    && let Err(error) = h1::check_chunks(body, &limits)
                {
                    // As haproxy: what comes with its head is refused with it.
                    let mut whole = std::mem::take(&mut self.partial);
                    if whole.is_empty() {
                        whole.extend_from_slice(buf.bytes());
                    }
                    let at = error.at + used;
                    let error = H1Error { at, ..error };
                    self.note_error(local, &whole, &error);
                    keep_line(t, &whole);
                    io.give_buf(buf);
                    self.refuse_request(t, local, io, error.kind.status(), Cause::Proxy);
                    return;
                }
                buf.consume(used - before);
                self.partial = Vec::new();
                if buf.is_empty() {
                    io.give_buf(buf);
                } else {
                    self.carry = Some(buf);
                }
                self.begin(t, local, io);
            }
            Err(error) => {
                let whole = if self.partial.is_empty() {
                    buf.bytes()
                } else {
                    &self.partial
                };
                self.note_error(local, whole, &error);
                keep_line(t, whole);
                io.give_buf(buf);
                self.refuse_request(t, local, io, error.kind.status(), Cause::Proxy);
            }
        }
    }

    /// A head is whole: the transaction begins.
    fn begin(&mut self, t: &mut Txn, local: &mut Local, io: &mut dyn Io) {
        self.requests += 1;
        t.number = local.stream_number();
        t.head_at = Some(local.moment);
        // What it says of this connection is known by now; as in haproxy, nobody else sees it.
        let version = t.request.version;
        h1::strip_connection(&mut t.request, Peer::Client(version));
        t.head_in = t.request.counted_len() as u64;
        t.strict = true;
        t.keep = t.framing.keep_alive;
        t.old = t.request.version == Version::Http10;
        let (method, target) = (t.request.method(), t.request.target());
        let target = &target[..target.len().min(LINE_MAX)];
        t.line.clear();
        t.line.extend_from_slice(method);
        t.line.push(b' ');
        t.line.extend_from_slice(target);
        t.line_ends = (method.len(), t.line.len());
        t.line.push(b' ');
        t.line
            .extend_from_slice(t.request.version.text().as_bytes());
        let cells = local.cells();
        let front = &cells.frontends[self.frontend.index()];
        front.requests.inc();
        front.request_rate.hit(local.now);
        self.capture_request(t, local);
        t.up = Flow::new(t.framing.body, Splice::Never);
        // An abort is seen while others work; what comes early is held.
        if t.up.ended {
            self.read_client(io);
        }
        self.enter(Stage::Rules, local.now);
        if self.is_probe(local) {
            if let Some(trace) = &local.trace {
                trace.note("'monitor-net' holds the client's address: answered at once");
            }
            t.logged = true;
            t.cause = Some((Cause::Local, StageReached::Request));
            self.answer_page(t, local, io, 200);
            return;
        }
        if self.front(local).monitor_uri.is_some() && self.answer_monitor(t, local, io) {
            return;
        }
        self.evaluate(t, local, io);
    }

    /// Headers and the cookie that the frontend captures, as they came.
    fn capture_request(&self, t: &mut Txn, local: &Local) {
        let http = self.front(local);
        for capture in &http.request_captures {
            let value = capture.name.as_ref().and_then(|name| {
                let value = t.request.values(name).next_back()?;
                Some(value[..value.len().min(capture.len as usize)].into())
            });
            t.captures[0].push(value);
        }
        t.captures[1].resize(http.response_captures.len(), None);
        if let Some((name, len)) = &http.cookie_capture {
            let cookie = cookie_starting(&t.request, b"cookie", name);
            t.cookies[0] = cookie.map(|c| c[..c.len().min(*len as usize)].into());
        }
    }

    /// A request that is none: a page, a line, the end of the connection.
    pub(super) fn refuse_request(
        &mut self,
        t: &mut Txn,
        local: &mut Local,
        io: &mut dyn Io,
        status: u16,
        cause: Cause,
    ) {
        self.count_refused(t, local);
        t.cause = Some((cause, StageReached::Request));
        self.answer_page(t, local, io, status);
    }

    /// Whether it comes from the `monitor-net`: answered here, told to nobody.
    fn is_probe(&self, local: &Local) -> bool {
        match (
            local.config.frontend(self.frontend).monitor_net,
            self.ends.0,
        ) {
            (Some(net), Some(peer)) => net.contains(&peer.ip()),
            _ => false,
        }
    }

    /// A request that is none is marked and counted so.
    fn count_refused(&mut self, t: &mut Txn, local: &Local) {
        t.logged |= self.is_probe(local);
        t.bad = true;
        t.keep = false;
        if t.began == Moment(0) {
            t.began = local.moment;
        }
        self.partial = Vec::new();
        let front = &local.cells().frontends[self.frontend.index()];
        front.requests.inc();
        front.request_rate.hit(local.now);
        self.count_request_error(local);
    }

    pub(super) fn count_request_error(&self, local: &Local) {
        let cells = local.cells();
        cells.frontends[self.frontend.index()].request_errors.inc();
        cells.listeners[self.bind.index()].request_errors.inc();
    }

    /// The client ended its side.
    pub(super) fn on_client_eof(&mut self, t: &mut Txn, local: &mut Local, io: &mut dyn Io) {
        self.eof = true;
        match self.stage {
            Stage::Header => {
                let text = if self.partial.is_empty() {
                    "Connection closed while waiting for PROXY protocol header"
                } else {
                    proxy_header::ProxyError::Truncated.log_text()
                };
                self.header_failed(local, text);
            }
            Stage::Idle if self.requests > 0 => self.over = true,
            Stage::Idle if self.front(local).ignore_probes => self.over = true,
            // Not a byte came: haproxy answers all the same.
            Stage::Idle => self.refuse_request(t, local, io, 400, Cause::Client),
            Stage::Request => self.refuse_request(t, local, io, 400, Cause::Client),
            Stage::Linger => self.over = true,
            Stage::Exchange if t.up.is_tunnel() => self.up_ended(t, local, io),
            Stage::Exchange if t.up.state == Move::Reading => {
                // The body is cut short.
                self.client_aborted(t, local, io);
            }
            Stage::Answer => {}
            // What rules wait for will not come.
            Stage::Body => self.client_aborted(t, local, io),
            _ => {
                if self.back(local).is_none_or(|b| b.abort_on_close) && !t.head_sent {
                    self.client_aborted(t, local, io);
                }
            }
        }
    }

    /// The client's connection broke.
    pub(super) fn on_client_broken(&mut self, t: &mut Txn, local: &mut Local, io: &mut dyn Io) {
        self.eof = true;
        match self.stage {
            Stage::Header => {
                let text = "Connection error while waiting for PROXY protocol header";
                self.header_failed(local, text);
            }
            Stage::Linger => self.over = true,
            Stage::Idle if self.requests > 0 || self.front(local).ignore_probes => self.over = true,
            // As if it could be told: nobody is there to read it.
            Stage::Idle | Stage::Request => {
                self.count_refused(t, local);
                t.status = 400;
                self.end(t, local, Cause::Client, StageReached::Request);
                self.over = true;
            }
            _ if !t.head_sent
                && t.up.ended
                && self.back(local).is_some_and(|b| !b.abort_on_close) =>
            {
                // The server is to do its work; the answer finds nobody.
            }
            _ => {
                let reached = match self.stage {
                    Stage::Exchange => StageReached::Data,
                    _ => self.reached(t),
                };
                if self.stage == Stage::Queue {
                    t.dequeued = Some(local.moment);
                }
                // Whoever ended it before has been counted.
                if t.cause.is_none() {
                    self.count_client_abort(t, local);
                }
                self.drop_server(io, true);
                // An answer of ours that cannot be delivered ends as what made it.
                let (cause, reached) = t.cause.unwrap_or((Cause::Client, reached));
                self.end(t, local, cause, reached);
                self.over = true;
            }
        }
    }

    fn header_failed(&mut self, local: &mut Local, text: &str) {
        let failed = Failed {
            bind: self.bind,
            src: self.src,
            dst: self.dst,
            accepted: self.accepted,
            nothing: self.partial.is_empty(),
            text,
        };
        early::log(local, &failed);
        self.count_request_error(local);
        self.over = true;
    }

    /// Keeps a request that is none for `show errors`.
    fn note_error(&self, local: &Local, bytes: &[u8], error: &H1Error) {
        let proxy = local.config.frontend(self.frontend).proxy;
        local
            .shared
            .errors
            .note(proxy, self.captured(local, bytes, error, false));
    }

    /// A refused message as `show errors` shows it.
    pub(super) fn captured(
        &self,
        local: &Local,
        bytes: &[u8],
        error: &H1Error,
        response: bool,
    ) -> Capture {
        Capture {
            number: 0,
            at_us: local.shared.wall_us(local.now),
            response,
            frontend: self.frontend,
            backend: self.backend,
            server: self.server,
            client: self.src,
            bytes: bytes.into(),
            offset: error.at,
            kind: error.kind,
        }
    }
}

/// `capture cookie`: the first cookie of the fields called `field` whose text begins with `start`, as `name=value`.
pub(super) fn cookie_starting<'h>(
    head: &'h Head,
    field: &'h [u8],
    start: &'h [u8],
) -> Option<&'h [u8]> {
    let set = field == b"set-cookie";
    let cookies = head.values(field).flat_map(move |value| {
        // A Set-Cookie field holds one cookie, and attributes behind it.
        let most = if set { 1 } else { usize::MAX };
        value.split(|b| *b == b';').take(most)
    });
    let mut trimmed = cookies.map(<[u8]>::trim_ascii);
    trimmed.find(|cookie| cookie.starts_with(start))
}

/// What of a bad request's first line is known.
fn keep_line(t: &mut Txn, bytes: &[u8]) {
    let end = memchr::memchr2(b'\r', b'\n', bytes).unwrap_or(bytes.len());
    t.line.clear();
    t.line.extend_from_slice(&bytes[..end.min(LINE_MAX)]);
}

pub(super) fn limits(local: &Local, unsafe_ok: bool) -> Limits {
    let tune = &local.config.global.tune;
    Limits {
        head_max: tune.head_max(),
        fields_max: usize::from(tune.http_maxhdr),
        unsafe_ok,
        ..Limits::default()
    }
}
