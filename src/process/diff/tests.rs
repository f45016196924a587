//! What makes no difference, and each kind of difference by its name.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use super::*;

fn side(text: &str) -> Side {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Relaxed);
    let name = format!("ringway-diff-{}-{number}.cfg", std::process::id());
    let path = std::env::temp_dir().join(name);
    std::fs::write(&path, text).expect("a place for files");
    let side = Side::read(path.clone());
    let _ = std::fs::remove_file(&path);
    side.unwrap_or_else(|| panic!("errors in {text}"))
}

fn between(old: &str, new: &str) -> Vec<Change> {
    compare::all(&side(old), &side(new))
}

const BASE: &str = "global\n maxconn 100\n\
    defaults\n mode http\n timeout connect 1s\n timeout client 5s\n timeout server 5s\n\
    userlist u\n user a insecure-password b\n\
    frontend web\n bind :8080\n bind :8081\n acl old path_beg /a /b\n acl old path_end .php\n\
    \x20http-request set-header X-A \"a b\" if old\n http-request deny if { src 10.0.0.0/8 }\n\
    \x20use_backend k if { path_beg /k }\n default_backend d\n\
    backend d\n cookie SRV insert\n server d1 192.0.2.1:80 cookie one\n server d2 192.0.2.2:80 cookie two\n\
    backend k\n balance uri\n server k1 192.0.2.3:80\n server k2 192.0.2.4:80\n";

#[test]
fn two_binds_of_one_address_are_two() {
    let twice = BASE.replace(
        " bind :8081\n",
        " bind :8081 interface lo\n bind :8081 name two\n",
    );
    assert_eq!(between(&twice, &twice), []);
    let once = BASE.replace(" bind :8081\n", " bind :8081 interface lo\n");
    assert_eq!(between(&twice, &once).len(), 1);
}

#[test]
fn passwords_are_not_shown() {
    let with = |auth: &str| {
        BASE.replace(
            " bind :8080\n",
            &format!(" bind :8080\n stats uri /s\n stats auth {auth}\n"),
        )
    };
    let changes = between(&with("joe:secret1"), &with("joe:secret2"));
    assert_eq!(changes.len(), 1);
    assert!(!format!("{changes:?}").contains("secret"), "{changes:?}");
}

#[test]
fn comments_order_quoting_and_moved_defaults_make_no_difference() {
    assert_eq!(between(BASE, BASE), []);
    let other = "# another look\nglobal\n  maxconn 100   # the same\n\n\
        userlist u\n user a insecure-password b\n\
        defaults\n mode http\n timeout server 5000\n\
        backend k\n timeout connect 1000ms\n balance uri\n server k1 192.0.2.3:80\n server k2 192.0.2.4:80\n\
        backend d\n timeout connect 1s\n cookie SRV insert\n server d2 192.0.2.2:80 cookie two weight 1\n server d1 192.0.2.1:80 cookie one\n\
        frontend web\n timeout client 5s\n bind :8081\n bind :8080\n default_backend d\n\
        \x20acl stale path_end .php\n acl stale path_beg /b /a\n\
        \x20http-request set-header X-A a\\ b if stale\n acl lan src 10.0.0.0/8\n http-request deny if lan\n\
        \x20use_backend k if { path_beg /k }\n";
    assert_eq!(between(BASE, other), []);
}

#[test]
fn each_kind_of_difference_is_named_with_what_it_touches() {
    for (from, to, wanted, effect) in [
        (
            " maxconn 100",
            " maxconn 200",
            "~ global setting maxconn 100 -> 200",
            "new process",
        ),
        (
            " maxconn 100",
            " maxconn 100\n nbthread 2",
            "~ global setting nbthread not set -> 2",
            "shards",
        ),
        (
            " maxconn 100",
            " maxconn 100\n daemon",
            "~ global setting daemon off -> on",
            "needs a restart",
        ),
        (
            " maxconn 100",
            " maxconn 100\n user root",
            "~ global setting uid not set -> 0",
            "privilege",
        ),
        (
            " bind :8081\n",
            "",
            "- frontend web bind 0.0.0.0:8081 ",
            "listener is closed",
        ),
        (
            " bind :8081\n",
            " bind :8081\n bind :8082\n",
            "+ frontend web bind 0.0.0.0:8082 ",
            "opens the listener",
        ),
        (
            " bind :8081\n",
            " bind :8081 maxconn 5\n",
            "~ frontend web bind 0.0.0.0:8081 maxconn 0 -> 5",
            "accepts",
        ),
        (
            "timeout client 5s",
            "timeout client 6s",
            "~ frontend web setting timeout client 5000ms -> 6000ms",
            "new connections",
        ),
        (
            " user a insecure-password b",
            " user a insecure-password c",
            "~ userlist u section  ",
            "passwords",
        ),
        (
            "deny if { src 10.0.0.0/8 }",
            "deny if { src 10.0.0.0/9 }",
            "- frontend web rule http-request deny if { src 10.0.0.0/8 } ",
            "",
        ),
        (
            "path_end .php",
            "path_end .asp",
            "- frontend web rule http-request set-header X-A \"a b\" if old ",
            "",
        ),
        (
            " default_backend d",
            " default_backend k",
            "~ frontend web setting default backend d -> k",
            "new connections",
        ),
        (
            "server d1 192.0.2.1:80 cookie one",
            "server d1 192.0.2.1:80 cookie uno",
            "~ backend d server d1 cookie one -> uno",
            "cookie says 'one'",
        ),
        (
            "server d1 192.0.2.1:80 cookie one",
            "server d1 192.0.2.9:80 cookie one",
            "~ backend d server d1 address ip 192.0.2.1 -> 192.0.2.9",
            "new connections go there",
        ),
        (
            " server d2 192.0.2.2:80 cookie two\n",
            "",
            "- backend d server d2 192.0.2.2:80",
            "cookie says 'two'",
        ),
        (
            "cookie SRV insert",
            "cookie SID insert",
            "~ backend d setting cookie name SRV -> SID",
            "cookie 'SRV'",
        ),
        (
            " server k2 192.0.2.4:80\n",
            " server k2 192.0.2.4:80\n server k3 192.0.2.5:80\n",
            "+ backend k server k3 192.0.2.5:80",
            "most keys",
        ),
        (
            "server k1 192.0.2.3:80\n server k2 192.0.2.4:80",
            "server k2 192.0.2.4:80\n server k1 192.0.2.3:80",
            "~ backend k servers order k1 k2 -> k2 k1",
            "most keys",
        ),
        (
            "balance uri",
            "balance uri\n hash-type consistent",
            "~ backend k setting hash type method MapBased -> Consistent",
            "spread anew",
        ),
        (
            "backend k\n balance uri",
            "backend k\n timeout queue 3s\n balance uri",
            "~ backend k setting timeout queue 1000ms -> 3000ms",
            "new connections",
        ),
        (
            "defaults\n",
            "defaults\n option forwardfor\n",
            "",
            "new connections",
        ),
        (
            "userlist u",
            "backend more\n server s 192.0.2.7:1\nuserlist u",
            "+ backend more section  ",
            "",
        ),
    ] {
        assert!(BASE.contains(from), "{from}");
        let changes = between(BASE, &BASE.replacen(from, to, 1));
        let shown: Vec<String> = changes.iter().map(line).collect();
        let found = changes
            .iter()
            .zip(&shown)
            .find(|(_, text)| text.contains(wanted));
        let (change, _) = found.unwrap_or_else(|| panic!("no '{wanted}' in {shown:#?}"));
        let told = change.effect.as_deref().unwrap_or_default();
        assert!(told.contains(effect), "{wanted}: {told}");
    }
}

fn line(change: &Change) -> String {
    let mark = match change.act {
        Act::Added => '+',
        Act::Removed => '-',
        Act::Changed => '~',
    };
    let values = match (&change.from, &change.to) {
        (Some(from), Some(to)) => format!("{from} -> {to}"),
        (Some(one), None) | (None, Some(one)) => one.clone(),
        (None, None) => String::new(),
    };
    format!(
        "{mark} {} {} {} {values}",
        change.section, change.what, change.name
    )
}

#[test]
fn a_change_of_one_thing_is_one_change() {
    let changes = between(
        BASE,
        &BASE.replacen("d1 192.0.2.1:80", "d1 192.0.2.1:80 weight 7", 1),
    );
    let shown: Vec<String> = changes.iter().map(line).collect();
    assert_eq!(shown, ["~ backend d server d1 weight 1 -> 7"]);
}

#[test]
fn rules_that_change_places_are_said_to_do_so() {
    let old = "frontend f\n mode http\n bind :1\n http-request deny if { path /a }\n http-request deny if { path /b }\n";
    let new = "frontend f\n mode http\n bind :1\n http-request deny if { path /b }\n http-request deny if { path /a }\n";
    let changes = between(old, new);
    assert_eq!(changes.len(), 2, "{changes:#?}");
    assert!(
        changes
            .iter()
            .any(|c| c.effect.as_deref() == Some("the same rule at another place"))
    );
}

#[test]
fn a_section_that_goes_closes_its_listeners() {
    let old = format!("{BASE}listen more\n bind :9000\n server s 192.0.2.7:1\n");
    let changes = between(&old, BASE);
    let shown: Vec<String> = changes.iter().map(line).collect();
    assert_eq!(shown, ["- listen more section  "]);
    let effect = changes[0].effect.as_deref().unwrap_or_default();
    assert!(effect.contains("0.0.0.0:9000"), "{effect}");
}

#[test]
fn both_forms_of_the_report_say_the_same() {
    let changes = between(BASE, &BASE.replacen(" bind :8081\n", "", 1));
    let text = as_text(&changes, false);
    assert!(
        text.contains("frontend web\n  - bind 0.0.0.0:8081\n"),
        "{text}"
    );
    let value = as_json(&changes);
    assert_eq!(
        (&value["equal"], &value["changes"][0]["action"]),
        (&false.into(), &"removed".into())
    );
    assert_eq!(as_json(&[])["equal"], true);
    assert!(as_text(&[], false).contains("No difference"));
}
