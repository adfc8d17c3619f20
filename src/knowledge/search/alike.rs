//! Passages that say the same, nearly word for word: copies of a document, boilerplate, two exports of one page. One of
//! them is shown, and the others are named with it.

use std::collections::HashSet;

use super::{Hit, Same};

/// Words of a shingle.
const SHINGLE: usize = 3;
/// The share of shingles, in percent of all that either has, from which two passages say the same.
const ALIKE: usize = 80;
/// Passages of fewer words must be equal.
const SHORT: usize = 8;

/// The hits without those that repeat a better one, which names them; at most `limit` hits that stand for themselves.
pub(super) fn collapsed(found: Vec<Hit>, limit: usize) -> Vec<Hit> {
    let mut kept: Vec<(Hit, Words)> = Vec::new();
    for hit in found {
        let words = Words::of(&hit.passage.text);
        let twin = kept.iter_mut().find(|(_, other)| words.says_what(other));
        if let Some((first, _)) = twin {
            let Hit { passage, title, .. } = hit;
            let same = Same { passage: passage.id, document: passage.document, title, locator: passage.locator };
            first.same.push(same);
        } else if kept.len() < limit {
            kept.push((hit, words));
        }
    }
    kept.into_iter().map(|(hit, _)| hit).collect()
}

/// A passage's words, and the runs of three of them.
struct Words {
    all: Vec<String>,
    shingles: HashSet<u64>,
}

impl Words {
    fn of(text: &str) -> Self {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
        let all: Vec<String> = words.map(str::to_lowercase).collect();
        let shingles = all.windows(SHINGLE).map(|run| {
            let mut hasher = DefaultHasher::new();
            run.hash(&mut hasher);
            hasher.finish()
        });
        let shingles = shingles.collect();
        Self { all, shingles }
    }

    fn says_what(&self, other: &Self) -> bool {
        if self.all.len().min(other.all.len()) < SHORT {
            return self.all == other.all;
        }
        let common = self.shingles.intersection(&other.shingles).count();
        let either = self.shingles.len() + other.shingles.len() - common;
        common * 100 >= either * ALIKE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alike(one: &str, other: &str) -> bool {
        Words::of(one).says_what(&Words::of(other))
    }

    const RULE: &str = "Every parent may stay at home for sixteen weeks after a child is born, with full salary, and \
                        tells the office two months before. The form is on the intranet, under the letter P.";

    #[test]
    fn copies_are_alike_whatever_their_marks_and_case() {
        assert!(alike(RULE, &RULE.to_uppercase().replace(',', " –")));
        assert!(alike(RULE, &format!("{RULE} Page 3")));
    }

    #[test]
    fn another_number_in_a_short_rule_is_another_rule() {
        assert!(!alike("Hotels cost at most 140 euros", "Hotels cost at most 150 euros"));
        assert!(!alike(RULE, "Whoever is sick tells the manager by ten o'clock, and brings a note on the fourth day."));
        assert!(alike("", ""));
    }
}
