//! Stand-ins until their owners land.
use super::*;
use crate::config::http::*;

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    pub(super) server: Option<ServerId>,
    pub(super) letter: u8,
}
pub(super) fn cookie_starting<'h>(_: &'h Head, _: &[u8], _: &[u8]) -> Option<&'h [u8]> {
    None
}
pub(super) fn look(_: &mut Head, _: &Cookie, _: (), _: &dyn Fn(ServerId) -> bool, _: i64) -> Seen {
    Seen {
        server: None,
        letter: b'N',
    }
}
#[expect(clippy::too_many_arguments)]
pub(super) fn treat(
    _: &mut Head,
    _: &Cookie,
    _: (),
    _: ServerId,
    _: &Seen,
    _: &[u8],
    _: i64,
) -> u8 {
    b'-'
}
pub(super) use crate::backend::key::hash_key;
