//! Bytes and their meaning, sans-IO.

pub mod syslog;
