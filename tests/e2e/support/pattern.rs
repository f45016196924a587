//! Bytes that say where they belong: a stream of which every byte is known from its position, so
//! that a lost, doubled or swapped byte is found at its place, without keeping what was sent.

use std::io::{self, Read, Write};

/// An endless stream of bytes, reproducible from a seed.
#[derive(Clone, Copy)]
pub(crate) struct Pattern(pub(crate) u64);

impl Pattern {
    /// Fills `out` with the bytes at `offset` and after.
    pub(crate) fn fill(self, offset: u64, out: &mut [u8]) {
        let mut at = offset;
        let mut rest = out;
        while !rest.is_empty() {
            let word = mix(self.0 ^ (at / 8)).to_le_bytes();
            let from = (at % 8) as usize;
            let n = rest.len().min(8 - from);
            rest[..n].copy_from_slice(&word[from..from + n]);
            rest = &mut rest[n..];
            at += n as u64;
        }
    }

    /// Writes bytes 0 to `len` in pieces whose sizes `piece` chooses.
    pub(crate) fn send(
        self,
        out: &mut impl Write,
        len: u64,
        mut piece: impl FnMut() -> usize,
    ) -> io::Result<()> {
        let mut buf = vec![0; 256 * 1024];
        let mut at = 0;
        while at < len {
            let n = piece().clamp(1, buf.len()).min((len - at) as usize);
            self.fill(at, &mut buf[..n]);
            out.write_all(&buf[..n])?;
            at += n as u64;
        }
        Ok(())
    }

    /// Reads to the end and compares; gives the number of bytes, or says where the first wrong one is.
    pub(crate) fn receive(self, from: &mut impl Read) -> io::Result<u64> {
        let mut buf = vec![0; 256 * 1024];
        let mut want = vec![0; 256 * 1024];
        let mut at = 0_u64;
        loop {
            let n = from.read(&mut buf)?;
            if n == 0 {
                return Ok(at);
            }
            self.fill(at, &mut want[..n]);
            if let Some(wrong) = (0..n).find(|&i| buf[i] != want[i]) {
                return Err(io::Error::other(format!(
                    "byte {} is wrong",
                    at + wrong as u64
                )));
            }
            at += n as u64;
        }
    }
}

/// Small reproducible choices for sizes and pauses.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(1);
        mix(self.0)
    }

    /// A number from `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low + 1)
    }
}

/// The finaliser of splitmix64: every bit of the result depends on every bit of `x`.
fn mix(x: u64) -> u64 {
    let mut z = x.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
