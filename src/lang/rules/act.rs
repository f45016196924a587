//! What an action does to a message: worked out while the stream can be asked, carried out on the head after.

use bumpalo::collections::Vec as ArenaVec;
use regex::bytes::Regex;

use super::uri;
use super::{Action, NameMatch, Normalizer, Number, SetIf};
use crate::lang::logformat::LogFormat;
use crate::lang::sample::{Arena, Kind, Value};
use crate::lang::subject::Subject;
use crate::proto::http::Head;
use crate::proto::page;

/// Bytes in the arena of one evaluation.
pub type Bytes<'a> = ArenaVec<'a, u8>;

/// Why an action could not be carried out; the message is as it was before it. In strict mode (the default) this
/// ends the transaction with an internal error, else evaluation goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleError {
    /// A format gave a method that is not a token.
    BadMethod,
    /// A format gave an empty target.
    BadTarget,
    /// `normalize-uri … strict`: a percent sign without two hexadecimal digits behind it. This one refuses the
    /// request (400) whatever the mode.
    BadEscape,
    /// The head would not fit into what it may take.
    TooLarge,
}

/// An edit of a message. It borrows the action and the arena, not what was asked.
#[derive(Debug)]
pub struct Effect<'a> {
    edit: Edit<'a>,
    arena: &'a Arena,
}

#[derive(Clone, Copy, Debug)]
enum Edit<'a> {
    /// The action edits nothing.
    None,
    Add(&'a [u8], &'a [u8]),
    Set(&'a [u8], &'a [u8]),
    Delete(&'a NameMatch),
    ReplaceHeader(&'a [u8], &'a Regex, &'a [u8]),
    ReplaceValue(&'a [u8], &'a Regex, &'a [u8]),
    Method(&'a [u8]),
    Path(&'a [u8]),
    PathQuery(&'a [u8]),
    Query(&'a [u8]),
    Uri(&'a [u8]),
    ReplacePath(&'a Regex, &'a [u8]),
    ReplacePathQuery(&'a Regex, &'a [u8]),
    ReplaceUri(&'a Regex, &'a [u8]),
    Normalize(Normalizer),
    Status(u16, Option<&'a [u8]>),
}

impl Action {
    /// Evaluates the formats of an action that edits a message. Other actions give an edit that does nothing.
    pub fn work_out<'a>(&'a self, subject: &dyn Subject, arena: &'a Arena) -> Effect<'a> {
        let of = |format: &'a LogFormat| rendered(format, subject, arena);
        let edit = match self {
            Self::AddHeader(name, format) => Edit::Add(name, of(format)),
            Self::SetHeader(name, format) => Edit::Set(name, of(format)),
            Self::DelHeader(which) => Edit::Delete(which),
            Self::ReplaceHeader(name, regex, format) => {
                Edit::ReplaceHeader(name, regex, of(format))
            }
            Self::ReplaceValue(name, regex, format) => Edit::ReplaceValue(name, regex, of(format)),
            Self::SetMethod(format) => Edit::Method(of(format)),
            Self::SetPath(format) => Edit::Path(target_safe(of(format), arena)),
            Self::SetPathq(format) => Edit::PathQuery(target_safe(of(format), arena)),
            Self::SetQuery(format) => Edit::Query(target_safe(of(format), arena)),
            Self::SetUri(format) => Edit::Uri(target_safe(of(format), arena)),
            Self::ReplacePath(regex, format) => Edit::ReplacePath(regex, of(format)),
            Self::ReplacePathq(regex, format) => Edit::ReplacePathQuery(regex, of(format)),
            Self::ReplaceUri(regex, format) => Edit::ReplaceUri(regex, of(format)),
            Self::Normalize(normalizer) => Edit::Normalize(*normalizer),
            Self::SetStatus(status, reason) => Edit::Status(*status, reason.as_deref()),
            _ => Edit::None,
        };
        Effect { edit, arena }
    }
}

impl Effect<'_> {
    /// Edits the head.
    ///
    /// # Errors
    /// See [`RuleError`]; the head is then as it was.
    pub fn carry_out(self, head: &mut Head) -> Result<(), RuleError> {
        self.carry_out_within(head, usize::MAX)
    }

    /// Edits the head, which may take `room` bytes on the wire.
    ///
    /// # Errors
    /// See [`RuleError`]; the head is then as it was, but a replacement in many fields may be done in the first ones.
    pub fn carry_out_within(self, head: &mut Head, room: usize) -> Result<(), RuleError> {
        let Self { edit, arena } = self;
        let grows = |head: &Head, by: usize| {
            if by > 0 && head.wire_len().saturating_add(by) > room {
                Err(RuleError::TooLarge)
            } else {
                Ok(())
            }
        };
        match edit {
            Edit::None => {}
            Edit::Add(name, value) => {
                grows(head, name.len() + value.len() + 4)?;
                head.push(name, value);
                host_changed(head, name, arena);
            }
            Edit::Set(name, value) => {
                let old: usize = head.values(name).map(|v| name.len() + v.len() + 4).sum();
                grows(head, (name.len() + value.len() + 4).saturating_sub(old))?;
                head.set(name, value);
                host_changed(head, name, arena);
            }
            Edit::Delete(which) => head.retain(|name, _| !which.matches(name)),
            Edit::ReplaceHeader(name, regex, with) => {
                replace_values(head, name, arena, room, |value| {
                    substituted(regex, value, with, arena)
                })?;
            }
            Edit::ReplaceValue(name, regex, with) => {
                replace_values(head, name, arena, room, |value| {
                    each_element(regex, value, with, arena)
                })?;
            }
            Edit::Method(method) => {
                if method.is_empty() || !method.iter().all(|&b| is_token(b)) {
                    return Err(RuleError::BadMethod);
                }
                grows(head, method.len().saturating_sub(head.method().len()))?;
                head.set_method(method);
            }
            Edit::Status(status, reason) => {
                let reason = reason.unwrap_or_else(|| page::reason(status).as_bytes());
                grows(head, reason.len().saturating_sub(head.reason().len()))?;
                head.set_status(status, reason);
            }
            _ => {
                let Some(target) = new_target(&edit, head.target(), arena)? else {
                    return Ok(());
                };
                if target.is_empty() {
                    return Err(RuleError::BadTarget);
                }
                grows(head, target.len().saturating_sub(head.target().len()))?;
                let whole = matches!(edit, Edit::Uri(_) | Edit::ReplaceUri(..));
                head.set_target(target);
                if whole {
                    target_changed(head, arena);
                }
            }
        }
        Ok(())
    }
}

/// The target after an edit of it; `None` where it stays.
fn new_target<'a>(
    edit: &Edit<'_>,
    target: &[u8],
    arena: &'a Arena,
) -> Result<Option<&'a [u8]>, RuleError> {
    let parts = uri::Target::of(target);
    let replace = |regex: &Regex, part: &[u8], with: &[u8]| {
        substituted(regex, part, with, arena).map(|new| target_safe(new, arena))
    };
    Ok(match *edit {
        Edit::Path(path) => Some(uri::with_path(target, path, arena)),
        Edit::PathQuery(path_query) => Some(uri::with_path_query(target, path_query, arena)),
        Edit::Query(query) => Some(uri::with_query(target, query, arena)),
        Edit::Uri(whole) => Some(&*arena.alloc_slice_copy(whole)),
        Edit::ReplacePath(regex, with) => parts
            .path()
            .and_then(|path| replace(regex, path, with))
            .map(|path| uri::with_path(target, path, arena)),
        Edit::ReplacePathQuery(regex, with) => parts
            .path_query
            .and_then(|path_query| replace(regex, path_query, with))
            .map(|path_query| uri::with_path_query(target, path_query, arena)),
        Edit::ReplaceUri(regex, with) => replace(regex, target, with),
        Edit::Normalize(normalizer) => {
            uri::normalize(normalizer, target, arena).map_err(|_| RuleError::BadEscape)?
        }
        _ => None,
    })
}

/// A format's bytes: its own where it is fixed, else in the arena.
pub(super) fn rendered<'a>(
    format: &'a LogFormat,
    subject: &dyn Subject,
    arena: &'a Arena,
) -> &'a [u8] {
    if let Some(literal) = format.literal() {
        return literal;
    }
    // Grown once for what most formats give; the arena cannot lend a vector of this type.
    let mut out = Vec::with_capacity(256);
    format.render(subject, arena, &mut out);
    arena.alloc_slice_copy(&out)
}

/// Blanks would end a target on the wire, so they are escaped. (haproxy 2.6 sends them as they are.)
fn target_safe<'a>(target: &'a [u8], arena: &'a Arena) -> &'a [u8] {
    let bad = |b: &u8| *b <= b' ' || *b == 0x7f;
    if !target.iter().any(&bad) {
        return target;
    }
    let mut out = Bytes::with_capacity_in(target.len() + 8, arena);
    for byte in target {
        if bad(byte) {
            const HEX: &[u8; 16] = b"0123456789ABCDEF";
            let (high, low) = (usize::from(byte >> 4), usize::from(byte & 15));
            out.extend_from_slice(&[b'%', HEX[high], HEX[low]]);
        } else {
            out.push(*byte);
        }
    }
    out.into_bump_slice()
}

/// Characters of methods and names of fields (RFC 9110 5.6.2).
pub fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// A rule wrote a Host field: an absolute target follows it, so that both name one host.
fn host_changed(head: &mut Head, name: &[u8], arena: &Arena) {
    if head.status != 0 || !name.eq_ignore_ascii_case(b"host") {
        return;
    }
    let host = head.values(b"host").next_back();
    let target = host.and_then(|host| uri::with_authority(head.target(), host, arena));
    if let Some(target) = target {
        head.set_target(target);
    }
}

/// A rule wrote the whole target: the Host field follows the authority it names, if any.
fn target_changed(head: &mut Head, arena: &Arena) {
    let Some(authority) = uri::authority(head.target()).filter(|a| !a.is_empty()) else {
        return;
    };
    let host: &[u8] = arena.alloc_slice_copy(authority);
    let at = head.fields().position(|(name, _)| name == b"host");
    match at {
        Some(at) if head.field(at).1 != host => head.set_value(at, host),
        Some(_) => {}
        None => head.push(b"host", host),
    }
}

/// Gives each field called `name` the value `new` makes of its own, where it makes one.
fn replace_values<'a>(
    head: &mut Head,
    name: &[u8],
    arena: &'a Arena,
    room: usize,
    new: impl Fn(&[u8]) -> Option<&'a [u8]>,
) -> Result<(), RuleError> {
    for at in 0..head.len() {
        let (own, value) = head.field(at);
        if !own.eq_ignore_ascii_case(name) {
            continue;
        }
        if let Some(new) = new(value) {
            let by = new.len().saturating_sub(value.len());
            if by > 0 && head.wire_len().saturating_add(by) > room {
                return Err(RuleError::TooLarge);
            }
            head.set_value(at, new);
            host_changed(head, name, arena);
        }
    }
    Ok(())
}

/// `with`, its `\0` to `\9` replaced by what `regex` found in `value`; `None` if it finds nothing.
fn substituted<'a>(regex: &Regex, value: &[u8], with: &[u8], arena: &'a Arena) -> Option<&'a [u8]> {
    if !with.contains(&b'\\') {
        return regex
            .is_match(value)
            .then(|| &*arena.alloc_slice_copy(with));
    }
    let found = regex.captures(value)?;
    let mut out = Bytes::with_capacity_in(with.len() + value.len(), arena);
    let mut rest = with;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match (byte, after) {
            (b'\\', [digit @ b'0'..=b'9', tail @ ..]) => {
                let group = found.get(usize::from(digit - b'0'));
                out.extend_from_slice(group.map_or(&b""[..], |m| m.as_bytes()));
                rest = tail;
            }
            (b'\\', [b'x', high, low, tail @ ..])
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                let digit = |b: &u8| (*b as char).to_digit(16).unwrap_or(0) as u8;
                out.push(digit(high) << 4 | digit(low));
                rest = tail;
            }
            (b'\\', [escaped, tail @ ..]) => {
                out.push(*escaped);
                rest = tail;
            }
            _ => out.push(byte),
        }
    }
    Some(out.into_bump_slice())
}

/// As [`substituted`] for each element of a list between commas; blanks around an element that is replaced go with it.
fn each_element<'a>(
    regex: &Regex,
    value: &[u8],
    with: &[u8],
    arena: &'a Arena,
) -> Option<&'a [u8]> {
    let mut out = Bytes::with_capacity_in(value.len() + with.len(), arena);
    let mut changed = false;
    for (at, element) in elements(value).enumerate() {
        if at > 0 {
            out.push(b',');
        }
        let trimmed = element.trim_ascii();
        match substituted(regex, trimmed, with, arena).filter(|_| !trimmed.is_empty()) {
            Some(new) => {
                changed = true;
                out.extend_from_slice(new);
            }
            None => out.extend_from_slice(element),
        }
    }
    changed.then(|| out.into_bump_slice())
}

/// What lies between the commas of a value; a comma in quotes does not count.
fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(value);
    std::iter::from_fn(move || {
        let bytes = rest?;
        let (mut quoted, mut escaped) = (false, false);
        let end = bytes.iter().position(|&b| match b {
            _ if escaped => {
                escaped = false;
                false
            }
            b'\\' if quoted => {
                escaped = true;
                false
            }
            b'"' => {
                quoted = !quoted;
                false
            }
            b',' => !quoted,
            _ => false,
        });
        rest = end.map(|end| &bytes[end + 1..]);
        Some(&bytes[..end.unwrap_or(bytes.len())])
    })
}

impl NameMatch {
    /// Whether a field of this name (lower case) is meant. Regular expressions see the lower case.
    pub fn matches(&self, name: &[u8]) -> bool {
        match self {
            Self::Exact(own) => name.eq_ignore_ascii_case(own),
            Self::Begin(own) => {
                name.len() >= own.len() && name[..own.len()].eq_ignore_ascii_case(own)
            }
            Self::End(own) => {
                name.len() >= own.len() && name[name.len() - own.len()..].eq_ignore_ascii_case(own)
            }
            Self::Sub(own) => {
                own.is_empty() || name.windows(own.len()).any(|w| w.eq_ignore_ascii_case(own))
            }
            Self::Reg(regex) => regex.is_match(name),
        }
    }
}

impl Number {
    /// The number now; `None` if its expression gives none.
    pub fn now(&self, subject: &dyn Subject, arena: &Arena) -> Option<i64> {
        match self {
            Self::Fixed(number) => Some(*number),
            Self::Of(expr) => match expr.eval(subject, arena)?.cast(Kind::Int, arena)? {
                Value::Int(number) => Some(number),
                _ => None,
            },
        }
    }
}

impl SetIf {
    /// Whether a variable that holds `old` is to become `new`.
    pub fn holds(self, old: Option<Value<'_>>, new: Value<'_>) -> bool {
        let has = |bit: u8| self.0 & bit != 0;
        let is_empty = matches!(new, Value::Str(b"") | Value::Bin(b""));
        let fails = has(Self::EXISTS | Self::SET) && old.is_none()
            || has(Self::NOT_EXISTS | Self::NOT_SET) && old.is_some()
            || has(Self::EMPTY) && !is_empty
            || has(Self::NOT_EMPTY) && is_empty;
        let compared = match (old, new) {
            (Some(Value::Int(old)), Value::Int(new)) => {
                !(has(Self::GREATER) && old <= new || has(Self::LESS) && old >= new)
            }
            _ => true,
        };
        !fails && compared
    }
}

#[cfg(test)]
mod tests;
