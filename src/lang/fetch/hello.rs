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

/// A complete hello of a client, or only the type of a server's.
#[derive(Debug, Default)]
pub(super) struct Parts<'a> {
    pub(super) kind: u8,
    /// Version of the hello message, major and minor.
    pub(super) version: (u8, u8),
    pub(super) ciphers: &'a [u8],
    pub(super) extensions: &'a [u8],
}

/// Reads a hello; only that of a client has its parts taken out.
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
    let length =
        usize::from(message[1]) << 16 | usize::from(message[2]) << 8 | usize::from(message[3]);
    let kind = message[0];
    if length < 2 + 32 + 1 {
        return Hello::No;
    }
    // A message may go on in further records; what this one holds has to do.
    let length = length.min(record - 4);
    if rest.len() < length {
        return Hello::Short;
    }
    let body = &rest[..length];
    let mut parts = Parts {
        kind,
        ..Parts::default()
    };
    if kind == 1 {
        parts.version = (body[0], *body.get(1).unwrap_or(&0));
        client(body, &mut parts);
    }
    Hello::Is(parts)
}

/// Cipher suites and extensions, as far as they are well-formed.
fn client<'a>(body: &'a [u8], parts: &mut Parts<'a>) -> Option<()> {
    let rest = body.get(2 + 32..)?;
    let (_, rest) = by_length(rest, 1)?;
    let (ciphers, rest) = by_length(rest, 2)?;
    parts.ciphers = ciphers;
    let (_, rest) = by_length(rest, 1)?;
    let (extensions, _) = by_length(rest, 2)?;
    parts.extensions = extensions;
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

    /// Protocols offered (`application_layer_protocol_negotiation`), in order.
    pub(super) fn protocols(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let list = self.extension(16).and_then(|ext| by_length(ext, 2));
        let mut rest = list.map_or(&[][..], |(list, _)| list);
        std::iter::from_fn(move || {
            let (name, after) = by_length(rest, 1)?;
            rest = after;
            Some(name)
        })
    }
}
