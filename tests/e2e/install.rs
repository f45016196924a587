//! What stands around the daemon on a machine: manual page, completions, service, package. Each is
//! read by the program it is written for.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::support::{TempDir, balancer, on_haproxy};

/// What the balancer prints for a subcommand.
#[track_caller]
fn said(words: &[&str]) -> String {
    let out = Command::new(balancer()).args(words).output().unwrap();
    assert!(out.status.success(), "{words:?}: {out:?}");
    String::from_utf8(out.stdout).unwrap()
}

/// Runs `command` with `input`; gives status, output and errors together.
#[track_caller]
fn fed(command: &mut Command, input: &str) -> (Option<i32>, String) {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let child = command.stderr(Stdio::piped()).spawn();
    let mut child = child.unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let mut stdin = child.stdin.take().unwrap();
    let text = input.to_owned();
    let feeding = std::thread::spawn(move || {
        let _ = stdin.write_all(text.as_bytes());
    });
    let out = child.wait_with_output().unwrap();
    feeding.join().unwrap();
    let said = String::from_utf8_lossy(&out.stdout) + String::from_utf8_lossy(&out.stderr);
    (out.status.code(), said.into_owned())
}

/// The names of options in the first column of `-h`.
fn options() -> Vec<String> {
    let usage = said(&["-h"]);
    let lines = usage
        .lines()
        .filter_map(|line| line.strip_prefix("        -"));
    let names = lines.filter_map(|line| line.split(' ').next());
    names.map(|name| format!("-{name}")).collect()
}

// Fitting in
#[test]
fn the_manual_page_is_taken_without_a_warning_and_shows_every_option() {
    if on_haproxy() {
        return;
    }
    let page = said(&["man"]);
    let mut groff = Command::new("groff");
    groff.args(["-man", "-ww", "-z", "-Tutf8"]);
    assert_eq!(fed(&mut groff, &page), (Some(0), String::new()));
    let dir = TempDir::new();
    let file = dir.write("ringway.1", &page);
    let mut man = Command::new("man");
    man.env("MANROFFSEQ", "")
        .env("MANWIDTH", "100")
        .env("LC_ALL", "C.UTF-8");
    let out = man.args(["--warnings", "-l", &file]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&out.stderr), "");
    let text = String::from_utf8_lossy(&out.stdout);
    let options = options();
    assert!(options.len() > 25, "{options:?}");
    for option in options {
        let shown = |line: &str| line.trim_start().split(' ').next() == Some(&option);
        assert!(text.lines().any(shown), "{option} is not in {text}");
    }
    for section in [
        "NAME",
        "OPTIONS",
        "COMMANDS",
        "SIGNALS",
        "EXIT STATUS",
        "FILES",
    ] {
        assert!(text.lines().any(|line| line == section), "{section}");
    }
}

#[test]
fn each_shell_loads_its_completion_and_bash_completes_with_it() {
    if on_haproxy() {
        return;
    }
    let dir = TempDir::new();
    for (shell, load) in [
        ("bash", "set -u; . $1"),
        ("zsh", "autoload -Uz compinit; compinit -D -u; . $1"),
        (
            "fish",
            "source $argv[1]; complete -C 'ringway --st' | string match -q -- '--strict*'",
        ),
    ] {
        let file = dir.write(
            &format!("completion.{shell}"),
            &said(&["completions", shell]),
        );
        let mut command = Command::new(shell);
        command.env("HOME", dir.path()).args(["-c", load]);
        if shell != "fish" {
            command.arg(shell);
        }
        assert_eq!(
            fed(command.arg(&file), ""),
            (Some(0), String::new()),
            "{shell}"
        );
    }
    dir.write("some.cfg", "");
    let complete = |line: &str| -> Vec<String> {
        let script = format!(
            "cd {}; . ./completion.bash; COMP_WORDS=({line}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _ringway; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            dir.path().display()
        );
        let (code, said) = fed(Command::new("bash").args(["-c", &script]), "");
        assert_eq!(code, Some(0), "{said}");
        said.lines().map(str::to_owned).collect()
    };
    assert_eq!(complete("ringway -f so"), ["some.cfg"]);
    assert_eq!(complete("ringway --str"), ["--strict"]);
    assert_eq!(complete("ringway -f x -s"), ["-sf", "-st"]);
    assert_eq!(complete("ringway de"), ["demo"]);
    assert_eq!(complete("ringway demo --sec"), ["--seconds"]);
    assert_eq!(complete("ringway completions z"), ["zsh"]);
    assert!(complete("ringway -n ''").concat().is_empty());
    for option in options() {
        if option != "--" {
            assert!(
                complete(&format!("ringway {option}")).contains(&option),
                "{option}"
            );
        }
    }
}
