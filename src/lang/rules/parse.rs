//! The lines of rules: an action with its arguments, then perhaps a condition (configuration.txt 4.2).

mod actions;

use regex::bytes::Regex;

use super::reply::{Reply, ReplyFor, header_name};
use super::{Number, ReplyBody, Rule, RuleSet, Section, SetIf};
use crate::lang::acl::{Acls, Condition};
use crate::lang::diag::{did_you_mean, nearest};
use crate::lang::expr::{Cx, Expr, Fault};
use crate::lang::fetch::Place;
use crate::lang::lexer::Word;
use crate::lang::logformat::LogFormat;
use crate::lang::pattern::pcre;
use crate::lang::source::Span;
use crate::lang::subject::{Scope, VarId};
use crate::lang::value::{self, Unit};

impl Rule {
    /// Reads what follows `http-request` and its kin: the action, its arguments and perhaps `if` or `unless` with a
    /// condition. `at` is the place of the words that opened the line.
    ///
    /// # Errors
    /// haproxy's whole message about the first mistake.
    pub fn parse(
        set: RuleSet,
        words: &[Word],
        at: Span,
        section: &Section<'_>,
        acls: &Acls,
        cx: &mut Cx<'_>,
    ) -> Result<Self, Fault> {
        let Some((first, rest)) = words.split_first() else {
            return Err(unknown(set, None, at, section));
        };
        let name = first.text();
        let Some(entry) = actions::of(set).find(|entry| entry.is(&name)) else {
            if name.starts_with("lua.") {
                return Err(Fault::later(first.span, format!("{} {name}", set.name())));
            }
            return Err(unknown(set, Some(first), at, section));
        };
        let Some(read) = entry.read else {
            let shown = entry.name.strip_suffix('*').map_or(entry.name, |_| &*name);
            return Err(Fault::later(first.span, format!("{} {shown}", set.name())));
        };
        let mut reader = Reader {
            set,
            section,
            action: first,
            words: rest,
            at: 0,
            cx,
        };
        let action = read(&mut reader).map_err(|fault| {
            if fault.not_yet.is_some() || !set.is_http() {
                return fault;
            }
            let text = format!(
                "error detected in {} '{}' while parsing '{} {name}' rule : {}.",
                section.called(),
                section.name,
                set.name(),
                fault.text.trim_end_matches('.')
            );
            Fault { text, ..fault }
        })?;
        let tail = &rest[reader.at.min(rest.len())..];
        let when = condition(set, &name, tail, section, acls, cx)?;
        let end = words.last().map_or(at, |w| w.span);
        let span = Span {
            len: (end.col + end.len).saturating_sub(at.col),
            ..at
        };
        Ok(Self { action, when, span })
    }
}

/// The condition behind an action, if there is one.
fn condition(
    set: RuleSet,
    action: &str,
    words: &[Word],
    section: &Section<'_>,
    acls: &Acls,
    cx: &mut Cx<'_>,
) -> Result<Option<Condition>, Fault> {
    let Some(first) = words.first() else {
        return Ok(None);
    };
    let (set_name, kind, name) = (set.name(), section.called(), section.name);
    let text = first.text();
    if text != "if" && text != "unless" {
        let text = if set.is_http() {
            format!(
                "'{set_name} {action}' expects either 'if' or 'unless' followed by a condition but found '{text}'."
            )
        } else {
            format!(
                "'{set_name} {action}' only accepts 'if' or 'unless', in {kind} '{name}' (got '{text}')"
            )
        };
        return Err(Fault::wrong(first.span, text));
    }
    let mut condition = Condition::parse(words, acls, cx).map_err(|fault| {
        if fault.not_yet.is_some() {
            return fault;
        }
        let inner = fault.text.trim_end_matches('.');
        let text = if set.is_http() && action == "redirect" {
            format!(
                "error detected in {kind} '{name}' while parsing '{set_name} redirect' rule : error in condition: {inner}."
            )
        } else if set.is_http() {
            format!("error detected while parsing an '{set_name} {action}' condition : {inner}.")
        } else {
            format!("'{set_name} {action}' : error detected in {kind} '{name}' while parsing '{text}' condition : {inner}")
        };
        Fault { text, ..fault }
    })?;
    if let Some(text) = condition.never_in(section.places(set.places())) {
        let text = if set.is_http() {
            text
        } else {
            let here = format!("will never match in '{set_name}' because");
            text.replacen("will never match because", &here, 1)
        };
        cx.warnings.push((first.span, text, None));
    }
    Ok(Some(condition))
}

/// A word that is no action of this set: the list of those that are.
fn unknown(set: RuleSet, word: Option<&Word>, at: Span, section: &Section<'_>) -> Fault {
    let list: Vec<String> = actions::of(set)
        .map(|e| format!("'{}'", e.shown()))
        .collect();
    let list = list.join(", ");
    let got = word.map_or(std::borrow::Cow::Borrowed(""), Word::text);
    let near = nearest(&got, actions::of(set).map(|entry| entry.name));
    let near = did_you_mean(&near);
    let near = near.trim_start_matches("; ");
    let span = word.map_or(at, |w| w.span);
    let set_name = set.name();
    let text = match (set.is_http(), word) {
        (true, None) => format!("'{set_name}' expects {list}, but got '' (missing argument)."),
        (true, Some(_)) if near.is_empty() => {
            format!("'{set_name}' expects {list}, but got '{got}'.")
        }
        (true, Some(_)) => {
            let near = near.replacen("did", "Did", 1);
            format!("'{set_name}' expects {list}, but got '{got}'. {near}")
        }
        (false, _) => {
            let (kind, name) = (section.called(), section.name);
            let near = if near.is_empty() {
                ".".to_owned()
            } else {
                format!("; {near}")
            };
            format!("'{set_name}' expects {list} in {kind} '{name}' (got '{got}'){near}")
        }
    };
    Fault::wrong(span, text)
}

/// The arguments of one action.
struct Reader<'w, 'c, 'x> {
    set: RuleSet,
    section: &'w Section<'w>,
    /// The word that names it.
    action: &'w Word,
    words: &'w [Word],
    at: usize,
    cx: &'c mut Cx<'x>,
}

impl<'w> Reader<'w, '_, '_> {
    fn peek(&self) -> Option<&'w Word> {
        self.words.get(self.at).filter(|w| !w.bytes.is_empty())
    }
    /// The word behind the next one.
    fn peek_second(&self) -> Option<&'w Word> {
        self.words.get(self.at + 1)
    }
    fn next(&mut self) -> Option<&'w Word> {
        let word = self.peek()?;
        self.at += 1;
        Some(word)
    }
    fn eat(&mut self, wanted: &str) -> bool {
        let hit = self.peek().is_some_and(|w| w.bytes == wanted.as_bytes());
        self.at += usize::from(hit);
        hit
    }
    fn wrong(&self, text: impl Into<String>) -> Fault {
        let span = self.words.get(self.at).map_or(self.action.span, |w| w.span);
        Fault::wrong(span, text)
    }
    /// The next word; without one `missing` is the message.
    fn argument(&mut self, missing: &str) -> Result<&'w Word, Fault> {
        self.next().ok_or(()).map_err(|()| self.wrong(missing))
    }
    /// Whether the words end here or a condition begins.
    fn ends(&self) -> bool {
        self.words
            .get(self.at)
            .is_none_or(|w| w.bytes == b"if" || w.bytes == b"unless")
    }

    /// A format that asks for nothing this set never has.
    fn reachable(&self, format: LogFormat) -> Result<LogFormat, Fault> {
        self.check(&format)?;
        Ok(format)
    }
    fn places(&self) -> impl Iterator<Item = Place> + Clone {
        self.section.places(self.set.places())
    }

    /// The one argument of `set-method` and its kin.
    fn format(&mut self) -> Result<LogFormat, Fault> {
        const WHAT: &str = "expects exactly 1 argument <format>";
        let word = self.argument(WHAT)?;
        if !self.ends() {
            return Err(self.wrong(WHAT));
        }
        let format = LogFormat::parse(word, self.cx)?;
        self.reachable(format)
    }
    /// A header's name and the format of its value.
    fn header(&mut self, missing: &str) -> Result<(Box<[u8]>, LogFormat), Fault> {
        let name = self.argument(missing)?;
        let value = self.argument(missing)?;
        let name = header_name(name)?;
        let format = LogFormat::parse(value, self.cx)?;
        Ok((name, self.reachable(format)?))
    }
    /// A header's name, a regular expression and a format.
    fn header_regex(&mut self) -> Result<(Box<[u8]>, Regex, LogFormat), Fault> {
        const WHAT: &str = "expects exactly 3 arguments";
        let name = self.argument(WHAT)?;
        let regex = self.argument(WHAT)?;
        let value = self.argument(WHAT)?;
        let name = header_name(name)?;
        let regex = compile(regex)?;
        let format = LogFormat::parse(value, self.cx)?;
        Ok((name, regex, self.reachable(format)?))
    }
    /// The two arguments of `replace-path` and its kin.
    fn regex_format(&mut self) -> Result<(Regex, LogFormat), Fault> {
        const WHAT: &str = "expects exactly 2 arguments <match-regex> and <replace-format>";
        let regex = self.argument(WHAT)?;
        let format = self.argument(WHAT)?;
        if !self.ends() {
            return Err(self.wrong(WHAT));
        }
        let regex = compile(regex).map_err(|fault| {
            let text = format!("failed to parse the regex : {}", fault.text);
            Fault { text, ..fault }
        })?;
        let format = LogFormat::parse(format, self.cx)?;
        Ok((regex, self.reachable(format)?))
    }
    fn expr(&mut self) -> Result<Expr, Fault> {
        let word = self.argument("missing fetch method")?;
        self.expr_of(word)
    }
    fn expr_of(&mut self, word: &Word) -> Result<Expr, Fault> {
        let expr = Expr::parse(word, self.cx)?;
        let lacks: Option<Vec<&str>> = self.places().map(|place| expr.lacks(place)).collect();
        match lacks.as_deref() {
            Some([what, ..]) => {
                let text = format!(
                    "fetch method '{}' extracts information from '{what}', none of which is available here",
                    word.text()
                );
                Err(Fault::wrong(word.span, text))
            }
            _ => Ok(expr),
        }
    }
    fn reply(&mut self, what: ReplyFor) -> Result<Reply, Fault> {
        let rest = self.words.get(self.at..).unwrap_or_default();
        let (reply, taken) = Reply::parse(rest, what, self.action.span, self.cx)?;
        self.at += taken;
        for (_, value) in &reply.headers {
            self.check(value)?;
        }
        if let ReplyBody::Format { format, .. } = &reply.body {
            self.check(format)?;
        }
        Ok(reply)
    }
    fn check(&self, format: &LogFormat) -> Result<(), Fault> {
        match format.out_of_place(self.places()) {
            Some(out) => Err(Fault::wrong(out.span, out.text)),
            None => Ok(()),
        }
    }

    /// A number in decimal or after `0x`, or an expression.
    fn mark(&mut self) -> Result<Number, Fault> {
        let word = self.argument("expects exactly 1 argument (integer/hex value or expression)")?;
        match integer(&word.text()) {
            Some(number) => Ok(Number::Fixed(number)),
            None => self.expr_of(word).map(Number::Of),
        }
    }
    /// A number in decimal or after `0x`.
    fn plain_mark(&mut self) -> Result<Number, Fault> {
        let word = self.argument("expects exactly 1 argument (integer/hex value)")?;
        integer(&word.text()).map(Number::Fixed).ok_or_else(|| {
            let text = format!(
                "invalid character starting at '{}' (integer/hex value expected)",
                word.text()
            );
            Fault::wrong(word.span, text)
        })
    }
    /// A time in milliseconds, or an expression that gives one.
    fn time(&mut self, missing: &str, rule: &str) -> Result<Number, Fault> {
        let word = self.argument(missing)?;
        let error = match value::time_ms(&word.bytes, Unit::Ms) {
            Ok(ms) => return Ok(Number::Fixed(i64::from(ms))),
            Err(error) => error,
        };
        match self.expr_of(word) {
            Ok(expr) => Ok(Number::Of(expr)),
            Err(fault) if fault.not_yet.is_some() => Err(fault),
            Err(_) => {
                let got = word.text();
                let bad = got.get(error.at..).and_then(|rest| rest.chars().next());
                let text = match bad {
                    Some(bad) => format!("unexpected character '{bad}' in rule '{rule}'"),
                    None => format!("invalid time '{got}' in rule '{rule}'"),
                };
                Err(Fault::wrong(word.part(error.at, 1), text))
            }
        }
    }

    /// The variable in the parentheses of the action's own word, and when it is set.
    fn variable(&mut self) -> Result<(VarId, SetIf), Fault> {
        variable_in(self.action, self.cx)
    }
}

/// The variable in the parentheses of `set-var(…)` and its kin, and when it is set.
///
/// # Errors
/// haproxy's message about the word.
pub fn variable_in(word: &Word, cx: &mut Cx<'_>) -> Result<(VarId, SetIf), Fault> {
    const EXPECTS: &str =
        "Expects 'set-var(<var-name>)', 'set-var-fmt(<var-name>)' or 'unset-var(<var-name>)'";
    let text = word.text().into_owned();
    let span = word.span;
    let Some((_, inside)) = text.split_once('(') else {
        let text = format!("invalid or incomplete action '{text}'. {EXPECTS}");
        return Err(Fault::wrong(span, text));
    };
    let Some(inside) = inside.strip_suffix(')') else {
        let text = format!("incomplete argument after action '{text}'. {EXPECTS}");
        return Err(Fault::wrong(span, text));
    };
    let mut parts = inside.split(',');
    let name = parts.next().unwrap_or_default();
    let at = text.len() - inside.len() - 1;
    let place = word.part(at, name.len());
    let id = variable(name, place, cx)?;
    let mut when = SetIf::default();
    for condition in parts {
        let bit = match condition.trim() {
            "ifexists" => SetIf::EXISTS,
            "ifnotexists" => SetIf::NOT_EXISTS,
            "ifempty" => SetIf::EMPTY,
            "ifnotempty" => SetIf::NOT_EMPTY,
            "ifset" => SetIf::SET,
            "ifnotset" => SetIf::NOT_SET,
            "ifgt" => SetIf::GREATER,
            "iflt" => SetIf::LESS,
            _ => {
                let text = format!("unknown condition \"{condition}\"");
                return Err(Fault::wrong(span, text));
            }
        };
        when.0 |= bit;
    }
    Ok((id, when))
}

/// A variable by its whole name, `txn.x`.
pub(super) fn variable(name: &str, span: Span, cx: &mut Cx<'_>) -> Result<VarId, Fault> {
    if name.is_empty() {
        return Err(Fault::wrong(span, "Empty variable name cannot be accepted"));
    }
    let scope = name.split_once('.').and_then(|(scope, rest)| {
        let scope = match scope {
            "proc" => Scope::Proc,
            "sess" => Scope::Sess,
            "txn" => Scope::Txn,
            "req" => Scope::Req,
            "res" => Scope::Res,
            "check" => Scope::Check,
            _ => return None,
        };
        Some((scope, rest))
    });
    let Some((scope, rest)) = scope else {
        let text = format!(
            "invalid variable name '{name}'. A variable name must be start by its scope. The scope can be 'proc', \
             'sess', 'txn', 'req', 'res' or 'check'"
        );
        return Err(Fault::wrong(span, text));
    };
    let bad = |c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '.');
    if let Some(at) = rest.find(bad) {
        let text = format!("invalid syntax at char '{}'", &rest[at..]);
        return Err(Fault::wrong(span, text));
    }
    Ok(cx.vars.id(scope, rest))
}

/// A regular expression as haproxy's users write it (PCRE); what only that library has is refused.
fn compile(word: &Word) -> Result<Regex, Fault> {
    pcre::compile(&word.bytes, false).map_err(|error| {
        let looks = error.contains("look-ahead") || error.contains("look-behind");
        let fault = Fault::wrong(word.span, error);
        if looks {
            return fault.help(
                "look-around is not supported: expressions take time linear in the text here",
            );
        }
        fault
    })
}

fn integer(text: &str) -> Option<i64> {
    let parsed = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => u32::from_str_radix(hex, 16),
        None => text.parse::<u32>(),
    };
    parsed.ok().map(i64::from)
}

#[cfg(test)]
mod tests;
