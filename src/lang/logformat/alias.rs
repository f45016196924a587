//! The aliases of log formats, and what each reads (configuration.txt 8.2.6).

use crate::lang::expr::Needs;

/// One alias. Named as haproxy spells it, for want of better words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alias {
    /// `%ci %cp`: the client. A unix socket is `unix` and the number of its bind.
    ClientIp,
    ClientPort,
    /// `%fi %fp`: where the client connected to.
    FrontIp,
    FrontPort,
    /// `%bi %bp`: where the connection to the server comes from; `%si %sp`: where it goes.
    BackIp,
    BackPort,
    ServerIp,
    ServerPort,
    /// `%t`: local, with milliseconds; `%T`, `%Tl`: Greenwich and local with the zone; of the connection.
    Date,
    DateGmt,
    DateLocal,
    /// `%tr %trg %trl`: the same of the request.
    RequestDate,
    RequestDateGmt,
    RequestDateLocal,
    /// `%Ts`: seconds since the epoch; `%ms`: the milliseconds of that second.
    Seconds,
    Millis,
    Frontend,
    /// `%ft`: with `~` behind it where the client speaks TLS.
    FrontendTransport,
    Backend,
    Server,
    /// `%ac %fc %bc %sc`: connections.
    ProcessConns,
    FrontConns,
    BackConns,
    ServerConns,
    Retries,
    ServerQueue,
    BackQueue,
    /// `%B`: bytes from the server; `%U`: bytes from the client.
    BytesOut,
    BytesIn,
    Status,
    RequestCookie,
    ResponseCookie,
    /// `%hr %hs`: `{a|b}`; `%hrl %hsl`: each one a word.
    RequestHeaders,
    ResponseHeaders,
    RequestHeaderList,
    ResponseHeaderList,
    /// `%r`: the request line; its parts follow.
    Request,
    Method,
    Path,
    PathOnly,
    Query,
    Uri,
    Version,
    UniqueId,
    Hostname,
    Pid,
    RequestCounter,
    LogCounter,
    /// `%ts`, `%tsc`: two letters, and four.
    State,
    StateCookie,
    /// `%TR %Tw %Tc %Tr %Ta %Td %Th %Ti %Tq %Tt %Tu`.
    RequestTime,
    QueueTime,
    ConnectTime,
    ResponseTime,
    ActiveTime,
    DataTime,
    HandshakeTime,
    IdleTime,
    TotalRequestTime,
    TotalTime,
    UserTime,
    TlsCiphers,
    TlsVersion,
    /// `%OG`: at which step the line was made (haproxy 3.1).
    Origin,
}

/// Spelling, alias, whether only HTTP has it. The spelling that one has first is its name.
static TABLE: &[(&str, Alias, bool)] = {
    use Alias::*;
    &[
        ("ci", ClientIp, false),
        ("cp", ClientPort, false),
        ("fi", FrontIp, false),
        ("fp", FrontPort, false),
        ("bi", BackIp, false),
        ("bp", BackPort, false),
        ("si", ServerIp, false),
        ("sp", ServerPort, false),
        ("t", Date, false),
        ("T", DateGmt, false),
        ("Tl", DateLocal, false),
        ("tr", RequestDate, true),
        ("trg", RequestDateGmt, true),
        ("trl", RequestDateLocal, true),
        ("Ts", Seconds, false),
        ("ms", Millis, false),
        ("f", Frontend, false),
        ("ft", FrontendTransport, false),
        ("b", Backend, false),
        ("s", Server, false),
        ("ac", ProcessConns, false),
        ("fc", FrontConns, false),
        ("bc", BackConns, false),
        ("sc", ServerConns, false),
        ("rc", Retries, false),
        ("sq", ServerQueue, false),
        ("bq", BackQueue, false),
        ("B", BytesOut, false),
        ("U", BytesIn, false),
        ("ST", Status, false),
        ("CC", RequestCookie, true),
        ("CS", ResponseCookie, true),
        ("hr", RequestHeaders, false),
        ("hs", ResponseHeaders, false),
        ("hrl", RequestHeaderList, false),
        ("hsl", ResponseHeaderList, false),
        ("r", Request, true),
        ("HM", Method, true),
        ("HP", Path, true),
        ("HPO", PathOnly, true),
        ("HQ", Query, true),
        ("HU", Uri, true),
        ("HV", Version, true),
        ("ID", UniqueId, false),
        ("H", Hostname, false),
        ("pid", Pid, false),
        ("rt", RequestCounter, false),
        ("lc", LogCounter, false),
        ("ts", State, false),
        ("tsc", StateCookie, false),
        ("TR", RequestTime, true),
        ("Tw", QueueTime, false),
        ("Tc", ConnectTime, false),
        ("Tr", ResponseTime, true),
        ("Ta", ActiveTime, true),
        ("Td", DataTime, false),
        ("Th", HandshakeTime, false),
        ("Ti", IdleTime, true),
        ("Tq", TotalRequestTime, true),
        ("Tt", TotalTime, false),
        ("Tu", UserTime, false),
        ("sslc", TlsCiphers, false),
        ("sslv", TlsVersion, false),
        ("OG", Origin, false),
    ]
};

impl Alias {
    /// The alias spelled so, without its percent sign.
    pub fn of(spelling: &[u8]) -> Option<Self> {
        let found = TABLE.iter().find(|e| e.0.as_bytes() == spelling)?;
        Some(found.1)
    }
    /// Every spelling.
    pub fn names() -> impl Iterator<Item = &'static str> {
        TABLE.iter().map(|e| e.0)
    }
    fn entry(self) -> &'static (&'static str, Self, bool) {
        let entry = TABLE.iter().find(|e| e.1 == self);
        entry.expect("every alias is in the table")
    }
    /// Its spelling.
    pub fn name(self) -> &'static str {
        self.entry().0
    }
    /// haproxy refuses it in TCP mode.
    pub fn http_only(self) -> bool {
        self.entry().2
    }
    /// What must be at hand for it.
    pub fn needs(self) -> Needs {
        match self {
            Self::FrontIp | Self::FrontPort => Needs::LOCAL_ADDRESS,
            Self::BackIp | Self::BackPort | Self::ServerIp | Self::ServerPort => Needs::SERVER_ENDS,
            _ => Needs::default(),
        }
    }
}
