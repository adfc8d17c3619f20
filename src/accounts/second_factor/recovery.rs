//! Recovery codes: for whoever has lost the phone. Each is good once.

use crate::{support::random, vault::TokenHash};

/// How many there are.
pub const COUNT: usize = 10;

/// Without 0, 1, i, l, o and u, which are taken for one another or make words.
const ALPHABET: &[u8; 30] = b"23456789abcdefghjkmnpqrstvwxyz";
const LENGTH: usize = 16;

/// New codes as they are shown: `k3vd-9fqt-72mx-hc4p`, 78 random bits each.
pub fn generate() -> Vec<String> {
    (0..COUNT).map(|_| one()).collect()
}

/// What is stored of a code, however it was typed: capitals, spaces and hyphens do not matter. `None` when it cannot be
/// one.
pub fn hash(typed: &str) -> Option<TokenHash> {
    let code: String =
        typed.chars().filter(|c| !c.is_whitespace() && *c != '-').map(|c| c.to_ascii_lowercase()).collect();
    (code.len() == LENGTH && code.bytes().all(|byte| ALPHABET.contains(&byte))).then(|| TokenHash::of(&code))
}

fn one() -> String {
    let mut code = String::with_capacity(LENGTH + 3);
    let mut drawn = 0;
    while drawn < LENGTH {
        // Bytes that would make some letters likelier than others are drawn again.
        let byte = usize::from(random::bytes::<1>()[0]);
        if byte >= 256 / ALPHABET.len() * ALPHABET.len() {
            continue;
        }
        if drawn > 0 && drawn % 4 == 0 {
            code.push('-');
        }
        code.push(char::from(ALPHABET[byte % ALPHABET.len()]));
        drawn += 1;
    }
    code
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn codes_differ_and_are_known_again_however_they_are_typed() {
        let codes: HashSet<_> = generate().into_iter().collect();
        assert_eq!(codes.len(), COUNT);
        for code in codes {
            let typed = format!(" {} ", code.to_uppercase().replace('-', " "));
            assert!(code.len() == 19 && hash(&code).is_some() && hash(&code) == hash(&typed), "{code}");
        }
        for wrong in ["", "123456", "k3vd-9fqt-72mx", "k3vd-9fqt-72mx-hc4o", "k3vd-9fqt-72mx-hc4pp"] {
            assert_eq!(hash(wrong), None, "{wrong:?}");
        }
    }
}
