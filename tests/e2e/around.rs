//! What stands around a balancer: a TLS terminator before it, servers that know their clients by
//! address behind it, and crowds that come back all at once.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::support::client::connect_to;
use crate::support::component::{Component, certificate};
use crate::support::net::{Namespace, Network, ask_in};
use crate::support::{Launch, Server, TempDir, UdpLog, port, sized, until};

// V05: stunnel that speaks the PROXY protocol
#[test]
fn behind_a_terminator_that_says_who_the_client_is_everybody_knows_it() {
    let mut net = Network::new(&["192.0.2.1/24"]);
    let client = net.node(&["192.0.2.77/24"]);
    let dir = TempDir::new();
    let (key, cert) = certificate(&dir, "shop");
    let file = dir.write(
        "stunnel.conf",
        &format!(
            "foreground = yes\npid =\n[https]\naccept = 192.0.2.1:443\nconnect = 127.0.0.1:8000\nprotocol = proxy\n\
             cert = {cert}\nkey = {key}\n"
        ),
    );
    let mut command = net.balancer.command("stunnel4");
    let _stunnel = Component::start(&dir, "stunnel.out", command.arg(&file));
    let (origin, log) = net.balancer.inside(|| {
        let seen = |mut stream: TcpStream, _: &_| {
            let mut head = [0; 2048];
            let n = stream.read(&mut head).unwrap_or(0);
            let head = String::from_utf8_lossy(&head[..n]).into_owned();
            let field = |line: &str| {
                Some(
                    line.to_lowercase()
                        .strip_prefix("x-forwarded-for: ")?
                        .to_owned(),
                )
            };
            let all: Vec<_> = head.lines().filter_map(field).collect();
            let body = format!("for {}", all.join(","));
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
        };
        let addr = ([127, 0, 0, 1], 8080).into();
        (Server::at(addr, seen), UdpLog::on(5140))
    });
    let _daemon = Launch::new(&format!(
        "global\n log 127.0.0.1:{} local0\ndefaults\n mode http\n log global\n option httplog\n option forwardfor\n \
         timeout connect 1s\n timeout client 5s\n timeout server 5s\nlisten web\n bind 127.0.0.1:8000 accept-proxy\n server s {}\n",
        log.port,
        origin.addr()
    ))
    .in_net(&net.balancer)
    .start();
    until("stunnel listens", || {
        net.at(client)
            .inside(|| connect_to("192.0.2.1:443".parse().unwrap()).is_ok())
    });
    let mut curl: Command = net.at(client).command("curl");
    let out = curl.args(["-ks", "--max-time", "8", "https://192.0.2.1/x"]);
    let page = String::from_utf8_lossy(&out.output().unwrap().stdout).into_owned();
    assert_eq!(page, "for 192.0.2.77");
    let line = log.wait("\"GET /x ");
    assert!(line.contains(" 192.0.2.77:"), "{line}");
}

// V09: full transparency, where the Cisco seed has `no nat`
#[test]
fn servers_see_the_clients_address_where_the_source_is_the_clients() {
    let mut net = Network::new(&["192.0.2.1/24"]);
    let client = net.node(&["192.0.2.77/24"]);
    let balancer = &net.balancer;
    // The servers are on a cable of their own, and answer by way of the balancer.
    let farm = Namespace::new();
    balancer.ip(&[
        "link",
        "add",
        "farm",
        "type",
        "veth",
        "peer",
        "name",
        "eth0",
        "netns",
        farm.name(),
    ]);
    balancer.ip(&["link", "set", "farm", "up"]);
    balancer.address("farm", "198.51.100.1/24");
    farm.ip(&["link", "set", "eth0", "up"]);
    farm.address("eth0", "198.51.100.2/24");
    farm.ip(&["route", "add", "default", "via", "198.51.100.1"]);
    // What comes back from there is for the balancer's sockets, whoever it is addressed to.
    balancer.sysctl("net.ipv4.conf.farm.rp_filter", "0");
    balancer.sysctl("net.ipv4.conf.all.rp_filter", "0");
    balancer.ip(&["rule", "add", "iif", "farm", "lookup", "100"]);
    balancer.ip(&[
        "route", "add", "local", "default", "dev", "lo", "table", "100",
    ]);
    let at: SocketAddr = "198.51.100.2:8080".parse().unwrap();
    let _server = farm.inside(|| {
        Server::at(at, |mut stream, _| {
            let peer = stream.peer_addr().map(|addr| addr.ip().to_string());
            let _ = stream.write_all(peer.unwrap_or_default().as_bytes());
        })
    });
    for (source, seen) in [
        ("", "198.51.100.1"),
        (" source 0.0.0.0 usesrc clientip\n", "192.0.2.77"),
        (" source 0.0.0.0 usesrc client\n", "192.0.2.77"),
    ] {
        let _daemon = Launch::new(&format!(
            "defaults\n mode tcp\n timeout connect 3s\n timeout client 5s\n timeout server 5s\n\
             listen l\n bind 192.0.2.1:80\n{source} server s 198.51.100.2:8080\n"
        ))
        .in_net(balancer)
        .start();
        let answer = ask_in(net.at(client), "192.0.2.1:80", "").unwrap();
        assert_eq!(answer, seen, "{source}");
    }
}

// V12: a node comes back to a crowd
#[test]
fn a_crowd_never_exceeds_the_ramp_of_a_server_that_comes_back() {
    const MAXCONN: u128 = 20;
    const SLOWSTART_MS: u128 = 2000;
    type Seen = Arc<Mutex<Vec<(Instant, usize)>>>;
    let seen = Seen::default();
    let busy = |hold_ms: u64, seen: Seen| {
        let live = AtomicUsize::new(0);
        move |mut stream: TcpStream, _: &_| {
            let mut word = [0; 1];
            // A check says nothing.
            if !matches!(stream.read(&mut word), Ok(1)) {
                return;
            }
            let now = live.fetch_add(1, Ordering::AcqRel) + 1;
            seen.lock().unwrap().push((Instant::now(), now));
            std::thread::sleep(Duration::from_millis(hold_ms));
            live.fetch_sub(1, Ordering::AcqRel);
            let _ = stream.write_all(b"d");
        }
    };
    let steady = Server::new(busy(50, Seen::default()));
    let mut returning = Server::new(busy(50, Arc::clone(&seen)));
    let front = port();
    let daemon = Launch::new(&format!(
        "global\n nbthread 2\n stats socket @DIR@/admin\ndefaults\n mode tcp\n balance leastconn\n timeout connect 5s\n \
         timeout client 60s\n timeout server 60s\n timeout queue 60s\nlisten l\n bind 127.0.0.1:{front}\n maxconn 9000\n \
         default-server check inter 100 fall 1 rise 1\n server steady {} maxconn 3\n \
         server back {} maxconn {MAXCONN} slowstart {SLOWSTART_MS}ms\n",
        steady.addr(),
        returning.addr()
    ))
    .start();
    let admin = daemon.admin();
    returning.stop();
    admin.wait_status("l", "back", "DOWN");

    let crowd = sized(500, 4000);
    let (began, unserved) = std::thread::scope(|scope| {
        // Who is served leaves: a client that held on would keep its place at the server.
        let serve = |mut stream: TcpStream| stream.read_exact(&mut [0; 1]).is_err();
        let clients: Vec<_> = (0..crowd)
            .map(|_| {
                let mut stream = connect_to(([127, 0, 0, 1], front).into()).unwrap();
                let patience = Some(Duration::from_secs(60));
                stream.set_read_timeout(patience).unwrap();
                stream.write_all(b"x").unwrap();
                let thread = std::thread::Builder::new().stack_size(128 << 10);
                thread.spawn_scoped(scope, move || serve(stream)).unwrap()
            })
            .collect();
        let began = Instant::now();
        returning.start();
        let ends = clients.into_iter().map(|one| one.join().unwrap());
        (began, ends.filter(|&unserved| unserved).count())
    });
    assert_eq!(unserved, 0);
    let seen = seen.lock().unwrap();
    println!("{} of {crowd} went there", seen.len());
    // From the moment it listens, which is before the balancer knows: so the ramp is at most this, and one
    // for rounding (haproxy 2.6 was seen one above).
    for &(at, live) in seen.iter() {
        let since = at.duration_since(began).as_millis();
        let allowed = (MAXCONN * since / SLOWSTART_MS).clamp(1, MAXCONN) + 2;
        assert!(
            live as u128 <= allowed,
            "{live} at once after {since} ms, {allowed} allowed"
        );
    }
    let peak = seen.iter().map(|&(_, live)| live as u128).max();
    println!("at most {peak:?} at once");
    assert!(
        peak <= Some(MAXCONN) && peak > Some(MAXCONN / 2),
        "{peak:?}"
    );
}

// V11: what is behind stays hidden
#[test]
fn nothing_listens_but_what_is_bound() {
    let node = Namespace::new();
    let daemon = Launch::new(
        "global\n stats socket @DIR@/admin\ndefaults\n mode http\n timeout connect 1s\n timeout client 5s\n timeout server 5s\n\
         listen web\n bind 127.0.0.1:8080\n bind 127.0.0.1:8081\n option httpchk\n server s 127.0.0.1:1 check inter 100\n",
    )
    .in_net(&node)
    .start();
    daemon.admin().wait_status("web", "s", "DOWN");
    let out = node.command("ss").args(["-Hltun"]).output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let mut open: Vec<_> = text
        .lines()
        .filter_map(|line| line.split_ascii_whitespace().nth(4))
        .collect();
    open.sort_unstable();
    // A socket a thread for each.
    open.dedup();
    assert_eq!(open, ["127.0.0.1:8080", "127.0.0.1:8081"], "{text}");
}
