//! `ringway demo`: three origins in this process, a balancer over them in a child, and its counters live.
//!
//! The balancer is the same program with a generated configuration, started as an operator would
//! start it. Everything is on loopback, in a directory of its own that goes with the demo.

mod origins;
mod table;

use std::ffi::OsString;
use std::io::{self, IsTerminal, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use clap::{CommandFactory, Parser};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;
use std::os::fd::AsFd;

/// Runs a balancer over three origins, all on loopback, and shows its counters.
#[derive(Debug, Parser)]
#[command(name = "ringway demo", bin_name = "ringway demo")]
struct Options {
    /// End after this many seconds; 0 runs until Ctrl-C
    #[arg(long, default_value_t = 0)]
    seconds: u64,
    /// Port of the balancer; 0 takes a free one
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Only your own connections, none of the demo's
    #[arg(long)]
    no_traffic: bool,
}

/// Names of the origins, and of the servers in the configuration.
const NAMES: [&str; 3] = ["anna", "bert", "cleo"];
/// Longest wait for the balancer to listen and to leave.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) fn describe() -> clap::Command {
    Options::command()
}

/// Runs the demo; `words` are those after `demo`.
pub fn main(words: impl Iterator<Item = OsString>) -> ExitCode {
    let words = std::iter::once(OsString::from("ringway demo")).chain(words);
    let options = match Options::try_parse_from(words) {
        Ok(options) => options,
        Err(error) => {
            // Help goes to stdout with status 0, mistakes to stderr.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(1));
        }
    };
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ringway demo: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> io::Result<()> {
    let mut ends = SigSet::empty();
    ends.add(Signal::SIGINT);
    ends.add(Signal::SIGTERM);
    ends.thread_block()?;
    let signals = SignalFd::with_flags(&ends, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;

    let ports = NAMES
        .map(origins::start)
        .into_iter()
        .collect::<io::Result<Vec<u16>>>()?;
    let port = if options.port == 0 {
        free_port()?
    } else {
        options.port
    };
    let place = Place::new()?;
    std::fs::write(place.config(), configuration(&place, port, &ports))?;
    let mut balancer = Balancer::start(&place, port)?;
    if !options.no_traffic {
        origins::visit(port);
    }
    print!("{}", invitation(&place, port));
    io::stdout().flush()?;
    let result = watch(options, &place, &signals, &mut balancer);
    balancer.stop();
    println!("\nStopped.");
    result
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port())
}

/// A directory of our own, removed at the end.
struct Place(PathBuf);

impl Place {
    fn new() -> io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt;
        let dir = std::env::temp_dir().join(format!("ringway-demo-{}", std::process::id()));
        // Fails if somebody was there first: nothing is written into a directory of others.
        std::fs::DirBuilder::new().mode(0o700).create(&dir)?;
        Ok(Self(dir))
    }
    fn config(&self) -> PathBuf {
        self.0.join("demo.cfg")
    }
    fn admin(&self) -> PathBuf {
        self.0.join("admin.sock")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn configuration(place: &Place, port: u16, ports: &[u16]) -> String {
    let mut text = format!(
        "global\n  quiet\n  maxconn 1000\n  stats socket {} level admin\n\n\
         defaults\n  mode http\n  timeout connect 2s\n  timeout client 1m\n  timeout server 1m\n\n\
         frontend demo\n  bind 127.0.0.1:{port}\n  stats uri /stats\n  stats refresh 5s\n  stats admin if LOCALHOST\n\
         \x20 acl teapot path_beg /coffee\n  http-request return status 418 content-type text/plain string \"tea only\" if teapot\n\
         \x20 use_backend anna if {{ path_beg /anna }}\n  default_backend origins\n\n\
         backend anna\n  http-request set-path /\n  server anna 127.0.0.1:{}\n\n\
         backend origins\n  balance roundrobin\n  cookie DEMO insert indirect nocache\n  option forwardfor\n  option httpchk GET /\n",
        place.admin().display(),
        ports[0]
    );
    for (name, port) in NAMES.iter().zip(ports) {
        text.push_str(&format!(
            "  server {name} 127.0.0.1:{port} cookie {name} check inter 1s\n"
        ));
    }
    text
}

fn invitation(place: &Place, port: u16) -> String {
    let (config, admin) = (place.config(), place.admin());
    let (config, admin) = (config.display(), admin.display());
    format!(
        "A balancer serves on 127.0.0.1:{port}. Its configuration: {config}\n\n\
         Try, in another terminal:\n\
         \x20 curl http://127.0.0.1:{port}/                      one origin after the other answers\n\
         \x20 curl -ib DEMO=bert http://127.0.0.1:{port}/        the cookie names its server\n\
         \x20 curl -i http://127.0.0.1:{port}/anna/x             sent elsewhere by its path\n\
         \x20 curl -i http://127.0.0.1:{port}/coffee             answered by a rule\n\
         \x20 curl -so /dev/null http://127.0.0.1:{port}/bulk    256 MB, spliced\n\
         \x20 a browser at http://127.0.0.1:{port}/stats         the statistics page, with its actions\n\
         \x20 a browser at http://127.0.0.1:{port}/stats;live    the last minutes, drawn\n\
         \x20 echo 'disable server origins/bert' | socat - {admin}   (or: nc -U {admin})\n\
         \x20 echo 'show stat' | socat - {admin}\n\
         Ctrl-C ends it.\n\n"
    )
}

// ---------------------------------------------------------------- balancer

/// The child that balances.
struct Balancer {
    child: Child,
}

impl Balancer {
    fn start(place: &Place, port: u16) -> io::Result<Self> {
        let child = Command::new(std::env::current_exe()?)
            .args(["-db", "-f"])
            .arg(place.config())
            .stdin(Stdio::null())
            // A group of its own: Ctrl-C reaches us alone, and we tell it to leave.
            .process_group(0)
            .spawn()?;
        let mut balancer = Self { child };
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            if let Some(status) = balancer.child.try_wait()? {
                return Err(io::Error::other(format!(
                    "the balancer did not start: {status}"
                )));
            }
            if Instant::now() > until {
                balancer.stop();
                return Err(io::Error::other("the balancer does not listen"));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(balancer)
    }

    /// SIGTERM, and what it takes if that is not enough.
    fn stop(&mut self) {
        if let Ok(pid) = i32::try_from(self.child.id()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        let until = Instant::now() + PATIENCE;
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() > until {
                let _ = self.child.kill();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.stop();
    }
}

// ---------------------------------------------------------------- live counters

fn watch(
    options: &Options,
    place: &Place,
    signals: &SignalFd,
    balancer: &mut Balancer,
) -> io::Result<()> {
    let live = io::stdout().is_terminal();
    let step = Duration::from_secs(if live { 1 } else { 3 });
    let begun = Instant::now();
    let end = (options.seconds > 0).then(|| begun + Duration::from_secs(options.seconds));
    let mut lines = 0;
    loop {
        let now = Instant::now();
        if end.is_some_and(|end| now >= end) {
            show(place, live, &mut lines)?;
            return Ok(());
        }
        let pause = end.map_or(step, |end| step.min(end - now));
        let ms = PollTimeout::try_from(pause.as_millis().max(1)).unwrap_or(PollTimeout::MAX);
        let mut fds = [PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        let _ = poll(&mut fds, ms);
        if signals.read_signal()?.is_some() {
            return Ok(());
        }
        if let Some(status) = balancer.child.try_wait()? {
            return Err(io::Error::other(format!(
                "the balancer ended by itself: {status}"
            )));
        }
        show(place, live, &mut lines)?;
    }
}

/// Shows the counters, on a terminal over the ones before.
fn show(place: &Place, live: bool, lines: &mut usize) -> io::Result<()> {
    let (stat, activity) = (ask(place, "show stat")?, ask(place, "show activity")?);
    let text = if live {
        table::table(&stat, &activity)
    } else {
        table::line(&stat, &activity)
    };
    let mut out = io::stdout().lock();
    if live && *lines > 0 {
        write!(out, "\x1b[{lines}A\x1b[J")?;
    }
    *lines = text.lines().count();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// One command on the admin socket.
fn ask(place: &Place, command: &str) -> io::Result<String> {
    fn talk(path: &Path, command: &str) -> io::Result<String> {
        let mut socket = UnixStream::connect(path)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        writeln!(socket, "{command}")?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer)?;
        Ok(answer)
    }
    talk(&place.admin(), command)
        .map_err(|e| io::Error::other(format!("the admin socket does not answer: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Input, LoadInputs, load};

    #[test]
    fn the_configuration_of_the_demo_has_no_mistake() {
        let place = Place(PathBuf::from("/run/demo"));
        let text = configuration(&place, 8000, &[1, 2, 3]);
        let inputs = LoadInputs {
            inputs: vec![Input::Text {
                name: "demo.cfg".into(),
                bytes: text.into_bytes(),
            }],
            ..LoadInputs::default()
        };
        let loaded = load(&inputs);
        std::mem::forget(place);
        assert!(loaded.diags.list.is_empty(), "{:?}", loaded.diags.list);
        assert_eq!(loaded.config.expect("valid").servers.len(), 4);
    }
}
