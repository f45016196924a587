//! Drivers: they turn completions into operations. None of them touches a ring or a clock.
//!
//! A driver is a state machine in a slot. Its `on_*` functions stand in order of life; the stage
//! changes in one place each. What the drivers of one shard share is [`local::Local`]; where log
//! lines go is [`logs`].

pub mod check;
pub mod connect;
mod early;
pub mod external;
pub mod gate;
pub mod http;
pub mod listener;
pub mod local;
pub mod logs;
pub mod outcome;
pub mod pace;
pub mod passwords;
mod place;
pub mod tcp;
pub mod trace;

pub use local::{Local, Owner, Timer};
