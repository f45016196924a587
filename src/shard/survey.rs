//! Answers to `show sess` and `shutdown session`, a bounded page a message, and this shard's part of a census.

use super::turn::Shard;
use crate::base::slots::Key;
use crate::io::kernel::Kernel;
use crate::proxy::local::Owner;
use crate::proxy::outcome::Cause;
use crate::proxy::{http, tcp};
use crate::shared::Message;
use crate::shared::census::Walk;
use crate::shared::survey::{Cursor, PLACES, Page, ROWS, Row, SessionId, Survey};

impl<K: Kernel> Shard<K> {
    /// Fills the page in, and ends what is to end.
    pub(super) fn answer_survey(&mut self, survey: &Survey) {
        let page = match survey.filter.id {
            Some(id) => Page {
                rows: self.row(id.http, id.key).into_iter().collect(),
                next: None,
            },
            None => self.page(survey),
        };
        if survey.kill {
            for row in &page.rows {
                let SessionId { http, key, .. } = SessionId::unpack(row.id);
                self.end_session(http, key);
            }
        }
        // Asked once: nobody else answers it.
        let _ = survey.answer.set(page);
    }

    fn row(&mut self, http: bool, key: Key) -> Option<Row> {
        if http {
            http::row(&self.local, &mut self.engine, key)
        } else {
            tcp::row(&self.local, &mut self.engine, key)
        }
    }

    fn page(&mut self, survey: &Survey) -> Page {
        let Cursor { mut http, place } = survey.from;
        let mut from = place;
        let mut rows = Vec::new();
        loop {
            let (keys, end) = if http {
                self.local.sessions.some_keys(from, PLACES)
            } else {
                self.local.relays.some_keys(from, PLACES)
            };
            for key in keys {
                if rows.len() == ROWS {
                    let next = Some(Cursor {
                        http,
                        place: key.index,
                    });
                    return Page { rows, next };
                }
                rows.extend(self.row(http, key).filter(|row| survey.filter.takes(row)));
            }
            match end {
                Some(place) => {
                    let next = Some(Cursor { http, place });
                    return Page { rows, next };
                }
                None if http => return Page { rows, next: None },
                None => (http, from) = (true, 0),
            }
        }
    }

    /// Counts the sessions of some places; the rest comes with a message of its own, in a later turn.
    pub(super) fn walk(&self, mut walk: Box<Walk>) {
        let Cursor { http, place } = walk.from;
        let local = &self.local;
        let (keys, end) = if http {
            local.sessions.some_keys(place, PLACES)
        } else {
            local.relays.some_keys(place, PLACES)
        };
        for key in keys {
            let ages = if http {
                http::ages(local, key)
            } else {
                tcp::ages(local, key)
            };
            let Some((accepted, stream)) = ages else {
                continue;
            };
            walk.found.clients.add(accepted);
            if let Some((server, began)) = stream {
                walk.found.servers.entry(server).or_default().add(began);
            }
        }
        walk.from = match end {
            Some(place) => Cursor { http, place },
            None if http => return local.shared.counted(*walk),
            None => Cursor {
                http: true,
                place: 0,
            },
        };
        local.shared.hint(local.shard, Message::Census(walk));
    }

    fn end_session(&mut self, http: bool, key: Key) {
        if http {
            self.guard(Owner::Http(key), |local, io| {
                http::kill(local, io, key, Cause::Killed);
            });
        } else {
            self.guard(Owner::Relay(key), |local, io| {
                tcp::kill(local, io, key, Cause::Killed);
            });
        }
    }
}
