//! Redirections: where to, and the whole answer (configuration.txt 4.2, `redirect`).

use super::act::{Bytes, rendered};
use super::uri::{Target, split_query};
use crate::lang::expr::{Cx, Fault};
use crate::lang::lexer::Word;
use crate::lang::logformat::LogFormat;
use crate::lang::sample::Arena;
use crate::lang::subject::Subject;
use crate::proto::http::Head;
use crate::proto::page;

#[derive(Clone, Debug)]
pub enum RedirectTo {
    Location(LogFormat),
    Prefix(LogFormat),
    Scheme(LogFormat),
}

impl RedirectTo {
    pub fn format(&self) -> &LogFormat {
        let (Self::Location(format) | Self::Prefix(format) | Self::Scheme(format)) = self;
        format
    }
    pub(super) fn format_mut(&mut self) -> &mut LogFormat {
        let (Self::Location(format) | Self::Prefix(format) | Self::Scheme(format)) = self;
        format
    }
}

#[derive(Clone, Debug)]
pub struct Redirect {
    pub to: RedirectTo,
    /// 301, 302, 303, 307 or 308.
    pub code: u16,
    pub drop_query: bool,
    pub append_slash: bool,
    pub ignore_empty: bool,
    pub keep_query: bool,
    /// Value of the Set-Cookie header to add.
    pub cookie: Option<Box<[u8]>>,
}

const WORDS: &str = "'code', 'prefix', 'location', 'scheme', 'set-cookie', 'clear-cookie', 'drop-query', \
                     'keep-query', 'ignore-empty' or 'append-slash'";

impl Redirect {
    /// Reads what follows `redirect` up to `if`, `unless` or the end; also how many words that were. A response can
    /// only be redirected by `location`.
    ///
    /// # Errors
    /// haproxy's message about the first mistake. `at` stands for the line where it is too short.
    pub fn parse(
        words: &[Word],
        of_response: bool,
        at: crate::lang::source::Span,
        cx: &mut Cx<'_>,
    ) -> Result<(Self, usize), Fault> {
        let (mut to, mut code, mut cookie) = (None, 302, None);
        let [
            mut drop_query,
            mut append_slash,
            mut ignore_empty,
            mut keep_query,
        ] = [false; 4];
        let mut next = 0;
        while let Some(word) = words.get(next) {
            let text = word.text();
            let argument = || {
                let given = words.get(next + 1).filter(|w| !w.bytes.is_empty());
                given.ok_or_else(|| {
                    Fault::wrong(word.span, format!("missing argument for '{text}'"))
                })
            };
            let mut taken = 2;
            match &*text {
                "if" | "unless" => break,
                "location" => {
                    to = Some((
                        RedirectTo::Location(LogFormat::parse(argument()?, cx)?),
                        word,
                    ))
                }
                "prefix" => {
                    to = Some((RedirectTo::Prefix(LogFormat::parse(argument()?, cx)?), word))
                }
                "scheme" => {
                    to = Some((RedirectTo::Scheme(LogFormat::parse(argument()?, cx)?), word))
                }
                "set-cookie" => {
                    let mut value = argument()?.bytes.clone();
                    value.extend_from_slice(b"; path=/;");
                    cookie = Some(value.into());
                }
                "clear-cookie" => {
                    let mut value = argument()?.bytes.clone();
                    value.extend_from_slice(b"; path=/; Max-Age=0;");
                    cookie = Some(value.into());
                }
                "code" => {
                    let given = argument()?;
                    code = match &*given.bytes {
                        b"301" => 301,
                        b"302" => 302,
                        b"303" => 303,
                        b"307" => 307,
                        b"308" => 308,
                        _ => {
                            let text = format!(
                                "'code': unsupported HTTP code '{}' (must be one of 301, 302, 303, 307 or 308)",
                                given.text()
                            );
                            return Err(Fault::wrong(given.span, text));
                        }
                    };
                }
                flag => {
                    taken = 1;
                    match flag {
                        "drop-query" => drop_query = true,
                        "keep-query" => keep_query = true,
                        "append-slash" => append_slash = true,
                        "ignore-empty" => ignore_empty = true,
                        _ => {
                            let text = format!("expects {WORDS} (was '{flag}')");
                            return Err(Fault::wrong(word.span, text));
                        }
                    }
                }
            }
            next += taken;
        }
        let Some((to, word)) = to else {
            let text = "redirection type expected ('prefix', 'location', or 'scheme')";
            return Err(Fault::wrong(at, text));
        };
        if of_response && !matches!(to, RedirectTo::Location(_)) {
            let text = "response only supports redirect type 'location'";
            return Err(Fault::wrong(word.span, text));
        }
        let redirect = Self {
            to,
            code,
            drop_query,
            append_slash,
            ignore_empty,
            keep_query,
            cookie,
        };
        Ok((redirect, next))
    }

    /// Settles the names its format mentions.
    ///
    /// # Errors
    /// haproxy's message about a name that does not exist.
    pub fn settle(&mut self, names: &dyn crate::lang::expr::Settle) -> Result<(), String> {
        self.to.format_mut().settle(names)
    }

    /// Where it leads now. `None`: nowhere (`ignore-empty`), evaluation goes on behind the rule.
    pub fn location<'a>(&'a self, subject: &dyn Subject, arena: &'a Arena) -> Option<&'a [u8]> {
        let given = rendered(self.to.format(), subject, arena);
        let request = subject.request();
        let target = request.map_or(&b""[..], Head::target);
        let path_query = Target::of(target).path_query.unwrap_or(b"/");
        let mut out = Bytes::with_capacity_in(given.len() + path_query.len() + 64, arena);
        match &self.to {
            RedirectTo::Location(_) => {
                if given.is_empty() && self.ignore_empty {
                    return None;
                }
                let query = split_query(path_query).1;
                if !self.keep_query || query.len() < 2 {
                    return Some(given);
                }
                out.extend_from_slice(given);
                out.push(if given.contains(&b'?') { b'&' } else { b'?' });
                out.extend_from_slice(&query[1..]);
                return Some(out.into_bump_slice());
            }
            RedirectTo::Prefix(_) => {
                // A lone slash only applies the flags.
                if given != b"/" {
                    out.extend_from_slice(given);
                }
            }
            RedirectTo::Scheme(_) => {
                let host = request.and_then(|head| head.first(b"host"));
                out.extend_from_slice(given);
                out.extend_from_slice(b"://");
                out.extend_from_slice(host.unwrap_or(b""));
            }
        }
        out.extend_from_slice(if self.drop_query {
            split_query(path_query).0
        } else {
            path_query
        });
        if self.append_slash && out.last() != Some(&b'/') {
            out.push(b'/');
        }
        Some(out.into_bump_slice())
    }

    /// Makes `head` the answer that leads to `location`; it has no body. What the connection needs is the sender's.
    pub fn answer(&self, location: &[u8], head: &mut Head) {
        let reason = match self.code {
            302 => "Found",
            code => page::reason(code),
        };
        page::start(head, self.code, reason);
        head.push(b"content-length", b"0");
        head.push(b"location", location);
        if matches!(self.code, 302 | 303 | 307) {
            head.push(b"cache-control", b"no-cache");
        }
        if let Some(cookie) = &self.cookie {
            head.push(b"set-cookie", cookie);
        }
    }
}

#[cfg(test)]
mod tests;
