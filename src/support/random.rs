//! The system's random number generator: the one source of randomness for secrets and for names that nobody may guess.

use rand::{TryRng as _, rngs::SysRng};

/// `N` random bytes.
///
/// # Panics
/// When the system cannot give random bytes: nothing can be kept secret then.
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    #[expect(clippy::expect_used, reason = "without random numbers nothing can be kept secret")]
    SysRng.try_fill_bytes(&mut bytes).expect("the system gives random bytes");
    bytes
}
