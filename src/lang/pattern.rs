//! Patterns of ACLs and the ways they are matched (configuration.txt 7.1.1 to 7.1.6), indexed: a thousand of them cost
//! little more than one.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv6Addr};

use aho_corasick::AhoCorasick;
use ipnet::IpNet;
use regex::bytes::{Regex, RegexSet};

use super::fetch::unhex;
pub mod pcre;

use super::sample::{Arena, Kind, Value, cast};

/// How a sample is compared with patterns: the word after `-m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Found,
    Bool,
    Int,
    Ip,
    Bin,
    Len,
    Str,
    Sub,
    Reg,
    Beg,
    End,
    Dir,
    Dom,
    /// `major.minor`, as one number: patterns of `req.ssl_ver`.
    Version,
    /// Groups of a user list: patterns of `http_auth_group`.
    Group,
    /// Names of HTTP methods; `-i` counts for those only that haproxy has no name for.
    Verb,
}

impl Method {
    pub const NAMES: [(&'static str, Self); 13] = [
        ("found", Self::Found),
        ("bool", Self::Bool),
        ("int", Self::Int),
        ("ip", Self::Ip),
        ("bin", Self::Bin),
        ("len", Self::Len),
        ("str", Self::Str),
        ("beg", Self::Beg),
        ("sub", Self::Sub),
        ("dir", Self::Dir),
        ("dom", Self::Dom),
        ("end", Self::End),
        ("reg", Self::Reg),
    ];

    pub fn of(name: &str) -> Option<Self> {
        let found = Self::NAMES.iter().find(|(n, _)| *n == name);
        found.map(|(_, method)| *method)
    }

    /// The type samples are cast to before they are matched.
    pub fn expects(self) -> Kind {
        match self {
            Self::Found => Kind::Any,
            Self::Bool | Self::Int | Self::Version => Kind::Int,
            Self::Ip => Kind::Addr,
            Self::Verb => Kind::Method,
            Self::Bin => Kind::Bin,
            _ => Kind::Str,
        }
    }

    /// How a sample of type `kind` is matched where nothing is said.
    pub fn default_of(kind: Kind) -> Option<Self> {
        match kind {
            Kind::Bool => Some(Self::Bool),
            Kind::Int => Some(Self::Int),
            Kind::Addr => Some(Self::Ip),
            Kind::Str => Some(Self::Str),
            Kind::Method => Some(Self::Verb),
            Kind::Any | Kind::Bin => None,
        }
    }

    /// Whether comparison words (`gt`) may stand before its patterns.
    pub fn compares(self) -> bool {
        matches!(self, Self::Int | Self::Len | Self::Version)
    }
}

/// Patterns as they are gathered.
#[derive(Debug)]
pub struct Builder {
    pub method: Method,
    pub ignore_case: bool,
    texts: Vec<Box<[u8]>>,
    ranges: Vec<(i64, i64)>,
    nets: Vec<IpNet>,
    regexes: Vec<Regex>,
}

impl Builder {
    pub fn new(method: Method, ignore_case: bool) -> Self {
        Self {
            method,
            ignore_case,
            texts: Vec::new(),
            ranges: Vec::new(),
            nets: Vec::new(),
            regexes: Vec::new(),
        }
    }

    /// Adds one pattern; `operator` is the comparison word before it.
    ///
    /// # Errors
    /// haproxy's message, without a period.
    pub fn add(
        &mut self,
        text: &[u8],
        operator: &str,
        resolve: &dyn Fn(&str) -> Option<IpAddr>,
    ) -> Result<(), String> {
        match self.method {
            Method::Found | Method::Bool => {}
            Method::Int | Method::Len | Method::Version => {
                self.ranges.push(range(text, operator, self.method)?);
            }
            Method::Ip => self.nets.push(net(text, resolve)?),
            Method::Bin => self.texts.push(unhex(text)?.into()),
            Method::Reg => {
                self.regexes.push(pcre::compile(text, self.ignore_case)?);
                self.texts.push(text.into());
            }
            Method::Dir | Method::Dom => {
                let between = |b: &u8| self.method.separates(*b);
                let start = text.iter().position(|b| !between(b));
                let end = text.iter().rposition(|b| !between(b));
                // Nothing but separators never matches.
                if let (Some(start), Some(end)) = (start, end) {
                    self.push_text(&text[start..=end]);
                }
            }
            _ => self.push_text(text),
        }
        Ok(())
    }

    fn push_text(&mut self, text: &[u8]) {
        let kept = self.method == Method::Verb && VERBS.contains(&text);
        self.texts.push(if self.ignore_case && !kept {
            text.to_ascii_lowercase().into()
        } else {
            text.into()
        });
    }

    pub fn build(self) -> Patterns {
        let set = match self.method {
            Method::Str | Method::Bin | Method::Beg | Method::End if self.texts.len() <= FEW => {
                Set::Few(self.texts)
            }
            Method::Found | Method::Bool => Set::None,
            Method::Int | Method::Len | Method::Version => Set::Ranges(merge(self.ranges)),
            Method::Ip => Set::Nets(Nets::new(&self.nets)),
            Method::Str | Method::Bin | Method::Group | Method::Verb => {
                Set::Exact(Words::new(self.texts))
            }
            Method::Dir | Method::Dom => Set::Parts(Words::new(self.texts)),
            Method::Beg => Set::Begin(self.texts.into_iter().map(|text| (text, ())).collect()),
            Method::End => {
                let mut texts = self.texts;
                texts.iter_mut().for_each(|text| text.reverse());
                Set::End(texts.into_iter().map(|text| (text, ())).collect())
            }
            Method::Sub => Set::Sub(Substrings::new(&self.texts)),
            Method::Reg => Set::Regex(Regexes::new(self.regexes, self.ignore_case)),
        };
        Patterns {
            method: self.method,
            ignore_case: self.ignore_case,
            set,
        }
    }
}

/// HTTP methods that are never matched as text.
const VERBS: [&[u8]; 8] = [
    b"OPTIONS", b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"TRACE", b"CONNECT",
];

impl Method {
    /// Whether a byte separates the parts that `dir` and `dom` compare.
    fn separates(self, b: u8) -> bool {
        match self {
            Self::Dir => matches!(b, b'/' | b'?'),
            _ => matches!(b, b'/' | b'?' | b'.' | b':'),
        }
    }
}

/// All patterns of one test, ready to be matched.
#[derive(Clone, Debug)]
pub struct Patterns {
    method: Method,
    /// Texts are kept in lower case then.
    ignore_case: bool,
    set: Set,
}

#[derive(Clone, Debug)]
enum Set {
    None,
    /// Sorted, apart from each other, ends included.
    Ranges(Vec<(i64, i64)>),
    Nets(Nets),
    /// Whole texts, beginnings or ends, compared one by one.
    Few(Vec<Box<[u8]>>),
    Exact(Words),
    Parts(Words),
    Begin(Prefixes<()>),
    /// Reversed.
    End(Prefixes<()>),
    Sub(Substrings),
    Regex(Regexes),
}

impl Patterns {
    pub fn method(&self) -> Method {
        self.method
    }
    pub fn ignore_case(&self) -> bool {
        self.ignore_case
    }

    /// The texts of exact patterns or beginnings, for an index over several tests.
    pub(super) fn texts(&self) -> Option<Box<dyn Iterator<Item = &[u8]> + '_>> {
        match &self.set {
            Set::Few(texts) if matches!(self.method, Method::Str | Method::Beg) => {
                Some(Box::new(texts.iter().map(|text| &**text)))
            }
            Set::Exact(words) if self.method == Method::Str => Some(Box::new(words.iter())),
            Set::Begin(prefixes) => Some(Box::new(prefixes.iter())),
            _ => None,
        }
    }

    /// Whether `value` matches any of them.
    pub fn matches(&self, value: Value<'_>, arena: &Arena) -> bool {
        if self.method == Method::Found {
            return true;
        }
        match cast(value, self.method.expects(), arena) {
            None => false,
            Some(Value::Int(number)) => match &self.set {
                Set::Ranges(ranges) => in_ranges(ranges, number),
                _ => number != 0,
            },
            Some(Value::Ip(ip)) => matches!(&self.set, Set::Nets(nets) if nets.contains(ip)),
            Some(Value::Str(text) | Value::Bin(text)) => self.matches_text(text, arena),
            Some(Value::Method(verb)) => {
                let Set::Exact(words) = &self.set else {
                    return false;
                };
                match self.ignore_case && !VERBS.contains(&verb) {
                    true => words.contains(&verb.to_ascii_lowercase()),
                    false => words.contains(verb),
                }
            }
            Some(Value::Bool(_)) => false,
        }
    }

    fn matches_text(&self, text: &[u8], arena: &Arena) -> bool {
        match &self.set {
            Set::Ranges(ranges) => return in_ranges(ranges, text.len() as i64),
            Set::Regex(regexes) => return regexes.is_match(text),
            Set::Few(texts) => return texts.iter().any(|one| self.is_one(one, text)),
            _ => {}
        }
        let folded;
        let text = if self.ignore_case {
            let copy = arena.alloc_slice_copy(text);
            copy.make_ascii_lowercase();
            folded = &*copy;
            folded
        } else {
            text
        };
        match &self.set {
            Set::Exact(words) => words.contains(text),
            Set::Begin(prefixes) => prefixes.find(text).is_some(),
            Set::End(suffixes) => {
                let longest = text.len().min(suffixes.longest());
                let end = arena.alloc_slice_copy(&text[text.len() - longest..]);
                end.reverse();
                suffixes.find(end).is_some()
            }
            Set::Sub(parts) => parts.is_in(text),
            Set::Parts(words) => words.has_part(text, |b| self.method.separates(b)),
            _ => false,
        }
    }

    /// Whether `text` is, begins or ends with one pattern.
    fn is_one(&self, pattern: &[u8], text: &[u8]) -> bool {
        let Some(more) = text.len().checked_sub(pattern.len()) else {
            return false;
        };
        let part = match self.method {
            Method::Beg => &text[..pattern.len()],
            Method::End => &text[more..],
            _ if more > 0 => return false,
            _ => text,
        };
        if self.ignore_case {
            part.eq_ignore_ascii_case(pattern)
        } else {
            part == pattern
        }
    }

    /// Whether one of `names` is among the patterns.
    pub(super) fn matches_any_name<'n>(&self, mut names: impl Iterator<Item = &'n [u8]>) -> bool {
        matches!(&self.set, Set::Exact(words) if names.any(|name| words.contains(name)))
    }
}

// ---------------------------------------------------------------- numbers

fn in_ranges(ranges: &[(i64, i64)], number: i64) -> bool {
    let after = ranges.partition_point(|(low, _)| *low <= number);
    after > 0 && number <= ranges[after - 1].1
}

/// Sorted, with those that touch joined.
fn merge<T: Ord + Copy + Next>(mut ranges: Vec<(T, T)>) -> Vec<(T, T)> {
    ranges.sort_unstable();
    let mut out: Vec<(T, T)> = Vec::with_capacity(ranges.len());
    for (low, high) in ranges {
        match out.last_mut() {
            Some((_, end)) if low <= *end || Some(low) == end.next() => *end = (*end).max(high),
            _ => out.push((low, high)),
        }
    }
    out
}

/// The number after one.
trait Next: Sized {
    fn next(&self) -> Option<Self>;
}
impl Next for i64 {
    fn next(&self) -> Option<Self> {
        self.checked_add(1)
    }
}
impl Next for u32 {
    fn next(&self) -> Option<Self> {
        self.checked_add(1)
    }
}
impl Next for u128 {
    fn next(&self) -> Option<Self> {
        self.checked_add(1)
    }
}

/// A number, `low:high`, `low:` or `:high`, changed by the comparison word before it.
fn range(text: &[u8], operator: &str, method: Method) -> Result<(i64, i64), String> {
    let shown = String::from_utf8_lossy(text);
    let (low, high) = shown.split_once(':').unwrap_or((&shown, &shown));
    let is_range = shown.contains(':');
    let read = |part: &str, open: i64| match (part, is_range) {
        ("", true) => Some(open),
        _ => number(part, method),
    };
    let (Some(low), Some(high)) = (read(low, i64::MIN), read(high, i64::MAX)) else {
        return Err(match (is_range, operator, method) {
            (true, ..) => format!("'{shown}' is not a valid number range"),
            (false, _, Method::Version) => format!("'{shown}' is not a dotted number"),
            (false, "", _) => format!("'{shown}' is not a number"),
            _ => format!("'{shown}' is neither a number nor a supported operator"),
        });
    };
    if low > high {
        return Err(format!("'{shown}' is not a valid number range"));
    }
    Ok(match operator {
        "ge" => (low, i64::MAX),
        "gt" => (high.saturating_add(1), i64::MAX),
        "le" => (i64::MIN, high),
        "lt" => (i64::MIN, low.saturating_sub(1)),
        _ => (low, high),
    })
}

fn number(text: &str, method: Method) -> Option<i64> {
    if method != Method::Version {
        return text.parse().ok();
    }
    let (major, minor) = text.split_once('.').unwrap_or((text, "0"));
    let part = |text: &str| text.parse::<u16>().ok().map(i64::from);
    Some(part(major)? << 16 | part(minor)?)
}

// ---------------------------------------------------------------- addresses

/// Networks as sorted ranges.
#[derive(Clone, Debug)]
struct Nets {
    v4: Vec<(u32, u32)>,
    v6: Vec<(u128, u128)>,
}

impl Nets {
    fn new(nets: &[IpNet]) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for net in nets {
            match net {
                IpNet::V4(net) => v4.push((net.network().to_bits(), net.broadcast().to_bits())),
                IpNet::V6(net) => v6.push((net.network().to_bits(), net.broadcast().to_bits())),
            }
        }
        Self {
            v4: merge(v4),
            v6: merge(v6),
        }
    }

    fn contains(&self, ip: IpAddr) -> bool {
        fn inside<T: Ord>(ranges: &[(T, T)], ip: &T) -> bool {
            let after = ranges.partition_point(|(low, _)| low <= ip);
            after > 0 && *ip <= ranges[after - 1].1
        }
        match ip {
            IpAddr::V4(ip) => {
                inside(&self.v4, &ip.to_bits())
                    || (!self.v6.is_empty() && inside(&self.v6, &ip.to_ipv6_mapped().to_bits()))
            }
            IpAddr::V6(ip) => {
                inside(&self.v6, &ip.to_bits())
                    || embedded(ip).is_some_and(|ip| inside(&self.v4, &ip))
            }
        }
    }
}

/// The IPv4 address in `::ffff:a.b.c.d`, `::a.b.c.d` or `2002:aabb:ccdd::`.
fn embedded(ip: Ipv6Addr) -> Option<u32> {
    let bits = ip.to_bits();
    match (bits >> 32, bits >> 112) {
        (0 | 0xffff, _) => Some(bits as u32),
        (_, 0x2002) => Some((bits >> 80) as u32),
        _ => None,
    }
}

fn net(text: &[u8], resolve: &dyn Fn(&str) -> Option<IpAddr>) -> Result<IpNet, String> {
    let text = String::from_utf8_lossy(text);
    match super::addr::network(&text) {
        Ok(net) => Ok(net.trunc()),
        Err(error) => {
            let is_name =
                text.contains(|c: char| c.is_ascii_alphabetic()) && !text.contains([':', '/']);
            let found = if is_name { resolve(&text) } else { None };
            found.map(IpNet::from).ok_or(error.message)
        }
    }
}

// ---------------------------------------------------------------- texts

/// Up to this many are compared one by one.
const FEW: usize = 6;

/// Texts that are matched whole.
#[derive(Clone, Debug)]
enum Words {
    Few(Vec<Box<[u8]>>),
    Many(HashSet<Box<[u8]>>),
}

impl Words {
    fn new(texts: Vec<Box<[u8]>>) -> Self {
        if texts.len() <= FEW {
            Self::Few(texts)
        } else {
            Self::Many(texts.into_iter().collect())
        }
    }
    fn contains(&self, text: &[u8]) -> bool {
        match self {
            Self::Few(texts) => texts.iter().any(|t| **t == *text),
            Self::Many(texts) => texts.contains(text),
        }
    }
    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let (few, many) = match self {
            Self::Few(texts) => (Some(texts.iter()), None),
            Self::Many(texts) => (None, Some(texts.iter())),
        };
        few.into_iter()
            .flatten()
            .chain(many.into_iter().flatten())
            .map(|t| &**t)
    }

    /// Whether one of them stands in `text` between separators or its ends.
    fn has_part(&self, text: &[u8], separates: impl Fn(u8) -> bool) -> bool {
        let begins = |at: usize| at == 0 || separates(text[at - 1]);
        let ends = |at: usize| at == text.len() || separates(text[at]);
        match self {
            Self::Few(words) => words.iter().any(|word| {
                memchr::memmem::find_iter(text, &**word)
                    .any(|at| begins(at) && ends(at + word.len()))
                    // An occurrence that overlaps one that does not count may count.
                    || overlapping(text, word).any(|at| begins(at) && ends(at + word.len()))
            }),
            Self::Many(words) => {
                let starts = (0..text.len()).filter(|&at| begins(at) && !separates(text[at]));
                starts.into_iter().any(|start| {
                    (start + 1..=text.len())
                        .filter(|&end| ends(end))
                        .any(|end| words.contains(&text[start..end]))
                })
            }
        }
    }
}

fn overlapping<'a>(text: &'a [u8], word: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    let mut from = 0;
    std::iter::from_fn(move || {
        let at = from + memchr::memmem::find(text.get(from..)?, word)?;
        from = at + 1;
        Some(at)
    })
}

/// Texts looked for at any place.
#[derive(Clone, Debug)]
enum Substrings {
    Few(Vec<Box<[u8]>>),
    Many(AhoCorasick),
}

impl Substrings {
    fn new(texts: &[Box<[u8]>]) -> Self {
        let few = || Self::Few(texts.to_vec());
        if texts.len() <= FEW {
            return few();
        }
        // Building fails only beyond 2^31 states.
        AhoCorasick::new(texts).map_or_else(|_| few(), Self::Many)
    }
    fn is_in(&self, text: &[u8]) -> bool {
        match self {
            Self::Few(texts) => texts
                .iter()
                .any(|t| memchr::memmem::find(text, t).is_some()),
            Self::Many(machine) => machine.is_match(text),
        }
    }
}

#[derive(Clone, Debug)]
enum Regexes {
    Each(Vec<Regex>),
    Set(RegexSet),
}

impl Regexes {
    fn new(each: Vec<Regex>, ignore_case: bool) -> Self {
        if each.len() <= FEW {
            return Self::Each(each);
        }
        let set = pcre::set(each.iter().map(Regex::as_str), ignore_case);
        set.map_or(Self::Each(each), Self::Set)
    }
    fn is_match(&self, text: &[u8]) -> bool {
        match self {
            Self::Each(each) => each.iter().any(|regex| regex.is_match(text)),
            Self::Set(set) => set.is_match(text),
        }
    }
}

/// Beginnings, sorted: every one that `text` begins with is found by one binary search.
///
/// Whatever `text` begins with sorts before it, and so does what follows that up to `text` begin with it. So all of
/// them are the last entry not above `text`, or beginnings of it, or beginnings of those: a chain of parents.
#[derive(Clone, Debug)]
pub struct Prefixes<T> {
    nodes: Vec<Node<T>>,
    longest: usize,
}

#[derive(Clone, Debug)]
struct Node<T> {
    text: Box<[u8]>,
    /// The longest other entry it begins with.
    parent: Option<u32>,
    /// The least of its values and those of the entries it begins with.
    least: T,
}

impl<T: Ord + Copy> FromIterator<(Box<[u8]>, T)> for Prefixes<T> {
    fn from_iter<I: IntoIterator<Item = (Box<[u8]>, T)>>(pairs: I) -> Self {
        let mut pairs: Vec<_> = pairs.into_iter().collect();
        pairs.sort_unstable();
        pairs.dedup_by(|later, first| later.0 == first.0);
        let longest = pairs.iter().map(|(text, _)| text.len()).max().unwrap_or(0);
        let mut nodes: Vec<Node<T>> = Vec::with_capacity(pairs.len());
        for (text, value) in pairs {
            let mut parent = nodes.len().checked_sub(1);
            while let Some(at) = parent
                && !text.starts_with(&nodes[at].text)
            {
                parent = nodes[at].parent.map(|p| p as usize);
            }
            let least = parent.map_or(value, |at| nodes[at].least.min(value));
            let parent = parent.map(|at| at as u32);
            nodes.push(Node {
                text,
                parent,
                least,
            });
        }
        Self { nodes, longest }
    }
}

impl<T: Copy> Prefixes<T> {
    /// The least value of all entries that `text` begins with.
    pub fn find(&self, text: &[u8]) -> Option<T> {
        let after = self.nodes.partition_point(|node| *node.text <= *text);
        let mut at = after.checked_sub(1);
        while let Some(index) = at {
            let node = &self.nodes[index];
            if text.starts_with(&node.text) {
                return Some(node.least);
            }
            at = node.parent.map(|p| p as usize);
        }
        None
    }
    fn longest(&self) -> usize {
        self.longest
    }
    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.nodes.iter().map(|node| &*node.text)
    }
}

#[cfg(test)]
mod tests;
