//! What programs that others wrote for haproxy's admin socket make of Ringway's answers.

use std::process::Command;

use super::{Side, same};
use crate::support::component::{python, run};
use crate::support::http::{Origin, get, ok};
use crate::support::{Launch, TempDir};

/// Figures of two clients of PyPI, unchanged: they read the CSV, `show info` and messages, and change states, weights,
/// limits and patterns.
// L13
#[test]
fn clients_from_pypi_read_the_statistics_and_change_servers() {
    let origin = Origin::new(|request| match request.target() {
        "/teapot" => ok("", "").replace("200 OK", "418 I'm a teapot"),
        _ => ok("", "hello"),
    });
    same(|side: &Side| {
        let dir = TempDir::new();
        let (sockets, server) = (dir.subdir("sockets"), origin.addr());
        let socket = format!("{sockets}/admin");
        let config = format!(
            "global\n nbthread 1\n stats socket {socket} level admin\n\
             defaults\n mode http\n balance roundrobin\n timeout connect 2s\n timeout client 5s\n timeout server 5s\n\
             frontend web\n bind 127.0.0.1:{}\n acl known path /a /b\n use_backend other if known\n default_backend app\n\
             backend app\n option httpchk\n server one {server} check inter 60s weight 10\n server two {server} weight 20\n\
             backend other\n server s {server}\n",
            side.front
        );
        let _daemon = Launch::of(side.program.clone(), &config).start();
        for path in ["/", "/a", "/x", "/teapot", "/b"] {
            get(side.front, path, "connection: close\r\n");
        }
        let script = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/e2e/clients/operators.py"
        );
        let mut command = Command::new(python());
        let said = run(&dir, command.args([script, &sockets, &socket]));
        assert!(said.lines().count() > 40, "{said}");
        said.lines().map(str::to_owned).collect()
    });
}
