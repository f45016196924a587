//! A transcript of haproxy, step by step, and what it does not show.

use std::collections::BTreeMap;

use super::*;
use crate::backend::Verdict;
use crate::backend::fixture::{backend, server, shared, weighted};
use crate::backend::health::{next_inter, on_result, wants_check};
use crate::config::model::*;
use crate::proto::check::{Answer, Status};

fn checked(rise: u32, fall: u32) -> Option<Check> {
    Some(Check {
        inter_ms: 2000,
        fastinter_ms: None,
        downinter_ms: None,
        rise,
        fall,
        addr: None,
        port: 80,
        send_proxy: None,
        via_socks4: false,
    })
}

/// The configuration of `make.py`.
fn as_in_the_transcript() -> Shared {
    let named = |name: &str, id| server(name, id);
    let b = vec![
        Server {
            check: checked(2, 3),
            weight: 10,
            ..named("s1", 1)
        },
        Server {
            track: Some(ServerId(0)),
            ..named("t1", 2)
        },
        Server {
            track: Some(ServerId(1)),
            ..named("t2", 3)
        },
        Server {
            weight: 3,
            ..named("x1", 4)
        },
        Server {
            disabled: true,
            ..named("d1", 5)
        },
    ];
    let k = vec![
        Server {
            check: checked(2, 3),
            backup: true,
            ..named("s1", 1)
        },
        Server {
            track: Some(ServerId(0)),
            ..named("t1", 2)
        },
    ];
    let l = vec![
        Server {
            check: checked(3, 2),
            ..named("s1", 1)
        },
        Server {
            backup: true,
            ..named("b1", 2)
        },
    ];
    let one = vec![Server {
        weight: 5,
        ..named("s1", 1)
    }];
    let logs = Backend {
        log_health_checks: true,
        ..backend("l", Balance::RoundRobin)
    };
    let shared = shared(
        vec![
            (backend("b", Balance::RoundRobin), b),
            (backend("k", Balance::RoundRobin), k),
            (logs, l),
            (backend("one", Balance::StaticRr), one),
        ],
        1,
    );
    at_start(&shared);
    shared
}

/// Plays the steps of a transcript and says what haproxy would print.
struct Play {
    shared: Shared,
    /// Servers checked at each port, and whether it answers.
    ports: BTreeMap<&'static str, (ServerId, bool)>,
    shown: BTreeMap<String, String>,
    out: Vec<String>,
    now: Tick,
}

impl Play {
    fn new() -> Self {
        let shared = as_in_the_transcript();
        let ports = [
            ("a", (ServerId(0), true)),
            ("c", (ServerId(5), true)),
            ("e", (ServerId(7), true)),
        ];
        Self {
            shared,
            ports: ports.into(),
            shown: BTreeMap::new(),
            out: Vec::new(),
            now: Tick(0),
        }
    }

    fn step(&mut self, step: &str) {
        self.now = self.now + 1000;
        self.out.push(step.to_owned());
        let words: Vec<&str> = step.split(' ').collect();
        match words[..] {
            ["!", what, port] => self.ports.get_mut(port).unwrap().1 = what == "pass",
            [">", "set", "server", name, what, value] => {
                let id = self.server(name);
                let (shared, now) = (&self.shared, self.now);
                match (what, value) {
                    ("state", "maint") => self.tell(set_maint(shared, id, now)),
                    ("state", "drain") => self.tell(set_drain(shared, id, now)),
                    ("state", "ready") => self.tell(set_ready(shared, id, now)),
                    ("weight", _) => match set_weight(shared, id, value, now) {
                        Ok(change) => self.tell(change),
                        Err(why) => self.out.push(format!("= {why}")),
                    },
                    _ => panic!("{step}"),
                }
            }
            [">", "enable", "server", name] => {
                self.tell(set_ready(&self.shared, self.server(name), self.now))
            }
            [">", "disable", "server", name] => {
                self.tell(set_maint(&self.shared, self.server(name), self.now))
            }
            _ => panic!("{step}"),
        }
        self.check_and_show();
    }

    fn check_and_show(&mut self) {
        for (id, answers) in self.ports.clone().into_values() {
            for _ in 0..6 {
                if !wants_check(&self.shared, id) {
                    continue;
                }
                let answer = if answers {
                    Answer::plain(Status::L4Ok)
                } else {
                    Answer {
                        info: "Connection refused".into(),
                        ..Answer::plain(Status::L4Con)
                    }
                };
                let result = CheckResult::new(answer, 0);
                let change = on_result(&self.shared, id, &result, self.now);
                self.tell(change.unwrap_or_default());
            }
        }
        self.show();
    }

    fn server(&self, name: &str) -> ServerId {
        let of = |i: &usize| full_name(&self.shared.config, ServerId(*i as u32)) == name;
        ServerId((0..self.shared.servers.len()).find(of).unwrap() as u32)
    }

    fn tell(&mut self, change: Change) {
        let line = |l: &Line| format!("{} {}", format!("{:?}", l.level).to_lowercase(), l.text);
        self.out.extend(change.lines.iter().map(line));
    }

    fn show(&mut self) {
        let shared = &self.shared;
        let mut states = Vec::new();
        for (b, config) in shared.config.backends.iter().enumerate() {
            for &id in &config.servers {
                let of = shared.config.server(id);
                let downs = shared.server(id).downs.load(Relaxed);
                let downs = if of.check.is_some() {
                    downs.to_string()
                } else {
                    "-".into()
                };
                let word = server::state_text(shared, id).replace(' ', "_");
                let weight = server::shown_weight(shared, id, self.now);
                states.push((
                    full_name(&shared.config, id),
                    format!("{word} {weight} {downs}"),
                ));
            }
            let cell = &shared.backends[b];
            let word = if cell.down_since_ms.load(Relaxed) == 0 {
                "UP"
            } else {
                "DOWN"
            };
            // Weights in use: of active servers, else of the first backup.
            let usable = |backup: bool| {
                let all = config
                    .servers
                    .iter()
                    .filter(move |&&id| shared.config.server(id).backup == backup);
                all.filter(|&&id| server::is_usable(shared.server(id)))
                    .map(|&id| server::shown_weight(shared, id, self.now))
            };
            let active: u32 = usable(false).sum();
            let weight = if active > 0 {
                active
            } else {
                usable(true).next().unwrap_or(0)
            };
            states.push((
                format!("{}/BACKEND", config.name),
                format!("{word} {weight} {}", cell.downs.load(Relaxed)),
            ));
        }
        for (name, state) in states {
            if self.shown.get(&name) != Some(&state) {
                self.out.push(format!(": {name} {state}"));
                self.shown.insert(name, state);
            }
        }
    }
}

#[test]
fn every_line_and_state_is_haproxys() {
    let text = include_str!("transcript.txt");
    let expected: Vec<&str> = text.lines().filter(|l| !l.starts_with('#')).collect();
    let mut play = Play::new();
    play.check_and_show();
    for step in expected
        .iter()
        .filter(|l| l.starts_with("> ") || l.starts_with("! "))
    {
        play.step(step);
    }
    // States are compared as sets between two steps: haproxy lists backends in another order.
    let sort = |lines: &[String]| {
        let mut groups: Vec<Vec<String>> = vec![Vec::new()];
        for line in lines {
            if line.starts_with("> ") || line.starts_with("! ") {
                groups.push(Vec::new());
            }
            groups.last_mut().unwrap().push(line.clone());
        }
        for group in &mut groups {
            group.sort_by_key(|l| {
                if l.starts_with(": ") {
                    l.clone()
                } else {
                    String::new()
                }
            });
        }
        groups
    };
    let expected: Vec<String> = expected.iter().map(|l| (*l).to_owned()).collect();
    for (ours, theirs) in sort(&play.out).iter().zip(sort(&expected)) {
        assert_eq!(*ours, theirs);
    }
    assert_eq!(play.out.len(), expected.len());
}

fn one_checked(rise: u32, fall: u32, slowstart_ms: u32) -> Shared {
    let s = Server {
        check: checked(rise, fall),
        weight: 50,
        slowstart_ms,
        ..server("s", 1)
    };
    shared(vec![(backend("b", Balance::RoundRobin), vec![s])], 1)
}

fn result(status: Status, code: u16, info: &str) -> CheckResult {
    CheckResult::new(
        Answer {
            status,
            code: code.into(),
            info: info.into(),
        },
        3,
    )
}

const S: ServerId = ServerId(0);

#[test]
fn the_first_failed_check_takes_a_server_down_whatever_fall_is() {
    let shared = one_checked(2, 30, 0);
    let failed = result(Status::L7Sts, 500, "Oh no");
    let change = on_result(&shared, S, &failed, Tick(5)).unwrap();
    let texts: Vec<&str> = change.lines.iter().map(|l| l.text.as_str()).collect();
    assert_eq!(
        texts,
        [
            "Server b/s is DOWN, reason: Layer7 wrong status, code: 500, info: \"Oh no\", check duration: 3ms. 0 active and 0 backup servers left. 0 sessions active, 0 requeued, 0 remaining in queue.",
            "backend b has no server available!",
        ]
    );
    assert_eq!(change.lines[0].level, Level::Alert);
    assert_eq!(change.lines[1].level, Level::Emerg);
    let emerg = change.lines[1].on_stderr(&shared.config);
    assert_eq!(
        emerg,
        ("ALERT", "backend 'b' has no server available!".into())
    );
    assert_eq!(shared.server(S).checks_failed.load(Relaxed), 1);
}

#[test]
fn fall_failures_after_a_good_check_and_rise_good_ones_after_that() {
    let shared = one_checked(2, 3, 0);
    let mut states = Vec::new();
    for pass in [
        true, false, false, true, false, false, false, false, true, false, true, true,
    ] {
        let status = if pass { Status::L4Ok } else { Status::L4Con };
        on_result(&shared, S, &result(status, 0, ""), Tick(1));
        states.push(server::state_text(&shared, S).into_owned());
    }
    let expected = [
        "UP", "UP 2/3", "UP 1/3", "UP", "UP 2/3", "UP 1/3", "DOWN", "DOWN", "DOWN 1/2", "DOWN",
        "DOWN 1/2", "UP",
    ];
    assert_eq!(states, expected);
    assert_eq!(shared.server(S).downs.load(Relaxed), 1);
}

#[test]
fn the_next_check_is_fast_between_states_and_slow_when_down() {
    let shared = {
        let check = checked(2, 2).map(|c| Check {
            fastinter_ms: Some(100),
            downinter_ms: Some(9000),
            ..c
        });
        shared(
            vec![(
                backend("b", Balance::RoundRobin),
                vec![Server {
                    check,
                    ..server("s", 1)
                }],
            )],
            1,
        )
    };
    let mut inters = vec![next_inter(&shared, S, 7)];
    for pass in [true, false, false, true, true] {
        let status = if pass { Status::L4Ok } else { Status::L4Con };
        on_result(&shared, S, &result(status, 0, ""), Tick(1));
        inters.push(next_inter(&shared, S, 7));
    }
    assert_eq!(inters, [100, 2000, 100, 9000, 100, 2000]);
}

#[test]
fn a_check_that_ends_in_maintenance_changes_nothing() {
    let shared = one_checked(1, 1, 0);
    set_maint(&shared, S, Tick(1));
    assert!(!wants_check(&shared, S));
    let late = result(Status::L4Ok, 0, "");
    assert_eq!(on_result(&shared, S, &late, Tick(2)), None);
    assert_eq!(shared.server(S).op(), OpState::Stopped);
}

#[test]
fn slowstart_climbs_as_in_haproxy_and_ends_with_a_line() {
    let shared = one_checked(1, 1, 3000);
    let weight = |ms| server::shown_weight(&shared, S, Tick(ms));
    assert_eq!(weight(0), 50, "not at the start of the process");
    set_maint(&shared, S, Tick(1000));
    set_ready(&shared, S, Tick(10_000));
    // haproxy 2.6, in whole seconds: 4, 19, 35, 50.
    assert_eq!(
        [
            weight(10_000),
            weight(11_000),
            weight(12_000),
            weight(13_000)
        ],
        [4, 19, 35, 50]
    );
    assert_eq!(finish_ramp(&shared, S, Tick(12_999)), None);
    let change = finish_ramp(&shared, S, Tick(13_000)).unwrap();
    let text = "Server b/s is UP. 1 active and 0 backup servers online. 0 sessions requeued, 0 total in queue.";
    assert_eq!(change.lines[0].text, text);
    assert_eq!(finish_ramp(&shared, S, Tick(13_001)), None);
    assert_eq!(server::down_ms(&shared, S, Tick(20_000)), 9000);
}

#[test]
fn a_limit_climbs_with_slowstart_and_follows_the_load_with_minconn() {
    let mut s = Server {
        maxconn: 10,
        slowstart_ms: 1000,
        ..server("s", 1)
    };
    let shared_of = |s: Server| {
        let b = Backend {
            fullconn: 20,
            ..backend("b", Balance::RoundRobin)
        };
        shared(vec![(b, vec![s])], 1)
    };
    let limit = |shared: &Shared, load, now| server::limit(shared, S, load, Tick(now)).unwrap();
    let ramp = shared_of(s.clone());
    set_maint(&ramp, S, Tick(1));
    set_ready(&ramp, S, Tick(1000));
    let limits: Vec<u32> = [1000, 1150, 1500, 1999, 2000]
        .map(|now| limit(&ramp, 0, now))
        .into();
    assert_eq!(limits, [1, 1, 5, 9, 10]);
    s.minconn = 2;
    let load = shared_of(s);
    let limits: Vec<u32> = [0, 4, 7, 12, 19, 20, 50].map(|n| limit(&load, n, 1)).into();
    assert_eq!(limits, [2, 2, 3, 6, 9, 10, 10]);
}

#[test]
fn a_queue_that_is_requeued_is_counted_in_the_line() {
    let mut servers = weighted(&[1, 1]);
    servers[0].maxconn = 1;
    let shared = shared(vec![(backend("b", Balance::RoundRobin), servers)], 1);
    shared.server(S).queued.store(4, Relaxed);
    shared.shards[0].server_row[0].store(2, Relaxed);
    let change = set_maint(&shared, S, Tick(1));
    let text = "Server b/s1 is going DOWN for maintenance. 1 active and 0 backup servers left. 2 sessions active, 4 requeued, 0 remaining in queue.";
    assert_eq!(change.lines[0].text, text);
}

#[test]
fn a_backend_counts_the_time_it_had_no_server() {
    let shared = one_checked(1, 1, 0);
    let cell = shared.backend(BackendId(0));
    set_drain(&shared, S, Tick(1000));
    assert_eq!(cell.down_since_ms.load(Relaxed), 1000);
    set_ready(&shared, S, Tick(4000));
    assert_eq!(cell.down_since_ms.load(Relaxed), 0);
    assert_eq!(cell.down_ms.load(Relaxed), 3000);
    assert_eq!(cell.downs.load(Relaxed), 1);
}

#[test]
fn verdicts_follow_from_the_status() {
    assert_eq!(result(Status::L6Ok, 0, "").verdict, Verdict::Passed);
    assert_eq!(result(Status::SockErr, 0, "").verdict, Verdict::Failed);
}

#[test]
fn first_checks_are_spread_as_haproxy_does() {
    let delays = |checks: &[(u32, Option<u32>)]| {
        let mut servers = weighted(&vec![1; checks.len()]);
        for (server, &(inter, fast)) in servers.iter_mut().zip(checks) {
            server.check = checked(2, 3).filter(|_| inter > 0);
            if let Some(check) = &mut server.check {
                (check.inter_ms, check.fastinter_ms) = (inter, fast);
            }
        }
        let shared = shared(vec![(backend("b", Balance::RoundRobin), servers)], 1);
        crate::backend::health::first_checks(&shared.config)
    };
    let plain = |inters: &[u32]| delays(&inters.iter().map(|&i| (i, None)).collect::<Vec<_>>());
    // Each line as measured on haproxy 2.6; 0 is a server without check.
    assert_eq!(plain(&[1000, 4000, 2000, 500]), [1, 1000, 1000, 750]);
    assert_eq!(plain(&[4000, 400, 400, 400]), [1, 1000, 2000, 3000]);
    assert_eq!(plain(&[3000, 999, 1000, 1001]), [1, 250, 500, 750]);
    assert_eq!(plain(&[400, 300, 200, 100]), [1, 75, 100, 75]);
    assert_eq!(plain(&[2000, 0, 2000, 2000, 2000]), [1, 1, 500, 1000, 1500]);
    let fast = [
        (2000, None),
        (4000, Some(1500)),
        (2000, Some(400)),
        (2000, None),
    ];
    assert_eq!(delays(&fast), [1, 375, 750, 1500]);
}

#[test]
fn at_start_a_disabled_server_takes_its_trackers_along_and_nothing_is_said() {
    let b = vec![
        Server {
            disabled: true,
            check: checked(2, 3),
            ..server("s1", 1)
        },
        Server {
            track: Some(ServerId(0)),
            ..server("t1", 2)
        },
    ];
    let shared = shared(vec![(backend("a", Balance::RoundRobin), b)], 1);
    at_start(&shared);
    let states: Vec<_> = (0..2)
        .map(|i| server::state_text(&shared, ServerId(i)))
        .collect();
    assert_eq!(states, ["MAINT", "MAINT (via a/s1)"]);
    assert_eq!(shared.server(S).admin(), admin::FMAINT | admin::CMAINT);
    assert_eq!(shared.server(S).downs.load(Relaxed), 0);
    assert_eq!(shared.backends[0].downs.load(Relaxed), 1);
    assert_ne!(shared.backends[0].down_since_ms.load(Relaxed), 0);
}

#[test]
fn a_listen_without_servers_is_called_a_proxy() {
    let mut config = (*one_checked(1, 1, 0).config).clone();
    config.proxies[0].frontend = Some(FrontendId(0));
    let shared = Shared::new(std::sync::Arc::new(config), 1);
    let change = set_drain(&shared, S, Tick(1));
    assert_eq!(change.lines[1].text, "proxy b has no server available!");
}
