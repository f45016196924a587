//! Arguments of fetches: read from the parentheses, checked against their types (configuration.txt 7.3).

use std::net::IpAddr;

/// Type of one argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arg {
    Str,
    Int,
    Ip4,
    Ip6,
    Frontend,
    Backend,
    Server,
    Userlist,
}

impl Arg {
    /// Its name in haproxy's messages.
    fn name(self) -> &'static str {
        match self {
            Self::Str => "string",
            Self::Int => "integer",
            Self::Ip4 => "IPv4 address",
            Self::Ip6 => "IPv6 address",
            Self::Frontend => "frontend",
            Self::Backend => "backend",
            Self::Server => "server",
            Self::Userlist => "user list",
        }
    }
    /// A reference that means the proxy at hand where nothing is written.
    fn may_be_left_out(self) -> bool {
        matches!(
            self,
            Self::Frontend | Self::Backend | Self::Server | Self::Userlist
        )
    }
}

/// The value of one argument.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Given {
    Str(Vec<u8>),
    Int(i64),
    Ip(IpAddr),
}

/// One argument as written, quotes taken off.
pub(in crate::lang) struct RawArg {
    pub(in crate::lang) bytes: Vec<u8>,
    /// Offset of its first byte in the text.
    pub(in crate::lang) at: usize,
    /// Offset behind it.
    pub(in crate::lang) end: usize,
}

/// Splits what follows an opening parenthesis at `start` of `text`; the offset behind the closing one. Quotes and
/// backslashes work in it once more than in the line. `None`: it is not closed.
pub(in crate::lang) fn split(text: &[u8], start: usize) -> Option<(Vec<RawArg>, usize)> {
    let mut out = Vec::new();
    let mut at = start;
    loop {
        let (arg, end) = one(text, at);
        out.push(arg);
        match text.get(end) {
            Some(b',') => at = end + 1,
            Some(b')') => return Some((out, end + 1)),
            _ => return None,
        }
    }
}

fn one(text: &[u8], start: usize) -> (RawArg, usize) {
    let mut bytes = Vec::new();
    let mut quote = None;
    let mut at = start;
    while let Some(&b) = text.get(at) {
        match (b, quote) {
            (b'"' | b'\'', None) => quote = Some(b),
            (b, Some(open)) if b == open => quote = None,
            (b'\\', None | Some(b'"')) => {
                let meant = match text.get(at + 1) {
                    Some(b'n') => Some(b'\n'),
                    Some(b'r') => Some(b'\r'),
                    Some(b't') => Some(b'\t'),
                    Some(&b @ (b'\\' | b'"' | b'\'' | b' ')) => Some(b),
                    _ => None,
                };
                // Before anything else it stands for itself.
                bytes.push(meant.unwrap_or(b'\\'));
                at += usize::from(meant.is_some());
            }
            (b',' | b')', None) => break,
            (b, _) => bytes.push(b),
        }
        at += 1;
    }
    let arg = RawArg {
        bytes,
        at: start,
        end: at,
    };
    (arg, at)
}

/// What is said where the list should have ended at offset `from`.
fn surplus(text: &[u8], from: usize) -> (String, usize, usize) {
    let rest = String::from_utf8_lossy(&text[from..]);
    let message = format!("expected ')' before '{rest}'");
    (message, from, text.len() - from)
}

/// Checks arguments as written against the types of a keyword. The error is haproxy's message and the place (offset,
/// length) it is about.
pub(super) fn check(
    text: &[u8],
    raw: &[RawArg],
    types: &[Arg],
    least: usize,
) -> Result<Vec<Given>, (String, usize, usize)> {
    let mut out = Vec::new();
    let show = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    // An empty pair of parentheses gives one empty argument, which is none.
    let raw = match raw {
        [only] if only.bytes.is_empty() && only.at == only.end => &[],
        all => all,
    };
    for (index, arg) in raw.iter().enumerate() {
        let Some(&kind) = types.get(index) else {
            let from = if index == 0 { arg.at } else { arg.at - 1 };
            return Err(surplus(text, from));
        };
        if arg.bytes.is_empty() && kind != Arg::Str && index >= least {
            // Nothing where a number may stand: the list ends here.
            if index + 1 < raw.len() {
                let from = arg.at - 1;
                return Err(surplus(text, from));
            }
            break;
        }
        let word = show(&arg.bytes);
        let given = match kind {
            Arg::Int => crate::lang::value::int(&arg.bytes, i64::MIN..=i64::MAX)
                .ok()
                .map(Given::Int),
            Arg::Ip4 => word.parse().ok().map(|ip| Given::Ip(IpAddr::V4(ip))),
            Arg::Ip6 => word.parse().ok().map(|ip| Given::Ip(IpAddr::V6(ip))),
            _ => Some(Given::Str(arg.bytes.clone())),
        };
        let Some(given) = given else {
            let position = index + 1;
            let text = if arg.bytes.is_empty() {
                format!(
                    "expected type '{}' at position {position}, but got nothing",
                    kind.name()
                )
            } else {
                format!(
                    "failed to parse '{word}' as type '{}' at position {position}",
                    kind.name()
                )
            };
            return Err((text, arg.at, arg.end - arg.at));
        };
        out.push(given);
    }
    if out.is_empty() && least > 0 && types[0] == Arg::Str {
        out.push(Given::Str(Vec::new()));
    }
    if out.len() < least && !types[out.len()].may_be_left_out() {
        let kind = types[out.len()].name();
        let text = if out.is_empty() {
            format!("expected type '{kind}' at position 1, but got nothing")
        } else {
            format!(
                "missing arguments (got {}/{least}), type '{kind}' expected",
                out.len()
            )
        };
        return Err((text, 0, 0));
    }
    Ok(out)
}
