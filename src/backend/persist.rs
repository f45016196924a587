//! Persistence by cookie (configuration.txt 4.2, `cookie`): which server a request's cookie names, what the
//! server sees of it, and what becomes of the cookies in its response. Bit for bit what haproxy 2.6 does
//! (`persist/*.txt`); where it damages a `Set-Cookie2` it does not follow.
//!
//! The life of a request: [`read_request`] once the backend is known and its rules have run; the answer's
//! server goes to [`BackendView::take_server`](super::BackendView::take_server); [`Asked::redispatched`]
//! if another server got it in the end; [`treat_response`] before the rules of the response.

use std::collections::HashMap;

use super::server;
use crate::config::http::{Cookie, CookieMode};
use crate::config::{BackendId, Config, ServerId};
use crate::proto::http::Head;
use crate::shared::Shared;

/// Between the server's value and the application's in prefix mode.
const PREFIX_END: u8 = b'~';
/// Before each date in insert mode.
const DATE: u8 = b'|';
/// Seconds that a date may lie in the future: clocks and time zones are set wrongly now and then.
const FUTURE_S: u32 = 86_400;

/// Which servers answer to which value, in order of the file: a server and its backup may share one.
#[derive(Debug, Clone, Default)]
pub struct Values {
    by_value: HashMap<Box<[u8]>, Vec<ServerId>>,
}

impl Values {
    pub fn new(config: &Config, backend: BackendId) -> Self {
        let mut out = Self::default();
        for &id in &config.backend(backend).servers {
            if let Some(value) = &config.server(id).cookie {
                out.by_value.entry(value.clone()).or_default().push(id);
            }
        }
        out
    }
    pub fn named(&self, value: &[u8]) -> &[ServerId] {
        self.by_value.get(value).map_or(&[], Vec::as_slice)
    }
}

/// What a request's cookie came to: the third letter of the log line's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Found {
    #[default]
    None,
    /// It names a server that is up.
    Valid,
    /// Only servers that are down; with `option persist` the request goes there all the same.
    Down,
    /// No server.
    Invalid,
    /// Idle for longer than `maxidle`.
    Expired,
    /// Living for longer than `maxlife`.
    Old,
    /// It was there, and something else chose the server.
    Unused,
}

impl Found {
    pub fn letter(self) -> char {
        match self {
            Self::None => 'N',
            Self::Valid => 'V',
            Self::Down => 'D',
            Self::Invalid => 'I',
            Self::Expired => 'E',
            Self::Old => 'O',
            Self::Unused => 'U',
        }
    }
}

/// The outcome of [`read_request`], kept until the response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Asked {
    pub found: Found,
    /// The server to go to, by cookie or `use-server`. `None`: the algorithm chooses.
    pub server: Option<ServerId>,
    /// `ignore-persist`: nor is the client told of its server.
    ignored: bool,
    /// Seconds since the epoch of the cookie's last and first use; 0: it has none.
    last_s: u32,
    first_s: u32,
}

impl Asked {
    /// Another server serves the request in the end: the client learns that one's cookie.
    pub fn redispatched(&mut self) {
        self.server = None;
        if self.found == Found::Valid {
            self.found = Found::Down;
        }
    }
}

/// What [`read_request`] goes by.
#[derive(Debug, Clone, Copy)]
pub struct Reading<'a> {
    pub cookie: &'a Cookie,
    pub values: &'a Values,
    pub shared: &'a Shared,
    /// `option persist`, or a `force-persist` condition holds: servers that are down will do.
    pub persist: bool,
    /// An `ignore-persist` condition holds.
    pub ignored: bool,
    /// The server that `use-server` chose, which no cookie changes.
    pub chosen: Option<ServerId>,
    /// Seconds since the epoch.
    pub now_s: u32,
}

/// Does the state of the log line have letters for this cookie? Else they are `-`.
pub fn is_tracked(cookie: &Cookie) -> bool {
    cookie.mode != CookieMode::Passive || cookie.indirect
}

/// Finds the persistence cookie, and takes out of the head what the server shall not see of it.
/// `scratch` is emptied; its memory is used.
pub fn read_request(head: &mut Head, reading: &Reading<'_>, scratch: &mut Vec<u8>) -> Asked {
    let mut asked = Asked {
        ignored: reading.ignored,
        server: reading.chosen,
        ..Asked::default()
    };
    let mut at = 0;
    while at < head.len() {
        let (field, value) = head.field(at);
        if field != b"cookie" || !concerns(value, &reading.cookie.name) {
            at += 1;
            continue;
        }
        scratch.clear();
        scratch.extend_from_slice(value);
        match read_field(scratch, reading, &mut asked) {
            Outcome::Same => {}
            Outcome::Changed => head.set_value(at, scratch),
            Outcome::Empty => {
                head.remove(at);
                continue;
            }
        }
        at += 1;
    }
    asked
}

/// May a field hold the cookie, or blanks around a `=`?
fn concerns(field: &[u8], name: &[u8]) -> bool {
    let blank_at = |at: Option<usize>| {
        at.and_then(|at| field.get(at))
            .is_some_and(|b| BLANK.contains(b))
    };
    memchr::memmem::find(field, name).is_some()
        || memchr::memchr_iter(b'=', field)
            .any(|at| blank_at(at.checked_sub(1)) || blank_at(Some(at + 1)))
}

/// What became of a field.
enum Outcome {
    Same,
    Changed,
    /// Nothing of it is left but attributes.
    Empty,
}

/// One `Cookie` field.
fn read_field(line: &mut Vec<u8>, reading: &Reading<'_>, asked: &mut Asked) -> Outcome {
    let cookie = reading.cookie;
    let (mut changed, mut removed, mut others) = (false, false, false);
    // The delimiter before the cookie at hand; `None`: it is the first.
    let mut before: Option<usize> = None;
    while let Some(pair) = next_pair(line, before.map_or(0, |at| at + 1), NAME_ENDS) {
        if pair.is_attribute(line) {
            before = Some(pair.end);
            continue;
        }
        let pair = pair.tightened(line, &mut changed);
        before = if !pair.has_value || line[pair.name.0..pair.name.1] != *cookie.name {
            others = true;
            Some(pair.end)
        } else if cookie.mode == CookieMode::Prefix {
            others = true;
            let value = &line[pair.value.0..pair.value.1];
            let mark = value.iter().position(|&b| b == PREFIX_END);
            judge(&value[..mark.unwrap_or(value.len())], reading, asked);
            let cut = mark.map_or(0, |mark| mark + 1);
            line.drain(pair.value.0..pair.value.0 + cut);
            changed |= cut > 0;
            Some(pair.end - cut)
        } else {
            let value = &line[pair.value.0..pair.value.1];
            if let Some(named) = dated(value, cookie, reading.now_s, asked) {
                judge(named, reading, asked);
            }
            if cookie.mode == CookieMode::Insert && cookie.indirect {
                (changed, removed) = (true, true);
                remove_pair(line, before, pair.end)
            } else {
                others = true;
                Some(pair.end)
            }
        };
    }
    match (changed, removed && (line.is_empty() || !others)) {
        (_, true) => Outcome::Empty,
        (true, _) => Outcome::Changed,
        (false, _) => Outcome::Same,
    }
}

/// Looks for the server of one value, unless an earlier cookie has found one.
fn judge(value: &[u8], reading: &Reading<'_>, asked: &mut Asked) {
    if reading.ignored || reading.chosen.is_some() {
        asked.found = Found::Unused;
        return;
    }
    if asked.server.is_some() {
        return;
    }
    if asked.found == Found::None {
        asked.found = Found::Invalid;
    }
    for &id in reading.values.named(value) {
        if server::serves_queue(reading.shared.server(id)) {
            asked.found = Found::Valid;
            asked.server = Some(id);
            return;
        }
        asked.found = Found::Down;
        if reading.persist {
            asked.server = Some(id);
            return;
        }
    }
}

/// The part of an inserted value that names the server, dates noted. `None`: it is too old to count.
fn dated<'v>(value: &'v [u8], cookie: &Cookie, now_s: u32, asked: &mut Asked) -> Option<&'v [u8]> {
    let Some(bar) = value.iter().position(|&b| b == DATE) else {
        return Some(value);
    };
    let (named, dates) = (&value[..bar], &value[bar + 1..]);
    let second = dates.iter().position(|&b| b == DATE);
    let last_s = date(dates);
    let first_s = second.map_or(0, |at| date(&dates[at + 1..]));
    let beyond = |date_s: u32, most: Option<u32>| {
        most.is_some_and(|most| {
            date_s > 0
                && (now_s.saturating_sub(date_s) > most || date_s.saturating_sub(now_s) > FUTURE_S)
        })
    };
    if last_s > 0 {
        asked.last_s = last_s;
    }
    if first_s > 0 {
        asked.first_s = first_s;
    }
    let too_old = if beyond(first_s, cookie.maxlife) {
        Found::Old
    } else if beyond(last_s, cookie.maxidle) {
        Found::Expired
    } else {
        return Some(named);
    };
    asked.found = too_old;
    (asked.last_s, asked.first_s) = (0, 0);
    None
}

/// Digits of dates, six bits each.
const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Seconds since the epoch of the five digits at the start of `text`, which count four seconds; 0: none.
fn date(text: &[u8]) -> u32 {
    let Some(text) = text.get(..5) else { return 0 };
    let mut out = 0u32;
    for byte in text {
        let Some(digit) = DIGITS.iter().position(|d| d == byte) else {
            return 0;
        };
        out = out << 6 | digit as u32;
    }
    out << 2
}

/// Five digits of a time, rounded up to four seconds.
fn push_date(out: &mut Vec<u8>, at_s: u32) {
    let quarters = (u64::from(at_s) + 3) >> 2;
    out.extend(
        (0..5)
            .rev()
            .map(|i| DIGITS[(quarters >> (6 * i)) as usize & 63]),
    );
}

// ---------------------------------------------------------------- the response

/// What [`treat_response`] goes by.
#[derive(Debug, Clone, Copy)]
pub struct Answering<'a> {
    pub cookie: &'a Cookie,
    pub asked: &'a Asked,
    /// The value of the server that answers, where it has one.
    pub server: Option<&'a [u8]>,
    /// Of the request.
    pub method: &'a [u8],
    /// Seconds since the epoch.
    pub now_s: u32,
}

/// Treats the cookies of a server's response, and adds the persistence cookie where the client needs it.
/// Returns the fourth letter of the log line's state. Without a server (a page of our own) it is not to be called:
/// the letter is then `N`.
pub fn treat_response(head: &mut Head, answer: &Answering<'_>, scratch: &mut Vec<u8>) -> char {
    let (cookie, asked) = (answer.cookie, answer.asked);
    let mut letter = 'N';
    let mut at = 0;
    while at < head.len() {
        let (field, value) = head.field(at);
        let second = field == b"set-cookie2";
        if !second && field != b"set-cookie" || !concerns(value, &cookie.name) {
            at += 1;
            continue;
        }
        scratch.clear();
        scratch.extend_from_slice(value);
        match treat_field(scratch, second, answer, &mut letter) {
            Outcome::Same => {}
            Outcome::Changed => head.set_value(at, scratch),
            Outcome::Empty => {
                head.remove(at);
                continue;
            }
        }
        at += 1;
    }
    let stays = letter == 'P' && cookie.preserve;
    let may_insert = cookie.mode == CookieMode::Insert
        && !stays
        && !asked.ignored
        && (!cookie.postonly || answer.method == b"POST");
    if may_insert && (asked.server.is_none() || needs_update(answer)) {
        letter = if asked.server.is_none() { 'I' } else { 'U' };
        insert(head, answer, scratch);
    }
    letter
}

/// One `Set-Cookie` field, which holds one cookie, or `Set-Cookie2`, which may hold several.
fn treat_field(
    line: &mut Vec<u8>,
    several: bool,
    answer: &Answering<'_>,
    letter: &mut char,
) -> Outcome {
    let cookie = answer.cookie;
    let deletes = !cookie.preserve
        && (cookie.mode == CookieMode::Insert || cookie.indirect && answer.asked.server.is_some());
    let mut changed = false;
    let mut from = 0;
    while let Some(pair) = next_pair(line, from, if several { NAME_ENDS } else { b";" }) {
        let pair = pair.tightened(line, &mut changed);
        let mut end = value_end(line, pair.end, b",");
        if pair.has_value && line[pair.name.0..pair.name.1] == *cookie.name {
            *letter = 'P';
            if deletes {
                *letter = 'D';
                if !several || from == 0 && end >= line.len() {
                    return Outcome::Empty;
                }
                line.drain(from.saturating_sub(1)..end);
                changed = true;
                if from == 0 {
                    // Its comma too, and blanks behind that.
                    let rest = line.iter().skip(1).position(|b| !BLANK.contains(b));
                    line.drain(..rest.map_or(line.len(), |n| n + 1));
                } else {
                    from -= 1;
                    end = from;
                }
                if from == 0 {
                    continue;
                }
            } else if let (CookieMode::Rewrite, Some(value)) = (cookie.mode, answer.server) {
                let (start, old_end) = pair.value;
                end = end - (old_end - start) + value.len();
                line.splice(start..old_end, value.iter().copied());
                (*letter, changed) = ('R', true);
            } else if let (CookieMode::Prefix, Some(value)) = (cookie.mode, answer.server) {
                let prefix = value.iter().copied().chain([PREFIX_END]);
                line.splice(pair.value.0..pair.value.0, prefix);
                end += value.len() + 1;
                (*letter, changed) = ('R', true);
            }
        }
        if !several {
            break;
        }
        from = end + 1;
    }
    if changed {
        Outcome::Changed
    } else {
        Outcome::Same
    }
}

/// Has a cookie that led to its server to be sent again with other dates?
fn needs_update(answer: &Answering<'_>) -> bool {
    let (cookie, asked) = (answer.cookie, answer.asked);
    (cookie.maxidle.is_some() && asked.last_s == 0)
        || (cookie.maxlife.is_some() != (asked.first_s > 0))
        || asked.last_s > 0 && asked.last_s < answer.now_s
}

fn insert(head: &mut Head, answer: &Answering<'_>, out: &mut Vec<u8>) {
    let (cookie, asked) = (answer.cookie, answer.asked);
    out.clear();
    out.extend_from_slice(&cookie.name);
    out.push(b'=');
    match answer.server {
        Some(value) => {
            out.extend_from_slice(value);
            let dated = cookie.maxidle.is_some() || cookie.maxlife.is_some();
            if dated {
                out.push(DATE);
                push_date(out, answer.now_s);
            }
            if cookie.maxlife.is_some() {
                out.push(DATE);
                // A client's time began when it first came, whichever server it went to.
                let began = Some(asked.first_s).filter(|&s| s > 0);
                push_date(out, began.unwrap_or(answer.now_s));
            }
            out.extend_from_slice(b"; path=/");
        }
        // A server without a value must not be left for the one that the client remembers.
        None => out.extend_from_slice(b"; Expires=Thu, 01-Jan-1970 00:00:01 GMT; path=/"),
    }
    for domain in &cookie.domains {
        out.extend_from_slice(b"; domain=");
        out.extend_from_slice(domain);
    }
    if cookie.httponly {
        out.extend_from_slice(b"; HttpOnly");
    }
    if cookie.secure {
        out.extend_from_slice(b"; Secure");
    }
    for attribute in &cookie.attributes {
        out.extend_from_slice(b"; ");
        out.extend_from_slice(attribute);
    }
    let guarded = cookie.nocache && is_cacheable(head, answer.method);
    head.push(b"set-cookie", out);
    if guarded {
        head.push(b"cache-control", b"private");
    }
}

/// Statuses that a cache may keep without being told so (RFC 9110, 15.1, as haproxy 2.6 has them).
const CACHEABLE: [u16; 11] = [200, 203, 204, 206, 300, 301, 404, 405, 410, 414, 501];

/// May a cache in front keep this response? By haproxy's rules: method, status, `Pragma`, the directives of
/// `Cache-Control` in order, and something that says how long or which version (RFC 9111, 3).
pub fn is_cacheable(head: &Head, method: &[u8]) -> bool {
    let is = |value: &[u8], text: &str| value.eq_ignore_ascii_case(text.as_bytes());
    if head.first(b"pragma").is_some_and(|v| is(v, "no-cache")) {
        return false;
    }
    let mut cacheable = matches!(method, b"GET" | b"HEAD" | b"OPTIONS" | b"TRACE")
        && CACHEABLE.contains(&head.status);
    let mut fresh = [&b"etag"[..], b"last-modified", b"expires"]
        .iter()
        .any(|name| head.first(name).is_some());
    for value in head.values(b"cache-control") {
        let mut from = 0;
        while from < value.len() {
            let end = value_end(value, from, b",");
            let word = value[from..end].trim_ascii();
            from = end + 1;
            let opens = |text: &str| word.get(..text.len()).is_some_and(|w| is(w, text));
            fresh |= opens("max-age") || opens("s-maxage");
            if is(word, "public") {
                cacheable = true;
            }
            if ["private", "no-cache", "no-store", "max-age=0", "s-maxage=0"]
                .iter()
                .any(|text| is(word, text))
            {
                cacheable = false;
            }
        }
    }
    cacheable && fresh
}

// ---------------------------------------------------------------- pairs of a field

/// One cookie of a field: bytes of its name and of its value, and where its delimiter is.
#[derive(Debug, Clone, Copy)]
struct Pair {
    name: (usize, usize),
    /// Without blanks around it. Empty at the name's end where there is no `=`.
    value: (usize, usize),
    has_value: bool,
    /// The delimiter behind it, or the end of the field.
    end: usize,
}

const BLANK: &[u8] = b" \t";

/// What ends a cookie without a value. In `Set-Cookie` a comma does not: dates have them.
const NAME_ENDS: &[u8] = b";,";
/// What ends a value.
const VALUE_ENDS: &[u8] = b";,";

/// The cookie that begins at or behind `from`.
fn next_pair(line: &[u8], from: usize, name_ends: &[u8]) -> Option<Pair> {
    if from >= line.len() {
        return None;
    }
    let skip = |mut at: usize| {
        while line.get(at).is_some_and(|b| BLANK.contains(b)) {
            at += 1;
        }
        at
    };
    let back = |least: usize, mut at: usize| {
        while at > least && BLANK.contains(&line[at - 1]) {
            at -= 1;
        }
        at
    };
    let start = skip(from);
    let stops = |b: &u8| *b == b'=' || name_ends.contains(b);
    let equal = line[start..]
        .iter()
        .position(stops)
        .map_or(line.len(), |n| start + n);
    let name_end = back(start, equal);
    if line.get(equal) != Some(&b'=') {
        return Some(Pair {
            name: (start, name_end),
            value: (name_end, name_end),
            has_value: false,
            end: equal,
        });
    }
    let begin = skip(equal + 1);
    let end = value_end(line, begin, VALUE_ENDS);
    Some(Pair {
        name: (start, name_end),
        value: (begin, back(begin, end)),
        has_value: true,
        end,
    })
}

/// The next delimiter outside of quotes.
fn value_end(line: &[u8], from: usize, delimiters: &[u8]) -> usize {
    let mut quoted = false;
    let mut at = from;
    while at < line.len() {
        match line[at] {
            b'"' => quoted = !quoted,
            b'\\' if quoted => at += 1,
            b if !quoted && delimiters.contains(&b) => return at,
            _ => {}
        }
        at += 1;
    }
    line.len()
}

impl Pair {
    /// `$Path` and its like, which belong to the cookie before.
    fn is_attribute(self, line: &[u8]) -> bool {
        line.get(self.name.0) == Some(&b'$')
    }
    /// The pair without blanks around its `=`, which are taken out of the field.
    fn tightened(self, line: &mut Vec<u8>, changed: &mut bool) -> Self {
        if !self.has_value {
            return self;
        }
        let gap = self.value.0 - self.name.1 - 1;
        if gap > 0 {
            line.splice(self.name.1..self.value.0, [b'=']);
            *changed = true;
        }
        Self {
            value: (self.value.0 - gap, self.value.1 - gap),
            end: self.end - gap,
            ..self
        }
    }
}

/// Takes the cookie between the delimiters `before` and `end` out, with the attributes that follow it.
/// Returns the delimiter before what follows now. The delimiter that stays is the one behind.
fn remove_pair(line: &mut Vec<u8>, before: Option<usize>, end: usize) -> Option<usize> {
    let mut end = end;
    while let Some(pair) = next_pair(line, end + 1, NAME_ENDS).filter(|p| p.is_attribute(line)) {
        end = pair.end;
    }
    let before = before.filter(|&at| at > 0);
    if end >= line.len() {
        line.truncate(before.unwrap_or(0));
        return Some(line.len());
    }
    let blank = |at: usize| line.get(at).is_some_and(|b| BLANK.contains(b));
    let rest = (end + 1..)
        .find(|&at| !blank(at))
        .expect("blanks end with the field");
    let Some(before) = before else {
        line.drain(..rest);
        return None;
    };
    let kept = (0..before).rfind(|&at| !blank(at)).map_or(0, |at| at + 1);
    line.splice(kept..rest, [line[end], b' ']);
    Some(kept)
}

#[cfg(test)]
mod tests;
