use super::super::source::FileId;
use super::*;

fn span(line: u32, col: u32, len: u32) -> Span {
    Span {
        file: FileId(0),
        line,
        col,
        len,
    }
}

fn sources(text: &[u8]) -> Sources {
    let mut sources = Sources::default();
    sources.add("lb.cfg", text);
    sources
}

fn render(text: &[u8], make: impl FnOnce(&mut Diags)) -> String {
    let mut diags = Diags::default();
    make(&mut diags);
    diags.render(&sources(text), 4242, &RenderOptions::default())
}

#[test]
fn a_message_is_haproxys_line_then_the_excerpt_with_its_caret() {
    let got = render(b"backend b\n    blance roundrobin\n", |d| {
        d.alert(
            span(2, 4, 6),
            "unknown keyword 'blance' in 'backend' section; did you mean 'balance' maybe ?",
        );
    });
    assert_eq!(
        got,
        "[ALERT]    (4242) : config : parsing [lb.cfg:2] : unknown keyword 'blance' in 'backend' section; \
         did you mean 'balance' maybe ?\n    2 |     blance roundrobin\n      |     ^^^^^^\n"
    );
}

#[test]
fn labels_are_padded_as_haproxy_pads_them() {
    // All four as 2.6 prints them.
    let options = RenderOptions::default();
    assert_eq!(options.label(Severity::Alert, 7), "[ALERT]    (7) : ");
    assert_eq!(options.label(Severity::Warning, 7), "[WARNING]  (7) : ");
    assert_eq!(options.label(Severity::Notice, 7), "[NOTICE]   (7) : ");
    assert_eq!(options.label(Severity::Diag, 7), "[DIAG]     (7) : ");
}

#[test]
fn the_forms_of_the_first_line_differ_in_their_prefix() {
    let got = render(b"x\n", |d| {
        d.alert(span(9, 0, 1), "a");
        d.alert(span(9, 0, 1), "b").tight();
        d.alert(span(9, 0, 1), "c").form(Form::Config);
        d.alert(span(9, 0, 1), "d").form(Form::Bare);
        d.push(Severity::Alert, None, "e");
    });
    assert_eq!(
        got,
        "[ALERT]    (4242) : config : parsing [lb.cfg:9] : a\n\
         [ALERT]    (4242) : config : parsing [lb.cfg:9]: b\n\
         [ALERT]    (4242) : config : c\n\
         [ALERT]    (4242) : d\n\
         [ALERT]    (4242) : config : e\n",
        "a line that the file does not have gives no excerpt"
    );
}

#[test]
fn help_stands_below_the_excerpt() {
    let got = render(b"bind ::1\n", |d| {
        d.alert(span(1, 5, 3), "m").help("write '[::1]:<port>'");
    });
    assert!(
        got.ends_with("    1 | bind ::1\n      |      ^^^\n      = help: write '[::1]:<port>'\n"),
        "{got}"
    );
}

#[test]
fn carets_stand_under_their_bytes_after_tabs_umlauts_and_broken_bytes() {
    let got = render(b"\tb\xc3\xa4r\xff\t\x01x\n", |d| {
        d.alert(span(1, 8, 1), "m");
    });
    let lines: Vec<&str> = got.lines().skip(1).collect();
    assert_eq!(lines[0], "    1 |         b\u{e4}r\\xff \\x01x");
    assert_eq!(
        lines[1].find('^'),
        lines[0]
            .char_indices()
            .position(|(_, c)| c == 'x')
            .and(Some(lines[1].len() - 1))
    );
    assert_eq!(
        lines[1].len() - 1,
        lines[0].chars().count() - 1,
        "the x is the last column of both"
    );
}

#[test]
fn a_long_line_is_windowed_around_the_span() {
    let mut text = vec![b'a'; 5_000];
    text[4_000] = b'X';
    let got = render(&text, |d| {
        d.alert(span(1, 4_000, 1), "m");
    });
    let lines: Vec<&str> = got.lines().skip(1).collect();
    assert!(lines[0].len() < 140 && lines[0].contains("...") && lines[0].ends_with("..."));
    assert_eq!(lines[0].find('X'), lines[1].find('^'));
}

#[test]
fn a_long_span_is_cut_with_its_line_and_an_empty_one_still_has_a_caret() {
    let text = vec![b'a'; 500];
    let got = render(&text, |d| {
        d.alert(span(1, 0, 500), "m");
        d.alert(span(1, 500, 0), "m");
        d.alert(span(1, 9_999, 9), "m");
    });
    assert!(got.lines().all(|l| l.len() < 140));
    assert_eq!(got.matches('^').count(), WIDTH + 2);
}

#[test]
fn what_is_quiet_is_left_out() {
    let mut diags = Diags::default();
    for severity in [
        Severity::Diag,
        Severity::Notice,
        Severity::Warning,
        Severity::Alert,
    ] {
        diags.push(severity, None, "m");
    }
    let lines = |options: &RenderOptions| {
        diags
            .render(&Sources::default(), 1, options)
            .lines()
            .count()
    };
    assert_eq!(lines(&RenderOptions::default()), 3);
    assert_eq!(
        lines(&RenderOptions {
            diag: true,
            ..Default::default()
        }),
        4
    );
    assert_eq!(
        lines(&RenderOptions {
            quiet_warnings: true,
            ..Default::default()
        }),
        1
    );
}

#[test]
fn the_banner_comes_before_the_first_warning_not_before_notices() {
    // As 2.6 orders `.notice` and `.warning`.
    let mut diags = Diags::default();
    diags.push(Severity::Notice, None, "n");
    diags.push(Severity::Warning, None, "w");
    diags.push(Severity::Alert, None, "a");
    let banner = Banner {
        name: "haproxy".into(),
        version: "3.4.0".into(),
        path: "/usr/sbin/haproxy".into(),
    };
    let got = diags.render(
        &Sources::default(),
        1,
        &RenderOptions {
            banner: Some(banner),
            ..Default::default()
        },
    );
    assert_eq!(
        got,
        "[NOTICE]   (1) : config : n\n\
         [NOTICE]   (1) : haproxy version is 3.4.0\n\
         [NOTICE]   (1) : path to executable is /usr/sbin/haproxy\n\
         [WARNING]  (1) : config : w\n\
         [ALERT]    (1) : config : a\n"
    );
}

#[test]
fn colour_changes_no_text() {
    let mut diags = Diags::default();
    diags.alert(span(1, 0, 1), "m");
    let plain = diags.render(&sources(b"x"), 1, &RenderOptions::default());
    let mut colored = diags.render(
        &sources(b"x"),
        1,
        &RenderOptions {
            color: true,
            ..Default::default()
        },
    );
    assert_ne!(plain, colored);
    for escape in ["\x1b[1;31m", "\x1b[0m"] {
        colored = colored.replace(escape, "");
    }
    assert_eq!(plain, colored);
}

#[test]
fn the_nearest_keywords_are_found() {
    let words = [
        "balance",
        "bind",
        "server",
        "timeout connect",
        "timeout client",
        "timeout server",
        "backlog",
        "log",
    ];
    assert_eq!(nearest("blance", words), ["balance"]);
    assert_eq!(nearest("timeout conect", words)[0], "timeout connect");
    assert_eq!(nearest("bnid", words), ["bind"]);
    assert_eq!(nearest("sevrer", words), ["server"]);
    assert!(nearest("frobnicate", words).is_empty());
    assert!(nearest("", words).is_empty());
    assert!(nearest(&"x".repeat(10_000), words).is_empty());
    assert!(nearest("aa", ["ab", "ac", "ad", "ae"]).len() <= 3);
}

#[test]
fn the_suggestion_is_worded_as_haproxys() {
    assert_eq!(
        did_you_mean(&["log-tag", "log"]),
        "; did you mean 'log-tag' maybe ?"
    );
    assert_eq!(did_you_mean(&[]), "");
}

#[test]
fn what_the_configuration_says_itself_needs_no_excerpt() {
    let got = render(b".notice x\n", |d| {
        d.notice(span(1, 0, 9), "'x'.").form(Form::Said);
    });
    assert_eq!(
        got,
        "[NOTICE]   (4242) : config : parsing [lb.cfg:1]: 'x'.\n"
    );
}

#[test]
fn a_line_of_megabytes_is_shown_without_being_laid_out_whole() {
    let mut text = "\u{e4}".repeat(2_000_000).into_bytes();
    text[2_000_001] = b'X';
    let got = render(&text, |d| {
        d.alert(span(1, 2_000_001, 1), "m");
    });
    let lines: Vec<&str> = got.lines().skip(1).collect();
    assert!(lines[0].contains(" | ...") && lines[0].ends_with("..."));
    let column = |line: &str, c: char| line.chars().position(|x| x == c);
    assert_eq!(column(lines[0], 'X'), column(lines[1], '^'));
}
