//! The configurations of web farms our users start from, as they stand, each in a network that has the addresses it
//! names, with nginx on the servers, and walked through as their authors tell it.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use crate::seeds::{present, seed, start};
use crate::support::client::connect_to;
use crate::support::component::{Component, certificate};
use crate::support::http::{Message, Origin, Wire, ok};
use crate::support::net::{Namespace, Network};
use crate::support::world::World;
use crate::support::{Daemon, Launch, Server, TempDir, until, within};

/// Longest time until checks as the files have them (every 2 s or 4 s, three of them) have seen a change.
const CHECKED: Duration = Duration::from_secs(30);

/// What is changed for haproxy itself, which takes old spellings no more.
const TODAY: [(&str, &str); 9] = [
    (
        "listen webfarm 192.168.1.1:80",
        "listen webfarm\n    bind 192.168.1.1:80",
    ),
    (
        "listen webfarm 0.0.0.0:80",
        "listen webfarm\n    bind 0.0.0.0:80",
    ),
    (
        "listen appfarm 192.168.1.1:80",
        "listen appfarm\n    bind 192.168.1.1:80",
    ),
    (
        "listen 127.0.0.1:8000",
        "listen 127.0.0.1:8000\n    bind 127.0.0.1:8000",
    ),
    (
        "listen 192.168.1.1:80",
        "listen 192.168.1.1:80\n    bind 192.168.1.1:80",
    ),
    ("    redispatch", "    option redispatch"),
    ("    contimeout", "    timeout connect"),
    ("30000", "6000"),
    ("listen stats :1936", "listen stats\n    bind :1936"),
];

/// The daemon with a seed file, and a socket to look in by, which is all that is not in it.
fn farm(name: &str, ports: &[u16], ns: &Namespace) -> Daemon {
    let config = present(&seed(name), &TODAY);
    let launch = Launch::new(&format!("global\n stats socket @DIR@/admin\n{config}"));
    launch.ports(ports).in_net(ns).start()
}

/// An nginx in `ns` that listens at `listen` and calls itself `name`; its files are in the directory given.
fn nginx(ns: &Namespace, name: &str, listen: &[&str], dir: &TempDir) -> (Component, String) {
    let home = dir.subdir(name);
    for file in ["index.html", "running", "healthCheck.html"] {
        std::fs::write(format!("{home}/{file}"), format!("{name}\n")).unwrap();
    }
    let listens: String = listen.iter().map(|a| format!("listen {a}; ")).collect();
    let file = dir.write(
        &format!("{name}.conf"),
        &format!(
            "user root;\npid {home}/pid;\nerror_log {home}/error.log;\nworker_processes 1;\nevents {{}}\nhttp {{\n access_log off;\n \
             client_body_temp_path {home}/t1;\n proxy_temp_path {home}/t2;\n fastcgi_temp_path {home}/t3;\n \
             uwsgi_temp_path {home}/t4;\n scgi_temp_path {home}/t5;\n server {{ {listens} root {home};\n \
             location = /seen {{ return 200 \"{name} xff=$http_x_forwarded_for; xot=$http_x_original_to; cookie=$http_cookie; connection=$http_connection;\"; }}\n \
             location = /app {{ add_header Set-Cookie \"JSESSIONID=123; Path=/\"; return 200 \"{name} cookie=$http_cookie;\"; }}\n \
             location = /cacheable {{ add_header Cache-Control max-age=60; return 200 \"{name}\"; }}\n \
             location ~ ^/(ms1|ms2|MS1)/ {{ return 200 \"{name} port=$server_port\"; }}\n }}\n}}\n"
        ),
    );
    let mut command = ns.command("nginx");
    command.args([
        "-c",
        &file,
        "-p",
        &home,
        "-g",
        "daemon off; master_process off;",
    ]);
    let nginx = Component::start(dir, &format!("{name}.out"), &mut command);
    let addr: SocketAddr = listen[0].parse().unwrap();
    until("nginx listens", || ns.inside(|| connect_to(addr).is_ok()));
    (nginx, home)
}

/// One request from inside `ns`.
#[track_caller]
fn get(ns: &Namespace, addr: &str, target: &str, fields: &str) -> Message {
    let addr: SocketAddr = addr.parse().unwrap();
    ns.inside(|| {
        let stream = connect_to(addr).unwrap_or_else(|e| panic!("{addr}: {e}"));
        Wire::new(stream).get(target, fields)
    })
}

fn with(cookie: &str) -> String {
    format!("Cookie: {cookie}\r\n")
}

/// The first word of a body: who answered.
fn who(answer: &Message) -> String {
    answer
        .body
        .split([' ', '\n'])
        .next()
        .unwrap_or_default()
        .to_owned()
}

/// The world of the articles: four web servers, the balancer, and a client.
struct Farm {
    net: Network,
    client: usize,
    nodes: Vec<usize>,
    webs: Vec<Option<(Component, String)>>,
    _dir: TempDir,
}

const VIP: &str = "192.168.1.1:80";

impl Farm {
    fn new() -> Self {
        let mut net = Network::new(&["192.168.1.1/24"]);
        let dir = TempDir::new();
        let client = net.node(&[
            "192.168.1.77/24",
            "192.168.1.78/24",
            "192.168.1.80/24",
            "192.168.1.81/24",
        ]);
        let nodes: Vec<_> = (11..15)
            .map(|n| net.node(&[&format!("192.168.1.{n}/24")]))
            .collect();
        let webs = nodes
            .iter()
            .zip(["webA", "webB", "webC", "webD"])
            .enumerate()
            .map(|(i, (&node, name))| {
                let addr = format!("192.168.1.{}:80", i + 11);
                Some(nginx(net.at(node), name, &[&addr], &dir))
            })
            .collect();
        Self {
            net,
            client,
            nodes,
            webs,
            _dir: dir,
        }
    }

    fn get(&self, target: &str, fields: &str) -> Message {
        get(self.net.at(self.client), VIP, target, fields)
    }

    fn kill(&mut self, n: usize) {
        self.webs[n].take();
    }
}

#[track_caller]
fn in_time(what: &str, holds: impl FnMut() -> bool) {
    assert!(within(CHECKED, holds), "never happened: {what}");
}

// C01, C11, P02, P03, P05, P06, P07, P09, P10
#[test]
fn a_farm_with_an_inserted_cookie() {
    let mut farm = Farm::new();
    let daemon = self::farm("arch-1-cookie-insert.cfg", &[80], &farm.net.balancer);
    let first = farm.get("/seen", "");
    let name = who(&first);
    let letter = &name[3..];
    assert_eq!(
        first.all("set-cookie"),
        [format!("SERVERID={letter}; path=/")]
    );
    assert_eq!(first.get("connection"), Some("close"));
    assert!(
        first
            .body
            .contains("xff=192.168.1.77; xot=192.168.1.1; cookie=; connection=close;"),
        "{}",
        first.body
    );
    for _ in 0..4 {
        let again = farm.get("/seen", &with("a=1; SERVERID=B; b=2"));
        assert_eq!(who(&again), "webB");
        assert!(again.all("set-cookie").is_empty());
        assert!(again.body.contains("cookie=a=1; b=2;"), "{}", again.body);
    }
    let unknown = farm.get("/", &with("SERVERID=nobody"));
    assert_eq!(unknown.all("set-cookie").len(), 1);
    farm.kill(1);
    in_time("the client of a dead server moves", || {
        let moved = farm.get("/", &with("SERVERID=B"));
        moved.status() == 200 && who(&moved) != "webB" && moved.all("set-cookie").len() == 1
    });
    assert!(
        daemon
            .admin()
            .cell("webfarm", "webB", "status")
            .starts_with("DOWN")
    );
}

// C01, A05, P13
#[test]
fn a_farm_by_source_with_a_cookie() {
    let farm = Farm::new();
    let _daemon = self::farm("arch-1-source-hash.cfg", &[80], &farm.net.balancer);
    let own = who(&farm.get("/", ""));
    for _ in 0..5 {
        assert_eq!(who(&farm.get("/", "")), own);
    }
    for letter in ["A", "B", "C", "D"] {
        let answer = farm.get("/", &with(&format!("SERVERID={letter}")));
        assert_eq!(who(&answer), format!("web{letter}"));
    }
}

// C01, P11, A01
#[test]
fn a_farm_with_a_prefixed_cookie() {
    let farm = Farm::new();
    let daemon = self::farm("arch-2-cookie-prefix.cfg", &[80], &farm.net.balancer);
    let set = farm.get("/app", "");
    let letter = who(&set)[3..].to_owned();
    assert_eq!(
        set.all("set-cookie"),
        [format!("JSESSIONID={letter}~123; Path=/")]
    );
    for _ in 0..3 {
        let back = farm.get("/app", &with("JSESSIONID=C~123"));
        assert_eq!(who(&back), "webC");
        assert!(
            back.body.contains("cookie=JSESSIONID=123;"),
            "{}",
            back.body
        );
        assert_eq!(back.all("set-cookie"), ["JSESSIONID=C~123; Path=/"]);
    }
    for _ in 0..72 {
        farm.get("/", "");
    }
    let total = |server| daemon.admin().count("webfarm", server, "stot");
    let (small, large) = (total("webA") + total("webB"), total("webC") + total("webD"));
    assert!(
        large >= 2 * small - 12 && small >= 20,
        "weights 12 and 26: {small} and {large}"
    );
}

// C01, P04, P08, V05
#[test]
fn a_farm_behind_a_tls_terminator() {
    let farm = Farm::new();
    let dir = TempDir::new();
    let (key, cert) = certificate(&dir, "shop");
    // It connects from the address that forwardfor excepts: it would add the field itself.
    let file = dir.write(
        "stunnel.conf",
        &format!(
            "foreground = yes\npid =\n[https]\naccept = 192.168.1.1:443\nconnect = 127.0.0.1:8000\nlocal = 192.168.1.1\ncert = {cert}\nkey = {key}\n"
        ),
    );
    let mut command = farm.net.balancer.command("stunnel4");
    let _stunnel = Component::start(&dir, "stunnel.out", command.arg(&file));
    let _daemon = self::farm("arch-3-nocache-behind-tls.cfg", &[8000], &farm.net.balancer);
    let addr = "192.168.1.1:443".parse().unwrap();
    until("stunnel listens", || {
        farm.net.balancer.inside(|| connect_to(addr).is_ok())
    });
    let curl = |target: &str, cookie: &str| {
        let mut command: Command = farm.net.at(farm.client).command("curl");
        let url = format!("https://192.168.1.1{target}");
        let out = command
            .args(["-ksi", "--max-time", "8", "-b", cookie, &url])
            .output()
            .unwrap();
        String::from_utf8_lossy(&out.stdout).into_owned()
    };
    let page = curl("/cacheable", "x=y").to_ascii_lowercase();
    assert!(page.starts_with("http/1.1 200"), "{page}");
    assert!(
        page.contains("set-cookie: serverid=") && page.contains("cache-control: private"),
        "{page}"
    );
    let page = curl("/cacheable", "SERVERID=D").to_ascii_lowercase();
    assert!(
        page.ends_with("webd") && !page.contains("private") && !page.contains("set-cookie"),
        "{page}"
    );
    assert!(
        curl("/seen", "x=y").contains(" xff=;"),
        "the terminator's address is excepted"
    );
    let direct = get(&farm.net.balancer, "127.0.0.1:8000", "/seen", "");
    assert!(direct.body.contains(" xff=127.0.0.1;"), "{}", direct.body);
}

// C01, B07, B08, H04, R14
#[test]
fn a_farm_whose_servers_are_taken_out_by_their_check_port() {
    let mut farm = Farm::new();
    let mut checks: Vec<_> = farm
        .nodes
        .iter()
        .enumerate()
        .map(|(i, &node)| {
            let addr = format!("192.168.1.{}:81", i + 11).parse().unwrap();
            farm.net
                .at(node)
                .inside(|| Server::http_at(addr, |_, _| (200, String::new())))
        })
        .collect();
    let daemon = self::farm("arch-4-backup-servers.cfg", &[80], &farm.net.balancer);
    let admin = daemon.admin();
    let proxy = "192.168.1.1:80";
    in_time("all are checked", || {
        ["webA", "bkpA", "webD", "bkpD"]
            .iter()
            .all(|s| admin.cell(proxy, s, "check_status") == "L7OK")
    });
    assert_eq!(who(&farm.get("/", &with("SERVERID=A"))), "webA");
    // Maintenance of A begins: its check port is closed.
    checks[0].stop();
    in_time("A is down", || {
        admin.cell(proxy, "webA", "status").starts_with("DOWN")
    });
    for _ in 0..6 {
        let old = farm.get("/", &with("SERVERID=A"));
        assert_eq!(who(&old), "webA", "its clients stay, by its backup");
        assert!(old.all("set-cookie").is_empty());
        assert_ne!(who(&farm.get("/", "")), "webA", "no new client comes");
    }
    assert!(admin.count(proxy, "bkpA", "stot") >= 6);
    // And now it is switched off.
    farm.kill(0);
    let moved = farm.get("/", &with("SERVERID=A"));
    assert_ne!(who(&moved), "webA");
    assert_eq!((moved.status(), moved.all("set-cookie").len()), (200, 1));
}

// C01, B11, R13
#[test]
fn a_farm_whose_servers_are_taken_out_by_a_file() {
    let mut farm = Farm::new();
    let daemon = self::farm("arch-4-soft-stop-file.cfg", &[80], &farm.net.balancer);
    let admin = daemon.admin();
    let proxy = "192.168.1.1:80";
    in_time("A is checked", || {
        admin.cell(proxy, "webA", "check_status") == "L7OK"
    });
    let home = farm.webs[0].as_ref().map(|(_, home)| home.clone()).unwrap();
    std::fs::remove_file(format!("{home}/running")).unwrap();
    in_time("A is down", || {
        admin.cell(proxy, "webA", "status").starts_with("DOWN")
    });
    for _ in 0..6 {
        assert_eq!(
            who(&farm.get("/", &with("SERVERID=A"))),
            "webA",
            "its clients stay"
        );
        assert_ne!(who(&farm.get("/", "")), "webA", "no new client comes");
    }
    std::fs::write(format!("{home}/running"), "").unwrap();
    in_time("A is up", || {
        admin.cell(proxy, "webA", "status").starts_with("UP")
    });
    std::fs::remove_file(format!("{home}/running")).unwrap();
    in_time("A is down again", || {
        admin.cell(proxy, "webA", "status").starts_with("DOWN")
    });
    farm.kill(0);
    let moved = farm.get("/", &with("SERVERID=A"));
    assert_eq!((moved.status(), moved.all("set-cookie").len()), (200, 1));
    assert_ne!(who(&moved), "webA");
}

// C01, P20, V08
#[test]
fn two_sites_with_directors_and_balancers() {
    let mut net = Network::new(&["10.1.1.1/8"]);
    let dir = TempDir::new();
    let client = net.node(&["10.1.9.9/8"]);
    let balancers = [net.node(&["10.1.1.11/8"]), net.node(&["10.1.1.12/8"])];
    let webs = [net.node(&["10.1.2.1/8"]), net.node(&["10.1.2.2/8"])];
    let others = [net.node(&["10.2.1.11/8"]), net.node(&["10.2.1.12/8"])];
    let _webs: Vec<_> = webs
        .iter()
        .zip(["W11", "W12"])
        .enumerate()
        .map(|(i, (&node, name))| {
            let addr = format!("10.1.2.{}", i + 1);
            nginx(
                net.at(node),
                name,
                &[&format!("{addr}:80"), &format!("{addr}:81")],
                &dir,
            )
        })
        .collect();
    let _others: Vec<_> = others
        .iter()
        .zip(["S2L1", "S2L2"])
        .enumerate()
        .map(|(i, (&node, name))| {
            let addr = format!("10.2.1.1{}", i + 1);
            nginx(
                net.at(node),
                name,
                &[&format!("{addr}:80"), &format!("{addr}:81")],
                &dir,
            )
        })
        .collect();
    let site = seed("arch-5-site-balancer.cfg");
    let changes = [
        (
            "    grace 20000  # don't kill us until 20 seconds have elapsed\n",
            "",
        ),
        (
            "listen 10.1.1.11:80 ",
            "listen 10.1.1.11:80\n    bind 10.1.1.11:80 ",
        ),
        (
            "listen 10.1.1.12:80 ",
            "listen 10.1.1.12:80\n    bind 10.1.1.12:80 ",
        ),
        (
            "listen 10.1.1.11:81 ",
            "listen 10.1.1.11:81\n    bind 10.1.1.11:81 ",
        ),
        (
            "listen 10.1.1.12:81 ",
            "listen 10.1.1.12:81\n    bind 10.1.1.12:81 ",
        ),
        (
            "listen 10.1.1.1:80",
            "listen 10.1.1.1:80\n    bind 10.1.1.1:80",
        ),
        ("    redispatch", "    option redispatch"),
    ];
    // As its remarks say for the second balancer of the site.
    let second = site.replace("10.1.1.11", "10.1.1.12");
    let mut sites: Vec<_> = [site, second]
        .iter()
        .zip(balancers)
        .map(|(config, node)| {
            let launch = Launch::new(&present(config, &changes));
            launch.ports(&[80, 81]).in_net(net.at(node)).start()
        })
        .collect();
    let director = present(&seed("arch-5-site-director.cfg"), &changes);
    let director = Launch::new(&format!("global\n stats socket @DIR@/admin\n{director}"))
        .ports(&[80])
        .in_net(&net.balancer)
        .start();
    let admin = director.admin();
    let ask = |target: &str, fields: &str| get(net.at(client), "10.1.1.1:80", target, fields);
    let first = ask("/app", "");
    let web = who(&first);
    assert!(web.starts_with("W1"), "{web}");
    let set = first.all("set-cookie");
    assert!(
        set.contains(&format!("JSESSIONID={web}~123; Path=/").as_str()),
        "{set:?}"
    );
    assert!(set.contains(&"SITE=SITE1; path=/"), "{set:?}");
    let again = ask("/app", &with("SITE=SITE1; JSESSIONID=W12~123"));
    assert_eq!(again.body, "W12 cookie=JSESSIONID=123;");
    // The site is gone: its clients move and stay where they are.
    sites.clear();
    let mut moved = Message::default();
    in_time("the other site serves", || {
        moved = ask("/", &with("SITE=SITE1"));
        moved.status() == 200
    });
    assert!(who(&moved).starts_with("S2L"));
    assert_eq!(moved.all("set-cookie"), ["SITE=SITE2; path=/"]);
    let stays = ask("/", &with("SITE=SITE2"));
    assert!(who(&stays).starts_with("S2L") && stays.all("set-cookie").is_empty());
    assert!(
        admin
            .cell("10.1.1.1:80", "S1L1", "status")
            .starts_with("DOWN")
    );
}

// C01, B04, P02
#[test]
fn application_servers_with_queues() {
    let mut net = Network::new(&["192.168.1.1/24"]);
    let client = net.node(&["192.168.1.77/24"]);
    let peaks: Vec<_> = (0..3)
        .map(|_| Arc::new((AtomicUsize::new(0), AtomicUsize::new(0))))
        .collect();
    let apps: Vec<_> = peaks
        .iter()
        .enumerate()
        .map(|(i, peak)| {
            let node = net.node(&[&format!("192.168.1.{}/24", i + 11)]);
            let addr = format!("192.168.1.{}:80", i + 11).parse().unwrap();
            let peak = Arc::clone(peak);
            net.at(node).inside(|| {
                Origin::at(addr, move |_: &Message| {
                    let at_once = peak.0.fetch_add(1, SeqCst) + 1;
                    peak.1.fetch_max(at_once, SeqCst);
                    std::thread::sleep(Duration::from_millis(30));
                    peak.0.fetch_sub(1, SeqCst);
                    ok("", "served")
                })
            })
        })
        .collect();
    let _daemon = farm("arch-7-queues.cfg", &[80], &net.balancer);
    let ns = net.at(client);
    let served: usize = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..40)
            .map(|_| {
                scope.spawn(|| {
                    (0..3)
                        .filter(|_| get(ns, VIP, "/", "").body == "served")
                        .count()
                })
            })
            .collect();
        clients.into_iter().map(|c| c.join().unwrap()).sum()
    });
    assert_eq!(served, 120);
    for (peak, app) in peaks.iter().zip(&apps) {
        let peak = peak.1.load(SeqCst);
        // 4 at low load, and 12 only with 10000 clients.
        assert!((2..=4).contains(&peak), "{peak} at once");
        assert_eq!(app.last().get("x-forwarded-for"), Some("192.168.1.77"));
    }
}

// C01, F05, F07, F16, H08, L02, L08, L09, L10, P01
#[test]
fn the_introductions_build_of_six_servers() {
    let mut net = Network::new(&["192.168.8.1/24"]);
    let dir = TempDir::new();
    let client = net.node(&["192.168.8.7/24"]);
    let mut webs: Vec<_> = ["192.168.8.111", "192.168.8.112"]
        .iter()
        .enumerate()
        .map(|(i, addr)| {
            let node = net.node(&[&format!("{addr}/24")]);
            let listen: Vec<_> = (8080..8083).map(|port| format!("{addr}:{port}")).collect();
            let listen: Vec<_> = listen.iter().map(String::as_str).collect();
            Some(nginx(net.at(node), &format!("srv{}", i + 1), &listen, &dir))
        })
        .collect();
    let syslog = net
        .balancer
        .inside(|| std::net::UdpSocket::bind("127.0.0.1:514").unwrap());
    syslog
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let mut world = World::new();
    let home = world.directory("/home/ha/haproxy/conf");
    world.append("/etc/passwd", "ha:x:1999:1999::/home/ha:/bin/sh\n");
    world.append("/etc/group", "ha:x:1999:\n");
    let config = present(&seed("intro-l7.cfg"), &TODAY);
    let daemon = start(&config, &net, &world, &format!("{home}/haproxy.pid"));
    let ask = |target: &str, fields: &str| get(net.at(client), "192.168.8.1:9001", target, fields);
    for (target, port) in [("/ms1/x", "8080"), ("/MS1/x", "8080"), ("/ms2/", "8081")] {
        let answer = ask(target, "");
        assert!(
            answer.body.ends_with(&format!("port={port}")),
            "{target}: {}",
            answer.body
        );
        let cookie = answer.get("set-cookie").unwrap_or_default();
        let group = if port == "8080" { "ms1" } else { "ms2" };
        assert_eq!(
            cookie,
            format!("HA_STICKY_{group}={group}.{}; path=/", who(&answer))
        );
    }
    assert!(
        ask("/", "")
            .get("set-cookie")
            .unwrap_or_default()
            .starts_with("HA_STICKY_def=def.srv")
    );
    assert_eq!(who(&ask("/ms1/", &with("HA_STICKY_ms1=ms1.srv2"))), "srv2");
    assert!(ask("/seen", "").body.contains("xff=192.168.8.7;"));
    let mut buf = [0; 2048];
    let said = || {
        let n = syslog.recv(&mut buf).expect("a log line");
        String::from_utf8_lossy(&buf[..n]).into_owned()
    };
    let lines: Vec<_> = std::iter::repeat_with(said)
        .take(20)
        .take_while(|l| !l.contains("/seen"))
        .collect();
    assert!(
        lines.iter().any(|l| l.contains(" http-in ms1/ms1.srv")
            && l.contains(" --NI ")
            && l.contains("\"GET /MS1/x HTTP/1.1\"")),
        "{lines:?}"
    );
    // The page of the third port.
    let stats = |fields: &str| get(net.at(client), "192.168.8.1:1080", "/stats", fields);
    let asked = stats("");
    assert_eq!(
        (asked.status(), asked.get("www-authenticate")),
        (401, Some("Basic realm=\"HAProxy Stats\""))
    );
    let page = stats("Authorization: Basic YWRtaW46YWRtaW4=\r\n");
    assert_eq!((page.status(), page.get("refresh")), (200, Some("30")));
    assert!(page.body.contains("ms1.srv1") && page.body.contains("default_servers"));
    // One of the two dies: its clients move, and are told so.
    webs[1].take();
    in_time("its clients move", || {
        let moved = ask("/ms1/", &with("HA_STICKY_ms1=ms1.srv2"));
        moved.get("set-cookie") == Some("HA_STICKY_ms1=ms1.srv1; path=/")
    });
    drop(daemon);
}

// C01, G02, C06
#[test]
fn the_simplest_configuration() {
    let net = Network::new(&["192.168.8.1/24"]);
    let dir = TempDir::new();
    let _web = nginx(&net.balancer, "web", &["127.0.0.1:8000"], &dir);
    let mut world = World::new();
    let home = world.directory("/home/ha/haproxy/conf");
    let _daemon = start(
        &seed("intro-simplest.cfg"),
        &net,
        &world,
        &format!("{home}/haproxy.pid"),
    );
    let answer = get(&net.balancer, "192.168.8.1:8080", "/", "");
    assert_eq!((answer.status(), answer.body.as_str()), (200, "web\n"));
    let missing = get(&net.balancer, "192.168.8.1:8080", "/missing", "");
    assert_eq!(missing.status(), 404);
}

// C01, L08, L09, L11
#[test]
fn the_page_beside_the_brokers() {
    let net = Network::new(&["10.255.4.1/24"]);
    let config = present(&seed("mqtt.cfg"), &TODAY);
    let _daemon = Launch::new(&config)
        .ports(&[1883, 1936])
        .in_net(&net.balancer)
        .start();
    let page = |fields: &str| get(&net.balancer, "10.255.4.1:1936", "/", fields);
    let asked = page("");
    assert_eq!(
        (asked.status(), asked.get("www-authenticate")),
        (401, Some("Basic realm=\"Strictly Private\""))
    );
    for user in [
        "QV9Vc2VybmFtZTpZb3VyUGFzc3dvcmQ=",
        "QW5vdGhlcl9Vc2VyOnBhc3N3ZA==",
    ] {
        let shown = page(&format!("Authorization: Basic {user}\r\n"));
        assert_eq!(shown.status(), 200);
        assert!(
            shown.body.contains("broker_1") && !shown.body.contains("version 3.4"),
            "{user}"
        );
    }
}
