//! Networks of a test's own: a namespace for the balancer with a bridge that carries the addresses
//! a configuration names, and a namespace for each node attached to it.
//!
//! Needs root and `ip`; both are what the scenarios with real components need anyway.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sched::{CloneFlags, setns};

/// A network namespace; removed on drop, with its interfaces.
pub(crate) struct Namespace(String);

impl Namespace {
    /// An empty namespace whose loopback is up.
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let ns = Self(format!("rw{}x{n}", std::process::id()));
        ip(&["netns", "add", &ns.0]);
        ns.ip(&["link", "set", "lo", "up"]);
        ns
    }

    pub(crate) fn name(&self) -> &str {
        &self.0
    }

    /// Runs `ip` with `words` inside.
    #[track_caller]
    pub(crate) fn ip(&self, words: &[&str]) {
        ip(&[&["-n", &self.0], words].concat());
    }

    /// Adds an address (with its prefix length) to a device.
    #[track_caller]
    pub(crate) fn address(&self, device: &str, address: &str) {
        self.ip(&["addr", "add", address, "dev", device]);
    }

    /// Sets a sysctl inside.
    #[track_caller]
    pub(crate) fn sysctl(&self, name: &str, value: &str) {
        let text = format!("echo {value} > /proc/sys/{}", name.replace('.', "/"));
        run(self.command("sh").args(["-c", &text]));
    }

    /// A command that runs inside; the pid of the started process is the program's.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.0, program]);
        command
    }

    /// Runs `work` on a thread that has entered the namespace: sockets made there stay there.
    #[track_caller]
    pub(crate) fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let entered = scope.spawn(|| {
                let file = std::fs::File::open(format!("/run/netns/{}", self.0))
                    .expect("the namespace exists");
                setns(file, CloneFlags::CLONE_NEWNET)
                    .expect("entering a network namespace (needs root)");
                work()
            });
            entered
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

/// The balancer's namespace with a bridge `br0`, and nodes on it.
pub(crate) struct Network {
    pub(crate) balancer: Namespace,
    nodes: Vec<Namespace>,
}

impl Network {
    /// `addresses`, each with its prefix length, are the balancer's, on the bridge.
    #[track_caller]
    pub(crate) fn new(addresses: &[&str]) -> Self {
        let balancer = Namespace::new();
        balancer.ip(&["link", "add", "br0", "type", "bridge"]);
        balancer.ip(&["link", "set", "br0", "up"]);
        for address in addresses {
            balancer.address("br0", address);
        }
        Self {
            balancer,
            nodes: Vec::new(),
        }
    }

    /// Adds a node with `addresses` on a cable to the bridge; gives its number.
    #[track_caller]
    pub(crate) fn node(&mut self, addresses: &[&str]) -> usize {
        let node = Namespace::new();
        let port = format!("port{}", self.nodes.len());
        self.balancer.ip(&[
            "link",
            "add",
            &port,
            "type",
            "veth",
            "peer",
            "name",
            "eth0",
            "netns",
            node.name(),
        ]);
        self.balancer
            .ip(&["link", "set", &port, "master", "br0", "up"]);
        node.ip(&["link", "set", "eth0", "up"]);
        for address in addresses {
            node.address("eth0", address);
        }
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    pub(crate) fn at(&self, node: usize) -> &Namespace {
        &self.nodes[node]
    }
}

/// As `client::ask_at`, from inside `ns`.
#[track_caller]
pub(crate) fn ask_in(ns: &Namespace, addr: &str, text: &str) -> std::io::Result<String> {
    let addr: SocketAddr = addr.parse().expect("an address with a port");
    ns.inside(|| super::client::ask_at(addr, text))
}

#[track_caller]
fn ip(words: &[&str]) {
    run(Command::new("ip").args(words));
}

#[track_caller]
fn run(command: &mut Command) {
    let out = command
        .output()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(
        out.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&out.stderr)
    );
}
