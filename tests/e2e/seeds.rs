//! The configurations our users start from, as they stand, each in a world that has the addresses,
//! directories and users it names, before the real servers it was written for.
//!
//! haproxy itself refuses most of them today; against it these scenarios run with the present
//! spelling.

use std::process::Command;
use std::time::Duration;

use crate::support::client::{End, closed_within, connect_to};
use crate::support::component::{Component, certificate, python, run};
use crate::support::net::{Network, ask_in};
use crate::support::world::World;
use crate::support::{
    Admin, Daemon, Launch, Server, TempDir, UnixLog, on_haproxy, port, until, within,
};

/// A configuration file of `tests/e2e/seeds`, as it stands.
pub(crate) fn seed(name: &str) -> String {
    let path = format!("{}/tests/e2e/seeds/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// `text` in the spelling haproxy takes today, when it is haproxy that runs.
pub(crate) fn present(text: &str, changes: &[(&str, &str)]) -> String {
    if !on_haproxy() {
        return text.to_owned();
    }
    changes
        .iter()
        .fold(text.to_owned(), |text, (old, new)| text.replace(old, new))
}

/// Starts with `daemon` as the file says, in `net` and `world`, and finds it by its pid file.
pub(crate) fn start(config: &str, net: &Network, world: &World, pidfile: &str) -> Daemon {
    let launch = Launch::new(config).in_net(&net.balancer).in_world(world);
    launch.start_daemon(pidfile)
}

/// A prosody on `node`, which has `address`, with the users alice, bob and carol.
fn prosody(net: &Network, node: usize, address: &str, dir: &TempDir) -> Component {
    let home = dir.subdir(&format!("prosody{node}"));
    let (key, cert) = certificate(dir, &format!("prosody{node}"));
    let file = dir.write(
        &format!("prosody{node}/cfg.lua"),
        &format!(
            "run_as_root = true\npidfile = \"{home}/pid\"\ndata_path = \"{home}/data\"\nlog = {{ info = \"*console\" }}\n\
             interfaces = {{ \"{address}\" }}\nc2s_ports = {{ 5222 }}\nc2s_direct_tls_ports = {{ 5223 }}\n\
             s2s_ports = {{ 5269 }}\nhttp_ports = {{}}\nhttps_ports = {{}}\n\
             modules_enabled = {{ \"roster\", \"saslauth\", \"tls\", \"disco\", \"ping\" }}\n\
             modules_disabled = {{ \"s2s_auth_certs\" }}\nauthentication = \"internal_plain\"\n\
             c2s_require_encryption = false\nallow_unencrypted_plain_auth = true\n\
             ssl = {{ key = \"{key}\", certificate = \"{cert}\" }}\nVirtualHost \"example.test\"\n"
        ),
    );
    let accounts = dir.subdir(&format!("prosody{node}/data/example%2etest/accounts"));
    for user in ["alice", "bob", "carol"] {
        std::fs::write(
            format!("{accounts}/{user}.dat"),
            "return {\n\t[\"password\"] = \"secret\";\n};\n",
        )
        .unwrap();
    }
    let mut command = net.at(node).command("prosody");
    Component::start(
        dir,
        &format!("prosody{node}.out"),
        command.args(["--config", &file, "-F"]),
    )
}

// C01, G05, G08, G11, F04, A03, B16, B17, V14: the XMPP cluster
#[test]
fn xmpp_clients_log_in_and_talk_through_the_file_as_it_stands() {
    let mut net = Network::new(&["213.134.1.1/24", "10.0.0.254/24"]);
    let dir = TempDir::new();
    let client = net.node(&["213.134.1.77/24"]);
    let nodes: Vec<_> = (1..=3)
        .map(|n| net.node(&[&format!("10.0.0.{n}/24")]))
        .collect();
    let mut servers: Vec<_> = nodes
        .iter()
        .map(|&node| {
            Some(prosody(
                &net,
                node,
                &format!("10.0.0.{}", node - client),
                &dir,
            ))
        })
        .collect();
    for (i, &node) in nodes.iter().enumerate() {
        let addr = format!("10.0.0.{}:5222", i + 1).parse().unwrap();
        until("prosody listens", || {
            net.at(node).inside(|| connect_to(addr).is_ok())
        });
    }

    let mut world = World::new();
    let jail = world.directory("/usr/share/haproxy");
    let run_dir = world.directory("/run");
    let log = UnixLog::at(format!("{run_dir}/syslogd.sock"));
    let config = present(
        &seed("xmpp-ejabberd.cfg"),
        &[
            (" 213.134.1.1", "\n\tbind 213.134.1.1"),
            ("independant", "independent"),
            ("maxconn 60000", "maxconn 6000"), // it refuses to start where the files do not suffice
        ],
    );
    let daemon = start(&config, &net, &world, &format!("{run_dir}/haproxy.pid"));
    let admin = Admin::Unix(format!("{jail}/haproxy-stats.sock"));
    assert_eq!(daemon.proc_status("Uid"), "65534\t65534\t65534\t65534");

    let talk = |user: &str, hold: &str| {
        let script = format!("{}/tests/e2e/clients/xmpp.py", env!("CARGO_MANIFEST_DIR"));
        let mut command = net.at(client).command(python().to_str().unwrap());
        let text = format!("hello from {user}");
        command.args([
            &script,
            "213.134.1.1",
            "5222",
            &format!("{user}@example.test"),
            "secret",
            &text,
            hold,
        ]);
        Component::start(&dir, user, &mut command)
    };
    let clients: Vec<_> = ["alice", "bob", "carol"]
        .iter()
        .map(|user| (*user, talk(user, "30")))
        .collect();
    for (user, client) in &clients {
        let heard = within(Duration::from_secs(30), || {
            client.output().contains(&format!("hello from {user}"))
        });
        assert!(heard, "{user}: {}", client.output());
    }
    // Three sessions on three equal nodes.
    let spread: Vec<_> = (1..=3)
        .map(|n| admin.count("cluster_clients", &format!("server{n}"), "scur"))
        .collect();
    assert_eq!(spread, [1, 1, 1]);
    let ids: Vec<_> = (1..=3)
        .map(|n| admin.count("cluster_clients", &format!("server{n}"), "sid"))
        .collect();
    assert_eq!(ids, [1005, 1006, 1007]);
    until("option tcpka, once nothing is under way", || {
        let mut ss = net.balancer.command("ss");
        let out = ss
            .args(["-tnoH", "state", "established", "sport", "=", ":5222"])
            .output();
        String::from_utf8_lossy(&out.unwrap().stdout).contains("keepalive")
    });
    drop(clients);
    if !on_haproxy() {
        // haproxy looks for the log socket inside its jail.
        let line = log.wait(" access_clients cluster_clients/server");
        assert!(line.starts_with("<134>"), "{line}");
    }

    // A node that dies leaves its services, and only its own.
    servers[1].take();
    let down = |proxy: &str, server: &str| admin.cell(proxy, server, "status").starts_with("DOWN");
    assert!(
        within(Duration::from_secs(25), || down(
            "cluster_clients",
            "server2"
        )),
        "down after 3 checks of 5 s"
    );
    assert!(!down("cluster_clients", "server1") && !down("cluster_clients", "server3"));
    let again = talk("alice", "0");
    assert!(
        within(Duration::from_secs(30), || again
            .output()
            .contains("hello from alice")),
        "{}",
        again.output()
    );
}

/// A mosquitto on `node` which passes everything on to the broker at `peer`, if any.
fn mosquitto(
    net: &Network,
    node: usize,
    address: &str,
    peer: Option<&str>,
    dir: &TempDir,
) -> Component {
    let bridge = peer.map_or_else(String::new, |peer| {
        format!("connection peer\naddress {peer}:1883\ntopic # both 0\nrestart_timeout 1\n")
    });
    let text = format!(
        "listener 1883 {address}\nallow_anonymous true\nuser root\npersistence false\n{bridge}"
    );
    let file = dir.write(&format!("mosquitto{node}.conf"), &text);
    let mut command = net.at(node).command("mosquitto");
    Component::start(
        dir,
        &format!("mosquitto{node}.out"),
        command.args(["-v", "-c", &file]),
    )
}

// C01, V14: the MQTT brokers
#[test]
fn mqtt_messages_pass_between_clients_of_both_brokers() {
    let mut net = Network::new(&["10.255.4.1/24"]);
    let dir = TempDir::new();
    let (one, two) = (
        net.node(&["10.255.4.101/24"]),
        net.node(&["10.255.4.102/24"]),
    );
    let client = net.node(&["10.255.4.7/24"]);
    let _second = mosquitto(&net, two, "10.255.4.102", None, &dir);
    let first = mosquitto(&net, one, "10.255.4.101", Some("10.255.4.102"), &dir);
    until("the brokers know each other", || {
        first.output().contains("CONNACK")
    });

    let whole = seed("mqtt.cfg");
    let (mqtt, stats) = whole.split_once("listen stats").expect("a stats section");
    assert!(stats.contains("mode http"));
    let launch = Launch::new(&format!("global\n stats socket @DIR@/admin\n{mqtt}"))
        .ports(&[1883])
        .in_net(&net.balancer);
    let daemon = launch.start();
    for broker in ["broker_1", "broker_2"] {
        daemon.admin().wait_status("mqtt", broker, "UP");
    }

    let mut subscribe = net.at(client).command("mosquitto_sub");
    subscribe.args(["-h", "10.255.4.1", "-t", "news/#", "-C", "3", "-v"]);
    let subscriber = Component::start(&dir, "sub", &mut subscribe);
    until("the subscriber is connected", || {
        daemon.admin().count("mqtt", "BACKEND", "scur") == 1
    });
    std::thread::sleep(Duration::from_millis(500));
    for n in 0..3 {
        let mut publish = net.at(client).command("mosquitto_pub");
        run(
            &dir,
            publish.args([
                "-h",
                "10.255.4.1",
                "-q",
                "1",
                "-t",
                &format!("news/{n}"),
                "-m",
                &format!("number {n}"),
            ]),
        );
    }
    for n in 0..3 {
        until("the message arrives", || {
            subscriber
                .output()
                .contains(&format!("news/{n} number {n}"))
        });
    }
    let total = |server| daemon.admin().count("mqtt", server, "stot");
    assert!(
        total("broker_1") >= 1 && total("broker_2") >= 1,
        "both brokers were used"
    );
}

fn nginx(net: &Network, node: usize, address: &str, dir: &TempDir) -> Component {
    let home = dir.subdir(&format!("nginx{node}"));
    std::fs::write(format!("{home}/healthCheck.html"), "well\n").unwrap();
    std::fs::write(format!("{home}/index.html"), format!("node {address}\n")).unwrap();
    let file = dir.write(
        &format!("nginx{node}.conf"),
        &format!(
            "user root;\npid {home}/pid;\nerror_log {home}/error.log;\nworker_processes 1;\nevents {{}}\nhttp {{\n access_log off;\n \
             client_body_temp_path {home}/t1;\n proxy_temp_path {home}/t2;\n fastcgi_temp_path {home}/t3;\n \
             uwsgi_temp_path {home}/t4;\n scgi_temp_path {home}/t5;\n server {{ listen {address}:8082; root {home}; }}\n}}\n"
        ),
    );
    let mut command = net.at(node).command("nginx");
    Component::start(
        dir,
        &format!("nginx{node}.out"),
        command.args([
            "-c",
            &file,
            "-p",
            &home,
            "-g",
            "daemon off; master_process off;",
        ]),
    )
}

// C01, G02, G06, G07, H03, H08, H12, L05: the introduction's build, with nginx and rsyslog
#[test]
fn web_pages_are_balanced_and_logged_through_the_file_as_it_stands() {
    let mut net = Network::new(&["192.168.8.1/24"]);
    let dir = TempDir::new();
    let (one, two) = (
        net.node(&["192.168.8.111/24"]),
        net.node(&["192.168.8.112/24"]),
    );
    let client = net.node(&["192.168.8.7/24"]);
    let _first = nginx(&net, one, "192.168.8.111", &dir);
    let _second = nginx(&net, two, "192.168.8.112", &dir);
    for (node, addr) in [(one, "192.168.8.111:8082"), (two, "192.168.8.112:8082")] {
        until("nginx listens", || {
            net.at(node)
                .inside(|| connect_to(addr.parse().unwrap()).is_ok())
        });
    }
    let logs = dir.subdir("log");
    let rsyslog = dir.write(
        "rsyslog.conf",
        &format!(
            "module(load=\"imudp\")\ninput(type=\"imudp\" address=\"127.0.0.1\" port=\"514\")\n\
             local0.* {logs}/haproxy.log\nlocal1.* {logs}/haproxy_warn.log\n"
        ),
    );
    let mut command = net.balancer.command("rsyslogd");
    command.args(["-n", "-f", &rsyslog, "-i", &dir.file("rsyslog.pid")]);
    let _rsyslog = Component::start(&dir, "rsyslog.out", &mut command);
    let udp = || {
        net.balancer
            .command("ss")
            .args(["-ulnH"])
            .output()
            .is_ok_and(|o| String::from_utf8_lossy(&o.stdout).contains(":514"))
    };
    until("rsyslog listens", udp);

    let mut world = World::new();
    let home = world.directory("/home/ha/haproxy/conf");
    world.append("/etc/passwd", "ha:x:1999:1999::/home/ha:/bin/sh\n");
    world.append("/etc/group", "ha:x:1999:\n");
    let config = present(
        &seed("intro-l4.cfg"),
        &[("maxconn 30000\n", "maxconn 6000\n")],
    );
    let daemon = start(&config, &net, &world, &format!("{home}/haproxy.pid"));
    assert_eq!(daemon.proc_status("Uid"), "1999\t1999\t1999\t1999");

    let page =
        || ask_in(net.at(client), "192.168.8.1:9002", "GET / HTTP/1.0\r\n\r\n").unwrap_or_default();
    let node_of = |page: &str| match page {
        page if page.contains("node 192.168.8.111") => '1',
        page if page_is_second(page) => '2',
        _ => '?',
    };
    let four: String = (0..4).map(|_| node_of(&page())).collect();
    assert!(four.contains('1') && !four.contains('?'), "{four}");
    let read = |name: &str| std::fs::read_to_string(format!("{logs}/{name}")).unwrap_or_default();
    until("traffic is in the first file", || {
        read("haproxy.log").contains(" http-in default_servers/def.srv1 ")
    });
    assert!(
        read("haproxy.log").contains(&format!(" haproxy[{}]: ", daemon.pid)),
        "{}",
        read("haproxy.log")
    );

    std::fs::remove_file(dir.file(&format!("nginx{two}/healthCheck.html"))).unwrap();
    until("a page that is gone takes its server out", || {
        read("haproxy_warn.log").contains("Server default_servers/def.srv2 is DOWN")
    });
    assert!(
        !read("haproxy_warn.log").contains(" http-in default_servers/"),
        "info lines stay out of the second file"
    );
    assert!((0..6).all(|_| page().contains("node 192.168.8.111")));
    std::fs::write(dir.file(&format!("nginx{two}/healthCheck.html")), "well\n").unwrap();
    until("and lets it in again", || {
        read("haproxy.log").contains("Server default_servers/def.srv2 is UP")
    });
    until("it serves again", || page_is_second(&page()));
}

fn page_is_second(page: &str) -> bool {
    page.contains("node 192.168.8.112")
}

// C01, C09, C10, F12, H05, B07: terminal servers and syslog over TLS
#[test]
fn several_ports_reach_one_farm_and_a_tls_check_chooses_the_site() {
    let mut net = Network::new(&["192.168.1.1/24", "192.168.2.1/24"]);
    let dir = TempDir::new();
    let farm = net.node(&["192.168.1.10/24"]);
    let back = net.node(&["192.168.2.10/24"]);
    let monitor = net.node(&["192.168.1.252/24"]);
    let client = net.node(&["192.168.1.77/24"]);
    let at = |node: usize, addr: &str, name: &str| {
        let (addr, name) = (addr.parse().unwrap(), name.to_owned());
        net.at(node).inside(|| Server::named_at(addr, &name))
    };
    let farm_servers: Vec<_> = ["3389", "1494", "5900"]
        .iter()
        .map(|port| at(farm, &format!("192.168.1.10:{port}"), port))
        .collect();
    let tls = |node: usize, name: &str| {
        let (key, cert) = certificate(&dir, name);
        let mut command = net.at(node).command("openssl");
        command.args([
            "s_server", "-quiet", "-www", "-accept", "1514", "-key", &key, "-cert", &cert,
        ]);
        Component::start(&dir, name, &mut command)
    };
    let mut prod = Some(tls(farm, "prod"));
    let _back = tls(back, "back");
    let config = present(
        &seed("arch-2-tcp-monitor-net.cfg"),
        &[
            ("    monitor-net 192.168.1.252/31\n", ""),
            ("10 check", "10 check port 1514"),
        ],
    );
    // Everything that is not in the file, and only that: a socket to look in by.
    let launch = Launch::new(&format!("global\n stats socket @DIR@/admin\n{config}"));
    let daemon = launch
        .ports(&[3389, 1494, 5900, 1514])
        .in_net(&net.balancer)
        .start();
    for port in ["3389", "1494", "5900"] {
        let answer = ask_in(net.at(client), &format!("192.168.1.1:{port}"), "x").unwrap();
        assert_eq!(answer, format!("{port}:x"));
    }
    if !on_haproxy() {
        let before = farm_servers[0].seen.accepted();
        let (end, _) = net.at(monitor).inside(|| {
            let mut probe = connect_to("192.168.1.1:3389".parse().unwrap()).unwrap();
            closed_within(Duration::from_secs(2), &mut probe)
        });
        assert!(matches!(end, End::Closed | End::Reset));
        assert_eq!(
            farm_servers[0].seen.accepted(),
            before,
            "a probe of the monitor reaches no server"
        );
    }
    let subject = || {
        let mut command = net.at(client).command("openssl");
        let out = command
            .args(["s_client", "-connect", "192.168.1.1:1514"])
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        ["prod", "back"]
            .into_iter()
            .find(|name| text.contains(&format!("CN = {name}")))
            .unwrap_or("nobody")
    };
    until("the TLS checks pass", || subject() == "prod");
    drop(prod.take());
    daemon
        .admin()
        .wait_status("tcp-syslog-proxy", "syslog-prod-site", "DOWN");
    until("the other site serves", || subject() == "back");
}

// C01, C12, C13, G12, R15: the relay for a check port
#[test]
fn the_check_port_relay_dispatches_and_is_stopped_by_its_pidfile() {
    let net = Network::new(&["192.168.9.1/24"]);
    let _web = net
        .balancer
        .inside(|| Server::named_at(([127, 0, 0, 1], 80).into(), "WEB"));
    let mut world = World::new();
    let run_dir = world.directory("/run");
    let config = present(
        &seed("arch-4-dispatch.cfg"),
        &[
            ("listen 0.0.0.0:81", "listen relay\n    bind 0.0.0.0:81"),
            ("contimeout", "timeout connect"),
            ("clitimeout", "timeout client"),
            ("srvtimeout", "timeout server"),
        ],
    );
    let mut daemon = start(
        &config,
        &net,
        &world,
        &format!("{run_dir}/haproxy-checks.pid"),
    );
    assert_eq!(daemon.output(), "", "quiet");
    assert_eq!(
        ask_in(&net.balancer, "192.168.9.1:81", "x").unwrap(),
        "WEB:x"
    );
    daemon.signal(nix::sys::signal::Signal::SIGTERM);
    assert!(daemon.ended_within(Duration::from_secs(5)).is_some());
    assert!(ask_in(&net.balancer, "192.168.9.1:81", "x").is_err());
}

// C01
#[test]
fn every_seed_is_valid() {
    if on_haproxy() {
        return;
    }
    let mut world = World::new();
    world.append("/etc/passwd", "ha:x:1999:1999::/home/ha:/bin/sh\n");
    world.append("/etc/group", "ha:x:1999:\n");
    for entry in
        std::fs::read_dir(format!("{}/tests/e2e/seeds", env!("CARGO_MANIFEST_DIR"))).unwrap()
    {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if !name.ends_with(".cfg") {
            continue;
        }
        let checked = Launch::new(&seed(&name)).in_world(&world).check();
        assert_eq!(checked.code(), 0, "{name}: {}", checked.text);
    }
}

// V14: redis, server and benchmark
#[test]
fn redis_benchmark_runs_through_the_balancer() {
    let dir = TempDir::new();
    let (one, two, front) = (port(), port(), port());
    let redis = |port: u16| {
        let mut command = Command::new("redis-server");
        command.args([
            "--port",
            &port.to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--dir",
            dir.path().to_str().unwrap(),
        ]);
        let server = Component::start(&dir, &format!("redis{port}"), &mut command);
        until("redis listens", || {
            std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        server
    };
    let (_one, _two) = (redis(one), redis(two));
    let daemon = Daemon::start(&format!(
        "{}listen redis\n balance leastconn\n bind 127.0.0.1:{front}\n server one 127.0.0.1:{one} check\n server two 127.0.0.1:{two} check\n",
        crate::support::USUAL
    ));
    let mut command = Command::new("redis-benchmark");
    command.args([
        "-p",
        &front.to_string(),
        "-c",
        "20",
        "-n",
        "10000",
        "-P",
        "4",
        "-t",
        "set,get,incr,lpush,lrange_100",
        "-q",
    ]);
    let said = run(&dir, &mut command);
    assert!(
        said.contains("requests per second") && !said.contains("Error"),
        "{said}"
    );
    let total = |server| daemon.admin().count("redis", server, "stot");
    let (one, two) = (total("one"), total("two"));
    assert!(one.min(two) * 2 > one.max(two), "{one} and {two}");
}
