//! `ringway man` and `ringway completions <shell>`: written from the tables of options
//! ([`args::described`]) and of subcommands ([`subcommand::ALL`]), so that they cannot say less than
//! the parser takes.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, ValueEnum};

use super::args::{self, Described, Takes};
use super::subcommand::{self, Words};
use super::{say, version};

/// Writes the manual page to standard output, for man(1).
#[derive(Debug, Parser)]
#[command(name = "ringway man", bin_name = "ringway man")]
struct ManOptions {}

/// Writes the completion of options for a shell to standard output.
#[derive(Debug, Parser)]
#[command(name = "ringway completions", bin_name = "ringway completions")]
struct CompletionOptions {
    /// The shell that is to read it
    shell: Shell,
}

/// Shells that complete options.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    Bash,
    Zsh,
    Fish,
}

pub(super) fn describe_man() -> clap::Command {
    ManOptions::command()
}

pub(super) fn describe_completions() -> clap::Command {
    CompletionOptions::command()
}

pub(super) fn man_main(words: Words<'_>) -> ExitCode {
    parsed::<ManOptions>("ringway man", words).map_or_else(|code| code, |_| show(&page()))
}

pub(super) fn completions_main(words: Words<'_>) -> ExitCode {
    parsed::<CompletionOptions>("ringway completions", words)
        .map_or_else(|code| code, |options| show(&completions(options.shell)))
}

fn parsed<T: Parser>(name: &str, words: Words<'_>) -> Result<T, ExitCode> {
    T::try_parse_from(std::iter::once(name.into()).chain(words)).map_err(|error| {
        // Help goes to stdout with status 0, mistakes to stderr.
        let _ = error.print();
        ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(1))
    })
}

fn show(text: &str) -> ExitCode {
    say::out(text);
    ExitCode::SUCCESS
}

// --- the manual page -------------------------------------------------------------------------------

/// Sections that no table holds: title and paragraphs. A paragraph `term | text` is an entry.
const SECTIONS: &[(&str, &[&str])] = &[
    (
        "SIGNALS",
        &[
            "SIGUSR1 | no new connections; ends after the last session",
            "SIGTERM, SIGINT | ends now",
            "SIGTTOU, SIGTTIN | stops listening without giving the addresses up; listens again",
            "SIGHUP | to a process of its own: logs the state of each server; to a master: as SIGUSR2",
            "SIGUSR2 | to a master (-W): reads the configuration again in a new worker, which takes the listening sockets over. A worker that fails changes nothing.",
        ],
    ),
    (
        "EXIT STATUS",
        &[
            "0 | served and was asked to leave; with -c: the configuration is valid",
            "1 | could not start, and has bound, written and signalled nothing; with -c: mistakes",
            "2 | with -c: nothing to listen on; of a subcommand: a wrong argument",
            "other | of a master: the status of the worker whose end ended it (128 and the signal)",
        ],
    ),
    (
        "ENVIRONMENT",
        &[
            "NOTIFY_SOCKET, WATCHDOG_USEC | where and how often systemd is told that the master is well (-Ws)",
            "any other | may stand in the configuration as \"$NAME\" or \"${NAME}\" between double quotes",
        ],
    ),
    (
        "FILES",
        &[
            "/etc/ringway/ringway.cfg | the configuration, as the package's service reads it",
            "/etc/default/ringway | which configuration, and more options, for the service",
            "/run/ringway.pid | process ids of the service",
            "/var/lib/ringway | the root of the process once it serves, with the package's configuration",
            "/usr/share/doc/ringway/examples | keepalived, rsyslog, sysctl",
        ],
    ),
    (
        "EXAMPLES",
        &[
            "Is a configuration understood? All mistakes are told in one run. | ringway -c -V -f /etc/haproxy/haproxy.cfg",
            "In the background, in the place of the process before, without a lost connection: | ringway -D -f ringway.cfg -p /run/ringway.pid -sf $(cat /run/ringway.pid)",
            "In the place of a haproxy that runs: | ringway -D -f haproxy.cfg -p /run/ringway.pid -x /run/haproxy/admin.sock -sf $(cat /run/haproxy.pid)",
        ],
    ),
    ("SEE ALSO", &["haproxy(1), systemd(1), keepalived(8)"]),
];

/// The manual page as troff for man(7).
pub fn page() -> String {
    let mut text = format!(
        ".\\\" written by 'ringway man'\n.TH RINGWAY 1 \"{}\" \"Ringway {}\" \"System administration\"\n",
        version::RELEASED.replace('/', "-"),
        env!("CARGO_PKG_VERSION")
    );
    text.push_str(
        ".SH NAME\nringway \\- load balancer for TCP and HTTP that runs haproxy configurations\n",
    );
    text.push_str(".SH SYNOPSIS\n.B ringway\n[\\fB\\-f\\fR \\fIfile|dir\\fR]... [\\fIoptions\\fR] [\\fB\\-\\-\\fR \\fIfile|dir\\fR...]\n");
    for one in subcommand::ALL {
        let _ = writeln!(text, ".br\n.B ringway {}", troff(one.name));
        let arguments = one.arguments();
        if !arguments.is_empty() {
            let _ = writeln!(text, "{}", troff(&arguments));
        }
    }
    let _ = write!(
        text,
        ".SH DESCRIPTION\nRingway takes haproxy's configuration, command line, signals and commands, and behaves as haproxy {} does. \
         Each core has a thread, an io_uring and listening sockets of its own.\n.PP\n\
         The configuration's keywords are listed by\n.BR \"ringway \\-\\-keywords\" .\n.SH OPTIONS\n\
         Letters without a value may stand together, as in\n.BR \\-qc .\nA value may follow its option in the same word.\n",
        version::COMPATIBLE
    );
    for flag in args::described() {
        entry(&mut text, flag.name, flag.value, &flag.doc);
    }
    text.push_str(".SH COMMANDS\n");
    for one in subcommand::ALL {
        let _ = write!(
            text,
            ".SS {}\n{}.\n",
            troff(format!("ringway {} {}", one.name, one.arguments()).trim_end()),
            troff(&one.about())
        );
        for argument in one.described() {
            entry(
                &mut text,
                &argument.names.join(", "),
                &argument.value,
                &argument.doc,
            );
        }
    }
    for (title, paragraphs) in SECTIONS {
        let _ = writeln!(text, ".SH {title}");
        for paragraph in *paragraphs {
            match paragraph.split_once(" | ") {
                None => {
                    let _ = writeln!(text, "{}", troff(paragraph));
                }
                Some((said, command)) if *title == "EXAMPLES" => {
                    let _ = write!(
                        text,
                        "{}\n.PP\n.nf\n.RS\n{}\n.RE\n.fi\n.PP\n",
                        troff(said),
                        troff(command)
                    );
                }
                Some((term, said)) => entry(&mut text, term, "", said),
            }
        }
    }
    text
}

fn entry(text: &mut String, term: &str, value: &str, doc: &str) {
    let bold = (!term.is_empty()).then(|| format!("\\fB{}\\fR", troff(term)));
    let italic = (!value.is_empty()).then(|| format!("\\fI{}\\fR", troff(value)));
    let head: Vec<_> = bold.into_iter().chain(italic).collect();
    let _ = write!(text, ".TP\n{}\n{}\n", head.join(" "), troff(doc));
}

/// `plain` so that troff prints it as it stands, on one line, whatever encoding it takes its input for.
fn troff(plain: &str) -> String {
    let mut escaped = String::with_capacity(plain.len());
    for c in plain.chars() {
        match c {
            '\\' => escaped.push_str("\\e"),
            '-' => escaped.push_str("\\-"),
            c if c.is_ascii() => escaped.push(c),
            c => {
                let _ = write!(escaped, "\\[u{:04X}]", u32::from(c));
            }
        }
    }
    match escaped.starts_with(['.', '\'']) {
        true => format!("\\&{escaped}"),
        false => escaped,
    }
}

// --- completions -----------------------------------------------------------------------------------

/// What may follow an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Follows {
    Nothing,
    Files,
    Directories,
    Pids,
    /// A word nobody can guess.
    Word,
}

fn follows(value: &str, takes: Takes) -> Follows {
    match (
        takes,
        value
            .trim_matches(['<', '>', '.', '[', ']'])
            .to_ascii_lowercase()
            .as_str(),
    ) {
        (Takes::Nothing | Takes::Suffix, _) => Follows::Nothing,
        (Takes::Pids, _) => Follows::Pids,
        (_, "dir" | "directory") => Follows::Directories,
        (_, "file|dir" | "file" | "socket" | "path" | "cfg" | "config" | "old" | "new") => {
            Follows::Files
        }
        _ => Follows::Word,
    }
}

/// Options that are words of their own (not `--`, which only ends them).
fn options() -> impl Iterator<Item = Described> {
    args::described().filter(|flag| flag.name != "--")
}

/// The completion for `shell`.
pub fn completions(shell: Shell) -> String {
    match shell {
        Shell::Bash => bash(),
        Shell::Zsh => zsh(),
        Shell::Fish => fish(),
    }
}

/// Names of the options whose value is of this kind, between bars.
fn with(kind: Follows) -> String {
    let names = options().filter(|flag| follows(flag.value, flag.takes) == kind);
    names.map(|flag| flag.name).collect::<Vec<_>>().join("|")
}

fn names_of(one: &subcommand::Subcommand) -> String {
    let described = one.described().into_iter();
    let words = described.flat_map(|argument| [argument.names, argument.choices].concat());
    words.collect::<Vec<_>>().join(" ")
}

fn bash() -> String {
    let mut text = "# bash completion of ringway; written by 'ringway completions bash'\n_ringway() {\n    \
        local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}\n    COMPREPLY=()\n    \
        if [ \"$COMP_CWORD\" -gt 1 ]; then\n        case ${COMP_WORDS[1]} in\n"
        .to_owned();
    for one in subcommand::ALL {
        let _ = writeln!(
            text,
            "        {}) COMPREPLY=($(compgen -W '{}' -- \"$word\") $(compgen -f -- \"$word\")); return ;;",
            one.name,
            names_of(one)
        );
    }
    text.push_str("        esac\n    fi\n    case $before in\n");
    for (kind, action) in [
        (
            Follows::Files,
            "COMPREPLY=($(compgen -f -- \"$word\")); return ;;",
        ),
        (
            Follows::Directories,
            "COMPREPLY=($(compgen -d -- \"$word\")); return ;;",
        ),
        (
            Follows::Pids,
            "COMPREPLY=($(compgen -W \"$(cat /run/ringway.pid /run/haproxy.pid 2>/dev/null)\" -- \"$word\")); return ;;",
        ),
        (Follows::Word, "return ;;"),
    ] {
        let names = with(kind);
        if !names.is_empty() {
            let _ = writeln!(text, "    {names}) {action}");
        }
    }
    let flags: Vec<_> = options().map(|flag| flag.name).collect();
    let commands: Vec<_> = subcommand::ALL.iter().map(|one| one.name).collect();
    let _ = write!(
        text,
        "    esac\n    local first=\n    [ \"$COMP_CWORD\" = 1 ] && first='{}'\n    \
         COMPREPLY=($(compgen -W \"$first {}\" -- \"$word\"))\n}}\ncomplete -o filenames -F _ringway ringway\n",
        commands.join(" "),
        flags.join(" ")
    );
    text
}

/// `doc` inside `[…]` of a specification between single quotes.
fn zsh_doc(doc: &str) -> String {
    let doc = doc.replace('\\', "\\\\").replace('\'', "'\\''");
    doc.replace('[', "\\[")
        .replace(']', "\\]")
        .replace(':', "\\:")
}

fn zsh() -> String {
    let mut text = "#compdef ringway\n# written by 'ringway completions zsh'\n_ringway() {\n    \
        local -a commands\n    commands=(\n"
        .to_owned();
    for one in subcommand::ALL {
        let _ = writeln!(text, "        '{}:{}'", one.name, zsh_doc(&one.about()));
    }
    text.push_str("    )\n    if (( CURRENT > 2 )); then\n        case ${words[2]} in\n");
    for one in subcommand::ALL {
        let _ = writeln!(
            text,
            "        {}) compadd -- {}; _files; return ;;",
            one.name,
            names_of(one)
        );
    }
    text.push_str("        esac\n    fi\n    (( CURRENT == 2 )) && _describe command commands\n    _arguments \\\n");
    for flag in options() {
        let follows = match follows(flag.value, flag.takes) {
            Follows::Nothing => "",
            Follows::Files => ":file:_files",
            Follows::Directories => ":directory:_files -/",
            Follows::Pids => ":process:_pids",
            Follows::Word => ":value:",
        };
        let again = if matches!(flag.takes, Takes::Nothing) {
            ""
        } else {
            "*"
        };
        let _ = writeln!(
            text,
            "        '{again}{}[{}]{follows}' \\",
            flag.name,
            zsh_doc(&flag.doc)
        );
    }
    text.push_str("        '*:file:_files'\n}\nif [ \"$funcstack[1]\" = _ringway ]; then\n    _ringway \"$@\"\nelse\n    compdef _ringway ringway\nfi\n");
    text
}

/// Between single quotes of fish.
fn fish_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// How fish tells the three kinds of options apart.
fn fish_name(name: &str) -> String {
    match (name.strip_prefix("--"), name.trim_start_matches('-')) {
        (Some(long), _) => format!("-l {long}"),
        (None, letter) if letter.chars().count() == 1 => format!("-s {letter}"),
        (None, old) => format!("-o {old}"),
    }
}

fn fish() -> String {
    let mut text =
        "# fish completion of ringway; written by 'ringway completions fish'\n".to_owned();
    let all: Vec<_> = subcommand::ALL.iter().map(|one| one.name).collect();
    let none = format!("'not __fish_seen_subcommand_from {}'", all.join(" "));
    for one in subcommand::ALL {
        let _ = writeln!(
            text,
            "complete -c ringway -n __fish_is_first_arg -f -a {} -d {}",
            one.name,
            fish_quoted(&one.about())
        );
        for argument in one.described() {
            let names: Vec<_> = argument.names.iter().map(|name| fish_name(name)).collect();
            let mut line = format!(
                "complete -c ringway -n '__fish_seen_subcommand_from {}'",
                one.name
            );
            match (names.is_empty(), argument.choices.is_empty()) {
                (true, true) => continue,
                (true, false) => {}
                (false, _) => {
                    let _ = write!(line, " {}", names.join(" "));
                    line.push_str(if argument.value.is_empty() { "" } else { " -r" });
                }
            }
            if !argument.choices.is_empty() {
                let _ = write!(line, " -f -a {}", fish_quoted(&argument.choices.join(" ")));
            }
            let _ = writeln!(text, "{line} -d {}", fish_quoted(&argument.doc));
        }
    }
    for flag in options() {
        let takes = match follows(flag.value, flag.takes) {
            Follows::Nothing => "",
            Follows::Files => " -r -F",
            Follows::Directories => " -x -a '(__fish_complete_directories)'",
            Follows::Pids => " -x -a '(__fish_complete_pids)'",
            Follows::Word => " -x",
        };
        let _ = writeln!(
            text,
            "complete -c ringway -n {none} {}{takes} -d {}",
            fish_name(flag.name),
            fish_quoted(&flag.doc)
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_every_option_with_a_description() {
        let page = page();
        for flag in args::described() {
            assert!(!flag.doc.is_empty(), "{}", flag.name);
            let head = format!("\\fB{}\\fR", troff(flag.name));
            let at = page
                .find(&head)
                .unwrap_or_else(|| panic!("{head} is not there"));
            assert!(page[at..].contains(&troff(&flag.doc)), "{}", flag.name);
        }
    }

    #[test]
    fn the_page_has_every_subcommand_with_its_arguments() {
        let page = page();
        for one in subcommand::ALL {
            assert!(page.contains(&format!(".SS ringway {}", one.name)));
            assert!(!one.about().is_empty(), "{}", one.name);
            for argument in one.described() {
                assert!(!argument.doc.is_empty(), "{} {argument:?}", one.name);
                assert!(
                    page.contains(&troff(&argument.doc)),
                    "{} {argument:?}",
                    one.name
                );
            }
        }
        assert!(page.contains("\\fB\\-\\-seconds\\fR \\fI<SECONDS>\\fR"));
    }

    #[test]
    fn no_line_of_the_page_is_taken_for_a_request_by_mistake() {
        let requests = [
            ".TH", ".SH", ".SS", ".TP", ".PP", ".B", ".BR", ".br", ".nf", ".fi", ".RS", ".RE",
            ".\\\"",
        ];
        for line in page().lines().filter(|line| line.starts_with(['.', '\''])) {
            let word = line.split(' ').next().unwrap();
            assert!(requests.contains(&word), "{line}");
        }
        assert_eq!(troff(".cfg -x \\"), "\\&.cfg \\-x \\e");
    }

    #[test]
    fn each_shell_is_told_every_option() {
        for (shell, name) in [
            (Shell::Bash, "-sf"),
            (Shell::Zsh, "-sf["),
            (Shell::Fish, "-o sf "),
        ] {
            let text = completions(shell);
            assert!(text.contains(name), "{shell:?}");
            for flag in options() {
                let word = match shell {
                    Shell::Fish => fish_name(flag.name),
                    _ => flag.name.to_owned(),
                };
                assert!(text.contains(&word), "{shell:?} {word}");
            }
            for one in subcommand::ALL {
                assert!(text.contains(one.name), "{shell:?} {}", one.name);
            }
        }
    }
}
