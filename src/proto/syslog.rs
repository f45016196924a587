//! Syslog headers in haproxy's formats (configuration.txt 3.1 `log`; RFC 3164, RFC 5424), without
//! allocation. Levels, sampling and the cut to `len` are `observe::log::sink`'s.

use crate::base::civil::{Civil, four, push_number, two};
use crate::base::clock::Stamp;

/// What stands before the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `<134>Nov 20 22:55:31 host haproxy[1]: `; the host is [`Header::host`] or `localhost`.
    Rfc3164,
    /// The same without a host: what a local syslogd expects.
    Local,
    /// `<134>1 2026-11-20T22:55:31.676000+00:00 host haproxy 1 - - `, `-` for no host.
    Rfc5424,
    /// `<134>`: priority and facility.
    Priority,
    /// `<6>`: the level alone, as systemd reads it.
    Short,
    /// `<6>2026-11-20T22:55:31.676000+00:00 `.
    Timed,
    /// `2026-11-20T22:55:31.676000+00:00 `.
    Iso,
    Raw,
}

/// Everything a header may name.
#[derive(Clone, Copy, Debug)]
pub struct Header<'a> {
    pub format: Format,
    /// 0 to 23.
    pub facility: u8,
    /// 0 to 7.
    pub severity: u8,
    pub stamp: Stamp,
    /// `log-send-hostname`, if any.
    pub host: Option<&'a str>,
    pub tag: &'a str,
    pub pid: u32,
    /// Structured data of RFC 5424, as written; empty: none.
    pub structured: &'a [u8],
}

/// Appends the header, up to and including the space before the message.
pub fn push_header(out: &mut Vec<u8>, header: &Header<'_>) {
    let priority = u64::from(header.facility) * 8 + u64::from(header.severity);
    match header.format {
        Format::Raw => {}
        Format::Iso => {
            push_iso(out, &header.stamp);
            out.push(b' ');
        }
        Format::Short => push_priority(out, header.severity.into()),
        Format::Timed => {
            push_priority(out, header.severity.into());
            push_iso(out, &header.stamp);
            out.push(b' ');
        }
        Format::Priority => push_priority(out, priority),
        Format::Rfc3164 | Format::Local => {
            push_priority(out, priority);
            push_rfc3164_date(out, &header.stamp.civil);
            out.push(b' ');
            if header.format == Format::Rfc3164 {
                out.extend_from_slice(header.host.unwrap_or("localhost").as_bytes());
                out.push(b' ');
            }
            out.extend_from_slice(header.tag.as_bytes());
            out.push(b'[');
            push_number(out, header.pid.into());
            out.extend_from_slice(b"]: ");
        }
        Format::Rfc5424 => {
            push_priority(out, priority);
            out.extend_from_slice(b"1 ");
            push_iso(out, &header.stamp);
            out.push(b' ');
            out.extend_from_slice(header.host.unwrap_or("-").as_bytes());
            out.push(b' ');
            out.extend_from_slice(header.tag.as_bytes());
            out.push(b' ');
            push_number(out, header.pid.into());
            out.extend_from_slice(b" - ");
            let structured = header.structured;
            out.extend_from_slice(if structured.is_empty() {
                b"-"
            } else {
                structured
            });
            out.push(b' ');
        }
    }
}

fn push_priority(out: &mut Vec<u8>, number: u64) {
    out.push(b'<');
    push_number(out, number);
    out.push(b'>');
}

/// `Nov 20 22:55:31`; days below ten have a space before them (RFC 3164 4.1.2).
fn push_rfc3164_date(out: &mut Vec<u8>, civil: &Civil) {
    out.extend_from_slice(civil.month_name());
    out.push(b' ');
    let [tens, ones] = two(civil.day);
    out.push(if tens == b'0' { b' ' } else { tens });
    out.push(ones);
    out.push(b' ');
    push_time(out, civil);
}

/// `2026-11-20T22:55:31.676000+00:00` (RFC 3339).
fn push_iso(out: &mut Vec<u8>, stamp: &Stamp) {
    let civil = &stamp.civil;
    out.extend_from_slice(&four(civil.year));
    out.push(b'-');
    out.extend_from_slice(&two(civil.month));
    out.push(b'-');
    out.extend_from_slice(&two(civil.day));
    out.push(b'T');
    push_time(out, civil);
    out.push(b'.');
    out.extend_from_slice(&two(stamp.micros / 10_000));
    out.extend_from_slice(&four(stamp.micros % 10_000));
    out.push(if stamp.offset_s < 0 { b'-' } else { b'+' });
    let minutes = stamp.offset_s.unsigned_abs() / 60;
    out.extend_from_slice(&two(minutes / 60));
    out.push(b':');
    out.extend_from_slice(&two(minutes % 60));
}

fn push_time(out: &mut Vec<u8>, civil: &Civil) {
    out.extend_from_slice(&two(civil.hour));
    out.push(b':');
    out.extend_from_slice(&two(civil.minute));
    out.push(b':');
    out.extend_from_slice(&two(civil.second));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected texts were received from haproxy 2.6.12 on unix datagram sockets, one per format.
    fn header(format: Format, host: Option<&str>) -> String {
        header_with(format, host, b"")
    }

    fn header_with(format: Format, host: Option<&str>, structured: &[u8]) -> String {
        let stamp = Stamp {
            civil: Civil::from_seconds(1_795_215_390),
            micros: 640_318,
            offset_s: 0,
        };
        let mut out = Vec::new();
        push_header(
            &mut out,
            &Header {
                format,
                facility: 19,
                severity: 6,
                stamp,
                host,
                tag: "haproxy",
                pid: 20337,
                structured,
            },
        );
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn headers_are_those_haproxy_sends() {
        assert_eq!(
            header(Format::Local, None),
            "<158>Nov 20 22:56:30 haproxy[20337]: "
        );
        assert_eq!(
            header(Format::Rfc3164, None),
            "<158>Nov 20 22:56:30 localhost haproxy[20337]: "
        );
        assert_eq!(
            header(Format::Rfc5424, None),
            "<158>1 2026-11-20T22:56:30.640318+00:00 - haproxy 20337 - - "
        );
        assert_eq!(header(Format::Priority, None), "<158>");
        assert_eq!(header(Format::Short, None), "<6>");
        assert_eq!(
            header(Format::Timed, None),
            "<6>2026-11-20T22:56:30.640318+00:00 "
        );
        assert_eq!(
            header(Format::Iso, None),
            "2026-11-20T22:56:30.640318+00:00 "
        );
        assert_eq!(header(Format::Raw, None), "");
    }

    #[test]
    fn the_host_is_named_by_the_two_rfc_formats_only() {
        assert_eq!(
            header(Format::Rfc3164, Some("vm")),
            "<158>Nov 20 22:56:30 vm haproxy[20337]: "
        );
        assert_eq!(
            header(Format::Rfc5424, Some("vm")),
            "<158>1 2026-11-20T22:56:30.640318+00:00 vm haproxy 20337 - - "
        );
        assert_eq!(
            header(Format::Local, Some("vm")),
            "<158>Nov 20 22:56:30 haproxy[20337]: "
        );
        assert_eq!(
            header(Format::Iso, Some("vm")),
            "2026-11-20T22:56:30.640318+00:00 "
        );
    }

    #[test]
    fn structured_data_is_of_rfc_5424_only() {
        let data = b"[ex@1 h=200 c=\"127.0.0.1\"]";
        assert_eq!(
            header_with(Format::Rfc5424, None, data),
            "<158>1 2026-11-20T22:56:30.640318+00:00 - haproxy 20337 - [ex@1 h=200 c=\"127.0.0.1\"] "
        );
        assert_eq!(
            header_with(Format::Rfc3164, None, data),
            "<158>Nov 20 22:56:30 localhost haproxy[20337]: "
        );
    }

    #[test]
    fn a_day_below_ten_is_padded_with_a_space() {
        let mut out = Vec::new();
        push_rfc3164_date(&mut out, &Civil::from_seconds(0));
        assert_eq!(out, b"Jan  1 00:00:00");
    }

    #[test]
    fn zones_west_and_at_half_hours_are_signed_in_hours_and_minutes() {
        let text = |offset_s| {
            let mut out = Vec::new();
            push_iso(
                &mut out,
                &Stamp {
                    civil: Civil::from_seconds(0),
                    micros: 7,
                    offset_s,
                },
            );
            String::from_utf8(out).unwrap()
        };
        assert_eq!(text(-12_600), "1970-01-01T00:00:00.000007-03:30");
        assert_eq!(text(20_700), "1970-01-01T00:00:00.000007+05:45");
    }
}
