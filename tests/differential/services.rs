//! Checks that speak a service's own protocol, against the services themselves: OpenSMTPD, OpenLDAP, MariaDB and
//! PostgreSQL, all from Debian. Both balancers check the same ones and must say the same of each.

use std::fs::Permissions;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::same;
use crate::support::component::{Component, run};
use crate::support::{Launch, TempDir, port, until};

/// A check of the service at a port: name of the backend, its lines, and what a server must be found to be.
type Check<'a> = (&'a str, &'a str, &'a str);

#[track_caller]
fn listens(component: &Component, port: u16) {
    until(
        &format!("port {port} listens: {}", component.output()),
        || TcpStream::connect(("127.0.0.1", port)).is_ok(),
    );
}

/// Both balancers check the service at `service` in each of these ways, and find the same.
#[track_caller]
fn both_find(service: u16, checks: &[Check<'_>]) {
    same(|side| {
        let backends: String = checks
            .iter()
            .map(|(name, lines, _)| {
                format!("backend {name}\n{lines} server s 127.0.0.1:{service} check inter 200 fall 1 rise 1\n")
            })
            .collect();
        let config = format!(
            "global\n nbthread 1\n stats socket @DIR@/admin level admin\ndefaults\n mode tcp\n timeout connect 5s\n \
             timeout client 5s\n timeout server 5s\n timeout check 5s\nfrontend f\n bind 127.0.0.1:{}\n{backends}",
            side.front
        );
        let daemon = Launch::of(side.program.clone(), &config).start();
        let admin = daemon.admin();
        let found = checks.iter().map(|(name, _, expected)| {
            // A star says that a check is under way.
            let cell = |column| admin.cell(name, "s", column).replace("* ", "");
            until(&format!("{name} was checked"), || {
                !["", "INI"].contains(&&*cell("check_status"))
            });
            let found = ["status", "check_status", "check_code", "last_chk"].map(cell);
            // The words for a refused connection changed in 3.x.
            let new = "ECONNREFUSED returned by OS (Connection refused)";
            let found = found.join(" ").replace(new, "Connection refused");
            assert!(found.starts_with(expected), "{name}: {found}");
            format!("{name}: {found}")
        });
        found.collect()
    });
}

const REFUSED: &str = "DOWN L4CON";

// H06
#[test]
fn a_mail_server_is_asked_by_its_protocol() {
    let (dir, port) = (TempDir::new(), port());
    let config = dir.file("smtpd.conf");
    std::fs::write(&config, format!(
            "listen on 127.0.0.1 port {port}\naction \"drop\" mda \"/bin/true\"\nmatch for local action \"drop\"\n"
        )).unwrap();
    // Its spool and its socket have fixed places: it gets its own.
    let mut smtpd = Command::new("unshare");
    smtpd.args(["--mount", "sh", "-c"]).arg(format!(
        "mount -t tmpfs tmpfs /run && mount -t tmpfs -o mode=755 tmpfs /var/spool && mkdir -m 711 /var/spool/smtpd && \
         exec /usr/sbin/smtpd -d -f {config}"
    ));
    let mut smtpd = Component::start(&dir, "smtpd", &mut smtpd);
    listens(&smtpd, port);
    both_find(
        port,
        &[
            ("plain", " option smtpchk\n", "UP L7OK 221"),
            ("greets", " option smtpchk EHLO h.example\n", "UP L7OK 221"),
            ("errs", " option ldap-check\n", "DOWN L7"),
        ],
    );
    smtpd.stop();
    both_find(port, &[("gone", " option smtpchk\n", REFUSED)]);
}

// H06
#[test]
fn a_directory_is_up_while_it_takes_anonymous_binds() {
    let dir = TempDir::new();
    let start = |name: &str, lines: &str| {
        let port = port();
        let config = dir.file(&format!("{name}.conf"));
        let pidfile = dir.file(&format!("{name}.pid"));
        std::fs::write(&config, format!("pidfile {pidfile}\n{lines}")).unwrap();
        let mut slapd = Command::new("/usr/sbin/slapd");
        slapd.args(["-d", "0", "-f", &config, "-h"]);
        slapd.arg(format!("ldap://127.0.0.1:{port}"));
        let slapd = Component::start(&dir, name, &mut slapd);
        listens(&slapd, port);
        (slapd, port)
    };
    let (mut open, open_port) = start("open", "");
    let (_shut, shut_port) = start("shut", "disallow bind_anon\n");
    both_find(open_port, &[("open", " option ldap-check\n", "UP L7OK")]);
    both_find(shut_port, &[("shut", " option ldap-check\n", "DOWN L7STS")]);
    open.stop();
    both_find(open_port, &[("gone", " option ldap-check\n", REFUSED)]);
}

// H06
#[test]
fn a_database_is_asked_with_and_without_a_user() {
    let (dir, port) = (TempDir::new(), port());
    let data = dir.file("data");
    std::fs::create_dir_all(format!("{data}/mysql")).unwrap();
    let own = [
        "--no-defaults",
        "--user=root",
        "--innodb-buffer-pool-size=8M",
    ];
    let mut bootstrap = Command::new("sh");
    bootstrap.args([
        "-c",
        "{ echo 'use mysql;'; cat /usr/share/mysql/mysql_system_tables.sql; echo 'SET @auth_root_socket=NULL;'; \
         cat /usr/share/mysql/mysql_system_tables_data.sql; printf \"%s\\n\" 'flush privileges;' \
         \"create user 'checker'@'127.0.0.1';\" \"create user 'secret'@'127.0.0.1' identified by 'x';\"; } | \
         /usr/sbin/mariadbd \"$@\" --bootstrap",
        "sh",
    ]);
    bootstrap.args(own).arg(format!("--datadir={data}"));
    run(&dir, &mut bootstrap);
    let mut mariadb = Command::new("/usr/sbin/mariadbd");
    mariadb.args(own).arg(format!("--datadir={data}"));
    mariadb.args(["--bind-address=127.0.0.1", "--skip-name-resolve"]);
    mariadb.arg(format!("--port={port}"));
    mariadb.arg(format!("--socket={}", dir.file("mariadb.sock")));
    let mut mariadb = Component::start(&dir, "mariadb", &mut mariadb);
    listens(&mariadb, port);
    both_find(
        port,
        &[
            ("nobody", " option mysql-check\n", "UP L7OK"),
            ("user", " option mysql-check user checker\n", "UP L7OK"),
            (
                "secret",
                " option mysql-check user secret\n",
                "DOWN L7STS 1045",
            ),
            (
                "old",
                " option mysql-check user nobody pre-41\n",
                "DOWN L7STS 1045",
            ),
            ("wrong", " option pgsql-check user x\n", "DOWN L7"),
        ],
    );
    mariadb.stop();
    both_find(port, &[("gone", " option mysql-check\n", REFUSED)]);
}

// H06
#[test]
fn a_postgresql_server_is_up_when_it_asks_for_a_user() {
    let (dir, port) = (TempDir::new(), port());
    let (data, programs) = (dir.file("data"), "/usr/lib/postgresql/15/bin");
    std::fs::create_dir(&data).unwrap();
    std::fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
    // It refuses to run as root.
    let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap();
    nix::unistd::chown(data.as_str(), Some(nobody.uid), Some(nobody.gid)).unwrap();
    let as_nobody = |program: &str| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups"]);
        command.arg(format!("{programs}/{program}"));
        command.args(["-D", &data]);
        command.current_dir("/");
        command
    };
    run(
        &dir,
        as_nobody("initdb").args(["-A", "trust", "-U", "checker", "-N"]),
    );
    let mut postgres = as_nobody("postgres");
    postgres.args(["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]);
    postgres.args(["-c", "unix_socket_directories=", "-p", &port.to_string()]);
    let mut postgres = Component::start(&dir, "postgres", &mut postgres);
    listens(&postgres, port);
    both_find(
        port,
        &[
            ("user", " option pgsql-check user checker\n", "UP L7OK"),
            // It asks before it looks who that is.
            ("stranger", " option pgsql-check user nobody\n", "UP L7OK"),
            ("wrong", " option redis-check\n", "DOWN L7"),
        ],
    );
    postgres.stop();
    both_find(
        port,
        &[("gone", " option pgsql-check user checker\n", REFUSED)],
    );
}
