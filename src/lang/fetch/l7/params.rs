//! Parameters of the query string and of URL-encoded bodies; their values stay encoded.

use super::super::Making;
use crate::lang::sample::{Value, leading_int};

#[derive(Clone, Debug)]
pub(in crate::lang) struct Param {
    /// Empty: any.
    name: Box<[u8]>,
    /// What opens the parameters, `?` unless said otherwise; separates them too.
    delimiter: u8,
    ignore_case: bool,
    number: bool,
}

impl Param {
    /// `(name[,delimiter[,i]])`.
    pub(super) fn read(given: &Making<'_>, number: bool) -> Result<Self, String> {
        let delimiter = match given.text(1) {
            b"" => b'?',
            &[one] => one,
            _ => return Err("Delimiter must be exactly 1 character".to_owned()),
        };
        Ok(Self {
            name: given.text(0).into(),
            delimiter,
            ignore_case: ignore_case(given.text(2))?,
            number,
        })
    }
    /// `(name[,i])`.
    pub(super) fn read_body(given: &Making<'_>) -> Result<Self, String> {
        Ok(Self {
            name: given.text(0).into(),
            delimiter: b'&',
            ignore_case: ignore_case(given.text(1))?,
            number: false,
        })
    }

    pub(super) fn in_target<'a>(&'a self, target: &'a [u8]) -> impl Iterator<Item = Value<'a>> {
        let start = memchr::memchr(self.delimiter, target).map(|at| &target[at + 1..]);
        self.values(start)
    }
    pub(super) fn in_body<'a>(&'a self, body: &'a [u8]) -> impl Iterator<Item = Value<'a>> {
        self.values(Some(body))
    }

    fn values<'a>(&'a self, text: Option<&'a [u8]>) -> impl Iterator<Item = Value<'a>> {
        let mut rest = text;
        let pairs = std::iter::from_fn(move || {
            let text = rest.take()?;
            let separates = |&b: &u8| b == b'&' || b == b';' || b == self.delimiter;
            let end = text.iter().position(separates);
            rest = end.map(|end| &text[end + 1..]);
            Some(&text[..end.unwrap_or(text.len())])
        });
        pairs.filter_map(|pair| {
            let (name, value) = match memchr::memchr(b'=', pair) {
                Some(at) => (&pair[..at], &pair[at + 1..]),
                None => return None,
            };
            if !self.is_meant(name) {
                return None;
            }
            if self.number {
                Some(Value::Int(leading_int(value)))
            } else {
                Some(Value::Str(value))
            }
        })
    }

    fn is_meant(&self, name: &[u8]) -> bool {
        self.name.is_empty()
            || *name == *self.name
            || (self.ignore_case && name.eq_ignore_ascii_case(&self.name))
    }
}

fn ignore_case(text: &[u8]) -> Result<bool, String> {
    match text {
        b"" => Ok(false),
        b"i" => Ok(true),
        _ => Err("expects 'i' option only".to_owned()),
    }
}
