//! From words to a typed, immutable [`Config`]: keyword tables, sections, defaults, references.
//!
//! Two steps. `section` gives each line to its keyword, whose item (`keyword`) lies in the table of what it
//! fills: `global`, `proxy`, `options`, `bind`, `server`; the result (`raw`) holds what was written, word by
//! word checked. `resolve` and `servers` then apply defaults and references and build the [`Config`].
//! [`load()`] does both for all files. To add a keyword, add its item to the table of its section.

pub mod added;
mod address;
mod balance;
mod bind;
mod check_lines;
mod check_options;
mod check_raw;
pub mod checks;
mod global;
pub mod guid;
pub mod http;
mod http_options;
pub mod keyword;
mod known;
mod language;
pub mod load;
mod log;
mod logging;
pub mod model;
mod obsolete_rules;
mod options;
mod pages;
mod persistence;
mod proxy;
mod raw;
pub mod reply;
mod resolve;
mod reuse;
pub mod rule_lines;
mod rule_resolve;
mod section;
mod server;
mod servers;
mod stats_page;
mod tail;
mod tls_defaults;
pub mod userlist;
mod userlists;
mod words;

#[cfg(test)]
mod tests;

pub use checks::CheckKind;
pub(crate) use load::reason;
pub use load::{Host, Input, LoadInputs, Loaded, World, load};
pub use model::*;
