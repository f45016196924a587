//! Lines into words, with haproxy's quoting, escapes, comments and environment (configuration.txt 2.2, 2.3), and the
//! directives that act on lines: conditional blocks and messages (2.4).
//!
//! `setenv`, `presetenv`, `unsetenv` and `resetenv` of a `global` section act here as well, since the lines after them
//! see what they changed. They are checked here too; their lines are still given out, for the keyword table to know.
//!
//! Beyond haproxy: reading goes on after a mistake, so that one run shows all.

use super::cond::{self, Predicates};
use super::diag::{Diags, Form, Severity};
use super::env::{BadName, Env};
use super::source::{FileId, Sources, Span};

/// One argument of a line after quoting, escapes and environment. Bytes, since `\xHH` may give any but NUL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    pub bytes: Vec<u8>,
    /// Where it is written, quotes included. Words that one variable expanded to share theirs.
    pub span: Span,
}

impl Word {
    /// The word as text; what is not UTF-8 is replaced, for comparing with keywords and for messages.
    pub fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.bytes)
    }

    /// Where `len` bytes from offset `at` of the word are written: exact for a word without quotes and escapes, else
    /// the whole word.
    pub fn part(&self, at: usize, len: usize) -> Span {
        let plain = self.bytes.len() == self.span.len as usize;
        match (u32::try_from(at), u32::try_from(len)) {
            (Ok(at), Ok(len)) if plain && at <= self.span.len => Span {
                col: self.span.col + at,
                len: len.min(self.span.len - at),
                ..self.span
            },
            _ => self.span,
        }
    }
}

/// A line with at least one word; lines under a false `.if` are left out.
#[derive(Clone, Debug)]
pub struct Line {
    pub span: Span,
    pub words: Vec<Word>,
}

/// Words a line may have, as haproxy's.
pub const WORDS_MAX: usize = 64;
/// Bytes of a line, as written and again once expanded. haproxy has no such bound; it keeps a mistake from taking all memory.
pub const LINE_MAX: usize = 4 << 20;
/// Levels of `.if`, one less than the number in haproxy's message.
pub const NESTING_MAX: usize = 99;

/// First words that open a section in haproxy 3.4, ours or not.
pub const SECTIONS: &[&str] = &[
    "global",
    "defaults",
    "frontend",
    "backend",
    "listen",
    "userlist",
    "peers",
    "mailers",
    "resolvers",
    "cache",
    "program",
    "http-errors",
    "ring",
    "log-forward",
    "log-profile",
    "fcgi-app",
    "crt-store",
    "traces",
    "acme",
];

/// Reads one file into lines. `.if` and its kin are obeyed here, mistakes go to `diags`.
pub fn read_lines(
    sources: &Sources,
    file: FileId,
    env: &mut Env,
    predicates: &Predicates,
    diags: &mut Diags,
) -> Vec<Line> {
    let Some(source) = sources.get(file) else {
        return Vec::new();
    };
    let mut reader = Reader {
        file,
        name: &source.name,
        env,
        predicates,
        diags,
        section: Section::default(),
        blocks: Vec::new(),
        blocks_refused: 0,
        nul_seen: false,
        lines: Vec::new(),
    };
    for (raw, number) in source.lines.iter().zip(1u32..) {
        reader.line(raw, number);
    }
    reader.finish()
}

/// The argument of `-cc` after quotes, escapes and environment, and where each byte of it was written.
pub(super) fn condition_text(
    raw: &[u8],
    env: &Env,
) -> Result<(Vec<u8>, Vec<u32>), (String, usize)> {
    let vars = Vars {
        env,
        file: "",
        line: 0,
        section: "",
    };
    let token = condition_token(raw, 0, &vars).map_err(|e| (e.message(), e.at))?;
    Ok((token.bytes, token.columns))
}

/// One level of `.if`.
struct Block {
    opened: Span,
    state: BlockState,
    else_seen: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum BlockState {
    /// This branch is read.
    Taken,
    /// No branch so far was; the next `.elif` or `.else` may be.
    Seeking,
    /// A branch was read, or the whole stands in a part that is not: the rest is left out.
    Done,
}

#[derive(Default)]
struct Section {
    is_global: bool,
    /// What `.SECTION` gives: the section's name, else its type.
    name: String,
}

struct Reader<'a> {
    file: FileId,
    name: &'a str,
    env: &'a mut Env,
    predicates: &'a Predicates,
    diags: &'a mut Diags,
    section: Section,
    blocks: Vec<Block>,
    /// `.if`s refused for their depth, whose `.endif`s are still to come.
    blocks_refused: usize,
    nul_seen: bool,
    lines: Vec<Line>,
}

impl Reader<'_> {
    fn finish(self) -> Vec<Line> {
        for block in &self.blocks {
            self.diags
                .alert(block.opened, "non-terminated '.if' block.")
                .tight();
        }
        self.lines
    }

    fn line(&mut self, raw: &[u8], number: u32) {
        if raw.len() > LINE_MAX {
            let text = format!("line too long ({} bytes, at most {LINE_MAX}).", raw.len());
            self.alert(number, 0, 0, text);
            return;
        }
        if let Some(at) = memchr::memchr(0, raw) {
            // A file that is no text has many; one message says it.
            if !std::mem::replace(&mut self.nul_seen, true) {
                self.alert(
                    number,
                    at,
                    1,
                    format!("Stray NUL character at position {}.", at + 1),
                );
            }
            return;
        }
        let from = if number == 1 { self.after_mark(raw) } else { 0 };
        let start = from + raw[from..].iter().take_while(|b| is_blank(**b)).count();
        match raw.get(start) {
            None | Some(b'#' | b'\r') => self.warn_of_cut(raw, start, number),
            Some(b'.') => self.directive(raw, start, number),
            Some(_) => self.words(raw, start, number),
        }
    }

    /// A byte order mark is what some editors begin a file with; haproxy takes it for a part of the first keyword.
    fn after_mark(&mut self, raw: &[u8]) -> usize {
        const MARK: &[u8] = b"\xef\xbb\xbf";
        if !raw.starts_with(MARK) {
            return 0;
        }
        let at = self.span(1, 0, MARK.len());
        self.diags
            .alert(at, "byte order mark at the start of the file.")
            .tight()
            .help("save the file as UTF-8 without a byte order mark");
        MARK.len()
    }

    fn words(&mut self, raw: &[u8], start: usize, number: u32) {
        let tokens = match self.tokenize(raw, start, number) {
            Ok(tokens) => tokens,
            Err(e) => return self.lex_error(&e, number),
        };
        if self.is_skipping() {
            return;
        }
        self.warn_of_cut(raw, tokens.end, number);
        let mut words = self.placed(tokens.words, number);
        if words.len() > WORDS_MAX {
            let last = &words[WORDS_MAX - 1];
            let text = format!(
                "too many words, truncating after word {WORDS_MAX}, position {}: <{}>.",
                // haproxy counts this one position from 0.
                last.span.col,
                last.text()
            );
            self.diags.alert(last.span, text).tight();
            return;
        }
        let Some(first) = words.first() else {
            return;
        };
        let is_section = SECTIONS.contains(&&*first.text());
        if let Some(empty) = words.iter().position(|w| w.bytes.is_empty()) {
            self.empty_argument(&words[empty], empty);
            // A section whose line is wrong is still a section: its lines belong to it.
            if !is_section || empty == 0 {
                return;
            }
            words.truncate(empty);
        }
        if is_section {
            self.section = Section {
                is_global: words[0].bytes == b"global",
                name: words.get(1).unwrap_or(&words[0]).text().into_owned(),
            };
        } else if self.section.is_global {
            self.environment(&words);
        }
        let span = self.span(number, 0, raw.len());
        self.lines.push(Line { span, words });
    }

    /// 3.3 made this an error; before, the rest of the line was left out in silence.
    fn empty_argument(&mut self, word: &Word, index: usize) {
        let text = format!(
            "argument number {index} at position {} is empty and would end the line's arguments:",
            word.span.col + 1
        );
        self.diags
            .alert(word.span, text)
            .tight()
            .help("remove it, or give the environment variable it comes from a value or a default: \"${NAME-default}\"");
    }

    /// `setenv` and its kin, each as soon as it is read.
    fn environment(&mut self, words: &[Word]) {
        let keyword = words[0].text();
        let texts: Vec<_> = words[1..].iter().map(Word::text).collect();
        let names: Vec<&str> = texts.iter().map(AsRef::as_ref).collect();
        let mistake = match (&*keyword, names.as_slice()) {
            ("setenv" | "presetenv", [] | [_]) => {
                Some(format!("'{keyword}' expects a name and a value."))
            }
            ("setenv", [name, value, ..]) => failed(&keyword, name, self.env.set(name, value)),
            ("presetenv", [name, value, ..]) => {
                failed(&keyword, name, self.env.preset(name, value))
            }
            ("unsetenv", []) => Some(format!("'{keyword}' expects at least one variable name.")),
            ("unsetenv", names) => names
                .iter()
                .find_map(|name| failed(&keyword, name, self.env.unset(name))),
            ("resetenv", names) => {
                self.env.reset(names);
                None
            }
            _ => return,
        };
        let span = across(words);
        match (mistake, &*keyword, words.get(3)) {
            (Some(text), ..) => {
                self.diags.alert(span, text).tight();
            }
            (None, "setenv" | "presetenv", Some(extra)) if words.len() > 4 => {
                let text = format!(
                    "'{keyword}' cannot handle unexpected argument '{}'.",
                    words[4].text()
                );
                self.diags
                    .alert(extra.span, text)
                    .help("a value with spaces needs quotes");
            }
            (None, "setenv" | "presetenv", Some(extra)) => {
                // haproxy allows one argument too many and leaves it out in silence.
                let text = format!("'{keyword}' ignores the extra argument '{}'.", extra.text());
                self.diags
                    .warning(extra.span, text)
                    .help("a value with spaces needs quotes");
            }
            _ => {}
        }
    }

    fn directive(&mut self, raw: &[u8], start: usize, number: u32) {
        let len = raw[start..]
            .iter()
            .take_while(|b| !is_blank(**b) && !matches!(b, b'#' | b'\r'))
            .count();
        let name = String::from_utf8_lossy(&raw[start..start + len]).into_owned();
        let at = self.span(number, start, len);
        match &*name {
            ".if" => self.open(raw, start + len, at),
            ".elif" => self.elif(raw, start + len, at),
            ".else" => {
                self.no_argument(raw, start, number, &name);
                self.otherwise(at);
            }
            ".endif" => {
                self.no_argument(raw, start, number, &name);
                self.close(at);
            }
            ".diag" | ".notice" | ".warning" | ".alert" => self.message(raw, start, number, &name),
            _ if self.is_skipping() => {}
            _ => {
                self.diags
                    .alert(at, format!("unknown directive '{name}'."))
                    .tight();
            }
        }
    }

    fn open(&mut self, raw: &[u8], from: usize, at: Span) {
        if self.blocks.len() >= NESTING_MAX {
            self.blocks_refused += 1;
            let text = format!("too many nested '.if', max is {}.", NESTING_MAX + 1);
            self.diags.alert(at, text).tight();
            return;
        }
        let state = if self.is_skipping() {
            BlockState::Done
        } else {
            self.judged(raw, from, ".if", at.line)
        };
        self.blocks.push(Block {
            opened: at,
            state,
            else_seen: false,
        });
    }

    fn elif(&mut self, raw: &[u8], from: usize, at: Span) {
        if self.blocks_refused > 0 {
            return;
        }
        let Some(block) = self.branch(".elif", at) else {
            return;
        };
        match block.state {
            BlockState::Taken | BlockState::Done => block.state = BlockState::Done,
            // The outer levels are read, or this one would be Done.
            BlockState::Seeking => {
                let state = self.judged(raw, from, ".elif", at.line);
                self.blocks.last_mut().expect("just found").state = state;
            }
        }
    }

    fn otherwise(&mut self, at: Span) {
        if self.blocks_refused > 0 {
            return;
        }
        let Some(block) = self.branch(".else", at) else {
            return;
        };
        block.else_seen = true;
        block.state = match block.state {
            BlockState::Seeking => BlockState::Taken,
            BlockState::Taken | BlockState::Done => BlockState::Done,
        };
    }

    fn close(&mut self, at: Span) {
        if self.blocks_refused > 0 {
            self.blocks_refused -= 1;
        } else if self.blocks.pop().is_none() {
            self.diags
                .alert(at, "lone '.endif' with no matching '.if'.")
                .tight();
        }
    }

    /// The block that `.elif` or `.else` belongs to, unless it may not stand here.
    fn branch(&mut self, name: &str, at: Span) -> Option<&mut Block> {
        let mistake = match self.blocks.last() {
            None => format!("lone '{name}' with no matching '.if'."),
            Some(block) if block.else_seen => format!("'{name}' after '.else' is not permitted."),
            Some(_) => return self.blocks.last_mut(),
        };
        self.diags.alert(at, mistake).tight();
        None
    }

    /// What the condition after `.if` or `.elif` makes of its block. After a mistake the whole block is left out.
    fn judged(&mut self, raw: &[u8], from: usize, directive: &str, number: u32) -> BlockState {
        let vars = self.vars(number);
        let token = match condition_token(raw, from, &vars) {
            Ok(token) => token,
            Err(e) => {
                self.lex_error(&e, number);
                return BlockState::Done;
            }
        };
        match cond::evaluate_expanded(&token.bytes, self.env, self.predicates) {
            Ok(true) => BlockState::Taken,
            Ok(false) => BlockState::Seeking,
            Err(e) => {
                let column = token.columns.get(e.at).map_or(token.end, |&c| c as usize);
                let text = format!("{} in '{directive}' at position {}:", e.message, e.at + 1);
                self.alert(number, column, 1, text);
                BlockState::Done
            }
        }
    }

    fn no_argument(&mut self, raw: &[u8], start: usize, number: u32, name: &str) {
        let words = match self.tokenize(raw, start, number) {
            Ok(tokens) => self.placed(tokens.words, number),
            Err(e) => return self.lex_error(&e, number),
        };
        if let Some(extra) = words.get(1) {
            let text = format!("Unexpected argument '{}' for '{name}'.", extra.text());
            self.diags.alert(extra.span, text).tight();
        }
    }

    fn message(&mut self, raw: &[u8], start: usize, number: u32, name: &str) {
        let words = match self.tokenize(raw, start, number) {
            Ok(tokens) => self.placed(tokens.words, number),
            Err(e) => return self.lex_error(&e, number),
        };
        if self.is_skipping() {
            return;
        }
        if let Some(extra) = words.get(2) {
            let text = format!(
                "Unexpected argument '{}' for '{name}'. Use quotes if the message should contain spaces.",
                extra.text()
            );
            self.diags.alert(extra.span, text).tight();
            return;
        }
        let severity = match name {
            ".diag" => Severity::Diag,
            ".notice" => Severity::Notice,
            ".warning" => Severity::Warning,
            _ => Severity::Alert,
        };
        let text = words.get(1).map(Word::text).unwrap_or_default();
        self.diags
            .push(severity, Some(across(&words)), format!("'{text}'."))
            .form(Form::Said);
    }

    /// A carriage return outside quotes ends the line in haproxy. At the end that is a DOS line; before more text it
    /// hides that text, which we say.
    fn warn_of_cut(&mut self, raw: &[u8], end: usize, number: u32) {
        let rest = raw.get(end..).unwrap_or_default();
        if rest.first() == Some(&b'\r') && !rest.iter().all(u8::is_ascii_whitespace) {
            let at = self.span(number, end, 1);
            self.diags
                .warning(
                    at,
                    "carriage return in the line, what follows it is ignored.",
                )
                .tight()
                .help("end lines with LF or CRLF");
        }
    }

    fn is_skipping(&self) -> bool {
        self.blocks_refused > 0
            || self
                .blocks
                .last()
                .is_some_and(|b| b.state != BlockState::Taken)
    }

    fn vars(&self, line: u32) -> Vars<'_> {
        Vars {
            env: self.env,
            file: self.name,
            line,
            section: &self.section.name,
        }
    }

    fn tokenize(&self, raw: &[u8], from: usize, number: u32) -> Result<Tokens, LexError> {
        let mut scanner = Scanner::new(raw, from, Splitting::AtBlanks);
        scanner.run(&self.vars(number))?;
        Ok(Tokens {
            words: scanner.done,
            end: scanner.at,
        })
    }

    fn placed(&self, tokens: Vec<Token>, number: u32) -> Vec<Word> {
        let place = |t: Token| Word {
            span: self.span(number, t.start, t.end - t.start),
            bytes: t.bytes,
        };
        tokens.into_iter().map(place).collect()
    }

    fn lex_error(&mut self, e: &LexError, number: u32) {
        self.alert(number, e.at, 1, format!("{}:", e.message()));
    }

    fn alert(&mut self, line: u32, at: usize, len: usize, text: String) {
        let span = self.span(line, at, len);
        self.diags.alert(span, text).tight();
    }

    fn span(&self, line: u32, at: usize, len: usize) -> Span {
        let small = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Span {
            file: self.file,
            line,
            col: small(at),
            len: small(len),
        }
    }
}

fn failed(keyword: &str, name: &str, result: Result<(), BadName>) -> Option<String> {
    let BadName = result.err()?;
    Some(format!(
        "'{keyword}' failed on variable '{name}' : Invalid argument."
    ))
}

/// From the first word to the end of the last. There is at least one.
fn across(words: &[Word]) -> Span {
    let (first, last) = (words[0].span, words[words.len() - 1].span);
    Span {
        len: (last.col + last.len).saturating_sub(first.col),
        ..first
    }
}

/// What an argument in double quotes may name.
struct Vars<'a> {
    env: &'a Env,
    file: &'a str,
    line: u32,
    section: &'a str,
}

impl Vars<'_> {
    /// `None` if unset, or a pseudo-variable that does not exist.
    fn value(&self, name: &str) -> Option<std::borrow::Cow<'_, str>> {
        Some(match name {
            ".FILE" => self.file.into(),
            ".LINE" => self.line.to_string().into(),
            ".SECTION" => self.section.into(),
            name => self.env.value(name)?.into(),
        })
    }
}

/// What breaks a line, at byte `at` of it.
#[derive(Debug)]
struct LexError {
    kind: LexErrorKind,
    at: usize,
}

#[derive(Clone, Copy, Debug)]
enum LexErrorKind {
    UnmatchedQuote,
    /// `\x` without two hexadecimal digits.
    BadHex,
    /// `\x00`, which would end the word in haproxy.
    Nul,
    /// `$` in double quotes before anything that begins no name.
    BadName,
    /// `${NAME` without its brace.
    UnmatchedBrace,
    /// `${NAME[` that does not go on as `[*]`.
    BadExpansion,
    /// More than [`LINE_MAX`] once variables are expanded.
    TooLong,
}

impl LexError {
    /// haproxy's words, without the colon it adds before an excerpt.
    fn message(&self) -> String {
        let what = match self.kind {
            LexErrorKind::UnmatchedQuote => "unmatched quote",
            LexErrorKind::BadHex => "truncated or invalid hexadecimal sequence",
            LexErrorKind::Nul => "NUL character not permitted",
            LexErrorKind::BadName => "forbidden first char in environment variable name",
            LexErrorKind::UnmatchedBrace => "unmatched brace in environment variable name",
            LexErrorKind::BadExpansion => "truncated or invalid word expansion sequence",
            LexErrorKind::TooLong => "line too long after expansion of environment variables",
        };
        format!("{what} at position {}", self.at + 1)
    }
}

struct Tokens {
    words: Vec<Token>,
    /// Where the words end: the line's end, a comment or a carriage return.
    end: usize,
}

/// A word under way. `start` and `end` are bytes of the line.
#[derive(Default)]
struct Token {
    bytes: Vec<u8>,
    /// For each byte where it was written; only kept for conditions.
    columns: Vec<u32>,
    start: usize,
    end: usize,
    /// Made by `[*]`, hence no word at all if nothing is in it.
    vanishes: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Splitting {
    AtBlanks,
    /// The condition of `.if`: one text, blanks included.
    Never,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Quote {
    None,
    Weak(usize),
}

struct Scanner<'a> {
    raw: &'a [u8],
    at: usize,
    splitting: Splitting,
    current: Option<Token>,
    done: Vec<Token>,
    /// Bytes in all words.
    decoded: usize,
}

/// The rest of a line from `from` as one text.
fn condition_token(raw: &[u8], from: usize, vars: &Vars<'_>) -> Result<Token, LexError> {
    let blanks = raw[from..].iter().take_while(|b| is_blank(**b)).count();
    let mut scanner = Scanner::new(raw, from + blanks, Splitting::Never);
    scanner.run(vars)?;
    let end = scanner.at;
    let token = scanner.done.pop().unwrap_or_default();
    Ok(Token { end, ..token })
}

impl<'a> Scanner<'a> {
    const fn new(raw: &'a [u8], at: usize, splitting: Splitting) -> Self {
        Self {
            raw,
            at,
            splitting,
            current: None,
            done: Vec::new(),
            decoded: 0,
        }
    }

    fn run(&mut self, vars: &Vars<'_>) -> Result<(), LexError> {
        let mut quote = Quote::None;
        while let Some(&c) = self.raw.get(self.at) {
            match (c, quote) {
                (b'#' | b'\r', Quote::None) => break,
                (c, Quote::None) if is_blank(c) && self.splitting == Splitting::AtBlanks => {
                    self.end_word();
                    self.at += 1;
                    // One too many is enough to refuse the line.
                    if self.done.len() > WORDS_MAX {
                        break;
                    }
                }
                (b'"', Quote::None) => {
                    self.begin_word();
                    quote = Quote::Weak(self.at);
                    self.at += 1;
                }
                (b'"', Quote::Weak(_)) => {
                    quote = Quote::None;
                    self.at += 1;
                    self.touch();
                }
                (b'\'', Quote::None) => self.strong()?,
                (b'\\', _) => self.escape(quote)?,
                (b'$', Quote::Weak(_)) => self.variable(vars)?,
                _ => {
                    self.push(self.at, c)?;
                    self.at += 1;
                    self.touch();
                }
            }
        }
        if let Quote::Weak(at) = quote {
            return Err(LexError {
                kind: LexErrorKind::UnmatchedQuote,
                at,
            });
        }
        self.end_word();
        Ok(())
    }

    /// `'…'`: nothing means anything but the end.
    fn strong(&mut self) -> Result<(), LexError> {
        let open = self.at;
        self.begin_word();
        let text = &self.raw[open + 1..];
        let len = memchr::memchr(b'\'', text).ok_or(LexError {
            kind: LexErrorKind::UnmatchedQuote,
            at: open,
        })?;
        for (i, &c) in text[..len].iter().enumerate() {
            self.push(open + 1 + i, c)?;
        }
        self.at = open + len + 2;
        self.touch();
        Ok(())
    }

    /// A backslash keeps its meaning only before the characters that need it; before others it is itself.
    fn escape(&mut self, quote: Quote) -> Result<(), LexError> {
        let at = self.at;
        let (byte, len) = match self.raw.get(at + 1) {
            Some(&c @ (b'\\' | b' ' | b'#' | b'\'' | b'"')) => (c, 2),
            // The manual's table has `\$` outside quotes and `\<TAB>` too; haproxy keeps the backslash of both.
            Some(b'$') if matches!(quote, Quote::Weak(_)) => (b'$', 2),
            Some(b'n') => (b'\n', 2),
            Some(b'r') => (b'\r', 2),
            Some(b't') => (b'\t', 2),
            Some(b'x') => (self.hex()?, 4),
            _ => (b'\\', 1),
        };
        self.push(at, byte)?;
        self.at += len;
        self.touch();
        Ok(())
    }

    fn hex(&self) -> Result<u8, LexError> {
        let at = self.at;
        let digit = |i: usize| {
            self.raw
                .get(at + i)
                .and_then(|&b| char::from(b).to_digit(16))
        };
        match (digit(2), digit(3)) {
            (Some(0), Some(0)) => Err(LexError {
                kind: LexErrorKind::Nul,
                at,
            }),
            (Some(high), Some(low)) => {
                Ok(u8::try_from(high << 4 | low).expect("two digits of four bits"))
            }
            _ => Err(LexError {
                kind: LexErrorKind::BadHex,
                at,
            }),
        }
    }

    /// `$NAME`, `${NAME}`, `${NAME-default}`, `${NAME[*]}`, `${NAME[*]-default}`. The default is taken as it is written.
    fn variable(&mut self, vars: &Vars<'_>) -> Result<(), LexError> {
        let dollar = self.at;
        let brace = (self.raw.get(dollar + 1) == Some(&b'{')).then_some(dollar + 1);
        let name_at = brace.map_or(dollar + 1, |b| b + 1);
        let name = name_at_start(&self.raw[name_at..]).ok_or(LexError {
            kind: LexErrorKind::BadName,
            at: name_at,
        })?;
        let mut after = name_at + name.len();
        let mut default: &[u8] = b"";
        let mut expands = false;
        if let Some(brace) = brace {
            if self.raw.get(after) == Some(&b'[') {
                if !self.raw[after..].starts_with(b"[*]") {
                    return Err(LexError {
                        kind: LexErrorKind::BadExpansion,
                        at: after,
                    });
                }
                expands = true;
                after += 3;
            }
            let unmatched = LexError {
                kind: LexErrorKind::UnmatchedBrace,
                at: brace,
            };
            match self.raw.get(after) {
                Some(b'}') => after += 1,
                Some(b'-') => {
                    let text = &self.raw[after + 1..];
                    let Some(len) = memchr::memchr(b'}', text) else {
                        return Err(unmatched);
                    };
                    default = &text[..len];
                    after += len + 2;
                }
                _ => return Err(unmatched),
            }
        }
        let value = vars.value(name);
        self.at = after;
        self.insert(
            dollar,
            value.as_ref().map_or(default, |v| v.as_bytes()),
            expands,
        )
    }

    /// Puts a variable's value into the current word, or with `[*]` as many words as it has.
    fn insert(&mut self, dollar: usize, value: &[u8], expands: bool) -> Result<(), LexError> {
        let splits = expands && self.splitting == Splitting::AtBlanks;
        self.begin_word();
        if splits {
            self.current.as_mut().expect("just begun").vanishes = true;
        }
        for &c in value {
            if splits && (is_blank(c) || matches!(c, b'\r' | b'\n')) {
                self.touch();
                self.end_word();
                if self.done.len() > WORDS_MAX {
                    break;
                }
                continue;
            }
            if self.current.is_none() {
                self.current = Some(Token {
                    start: dollar,
                    end: self.at,
                    vanishes: true,
                    ..Token::default()
                });
            }
            self.push(dollar, c)?;
        }
        // Text that follows in the same quotes begins a word after this place.
        self.touch();
        Ok(())
    }

    fn begin_word(&mut self) {
        let start = self.at;
        self.current.get_or_insert_with(|| Token {
            start,
            end: start,
            ..Token::default()
        });
    }

    /// The current word goes at least up to here.
    fn touch(&mut self) {
        if let Some(token) = &mut self.current {
            token.end = self.at;
        }
    }

    fn push(&mut self, column: usize, byte: u8) -> Result<(), LexError> {
        self.decoded += 1;
        if self.decoded > LINE_MAX {
            return Err(LexError {
                kind: LexErrorKind::TooLong,
                at: column,
            });
        }
        self.begin_word();
        let keeps_columns = self.splitting == Splitting::Never;
        let token = self.current.as_mut().expect("just begun");
        token.bytes.push(byte);
        if keeps_columns {
            token
                .columns
                .push(u32::try_from(column).expect("a line is at most LINE_MAX"));
        }
        Ok(())
    }

    fn end_word(&mut self) {
        if let Some(token) = self.current.take()
            && !(token.vanishes && token.bytes.is_empty())
        {
            self.done.push(token);
        }
    }
}

/// The name at the start of `text`: letters, digits and `_`, no digit first; a dot first only in the three
/// pseudo-variables.
fn name_at_start(text: &[u8]) -> Option<&str> {
    let dot = usize::from(text.first() == Some(&b'.'));
    let len = dot
        + text[dot..]
            .iter()
            .take_while(|b| b.is_ascii_alphanumeric() || **b == b'_')
            .count();
    let name = std::str::from_utf8(&text[..len]).ok()?;
    match name.as_bytes() {
        [] => None,
        [b'.', ..] => matches!(name, ".FILE" | ".LINE" | ".SECTION").then_some(name),
        [first, ..] => (!first.is_ascii_digit()).then_some(name),
    }
}

/// What separates words: C's `isspace` without the ends of lines.
const fn is_blank(b: u8) -> bool {
    matches!(b, b' ' | b'\t' | 0x0b | 0x0c)
}

#[cfg(test)]
mod tests;
