//! The page over the world of `show stat`, against what haproxy answers.

use std::sync::atomic::Ordering::Relaxed;

use super::*;
use crate::config::{Config, Mode, ServerId};
use crate::lang::source::{FileId, Span};
use crate::observe::stats::fixture::{self, World};
use crate::shared::Lap;
use crate::shared::server_cell::{LastCheck, OpState};

const NOWHERE: Span = Span {
    file: FileId(0),
    line: 0,
    col: 0,
    len: 0,
};

fn stats(change: impl FnOnce(&mut Stats)) -> Stats {
    let mut stats = Stats {
        uri: (*b"/stats").into(),
        ..Stats::new(NOWHERE)
    };
    change(&mut stats);
    stats
}

fn id(config: &Config, name: &str) -> ProxyId {
    let at = config.proxies.iter().position(|p| p.name == name);
    ProxyId(u32::try_from(at.unwrap()).unwrap())
}

/// The fixture's world; the page belongs to `be`.
fn world(change: impl FnOnce(&mut Stats)) -> World {
    fixture::world_with(fixture::CONFIG, |config| {
        let at = id(config, "be").index();
        config.proxies[at].http.stats = Some(stats(change));
        for name in ["fe", "be"] {
            let at = id(config, name).index();
            config.proxies[at].mode = Mode::Http;
        }
    })
}

fn writer(world: &World, target: &str, admin: bool) -> PageWriter {
    let config = &world.shared.config;
    let owner = id(config, "be");
    let stats = config.proxy(owner).http.stats.as_ref().unwrap();
    let request = stats.matches(target.as_bytes()).unwrap();
    PageWriter::new(stats, owner, &request, admin)
}

fn body_of(world: &World, target: &str, admin: bool) -> String {
    let mut out = Vec::new();
    let mut writer = writer(world, target, admin);
    while !writer.next(&world.view(), &mut out, 16_384) {}
    String::from_utf8(out).unwrap()
}

fn body(world: &World, target: &str) -> String {
    body_of(world, target, false)
}

#[test]
fn options_are_found_wherever_haproxy_finds_them() {
    let page = stats(|_| {});
    for (target, content) in [
        ("/stats", Content::Html),
        ("/statsfoo", Content::Html),
        ("/stats?csv", Content::Html),
        ("/stats;CSV", Content::Html),
        ("/stats;csv", Content::Csv),
        ("/stats;csvx", Content::Csv),
        ("/stats?;csv", Content::Csv),
        ("/stats/foo;csv", Content::Csv),
        ("/stats?scope=be;csv", Content::Csv),
        ("/stats;csv;typed", Content::Typed),
        ("/stats;typed;csv", Content::Typed),
        ("/stats;csv;json", Content::Json),
        ("/stats;typed;json", Content::Json),
        ("/stats;csv;json-schema", Content::Schema),
        ("http://127.0.0.1:28010/stats;csv", Content::Csv),
        ("/stats;live", Content::Live),
        ("/stats;live?scope=be", Content::Live),
        ("/stats;live.js", Content::LiveScript),
        ("/stats;live.css", Content::LiveStyle),
        ("/stats;live-data?scope=be", Content::LiveData),
        ("/stats;live;csv", Content::Csv),
        ("/statslive", Content::Html),
    ] {
        let request = page.matches(target.as_bytes()).expect(target);
        assert_eq!(request.content, content, "{target}");
    }
    for target in [
        "/",
        "/Stats",
        "/%73tats",
        "/stat",
        "http://x",
        "http://x?/stats",
        "*",
    ] {
        assert_eq!(page.matches(target.as_bytes()), None, "{target}");
    }
    let all = page
        .matches(b"/stats;up;norefresh;no-maint;st=PART?scope=be")
        .unwrap();
    assert!(all.up && all.norefresh && all.no_maint);
    assert_eq!((all.outcome, &*all.search), (Some(Outcome::Part), "be"));
}

#[test]
fn a_search_is_a_part_of_a_name_and_nothing_else() {
    let page = stats(|_| {});
    for (target, search) in [
        ("/stats?scope=be", "be"),
        ("/stats;scope=be", "be"),
        ("/stats?xscope=be", "be"),
        ("/stats?x&scope=be", "be"),
        ("/stats?scope=be&scope=fe", "be"),
        ("/stats?scope=b<e", ""),
        ("/stats?scope=b%65", ""),
        ("/stats?scope=b+e", ""),
        ("/stats?scope=be\"x", ""),
        ("/stats?scope=", ""),
        (
            "/stats?scope=abcdefghijklmnopqrstuvwxyz",
            "abcdefghijklmnopqrst",
        ),
    ] {
        assert_eq!(
            page.matches(target.as_bytes()).unwrap().search,
            search,
            "{target}"
        );
    }
}

#[test]
fn an_outcome_is_told_by_four_letters() {
    let page = stats(|_| {});
    let told = |target: &str| page.matches(target.as_bytes()).unwrap().outcome;
    for (target, outcome) in [
        ("/stats;st=DONE", Some(Outcome::Done)),
        ("/stats;st=DONEX", Some(Outcome::Done)),
        ("/stats;st=EXCD;up", Some(Outcome::Excd)),
        ("/stats;st=XXXX", Some(Outcome::Unkn)),
        ("/stats;st=DON;up", Some(Outcome::Unkn)),
        ("/stats;st=", None),
        ("/stats;st=;up", None),
    ] {
        assert_eq!(told(target), outcome, "{target}");
    }
}

fn shown(head: &Head) -> String {
    let fields = head.fields().map(|(name, value)| {
        format!(
            "{}: {}",
            String::from_utf8_lossy(name),
            String::from_utf8_lossy(value)
        )
    });
    format!("{} {}", head.status, fields.collect::<Vec<_>>().join(" | "))
}

#[test]
fn heads_are_those_of_haproxy() {
    let page = stats(|s| s.refresh_s = Some(30));
    let mut head = Head::default();
    let mut of = |target: &str| {
        page.matches(target.as_bytes())
            .unwrap()
            .head(&page, &mut head);
        shown(&head)
    };
    for (target, wanted) in [
        ("/stats", "text/html | refresh: 30"),
        ("/stats;norefresh", "text/html"),
        ("/stats;csv", "text/plain | refresh: 30"),
        ("/stats;typed;norefresh", "text/plain"),
        ("/stats;json;norefresh", "application/json"),
        ("/stats;json-schema;norefresh", "application/json"),
    ] {
        let wanted = format!("200 cache-control: no-cache | content-type: {wanted}");
        assert_eq!(of(target), wanted, "{target}");
    }
}

#[test]
fn a_post_leads_back_to_the_page_as_it_was() {
    let page = stats(|_| {});
    let mut head = Head::default();
    let mut of = |target: &str| {
        let request = page.matches(target.as_bytes()).unwrap();
        request.redirect(&page, Outcome::Done, &mut head);
        shown(&head)
    };
    for (target, location) in [
        ("/stats", "/stats;st=DONE"),
        ("/stats;up;norefresh", "/stats;st=DONE;up;norefresh"),
        ("/stats;csv", "/stats;st=DONE"),
        ("/stats?scope=be;up", "/stats;st=DONE;up?scope=be"),
        ("/stats;up?scope=b%20e", "/stats;st=DONE;up"),
        ("/stats;st=NONE", "/stats;st=DONE"),
        ("/statsxx;norefresh;json", "/stats;st=DONE;norefresh"),
    ] {
        let wanted = format!(
            "303 cache-control: no-cache | content-type: text/plain | content-length: 0 | location: {location}"
        );
        assert_eq!(of(target), wanted, "{target}");
    }
}

#[test]
fn csv_has_haproxys_columns_in_haproxys_order() {
    let world = world(|_| {});
    let csv = body(&world, "/stats;csv");
    let old = include_str!("../header-2.6.txt");
    let (ours, old) = (csv.lines().next().unwrap(), old.trim_end());
    let stable = old.split(",-,").next().unwrap();
    assert!(ours.starts_with(stable), "{ours}");
    let rows: Vec<String> = csv
        .lines()
        .skip(1)
        .map(|l| l.split(',').take(2).collect::<Vec<_>>().join("/"))
        .collect();
    assert_eq!(rows[..3], ["fe/FRONTEND", "fe/b1", "fe/sock-2"]);
    assert_eq!(rows.last().unwrap(), "be/BACKEND");
}

#[test]
fn json_is_a_list_of_lists_of_fields() {
    let world = world(|_| {});
    let rows: serde_json::Value = serde_json::from_str(&body(&world, "/stats;json")).unwrap();
    let first = &rows[0][0];
    assert_eq!(first["objType"], "Frontend");
    assert_eq!(first["field"]["name"], "pxname");
    assert_eq!(first["value"]["value"], "fe");
    serde_json::from_str::<serde_json::Value>(&body(&world, "/stats;json-schema")).unwrap();
}

#[test]
fn without_legends_no_form_tells_addresses_and_algorithms() {
    let (open, closed) = (world(|s| s.show_legends = true), world(|_| {}));
    for target in ["/stats", "/stats;csv", "/stats;json", "/stats;typed"] {
        for secret in ["127.0.0.1:27900", "roundrobin"] {
            assert!(body(&open, target).contains(secret), "{target} {secret}");
            assert!(!body(&closed, target).contains(secret), "{target} {secret}");
        }
    }
}

#[test]
fn scope_lines_and_searches_choose_proxies() {
    let world = world(|s| s.scope = vec!["be".into(), "conn".into(), "nosuch".into()]);
    let shown = |target: &str| {
        let csv = body(&world, target);
        let mut names: Vec<_> = csv
            .lines()
            .skip(1)
            .map(|l| l.split(',').next().unwrap().to_owned())
            .collect();
        names.dedup();
        names.join(" ")
    };
    assert_eq!(shown("/stats;csv"), "conn be");
    assert_eq!(shown("/stats;csv?scope=ON"), "conn");
    assert_eq!(shown("/stats;csv?scope=fe"), "");
    let page = body(&world, "/stats");
    assert!(page.contains("id=\"be\"") && !page.contains("id=\"fe\""));
}

#[test]
fn servers_that_are_down_can_be_hidden() {
    let world = world(|_| {});
    let s3 = server(&world, "s3");
    world.shared.server(s3).set_op(OpState::Stopped);
    let shown =
        |target: &str, name: &str| body(&world, target).contains(&format!("id=\"be/{name}\""));
    for (target, s1, s3, s5) in [
        ("/stats", true, true, true),
        ("/stats;up", true, false, false),
        ("/stats;no-maint", true, true, false),
    ] {
        let found = (
            shown(target, "s1"),
            shown(target, "s3"),
            shown(target, "s5"),
        );
        assert_eq!(found, (s1, s3, s5), "{target}");
    }
    assert!(body(&world, "/stats;up").contains("UP (3/5)"));
}

fn server(world: &World, name: &str) -> ServerId {
    let servers = &world.shared.config.servers;
    let at = servers.iter().position(|s| s.name == name).unwrap();
    ServerId(u32::try_from(at).unwrap())
}

#[test]
fn what_may_hold_anything_is_escaped() {
    const NASTY: &str = "<script>alert(\"1\")&'";
    let world = fixture::world_with(fixture::CONFIG, |config| {
        let at = id(config, "be").index();
        config.proxies[at].description = Some(NASTY.into());
        config.proxies[at].http.stats = Some(stats(|s| {
            s.show_desc = Some(NASTY.into());
            s.show_node = Some(NASTY.into());
            s.show_legends = true;
            s.uri = b"/stats\"><script>".as_slice().into();
        }));
        for server in &mut config.servers {
            server.name += NASTY;
            server.cookie = Some(NASTY.as_bytes().into());
        }
        for bind in &mut config.binds {
            bind.name = Some(NASTY.into());
        }
    });
    let s1 = server(&world, &format!("s1{NASTY}"));
    *world.shared.server(s1).last_check.lock().unwrap() = LastCheck {
        status: "L7STS",
        code: 500,
        duration_ms: 1,
        description: NASTY.into(),
    };
    for admin in [false, true] {
        let page = body_of(&world, "/stats\"><script>;st=DONE", admin);
        assert!(!page.contains("<script"), "{page}");
        assert!(!page.contains("alert(\""));
        assert!(
            page.matches("&lt;script&gt;alert(&quot;1&quot;)&amp;&#39;")
                .count()
                > 20
        );
    }
}

#[test]
fn actions_are_offered_to_administrators_only_and_where_there_are_servers() {
    let world = world(|_| {});
    let (looking, acting) = (body(&world, "/stats"), body_of(&world, "/stats", true));
    assert!(!looking.contains("method=post") && !looking.contains("type=checkbox"));
    let with_servers = ["refused", "q", "be"];
    assert_eq!(acting.matches("method=post").count(), with_servers.len());
    let number = world
        .shared
        .config
        .proxy(id(&world.shared.config, "be"))
        .iid;
    assert!(acting.contains(&format!("name=b value=\"#{number}\"")));
    assert!(acting.contains("name=s value=\"s1\""));
    for word in [
        "ready", "drain", "maint", "dhlth", "ehlth", "hrunn", "hnolb", "hdown", "shutdown",
    ] {
        assert!(
            acting.contains(&format!("<option value=\"{word}\">")),
            "{word}"
        );
    }
}

#[test]
fn every_row_has_all_cells() {
    for (modules, cells) in [(false, 31), (true, 34)] {
        let world = world(|s| s.show_modules = modules);
        let page = body_of(&world, "/stats", true);
        let rows: Vec<&str> = page.split("<tr class=\"").skip(1).collect();
        assert!(rows.len() > 10);
        for row in rows {
            let row = row.split("</tr>").next().unwrap();
            assert_eq!(row.matches("<td").count(), cells, "{row}");
            assert_eq!(row.matches("</td>").count(), cells, "{row}");
            assert_eq!(
                row.matches("<span").count(),
                row.matches("</span>").count(),
                "{row}"
            );
        }
    }
}

#[test]
fn anchors_are_those_of_haproxy() {
    let page = body(&world(|_| {}), "/stats");
    for anchor in [
        "fe",
        "fe/Frontend",
        "fe/+b1",
        "fe/+sock-2",
        "be/s1",
        "be/s4",
        "be/Backend",
    ] {
        assert!(page.contains(&format!("id=\"{anchor}\"")), "{anchor}");
        assert!(page.contains(&format!("href=\"#{anchor}\"")), "{anchor}");
    }
    assert!(page.contains("via be/s1"));
}

#[test]
fn version_node_and_description_are_told_only_if_asked_for() {
    let quiet = body(&world(|_| {}), "/stats");
    assert!(!quiet.contains("ringway-test") && !quiet.contains("lbnode"));
    assert!(quiet.contains("Statistics Report for pid 4242</h2>"));
    let page = world(|s| {
        s.show_version = true;
        s.show_node = Some(String::new());
        s.show_desc = Some("the first".into());
    });
    let loud = body(&page, "/stats");
    assert!(loud.contains("version 3.4.0-ringway-test, released 2026/11/20"));
    assert!(loud.contains("Statistics Report for pid 4242 on lbnode: the first</h2>"));
    let named = body(&world(|s| s.show_node = Some("other".into())), "/stats");
    assert!(named.contains("pid 4242 on other</h2>"));
}

#[test]
fn the_head_tells_of_the_process_what_haproxys_tells() {
    let world = world(|_| {});
    world.shared.process.bytes_out_rate.store(2_073, Relaxed);
    let page = body(&world, "/stats");
    for part in [
        "<b>pid = </b> 4242 (process #1, nbproc = 1, nbthread = 2)",
        "<b>uptime = </b> 1d 2h03m04s",
        "<b>system limits:</b> memmax = unlimited; ulimit-n = 0",
        "<b>maxconn = </b> 9981;",
        "conn rate = 0/sec; bit rate = 16.584 kbps",
        "idle = 100 %",
    ] {
        assert!(page.contains(part), "{part}");
    }
}

#[test]
fn links_keep_the_other_options() {
    let world = world(|s| s.refresh_s = Some(5));
    let page = body(&world, "/stats;up;norefresh?scope=be");
    for (link, text) in [
        ("/stats;norefresh?scope=be", "Show all servers"),
        ("/stats;up?scope=be", "Enable refresh"),
        ("/stats;up;norefresh?scope=be", "Refresh now"),
        ("/stats;csv;norefresh?scope=be", "CSV export"),
        ("/stats;json;norefresh?scope=be", "JSON export"),
        ("/stats;json-schema", "schema"),
    ] {
        assert!(
            page.contains(&format!("<a href=\"{link}\">{text}</a>")),
            "{text}"
        );
    }
}

#[test]
fn a_search_form_keeps_the_query_of_the_prefix() {
    let world = world(|s| s.uri = (*b"/haproxy?stats").into());
    let page = body(&world, "/haproxy?stats");
    assert!(page.contains(
        "<form method=get action=\"/haproxy\"><input type=hidden name=\"stats\" value=\"\">"
    ));
    let config = &world.shared.config;
    let page = config.proxy(id(config, "be")).http.stats.as_ref().unwrap();
    assert_eq!(
        page.matches(b"/haproxy?stats=&scope=be").unwrap().search,
        "be"
    );
}

#[test]
fn a_page_in_pieces_of_any_size_is_the_same_page() {
    let world = world(|s| s.show_modules = true);
    for target in [
        "/stats",
        "/stats;csv",
        "/stats;json",
        "/stats;typed",
        "/stats;json-schema",
    ] {
        let whole = body(&world, target);
        for max in [1, 7, 1000, 4096, 1 << 20] {
            let mut writer = writer(&world, target, false);
            let mut all = Vec::new();
            loop {
                let mut piece = b"kept".to_vec();
                let done = writer.next(&world.view(), &mut piece, max);
                assert!(piece.len() <= max + 4 && piece.starts_with(b"kept"));
                assert!(
                    done || piece.len() == max + 4,
                    "{target}: a piece is full or the last"
                );
                all.extend_from_slice(&piece[4..]);
                if done {
                    break;
                }
            }
            assert!(all == whole.as_bytes(), "{target} by {max}");
        }
    }
}

#[test]
fn states_have_their_colours_and_words() {
    let world = world(|_| {});
    let cell = |name: &str| world.shared.server(server(&world, name));
    cell("s1").health.store(2, Relaxed);
    cell("s3").set_op(OpState::Stopped);
    cell("s3").health.store(1, Relaxed);
    let page = body(&world, "/stats");
    let row = |name: &str| {
        let anchor = format!("\" id=\"be/{name}\"");
        let at = page.find(&anchor).unwrap();
        let class = page[..at].rsplit('"').next().unwrap();
        let row = page[at..].split("</tr>").next().unwrap();
        let status = row.split("class=\"g s\">").nth(1).unwrap();
        let status = status
            .split("</td>")
            .next()
            .unwrap()
            .replace("<small>1d2h</small> ", "");
        format!("{class}: {status}")
    };
    assert_eq!(row("s1"), "active_going_down: UP 1/3 &darr;");
    assert_eq!(row("s2"), "backup_no_check: no check");
    assert_eq!(row("s3"), "active_going_up: DOWN 1/2 &uarr;");
    assert_eq!(row("s5"), "maintain: MAINT");
}

/// Writes the page of a busy world to the file that `RINGWAY_STATS_PAGE` names, to be looked at.
#[test]
fn a_busy_page_can_be_looked_at() {
    let Ok(path) = std::env::var("RINGWAY_STATS_PAGE") else {
        return;
    };
    let world = world(|s| {
        s.show_node = Some(String::new());
        s.show_desc = Some("north hall".into());
        s.show_legends = true;
        s.refresh_s = Some(5);
    });
    let shared = &world.shared;
    shared.process.maxconn.store(20_000, Relaxed);
    shared.process.connections.store(1_284, Relaxed);
    shared.process.ulimit_n.store(40_033, Relaxed);
    shared.process.bytes_out_rate.store(73_912_345, Relaxed);
    shared.process.maxsock.store(40_033, Relaxed);
    let cells = &shared.shards[0];
    for front in &cells.frontends {
        front.connections.add(8_123_412);
        front.sessions.add(8_123_400);
        front.bytes_in.add(712_345_678_901);
        front.bytes_out.add(9_812_345_678_901);
        front.request_errors.add(12);
        for _ in 0..421 {
            front.connection_rate.hit(world.now);
            front.session_rate.hit(world.now);
        }
    }
    for back in &cells.backends {
        back.sessions.add(4_123_400);
        back.chosen.add(4_123_402);
        back.bytes_in.add(12_345_678_901);
        back.bytes_out.add(812_345_678_901);
        back.current.add(412);
        back.last_session_s.set(world.now.0 / 1000);
    }
    for (at, server) in cells.servers.iter().enumerate() {
        server.sessions.add(1_123_400 * (at as u64 + 1));
        server.chosen.add(1_123_400 * (at as u64 + 1));
        server.bytes_in.add(2_345_678_901);
        server.bytes_out.add(112_345_678_901);
        server.connect_errors.add(at as u64);
        server.last_session_s.set(world.now.0 / 1000 - 1);
        server.total_time.add(40 * 1024);
        server.total_time_max.set(312);
        for _ in 0..97 {
            server.session_rate.hit(world.now);
        }
        cells.server_row[at].store(97, Relaxed);
        shared.servers[at].current_max.store(212, Relaxed);
    }
    let checked = |name: &str, status, description: &str| {
        let cell = shared.server(server(&world, name));
        *cell.last_check.lock().unwrap() = LastCheck {
            status,
            code: if status == "L7OK" { 200 } else { 0 },
            duration_ms: 3,
            description: description.into(),
        };
        cell
    };
    checked("s1", "L7OK", "").health.store(4, Relaxed);
    let s3 = checked("s3", "L4CON", "Connection refused");
    s3.set_op(OpState::Stopped);
    s3.health.store(0, Relaxed);
    shared.server(server(&world, "r2")).set_op(OpState::Stopped);
    shared
        .server(server(&world, "q1"))
        .set_admin(crate::shared::server_cell::admin::FDRAIN);
    std::fs::write(path, body_of(&world, "/stats;st=PART", true)).unwrap();
}

/// Columns of the core that haproxy 2.6.12 filled in rows of HTTP proxies with legends.
#[test]
fn rows_of_http_proxies_fill_the_columns_that_haproxy_fills() {
    const COMMON: &str =
        "pxname svname scur smax stot bin bout status pid iid sid type mode eint wrew";
    const RESPONSES: &str = "hrsp_1xx hrsp_2xx hrsp_3xx hrsp_4xx hrsp_5xx hrsp_other req_tot";
    const BACK: &str = "qcur qmax dresp econ eresp wretr wredis weight act bck lastchg lbtot rate rate_max cli_abrt \
        srv_abrt lastsess qtime ctime rtime ttime connect reuse qtime_max ctime_max rtime_max ttime_max uweight";
    const FRONT: &str = "slim dreq dresp ereq rate rate_lim rate_max req_rate req_rate_max comp_in comp_out comp_byp \
        comp_rsp conn_rate conn_rate_max conn_tot intercepted dcon dses cache_lookups cache_hits";
    const SERVER: &str =
        "srv_icur idle_conn_cur safe_conn_cur used_conn_cur need_conn_est addr cookie";
    const BACKEND: &str = "slim dreq chkdown downtime comp_in comp_out comp_byp comp_rsp algo cache_lookups \
        cache_hits agg_server_status agg_server_check_status agg_check_status";
    let world = fixture::world_with(fixture::CONFIG, |config| {
        let (fe, be) = (id(config, "fe").index(), id(config, "be").index());
        config.proxies[be].http.stats = Some(stats(|s| s.show_legends = true));
        for at in [fe, be] {
            config.proxies[at].mode = Mode::Http;
        }
        config.frontends[0].mode = Mode::Http;
        config.backends.last_mut().unwrap().mode = Mode::Http;
        for server in &mut config.servers {
            server.cookie = Some((*b"x").into());
        }
    });
    let csv = body(&world, "/stats;csv");
    let mut lines = csv.lines();
    let names: Vec<&str> = lines.next().unwrap()[2..].split(',').collect();
    // Those that 2.6 does not have are not looked at.
    let core = names.iter().position(|n| *n == "agg_check_status").unwrap();
    for (row, parts) in [
        ("fe,FRONTEND,", [COMMON, RESPONSES, FRONT]),
        ("be,s2,", [COMMON, RESPONSES, SERVER]),
        ("be,BACKEND,", [COMMON, RESPONSES, BACKEND]),
    ] {
        let line = csv.lines().find(|l| l.starts_with(row)).unwrap();
        let filled = names.iter().zip(line.split(',')).take(core + 1);
        let mut filled: Vec<&str> = filled
            .filter(|(_, v)| !v.is_empty())
            .map(|(n, _)| *n)
            .collect();
        let back = if row.starts_with("be") { BACK } else { "" };
        let mut wanted: Vec<&str> = parts
            .iter()
            .chain([&back])
            .flat_map(|p| p.split_whitespace())
            .collect();
        filled.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(filled, wanted, "{row}");
    }
}

#[test]
fn requests_answers_and_reuse_are_counted_in_http() {
    let world = fixture::world_with(fixture::CONFIG, |config| {
        let at = id(config, "be").index();
        config.proxies[at].http.stats = Some(stats(|_| {}));
        config.frontends[0].mode = Mode::Http;
        config.backends.last_mut().unwrap().mode = Mode::Http;
    });
    let s1 = server(&world, "s1").index();
    for shard in &world.shared.shards {
        shard.frontends[0].requests.add(10);
        shard.frontends[0].responses[2].add(7);
        shard.frontends[0].responses[0].add(3);
        shard.servers[s1].responses[5].add(2);
        shard.servers[s1].reuses.add(4);
        shard.servers[s1].idle.add(1);
        shard.servers[s1].sessions.add(1);
        shard.servers[s1].response_time.add(30);
        shard.servers[s1].response_time_max.raise(40);
    }
    let csv = body(&world, "/stats;csv");
    let names: Vec<&str> = csv.lines().next().unwrap()[2..].split(',').collect();
    let value = |row: &str, name: &str| {
        let at = names.iter().position(|n| *n == name).unwrap();
        let line = csv.lines().find(|l| l.starts_with(row)).unwrap();
        line.split(',').nth(at).unwrap().to_owned()
    };
    for (row, name, wanted) in [
        ("fe,FRONTEND,", "req_tot", "20"),
        ("fe,FRONTEND,", "hrsp_2xx", "14"),
        ("fe,FRONTEND,", "hrsp_other", "6"),
        ("fe,FRONTEND,", "h1req", "20"),
        ("be,s1,", "hrsp_5xx", "4"),
        ("be,s1,", "req_tot", "4"),
        ("be,s1,", "reuse", "8"),
        ("be,s1,", "srv_icur", "2"),
        ("be,s1,", "rtime", "30"),
        ("be,s1,", "rtime_max", "40"),
    ] {
        assert_eq!(value(row, name), wanted, "{row} {name}");
    }
}

// ---------------------------------------------------------------- live view

const LIVE: [&str; 4] = [";live", ";live.js", ";live.css", ";live-data"];

#[test]
fn the_live_view_may_load_nothing_but_itself() {
    let page = stats(|s| s.refresh_s = Some(30));
    let mut head = Head::default();
    for (part, kind) in LIVE
        .iter()
        .zip(["text/html", "text/javascript", "text/css", "text/plain"])
    {
        let target = format!("/stats{part}");
        let request = page.matches(target.as_bytes()).unwrap();
        request.head(&page, &mut head);
        assert_eq!(head.first(b"content-type"), Some(kind.as_bytes()), "{part}");
        assert_eq!(head.first(b"refresh"), None, "{part}");
        let policy = head.first(b"content-security-policy").unwrap();
        let policy = String::from_utf8_lossy(policy);
        assert!(policy.starts_with("default-src 'none'; script-src 'self';"));
        assert!(!policy.contains("unsafe") && !policy.contains("http"));
    }
    page.matches(b"/stats;norefresh")
        .unwrap()
        .head(&page, &mut head);
    assert_eq!(head.first(b"content-security-policy"), None);
}

#[test]
fn the_live_view_is_small_and_names_no_other_site() {
    let world = world(|_| {});
    let parts = LIVE[..3]
        .iter()
        .map(|p| body(&world, &format!("/stats{p}")));
    let all: String = parts.collect();
    assert!(all.len() < 36_000, "{} bytes", all.len());
    assert!(!all.contains("://") && !all.contains("innerHTML") && !all.contains("eval("));
    // The policy forbids what stands in the markup itself.
    let frame = body(&world, "/stats;live");
    assert!(!frame.contains("<style") && !frame.contains(" on") && !frame.contains("style="));
    assert_eq!(frame.matches("<script").count(), 1);
}

#[test]
fn the_frame_of_the_live_view_escapes_what_others_wrote() {
    let evil = "\"><script>alert('x')</script>&";
    let world = world(|s| {
        s.uri = format!("/stats{evil}").into_bytes().into();
        s.show_node = Some(evil.to_owned());
    });
    let frame = body(&world, &format!("/stats{evil};live?scope=b-e"));
    assert!(!frame.contains("<script>"), "{frame}");
    assert!(frame.contains("data-scope=\"b-e\""), "{frame}");
    assert!(
        frame.contains("&lt;script&gt;alert(&#39;x&#39;)"),
        "{frame}"
    );
}

#[test]
fn what_the_live_view_reads_is_a_line_of_json_and_the_csv() {
    let world = world(|s| s.scope = vec!["be".into()]);
    let data = body(&world, "/stats;live-data");
    let (process, rows) = data.split_once('\n').unwrap();
    let process: serde_json::Value = serde_json::from_str(process).unwrap();
    assert_eq!(
        (&process["pid"], &process["up"]),
        (&4242.into(), &93_784.into())
    );
    assert_eq!(process["shards"].as_array().unwrap().len(), 2);
    assert_eq!(process["stopping"], false);
    assert_eq!(rows, body(&world, "/stats;csv"));
    assert!(rows.contains("\nbe,BACKEND,") && !rows.contains("\nfe,"));
}

#[test]
fn the_page_and_its_live_view_lead_to_each_other() {
    let world = world(|_| {});
    let page = body(&world, "/stats?scope=be");
    assert!(
        page.contains("<a href=\"/stats;live?scope=be\">Live</a>"),
        "{page}"
    );
    let frame = body(&world, "/stats;live?scope=be");
    assert!(frame.contains("<a href=\"/stats?scope=be\">"), "{frame}");
}

#[test]
fn percentiles_of_recent_times_stand_behind_the_totals() {
    let world = world(|_| {});
    let at = id(&world.shared.config, "be");
    let at = world.shared.config.proxy(at).backend.unwrap().index();
    for shard in &world.shared.shards {
        let backend = &shard.backends[at];
        (0..50).for_each(|_| backend.latency.record(Lap::Response, 20_000));
    }
    let page = body(&world, "/stats");
    let told = "<span>- Responses time:</span><b>20.0 / 20.0 / 20.0 / 20.0 ms</b>";
    assert_eq!(page.matches("p50 / p90 / p99 / p99.9 of late").count(), 1);
    assert_eq!(page.matches(told).count(), 1, "{page}");
}

#[test]
fn the_head_tells_the_load_of_each_thread_and_how_bytes_went() {
    let world = world(|_| {});
    world.shared.shards[0].load_permille.store(123, Relaxed);
    world.shared.shards[0].activity.bytes_copied.set(7);
    world.shared.shards[1].activity.bytes_spliced.set(1_234);
    let page = body_of(&world, "/stats", true);
    assert!(page.contains(
        "<p><b>load of threads:</b> 13% 0%; <b>copied = </b> 7 B; <b>spliced = </b> 1234 B</p>"
    ));
}
