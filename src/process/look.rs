//! Reading a configuration: what the command line and this machine say to it, for a start and for subcommands that
//! only look.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use nix::sys::resource::{Resource, getrlimit};

use super::args::Args;
use super::start::{allowed_cpus, environment};
use super::{bind, limits, say, version};
use crate::config::{Config, Host, Input, LoadInputs, Loaded, World, load};
use crate::lang::diag::RenderOptions;
use crate::lang::env::Env;
use crate::lang::source::Sources;

/// What is read and how. `worker`: for a worker of a master.
pub(super) fn inputs(args: &Args, worker: bool) -> LoadInputs<'static> {
    let default_shards = allowed_cpus().len().max(1);
    let hard = getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(_, hard)| hard);
    let fds = limits::usable_fds(hard, None);
    LoadInputs {
        inputs: args.files.iter().cloned().map(Input::Path).collect(),
        env: environment_of(worker),
        predicates: version::predicates(),
        strict: args.strict,
        diagnostics: args.diagnostics,
        zero_warning: args.zero_warning,
        tolerate_unresolved: args.tolerate_unresolved,
        local_peer: args.local_peer.clone().or_else(host_name),
        maxconn: args.maxconn,
        frontend_maxconn: args.proxy_maxconn,
        computed_maxconn: u32::try_from(fds / 2)
            .unwrap_or(u32::MAX)
            .saturating_sub(64)
            .max(1),
        shards: u32::try_from(default_shards).unwrap_or(1),
        ..LoadInputs::default()
    }
}

/// What the configuration may ask for; a worker's says that it has a master.
fn environment_of(worker: bool) -> Env {
    let mut env = environment();
    if worker {
        env.vars
            .insert("HAPROXY_MWORKER".to_owned(), "1".to_owned());
    }
    env
}

pub(super) fn host_name() -> Option<String> {
    nix::unistd::gethostname().ok()?.into_string().ok()
}

/// For a look at a configuration that may be another machine's: names resolve as they do here, users and groups that
/// this machine does not have count as its `nobody`.
#[derive(Debug)]
struct Elsewhere;

/// `nobody` on most systems.
const NOBODY: u32 = 65_534;

impl World for Elsewhere {
    fn resolve(&self, host: &str) -> Result<Vec<IpAddr>, String> {
        Host.resolve(host)
    }
    fn user(&self, name: &str) -> Option<u32> {
        Host.user(name).or(Some(NOBODY))
    }
    fn group(&self, name: &str) -> Option<u32> {
        Host.group(name).or(Some(NOBODY))
    }
}

/// Goes to a directory first (`-C`).
///
/// # Errors
/// What is to be said.
pub(super) fn go_to(dir: Option<&Path>) -> Result<(), String> {
    let Some(dir) = dir else {
        return Ok(());
    };
    std::env::set_current_dir(dir)
        .map_err(|why| format!("cannot go to {}: {}", dir.display(), bind::reason(&why)))
}

/// Files as `-c` reads them, nothing said.
pub(super) fn loaded(files: &[PathBuf]) -> Loaded {
    let args = Args {
        files: files.to_vec(),
        ..Args::default()
    };
    load(&LoadInputs {
        world: &Elsewhere,
        ..inputs(&args, false)
    })
}

/// A valid configuration and where it came from. What refuses it is shown as `-c` shows it.
pub(super) fn valid(files: &[PathBuf]) -> Option<(Config, Sources)> {
    let loaded = loaded(files);
    if loaded.config.is_none() {
        let options = RenderOptions {
            quiet_warnings: true,
            ..RenderOptions::default()
        };
        let diags = &loaded.diags;
        say::raw(&diags.render(&loaded.sources, std::process::id(), &options));
    }
    Some((loaded.config?, loaded.sources))
}
