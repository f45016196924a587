//! How a session ended: cause and stage, from which the log's two letters follow
//! (configuration.txt 8.5, "Session state at disconnection").

/// Who or what ended the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Both sides ended in good order.
    Normal,
    /// The client aborted.
    Client,
    /// `timeout client` (or its fin form) ran out.
    ClientTimeout,
    /// The server refused or aborted, or there is none.
    Server,
    /// `timeout connect`, `server`, `queue` (or a fin form) ran out.
    ServerTimeout,
    /// Refused by us: rules, limits.
    Proxy,
    /// Answered by us: redirects, statistics, `return`.
    Local,
    /// Out of descriptors, memory, ports.
    Resource,
    /// A mistake of ours: the driver panicked.
    Internal,
    /// Killed by an operator or by a stop.
    Killed,
    /// `on-marked-down shutdown-sessions`.
    Down,
    /// `on-marked-up shutdown-backup-sessions`.
    Up,
}

/// How far it had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StageReached {
    /// Nothing was asked yet (PROXY header).
    Request,
    Queue,
    Connect,
    /// Waited for the response's head.
    Headers,
    Data,
    /// The server had ended; the rest was on its way to the client.
    Last,
    /// Held in a tarpit.
    Tarpit,
    /// In good order.
    End,
}

/// The two letters.
pub fn letters(cause: Cause, stage: StageReached) -> [u8; 2] {
    let cause_letter = match cause {
        Cause::Normal => b'-',
        Cause::Client => b'C',
        Cause::ClientTimeout => b'c',
        Cause::Server => b'S',
        Cause::ServerTimeout => b's',
        Cause::Proxy => b'P',
        Cause::Local => b'L',
        Cause::Resource => b'R',
        Cause::Internal => b'I',
        Cause::Killed => b'K',
        Cause::Down => b'D',
        Cause::Up => b'U',
    };
    let stage_letter = match (cause, stage) {
        (Cause::Normal, _) | (_, StageReached::End) => b'-',
        (_, StageReached::Request) => b'R',
        (_, StageReached::Queue) => b'Q',
        (_, StageReached::Connect) => b'C',
        (_, StageReached::Headers) => b'H',
        (_, StageReached::Data) => b'D',
        (_, StageReached::Tarpit) => b'T',
        (_, StageReached::Last) => b'L',
    };
    [cause_letter, stage_letter]
}
