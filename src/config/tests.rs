//! What a file becomes: each keyword's effect in the [`Config`].

use std::net::SocketAddr;
use std::path::PathBuf;

use super::*;
use crate::lang::acl::{First, SwitchIndex};
use crate::lang::cond::Predicates;
use crate::lang::env::Env;
use crate::lang::expr::Needs;
use crate::lang::sample::Arena;
use crate::lang::subject::Subject;

/// Knows one name and one user.
struct Small;

impl World for Small {
    fn resolve(&self, host: &str) -> Result<Vec<std::net::IpAddr>, String> {
        match host {
            "two.example" => Ok(vec![
                "2001:db8::1".parse().unwrap(),
                "192.0.2.9".parse().unwrap(),
            ]),
            _ => Err("name not known".to_owned()),
        }
    }
    fn user(&self, name: &str) -> Option<u32> {
        (name == "ha").then_some(1000)
    }
    fn group(&self, name: &str) -> Option<u32> {
        (name == "ha").then_some(1001)
    }
}

pub(super) fn loaded(text: &str) -> Loaded {
    loaded_with(text, |_| {})
}

fn loaded_with(text: &str, change: impl FnOnce(&mut LoadInputs<'_>)) -> Loaded {
    let mut inputs = LoadInputs {
        inputs: vec![Input::Text {
            name: "t.cfg".to_owned(),
            bytes: text.as_bytes().to_vec(),
        }],
        env: Env::from_pairs([("KEEP", "1"), ("DROP", "1")]),
        predicates: Predicates {
            version: "3.4.0".to_owned(),
            ..Predicates::default()
        },
        shards: 4,
        world: &Small,
        ..LoadInputs::default()
    };
    change(&mut inputs);
    load(&inputs)
}

pub(super) fn config(text: &str) -> Config {
    let loaded = loaded(text);
    loaded
        .config
        .unwrap_or_else(|| panic!("refused: {:#?}", loaded.diags.list))
}

/// A listen section with these lines and one server.
pub(super) fn listen(lines: &str) -> Config {
    config(&format!(
        "listen l\nbind :1\n{lines}\nserver s 192.0.2.1:80\n"
    ))
}

fn ip(text: &str) -> BindAddress {
    BindAddress::Ip(text.parse::<SocketAddr>().unwrap())
}

fn addresses(config: &Config) -> Vec<BindAddress> {
    config.binds.iter().map(|b| b.address.clone()).collect()
}

#[test]
fn global_keywords_reach_the_model() {
    let global = config(
        "global\ndaemon\nquiet\npidfile /run/lb.pid\nchroot /var/empty\nuser ha\ngroup ha\nulimit-n 5000\n\
         fd-hard-limit 9000\nmaxconn 100\nmaxpipes 7\nmaxconnrate 8\nmaxsessrate 9\nno strict-limits\nnbthread 2\n\
         nosplice\nnode n1\ndescription a b\nlog-tag t\nlog-send-hostname h\nhard-stop-after 5s\ngrace 2s\n\
         stats timeout 1m\nstats maxconn 3\nspread-checks 5\ntune.bufsize 32k\n\
         tune.pipesize 64k\ntune.maxaccept -1\ntune.rcvbuf.client 1\ntune.rcvbuf.server 2\ntune.sndbuf.client 3\n\
         tune.sndbuf.server 4\ntune.relay-memory 64m\n",
    )
    .global;
    assert!(
        global.daemon && global.quiet && global.nosplice && global.strict_limits == Some(false)
    );
    assert_eq!(global.pidfile, Some(PathBuf::from("/run/lb.pid")));
    assert_eq!((global.uid, global.gid), (Some(1000), Some(1001)));
    assert_eq!(
        (global.ulimit_n, global.fd_hard_limit, global.maxconn),
        (Some(5000), Some(9000), Some(100))
    );
    assert_eq!(
        (
            global.maxpipes,
            global.maxconnrate,
            global.maxsessrate,
            global.spread_checks
        ),
        (Some(7), 8, 9, 5)
    );
    assert_eq!(
        (
            global.nbthread,
            global.node.as_deref(),
            global.description.as_deref()
        ),
        (Some(2), Some("n1"), Some("a b"))
    );
    assert_eq!(
        (
            global.log_tag.as_deref(),
            global.log_send_hostname.as_deref()
        ),
        (Some("t"), Some("h"))
    );
    assert_eq!(
        (global.hard_stop_after_ms, global.grace_ms),
        (Some(5000), Some(2000))
    );
    assert_eq!((global.stats_timeout_ms, global.stats_maxconn), (60_000, 3));
    let tune = global.tune;
    assert_eq!(
        (
            tune.bufsize,
            tune.pipesize,
            tune.maxaccept,
            tune.relay_memory
        ),
        (32 << 10, 64 << 10, u32::MAX, 64 << 20)
    );
    assert_eq!(
        (
            tune.rcvbuf_client,
            tune.rcvbuf_server,
            tune.sndbuf_client,
            tune.sndbuf_server
        ),
        (1, 2, 3, 4)
    );
}

#[test]
fn a_section_inherits_from_the_last_defaults_or_the_one_it_names() {
    let config = config(
        "defaults a\ntimeout client 1s\nmaxconn 5\ndefaults b\ntimeout client 2s\n\
         frontend x\nbind :1\nfrontend y from a\nbind :2\nmaxconn 6\nfrontend z\nbind :3\n",
    );
    let of = |at: usize| {
        (
            config.frontends[at].timeout_client_ms,
            config.frontends[at].maxconn,
        )
    };
    assert_eq!(
        [of(0), of(1), of(2)],
        [(Some(2000), 0), (Some(1000), 6), (Some(2000), 0)]
    );
}

#[test]
fn default_server_applies_to_the_servers_below_it() {
    let config = config(
        "defaults\ndefault-server inter 1s\nbackend b\nserver a 192.0.2.1:80 check\ndefault-server inter 3s rise 9\n\
         server b 192.0.2.1:81 check\nserver c 192.0.2.1:82 check inter 4s\nserver d 192.0.2.1:83\n",
    );
    let check = |at: usize| {
        config.servers[at]
            .check
            .as_ref()
            .map(|c| (c.inter_ms, c.rise))
    };
    assert_eq!(
        [check(0), check(1), check(2), check(3)],
        [Some((1000, 2)), Some((3000, 9)), Some((4000, 9)), None]
    );
}

#[test]
fn comma_lists_and_ranges_become_one_bind_an_address() {
    let config = config(
        "frontend f\nbind 127.0.0.1:1,*:2-4,[::1]:5,:::6 name x\nbind /run/s,abns@a\nbind fd@7\n",
    );
    let expected = [
        ip("127.0.0.1:1"),
        ip("0.0.0.0:2"),
        ip("0.0.0.0:3"),
        ip("0.0.0.0:4"),
        ip("[::1]:5"),
        ip("[::]:6"),
        BindAddress::Unix("/run/s".into()),
        BindAddress::Abns(b"a".to_vec()),
        BindAddress::Fd(7),
    ];
    assert_eq!(addresses(&config), expected);
    assert_eq!(
        config.binds.iter().map(|b| b.luid).collect::<Vec<_>>(),
        [1, 2, 3, 4, 5, 6, 7, 8, 9]
    );
    assert_eq!(config.binds[5].name.as_deref(), Some("x"));
}

#[test]
fn an_address_on_the_header_line_is_a_bind() {
    let config = config(
        "listen 127.0.0.1:81\nserver s 192.0.2.1:80\nfrontend f :82,:83\ndefault_backend 127.0.0.1:81\n",
    );
    assert_eq!(
        addresses(&config),
        [ip("127.0.0.1:81"), ip("0.0.0.0:82"), ip("0.0.0.0:83")]
    );
    assert_eq!(config.proxies[0].name, "127.0.0.1:81");
}

#[test]
fn obsolete_spellings_work_and_are_errors_in_strict_mode() {
    let text = "listen l\nbind :1\nclitimeout 1s\ncontimeout 2s\nsrvtimeout 3s\nredispatch\ngrace 4s\n\
                monitor-net 192.0.2.0/24\noption independant-streams\ndispatch 192.0.2.1:80\n";
    let config = config(text);
    let (front, back) = (&config.frontends[0], &config.backends[0]);
    assert_eq!(
        (
            front.timeout_client_ms,
            back.timeout_connect_ms,
            back.timeout_server_ms
        ),
        (Some(1000), Some(2000), Some(3000))
    );
    assert_eq!(
        (back.redispatch, front.grace_ms),
        (Redispatch(-1), Some(4000))
    );
    assert_eq!(front.monitor_net, Some("192.0.2.0/24".parse().unwrap()));
    assert!(front.independent_streams && back.independent_streams);
    assert_eq!(back.dispatch, Some("192.0.2.1:80".parse().unwrap()));
    assert_eq!(loaded(text).diags.list.len(), 8, "one warning each");
    assert!(loaded_with(text, |i| i.strict = true).config.is_none());
}

#[test]
fn without_a_balance_line_servers_are_drawn_at_random() {
    let of = |line: &str| listen(line).backends[0].balance.clone();
    assert_eq!(of(""), Balance::Random(2));
    assert_eq!(of("balance random(3)"), Balance::Random(3));
    assert_eq!(of("balance"), Balance::RoundRobin);
    assert_eq!(of("balance first"), Balance::First);
}

#[test]
fn consistent_hashing_is_avalanched_only_without_a_function() {
    let of = |line: &str| listen(line).backends[0].hash_type;
    let consistent = HashType {
        method: HashMethod::Consistent,
        function: HashFunction::Sdbm,
        avalanche: true,
    };
    assert_eq!(of("hash-type consistent"), consistent);
    assert_eq!(
        of("hash-type consistent sdbm"),
        HashType {
            avalanche: false,
            ..consistent
        }
    );
    assert_eq!(of("hash-type map-based"), HashType::default());
    assert_eq!(
        of("hash-type consistent wt6 avalanche"),
        HashType {
            function: HashFunction::Wt6,
            ..consistent
        }
    );
}

#[test]
fn splicing_is_earned_unless_asked_for_or_forbidden() {
    let of = |line: &str| {
        (
            listen(line).backends[0].splice_request,
            listen(line).backends[0].splice_response,
        )
    };
    assert_eq!(of(""), (Splice::Earned, Splice::Earned));
    assert_eq!(of("option splice-auto"), (Splice::Earned, Splice::Earned));
    assert_eq!(
        of("option splice-request"),
        (Splice::Always, Splice::Earned)
    );
    assert_eq!(
        of("no option splice-auto\noption splice-response"),
        (Splice::Never, Splice::Always)
    );
    assert_eq!(
        of("option splice-response\nno option splice-response"),
        (Splice::Earned, Splice::Never)
    );
}

#[test]
fn nosplice_and_its_newer_names_forbid_pipes_on_both_sides() {
    for word in [
        "nosplice",
        "tune.disable-fast-forward",
        "tune.disable-zero-copy-forwarding",
    ] {
        let config = config(&format!(
            "global\n{word}\nlisten l\nbind :1\noption splice-request\n"
        ));
        assert_eq!(config.backends[0].splice_request, Splice::Never, "{word}");
        assert_eq!(config.frontends[0].splice_request, Splice::Never, "{word}");
    }
}

#[test]
fn timeout_queue_defaults_to_timeout_connect_and_zero_is_none() {
    let back = |lines: &str| listen(lines).backends[0].clone();
    assert_eq!(back("timeout connect 5s").timeout_queue_ms, Some(5000));
    assert_eq!(
        back("timeout connect 5s\ntimeout queue 1s").timeout_queue_ms,
        Some(1000)
    );
    assert_eq!(
        back("timeout server 5s\ntimeout server 0").timeout_server_ms,
        None
    );
}

#[test]
fn fullconn_is_a_tenth_of_what_its_frontends_take() {
    let config = config(
        "global\nmaxconn 1000\nfrontend a\nbind :1\nmaxconn 95\ndefault_backend x\nfrontend b\nbind :2\ndefault_backend x\n\
         backend x\nbackend y\nfullconn 7\nbackend z\n",
    );
    let full: Vec<u32> = config.backends.iter().map(|b| b.fullconn).collect();
    assert_eq!(full, [110, 7, 1]);
}

#[test]
fn backlog_falls_back_from_the_bind_to_the_frontend_to_its_limit_to_the_process() {
    let of =
        |lines: &str| config(&format!("global\nmaxconn 9\nfrontend f\n{lines}\n")).binds[0].backlog;
    assert_eq!(of("bind :1 backlog 5\nbacklog 6\nmaxconn 7"), 5);
    assert_eq!(of("bind :1\nbacklog 6\nmaxconn 7"), 6);
    assert_eq!(of("bind :1\nmaxconn 7"), 7);
    assert_eq!(of("bind :1"), 9);
}

#[test]
fn a_minconn_that_maxconn_does_not_exceed_is_the_limit() {
    let of = |options: &str| {
        let config = config(&format!("backend b\nserver s 192.0.2.1:80 {options}\n"));
        (config.servers[0].minconn, config.servers[0].maxconn)
    };
    assert_eq!(of("minconn 5"), (0, 5));
    assert_eq!(of("minconn 5 maxconn 3"), (0, 5));
    assert_eq!(of("minconn 3 maxconn 5"), (3, 5));
}

#[test]
fn a_server_without_a_port_is_checked_where_connections_arrive() {
    let port = |text: &str| config(text).servers[0].check.as_ref().unwrap().port;
    assert_eq!(port("listen l\nbind :70\nserver s 192.0.2.1 check\n"), 70);
    assert_eq!(
        port("listen l\nbind :70\nserver s 192.0.2.1:+5 check\n"),
        75
    );
    assert_eq!(
        port("frontend f\nbind :70\ndefault_backend b\nbackend b\nserver s 192.0.2.1 check\n"),
        70
    );
    assert_eq!(
        port("listen l\nbind :70,:71\nserver s 192.0.2.1 check port 9\n"),
        9
    );
    assert!(
        loaded("listen l\nbind :70,:71\nserver s 192.0.2.1 check\n")
            .config
            .is_none()
    );
}

#[test]
fn zero_is_as_good_as_nothing_where_haproxy_takes_it_so() {
    let global = config("global\nulimit-n 0\nfd-hard-limit 0\ntune.pipesize 0\nmaxconn 0\n").global;
    assert_eq!(
        (global.ulimit_n, global.fd_hard_limit, global.maxconn),
        (None, None, None)
    );
    assert_eq!(global.tune.pipesize, Tune::default().pipesize);
    let check = config("backend b\nserver s 192.0.2.1:80 check port 0\n").servers[0]
        .check
        .clone();
    assert_eq!(check.map(|c| c.port), Some(80));
    assert_eq!(listen("srvtcpka-cnt 0").backends[0].tcpka.count, None);
}

#[test]
fn the_address_probed_may_carry_its_port() {
    let server =
        config("backend b\nserver s 192.0.2.1:80 check addr 192.0.2.2:81\n").servers[0].clone();
    let check = server.check.unwrap();
    assert_eq!(
        (check.addr, check.port),
        (Some("192.0.2.2".parse().unwrap()), 81)
    );
}

#[test]
fn probes_carry_a_proxy_header_where_they_go_the_way_of_the_traffic() {
    let of = |options: &str| {
        config(&format!(
            "backend b\nserver s 192.0.2.1:80 check {options}\n"
        ))
        .servers[0]
            .check
            .clone()
            .unwrap()
            .send_proxy
    };
    assert_eq!(of("send-proxy"), Some(ProxyProtocol::V1));
    assert_eq!(of("send-proxy-v2 port 81"), None);
    assert_eq!(
        of("send-proxy-v2 port 81 check-send-proxy"),
        Some(ProxyProtocol::V2)
    );
    assert_eq!(of("check-send-proxy"), Some(ProxyProtocol::V1));
}

#[test]
fn init_addr_is_tried_from_left_to_right() {
    let of = |options: &str| {
        let text =
            format!("backend b\nserver s two.example:80\nserver t gone.example:80 {options}\n");
        loaded(&text).config.map(|c| c.servers[1].address.clone())
    };
    let port = ServerPort::Fixed(80);
    assert_eq!(of(""), None);
    assert_eq!(
        of("init-addr libc,none"),
        Some(ServerAddress::Unresolved {
            name: "gone.example".to_owned(),
            port
        })
    );
    assert_eq!(
        of("init-addr last,192.0.2.7"),
        Some(ServerAddress::Ip {
            ip: "192.0.2.7".parse().unwrap(),
            port
        })
    );
    let first = config("backend b\nserver s two.example:80\n").servers[0]
        .address
        .clone();
    assert_eq!(
        first,
        ServerAddress::Ip {
            ip: "2001:db8::1".parse().unwrap(),
            port
        }
    );
}

#[test]
fn an_unresolved_name_is_tolerated_where_asked() {
    let text = "backend b\nserver s gone.example:80\n";
    let loaded = loaded_with(text, |i| i.tolerate_unresolved = true);
    assert!(matches!(
        loaded.config.unwrap().servers[0].address,
        ServerAddress::Unresolved { .. }
    ));
    assert_eq!(loaded.diags.list.len(), 2, "missing timeouts and the name");
}

#[test]
fn diagnostics_name_what_leads_nowhere() {
    let text =
        "frontend f\nbind :1\ntimeout client 1s\nbackend b\nlisten l\nbind :2\ntimeout client 1s\n";
    let of = |wanted: bool| {
        loaded_with(text, |i| i.diagnostics = wanted)
            .diags
            .list
            .len()
    };
    assert_eq!((of(false), of(true)), (0, 3));
}

#[test]
fn what_is_not_supported_yet_can_be_switched_off() {
    let text = "defaults\noption nolinger\nlisten l\nbind :1\n";
    assert!(loaded(text).config.is_none());
    assert!(
        loaded(&format!("{text}no option nolinger\n"))
            .config
            .is_some()
    );
}

/// A connection that shows its two ends only.
struct Ends([Option<SocketAddr>; 2]);

impl Subject for Ends {
    fn src(&self) -> Option<SocketAddr> {
        self.0[0]
    }
    fn dst(&self) -> Option<SocketAddr> {
        self.0[1]
    }
}

/// The backend that a connection of the first frontend is switched to, by name.
fn reached<'c>(config: &'c Config, client: &str, local: &str) -> &'c str {
    let ends = Ends([client.parse().ok(), local.parse().ok()]);
    let rules = config.switching(FrontendId(0));
    let index = SwitchIndex::new(rules.iter().map(|rule| rule.when.as_ref()));
    let to = match index.first(&ends, &Arena::new()) {
        First::Holds(at) => match &rules[at].to {
            http::SwitchTo::Backend(id) => Some(*id),
            http::SwitchTo::Format(_) => None,
        },
        _ => config.frontend(FrontendId(0)).default_backend,
    };
    to.map_or("", |id| &config.backend(id).name)
}

#[test]
fn the_first_rule_that_holds_chooses_the_backend() {
    let config = config(
        "frontend f\nbind :1\nacl near src 192.0.2.0/24\nuse_backend a if near { src_port lt 1024 }\n\
         use_backend b if near or { dst_port 81 }\nuse_backend c unless LOCALHOST\ndefault_backend d\n\
         acl near src 198.51.100.1\nbackend a\nbackend b\nbackend c\nbackend d\n",
    );
    let to = |client: &str, local: &str| reached(&config, client, local);
    assert_eq!(to("192.0.2.1:80", "10.0.0.1:80"), "a");
    assert_eq!(to("192.0.2.1:2000", "10.0.0.1:80"), "b");
    assert_eq!(
        to("198.51.100.1:2000", "10.0.0.1:80"),
        "b",
        "a later line adds to the ACL"
    );
    assert_eq!(to("127.0.0.1:2000", "10.0.0.1:81"), "b");
    assert_eq!(to("127.0.0.1:2000", "10.0.0.1:80"), "d");
    assert_eq!(to("203.0.113.1:2000", "10.0.0.1:80"), "c");
    let asks = |at: usize| {
        let when = config.switching(FrontendId(0))[at].when.as_ref();
        when.is_some_and(|w| w.needs().has(Needs::LOCAL_ADDRESS))
    };
    assert!(!asks(0) && asks(1));
}

#[test]
fn patterns_of_a_file_are_one_a_line() {
    let dir = std::env::temp_dir().join(format!("ringway-patterns-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("list"), "# near\n192.0.2.1\n\n 198.51.100.0/24 \n").unwrap();
    let text = "frontend f\nbind :1\nuse_backend b if { src -f list }\nbackend b\n";
    let loaded = loaded_with(text, |i| i.dir = Some(dir.clone()));
    std::fs::remove_dir_all(&dir).unwrap();
    let config = loaded.config.unwrap();
    let to = |client: &str| reached(&config, client, "192.0.2.1:1");
    assert_eq!(to("198.51.100.9:1"), "b");
    assert_eq!(to("198.51.101.9:1"), "");
}

#[test]
fn a_server_of_a_backend_reached_by_a_rule_is_checked_where_connections_arrive() {
    let text = "frontend f\nbind :70\nuse_backend b if { src 192.0.2.1 }\nbackend b\nserver s 192.0.2.1 check\n";
    assert_eq!(
        config(text).servers[0].check.as_ref().map(|c| c.port),
        Some(70)
    );
}

#[test]
fn the_mode_of_a_section_may_come_after_its_rules() {
    let text = "frontend f\nbind :1\ntimeout client 1s\nacl a path_beg /x\nuse_backend b if a\nmode http\nbackend b\nmode http\n";
    assert!(loaded(text).diags.list.is_empty());
}

#[test]
fn tracking_follows_names_within_and_across_backends() {
    let config = config(
        "backend a\nserver s 192.0.2.1:80 check\nserver t 192.0.2.1:81 track s\nbackend b\nserver u 192.0.2.1:82 track a/t\n",
    );
    let tracked: Vec<_> = config.servers.iter().map(|s| s.track).collect();
    assert_eq!(tracked, [None, Some(ServerId(0)), Some(ServerId(1))]);
}

#[test]
fn the_global_log_targets_come_once_however_often_they_are_asked_for() {
    let config = config(
        "global\nlog 127.0.0.1 local0\nlog 127.0.0.1:10514 local1 notice\ndefaults\nlog global\nlog stdout format raw daemon\n\
         frontend f\nbind :1\nlog global\nfrontend g\nbind :2\nno log\n",
    );
    let targets = &config.frontends[0].log;
    let to: Vec<_> = targets
        .iter()
        .map(|t| (t.facility.0, t.max_level))
        .collect();
    assert_eq!(
        to,
        [(3, Level::Debug), (16, Level::Debug), (17, Level::Notice)]
    );
    assert_eq!(
        targets[1].to,
        LogAddress::Udp("127.0.0.1:514".parse().unwrap())
    );
    assert_eq!(
        (targets[0].to.clone(), targets[0].format),
        (LogAddress::Fd(1), LogWire::Raw)
    );
    assert!(config.frontends[1].log.is_empty());
}

#[test]
fn cpu_map_deals_cpus_out_under_auto_and_shares_them_without() {
    let of = |lines: &str| {
        config(&format!("global\nnbthread 4\n{lines}\n"))
            .global
            .cpu_map
    };
    assert_eq!(
        of("cpu-map auto:1/1-4 0-3"),
        [vec![0], vec![1], vec![2], vec![3]]
    );
    assert_eq!(
        of("cpu-map 1 0,2"),
        [vec![0, 2], vec![0, 2], vec![0, 2], vec![0, 2]]
    );
    assert_eq!(
        of("cpu-map 1/odd 5\ncpu-map 1/4 6"),
        [vec![5], vec![], vec![5], vec![6]]
    );
    assert!(of("").is_empty());
}

#[test]
fn threads_and_shards_of_a_bind() {
    let config = config(
        "frontend f\nbind :1 thread 1/odd\nbind :2 thread 2-3 shards 2\nbind :3 thread all shards by-thread\n",
    );
    let of = |at: usize| (config.binds[at].threads.clone(), config.binds[at].shards);
    assert_eq!(
        [of(0), of(1), of(2)],
        [(vec![0, 2], None), (vec![1, 2], Some(2)), (vec![], None)]
    );
}

#[test]
fn the_environment_of_the_process_is_what_setenv_and_its_kin_left() {
    let loaded =
        loaded("global\nsetenv NEW 5\npresetenv KEEP 9\nunsetenv DROP\nlisten l\nbind :\"$NEW\"\n");
    let config = loaded.config.unwrap();
    let change = |name: &str| {
        config
            .global
            .env
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, v)| v.as_deref())
    };
    assert_eq!(
        (change("NEW"), change("DROP"), change("KEEP")),
        (Some(Some("5")), Some(None), None)
    );
    assert_eq!(config.binds[0].address, ip("0.0.0.0:5"));
    assert_eq!(change("HAPROXY_CFGFILES"), Some(Some("t.cfg")));
    assert_eq!(
        change("HAPROXY_TCP_LOG_FMT"),
        None,
        "only lent to the configuration"
    );
}

#[test]
fn disabled_sections_need_no_listener_name_or_http_mode() {
    let loaded = loaded("listen l\nbind :1\nmode http\nserver s gone.example:80 check\ndisabled\n");
    assert!(
        loaded.config.is_some() && loaded.diags.list.is_empty(),
        "{:?}",
        loaded.diags.list
    );
    assert!(!loaded.has_listeners());
}

#[test]
fn zero_warning_refuses_what_is_only_warned_of() {
    let text = "listen l\nbind :1\nserver s 192.0.2.1:80\n";
    assert!(loaded(text).config.is_some());
    assert!(
        loaded_with(text, |i| i.zero_warning = true)
            .config
            .is_none()
    );
    assert!(
        loaded(&format!("global\nzero-warning\n{text}"))
            .config
            .is_none()
    );
}

#[test]
fn files_of_a_directory_are_read_in_order_and_share_their_sections() {
    let dir = std::env::temp_dir().join(format!("ringway-load-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    for (name, text) in [
        ("20-b.cfg", "backend b\n"),
        ("10-f.cfg", "frontend f\nbind :1\ndefault_backend b"),
        ("x.txt", "junk\n"),
        (".h.cfg", "junk\n"),
    ] {
        std::fs::write(dir.join(name), text).unwrap();
    }
    let loaded = loaded_with("", |i| i.inputs = vec![Input::Path(dir.clone())]);
    std::fs::remove_dir_all(&dir).unwrap();
    let config = loaded.config.unwrap();
    assert_eq!(
        config.proxies.iter().map(|p| &*p.name).collect::<Vec<_>>(),
        ["f", "b"]
    );
    assert_eq!(config.frontends[0].default_backend, Some(BackendId(0)));
}

#[test]
fn a_file_that_cannot_be_read_is_named_with_the_reason() {
    let loaded = loaded_with("", |i| {
        i.inputs = vec![Input::Path("/nonexistent/lb.cfg".into())]
    });
    assert!(loaded.config.is_none());
    assert_eq!(
        loaded.diags.list[0].text,
        "Cannot open configuration file/directory /nonexistent/lb.cfg : No such file or directory"
    );
}

#[test]
fn what_to_do_about_a_file_that_is_not_there_is_told() {
    let dir = std::env::temp_dir().join(format!("ringway-slips-{}", std::process::id()));
    let empty = dir.join("conf.d");
    std::fs::create_dir_all(&empty).unwrap();
    std::fs::write(dir.join("haproxy.cfg"), "").unwrap();
    let told = |path: PathBuf| {
        let loaded = loaded_with("", |i| i.inputs = vec![Input::Path(path)]);
        let first = loaded.diags.list[0].clone();
        (first.text, first.help)
    };
    let slip = told(dir.join("haproxy.conf"));
    let nowhere = told("no/such/lb.cfg".into());
    let nothing = told(empty);
    std::fs::remove_dir_all(&dir).unwrap();
    assert_eq!(slip.1.unwrap(), "beside it there is 'haproxy.cfg'");
    assert!(nowhere.1.unwrap().contains("'-C <dir>'"));
    assert!(nothing.0.contains("'*.cfg'"), "{}", nothing.0);
}

#[test]
fn both_lists_name_every_kind_of_keyword() {
    let markdown = keyword::table_markdown();
    for name in [
        "`timeout client`",
        "`option httpchk`",
        "`contimeout`",
        "`stick-table`",
        "`tune.bufsize`",
        "`ssl`",
    ] {
        assert!(markdown.contains(name), "{name}");
    }
    assert!(keyword::table_text().lines().count() > 500);
}

/// Prints the time `load` takes for the file in `RINGWAY_LOAD` (nothing without it).
#[test]
fn time_of_a_load() {
    let Some(path) = std::env::var_os("RINGWAY_LOAD") else {
        return;
    };
    for _ in 0..5 {
        let start = std::time::Instant::now();
        let loaded = loaded_with("", |i| i.inputs = vec![Input::Path(path.clone().into())]);
        println!(
            "{:?} {}",
            start.elapsed(),
            loaded.config.map_or(0, |c| c.servers.len())
        );
    }
}
