//! The metrics of haproxy's exporter in its order: names, types and where each value comes from. The
//! help texts are ours.

use super::super::columns::Col;
use crate::shared::{Lap, ShardShared};

/// One metric of a group, or one of the six parts of its answers by class.
#[derive(Debug)]
pub(super) struct Metric {
    /// Without `haproxy_` and the group.
    pub name: &'static str,
    pub counter: bool,
    /// Only of proxies in `mode http`.
    pub http: bool,
    pub from: Origin,
    pub help: &'static str,
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Origin {
    /// A line of `show info`.
    Info(&'static str),
    /// The version as a label; the value is 1.
    Version,
    /// A column of `show stat`; an empty one is not a number.
    Col(Col),
    /// A column in milliseconds, told in seconds.
    Ms(Col),
    /// A column, with the label `code`.
    Code(Col, &'static str),
    /// 1 for the state it is in, 0 for the others.
    State,
    /// How many servers of a backend are in each state, how many last checks ended in each way.
    Servers,
    Checks,
    /// 1 for the outcome of the last check, 0 for the others; its code; its seconds.
    Check,
    CheckCode,
    CheckMs,
    /// Of each shard: how many thousandths of the last second it worked, and a number.
    ShardLoad,
    Shard(fn(&ShardShared) -> u64),
    /// A histogram.
    Times(Lap),
}

const fn gauge(name: &'static str, from: Origin, help: &'static str) -> Metric {
    Metric {
        name,
        counter: false,
        http: false,
        from,
        help,
    }
}

const fn total(name: &'static str, from: Origin, help: &'static str) -> Metric {
    Metric {
        name,
        counter: true,
        http: false,
        from,
        help,
    }
}

/// Only of proxies in `mode http`.
const fn http(metric: Metric) -> Metric {
    Metric {
        http: true,
        ..metric
    }
}

const fn answers(column: Col, class: &'static str) -> Metric {
    const HELP: &str = "Responses by the first digit of their status.";
    http(total(
        "http_responses_total",
        Origin::Code(column, class),
        HELP,
    ))
}

mod behind;
pub(super) mod own;

pub(super) use behind::{BACKEND, SERVER};

use Origin::{Info, State, Version};

pub(super) const PROCESS: &[Metric] = &[
    gauge("nbthread", Info("Nbthread"), "Threads that relay traffic."),
    gauge("nbproc", Info("Nbproc"), "Worker processes: always 1."),
    gauge(
        "relative_process_id",
        Info("Process_num"),
        "Number of the worker process: always 1.",
    ),
    gauge(
        "uptime_seconds",
        Info("Uptime_sec"),
        "Seconds since the worker started.",
    ),
    total(
        "pool_failures_total",
        Info("PoolFailed"),
        "Allocations of memory that failed.",
    ),
    gauge("max_fds", Info("Ulimit-n"), "Most open files."),
    gauge(
        "max_sockets",
        Info("Maxsock"),
        "Descriptors that full load takes.",
    ),
    gauge(
        "max_connections",
        Info("Maxconn"),
        "Most connections at a time, as now in force.",
    ),
    gauge(
        "hard_max_connections",
        Info("Hard_maxconn"),
        "Most connections at a time, as set at the start.",
    ),
    gauge(
        "current_connections",
        Info("CurrConns"),
        "Connections of clients that are open.",
    ),
    total(
        "connections_total",
        Info("CumConns"),
        "Connections of clients since the start.",
    ),
    total(
        "requests_total",
        Info("CumReq"),
        "Requests, and sessions of TCP, since the start.",
    ),
    gauge(
        "max_ssl_connections",
        Info("MaxSslConns"),
        "Most TLS connections at a time, 0 for no limit.",
    ),
    gauge(
        "current_ssl_connections",
        Info("CurrSslConns"),
        "TLS connections that are open.",
    ),
    total(
        "ssl_connections_total",
        Info("CumSslConns"),
        "TLS connections since the start.",
    ),
    gauge("max_pipes", Info("Maxpipes"), "Most pipes for splicing."),
    total("pipes_used_total", Info("PipesUsed"), "Pipes in use."),
    total("pipes_free_total", Info("PipesFree"), "Pipes at hand."),
    gauge(
        "current_connection_rate",
        Info("ConnRate"),
        "Connections of the last second.",
    ),
    gauge(
        "limit_connection_rate",
        Info("ConnRateLimit"),
        "Most connections per second, 0 for no limit.",
    ),
    gauge(
        "max_connection_rate",
        Info("MaxConnRate"),
        "Highest number of connections in a second.",
    ),
    gauge(
        "current_session_rate",
        Info("SessRate"),
        "Sessions of the last second.",
    ),
    gauge(
        "limit_session_rate",
        Info("SessRateLimit"),
        "Most sessions per second, 0 for no limit.",
    ),
    gauge(
        "max_session_rate",
        Info("MaxSessRate"),
        "Highest number of sessions in a second.",
    ),
    gauge(
        "current_ssl_rate",
        Info("SslRate"),
        "TLS connections of the last second.",
    ),
    gauge(
        "limit_ssl_rate",
        Info("SslRateLimit"),
        "Most TLS connections per second, 0 for no limit.",
    ),
    gauge(
        "max_ssl_rate",
        Info("MaxSslRate"),
        "Highest number of TLS connections in a second.",
    ),
    gauge(
        "current_frontend_ssl_key_rate",
        Info("SslFrontendKeyRate"),
        "Keys worked out for clients in the last second.",
    ),
    gauge(
        "max_frontend_ssl_key_rate",
        Info("SslFrontendMaxKeyRate"),
        "Highest number of keys worked out for clients in a second.",
    ),
    gauge(
        "frontend_ssl_reuse",
        Info("SslFrontendSessionReuse_pct"),
        "Part of the TLS sessions of clients that were resumed, in percent.",
    ),
    gauge(
        "current_backend_ssl_key_rate",
        Info("SslBackendKeyRate"),
        "Keys worked out for servers in the last second.",
    ),
    gauge(
        "max_backend_ssl_key_rate",
        Info("SslBackendMaxKeyRate"),
        "Highest number of keys worked out for servers in a second.",
    ),
    total(
        "ssl_cache_lookups_total",
        Info("SslCacheLookups"),
        "TLS sessions looked for in the cache.",
    ),
    total(
        "ssl_cache_misses_total",
        Info("SslCacheMisses"),
        "TLS sessions not found in the cache.",
    ),
    total(
        "http_comp_bytes_in_total",
        Info("CompressBpsIn"),
        "Bytes per second before compression.",
    ),
    total(
        "http_comp_bytes_out_total",
        Info("CompressBpsOut"),
        "Bytes per second after compression.",
    ),
    gauge(
        "limit_http_comp",
        Info("CompressBpsRateLim"),
        "Most bytes per second that compression may give, 0 for no limit.",
    ),
    gauge(
        "current_zlib_memory",
        Info("ZlibMemUsage"),
        "Bytes that zlib holds; there is no zlib here.",
    ),
    gauge(
        "max_zlib_memory",
        Info("MaxZlibMemUsage"),
        "Most bytes that zlib may hold; there is no zlib here.",
    ),
    gauge(
        "current_tasks",
        Info("Tasks"),
        "Sessions and checks that exist.",
    ),
    gauge(
        "current_run_queue",
        Info("Run_queue"),
        "Tasks that wait for their turn.",
    ),
    gauge(
        "idle_time_percent",
        Info("Idle_pct"),
        "Idle part of the last second, in percent.",
    ),
    gauge(
        "stopping",
        Info("Stopping"),
        "1 while the process is leaving.",
    ),
    gauge("jobs", Info("Jobs"), "Connections and listeners."),
    gauge(
        "unstoppable_jobs",
        Info("Unstoppable Jobs"),
        "Jobs that keep a leaving process.",
    ),
    gauge("listeners", Info("Listeners"), "Addresses it listens on."),
    gauge(
        "active_peers",
        Info("ActivePeers"),
        "Peers with whom data is exchanged.",
    ),
    gauge(
        "connected_peers",
        Info("ConnectedPeers"),
        "Peers that are connected.",
    ),
    total(
        "dropped_logs_total",
        Info("DroppedLogs"),
        "Log lines that could not be sent.",
    ),
    gauge(
        "busy_polling_enabled",
        Info("BusyPolling"),
        "1 if it polls without ever sleeping.",
    ),
    total(
        "failed_resolutions",
        Info("FailedResolutions"),
        "Name resolutions that failed.",
    ),
    total(
        "bytes_out_total",
        Info("TotalBytesOut"),
        "Bytes sent to clients.",
    ),
    total(
        "spliced_bytes_out_total",
        Info("TotalSplicedBytesOut"),
        "Bytes sent by splicing.",
    ),
    gauge(
        "bytes_out_rate",
        Info("BytesOutRate"),
        "Bytes sent to clients in the last second.",
    ),
    total(
        "recv_logs_total",
        Info("CumRecvLogs"),
        "Log lines received.",
    ),
    gauge("build_info", Version, "Version, as a label."),
    gauge(
        "max_memory_bytes",
        Info("Memmax_bytes"),
        "Most bytes of memory, 0 for no limit.",
    ),
    gauge(
        "pool_allocated_bytes",
        Info("PoolAlloc_bytes"),
        "Bytes allocated for buffers.",
    ),
    gauge(
        "pool_used_bytes",
        Info("PoolUsed_bytes"),
        "Bytes in use in buffers.",
    ),
    gauge(
        "start_time_seconds",
        Info("Start_time_sec"),
        "When it started, in seconds since the epoch.",
    ),
];

pub(super) const FRONTEND: &[Metric] = &[
    gauge(
        "current_sessions",
        Origin::Col(Col::SCur),
        "Sessions that are open.",
    ),
    gauge(
        "max_sessions",
        Origin::Col(Col::SMax),
        "Most sessions that were ever open.",
    ),
    gauge(
        "limit_sessions",
        Origin::Col(Col::SLim),
        "Most sessions at a time.",
    ),
    total(
        "sessions_total",
        Origin::Col(Col::STot),
        "Sessions since the start.",
    ),
    total(
        "bytes_in_total",
        Origin::Col(Col::BIn),
        "Bytes of requests.",
    ),
    total(
        "bytes_out_total",
        Origin::Col(Col::BOut),
        "Bytes of responses.",
    ),
    total(
        "requests_denied_total",
        Origin::Col(Col::DReq),
        "Requests that rules denied.",
    ),
    total(
        "responses_denied_total",
        Origin::Col(Col::DResp),
        "Responses that rules denied.",
    ),
    total(
        "request_errors_total",
        Origin::Col(Col::EReq),
        "Requests that were invalid or never whole.",
    ),
    gauge(
        "status",
        State,
        "1 for the state it is in, 0 for the others.",
    ),
    gauge(
        "limit_session_rate",
        Origin::Col(Col::RateLim),
        "Most sessions per second, 0 for no limit.",
    ),
    gauge(
        "max_session_rate",
        Origin::Col(Col::RateMax),
        "Highest number of sessions in a second.",
    ),
    answers(Col::Hrsp1xx, "1xx"),
    answers(Col::Hrsp2xx, "2xx"),
    answers(Col::Hrsp3xx, "3xx"),
    answers(Col::Hrsp4xx, "4xx"),
    answers(Col::Hrsp5xx, "5xx"),
    answers(Col::HrspOther, "other"),
    http(gauge(
        "http_requests_rate_max",
        Origin::Col(Col::ReqRateMax),
        "Highest number of requests in a second.",
    )),
    http(total(
        "http_requests_total",
        Origin::Col(Col::ReqTot),
        "Requests since the start.",
    )),
    http(total(
        "http_comp_bytes_in_total",
        Origin::Col(Col::CompIn),
        "Bytes given to compression.",
    )),
    http(total(
        "http_comp_bytes_out_total",
        Origin::Col(Col::CompOut),
        "Bytes that compression gave.",
    )),
    http(total(
        "http_comp_bytes_bypassed_total",
        Origin::Col(Col::CompByp),
        "Bytes that passed compression by.",
    )),
    http(total(
        "http_comp_responses_total",
        Origin::Col(Col::CompRsp),
        "Responses that were compressed.",
    )),
    gauge(
        "connections_rate_max",
        Origin::Col(Col::ConnRateMax),
        "Highest number of connections in a second.",
    ),
    total(
        "connections_total",
        Origin::Col(Col::ConnTot),
        "Connections since the start.",
    ),
    http(total(
        "intercepted_requests_total",
        Origin::Col(Col::Intercepted),
        "Requests answered without a server.",
    )),
    total(
        "denied_connections_total",
        Origin::Col(Col::DCon),
        "Connections that rules refused.",
    ),
    total(
        "denied_sessions_total",
        Origin::Col(Col::DSes),
        "Sessions that rules refused.",
    ),
    total(
        "failed_header_rewriting_total",
        Origin::Col(Col::WRew),
        "Rewrites of headers that failed.",
    ),
    http(total(
        "http_cache_lookups_total",
        Origin::Col(Col::CacheLookups),
        "Requests looked for in the cache.",
    )),
    http(total(
        "http_cache_hits_total",
        Origin::Col(Col::CacheHits),
        "Requests answered from the cache.",
    )),
    total(
        "internal_errors_total",
        Origin::Col(Col::EInt),
        "Errors of the balancer itself.",
    ),
];

pub(super) const LISTENER: &[Metric] = &[
    gauge(
        "current_sessions",
        Origin::Col(Col::SCur),
        "Sessions that are open.",
    ),
    gauge(
        "max_sessions",
        Origin::Col(Col::SMax),
        "Most sessions that were ever open.",
    ),
    gauge(
        "limit_sessions",
        Origin::Col(Col::SLim),
        "Most sessions at a time.",
    ),
    total(
        "sessions_total",
        Origin::Col(Col::STot),
        "Sessions since the start.",
    ),
    total(
        "bytes_in_total",
        Origin::Col(Col::BIn),
        "Bytes of requests.",
    ),
    total(
        "bytes_out_total",
        Origin::Col(Col::BOut),
        "Bytes of responses.",
    ),
    total(
        "requests_denied_total",
        Origin::Col(Col::DReq),
        "Requests that rules denied.",
    ),
    total(
        "responses_denied_total",
        Origin::Col(Col::DResp),
        "Responses that rules denied.",
    ),
    total(
        "request_errors_total",
        Origin::Col(Col::EReq),
        "Requests that were invalid or never whole.",
    ),
    gauge(
        "status",
        State,
        "1 for the state it is in, 0 for the others.",
    ),
    total(
        "denied_connections_total",
        Origin::Col(Col::DCon),
        "Connections that rules refused.",
    ),
    total(
        "denied_sessions_total",
        Origin::Col(Col::DSes),
        "Sessions that rules refused.",
    ),
    total(
        "failed_header_rewriting_total",
        Origin::Col(Col::WRew),
        "Rewrites of headers that failed.",
    ),
    total(
        "internal_errors_total",
        Origin::Col(Col::EInt),
        "Errors of the balancer itself.",
    ),
];
