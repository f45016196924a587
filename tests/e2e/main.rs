//! Scenarios with the real daemon: a configuration, clients, servers, and what an operator sees.
//!
//! A module per topic; `ROWS.md` says which test shows which row of the feature table. The
//! comparisons with haproxy's log lines stand in `tests/differential/`, in the same binary, so
//! that there is one to link.

mod support;

mod admin_socket;
mod around;
mod balance;
mod dynamic;
mod exchange;
mod explain;
mod external;
mod failover;
mod fallback;
mod flapping;
mod frontends;
mod global;
mod health;
mod http;
mod http_clients;
mod inside;
mod install;
mod language;
mod latency;
mod live_page;
mod logs;
mod long_stress;
mod master;
mod mcli;
mod pages;
mod process;
mod proxy_header;
mod relay;
mod reload;
mod reloads;
mod seeds;
mod servers;
mod socks4;
mod start;
mod stats_page;
mod stress;
mod web_seeds;

#[path = "../differential/mod.rs"]
mod differential;
