//! What is said of the seed configurations, and of each way a request may end.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use serde_json::Value;

use super::*;

/// Explains by the words of a command line, `-f` left out.
fn explained(config: &std::path::Path, words: &[&str]) -> Result<Value, String> {
    let config = config.to_str().expect("a plain path");
    let fixed = ["explain", "-f", config, "--json"];
    let words = fixed.iter().chain(words).copied();
    let options = Options::try_parse_from(words).expect("a right command line");
    let text = explain(&options)?;
    Ok(serde_json::from_str(&text).expect("it is JSON"))
}

fn seed(name: &str, words: &[&str]) -> Value {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config/seeds");
    explained(&dir.join(name), words).unwrap_or_else(|why| panic!("{name} {words:?}: {why}"))
}

/// A file that goes with the test.
struct File(PathBuf);

impl File {
    fn new(text: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Relaxed);
        let name = format!("ringway-explain-{}-{number}.cfg", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).expect("a place for files");
        Self(path)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

const HEAD: &str =
    "defaults\n mode http\n timeout connect 1s\n timeout client 5s\n timeout server 5s\n";

fn of(text: &str, words: &[&str]) -> Value {
    let file = File::new(&format!("{HEAD}{text}"));
    explained(&file.0, words).unwrap_or_else(|why| panic!("{text} {words:?}: {why}"))
}

fn refused(text: &str, words: &[&str]) -> String {
    let file = File::new(&format!("{HEAD}{text}"));
    explained(&file.0, words).expect_err("not explained")
}

/// Backend, server and status.
fn brief(told: &Value) -> String {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    };
    format!(
        "{} {}/{} {}",
        text(&told["result"]),
        text(&told["backend"]),
        text(&told["server"]["name"]),
        text(&told["status"])
    )
}

/// The rule whose text holds `part`.
fn rule<'v>(told: &'v Value, part: &str) -> &'v Value {
    let steps = told["steps"].as_array().expect("a list");
    let is = |step: &&Value| step["text"].as_str().is_some_and(|t| t.contains(part));
    steps
        .iter()
        .find(is)
        .unwrap_or_else(|| panic!("no rule '{part}' in {told:#}"))
}

/// Values of a header that the first server got.
fn sent(told: &Value, name: &str) -> Vec<String> {
    let fields = told["sent"][0]["request"]["headers"].as_array().cloned();
    let fields = fields.unwrap_or_default().into_iter();
    let named = fields.filter(|field| field[0] == name);
    let value = |field: Value| field[1].as_str().unwrap_or_default().to_owned();
    named.map(value).collect()
}

#[test]
fn requests_through_the_seed_configurations_go_where_their_lines_say() {
    for (name, words, wanted) in [
        (
            "intro-l7.cfg",
            &["GET http://h:9001/MS1/x"][..],
            "server ms1/ms1.srv1 200",
        ),
        (
            "intro-l7.cfg",
            &["GET http://h:9001/ms2/x"],
            "server ms2/ms2.srv1 200",
        ),
        (
            "intro-l7.cfg",
            &["GET http://h:9001/"],
            "server default_servers/def.srv1 200",
        ),
        (
            "intro-l7.cfg",
            &["http://h:9001/ms1/", "-H", "Cookie: HA_STICKY_ms1=ms1.srv2"],
            "server ms1/ms1.srv2 200",
        ),
        (
            "intro-l7.cfg",
            &["http://h:1080/stats"],
            "statistics -/- 401",
        ),
        (
            "intro-simplest.cfg",
            &["GET /"],
            "server servers/server1 200",
        ),
        (
            "arch-1-cookie-insert.cfg",
            &["GET http://192.168.1.1/", "-H", "Cookie: SERVERID=C"],
            "server webfarm/webC 200",
        ),
        (
            "arch-2-cookie-prefix.cfg",
            &["GET /", "-H", "Cookie: JSESSIONID=B~abc"],
            "server webfarm/webB 200",
        ),
        (
            "arch-4-backup-servers.cfg",
            &[
                "GET /",
                "-H",
                "Cookie: SERVERID=B",
                "--down",
                "192.168.1.1:80/webB",
            ],
            "server 192.168.1.1:80/bkpB 200",
        ),
        (
            "arch-5-site-director.cfg",
            &["GET /", "-H", "Cookie: SITE=SITE2"],
            "server 10.1.1.1:80/S2L1 200",
        ),
        ("arch-7-queues.cfg", &["GET /"], "server appfarm/railsA 200"),
        ("intro-l4.cfg", &[], "server default_servers/def.srv1 -"),
        (
            "mqtt.cfg",
            &["--frontend", "mqtt"],
            "server mqtt/broker_1 -",
        ),
        (
            "xmpp-ejabberd.cfg",
            &["--frontend", "access_servers"],
            "server cluster_servers/server1 -",
        ),
        ("arch-4-dispatch.cfg", &[], "server 0.0.0.0:81/- -"),
        (
            "arch-2-tcp-monitor-net.cfg",
            &["--frontend", "tse-proxy", "--src", "192.168.1.253"],
            "error -/- -",
        ),
    ] {
        assert_eq!(brief(&seed(name, words)), wanted, "{name} {words:?}");
    }
}

#[test]
fn rules_are_told_with_their_place_their_tests_and_what_they_did() {
    let told = of(
        "frontend web\n bind :8080\n acl old path_beg /a /b\n acl old path_end .php\n\
         \x20http-request set-header X-A %[path] if old !{ method POST }\n\
         \x20http-request set-path /new if old\n http-request set-var(txn.a) str(b)\n\
         \x20http-request deny if { src 10.0.0.0/8 }\n default_backend b\n\
         backend b\n option forwardfor\n http-response set-header X-B %[var(txn.a)]\n server s 192.0.2.1:80\n",
        &["GET http://h:8080/b/c?d", "--src", "198.51.100.3"],
    );
    let first = rule(&told, "X-A");
    assert_eq!(
        (&first["result"], &first["line"]),
        (&"holds".into(), &10.into())
    );
    let terms = &first["condition"]["any_of"][0];
    assert_eq!(terms[0]["acl"], "old");
    assert_eq!(terms[0]["tests"][0]["values"][0]["value"], "/b/c");
    assert_eq!(terms[0]["tests"][0]["values"][0]["pattern"], "/b");
    assert_eq!(
        (&terms[1]["negated"], &terms[1]["result"]),
        (&true.into(), &"holds".into())
    );
    assert_eq!(first["effects"][0]["to"], "/b/c");
    let path = &rule(&told, "set-path")["effects"][0];
    assert_eq!(
        (&path["from"], &path["to"]),
        (&"/b/c?d".into(), &"/new?d".into())
    );
    assert_eq!(rule(&told, "set-var")["effects"][0]["name"], "txn.a");
    assert_eq!(rule(&told, "deny")["result"], "fails");
    assert_eq!(rule(&told, "X-B")["effects"][0]["to"], "b");
    assert_eq!(sent(&told, "x-forwarded-for"), ["198.51.100.3"]);
    assert_eq!(told["sent"][0]["request"]["uri"], "/new?d");
    assert_eq!(told["sent"][0]["to"], "192.0.2.1:80");
}

#[test]
fn each_way_a_request_may_end_is_named() {
    let front = "frontend f\n bind :8080\n timeout tarpit 7s\n";
    for (rules, wanted) in [
        (" http-request deny deny_status 429\n", "deny -/- 429"),
        (" http-request tarpit\n", "tarpit -/- 500"),
        (" http-request return status 418\n", "answer -/- 418"),
        (" http-request redirect location /x\n", "answer -/- 302"),
        (" redirect prefix http://x\n", "answer -/- 302"),
        (" http-request auth\n", "auth -/- 401"),
        (" http-request reject\n", "reject -/- -"),
        (" http-request silent-drop\n", "silent-drop -/- -"),
        (" tcp-request content reject\n", "reject -/- -"),
        (" tcp-request connection reject\n", "reject -/- -"),
        (" stats enable\n stats uri /\n", "statistics -/- 200"),
        (" monitor-uri /\n", "answer -/- 200"),
        ("", "error -/- 503"),
    ] {
        assert_eq!(
            brief(&of(&format!("{front}{rules}"), &["GET /"])),
            wanted,
            "{rules}"
        );
    }
    let told = of(&format!("{front} http-request tarpit\n"), &["GET /"]);
    assert_eq!(told["waited_ms"], 7000);
    assert_eq!(told["state"], "PT--");
}

#[test]
fn the_reason_of_the_backend_and_of_the_server_is_told() {
    let text = "frontend f\n bind :8080\n use_backend %[req.hdr(x)] if { req.hdr(x) -m found }\n\
                \x20use_backend k if { path_beg /k }\n default_backend d\n\
                backend d\n balance roundrobin\n server d1 192.0.2.1:80\n server d2 192.0.2.2:80\n\
                backend k\n balance uri\n use-server k2 if { path_end .two }\n server k1 192.0.2.3:80\n\
                \x20server k2 192.0.2.4:80\n server kb 192.0.2.5:80 backup\n";
    let reason = |words: &[&str], what: &str| {
        let told = of(text, words);
        told[what].as_str().expect("a reason").to_owned()
    };
    let has = |words: &[&str], what: &str, part: &str| {
        let reason = reason(words, what);
        assert!(reason.contains(part), "{words:?}: {reason}");
    };
    has(&["/"], "backend_reason", "default_backend");
    has(
        &["/k"],
        "backend_reason",
        "use_backend k if { path_beg /k }",
    );
    has(&["/", "-H", "x: k"], "backend_reason", "the name is 'k'");
    has(
        &["/", "-H", "x: no"],
        "backend_reason",
        "no backend is called 'no'",
    );
    has(&["/"], "server_reason", "balance roundrobin");
    has(&["/k/a"], "server_reason", "the hash of the path");
    has(&["/k/a.two"], "server_reason", "'use-server' rule");
    let down = ["/k/a", "--down", "k/k1", "--down", "k/k2"];
    has(&down, "server_reason", "backup");
    let none = ["/k/a", "--down", "k/k1", "--down", "k/k2", "--down", "k/kb"];
    has(&none, "server_reason", "no server of backend 'k' is usable");
    assert_eq!(brief(&of(text, &none)), "error k/- 503");
}

#[test]
fn what_rules_wait_for_comes_in_simulated_time() {
    let told = of(
        "frontend f\n bind :8080\n http-request wait-for-body time 10s\n\
         \x20http-request pause 3s if { req.body -m sub wait }\n default_backend b\nbackend b\n server s 192.0.2.1:80\n",
        &["POST /", "--body", "please wait"],
    );
    assert_eq!(
        (&told["waited_ms"], brief(&told)),
        (&3000.into(), "server b/s 200".into())
    );
    assert_eq!(told["sent"][0]["request"]["body_bytes"], 11);
    // A hashed password is worked out in real time, on a thread of its own.
    let users =
        "userlist u\n user a password $5$salt$kpa26zwgX83BPSR8d7w93OIXbFt/d3UOTZaAu5vsTM6\n";
    let text = format!(
        "{users}frontend f\n bind :8080\n http-request auth unless {{ http_auth(u) }}\n default_backend b\nbackend b\n server s 192.0.2.1:80\n"
    );
    let wrong = of(&text, &["GET /", "-H", "Authorization: Basic YTp3cm9uZw=="]);
    assert_eq!(brief(&wrong), "auth -/- 401");
}

#[test]
fn tcp_sessions_are_told_to_the_server() {
    let text = "frontend f\n mode tcp\n bind :5000 accept-proxy\n tcp-request inspect-delay 4s\n\
                \x20tcp-request session set-var(sess.a) int(3)\n tcp-request content accept if { req.len ge 3 }\n\
                \x20use_backend near if { src 192.0.2.0/24 }\n default_backend far\n\
                backend near\n mode tcp\n server n 192.0.2.9:1 send-proxy\n\
                backend far\n mode tcp\n balance source\n server f1 192.0.2.7:1\n server f2 192.0.2.8:1\n";
    let told = of(text, &["--src", "192.0.2.77:1234"]);
    assert_eq!(brief(&told), "server near/n -");
    assert_eq!(told["waited_ms"], 4000, "nothing came: the delay is over");
    assert_eq!(told["sent"][0]["proxy_header"]["source"], "192.0.2.77:1234");
    assert_eq!(rule(&told, "set-var")["effects"][0]["to"], "3");
    let told = of(text, &["--src", "127.0.0.1", "--body", "abc"]);
    assert_eq!(told["waited_ms"], 0);
    assert_eq!(told["sent"][0]["bytes"], 3);
    assert_eq!(
        rule(&told, "req.len")["condition"]["any_of"][0][0]["tests"][0]["values"][0]["pattern"],
        "ge 3"
    );
}

#[test]
fn what_cannot_be_explained_is_said_with_the_remedy() {
    let two = "frontend one\n bind :1\nfrontend two\n bind :2\n";
    for (words, part) in [
        (
            &["GET /"][..],
            "several frontends could take it (one, two): choose one with '--frontend <name>'",
        ),
        (&["GET /", "--frontend", "ones"], "did you mean 'one'?"),
        (&["--frontend", "one"], "say what is asked"),
        (
            &["GET /", "--frontend", "one", "-H", "x"],
            "write 'Name: value'",
        ),
        (
            &["GET /", "--frontend", "one", "--src", "here"],
            "is no address",
        ),
        (
            &["GET /", "--frontend", "one", "--down", "x"],
            "write 'backend/server'",
        ),
        (&["what is this ?"], "is no request"),
    ] {
        let why = refused(two, words);
        assert!(why.contains(part), "{words:?}: {why}");
    }
    let told = of(two, &["http://h:2/"]);
    assert_eq!(told["frontend"], "two");
}

#[test]
fn the_text_says_each_step_and_is_coloured_only_where_asked() {
    let file = File::new(&format!(
        "{HEAD}frontend f\n bind :8080\n http-request deny if {{ path /no }}\n default_backend b\nbackend b\n server s 192.0.2.1:80\n"
    ));
    let path = file.0.to_str().expect("a plain path");
    let options = Options::try_parse_from(["explain", "-f", path, "GET /no"]).expect("right");
    let text = explain(&options).expect("explained");
    for part in [
        "GET /no HTTP/1.1",
        "frontend 'f'",
        "http-request deny if { path /no }",
        "path = \"/no\", matches \"/no\" (str)",
        "=> the request ends here: denied",
        "HTTP/1.1 403 Forbidden",
        "in the log: PR--",
        "Assumed: all servers are up",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(!text.contains('\x1b'));
}
