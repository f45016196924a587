//! haproxy's hash functions, bit for bit: `hash-type`, and later the converters of the same names.
//!
//! Verified against haproxy 2.6's converters (`hash/vectors.txt`).

/// A 32-bit integer spread over all bits: what `avalanche` does to a hash, and where a server's points
/// stand on the consistent ring. Jenkins' six-shift function, times an odd constant.
pub fn avalanche(x: u32) -> u32 {
    let mut a = x.wrapping_add(0x7ed5_5d16).wrapping_add(x << 12);
    a = (a ^ 0xc761_c23c) ^ (a >> 19);
    a = a.wrapping_add(0x1656_67b1).wrapping_add(a << 5);
    a = a.wrapping_add(0xd3a2_646c) ^ (a << 9);
    a = a.wrapping_add(0xfd70_46c5).wrapping_add(a << 3);
    a = (a ^ 0xb55a_4f09) ^ (a >> 16);
    a.wrapping_mul(3_221_225_473)
}

/// From the sdbm database library.
pub fn sdbm(key: &[u8]) -> u32 {
    key.iter().fold(0, |h: u32, &c| {
        u32::from(c)
            .wrapping_add(h << 6)
            .wrapping_add(h << 16)
            .wrapping_sub(h)
    })
}

/// Bernstein's, times 33 from 5381.
pub fn djb2(key: &[u8]) -> u32 {
    key.iter().fold(5381, |h: u32, &c| {
        h.wrapping_mul(33).wrapping_add(u32::from(c))
    })
}

/// Made for haproxy: two halves that rotate each other by amounts taken from the state.
pub fn wt6(key: &[u8]) -> u32 {
    let (mut h0, mut h1) = (0xa53c_965a_u32, 0x5ca6_953a_u32);
    let (mut turn0, mut turn1) = (6, 18);
    for &c in key {
        let c = u32::from(c);
        (h0, h1) = (!(h0 ^ c), !h1.wrapping_add(c));
        (h0, h1) = (h1.rotate_left(turn0), h0.rotate_left(turn1));
        let state = ((h0 >> 16) ^ h1) & 0xffff;
        (turn0, turn1) = (state & 0x1f, state >> 11);
    }
    h0 ^ h1
}

/// CRC-32 as in Ethernet, gzip and PNG.
pub fn crc32(key: &[u8]) -> u32 {
    !key.iter().fold(u32::MAX, |crc, &c| {
        let mut crc = crc ^ u32::from(c);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 * (crc & 1));
        }
        crc
    })
}

/// CRC-32C (Castagnoli), RFC 4960 appendix B.
pub fn crc32c(key: &[u8]) -> u32 {
    !key.iter().fold(u32::MAX, |crc, &c| {
        let mut crc = crc ^ u32::from(c);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82f6_3b78 * (crc & 1));
        }
        crc
    })
}

/// `hash-type … none`: the key is a decimal number already; what follows its digits does not count.
/// The 2.6 we compare with does not know it yet; after the manual of 3.4.
pub fn none(key: &[u8]) -> u32 {
    let digits = key.iter().take_while(|c| c.is_ascii_digit());
    digits.fold(0, |n: u32, &c| {
        n.wrapping_mul(10).wrapping_add(u32::from(c - b'0'))
    })
}

/// XXH64, the 64-bit hash of the xxHash family, from `seed`.
pub fn xxh64(key: &[u8], seed: u64) -> u64 {
    const P: [u64; 5] = [
        0x9e37_79b1_85eb_ca87,
        0xc2b2_ae3d_27d4_eb4f,
        0x1656_67b1_9e37_79f9,
        0x85eb_ca77_c2b2_ae63,
        0x27d4_eb2f_1656_67c5,
    ];
    let round = |acc: u64, input: u64| {
        acc.wrapping_add(input.wrapping_mul(P[1]))
            .rotate_left(31)
            .wrapping_mul(P[0])
    };
    let words = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("chunks of eight"));
    let stripes = key.chunks_exact(32);
    let mut rest = stripes.remainder();
    let mut h = if key.len() < 32 {
        seed.wrapping_add(P[4])
    } else {
        let mut acc = [
            seed.wrapping_add(P[0]).wrapping_add(P[1]),
            seed.wrapping_add(P[1]),
            seed,
            seed.wrapping_sub(P[0]),
        ];
        for stripe in stripes {
            for (acc, lane) in acc.iter_mut().zip(stripe.chunks_exact(8)) {
                *acc = round(*acc, words(lane));
            }
        }
        let sum = acc
            .iter()
            .zip([1, 7, 12, 18])
            .fold(0u64, |h, (a, turn)| h.wrapping_add(a.rotate_left(turn)));
        acc.iter().fold(sum, |h, &a| {
            (h ^ round(0, a)).wrapping_mul(P[0]).wrapping_add(P[3])
        })
    };
    h = h.wrapping_add(key.len() as u64);
    while let Some((lane, tail)) = rest.split_at_checked(8) {
        h = (h ^ round(0, words(lane)))
            .rotate_left(27)
            .wrapping_mul(P[0])
            .wrapping_add(P[3]);
        rest = tail;
    }
    if let Some((lane, tail)) = rest.split_at_checked(4) {
        let lane = u32::from_le_bytes(lane.try_into().expect("four of them"));
        h = (h ^ u64::from(lane).wrapping_mul(P[0]))
            .rotate_left(23)
            .wrapping_mul(P[1])
            .wrapping_add(P[2]);
        rest = tail;
    }
    for &byte in rest {
        h = (h ^ u64::from(byte).wrapping_mul(P[4]))
            .rotate_left(11)
            .wrapping_mul(P[0]);
    }
    h = (h ^ (h >> 33)).wrapping_mul(P[1]);
    h = (h ^ (h >> 29)).wrapping_mul(P[2]);
    h ^ (h >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lengths on both sides of each step of the algorithm; from the reference implementation's own
    /// vectors (empty) and one written after its specification.
    #[test]
    fn xxh64_is_that_of_its_specification() {
        for (len, seed, expected) in [
            (0, 0, 0xef46db3751d8e999),
            (3, 0, 0x9ff70a635a6209ab),
            (4, 7, 0x402cc9865631460f),
            (11, 0, 0x3a5d6dc1b218a5b6),
            (31, 0, 0x0f187c62b1e722b7),
            (32, 0, 0x91b0cb0931a8c629),
            (45, 1, 0xe82b3bcede92d327),
            (100, 0, 0x8e2272c08247d5db),
        ] {
            let key: Vec<u8> = (0..len).map(|i| (i * 7) as u8).collect();
            assert_eq!(xxh64(&key, seed), expected, "{len} bytes from {seed}");
        }
    }

    /// A line a key: the key in hexadecimal digits, then for each function the plain hash and the
    /// one after avalanche.
    #[test]
    fn hashes_are_those_of_haproxys_converters() {
        let functions: [fn(&[u8]) -> u32; 4] = [sdbm, djb2, wt6, crc32];
        let mut compared = 0;
        for line in include_str!("hash/vectors.txt")
            .lines()
            .filter(|l| !l.starts_with('#'))
        {
            let words: Vec<&str> = line.split(' ').collect();
            let byte = |at: usize| u8::from_str_radix(&words[0][at..at + 2], 16).unwrap();
            let key: Vec<u8> = (0..words[0].len()).step_by(2).map(byte).collect();
            for (i, hash) in functions.iter().enumerate() {
                let expected: Vec<u32> = words[1 + 2 * i..][..2]
                    .iter()
                    .map(|w| w.parse().unwrap())
                    .collect();
                let plain = hash(&key);
                assert_eq!(
                    [plain, avalanche(plain)],
                    expected[..],
                    "function {i} of {}",
                    words[0]
                );
                compared += 1;
            }
        }
        assert!(compared > 100);
    }

    #[test]
    fn the_function_none_takes_the_key_as_a_number() {
        assert_eq!(none(b"4294967295"), u32::MAX);
        assert_eq!(none(b"17;path"), 17);
        assert_eq!(none(b"x"), 0);
    }
}
