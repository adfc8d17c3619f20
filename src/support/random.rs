//! Randomness that nobody can guess: the operating system's, by way of a cryptographic generator.

/// `N` random bytes.
pub fn bytes<const N: usize>() -> [u8; N] {
    rand::random()
}

/// A token of 256 random bits, in 64 hexadecimal digits.
pub fn token() -> String {
    hex::encode(bytes::<32>())
}
