//! The balancer as a process: started with a configuration, seen to listen, stopped by its pid.

use std::collections::HashSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::rc::Rc;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::net::Namespace;
use super::world::World;
use super::{Admin, PATIENCE, TempDir, balancer, within};

/// How a balancer is to be started.
pub(crate) struct Launch {
    program: PathBuf,
    config: String,
    args: Vec<String>,
    before: Vec<String>,
    env: Vec<(String, String)>,
    ports: Option<Vec<u16>>,
    dir: Rc<TempDir>,
}

/// What a process that ran to its end said, and how it ended.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    /// Standard output and standard error, in the order written.
    pub(crate) text: String,
}

impl Finished {
    #[track_caller]
    pub(crate) fn code(&self) -> i32 {
        self.status
            .code()
            .unwrap_or_else(|| panic!("ended by a signal: {self:?}"))
    }

    /// Lines that contain `text`.
    pub(crate) fn lines_with(&self, text: &str) -> Vec<&str> {
        self.text
            .lines()
            .filter(|line| line.contains(text))
            .collect()
    }
}

impl Launch {
    /// The balancer under test with `config` as its file; `@DIR@` in it stands for the directory of
    /// this start.
    pub(crate) fn new(config: &str) -> Self {
        Self::of(balancer(), config)
    }

    /// Any program that takes haproxy's command line.
    pub(crate) fn of(program: PathBuf, config: &str) -> Self {
        Self {
            program,
            config: config.to_owned(),
            args: Vec::new(),
            before: Vec::new(),
            env: Vec::new(),
            ports: None,
            dir: Rc::new(TempDir::new()),
        }
    }

    pub(crate) fn arg(mut self, arg: &str) -> Self {
        self.args.push(arg.to_owned());
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Ports that must listen before the balancer counts as started; by default those of the
    /// `bind` lines.
    pub(crate) fn ports(mut self, ports: &[u16]) -> Self {
        self.ports = Some(ports.to_vec());
        self
    }

    /// Words before the program: `prlimit --nofile=100`, say. The process they start must become
    /// the program by exec, so that its pid stays.
    pub(crate) fn under(mut self, words: &[&str]) -> Self {
        self.before
            .extend(words.iter().map(|&word| word.to_owned()));
        self
    }

    /// With a socket that already listens on `port` of 127.0.0.1 as descriptor 9, as systemd passes one.
    pub(crate) fn inheriting(self, port: u16) -> Self {
        let script = format!(
            "import os,socket,sys\ns=socket.socket();s.setsockopt(1,2,1);s.bind(('127.0.0.1',{port}));s.listen(512)\n\
             os.dup2(s.fileno(),9);os.set_inheritable(9,True);os.execvp(sys.argv[1],sys.argv[1:])"
        );
        self.under(&["python3", "-c", &script]).ports(&[port])
    }

    /// In the network namespace `ns`.
    pub(crate) fn in_net(self, ns: &Namespace) -> Self {
        self.under(&["ip", "netns", "exec", ns.name()])
    }

    /// In the file system `world`.
    pub(crate) fn in_world(self, world: &World) -> Self {
        let words = world.words();
        self.under(&words.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// The directory for files of this start: the configuration is written there as `cfg`.
    pub(crate) fn dir(&self) -> Rc<TempDir> {
        Rc::clone(&self.dir)
    }

    fn command(&self, mode: &[&str]) -> Command {
        let config = self
            .config
            .replace("@DIR@", self.dir.path().to_str().unwrap());
        let path = self.dir.write("cfg", &config);
        self.command_with(mode, Some(&path))
    }

    fn command_with(&self, mode: &[&str], config: Option<&str>) -> Command {
        let mut words = self.before.clone();
        words.push(self.program.to_str().unwrap().to_owned());
        words.extend(mode.iter().map(|&word| word.to_owned()));
        if let Some(path) = config {
            words.extend(["-f".to_owned(), path.to_owned()]);
        }
        words.extend(self.args.iter().cloned());
        let out = File::options()
            .create(true)
            .append(true)
            .open(self.dir.file("out"))
            .unwrap();
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).stdin(Stdio::null());
        command.stdout(out.try_clone().unwrap()).stderr(out);
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Starts in the foreground (`-db`) and waits until it listens.
    #[track_caller]
    pub(crate) fn start(self) -> Daemon {
        match self.try_start(&["-db"]) {
            Ok(daemon) => daemon,
            Err(finished) => panic!("it did not start: {finished:#?}"),
        }
    }

    /// Starts with the mode switches `mode` and waits for nothing.
    #[track_caller]
    pub(crate) fn spawn(self, mode: &[&str]) -> Daemon {
        let child = self.command(mode).spawn();
        let child = child.unwrap_or_else(|e| panic!("run {:?}: {e}", self.program));
        Daemon {
            pid: Pid::from_raw(child.id() as i32),
            child: Some(child),
            dir: Rc::clone(&self.dir),
        }
    }

    /// Starts in the foreground with the mode switches `mode`; an early end is an error.
    pub(crate) fn try_start(self, mode: &[&str]) -> Result<Daemon, Finished> {
        let mut child = self
            .command(mode)
            .spawn()
            .unwrap_or_else(|e| panic!("run {:?}: {e}", self.program));
        let pid = Pid::from_raw(child.id() as i32);
        let ports = self
            .ports
            .clone()
            .unwrap_or_else(|| bound_ports(&self.config));
        let mut early = None;
        let up = within(PATIENCE, || {
            early = child.try_wait().expect("a child of ours");
            early.is_some() || (!ports.is_empty() && ports.iter().all(|&port| listens(pid, port)))
        });
        let daemon = Daemon {
            pid,
            child: Some(child),
            dir: Rc::clone(&self.dir),
        };
        if let Some(status) = early {
            let text = daemon.output();
            return Err(Finished { status, text });
        }
        assert!(
            up,
            "ports {ports:?} do not listen; it says: {}",
            daemon.output()
        );
        Ok(daemon)
    }

    /// Starts as the configuration says (`daemon`), waits for the parent to return 0, and takes the
    /// pid from `pidfile`.
    #[track_caller]
    pub(crate) fn start_daemon(self, pidfile: &str) -> Daemon {
        let dir = Rc::clone(&self.dir);
        let finished = self.run();
        assert_eq!(finished.code(), 0, "the parent says: {}", finished.text);
        Daemon::from_pidfile(pidfile, dir)
    }

    /// Runs to its end with the arguments given and the configuration as `-f`; bounded.
    #[track_caller]
    pub(crate) fn run(self) -> Finished {
        let command = self.command(&[]);
        self.finish(command)
    }

    /// Runs `-c`.
    #[track_caller]
    pub(crate) fn check(self) -> Finished {
        self.arg("-c").run()
    }

    /// Runs without `-f` but with the arguments given.
    #[track_caller]
    pub(crate) fn run_bare(self) -> Finished {
        let command = self.command_with(&[], None);
        self.finish(command)
    }

    #[track_caller]
    fn finish(&self, mut command: Command) -> Finished {
        let mut child = command
            .spawn()
            .unwrap_or_else(|e| panic!("run {:?}: {e}", self.program));
        let mut status = None;
        let ended = within(PATIENCE, || {
            status = child.try_wait().expect("a child of ours");
            status.is_some()
        });
        if !ended {
            let _ = child.kill();
            let _ = child.wait();
        }
        let text = std::fs::read_to_string(self.dir.file("out")).unwrap_or_default();
        Finished {
            status: status.unwrap_or_else(|| panic!("it did not end; it says: {text}")),
            text,
        }
    }
}

/// A running balancer. Stopped on drop.
pub(crate) struct Daemon {
    pub(crate) pid: Pid,
    /// None when it went into the background by itself.
    child: Option<Child>,
    pub(crate) dir: Rc<TempDir>,
}

impl Daemon {
    /// Starts the balancer under test with `config`.
    #[track_caller]
    pub(crate) fn start(config: &str) -> Self {
        Launch::new(config).start()
    }

    /// The process whose pid is the first line of `pidfile`.
    #[track_caller]
    pub(crate) fn from_pidfile(pidfile: &str, dir: Rc<TempDir>) -> Self {
        let text = std::fs::read_to_string(pidfile).unwrap_or_else(|e| panic!("{pidfile}: {e}"));
        let number = text
            .lines()
            .next()
            .and_then(|line| line.trim().parse().ok());
        let pid = Pid::from_raw(number.unwrap_or_else(|| panic!("{pidfile} holds {text:?}")));
        Self {
            pid,
            child: None,
            dir,
        }
    }

    /// What it wrote to standard output and error so far.
    pub(crate) fn output(&self) -> String {
        std::fs::read_to_string(self.dir.file("out")).unwrap_or_default()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid, signal).expect("the balancer takes signals");
    }

    /// Halts all its threads. The signal alone only asks for it: a thread on another core goes on
    /// for a while.
    #[track_caller]
    pub(crate) fn halt(&self) {
        self.signal(Signal::SIGSTOP);
        let halted = within(Duration::from_secs(5), || {
            let tasks = std::fs::read_dir(format!("/proc/{}/task", self.pid));
            tasks.into_iter().flatten().flatten().all(|task| {
                let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
                let state = stat
                    .rsplit(") ")
                    .next()
                    .and_then(|rest| rest.chars().next());
                matches!(state, Some('T' | 't'))
            })
        });
        assert!(halted, "{} does not halt", self.pid);
    }

    pub(crate) fn alive(&mut self) -> bool {
        match &mut self.child {
            Some(child) => matches!(child.try_wait(), Ok(None)),
            None => running(self.pid),
        }
    }

    /// Waits until it ends by itself, at most `limit`; None when it is still there. A daemon's exit
    /// status is not ours to see and reads as 0.
    pub(crate) fn ended_within(&mut self, limit: Duration) -> Option<ExitStatus> {
        match &mut self.child {
            Some(child) => {
                let mut status = None;
                within(limit, || {
                    status = child.try_wait().ok().flatten();
                    status.is_some()
                });
                status
            }
            None => within(limit, || !running(self.pid)).then(ExitStatus::default),
        }
    }

    /// The file `name` in its directory.
    pub(crate) fn file(&self, name: &str) -> String {
        self.dir.file(name)
    }

    /// Number of open descriptors.
    pub(crate) fn fds(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid)).map_or(0, Iterator::count)
    }

    /// A line of `/proc/PID/status`, without its name.
    #[track_caller]
    pub(crate) fn proc_status(&self, name: &str) -> String {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_else(|| panic!("no {name} in {text}"))
            .trim()
            .to_owned()
    }

    /// The admin socket at `name` in its directory.
    pub(crate) fn admin(&self) -> Admin {
        Admin::Unix(self.file("admin"))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "--- the balancer (pid {}) said:\n{}---",
                self.pid,
                self.output()
            );
        }
        if self.alive() {
            let _ = kill(self.pid, Signal::SIGTERM);
            if self.ended_within(Duration::from_secs(3)).is_none() {
                let _ = kill(self.pid, Signal::SIGKILL);
                let _ = self.ended_within(Duration::from_secs(3));
            }
        }
    }
}

/// Whether `pid` is a process that has not ended; a zombie has.
pub(crate) fn running(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')')
        .is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}

/// Whether `pid` itself holds a listening TCP socket on `port`.
pub(crate) fn listens(pid: Pid, port: u16) -> bool {
    let held = sockets_of(pid);
    listening(&format!("/proc/{pid}/net"))
        .iter()
        .any(|(p, inode)| *p == port && held.contains(inode))
}

/// Number of listening sockets that `pid` holds on `port`.
pub(crate) fn listeners(pid: Pid, port: u16) -> usize {
    let held = sockets_of(pid);
    listening(&format!("/proc/{pid}/net"))
        .iter()
        .filter(|(p, inode)| *p == port && held.contains(inode))
        .count()
}

fn sockets_of(pid: Pid) -> HashSet<String> {
    let Ok(fds) = std::fs::read_dir(format!("/proc/{pid}/fd")) else {
        return HashSet::new();
    };
    let links = fds.filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok());
    let inode = |link: PathBuf| {
        Some(
            link.to_str()?
                .strip_prefix("socket:[")?
                .strip_suffix(']')?
                .to_owned(),
        )
    };
    links.filter_map(inode).collect()
}

/// Port and inode of every listening TCP socket of a network namespace.
fn listening(net: &str) -> Vec<(u16, String)> {
    let mut found = Vec::new();
    for table in ["tcp", "tcp6"] {
        let text = std::fs::read_to_string(Path::new(net).join(table)).unwrap_or_default();
        for line in text.lines().skip(1) {
            let cells: Vec<_> = line.split_ascii_whitespace().collect();
            let port = cells
                .get(1)
                .and_then(|local| u16::from_str_radix(local.rsplit_once(':')?.1, 16).ok());
            if let (Some(port), Some(&"0A"), Some(inode)) = (port, cells.get(3), cells.get(9)) {
                found.push((port, (*inode).to_owned()));
            }
        }
    }
    found
}

/// Ports of the `bind` lines with a plain `address:port` each.
fn bound_ports(config: &str) -> Vec<u16> {
    let binds = config
        .lines()
        .filter_map(|line| line.trim().strip_prefix("bind "));
    let addresses = binds.filter_map(|line| line.split_ascii_whitespace().next());
    let each = addresses.flat_map(|list| list.split(','));
    each.filter(|a| !a.starts_with("fd@") && !a.starts_with('/'))
        .filter_map(|a| a.rsplit_once(':')?.1.parse().ok())
        .collect()
}
