//! Regular expressions as configurations write them (PCRE), run by an engine that never backtracks.
//!
//! What only backtracking can do is refused by name: look-around, back-references, atomic groups, possessive
//! quantifiers, recursion, conditions. The rest is translated where the two spellings differ.

use regex::bytes::{Regex, RegexBuilder, RegexSet, RegexSetBuilder};

/// Bytes that one compiled expression may take.
const SIZE_MAX: usize = 10 << 20;

/// Compiles `text`; bytes are matched, not characters. The error is haproxy's message.
///
/// # Errors
/// It is not well-formed, or asks for what we cannot do.
pub fn compile(text: &[u8], ignore_case: bool) -> Result<Regex, String> {
    let invalid = |why: &str, at: usize| {
        format!(
            "regex '{}' is invalid (error={why}, erroffset={at})",
            String::from_utf8_lossy(text)
        )
    };
    let translated = translate(text).map_err(|(why, at)| invalid(why, at))?;
    RegexBuilder::new(&translated)
        .unicode(false)
        .case_insensitive(ignore_case)
        .size_limit(SIZE_MAX)
        .build()
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => invalid("regular expression is too large", 0),
            other => {
                let text = other.to_string();
                let why = text.rsplit("error: ").next().unwrap_or("").trim();
                invalid(why, 0)
            }
        })
}

/// Several at once, from translated texts ([`Regex::as_str`]); `None` if they are too large together.
pub(super) fn set<'t>(texts: impl Iterator<Item = &'t str>, ignore_case: bool) -> Option<RegexSet> {
    RegexSetBuilder::new(texts)
        .unicode(false)
        .case_insensitive(ignore_case)
        .size_limit(SIZE_MAX)
        .build()
        .ok()
}

/// From PCRE's spelling to ours. The error names what cannot be done, and where.
fn translate(text: &[u8]) -> Result<String, (&'static str, usize)> {
    let mut out = String::with_capacity(text.len() + 8);
    let mut at = 0;
    // Whether what was written last can take a quantifier; whether it is one.
    let mut quantified = false;
    while at < text.len() {
        let start = at;
        let was_quantified = std::mem::take(&mut quantified);
        match text[at] {
            b'\\' => at = escape(text, at, &mut out, false)?,
            b'[' => at = class(text, at, &mut out)?,
            b'(' => at = group(text, at, &mut out)?,
            b'{' => match braces(&text[at..]) {
                Some(len) => {
                    push(&mut out, &text[at..at + len]);
                    at += len;
                    quantified = true;
                }
                None => {
                    out.push_str("\\{");
                    at += 1;
                }
            },
            b'}' => {
                out.push_str("\\}");
                at += 1;
            }
            b'+' if was_quantified => {
                return Err(("possessive quantifiers are not supported", start));
            }
            b @ (b'*' | b'+' | b'?') => {
                out.push(b.into());
                at += 1;
                quantified = b != b'?' || !was_quantified;
            }
            b => {
                push(&mut out, &[b]);
                at += 1;
            }
        }
    }
    Ok(out)
}

/// Bytes as they are in a pattern; those that are not ASCII by number.
fn push(out: &mut String, bytes: &[u8]) {
    use std::fmt::Write;
    for &b in bytes {
        if b.is_ascii() {
            out.push(b.into());
        } else {
            // Writing to a string cannot fail.
            let _: std::fmt::Result = write!(out, "\\x{b:02x}");
        }
    }
}

/// Length of a quantifier in braces at the start, if it is one.
fn braces(text: &[u8]) -> Option<usize> {
    let end = text.iter().position(|&b| b == b'}')?;
    let inner = str::from_utf8(&text[1..end]).ok()?;
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    let (low, high) = inner.split_once(',').unwrap_or((inner, ""));
    (!low.is_empty() && digits(low) && digits(high)).then_some(end + 1)
}

/// What opens with a parenthesis; the offset behind it.
fn group(text: &[u8], at: usize, out: &mut String) -> Result<usize, (&'static str, usize)> {
    let refused = match &text[at..] {
        [b'(', b'?', b'=' | b'!', ..] => "look-ahead is not supported",
        [b'(', b'?', b'<', b'=' | b'!', ..] => "look-behind is not supported",
        [b'(', b'?', b'>', ..] => "atomic groups are not supported",
        [b'(', b'?', b'|', ..] => "branch reset groups are not supported",
        [b'(', b'?', b'(', ..] => "conditional groups are not supported",
        [b'(', b'?', b'R' | b'&' | b'+' | b'0'..=b'9', ..] | [b'(', b'?', b'P', b'>', ..] => {
            "recursion is not supported"
        }
        [b'(', b'?', b'P', b'=', ..] => "back-references are not supported",
        [b'(', b'*', ..] => "backtracking verbs are not supported",
        [b'(', b'?', b'#', rest @ ..] => {
            // A comment: nothing of it is left.
            let end = rest.iter().position(|&b| b == b')');
            return end
                .map(|end| at + 3 + end + 1)
                .ok_or(("missing ) after (?# comment", text.len()));
        }
        [b'(', b'?', b'\'', ..] => "named groups are written (?<name>…)",
        _ => {
            out.push('(');
            return Ok(at + 1);
        }
    };
    Err((refused, at))
}

/// What opens with a backslash; the offset behind it.
fn escape(
    text: &[u8],
    at: usize,
    out: &mut String,
    in_class: bool,
) -> Result<usize, (&'static str, usize)> {
    let Some(&b) = text.get(at + 1) else {
        return Err(("\\ at end of pattern", text.len()));
    };
    match b {
        b'1'..=b'9' if !in_class => return Err(("back-references are not supported", at)),
        b'k' | b'g' if !in_class => return Err(("back-references are not supported", at)),
        b'K' | b'G' | b'X' | b'R' | b'C' => {
            return Err(("this escape is not supported", at));
        }
        b'Q' => {
            let rest = &text[at + 2..];
            let end = memchr::memmem::find(rest, b"\\E").unwrap_or(rest.len());
            for &b in &rest[..end] {
                if b.is_ascii_punctuation() {
                    out.push('\\');
                }
                push(out, &[b]);
            }
            return Ok((at + 2 + end + 2).min(text.len()));
        }
        b'E' => {}
        b'Z' => out.push_str("\\n?\\z"),
        b'e' => out.push_str("\\x1b"),
        b'h' if in_class => out.push_str("\\t\\x20"),
        b'h' => out.push_str("[\\t\\x20]"),
        b'H' if !in_class => out.push_str("[^\\t\\x20]"),
        b'N' if !in_class => out.push('.'),
        b'0' => out.push_str("\\x00"),
        b'<' | b'>' => out.push(b.into()),
        b if b.is_ascii_alphanumeric() || b.is_ascii_punctuation() => {
            out.push('\\');
            out.push(b.into());
        }
        // A blank or another byte stands for itself.
        b => push(out, &[b]),
    }
    Ok(at + 2)
}

/// A class in brackets; the offset behind it. Ours nests classes and knows set operations, PCRE's does not.
fn class(text: &[u8], at: usize, out: &mut String) -> Result<usize, (&'static str, usize)> {
    const UNCLOSED: &str = "missing terminating ] for character class";
    let mut next = at + 1;
    out.push('[');
    if text.get(next) == Some(&b'^') {
        out.push('^');
        next += 1;
    }
    let first = next;
    while let Some(&b) = text.get(next) {
        match b {
            b']' if next > first => {
                out.push(']');
                return Ok(next + 1);
            }
            b'[' if text.get(next + 1) == Some(&b':') => {
                let Some(len) = memchr::memmem::find(&text[next..], b":]") else {
                    return Err((UNCLOSED, text.len()));
                };
                push(out, &text[next..next + len + 2]);
                next += len + 2;
            }
            b'\\' => next = escape(text, next, out, true)?,
            b'-' => {
                // One that ranges over nothing stands for itself; two in a row would be an operation.
                let literal = next == first
                    || text.get(next + 1) == Some(&b']')
                    || text.get(next + 1) == Some(&b'-');
                out.push_str(if literal { "\\-" } else { "-" });
                next += 1;
            }
            b'[' | b']' | b'&' | b'~' => {
                out.push('\\');
                out.push(b.into());
                next += 1;
            }
            b => {
                push(out, &[b]);
                next += 1;
            }
        }
    }
    Err((UNCLOSED, text.len()))
}

#[cfg(test)]
mod tests {
    use super::compile;

    #[test]
    fn what_pcre_writes_otherwise_is_translated() {
        for (pattern, text, found) in [
            (r"^/a{2}$", "/aa", true),
            (r"a{", "xa{", true),
            (r"{x}", "{x}", true),
            (r"[[]", "[", true),
            (r"[a&&b]", "&", true),
            (r"[\w.-]+@", "a-b.c@", true),
            (r"^[]x]+$", "]x", true),
            (r"\.(php|asp)\?", "/x.php?", true),
            (r"\/api\/v[0-9]+", "/api/v12", true),
            (r"\Qa.b\E+", "a.bb", true),
            (r"\Qa.b\E", "axb", false),
            (r"^\h*x", " \tx", true),
            (r"(?i)ABC", "abc", true),
            (r"a(?#comment)b", "ab", true),
            (r"(?<n>x)y", "xy", true),
            (r"a+?b", "aab", true),
            (r"a??b", "ab", true),
            (r"[a-z]-[0-9]", "q-7", true),
            (r"^(www\.)?ex\-ample\_\!\@\:", "ex-ample_!@:", true),
        ] {
            let regex = compile(pattern.as_bytes(), false).unwrap();
            assert_eq!(
                regex.is_match(text.as_bytes()),
                found,
                "{pattern} on {text}"
            );
        }
        assert!(compile(b"\xff", false).unwrap().is_match(b"a\xffb"));
        assert!(compile(b"ABC", true).unwrap().is_match(b"xabc"));
    }

    #[test]
    fn what_needs_backtracking_is_refused_by_name() {
        for (pattern, word) in [
            ("(?=x)", "look-ahead"),
            ("a(?!x)", "look-ahead"),
            ("(?<=x)a", "look-behind"),
            ("(?<!x)a", "look-behind"),
            (r"(a)\1", "back-references"),
            (r"(?P<n>a)(?P=n)", "back-references"),
            ("(?>a)", "atomic"),
            ("a++", "possessive"),
            ("a{2}+", "possessive"),
            ("(?R)", "recursion"),
            ("(*FAIL)", "verbs"),
            ("(", "invalid"),
            ("[a", "missing terminating ]"),
            ("a\\", "end of pattern"),
        ] {
            let error = compile(pattern.as_bytes(), false).unwrap_err();
            assert!(error.contains(word), "{pattern}: {error}");
            assert!(
                error.starts_with(&format!("regex '{pattern}' is invalid (error=")),
                "{error}"
            );
        }
    }
}
