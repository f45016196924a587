//! Answers to `show sess` and `shutdown session`, a bounded page a message.

use super::turn::Shard;
use crate::base::slots::Key;
use crate::io::kernel::Kernel;
use crate::proxy::local::Owner;
use crate::proxy::outcome::Cause;
use crate::proxy::{http, tcp};
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
