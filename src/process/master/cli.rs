//! The master's own admin socket (`-S`, management.txt 9.4): what it knows of its workers, reloads that tell how they
//! went, and a way to each worker's commands (`@1 show info`, `@!<pid>`, `@@<pid>`).
//!
//! Each connection has a thread, since a master serves nobody else and waits for reloads; what only the master itself
//! knows or may do is asked of it ([`Question`]). A command for a worker goes over a connection of its own, whose other
//! end the master passes to that worker with the rights of whoever asked.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::Shutdown;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::Socket;

use crate::config::{BindAddress, CliLevel, StatsSocket};
use crate::observe::cli::parse::{self, Command, Ending};
use crate::observe::cli::{LINE_BYTES, PAYLOAD_BYTES, Rights, show};
use crate::process::version;

/// How often it is looked whether a client still waits for a worker that says nothing.
const CLIENT_LOOK: Duration = Duration::from_secs(1);

/// Connections served at once; further ones are closed.
const CONNECTIONS_MAX: usize = 32;
/// How long, and how much, a connection is read on whose line was too long.
const LINGER: Duration = Duration::from_millis(200);
const LINGER_BYTES: u64 = 256 << 10;
/// Pause after an accept that failed (no descriptors left).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A listening socket of the master.
#[derive(Debug)]
pub struct Door {
    pub listener: OwnedFd,
    pub level: CliLevel,
    /// Its address, to be shown.
    pub name: String,
}

impl Door {
    pub fn new(listener: OwnedFd, socket: &StatsSocket) -> Self {
        let name = match &socket.address {
            BindAddress::Unix(path) => format!("unix@{}", path.display()),
            address => show::address(address),
        };
        Self {
            listener,
            level: socket.level,
            name,
        }
    }
}

/// Whom a command is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    Master,
    /// `@1`: a current worker; there is one.
    Relative(u32),
    /// `@!<pid>`: any worker.
    Pid(i32),
}

impl Target {
    /// What stands behind the `@`, or the `@@`.
    fn read(text: &str) -> Option<Self> {
        match text.strip_prefix('!') {
            Some(pid) => pid.parse().ok().map(Self::Pid),
            None if text.is_empty() || text == "master" => Some(Self::Master),
            None => text.parse().ok().map(Self::Relative),
        }
    }
}

/// What a connection asks of the master; it answers each.
#[derive(Debug)]
pub enum Question {
    /// The process that is meant, if it is there.
    Find(Target, Sender<Option<i32>>),
    /// A connection to the commands of this worker.
    Connect(i32, Rights, Sender<Option<UnixStream>>),
    /// The answer to `show proc`.
    Processes(Sender<String>),
    /// A reload; answered when it is over: whether the new worker serves, and what was said.
    Reload {
        hard: bool,
        over: Sender<(bool, String)>,
    },
    /// What was said at the last start of a worker.
    Log(Sender<String>),
}

/// The master's side.
#[derive(Debug)]
pub struct Desk {
    /// Readable when there is a question.
    pub wake: io::PipeReader,
    questions: Receiver<Question>,
    /// Kept also where nobody else has one: without it the other end would always be readable.
    _bell: io::PipeWriter,
    /// The last reload failed.
    pub failed: Arc<AtomicBool>,
}

impl Desk {
    /// Opens `doors` to clients.
    ///
    /// # Errors
    /// No pipe or thread can be made.
    pub fn open(doors: Vec<Door>) -> io::Result<Self> {
        let (wake, bell) = io::pipe()?;
        let (sender, questions) = channel();
        let failed = Arc::new(AtomicBool::new(false));
        let names: Arc<[String]> = doors
            .iter()
            .map(|door| format!("{} {} all", door.name, show::level_name(door.level)))
            .collect();
        let open = Arc::new(AtomicUsize::new(0));
        for door in doors {
            let house = House {
                sender: sender.clone(),
                bell: bell.try_clone()?,
                failed: Arc::clone(&failed),
                names: Arc::clone(&names),
            };
            let open = Arc::clone(&open);
            thread::Builder::new()
                .name("master-cli".into())
                .spawn(move || serve(&house, door, &open))?;
        }
        Ok(Self {
            wake,
            questions,
            _bell: bell,
            failed,
        })
    }

    pub fn question(&mut self) -> Option<Question> {
        self.questions.try_recv().ok()
    }

    /// Silences the bell; questions that come now ring it again.
    pub fn heard(&mut self) {
        let _ = self.wake.read(&mut [0; 64]);
    }
}

/// What all connections share.
struct House {
    sender: Sender<Question>,
    bell: io::PipeWriter,
    failed: Arc<AtomicBool>,
    names: Arc<[String]>,
}

impl House {
    fn copy(&self) -> io::Result<Self> {
        Ok(Self {
            sender: self.sender.clone(),
            bell: self.bell.try_clone()?,
            failed: Arc::clone(&self.failed),
            names: Arc::clone(&self.names),
        })
    }

    /// Asks the master; `None`: it is about to end.
    fn ask<T>(&self, question: impl FnOnce(Sender<T>) -> Question) -> Option<T> {
        let (sender, answer) = channel();
        self.sender.send(question(sender)).ok()?;
        (&self.bell).write_all(&[1]).ok()?;
        answer.recv().ok()
    }
}

fn serve(house: &House, door: Door, open: &Arc<AtomicUsize>) {
    let listener = Socket::from(door.listener);
    loop {
        let (Ok((socket, _)), Ok(house)) = (listener.accept(), house.copy()) else {
            thread::sleep(ACCEPT_PAUSE);
            continue;
        };
        if open.fetch_add(1, SeqCst) >= CONNECTIONS_MAX {
            open.fetch_sub(1, SeqCst);
            continue;
        }
        let (level, own) = (door.level, Arc::clone(open));
        let begun = thread::Builder::new()
            .name("master-cli".into())
            .spawn(move || {
                // A client that is gone needs no answer.
                let _ = Talk::new(house, socket, level).and_then(|mut talk| talk.run());
                own.fetch_sub(1, SeqCst);
            });
        if begun.is_err() {
            open.fetch_sub(1, SeqCst);
        }
    }
}

/// How a connection goes on.
#[derive(PartialEq, Eq)]
enum Next {
    Go,
    Close,
}

/// One connection.
struct Talk {
    house: House,
    socket: Socket,
    reader: BufReader<Socket>,
    rights: Rights,
    prompt: bool,
    /// The worker that commands without a prefix are for.
    at: Option<i32>,
}

/// Usage, what it does, who may.
const COMMANDS: &[(&str, &str, CliLevel)] = &[
    (
        "@!<pid>",
        "send a command to the <pid> process",
        CliLevel::User,
    ),
    (
        "@<relative pid>",
        "send a command to the <relative pid> process",
        CliLevel::User,
    ),
    (
        "@@<pid>",
        "hand the connection over to the <pid> process",
        CliLevel::User,
    ),
    (
        "@master",
        "send a command to the master process",
        CliLevel::User,
    ),
    ("echo [text]", "answer with the text", CliLevel::User),
    (
        "experimental-mode [on|off]",
        "allow or forbid experimental commands of workers",
        CliLevel::Admin,
    ),
    (
        "expert-mode [on|off]",
        "allow or forbid workers' commands for experts",
        CliLevel::Admin,
    ),
    (
        "hard-reload",
        "start the next worker and end those before it at once",
        CliLevel::Operator,
    ),
    (
        "operator",
        "lower this connection's level to operator",
        CliLevel::Operator,
    ),
    (
        "reload",
        "start the next worker; tells how it went",
        CliLevel::Operator,
    ),
    ("show cli level", "level of this connection", CliLevel::User),
    (
        "show cli sockets",
        "admin sockets of the master",
        CliLevel::User,
    ),
    (
        "show env [var]",
        "environment of the master",
        CliLevel::Operator,
    ),
    (
        "show proc [debug]",
        "the master and its workers",
        CliLevel::User,
    ),
    (
        "show startup-logs",
        "what was said at the last start of a worker",
        CliLevel::Operator,
    ),
    ("show version", "version of the process", CliLevel::User),
    (
        "user",
        "lower this connection's level to user",
        CliLevel::User,
    ),
    (
        "help [<command>]",
        "this list, or the part of it that fits",
        CliLevel::User,
    ),
    (
        "prompt [n|i|p]",
        "show what commands are for and ask for them, or no longer",
        CliLevel::User,
    ),
    ("quit", "close the connection", CliLevel::User),
];
/// The items at the end of the table that every list ends with.
const ALWAYS_LISTED: usize = 3;

impl Talk {
    fn new(house: House, socket: Socket, level: CliLevel) -> io::Result<Self> {
        Ok(Self {
            house,
            reader: BufReader::new(socket.try_clone()?),
            socket,
            rights: Rights {
                level,
                expert: false,
                experimental: false,
            },
            prompt: false,
            at: None,
        })
    }

    /// Serves until the client has no more commands, or one ends the connection.
    fn run(&mut self) -> io::Result<()> {
        while let Some(line) = self.line(LINE_BYTES)? {
            let (commands, ending) = parse::line(&line);
            let mut left = commands.as_slice();
            while let [command, later @ ..] = left {
                left = later;
                let payload = match &ending {
                    Ending::Payload(until) => Some(until.as_slice()),
                    Ending::Plain => None,
                };
                if self.command(&command.words, later, payload)? == Next::Close {
                    let _ = self.socket.shutdown(Shutdown::Write);
                    return Ok(());
                }
                self.ask_for_more()?;
            }
        }
        Ok(())
    }

    /// The next line without its end; `None`: there is none, or it is too long.
    fn line(&mut self, most: usize) -> io::Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        let limit = u64::try_from(most).unwrap_or(u64::MAX);
        (&mut self.reader)
            .take(limit)
            .read_until(b'\n', &mut line)?;
        if line.pop_if(|byte| *byte == b'\n').is_some() {
            return Ok(Some(line));
        }
        if line.len() >= most {
            self.say("Command line is too long.\n\n")?;
            // Closing with bytes unread would reset the connection under the answer.
            self.socket.shutdown(Shutdown::Write)?;
            self.socket.set_read_timeout(Some(LINGER))?;
            let _ = io::copy(&mut (&self.socket).take(LINGER_BYTES), &mut io::sink());
        }
        Ok(None)
    }

    fn say(&self, text: &str) -> io::Result<()> {
        (&self.socket).write_all(text.as_bytes())
    }

    fn ask_for_more(&self) -> io::Result<()> {
        if !self.prompt {
            return Ok(());
        }
        let name = match self.at {
            Some(pid) => pid.to_string(),
            None if self.house.failed.load(SeqCst) => "master[ReloadFailed]".to_owned(),
            None => "master".to_owned(),
        };
        let flags = match (self.rights.experimental, self.rights.expert) {
            (false, false) => "",
            (true, false) => "(x)",
            (false, true) => "(e)",
            (true, true) => "(xe)",
        };
        self.say(&format!("{name}{flags}> "))
    }

    /// One command, and those behind it in its line; `payload`: lines follow for the last, up to this one.
    fn command(
        &mut self,
        words: &[String],
        later: &[Command],
        until: Option<&[u8]>,
    ) -> io::Result<Next> {
        let payload = until.filter(|_| later.is_empty());
        let Some(prefix) = words.first().filter(|word| word.starts_with('@')) else {
            return self.run_at(self.at, words, payload);
        };
        let name = &prefix[1..];
        let (whole, name) = match name.strip_prefix('@') {
            Some(name) => (true, name),
            None => (false, name),
        };
        let found = match Target::read(name) {
            Some(Target::Master) => Some(None),
            Some(target) => {
                let pid = self.house.ask(|to| Question::Find(target, to)).flatten();
                pid.map(Some)
            }
            None => None,
        };
        match (found, &words[1..]) {
            (None, _) => self.nobody(prefix),
            (Some(Some(pid)), rest) if whole => {
                let mut line = line_of(rest);
                for command in later {
                    line.push(b';');
                    line.extend(line_of(&command.words));
                }
                self.hand_over(pid, prefix, line, until)
            }
            (Some(place), []) => {
                self.at = place;
                Ok(Next::Go)
            }
            (Some(place), rest) => self.run_at(place, rest, payload),
        }
    }

    /// As haproxy: that ends the connection.
    fn nobody(&self, prefix: &str) -> io::Result<Next> {
        self.say(&format!(
            "Can't find the target PID matching the prefix '{prefix}'\n"
        ))?;
        Ok(Next::Close)
    }

    fn run_at(
        &mut self,
        place: Option<i32>,
        words: &[String],
        payload: Option<&[u8]>,
    ) -> io::Result<Next> {
        let plain: Vec<&str> = words.iter().map(String::as_str).collect();
        match plain[..] {
            ["quit", ..] => return Ok(Next::Close),
            // These change the connection and answer nothing.
            ["user"] => self.rights.level = CliLevel::User,
            ["operator"] if self.rights.level >= CliLevel::Operator => {
                self.rights.level = CliLevel::Operator;
            }
            ["prompt"] => self.prompt = !self.prompt,
            ["prompt", "p"] => self.prompt = true,
            ["prompt", "n" | "i"] => self.prompt = false,
            ["expert-mode" | "experimental-mode" | "operator", ..]
                if self.rights.level < CliLevel::Admin =>
            {
                self.say("Permission denied\n\n")?;
            }
            ["expert-mode", word @ ("on" | "off")] => self.rights.expert = word == "on",
            [name @ ("expert-mode" | "experimental-mode")] => {
                let on = match name {
                    "expert-mode" => self.rights.expert,
                    _ => self.rights.experimental,
                };
                self.say(&format!("{name} is {}\n\n", if on { "ON" } else { "OFF" }))?;
            }
            ["experimental-mode", word @ ("on" | "off")] => self.rights.experimental = word == "on",
            ["mcli-debug-mode", ..] => {
                self.say(
                    "'mcli-debug-mode' is not supported: a master has no commands but these.\n\n",
                )?;
            }
            _ => {
                return match (place, payload) {
                    (Some(pid), _) => self.run_there(pid, words, payload),
                    // Its lines are no commands, whatever they look like.
                    (None, Some(until)) if self.payload(until)?.is_none() => Ok(Next::Close),
                    (None, _) => self.run_here(&plain),
                };
            }
        }
        match payload {
            Some(until) if self.payload(until)?.is_none() => Ok(Next::Close),
            _ => Ok(Next::Go),
        }
    }

    /// The lines that belong to a command, the one that ends them included; `None`: the connection ended before.
    fn payload(&mut self, until: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let (mut text, mut left) = (Vec::new(), PAYLOAD_BYTES);
        loop {
            let Some(line) = self.line(left)? else {
                return Ok(None);
            };
            left = left.saturating_sub(line.len() + 1);
            text.extend_from_slice(&line);
            text.push(b'\n');
            if line.strip_suffix(b"\r").unwrap_or(&line) == until {
                return Ok(Some(text));
            }
        }
    }

    // ------------------------------------------------------------ the master's commands

    fn run_here(&self, words: &[&str]) -> io::Result<Next> {
        let text = match words {
            ["reload" | "hard-reload", ..] | ["show", "env" | "startup-logs", ..]
                if self.rights.level < CliLevel::Operator =>
            {
                "Permission denied\n".to_owned()
            }
            ["reload"] | ["hard-reload"] => return self.reload(words[0] == "hard-reload"),
            ["show", "proc"] | ["show", "proc", "debug"] => self.asked(Question::Processes),
            ["show", "startup-logs"] => self.asked(Question::Log),
            ["show", "version"] => format!("{}\n", version::full()),
            ["show", "cli", "level"] => format!("{}\n", show::level_name(self.rights.level)),
            ["show", "cli", "sockets"] => {
                format!("# socket lvl processes\n{}\n", self.house.names.join("\n"))
            }
            ["show", "env"] => environment(None),
            ["show", "env", name] => environment(Some(name)),
            ["echo", text @ ..] => format!("{}\n", text.join(" ")),
            ["help", part @ ..] => format!(
                "The following commands are valid at this level:\n{}",
                self.list(part)
            ),
            [] => format!(
                "Unknown command. Please enter one of the following commands only:\n{}",
                self.list(&[])
            ),
            [first, ..] => format!(
                "Unknown command: '{first}', but maybe one of the following ones is a better match:\n{}",
                self.list(words)
            ),
        };
        self.say(&format!("{text}\n"))?;
        Ok(Next::Go)
    }

    fn asked(&self, question: impl FnOnce(Sender<String>) -> Question) -> String {
        self.house.ask(question).unwrap_or_default()
    }

    /// Answers when it is over, and closes, as haproxy does.
    fn reload(&self, hard: bool) -> io::Result<Next> {
        let over = self.house.ask(|over| Question::Reload { hard, over });
        let (success, said) = over.unwrap_or_default();
        self.say(&format!("Success={}\n--\n{said}", u8::from(success)))?;
        Ok(Next::Close)
    }

    /// The commands that begin as `words` do, or all where none does.
    fn list(&self, words: &[&str]) -> String {
        let allowed = |item: &&(&str, &str, CliLevel)| item.2 <= self.rights.level;
        let (table, always) = COMMANDS.split_at(COMMANDS.len() - ALWAYS_LISTED);
        let fits = |item: &&(&str, &str, CliLevel)| {
            words
                .first()
                .is_none_or(|first| item.0.split(' ').next() == Some(first))
        };
        let near: Vec<_> = table.iter().filter(allowed).filter(fits).collect();
        let shown = if near.is_empty() {
            table.iter().filter(allowed).collect()
        } else {
            near
        };
        let lines = shown.into_iter().chain(always);
        lines
            .map(|(usage, help, _)| format!("  {usage:<40}: {help}\n"))
            .collect()
    }

    // ------------------------------------------------------------ the workers' commands

    /// A command for a worker, over a connection of its own.
    fn run_there(
        &mut self,
        pid: i32,
        words: &[String],
        payload: Option<&[u8]>,
    ) -> io::Result<Next> {
        let mut text = line_of(words);
        if let Some(until) = payload {
            text.extend_from_slice(b" <<");
            text.extend_from_slice(until);
            text.push(b'\n');
            let Some(lines) = self.payload(until)? else {
                return Ok(Next::Close);
            };
            text.extend_from_slice(&lines);
        } else {
            text.push(b'\n');
        }
        let Some(mut worker) = self.connect(pid) else {
            return self.nobody(&format!("@!{pid}"));
        };
        worker.write_all(&text)?;
        // Nothing more comes: waiting for it would only take its time.
        worker.shutdown(Shutdown::Write)?;
        self.pass_on(&mut worker)?;
        Ok(Next::Go)
    }

    /// What a worker says, until it ends or the client is gone: a worker that hangs must not keep the places of those
    /// who left.
    fn pass_on(&self, worker: &mut UnixStream) -> io::Result<()> {
        worker.set_read_timeout(Some(CLIENT_LOOK))?;
        let mut space = [0; 16_384];
        loop {
            match worker.read(&mut space) {
                Ok(0) => return Ok(()),
                Ok(n) => (&self.socket).write_all(&space[..n])?,
                Err(why)
                    if matches!(
                        why.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                    ) =>
                {
                    if self.client_left() {
                        return Err(io::ErrorKind::BrokenPipe.into());
                    }
                }
                Err(why) => return Err(why),
            }
        }
    }

    /// Both directions are closed; one that only sends no more still waits for its answer.
    fn client_left(&self) -> bool {
        let mut entries = [PollFd::new(self.socket.as_fd(), PollFlags::empty())];
        poll(&mut entries, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
    }

    fn connect(&self, pid: i32) -> Option<UnixStream> {
        let rights = self.rights;
        self.house
            .ask(|to| Question::Connect(pid, rights, to))
            .flatten()
    }

    /// `@@`: from here on the worker talks to the client, until one of them ends it.
    fn hand_over(
        &mut self,
        pid: i32,
        prefix: &str,
        mut text: Vec<u8>,
        payload: Option<&[u8]>,
    ) -> io::Result<Next> {
        let Some(mut worker) = self.connect(pid) else {
            return self.nobody(prefix);
        };
        if text.is_empty() {
            // It stays open for what comes.
            let mode: &[u8] = if self.prompt {
                b"prompt p"
            } else {
                b"prompt i"
            };
            text.extend_from_slice(mode);
        }
        if let Some(until) = payload {
            text.extend_from_slice(b" <<");
            text.extend_from_slice(until);
        }
        text.push(b'\n');
        text.extend_from_slice(self.reader.buffer());
        worker.write_all(&text)?;
        let (mut from, mut to) = (self.socket.try_clone()?, worker.try_clone()?);
        thread::Builder::new().spawn(move || {
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        })?;
        let _ = self.pass_on(&mut worker);
        // Wakes the other direction.
        let _ = self.socket.shutdown(Shutdown::Both);
        Ok(Next::Close)
    }
}

/// The arguments of all `-S` as the section in which each would stand.
pub fn as_section(sockets: &[String]) -> String {
    let mut text = "global\n".to_owned();
    for words in sockets {
        // What an operator of the machine may do, as haproxy: a level among the options comes later and wins.
        let (place, options) = words.split_once(',').unwrap_or((words, ""));
        let options = options.replace(',', " ");
        text += &format!(" stats socket {place} level admin {options}\n");
    }
    text
}

/// Options of `-S` that a master's socket takes and does not follow: each is to be told.
pub fn without_effect(sockets: &[String]) -> Vec<String> {
    let options = sockets.iter().flat_map(|words| words.split(',').skip(1));
    options
        .filter(|word| ["maxconn", "accept-proxy", "expose-fd"].contains(word))
        .map(|word| format!("option '-S' : '{word}' has no effect on a master's socket."))
        .collect()
}

/// The words as a line that is read as these words.
fn line_of(words: &[String]) -> Vec<u8> {
    let mut line = Vec::new();
    for (n, word) in words.iter().enumerate() {
        if n > 0 {
            line.push(b' ');
        }
        for byte in word.bytes() {
            if matches!(byte, b' ' | b'\t' | b';' | b'\\') {
                line.push(b'\\');
            }
            line.push(byte);
        }
    }
    line
}

fn environment(name: Option<&str>) -> String {
    let all = std::env::vars_os().map(|(n, v)| (n.into_string(), v.to_string_lossy().into_owned()));
    let known = all.filter_map(|(n, v)| Some((n.ok()?, v)));
    let wanted = known.filter(|(n, _)| name.is_none_or(|name| name == n));
    let text: String = wanted.map(|(n, v)| format!("{n}={v}\n")).collect();
    match name {
        Some(_) if text.is_empty() => "Variable not found\n".to_owned(),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_names_the_master_or_a_worker() {
        let cases = [
            ("", Some(Target::Master)),
            ("master", Some(Target::Master)),
            ("1", Some(Target::Relative(1))),
            ("!42", Some(Target::Pid(42))),
            ("!", None),
            ("x", None),
            ("-1", None),
        ];
        for (text, target) in cases {
            assert_eq!(Target::read(text), target, "{text}");
        }
    }

    #[test]
    fn words_become_a_line_that_says_them_again() {
        let words = ["a b", "c;d", "\\", "e"].map(str::to_owned);
        let (commands, ending) = parse::line(&line_of(&words));
        assert_eq!(commands.len(), 1);
        assert_eq!(commands[0].words, words);
        assert_eq!(ending, Ending::Plain);
    }
}
