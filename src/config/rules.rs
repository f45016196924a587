//! Which backend a connection is switched to (`use_backend`), by what it shows before a byte of it came.

use std::net::SocketAddr;

use super::model::BackendId;
use crate::lang::acl::{Condition, Verdict};
use crate::lang::expr::Needs;
use crate::lang::sample::Arena;
use crate::lang::subject::Subject;

/// One `use_backend` line.
#[derive(Debug, Clone)]
pub struct UseBackend {
    pub backend: BackendId,
    pub when: Option<Condition>,
}

impl UseBackend {
    pub fn holds(&self, ends: &Ends) -> bool {
        let holds = |when: &Condition| when.holds(ends, &Arena::new()) == Verdict::Holds;
        self.when.as_ref().is_none_or(holds)
    }

    fn asks(&self, what: Needs) -> bool {
        self.when
            .as_ref()
            .is_some_and(|when| when.needs().has(what))
    }

    /// Whether it asks about the client's end.
    pub fn asks_client(&self) -> bool {
        self.asks(Needs::CLIENT_ADDRESS)
    }

    /// Whether it asks about the end the client connected to.
    pub fn asks_local(&self) -> bool {
        self.asks(Needs::LOCAL_ADDRESS)
    }
}

/// The two ends of a client's connection, as far as they are known and internet addresses.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ends {
    /// The client's (from the PROXY header where one came).
    pub client: Option<SocketAddr>,
    /// Where the client connected to.
    pub local: Option<SocketAddr>,
}

impl Subject for Ends {
    fn src(&self) -> Option<SocketAddr> {
        self.client
    }
    fn dst(&self) -> Option<SocketAddr> {
        self.local
    }
}
