//! From the command line to shards that serve, in an order that disturbs nobody before it is
//! certain: read the configuration, compute limits, bind everything, open the pid file, let all
//! sockets listen, fork, control thread, chroot, user, shards, pid file, farewell to old processes.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_getaffinity};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::{Pid, geteuid, setsid};

use super::args::{Args, Farewell};
use super::bind::{self, BindError, Bound, Manner};
use super::limits::{self, Needs};
use super::look;
use super::master::cli::{self, Door};
use super::master::{self, FromMaster};
use super::old::Old;
use super::pidfile::PidFile;
use super::signals::{self, Watch};
use super::takeover::Taken;
use super::{privileges, say, version, worker};
use crate::config::{BindAddress, Config, Input, LoadInputs, Loaded, load};
use crate::control::{self, ControlSetup};
use crate::io::sys::process::{self, Fork};
use crate::io::sys::{localtime, net};
use crate::io::uring::UringKernel;
use crate::lang::diag::{Banner, Form, RenderOptions, Severity};
use crate::lang::env::Env;
use crate::lang::source::Sources;
use crate::observe::stats::Facts;
use crate::proxy::external;
use crate::proxy::logs::LogOutputs;
use crate::shard::{PollerKind, ShardSetup};
use crate::shared::Shared;

/// Attempts at an address that an old process still holds, and the pause between them (haproxy's).
const BIND_TRIES: u32 = 200;
const BIND_PAUSE: Duration = Duration::from_millis(10);

/// Reloads after which an old worker is ended (haproxy 3.4's).
const MAX_RELOADS: u32 = 50;

/// The start is over before it served; what had to be said was said.
struct Refused(u8);

type Step<T> = Result<T, Refused>;

fn refused() -> Refused {
    Refused(1)
}

/// Checks or runs; comes back when the process may end.
pub fn run(args: &Args, program: &str) -> ExitCode {
    let start = Start {
        args,
        program,
        begun: Instant::now(),
    };
    match start.run() {
        Ok(code) => code,
        Err(Refused(code)) => ExitCode::from(code),
    }
}

struct Start<'a> {
    args: &'a Args,
    program: &'a str,
    begun: Instant,
}

/// A configuration and where it came from.
struct Checked {
    config: Config,
    sources: Sources,
    shards: usize,
    warnings: u64,
}

/// What the process may use.
struct Fit {
    maxconn: u32,
    ulimit_n: u64,
    maxsock: u64,
    pipes: usize,
}

impl Start<'_> {
    fn run(&self) -> Step<ExitCode> {
        say::set_quiet(self.args.quiet && !self.args.verbose);
        let parent = FromMaster::take()
            .map_err(|e| self.fail(&format!("Cannot reach the master: {}", bind::reason(&e))))?;
        if let Some(pipe) = parent
            .as_ref()
            .and_then(|parent| parent.ready.try_clone().ok())
        {
            say::to_master(pipe);
        }
        let dir = std::env::current_dir().unwrap_or_default();
        self.change_dir()?;
        let loaded = self.load(parent.is_some());
        let global = loaded.config.as_ref().map(|config| &config.global);
        if parent.is_none()
            && !self.args.check
            && (self.args.master || global.is_some_and(|global| global.master_worker))
        {
            return self.master(loaded.config.as_ref(), dir);
        }
        for notice in &self.args.notices {
            say::notice(notice);
        }
        let mut read = self.read(loaded)?;
        if self.args.check {
            return Ok(self.checked(&read));
        }
        if !read.config.has_listeners() {
            return Err(
                self.fail("No enabled listener found (check for 'bind' directives) ! Exiting.")
            );
        }
        if self.args.quiet || read.config.global.quiet {
            say::set_quiet(!self.args.verbose);
        }
        let daemon = parent.is_none() && self.daemon(&read.config);
        let fit = self.fit(&read)?;
        read.config.global.maxconn = Some(fit.maxconn);
        read.config.global.nosplice |= self.args.no_splice;
        self.warn_of_root(&read.config);
        let poller = self.poller()?;
        self.limit_memory()?;
        let mut old = match parent.as_ref().filter(|parent| !parent.first) {
            Some(parent) => Old::new(&parent.old, libc::SIGUSR1),
            None => Old::new(&self.args.old_pids, self.farewell_signal()),
        };
        let taken = self.take_over(&read.config, &old, parent.as_ref())?;
        let mut bound = self.bind(&read, &mut old, &taken)?;
        // What nobody listens for any more ends with the old process.
        drop(taken);
        let pidfile = match parent {
            Some(_) => None,
            None => self.pidfile(&read.config, daemon)?,
        };
        // What would fail after listening is looked at before.
        privileges::possible(&read.config.global).map_err(|text| self.fail(&text))?;
        bound
            .listen(&read.config, &read.sources)
            .map_err(|errors| self.bind_failed(&errors))?;
        let logs = LogOutputs::open(&read.config);
        let worker = Worker {
            start: self,
            read,
            fit,
            poller,
            bound,
            pidfile,
            old,
            logs,
        };
        match parent {
            Some(parent) => worker.serve(Parent::Master(parent)),
            None if daemon => worker.behind(),
            None => worker.serve(Parent::Nobody),
        }
    }

    /// Becomes the master of workers. What the configuration says of the master is read from `config`; whether it is
    /// right, the first worker tells.
    fn master(&self, config: Option<&Config>, dir: PathBuf) -> Step<ExitCode> {
        let mut daemon = config.map_or(self.args.daemon && !self.args.foreground, |c| {
            self.daemon(c)
        });
        if daemon && self.args.notify {
            self.warn("'daemon' has no effect with '-Ws': systemd wants to see the master itself.");
            daemon = false;
        }
        let pidfile = match config {
            Some(config) => self.pidfile(config, daemon)?,
            None => None,
        };
        let doors = self.master_doors()?;
        let name = Path::new(self.program);
        let program = if name.components().count() > 1 {
            dir.join(name)
        } else {
            std::env::current_exe().unwrap_or_else(|_| name.to_owned())
        };
        let global = config.map(|config| &config.global);
        let manner = master::Manner {
            program,
            name: self.program.to_owned(),
            words: std::env::args_os().skip(1).collect(),
            dir,
            notify: self.args.notify,
            max_reloads: global
                .and_then(|global| global.mworker_max_reloads)
                .unwrap_or(MAX_RELOADS),
            exit_on_failure: !global.is_some_and(|global| global.no_exit_on_failure),
            doors,
        };
        let failed = |what: &str, e: std::io::Error| {
            self.fail(&format!("Cannot {what}: {}", bind::reason(&e)))
        };
        if !daemon {
            let master = master::Master::new(manner).map_err(|e| failed("read signals", e))?;
            return Ok(master.run(pidfile, || {}));
        }
        fork_and_wait(failed, |mut ready| {
            let _ = setsid();
            let master = master::Master::new(manner).map_err(|e| failed("read signals", e))?;
            Ok(master.run(pidfile, move || {
                leave_terminal(null_device());
                master::tell_ready(&mut ready);
            }))
        })
    }

    /// The master's own admin sockets (`-S`), read as a `stats socket` line of which commas part the words.
    fn master_doors(&self) -> Step<Vec<Door>> {
        if self.args.master_sockets.is_empty() {
            return Ok(Vec::new());
        }
        for text in cli::without_effect(&self.args.master_sockets) {
            say::warning(&text);
        }
        let loaded = load(&LoadInputs {
            inputs: vec![Input::Text {
                name: "-S".to_owned(),
                bytes: cli::as_section(&self.args.master_sockets).into_bytes(),
            }],
            env: environment(),
            ..LoadInputs::default()
        });
        self.show(&loaded);
        let config = loaded.config.ok_or_else(refused)?;
        let manner = Manner {
            shards: 1,
            reuseport: false,
        };
        let none = Taken::default();
        let mut bound = bind::bind_all(&config, &loaded.sources, manner, &none)
            .map_err(|errors| self.bind_failed(&errors))?;
        bound
            .listen(&config, &loaded.sources)
            .map_err(|errors| self.bind_failed(&errors))?;
        let doors = bound.take_admin().into_iter();
        let sockets = &config.global.stats_sockets;
        Ok(doors
            .map(|(fd, index)| Door::new(fd, &sockets[index]))
            .collect())
    }

    /// Says `text` after haproxy's prefix, for an exit status of 1.
    fn fail(&self, text: &str) -> Refused {
        say::alert(&format!("[{}.main()] {text}", self.program));
        refused()
    }

    fn warn(&self, text: &str) {
        say::warning(&format!("[{}.main()] {text}", self.program));
    }

    fn change_dir(&self) -> Step<()> {
        let Some(dir) = &self.args.dir else {
            return Ok(());
        };
        std::env::set_current_dir(dir).map_err(|e| {
            say::alert(&format!(
                "Could not change to directory {} : {}",
                dir.display(),
                bind::reason(&e)
            ));
            refused()
        })
    }

    // ------------------------------------------------------------ configuration

    /// Reads the files; says nothing yet. `worker`: for a worker of a master.
    fn load(&self, worker: bool) -> Loaded {
        load(&look::inputs(self.args, worker))
    }

    fn read(&self, loaded: Loaded) -> Step<Checked> {
        let default_shards = allowed_cpus().len().max(1);
        self.show(&loaded);
        let warnings = loaded.diags.list.iter();
        let warnings = warnings.filter(|d| d.severity == Severity::Warning).count() as u64;
        let Loaded {
            config: Some(config),
            sources,
            ..
        } = loaded
        else {
            return Err(refused());
        };
        let shards = config
            .global
            .nbthread
            .map_or(default_shards, |n| n.max(1) as usize);
        Ok(Checked {
            config,
            sources,
            shards,
            warnings,
        })
    }

    fn show(&self, loaded: &Loaded) {
        let quiet = loaded.config.as_ref().is_some_and(|c| c.global.quiet) && !self.args.verbose;
        if quiet || say::is_quiet() {
            return;
        }
        let options = RenderOptions {
            color: false,
            quiet_warnings: false,
            diag: self.args.diagnostics,
            banner: say::banner_pending().then(|| Banner {
                name: "haproxy".to_owned(),
                version: version::full(),
                path: std::env::current_exe()
                    .map_or_else(|_| self.program.to_owned(), |p| p.display().to_string()),
            }),
        };
        say::raw(
            &loaded
                .diags
                .render(&loaded.sources, std::process::id(), &options),
        );
        if loaded
            .diags
            .list
            .iter()
            .any(|d| d.severity >= Severity::Warning)
        {
            say::start_is_over();
        }
        let parsing = |f: Form| matches!(f, Form::Parsing | Form::ParsingTight);
        let alerts = || {
            loaded
                .diags
                .list
                .iter()
                .filter(|d| d.severity == Severity::Alert)
        };
        if alerts().any(|d| parsing(d.form) && d.span.is_some()) {
            let mut files: Vec<_> = alerts().filter_map(|d| d.span.map(|s| s.file)).collect();
            files.dedup();
            for file in files.into_iter().filter_map(|id| loaded.sources.get(id)) {
                say::alert(&format!(
                    "config : Error(s) found in configuration file : {}",
                    file.name
                ));
            }
            say::alert("config : Fatal errors found in configuration.");
        }
    }

    /// `-c`: silent on success unless `-V`, as 3.4.
    fn checked(&self, read: &Checked) -> ExitCode {
        if !read.config.has_listeners() {
            say::out(
                "Configuration file has no error but will not start (no listener) => exit(2).\n",
            );
            return ExitCode::from(2);
        }
        if self.args.verbose {
            say::out("Configuration file is valid\n");
        }
        ExitCode::SUCCESS
    }

    fn daemon(&self, config: &Config) -> bool {
        let foreground = self.args.foreground || self.args.debug || config.global.debug;
        !foreground && (self.args.daemon || config.global.daemon)
    }

    /// 3.4 says so since running as root is seldom meant; `chroot /` and `user root` silence it.
    fn warn_of_root(&self, config: &Config) {
        if !geteuid().is_root() {
            return;
        }
        if config.global.chroot.is_none() {
            self.warn("started as root without 'chroot' in the global section: all files stay within reach ('chroot /' says that this is meant).");
        }
        if config.global.uid.is_none() {
            self.warn("started as root without 'user' or 'uid' in the global section: it goes on as root ('user root' says that this is meant).");
        }
    }

    // ------------------------------------------------------------ limits

    fn fit(&self, read: &Checked) -> Step<Fit> {
        let global = &read.config.global;
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)
            .map_err(|e| self.fail(&format!("Cannot read the FD limit: {}", e.desc())))?;
        let usable = limits::usable_fds(hard, global.fd_hard_limit);
        let pipes = limits::pipes(&read.config, self.args.no_splice, usable);
        let needs = Needs::of(&read.config, read.shards, pipes);
        let plan = limits::plan(&needs, global.maxconn, global.ulimit_n, usable);
        let have = if soft >= plan.ask && !plan.exact {
            soft
        } else {
            limits::raise(Resource::RLIMIT_NOFILE, plan.ask, soft, hard)
        };
        limits::raise_memlock();
        let mut fit = Fit {
            maxconn: u32::try_from(plan.maxconn).unwrap_or(u32::MAX),
            ulimit_n: have,
            maxsock: plan.need,
            pipes: usize::try_from(pipes).unwrap_or(usize::MAX),
        };
        if have < plan.need.max(global.ulimit_n.unwrap_or(0)) {
            self.too_few_fds(&mut fit, &needs, &plan, have, read)?;
        }
        if self.args.verbose && global.maxconn.is_none() {
            say::raw(&format!(
                "Note: setting global.maxconn to {}.\n",
                fit.maxconn
            ));
        }
        Ok(fit)
    }

    /// The limit cannot be raised: what fits is served, with a warning, unless `strict-limits` forbids that.
    fn too_few_fds(
        &self,
        fit: &mut Fit,
        needs: &Needs,
        plan: &limits::Plan,
        have: u64,
        read: &Checked,
    ) -> Step<()> {
        let need = plan.need.max(plan.ask);
        if read.config.global.strict_limits == Some(true) {
            return Err(self.fail(&format!(
                "Cannot raise FD limit to {need}, limit is {have}."
            )));
        }
        let fits = needs.maxconn_within(have).min(plan.maxconn);
        fit.maxconn = u32::try_from(fits).unwrap_or(u32::MAX);
        fit.maxsock = needs.total(fits);
        let lowered = if fits < plan.maxconn {
            format!("maxconn lowered from {} to {fits}", plan.maxconn)
        } else {
            format!("enough for maxconn {fits}")
        };
        self.warn(&format!(
            "Cannot raise FD limit to {need}, limit is {have}: {lowered}. Please raise 'ulimit-n' and the hard limit to {need} or more to avoid any trouble."
        ));
        Ok(())
    }

    /// `-m`: haproxy's meaning, the address space of the process.
    fn limit_memory(&self) -> Step<()> {
        let Some(mb) = self.args.memory_mb else {
            return Ok(());
        };
        let bytes = mb << 20;
        setrlimit(Resource::RLIMIT_AS, bytes, bytes)
            .map_err(|e| self.fail(&format!("Cannot fix MEM limit to {mb} megs: {}.", e.desc())))
    }

    fn poller(&self) -> Step<PollerKind> {
        let poller = self.choose_poller()?;
        if self.args.verbose || self.args.debug {
            let name = poller_name(poller);
            say::raw(&format!("Using {name} as the polling mechanism.\n"));
        }
        Ok(poller)
    }

    fn choose_poller(&self) -> Step<PollerKind> {
        match uring_works() {
            Ok(()) => Ok(PollerKind::IoUring),
            Err(why) if self.args.no_epoll => Err(self.fail(&format!(
                "io_uring cannot be used ({why}), and '-de' forbids epoll."
            ))),
            Err(why) => {
                say::notice(&format!("io_uring cannot be used ({why}): epoll serves."));
                Ok(PollerKind::Epoll)
            }
        }
    }

    // ------------------------------------------------------------ sockets and files

    fn bind(&self, read: &Checked, old: &mut Old, taken: &Taken) -> Step<Bound> {
        let manner = Manner {
            shards: read.shards,
            reuseport: !self.args.no_reuseport,
        };
        // What old processes gave away is theirs as well: a pause would end it for both. Then an address that is
        // busy is somebody else's.
        let may_pause = !old.is_empty() && taken.is_empty();
        for _ in 1..BIND_TRIES {
            match bind::bind_all(&read.config, &read.sources, manner, taken) {
                Ok(bound) => return Ok(bound),
                Err(errors) if !may_pause || !errors.iter().all(|e| e.busy) => {
                    return Err(self.bind_failed(&errors));
                }
                // Old processes may hold the port in a way that cannot be shared: they let go meanwhile.
                Err(_) => {
                    old.pause();
                    std::thread::sleep(BIND_PAUSE);
                }
            }
        }
        bind::bind_all(&read.config, &read.sources, manner, taken)
            .map_err(|errors| self.bind_failed(&errors))
    }

    /// The listening sockets of the process before this one: of that behind `-x`, else of that which is to leave, if it
    /// offers them where this configuration does.
    fn take_over(&self, config: &Config, old: &Old, parent: Option<&FromMaster>) -> Step<Taken> {
        if let Some(parent) = parent.filter(|parent| !parent.first) {
            // The one before may have ended: then there is nothing to take.
            let before = parent
                .before
                .as_ref()
                .and_then(|stream| stream.try_clone().ok());
            let taken = before.map(|stream| self.given(Taken::over(stream)));
            return Ok(taken.transpose()?.flatten().unwrap_or_default());
        }
        if let Some(path) = &self.args.takeover {
            // As haproxy: this says that there is none.
            if path == Path::new("/dev/null") {
                return Ok(Taken::default());
            }
            return Taken::from(path).map_err(|e| {
                say::warning(&format!(
                    "Failed to connect to the old process socket '{}' ({})",
                    path.display(),
                    bind::reason(&e)
                ));
                say::alert("Failed to get the sockets from the old process!");
                refused()
            });
        }
        if old.is_empty() {
            return Ok(Taken::default());
        }
        let offering = config.global.stats_sockets.iter().filter(|s| s.expose_fd);
        let paths = offering.filter_map(|socket| match &socket.address {
            BindAddress::Unix(path) => Some(path),
            _ => None,
        });
        for path in paths {
            if let Some(taken) = self.given(Taken::from(path))? {
                return Ok(taken);
            }
        }
        Ok(Taken::default())
    }

    /// What was given, if anything was. Without descriptors for all of it nobody would accept on the rest.
    fn given(&self, taken: std::io::Result<Taken>) -> Step<Option<Taken>> {
        match taken {
            Err(e) if e.raw_os_error() == Some(libc::EMFILE) => Err(self.fail(&format!(
                "Cannot take over the listening sockets: {}",
                bind::reason(&e)
            ))),
            taken => Ok(taken.ok()),
        }
    }

    fn bind_failed(&self, errors: &[BindError]) -> Refused {
        for error in errors {
            say::alert(&error.text);
            if let Some(help) = error.help {
                say::raw(&format!("       = help: {help}\n"));
            }
        }
        self.fail("Some protocols failed to start their listeners! Exiting.")
    }

    /// Opened while everything is visible and permitted; what an older process left stays until we serve.
    fn pidfile(&self, config: &Config, daemon: bool) -> Step<Option<PidFile>> {
        let configured = config.global.pidfile.as_ref().filter(|_| daemon);
        let Some(path) = self.args.pidfile.as_ref().or(configured) else {
            return Ok(None);
        };
        PidFile::open(path).map(Some).map_err(|e| {
            self.fail(&format!(
                "Cannot create pidfile {}: {}",
                path.display(),
                bind::reason(&e)
            ))
        })
    }

    /// What the admin sockets tell about the process.
    fn facts(&self, config: &Config, fit: &Fit, poller: PollerKind) -> Facts {
        Facts {
            name: "HAProxy".to_owned(),
            version: version::full(),
            release_date: version::RELEASED.to_owned(),
            node: config
                .global
                .node
                .clone()
                .or_else(look::host_name)
                .unwrap_or_default(),
            poller: poller_name(poller).to_owned(),
            control_poller: String::new(),
            startup_log: say::start_log(),
            env: environment_after(config),
            memory_max: self.args.memory_mb.unwrap_or(0) << 20,
            hard_maxconn: fit.maxconn,
            started: net::tick(),
            boot_ms: u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX),
        }
    }

    fn farewell_signal(&self) -> i32 {
        match self.args.farewell {
            Some(Farewell::Terminate) => libc::SIGTERM,
            _ => libc::SIGUSR1,
        }
    }
}

// ---------------------------------------------------------------- worker

/// Who waits for this process to serve.
enum Parent {
    Nobody,
    /// The process that was started, which leaves then.
    Shell(std::io::PipeWriter),
    Master(FromMaster),
}

/// Everything that serving needs, ready before a fork.
struct Worker<'a> {
    start: &'a Start<'a>,
    read: Checked,
    fit: Fit,
    poller: PollerKind,
    bound: Bound,
    pidfile: Option<PidFile>,
    old: Old,
    logs: LogOutputs,
}

impl Worker<'_> {
    /// In the background; the parent leaves once the child serves.
    fn behind(self) -> Step<ExitCode> {
        let start = self.start;
        let failed = |what: &str, e: std::io::Error| {
            start.fail(&format!("Cannot {what}: {}", bind::reason(&e)))
        };
        fork_and_wait(failed, |ready| self.serve(Parent::Shell(ready)))
    }

    fn serve(self, parent: Parent) -> Step<ExitCode> {
        let daemon = matches!(parent, Parent::Shell(_));
        // Opened before chroot hides it.
        let null = null_device();
        // `old` first: a start that fails has closed its sockets when it lets old processes go on.
        let Self {
            mut old,
            start,
            read,
            fit,
            poller,
            mut bound,
            pidfile,
            logs,
        } = self;
        let shards = read.shards;
        if daemon {
            // Cannot fail: a fresh child leads no group.
            let _ = setsid();
        }
        let signals = signals::block()
            .map_err(|e| start.fail(&format!("Cannot block signals: {}", e.desc())))?;
        let config = Arc::new(read.config);
        let shared = shared_cells(&config, shards, &fit, poller);
        shared.process.warnings.store(read.warnings, Relaxed);
        let sockets = bound.take_admin();
        let facts = start.facts(&config, &fit, poller);
        let (ready, channel, door, behind) = match parent {
            Parent::Nobody => (None, None, None, false),
            Parent::Shell(ready) => (Some(ready), None, None, true),
            Parent::Master(parent) => {
                let behind = start.daemon(&config) && !start.args.notify;
                (
                    Some(parent.ready),
                    Some(parent.channel),
                    Some(parent.door),
                    behind,
                )
            }
        };
        let control = control::spawn(ControlSetup {
            shared: Arc::clone(&shared),
            sockets,
            offered: bound.offered(&config),
            channel,
            door,
            logs: logs.clone(),
            facts: facts.clone(),
            poller: control::Wanted::Best,
        })
        .map_err(|e| {
            start.fail(&format!(
                "Cannot start the control thread: {}",
                bind::reason(&e)
            ))
        })?;
        let mut pipes = if privileges::will_drop(&config.global) {
            make_pipes(fit.pipes, config.global.tune.pipesize)
        } else {
            Vec::new()
        };
        privileges::drop_all(&config.global).map_err(|text| start.fail(&text))?;
        if daemon && config.global.chroot.is_none() {
            let _ = std::env::set_current_dir("/");
        }
        external::start(&config)
            .map_err(|e| start.fail(&format!("Cannot start a thread: {}", bind::reason(&e))))?;
        let cpus = placement(&config, shards);
        let setups = bound
            .by_shard(shards)
            .into_iter()
            .zip(cpus)
            .enumerate()
            .map(|(index, (listeners, cpus))| ShardSetup {
                index,
                cpus,
                shared: Arc::clone(&shared),
                poller,
                listeners,
                pipes: pipes.split_off(pipes.len() - pipes.len() / (shards - index)),
                pipes_max: share(fit.pipes, shards, index),
                logs: logs.clone(),
                facts: facts.clone(),
            });
        let setups: Vec<ShardSetup> = setups.collect();
        let mut workers = worker::spawn(setups)
            .map_err(|e| start.fail(&format!("Cannot start threads: {}", bind::reason(&e))))?;
        workers.all_up(&shared).map_err(|text| start.fail(&text))?;
        if let Some(file) = pidfile {
            file.write().map_err(|e| {
                start.fail(&format!("Cannot write the pidfile: {}", bind::reason(&e)))
            })?;
        }
        old.dismiss();
        // Not needed any more: handles of old processes, the text of the configuration.
        drop((old, read.sources));
        say::start_is_over();
        if behind {
            leave_terminal(null);
        }
        say::forget_master();
        if let Some(mut ready) = ready {
            master::tell_ready(&mut ready);
        }
        Ok(Watch::new(shared, signals, workers, logs, control).run())
    }
}

fn poller_name(poller: PollerKind) -> &'static str {
    match poller {
        PollerKind::IoUring => "io_uring",
        PollerKind::Epoll => "epoll",
    }
}

/// Servers begin in the states that files of a process before tell, if any.
fn restore_servers(shared: &Shared) {
    for file in &shared.config.server_states {
        let path = file.path.display();
        let backend = file.backends.first().map(|&id| shared.config.backend(id));
        let own = backend.filter(|_| file.own).map(|b| b.name.as_str());
        let text = match std::fs::read_to_string(&file.path) {
            Ok(text) => text,
            Err(why) => {
                let why = crate::config::reason(&why);
                say::warning(&match own {
                    Some(name) => format!(
                        "config : Proxy '{name}': Can't open server state file '{path}': {why}."
                    ),
                    None => format!(
                        "config : config: Can't open global server state file '{path}': {why}"
                    ),
                });
                continue;
            }
        };
        if !crate::backend::state_file::has_version(&text) {
            say::warning(&match own {
                Some(name) => format!(
                    "config : Proxy '{name}': Can't get version of the server state file '{path}'."
                ),
                None => format!(
                    "config : config: Can't get version of the global server state file '{path}'."
                ),
            });
            continue;
        }
        if let Some(number) = crate::backend::state_file::corrupted_at(&text) {
            say::warning(&match own {
                Some(name) => format!(
                    "config : Proxy '{name}': corrupted server state file '{path}' at line {number}."
                ),
                None => format!(
                    "config : config: corrupted global server state file '{path}' at line {number}."
                ),
            });
            continue;
        }
        for text in crate::backend::state_file::apply(shared, &file.backends, &text, net::tick()) {
            say::warning(&format!("config : {text}"));
        }
    }
}

/// Counters begin with those of a process before, if there is such a file.
fn restore_counters(shared: &Shared) {
    let Some(path) = &shared.config.stats_file else {
        return;
    };
    let shown = path.display();
    match std::fs::read_to_string(path) {
        Ok(text) => {
            for fault in crate::observe::stats::file::preload(shared, &text) {
                say::warning(&format!("config : stats-file '{shown}': {fault}."));
            }
        }
        Err(why) => say::warning(&format!(
            "config : Can't open stats-file '{shown}': {}.",
            crate::config::reason(&why)
        )),
    }
}

/// The cells of this process with what only the process knows.
fn shared_cells(config: &Arc<Config>, shards: usize, fit: &Fit, poller: PollerKind) -> Arc<Shared> {
    let shared = Arc::new(Shared::new(Arc::clone(config), shards));
    crate::backend::change::at_start(&shared);
    restore_servers(&shared);
    restore_counters(&shared);
    let process = &shared.process;
    process.pid.store(std::process::id(), Relaxed);
    process.maxconn.store(fit.maxconn, Relaxed);
    process.ulimit_n.store(fit.ulimit_n, Relaxed);
    process.maxsock.store(fit.maxsock, Relaxed);
    process.maxpipes.store(fit.pipes as u64, Relaxed);
    process
        .poller
        .store(u8::from(poller == PollerKind::Epoll), Relaxed);
    let tick_us = net::tick().0 * 1000;
    process
        .epoch_us
        .store(localtime::wall_us().saturating_sub(tick_us), Relaxed);
    shared
}

/// `total` shared out; the first shards get what is left over.
fn share(total: usize, shards: usize, index: usize) -> usize {
    total / shards + usize::from(index < total % shards)
}

/// Pipes made while privileged: a user may own only 64 of a megabyte (`pipe-user-pages-soft`). Stops at the
/// first that the kernel makes smaller.
fn make_pipes(count: usize, size: u32) -> Vec<(OwnedFd, OwnedFd, u32)> {
    let mut made = Vec::new();
    for _ in 0..count {
        match process::pipe(size) {
            Ok(pipe) if pipe.2 >= size => made.push(pipe),
            _ => break,
        }
    }
    made
}

/// CPUs of each shard: `cpu-map`, else one of those the process may use, in turn. With more shards than CPUs
/// they are not pinned.
fn placement(config: &Config, shards: usize) -> Vec<Vec<usize>> {
    let map = &config.global.cpu_map;
    let allowed = allowed_cpus();
    (0..shards)
        .map(|shard| match map.get(shard) {
            Some(cpus) if !cpus.is_empty() => cpus.clone(),
            _ if shards <= allowed.len() && map.is_empty() => vec![allowed[shard]],
            _ => Vec::new(),
        })
        .collect()
}

/// CPUs this process may run on, in order.
pub(super) fn allowed_cpus() -> Vec<usize> {
    let set = sched_getaffinity(Pid::from_raw(0)).unwrap_or_else(|_| CpuSet::new());
    (0..CpuSet::count())
        .filter(|&cpu| set.is_set(cpu).unwrap_or(false))
        .collect()
}

pub(super) fn environment() -> Env {
    let text = |s: std::ffi::OsString| s.into_string().ok();
    let all = std::env::vars_os().filter(|(name, _)| name != master::WORKER_ENV);
    Env::from_pairs(all.filter_map(|(n, v)| Some((text(n)?, text(v)?))))
}

/// Forks; the parent leaves once the child says that it serves, with the child's status if it does not.
fn fork_and_wait(
    failed: impl Fn(&str, std::io::Error) -> Refused,
    work: impl FnOnce(std::io::PipeWriter) -> Step<ExitCode>,
) -> Step<ExitCode> {
    let (mut ready, teller) = std::io::pipe().map_err(|e| failed("make a pipe", e))?;
    match process::fork().map_err(|e| failed("fork", e))? {
        Fork::Child => {
            drop(ready);
            work(teller)
        }
        Fork::Parent { child } => {
            drop(teller);
            let up = ready.read_exact(&mut [0]).is_ok();
            Ok(if up {
                // All that it holds is the child's now: nothing is undone, no old process goes on.
                std::mem::forget(work);
                ExitCode::SUCCESS
            } else {
                status_of(child)
            })
        }
    }
}

fn null_device() -> Option<File> {
    File::options()
        .read(true)
        .write(true)
        .open("/dev/null")
        .ok()
}

/// The environment with what the configuration changed in it.
fn environment_after(config: &Config) -> Vec<(String, String)> {
    let mut env = environment().vars;
    for (name, value) in &config.global.env {
        match value {
            Some(value) => env.insert(name.clone(), value.clone()),
            None => env.remove(name),
        };
    }
    env.into_iter().collect()
}

/// Whether a ring can be had; if not, why and what would change it.
pub fn uring_works() -> Result<(), String> {
    let bell = process::eventfd().map_err(|e| bind::reason(&e))?;
    let tried = UringKernel::new(8, std::os::fd::AsRawFd::as_raw_fd(&bell));
    let Err(error) = tried else { return Ok(()) };
    let reason = bind::reason(&error);
    let disabled =
        std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").unwrap_or_default();
    Err(match (error.raw_os_error(), disabled.trim()) {
        (Some(libc::EPERM), "1" | "2") => {
            format!(
                "{reason}: 'sysctl kernel.io_uring_disabled={}' says so, 0 would allow it",
                disabled.trim()
            )
        }
        (Some(libc::EPERM), _) => format!(
            "{reason}: a seccomp filter forbids it, allowing io_uring_setup, io_uring_enter and io_uring_register would change that"
        ),
        (Some(libc::ENOSYS), _) => format!("{reason}: this kernel or a seccomp filter has none"),
        (Some(libc::ENOMEM), _) => format!(
            "{reason}: the limit of locked memory is too low, 'ulimit -l unlimited' would change that"
        ),
        _ => reason,
    })
}

/// Without /dev/null the terminal stays.
fn leave_terminal(null: Option<File>) {
    if let Some(null) = null {
        let _ = process::replace_stdio(&null.into());
    }
}

fn status_of(child: i32) -> ExitCode {
    use nix::sys::wait::{WaitStatus, waitpid};
    match waitpid(Pid::from_raw(child), None) {
        Ok(WaitStatus::Exited(_, code)) if code != 0 => {
            ExitCode::from(u8::try_from(code).unwrap_or(1))
        }
        _ => ExitCode::FAILURE,
    }
}
