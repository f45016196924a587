//! The metrics of backends and of servers.

use super::super::super::columns::Col;
use super::Origin::{self, Check, CheckCode, CheckMs, Checks, Ms, Servers, State};
use super::{Metric, answers, gauge, http, total};

pub(in crate::observe::stats::prometheus) const BACKEND: &[Metric] = &[
    gauge(
        "current_queue",
        Origin::Col(Col::QCur),
        "Streams waiting for a server.",
    ),
    gauge(
        "max_queue",
        Origin::Col(Col::QMax),
        "Most streams that ever waited.",
    ),
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
        "connection_errors_total",
        Origin::Col(Col::ECon),
        "Connections to servers that failed.",
    ),
    total(
        "response_errors_total",
        Origin::Col(Col::EResp),
        "Responses that were invalid or cut short.",
    ),
    total(
        "retry_warnings_total",
        Origin::Col(Col::WRetr),
        "Connections to a server that were tried again.",
    ),
    total(
        "redispatch_warnings_total",
        Origin::Col(Col::WRedis),
        "Streams sent to another server than first chosen.",
    ),
    gauge(
        "status",
        State,
        "1 for the state it is in, 0 for the others.",
    ),
    gauge(
        "weight",
        Origin::Col(Col::Weight),
        "Weight as it counts now.",
    ),
    gauge(
        "active_servers",
        Origin::Col(Col::Act),
        "Usable servers that are no backups.",
    ),
    gauge(
        "backup_servers",
        Origin::Col(Col::Bck),
        "Usable servers that are backups.",
    ),
    total(
        "check_up_down_total",
        Origin::Col(Col::ChkDown),
        "Times it went from up to down.",
    ),
    gauge(
        "check_last_change_seconds",
        Origin::Col(Col::LastChg),
        "Seconds since it last went up or down.",
    ),
    total(
        "downtime_seconds_total",
        Origin::Col(Col::Downtime),
        "Seconds it was down in all.",
    ),
    total(
        "loadbalanced_total",
        Origin::Col(Col::LbTot),
        "Times a server was chosen by load balancing.",
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
    http(total(
        "http_requests_total",
        Origin::Col(Col::ReqTot),
        "Requests since the start.",
    )),
    total(
        "client_aborts_total",
        Origin::Col(Col::CliAbrt),
        "Transfers that clients broke off.",
    ),
    total(
        "server_aborts_total",
        Origin::Col(Col::SrvAbrt),
        "Transfers that servers broke off.",
    ),
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
        "last_session_seconds",
        Origin::Col(Col::LastSess),
        "Seconds since the last session, -1 for none.",
    ),
    gauge(
        "queue_time_average_seconds",
        Ms(Col::QTime),
        "Average time in a queue of the last 1024 sessions.",
    ),
    gauge(
        "connect_time_average_seconds",
        Ms(Col::CTime),
        "Average time to connect of the last 1024 sessions.",
    ),
    gauge(
        "response_time_average_seconds",
        Ms(Col::RTime),
        "Average time to the response of the last 1024 sessions.",
    ),
    gauge(
        "total_time_average_seconds",
        Ms(Col::TTime),
        "Average time of the last 1024 sessions from end to end.",
    ),
    total(
        "failed_header_rewriting_total",
        Origin::Col(Col::WRew),
        "Rewrites of headers that failed.",
    ),
    total(
        "connection_attempts_total",
        Origin::Col(Col::Connect),
        "Connections to servers that were begun.",
    ),
    total(
        "connection_reuses_total",
        Origin::Col(Col::Reuse),
        "Requests that found an open connection to a server.",
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
    gauge(
        "max_queue_time_seconds",
        Ms(Col::QTimeMax),
        "Longest time in a queue.",
    ),
    gauge(
        "max_connect_time_seconds",
        Ms(Col::CTimeMax),
        "Longest time to connect.",
    ),
    gauge(
        "max_response_time_seconds",
        Ms(Col::RTimeMax),
        "Longest time to the response.",
    ),
    gauge(
        "max_total_time_seconds",
        Ms(Col::TTimeMax),
        "Longest time of a session from end to end.",
    ),
    total(
        "internal_errors_total",
        Origin::Col(Col::EInt),
        "Errors of the balancer itself.",
    ),
    gauge(
        "uweight",
        Origin::Col(Col::UWeight),
        "Weight as it was set.",
    ),
    gauge("agg_server_status", Servers, "Servers in each state."),
    gauge(
        "agg_server_check_status",
        Servers,
        "Servers in each state (the old name of agg_server_status).",
    ),
    gauge(
        "agg_check_status",
        Checks,
        "Servers by the outcome of their last check.",
    ),
];

pub(in crate::observe::stats::prometheus) const SERVER: &[Metric] = &[
    gauge(
        "current_queue",
        Origin::Col(Col::QCur),
        "Streams waiting for a server.",
    ),
    gauge(
        "max_queue",
        Origin::Col(Col::QMax),
        "Most streams that ever waited.",
    ),
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
        "responses_denied_total",
        Origin::Col(Col::DResp),
        "Responses that rules denied.",
    ),
    total(
        "connection_errors_total",
        Origin::Col(Col::ECon),
        "Connections to servers that failed.",
    ),
    total(
        "response_errors_total",
        Origin::Col(Col::EResp),
        "Responses that were invalid or cut short.",
    ),
    total(
        "retry_warnings_total",
        Origin::Col(Col::WRetr),
        "Connections to a server that were tried again.",
    ),
    total(
        "redispatch_warnings_total",
        Origin::Col(Col::WRedis),
        "Streams sent to another server than first chosen.",
    ),
    gauge(
        "status",
        State,
        "1 for the state it is in, 0 for the others.",
    ),
    gauge(
        "weight",
        Origin::Col(Col::Weight),
        "Weight as it counts now.",
    ),
    total(
        "check_failures_total",
        Origin::Col(Col::ChkFail),
        "Checks that failed while it was up.",
    ),
    total(
        "check_up_down_total",
        Origin::Col(Col::ChkDown),
        "Times it went from up to down.",
    ),
    gauge(
        "check_last_change_seconds",
        Origin::Col(Col::LastChg),
        "Seconds since it last went up or down.",
    ),
    total(
        "downtime_seconds_total",
        Origin::Col(Col::Downtime),
        "Seconds it was down in all.",
    ),
    gauge(
        "queue_limit",
        Origin::Col(Col::QLimit),
        "Most streams that may wait for this server.",
    ),
    gauge(
        "current_throttle",
        Origin::Col(Col::Throttle),
        "Part of its weight that counts during a slow start, in percent.",
    ),
    total(
        "loadbalanced_total",
        Origin::Col(Col::LbTot),
        "Times a server was chosen by load balancing.",
    ),
    gauge(
        "max_session_rate",
        Origin::Col(Col::RateMax),
        "Highest number of sessions in a second.",
    ),
    gauge(
        "check_status",
        Check,
        "1 for the outcome of the last check, 0 for the others.",
    ),
    gauge(
        "check_code",
        CheckCode,
        "Status in the answer to the last check, 0 for none.",
    ),
    gauge(
        "check_duration_seconds",
        CheckMs,
        "Time the last check took.",
    ),
    answers(Col::Hrsp1xx, "1xx"),
    answers(Col::Hrsp2xx, "2xx"),
    answers(Col::Hrsp3xx, "3xx"),
    answers(Col::Hrsp4xx, "4xx"),
    answers(Col::Hrsp5xx, "5xx"),
    answers(Col::HrspOther, "other"),
    total(
        "client_aborts_total",
        Origin::Col(Col::CliAbrt),
        "Transfers that clients broke off.",
    ),
    total(
        "server_aborts_total",
        Origin::Col(Col::SrvAbrt),
        "Transfers that servers broke off.",
    ),
    gauge(
        "last_session_seconds",
        Origin::Col(Col::LastSess),
        "Seconds since the last session, -1 for none.",
    ),
    gauge(
        "queue_time_average_seconds",
        Ms(Col::QTime),
        "Average time in a queue of the last 1024 sessions.",
    ),
    gauge(
        "connect_time_average_seconds",
        Ms(Col::CTime),
        "Average time to connect of the last 1024 sessions.",
    ),
    gauge(
        "response_time_average_seconds",
        Ms(Col::RTime),
        "Average time to the response of the last 1024 sessions.",
    ),
    gauge(
        "total_time_average_seconds",
        Ms(Col::TTime),
        "Average time of the last 1024 sessions from end to end.",
    ),
    total(
        "failed_header_rewriting_total",
        Origin::Col(Col::WRew),
        "Rewrites of headers that failed.",
    ),
    total(
        "connection_attempts_total",
        Origin::Col(Col::Connect),
        "Connections to servers that were begun.",
    ),
    total(
        "connection_reuses_total",
        Origin::Col(Col::Reuse),
        "Requests that found an open connection to a server.",
    ),
    gauge(
        "idle_connections_current",
        Origin::Col(Col::SrvICur),
        "Idle connections that may be used again.",
    ),
    gauge(
        "idle_connections_limit",
        Origin::Col(Col::SrvILim),
        "Most idle connections that are kept.",
    ),
    gauge(
        "max_queue_time_seconds",
        Ms(Col::QTimeMax),
        "Longest time in a queue.",
    ),
    gauge(
        "max_connect_time_seconds",
        Ms(Col::CTimeMax),
        "Longest time to connect.",
    ),
    gauge(
        "max_response_time_seconds",
        Ms(Col::RTimeMax),
        "Longest time to the response.",
    ),
    gauge(
        "max_total_time_seconds",
        Ms(Col::TTimeMax),
        "Longest time of a session from end to end.",
    ),
    total(
        "internal_errors_total",
        Origin::Col(Col::EInt),
        "Errors of the balancer itself.",
    ),
    gauge(
        "unsafe_idle_connections_current",
        Origin::Col(Col::IdleConnCur),
        "Idle connections not known to survive a reuse.",
    ),
    gauge(
        "safe_idle_connections_current",
        Origin::Col(Col::SafeConnCur),
        "Idle connections known to survive a reuse.",
    ),
    gauge(
        "used_connections_current",
        Origin::Col(Col::UsedConnCur),
        "Connections in use.",
    ),
    gauge(
        "need_connections_current",
        Origin::Col(Col::NeedConnEst),
        "Connections that are likely to be needed.",
    ),
    gauge(
        "uweight",
        Origin::Col(Col::UWeight),
        "Weight as it was set.",
    ),
];
