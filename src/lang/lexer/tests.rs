//! Unless a test says otherwise, the verdict is that of `haproxy -c` 2.6.12, which prints what `.notice` was given.

use super::super::diag::{Diag, Form};
use super::*;
use proptest::prelude::*;

/// What a text was read to: its lines as words, its messages.
struct Read {
    lines: Vec<Line>,
    diags: Vec<Diag>,
    env: Env,
}

impl Read {
    fn words(&self) -> Vec<Vec<String>> {
        self.lines
            .iter()
            .map(|l| l.words.iter().map(|w| w.text().into_owned()).collect())
            .collect()
    }

    /// `line:column text` of each message, the column from 1 as in haproxy's texts.
    fn said(&self) -> Vec<String> {
        let place = |s: Span| format!("{}:{}", s.line, s.col + 1);
        self.diags
            .iter()
            .map(|d| format!("{} {}", d.span.map_or_else(String::new, place), d.text))
            .collect()
    }
}

fn read_bytes(text: &[u8]) -> Read {
    let mut sources = Sources::default();
    let file = sources.add("lb.cfg", text);
    let mut env = Env::from_pairs([
        ("A", "va"),
        ("E", ""),
        ("L", "x y  z"),
        ("B", " lead trail "),
    ]);
    let predicates = Predicates {
        version: "3.4.0".into(),
        features: vec!["THREAD"],
        enabled: vec![],
    };
    let mut diags = Diags::default();
    let lines = read_lines(&sources, file, &mut env, &predicates, &mut diags);
    Read {
        lines,
        diags: diags.list,
        env,
    }
}

fn read(text: &str) -> Read {
    read_bytes(text.as_bytes())
}

/// The words of one line after its first, which is there so that a leading dot or quote is no matter.
fn words(rest: &str) -> Vec<String> {
    let read = read(&format!("k {rest}\n"));
    assert!(read.diags.is_empty(), "{rest}: {:?}", read.said());
    read.words().remove(0).split_off(1)
}

/// The one message about `text`.
fn mistake(text: &str) -> String {
    let mut said = read(text).said();
    assert_eq!(said.len(), 1, "{said:?}");
    said.remove(0)
}

/// What a `.notice` in `text` printed.
fn notices(text: &str) -> Vec<String> {
    let read = read(text);
    read.diags
        .iter()
        .map(|d| d.text.trim_end_matches('.').trim_matches('\'').to_owned())
        .collect()
}

#[test]
fn blanks_separate_words_and_a_hash_begins_a_comment() {
    assert_eq!(words("a  b\tc\u{b}d\u{c}e # f"), ["a", "b", "c", "d", "e"]);
    assert_eq!(words("a#b c"), ["a"]);
    assert_eq!(words(r##""a#b" 'c#d' e\#f"##), ["a#b", "c#d", "e#f"]);
    assert!(read("\n   \n# x\n\t# y\n").lines.is_empty());
}

#[test]
fn a_backslash_escapes_what_needs_it_and_is_itself_before_the_rest() {
    assert_eq!(words(r"a\b\c\d"), [r"a\b\c\d"]);
    assert_eq!(words(r#"a\ b\#c\"d\'e\\f"#), [r#"a b#c"d'e\f"#]);
    assert_eq!(
        words(r"a\"),
        [r"a\"],
        "at the end of the line as well: there is no continuation"
    );
    assert_eq!(words(r"a\x41\x0ab\nc\td\r"), ["aA\nb\nc\td\r"]);
}

#[test]
fn a_backslash_stays_before_a_dollar_outside_quotes_and_before_a_tab_anywhere() {
    // The manual's table says otherwise; found by comparing random lines with 2.6.
    assert_eq!(words(r"\.php\$"), [r"\.php\$"]);
    assert_eq!(words("a\\\tb"), ["a\\", "b"]);
    assert_eq!(words("\"a\\\tb\""), ["a\\\tb"]);
}

#[test]
fn weak_quotes_keep_blanks_and_take_escapes() {
    assert_eq!(
        words(r#""a\b\c'd\'e\"f\\g\ h\#i\$j""#),
        [r#"a\b\c'd'e"f\g h#i$j"#]
    );
    assert_eq!(words("\"a \t b\""), ["a \t b"]);
    assert_eq!(words(r#"a"b"'c'd"#), ["abcd"]);
}

#[test]
fn strong_quotes_take_all_as_it_is() {
    assert_eq!(words(r#"'a\b"c$A\'"#), [r#"a\b"c$A\"#]);
}

#[test]
fn variables_are_seen_in_weak_quotes_only() {
    assert_eq!(words(r#"a$A"$A"'$A'"#), ["a$Ava$A"]);
    assert_eq!(words(r#""$A-b""c${A}d""#), ["va-bcvad"]);
    assert_eq!(words(r#""x$NOPE""#), ["x"]);
}

#[test]
fn a_default_replaces_what_is_unset_not_what_is_empty() {
    assert_eq!(words(r#""${A-d}" "${NO-d}" "x${E-d}""#), ["va", "d", "x"]);
    assert_eq!(
        words(r#""${NO-d'x y}""#),
        ["d'x y"],
        "blanks and quotes of the default are part of it"
    );
    assert_eq!(
        words(r#""${NO-a}b}""#),
        ["ab}"],
        "it ends at the first brace"
    );
    assert_eq!(words(r#""${NO-$A}""#), ["$A"], "and is not expanded again");
    assert_eq!(words(r#""${NO-a\"b}""#), [r#"a\"b"#]);
    assert_eq!(words(r#""x${NO-}""#), ["x"]);
    // 2.6 reads these two rightly on any line but the first longer one, where it trips over itself.
    assert_eq!(words(r#""${NO-[::]}:80""#), ["[::]:80"]);
    assert_eq!(words(r#""${NO-ab[*]}""#), ["ab[*]"]);
}

#[test]
fn a_star_makes_words_of_a_variable() {
    assert_eq!(words(r#""${L}""#), ["x y  z"]);
    assert_eq!(words(r#""${L[*]}""#), ["x", "y", "z"]);
    assert_eq!(words(r#""p${L[*]}s""#), ["px", "y", "zs"]);
    assert_eq!(words(r#""p${A[*]}s""#), ["pvas"]);
    assert_eq!(words(r#""${L[*]} q""#), ["x", "y", "z q"]);
    assert_eq!(words(r#""${NO[*]-a b}""#), ["a", "b"]);
}

#[test]
fn a_star_makes_no_word_of_blanks_or_nothing() {
    // 2.6 makes empty words of these, which end its line.
    assert_eq!(words(r#""${B[*]}""#), ["lead", "trail"]);
    assert_eq!(words(r#"a "${E[*]}" "${NO[*]}" b"#), ["a", "b"]);
    assert_eq!(words(r#""p${B[*]}s""#), ["p", "lead", "trail", "s"]);
}

#[test]
fn pseudo_variables_tell_the_place() {
    let text = ".notice \"$.FILE:${.LINE}:${.SECTION}\"\nglobal\n.notice \"$.SECTION\"\nfrontend foo\n.notice \"${.SECTION}\"\ndefaults\n.notice \"$.SECTION\"\n";
    assert_eq!(notices(text), ["lb.cfg:1:", "global", "foo", "defaults"]);
}

#[test]
fn a_broken_quote_escape_or_variable_is_told_at_its_column() {
    for (line, column, want) in [
        ("  log-tag \"abc", 11, "unmatched quote at position 11:"),
        ("  log-tag 'abc", 11, "unmatched quote at position 11:"),
        (
            "  log-tag abc\\xZZ",
            14,
            "truncated or invalid hexadecimal sequence at position 14:",
        ),
        (
            "  log-tag abc\\x",
            14,
            "truncated or invalid hexadecimal sequence at position 14:",
        ),
        (
            "  log-tag \"abc\\x4\"",
            15,
            "truncated or invalid hexadecimal sequence at position 15:",
        ),
        (
            "  log-tag \"${FOO\"",
            13,
            "unmatched brace in environment variable name at position 13:",
        ),
        (
            "  log-tag \"${FOO-abc\"",
            13,
            "unmatched brace in environment variable name at position 13:",
        ),
        (
            "  log-tag \"${L*}\"",
            13,
            "unmatched brace in environment variable name at position 13:",
        ),
        (
            "  log-tag \"$\"",
            13,
            "forbidden first char in environment variable name at position 13:",
        ),
        (
            "  log-tag \"${}\"",
            14,
            "forbidden first char in environment variable name at position 14:",
        ),
        (
            "  log-tag \"${1A}\"",
            14,
            "forbidden first char in environment variable name at position 14:",
        ),
        (
            "  log-tag \"$1A\"",
            13,
            "forbidden first char in environment variable name at position 13:",
        ),
        (
            ".notice \"${.BAD-x}\"",
            12,
            "forbidden first char in environment variable name at position 12:",
        ),
        (
            ".notice \"${L[]}\"",
            13,
            "truncated or invalid word expansion sequence at position 13:",
        ),
        (
            ".notice \"${L[*}\"",
            13,
            "truncated or invalid word expansion sequence at position 13:",
        ),
        // 2.6 ends the word there.
        (
            "k \"a\\x00b\"",
            5,
            "NUL character not permitted at position 5:",
        ),
    ] {
        let read = read(&format!("\n{line}\nk after\n"));
        assert_eq!(read.said(), [format!("2:{column} {want}")], "{line}");
        assert_eq!(read.words(), [["k", "after"]], "reading goes on: {line}");
        assert_eq!(read.diags[0].form, Form::ParsingTight);
    }
}

#[test]
fn crlf_and_a_missing_last_newline_change_nothing() {
    // 2.6 refuses a missing last newline; one real file in ten lacks it.
    assert_eq!(read("a b\r\n\r\nc d\r\n").words(), [["a", "b"], ["c", "d"]]);
    let last = read("a b\nc d");
    assert_eq!(last.words(), [["a", "b"], ["c", "d"]]);
    assert!(last.diags.is_empty());
}

#[test]
fn text_after_a_carriage_return_is_left_out_with_a_warning() {
    // 2.6 leaves it out in silence.
    let got = read("a b\rc d\ne\n");
    assert_eq!(got.words(), [vec!["a", "b"], vec!["e"]]);
    assert_eq!(got.diags[0].severity, Severity::Warning);
    assert!(read("a \"b\rc\"\n").diags.is_empty());
    assert!(read("a # b\rc\n").diags.is_empty());
    assert_eq!(read("\rglobal\n").diags.len(), 1);
}

#[test]
fn the_first_nul_is_told_and_no_other() {
    let got = read_bytes(b".notice a\0b\nx\0\nk v\n");
    assert_eq!(got.said(), ["1:10 Stray NUL character at position 10."]);
    assert_eq!(got.words(), [["k", "v"]]);
}

#[test]
fn a_byte_order_mark_is_named_and_left_out() {
    // 2.6: "unknown keyword" with the mark before the word.
    let got = read_bytes(b"\xef\xbb\xbfglobal\n");
    assert_eq!(
        got.said(),
        ["1:1 byte order mark at the start of the file."]
    );
    assert_eq!(got.words(), [["global"]]);
    assert_eq!(
        got.lines[0].words[0].span.col, 3,
        "places count from the file's own start"
    );
}

#[test]
fn an_empty_argument_is_an_error_under_its_own_caret() {
    // 3.3 and later; 2.6 ends the line there in silence.
    for line in ["k a \"\" b", "k a \"${E}\" b", "k a '' b", "k a \"$NO\" b"] {
        let got = read(&format!("{line}\nk after\n"));
        assert_eq!(
            got.said(),
            ["1:5 argument number 2 at position 5 is empty and would end the line's arguments:"],
            "{line}"
        );
        assert_eq!(got.words(), [["k", "after"]], "{line}");
    }
    assert_eq!(read("\"\" k a\n").diags.len(), 1);
    assert!(
        words(r#"a""b"#) == ["ab"],
        "nothing beside something is no empty argument"
    );
    assert!(read(".if 0\nk \"\"\n.endif\n").diags.is_empty());
}

#[test]
fn a_section_whose_line_is_wrong_is_still_a_section() {
    let got = read("frontend \"\"\nbind :80\n");
    assert_eq!(got.diags.len(), 1);
    assert_eq!(got.words(), [vec!["frontend"], vec!["bind", ":80"]]);
}

#[test]
fn a_line_has_64_words_at_most() {
    let line = |n: usize| {
        format!(
            "global\n unsetenv {}\n",
            (0..n - 1)
                .map(|i| format!("V{i}"))
                .collect::<Vec<_>>()
                .join(" ")
        )
    };
    assert!(read(&line(64)).diags.is_empty());
    assert_eq!(
        mistake(&line(65)),
        "2:249 too many words, truncating after word 64, position 248: <V62>."
    );
    assert_eq!(
        mistake(&line(100_000)),
        "2:249 too many words, truncating after word 64, position 248: <V62>."
    );
}

#[test]
fn a_line_has_a_bound_before_and_after_expansion() {
    let long = format!("k {}\nk v\n", "a".repeat(LINE_MAX));
    let got = read(&long);
    assert_eq!((got.diags.len(), got.words().len()), (1, 1));
    let fits = format!("k {}\n", "a".repeat(1_000_000));
    assert_eq!(read(&fits).lines.len(), 1);
    let mut text = format!("global\nsetenv V {}\nk \"", "a".repeat(100_000));
    text.push_str(&"$V".repeat(100_000));
    text.push_str("\"\n");
    let got = read(&text);
    assert!(
        got.diags[0]
            .text
            .starts_with("line too long after expansion")
    );
}

#[test]
fn words_know_where_they_are_written() {
    let got = read("  bind \":80\" a\\ b  \n");
    let spans: Vec<(u32, u32)> = got.lines[0]
        .words
        .iter()
        .map(|w| (w.span.col, w.span.len))
        .collect();
    assert_eq!(spans, [(2, 4), (7, 5), (13, 4)]);
    let plain = &got.lines[0].words[0];
    assert_eq!((plain.part(1, 2).col, plain.part(1, 2).len), (3, 2));
    assert_eq!((plain.part(4, 9).col, plain.part(4, 9).len), (6, 0));
    let quoted = &got.lines[0].words[1];
    assert_eq!(
        quoted.part(1, 1),
        quoted.span,
        "quotes hide where a byte is"
    );
}

#[test]
fn words_of_one_variable_share_its_place() {
    let got = read("k a\"${L[*]}\" b\n");
    let words = &got.lines[0].words;
    assert_eq!(got.words(), [["k", "ax", "y", "z", "b"]]);
    assert_eq!((words[1].span.col, words[1].span.len), (2, 9));
    assert_eq!((words[2].span.col, words[2].span.len), (4, 7));
    assert_eq!((words[4].span.col, words[4].span.len), (13, 1));
}

#[test]
fn conditions_choose_the_lines() {
    let text = |c: &str| {
        format!(".if {c}\nk yes\n.elif defined(A)\nk second\n.else\nk no\n.endif\nk end\n")
    };
    for (condition, want) in [
        ("1", "yes"),
        ("0", "second"),
        ("", "second"),
        ("streq(\"$A\",va) # comment", "yes"),
        ("streq(\"a b\",a\\ b)", "yes"),
        ("streq(\"${L}\",\"x y  z\")", "yes"),
        ("streq(\"\",)", "yes"),
        ("\"$E\"", "second"),
        ("feature(THREAD) && version_atleast(3.4)", "yes"),
        ("version_before(3.4)", "second"),
    ] {
        let got = read(&text(condition));
        assert!(got.diags.is_empty(), "{condition}: {:?}", got.said());
        assert_eq!(got.words(), [["k", want], ["k", "end"]], "{condition}");
    }
}

#[test]
fn blocks_nest_and_what_is_left_out_is_not_judged() {
    let text = ".if 0\n.if foo bar\n.elif baz(\n.else\nk a\n.endif\n.notice x\n.unknown\n.else\nk b\n.endif\n";
    let got = read(text);
    assert!(got.diags.is_empty(), "{:?}", got.said());
    assert_eq!(got.words(), [["k", "b"]]);
    assert_eq!(
        read(".if 1\nk a\n.elif foo bar\nk b\n.else\nk c\n.endif\n").words(),
        [["k", "a"]]
    );
}

#[test]
fn quotes_are_checked_even_where_lines_are_left_out() {
    assert_eq!(
        mistake(".if 0\nk \"\n.endif\n"),
        "2:3 unmatched quote at position 3:"
    );
}

#[test]
fn a_mistake_in_a_condition_is_told_in_the_line() {
    assert_eq!(
        mistake(".if true\n.endif\n"),
        "1:5 unparsable conditional expression 'true' in '.if' at position 1:"
    );
    assert_eq!(
        mistake("  .if 1 2\n.endif\n"),
        "1:9 unexpected character '2' at the end of conditional expression '1 2' in '.if' at position 3:"
    );
    assert_eq!(
        mistake(".if 1 && \n.endif\n"),
        "1:7 unparsable conditional expression '&& ' in '.if' at position 3:"
    );
    assert_eq!(
        mistake(".if 0\n.elif foo bar\n.endif\n"),
        "2:7 unparsable conditional expression 'foo bar' in '.elif' at position 1:"
    );
    assert_eq!(
        mistake(".if \"1\" 2\n.endif\n"),
        "1:9 unexpected character '2' at the end of conditional expression '1 2' in '.if' at position 3:"
    );
    assert_eq!(
        mistake(".if \"1\n.endif\n"),
        "1:5 unmatched quote at position 5:"
    );
}

#[test]
fn a_block_whose_condition_is_wrong_is_left_out_whole() {
    let got = read(".if foo\nk a\n.else\nk b\n.endif\nk c\n");
    assert_eq!(
        (got.diags.len(), got.words()),
        (1, vec![vec!["k".to_owned(), "c".to_owned()]])
    );
}

#[test]
fn directives_out_of_place_are_told() {
    for (text, want) in [
        (".endif\n", "1:1 lone '.endif' with no matching '.if'."),
        (".else\n", "1:1 lone '.else' with no matching '.if'."),
        (".elif 1\n", "1:1 lone '.elif' with no matching '.if'."),
        (
            ".if 1\n.else\n.else\n.endif\n",
            "3:1 '.else' after '.else' is not permitted.",
        ),
        (
            ".if 1\n.else\n.elif 1\n.endif\n",
            "3:1 '.elif' after '.else' is not permitted.",
        ),
        (
            ".if 1\n.else foo\n.endif\n",
            "2:7 Unexpected argument 'foo' for '.else'.",
        ),
        (
            ".if 1\n.endif foo\n",
            "2:8 Unexpected argument 'foo' for '.endif'.",
        ),
        (".foo bar\n", "1:1 unknown directive '.foo'."),
        // haproxy names the last line of the file instead.
        ("global\n  .if 1\nk\n", "2:3 non-terminated '.if' block."),
    ] {
        assert_eq!(mistake(text), want, "{text}");
    }
}

#[test]
fn ninety_nine_levels_are_read_and_one_more_is_one_mistake() {
    let text = |n: usize| {
        format!(
            "{}k deep\n{}k end\n",
            ".if 1\n".repeat(n),
            ".endif\n".repeat(n)
        )
    };
    assert_eq!(read(&text(99)).words(), [["k", "deep"], ["k", "end"]]);
    let got = read(&text(100));
    assert_eq!(got.said(), ["100:1 too many nested '.if', max is 100."]);
    assert_eq!(got.words(), [["k", "end"]]);
}

#[test]
fn messages_are_said_at_their_level() {
    let got = read(".diag d\n.notice \"n $A\"\n.warning w\n.alert a\n.notice\n.notice \"\"\n");
    let all: Vec<(Severity, &str)> = got
        .diags
        .iter()
        .map(|d| (d.severity, d.text.as_str()))
        .collect();
    assert_eq!(
        all,
        [
            (Severity::Diag, "'d'."),
            (Severity::Notice, "'n va'."),
            (Severity::Warning, "'w'."),
            (Severity::Alert, "'a'."),
            (Severity::Notice, "''."),
            (Severity::Notice, "''."),
        ]
    );
    assert_eq!(
        mistake(".alert a b c\n"),
        "1:10 Unexpected argument 'b' for '.alert'. Use quotes if the message should contain spaces."
    );
}

#[test]
fn the_environment_changes_for_the_lines_that_follow() {
    let text = "global\n setenv Q 1\n.notice \"$Q\"\n presetenv Q 2\n.notice \"$Q\"\n presetenv R 3\n.notice \"$R\"\n \
                unsetenv Q R\n.notice \"x$Q$R\"\n resetenv A NOPE\n.notice \"$A,$L\"\n resetenv\n.notice \"y$A\"\n";
    let got = read(text);
    let said: Vec<&str> = got.diags.iter().map(|d| d.text.as_str()).collect();
    assert_eq!(said, ["'1'.", "'1'.", "'3'.", "'x'.", "'va,'.", "'y'."]);
    assert!(got.env.vars.is_empty());
    assert_eq!(
        got.words()[1],
        ["setenv", "Q", "1"],
        "the keyword table sees the lines too"
    );
}

#[test]
fn the_environment_changes_in_global_sections_only() {
    let got =
        read("defaults\n setenv A b\nfrontend f\n unsetenv A\n.if 0\nglobal\nunsetenv A\n.endif\n");
    assert_eq!(got.env.value("A"), Some("va"));
    assert!(
        got.diags.is_empty(),
        "that it does not belong there is the keyword table's to say"
    );
}

#[test]
fn wrong_arguments_of_setenv_and_its_kin_are_told() {
    for (line, want) in [
        ("setenv", "2:2 'setenv' expects a name and a value."),
        ("setenv A", "2:2 'setenv' expects a name and a value."),
        ("presetenv A", "2:2 'presetenv' expects a name and a value."),
        (
            "unsetenv",
            "2:2 'unsetenv' expects at least one variable name.",
        ),
        (
            "setenv A=b c",
            "2:2 'setenv' failed on variable 'A=b' : Invalid argument.",
        ),
        (
            "unsetenv A=b",
            "2:2 'unsetenv' failed on variable 'A=b' : Invalid argument.",
        ),
        (
            "setenv F \"${L[*]}\"",
            "2:12 'setenv' cannot handle unexpected argument 'z'.",
        ),
    ] {
        assert_eq!(mistake(&format!("global\n {line}\n")), want, "{line}");
    }
    // 2.6 leaves out one argument too many in silence.
    let extra = read("global\n setenv A b c\n");
    assert_eq!(extra.diags[0].severity, Severity::Warning);
    assert_eq!(extra.env.value("A"), Some("b"));
}

#[test]
fn a_file_that_does_not_exist_has_no_lines() {
    let mut diags = Diags::default();
    let lines = read_lines(
        &Sources::default(),
        FileId(3),
        &mut Env::default(),
        &Predicates::default(),
        &mut diags,
    );
    assert!(lines.is_empty() && diags.list.is_empty());
}

/// Bytes that mean something to the lexer, more often than chance gives them.
fn odd_bytes() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        4 => prop::sample::select(b" \t\n\r\"'\\#${}[]*-.,()!&|x0A_=\x0b\0\xff".to_vec()),
        1 => any::<u8>(),
    ];
    prop::collection::vec(byte, 0..200)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn no_bytes_make_the_lexer_panic(text in odd_bytes()) {
        let got = read_bytes(&text);
        for line in &got.lines {
            prop_assert!(!line.words.is_empty() && line.words.len() <= WORDS_MAX);
            prop_assert!(line.words.iter().all(|w| !w.bytes.is_empty() && !w.bytes.contains(&0)));
        }
    }

    #[test]
    fn every_place_lies_in_its_line(text in odd_bytes()) {
        let mut sources = Sources::default();
        let file = sources.add("f", &text);
        let mut diags = Diags::default();
        let mut env = Env::from_pairs([("A", "a b"), ("x", "")]);
        let lines = read_lines(&sources, file, &mut env, &Predicates::default(), &mut diags);
        let spans = lines.iter().flat_map(|l| l.words.iter().map(|w| w.span).chain([l.span]));
        for span in spans.chain(diags.list.iter().filter_map(|d| d.span)) {
            let length = sources.files[0].lines[span.line as usize - 1].len();
            prop_assert!((span.col + span.len) as usize <= length + 1, "{span:?} of {length}");
        }
        // Whatever was said can be shown.
        let _ = diags.render(&sources, 1, &super::super::diag::RenderOptions::default());
    }

    #[test]
    fn directives_in_any_order_do_not_panic(
        order in prop::collection::vec(0usize..8, 0..60),
    ) {
        let all = [".if 1\n", ".if 0\n", ".elif 1\n", ".else\n", ".endif\n", "k v\n", ".if (\n", "global\nsetenv A b\n"];
        let text: String = order.into_iter().map(|i| all[i]).collect();
        let _ = read(&text);
    }

    #[test]
    fn a_quoted_word_reads_back(word in prop::collection::vec(1u8..=255, 1..40)) {
        let mut line = b"k \"".to_vec();
        for b in &word {
            line.extend(format!("\\x{b:02X}").bytes());
        }
        line.extend(b"\"\n");
        let got = read_bytes(&line);
        prop_assert_eq!(&got.lines[0].words[1].bytes, &word);
    }
}

#[test]
fn reading_takes_time_in_proportion_to_the_text() {
    // Quadratic behaviour would take minutes here; the bound is loose for slow machines.
    let mut text = String::new();
    for i in 0..100_000 {
        text.push_str(&format!(
            "  server s{i} 127.0.0.1:{} check inter 2s weight 10 # {i}\n",
            i % 65_536
        ));
    }
    text.push_str(&format!("k \"{}\"\n", "\\x41".repeat(1_000_000)));
    let started = std::time::Instant::now();
    assert_eq!(read(&text).lines.len(), 100_001);
    assert!(started.elapsed().as_secs() < 20);
}
