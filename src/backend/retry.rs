//! Whether a request that failed is sent again (configuration.txt 4.2, `retries`, `retry-on`).

use crate::config::http::RetryOn;

/// What went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// No connection: nothing was sent.
    Connect,
    /// Closed before a byte of the response.
    Empty,
    /// What came is no response, or not all of its head.
    Junk,
    /// `timeout server` while waiting for the response.
    Timeout,
    /// A response of this status.
    Status(u16),
    /// The server refused early data.
    EarlyData,
}

/// Where the request stands.
#[derive(Debug, Clone, Copy)]
pub struct Attempt {
    /// Attempts made beyond the first.
    pub retries: u32,
    /// `retries`.
    pub most: u32,
    /// All that was sent is still at hand, so that it can be sent again: the request fits a buffer.
    pub replayable: bool,
    /// `http-request disable-l7-retry`.
    pub disabled: bool,
}

/// May the request be sent again? A failed connect loses nothing, so it needs no copy of the request.
pub fn may_retry(on: &RetryOn, failure: Failure, attempt: Attempt) -> bool {
    let asked = match failure {
        Failure::Connect => on.conn_failure,
        Failure::Empty => on.empty_response,
        Failure::Junk => on.junk_response,
        Failure::Timeout => on.response_timeout,
        Failure::Status(status) => on.statuses.contains(&status),
        Failure::EarlyData => on.zero_rtt_rejected,
    };
    let again = failure == Failure::Connect || attempt.replayable && !attempt.disabled;
    asked && again && attempt.retries < attempt.most
}

/// Does anything but a failed connect lead to another attempt, so that requests have to be kept?
pub fn keeps_requests(on: &RetryOn) -> bool {
    on.empty_response
        || on.junk_response
        || on.response_timeout
        || on.zero_rtt_rejected
        || !on.statuses.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Attempt = Attempt {
        retries: 0,
        most: 3,
        replayable: true,
        disabled: false,
    };

    #[test]
    fn only_failed_connects_are_retried_unless_more_is_asked_for() {
        let on = RetryOn::default();
        let cut = Attempt {
            replayable: false,
            ..FIRST
        };
        assert!(may_retry(&on, Failure::Connect, cut) && !keeps_requests(&on));
        for other in [
            Failure::Empty,
            Failure::Junk,
            Failure::Timeout,
            Failure::Status(503),
            Failure::EarlyData,
        ] {
            assert!(!may_retry(&on, other, FIRST), "{other:?}");
        }
        let spent = Attempt {
            retries: 3,
            ..FIRST
        };
        assert!(!may_retry(&on, Failure::Connect, spent));
    }

    #[test]
    fn what_was_sent_is_sent_again_only_if_it_is_at_hand() {
        let on = RetryOn {
            conn_failure: false,
            empty_response: true,
            statuses: vec![503],
            ..RetryOn::default()
        };
        assert!(keeps_requests(&on));
        assert!(!may_retry(&on, Failure::Connect, FIRST));
        for failure in [Failure::Empty, Failure::Status(503)] {
            assert!(may_retry(&on, failure, FIRST));
            let cut = Attempt {
                replayable: false,
                ..FIRST
            };
            assert!(!may_retry(&on, failure, cut));
            let disabled = Attempt {
                disabled: true,
                ..FIRST
            };
            assert!(!may_retry(&on, failure, disabled));
        }
        assert!(!may_retry(&on, Failure::Status(500), FIRST));
    }
}
