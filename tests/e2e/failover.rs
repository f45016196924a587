//! Two balancers and one address: keepalived on each node, a bridge between them, and clients that
//! know nothing of it.

use std::os::unix::fs::symlink;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::seeds::seed;
use crate::support::component::Component;
use crate::support::net::{Namespace, Network};
use crate::support::{Daemon, Launch, Server, TempDir, balancer, full, port, until, within};

/// An example file as it is shipped.
fn example(name: &str) -> String {
    let path = format!("{}/scripts/keepalived/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Options of a keepalived of its own: in the foreground, VRRP alone, its pid files in `dir`.
fn own_keepalived(dir: &TempDir, config: &str) -> Vec<String> {
    ["-n", "-l", "-D", "-P", "-f", config, "-p"]
        .map(str::to_owned)
        .into_iter()
        .chain([
            dir.file("keepalived.pid"),
            "-r".into(),
            dir.file("vrrp.pid"),
        ])
        .collect()
}

fn holds(node: &Namespace, address: &str) -> bool {
    let out = node.command("ip").args(["-4", "addr"]).output();
    out.is_ok_and(|out| String::from_utf8_lossy(&out.stdout).contains(&format!(" {address}/")))
}

/// Waits until `node` has `address`; tells how long it took since `began`.
///
/// The row asks for 3 advertisements + 2 s, here 5 s. A busy machine runs keepalived late, too: only
/// the full run holds it to that.
#[track_caller]
fn moved(node: &Namespace, address: &str, began: Instant) -> Duration {
    let limit = Duration::from_secs(if full() { 5 } else { 12 });
    let there = within(limit, || holds(node, address));
    assert!(there, "{address} is not there after {:?}", began.elapsed());
    began.elapsed()
}

/// Requests one after the other, each on a connection of its own, until `stop`.
struct Asked {
    served: usize,
    failed: usize,
    /// From the end of one answer to the end of the next.
    longest_gap: Duration,
}

fn keep_asking(client: &Namespace, addr: &str, stop: &AtomicBool) -> Asked {
    let addr = addr.parse().unwrap();
    let mut asked = Asked {
        served: 0,
        failed: 0,
        longest_gap: Duration::ZERO,
    };
    client.inside(|| {
        let mut last = Instant::now();
        while !stop.load(Ordering::Acquire) {
            if one_answer(addr) {
                asked.served += 1;
                asked.longest_gap = asked.longest_gap.max(last.elapsed());
                last = Instant::now();
            } else {
                asked.failed += 1;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    });
    asked
}

/// Whether a request is answered at once. The client keeps its side open: one that closes it would
/// be taken for one that gave up (`abortonclose`).
fn one_answer(addr: std::net::SocketAddr) -> bool {
    use std::io::{Read, Write};
    let patience = Duration::from_millis(500);
    let answer = || -> std::io::Result<String> {
        let mut stream = std::net::TcpStream::connect_timeout(&addr, patience)?;
        stream.set_read_timeout(Some(patience))?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    };
    answer().is_ok_and(|text| text.ends_with("the origin"))
}

fn served(client: &Namespace, addr: &str) -> bool {
    client.inside(|| one_answer(addr.parse().unwrap()))
}

struct Pair {
    net: Network,
    _origin: Server,
    first: usize,
    second: usize,
    client: usize,
}

/// Two nodes and a client around a bridge on which the origin is. `subnet` is three numbers of an address.
fn pair(subnet: &str) -> Pair {
    let mut net = Network::new(&[&format!("{subnet}.1/24")]);
    let first = net.node(&[&format!("{subnet}.2/24")]);
    let second = net.node(&[&format!("{subnet}.3/24")]);
    let client = net.node(&[&format!("{subnet}.77/24")]);
    for node in [first, second] {
        net.at(node).sysctl("net.ipv4.ip_nonlocal_bind", "1");
    }
    let at = format!("{subnet}.1:8080").parse().unwrap();
    let origin = net
        .balancer
        .inside(|| Server::http_at(at, |_, _| (200, "the origin".to_owned())));
    Pair {
        net,
        _origin: origin,
        first,
        second,
        client,
    }
}

fn config(address: &str, origin: &str) -> String {
    format!(
        "global\n daemon\ndefaults\n mode http\n timeout connect 1s\n timeout client 5s\n timeout server 5s\n\
         listen web\n bind {address}:80\n server one {origin}:8080\n"
    )
}

// V01, V02: the pair of example files
#[test]
fn the_address_moves_when_the_masters_balancer_is_killed_and_clients_go_on() {
    const ADDRESS: &str = "192.0.2.10";
    let pair = pair("192.0.2");
    let node = |n: usize| pair.net.at(n);
    let script = format!(
        "{}/scripts/keepalived/check-balancer",
        env!("CARGO_MANIFEST_DIR")
    );
    let dirs = [TempDir::new(), TempDir::new()].map(Rc::new);
    let start = |n: usize, dir: &TempDir| -> Daemon {
        let pidfile = dir.file("ringway.pid");
        let launch = Launch::new(&config(ADDRESS, "192.0.2.1"));
        let launch = launch.arg("-p").arg(&pidfile).in_net(node(n));
        launch.start_daemon(&pidfile)
    };
    let mut balancers = [start(pair.first, &dirs[0]), start(pair.second, &dirs[1])];
    let name = std::fs::read_to_string(format!("/proc/{}/comm", balancers[0].pid)).unwrap();
    let keepalived = |n: usize, dir: &TempDir, file: &str| {
        let check = format!("{script} -n {} -p {}", name.trim(), dir.file("ringway.pid"));
        let text = example(file)
            .replace(
                "/usr/lib/ringway/check-balancer -p /run/ringway.pid",
                &check,
            )
            // It would refuse a script below a directory that others may write, as /tmp is.
            .replace("    enable_script_security\n", "");
        assert!(text.contains(&check));
        let mut command = node(n).command("keepalived");
        command.args(own_keepalived(dir, &dir.write("keepalived.conf", &text)));
        Component::start(dir, "keepalived.out", &mut command)
    };
    let _keepalived = [
        keepalived(pair.first, &dirs[0], "master.conf"),
        keepalived(pair.second, &dirs[1], "backup.conf"),
    ];
    moved(node(pair.first), ADDRESS, Instant::now());
    let to = format!("{ADDRESS}:80");
    until("the address serves", || served(node(pair.client), &to));

    let stop = AtomicBool::new(false);
    let client = node(pair.client);
    std::thread::scope(|scope| {
        let clients = scope.spawn(|| keep_asking(client, &to, &stop));
        let began = Instant::now();
        balancers[0].signal(Signal::SIGKILL);
        let away = moved(node(pair.second), ADDRESS, began);
        until("the first node has let the address go", || {
            !holds(node(pair.first), ADDRESS)
        });
        std::thread::sleep(Duration::from_millis(500));
        // It is repaired: the address goes home.
        let began = Instant::now();
        balancers[0] = start(pair.first, &dirs[0]);
        let home = moved(node(pair.first), ADDRESS, began);
        std::thread::sleep(Duration::from_millis(1000));
        stop.store(true, Ordering::Release);
        let asked = clients.join().unwrap();
        println!(
            "moved in {away:?}, home in {home:?}; {} served, {} failed, longest gap {:?}",
            asked.served, asked.failed, asked.longest_gap
        );
        assert!(asked.served > 20);
        assert!(asked.longest_gap < away + Duration::from_secs(3));
    });
}

// V01, R10: the file as it stands, whose script looks for a process by the name of haproxy
#[test]
fn the_pair_as_it_stands_finds_the_balancer_by_haproxys_name() {
    const ADDRESS: &str = "192.168.8.201";
    let pair = pair("192.168.8");
    let master = seed("keepalived-master.conf");
    let backup = master
        .replace("state MASTER", "state BACKUP")
        .replace("priority 101", "priority 100");
    assert_ne!(master, backup);
    let dirs = [TempDir::new(), TempDir::new()];
    let texts = [master, backup];
    let nodes = [pair.first, pair.second];
    // Names of processes are the node's own, as on two hosts.
    let _nodes = [0, 1].map(|n| {
        let (node, dir) = (pair.net.at(nodes[n]), &dirs[n]);
        for words in [
            ["link", "set", "eth0", "down"].as_slice(),
            &["link", "set", "eth0", "name", "enp0s25"],
            &["link", "set", "enp0s25", "up"],
        ] {
            node.ip(words);
        }
        symlink(balancer(), dir.file("haproxy")).unwrap();
        dir.write("cfg", &config(ADDRESS, "192.168.8.1"));
        let conf = dir.write("keepalived.conf", &texts[n]);
        let script = format!(
            "cd {}; ./haproxy -f cfg -p pid || exit 1\n\
             (while [ ! -e kill ]; do sleep 0.05; done; kill -9 $(cat pid)) &\nexec keepalived {}",
            dir.path().display(),
            own_keepalived(dir, &conf).join(" ")
        );
        let mut command = node.command("unshare");
        command.args([
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
            "sh",
            "-c",
            &script,
        ]);
        Component::start(dir, "node.out", &mut command)
    });
    let began = Instant::now();
    moved(pair.net.at(pair.first), ADDRESS, began);
    let to = format!("{ADDRESS}:80");
    let client = pair.net.at(pair.client);
    until("the address serves", || served(client, &to));
    // Its check comes every two seconds: it must have found the balancer once.
    until("the master has found its balancer", || {
        let said = std::fs::read_to_string(dirs[0].file("node.out")).unwrap_or_default();
        said.contains("VRRP_Script(chk_haproxy) succeeded")
    });
    let began = Instant::now();
    dirs[0].write("kill", "");
    let took = moved(pair.net.at(pair.second), ADDRESS, began);
    println!("moved in {took:?}");
    until("the other node serves", || served(client, &to));
}

// V01: what the shipped check script takes for a healthy balancer
#[test]
fn the_check_script_knows_a_balancer_that_lives_from_one_that_does_not() {
    let script = format!(
        "{}/scripts/keepalived/check-balancer",
        env!("CARGO_MANIFEST_DIR")
    );
    let front = port();
    let launch = Launch::new(&format!(
        "global\n daemon\n pidfile @DIR@/pid\n stats socket @DIR@/admin\ndefaults\n mode http\n timeout connect 1s\n \
         timeout client 5s\n timeout server 5s\nlisten web\n bind 127.0.0.1:{front}\n monitor-uri /well\n"
    ));
    let pidfile = launch.dir().file("pid");
    let mut daemon = launch.start_daemon(&pidfile);
    let name = std::fs::read_to_string(format!("/proc/{}/comm", daemon.pid)).unwrap();
    let dir = Rc::clone(&daemon.dir);
    let status = |options: &str| {
        let mut command = std::process::Command::new(&script);
        command.args(["-t", "3", "-n", name.trim()]);
        let out = command.args(options.split(' ')).output().unwrap();
        (
            out.status.code(),
            String::from_utf8_lossy(&out.stderr).into_owned(),
        )
    };
    let socket = dir.file("admin");
    let ways = [
        format!("-p {pidfile}"),
        format!("-s {socket}"),
        format!("-u http://127.0.0.1:{front}/well"),
    ];
    for way in &ways {
        assert_eq!(status(way), (Some(0), String::new()), "{way}");
    }
    assert_eq!(status(&ways.join(" ")).0, Some(0));
    // A pid of somebody else is no balancer.
    let other = dir.write("other", &format!("{}\n", std::process::id()));
    for wrong in [&format!("-p {other}"), "-p /nowhere", "-x", "-t 1"] {
        assert_ne!(status(wrong).0, Some(0), "{wrong}");
    }
    daemon.signal(Signal::SIGKILL);
    assert!(daemon.ended_within(crate::support::PATIENCE).is_some());
    for way in &ways {
        let (code, said) = status(way);
        assert_eq!(code, Some(1), "{way}");
        assert!(said.starts_with("check-balancer: "), "{said}");
    }
}
