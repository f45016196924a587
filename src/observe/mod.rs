//! What operators see: log lines, statistics, the command line of the admin socket.
//!
//! Pure: it writes bytes into the caller's buffers. Sockets and files are `proxy::logs`' and
//! `control`'s.

pub mod cli;
pub mod log;
pub mod stats;
