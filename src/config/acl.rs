//! `acl` lines, and `use_backend` for what a connection shows by itself (configuration.txt 7).

use std::sync::Arc;

use super::raw::{ProxyRaw, SwitchRaw};
use super::words::{Args, Said};
use crate::lang::acl::{Condition, Test};
use crate::lang::diag::Form;

/// `acl <name> <criterion> [flags] [operator] <value>…`
pub(super) fn acl(proxy: &mut ProxyRaw, args: &mut Args<'_, '_>) -> Result<(), Said> {
    let name = args.expect("a name and a criterion")?;
    let text = name.text().into_owned();
    if let Some(bad) = text
        .chars()
        .find(|&c| !(c.is_ascii_alphanumeric() || "._-:".contains(c)))
    {
        let what = format!("character '{bad}' is not permitted in acl name '{text}'.");
        return Err(args.fail(name.span, what));
    }
    if text.eq_ignore_ascii_case("or") {
        let what = format!(
            "acl name '{text}' will never match. 'or' is used to express a logical disjunction within a condition."
        );
        return Err(args.fail(name.span, what));
    }
    let prefix = format!("error detected while parsing ACL '{text}' : ");
    let words = args.rest();
    args.at = args.line.words.len();
    let end = args.end();
    let test = args.cx.language(Form::Parsing, &prefix, |cx| {
        if words.is_empty() {
            return Err(Test::missing(end));
        }
        Test::parse(words, cx)
    });
    // A line that cannot be read still declares its name: rules that use it are no further mistakes.
    let (test, outcome) = match test {
        Ok(test) => (test, Ok(())),
        Err(said) => (Test::never(), Err(said)),
    };
    proxy.acls.lines.push((text, Arc::new(test)));
    outcome
}

/// `use_backend <backend> [{if | unless} <condition>]`
pub(super) fn use_backend(proxy: &mut ProxyRaw, args: &mut Args<'_, '_>) -> Result<(), Said> {
    let backend = args.expect("a backend name")?;
    if backend.text().contains("%[") {
        return Err(args
            .cx
            .not_yet(backend.span, "use_backend with a log-format"));
    }
    let words = args.rest();
    args.at = args.line.words.len();
    let when = match words.first() {
        None => None,
        Some(word) if matches!(&*word.bytes, b"if" | b"unless") => {
            let prefix = "error detected while parsing switching rule : ";
            let acls = &proxy.acls;
            Some(args.cx.language(Form::Parsing, prefix, |cx| {
                Condition::parse(words, acls, cx)
            })?)
        }
        Some(word) => {
            let text = format!(
                "unexpected keyword '{}' after switching rule, only 'if' and 'unless' are allowed.",
                word.text()
            );
            return Err(args.fail(word.span, text));
        }
    };
    proxy.switches.push(SwitchRaw {
        backend: backend.clone(),
        when,
    });
    Ok(())
}
