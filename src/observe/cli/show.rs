//! Commands that only look, and those about the connection itself.

use super::admin::backend_of;
use super::{Answer, Mode, Prompt, SeverityOutput, World, servers};
use crate::base::clock::LocalClock;
use crate::base::tick::Tick;
use crate::config::{BindAddress, CliLevel, ProxyId};
use crate::lang::value::{Unit, time_ms};
use crate::observe::log::line::push_date;
use crate::observe::stats::drain::DrainDump;
use crate::observe::stats::file::StatsFileDump;
use crate::observe::stats::servers::{List, ServersDump};
use crate::observe::stats::stat::{Filter, StatDump, find_proxy};
use crate::observe::stats::value::Form;
use crate::observe::stats::{Dump, View, activity, info};
use crate::shared::errors::Capture;

/// The form that the words ask for; the last one wins.
fn form(words: &[String]) -> Form {
    let named = |word: &String| match word.as_str() {
        "typed" => Some(Form::Typed),
        "json" => Some(Form::Json),
        _ => None,
    };
    words.iter().rev().find_map(named).unwrap_or_default()
}

fn has(words: &[String], wanted: &str) -> bool {
    words.iter().any(|word| word == wanted)
}

pub(super) fn info(words: &[String], world: &World<'_>) -> Answer {
    let mut out = Vec::new();
    info::push(
        &world.view,
        &world.extra,
        form(words),
        has(words, "desc"),
        &mut out,
    );
    Answer::Bytes(out)
}

/// `show stat [domain <d>] [<proxy> <types> <sid>] [typed|json] [up|no-maint]`.
pub(super) fn stat(words: &[String], world: &World<'_>) -> Answer {
    let (domain, words) = match words {
        [word, domain, rest @ ..] if word == "domain" => (domain.as_str(), rest),
        [word] if word == "domain" => ("", words),
        _ => ("proxy", words),
    };
    let mut filter = Filter {
        form: form(words),
        no_maint: has(words, "no-maint"),
        up: has(words, "up"),
        ..Filter::default()
    };
    match domain {
        "proxy" => {}
        "resolvers" => filter.nothing = true,
        _ => return Answer::error("Invalid statistics domain."),
    }
    if let [proxy, kinds, sid, ..] = words {
        if proxy != "-1" {
            match find_proxy(&world.view.shared.config, proxy) {
                Some(id) => filter.iid = Some(world.view.shared.config.proxy(id).iid),
                None => return Answer::error("No such proxy."),
            }
        }
        // -1 is no filter; what is no number is haproxy's 0.
        let number = |word: &String| u32::try_from(word.parse::<i64>().unwrap_or(0)).ok();
        filter.kinds = number(kinds);
        filter.sid = number(sid);
    }
    Answer::Long(Box::new(StatDump::new(filter)))
}

pub(super) fn stats_file(_: &[String], _: &World<'_>) -> Answer {
    Answer::Long(Box::new(StatsFileDump::default()))
}

pub(super) fn activity(_: &[String], world: &World<'_>) -> Answer {
    let mut out = Vec::new();
    activity::push(&world.view, &mut out);
    Answer::Bytes(out)
}

/// `show drain`: ours alone.
pub(super) fn drain(_: &[String], _: &World<'_>) -> Answer {
    Answer::Long(Box::new(DrainDump::default()))
}

/// `show errors [<proxy>|<iid>|-1] [request|response]`: the last messages that were none.
pub(super) fn errors(words: &[String], world: &World<'_>) -> Answer {
    let shared = world.view.shared;
    let (proxy, side) = match words {
        [word, rest @ ..] if word == "-1" => (None, rest.first()),
        [word, rest @ ..] => match find_proxy(&shared.config, word) {
            Some(id) => (Some(id), rest.first()),
            None => return Answer::error("No such proxy."),
        },
        [] => (None, None),
    };
    let mut clock = LocalClock::new(world.view.offset_at);
    let mut out = b"Total events captured on [".to_vec();
    push_date(&mut out, world.view.wall_us, &mut clock);
    out.extend_from_slice(format!("] : {}\n", shared.errors.total()).as_bytes());
    for index in 0..shared.config.proxies.len() {
        let id = ProxyId(index as u32);
        if proxy.is_some_and(|wanted| wanted != id) {
            continue;
        }
        for capture in shared.errors.of(id) {
            let wanted = match side.map(String::as_str) {
                Some("request") => !capture.response,
                Some("response") => capture.response,
                _ => true,
            };
            if wanted {
                capture_text(&mut out, &capture, world, &mut clock);
            }
        }
    }
    Answer::Bytes(out)
}

fn capture_text(out: &mut Vec<u8>, capture: &Capture, world: &World<'_>, clock: &mut LocalClock) {
    let config = &world.view.shared.config;
    let front = config.proxy(config.frontend(capture.frontend).proxy);
    let back = capture
        .backend
        .map(|b| config.proxy(config.backend(b).proxy));
    let server = capture.server.and_then(|s| config.servers.get(s.index()));
    let (back_name, back_iid) = back.map_or(("<NONE>", -1), |p| (&*p.name, i64::from(p.iid)));
    let (server_name, sid) = server.map_or(("<NONE>", -1), |s| (&*s.name, i64::from(s.puid)));
    out.extend_from_slice(b" \n[");
    push_date(out, capture.at_us, clock);
    let head = if capture.response {
        format!(
            "] backend {back_name} (#{back_iid}): invalid response\n  frontend {} (#{})",
            front.name, front.iid
        )
    } else {
        format!(
            "] frontend {} (#{}): invalid request\n  backend {back_name} (#{back_iid})",
            front.name, front.iid
        )
    };
    let client = capture
        .client
        .map_or_else(|| "unix".to_owned(), |c| c.to_string());
    let room = config.global.tune.bufsize as usize;
    out.extend_from_slice(
        format!(
            "{head}, server {server_name} (#{sid}), event #{}, src {client}\n  buffer starts at 0 (including 0 out), {} free,\n  \
             len {}, wraps at {room}, error at position {}\n  reason: {:?} :\n \n",
            capture.number,
            room.saturating_sub(capture.bytes.len()),
            capture.bytes.len(),
            capture.offset,
            capture.kind,
        )
        .as_bytes(),
    );
    dump(out, &capture.bytes);
}

/// Characters of a line of a dump.
const DUMP_WIDTH: usize = 70;

/// `  00000  GET / HTTP/1.1\r\n`: a line ends with its line feed; the rest of a long one has `+` behind its offset.
fn dump(out: &mut Vec<u8>, bytes: &[u8]) {
    let mut at = 0;
    let mut goes_on = false;
    while at < bytes.len() {
        let mark = if goes_on { '+' } else { ' ' };
        out.extend_from_slice(format!("  {at:05}{mark} ").as_bytes());
        let mut width = 0;
        goes_on = true;
        while let Some(&byte) = bytes.get(at) {
            let shown: std::ascii::EscapeDefault = std::ascii::escape_default(byte);
            let plain = matches!(byte, b'"' | b'\'');
            let needed = if plain { 1 } else { shown.len() };
            if width + needed > DUMP_WIDTH {
                break;
            }
            if plain {
                out.push(byte);
            } else {
                out.extend(shown);
            }
            width += needed;
            at += 1;
            if byte == b'\n' {
                goes_on = false;
                break;
            }
        }
        out.push(b'\n');
    }
}

pub(super) fn version(_: &[String], world: &World<'_>) -> Answer {
    Answer::Info(world.view.facts.version.clone())
}

pub(super) fn env(words: &[String], world: &World<'_>) -> Answer {
    let env = &world.view.facts.env;
    let wanted = words.first();
    if wanted.is_some_and(|name| !env.iter().any(|(known, _)| known == name)) {
        return Answer::error("Variable not found");
    }
    let shown = env
        .iter()
        .filter(|(name, _)| wanted.is_none_or(|wanted| wanted == name));
    Answer::Text(
        shown
            .map(|(name, value)| format!("{name}={value}\n"))
            .collect(),
    )
}

pub(super) fn startup_logs(_: &[String], world: &World<'_>) -> Answer {
    let text = &world.view.facts.startup_log;
    let end = if text.ends_with('\n') { "" } else { "\n" };
    Answer::Text(format!("{text}{end}"))
}

pub(super) fn servers_state(words: &[String], world: &World<'_>) -> Answer {
    servers(List::State, words, world)
}

pub(super) fn servers_conn(words: &[String], world: &World<'_>) -> Answer {
    servers(List::Connections, words, world)
}

fn servers(list: List, words: &[String], world: &World<'_>) -> Answer {
    let only = match words.first() {
        None => None,
        Some(name) => match backend_of(&world.view.shared.config, name) {
            Some(backend) => Some(backend),
            None => return Answer::error("Can't find backend."),
        },
    };
    Answer::Long(Box::new(ServersDump::new(list, only)))
}

pub(super) fn backend(_: &[String], world: &World<'_>) -> Answer {
    let proxies = world.view.shared.config.proxies.iter();
    let shown = proxies.filter(|proxy| proxy.backend.is_some() && !proxy.disabled);
    let names: String = shown.map(|proxy| format!("{}\n", proxy.name)).collect();
    Answer::Text(format!("# name\n{names}"))
}

pub(super) fn cli_sockets(_: &[String], world: &World<'_>) -> Answer {
    let mut text = String::from("# socket lvl processes\n");
    for socket in &world.view.shared.config.global.stats_sockets {
        text += &format!(
            "{} {} all\n",
            address(&socket.address),
            level_name(socket.level)
        );
    }
    Answer::Text(text)
}

/// A socket's address as `show cli sockets` and `HAPROXY_CLI` have it.
pub fn address(address: &BindAddress) -> String {
    match address {
        BindAddress::Ip(ip) if ip.is_ipv4() => format!("ipv4@{ip}"),
        BindAddress::Ip(ip) => format!("ipv6@{ip}"),
        BindAddress::Unix(path) => format!("unix@{}", path.display()),
        BindAddress::Abns(name) => format!("abns@{}", String::from_utf8_lossy(name)),
        BindAddress::Abnsz(name) => format!("abnsz@{}", String::from_utf8_lossy(name)),
        BindAddress::Fd(fd) => format!("fd@{fd}"),
    }
}

/// A level in the words of the configuration.
pub fn level_name(level: CliLevel) -> &'static str {
    match level {
        CliLevel::User => "user",
        CliLevel::Operator => "operator",
        CliLevel::Admin => "admin",
    }
}

pub(super) fn echo(words: &[String], _: &World<'_>) -> Answer {
    Answer::Text(format!("{}\n", words.join(" ")))
}

pub(super) fn quit(_: &[String], _: &World<'_>) -> Answer {
    Answer::Quit
}

/// Seconds where no unit is given.
pub(super) fn set_timeout(words: &[String], _: &World<'_>) -> Answer {
    if words.first().is_none_or(|word| word != "cli") {
        return Answer::error("'set timeout' only supports 'cli'.");
    }
    match words.get(1).map(|word| time_ms(word.as_bytes(), Unit::S)) {
        Some(Ok(ms)) if ms > 0 => Answer::Timeout(ms),
        Some(_) => Answer::error("Invalid timeout value."),
        None => Answer::error("Expects an integer value."),
    }
}

/// `wait <delay>`: answers later, so that what follows on the line comes then.
pub(super) fn wait(words: &[String], world: &World<'_>) -> Answer {
    let delay = match words.first().map(String::as_str) {
        Some("-h") => return Answer::Text(WAIT_HELP.into()),
        None => return Answer::error("Expects a duration in milliseconds, or '-h' for help."),
        Some(word) => time_ms(word.as_bytes(), Unit::Ms),
    };
    let Ok(ms) = delay else {
        return Answer::error("Invalid duration: expects milliseconds, or a number with a unit.");
    };
    match words.get(1).map(String::as_str) {
        Some("srv-removable") => servers::wait_removable(ms, words.get(2), world),
        Some(what @ "be-removable") => {
            Answer::error(format!("'wait … {what}' is not supported yet."))
        }
        Some(_) => Answer::error("Unknown condition, '-h' shows what may be waited for."),
        None => Answer::Long(Box::new(Wait {
            until: world.view.now + u64::from(ms),
            left: 0,
        })),
    }
}

const WAIT_HELP: &str = "Usage: wait <delay> [srv-removable <backend>/<server>]
  <delay>  milliseconds, or a number with a unit (us, ms, s, m, h, d)
  srv-removable  wait only until 'del server' would take that server away
";

/// Longest time between two looks at the clock, ms.
const LOOK_MS: u64 = 100;

#[derive(Debug)]
struct Wait {
    until: Tick,
    left: u64,
}

impl Dump for Wait {
    fn more(&mut self, view: &View<'_>, out: &mut Vec<u8>) -> bool {
        self.left = self.until.since(view.now);
        if self.left > 0 {
            return true;
        }
        out.extend_from_slice(b"Done.\n");
        false
    }

    fn waits(&self) -> Option<u32> {
        u32::try_from(self.left.min(LOOK_MS)).ok()
    }
}

pub(super) fn set_severity(words: &[String], _: &World<'_>) -> Answer {
    match words.first().map(String::as_str) {
        Some("none") => Answer::Severity(SeverityOutput::None),
        Some("number") => Answer::Severity(SeverityOutput::Number),
        Some("string") => Answer::Severity(SeverityOutput::Word),
        _ => Answer::error("one of 'none', 'number', 'string' is a required argument"),
    }
}

pub(super) fn prompt(words: &[String], _: &World<'_>) -> Answer {
    Answer::Prompt(match words.first().map(String::as_str) {
        None => Prompt::Toggle,
        Some("n") => Prompt::Set(Mode::Single),
        Some("i") => Prompt::Set(Mode::Interactive),
        Some("p") => Prompt::Set(Mode::Prompt),
        Some("timed") => Prompt::ToggleTime,
        Some("help") => return Answer::Text(PROMPT_HELP.into()),
        Some(_) => return Answer::error("Unknown prompt mode: expects n, i, p, timed or help."),
    })
}

const PROMPT_HELP: &str = "  n      close after the answer
  i      stay open without a prompt
  p      stay open with a prompt
  timed  show the time since start in the prompt, or no longer
";
