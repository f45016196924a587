//! Answers of our own: what `deny`, `tarpit`, `return` and `http-error` say about them (configuration.txt 4.2,
//! `http-request return`).

use std::path::Path;
use std::sync::Arc;

use crate::lang::expr::{Cx, Fault, Needs, Settle};
use crate::lang::lexer::Word;
use crate::lang::logformat::LogFormat;
use crate::lang::source::Span;
use crate::lang::value;
use crate::proto::http::Head;
use crate::proto::page;

/// An answer of our own.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub body: ReplyBody,
    /// Names are fixed, values are formats.
    pub headers: Vec<(Box<[u8]>, LogFormat)>,
}

#[derive(Clone, Debug)]
pub enum ReplyBody {
    /// The page of that status in force for the proxy: `errorfile`, `http-error`, else the default one.
    Page,
    /// A whole raw answer from an `errorfile`, head and body, sent as it is.
    Raw(Arc<[u8]>),
    /// `errorfiles`: the page of that status of an `http-errors` section; settled to [`ReplyBody::Raw`] or, where the
    /// section has none for that status, to [`ReplyBody::Page`].
    Section(Box<str>),
    /// No body at all.
    Empty,
    Text {
        content_type: Box<[u8]>,
        text: Arc<[u8]>,
    },
    Format {
        content_type: Box<[u8]>,
        format: LogFormat,
    },
}

/// Which rule an answer is for: decides its status where none is written and which statuses it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyFor {
    /// Of a request: 403. Statuses that have a page.
    DenyRequest,
    /// Of a response: 502.
    DenyResponse,
    /// 500.
    Tarpit,
    /// 200, or any other from 200 to 599.
    Return,
    /// `http-error`: none before it is written, then one that has a page.
    Error,
}

impl ReplyFor {
    fn status(self) -> u16 {
        match self {
            Self::DenyRequest => 403,
            Self::DenyResponse => 502,
            Self::Tarpit => 500,
            Self::Return => 200,
            Self::Error => 0,
        }
    }
}

/// Headers that say how a body is framed: the sender writes them.
const OF_THE_BODY: [&[u8]; 3] = [b"content-length", b"content-type", b"transfer-encoding"];

/// The argument that said what the body is.
enum Body<'a> {
    DefaultPages,
    Raw(&'a Word),
    Section(&'a Word),
    File(&'a Word),
    FormatFile(&'a Word),
    Text(&'a Word),
    Format(&'a Word),
}

impl Body<'_> {
    fn word(&self) -> &'static str {
        match self {
            Self::DefaultPages => "default-errorfiles",
            Self::Raw(_) => "errorfile",
            Self::Section(_) => "errorfiles",
            Self::File(_) => "file",
            Self::FormatFile(_) => "lf-file",
            Self::Text(_) => "string",
            Self::Format(_) => "lf-string",
        }
    }
}

impl Reply {
    /// Reads the arguments up to the first word that is none; also how many words they were. `at` is where the rule
    /// stands.
    ///
    /// # Errors
    /// haproxy's message about the first mistake.
    pub fn parse(
        words: &[Word],
        what: ReplyFor,
        at: Span,
        cx: &mut Cx<'_>,
    ) -> Result<(Self, usize), Fault> {
        let mut status: Option<(u16, Span)> = None;
        let mut content_type: Option<&Word> = None;
        let mut body: Option<Body<'_>> = None;
        let mut headers = Vec::new();
        // Without a word of its own, or only `deny_status`, a denial is a page.
        let mut page = what != ReplyFor::Return && what != ReplyFor::Error;
        let mut next = 0;
        while let Some(word) = words.get(next) {
            let text = word.text();
            let argument = |name: &str| {
                let given = words.get(next + 1).filter(|w| !w.bytes.is_empty());
                given.ok_or_else(|| {
                    Fault::wrong(word.span, format!("'{text}' expects <{name}> as argument"))
                })
            };
            let mut taken = 2;
            let chosen = match &*text {
                "status" | "deny_status" => {
                    page &= text == "deny_status";
                    status = Some(read_status(argument("status_code")?)?);
                    None
                }
                "content-type" => {
                    content_type = Some(argument("ctype")?);
                    None
                }
                "default-errorfiles" => {
                    taken = 1;
                    Some(Body::DefaultPages)
                }
                "errorfile" => Some(Body::Raw(argument("fmt")?)),
                "errorfiles" => Some(Body::Section(argument("http_errors_name")?)),
                "file" => Some(Body::File(argument("file")?)),
                "lf-file" => Some(Body::FormatFile(argument("file")?)),
                "string" => {
                    // An empty text is an answer without a body.
                    let given = words.get(next + 1).ok_or_else(|| {
                        Fault::wrong(word.span, "'string' expects <str> as argument")
                    })?;
                    Some(Body::Text(given))
                }
                "lf-string" => Some(Body::Format(argument("fmt")?)),
                "hdr" => {
                    taken = 3;
                    let (Some(name), Some(value)) = (words.get(next + 1), words.get(next + 2))
                    else {
                        let text = "'hdr' expects <name> and <value> as arguments";
                        return Err(Fault::wrong(word.span, text));
                    };
                    page = false;
                    let value = LogFormat::parse(value, cx)?;
                    let field = header_name(name)?;
                    if OF_THE_BODY.contains(&&*field) {
                        let text =
                            format!("header '{}' always ignored by the http reply.", name.text());
                        cx.warnings.push((name.span, text, None));
                    } else {
                        headers.push((field, value));
                    }
                    None
                }
                _ => break,
            };
            if let Some(chosen) = chosen {
                if let Some(first) = &body {
                    let text = format!(
                        "unexpected '{text}' argument, '{}' already defined",
                        first.word()
                    );
                    return Err(Fault::wrong(word.span, text));
                }
                body = Some(chosen);
            }
            next += taken;
        }
        if page && body.is_none() {
            body = Some(Body::DefaultPages);
        }
        let code = status.map_or_else(|| what.status(), |s| s.0);
        let reply = Self::build(
            (code, status.map_or(at, |s| s.1)),
            content_type,
            body,
            headers,
            at,
            cx,
        )?;
        Ok((reply, next))
    }

    fn build(
        (code, status): (u16, Span),
        content_type: Option<&Word>,
        body: Option<Body<'_>>,
        mut headers: Vec<(Box<[u8]>, LogFormat)>,
        at: Span,
        cx: &mut Cx<'_>,
    ) -> Result<Self, Fault> {
        let typed = |what: &str, word: &Word| match content_type {
            Some(given) => Ok(given.bytes.clone().into()),
            None => Err(Fault::wrong(
                word.span,
                format!("a content type must be defined {what}"),
            )),
        };
        let mut unused = None;
        let body = match body {
            None => {
                unused = Some("neither errorfile nor payload defined");
                ReplyBody::Empty
            }
            Some(Body::DefaultPages) => {
                unused = Some("used with an errorfile");
                paged(code, status, "default-errorfiles")?;
                ReplyBody::Page
            }
            Some(Body::Section(name)) => {
                unused = Some("used with an errorfile");
                paged(code, status, "errorfiles")?;
                ReplyBody::Section(name.text().into())
            }
            Some(Body::Raw(file)) => {
                unused = Some("used with an errorfile");
                let bytes = read_file(file, cx)?;
                if !bytes.is_empty() {
                    page::read_file(&bytes, &mut Head::default()).map_err(|why| {
                        Fault::wrong(file.span, format!("'{}': {why}", file.text()))
                    })?;
                }
                ReplyBody::Raw(bytes.into())
            }
            Some(Body::Text(text)) => {
                if text.bytes.is_empty() {
                    ReplyBody::Empty
                } else {
                    ReplyBody::Text {
                        content_type: typed("when non-empty payload is configured", text)?,
                        text: text.bytes.clone().into(),
                    }
                }
            }
            Some(Body::File(file)) => {
                let bytes = read_file(file, cx)?;
                if bytes.is_empty() {
                    ReplyBody::Empty
                } else {
                    ReplyBody::Text {
                        content_type: typed("when non-empty payload is configured", file)?,
                        text: bytes.into(),
                    }
                }
            }
            Some(Body::Format(format)) => ReplyBody::Format {
                content_type: typed("with a log-format payload", format)?,
                format: LogFormat::parse(format, cx)?,
            },
            Some(Body::FormatFile(file)) => {
                let bytes = read_file(file, cx)?;
                let word = Word {
                    bytes,
                    span: file.span,
                };
                ReplyBody::Format {
                    content_type: typed("with a log-format payload", file)?,
                    format: LogFormat::parse(&word, cx)?,
                }
            }
        };
        if let (Some(given), Some(why)) = (content_type, unused) {
            let text = format!(
                "content-type '{}' ignored by the http reply because {why}.",
                given.text()
            );
            cx.warnings.push((given.span, text, None));
        }
        if matches!(
            body,
            ReplyBody::Page | ReplyBody::Raw(_) | ReplyBody::Section(_)
        ) && !headers.is_empty()
        {
            headers.clear();
            let text = "hdr parameters ignored by the http reply when used with an errorfile.";
            cx.warnings.push((at, text.to_owned(), None));
        }
        Ok(Self {
            status: code,
            body,
            headers,
        })
    }

    /// Settles references to names.
    ///
    /// # Errors
    /// haproxy's message about a name that does not exist.
    pub fn settle(&mut self, names: &dyn Settle) -> Result<(), String> {
        for (_, value) in &mut self.headers {
            value.settle(names)?;
        }
        match &mut self.body {
            ReplyBody::Format { format, .. } => format.settle(names)?,
            ReplyBody::Section(section) => match names.error_page(section, self.status) {
                None => {
                    return Err(format!(
                        "unknown http-errors section '{section}' referenced by an http reply ."
                    ));
                }
                Some(Some(page)) => self.body = ReplyBody::Raw(page),
                Some(None) => self.body = ReplyBody::Page,
            },
            _ => {}
        }
        Ok(())
    }

    /// What its formats need.
    pub fn needs(&self) -> Needs {
        let of_body = match &self.body {
            ReplyBody::Format { format, .. } => format.needs(),
            _ => Needs::default(),
        };
        let of_headers = self.headers.iter().map(|(_, value)| value.needs());
        of_headers.fold(of_body, Needs::with)
    }
}

/// Only statuses that have a page can be asked from a list of pages.
fn paged(code: u16, status: Span, word: &str) -> Result<(), Fault> {
    if page::page(code).is_some() {
        return Ok(());
    }
    let text = format!("status code '{code}' not handled by default with '{word}' argument.");
    Err(Fault::wrong(status, text))
}

fn read_status(word: &Word) -> Result<(u16, Span), Fault> {
    let number = value::uint(&word.bytes, 200..=599).ok();
    let status = number.and_then(|n| u16::try_from(n).ok());
    status.map(|status| (status, word.span)).ok_or_else(|| {
        Fault::wrong(
            word.span,
            format!("Unexpected status code '{}'", word.text()),
        )
    })
}

fn read_file(word: &Word, cx: &Cx<'_>) -> Result<Vec<u8>, Fault> {
    let name = word.text();
    (cx.read)(Path::new(&*name)).map_err(|why| {
        Fault::wrong(word.span, format!("error opening file '{name}'"))
            .help(format!("the system says: {why}"))
    })
}

/// The name of a field: a token (RFC 9110 5.1).
pub(super) fn header_name(word: &Word) -> Result<Box<[u8]>, Fault> {
    match word.bytes.iter().position(|&b| !super::act::is_token(b)) {
        None if !word.bytes.is_empty() => Ok(word.bytes.to_ascii_lowercase().into()),
        at => {
            let at = at.unwrap_or(0);
            let text = format!("'{}' is not the name of a header", word.text());
            let fault = Fault::wrong(word.part(at, 1), text);
            Err(match word.bytes.strip_suffix(b":") {
                Some(name) => fault.help(format!(
                    "without the colon: {}",
                    String::from_utf8_lossy(name)
                )),
                None => fault,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{with_cx, words};
    use super::*;

    fn read(what: ReplyFor, line: &str) -> (Reply, Vec<String>) {
        let words = words(line);
        let at = words
            .first()
            .map_or_else(|| super::super::fixture::words("x")[0].span, |w| w.span);
        let (reply, warnings) = with_cx(|cx| Reply::parse(&words, what, at, cx));
        (reply.unwrap().0, warnings)
    }

    /// As haproxy 2.6 answers them.
    #[test]
    fn only_a_denial_without_words_of_its_own_is_a_page() {
        let body = |what, line: &str| {
            let (reply, _) = read(what, line);
            let body = match reply.body {
                ReplyBody::Page => "page",
                ReplyBody::Empty => "empty",
                _ => "other",
            };
            (reply.status, body)
        };
        let deny = ReplyFor::DenyRequest;
        assert_eq!(body(deny, ""), (403, "page"));
        assert_eq!(body(deny, "deny_status 429"), (429, "page"));
        assert_eq!(body(deny, "status 404"), (404, "empty"));
        assert_eq!(body(deny, "status 599"), (599, "empty"));
        assert_eq!(body(deny, "hdr a b"), (403, "empty"));
        assert_eq!(body(deny, "default-errorfiles status 404"), (404, "page"));
        assert_eq!(body(ReplyFor::Tarpit, ""), (500, "page"));
        assert_eq!(body(ReplyFor::Tarpit, "hdr a b"), (500, "empty"));
        assert_eq!(body(ReplyFor::Return, ""), (200, "empty"));
        assert_eq!(body(ReplyFor::Error, "status 501"), (501, "empty"));
    }

    #[test]
    fn headers_that_would_not_be_sent_are_warned_of() {
        let warned = |line: &str| {
            let (reply, warnings) = read(ReplyFor::Return, line);
            (reply.headers.len(), warnings)
        };
        let (kept, warnings) =
            warned("hdr Transfer-Encoding a hdr content-type b hdr connection x");
        assert_eq!(kept, 1);
        assert_eq!(
            warnings,
            [
                "header 'Transfer-Encoding' always ignored by the http reply.",
                "header 'content-type' always ignored by the http reply."
            ]
        );
        let (kept, warnings) = warned("status 404 default-errorfiles hdr a b");
        assert_eq!(kept, 0);
        assert_eq!(
            warnings,
            ["hdr parameters ignored by the http reply when used with an errorfile."]
        );
    }
}
