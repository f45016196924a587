//! What happens to a request, drawn before it is sent: what its client does, and what its origin does.

/// splitmix64.
#[derive(Debug)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// Below `limit`, which is not 0.
    pub(super) fn below(&mut self, limit: usize) -> usize {
        (self.word() % limit as u64) as usize
    }
}

/// What a client does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    /// Sends it, reads the answer, keeps the connection.
    Plain,
    /// The same with `Connection: close`.
    Closing,
    /// Sends two in one write, and reads both answers.
    Pipelined,
    /// The second of those two.
    Behind,
    /// Sends it and its FIN, and reads what comes.
    HalfClose,
    /// Sends part of the head, then RST.
    HeadReset,
    /// Sends part of the head, then FIN, and reads what comes.
    HeadEnd,
    /// Sends all of it, then RST at once.
    RequestReset,
    /// Reads the start of a long answer, then RST.
    ResponseReset,
    /// Reads the start of a long answer, then closes.
    ResponseClose,
    /// Sends part of the body, then RST.
    UploadReset,
    /// Sends part of the body, then FIN, and reads what comes.
    UploadEnd,
    /// Sends what is no request.
    Malformed,
    /// Sends part of the head and waits for what comes of it.
    Stall,
}

/// What an origin does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// 200 with Content-Length.
    Plain,
    /// 200 in chunks.
    Chunked,
    /// 200 with `Connection: close`.
    Closing,
    /// 200 without a length, ended by the end of the connection.
    Unframed,
    /// 404.
    NotFound,
    /// 503 of its own.
    Unavailable,
    /// A pause before the head.
    SlowHead,
    /// A pause in the body.
    SlowBody,
    /// Closes without an answer.
    NoHead,
    /// Closes in the head.
    ShortHead,
    /// Closes before the end of the body.
    ShortBody,
    /// RST before the end of the body.
    ResetBody,
    /// What is no response.
    Garbage,
    /// Nothing, until the balancer gives up.
    Silent,
}

/// Weights; of 10,000.
const ACTS: [(Act, usize); 14] = [
    (Act::Plain, 8_400),
    (Act::Closing, 300),
    (Act::Pipelined, 250),
    (Act::Behind, 0),
    (Act::HalfClose, 100),
    (Act::HeadReset, 150),
    (Act::HeadEnd, 100),
    (Act::RequestReset, 200),
    (Act::ResponseReset, 150),
    (Act::ResponseClose, 100),
    (Act::UploadReset, 120),
    (Act::UploadEnd, 80),
    (Act::Malformed, 49),
    (Act::Stall, 1),
];
const PARTS: [(Part, usize); 14] = [
    (Part::Plain, 8_000),
    (Part::Chunked, 600),
    (Part::Closing, 200),
    (Part::Unframed, 100),
    (Part::NotFound, 100),
    (Part::Unavailable, 100),
    (Part::SlowHead, 200),
    (Part::SlowBody, 100),
    (Part::NoHead, 120),
    (Part::ShortHead, 80),
    (Part::ShortBody, 150),
    (Part::ResetBody, 150),
    (Part::Garbage, 99),
    (Part::Silent, 1),
];
/// A long answer: more than sockets and buffers hold on its way.
const LONG: usize = 3 << 20;
const SHORT_MAX: usize = 3_000;
const UPLOAD_MAX: usize = 20_000;

/// One request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) act: Act,
    pub(super) part: Part,
    /// Of the answer's body.
    pub(super) bytes: usize,
    /// Of the request's body.
    pub(super) upload: usize,
}

fn drawn<T: Copy>(dice: &mut Dice, table: &[(T, usize)]) -> T {
    let mut left = dice.below(table.iter().map(|(_, weight)| weight).sum());
    for &(one, weight) in table {
        if left < weight {
            return one;
        }
        left -= weight;
    }
    unreachable!("less than the sum of the weights was drawn")
}

impl Plan {
    pub(super) fn draw(dice: &mut Dice) -> Self {
        let act = drawn(dice, &ACTS);
        let part = drawn(dice, &PARTS);
        let long = matches!(act, Act::ResponseReset | Act::ResponseClose);
        let bytes = match dice.below(100) {
            _ if long => LONG,
            0 => 200_000,
            1..10 => 0,
            _ => dice.below(SHORT_MAX),
        };
        let uploads = match act {
            Act::UploadReset | Act::UploadEnd => true,
            Act::Pipelined => false,
            _ => dice.below(10) == 0,
        };
        Self {
            act,
            part,
            bytes,
            upload: if uploads {
                2 + dice.below(UPLOAD_MAX)
            } else {
                0
            },
        }
    }

    /// Whether nothing is wrong on either side, so that the whole answer must arrive.
    pub(super) fn is_sound(self) -> bool {
        matches!(self.act, Act::Plain | Act::Closing | Act::Pipelined) && self.part.is_sound()
    }

    /// For a byte of the ledger.
    pub(super) fn code(self) -> u8 {
        let (act, part) = (
            ACTS.iter().position(|(one, _)| *one == self.act),
            PARTS.iter().position(|(one, _)| *one == self.part),
        );
        let code = 1 + act.unwrap_or(0) * PARTS.len() + part.unwrap_or(0);
        u8::try_from(code).expect("14 times 14 are fewer than 255")
    }

    /// Of a code: what both did.
    pub(super) fn of_code(code: u8) -> Option<(Act, Part)> {
        let place = usize::from(code.checked_sub(1)?);
        let (act, _) = ACTS.get(place / PARTS.len())?;
        Some((*act, PARTS[place % PARTS.len()].0))
    }
}

impl Part {
    pub(super) fn letter(self) -> char {
        let place = PARTS.iter().position(|(one, _)| *one == self).unwrap_or(0);
        char::from(b'a' + u8::try_from(place).unwrap_or(0))
    }

    pub(super) fn of_letter(letter: char) -> Option<Self> {
        let place = u32::from(letter).checked_sub(u32::from('a'))?;
        PARTS
            .get(usize::try_from(place).ok()?)
            .map(|(part, _)| *part)
    }

    pub(super) fn is_sound(self) -> bool {
        !matches!(
            self,
            Self::NoHead
                | Self::ShortHead
                | Self::ShortBody
                | Self::ResetBody
                | Self::Garbage
                | Self::Silent
        )
    }
}

/// The acts, for the table.
pub(super) fn acts() -> impl Iterator<Item = Act> {
    ACTS.iter().map(|(act, _)| *act)
}

/// Byte of both bodies of a request: an answer that belongs to another one shows.
pub(super) fn filler(id: usize) -> u8 {
    b'0' + u8::try_from(id % 75).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_are_coded_and_found_again() {
        let mut dice = Dice::new(1);
        for _ in 0..5_000 {
            let plan = Plan::draw(&mut dice);
            assert_eq!(Plan::of_code(plan.code()), Some((plan.act, plan.part)));
            assert_eq!(Part::of_letter(plan.part.letter()), Some(plan.part));
        }
        assert_eq!(Plan::of_code(0), None);
        assert_eq!(Part::of_letter('z'), None);
    }
}
