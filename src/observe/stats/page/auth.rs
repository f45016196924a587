//! `stats auth`: HTTP Basic authentication (RFC 7617) for the statistics page.

use crate::config::http::Stats;

/// What a browser shows where `stats realm` says nothing (configuration.txt 4.2, `stats enable`).
const REALM: &[u8] = b"HAProxy Statistics";

impl Stats {
    /// Whether one with this `Authorization` field may see the page. Anyone may where no `stats auth` names users;
    /// `stats realm` alone asks for nothing.
    pub fn admits(&self, authorization: Option<&[u8]>) -> bool {
        if self.auth.is_empty() {
            return true;
        }
        let Some(account) = authorization.and_then(credentials) else {
            return false;
        };
        // Every account is looked at, each to its end: the time taken tells nothing about them.
        let hits = self.auth.iter().filter(|known| same(known, &account));
        hits.count() > 0
    }

    /// Value of `WWW-Authenticate` in the 401.
    pub fn challenge(&self) -> Vec<u8> {
        let mut out = b"Basic realm=\"".to_vec();
        for &byte in self.realm.as_deref().unwrap_or(REALM) {
            if matches!(byte, b'"' | b'\\') {
                out.push(b'\\');
            }
            out.push(byte);
        }
        out.push(b'"');
        out
    }
}

/// `user:password` of a field `Basic …`; the scheme in any case.
fn credentials(field: &[u8]) -> Option<Vec<u8>> {
    let (scheme, rest) = field.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    decode(rest.trim_ascii())
}

/// Base64 with its padding (RFC 4648, section 4).
fn decode(text: &[u8]) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let padding = text.iter().rev().take_while(|&&b| b == b'=').count();
    if padding > 2 {
        return None;
    }
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0u32, 0);
    for &byte in &text[..text.len() - padding] {
        bits = bits << 6 | digit(byte)?;
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count & 0xff) as u8);
        }
    }
    Some(out)
}

fn digit(byte: u8) -> Option<u32> {
    Some(u32::from(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    }))
}

/// Equality that takes as long wherever the difference is.
fn same(known: &[u8], given: &[u8]) -> bool {
    let differ = known.iter().zip(given).fold(0, |all, (a, b)| all | (a ^ b));
    known.len() == given.len() && differ == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lang::source::{FileId, Span};

    fn page(accounts: &[&str]) -> Stats {
        let span = Span {
            file: FileId(0),
            line: 0,
            col: 0,
            len: 0,
        };
        Stats {
            auth: accounts.iter().map(|a| a.as_bytes().into()).collect(),
            ..Stats::new(span)
        }
    }

    #[test]
    fn each_of_several_users_is_admitted_and_nobody_else() {
        let page = page(&[
            "A_Username:YourPassword",
            "Another_User:passwd",
            "a:b:c",
            "u:",
        ]);
        for (field, admitted) in [
            // A_Username:YourPassword
            (&b"Basic QV9Vc2VybmFtZTpZb3VyUGFzc3dvcmQ="[..], true),
            (b"basic   QV9Vc2VybmFtZTpZb3VyUGFzc3dvcmQ= ", true),
            // Another_User:passwd
            (b"Basic QW5vdGhlcl9Vc2VyOnBhc3N3ZA==", true),
            // a:b:c, u:, a:b, u:x
            (b"Basic YTpiOmM=", true),
            (b"Basic dTo=", true),
            (b"Basic YTpi", false),
            (b"Basic dTp4", false),
            (b"Bearer QW5vdGhlcl9Vc2VyOnBhc3N3ZA==", false),
            (b"Basic QW5vdGhlcl9Vc2VyOnBhc3N3ZA", false),
            (b"Basic ====", false),
            (b"Basic YTp=YjpjYTpi", false),
            (b"Basic ", false),
            (b"Basic", false),
            (b"", false),
        ] {
            let shown = String::from_utf8_lossy(field);
            assert_eq!(page.admits(Some(field)), admitted, "{shown}");
        }
        assert!(!page.admits(None));
    }

    #[test]
    fn without_users_everyone_is_admitted() {
        assert!(page(&[]).admits(None) && page(&[]).admits(Some(b"Basic x")));
    }

    #[test]
    fn the_realm_is_quoted() {
        let mut page = page(&[]);
        assert_eq!(page.challenge(), b"Basic realm=\"HAProxy Statistics\"");
        page.realm = Some((*b"a \"b\" \\c").into());
        assert_eq!(page.challenge(), br#"Basic realm="a \"b\" \\c""#);
    }
}
