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

/// `hash-type … none`: the key is a decimal number already; what follows its digits does not count.
/// The 2.6 we compare with does not know it yet; after the manual of 3.4.
pub fn none(key: &[u8]) -> u32 {
    let digits = key.iter().take_while(|c| c.is_ascii_digit());
    digits.fold(0, |n: u32, &c| {
        n.wrapping_mul(10).wrapping_add(u32::from(c - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

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
