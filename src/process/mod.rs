//! Command line, start, signals, privileges, stop: everything about the process that is not traffic.
//!
//! | file | holds |
//! |---|---|
//! | [`args`] | haproxy's flags as haproxy reads them |
//! | [`start`] | the order of a start, from the configuration to shards that serve |
//! | `look` | a configuration is read, with what this machine says to it |
//! | [`limits`] | arithmetic of descriptors, connections and pipes |
//! | [`bind`] | listening sockets |
//! | [`privileges`] | chroot, groups, user |
//! | [`worker`] | the shards' threads |
//! | [`signals`] | the main thread while shards serve |
//! | [`master`] | `-W`: the process that starts workers |
//! | [`takeover`] | listening sockets of the process before (`-x`) |
//! | [`pidfile`] | the file with its number |
//! | [`old`] | the processes before this one (`-sf`, `-st`) |
//! | [`subcommand`] | `ringway demo` and its kin |
//! | [`demo`] | `ringway demo` |
//! | [`manual`] | manual page and completions, from the tables |
//! | [`check`] | `ringway check`: `-c` for programs, and a look at this machine |
//! | [`diff`] | `ringway diff`: what a reload would change, and whom it touches |
//! | [`explain`] | `ringway explain`: what becomes of one request, and why |
//! | [`say`], [`version`] | what is printed |

pub mod args;
pub mod bind;
pub mod check;
pub mod demo;
pub mod diff;
pub mod explain;
pub mod limits;
mod look;
pub mod manual;
pub mod master;
pub mod old;
pub mod pidfile;
pub mod privileges;
pub mod say;
pub mod signals;
pub mod start;
pub mod subcommand;
pub mod takeover;
pub mod version;
pub mod worker;

use std::process::ExitCode;

use crate::config::keyword;
use crate::lang::cond;
use crate::lang::env::Env;
use args::Command;

/// The whole program. Its status is haproxy's.
pub fn main() -> ExitCode {
    let mut words = std::env::args_os();
    let program = words.next().map_or_else(
        || "ringway".to_owned(),
        |w| w.to_string_lossy().into_owned(),
    );
    let mut words = words.peekable();
    let named = words.peek().and_then(|w| subcommand::find(w.to_str()?));
    if let Some(subcommand) = named {
        words.next();
        return (subcommand.run)(&mut words);
    }
    match args::parse(words) {
        Ok(Command::Run(args)) => start::run(&args, &program),
        Ok(Command::Version) => show(&version::banner()),
        Ok(Command::Build) => {
            let shards = std::thread::available_parallelism().map_or(1, usize::from);
            show(&version::build(
                &start::uring_works(),
                shards,
                keyword::all().len(),
            ))
        }
        Ok(Command::Help) => show(&args::usage(&program)),
        Ok(Command::Keywords) => show(&keyword::table_text()),
        Ok(Command::Condition(text)) => condition(&text),
        Err(error) => {
            say::alert(&error.message);
            if error.show_usage {
                say::raw(&args::usage(&program));
            }
            ExitCode::FAILURE
        }
    }
}

fn show(text: &str) -> ExitCode {
    say::out(text);
    ExitCode::SUCCESS
}

/// `-cc`: 0 true, 1 false, 2 not a condition.
fn condition(text: &str) -> ExitCode {
    let env = Env::from_pairs(
        std::env::vars_os()
            .filter_map(|(n, v)| Some((n.into_string().ok()?, v.into_string().ok()?))),
    );
    match cond::evaluate(text, &env, &version::predicates()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            say::alert(&format!("config : Failed to evaluate condition: {error}"));
            ExitCode::from(2)
        }
    }
}
