//! The traditional hash of crypt(3): DES of zeros, 25 times, with the first eight characters of the password as
//! the key and two characters of salt that disturb the expansion. Bit by bit, as its standard (FIPS 46) is
//! written: a hash takes well below a millisecond, and nobody should use it for anything new.

use super::DIGITS;

/// Positions are counted from 1, as in the standard.
type Table<const N: usize> = [u8; N];

#[rustfmt::skip]
const INITIAL: Table<64> = [
    58, 50, 42, 34, 26, 18, 10, 2, 60, 52, 44, 36, 28, 20, 12, 4,
    62, 54, 46, 38, 30, 22, 14, 6, 64, 56, 48, 40, 32, 24, 16, 8,
    57, 49, 41, 33, 25, 17, 9, 1, 59, 51, 43, 35, 27, 19, 11, 3,
    61, 53, 45, 37, 29, 21, 13, 5, 63, 55, 47, 39, 31, 23, 15, 7,
];
#[rustfmt::skip]
const FINAL: Table<64> = [
    40, 8, 48, 16, 56, 24, 64, 32, 39, 7, 47, 15, 55, 23, 63, 31,
    38, 6, 46, 14, 54, 22, 62, 30, 37, 5, 45, 13, 53, 21, 61, 29,
    36, 4, 44, 12, 52, 20, 60, 28, 35, 3, 43, 11, 51, 19, 59, 27,
    34, 2, 42, 10, 50, 18, 58, 26, 33, 1, 41, 9, 49, 17, 57, 25,
];
#[rustfmt::skip]
const EXPANSION: Table<48> = [
    32, 1, 2, 3, 4, 5, 4, 5, 6, 7, 8, 9, 8, 9, 10, 11, 12, 13, 12, 13, 14, 15, 16, 17,
    16, 17, 18, 19, 20, 21, 20, 21, 22, 23, 24, 25, 24, 25, 26, 27, 28, 29, 28, 29, 30, 31, 32, 1,
];
#[rustfmt::skip]
const PERMUTATION: Table<32> = [
    16, 7, 20, 21, 29, 12, 28, 17, 1, 15, 23, 26, 5, 18, 31, 10,
    2, 8, 24, 14, 32, 27, 3, 9, 19, 13, 30, 6, 22, 11, 4, 25,
];
#[rustfmt::skip]
const CHOICE_1: Table<56> = [
    57, 49, 41, 33, 25, 17, 9, 1, 58, 50, 42, 34, 26, 18, 10, 2, 59, 51, 43, 35, 27, 19, 11, 3, 60, 52, 44, 36,
    63, 55, 47, 39, 31, 23, 15, 7, 62, 54, 46, 38, 30, 22, 14, 6, 61, 53, 45, 37, 29, 21, 13, 5, 28, 20, 12, 4,
];
#[rustfmt::skip]
const CHOICE_2: Table<48> = [
    14, 17, 11, 24, 1, 5, 3, 28, 15, 6, 21, 10, 23, 19, 12, 4, 26, 8, 16, 7, 27, 20, 13, 2,
    41, 52, 31, 37, 47, 55, 30, 40, 51, 45, 33, 48, 44, 49, 39, 56, 34, 53, 46, 42, 50, 36, 29, 32,
];
const SHIFTS: [usize; 16] = [1, 1, 2, 2, 2, 2, 2, 2, 1, 2, 2, 2, 2, 2, 2, 1];
#[rustfmt::skip]
const BOXES: [[u8; 64]; 8] = [
    [
        14, 4, 13, 1, 2, 15, 11, 8, 3, 10, 6, 12, 5, 9, 0, 7, 0, 15, 7, 4, 14, 2, 13, 1, 10, 6, 12, 11, 9, 5, 3, 8,
        4, 1, 14, 8, 13, 6, 2, 11, 15, 12, 9, 7, 3, 10, 5, 0, 15, 12, 8, 2, 4, 9, 1, 7, 5, 11, 3, 14, 10, 0, 6, 13,
    ],
    [
        15, 1, 8, 14, 6, 11, 3, 4, 9, 7, 2, 13, 12, 0, 5, 10, 3, 13, 4, 7, 15, 2, 8, 14, 12, 0, 1, 10, 6, 9, 11, 5,
        0, 14, 7, 11, 10, 4, 13, 1, 5, 8, 12, 6, 9, 3, 2, 15, 13, 8, 10, 1, 3, 15, 4, 2, 11, 6, 7, 12, 0, 5, 14, 9,
    ],
    [
        10, 0, 9, 14, 6, 3, 15, 5, 1, 13, 12, 7, 11, 4, 2, 8, 13, 7, 0, 9, 3, 4, 6, 10, 2, 8, 5, 14, 12, 11, 15, 1,
        13, 6, 4, 9, 8, 15, 3, 0, 11, 1, 2, 12, 5, 10, 14, 7, 1, 10, 13, 0, 6, 9, 8, 7, 4, 15, 14, 3, 11, 5, 2, 12,
    ],
    [
        7, 13, 14, 3, 0, 6, 9, 10, 1, 2, 8, 5, 11, 12, 4, 15, 13, 8, 11, 5, 6, 15, 0, 3, 4, 7, 2, 12, 1, 10, 14, 9,
        10, 6, 9, 0, 12, 11, 7, 13, 15, 1, 3, 14, 5, 2, 8, 4, 3, 15, 0, 6, 10, 1, 13, 8, 9, 4, 5, 11, 12, 7, 2, 14,
    ],
    [
        2, 12, 4, 1, 7, 10, 11, 6, 8, 5, 3, 15, 13, 0, 14, 9, 14, 11, 2, 12, 4, 7, 13, 1, 5, 0, 15, 10, 3, 9, 8, 6,
        4, 2, 1, 11, 10, 13, 7, 8, 15, 9, 12, 5, 6, 3, 0, 14, 11, 8, 12, 7, 1, 14, 2, 13, 6, 15, 0, 9, 10, 4, 5, 3,
    ],
    [
        12, 1, 10, 15, 9, 2, 6, 8, 0, 13, 3, 4, 14, 7, 5, 11, 10, 15, 4, 2, 7, 12, 9, 5, 6, 1, 13, 14, 0, 11, 3, 8,
        9, 14, 15, 5, 2, 8, 12, 3, 7, 0, 4, 10, 1, 13, 11, 6, 4, 3, 2, 12, 9, 5, 15, 10, 11, 14, 1, 7, 6, 0, 8, 13,
    ],
    [
        4, 11, 2, 14, 15, 0, 8, 13, 3, 12, 9, 7, 5, 10, 6, 1, 13, 0, 11, 7, 4, 9, 1, 10, 14, 3, 5, 12, 2, 15, 8, 6,
        1, 4, 11, 13, 12, 3, 7, 14, 10, 15, 6, 8, 0, 5, 9, 2, 6, 11, 13, 8, 1, 4, 10, 7, 9, 5, 0, 15, 14, 2, 3, 12,
    ],
    [
        13, 2, 8, 4, 6, 15, 11, 1, 10, 9, 3, 14, 5, 0, 12, 7, 1, 15, 13, 8, 10, 3, 7, 4, 12, 5, 6, 11, 0, 14, 9, 2,
        7, 11, 4, 1, 9, 12, 14, 2, 0, 6, 10, 13, 15, 3, 5, 8, 2, 1, 14, 7, 4, 10, 8, 13, 15, 12, 9, 0, 3, 5, 6, 11,
    ],
];

fn pick<const N: usize>(bits: &[bool], table: &Table<N>) -> [bool; N] {
    table.map(|at| bits[usize::from(at) - 1])
}

/// Bits of salt, lowest first; each that is set swaps a bit of the first half of the expansion with its mate.
type Salt = [bool; 12];

/// The thirteen characters of the hash.
pub(super) fn digits(password: &[u8], salt: [u8; 2]) -> [u8; 13] {
    let mut key = [false; 64];
    for (byte, bits) in password
        .iter()
        .take_while(|&&b| b != 0)
        .zip(key.chunks_mut(8))
    {
        for (at, bit) in bits.iter_mut().take(7).enumerate() {
            *bit = byte >> (6 - at) & 1 == 1;
        }
    }
    let keys = keys(&key);
    let salt_bits = salt_of(salt);
    let mut block = [false; 64];
    for _ in 0..25 {
        block = encrypt(&block, &keys, &salt_bits);
    }
    let mut out = [0; 13];
    out[..2].copy_from_slice(&salt);
    // Eleven groups of six bits, the last two bits of which are zero.
    for (at, digit) in out[2..].iter_mut().enumerate() {
        let bits = (at * 6..at * 6 + 6).map(|bit| block.get(bit).copied().unwrap_or(false));
        let value = bits.fold(0, |value, bit| value << 1 | usize::from(bit));
        *digit = DIGITS[value];
    }
    out
}

fn salt_of(salt: [u8; 2]) -> Salt {
    let value = |digit: u8| DIGITS.iter().position(|&d| d == digit).unwrap_or(0);
    let all = value(salt[0]) | value(salt[1]) << 6;
    std::array::from_fn(|bit| all >> bit & 1 == 1)
}

fn keys(key: &[bool; 64]) -> [[bool; 48]; 16] {
    let mut chosen = pick(key, &CHOICE_1);
    SHIFTS.map(|by| {
        chosen[..28].rotate_left(by);
        chosen[28..].rotate_left(by);
        pick(&chosen, &CHOICE_2)
    })
}

fn encrypt(block: &[bool; 64], keys: &[[bool; 48]; 16], salt: &Salt) -> [bool; 64] {
    let mut state = pick(block, &INITIAL);
    for key in keys {
        let (left, right) = state.split_at_mut(32);
        let mut wide = pick(right, &EXPANSION);
        for (at, swap) in salt.iter().enumerate() {
            if *swap {
                wide.swap(at, at + 24);
            }
        }
        let mut narrow = [false; 32];
        for (at, substitute) in BOXES.iter().enumerate() {
            let bit = |n: usize| usize::from(wide[at * 6 + n] ^ key[at * 6 + n]);
            let row = bit(0) << 1 | bit(5);
            let column = bit(1) << 3 | bit(2) << 2 | bit(3) << 1 | bit(4);
            let value = substitute[row << 4 | column];
            for n in 0..4 {
                narrow[at * 4 + n] = value >> (3 - n) & 1 == 1;
            }
        }
        for (bit, mixed) in left.iter_mut().zip(pick(&narrow, &PERMUTATION)) {
            *bit ^= mixed;
        }
        left.swap_with_slice(right);
    }
    // The last round does not swap.
    state.rotate_left(32);
    pick(&state, &FINAL)
}
