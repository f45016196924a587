//! What a keyword is: one item that carries its name, the sections it may stand in, its arity, one
//! line of help, its place in haproxy's manual and the function that reads its arguments.
//!
//! The tables themselves lie beside what they fill (`global`, `proxy`, `options`, `bind`, `server`);
//! the names that haproxy knows and we do not (yet) are in `known`. From all of them come the look-up
//! at parsing, the nearest names in messages, the list in the README and `--keywords`.

use super::words::{Args, Said};

/// Where a keyword may stand, as in the matrix of configuration.txt 4.1: a set of the constants below.
pub(super) type Sections = u16;
/// `global`.
pub(super) const G: Sections = 1;
/// `defaults`.
pub(super) const D: Sections = 2;
/// `frontend`.
pub(super) const F: Sections = 4;
/// `listen`.
pub(super) const L: Sections = 8;
/// `backend`.
pub(super) const B: Sections = 16;
/// The options of a `bind` line.
pub(super) const BIND: Sections = 32;
/// The options of a `server` or `default-server` line.
pub(super) const SERVER: Sections = 64;

/// A `userlist` section.
pub(super) const USERLIST: Sections = 128;
/// An `http-errors` section.
pub(super) const HTTP_ERRORS: Sections = 256;

/// Least and greatest number of arguments after the name.
pub(super) type Arity = (usize, usize);
pub(super) const NONE: Arity = (0, 0);
pub(super) const ONE: Arity = (1, 1);
pub(super) const MANY: usize = usize::MAX;

/// Reads the arguments into `T`. An error says that the message is already among the diagnostics.
pub(super) type Parse<T> = fn(&mut T, &mut Args<'_, '_>) -> Result<(), Said>;

/// One keyword of a table whose entries fill a `T`.
#[derive(Debug)]
pub(super) struct Keyword<T: 'static> {
    /// The words that open the line, one space between them: `timeout client`.
    pub(super) name: &'static str,
    pub(super) sections: Sections,
    pub(super) args: Arity,
    /// The arguments as the help shows them; also what a message says is expected.
    pub(super) usage: &'static str,
    pub(super) doc: &'static str,
    /// Section of haproxy's configuration manual.
    pub(super) manual: &'static str,
    /// Whether `no` (and `default`) may stand before it.
    pub(super) invertible: bool,
    /// In a section of the wrong side it is an error, not a warning.
    pub(super) strict_place: bool,
    /// What a message calls it where a second one is passed over, as haproxy does for these.
    pub(super) once: Option<&'static str>,
    /// In TCP mode haproxy says that the line is ignored.
    pub(super) http_only: bool,
    pub(super) kind: Kind,
    pub(super) parse: Parse<T>,
}

/// How we stand to a keyword.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Does what the manual says.
    Supported,
    /// Gone from haproxy, still meaningful: works with one warning that shows this spelling.
    Obsolete(&'static str),
    /// Tunes a part of haproxy's engine that we do not have; accepted with a notice.
    NoMeaning,
    /// What lines with `ssl` begin with: those are refused as long as there is no TLS, so it has no effect to lose.
    TlsDefault,
    /// haproxy knows it, we do not yet: an error that says so.
    NotYet,
}

impl<T> Keyword<T> {
    pub(super) const fn new(
        name: &'static str,
        sections: Sections,
        args: Arity,
        usage: &'static str,
        doc: &'static str,
        parse: Parse<T>,
    ) -> Self {
        let manual = match sections {
            G => "3",
            BIND => "5.1",
            SERVER => "5.2",
            USERLIST => "3.4",
            HTTP_ERRORS => "3.8",
            _ => "4.2",
        };
        Self {
            name,
            sections,
            args,
            usage,
            doc,
            manual,
            invertible: false,
            strict_place: false,
            once: None,
            http_only: false,
            kind: Kind::Supported,
            parse,
        }
    }
    /// `no NAME` and `default NAME` are allowed.
    pub(super) const fn invertible(mut self) -> Self {
        self.invertible = true;
        self
    }
    pub(super) const fn strict_place(mut self) -> Self {
        self.strict_place = true;
        self
    }
    /// The first line counts; `name` is what a message about a second one calls it.
    pub(super) const fn once(mut self, name: &'static str) -> Self {
        self.once = Some(name);
        self
    }
    /// Ignored with a warning in TCP mode.
    pub(super) const fn http_only(mut self) -> Self {
        self.http_only = true;
        self
    }
    pub(super) const fn obsolete(mut self, now: &'static str) -> Self {
        self.kind = Kind::Obsolete(now);
        self
    }
    pub(super) const fn no_meaning(mut self) -> Self {
        self.kind = Kind::NoMeaning;
        self
    }
    pub(super) const fn tls_default(mut self) -> Self {
        self.kind = Kind::TlsDefault;
        self
    }
}

/// The entry whose name is the longest run of words at the start of `words`, and how many words that is.
pub(super) fn find<'t, T>(
    tables: &[&'t [Keyword<T>]],
    words: &[&str],
) -> Option<(&'t Keyword<T>, usize)> {
    let opens = |k: &'t Keyword<T>| Some((k, words_of(k.name, words)?));
    tables
        .iter()
        .flat_map(|table| table.iter())
        .filter_map(opens)
        .max_by_key(|(_, count)| *count)
}

/// How many words `name` has, if they are those at the start of `words`.
pub(super) fn words_of(name: &str, words: &[&str]) -> Option<usize> {
    let mut rest = name.strip_prefix(*words.first()?)?;
    let mut count = 1;
    while !rest.is_empty() {
        rest = rest.strip_prefix(' ')?.strip_prefix(*words.get(count)?)?;
        count += 1;
    }
    // A quoted word may hold spaces, a word of a keyword does not.
    words[..count]
        .iter()
        .all(|w| !w.contains(' '))
        .then_some(count)
}

/// A keyword as the lists show it.
#[derive(Clone, Copy, Debug)]
pub struct Listed {
    pub name: &'static str,
    /// `global`, `bind`, `server`, or the proxy sections as letters `dflb` with `-` where not allowed.
    pub place: &'static str,
    pub usage: &'static str,
    pub doc: &'static str,
    pub manual: &'static str,
    pub kind: Kind,
}

impl<T> Keyword<T> {
    pub(super) fn listed(&self) -> Listed {
        let Self {
            name,
            usage,
            doc,
            manual,
            kind,
            ..
        } = *self;
        Listed {
            name,
            place: place(self.sections),
            usage,
            doc,
            manual,
            kind,
        }
    }
}

fn place(sections: Sections) -> &'static str {
    const DFLB: [&str; 16] = [
        "----", "d---", "-f--", "df--", "--l-", "d-l-", "-fl-", "dfl-", "---b", "d--b", "-f-b",
        "df-b", "--lb", "d-lb", "-flb", "dflb",
    ];
    match sections {
        G => "global",
        BIND => "bind",
        SERVER => "server",
        USERLIST => "userlist",
        HTTP_ERRORS => "http-errors",
        _ => DFLB[usize::from(sections >> 1 & 15)],
    }
}

/// Every keyword we know, in the order of the tables: supported and obsolete ones first.
pub fn all() -> Vec<Listed> {
    let mut list: Vec<Listed> = super::global::TABLE.iter().map(Keyword::listed).collect();
    list.extend(super::tls_defaults::TABLE.iter().map(Keyword::listed));
    for table in super::section::PROXY_TABLES {
        list.extend(table.iter().map(Keyword::listed));
    }
    list.extend(super::userlists::TABLE.iter().map(Keyword::listed));
    list.extend(super::pages::GROUP_TABLE.iter().map(Keyword::listed));
    list.extend(super::bind::TABLE.iter().map(Keyword::listed));
    list.extend(super::server::TABLE.iter().map(Keyword::listed));
    list.extend(super::known::listed());
    list
}

/// The README's list: a table per place of what works, then the names of what does not yet.
pub fn table_markdown() -> String {
    let all = all();
    let mut out =
        String::from("| keyword | where | arguments | what it does |\n|---|---|---|---|\n");
    let cell = |text: &str| text.replace('|', "\\|");
    for k in all.iter().filter(|k| k.kind != Kind::NotYet) {
        let doc = match k.kind {
            Kind::Obsolete(now) => format!("{} (obsolete, with a warning: now `{now}`)", k.doc),
            Kind::NoMeaning => format!("{} (no meaning here: accepted with a notice)", k.doc),
            Kind::TlsDefault => format!(
                "{} (a default of lines with `ssl`, which are refused: accepted with a notice)",
                k.doc
            ),
            Kind::Supported | Kind::NotYet => k.doc.to_owned(),
        };
        let usage = if k.usage.is_empty() {
            String::new()
        } else {
            format!("`{}`", k.usage)
        };
        out += &format!(
            "| `{}` | {} | {} | {} |\n",
            k.name,
            k.place,
            cell(&usage),
            cell(&doc)
        );
    }
    out += "\nKnown by name and refused as \"not supported yet\":\n";
    let mut places: Vec<&str> = all
        .iter()
        .filter(|k| k.kind == Kind::NotYet)
        .map(|k| k.place)
        .collect();
    places.dedup();
    for place in places {
        let names: Vec<String> = all
            .iter()
            .filter(|k| k.kind == Kind::NotYet && k.place == place)
            .map(|k| format!("`{}`", k.name))
            .collect();
        out += &format!("\n- {place}: {}\n", names.join(", "));
    }
    out
}

/// One line per keyword, for `-vv` and `--keywords`: a mark, the place, the name and its arguments.
pub fn table_text() -> String {
    all()
        .iter()
        .map(|k| {
            let mark = match k.kind {
                Kind::Supported => ' ',
                Kind::Obsolete(_) => 'o',
                Kind::NoMeaning | Kind::TlsDefault => '-',
                Kind::NotYet => '!',
            };
            format!("{mark} {:6} {} {}", k.place, k.name, k.usage)
                .trim_end()
                .to_owned()
                + "\n"
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_opens_a_line_by_whole_words_only() {
        assert_eq!(
            words_of("timeout client", &["timeout", "client", "5s"]),
            Some(2)
        );
        assert_eq!(words_of("timeout client-fin", &["timeout", "client"]), None);
        assert_eq!(words_of("timeout client", &["timeout", "client-fin"]), None);
        assert_eq!(words_of("log", &["log-tag"]), None);
        assert_eq!(words_of("log", &["l", "og"]), None);
        assert_eq!(words_of("timeout client", &["timeout"]), None);
        assert_eq!(words_of("timeout client", &["timeout client"]), None);
    }

    #[test]
    fn no_keyword_is_listed_twice_in_one_place() {
        let mut seen = std::collections::BTreeSet::new();
        for k in all() {
            let proxy = k.place.len() == 4 && k.place.bytes().all(|b| b"dflb-".contains(&b));
            let place = if proxy { "proxies" } else { k.place };
            assert!(seen.insert((place, k.name)), "{} twice in {place}", k.name);
        }
    }
}
