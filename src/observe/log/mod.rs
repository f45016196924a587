//! Log lines: the text of a session ([`line`]), and who gets it at which level ([`sink`]).

pub mod line;
pub mod sink;
