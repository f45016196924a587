//! How many descriptors, connections and pipes fit: arithmetic only, `start` asks and obeys.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::config::{Config, LogAddress, Splice};

/// Descriptors kept free for what comes and goes: files read, sockets of the control thread's own.
const SPARE_FDS: u64 = 16;
/// Ring or epoll, bell, listening socket being replaced, datagram sockets for logs (v4 and v6).
const FDS_PER_SHARD: u64 = 5;
/// Most pipes of a process where `maxpipes` does not say: with 1 MB each they may hold 256 MB.
const PIPES_DEFAULT: u64 = 256;
/// What haproxy takes for `fd-hard-limit` where none is written.
const FD_HARD_LIMIT_DEFAULT: u64 = 1 << 20;

/// What takes descriptors besides connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Needs {
    pub shards: u64,
    pub listeners: u64,
    pub checks: u64,
    pub unix_logs: u64,
    pub admin: u64,
    pub pipes: u64,
}

impl Needs {
    /// Counts what `config` asks for on `shards` shards.
    pub fn of(config: &Config, shards: usize, pipes: u64) -> Self {
        let n = shards as u64;
        let live = config
            .binds
            .iter()
            .filter(|b| !config.frontend(b.frontend).disabled);
        let listeners = live
            .map(|b| match b.shards {
                _ if !b.address.shardable() => 1,
                Some(wanted) => u64::from(wanted).clamp(1, n),
                None => n,
            })
            .sum();
        let mut unix: Vec<&LogAddress> = config
            .global
            .log
            .iter()
            .chain(config.frontends.iter().flat_map(|f| &f.log))
            .chain(config.backends.iter().flat_map(|b| &b.log))
            .map(|target| &target.to)
            .filter(|to| matches!(to, LogAddress::Unix(_) | LogAddress::Abns(_)))
            .collect();
        unix.sort_by_key(|to| format!("{to:?}"));
        unix.dedup();
        let sockets = config.global.stats_sockets.len() as u64;
        let admin = if sockets == 0 {
            0
        } else {
            sockets + u64::from(config.global.stats_maxconn) + 8
        };
        Self {
            shards: n,
            listeners,
            checks: config.servers.iter().filter(|s| s.check.is_some()).count() as u64,
            // Each shard, the main and the control thread have a connection of their own.
            unix_logs: unix.len() as u64 * (n + 3),
            admin,
            pipes,
        }
    }

    /// Descriptors needed without any connection.
    pub fn fixed(&self) -> u64 {
        3 + SPARE_FDS
            + self.shards * FDS_PER_SHARD
            + self.listeners
            + self.checks
            + self.unix_logs
            + self.admin
            + 2 * self.pipes
    }

    /// Descriptors needed for `maxconn` connections: two each, one to the client and one to the server.
    pub fn total(&self, maxconn: u64) -> u64 {
        self.fixed() + 2 * maxconn
    }

    /// Connections that fit into `fds`, at least one.
    pub fn maxconn_within(&self, fds: u64) -> u64 {
        (fds.saturating_sub(self.fixed()) / 2).max(1)
    }
}

/// Most pipes the process may hold: `maxpipes`, else 256, but no more than a pipe for each fourth connection
/// (haproxy's proportion) and an eighth of the `usable` descriptors. None where nothing may splice.
pub fn pipes(config: &Config, no_splice: bool, usable: u64) -> u64 {
    let never = |s: Splice| s == Splice::Never;
    let unused = config
        .frontends
        .iter()
        .all(|f| never(f.splice_request) && never(f.splice_response))
        && config
            .backends
            .iter()
            .all(|b| never(b.splice_request) && never(b.splice_response));
    if no_splice || config.global.nosplice || unused {
        return 0;
    }
    if let Some(n) = config.global.maxpipes {
        return u64::from(n);
    }
    let by_connections = config.global.maxconn.map_or(u64::MAX, |n| u64::from(n) / 4);
    by_connections.min(usable / 16).clamp(2, PIPES_DEFAULT)
}

/// The descriptors a process may come to have: its hard limit, cut by `fd-hard-limit`.
pub fn usable_fds(hard: u64, fd_hard_limit: Option<u64>) -> u64 {
    hard.min(fd_hard_limit.unwrap_or(FD_HARD_LIMIT_DEFAULT))
}

/// What to do about descriptors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Soft limit to ask for.
    pub ask: u64,
    /// `ulimit-n` was written: the limit is set even where it is higher already.
    pub exact: bool,
    /// Connections that the configuration asks for, or that fit where it does not say.
    pub maxconn: u64,
    /// Descriptors that `maxconn` takes.
    pub need: u64,
}

/// The limit to ask for: `ulimit-n` as written, else what `maxconn` needs; without `maxconn` all there is.
pub fn plan(needs: &Needs, maxconn: Option<u32>, ulimit_n: Option<u64>, usable: u64) -> Plan {
    match maxconn {
        Some(n) => {
            let need = needs.total(u64::from(n));
            Plan {
                ask: ulimit_n.unwrap_or(need),
                exact: ulimit_n.is_some(),
                maxconn: u64::from(n),
                need,
            }
        }
        None => {
            let ask = ulimit_n.unwrap_or(usable);
            let maxconn = needs.maxconn_within(ask);
            Plan {
                ask,
                exact: ulimit_n.is_some(),
                maxconn,
                need: needs.total(maxconn),
            }
        }
    }
}

/// Memory for rings that may be locked, where that can be raised.
const MEMLOCK_WANTED: u64 = 64 << 20;

/// Sets a limit to `wanted`, or as near as the hard limit allows; what is in force afterwards.
pub(super) fn raise(resource: Resource, wanted: u64, soft: u64, hard: u64) -> u64 {
    if wanted > hard && setrlimit(resource, wanted, wanted).is_ok() {
        return wanted;
    }
    let within = wanted.min(hard);
    if within == soft || setrlimit(resource, within, hard).is_ok() {
        within
    } else {
        soft
    }
}

/// More memory may be locked, where the hard limit allows it.
pub(super) fn raise_memlock() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_MEMLOCK)
        && soft < MEMLOCK_WANTED
    {
        raise(Resource::RLIMIT_MEMLOCK, MEMLOCK_WANTED, soft, hard);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEEDS: Needs = Needs {
        shards: 4,
        listeners: 8,
        checks: 3,
        unix_logs: 0,
        admin: 0,
        pipes: 10,
    };

    #[test]
    fn each_connection_takes_two_descriptors_beside_the_fixed_ones() {
        assert_eq!(NEEDS.fixed(), 3 + 16 + 20 + 8 + 3 + 20);
        assert_eq!(NEEDS.total(1000), NEEDS.fixed() + 2000);
        assert_eq!(NEEDS.maxconn_within(NEEDS.total(1000)), 1000);
        assert_eq!(NEEDS.maxconn_within(NEEDS.total(1000) - 1), 999);
        assert_eq!(
            NEEDS.maxconn_within(10),
            1,
            "too few for anything still means one"
        );
    }

    #[test]
    fn without_maxconn_all_descriptors_are_used() {
        let plan = plan(&NEEDS, None, None, 20_000);
        assert_eq!(plan.ask, 20_000);
        assert_eq!(plan.maxconn, (20_000 - NEEDS.fixed()) / 2);
        assert!(plan.need <= 20_000);
    }

    #[test]
    fn ulimit_n_is_asked_for_as_written() {
        assert_eq!(plan(&NEEDS, Some(100), Some(65_536), 1024).ask, 65_536);
        assert_eq!(
            plan(&NEEDS, None, Some(4096), 1024).maxconn,
            NEEDS.maxconn_within(4096)
        );
        assert_eq!(
            plan(&NEEDS, Some(30_000), None, 1024).ask,
            60_000 + NEEDS.fixed()
        );
    }

    #[test]
    fn the_hard_limit_is_cut_where_it_is_boundless() {
        assert_eq!(usable_fds(u64::MAX, None), 1 << 20);
        assert_eq!(usable_fds(u64::MAX, Some(5000)), 5000);
        assert_eq!(usable_fds(1024, Some(5000)), 1024);
    }

    #[test]
    fn pipes_follow_maxconn_and_the_switches() {
        let mut config = Config::default();
        config.global.maxconn = Some(100);
        assert_eq!(pipes(&config, false, 20_000), 0, "nothing would splice");
        config.frontends.push(front());
        assert_eq!(pipes(&config, false, 20_000), 25);
        config.global.maxconn = None;
        assert_eq!(pipes(&config, false, 20_000), 256);
        assert_eq!(pipes(&config, false, 1024), 64, "two descriptors each");
        config.global.maxpipes = Some(7);
        assert_eq!(pipes(&config, false, 20_000), 7);
        assert_eq!(pipes(&config, true, 20_000), 0);
        config.global.nosplice = true;
        assert_eq!(pipes(&config, false, 20_000), 0);
    }

    fn front() -> crate::config::Frontend {
        let text = "frontend f\n mode tcp\n timeout client 1s\n bind 127.0.0.1:1\n";
        let inputs = crate::config::LoadInputs {
            inputs: vec![crate::config::Input::Text {
                name: "t".into(),
                bytes: text.into(),
            }],
            ..Default::default()
        };
        crate::config::load(&inputs)
            .config
            .expect("valid")
            .frontends
            .remove(0)
    }
}
