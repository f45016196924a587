//! How a file is read: forms that must mean the same, old spellings, mistakes.

use std::time::Duration;

use crate::support::client::{End, ask_at, who};
use crate::support::{
    Daemon, Launch, Server, TIMEOUTS, UdpLog, about, ask, closed_within, connect, on_haproxy, port,
    ports_in_a_row,
};

/// How long an idle client of `port` is kept.
fn kept(port: u16) -> Duration {
    let (end, took) = closed_within(Duration::from_secs(5), &mut connect(port));
    assert_eq!(end, End::Closed);
    took
}

// C02
#[test]
fn a_listen_section_is_frontend_and_backend_under_one_name() {
    let server = Server::named("A");
    let front = port();
    let daemon = Daemon::start(&format!(
        "global\n stats socket @DIR@/admin\ndefaults\n{TIMEOUTS}listen both\n bind 127.0.0.1:{front}\n server a {}\n",
        server.addr()
    ));
    assert_eq!(ask(front, "x").unwrap(), "A:x");
    let rows = daemon.admin().stat();
    let names: Vec<_> = rows
        .iter()
        .filter(|r| r["pxname"] == "both")
        .map(|r| r["svname"].clone())
        .collect();
    assert_eq!(names, ["FRONTEND", "a", "BACKEND"]);
}

// C03
#[test]
fn a_proxy_inherits_from_the_last_defaults_before_it() {
    let (one, two) = (port(), port());
    let silent = Server::silent();
    let _daemon = Daemon::start(&format!(
        "defaults\n{TIMEOUTS} timeout client 400\nlisten one\n bind 127.0.0.1:{one}\n server s {0}\n\
         defaults\n{TIMEOUTS} timeout client 1200\nlisten two\n bind 127.0.0.1:{two}\n server s {0}\n",
        silent.addr()
    ));
    std::thread::scope(|scope| {
        scope.spawn(|| about(400, kept(one)));
        scope.spawn(|| about(1200, kept(two)));
    });
}

// C03
#[test]
fn a_proxy_can_name_the_defaults_it_takes() {
    let (one, two) = (port(), port());
    let silent = Server::silent();
    let _daemon = Daemon::start(&format!(
        "defaults short\n{TIMEOUTS} timeout client 400\ndefaults long from short\n timeout client 1200\n\
         listen one from short\n bind 127.0.0.1:{one}\n server s {0}\n\
         listen two from long\n bind 127.0.0.1:{two}\n server s {0}\n",
        silent.addr()
    ));
    std::thread::scope(|scope| {
        scope.spawn(|| about(400, kept(one)));
        scope.spawn(|| about(1200, kept(two)));
    });
}

// C04, C05
#[test]
fn comments_quotes_and_escapes_mean_what_they_mean_to_haproxy() {
    for (written, meant) in [
        ("a\\ b # a comment", "a b"),
        ("'a # b'", "a # b"),
        ("a\\#b", "a#b"),
        ("\"a 'b' \\$c\"#comment", "a 'b' $c"),
        ("\\x41\\x42", "AB"),
        ("\"${NAMED}\"", "from outside"),
        ("\"${UNNAMED-instead}\"", "instead"),
        ("'${NAMED}'", "${NAMED}"),
    ] {
        let front = port();
        let daemon = Launch::new(&format!(
            "global\n stats socket @DIR@/admin\n description {written}\ndefaults\n{TIMEOUTS}\
             listen l\n bind 127.0.0.1:{front}\n server s 127.0.0.1:1\n"
        ))
        .env("NAMED", "from outside")
        .start();
        let info = daemon.admin().info();
        let said = info.get("Description").or_else(|| info.get("description"));
        assert_eq!(
            said.map(String::as_str),
            Some(meant),
            "written as {written}"
        );
    }
}

// C06
#[test]
fn a_time_may_carry_any_unit() {
    let silent = Server::silent();
    let times = [
        ("400", 400),
        ("400ms", 400),
        ("400000us", 400),
        ("1s", 1000),
    ];
    let first = ports_in_a_row(times.len() as u16);
    let mut config = format!("defaults\n{TIMEOUTS}");
    for (i, (text, _)) in times.iter().enumerate() {
        let front = first + i as u16;
        config += &format!(
            "listen l{i}\n bind 127.0.0.1:{front}\n timeout client {text}\n server s {}\n",
            silent.addr()
        );
    }
    let _daemon = Daemon::start(&config);
    std::thread::scope(|scope| {
        for (i, (_, ms)) in times.iter().enumerate() {
            scope.spawn(move || about(*ms, kept(first + i as u16)));
        }
    });
}

// C06
#[test]
fn a_time_with_junk_or_too_large_is_an_error_at_its_line() {
    for text in ["5x", "5 s s", "99999999999999", "25d3"] {
        let checked =
            Launch::new(&format!("defaults\n mode tcp\n timeout client {text}\n")).check();
        assert_eq!(checked.code(), 1, "{text}: {}", checked.text);
        assert!(checked.text.contains("cfg:3]"), "{text}: {}", checked.text);
    }
}

// C07
#[test]
fn carriage_returns_tabs_and_a_missing_last_newline_change_nothing() {
    let server = Server::named("A");
    let front = port();
    let plain = format!(
        "defaults\n{TIMEOUTS}listen l\n bind 127.0.0.1:{front}\n server a {}",
        server.addr()
    );
    let tabs = plain.replace("\n ", "\n\t\t");
    let crlf = plain.replace("\n ", "\r\n");
    // haproxy itself refuses a file without its last newline; Ringway does not (one real file in ten).
    for config in [
        format!("{tabs}\n"),
        format!("{crlf}\r\n"),
        if on_haproxy() {
            format!("{plain}\n")
        } else {
            plain
        },
    ] {
        let _daemon = Daemon::start(&config);
        assert_eq!(ask(front, "x").unwrap(), "A:x");
    }
}

// C08, C09
#[test]
fn bind_takes_every_form_of_an_address() {
    let server = Server::named("A");
    let first = ports_in_a_row(7);
    let [a, b, c, d, e, f, g] = std::array::from_fn(|i| first + i as u16);
    let _daemon = Daemon::start(&format!(
        "defaults\n{TIMEOUTS}listen l\n bind *:{a}\n bind :{b}\n bind 0.0.0.0:{c}\n bind :{d},:{e}\n bind [::1]:{f}\n \
         bind ipv4@127.0.0.1:{g}\n server s {}\n",
        server.addr()
    ));
    for front in [a, b, c, d, e, g] {
        assert_eq!(ask(front, "x").unwrap(), "A:x", "port {front}");
    }
    assert_eq!(
        ask_at(format!("[::1]:{f}").parse().unwrap(), "x").unwrap(),
        "A:x"
    );
}

// C09
#[test]
fn bind_takes_a_range_of_ports() {
    let server = Server::named("A");
    let first = ports_in_a_row(3);
    let _daemon = Launch::new(&format!(
        "defaults\n{TIMEOUTS}listen l\n bind 127.0.0.1:{first}-{}\n server s {}\n",
        first + 2,
        server.addr()
    ))
    .ports(&[first, first + 1, first + 2])
    .start();
    for front in first..first + 3 {
        assert_eq!(ask(front, "x").unwrap(), "A:x");
    }
}

// C10
#[test]
fn a_server_without_a_port_gets_that_of_the_listener() {
    let first = ports_in_a_row(2);
    let at = |port| Server::named_at(([127, 0, 0, 2], port).into(), &port.to_string());
    let (_a, _b) = (at(first), at(first + 1));
    let _daemon = Daemon::start(&format!(
        "defaults\n{TIMEOUTS}listen l\n bind 127.0.0.1:{first},127.0.0.1:{}\n server s 127.0.0.2\n",
        first + 1
    ));
    assert_eq!(ask(first, "x").unwrap(), format!("{first}:x"));
    assert_eq!(ask(first + 1, "x").unwrap(), format!("{}:x", first + 1));
}

// C10
#[test]
fn a_server_port_with_a_sign_is_an_offset() {
    let first = ports_in_a_row(3);
    let (low, front, high) = (first, first + 1, first + 2);
    let at = |port, name| Server::named_at(([127, 0, 0, 1], port).into(), name);
    let (_low, _high) = (at(low, "low"), at(high, "high"));
    let _daemon = Daemon::start(&format!(
        "defaults\n{TIMEOUTS}listen l\n bind 127.0.0.1:{front}\n server up 127.0.0.1:+1\n server down 127.0.0.1:-1\n"
    ));
    let mut seen = [who(front), who(front)];
    seen.sort();
    assert_eq!(seen, ["high", "low"]);
}

// C10
#[test]
fn a_checked_server_without_a_port_is_checked_on_the_only_listening_one() {
    if on_haproxy() {
        return; // refuses it whatever the listeners are
    }
    let front = port();
    let _server = Server::named_at(([127, 0, 0, 2], front).into(), "A");
    let daemon = Daemon::start(&format!(
        "global\n stats socket @DIR@/admin\ndefaults\n{TIMEOUTS}listen l\n bind 127.0.0.1:{front}\n server s 127.0.0.2 check inter 100\n"
    ));
    daemon.admin().wait_status("l", "s", "UP");
    assert_eq!(who(front), "A");
    assert!(daemon.output().contains("NOTICE"), "{}", daemon.output());
}

// C10
#[test]
fn a_checked_server_without_a_port_behind_two_is_an_error_that_names_it() {
    let checked = Launch::new(&format!(
        "defaults\n{TIMEOUTS}listen l\n bind 127.0.0.1:{},127.0.0.1:{}\n server lonely 127.0.0.2 check\n",
        port(),
        port()
    ))
    .check();
    assert_eq!(checked.code(), 1);
    assert!(checked.text.contains("lonely"), "{}", checked.text);
}

// C11, C12
#[test]
fn an_address_on_the_section_line_works_with_one_warning_each() {
    if on_haproxy() {
        return; // fatal since 1.9
    }
    let server = Server::named("A");
    let [one, two, three] = [port(), port(), port()];
    let config = format!(
        "defaults\n{TIMEOUTS}listen one 127.0.0.1:{one}\n server a {0}\nfrontend two 127.0.0.1:{two}\n default_backend b\n\
         backend b\n server a {0}\nlisten 127.0.0.1:{three}\n server a {0}\n",
        server.addr()
    );
    let daemon = Launch::new(&config).ports(&[one, two, three]).start();
    for front in [one, two, three] {
        assert_eq!(ask(front, "x").unwrap(), "A:x");
    }
    let said = daemon.output();
    let warnings: Vec<_> = said
        .lines()
        .filter(|line| line.contains("WARNING") && line.contains(" parsing "))
        .collect();
    assert_eq!(warnings.len(), 3, "{said}");
    for (line, front) in [(7, one), (9, two), (13, three)] {
        assert!(
            warnings.iter().any(|w| w.contains(&format!("cfg:{line}]"))),
            "no warning for line {line}: {said}"
        );
        assert!(
            said.contains(&format!("bind 127.0.0.1:{front}")),
            "the present spelling of {front}: {said}"
        );
    }
    let strict = Launch::new(&config).arg("--strict").check();
    assert_eq!(strict.code(), 1, "{}", strict.text);
}

// C12
#[test]
fn a_nameless_section_is_named_after_its_address() {
    if on_haproxy() {
        return;
    }
    let server = Server::named("A");
    let front = port();
    let daemon = Launch::new(&format!(
        "global\n stats socket @DIR@/admin\ndefaults\n{TIMEOUTS}listen 127.0.0.1:{front}\n server a {}\n",
        server.addr()
    ))
    .ports(&[front])
    .start();
    assert_eq!(ask(front, "x").unwrap(), "A:x");
    let name = format!("127.0.0.1:{front}");
    assert_eq!(daemon.admin().count(&name, "FRONTEND", "stot"), 1);
}

// C13
#[test]
fn old_keywords_work_with_one_warning_each() {
    if on_haproxy() {
        return; // refuses most of them
    }
    let silent = Server::silent();
    let front = port();
    let daemon = Launch::new(&format!(
        "defaults\n mode tcp\n balance roundrobin\n contimeout 2000\n clitimeout 500\n srvtimeout 20000\n redispatch\n\
         listen l\n bind 127.0.0.1:{front}\n option independant-streams\n monitor-net 192.0.2.0/24\n dispatch {}\n",
        silent.addr()
    ))
    .start();
    about(500, kept(front));
    let said = daemon.output();
    for (line, present) in [
        (4, "timeout connect"),
        (5, "timeout client"),
        (6, "timeout server"),
        (7, "option redispatch"),
        (10, "independent-streams"),
        (11, "src"),
    ] {
        let warned: Vec<_> = said
            .lines()
            .filter(|l| l.contains("WARNING") && l.contains(&format!("cfg:{line}]")))
            .collect();
        assert_eq!(warned.len(), 1, "line {line}: {said}");
        assert!(said.contains(present), "{present}: {said}");
    }
}

// C14
#[test]
fn a_server_name_may_hold_dots() {
    let server = Server::named("A");
    let front = port();
    let daemon = Daemon::start(&format!(
        "global\n stats socket @DIR@/admin\ndefaults\n{TIMEOUTS}listen l\n bind 127.0.0.1:{front}\n server ms1.srv1 {}\n",
        server.addr()
    ));
    assert_eq!(who(front), "A");
    assert_eq!(daemon.admin().count("l", "ms1.srv1", "stot"), 1);
}

// C15
#[test]
fn a_server_may_be_named_by_host_name() {
    let server = Server::named("A");
    let front = port();
    let _daemon = Daemon::start(&format!(
        "defaults\n{TIMEOUTS}listen l\n bind 127.0.0.1:{front}\n server s localhost:{} init-addr libc\n",
        server.port
    ));
    assert_eq!(who(front), "A");
}

// C15
#[test]
fn a_server_whose_name_does_not_resolve_is_an_error_that_names_it() {
    let config = |extra| {
        format!(
            "defaults\n{TIMEOUTS}listen l\n bind 127.0.0.1:{}\n server lost no-such-host.invalid:80 {extra}\n",
            port()
        )
    };
    let checked = Launch::new(&config("")).check();
    assert_eq!(checked.code(), 1, "{}", checked.text);
    assert!(
        checked.text.contains("lost") && checked.text.contains("no-such-host.invalid"),
        "{}",
        checked.text
    );
    let allowed = Launch::new(&config("init-addr libc,none")).check();
    assert_eq!(allowed.code(), 0, "{}", allowed.text);
}

// C16, L16
#[test]
fn each_log_target_gets_each_line_once() {
    let (one, two) = (UdpLog::new(), UdpLog::new());
    let server = Server::named("A");
    let front = port();
    let _daemon = Daemon::start(&format!(
        "global\n log 127.0.0.1:{} local0\n log 127.0.0.1:{} local1\ndefaults\n log global\n option tcplog\n{TIMEOUTS}\
         listen l\n log global\n bind 127.0.0.1:{front}\n server s {}\n",
        one.port,
        two.port,
        server.addr()
    ));
    assert_eq!(who(front), "A");
    let (a, b) = (one.wait(" l l/s "), two.wait(" l l/s "));
    assert!(a.starts_with("<134>") && b.starts_with("<142>"), "{a}\n{b}");
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(
        (one.with(" l l/s ").len(), two.with(" l l/s ").len()),
        (1, 1)
    );
}

// C17
#[test]
fn an_unknown_keyword_is_one_error_with_the_nearest_name() {
    for (wrong, near) in [
        ("blance roundrobin", "balance"),
        ("servr s 127.0.0.1:1", "server"),
        ("option tcpolg", "tcplog"),
    ] {
        let config = format!(
            "defaults\n{TIMEOUTS}listen l\n bind 127.0.0.1:{}\n {wrong}\n",
            port()
        );
        let checked = Launch::new(&config).check();
        assert_eq!(checked.code(), 1, "{}", checked.text);
        let lines = checked.lines_with("cfg:9]");
        assert_eq!(lines.len(), 1, "{}", checked.text);
        assert!(
            lines[0].contains(near),
            "{near} for {wrong}: {}",
            checked.text
        );
    }
}

// C17
#[test]
fn all_mistakes_are_told_in_one_run() {
    let config = "defaults\n mode tcp\n timeout client 5x\n blance a\nlisten l\n bind 127.0.0.1:1\n server s 127.0.0.1:1 wieght 3\n";
    let checked = Launch::new(config).check();
    assert_eq!(checked.code(), 1);
    for line in [3, 4, 7] {
        assert_eq!(
            checked.lines_with(&format!("cfg:{line}]")).len(),
            1,
            "line {line}: {}",
            checked.text
        );
    }
}

// C18
#[test]
fn missing_timeouts_are_one_warning() {
    let config = format!(
        "listen quiet-one\n mode tcp\n balance roundrobin\n bind 127.0.0.1:{}\n server s 127.0.0.1:1\n",
        port()
    );
    let checked = Launch::new(&config).check();
    assert_eq!(checked.code(), 0, "{}", checked.text);
    assert_eq!(
        checked.lines_with("missing timeouts").len(),
        1,
        "{}",
        checked.text
    );
}

// C19, F09
#[test]
fn the_check_ends_with_0_1_or_2() {
    let valid = format!(
        "defaults\n{TIMEOUTS}listen l\n bind 127.0.0.1:{}\n server s 127.0.0.1:1\n",
        port()
    );
    assert_eq!(Launch::new(&valid).check().code(), 0);
    assert_eq!(Launch::new("listen l\n nonsense\n").check().code(), 1);
    let nothing = format!("{valid} disabled\n");
    assert_eq!(Launch::new(&nothing).check().code(), 2);
}

// R01
#[test]
fn several_files_and_directories_are_read_in_order() {
    let silent = Server::silent();
    let front = port();
    let launch = Launch::new("# the last file adds nothing\n");
    let dir = launch.dir();
    dir.subdir("conf");
    dir.write(
        "conf/10-defaults.cfg",
        &format!("defaults\n{TIMEOUTS} timeout client 500\n"),
    );
    dir.write(
        "conf/20-listen.cfg",
        &format!(
            "listen l\n bind 127.0.0.1:{front}\n server s {}\n",
            silent.addr()
        ),
    );
    dir.write("conf/30-ignored.txt", "this is no configuration\n");
    let _daemon = launch
        .arg("-f")
        .arg(&dir.file("conf"))
        .ports(&[front])
        .start();
    about(500, kept(front));
}

// C
#[test]
fn conditions_choose_lines() {
    let server = Server::named("A");
    let front = port();
    let _daemon = Launch::new(&format!(
        "defaults\n{TIMEOUTS}listen l\n bind 127.0.0.1:{front}\n .if defined(CHOSEN) && version_atleast(2.4)\n server s {}\n \
         .elif streq(\"$CHOSEN\",x)\n nonsense\n .else\n nonsense\n .endif\n",
        server.addr()
    ))
    .env("CHOSEN", "1")
    .start();
    assert_eq!(who(front), "A");
}

// C
#[test]
fn the_condition_switch_ends_with_0_or_1() {
    for (condition, code) in [
        ("version_atleast(2.4)", 0),
        ("version_before(2.4)", 1),
        ("streq(a,a) && !streq(a,b)", 0),
    ] {
        let finished = Launch::new("").arg("-cc").arg(condition).run_bare();
        assert_eq!(finished.code(), code, "{condition}: {}", finished.text);
    }
}
