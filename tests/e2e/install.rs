//! What stands around the daemon on a machine: manual page, completions, service, package. Each is
//! read by the program it is written for.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::client::connect_to;
use crate::support::component::Component;
use crate::support::{Launch, TempDir, balancer, full, on_haproxy, port, until};

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

/// A file of `scripts/`.
fn shipped(name: &str) -> String {
    let path = format!("{}/scripts/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

#[test]
fn systemd_takes_the_unit_without_a_word() {
    if on_haproxy() {
        return;
    }
    let dir = TempDir::new();
    let program = balancer();
    let unit =
        shipped("systemd/ringway.service").replace("/usr/sbin/ringway", program.to_str().unwrap());
    let file = dir.write("ringway.service", &unit);
    let mut verify = Command::new("systemd-analyze");
    verify.args(["verify", "--man=no", &file]);
    assert_eq!(fed(&mut verify, ""), (Some(0), String::new()));
}

// R11: verbs and statuses beside those of Debian's script for haproxy
#[test]
fn the_init_script_ends_with_the_statuses_of_haproxys() {
    const BROKEN: &str = "frontend f\n garbage\n";
    let valid = |front: u16| {
        format!(
            "defaults\n mode http\n timeout connect 1s\n timeout client 2s\n timeout server 2s\n\
             listen l\n bind 127.0.0.1:{front}\n"
        )
    };
    // What is done before, the verb, and whether a start would have worked by then.
    let steps = [
        ("", "status"),
        ("", "stop"),
        ("", "start"),
        ("", "status"),
        ("", "start"),
        ("", "reload"),
        ("", "status"),
        ("broken", "reload"),
        ("", "status"),
        ("valid", "force-reload"),
        ("", "restart"),
        ("", "status"),
        ("", "stop"),
        ("", "status"),
        ("stale", "status"),
        ("", "start"),
        ("", "stop"),
        ("broken", "start"),
        ("", "status"),
        ("", "bogus"),
        ("", ""),
    ];
    let run = |script: &str, front: u16| -> Vec<String> {
        let dir = TempDir::new();
        let script = dir.write(
            "script",
            &script.replace("@DIR@", dir.path().to_str().unwrap()),
        );
        let defaults = dir.write(
            "defaults",
            &format!(
                "DAEMON={}\nCONFIG={}\nPIDFILE={}\nRUNDIR={}\n",
                balancer().display(),
                dir.file("cfg"),
                dir.file("pid"),
                dir.file("run")
            ),
        );
        dir.write("cfg", &valid(front));
        let mut all = Vec::new();
        for (before, verb) in steps {
            match before {
                "broken" => drop(dir.write("cfg", BROKEN)),
                "valid" => drop(dir.write("cfg", &valid(front))),
                // A pid file that was left by a machine that lost its power.
                "stale" => drop(dir.write("pid", "999999\n")),
                _ => {}
            }
            let mut command = Command::new("sh");
            command.arg(&script).env("RINGWAY_DEFAULTS", &defaults);
            command.args(Some(verb).filter(|verb| !verb.is_empty()));
            let out = command.stdin(Stdio::null()).output().unwrap();
            // The one before may still be on its way out.
            std::thread::sleep(Duration::from_millis(100));
            let serves = connect_to(([127, 0, 0, 1], front).into()).is_ok();
            let code = out.status.code();
            all.push(format!("{before} {verb}: {code:?}, serves: {serves}"));
        }
        all
    };
    let ours = run(&shipped("sysv/ringway"), port());
    let theirs = std::fs::read_to_string("/etc/init.d/haproxy").expect("Debian's haproxy");
    let theirs = theirs
        .replace("/var/run/${BASENAME}.pid", "@DIR@/pid")
        .replace("/etc/${BASENAME}/${BASENAME}.cfg", "@DIR@/cfg")
        .replace("/run/${BASENAME}", "@DIR@/run");
    assert_eq!(ours, run(&theirs, port()));
}

// R11: where ours is meant to do more
#[test]
fn the_init_script_stops_nothing_for_a_configuration_with_mistakes() {
    let (dir, front) = (TempDir::new(), port());
    let defaults = dir.write(
        "defaults",
        &format!(
            "DAEMON={}\nCONFIG={}\nPIDFILE={}\nRUNDIR={}\nEXTRAOPTS='{}'\n",
            balancer().display(),
            dir.file("cfg"),
            dir.file("pid"),
            dir.file("run"),
            "-W"
        ),
    );
    let config = format!(
        "defaults\n mode http\n timeout connect 1s\n timeout client 2s\n timeout server 2s\n\
         listen l\n bind 127.0.0.1:{front}\n"
    );
    let script = format!("{}/scripts/sysv/ringway", env!("CARGO_MANIFEST_DIR"));
    let run = |verb: &str| {
        let mut command = Command::new(&script);
        command.arg(verb).env("RINGWAY_DEFAULTS", &defaults);
        command.stdin(Stdio::null()).output().unwrap().status.code()
    };
    let serves = || connect_to(([127, 0, 0, 1], front).into()).is_ok();
    dir.write("cfg", "global\n");
    assert_eq!(run("check"), Some(2));
    dir.write("cfg", &config);
    assert_eq!((run("check"), run("try-restart")), (Some(0), Some(0)));
    assert!(!serves());
    assert_eq!((run("start"), serves()), (Some(0), true));
    dir.write("cfg", "garbage\n");
    for verb in ["check", "restart", "reload", "try-restart"] {
        assert_eq!((verb, run(verb), serves()), (verb, Some(1), true));
    }
    dir.write("cfg", &config);
    assert_eq!((run("try-restart"), serves()), (Some(0), true));
    assert_eq!((run("stop"), serves()), (Some(0), false));
}

// L05, L06: the snippet, with lines from the package's configuration
#[test]
fn rsyslog_writes_two_files_and_opens_new_ones_after_a_rotation() {
    let (dir, front) = (TempDir::new(), port());
    let logs = dir.subdir("log");
    let socket = dir.file("chroot/dev/log");
    let snippet = shipped("rsyslog/49-ringway.conf")
        .replace("/var/lib/ringway/dev/log", &socket)
        .replace("/var/log/", &format!("{logs}/"));
    let config = dir.write(
        "rsyslog.conf",
        &format!("module(load=\"imuxsock\" SysSock.Use=\"off\")\n{snippet}*.* {logs}/rest\n"),
    );
    let mut check = Command::new("rsyslogd");
    let (code, said) = fed(check.args(["-N1", "-f", &config]), "");
    assert_eq!(code, Some(0), "{said}");
    let mut command = Command::new("rsyslogd");
    command.args(["-n", "-f", &config, "-i", &dir.file("rsyslog.pid")]);
    let rsyslog = Component::start(&dir, "rsyslog.out", &mut command);
    until("rsyslog listens", || Path::new(&socket).exists());

    // Into the chroot, as the package's configuration logs.
    let daemon = Launch::new(&format!(
        "global\n chroot {}\n log /dev/log local0\n log /dev/log local1 notice\n log-tag ringway\n\
         defaults\n mode http\n log global\n option httplog\n timeout connect 1s\n timeout client 5s\n timeout server 5s\n\
         frontend web\n bind 127.0.0.1:{front}\n http-request return status 200\n",
        dir.file("chroot")
    ))
    .start();
    let read = |name: &str| std::fs::read_to_string(format!("{logs}/{name}")).unwrap_or_default();
    let request = |path: &str| crate::support::http::get(front, path, "").status();
    assert_eq!(request("/one"), 200);
    until("the first file has it", || {
        read("ringway.log").contains("\"GET /one ")
    });
    assert!(!read("ringway_warn.log").contains("GET"));

    let kept = format!("{logs}/ringway.log.1");
    std::fs::rename(format!("{logs}/ringway.log"), &kept).unwrap();
    rsyslog.signal(nix::sys::signal::Signal::SIGHUP);
    let mut n = 0;
    until("a new file is begun", || {
        n += 1;
        assert_eq!(request(&format!("/two{n}")), 200);
        read("ringway.log").contains("\"GET /two")
    });
    daemon.signal(nix::sys::signal::Signal::SIGUSR1);
    until("the second file has what is grave", || {
        read("ringway_warn.log").contains("Proxy web stopped")
    });
    assert!(read("ringway.log.1").contains("\"GET /one "));
    assert!(!read("rest").contains("ringway["), "{}", read("rest"));
}

/// Runs the package's trial `how` on a machine of its own and shows its steps.
fn trial(how: &str, package: &str) {
    let dir = TempDir::new();
    let mount = dir.subdir("machine");
    let here = |name: &str| {
        let path = format!("{}/tests/e2e/package/{name}", env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
    };
    let script = dir.write("trial", &(here("common") + &here(&format!("with-{how}"))));
    let mut root = Command::new(format!(
        "{}/tests/e2e/package/root",
        env!("CARGO_MANIFEST_DIR")
    ));
    let (code, said) = fed(root.args([&mount, package, &script, how]), "");
    assert_eq!(code, Some(0), "{said}");
    let ended = said.lines().last() == Some("the end");
    assert!(ended && !said.contains("NOT ok"), "{said}");
}

// Debian package: on a machine with systemd as process 1, and on one without
#[test]
fn the_package_installs_starts_reloads_and_leaves_nothing() {
    if on_haproxy() {
        return;
    }
    let dir = TempDir::new();
    let package = dir.file("ringway.deb");
    let mut deb = Command::new(format!("{}/scripts/deb", env!("CARGO_MANIFEST_DIR")));
    let has_tool = Command::new("cargo").args(["deb", "--version"]).output();
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/cargo-deb/bin/cargo-deb");
    if !full() && !own.exists() && !has_tool.is_ok_and(|out| out.status.success()) {
        // scripts/test gets it for the full run.
        println!("cargo-deb is not installed: nothing tried");
        return;
    }
    let (code, said) = fed(deb.args(["--as-built", "--output", &package]), "");
    assert_eq!(code, Some(0), "{said}");
    trial("init", &package);
    trial("systemd", &package);
}
