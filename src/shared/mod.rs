//! All that more than one shard sees, hence all atomics and locks of the data plane.
//!
//! Three kinds of cells. *Counters* are written by one shard and read by all, so a plain load and
//! store will do. *Gauges* that limits depend on (connections of the process and of a frontend,
//! places of a limited server) are taken by compare-and-swap. *State* (a server's health, weight,
//! administration) is written by whoever decides it and stamped with its backend's version, which
//! every shard compares once a turn. Messages are hints; what they speak of lies here.
//!
//! Servers that come and go at run time make *versions* of all this ([`versions`]), which share what did not
//! change. Whoever asks about sessions has the shards look when asked ([`survey`], [`census`]).

pub mod census;
pub mod counters;
pub mod errors;
pub mod latency;
pub mod mailbox;
pub mod place;
pub mod server_cell;
pub mod state;
pub mod survey;
pub mod table;
pub mod versions;

pub use counters::{
    BackendCounters, Counter, FreqCounter, FrontendCounters, ListenerCounters, ServerCounters,
};
pub use latency::{Lap, Latency};
pub use mailbox::{CommandEnd, KillFor, Mailbox, Message};
pub use server_cell::ServerCell;
pub use state::{BackendShared, Door, FrontendShared, Phase, ProcessShared, ShardShared, Shared};
