//! The command line of the admin socket, as a machine without I/O: bytes in, bytes out
//! (management.txt 9.3).
//!
//! [`Cli`] is one connection. Lines are cut into commands ([`parse`]), commands looked up in one
//! table ([`table`]) and run against a [`World`]; every answer ends with an empty line. What comes
//! back is a piece of the answer and a [`Next`]: the caller writes the piece before it asks for
//! more, so a slow reader holds one piece and nobody else.
//!
//! Bounds: a line has [`LINE_BYTES`], a payload [`PAYLOAD_BYTES`].

mod absent;
mod acl;
pub mod admin;
mod inside;
mod moves;
pub mod parse;
mod servers;
mod sess;
pub mod show;
pub mod table;

use std::collections::VecDeque;
use std::io::Write;

use self::admin::Tell;
use self::parse::{Command, Ending};
use crate::config::CliLevel;
use crate::observe::stats::{Dump, Extra, View};

/// Longest line.
pub const LINE_BYTES: usize = 16 << 10;
/// Longest payload behind `<<` (haproxy's `tune.cli.max-payload-size`).
pub const PAYLOAD_BYTES: usize = 128 << 10;

/// What commands look at and act on.
#[derive(Clone, Copy, Debug)]
pub struct World<'a> {
    pub view: View<'a>,
    pub extra: Extra,
    pub tell: &'a dyn Tell,
    /// Lines that came behind the command (`<<`).
    pub payload: &'a str,
}

/// What the caller does after writing what [`Cli::advance`] appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Call again.
    More,
    /// Call again in so many ms: what the answer needs is not there yet.
    Pause(u32),
    /// Read from the client and [`Cli::feed`], or give up after the timeout.
    Read,
    Close,
}

/// What a command answers with.
#[derive(Debug)]
pub enum Answer {
    /// Text of whole lines, or nothing.
    Text(String),
    Bytes(Vec<u8>),
    Long(Box<dyn Dump>),
    /// Messages, without their last line feed; how serious they are may be shown.
    Error(String),
    Warning(String),
    Info(String),
    Level(CliLevel),
    /// Commands of this kind are allowed from now on, or no longer.
    Guarded(Guarded, bool),
    Prompt(Prompt),
    Severity(SeverityOutput),
    /// `set timeout cli`, in ms.
    Timeout(u32),
    Quit,
}

impl Answer {
    pub fn done() -> Self {
        Self::Text(String::new())
    }
    pub fn error(text: impl Into<String>) -> Self {
        Self::Error(text.into())
    }
}

/// Commands that a connection must ask for first (`expert-mode`, `experimental-mode`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guarded {
    Expert,
    Experimental,
}

/// What a connection may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    pub level: CliLevel,
    pub expert: bool,
    pub experimental: bool,
}

impl Rights {
    /// In one byte, as a master tells them to its worker.
    pub fn pack(self) -> u8 {
        self.level as u8 | u8::from(self.expert) << 2 | u8::from(self.experimental) << 3
    }

    pub fn unpack(byte: u8) -> Self {
        Self {
            level: match byte & 3 {
                0 => CliLevel::User,
                1 => CliLevel::Operator,
                _ => CliLevel::Admin,
            },
            expert: byte & 4 != 0,
            experimental: byte & 8 != 0,
        }
    }
}

/// How a connection goes on after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Mode {
    /// Ends with the last command received.
    #[default]
    Single,
    /// Stays open.
    Interactive,
    /// Stays open, `> ` asks for the next command.
    Prompt,
}

/// Whether messages begin with how serious they are (`set severity-output`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum SeverityOutput {
    #[default]
    None,
    /// `[3]: `
    Number,
    /// `[err]: `
    Word,
}

/// What the command `prompt` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prompt {
    Toggle,
    Set(Mode),
    ToggleTime,
}

/// One connection to an admin socket.
#[derive(Debug)]
pub struct Cli {
    rights: Rights,
    mode: Mode,
    severity: SeverityOutput,
    /// The prompt shows the uptime.
    timed: bool,
    /// Longest wait for a command, ms; 0: without limit.
    timeout_ms: u32,
    input: Vec<u8>,
    /// Commands of the current line that were not run yet.
    commands: VecDeque<Command>,
    payload: Option<Payload>,
    /// A whole payload, for the last command of the line.
    received: Vec<u8>,
    answer: Option<Box<dyn Dump>>,
    /// A line was run, so [`Mode::Single`] ends when nothing is left.
    served: bool,
}

/// A payload being received for the last command of the line.
#[derive(Debug)]
struct Payload {
    /// Line it ends with; empty: an empty line.
    until: Vec<u8>,
    bytes: usize,
}

impl Cli {
    pub fn new(level: CliLevel, timeout_ms: u32) -> Self {
        let rights = Rights {
            level,
            expert: false,
            experimental: false,
        };
        Self::with(rights, timeout_ms)
    }

    pub fn with(rights: Rights, timeout_ms: u32) -> Self {
        Self {
            rights,
            mode: Mode::Single,
            severity: SeverityOutput::None,
            timed: false,
            timeout_ms,
            input: Vec::new(),
            commands: VecDeque::new(),
            payload: None,
            received: Vec::new(),
            answer: None,
            served: false,
        }
    }

    /// Longest time to wait for input now, in ms; `None`: without limit.
    pub fn timeout_ms(&self) -> Option<u32> {
        (self.timeout_ms > 0).then_some(self.timeout_ms)
    }

    /// Takes what was read. Call only after [`Next::Read`], with at most some kilobytes.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    /// Does one step and appends its part of the answer to `out`.
    pub fn advance(&mut self, world: &World<'_>, out: &mut Vec<u8>) -> Next {
        if let Some(dump) = &mut self.answer {
            if !dump.more(&world.view, out) {
                self.answer = None;
                self.end_answer(world, out);
            } else if let Some(ms) = dump.waits() {
                return Next::Pause(ms);
            }
            return Next::More;
        }
        if self.payload.is_some() {
            return self.take_payload(out);
        }
        if let Some(command) = self.commands.pop_front() {
            // What came behind the line belongs to its last command.
            let text = if self.commands.is_empty() {
                std::mem::take(&mut self.received)
            } else {
                Vec::new()
            };
            let world = &World {
                payload: &String::from_utf8_lossy(&text),
                ..*world
            };
            let answer = table::run(&command.words, self.rights, world);
            return self.give(answer, world, out);
        }
        match self.input.iter().position(|&b| b == b'\n') {
            Some(end) if end < LINE_BYTES => {
                let line: Vec<u8> = self.input.drain(..=end).collect();
                self.take_line(&line[..end], out);
                Next::More
            }
            Some(_) => refuse(out, "Command line is too long."),
            None if self.input.len() >= LINE_BYTES => refuse(out, "Command line is too long."),
            None if self.served && self.mode == Mode::Single && self.input.is_empty() => {
                Next::Close
            }
            None => Next::Read,
        }
    }

    fn take_line(&mut self, line: &[u8], out: &mut Vec<u8>) {
        self.served = true;
        let (commands, ending) = parse::line(line);
        self.commands = commands.into();
        if let Ending::Payload(until) = ending {
            self.received.clear();
            self.payload = Some(Payload { until, bytes: 0 });
            self.ask_for_payload(out);
        }
    }

    fn take_payload(&mut self, out: &mut Vec<u8>) -> Next {
        let Some(payload) = &mut self.payload else {
            return Next::More;
        };
        match payload.take(&mut self.input, &mut self.received) {
            Taken::Line => self.ask_for_payload(out),
            Taken::End => self.payload = None,
            Taken::Nothing => return Next::Read,
            Taken::TooLong => return refuse(out, "Payload is too long."),
        }
        Next::More
    }

    fn ask_for_payload(&self, out: &mut Vec<u8>) {
        if self.mode == Mode::Prompt {
            out.extend_from_slice(b"+ ");
        }
    }

    /// Writes an answer and obeys what it says about the connection.
    fn give(&mut self, answer: Answer, world: &World<'_>, out: &mut Vec<u8>) -> Next {
        match answer {
            Answer::Long(dump) => {
                self.answer = Some(dump);
                return Next::More;
            }
            Answer::Quit => return Next::Close,
            Answer::Text(text) => out.extend_from_slice(text.as_bytes()),
            Answer::Bytes(bytes) => out.extend_from_slice(&bytes),
            Answer::Error(text) => self.say(3, "err", &text, out),
            Answer::Warning(text) => self.say(4, "warning", &text, out),
            Answer::Info(text) => self.say(6, "info", &text, out),
            Answer::Severity(severity) => self.severity = severity,
            Answer::Level(level) => self.rights.level = level,
            Answer::Guarded(Guarded::Expert, on) => self.rights.expert = on,
            Answer::Guarded(Guarded::Experimental, on) => self.rights.experimental = on,
            Answer::Timeout(ms) => self.timeout_ms = ms,
            Answer::Prompt(prompt) => self.set_prompt(prompt),
        }
        self.end_answer(world, out);
        Next::More
    }

    fn say(&self, number: u8, word: &str, text: &str, out: &mut Vec<u8>) {
        match self.severity {
            SeverityOutput::None => {}
            SeverityOutput::Number => write!(out, "[{number}]: ").expect("a vector takes all"),
            SeverityOutput::Word => write!(out, "[{word}]: ").expect("a vector takes all"),
        }
        out.extend_from_slice(text.trim_end_matches('\n').as_bytes());
        out.push(b'\n');
    }

    fn set_prompt(&mut self, prompt: Prompt) {
        match prompt {
            Prompt::Toggle if self.mode == Mode::Prompt => self.mode = Mode::Single,
            Prompt::Toggle => self.mode = Mode::Prompt,
            Prompt::Set(mode) => self.mode = mode,
            Prompt::ToggleTime => self.timed = !self.timed,
        }
    }

    /// The empty line, and the prompt if there is one.
    fn end_answer(&self, world: &World<'_>, out: &mut Vec<u8>) {
        out.push(b'\n');
        if self.mode != Mode::Prompt {
            return;
        }
        if self.timed {
            let s = world.view.since(0) / 1000;
            write!(
                out,
                "[{}:{:02}:{:02}:{:02}]",
                s / 86_400,
                s / 3600 % 24,
                s / 60 % 60,
                s % 60
            )
            .expect("a vector takes every byte");
        }
        out.extend_from_slice(b"> ");
    }
}

fn refuse(out: &mut Vec<u8>, why: &str) -> Next {
    out.extend_from_slice(why.as_bytes());
    out.extend_from_slice(b"\n\n");
    Next::Close
}

enum Taken {
    Line,
    End,
    Nothing,
    TooLong,
}

impl Payload {
    /// Takes one line of the payload off `input`, for `received`.
    fn take(&mut self, input: &mut Vec<u8>, received: &mut Vec<u8>) -> Taken {
        let Some(end) = input.iter().position(|&b| b == b'\n') else {
            let held = self.bytes + input.len();
            return if held > PAYLOAD_BYTES {
                Taken::TooLong
            } else {
                Taken::Nothing
            };
        };
        let line: Vec<u8> = input.drain(..=end).collect();
        self.bytes += line.len();
        let line = &line[..end];
        if line.strip_suffix(b"\r").unwrap_or(line) == self.until {
            Taken::End
        } else if self.bytes > PAYLOAD_BYTES {
            Taken::TooLong
        } else {
            received.extend_from_slice(line);
            received.push(b'\n');
            Taken::Line
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
