//! `ringway check`: `-c` for programs, and a look at what a start would meet on this machine (`--probe`).
//!
//! The messages are those of `-c`, as text or as JSON. Probing takes nothing: addresses are bound without listening
//! and given back, servers are connected to and left. Nothing of it happens without `--probe`.

mod holder;
mod probe;

use std::cell::RefCell;
use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use serde_json::{Value, json};

use super::args::Args;
use super::{look, say};
use crate::config::{Host, LoadInputs, Loaded, World, load};
use crate::lang::diag::{Diag, RenderOptions, Severity};
use crate::lang::source::Sources;
use probe::{Finding, Grade};

/// Checks a configuration: 0 valid, 1 errors, 2 valid but nothing to listen on.
#[derive(Debug, Parser)]
#[command(name = "ringway check", bin_name = "ringway check")]
struct Options {
    /// Read this file, or the *.cfg of this directory; may be repeated
    #[arg(short = 'f', value_name = "FILE|DIR", required = true)]
    files: Vec<PathBuf>,
    /// Go there first
    #[arg(short = 'C', value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Refuse obsolete spellings instead of warning
    #[arg(long)]
    strict: bool,
    /// Show suspicious statements too
    #[arg(long)]
    diagnostics: bool,
    /// For programs: every message with its place, on standard output
    #[arg(long)]
    json: bool,
    /// Look at this machine: ports, users, files, limits, servers (connects to each)
    #[arg(long)]
    probe: bool,
}

/// Its options, for documentation.
pub fn describe() -> clap::Command {
    <Options as clap::CommandFactory>::command()
}

/// Checks; `words` are those after `check`.
pub fn main(words: impl Iterator<Item = OsString>) -> ExitCode {
    let words = std::iter::once(OsString::from("ringway check")).chain(words);
    let options = match Options::try_parse_from(words) {
        Ok(options) => options,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(1));
        }
    };
    if let Err(text) = look::go_to(options.dir.as_deref()) {
        eprintln!("ringway check: {text}");
        return ExitCode::FAILURE;
    }
    let outcome = check(&options);
    say::raw(&outcome.messages);
    say::out(&outcome.report);
    ExitCode::from(outcome.status)
}

/// What is written where, and the exit status.
#[derive(Debug, Default)]
struct Outcome {
    /// To standard error.
    messages: String,
    /// To standard output.
    report: String,
    status: u8,
}

fn check(options: &Options) -> Outcome {
    let args = Args {
        files: options.files.clone(),
        strict: options.strict,
        diagnostics: options.diagnostics,
        ..Args::default()
    };
    let loaded = load(&look::inputs(&args, false));
    let findings = options.probe.then(|| probed(&args, &loaded));
    let refused = |list: &Vec<Finding>| list.iter().any(|f| f.grade == Grade::Error);
    let status = match &loaded.config {
        None => 1,
        Some(_) if findings.as_ref().is_some_and(refused) => 1,
        Some(config) if !config.has_listeners() => 2,
        Some(_) => 0,
    };
    let mut outcome = Outcome {
        status,
        ..Outcome::default()
    };
    if options.json {
        let value = json!({
            "valid": loaded.config.is_some(),
            "has_listeners": loaded.has_listeners(),
            "status": status,
            "files": loaded.sources.files.iter().map(|f| &f.name).collect::<Vec<_>>(),
            "diagnostics": shown(&loaded, options).map(|d| diagnostic(d, &loaded.sources)).collect::<Vec<_>>(),
            "probe": findings.map(|list| list.iter().map(Finding::json).collect::<Vec<_>>()),
        });
        outcome.report = format!("{value:#}\n");
        return outcome;
    }
    let render = RenderOptions {
        diag: options.diagnostics,
        ..RenderOptions::default()
    };
    outcome.messages = loaded
        .diags
        .render(&loaded.sources, std::process::id(), &render);
    outcome.report = match &loaded.config {
        None => "Configuration file is not valid.\n",
        Some(config) if !config.has_listeners() => {
            "Configuration file has no error but will not start (no listener) => exit(2).\n"
        }
        Some(_) => "Configuration file is valid\n",
    }
    .to_owned();
    for finding in findings.unwrap_or_default() {
        outcome.report.push_str(&finding.line());
    }
    outcome
}

fn shown<'l>(loaded: &'l Loaded, options: &Options) -> impl Iterator<Item = &'l Diag> {
    let all = options.diagnostics;
    let list = loaded.diags.list.iter();
    list.filter(move |d| all || d.severity > Severity::Diag)
}

/// One message. Lines and columns count from 1, columns in bytes.
fn diagnostic(diag: &Diag, sources: &Sources) -> Value {
    let severity = match diag.severity {
        Severity::Diag => "diag",
        Severity::Notice => "notice",
        Severity::Warning => "warning",
        Severity::Alert => "alert",
    };
    let file = diag.span.and_then(|span| sources.get(span.file));
    let line = diag.span.zip(file).and_then(|(span, file)| {
        let at = (span.line as usize).checked_sub(1)?;
        file.lines.get(at)
    });
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let word = diag.span.zip(line).and_then(|(span, line)| {
        let start = span.col as usize;
        line.get(start..(start + span.len as usize).min(line.len()))
    });
    let section = diag.span.zip(file).and_then(|(span, file)| {
        let before = file.lines.iter().take(span.line as usize);
        let mut heads = before.filter(|line| line.first().is_some_and(|b| b.is_ascii_alphabetic()));
        heads.next_back().map(|line| text(line))
    });
    json!({
        "severity": severity,
        "file": file.map(|f| &f.name),
        "line": diag.span.filter(|_| file.is_some()).map(|s| s.line),
        "column": diag.span.filter(|_| file.is_some()).map(|s| s.col + 1),
        "length": diag.span.filter(|_| file.is_some()).map(|s| s.len),
        "keyword": word.map(text),
        "section": section,
        "text": line.map(|line| text(line)),
        "message": diag.text,
        "remedy": diag.help,
    })
}

/// Names that this machine does not have, noted while a configuration is read as if it had them.
#[derive(Debug, Default)]
struct Names {
    missing: RefCell<Vec<(&'static str, String)>>,
}

impl Names {
    fn known(&self, kind: &'static str, name: &str, number: Option<u32>) -> Option<u32> {
        let entry = (kind, name.to_owned());
        let mut missing = self.missing.borrow_mut();
        if number.is_none() && !missing.contains(&entry) {
            missing.push(entry);
        }
        number.or(Some(0))
    }
}

impl World for Names {
    fn resolve(&self, host: &str) -> Result<Vec<IpAddr>, String> {
        Host.resolve(host)
    }
    fn user(&self, name: &str) -> Option<u32> {
        self.known("user", name, Host.user(name))
    }
    fn group(&self, name: &str) -> Option<u32> {
        self.known("group", name, Host.group(name))
    }
}

/// What this machine says to it, also where only a missing user refuses it.
fn probed(args: &Args, loaded: &Loaded) -> Vec<Finding> {
    if let Some(config) = &loaded.config {
        return probe::all(config);
    }
    let names = Names::default();
    let other = load(&LoadInputs {
        world: &names,
        tolerate_unresolved: true,
        ..look::inputs(args, false)
    });
    let missing = names.missing.take();
    let mut out: Vec<Finding> = missing
        .iter()
        .map(|(kind, name)| {
            let act = if *kind == "user" {
                "useradd"
            } else {
                "groupadd"
            };
            let text = format!("there is no {kind} '{name}'");
            Finding::new(Grade::Error, kind, name, text)
                .remedy(format!("'{act} --system {name}' makes one"))
        })
        .collect();
    match &other.config {
        Some(config) => out.extend(probe::all(config)),
        None => {
            let text = "has errors: nothing else was looked at";
            out.push(Finding::new(Grade::Warning, "configuration", "", text));
        }
    }
    out
}

#[cfg(test)]
mod tests;
