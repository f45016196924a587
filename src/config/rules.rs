//! Conditions as the data path asks them: which backend a connection is switched to (`use_backend`).
//!
//! A condition is in disjunctive form, as haproxy's language writes it: terms side by side must all hold,
//! `or` begins the next group. Each term is an ACL, which holds if any of its tests does (configuration.txt 7).

use std::collections::{BTreeMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;

use super::model::BackendId;

/// One `use_backend` line.
#[derive(Debug, Clone)]
pub struct UseBackend {
    pub backend: BackendId,
    pub when: Condition,
}

/// The two ends of a client's connection, as far as they are known and internet addresses.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ends {
    /// The client's (from the PROXY header where one came).
    pub client: Option<SocketAddr>,
    /// Where the client connected to.
    pub local: Option<SocketAddr>,
}

/// What follows `if` or `unless`; the default holds always.
#[derive(Debug, Clone, Default)]
pub struct Condition {
    /// `unless`.
    pub negated: bool,
    /// Groups joined by `or`; none at all holds always, whatever `negated` says.
    pub any: Vec<Vec<Term>>,
}

/// One ACL in a condition.
#[derive(Debug, Clone)]
pub struct Term {
    /// `!` before it.
    pub negated: bool,
    /// The lines of the ACL: one of them has to hold.
    pub tests: Vec<Arc<Test>>,
}

/// One criterion with its patterns.
#[derive(Debug)]
pub enum Test {
    Always(bool),
    Client(Addresses),
    Local(Addresses),
    ClientPort(Numbers),
    LocalPort(Numbers),
}

impl Condition {
    pub fn holds(&self, ends: &Ends) -> bool {
        let holds = |group: &Vec<Term>| group.iter().all(|term| term.holds(ends));
        self.any.is_empty() || self.any.iter().any(holds) != self.negated
    }

    fn tests(&self) -> impl Iterator<Item = &Test> {
        self.any
            .iter()
            .flatten()
            .flat_map(|term| &term.tests)
            .map(|test| &**test)
    }

    /// Whether it asks about the client's end.
    pub fn asks_client(&self) -> bool {
        self.tests()
            .any(|test| matches!(test, Test::Client(_) | Test::ClientPort(_)))
    }

    /// Whether it asks about the end the client connected to.
    pub fn asks_local(&self) -> bool {
        self.tests()
            .any(|test| matches!(test, Test::Local(_) | Test::LocalPort(_)))
    }
}

impl Term {
    fn holds(&self, ends: &Ends) -> bool {
        self.tests.iter().any(|test| test.holds(ends)) != self.negated
    }
}

impl Test {
    fn holds(&self, ends: &Ends) -> bool {
        let ip = |end: Option<SocketAddr>, list: &Addresses| {
            end.is_some_and(|end| list.contains(end.ip()))
        };
        let port = |end: Option<SocketAddr>, list: &Numbers| {
            end.is_some_and(|end| list.contains(i64::from(end.port())))
        };
        match self {
            Self::Always(holds) => *holds,
            Self::Client(list) => ip(ends.client, list),
            Self::Local(list) => ip(ends.local, list),
            Self::ClientPort(list) => port(ends.client, list),
            Self::LocalPort(list) => port(ends.local, list),
        }
    }
}

/// Networks, grouped by family and prefix length: a look-up costs one probe a length, however many there are.
#[derive(Debug, Default)]
pub struct Addresses {
    /// `-m found`: any address will do.
    pub any: bool,
    nets: BTreeMap<(bool, u8), HashSet<IpAddr>>,
}

impl Addresses {
    pub fn insert(&mut self, net: IpNet) {
        let key = (net.addr().is_ipv4(), net.prefix_len());
        self.nets.entry(key).or_default().insert(net.network());
    }

    pub fn contains(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        let of_family = self.nets.iter().filter(|((v4, _), _)| *v4 == ip.is_ipv4());
        let in_net = |((_, len), nets): (&(bool, u8), &HashSet<IpAddr>)| {
            IpNet::new(ip, *len).is_ok_and(|net| nets.contains(&net.network()))
        };
        self.any || of_family.into_iter().any(in_net)
    }

    /// Whether there is nothing that could match.
    pub fn is_empty(&self) -> bool {
        !self.any && self.nets.is_empty()
    }
}

/// Ranges of whole numbers, both ends included.
#[derive(Debug, Default)]
pub struct Numbers {
    pub ranges: Vec<(i64, i64)>,
}

impl Numbers {
    pub fn contains(&self, number: i64) -> bool {
        self.ranges
            .iter()
            .any(|(low, high)| (*low..=*high).contains(&number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(nets: &[&str]) -> Addresses {
        let mut out = Addresses::default();
        for net in nets {
            out.insert(net.parse().unwrap());
        }
        out
    }

    #[test]
    fn an_address_is_found_in_its_network_only() {
        let nets = list(&["192.0.2.0/24", "10.0.0.1/32", "2001:db8::/32"]);
        for (ip, found) in [
            ("192.0.2.77", true),
            ("192.0.3.1", false),
            ("10.0.0.1", true),
            ("10.0.0.2", false),
            ("2001:db8::5", true),
            ("2001:db9::5", false),
            ("::ffff:192.0.2.1", true),
        ] {
            assert_eq!(nets.contains(ip.parse().unwrap()), found, "{ip}");
        }
    }

    #[test]
    fn terms_side_by_side_must_all_hold_and_groups_need_one() {
        let term = |holds: bool, negated: bool| Term {
            negated,
            tests: vec![Arc::new(Test::Always(holds))],
        };
        let of =
            |negated: bool, any: Vec<Vec<Term>>| Condition { negated, any }.holds(&Ends::default());
        assert!(of(false, vec![]) && of(true, vec![]));
        assert!(!of(
            false,
            vec![vec![term(true, false), term(false, false)]]
        ));
        assert!(of(false, vec![vec![term(true, false), term(false, true)]]));
        assert!(of(
            false,
            vec![vec![term(false, false)], vec![term(true, false)]]
        ));
        assert!(of(true, vec![vec![term(false, false)]]));
    }

    #[test]
    fn what_is_not_known_matches_nothing() {
        assert!(!Test::Client(list(&["0.0.0.0/0"])).holds(&Ends::default()));
        assert!(
            !Test::LocalPort(Numbers {
                ranges: vec![(0, 65_535)]
            })
            .holds(&Ends::default())
        );
    }
}
