//! The command line: haproxy's flags as haproxy reads them (management.txt section 3), and `--strict`.
//!
//! Only what was written is recorded here; files are read and the world is asked in `start`.
//! Flags that belong to parts not built yet are known by name and refused; those that speak of
//! haproxy's own inside are accepted with a notice.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use super::{subcommand, version};

/// What the command line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Check (`-c`) or run.
    Run(Box<Args>),
    /// `-v`.
    Version,
    /// `-vv`.
    Build,
    /// `-h`, `--help`.
    Help,
    /// `--keywords`.
    Keywords,
    /// `-cc <condition>`.
    Condition(String),
}

/// Signal for the processes before us, once we serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Farewell {
    /// `-sf`: SIGUSR1, leave after the last session.
    Finish,
    /// `-st`: SIGTERM, leave now.
    Terminate,
}

/// Everything `Run` was told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Args {
    /// `-f` and what follows `--`, in order.
    pub files: Vec<PathBuf>,
    /// `-c`
    pub check: bool,
    /// `-V`
    pub verbose: bool,
    /// `-q`
    pub quiet: bool,
    /// `-D`
    pub daemon: bool,
    /// `-d`
    pub debug: bool,
    /// `-db`
    pub foreground: bool,
    /// `-n`
    pub maxconn: Option<u32>,
    /// `-N`
    pub proxy_maxconn: Option<u32>,
    /// `-m`, megabytes.
    pub memory_mb: Option<u64>,
    /// `-L`
    pub local_peer: Option<String>,
    /// `-C`
    pub dir: Option<PathBuf>,
    /// `-p`
    pub pidfile: Option<PathBuf>,
    /// `-W`, `-Ws`
    pub master: bool,
    /// `-Ws`
    pub notify: bool,
    /// `-x`
    pub takeover: Option<PathBuf>,
    /// `-S`: address and options of the master's admin socket, by commas.
    pub master_sockets: Vec<String>,
    /// `-sf`, `-st`: the last one names the signal for all.
    pub farewell: Option<Farewell>,
    pub old_pids: Vec<i32>,
    /// `-dW`
    pub zero_warning: bool,
    /// `-dD`
    pub diagnostics: bool,
    /// `-dr`
    pub tolerate_unresolved: bool,
    /// `-dS`, `-dF`
    pub no_splice: bool,
    /// `-dR`
    pub no_reuseport: bool,
    /// `-de`
    pub no_epoll: bool,
    /// `--strict`: obsolete spellings are errors.
    pub strict: bool,
    /// Flags accepted without effect, each with the reason.
    pub notices: Vec<String>,
}

/// A command line that cannot be obeyed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageError {
    pub message: String,
    /// Whether the list of options helps.
    pub show_usage: bool,
}

impl UsageError {
    fn plain(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            show_usage: false,
        }
    }
    fn usage(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            show_usage: true,
        }
    }
}

/// How a flag takes what belongs to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    Nothing,
    /// The rest of the same word, or else the next one.
    Value,
    /// All following words up to one that begins with a dash.
    Pids,
    /// All following words.
    Files,
    /// Only the rest of the same word, which may be empty (`-dM`, `-dMfail`).
    Suffix,
}

/// What is done about a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    File,
    Files,
    Check,
    Verbose,
    Quiet,
    Daemon,
    Debug,
    Foreground,
    Maxconn,
    ProxyMaxconn,
    Memory,
    LocalPeer,
    Dir,
    Pidfile,
    Master,
    MasterNotify,
    Takeover,
    MasterSocket,
    Finish,
    Terminate,
    ZeroWarning,
    Diagnostics,
    TolerateUnresolved,
    NoSplice,
    NoReuseport,
    NoEpoll,
    Strict,
    Version,
    Build,
    Help,
    Keywords,
    Condition,
    /// Accepted, told without effect because of this.
    Moot(&'static str),
    /// Of haproxy, not here yet.
    Later(&'static str),
}

struct Flag {
    name: &'static str,
    takes: Takes,
    /// How the value is called in the usage.
    value: &'static str,
    act: Act,
    doc: &'static str,
}

const fn flag(
    name: &'static str,
    takes: Takes,
    value: &'static str,
    act: Act,
    doc: &'static str,
) -> Flag {
    Flag {
        name,
        takes,
        value,
        act,
        doc,
    }
}

const INSIDE: &str = "it speaks of haproxy's own memory and pollers";
const NO_TLS: &str = "no TLS is spoken yet";

const FLAGS: &[Flag] = &[
    flag(
        "-f",
        Takes::Value,
        "<file|dir>",
        Act::File,
        "read this file, or the *.cfg of this directory; may be repeated",
    ),
    flag(
        "--",
        Takes::Files,
        "<file|dir>...",
        Act::Files,
        "read all that follows",
    ),
    flag(
        "-c",
        Takes::Nothing,
        "",
        Act::Check,
        "check the configuration and leave: 0 valid, 1 errors, 2 nothing to listen on",
    ),
    flag(
        "-cc",
        Takes::Value,
        "<condition>",
        Act::Condition,
        "evaluate a condition and leave: 0 true, 1 false, 2 error",
    ),
    flag(
        "-D",
        Takes::Nothing,
        "",
        Act::Daemon,
        "serve in the background, return once it serves",
    ),
    flag(
        "-db",
        Takes::Nothing,
        "",
        Act::Foreground,
        "stay in the foreground whatever the configuration says",
    ),
    flag(
        "-d",
        Takes::Nothing,
        "",
        Act::Debug,
        "stay in the foreground and say more",
    ),
    flag(
        "-V",
        Takes::Nothing,
        "",
        Act::Verbose,
        "say more, undo quiet",
    ),
    flag("-q", Takes::Nothing, "", Act::Quiet, "say nothing"),
    flag(
        "-p",
        Takes::Value,
        "<file>",
        Act::Pidfile,
        "write the process id there",
    ),
    flag(
        "-sf",
        Takes::Pids,
        "<pid>...",
        Act::Finish,
        "once serving, ask these processes to finish their sessions and leave",
    ),
    flag(
        "-st",
        Takes::Pids,
        "<pid>...",
        Act::Terminate,
        "once serving, ask these processes to leave at once",
    ),
    flag(
        "-n",
        Takes::Value,
        "<number>",
        Act::Maxconn,
        "most connections of the process",
    ),
    flag(
        "-N",
        Takes::Value,
        "<number>",
        Act::ProxyMaxconn,
        "most connections of a frontend that does not say",
    ),
    flag(
        "-m",
        Takes::Value,
        "<megabytes>",
        Act::Memory,
        "most memory",
    ),
    flag("-C", Takes::Value, "<dir>", Act::Dir, "go there first"),
    flag(
        "-L",
        Takes::Value,
        "<name>",
        Act::LocalPeer,
        "name of this peer (default: the host's name)",
    ),
    flag(
        "-dW",
        Takes::Nothing,
        "",
        Act::ZeroWarning,
        "refuse to start on any warning",
    ),
    flag(
        "-dD",
        Takes::Nothing,
        "",
        Act::Diagnostics,
        "show suspicious statements too",
    ),
    flag(
        "-dr",
        Takes::Nothing,
        "",
        Act::TolerateUnresolved,
        "start although names of servers do not resolve",
    ),
    flag("-dS", Takes::Nothing, "", Act::NoSplice, "do not splice"),
    flag(
        "-dF",
        Takes::Nothing,
        "",
        Act::NoSplice,
        "the same, under its newer name",
    ),
    flag(
        "-dR",
        Takes::Nothing,
        "",
        Act::NoReuseport,
        "one listening socket per address, without SO_REUSEPORT",
    ),
    flag(
        "-de",
        Takes::Nothing,
        "",
        Act::NoEpoll,
        "never epoll: io_uring or nothing",
    ),
    flag(
        "--strict",
        Takes::Nothing,
        "",
        Act::Strict,
        "refuse obsolete spellings instead of warning",
    ),
    flag("-v", Takes::Nothing, "", Act::Version, "show the version"),
    flag(
        "-vv",
        Takes::Nothing,
        "",
        Act::Build,
        "show the version, pollers, features",
    ),
    flag(
        "--keywords",
        Takes::Nothing,
        "",
        Act::Keywords,
        "list the keywords of the configuration",
    ),
    flag("-h", Takes::Nothing, "", Act::Help, "show this"),
    flag("--help", Takes::Nothing, "", Act::Help, ""),
    flag("--version", Takes::Nothing, "", Act::Version, ""),
    flag("-dp", Takes::Nothing, "", Act::Moot(INSIDE), ""),
    flag("-dk", Takes::Nothing, "", Act::Moot(INSIDE), ""),
    flag("-dv", Takes::Nothing, "", Act::Moot(INSIDE), ""),
    flag("-dM", Takes::Suffix, "", Act::Moot(INSIDE), ""),
    flag("-dZ", Takes::Nothing, "", Act::Moot(INSIDE), ""),
    flag(
        "-dG",
        Takes::Nothing,
        "",
        Act::Moot("names are resolved by the C library, which has no other call"),
        "",
    ),
    flag(
        "-dI",
        Takes::Nothing,
        "",
        Act::Moot("nothing here forks once it serves"),
        "",
    ),
    flag("-dV", Takes::Nothing, "", Act::Moot(NO_TLS), ""),
    flag("-dT", Takes::Nothing, "", Act::Moot(NO_TLS), ""),
    flag(
        "-4",
        Takes::Nothing,
        "",
        Act::Moot("no resolvers are spoken to yet"),
        "",
    ),
    flag(
        "-W",
        Takes::Nothing,
        "",
        Act::Master,
        "start a master and a worker; SIGUSR2 or SIGHUP to the master starts the next worker",
    ),
    flag(
        "-Ws",
        Takes::Nothing,
        "",
        Act::MasterNotify,
        "as -W, and tell systemd (Type=notify)",
    ),
    flag(
        "-S",
        Takes::Value,
        "<bind>[,<option>…]",
        Act::MasterSocket,
        "the admin socket of the master",
    ),
    flag(
        "-x",
        Takes::Value,
        "<socket>",
        Act::Takeover,
        "take the listening sockets over from the process with this stats socket ('expose-fd listeners')",
    ),
    flag(
        "-dC",
        Takes::Suffix,
        "",
        Act::Later("the dump of the configuration"),
        "",
    ),
    flag(
        "-dK",
        Takes::Suffix,
        "",
        Act::Later("the dump of keywords"),
        "",
    ),
    flag(
        "-dL",
        Takes::Nothing,
        "",
        Act::Later("the list of libraries"),
        "",
    ),
    flag(
        "-dA",
        Takes::Suffix,
        "",
        Act::Later("the archive of libraries"),
        "",
    ),
    flag("-dt", Takes::Suffix, "", Act::Later("traces"), ""),
    flag(
        "-dc",
        Takes::Nothing,
        "",
        Act::Later("the dump of the CPU topology"),
        "",
    ),
];

/// Reads the words after the program's name.
///
/// # Errors
/// The first word that cannot be obeyed.
pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Command, UsageError> {
    let mut words = words.into_iter().peekable();
    let mut args = Args::default();
    let mut asked = None;
    while let Some(word) = words.next() {
        let Some(text) = word.to_str().filter(|t| t.starts_with('-') && t.len() > 1) else {
            return Err(UsageError::usage(format!(
                "unexpected argument '{}'; a configuration file needs '-f' before it",
                word.to_string_lossy()
            )));
        };
        for (flag, rest) in find(text)? {
            let value: OsString = match flag.takes {
                Takes::Value if rest.is_empty() => words.next().ok_or_else(|| {
                    UsageError::plain(format!(
                        "option '{}' wants {} after it",
                        flag.name,
                        wanted(flag)
                    ))
                })?,
                _ => rest.into(),
            };
            match flag.act {
                Act::Files => args.files.extend(words.by_ref().map(PathBuf::from)),
                Act::Finish | Act::Terminate => {
                    let farewell = if flag.act == Act::Finish {
                        Farewell::Finish
                    } else {
                        Farewell::Terminate
                    };
                    args.farewell = Some(farewell);
                    while let Some(list) =
                        words.next_if(|w| !w.as_encoded_bytes().starts_with(b"-"))
                    {
                        read_pids(flag.name, &list, &mut args.old_pids)?;
                    }
                }
                Act::Version => asked = asked.or(Some(Command::Version)),
                Act::Build => asked = Some(Command::Build),
                Act::Help => asked = asked.or(Some(Command::Help)),
                Act::Keywords => asked = Some(Command::Keywords),
                Act::Condition => asked = Some(Command::Condition(text_of(flag.name, value)?)),
                act => record(&mut args, flag, act, value)?,
            }
        }
    }
    if let Some(asked) = asked {
        return Ok(asked);
    }
    if args.files.is_empty() {
        return Err(UsageError::usage(
            "no configuration file: '-f <file>' names one",
        ));
    }
    Ok(Command::Run(Box::new(args)))
}

fn record(args: &mut Args, flag: &Flag, act: Act, value: OsString) -> Result<(), UsageError> {
    match act {
        Act::File => args.files.push(value.into()),
        Act::Check => args.check = true,
        Act::Verbose => args.verbose = true,
        Act::Quiet => args.quiet = true,
        Act::Daemon => args.daemon = true,
        Act::Debug => args.debug = true,
        Act::Foreground => args.foreground = true,
        Act::Maxconn => args.maxconn = nonzero(number(flag.name, &value)?),
        Act::ProxyMaxconn => args.proxy_maxconn = nonzero(number(flag.name, &value)?),
        Act::Memory => {
            args.memory_mb = Some(u64::from(number(flag.name, &value)?)).filter(|&mb| mb > 0)
        }
        Act::LocalPeer => args.local_peer = Some(text_of(flag.name, value)?),
        Act::Dir => args.dir = Some(value.into()),
        Act::Pidfile => args.pidfile = Some(value.into()),
        Act::Master => args.master = true,
        Act::MasterNotify => (args.master, args.notify) = (true, true),
        Act::Takeover => args.takeover = Some(value.into()),
        Act::MasterSocket => args.master_sockets.push(text_of(flag.name, value)?),
        Act::ZeroWarning => args.zero_warning = true,
        Act::Diagnostics => args.diagnostics = true,
        Act::TolerateUnresolved => args.tolerate_unresolved = true,
        Act::NoSplice => args.no_splice = true,
        Act::NoReuseport => args.no_reuseport = true,
        Act::NoEpoll => args.no_epoll = true,
        Act::Strict => args.strict = true,
        Act::Moot(why) => args.notices.push(format!(
            "option '{}' has no meaning here: {why}.",
            flag.name
        )),
        Act::Later(what) => {
            return Err(UsageError::plain(format!(
                "option '{}' is not supported yet ({what})",
                flag.name
            )));
        }
        Act::Files
        | Act::Finish
        | Act::Terminate
        | Act::Version
        | Act::Build
        | Act::Help
        | Act::Keywords
        | Act::Condition => {
            unreachable!("handled where the words are read")
        }
    }
    Ok(())
}

/// 0 means "not said", as in haproxy.
fn nonzero(n: u32) -> Option<u32> {
    Some(n).filter(|&n| n > 0)
}

/// The flag a word begins with and the rest of the word; several for a cluster such as `-qc`.
fn find(word: &str) -> Result<Vec<(&'static Flag, &str)>, UsageError> {
    if let Some(flag) = FLAGS.iter().find(|f| f.name == word) {
        return Ok(vec![(flag, "")]);
    }
    let glued = FLAGS
        .iter()
        .filter(|f| matches!(f.takes, Takes::Suffix | Takes::Value) && !f.name.starts_with("--"))
        .filter_map(|f| word.strip_prefix(f.name).map(|rest| (f, rest)))
        .max_by_key(|(f, _)| f.name.len());
    if let Some(found) = glued {
        return Ok(vec![found]);
    }
    // Single letters without a value may stand together, also after '-db' and its kin.
    let mut rest = word;
    let mut found = Vec::new();
    let simple = |name: &str| {
        FLAGS
            .iter()
            .find(|f| f.takes == Takes::Nothing && f.name.strip_prefix('-') == Some(name))
    };
    rest = &rest[1..];
    while !rest.is_empty() {
        let next = rest
            .get(..2)
            .and_then(&simple)
            .or_else(|| rest.get(..1).and_then(&simple));
        let Some(flag) = next else {
            return Err(UsageError::usage(format!(
                "unknown option '{word}'{}",
                nearest(word)
            )));
        };
        rest = &rest[flag.name.len() - 1..];
        found.push((flag, ""));
    }
    if found.is_empty() {
        Err(UsageError::usage(format!("unknown option '{word}'")))
    } else {
        Ok(found)
    }
}

/// `; did you mean …`, or nothing where no name is near.
fn nearest(word: &str) -> String {
    let best = FLAGS
        .iter()
        .map(|f| (strsim::damerau_levenshtein(word, f.name), f.name))
        .min_by_key(|&(distance, name)| (distance, name.len().abs_diff(word.len())));
    match best {
        Some((distance, name)) if distance <= (word.len() / 3).clamp(1, 3) => {
            format!("; did you mean '{name}' maybe ?")
        }
        _ => String::new(),
    }
}

fn wanted(flag: &Flag) -> &'static str {
    if flag.value.is_empty() {
        "a value"
    } else {
        flag.value
    }
}

fn number(name: &str, value: &OsStr) -> Result<u32, UsageError> {
    value.to_str().and_then(|t| t.parse().ok()).ok_or_else(|| {
        UsageError::plain(format!(
            "option '{name}' wants a number, not '{}'",
            value.to_string_lossy()
        ))
    })
}

fn text_of(name: &str, value: OsString) -> Result<String, UsageError> {
    value.into_string().map_err(|v| {
        UsageError::plain(format!(
            "option '{name}': '{}' is not UTF-8",
            v.to_string_lossy()
        ))
    })
}

/// Process ids from one word: `12`, or `"12 13"` as a quoted `$(cat pidfile)` gives.
fn read_pids(name: &str, list: &OsStr, pids: &mut Vec<i32>) -> Result<(), UsageError> {
    let text = list.to_string_lossy();
    for word in text.split_whitespace() {
        match word.parse::<i32>() {
            Ok(pid) if pid > 0 => pids.push(pid),
            _ => {
                return Err(UsageError::plain(format!(
                    "{name} option: some bytes unconsumed in PID list {{{word}}}"
                )));
            }
        }
    }
    Ok(())
}

/// A flag as documentation needs it.
#[derive(Debug, Clone)]
pub struct Described {
    pub name: &'static str,
    pub takes: Takes,
    /// `<file>`, or empty.
    pub value: &'static str,
    /// What it does, or why it does nothing.
    pub doc: String,
}

/// Every flag the parser knows.
pub fn described() -> impl Iterator<Item = Described> {
    FLAGS.iter().map(|flag| Described {
        name: flag.name,
        takes: flag.takes,
        value: match (flag.takes, flag.value) {
            (Takes::Value, "") => "<value>",
            (_, value) => value,
        },
        doc: match flag.act {
            _ if !flag.doc.is_empty() => flag.doc.to_owned(),
            Act::Moot(why) => format!("accepted, without effect: {why}"),
            Act::Later(what) => format!("refused as not supported yet: {what}"),
            act => {
                let same = FLAGS.iter().find(|f| f.act == act && !f.doc.is_empty());
                same.map_or_else(String::new, |same| format!("as {}", same.name))
            }
        },
    })
}

/// The list of options.
pub fn usage(program: &str) -> String {
    let mut text = format!(
        "{}Usage : {program} [-f <file|dir>]* [options] [-- <file|dir>*]\n",
        version::banner()
    );
    for one in subcommand::ALL {
        text.push_str(&format!(
            "        {program} {} {}\n",
            one.name,
            one.arguments()
        ));
    }
    for flag in FLAGS.iter().filter(|f| !f.doc.is_empty()) {
        let head = format!("{} {}", flag.name, flag.value);
        text.push_str(&format!("        {head:<18} {}\n", flag.doc));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ')
            .filter(|w| !w.is_empty())
            .map(OsString::from)
            .collect()
    }
    fn run(line: &str) -> Args {
        match parse(words(line)) {
            Ok(Command::Run(args)) => *args,
            other => panic!("{line}: {other:?}"),
        }
    }
    fn error(line: &str) -> String {
        parse(words(line)).expect_err(line).message
    }

    #[test]
    fn every_form_of_a_file_is_read_in_order() {
        let args = run("-f a -fb -f c/ -c -- d -e");
        assert_eq!(args.files, ["a", "b", "c/", "d", "-e"].map(PathBuf::from));
        assert!(args.check);
    }

    #[test]
    fn letters_without_a_value_may_stand_together() {
        let args = run("-qcV -f a");
        assert!(args.quiet && args.check && args.verbose);
        let args = run("-dbV -Dq -f a");
        assert!(args.foreground && args.verbose && args.daemon && args.quiet && !args.debug);
    }

    #[test]
    fn old_processes_end_at_the_next_option() {
        let args = run("-f a -sf 1 2 3 -D -p x");
        assert_eq!(args.old_pids, [1, 2, 3]);
        assert_eq!(args.farewell, Some(Farewell::Finish));
        assert!(args.daemon);
        // A first start has no pidfile to read.
        assert!(run("-f a -D -sf").old_pids.is_empty());
        let args = run("-f a -st 7");
        assert_eq!(
            (args.farewell, args.old_pids),
            (Some(Farewell::Terminate), vec![7])
        );
        let quoted = parse(["-f", "a", "-sf", "1 2"].map(OsString::from));
        assert!(matches!(quoted, Ok(Command::Run(a)) if a.old_pids == [1, 2]));
    }

    #[test]
    fn mistakes_are_named() {
        for (line, part) in [
            (
                "-f a -sf xx",
                "-sf option: some bytes unconsumed in PID list {xx}",
            ),
            ("-f a -sf 0", "PID list {0}"),
            ("-f a -n abc", "option '-n' wants a number, not 'abc'"),
            ("-f a -n", "option '-n' wants <number> after it"),
            ("-f", "option '-f' wants <file|dir> after it"),
            ("-f a -zz", "unknown option '-zz'"),
            ("-f a --strct", "did you mean '--strict' maybe ?"),
            ("-f a -dX", "unknown option '-dX'; did you mean '-d"),
            ("a.cfg", "unexpected argument 'a.cfg'"),
            ("-c", "no configuration file"),
            ("", "no configuration file"),
        ] {
            assert!(error(line).contains(part), "{line}: {}", error(line));
        }
    }

    #[test]
    fn what_has_no_meaning_here_is_said_and_not_refused() {
        for flag in ["-dM", "-dMfail,no-merge", "-dp", "-dG", "-dI", "-dV", "-4"] {
            assert_eq!(run(&format!("-f a {flag}")).notices.len(), 1, "{flag}");
        }
    }

    #[test]
    fn version_wins_over_running() {
        assert_eq!(parse(words("-v")), Ok(Command::Version));
        assert_eq!(parse(words("-vv -f a")), Ok(Command::Build));
        assert_eq!(
            parse(words("-cc feature(EPOLL)")),
            Ok(Command::Condition("feature(EPOLL)".into()))
        );
    }

    #[test]
    fn numbers_and_names_reach_their_fields() {
        let args =
            run("-f a -n 10 -N 5 -m 64 -L peer -C /x -p /y -dW -dD -dr -dS -dR -de --strict");
        assert_eq!(
            (args.maxconn, args.proxy_maxconn, args.memory_mb),
            (Some(10), Some(5), Some(64))
        );
        assert_eq!(args.local_peer.as_deref(), Some("peer"));
        assert_eq!(
            (args.dir, args.pidfile),
            (Some("/x".into()), Some("/y".into()))
        );
        assert!(
            args.zero_warning && args.diagnostics && args.tolerate_unresolved && args.no_splice
        );
        assert!(args.no_reuseport && args.no_epoll && args.strict);
        assert_eq!(run("-f a -n 0").maxconn, None);
    }

    #[test]
    fn usage_shows_each_option_that_does_something() {
        let text = usage("ringway");
        for flag in ["-sf <pid>...", "--strict", "-cc <condition>"] {
            assert!(text.contains(flag), "{flag}");
        }
    }
}
