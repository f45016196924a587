//! The options that end a `bind`, `stats socket`, `server` or `default-server` line.

use super::added::REFUSED;
use super::keyword::{Keyword, Kind};
use super::known::Known;
use super::raw::NotYetRaw;
use super::words::{Args, Said};
use crate::lang::diag::{did_you_mean, nearest};
use crate::lang::lexer::Word;

/// A set of options with its table.
pub(super) trait Tail: 'static + Sized {
    const TABLE: &'static [Keyword<Self>];
    /// Options that haproxy knows and we do not.
    const KNOWN: &'static [Known];
    /// Where those are noted.
    fn not_yet(&mut self) -> &mut Vec<NotYetRaw>;
}

/// Reads options up to the end of the line.
///
/// A mistake in one does not hide those in the next, unless it is unclear where the next begins.
pub(super) fn read<T: Tail>(options: &mut T, args: &mut Args<'_, '_>) -> Result<(), Said> {
    let mut outcome = Ok(());
    while let Some(word) = args.next() {
        let name = word.text();
        if args.cx.at_run_time && REFUSED.contains(&&*name) {
            let text = format!("'{name}' option is not accepted for dynamic server");
            return Err(args.fail(word.span, text));
        }
        if let Some(keyword) = T::TABLE.iter().find(|k| k.name == name) {
            outcome = one(keyword, options, args, word).and(outcome);
        } else if let Some(known) = T::KNOWN.iter().find(|k| k.name == name) {
            args.at += known.args.min(args.rest().len());
            options.not_yet().push(NotYetRaw {
                name: name.into_owned(),
                span: word.span,
                layer: known.layer,
            });
        } else {
            let names = T::TABLE
                .iter()
                .map(|k| k.name)
                .chain(T::KNOWN.iter().map(|k| k.name));
            let hint = did_you_mean(&nearest(&name, names));
            return Err(args.fail(word.span, format!("unknown keyword '{name}'{hint}")));
        }
    }
    outcome
}

/// Runs the parser of one option, whose name then stands in its messages.
fn one<T>(
    keyword: &Keyword<T>,
    options: &mut T,
    args: &mut Args<'_, '_>,
    word: &Word,
) -> Result<(), Said> {
    if args.rest().len() < keyword.args.0 {
        let text = format!("'{}' expects {} as argument.", keyword.name, keyword.usage);
        let end = args.end();
        return Err(args.fail(end, text));
    }
    let mut own = Args {
        cx: args.cx,
        line: args.line,
        name: keyword.name,
        prefix: std::mem::take(&mut args.prefix),
        head: word.span,
        sense: args.sense,
        at: args.at,
        owner: args.owner,
    };
    let outcome = (keyword.parse)(options, &mut own);
    (args.at, args.prefix) = (own.at, own.prefix);
    if keyword.kind == Kind::NoMeaning && outcome.is_ok() {
        let text = format!(
            "'{}' has no meaning here: it tunes {}.",
            keyword.name, keyword.doc
        );
        args.cx.notice(word.span, text);
    }
    outcome
}
