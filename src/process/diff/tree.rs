//! Typed values as trees, read from what `{:?}` writes of them: whatever field a configuration has or will have is
//! compared without being listed here.

use std::fmt::Debug;

/// A value. Text that cannot be read is an atom, so that it is compared all the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Tree {
    Atom(String),
    Text(String),
    /// Name and fields.
    Struct(String, Vec<(String, Self)>),
    /// Name (of a tuple none) and values.
    Tuple(String, Vec<Self>),
    List(Vec<Self>),
}

impl Tree {
    pub(super) fn of(value: &impl Debug) -> Self {
        let text = format!("{value:?}");
        let mut reader = Reader { rest: &text };
        match reader.value() {
            Some(tree) if reader.rest.trim().is_empty() => tree,
            _ => Self::Atom(text),
        }
    }

    /// Every part of it, the innermost first, replaced by what `change` makes of it.
    pub(super) fn map(self, change: &dyn Fn(Self) -> Self) -> Self {
        let each = |list: Vec<Self>| list.into_iter().map(|t| t.map(change)).collect();
        change(match self {
            Self::Struct(name, fields) => Self::Struct(
                name,
                fields
                    .into_iter()
                    .map(|(name, tree)| (name, tree.map(change)))
                    .collect(),
            ),
            Self::Tuple(name, list) => Self::Tuple(name, each(list)),
            Self::List(list) => Self::List(each(list)),
            other => other,
        })
    }

    pub(super) fn field(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Struct(_, fields) => fields.iter().find(|(n, _)| n == name).map(|(_, t)| t),
            _ => None,
        }
    }

    /// As people read it; `None` where it says "not set".
    pub(super) fn shown(&self) -> Option<String> {
        match self {
            Self::Atom(text) => match text.as_str() {
                "None" => None,
                "true" => Some("on".to_owned()),
                "false" => Some("off".to_owned()),
                text => Some(text.to_owned()),
            },
            Self::Text(text) => Some(text.clone()),
            Self::Tuple(name, list) if name == "Some" => list.first().and_then(Self::shown),
            Self::Tuple(name, list) => {
                let inside = joined(list.iter());
                Some(match name.as_str() {
                    "" => format!("({inside})"),
                    name => format!("{} {inside}", spaced(name)),
                })
            }
            Self::List(list) if list.is_empty() => None,
            Self::List(list) => Some(bytes(list).unwrap_or_else(|| joined(list.iter()))),
            Self::Struct(name, _) if name == "LogFormat" => Some("a format".to_owned()),
            Self::Struct(_, fields) => {
                let set = fields.iter().filter_map(|(name, tree)| {
                    let shown = tree.shown().filter(|text| text != "off" && text != "0")?;
                    Some(format!("{} {shown}", name.replace('_', " ")))
                });
                Some(set.collect::<Vec<_>>().join(", "))
            }
        }
    }
}

fn joined<'t>(list: impl Iterator<Item = &'t Tree>) -> String {
    let shown = list.map(|tree| tree.shown().unwrap_or_else(|| "-".to_owned()));
    shown.collect::<Vec<_>>().join(" ")
}

/// `RoundRobin` as `round robin`.
fn spaced(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        if c.is_uppercase() && !out.is_empty() {
            out.push(' ');
        }
        out.extend(c.to_lowercase());
    }
    out
}

/// The text that a list of bytes spells.
fn bytes(list: &[Tree]) -> Option<String> {
    let byte = |tree: &Tree| match tree {
        Tree::Atom(text) => text.parse::<u8>().ok().filter(|b| (32..127).contains(b)),
        _ => None,
    };
    let bytes: Option<Vec<u8>> = list.iter().map(byte).collect();
    Some(String::from_utf8_lossy(&bytes?).into_owned())
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn skip(&mut self, text: &str) -> bool {
        let trimmed = self.rest.trim_start();
        let after = trimmed.strip_prefix(text);
        self.rest = after.unwrap_or(self.rest);
        after.is_some()
    }

    fn value(&mut self) -> Option<Tree> {
        self.rest = self.rest.trim_start();
        if self.rest.starts_with('"') {
            return self.text().map(Tree::Text);
        }
        if let Some(address) = self.address() {
            return Some(Tree::Atom(address));
        }
        if self.skip("[") {
            return self.list("]").map(Tree::List);
        }
        if self.skip("(") {
            return self.list(")").map(|list| Tree::Tuple(String::new(), list));
        }
        if self.skip("{") {
            let mut list = self.list("}")?;
            list.sort();
            return Some(Tree::List(list));
        }
        let end = self
            .rest
            .find([',', '(', ')', ']', '}', '{'])
            .unwrap_or(self.rest.len());
        let (atom, rest) = self.rest.split_at(end);
        let atom = atom.trim_end();
        if atom.is_empty() {
            return None;
        }
        let atom = atom.to_owned();
        self.rest = rest;
        if self.skip("(") {
            return self.list(")").map(|list| Tree::Tuple(atom, list));
        }
        if self.skip("{") {
            return self.fields().map(|fields| Tree::Struct(atom, fields));
        }
        Some(Tree::Atom(atom))
    }

    /// An IPv6 address with a port, which begins like a list.
    fn address(&mut self) -> Option<String> {
        let inside = self.rest.strip_prefix('[')?;
        let (ip, after) = inside.split_once("]:")?;
        ip.split('%').next()?.parse::<std::net::Ipv6Addr>().ok()?;
        let digits = after.bytes().take_while(u8::is_ascii_digit).count();
        let (port, rest) = after.split_at(digits);
        let text = format!("[{ip}]:{port}");
        self.rest = rest;
        Some(text)
    }

    fn text(&mut self) -> Option<String> {
        let inside = self.rest.strip_prefix('"')?;
        let mut escaped = false;
        let end = inside.char_indices().find(|(_, c)| {
            let ends = *c == '"' && !escaped;
            escaped = *c == '\\' && !escaped;
            ends
        });
        let (at, _) = end?;
        let text = inside[..at].replace("\\\"", "\"").replace("\\\\", "\\");
        self.rest = &inside[at + 1..];
        Some(text)
    }

    /// Values up to `end`; of maps the keys and values.
    fn list(&mut self, end: &str) -> Option<Vec<Tree>> {
        let mut out = Vec::new();
        while !self.skip(end) {
            let first = self.value()?;
            out.push(if self.skip(":") {
                Tree::Tuple(String::new(), vec![first, self.value()?])
            } else {
                first
            });
            if !self.skip(",") && !self.rest.trim_start().starts_with(end) {
                return None;
            }
        }
        Some(out)
    }

    fn fields(&mut self) -> Option<Vec<(String, Tree)>> {
        let mut out = Vec::new();
        while !self.skip("}") {
            if self.skip("..") {
                continue;
            }
            self.rest = self.rest.trim_start();
            let (name, rest) = self.rest.split_once(':')?;
            let name = name.to_owned();
            self.rest = rest;
            out.push((name, self.value()?));
            if !self.skip(",") && !self.rest.trim_start().starts_with('}') {
                return None;
            }
        }
        Some(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    #[allow(dead_code)]
    struct Sample {
        name: &'static str,
        at: Option<std::net::SocketAddr>,
        list: Vec<u8>,
        pair: (u8, &'static str),
        map: std::collections::BTreeMap<&'static str, u8>,
        unit: Option<()>,
    }

    #[test]
    fn what_debug_writes_is_read_again() {
        let sample = Sample {
            name: "a \"b\" {c}, \\",
            at: "[::1]:80".parse().ok(),
            list: b"ab".to_vec(),
            pair: (1, "x]"),
            map: [("k", 1)].into(),
            unit: None,
        };
        let tree = Tree::of(&sample);
        let shown = |name: &str| tree.field(name).and_then(Tree::shown);
        assert_eq!(shown("name").as_deref(), Some("a \"b\" {c}, \\"));
        assert_eq!(shown("at").as_deref(), Some("[::1]:80"));
        assert_eq!(shown("list").as_deref(), Some("ab"));
        assert_eq!(shown("pair").as_deref(), Some("(1 x])"));
        assert_eq!(shown("unit"), None);
        assert_eq!(
            tree.field("map"),
            Some(&Tree::List(vec![Tree::Tuple(
                String::new(),
                vec![Tree::Text("k".into()), Tree::Atom("1".into())]
            )]))
        );
    }
}
