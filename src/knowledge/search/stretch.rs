//! What a model reads of what was found: passages of one page or section that stand next to each other as one stretch of
//! text, and a short one with what follows it there, so that nothing breaks off in the middle of a thought. What stands in
//! another place stays apart, because it is cited as another place.

use super::{Filter, Hit};
use crate::{knowledge::Library, support::Result};

/// Characters of a stretch that passages are put together to.
const LONGEST: usize = 2400;
/// A stretch shorter than this takes what follows it along.
const SHORT: usize = 500;

/// A hit and the passages that its text comes from.
struct Stretch {
    hit: Hit,
    first: i32,
    last: i32,
}

impl Library<'_> {
    /// The best `limit` stretches for `question` within what `filter` lets through, best first: hits whose text goes on where
    /// their neighbour was found too. Each keeps the passage that was found best, which is what is cited.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn stretches(&self, filter: &Filter, question: &str, limit: usize) -> Result<Vec<Hit>> {
        let found = self.search_in(filter, question, limit.saturating_mul(2)).await?;
        let mut stretches = stitched(found, limit);
        for stretch in &mut stretches {
            if length(&stretch.hit) < SHORT {
                let after = stretch.last + 1;
                let following = self.passages_between(stretch.hit.passage.document, after, after).await?;
                for passage in following.into_iter().filter(|passage| passage.locator == stretch.hit.passage.locator) {
                    if length(&stretch.hit) + passage.text.chars().count() <= LONGEST {
                        stretch.hit.passage.text.push_str("\n\n");
                        stretch.hit.passage.text.push_str(&passage.text);
                    }
                }
            }
        }
        Ok(stretches.into_iter().map(|stretch| stretch.hit).collect())
    }
}

fn stitched(found: Vec<Hit>, limit: usize) -> Vec<Stretch> {
    let mut stretches: Vec<Stretch> = Vec::new();
    for hit in found {
        let at = hit.passage.ordinal;
        let is_room = stretches.len() < limit;
        let neighbour = stretches.iter_mut().find(|stretch| {
            stretch.hit.passage.document == hit.passage.document
                && stretch.hit.passage.locator == hit.passage.locator
                && (at == stretch.last + 1 || at == stretch.first - 1)
                && length(&stretch.hit) + length(&hit) <= LONGEST
        });
        match neighbour {
            Some(stretch) if at > stretch.last => {
                stretch.hit.passage.text = format!("{}\n\n{}", stretch.hit.passage.text, hit.passage.text);
                stretch.last = at;
            }
            Some(stretch) => {
                stretch.hit.passage.text = format!("{}\n\n{}", hit.passage.text, stretch.hit.passage.text);
                stretch.first = at;
            }
            None if is_room => stretches.push(Stretch { hit, first: at, last: at }),
            None => {}
        }
    }
    // Two stretches that a later hit would join stay two: neither is worth more for it.
    stretches
}

fn length(hit: &Hit) -> usize {
    hit.passage.text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        knowledge::{document::Passage, search::Why},
        support::ids::{DocumentId, PassageId},
    };

    fn hit(document: DocumentId, ordinal: i32, text: &str) -> Hit {
        hit_on(1, document, ordinal, text)
    }

    fn hit_on(page: i32, document: DocumentId, ordinal: i32, text: &str) -> Hit {
        Hit {
            passage: Passage {
                id: PassageId::generate(),
                document,
                ordinal,
                locator: format!("page {page}"),
                page: Some(page),
                text: text.to_owned(),
            },
            title: "a.md".to_owned(),
            folder: String::new(),
            media_type: "text/markdown".to_owned(),
            version: 1,
            collection: "General".to_owned(),
            score: 1.0,
            why: Why::default(),
            same: Vec::new(),
        }
    }

    #[test]
    fn neighbours_become_one_stretch_in_their_order_under_the_best_of_them() {
        let (one, two) = (DocumentId::generate(), DocumentId::generate());
        let found = vec![
            hit(one, 4, "four"),
            hit(two, 5, "other"),
            hit(one, 3, "three"),
            hit(one, 5, "five"),
            hit_on(2, one, 6, "six"),
            hit(one, 9, "nine"),
        ];
        let best = found[0].passage.id;
        let stretches = stitched(found, 3);
        let texts: Vec<&str> = stretches.iter().map(|stretch| stretch.hit.passage.text.as_str()).collect();
        assert_eq!(texts, ["three\n\nfour\n\nfive", "other", "six"]);
        assert_eq!(stretches[0].hit.passage.id, best);
    }

    #[test]
    fn a_stretch_does_not_grow_without_end() {
        let document = DocumentId::generate();
        let long = "x".repeat(1000);
        let found = (0..6).map(|ordinal| hit(document, ordinal, &long)).collect();
        let stretches = stitched(found, 6);
        assert!(stretches.iter().all(|stretch| length(&stretch.hit) <= LONGEST) && stretches.len() == 3);
    }
}
