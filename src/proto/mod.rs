//! Bytes and their meaning, sans-IO.

pub mod check;
pub mod h1;
pub mod http;
pub mod page;
pub mod proxy_header;
pub mod socks4;
pub mod syslog;
