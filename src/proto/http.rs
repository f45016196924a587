//! The model of an HTTP message head: what was parsed is what is sent.
//!
//! A [`Head`] owns its bytes in one arena and points into it, so that it can be edited, kept across
//! retries and used again without allocating. Names are kept in lower case, as haproxy sends them;
//! values are trimmed of blanks at both ends. It knows no wire format: `proto::h1` reads and writes it.

use std::ops::Range;

/// Bytes `start..end` of a head's arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
struct Part {
    start: u32,
    end: u32,
}

impl Part {
    fn of(range: Range<usize>) -> Self {
        Self {
            start: range.start as u32,
            end: range.end as u32,
        }
    }
}

/// One header field.
#[derive(Clone, Copy, Debug)]
struct Field {
    name: Part,
    value: Part,
}

/// Major and minor version of HTTP/1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Version {
    /// HTTP/0.9 is never spoken; 1.0 stands for all before 1.1.
    Http10,
    #[default]
    Http11,
}

impl Version {
    /// `HTTP/1.0` or `HTTP/1.1`.
    pub fn text(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
        }
    }
}

/// Start line and fields of a request or a response.
#[derive(Clone, Debug, Default)]
pub struct Head {
    bytes: Vec<u8>,
    pub version: Version,
    /// 0 in a request.
    pub status: u16,
    method: Part,
    target: Part,
    reason: Part,
    fields: Vec<Field>,
}

impl Head {
    /// Empty again, memory kept.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.fields.clear();
        (self.method, self.target, self.reason) = <_>::default();
        (self.version, self.status) = (Version::Http11, 0);
    }

    fn add(&mut self, bytes: &[u8]) -> Part {
        let start = self.bytes.len() as u32;
        self.bytes.extend_from_slice(bytes);
        Part {
            start,
            end: self.bytes.len() as u32,
        }
    }
    fn part(&self, part: Part) -> &[u8] {
        &self.bytes[part.start as usize..part.end as usize]
    }

    pub fn method(&self) -> &[u8] {
        self.part(self.method)
    }
    /// The request target as sent: origin form, absolute form, authority (CONNECT) or `*`.
    pub fn target(&self) -> &[u8] {
        self.part(self.target)
    }
    pub fn reason(&self) -> &[u8] {
        self.part(self.reason)
    }
    pub fn set_method(&mut self, method: &[u8]) {
        self.method = self.add(method);
    }
    pub fn set_target(&mut self, target: &[u8]) {
        self.target = self.add(target);
    }
    pub fn set_status(&mut self, status: u16, reason: &[u8]) {
        self.status = status;
        self.reason = self.add(reason);
    }

    /// Number of fields.
    pub fn len(&self) -> usize {
        self.fields.len()
    }
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }
    /// Name (lower case) and value of field `index`.
    pub fn field(&self, index: usize) -> (&[u8], &[u8]) {
        let field = self.fields[index];
        (self.part(field.name), self.part(field.value))
    }
    /// All fields in order.
    pub fn fields(&self) -> impl DoubleEndedIterator<Item = (&[u8], &[u8])> + ExactSizeIterator {
        self.fields
            .iter()
            .map(|f| (self.part(f.name), self.part(f.value)))
    }
    /// Values of every field called `name` (any case), in order.
    pub fn values<'h>(
        &'h self,
        name: &'h [u8],
    ) -> impl DoubleEndedIterator<Item = &'h [u8]> + use<'h> {
        self.fields()
            .filter(move |(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }
    /// Value of the first field called `name`.
    pub fn first(&self, name: &[u8]) -> Option<&[u8]> {
        self.fields()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }
    /// Adds a field at the end.
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        let start = self.bytes.len();
        let name = self.add(name);
        self.bytes[start..].make_ascii_lowercase();
        let value = self.add(value);
        self.fields.push(Field { name, value });
    }
    /// Replaces the value of field `index`.
    pub fn set_value(&mut self, index: usize, value: &[u8]) {
        self.fields[index].value = self.add(value);
    }
    /// Removes field `index`; those behind it move up.
    pub fn remove(&mut self, index: usize) {
        self.fields.remove(index);
    }
    /// Keeps the fields for which `keep(name, value)` holds.
    pub fn retain(&mut self, mut keep: impl FnMut(&[u8], &[u8]) -> bool) {
        let bytes = &self.bytes;
        let part = |p: Part| &bytes[p.start as usize..p.end as usize];
        self.fields.retain(|f| keep(part(f.name), part(f.value)));
    }
    /// Removes every field called `name`; how many there were.
    pub fn delete(&mut self, name: &[u8]) -> usize {
        let before = self.fields.len();
        self.retain(|n, _| !n.eq_ignore_ascii_case(name));
        before - self.fields.len()
    }
    /// Removes every field called `name` and adds one.
    pub fn set(&mut self, name: &[u8], value: &[u8]) {
        self.delete(name);
        self.push(name, value);
    }
    /// Bytes the head takes on the wire in HTTP/1, its empty line included.
    pub fn wire_len(&self) -> usize {
        let part = |p: Part| (p.end - p.start) as usize;
        let start = if self.status > 0 {
            "HTTP/1.1 200 ".len() + part(self.reason) + 2
        } else {
            part(self.method) + 1 + part(self.target) + " HTTP/1.1\r\n".len()
        };
        let fields: usize = self
            .fields
            .iter()
            .map(|f| part(f.name) + part(f.value) + 4)
            .sum();
        start + fields + 2
    }
    /// Takes a whole head as it came, its parts named before by `place_*`: offsets into `wire`.
    /// One copy; names become lower case, line ends inside of values (folds) blanks.
    pub fn load(&mut self, wire: &[u8], folded: bool) {
        self.bytes.clear();
        self.bytes.extend_from_slice(wire);
        for field in &self.fields {
            let (name, value) = (field.name, field.value);
            self.bytes[name.start as usize..name.end as usize].make_ascii_lowercase();
            if folded {
                for byte in &mut self.bytes[value.start as usize..value.end as usize] {
                    if matches!(byte, b'\r' | b'\n') {
                        *byte = b' ';
                    }
                }
            }
        }
    }
    /// Where method and target will be once [`load`](Self::load)ed.
    pub fn place_request(&mut self, method: Range<usize>, target: Range<usize>) {
        (self.method, self.target) = (Part::of(method), Part::of(target));
    }
    /// Where the reason will be.
    pub fn place_response(&mut self, status: u16, reason: Range<usize>) {
        (self.status, self.reason) = (status, Part::of(reason));
    }
    /// Where a field will be.
    pub fn place_field(&mut self, name: Range<usize>, value: Range<usize>) {
        self.fields.push(Field {
            name: Part::of(name),
            value: Part::of(value),
        });
    }
    /// Where the value of field `index` begins in the bytes that were loaded, if it was not changed since.
    pub fn value_at(&self, index: usize) -> usize {
        self.fields[index].value.start as usize
    }
    /// The same for the request target.
    pub fn target_at(&self) -> usize {
        self.target.start as usize
    }
    /// Bytes that haproxy counts for the head, in its logs and statistics: those of its own form of it, a start line
    /// of 20 and the texts in it, names, values and 1 for the end (measured on 2.6).
    pub fn counted_len(&self) -> usize {
        let part = |p: Part| (p.end - p.start) as usize;
        let start = if self.status > 0 {
            part(self.reason) + 3
        } else {
            part(self.method) + part(self.target)
        };
        // What Connection says of the connection alone is no part of the message.
        let counts = |f: &&Field| {
            let value = self.part(f.value);
            let said =
                value.eq_ignore_ascii_case(b"close") || value.eq_ignore_ascii_case(b"keep-alive");
            !(said && self.part(f.name) == b"connection")
        };
        let fields = self.fields.iter().filter(counts);
        let fields: usize = fields.map(|f| part(f.name) + part(f.value)).sum();
        20 + start + self.version.text().len() + fields + 1
    }
    /// Bytes of memory in use; edits only ever add, so a driver can bound them.
    pub fn arena_len(&self) -> usize {
        self.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_edited_in_place_and_names_are_lower_case() {
        let mut head = Head::default();
        head.set_method(b"GET");
        head.set_target(b"/a?b");
        head.push(b"Host", b"x");
        head.push(b"X-A", b"1");
        head.push(b"x-a", b"2");
        assert_eq!(head.values(b"X-A").collect::<Vec<_>>(), [b"1", b"2"]);
        assert_eq!(head.field(0), (&b"host"[..], &b"x"[..]));
        head.set(b"X-A", b"3");
        assert_eq!(head.values(b"x-a").collect::<Vec<_>>(), [b"3"]);
        head.set_value(0, b"yy");
        assert_eq!(head.first(b"HOST"), Some(&b"yy"[..]));
        assert_eq!(head.delete(b"host"), 1);
        assert_eq!(head.wire_len(), "GET /a?b HTTP/1.1\r\nx-a: 3\r\n\r\n".len());
        head.clear();
        assert!(head.is_empty() && head.method().is_empty());
    }
}
