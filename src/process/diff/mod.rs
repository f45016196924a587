//! `ringway diff`: what a reload would change, and whom it touches.
//!
//! Typed configurations are compared, not texts: comments, blanks, quoting, the order of lines that mean the same in
//! any order, and settings moved to or from `defaults` make no difference. Rules are compared by what they do and by
//! the tests their conditions are made of.

mod compare;
mod rules;
mod tree;

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use serde_json::{Value, json};

use super::args::Args;
use super::{look, say};
use crate::config::Config;
use rules::Words;

/// Says what a reload from one configuration to another would change, and whom it touches.
///
/// 0: they are equal, 1: they differ, 2: one of them cannot be read.
#[derive(Debug, Parser)]
#[command(name = "ringway diff", bin_name = "ringway diff")]
struct Options {
    /// The configuration that runs: a file, or a directory whose *.cfg files are read
    old: PathBuf,
    /// The one that is to run
    new: PathBuf,
    /// For programs
    #[arg(long)]
    json: bool,
}

/// Its options, for documentation.
pub fn describe() -> clap::Command {
    <Options as clap::CommandFactory>::command()
}

/// Compares; `words` are those after `diff`.
pub fn main(words: impl Iterator<Item = OsString>) -> ExitCode {
    let words = std::iter::once(OsString::from("ringway diff")).chain(words);
    let options = match Options::try_parse_from(words) {
        Ok(options) => options,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let (Some(old), Some(new)) = (Side::read(options.old), Side::read(options.new)) else {
        eprintln!("ringway diff: a configuration with errors cannot be compared");
        return ExitCode::from(2);
    };
    let changes = compare::all(&old, &new);
    say::out(&if options.json {
        format!("{:#}\n", as_json(&changes))
    } else {
        as_text(&changes, std::io::stdout().is_terminal())
    });
    ExitCode::from(u8::from(!changes.is_empty()))
}

/// One configuration with the words of its lines.
#[derive(Debug)]
struct Side {
    config: Config,
    words: Words,
}

impl Side {
    /// `None`: it has errors, which were shown.
    fn read(path: PathBuf) -> Option<Self> {
        let files = [path];
        let (config, sources) = look::valid(&files)?;
        let args = Args {
            files: files.to_vec(),
            ..Args::default()
        };
        let words = Words::new(&sources, &look::inputs(&args, false));
        Some(Self { config, words })
    }
}

/// What became of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Added,
    Removed,
    Changed,
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Change {
    /// `global`, `frontend web`, …
    section: String,
    /// `section`, `bind`, `server`, `rule`, `setting`, …
    what: &'static str,
    name: String,
    act: Act,
    from: Option<String>,
    to: Option<String>,
    /// What it means for connections.
    effect: Option<String>,
}

fn as_text(changes: &[Change], colours: bool) -> String {
    if changes.is_empty() {
        return "No difference: a reload would change nothing.\n".to_owned();
    }
    let paint = |code: &str, text: &str| {
        if colours {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    };
    let mut out = String::new();
    let mut section = "";
    for change in changes {
        if change.section != section {
            section = &change.section;
            let _ = writeln!(out, "{}", paint("1", section));
        }
        let (mark, code) = match change.act {
            Act::Added => ("+", "32"),
            Act::Removed => ("-", "31"),
            Act::Changed => ("~", "33"),
        };
        let subject = format!("{} {}", change.what, change.name);
        let values = match (&change.from, &change.to) {
            (Some(from), Some(to)) => format!(": {from} -> {to}"),
            (Some(value), None) | (None, Some(value)) => format!(": {value}"),
            (None, None) => String::new(),
        };
        let line = format!("{mark} {}{values}", subject.trim_end());
        let _ = writeln!(out, "  {}", paint(code, &line));
        if let Some(effect) = &change.effect {
            let _ = writeln!(out, "      {}", paint("2", effect));
        }
    }
    out
}

fn as_json(changes: &[Change]) -> Value {
    let each = changes.iter().map(|change| {
        json!({
            "section": change.section,
            "what": change.what,
            "name": change.name,
            "action": match change.act {
                Act::Added => "added",
                Act::Removed => "removed",
                Act::Changed => "changed",
            },
            "from": change.from,
            "to": change.to,
            "effect": change.effect,
        })
    });
    json!({ "equal": changes.is_empty(), "changes": each.collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests;
