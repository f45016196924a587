//! The columns of `show stat`, one line each, in haproxy 3.4's order (management.txt 9.1): 118 of
//! the core, then those of the modules. The CSV has a column `-` between the two, which has no
//! number in the typed forms. Behind them all stand ours, so that haproxy's keep their places.

use super::value::Tags;

/// What is known of a column before there is a value.
#[derive(Debug)]
pub struct Column {
    pub name: &'static str,
    pub tags: Tags,
}

macro_rules! columns {
    ($($id:ident $name:literal $tags:literal;)*) => {
        /// A column by name; as a number, its position in the typed forms.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Col { $($id,)* }

        /// All columns in order.
        pub const COLUMNS: &[Column] = &[$(Column { name: $name, tags: Tags(*$tags) },)*];
    };
}

columns! {
    PxName "pxname" b"KNS";
    SvName "svname" b"KNS";
    QCur "qcur" b"MGP";
    QMax "qmax" b"MMP";
    SCur "scur" b"MGP";
    SMax "smax" b"MMP";
    SLim "slim" b"CLP";
    STot "stot" b"MCP";
    BIn "bin" b"MCP";
    BOut "bout" b"MCP";
    DReq "dreq" b"MCP";
    DResp "dresp" b"MCP";
    EReq "ereq" b"MCP";
    ECon "econ" b"MCP";
    EResp "eresp" b"MCP";
    WRetr "wretr" b"MCP";
    WRedis "wredis" b"MCP";
    Status "status" b"SGP";
    Weight "weight" b"MaP";
    Act "act" b"SGP";
    Bck "bck" b"SGP";
    ChkFail "chkfail" b"MCP";
    ChkDown "chkdown" b"MCP";
    LastChg "lastchg" b"MAP";
    Downtime "downtime" b"MCP";
    QLimit "qlimit" b"CGS";
    Pid "pid" b"KGP";
    Iid "iid" b"KGS";
    Sid "sid" b"KGS";
    Throttle "throttle" b"MaP";
    LbTot "lbtot" b"MCP";
    Tracked "tracked" b"CNS";
    Type "type" b"CGS";
    Rate "rate" b"MRP";
    RateLim "rate_lim" b"CLP";
    RateMax "rate_max" b"MMP";
    CheckStatus "check_status" b"MOP";
    CheckCode "check_code" b"MOP";
    CheckDuration "check_duration" b"MDP";
    Hrsp1xx "hrsp_1xx" b"MCP";
    Hrsp2xx "hrsp_2xx" b"MCP";
    Hrsp3xx "hrsp_3xx" b"MCP";
    Hrsp4xx "hrsp_4xx" b"MCP";
    Hrsp5xx "hrsp_5xx" b"MCP";
    HrspOther "hrsp_other" b"MCP";
    HAnaFail "hanafail" b"MCP";
    ReqRate "req_rate" b"MRP";
    ReqRateMax "req_rate_max" b"MMP";
    ReqTot "req_tot" b"MCP";
    CliAbrt "cli_abrt" b"MCP";
    SrvAbrt "srv_abrt" b"MCP";
    CompIn "comp_in" b"MCP";
    CompOut "comp_out" b"MCP";
    CompByp "comp_byp" b"MCP";
    CompRsp "comp_rsp" b"MCP";
    LastSess "lastsess" b"MAP";
    LastChk "last_chk" b"MOP";
    LastAgt "last_agt" b"MOP";
    QTime "qtime" b"MaP";
    CTime "ctime" b"MaP";
    RTime "rtime" b"MaP";
    TTime "ttime" b"MaP";
    AgentStatus "agent_status" b"MOP";
    AgentCode "agent_code" b"MOP";
    AgentDuration "agent_duration" b"MDP";
    CheckDesc "check_desc" b"MOP";
    AgentDesc "agent_desc" b"MOP";
    CheckRise "check_rise" b"CGS";
    CheckFall "check_fall" b"CGS";
    CheckHealth "check_health" b"CGS";
    AgentRise "agent_rise" b"CGS";
    AgentFall "agent_fall" b"CGS";
    AgentHealth "agent_health" b"CGS";
    Addr "addr" b"CGS";
    Cookie "cookie" b"CNS";
    Mode "mode" b"CGS";
    Algo "algo" b"CGS";
    ConnRate "conn_rate" b"MRP";
    ConnRateMax "conn_rate_max" b"MMP";
    ConnTot "conn_tot" b"MCP";
    Intercepted "intercepted" b"MCP";
    DCon "dcon" b"MCP";
    DSes "dses" b"MCP";
    WRew "wrew" b"MCP";
    Connect "connect" b"MCP";
    Reuse "reuse" b"MCP";
    CacheLookups "cache_lookups" b"MCP";
    CacheHits "cache_hits" b"MCP";
    SrvICur "srv_icur" b"MGP";
    SrvILim "src_ilim" b"CLP";
    QTimeMax "qtime_max" b"MMP";
    CTimeMax "ctime_max" b"MMP";
    RTimeMax "rtime_max" b"MMP";
    TTimeMax "ttime_max" b"MMP";
    EInt "eint" b"MCP";
    IdleConnCur "idle_conn_cur" b"MGP";
    SafeConnCur "safe_conn_cur" b"MGP";
    UsedConnCur "used_conn_cur" b"MGP";
    NeedConnEst "need_conn_est" b"MGP";
    UWeight "uweight" b"MaP";
    AggServerStatus "agg_server_status" b"MGP";
    AggServerCheckStatus "agg_server_check_status" b"MGP";
    AggCheckStatus "agg_check_status" b"MGP";
    SrId "srid" b"KGS";
    SessOther "sess_other" b"MCP";
    H1Sess "h1sess" b"MCP";
    H2Sess "h2sess" b"MCP";
    H3Sess "h3sess" b"MCP";
    ReqOther "req_other" b"MCP";
    H1Req "h1req" b"MCP";
    H2Req "h2req" b"MCP";
    H3Req "h3req" b"MCP";
    Proto "proto" b"CGS";
    PrivIdleCur "priv_idle_cur" b"MGP";
    ReqBIn "reqbin" b"MCP";
    ReqBOut "reqbout" b"MCP";
    ResBIn "resbin" b"MCP";
    ResBOut "resbout" b"MCP";
    SslSess "ssl_sess" b"MCP";
    SslReusedSess "ssl_reused_sess" b"MCP";
    SslFailedHandshake "ssl_failed_handshake" b"MCP";
    SslOcspStaple "ssl_ocsp_staple" b"MCP";
    SslFailedOcspStaple "ssl_failed_ocsp_staple" b"MCP";
    H2HeadersRcvd "h2_headers_rcvd" b"MCP";
    H2DataRcvd "h2_data_rcvd" b"MCP";
    H2SettingsRcvd "h2_settings_rcvd" b"MCP";
    H2RstStreamRcvd "h2_rst_stream_rcvd" b"MCP";
    H2GoawayRcvd "h2_goaway_rcvd" b"MCP";
    H2DetectedConnProtocolErrors "h2_detected_conn_protocol_errors" b"MCP";
    H2DetectedStrmProtocolErrors "h2_detected_strm_protocol_errors" b"MCP";
    H2RstStreamResp "h2_rst_stream_resp" b"MCP";
    H2GoawayResp "h2_goaway_resp" b"MCP";
    H2OpenConnections "h2_open_connections" b"MGP";
    H2BackendOpenStreams "h2_backend_open_streams" b"MGP";
    H2TotalConnections "h2_total_connections" b"MCP";
    H2BackendTotalStreams "h2_backend_total_streams" b"MCP";
    H1OpenConnections "h1_open_connections" b"MGP";
    H1OpenStreams "h1_open_streams" b"MGP";
    H1TotalConnections "h1_total_connections" b"MCP";
    H1TotalStreams "h1_total_streams" b"MCP";
    H1BytesIn "h1_bytes_in" b"MCP";
    H1BytesOut "h1_bytes_out" b"MCP";
    H1SplicedBytesIn "h1_spliced_bytes_in" b"MCP";
    H1SplicedBytesOut "h1_spliced_bytes_out" b"MCP";
    QTimeP50 "qtime_p50_us" b"MGP";
    QTimeP90 "qtime_p90_us" b"MGP";
    QTimeP99 "qtime_p99_us" b"MGP";
    QTimeP999 "qtime_p999_us" b"MGP";
    CTimeP50 "ctime_p50_us" b"MGP";
    CTimeP90 "ctime_p90_us" b"MGP";
    CTimeP99 "ctime_p99_us" b"MGP";
    CTimeP999 "ctime_p999_us" b"MGP";
    RTimeP50 "rtime_p50_us" b"MGP";
    RTimeP90 "rtime_p90_us" b"MGP";
    RTimeP99 "rtime_p99_us" b"MGP";
    RTimeP999 "rtime_p999_us" b"MGP";
    TTimeP50 "ttime_p50_us" b"MGP";
    TTimeP90 "ttime_p90_us" b"MGP";
    TTimeP99 "ttime_p99_us" b"MGP";
    TTimeP999 "ttime_p999_us" b"MGP";
}

/// The first column of a module; the CSV's `-` stands before it.
pub const FIRST_MODULE: usize = Col::SslSess as usize;
/// The columns of the TLS module, which every row has; those after it belong to frontends and backends.
pub const SSL_MODULE: std::ops::Range<usize> = FIRST_MODULE..Col::H2HeadersRcvd as usize;
/// From here on they are ours: percentiles of recent times in µs, those of [`PERMILLE`] for each kind of time.
pub const FIRST_OWN: usize = Col::QTimeP50 as usize;
/// `p50 p90 p99 p999`.
pub const PERMILLE: [u64; 4] = [500, 900, 990, 999];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::latency::LAPS;

    /// What `show stat` of haproxy 2.6.12 prints first.
    const HEADER_2_6: &str = include_str!("header-2.6.txt");

    #[test]
    fn the_core_columns_are_those_of_2_6_then_fifteen_of_3_4() {
        let old: Vec<&str> = HEADER_2_6
            .trim_end()
            .trim_start_matches("# ")
            .split(',')
            .collect();
        let core: Vec<&str> = COLUMNS[..FIRST_MODULE].iter().map(|c| c.name).collect();
        assert_eq!(&core[..103], &old[..103]);
        assert_eq!(old[103], "-");
        let new = "srid,sess_other,h1sess,h2sess,h3sess,req_other,h1req,h2req,h3req,proto,priv_idle_cur,reqbin,reqbout,resbin,resbout";
        assert_eq!(core[103..].join(","), new);
    }

    #[test]
    fn the_module_columns_are_those_of_2_6_with_two_more_of_tls() {
        let old: Vec<&str> = HEADER_2_6.trim_end().split(',').collect();
        let modules: Vec<&str> = COLUMNS[FIRST_MODULE..FIRST_OWN]
            .iter()
            .map(|c| c.name)
            .collect();
        assert_eq!(&modules[..3], &old[104..107]);
        assert_eq!(
            &modules[3..5],
            ["ssl_ocsp_staple", "ssl_failed_ocsp_staple"]
        );
        assert_eq!(&modules[5..], &old[107..old.len() - 1]);
        // 118 core, "-", 26 of modules, and the empty name behind the last comma.
        assert_eq!(FIRST_OWN + 2, 146);
    }

    #[test]
    fn our_columns_stand_behind_those_of_haproxy() {
        let own: Vec<&str> = COLUMNS[FIRST_OWN..].iter().map(|c| c.name).collect();
        assert_eq!(own.len(), LAPS * PERMILLE.len());
        assert_eq!(
            own[..4].join(" "),
            "qtime_p50_us qtime_p90_us qtime_p99_us qtime_p999_us"
        );
        assert_eq!(own[4], "ctime_p50_us");
        assert_eq!(own[8], "rtime_p50_us");
        assert_eq!(own[15], "ttime_p999_us");
    }
}
