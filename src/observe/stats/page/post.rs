//! Actions of the statistics page: a form `b=<backend>&s=<server>…&action=<word>` (configuration.txt 4.2, `stats admin`).

use std::sync::atomic::Ordering::AcqRel;

use super::Outcome;
use crate::backend::change::{self, Change, Flag, Forced, Means};
use crate::base::tick::Tick;
use crate::config::{BackendId, Config, ServerId};
use crate::proto::http::Head;
use crate::shared::{KillFor, Message, Shared};

/// Bytes of a buffer that haproxy keeps free for rewriting, and a body may not fill.
const RESERVE: usize = 1024;

/// Longest body that is read, in bytes; a longer one is [`Outcome::Excd`] and does nothing.
pub fn body_max(config: &Config) -> usize {
    (config.global.tune.bufsize as usize).saturating_sub(RESERVE)
}

/// Whether a browser says that another site made it send this request (Fetch Metadata, `Sec-Fetch-Site`): such a one
/// is [`Outcome::Deny`] whoever is logged in. haproxy does not ask.
pub fn is_foreign(head: &Head) -> bool {
    head.first(b"sec-fetch-site")
        .is_some_and(|site| site.eq_ignore_ascii_case(b"cross-site"))
}

/// What is done to each server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Ready,
    Drain,
    Maint,
    Checks(bool),
    Force(Forced),
    /// Agent checks go on, or not.
    Agent(bool),
    /// As if the agent had said so.
    AgentSays(bool),
    Shutdown,
    Flag(Flag),
}

impl Action {
    fn named(word: &[u8]) -> Option<Self> {
        Some(match word {
            b"ready" => Self::Ready,
            b"drain" => Self::Drain,
            b"maint" => Self::Maint,
            b"dhlth" => Self::Checks(false),
            b"ehlth" => Self::Checks(true),
            b"hrunn" => Self::Force(Forced::Up),
            b"hnolb" => Self::Force(Forced::Nolb),
            b"hdown" => Self::Force(Forced::Down),
            b"dagent" => Self::Agent(false),
            b"eagent" => Self::Agent(true),
            b"arunn" => Self::AgentSays(true),
            b"adown" => Self::AgentSays(false),
            b"shutdown" => Self::Shutdown,
            b"disable" => Self::Flag(Flag::Disable),
            b"enable" => Self::Flag(Flag::Enable),
            b"stop" => Self::Flag(Flag::Stop),
            b"start" => Self::Flag(Flag::Start),
            _ => return None,
        })
    }

    /// `None`: there was nothing to change.
    fn take(self, shared: &Shared, id: ServerId, now: Tick) -> Option<Change> {
        match self {
            Self::Ready => Some(change::set_ready(shared, id, now)),
            Self::Drain => Some(change::set_drain(shared, id, now)),
            Self::Maint => Some(change::set_maint(shared, id, now)),
            Self::Checks(on) => change::set_checks(shared, id, on),
            Self::Force(state) => change::force(shared, id, state, Means::Page, now),
            Self::Agent(_) | Self::AgentSays(_) if shared.config.server(id).agent.is_none() => None,
            Self::Agent(on) => {
                let before = shared.server(id).agent_off.swap(!on, AcqRel);
                (before == on).then(Change::default)
            }
            Self::AgentSays(up) => Some(change::set_agent(shared, id, up, Means::Page, now)),
            Self::Shutdown => {
                shared.hint_all(|| Message::KillServer(id, KillFor::Operator));
                Some(Change::default())
            }
            Self::Flag(flag) => change::set_flag(shared, id, flag, now),
        }
    }
}

/// Does what a whole body of at most [`body_max`] bytes asks for. The change is to be told, as one of a check is.
pub fn act(shared: &Shared, body: &[u8], now: Tick) -> (Outcome, Change) {
    let mut change = Change::default();
    let Some(form) = Form::read(body) else {
        return (Outcome::None, change);
    };
    let outcome = form.apply(shared, now, &mut change);
    (outcome, change)
}

/// The fields of a form that mean something; of several backends or actions the last one counts.
#[derive(Debug, Default)]
struct Form {
    backend: Option<Vec<u8>>,
    action: Option<Vec<u8>>,
    servers: Vec<Vec<u8>>,
}

impl Form {
    /// `None` where a field is not encoded as a form's is.
    fn read(body: &[u8]) -> Option<Self> {
        let mut form = Self::default();
        for field in body.split(|&b| b == b'&') {
            let at = field.iter().position(|&b| b == b'=');
            let (name, value) = at.map_or((field, &b""[..]), |at| (&field[..at], &field[at + 1..]));
            match name {
                b"b" => form.backend = Some(decode(value)?),
                b"action" => form.action = Some(decode(value)?),
                b"s" => form.servers.push(decode(value)?),
                _ => {}
            }
        }
        Some(form)
    }

    fn apply(&self, shared: &Shared, now: Tick, change: &mut Change) -> Outcome {
        let (Some(backend), Some(action)) = (&self.backend, &self.action) else {
            return Outcome::None;
        };
        let action = Action::named(action);
        let backend = backend_of(&shared.config, backend);
        let (Some(action), Some(backend)) = (action, backend) else {
            return Outcome::Errp;
        };
        let (mut done, mut unknown) = (0, 0);
        for name in &self.servers {
            match server_of(&shared.config, backend, name) {
                None => unknown += 1,
                Some(id) => {
                    if let Some(more) = action.take(shared, id, now) {
                        change.lines.extend(more.lines);
                        done += 1;
                    }
                }
            }
        }
        match (done, unknown) {
            (0, 0) => Outcome::None,
            (0, _) => Outcome::Errp,
            (_, 0) => Outcome::Done,
            _ => Outcome::Part,
        }
    }
}

/// A backend by name, or by number as `#6`, which the page's own forms use.
fn backend_of(config: &Config, word: &[u8]) -> Option<BackendId> {
    let word = std::str::from_utf8(word).ok()?;
    let number = word.strip_prefix('#').and_then(|n| n.parse::<u32>().ok());
    let mut proxies = config.proxies.iter().filter(|p| p.backend.is_some());
    let found = match number {
        Some(number) => proxies.find(|p| p.iid == number),
        None => proxies.find(|p| p.name == word),
    };
    found.and_then(|p| p.backend)
}

fn server_of(config: &Config, backend: BackendId, name: &[u8]) -> Option<ServerId> {
    let servers = config.backend(backend).servers.iter();
    let mut named = servers.filter(|id| config.server(**id).name.as_bytes() == name);
    named.next().copied()
}

/// `%41` and `+` of a form's value; `None` where two digits do not follow a percent sign.
fn decode(value: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(value.len());
    let mut bytes = value.iter();
    let digit = |byte: Option<&u8>| char::from(*byte?).to_digit(16);
    while let Some(&byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let (high, low) = (digit(bytes.next())?, digit(bytes.next())?);
                (high << 4 | low) as u8
            }
            other => other,
        });
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::stats::fixture::{self, World};
    use crate::shared::server_cell::OpState;

    /// The servers of haproxy's own session that gave the outcomes below: s1 checked, s2 a backup without checks,
    /// s4 tracks s1, s5 in maintenance.
    fn world() -> World {
        fixture::world()
    }

    fn state(world: &World, name: &str) -> String {
        let config = &world.shared.config;
        let at = config.servers.iter().position(|s| s.name == name).unwrap();
        let id = ServerId(u32::try_from(at).unwrap());
        crate::backend::server::state_text(&world.shared, id).into_owned()
    }

    fn posted(world: &World, body: &str) -> Outcome {
        act(&world.shared, body.as_bytes(), world.now).0
    }

    #[test]
    fn outcomes_are_those_of_haproxy() {
        use Outcome::{Done, Errp, None, Part};
        let world = world();
        let backend = world.shared.config.proxies.iter().find(|p| p.name == "be");
        let number = format!("s=s1&action=ready&b=%23{}", backend.unwrap().iid);
        assert_eq!(posted(&world, &number), Done);
        for (body, wanted) in [
            ("s=s1&action=drain&b=be", Done),
            ("b=be&s=s1&action=ready", Done),
            ("s=s1&s=s2&action=maint&b=be", Done),
            ("s=s1&s=s2&action=ready&b=be", Done),
            ("s=s1&action=foo&b=be", Errp),
            ("s=s1&action=READY&b=be", Errp),
            ("s=s1&b=be", None),
            ("action=ready&b=be", None),
            ("s=s1&action=&b=be", Errp),
            ("s=s1&action&b=be", Errp),
            ("s=nosuch&action=ready&b=be", Errp),
            ("s=s1&s=nosuch&action=drain&b=be", Part),
            ("s=s2&s=nosuch&action=dhlth&b=be", Errp),
            ("s=s1&action=ready&b=nosuch", Errp),
            ("s=s1&action=ready&b=%23be", Errp),
            ("s=s1&action=ready&b=7", Errp),
            ("s=s1&action=ready", None),
            ("s=s1&action=ready&b=", Errp),
            ("", None),
            ("x", None),
            ("s=s1&action=ready&b=be&x=y", Done),
            ("s=s1&action=ready&b=be&", Done),
            ("s=s1&&action=ready&b=be", Done),
            ("s=%731&action=ready&b=be", Done),
            ("s=s1;action=ready;b=be", None),
            ("s&action=ready&b=be", Errp),
            ("s=+s1&action=ready&b=be", Errp),
            ("s=s1&action=ready&b=%zz", None),
            ("s=s1&action=ready&b=%2", None),
            ("s=s1&action=ready&b=fe", Errp),
            ("s=q1&action=ready&b=be", Errp),
            // Checks on and off: only of servers that have some.
            ("s=s1&action=dhlth&b=be", Done),
            ("s=s1&action=ehlth&b=be", Done),
            ("s=s2&action=dhlth&b=be", None),
            ("s=s4&action=dhlth&b=be", None),
            // Forced states: not of servers that track.
            ("s=s2&action=hdown&b=be", Done),
            ("s=s2&action=hrunn&b=be", Done),
            ("s=s1&action=hnolb&b=be", Done),
            ("s=s4&action=hdown&b=be", None),
            ("s=s5&action=hrunn&b=be", Done),
            ("s=s1&action=dagent&b=be", None),
            ("s=s1&action=anolb&b=be", Errp),
            ("s=s1&action=shutdown&b=be", Done),
            // The older words: nothing where the flag stands already.
            ("s=s2&action=start&b=be", None),
            ("s=s2&action=disable&b=be", Done),
            ("s=s2&action=disable&b=be", None),
            ("s=s2&action=enable&b=be", Done),
            ("s=s2&action=enable&b=be", None),
            ("s=s2&action=stop&b=be", Done),
            ("s=s2&action=stop&b=be", None),
            ("s=s2&action=start&b=be", Done),
        ] {
            assert_eq!(posted(&world, body), wanted, "{body}");
        }
    }

    #[test]
    fn of_two_actions_the_last_counts() {
        let world = world();
        posted(&world, "b=be&s=s2&action=ready&action=maint");
        assert_eq!(state(&world, "s2"), "MAINT");
        posted(&world, "b=be&s=s2&action=maint&action=ready");
        assert_eq!(state(&world, "s2"), "no check");
    }

    #[test]
    fn states_and_lines_follow_as_in_haproxy() {
        let world = world();
        for (body, s1, s4, line) in [
            (
                "s=s1&action=hdown&b=be",
                "DOWN",
                "DOWN",
                "Server be/s1 is DOWN, changed from Web interface. ",
            ),
            (
                "s=s1&action=hrunn&b=be",
                "UP",
                "UP",
                "Server be/s1 is UP, changed from Web interface. ",
            ),
            (
                "s=s1&action=hnolb&b=be",
                "NOLB",
                "NOLB",
                "Server be/s1 is stopping, changed from Web interface. ",
            ),
            ("s=s1&action=dhlth&b=be", "NOLB", "NOLB", ""),
            (
                "s=s1&action=hrunn&b=be",
                "no check",
                "no check",
                "Server be/s1 is UP, changed from Web interface. ",
            ),
            ("s=s1&action=ehlth&b=be", "UP", "UP", ""),
            (
                "s=s1&action=disable&b=be",
                "MAINT",
                "MAINT (via be/s1)",
                "Server be/s1 is going DOWN for maintenance ('disable' on stats page). ",
            ),
            (
                "s=s1&action=ready&b=be",
                "UP 1/3",
                "UP 1/3",
                "Server be/s1 is UP/READY (leaving forced maintenance).",
            ),
            (
                "s=s1&action=stop&b=be",
                "DRAIN 1/3",
                "DRAIN 1/3",
                "Server be/s1 enters drain state ('stop' on stats page). ",
            ),
        ] {
            let (_, change) = act(&world.shared, body.as_bytes(), world.now);
            let said = change.lines.first().map_or("", |line| &line.text);
            assert!(
                said.starts_with(line) && said.is_empty() == line.is_empty(),
                "{body}: {said}"
            );
            assert_eq!(state(&world, "s1"), s1, "{body}");
            assert_eq!(state(&world, "s4"), s4, "{body}");
        }
    }

    #[test]
    fn sessions_of_a_server_are_ended_by_every_shard() {
        let world = world();
        posted(&world, "s=s1&action=shutdown&b=be");
        for shard in &world.shared.shards {
            assert!(matches!(
                shard.mailbox.take(),
                Some(Message::KillServer(..))
            ));
        }
    }

    #[test]
    fn a_server_that_takes_no_load_comes_back_with_a_passed_check() {
        let world = world();
        posted(&world, "s=s1&action=hnolb&b=be");
        let id = world
            .shared
            .config
            .servers
            .iter()
            .position(|s| s.name == "s1");
        let id = ServerId(u32::try_from(id.unwrap()).unwrap());
        let passed = crate::backend::CheckResult::new(
            crate::proto::check::Answer::plain(crate::proto::check::Status::L4Ok),
            1,
        );
        crate::backend::health::on_result(&world.shared, id, &passed, world.now);
        assert_eq!(world.shared.server(id).op(), OpState::Running);
    }

    #[test]
    fn a_request_that_another_site_made_is_seen() {
        let mut head = Head::default();
        assert!(!is_foreign(&head));
        head.push(b"Sec-Fetch-Site", b"same-origin");
        assert!(!is_foreign(&head));
        head.set(b"Sec-Fetch-Site", b"cross-site");
        assert!(is_foreign(&head));
    }
}
