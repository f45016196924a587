//! Values of statistics and the three forms they are printed in: CSV, typed, JSON
//! (management.txt 9.1 and 9.2).

use std::borrow::Cow;
use std::io::Write;

use crate::base::civil::push_number;

/// Origin, nature and scope of a value, a letter each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tags(pub [u8; 3]);

impl Tags {
    /// The three letters and, since 3.3, `P` for what a reload may carry over, else `V`.
    fn push(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0);
        out.push(if self.0[..2] == *b"MC" { b'P' } else { b'V' });
    }

    fn origin(self) -> &'static str {
        match self.0[0] {
            b'M' => "Metric",
            b'S' => "Status",
            b'K' => "Key",
            b'C' => "Config",
            b'P' => "Product",
            _ => "Unknown",
        }
    }

    fn nature(self) -> &'static str {
        match self.0[1] {
            b'A' => "Age",
            b'a' => "Avg",
            b'C' => "Counter",
            b'D' => "Duration",
            b'G' => "Gauge",
            b'L' => "Limit",
            b'M' => "Max",
            b'm' => "Min",
            b'N' => "Name",
            b'O' => "Output",
            b'R' => "Rate",
            b'T' => "Time",
            _ => "Unknown",
        }
    }

    fn scope(self) -> &'static str {
        match self.0[2] {
            b'C' => "Cluster",
            b'P' => "Process",
            b'S' => "Service",
            b'Y' => "System",
            _ => "Unknown",
        }
    }
}

/// One value; [`Value::Empty`] prints nothing in CSV and is left out elsewhere.
#[derive(Clone, Debug, PartialEq, Default)]
pub enum Value<'a> {
    #[default]
    Empty,
    U32(u32),
    U64(u64),
    S32(i32),
    Str(Cow<'a, str>),
}

impl<'a> Value<'a> {
    /// A count as 32 bits, at most their largest.
    pub fn small(n: impl TryInto<u32>) -> Self {
        Self::U32(n.try_into().unwrap_or(u32::MAX))
    }

    pub fn text(text: impl Into<Cow<'a, str>>) -> Self {
        Self::Str(text.into())
    }

    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }

    /// As it is, without quotes.
    pub fn push_plain(&self, out: &mut Vec<u8>) {
        match self {
            Self::Empty => {}
            Self::U32(n) => push_number(out, (*n).into()),
            Self::U64(n) => push_number(out, *n),
            Self::S32(n) => write!(out, "{n}").expect("a vector takes every byte"),
            Self::Str(text) => out.extend_from_slice(text.as_bytes()),
        }
    }

    /// A CSV field: quoted only where it holds a comma, a quote or a line feed.
    pub fn push_csv(&self, out: &mut Vec<u8>) {
        match self {
            Self::Str(text) if text.contains([',', '"', '\n']) => {
                out.push(b'"');
                out.extend_from_slice(text.replace('"', "\"\"").as_bytes());
                out.push(b'"');
            }
            _ => self.push_plain(out),
        }
    }

    /// `u32:12`.
    pub fn push_typed(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.kind().as_bytes());
        out.push(b':');
        self.push_plain(out);
    }

    /// `{"type":"u32","value":12}`.
    pub fn push_json(&self, out: &mut Vec<u8>) {
        write!(out, "{{\"type\":\"{}\",\"value\":", self.kind())
            .expect("a vector takes every byte");
        match self {
            Self::Str(text) => push_json_string(out, text),
            _ => self.push_plain(out),
        }
        out.push(b'}');
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Empty | Self::Str(_) => "str",
            Self::U32(_) => "u32",
            Self::U64(_) => "u64",
            Self::S32(_) => "s32",
        }
    }
}

/// How an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Form {
    /// CSV of `show stat`, `name: value` of `show info`.
    #[default]
    Plain,
    Typed,
    Json,
}

/// `.1:MGPV:u32:12`, the end of a typed line; 1 is the process' number.
pub fn push_typed_end(out: &mut Vec<u8>, tags: Tags, value: &Value<'_>) {
    out.extend_from_slice(b".1:");
    tags.push(out);
    out.push(b':');
    value.push_typed(out);
}

/// The part of a JSON object that both statistics share: field, process, tags, value.
pub fn push_json_field(
    out: &mut Vec<u8>,
    position: usize,
    name: &str,
    tags: Tags,
    value: &Value<'_>,
) {
    write!(out, "\"field\":{{\"pos\":{position},\"name\":").expect("a vector takes every byte");
    push_json_string(out, name);
    write!(
        out,
        "}},\"processNum\":1,\"tags\":{{\"origin\":\"{}\",\"nature\":\"{}\",\"scope\":\"{}\"}},\"value\":",
        tags.origin(),
        tags.nature(),
        tags.scope()
    )
    .expect("a vector takes every byte");
    value.push_json(out);
}

/// A JSON string with its quotes.
pub fn push_json_string(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text)
        .expect("a vector takes every byte, and any text is a JSON string");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(push: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        push(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn csv_quotes_only_what_needs_it() {
        assert_eq!(
            shown(|o| Value::text("Connection refused").push_csv(o)),
            "Connection refused"
        );
        assert_eq!(
            shown(|o| Value::text("a,\"b\"").push_csv(o)),
            "\"a,\"\"b\"\"\""
        );
        assert_eq!(shown(|o| Value::Empty.push_csv(o)), "");
        assert_eq!(shown(|o| Value::S32(-1).push_csv(o)), "-1");
    }

    #[test]
    fn typed_values_name_their_type_and_persistence() {
        assert_eq!(
            shown(|o| push_typed_end(o, Tags(*b"KNS"), &Value::text("fe"))),
            ".1:KNSV:str:fe"
        );
        assert_eq!(
            shown(|o| push_typed_end(o, Tags(*b"MCP"), &Value::U64(3))),
            ".1:MCPP:u64:3"
        );
    }

    /// The text haproxy 2.6.12 printed for the first field of `show info json`.
    #[test]
    fn json_fields_are_haproxys() {
        assert_eq!(
            shown(|o| push_json_field(o, 0, "Name", Tags(*b"POS"), &Value::text("HAProxy"))),
            r#""field":{"pos":0,"name":"Name"},"processNum":1,"tags":{"origin":"Product","nature":"Output","scope":"Service"},"value":{"type":"str","value":"HAProxy"}"#
        );
    }
}
