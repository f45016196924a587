use std::cell::RefCell;
use std::sync::atomic::Ordering::Relaxed;

use proptest::strategy::Strategy;

use super::*;
use crate::backend::change::Change;
use crate::config::Proxy;
use crate::observe::stats::fixture;
use crate::shared::server_cell::admin;

/// Writes down what is to be said.
#[derive(Debug, Default)]
pub(crate) struct Told(RefCell<Vec<String>>);

impl Tell for Told {
    fn tell(&self, change: &Change) {
        self.0
            .borrow_mut()
            .extend(change.lines.iter().map(|line| line.text.clone()));
    }
    fn warn(&self, _: &Proxy, text: &str) {
        self.0.borrow_mut().push(text.to_owned());
    }
}

/// Feeds `input` to a fresh connection; what it answers, and whether it closes.
fn talk_at(level: CliLevel, input: &str, told: &Told, world: &fixture::World) -> (String, bool) {
    let mut cli = Cli::new(level, 10_000);
    cli.feed(input.as_bytes());
    let mut out = Vec::new();
    let world = World {
        view: world.view(),
        extra: Extra::default(),
        tell: told,
        payload: "",
    };
    loop {
        match cli.advance(&world, &mut out) {
            Next::More | Next::Pause(_) => {}
            Next::Read => return (String::from_utf8(out).unwrap(), false),
            Next::Close => return (String::from_utf8(out).unwrap(), true),
        }
    }
}

fn talk(input: &str) -> (String, bool) {
    talk_at(CliLevel::Admin, input, &Told::default(), &fixture::world())
}

/// The answer to one command as admin, which must close the connection.
pub(super) fn ask(command: &str) -> String {
    let (answer, closed) = talk(&format!("{command}\n"));
    assert!(closed, "{command} stayed open after {answer}");
    answer
}

#[test]
fn an_answer_ends_with_an_empty_line_and_the_connection() {
    assert_eq!(
        talk("show version\n"),
        ("3.4.0-ringway-test\n\n".into(), true)
    );
    assert_eq!(
        talk("show   version  \r\n"),
        ("3.4.0-ringway-test\n\n".into(), true)
    );
}

#[test]
fn commands_that_came_together_are_all_answered() {
    let twice = "3.4.0-ringway-test\n\n3.4.0-ringway-test\n\n";
    assert_eq!(talk("show version;show version\n"), (twice.into(), true));
    assert_eq!(talk("show version\nshow version\n"), (twice.into(), true));
}

#[test]
fn a_line_that_is_not_complete_is_waited_for() {
    assert_eq!(talk("show version"), (String::new(), false));
}

/// Byte for byte as haproxy 2.6.12, but for the version.
#[test]
fn prompts() {
    assert_eq!(
        talk("prompt\nshow version\nquit\n"),
        ("\n> 3.4.0-ringway-test\n\n> ".into(), true)
    );
    assert_eq!(
        talk("prompt;show version\nquit\n"),
        ("\n> 3.4.0-ringway-test\n\n> ".into(), true)
    );
    assert_eq!(
        talk("show version;prompt\n"),
        ("3.4.0-ringway-test\n\n\n> ".into(), false)
    );
    assert_eq!(
        talk("prompt\nprompt\nshow version\n"),
        ("\n> \n3.4.0-ringway-test\n\n".into(), true)
    );
}

#[test]
fn prompt_modes_of_3_2() {
    assert_eq!(
        talk("prompt i\nshow version\n"),
        ("\n3.4.0-ringway-test\n\n".into(), false)
    );
    assert_eq!(talk("prompt i;prompt n\n"), ("\n\n".into(), true));
    assert_eq!(talk("prompt p\nprompt timed\n").0, "\n> \n[1:02:03:04]> ");
}

/// Byte for byte as haproxy 2.6.12 for a payload up to an empty line.
#[test]
fn payloads_are_taken_in() {
    assert_eq!(
        talk("show version <<\nabc\n\n"),
        ("3.4.0-ringway-test\n\n".into(), true)
    );
    assert_eq!(
        talk("prompt\nshow version <<\nabc\n\nshow version\n").0,
        "\n> + + 3.4.0-ringway-test\n\n> 3.4.0-ringway-test\n\n> "
    );
    assert_eq!(
        talk("show version <<E\nabc\n\nE\n"),
        ("3.4.0-ringway-test\n\n".into(), true)
    );
    assert_eq!(talk("show version <<E\nabc\n\n"), (String::new(), false));
}

#[test]
fn lines_and_payloads_are_bounded() {
    assert_eq!(
        talk(&"x".repeat(LINE_BYTES)),
        ("Command line is too long.\n\n".into(), true)
    );
    assert_eq!(
        talk(&("x".repeat(LINE_BYTES) + "\n")),
        ("Command line is too long.\n\n".into(), true)
    );
    let endless = "show version <<\n".to_owned() + &"y\n".repeat(PAYLOAD_BYTES / 2 + 1);
    assert_eq!(talk(&endless), ("Payload is too long.\n\n".into(), true));
    let one_line = "show version <<\n".to_owned() + &"y".repeat(PAYLOAD_BYTES + 1);
    assert_eq!(talk(&one_line), ("Payload is too long.\n\n".into(), true));
}

#[test]
fn an_unknown_command_is_quoted_and_near_ones_are_listed() {
    let answer = ask("show versoin");
    assert!(answer.starts_with(
        "Unknown command: 'show', but maybe one of the following ones is a better match:\n  show version"
    ), "{answer}");
    assert!(
        answer.ends_with("  quit                                    : close the connection\n\n")
    );
    assert!(ask("bogus").starts_with(
        "Unknown command: 'bogus'. Please enter one of the following commands only:\n"
    ));
    assert!(ask("").starts_with(
        "Unknown command. Please enter one of the following commands only:\n  add acl"
    ));
    assert!(ask("show servers").contains("\n  show servers conn [<backend>]           : "));
    assert!(!ask("show servers").contains("show stat"));
}

#[test]
fn what_haproxy_has_and_we_have_not_is_named() {
    assert_eq!(
        ask("httpclient GET http://a/"),
        "'httpclient' is not supported yet.\n\n"
    );
    assert_eq!(
        ask("set ssl cert x <<\nabc\n"),
        "'set ssl cert' is not supported yet.\n\n"
    );
    assert_eq!(
        ask("set rate-limit ssl-sessions global 1"),
        "'set rate-limit ssl-sessions' is not supported yet.\n\n"
    );
}

/// Where the file gives an address, connections have not learned where their clients connected to.
#[test]
fn what_needs_the_clients_own_address_is_refused_at_run_time() {
    let world = fixture::world();
    let said = |command: &str| {
        let told = Told::default();
        talk_at(CliLevel::Admin, &format!("{command}\n"), &told, &world).0
    };
    assert_eq!(
        said("set server be/s1 addr 0.0.0.0"),
        "Invalid addr '0.0.0.0': the unspecified address is not supported yet by 'stats socket command'\n\n"
    );
    said("set server be/s1 check-port 80");
    assert_eq!(
        said("set server be/s1 addr 127.0.0.1 port +1"),
        "no need to change the addr, a port map is not supported yet where the file gives a port by \
         'stats socket command'\n\n"
    );
    // haproxy takes the lowest 16 bits.
    assert_eq!(
        said("set server be/s1 addr 127.0.0.1 port 65537"),
        "no need to change the addr, problem converting port '65537' to an int by 'stats socket command'\n\n"
    );
}

#[test]
fn help_lists_what_the_level_may_do() {
    let world = fixture::world();
    let help = |level| talk_at(level, "help\n", &Told::default(), &world).0;
    assert!(help(CliLevel::User).starts_with("The following commands are valid at this level:\n"));
    assert!(!help(CliLevel::User).contains("set server"));
    assert!(!help(CliLevel::Operator).contains("set server"));
    assert!(help(CliLevel::Admin).contains("\n  set server <bk>/<srv> [opts]            : "));
    let one = ask("help show stat");
    assert!(
        one.contains("show stat [json|no-maint|typed|up]*     : ") && !one.contains("show info"),
        "{one}"
    );
}

#[test]
fn levels_are_kept_and_only_lowered() {
    let world = fixture::world();
    let at = |level, input: &str| talk_at(level, input, &Told::default(), &world).0;
    assert_eq!(
        at(CliLevel::Operator, "set weight be/s1 3\n"),
        "Permission denied\n\n"
    );
    assert_eq!(at(CliLevel::User, "show env\n"), "Permission denied\n\n");
    assert_eq!(at(CliLevel::Operator, "show cli level\n"), "operator\n\n");
    assert_eq!(
        at(CliLevel::Admin, "operator; show cli level\n"),
        "\noperator\n\n"
    );
    assert_eq!(
        at(CliLevel::Admin, "user\noperator\nshow cli level\n"),
        "\nPermission denied\n\nuser\n\n"
    );
    assert_eq!(
        at(CliLevel::User, "get weight be/s1\n"),
        "10 (initial 10)\n\n"
    );
}

#[test]
fn servers_are_named_by_backend_and_server() {
    assert_eq!(ask("get weight"), "Require 'backend/server'.\n\n");
    assert_eq!(ask("get weight be"), "Require 'backend/server'.\n\n");
    assert_eq!(ask("get weight nope/s"), "No such backend.\n\n");
    assert_eq!(ask("get weight be/nope"), "No such server.\n\n");
    assert_eq!(ask("get weight #7/#44"), "1 (initial 1)\n\n");
}

#[test]
fn servers_change_their_state_and_the_log_is_told() {
    let world = fixture::world();
    let told = Told::default();
    let say = |command: &str| {
        let (answer, _) = talk_at(CliLevel::Admin, &format!("{command}\n"), &told, &world);
        assert_eq!(answer, "\n", "{command}");
        world.shared.servers[1].admin()
    };
    assert_eq!(say("disable server refused/r2"), admin::FMAINT);
    assert_eq!(say("enable server refused/r2"), 0);
    assert_eq!(say("set server refused/r2 state drain"), admin::FDRAIN);
    assert_eq!(say("set server refused/r2 state maint"), admin::FMAINT);
    assert_eq!(say("set server refused/r2 state ready"), 0);
    let told = told.0.into_inner();
    assert!(
        told[0].starts_with("Server refused/r2 is going DOWN for maintenance"),
        "{told:?}"
    );
    assert_eq!(told.len(), 5);
}

#[test]
fn weights_move() {
    let world = fixture::world();
    let say = |command: &str| {
        let (answer, _) = talk_at(
            CliLevel::Admin,
            &format!("{command}\n"),
            &Told::default(),
            &world,
        );
        assert_eq!(answer, "\n", "{command}");
        world.shared.servers[3].weight()
    };
    assert_eq!(say("set server be/s1 weight 20"), 20);
    assert_eq!(say("set weight be/s1 50%"), 5);
    assert_eq!(say("set weight be/s1 1000%"), 100);
    assert_eq!(say("set weight be/s1 10000%"), 256);
}

/// Messages as haproxy 2.6.12 gave them.
#[test]
fn wrong_words_are_answered_with_haproxys_messages() {
    let refused = |command: &str, message: &str| {
        assert_eq!(ask(command), format!("{message}\n\n"), "{command}")
    };
    refused(
        "set server be/s1 state bad",
        "'set server <srv> state' expects 'ready', 'drain' and 'maint'.",
    );
    refused(
        "set server be/s1 state",
        "'set server <srv> state' expects 'ready', 'drain' and 'maint'.",
    );
    refused("set weight be/s1", "Require <weight> or <weight%>.");
    refused(
        "set weight be/s1 300",
        "Absolute weight can only be between 0 and 256 inclusive.",
    );
    refused(
        "set weight be/s1 -1",
        "Absolute weight can only be between 0 and 256 inclusive.",
    );
    refused("set weight be/s1 10x", "Trailing garbage in weight string");
    refused(
        "set weight be/s1 %",
        "Empty weight string empty or preceded by garbage",
    );
    refused(
        "set weight be/s1 x",
        "Empty weight string empty or preceded by garbage",
    );
    assert!(
        ask("set server be/s1").starts_with("usage: set server <backend>/<server> addr | agent | ")
    );
}

#[test]
fn a_static_algorithm_keeps_its_weights() {
    let world = fixture::world_of(
        "defaults\n timeout connect 1s\n timeout client 1s\n timeout server 1s\nbackend b\n balance static-rr\n server s 127.0.0.1:1 weight 7\n",
    );
    let say = |command: &str| {
        let answer = talk_at(CliLevel::Admin, command, &Told::default(), &world).0;
        (answer, world.shared.servers[0].weight())
    };
    let message =
        "Backend is using a static LB algorithm and only accepts weights '0%' and '100%'.\n\n";
    assert_eq!(say("set weight b/s 5\n"), (message.into(), 7));
    assert_eq!(say("set weight b/s 0%\n"), ("\n".into(), 0));
    assert_eq!(say("set weight b/s 100%\n"), ("\n".into(), 7));
}

#[test]
fn limits_of_connections_move() {
    let world = fixture::world();
    let say = |command: &str| talk_at(CliLevel::Admin, command, &Told::default(), &world).0;
    assert_eq!(say("set maxconn frontend fe 7\n"), "\n");
    assert_eq!(world.shared.frontends[0].maxconn.load(Relaxed), 7);
    assert_eq!(say("set maxconn global 77\n"), "\n");
    assert_eq!(world.shared.process.maxconn.load(Relaxed), 77);
    assert_eq!(
        say("set maxconn global 100000\n"),
        "Value out of range.\n\n"
    );
    assert_eq!(
        say("set maxconn frontend fe -1\n"),
        "Value out of range.\n\n"
    );
    assert_eq!(
        say("set maxconn frontend fe\n"),
        "Integer value expected.\n\n"
    );
    assert_eq!(
        say("set maxconn frontend\n"),
        "A frontend name is expected.\n\n"
    );
    assert_eq!(say("set maxconn server q/q1 5\n"), "\n");
    assert_eq!(world.shared.servers[2].maxconn.load(Relaxed), 5);
    assert_eq!(say("set maxconn server q/q1\n"), "Require <maxconn>.\n\n");
    // The file gives it none.
    assert_eq!(say("set maxconn server be/s1 5\n"), "\n");
    assert_eq!(world.shared.servers[3].maxconn.load(Relaxed), 5);
    assert_eq!(
        say("set maxconn frontend nope 7\n"),
        "No such frontend.\n\n"
    );
}

#[test]
fn clear_counters_clears_maxima_and_leaves_counts() {
    let world = fixture::world();
    world.shared.frontends[0].connections_max.store(9, Relaxed);
    world.shared.shards[1].servers[0].total_time_max.set(9);
    world.shared.shards[1].servers[0].sessions.add(9);
    assert_eq!(
        talk_at(
            CliLevel::Operator,
            "clear counters\n",
            &Told::default(),
            &world
        )
        .0,
        "\n"
    );
    assert_eq!(world.shared.frontends[0].connections_max.load(Relaxed), 0);
    assert_eq!(world.shared.shards[1].servers[0].total_time_max.get(), 0);
    assert_eq!(world.shared.shards[1].servers[0].sessions.get(), 9);
}

#[test]
fn what_is_shown() {
    assert_eq!(
        ask("show errors"),
        "Total events captured on [20/Nov/2026:22:56:21.257] : 0\n\n"
    );
    assert_eq!(ask("show errors nope"), "No such proxy.\n\n");
    assert_eq!(ask("show backend"), "# name\nrefused\nq\nnosrv\nbe\n\n");
    assert_eq!(ask("show startup-logs"), "\n\n");
    assert_eq!(ask("show env NOPE"), "Variable not found\n\n");
    assert_eq!(ask("echo hi there"), "hi there\n\n");
    assert_eq!(ask("show cli sockets"), "# socket lvl processes\n\n");
    assert!(ask("show info").starts_with("Name: HAProxy\nVersion: "));
    assert!(ask("show info typed").starts_with("0.Name.1:POSV:str:HAProxy\n"));
    assert!(ask("show stat").starts_with("# pxname,svname,"));
    assert!(ask("show stat").ends_with(",\n\n"));
    assert_eq!(ask("show stat nope 4 -1"), "No such proxy.\n\n");
    assert_eq!(ask("show stat -1 4 -1").lines().count(), 1 + 8 + 1);
    assert_eq!(ask("show stat domain resolvers").lines().count(), 2);
    assert!(ask("show activity").contains("\nloops: 0 [ 0 0 ]\n"));
}

/// Lines as haproxy 2.6.12 wrote them, with what 3.4 changed: an unchecked server's health is 0.
#[test]
fn servers_in_the_format_of_a_state_file() {
    let answer = ask("show servers state");
    let lines: Vec<&str> = answer.lines().collect();
    assert_eq!(lines[0], "1");
    assert!(
        lines[1]
            .starts_with("# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state ")
    );
    assert_eq!(lines[1].split(' ').count() - 1, lines[2].split(' ').count());
    assert_eq!(
        lines[2],
        "4 refused 1 r1 127.0.0.1 2 0 1 1 93784 1 0 0 0 0 0 0 - 27990 - 0 0 - - 0"
    );
    assert_eq!(
        lines[8],
        "7 be 44 s4 ::1 2 0 1 1 93784 1 0 0 0 0 0 1 - 27992 - 0 0 - - 0"
    );
    assert_eq!(
        lines[9],
        "7 be 5 s5 - 0 5 1 1 93784 1 0 0 8 0 0 0 - 0 - 0 0 - - 0"
    );
    assert_eq!(ask("show servers state q").lines().count(), 2 + 1 + 1);
    assert_eq!(ask("show servers state nope"), "Can't find backend.\n\n");
    let conn = ask("show servers conn q");
    assert!(
        conn.ends_with("q/q1 5/1 127.0.0.1 27900 - 5000 0 0 0 0 0 0 0 -1 0 0 0\n\n"),
        "{conn}"
    );
}

#[test]
fn the_idle_time_can_be_set() {
    let world = fixture::world();
    let told = Told::default();
    let world = World {
        view: world.view(),
        extra: Extra::default(),
        tell: &told,
        payload: "",
    };
    let mut cli = Cli::new(CliLevel::User, 10_000);
    assert_eq!(cli.timeout_ms(), Some(10_000));
    cli.feed(b"prompt;set timeout cli 2;set timeout cli x\n");
    let mut out = Vec::new();
    while cli.advance(&world, &mut out) == Next::More {}
    assert_eq!(cli.timeout_ms(), Some(2_000));
    assert!(out.ends_with(b"Invalid timeout value.\n\n> "));
}

proptest::proptest! {
    /// Any bytes, in any pieces: no panic, no endless answer, and the input kept stays bounded.
    #[test]
    fn whatever_comes_is_answered_or_refused(
        pieces in proptest::collection::vec(
            proptest::prop_oneof![
                proptest::collection::vec(proptest::num::u8::ANY, 0..200),
                proptest::sample::select(WORDS).prop_map(|s| s.as_bytes().to_vec()),
            ],
            0..40,
        )
    ) {
        let world = fixture::world();
        let told = Told::default();
        let world = World { view: world.view(), extra: Extra::default(), tell: &told, payload: "" };
        let mut cli = Cli::new(CliLevel::Admin, 10_000);
        'talk: for piece in pieces {
            cli.feed(&piece);
            let mut out = Vec::new();
            for step in 0.. {
                assert!(step < 5_000, "no end");
                match cli.advance(&world, &mut out) {
                    Next::More | Next::Pause(_) => {}
                    Next::Read => break,
                    Next::Close => break 'talk,
                }
            }
            assert!(cli.input.len() < LINE_BYTES + 200);
        }
    }
}

/// Parts of commands, for lines that nearly make sense.
const WORDS: &[&str] = &[
    "show stat",
    "show info typed",
    "set server be/s1 ",
    "set weight ",
    "state ",
    "be/",
    "/s1",
    "-1",
    "99999999999999999999",
    "%",
    " ",
    ";",
    "\\",
    "\n",
    "<<",
    " <<X\n",
    "X\n",
    "prompt ",
    "prompt\n",
    "i\n",
    "help ",
    "show servers state ",
    "show stat be 4 ",
    "clear counters\n",
    "quit\n",
    "set maxconn ",
    "frontend fe ",
    "server q/q1 ",
    "set timeout cli ",
    "show env ",
    "operator\n",
];
