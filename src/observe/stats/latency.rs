//! Percentiles in the rows of `show stat`, and the histograms of one frontend, backend or server.
//!
//! They are put into a row where they are shown: the exporter makes a row for each of its metrics, and merging
//! the counts of all shards costs more than the rest of a row.

use super::View;
use super::columns::{FIRST_OWN, PERMILLE};
use super::rows::Row;
use super::value::Value;
use crate::base::histogram::Counts;
use crate::config::{BackendId, FrontendId, ServerId};
use crate::shared::latency::{ALL_LAPS, Window, counted};
use crate::shared::{Lap, Latency};

/// Whose times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    Frontend(FrontendId),
    Backend(BackendId),
    Server(ServerId),
}

impl Whose {
    fn window<'v>(self, view: &'v View<'_>) -> &'v Window {
        match self {
            Self::Frontend(id) => &view.shared.frontend(id).window,
            Self::Backend(id) => &view.shared.backend(id).window,
            Self::Server(id) => &view.shared.server(id).window,
        }
    }

    fn shards<'v>(self, view: &'v View<'_>) -> impl Iterator<Item = &'v Latency> {
        view.shared.shards.iter().map(move |shard| match self {
            Self::Frontend(id) => &shard.frontends[id.index()].latency,
            Self::Backend(id) => &shard.backends[id.index()].latency,
            Self::Server(id) => &shard.servers[id.index()].latency,
        })
    }

    /// All times of a kind since the start or the last `clear counters all`.
    pub fn counted(self, view: &View<'_>, lap: Lap) -> Counts {
        counted(self.shards(view), lap)
    }

    /// Puts percentiles of recent times into `row`, in µs; those of a kind without times stay empty.
    pub fn put(self, view: &View<'_>, row: &mut Row<'_>) {
        for lap in ALL_LAPS {
            let recent = self.window(view).recent(self.shards(view), lap);
            let first = FIRST_OWN + lap as usize * PERMILLE.len();
            for (at, found) in recent.percentiles(PERMILLE).into_iter().enumerate() {
                row.values[first + at] = found.map_or(Value::Empty, Value::U64);
            }
        }
    }
}
