//! Ringway: a load balancer for TCP and HTTP that takes haproxy's configuration, command line,
//! signals, log lines and admin socket as they are.
//!
//! # The house
//!
//! Modules stand in dependency order: each uses only those listed before it (`tests/tidy.rs` checks).
//!
//! | module | holds |
//! |---|---|
//! | [`base`] | leaf types without policy: slot map, timer wheel, tick, hashes, histogram, shared lists, time and size text |
//! | [`proto`] | bytes and their meaning, sans-IO: HTTP heads and HTTP/1, pages, PROXY header, syslog, check codecs |
//! | [`lang`] | the configuration language: source, lexer, values, diagnostics; samples, expressions, ACLs, rules, log formats |
//! | [`config`] | keywords and sections, defaults, the typed [`config::Config`]: immutable, later versions share what did not change |
//! | [`shared`] | all that more than one shard sees, hence all atomics: counters, latencies, server cells, mailboxes, surveys, versions |
//! | [`backend`] | which server, and may it take more: algorithms, persistence, queue, idle connections, retries, health, agents, trials |
//! | [`observe`] | what operators see: log lines, statistics, pages and metrics, commands of the admin socket |
//! | [`io`] | the vocabulary of operations, the readiness engine over ring, epoll or simulation |
//! | [`proxy`] | drivers: listener, rules of connections, TCP relay, HTTP sessions, connect, checks; the trace that `explain` reads |
//! | [`shard`] | one thread, one ring: the turn |
//! | [`control`] | the control thread: admin sockets, sockets handed over, what is done once a second |
//! | [`process`] | command line and subcommands, start, take-over, master, signals, privileges, stop |
//!
//! What is listed before `io` is pure: it opens no descriptor, reads no clock, starts no thread.
//! (`config` reads the files it is told to read and resolves the names it is told to resolve.)

pub mod backend;
pub mod base;
pub mod config;
pub mod control;
pub mod io;
pub mod lang;
pub mod observe;
pub mod process;
pub mod proto;
pub mod proxy;
pub mod shard;
pub mod shared;
