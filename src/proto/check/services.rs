//! Protocols whose checks are built in: SMTP, Redis, LDAP, PostgreSQL, MySQL. What is sent, and what answers mean.
//!
//! Each `…_answer(bytes, ended)` reads all that came since the last question; `None` while more is needed. Bytes,
//! results and words were compared with haproxy 2.6.12. Two answers are judged sooner than there: a refusal that is
//! whole fails at once, where haproxy waits for more until its time is over; and an SMTP reply of several lines is one
//! (RFC 5321 4.2.1, so in haproxy 3.x).

use super::{Answer, Status, shown};

/// `QUIT` of SMTP.
pub const SMTP_QUIT: &[u8] = b"QUIT\r\n";
/// `PING` as Redis takes it (RESP).
pub const REDIS_PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";
/// An anonymous bind, version 3 (RFC 4511 4.2).
pub const LDAP_BIND: &[u8] = b"\x30\x0c\x02\x01\x01\x60\x07\x02\x01\x03\x04\x00\x80\x00";

fn said(status: Status, code: impl Into<i32>, info: impl Into<String>) -> Option<Answer> {
    Some(Answer {
        status,
        code: code.into(),
        info: info.into(),
    })
}

/// The first line, without its end; whether the end is there.
fn first_line(bytes: &[u8]) -> (&[u8], bool) {
    match bytes.iter().position(|&b| b == b'\n') {
        Some(end) => (bytes[..end].trim_ascii_end(), true),
        None => (bytes.trim_ascii_end(), false),
    }
}

// ---------------------------------------------------------------- SMTP

/// A reply (RFC 5321 4.2): 2xx is good.
pub fn smtp_answer(bytes: &[u8], ended: bool) -> Option<Answer> {
    let mut rest = bytes;
    loop {
        let (line, whole) = first_line(rest);
        if !whole && !ended {
            return None;
        }
        let digits = line.len() >= 3 && line[..3].iter().all(u8::is_ascii_digit);
        let goes_on = line.get(3) == Some(&b'-');
        if !digits || !(line.len() == 3 || goes_on || line[3] == b' ') || !whole {
            return said(Status::L7Rsp, 0, shown(line));
        }
        if !goes_on {
            let code = line[..3]
                .iter()
                .fold(0, |n, d| n * 10 + u16::from(d - b'0'));
            let status = if line[0] == b'2' {
                Status::L7Ok
            } else {
                Status::L7Sts
            };
            return said(status, code, shown(line[3..].trim_ascii()));
        }
        let end = rest.iter().position(|&b| b == b'\n').expect("it is whole");
        rest = &rest[end + 1..];
        if rest.is_empty() && ended {
            return said(Status::L7Rsp, 0, shown(line));
        }
    }
}

// ---------------------------------------------------------------- Redis

pub fn redis_answer(bytes: &[u8], ended: bool) -> Option<Answer> {
    let (line, whole) = first_line(bytes);
    if !whole && !ended {
        return None;
    }
    if whole && line.starts_with(b"+PONG") {
        return said(Status::L7Ok, 0, "Redis server is ok");
    }
    said(Status::L7Sts, 0, shown(line))
}

// ---------------------------------------------------------------- LDAP

/// A BindResponse (RFC 4511 4.2.2) inside of its LDAPMessage; lengths in any form of BER.
pub fn ldap_answer(bytes: &[u8], ended: bool) -> Option<Answer> {
    const SEQUENCE: u8 = 0x30;
    const INTEGER: u8 = 0x02;
    const BIND_RESPONSE: u8 = 0x61;
    const ENUMERATED: u8 = 0x0a;
    let wrong = || said(Status::L7Rsp, 0, "Not LDAPv3 protocol");
    let mut at = 0;
    for (tag, enter) in [
        (SEQUENCE, true),
        (INTEGER, false),
        (BIND_RESPONSE, true),
        (ENUMERATED, false),
    ] {
        let Some(&found) = bytes.get(at) else {
            return ended.then(|| Answer::plain(Status::L7Rsp));
        };
        if found != tag {
            return wrong();
        }
        let (len, after) = match ber_len(&bytes[at + 1..]) {
            Some(Ok((len, size))) => (len, at + 1 + size),
            Some(Err(())) => return wrong(),
            None => return ended.then(|| Answer::plain(Status::L7Rsp)),
        };
        at = if enter {
            after
        } else {
            after.saturating_add(len)
        };
        if tag == ENUMERATED {
            let Some(value) = bytes.get(after..at) else {
                return ended.then(|| Answer::plain(Status::L7Rsp));
            };
            return match value {
                [0] => said(Status::L7Ok, 0, ""),
                [code] => said(
                    Status::L7Sts,
                    *code,
                    "See RFC: http://tools.ietf.org/html/rfc4511#section-4.1.9",
                ),
                _ => wrong(),
            };
        }
    }
    wrong()
}

/// A length and the bytes it is written in (X.690 8.1.3); `None`: not all there yet.
fn ber_len(bytes: &[u8]) -> Option<Result<(usize, usize), ()>> {
    let first = usize::from(*bytes.first()?);
    if first < 0x80 {
        return Some(Ok((first, 1)));
    }
    let size = first & 0x7f;
    if !(1..=4).contains(&size) {
        return Some(Err(()));
    }
    let digits = bytes.get(1..=size)?;
    let len = digits.iter().fold(0_usize, |n, &d| n << 8 | usize::from(d));
    Some(Ok((len, 1 + size)))
}

// ---------------------------------------------------------------- PostgreSQL

/// A StartupMessage of protocol 3.0.
pub fn pgsql_startup(user: &[u8]) -> Vec<u8> {
    let body = [b"\x00\x03\x00\x00user\x00", user, b"\x00\x00"].concat();
    let len = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
    [&len.to_be_bytes()[..], &body].concat()
}

/// Any request for authentication is a server that works; an ErrorResponse is told by its first field.
pub fn pgsql_answer(bytes: &[u8], ended: bool) -> Option<Answer> {
    match bytes.first() {
        None => ended.then(|| Answer::plain(Status::L7Rsp)),
        Some(b'R') if bytes.len() >= 9 => said(Status::L7Ok, 0, "PostgreSQL server is ok"),
        Some(b'E') if bytes.len() > 6 && bytes[6..].contains(&0) => {
            let end = bytes[6..].iter().position(|&b| b == 0).unwrap_or(0);
            said(Status::L7Rsp, 0, shown(&bytes[6..6 + end]))
        }
        Some(b'R' | b'E') if !ended => None,
        Some(_) => said(Status::L7Sts, 0, "PostgreSQL unknown error"),
    }
}

// ---------------------------------------------------------------- MySQL

/// Which client we are to a MySQL server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MysqlClient {
    Pre41,
    Post41,
    /// Names the authentication plugin of MySQL 8.
    Post80,
}

/// A login of `user` without password, and COM_QUIT behind it.
pub fn mysql_login(user: &[u8], client: MysqlClient) -> Vec<u8> {
    const PROTOCOL_41: u32 = 0x200;
    const SECURE_CONNECTION: u32 = 0x8000;
    const PLUGIN_AUTH: u32 = 0x8_0000;
    const UTF8: u8 = 33;
    let login = match client {
        MysqlClient::Pre41 => [&[0x00, 0x80, 0, 0, 1][..], user, &[0, 0]].concat(),
        MysqlClient::Post41 | MysqlClient::Post80 => {
            let mut flags = PROTOCOL_41 | SECURE_CONNECTION;
            if client == MysqlClient::Post80 {
                flags |= PLUGIN_AUTH;
            }
            let mut login = flags.to_le_bytes().to_vec();
            login.extend([0x00, 0x80, 0x00, 0x01, UTF8]);
            login.extend([0; 23]);
            login.extend(user);
            login.extend([0, 0]);
            if client == MysqlClient::Post80 {
                login.extend(b"caching_sha2_password\0");
            }
            login
        }
    };
    let len = u32::try_from(login.len()).unwrap_or(u32::MAX).to_le_bytes();
    [&[len[0], len[1], len[2], 1][..], &login, &[1, 0, 0, 0, 1]].concat()
}

/// One whole packet that is no error is good.
pub fn mysql_answer(bytes: &[u8], ended: bool) -> Option<Answer> {
    const ERROR: u8 = 0xff;
    let short = || ended.then(|| Answer::plain(Status::L7Rsp));
    let Some(head) = bytes.get(..4) else {
        return short();
    };
    let len = usize::from(head[0]) | usize::from(head[1]) << 8 | usize::from(head[2]) << 16;
    let Some(body) = bytes.get(4..4 + len) else {
        return short();
    };
    match body {
        [ERROR, low, high, text @ ..] => {
            let code = u16::from_le_bytes([*low, *high]);
            said(Status::L7Sts, code, shown(text))
        }
        [] | [ERROR, ..] => Some(Answer::plain(Status::L7Rsp)),
        _ => said(Status::L7Ok, 0, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(answer: Option<Answer>) -> String {
        answer.map_or_else(
            || "more".to_owned(),
            |a| format!("{} {} {}", a.status.name(), a.code, a.info),
        )
    }

    #[test]
    fn smtp_replies_are_read_whole() {
        let smtp = |text: &[u8], ended| told(smtp_answer(text, ended));
        assert_eq!(smtp(b"220 mail\r\n", false), "L7OK 220 mail");
        assert_eq!(smtp(b"220\r\n", false), "L7OK 220 ");
        assert_eq!(smtp(b"220-a\r\n220 b\r\n", false), "L7OK 220 b");
        assert_eq!(smtp(b"220-a\r\n220 b", false), "more");
        assert_eq!(smtp(b"220 ma", false), "more");
        assert_eq!(smtp(b"554 no\r\n", false), "L7STS 554 no");
        assert_eq!(smtp(b"hello\r\n", true), "L7RSP 0 hello");
        assert_eq!(smtp(b"22", true), "L7RSP 0 22");
        assert_eq!(smtp(b"220-a\r\n", true), "L7RSP 0 220-a");
        assert_eq!(smtp(b"2200 x\r\n", false), "L7RSP 0 2200 x");
        assert_eq!(smtp(b"", true), "L7RSP 0 ");
    }

    #[test]
    fn redis_says_pong_or_why_not() {
        let redis = |text: &[u8], ended| told(redis_answer(text, ended));
        assert_eq!(redis(b"+PONG\r\n", false), "L7OK 0 Redis server is ok");
        assert_eq!(redis(b"+PO", false), "more");
        assert_eq!(redis(b"-NOAUTH x\r\n", false), "L7STS 0 -NOAUTH x");
    }

    #[test]
    fn ldap_answers_a_bind_with_a_result() {
        let ldap = |text: &[u8], ended| told(ldap_answer(text, ended));
        let good = b"\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x00\x04\x00\x04\x00";
        assert_eq!(ldap(good, false), "L7OK 0 ");
        let long =
            b"\x30\x84\x00\x00\x00\x10\x02\x01\x01\x61\x84\x00\x00\x00\x07\x0a\x01\x00\x04\x00\x04\x00";
        assert_eq!(ldap(long, false), "L7OK 0 ");
        for end in 1..10 {
            assert_eq!(ldap(&good[..end - 1], false), "more", "{end}");
        }
        let refused = b"\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x31\x04\x00\x04\x00";
        assert!(ldap(refused, false).starts_with("L7STS 49 See RFC: "));
        assert_eq!(ldap(b"hello world", false), "L7RSP 0 Not LDAPv3 protocol");
        assert_eq!(ldap(b"\x30", true), "L7RSP 0 ");
        assert_eq!(ldap(b"\x30\x80", true), "L7RSP 0 Not LDAPv3 protocol");
        assert_eq!(ldap(b"\x30\x0c\x02\x84\xff\xff\xff\xff", true), "L7RSP 0 ");
    }

    #[test]
    fn pgsql_asks_for_a_password_or_refuses() {
        let pgsql = |text: &[u8], ended| told(pgsql_answer(text, ended));
        let ok = "L7OK 0 PostgreSQL server is ok";
        assert_eq!(pgsql(b"R\0\0\0\x08\0\0\0\0", false), ok);
        assert_eq!(pgsql(b"R\0\0\0\x0c\0\0\0\x05abcd", false), ok);
        assert_eq!(pgsql(b"R\0\0", false), "more");
        assert_eq!(
            pgsql(b"E\0\0\0\x20SFATAL\0Cxx\0Mno such user\0\0", false),
            "L7RSP 0 FATAL"
        );
        for text in [&b"hello you there"[..], b"R"] {
            assert_eq!(
                pgsql(text, true),
                "L7STS 0 PostgreSQL unknown error",
                "{text:?}"
            );
        }
        assert_eq!(
            pgsql_startup(b"foo"),
            b"\x00\x00\x00\x12\x00\x03\x00\x00user\x00foo\x00\x00"
        );
    }

    #[test]
    fn mysql_greets_or_refuses() {
        let mysql = |text: &[u8], ended| told(mysql_answer(text, ended));
        assert_eq!(mysql(b"\x07\0\0\x02\0\0\0\x02\0\0\0", false), "L7OK 0 ");
        assert_eq!(mysql(b"\x07\0\0\x02\0\0", false), "more");
        assert_eq!(
            mysql(b"\x14\0\0\0\xff\x69\x04Host x is blocked", false),
            "L7STS 1129 Host x is blocked"
        );
        assert_eq!(mysql(b"hello this is not mysql", true), "L7RSP 0 ");
        assert_eq!(mysql(b"ab", true), "L7RSP 0 ");
        assert_eq!(mysql(b"", true), "L7RSP 0 ");
        let quit = b"\x01\x00\x00\x00\x01";
        let post = mysql_login(b"foo", MysqlClient::Post41);
        assert_eq!(post[..4], *b"\x25\x00\x00\x01");
        assert_eq!(post[4..13], *b"\x00\x82\x00\x00\x00\x80\x00\x01\x21");
        assert_eq!(post[36..], [&b"foo\0\0"[..], quit].concat());
        assert_eq!(
            mysql_login(b"foo", MysqlClient::Pre41),
            [
                &b"\x0a\x00\x00\x01\x00\x80\x00\x00\x01foo\x00\x00"[..],
                quit
            ]
            .concat()
        );
    }
}
