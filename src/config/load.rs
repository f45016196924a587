//! Files in, a checked configuration or the reasons against it out.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{IpAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

use super::model::Config;
use super::raw::{LogWord, Raw};
use super::words::Cx;
use super::{resolve, section, tls_defaults};
use crate::lang::cond::Predicates;
use crate::lang::diag::{Diags, Severity, nearest};
use crate::lang::env::Env;
use crate::lang::expr::VarNames;
use crate::lang::lexer::read_lines;
use crate::lang::source::Sources;

/// What the outside answers while a configuration is read.
pub trait World {
    /// Addresses of a host name as the C library gives them; an error names the reason.
    fn resolve(&self, host: &str) -> Result<Vec<IpAddr>, String>;
    /// A file that the configuration names, such as one with patterns.
    fn read(&self, path: &Path) -> Result<Vec<u8>, String> {
        std::fs::read(path).map_err(|why| reason(&why))
    }
    /// Number of a user name.
    fn user(&self, name: &str) -> Option<u32>;
    /// Number of a group name.
    fn group(&self, name: &str) -> Option<u32>;
}

/// This machine: `getaddrinfo`, the passwd and group files.
#[derive(Debug, Clone, Copy, Default)]
pub struct Host;

impl World for Host {
    fn resolve(&self, host: &str) -> Result<Vec<IpAddr>, String> {
        let list: Vec<IpAddr> = (host, 0)
            .to_socket_addrs()
            .map_err(|e| e.to_string())?
            .map(|a| a.ip())
            .collect();
        if list.is_empty() {
            Err("no address".to_owned())
        } else {
            Ok(list)
        }
    }
    fn user(&self, name: &str) -> Option<u32> {
        nix::unistd::User::from_name(name)
            .ok()
            .flatten()
            .map(|u| u.uid.as_raw())
    }
    fn group(&self, name: &str) -> Option<u32> {
        nix::unistd::Group::from_name(name)
            .ok()
            .flatten()
            .map(|g| g.gid.as_raw())
    }
}

/// Something to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A file, or a directory whose `*.cfg` files are read in lexical order (`-f`).
    Path(PathBuf),
    /// Text that is already at hand, under a name for messages.
    Text { name: String, bytes: Vec<u8> },
}

/// What to read and how.
pub struct LoadInputs<'a> {
    /// In the order of the command line.
    pub inputs: Vec<Input>,
    /// `-C`: relative names are taken from here.
    pub dir: Option<PathBuf>,
    pub env: Env,
    pub predicates: Predicates,
    /// `--strict`: obsolete spellings are errors.
    pub strict: bool,
    /// `-dD`: diagnostics are shown too.
    pub diagnostics: bool,
    /// `-dr`: a server whose name has no address starts in maintenance instead of refusing the file.
    pub tolerate_unresolved: bool,
    /// `-dW`: any warning refuses the configuration.
    pub zero_warning: bool,
    /// `-L`: value of `HAPROXY_LOCALPEER`; default is the host's name.
    pub local_peer: Option<String>,
    /// `-n`: replaces the process' `maxconn`.
    pub maxconn: Option<u32>,
    /// `-N`: `maxconn` of a frontend that sets none.
    pub frontend_maxconn: Option<u32>,
    /// `maxconn` of the process where none is written, as its limits of descriptors allow.
    pub computed_maxconn: u32,
    /// Shards the process will run where `nbthread` does not say: decides ranges of `thread` and `cpu-map`.
    pub shards: u32,
    pub world: &'a dyn World,
}

impl std::fmt::Debug for LoadInputs<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoadInputs")
            .field("inputs", &self.inputs)
            .field("strict", &self.strict)
            .finish_non_exhaustive()
    }
}

impl Default for LoadInputs<'_> {
    fn default() -> Self {
        Self {
            inputs: Vec::new(),
            dir: None,
            env: Env::default(),
            predicates: Predicates::default(),
            strict: false,
            diagnostics: false,
            tolerate_unresolved: false,
            zero_warning: false,
            local_peer: None,
            maxconn: None,
            frontend_maxconn: None,
            computed_maxconn: 10_000,
            shards: 1,
            world: &Host,
        }
    }
}

/// The outcome of [`load`].
#[derive(Debug)]
pub struct Loaded {
    /// `None` if there is an alert among `diags`.
    pub config: Option<Config>,
    /// For showing `diags`.
    pub sources: Sources,
    pub diags: Diags,
    /// The environment after `setenv` and its kin.
    pub env: Env,
}

impl Loaded {
    /// Whether anything is to be listened on; without it `-c` and the start end with status 2.
    pub fn has_listeners(&self) -> bool {
        self.config.as_ref().is_some_and(Config::has_listeners)
    }
}

/// Reads, checks and resolves. Goes on after each mistake, so that one run shows all.
pub fn load(inputs: &LoadInputs<'_>) -> Loaded {
    let mut sources = Sources::default();
    let mut diags = Diags::default();
    let files = read_inputs(inputs, &mut diags);
    let mut env = inputs.env.clone();
    preset(&mut env, &files, inputs);
    let mut raw = Raw::default();
    // All texts are at hand before the first is read: messages may point into any of them.
    let ids: Vec<_> = files
        .iter()
        .map(|(name, bytes)| sources.add(name.clone(), bytes))
        .collect();
    let mut cx = Cx {
        diags,
        sources: &sources,
        world: inputs.world,
        strict: inputs.strict,
        tolerate_unresolved: inputs.tolerate_unresolved,
        deprecated_silent: false,
        mistakes: 0,
        lines_lost: false,
        at_run_time: false,
        dir: inputs.dir.clone(),
        env: env.clone(),
        vars: VarNames::default(),
        refused: BTreeSet::new(),
    };
    for id in ids {
        let before = cx.diags.list.len();
        let lines = read_lines(&sources, id, &mut env, &inputs.predicates, &mut cx.diags);
        cx.lines_lost |= cx.diags.list[before..]
            .iter()
            .any(|d| d.severity == Severity::Alert);
        cx.env = env.clone();
        section::read(&mut raw, &lines, &mut cx);
    }
    for name in FORMATS.iter().map(|f| f.0) {
        env.vars.remove(name);
    }
    let mut config = resolve::config(&raw, inputs, &mut cx);
    tls_defaults::tell(&raw.global, &mut cx);
    if inputs.diagnostics {
        resolve::diagnostics(&config, &mut cx);
    }
    config.global.env = changes(&inputs.env, &env);
    config.vars = std::mem::take(&mut cx.vars.names);
    config.asked = cx.vars.asked;
    config.files = sources.files.iter().map(|f| f.name.clone()).collect();
    let mut lists = std::mem::take(&mut cx.vars.lists);
    lists.finish(&sources);
    config.lists = lists.into();
    let mut diags = cx.diags;
    if (inputs.zero_warning || raw.global.zero_warning)
        && diags.has_warnings()
        && !diags.has_errors()
    {
        let text = "Some warnings were found and 'zero-warning' is set. Aborting.";
        diags.push(Severity::Alert, None, text);
    }
    let config = Some(config).filter(|_| !diags.has_errors());
    Loaded {
        config,
        sources,
        diags,
        env,
    }
}

/// The inputs as names and bytes; directories give their `*.cfg` files in lexical order.
fn read_inputs(inputs: &LoadInputs<'_>, diags: &mut Diags) -> Vec<(String, Vec<u8>)> {
    let mut out = Vec::new();
    for input in &inputs.inputs {
        match input {
            Input::Text { name, bytes } => out.push((name.clone(), bytes.clone())),
            Input::Path(path) => {
                for path in files_of(path, inputs, diags) {
                    let name = path.display().to_string();
                    match std::fs::read(below(inputs.dir.as_deref(), &path)) {
                        Ok(bytes) => out.push((name, bytes)),
                        Err(why) => {
                            let text = format!("Could not open configuration file {name} : ");
                            cannot_open(inputs, diags, &text, &path, &why);
                        }
                    }
                }
            }
        }
    }
    if out.is_empty() && !inputs.inputs.is_empty() && !diags.has_errors() {
        let text = "No configuration file found: a directory gives only its '*.cfg' files.";
        diags.push(Severity::Alert, None, text);
    }
    if out.len() > FILES_MAX {
        diags.push(
            Severity::Alert,
            None,
            format!("more than {FILES_MAX} configuration files."),
        );
        out.truncate(FILES_MAX);
    }
    out
}

/// Files one configuration may have.
const FILES_MAX: usize = 4096;

/// The system's words for an error, without its number.
pub(crate) fn reason(why: &std::io::Error) -> String {
    why.raw_os_error().map_or_else(
        || why.to_string(),
        |code| nix::errno::Errno::from_raw(code).desc().to_owned(),
    )
}

/// `text`, which haproxy begins differently for each step that fails, with the reason and a remedy.
fn cannot_open(
    inputs: &LoadInputs<'_>,
    diags: &mut Diags,
    text: &str,
    path: &Path,
    why: &std::io::Error,
) {
    let text = format!("{text}{}", reason(why));
    let diag = diags.push(Severity::Alert, None, text);
    match why.kind() {
        ErrorKind::NotFound => {
            if let Some(near) = near_file(&below(inputs.dir.as_deref(), path)) {
                diag.help(format!("beside it there is '{near}'"));
            } else if path.is_relative() {
                diag.help("'-C <dir>' names the directory that relative names begin at");
            }
        }
        ErrorKind::PermissionDenied => {
            diag.help("it is read as the user who starts the process, whatever 'user' says");
        }
        _ => {}
    }
}

/// A name in the same directory that `path` may be a slip of.
fn near_file(path: &Path) -> Option<String> {
    let wanted = path.file_name()?.to_str()?;
    let entries = std::fs::read_dir(path.parent()?).ok()?;
    let names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .take(FILES_MAX)
        .collect();
    let near = nearest(wanted, names.iter().map(String::as_str));
    near.first().map(|&name| name.to_owned())
}

fn below(dir: Option<&Path>, path: &Path) -> PathBuf {
    dir.map_or_else(|| path.to_owned(), |dir| dir.join(path))
}

/// `path` itself, or what a directory holds: files whose names end in `.cfg` and do not begin with a dot.
fn files_of(path: &Path, inputs: &LoadInputs<'_>, diags: &mut Diags) -> Vec<PathBuf> {
    let whole = below(inputs.dir.as_deref(), path);
    let name = path.display();
    match std::fs::metadata(&whole) {
        Ok(found) if !found.is_dir() => return vec![path.to_owned()],
        Ok(_) => {}
        Err(why) => {
            let text = format!("Cannot open configuration file/directory {name} : ");
            cannot_open(inputs, diags, &text, path, &why);
            return Vec::new();
        }
    }
    let entries = match std::fs::read_dir(&whole) {
        Ok(entries) => entries,
        Err(why) => {
            let text = format!("Cannot open configuration directory {name} : ");
            cannot_open(inputs, diags, &text, path, &why);
            return Vec::new();
        }
    };
    let mut names: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.file_name()))
        .filter(|name| {
            let bytes = name.as_encoded_bytes();
            bytes.ends_with(b".cfg") && !bytes.starts_with(b".") && whole.join(name).is_file()
        })
        .collect();
    names.sort();
    names.into_iter().map(|name| path.join(name)).collect()
}

/// Log formats that haproxy lends to the configuration and takes back after it (3.4 `HAPROXY_*_LOG_FMT`).
const FORMATS: [(&str, &str); 5] = [
    (
        "HAPROXY_TCP_LOG_FMT",
        "%ci:%cp [%t] %ft %b/%s %Tw/%Tc/%Tt %B %ts %ac/%fc/%bc/%sc/%rc %sq/%bq",
    ),
    (
        "HAPROXY_TCP_CLF_LOG_FMT",
        "%{+Q}o %{-Q}ci - - [%T] \"TCP \" 000 %B \"\" \"\" %cp %ms %ft %b %s %Th %Tw %Tc %Tt %U %ts-- %ac %fc %bc %sc %rc %sq %bq \"\" \"\" ",
    ),
    (
        "HAPROXY_HTTP_LOG_FMT",
        "%ci:%cp [%tr] %ft %b/%s %TR/%Tw/%Tc/%Tr/%Ta %ST %B %CC %CS %tsc %ac/%fc/%bc/%sc/%rc %sq/%bq %hr %hs %{+Q}r",
    ),
    (
        "HAPROXY_HTTP_CLF_LOG_FMT",
        "%{+Q}o %{-Q}ci - - [%trg] %r %ST %B \"\" \"\" %cp %ms %ft %b %s %TR %Tw %Tc %Tr %Ta %tsc %ac %fc %bc %sc %rc %sq %bq %CC %CS %hrl %hsl",
    ),
    (
        "HAPROXY_HTTPS_LOG_FMT",
        "%ci:%cp [%tr] %ft %b/%s %TR/%Tw/%Tc/%Tr/%Ta %ST %B %CC %CS %tsc %ac/%fc/%bc/%sc/%rc %sq/%bq %hr %hs %{+Q}r %[fc_err]/%[ssl_fc_err,hex]/%[ssl_c_err]/%[ssl_c_ca_err]/%[ssl_fc_is_resumed] %[ssl_fc_sni]/%sslv/%sslc",
    ),
];

/// The format behind an `option`.
pub(super) fn predefined(word: LogWord) -> &'static str {
    let at = match word {
        LogWord::Tcp | LogWord::Own => 0,
        LogWord::TcpClf => 1,
        LogWord::Http => 2,
        LogWord::HttpClf => 3,
    };
    FORMATS[at].1
}

/// The variables haproxy sets before it reads anything (configuration.txt 2.3).
fn preset(env: &mut Env, files: &[(String, Vec<u8>)], inputs: &LoadInputs<'_>) {
    let names: Vec<&str> = files.iter().map(|f| &*f.0).collect();
    let mut set = |name: &str, value: &str| env.vars.insert(name.to_owned(), value.to_owned());
    set("HAPROXY_CFGFILES", &names.join(";"));
    if let Some(peer) = &inputs.local_peer {
        set("HAPROXY_LOCALPEER", peer);
    }
    let version = &inputs.predicates.version;
    if !version.is_empty() {
        set("HAPROXY_STARTUP_VERSION", version);
        let branch: Vec<&str> = version.split('.').take(2).collect();
        set("HAPROXY_BRANCH", &branch.join("."));
    }
    for (name, format) in FORMATS {
        set(name, format);
    }
}

/// What the process' environment lacks to be `after`: values to set, names to remove.
fn changes(before: &Env, after: &Env) -> Vec<(String, Option<String>)> {
    let set = after
        .vars
        .iter()
        .filter(|(name, value)| before.vars.get(*name) != Some(value));
    let gone = before
        .vars
        .keys()
        .filter(|name| !after.vars.contains_key(*name));
    set.map(|(name, value)| (name.clone(), Some(value.clone())))
        .chain(gone.map(|name| (name.clone(), None)))
        .collect()
}
