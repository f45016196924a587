//! TLS hello messages at the start of a connection that is not ours to decrypt (RFC 8446 4.1.2, RFC 6066, RFC 7301).

/// What the bytes so far are.
#[derive(Debug)]
pub(super) enum Hello<'a> {
    /// More bytes decide.
    Short,
    /// No hello of SSL 3 or TLS.
    No,
    Is(Parts<'a>),
}

/// The parts of a hello.
#[derive(Debug, Default)]
pub(super) struct Parts<'a> {
    pub(super) kind: u8,
    /// All of it is there.
    pub(super) whole: bool,
    /// Version of the hello message, major and minor.
    pub(super) version: (u8, u8),
    pub(super) ciphers: Option<&'a [u8]>,
    pub(super) extensions: &'a [u8],
}

/// Reads a hello, be it cut short: what stands in front of the cut is told.
pub(super) fn read(bytes: &[u8]) -> Hello<'_> {
    match bytes {
        [] => return Hello::Short,
        [0x16, ..] => {}
        _ => return Hello::No,
    }
    let Some((header, rest)) = bytes.split_first_chunk::<5>() else {
        return Hello::Short;
    };
    if header[1] < 3 {
        return Hello::No;
    }
    let record = usize::from(header[3]) << 8 | usize::from(header[4]);
    if record < 4 {
        return Hello::No;
    }
    let Some((message, rest)) = rest.split_first_chunk::<4>() else {
        return Hello::Short;
    };
    let [kind, length @ ..] = message;
    let length = length.iter().fold(0, |sum, &b| sum << 8 | usize::from(b));
    if length < 2 + 32 + 1 {
        return Hello::No;
    }
    // A message may go on in further records; what this one holds has to do.
    let length = length.min(record - 4);
    let body = &rest[..length.min(rest.len())];
    let [major, minor, ..] = body else {
        return Hello::Short;
    };
    let mut parts = Parts {
        kind: *kind,
        whole: body.len() == length,
        version: (*major, *minor),
        ..Parts::default()
    };
    if *kind == 1 {
        client(body, &mut parts);
    }
    Hello::Is(parts)
}

/// Cipher suites and extensions, as far as they are there and well-formed.
fn client<'a>(body: &'a [u8], parts: &mut Parts<'a>) -> Option<()> {
    let rest = body.get(2 + 32..)?;
    let (_, rest) = by_length(rest, 1)?;
    let (ciphers, rest) = by_length(rest, 2)?;
    parts.ciphers = Some(ciphers);
    let (_, rest) = by_length(rest, 1)?;
    let (length, rest) = rest.split_first_chunk::<2>()?;
    let length = usize::from(u16::from_be_bytes(*length));
    parts.extensions = &rest[..length.min(rest.len())];
    Some(())
}

/// A block behind its length of `width` bytes, and what follows it.
fn by_length(bytes: &[u8], width: usize) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_at_checked(width)?;
    let length = length.iter().fold(0, |sum, &b| sum << 8 | usize::from(b));
    rest.split_at_checked(length)
}

impl<'a> Parts<'a> {
    /// Content of the extension of type `wanted`.
    pub(super) fn extension(&self, wanted: u16) -> Option<&'a [u8]> {
        let mut rest = self.extensions;
        loop {
            let (kind, after) = rest.split_first_chunk::<2>()?;
            let (content, after) = by_length(after, 2)?;
            if u16::from_be_bytes(*kind) == wanted {
                return Some(content);
            }
            rest = after;
        }
    }

    /// The host name asked for (`server_name`).
    pub(super) fn server_name(&self) -> Option<&'a [u8]> {
        let (mut names, _) = by_length(self.extension(0)?, 2)?;
        while let Some((&kind, after)) = names.split_first() {
            let (name, after) = by_length(after, 2)?;
            if kind == 0 {
                return Some(name);
            }
            names = after;
        }
        None
    }

    /// The first protocol offered (`application_layer_protocol_negotiation`).
    pub(super) fn protocol(&self) -> Option<&'a [u8]> {
        let (list, _) = by_length(self.extension(16)?, 2)?;
        by_length(list, 1).map(|(name, _)| name)
    }
}
