//! The words that may stand where haproxy has only options: `ringway demo`, `ringway man`…
//!
//! Usage, manual page and completions are written from this table, and the options of each from its
//! own parser: a command is described where it is read.

use std::ffi::OsString;
use std::process::ExitCode;

use super::{check, demo, diff, explain, manual};

/// The words behind the command's name.
pub type Words<'a> = &'a mut dyn Iterator<Item = OsString>;

/// One of them.
#[derive(Debug)]
pub struct Subcommand {
    pub name: &'static str,
    /// Its parser, which knows what it is for and what it takes.
    pub describe: fn() -> clap::Command,
    pub run: fn(Words<'_>) -> ExitCode,
}

/// All, in the order shown.
pub const ALL: &[Subcommand] = &[
    Subcommand {
        name: "demo",
        describe: demo::describe,
        run: |words| demo::main(words),
    },
    Subcommand {
        name: "check",
        describe: check::describe,
        run: |words| check::main(words),
    },
    Subcommand {
        name: "diff",
        describe: diff::describe,
        run: |words| diff::main(words),
    },
    Subcommand {
        name: "explain",
        describe: explain::describe,
        run: |words| explain::main(words),
    },
    Subcommand {
        name: "man",
        describe: manual::describe_man,
        run: manual::man_main,
    },
    Subcommand {
        name: "completions",
        describe: manual::describe_completions,
        run: manual::completions_main,
    },
];

/// The one of this name.
pub fn find(name: &str) -> Option<&'static Subcommand> {
    ALL.iter().find(|one| one.name == name)
}

impl Subcommand {
    /// What it is for, in a line.
    pub fn about(&self) -> String {
        let about = (self.describe)().get_about().map(ToString::to_string);
        about.unwrap_or_default().trim_end_matches('.').to_owned()
    }

    /// Its arguments as a usage line shows them: `[--seconds <SECONDS>]`.
    pub fn arguments(&self) -> String {
        let command = (self.describe)();
        let shown: Vec<_> = command
            .get_arguments()
            .filter(|arg| {
                !arg.is_hide_set() && !matches!(arg.get_id().as_str(), "help" | "version")
            })
            .map(|arg| {
                let text = Argument::of(arg).head(false);
                match (arg.is_required_set(), arg.get_num_args()) {
                    (true, Some(n)) if n.max_values() > 1 => format!("{text}..."),
                    (true, _) => text,
                    (false, _) => format!("[{text}]"),
                }
            })
            .collect();
        shown.join(" ")
    }

    /// Its options and positional arguments, without `--help`.
    pub fn described(&self) -> Vec<Argument> {
        let command = (self.describe)();
        let shown = command.get_arguments().filter(|arg| !arg.is_hide_set());
        shown.map(Argument::of).collect()
    }
}

/// An argument of a subcommand, as documentation needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argument {
    /// `-f`, `--file`; none for one that is told by its place.
    pub names: Vec<String>,
    /// `<FILE>`, or empty for one that takes nothing.
    pub value: String,
    pub doc: String,
    /// The words it takes, where they are a closed set.
    pub choices: Vec<String>,
}

impl Argument {
    fn of(arg: &clap::Arg) -> Self {
        let short = arg.get_short().map(|c| format!("-{c}"));
        let long = arg.get_long().map(|name| format!("--{name}"));
        let id = arg.get_id().as_str().to_uppercase();
        let takes = arg.is_positional() || arg.get_action().takes_values();
        let value = match arg.get_value_names() {
            _ if !takes => String::new(),
            Some(names) => names.iter().map(|name| format!("<{name}>")).collect(),
            None => format!("<{id}>"),
        };
        let doc = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let choices = match takes {
            true => arg.get_possible_values(),
            false => Vec::new(),
        };
        Self {
            names: short.into_iter().chain(long).collect(),
            value,
            doc,
            choices: choices.iter().map(|v| v.get_name().to_owned()).collect(),
        }
    }

    /// `-f <FILE>`: with the last name alone, or all of them.
    pub fn head(&self, all: bool) -> String {
        let names = match (all, self.names.last()) {
            (true, _) => self.names.join(", "),
            (false, Some(last)) => last.clone(),
            (false, None) => String::new(),
        };
        format!("{names} {}", self.value).trim().to_owned()
    }
}
