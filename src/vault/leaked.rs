//! Passwords that are in lists of leaked ones, which is where guessing begins: 3.9 million of ten characters and more,
//! looked up without any network.
//!
//! `packaging/fetch` makes the table: for each of 2^18 buckets where its part begins (u32), then sixteen bits of each
//! hash (u16), all big-endian. The bucket is the first eighteen bits of SHA-256. So one good password in 4,400 is taken
//! for a leaked one, and no leaked one for a good one.

use sha2::{Digest as _, Sha256};

static TABLE: &[u8] = include_bytes!(concat!(env!("AEGIS_PACK"), "/leaked-passwords"));

const BUCKET_BITS: u32 = 18;
/// Bytes of the beginnings: one for each bucket, and the end.
const STARTS: usize = ((1 << BUCKET_BITS) + 1) * 4;

/// Whether a password is in a list of leaked ones, however it is capitalised.
pub(super) fn is_leaked(password: &str) -> bool {
    let hash = Sha256::digest(password.to_lowercase().as_bytes());
    let first = hash.iter().take(8).fold(0_u64, |number, byte| (number << 8) | u64::from(*byte));
    let number = first >> (64 - BUCKET_BITS - 16);
    let (bucket, kept) = (usize::try_from(number >> 16).unwrap_or_default(), number & 0xFFFF);
    let (Some(from), Some(to)) = (start(bucket), start(bucket + 1)) else { return false };
    let part = TABLE.get(STARTS + 2 * from..STARTS + 2 * to).unwrap_or_default();
    part.chunks_exact(2).any(|pair| (u64::from(pair[0]) << 8) | u64::from(pair[1]) == kept)
}

fn start(bucket: usize) -> Option<usize> {
    let bytes = TABLE.get(4 * bucket..4 * bucket + 4)?.try_into().ok()?;
    usize::try_from(u32::from_be_bytes(bytes)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaked_passwords_are_known_however_they_are_capitalised() {
        for leaked in ["qwertyuiop", "password123", "PassWord123", "1q2w3e4r5t", "iloveyou123", "letmein123"] {
            assert!(is_leaked(leaked), "{leaked}");
        }
        for own in ["correct horse battery", "an engine of analysis", "zehn Zeiché", "", "\u{0}"] {
            assert!(!is_leaked(own), "{own}");
        }
    }

    #[test]
    fn few_good_passwords_are_taken_for_leaked_ones() {
        let taken = (0..100_000).filter(|n| is_leaked(&format!("a good password, number {n}"))).count();
        assert!((1..60).contains(&taken), "{taken} of 100,000, where 23 are expected");
    }

    #[test]
    fn the_table_is_whole() {
        let entries = start(1 << BUCKET_BITS).unwrap();
        assert!(entries > 3_500_000);
        assert_eq!(TABLE.len(), STARTS + 2 * entries);
        assert!((0..1 << BUCKET_BITS).all(|bucket| start(bucket) <= start(bucket + 1)));
    }
}
