//! Parts of request targets, and what `normalize-uri` makes of them (configuration.txt 4.2; RFC 3986 section 6).

use super::Normalizer;
use crate::lang::sample::Arena;

/// Where the parts of a request target lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target<'a> {
    /// Scheme and authority, or nothing.
    pub before: &'a [u8],
    /// Path with its query; `None` for `*`, an authority and an absolute form without a path.
    pub path_query: Option<&'a [u8]>,
}

impl<'a> Target<'a> {
    pub fn of(target: &'a [u8]) -> Self {
        let at = match target.first() {
            Some(b'/') => Some(0),
            _ => authority_at(target).and_then(|at| {
                let end = target[at..].iter().position(|&b| b == b'/');
                end.map(|end| at + end)
            }),
        };
        let (before, path_query) = target.split_at(at.unwrap_or(target.len()));
        Self {
            before,
            path_query: at.map(|_| path_query),
        }
    }
    /// The path without its query.
    pub fn path(&self) -> Option<&'a [u8]> {
        self.path_query.map(|pq| split_query(pq).0)
    }
}

/// Where the authority of an absolute form begins, behind `scheme://`.
fn authority_at(target: &[u8]) -> Option<usize> {
    let colon = target.iter().position(|&b| b == b':')?;
    let (scheme, rest) = target.split_at(colon);
    let is_scheme = scheme.first().is_some_and(u8::is_ascii_alphabetic)
        && scheme
            .iter()
            .all(|&b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    (is_scheme && rest.starts_with(b"://")).then_some(colon + 3)
}

/// The authority a target names by itself, without user information: of absolute and authority forms.
pub fn authority(target: &[u8]) -> Option<&[u8]> {
    let whole = match (target.first()?, authority_at(target)) {
        (b'/', _) => return None,
        (b'*', _) if target.len() == 1 => return None,
        (_, Some(at)) => {
            let rest = &target[at..];
            let end = rest.iter().position(|&b| b"/?#".contains(&b));
            &rest[..end.unwrap_or(rest.len())]
        }
        (_, None) => target,
    };
    let at = whole
        .iter()
        .rposition(|&b| b == b'@')
        .map_or(0, |at| at + 1);
    Some(&whole[at..])
}

/// Splits at the first `?`, which begins the second part.
pub fn split_query(bytes: &[u8]) -> (&[u8], &[u8]) {
    let at = bytes.iter().position(|&b| b == b'?');
    bytes.split_at(at.unwrap_or(bytes.len()))
}

fn concat<'a>(arena: &'a Arena, parts: &[&[u8]]) -> &'a [u8] {
    let len = parts.iter().map(|p| p.len()).sum();
    let mut out = super::act::Bytes::with_capacity_in(len, arena);
    for part in parts {
        out.extend_from_slice(part);
    }
    out.into_bump_slice()
}

/// `target` with another path, its query kept; a target without a path is replaced as a whole.
pub fn with_path<'a>(target: &[u8], path: &[u8], arena: &'a Arena) -> &'a [u8] {
    let parts = Target::of(target);
    match parts.path_query {
        Some(pq) => concat(arena, &[parts.before, path, split_query(pq).1]),
        None => concat(arena, &[path]),
    }
}

/// `target` with another path and query.
pub fn with_path_query<'a>(target: &[u8], path_query: &[u8], arena: &'a Arena) -> &'a [u8] {
    let parts = Target::of(target);
    let before = parts.path_query.map_or(&b""[..], |_| parts.before);
    concat(arena, &[before, path_query])
}

/// `target` with another query. An empty one leaves a `?` only where there was one.
pub fn with_query<'a>(target: &[u8], query: &[u8], arena: &'a Arena) -> &'a [u8] {
    let (before, old) = split_query(target);
    let mark: &[u8] = if query.is_empty() && old.is_empty() {
        b""
    } else {
        b"?"
    };
    concat(arena, &[before, mark, query])
}

/// `target` with another authority; `None` if it names none.
pub fn with_authority<'a>(target: &[u8], authority: &[u8], arena: &'a Arena) -> Option<&'a [u8]> {
    let at = authority_at(target)?;
    let rest = &target[at..];
    let end = rest.iter().position(|&b| b"/?#".contains(&b));
    let (_, after) = rest.split_at(end.unwrap_or(rest.len()));
    Some(concat(arena, &[&target[..at], authority, after]))
}

/// A percent sign that two hexadecimal digits do not follow, in strict mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadEscape;

/// The target after `normalizer`; `None` where nothing changes.
///
/// # Errors
/// [`BadEscape`] from those of the percent sign in strict mode.
pub fn normalize<'a>(
    normalizer: Normalizer,
    target: &[u8],
    arena: &'a Arena,
) -> Result<Option<&'a [u8]>, BadEscape> {
    let parts = Target::of(target);
    let Some(pq) = parts.path_query else {
        return Ok(None);
    };
    let (path, query) = split_query(pq);
    let path_of = |path: &[u8]| concat(arena, &[parts.before, path, query]);
    let out = match normalizer {
        Normalizer::PathMergeSlashes => path_of(&merge_slashes(path, arena)),
        Normalizer::PathStripDot => path_of(&strip_dot(path, arena)),
        Normalizer::PathStripDotdot { full } => path_of(&strip_dotdot(path, full, arena)),
        Normalizer::PercentDecodeUnreserved { strict } => concat(
            arena,
            &[parts.before, &decode_unreserved(pq, strict, arena)?],
        ),
        Normalizer::PercentToUppercase { strict } => {
            concat(arena, &[parts.before, &uppercase(pq, strict, arena)?])
        }
        Normalizer::QuerySortByName => match query.split_first() {
            Some((_, query)) => concat(
                arena,
                &[parts.before, path, b"?", &sort_query(query, arena)],
            ),
            None => return Ok(None),
        },
        Normalizer::FragmentStrip => {
            let end = pq.iter().position(|&b| b == b'#').unwrap_or(pq.len());
            concat(arena, &[parts.before, &pq[..end]])
        }
        Normalizer::FragmentEncode => {
            let mut out = super::act::Bytes::with_capacity_in(pq.len() + 8, arena);
            for &byte in pq {
                match byte {
                    b'#' => out.extend_from_slice(b"%23"),
                    _ => out.push(byte),
                }
            }
            concat(arena, &[parts.before, &out])
        }
    };
    Ok((out != target).then_some(out))
}

type Bytes<'a> = super::act::Bytes<'a>;

fn merge_slashes<'a>(path: &[u8], arena: &'a Arena) -> Bytes<'a> {
    let mut out = Bytes::with_capacity_in(path.len(), arena);
    for &byte in path {
        if byte != b'/' || out.last() != Some(&b'/') {
            out.push(byte);
        }
    }
    out
}

/// `/./` becomes `/`, as does a `/.` at the end.
fn strip_dot<'a>(path: &[u8], arena: &'a Arena) -> Bytes<'a> {
    let mut out = Bytes::with_capacity_in(path.len(), arena);
    let mut segments = path.split(|&b| b == b'/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match (segment, last) {
            (b".", _) => {}
            (_, true) => out.extend_from_slice(segment),
            (_, false) => {
                out.extend_from_slice(segment);
                out.push(b'/');
            }
        }
    }
    out
}

/// `/x/../` becomes `/`; what would climb above the root goes too with `full`, else it is kept.
fn strip_dotdot<'a>(path: &[u8], full: bool, arena: &'a Arena) -> Bytes<'a> {
    // From the end to the start: each `..` swallows the next segment that is left of it.
    let mut out = Bytes::with_capacity_in(path.len() + 1, arena);
    let mut up = 0usize;
    let mut end = path.len();
    let mut first = true;
    let mut reversed: bumpalo::collections::Vec<'_, &[u8]> =
        bumpalo::collections::Vec::new_in(arena);
    loop {
        let start = path[..end].iter().rposition(|&b| b == b'/');
        let segment = &path[start.map_or(0, |s| s + 1)..end];
        match (segment, start) {
            // What stands before the first slash: nothing.
            (_, None) => break,
            (b"..", _) => {
                up += 1;
                if first {
                    reversed.push(b"");
                }
            }
            _ if up > 0 && !first => up -= 1,
            _ => reversed.push(segment),
        }
        first = false;
        end = start.expect("matched above");
    }
    if !full {
        for _ in 0..up {
            reversed.push(b"..");
        }
    }
    for segment in reversed.iter().rev() {
        out.push(b'/');
        out.extend_from_slice(segment);
    }
    out
}

fn hex(byte: u8) -> Option<u8> {
    (byte as char).to_digit(16).map(|d| d as u8)
}

/// Each escape with its two digits and its value; `None` for one that is not well formed.
fn escapes<'a>(
    bytes: &[u8],
    strict: bool,
    arena: &'a Arena,
    put: impl Fn(&mut Bytes<'a>, [u8; 2], u8),
) -> Result<Bytes<'a>, BadEscape> {
    let mut out = Bytes::with_capacity_in(bytes.len(), arena);
    let mut rest = bytes;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        match after {
            [a, b, tail @ ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => {
                let value = hex(*a).unwrap_or(0) << 4 | hex(*b).unwrap_or(0);
                put(&mut out, [*a, *b], value);
                rest = tail;
            }
            _ if strict => return Err(BadEscape),
            _ => out.push(byte),
        }
    }
    Ok(out)
}

fn decode_unreserved<'a>(
    bytes: &[u8],
    strict: bool,
    arena: &'a Arena,
) -> Result<Bytes<'a>, BadEscape> {
    escapes(bytes, strict, arena, |out, digits, value| {
        if value.is_ascii_alphanumeric() || b"-._~".contains(&value) {
            out.push(value);
        } else {
            out.extend_from_slice(&[b'%', digits[0], digits[1]]);
        }
    })
}

fn uppercase<'a>(bytes: &[u8], strict: bool, arena: &'a Arena) -> Result<Bytes<'a>, BadEscape> {
    escapes(bytes, strict, arena, |out, digits, _| {
        let upper = digits.map(|d| d.to_ascii_uppercase());
        out.extend_from_slice(&[b'%', upper[0], upper[1]]);
    })
}

/// Parameters in the order of their names; those of one name keep their order.
fn sort_query<'a>(query: &[u8], arena: &'a Arena) -> Bytes<'a> {
    let mut params: bumpalo::collections::Vec<'_, &[u8]> = bumpalo::collections::Vec::new_in(arena);
    // What a last `&` ends is no parameter; others may be empty.
    params.extend(
        query
            .strip_suffix(b"&")
            .unwrap_or(query)
            .split(|&b| b == b'&'),
    );
    fn name(param: &[u8]) -> &[u8] {
        let end = param.iter().position(|&b| b == b'=');
        &param[..end.unwrap_or(param.len())]
    }
    params.sort_by(|a, b| name(a).cmp(name(b)));
    let mut out = Bytes::with_capacity_in(query.len(), arena);
    for (at, param) in params.iter().enumerate() {
        if at > 0 {
            out.push(b'&');
        }
        out.extend_from_slice(param);
    }
    out
}

#[cfg(test)]
mod tests;
