//! Conditions of `.if` and `-cc` (configuration.txt 2.4).
//!
//! ```text
//! or   := and [ "||" or ]          and  := term [ "&&" and ]
//! term := "!"* ( "(" or ")" | integer | predicate [ "(" argument { "," argument } ")" ] )
//! ```
//! Nothing at all is false. Both sides of `&&` and `||` are parsed whatever the first says, so that a mistake shows
//! on every host. Arguments have quoting of their own, below that of the line.

use super::env::Env;
use super::lexer;
use std::cmp::Ordering;

/// What predicates ask of the program: its version, its features, what is enabled.
#[derive(Clone, Debug, Default)]
pub struct Predicates {
    /// haproxy version we are compatible with: `3.4.0`.
    pub version: String,
    /// Names `feature()` answers true to.
    pub features: Vec<&'static str>,
    /// Options `enabled()` answers true to.
    pub enabled: Vec<&'static str>,
}

/// Why a text is no condition. `message` is haproxy's, without the ` in '.if' at position 3:` that a line adds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CondError {
    pub message: String,
    /// Byte offset in the text.
    pub at: usize,
}

impl std::fmt::Display for CondError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for CondError {}

/// Evaluates the argument of `-cc`: quotes, escapes and environment as on a line, then the condition.
pub fn evaluate(text: &str, env: &Env, predicates: &Predicates) -> Result<bool, CondError> {
    let (expanded, columns) = lexer::condition_text(text.as_bytes(), env)
        .map_err(|(message, at)| CondError { message, at })?;
    evaluate_expanded(&expanded, env, predicates).map_err(|e| CondError {
        at: columns.get(e.at).map_or(text.len(), |&c| c as usize),
        ..e
    })
}

/// Evaluates what the lexer has unquoted already; `at` in errors counts in `text`.
pub(super) fn evaluate_expanded(
    text: &[u8],
    env: &Env,
    predicates: &Predicates,
) -> Result<bool, CondError> {
    let mut parser = Parser {
        text,
        at: 0,
        depth: 0,
        env,
        predicates,
    };
    parser.skip_blanks();
    if parser.rest().is_empty() {
        return Ok(false);
    }
    let value = parser.or(0)?;
    match parser.rest().first() {
        None => Ok(value),
        Some(&c) => {
            let c = if c.is_ascii_graphic() {
                char::from(c)
            } else {
                char::REPLACEMENT_CHARACTER
            };
            let message = format!(
                "unexpected character '{c}' at the end of conditional expression '{}'",
                shown(text)
            );
            Err(parser.error(parser.at, message))
        }
    }
}

/// Parentheses and right-hand sides nested deeper than this are refused, to bound the stack.
const DEPTH_MAX: usize = 200;

/// The names `enabled()` knows (3.4).
const OPTIONS: &[&str] = &[
    "POLL",
    "EPOLL",
    "KQUEUE",
    "EVPORTS",
    "SPLICE",
    "GETADDRINFO",
    "REUSEPORT",
    "FAST-FORWARD",
    "SERVER-SSL-VERIFY-NONE",
];

/// A predicate and how many arguments it takes. Those of one argument may be written without any: it is then empty.
struct Predicate {
    name: &'static str,
    arity: usize,
    ask: fn(&[String], &Env, &Predicates) -> Result<bool, String>,
}

const PREDICATES: &[Predicate] = &[
    Predicate {
        name: "defined",
        arity: 1,
        ask: |a, env, _| Ok(env.value(&a[0]).is_some()),
    },
    Predicate {
        name: "feature",
        arity: 1,
        ask: |a, _, p| Ok(p.features.contains(&a[0].as_str())),
    },
    Predicate {
        name: "streq",
        arity: 2,
        ask: |a, _, _| Ok(a[0] == a[1]),
    },
    Predicate {
        name: "strneq",
        arity: 2,
        ask: |a, _, _| Ok(a[0] != a[1]),
    },
    Predicate {
        name: "strstr",
        arity: 2,
        ask: |a, _, _| Ok(a[0].contains(&a[1])),
    },
    Predicate {
        name: "enabled",
        arity: 1,
        ask: |a, _, p| enabled(&a[0], p),
    },
    Predicate {
        name: "version_atleast",
        arity: 1,
        ask: |a, _, p| Ok(compare_versions(&p.version, &a[0]) != Ordering::Less),
    },
    Predicate {
        name: "version_before",
        arity: 1,
        ask: |a, _, p| Ok(compare_versions(&p.version, &a[0]) == Ordering::Less),
    },
    // No OpenSSL, AWS-LC or other C library of that kind is linked, so that none is at least or before any version.
    Predicate {
        name: "openssl_version_atleast",
        arity: 1,
        ask: |_, _, _| Ok(false),
    },
    Predicate {
        name: "openssl_version_before",
        arity: 1,
        ask: |_, _, _| Ok(false),
    },
    Predicate {
        name: "ssllib_name_startswith",
        arity: 1,
        ask: |_, _, _| Ok(false),
    },
    Predicate {
        name: "awslc_api_atleast",
        arity: 1,
        ask: |_, _, _| Ok(false),
    },
    Predicate {
        name: "awslc_api_before",
        arity: 1,
        ask: |_, _, _| Ok(false),
    },
];

fn enabled(option: &str, predicates: &Predicates) -> Result<bool, String> {
    if !OPTIONS.contains(&option) {
        return Err(format!("unknown option '{option}' of predicate 'enabled'"));
    }
    Ok(predicates.enabled.contains(&option))
}

struct Parser<'a> {
    text: &'a [u8],
    at: usize,
    depth: usize,
    env: &'a Env,
    predicates: &'a Predicates,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a [u8] {
        &self.text[self.at..]
    }

    fn skip_blanks(&mut self) {
        while let [b' ' | b'\t', ..] = self.rest() {
            self.at += 1;
        }
    }

    /// Takes `token` if it comes next, and the blanks after it. Gives where it was.
    fn take(&mut self, token: &[u8]) -> Option<usize> {
        let at = self.at;
        self.rest().strip_prefix(token)?;
        self.at += token.len();
        self.skip_blanks();
        Some(at)
    }

    /// `from` is where to blame if nothing is left: the operator before.
    fn or(&mut self, from: usize) -> Result<bool, CondError> {
        let start = self.at;
        self.deeper(from)?;
        let mut value = self.and(from)?;
        while self.take(b"||").is_some() {
            // Not `||` of Rust: the right side has to be parsed in any case.
            value |= self.and(start)?;
        }
        self.depth -= 1;
        Ok(value)
    }

    fn and(&mut self, from: usize) -> Result<bool, CondError> {
        let mut value = self.term(from)?;
        while let Some(operator) = self.take(b"&&") {
            value &= self.term(operator)?;
        }
        Ok(value)
    }

    fn term(&mut self, from: usize) -> Result<bool, CondError> {
        let start = self.at;
        let mut negated = false;
        while self.take(b"!").is_some() {
            negated = !negated;
        }
        // With nothing at all the operator before is to blame, else what is negated with its negation.
        let nothing = self.at == start && self.rest().is_empty();
        let from = if nothing { from } else { start };
        let value = if self.take(b"(").is_some() {
            self.group(start)?
        } else if let Some(value) = self.integer() {
            value
        } else {
            self.predicate(from)?
        };
        self.skip_blanks();
        Ok(value != negated)
    }

    fn group(&mut self, open: usize) -> Result<bool, CondError> {
        let value = self.or(open)?;
        if self.take(b")").is_none() {
            let shown = shown(&self.text[open..]);
            return Err(self.error(
                open,
                format!("expected ')' after conditional expression '{shown}'"),
            ));
        }
        Ok(value)
    }

    /// A number as C reads one: sign, then decimal, octal or hexadecimal. Only whether it is 0 matters.
    fn integer(&mut self) -> Option<bool> {
        let rest = self.rest();
        let sign = usize::from(matches!(rest, [b'+' | b'-', ..]));
        let (prefix, is_digit): (usize, fn(&u8) -> bool) = match &rest[sign..] {
            [b'0', b'x' | b'X', d, ..] if d.is_ascii_hexdigit() => (2, u8::is_ascii_hexdigit),
            _ => (0, u8::is_ascii_digit),
        };
        let digits = &rest[sign + prefix..];
        let len = digits.iter().take_while(|b| is_digit(b)).count();
        if len == 0 {
            return None;
        }
        self.at += sign + prefix + len;
        Some(digits[..len].iter().any(|&b| b != b'0'))
    }

    fn predicate(&mut self, from: usize) -> Result<bool, CondError> {
        let start = self.at;
        let rest = self.rest();
        let unparsable = |at: usize| CondError {
            message: format!(
                "unparsable conditional expression '{}'",
                shown(&self.text[at..])
            ),
            at,
        };
        if rest.is_empty() {
            return Err(unparsable(from));
        }
        let len = rest
            .iter()
            .take_while(|b| b.is_ascii_alphanumeric() || **b == b'_')
            .count();
        let known = PREDICATES
            .iter()
            .find(|p| p.name.as_bytes() == &rest[..len]);
        let ends = matches!(rest.get(len), None | Some(b'(' | b' ' | b'\t'));
        let predicate = known.filter(|_| ends).ok_or_else(|| unparsable(from))?;
        self.at += len;
        let arguments = self.arguments(predicate)?;
        (predicate.ask)(&arguments, self.env, self.predicates).map_err(|m| self.error(start, m))
    }

    fn arguments(&mut self, predicate: &Predicate) -> Result<Vec<String>, CondError> {
        let Predicate { name, arity, .. } = *predicate;
        let used = format!("of predicate '{name}' used in conditional expression");
        let mut list: Vec<String> = Vec::with_capacity(arity);
        let parenthesis = self.rest().first() == Some(&b'(');
        loop {
            if parenthesis {
                self.at += 1;
                list.push(self.argument()?);
            } else {
                list.push(String::new());
            }
            if list.len() == arity || self.rest().first() != Some(&b',') {
                break;
            }
        }
        let got = list.len();
        if got < arity {
            let message = format!(
                "missing arguments (got {got}/{arity}), type 'string' expected in argument {} {used}",
                got + 1
            );
            return Err(self.error(self.at, message));
        }
        match (parenthesis, self.rest().first()) {
            (false, _) => {}
            (true, Some(b')')) => self.at += 1,
            (true, None) => {
                return Err(self.error(self.at, format!("expected ')' in argument {got} {used}")));
            }
            (true, Some(_)) => {
                let before = shown(self.rest());
                return Err(self.error(
                    self.at,
                    format!("expected ')' before '{before}' in argument {got} {used}"),
                ));
            }
        }
        Ok(list)
    }

    /// One argument up to `,` or `)`, with `'…'`, `"…"` and backslashes. `#`, `$` and `\xHH` mean nothing here.
    fn argument(&mut self) -> Result<String, CondError> {
        let mut value = Vec::new();
        let mut quote: Option<(u8, usize)> = None;
        while let Some(&c) = self.rest().first() {
            match (c, quote) {
                (b',' | b')', None) => break,
                (b'\'' | b'"', None) => quote = Some((c, self.at)),
                (c, Some((q, _))) if c == q => quote = None,
                (b'\\', None | Some((b'"', _))) => {
                    self.at += 1;
                    match self.rest().first() {
                        None => value.push(b'\\'),
                        Some(b'n') => value.push(b'\n'),
                        Some(b'r') => value.push(b'\r'),
                        Some(b't') => value.push(b'\t'),
                        Some(&c @ (b'\\' | b'\'' | b'"' | b' ' | b',' | b'(' | b')')) => {
                            value.push(c)
                        }
                        Some(&c) => value.extend([b'\\', c]),
                    }
                }
                (c, _) => value.push(c),
            }
            self.at = (self.at + 1).min(self.text.len());
        }
        if let Some((_, at)) = quote {
            return Err(self.error(
                at,
                "unmatched quote in an argument of a conditional expression".to_owned(),
            ));
        }
        Ok(String::from_utf8_lossy(&value).into_owned())
    }

    fn deeper(&mut self, at: usize) -> Result<(), CondError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.error(
                at,
                format!("conditional expression nested deeper than {DEPTH_MAX}"),
            ));
        }
        Ok(())
    }

    const fn error(&self, at: usize, message: String) -> CondError {
        CondError { message, at }
    }
}

fn shown(text: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(text)
}

/// Order of two haproxy versions, such as `2.4-dev19` and `3.4.0`: missing numbers are 0, development comes before
/// release candidates and those before the release. What is no number counts as 0, as in haproxy.
pub fn compare_versions(a: &str, b: &str) -> Ordering {
    version(a).cmp(&version(b))
}

/// `major.minor.patch`, then how near to a release (2 is one), then the number of the candidate.
fn version(text: &str) -> ([u64; 3], u8, u64) {
    let (numbers, tail) = text.split_once('-').unwrap_or((text, ""));
    let mut parts = [0; 3];
    for (part, text) in parts.iter_mut().zip(numbers.split('.')) {
        *part = leading_number(text);
    }
    if let Some(n) = tail.strip_prefix("dev") {
        return (parts, 0, leading_number(n));
    }
    if let Some(n) = tail.strip_prefix("rc") {
        return (parts, 1, leading_number(n));
    }
    (parts, 2, 0)
}

fn leading_number(text: &str) -> u64 {
    let digits = text.bytes().take_while(u8::is_ascii_digit);
    digits.fold(0, |n: u64, d| {
        n.saturating_mul(10).saturating_add(u64::from(d - b'0'))
    })
}

#[cfg(test)]
mod tests;
