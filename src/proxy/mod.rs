//! Drivers: listener, TCP relay, connect, check; and where log lines go.

pub mod logs;
