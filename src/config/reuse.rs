//! Which connections to servers are used again and which requests are sent again (configuration.txt 4.2):
//! `http-reuse`, `retry-on`.

use super::http::{RetryOn, Reuse};
use super::keyword::{B, D, Keyword, L, MANY};
use super::raw::ProxyRaw;
use super::words::{Args, Said};
use crate::lang::diag::{did_you_mean, nearest};

pub(super) static TABLE: &[Keyword<ProxyRaw>] = &[
    Keyword::new(
        "http-reuse",
        D | L | B,
        (0, 1),
        "{never|safe|aggressive|always}",
        "which requests may go over idle connections of others",
        reuse,
    ),
    Keyword::new(
        "retry-on",
        D | L | B,
        (0, MANY),
        "{none|conn-failure|empty-response|junk-response|response-timeout|0rtt-rejected|<status>|all-retryable-errors}…",
        "failures after which a request is sent again",
        retry_on,
    )
    .strict_place(),
];

fn reuse(proxy: &mut ProxyRaw, args: &mut Args<'_, '_>) -> Result<(), Said> {
    const WORDS: [&str; 4] = ["never", "safe", "aggressive", "always"];
    let word = args.next();
    let text = word.map(|w| w.text());
    proxy.set.http.reuse = match text.as_deref() {
        Some("never") => Reuse::Never,
        Some("safe") => Reuse::Safe,
        Some("aggressive") => Reuse::Aggressive,
        Some("always") => Reuse::Always,
        other => {
            let hint = did_you_mean(&nearest(other.unwrap_or(""), WORDS));
            let span = word.map_or_else(|| args.end(), |w| w.span);
            let text = format!(
                "'http-reuse' only supports 'never', 'safe', 'aggressive', 'always'{}",
                if hint.is_empty() { "." } else { &hint }
            );
            return Err(args.fail(span, text));
        }
    };
    Ok(())
}

/// Statuses that may be tried again.
const STATUSES: [u16; 10] = [401, 403, 404, 408, 425, 500, 501, 502, 503, 504];

fn retry_on(proxy: &mut ProxyRaw, args: &mut Args<'_, '_>) -> Result<(), Said> {
    const WORDS: [&str; 7] = [
        "none",
        "conn-failure",
        "empty-response",
        "junk-response",
        "response-timeout",
        "0rtt-rejected",
        "all-retryable-errors",
    ];
    let words = args.rest();
    if words.is_empty() {
        let end = args.end();
        let text = "'retry-on' needs at least one keyword to specify when to retry";
        return Err(args.fail(end, text));
    }
    let mut out = RetryOn {
        conn_failure: false,
        ..RetryOn::default()
    };
    while let Some(word) = args.next() {
        let text = word.text();
        match &*text {
            "none" if words.len() == 1 => {}
            "none" => {
                let text = "'retry-on' 'none' keyworld only usable alone";
                return Err(args.fail(word.span, text));
            }
            "conn-failure" => out.conn_failure = true,
            "empty-response" => out.empty_response = true,
            "junk-response" => out.junk_response = true,
            "response-timeout" => out.response_timeout = true,
            "0rtt-rejected" => out.zero_rtt_rejected = true,
            "all-retryable-errors" => {
                out.conn_failure = true;
                out.empty_response = true;
                out.junk_response = true;
                out.response_timeout = true;
                out.zero_rtt_rejected = true;
                out.statuses.extend([500, 502, 503, 504]);
            }
            other => match other.parse().ok().filter(|s| STATUSES.contains(s)) {
                Some(status) => out.statuses.push(status),
                None => {
                    let hint = did_you_mean(&nearest(other, WORDS));
                    let text = format!("'retry-on': unknown keyword '{other}'{hint}");
                    let help = format!("statuses that can be retried: {STATUSES:?}");
                    return Err(args.fail_help(word.span, text, help));
                }
            },
        }
    }
    out.statuses.sort_unstable();
    out.statuses.dedup();
    proxy.set.http.retry_on = out;
    Ok(())
}
