//! How the entries of an audit log are sealed, exactly, so that anybody can check a log with other tools.
//!
//! The hash of an entry is SHA-256 over the concatenation of:
//!
//! | part | bytes |
//! |---|---|
//! | domain | the 20 ASCII bytes `AEGIS audit entry v1` and a zero byte |
//! | `previous` | the 32 bytes of the hash of the entry before; 32 zero bytes for the first |
//! | `seq` | 8 bytes, big-endian |
//! | `at` | 8 bytes, big-endian, two's complement: microseconds since 1970-01-01T00:00:00Z |
//! | `actor` | *text*: canonical JSON |
//! | `action` | *text* |
//! | `run` | one byte 0 when there is none; else one byte 1 and the 16 bytes of the UUID |
//! | `subject` | one byte 0 when there is none; else one byte 1 and *text* |
//! | `detail` | *text*: canonical JSON |
//!
//! *text* is its length in bytes of UTF-8 as 8 bytes, big-endian, then these bytes. Every part has a fixed
//! length or carries it, so two different entries never serialise to the same bytes.
//!
//! **Canonical JSON** has no white space, the keys of every object in ascending order of their UTF-8 bytes,
//! and the shortest escapes. It matters when an entry is written only: what is stored is text, and what is
//! hashed later is that text as it was found, so a log stays checkable whatever becomes of the JSON writer.
//!
//! `seq` starts at 1 and has no gaps. A chain cannot show by itself that its newest entries were cut off;
//! for this its head (count and last hash) has to be kept elsewhere, which is why [`Checker`] reports it.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// SHA-256 of an entry.
pub(super) type Hash = [u8; 32];

/// What stands before the first entry.
pub(super) const GENESIS: Hash = [0; 32];

const DOMAIN: &[u8] = b"AEGIS audit entry v1\0";

/// Everything about an entry that is sealed, except its place.
#[derive(Debug, Clone)]
pub(super) struct Content {
    /// With microseconds; `None` when the table holds a moment that is none (`infinity`), which is never written.
    pub(super) at: Option<DateTime<Utc>>,
    /// Canonical JSON.
    pub(super) actor: String,
    pub(super) action: String,
    pub(super) run: Option<Uuid>,
    pub(super) subject: Option<String>,
    /// Canonical JSON.
    pub(super) detail: String,
}

/// An entry with its place in the chain.
#[derive(Debug, Clone)]
pub(super) struct Sealed {
    pub(super) seq: i64,
    pub(super) content: Content,
    pub(super) previous: Vec<u8>,
    pub(super) hash: Vec<u8>,
}

impl Sealed {
    /// Whether the content gives the hash that stands with it.
    pub(super) fn is_unaltered(&self) -> bool {
        self.content.at.is_some() && hash(self.seq, &self.previous, &self.content)[..] == self.hash[..]
    }
}

/// Puts `content` behind the entry `head` (its `seq` and hash), or at the beginning.
fn seal(head: Option<(i64, Vec<u8>)>, content: Content) -> Sealed {
    let (seq, previous) = head.map_or((1, GENESIS.to_vec()), |(seq, hash)| (seq + 1, hash));
    let hash = hash(seq, &previous, &content).to_vec();
    Sealed { seq, content, previous, hash }
}

/// Puts `contents` behind the entry `head`, one behind the other.
pub(super) fn seal_all(mut head: Option<(i64, Vec<u8>)>, contents: &[Content]) -> Vec<Sealed> {
    let one = |content: &Content| {
        let sealed = seal(head.take(), content.clone());
        head = Some((sealed.seq, sealed.hash.clone()));
        sealed
    };
    contents.iter().map(one).collect()
}

fn hash(seq: i64, previous: &[u8], content: &Content) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update(DOMAIN);
    hasher.update(previous);
    hasher.update(seq.to_be_bytes());
    hasher.update(content.at.map_or(i64::MAX, |at| at.timestamp_micros()).to_be_bytes());
    text(&mut hasher, &content.actor);
    text(&mut hasher, &content.action);
    match content.run {
        None => hasher.update([0]),
        Some(run) => {
            hasher.update([1]);
            hasher.update(run.as_bytes());
        }
    }
    match &content.subject {
        None => hasher.update([0]),
        Some(subject) => {
            hasher.update([1]);
            text(&mut hasher, subject);
        }
    }
    text(&mut hasher, &content.detail);
    hasher.finalize().into()
}

fn text(hasher: &mut Sha256, text: &str) {
    hasher.update((text.len() as u64).to_be_bytes());
    hasher.update(text);
}

/// Why a chain is broken at an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The entry is not there: it was deleted, or moved to another place.
    Missing,
    /// What the entry says is not what was sealed.
    Altered,
    /// The entry is sealed, but behind another one than stands before it.
    Unlinked,
    /// The newest entries are not there: the head kept outside the database says that there were more.
    CutOff,
    /// Another entry stands where the head was that is kept outside the database: the log was written anew.
    Replaced,
    /// The entry stands before the checkpoint that says that it was removed.
    Surplus,
    /// The checkpoint that stands for removed entries was not signed by this appliance.
    Forged,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Missing => "the entry is missing",
            Self::Altered => "the entry was altered: its content does not give the hash that is stored with it",
            Self::Unlinked => "the entry does not follow the one before it: it carries another hash than that one has",
            Self::CutOff => {
                "the newest entries are missing: the head kept outside the database says that there were more"
            }
            Self::Replaced => {
                "another entry stands here than the head kept outside the database says: the log was written anew"
            }
            Self::Surplus => "the entry stands before the checkpoint that says that it was removed",
            Self::Forged => {
                "the checkpoint was not signed by this appliance: entries were removed that it did not remove"
            }
        })
    }
}

/// Walks along a chain, one entry after the other, and remembers the first fault.
#[derive(Debug)]
pub(super) struct Checker {
    seq: i64,
    head: Vec<u8>,
    entries: i64,
    /// What stands at a place, as somebody outside remembers.
    witnessed: Option<(i64, Vec<u8>)>,
    broken: Option<(i64, Fault)>,
}

/// What a walk along a chain has come to.
#[derive(Debug)]
pub(super) struct Outcome {
    /// How many entries there were.
    pub(super) entries: i64,
    /// The hash of the last.
    pub(super) head: Vec<u8>,
    /// The first fault.
    pub(super) broken: Option<(i64, Fault)>,
}

impl Checker {
    /// From the first entry that there ever was.
    pub(super) fn new() -> Self {
        Self::behind(0, GENESIS.to_vec())
    }

    /// From the entry behind this one.
    pub(super) fn behind(seq: i64, hash: Vec<u8>) -> Self {
        Self { seq, head: hash, entries: 0, witnessed: None, broken: None }
    }

    /// At this place an entry with this hash must be found, or have been removed.
    pub(super) fn expect(&mut self, seq: i64, hash: Vec<u8>) {
        if seq == self.seq && seq > 0 && hash != self.head {
            self.broken = Some((seq, Fault::Replaced));
        }
        self.witnessed = (seq > self.seq).then_some((seq, hash));
    }

    /// Takes the next entry in ascending order of `seq`.
    pub(super) fn take(&mut self, entry: &Sealed) {
        let expected = self.seq + 1;
        let found = if entry.seq != expected {
            Some(match entry.seq {
                // A place below 1 is forged; another one was removed, or is said to have been.
                ..1 => (entry.seq, Fault::Altered),
                seq if seq < expected => (seq, Fault::Surplus),
                _ => (expected, Fault::Missing),
            })
        } else if !entry.is_unaltered() {
            Some((entry.seq, Fault::Altered))
        } else if entry.previous != self.head {
            Some((entry.seq, Fault::Unlinked))
        } else if self.witnessed.as_ref().is_some_and(|(seq, hash)| *seq == entry.seq && *hash != entry.hash) {
            Some((entry.seq, Fault::Replaced))
        } else {
            None
        };
        self.broken = self.broken.or(found);
        self.entries += 1;
        // What stands before the beginning is no step forward.
        if entry.seq >= expected || self.seq == 0 {
            self.seq = entry.seq;
            self.head.clone_from(&entry.hash);
        }
    }

    /// The walk is over: what was found.
    pub(super) fn finish(self) -> Outcome {
        let last = self.seq.max(0);
        let cut_off = self.witnessed.filter(|(seq, _)| *seq > last).map(|_| (last + 1, Fault::CutOff));
        Outcome { entries: self.entries, head: self.head, broken: self.broken.or(cut_off) }
    }
}

/// Writes `value` as canonical JSON, see above.
pub(super) fn canonical(value: &Value) -> String {
    let mut out = String::new();
    write_canonical(&mut out, value);
    out
}

fn write_canonical(out: &mut String, value: &Value) {
    match value {
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_canonical(out, item);
            }
            out.push(']');
        }
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_unstable_by_key(|(key, _)| *key);
            out.push('{');
            for (index, (key, item)) in entries.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                out.push_str(&Value::from(key.as_str()).to_string());
                out.push(':');
                write_canonical(out, item);
            }
            out.push('}');
        }
        scalar => out.push_str(&scalar.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn content(subject: Option<&str>, detail: &str) -> Content {
        Content {
            at: DateTime::from_timestamp_micros(1_700_000_000_123_456),
            actor: r#"{"type":"operator"}"#.to_owned(),
            action: "run.started".to_owned(),
            run: Some(Uuid::from_u128(7)),
            subject: subject.map(str::to_owned),
            detail: detail.to_owned(),
        }
    }

    fn chain(count: i64) -> Vec<Sealed> {
        let mut entries: Vec<Sealed> = Vec::new();
        for number in 0..count {
            let head = entries.last().map(|last| (last.seq, last.hash.clone()));
            entries.push(seal(head, content(None, &number.to_string())));
        }
        entries
    }

    fn check(entries: &[Sealed]) -> (i64, Option<(i64, Fault)>) {
        let mut checker = Checker::new();
        for entry in entries {
            checker.take(entry);
        }
        let outcome = checker.finish();
        (outcome.entries, outcome.broken)
    }

    #[test]
    fn what_is_remembered_outside_shows_a_tail_that_was_cut_and_a_log_that_was_written_anew() {
        let walk = |entries: &[Sealed], from: (i64, Vec<u8>), expected: (i64, Vec<u8>)| {
            let mut checker = Checker::behind(from.0, from.1);
            checker.expect(expected.0, expected.1);
            for entry in entries {
                checker.take(entry);
            }
            checker.finish().broken
        };
        let whole = chain(5);
        let (start, fifth) = ((0, GENESIS.to_vec()), (5, whole[4].hash.clone()));
        assert_eq!(walk(&whole, start.clone(), fifth.clone()), None);
        assert_eq!(walk(&whole, start.clone(), (3, whole[2].hash.clone())), None, "what lags behind is an ancestor");
        assert_eq!(walk(&whole[..3], start.clone(), fifth.clone()), Some((4, Fault::CutOff)));
        assert_eq!(walk(&[], start.clone(), fifth.clone()), Some((1, Fault::CutOff)));
        assert_eq!(walk(&whole, start, (2, vec![7; 32])), Some((2, Fault::Replaced)));

        let third = (3, whole[2].hash.clone());
        assert_eq!(walk(&whole[3..], third.clone(), fifth.clone()), None, "the first three were removed");
        assert_eq!(walk(&whole[3..], third.clone(), (2, whole[1].hash.clone())), None, "and one of them was the head");
        assert_eq!(walk(&[], third.clone(), (3, vec![7; 32])), Some((3, Fault::Replaced)));
        assert_eq!(walk(&whole[2..], third.clone(), fifth.clone()), Some((3, Fault::Surplus)));
        assert_eq!(walk(&whole[4..], third, fifth), Some((4, Fault::Missing)));
    }

    #[test]
    fn canonical_json_sorts_keys_at_every_depth_and_keeps_the_order_of_arrays() {
        let value: Value =
            serde_json::from_str(r#"{"b":[{"z":1,"a":"\u0000\n"},2.5],"a":null,"ä":true,"B":-1}"#).unwrap();
        assert_eq!(canonical(&value), "{\"B\":-1,\"a\":null,\"b\":[{\"a\":\"\\u0000\\n\",\"z\":1},2.5],\"ä\":true}");
        assert_eq!(canonical(&json!("a \"b\"")), r#""a \"b\"""#);
    }

    #[test]
    fn the_hash_is_the_one_that_the_description_gives() {
        // Computed apart from this code, byte by byte as the table above says, with Python's hashlib.
        let sealed = seal(None, content(Some("atlas"), "{}"));
        assert_eq!(hex::encode(&sealed.hash), "db155b5129261db040e54e6ef64685263cab171aedfe1111d40997490e94426a");
    }

    #[test]
    fn a_field_cannot_leak_into_its_neighbour() {
        let mut moved = content(Some("ab"), "c");
        let first = seal(None, moved.clone()).hash;
        moved.subject = Some("a".to_owned());
        moved.detail = "bc".to_owned();
        assert_ne!(seal(None, moved.clone()).hash, first);
        moved.subject = None;
        let none = seal(None, moved.clone()).hash;
        moved.subject = Some(String::new());
        assert_ne!(seal(None, moved).hash, none);
    }

    #[test]
    fn an_untouched_chain_is_whole_and_an_empty_one_too() {
        assert_eq!(check(&chain(5)), (5, None));
        assert_eq!(check(&[]), (0, None));
    }

    #[test]
    fn each_way_of_tampering_names_its_entry() {
        let mut altered = chain(5);
        altered[2].content.detail = "9".to_owned();
        assert_eq!(check(&altered).1, Some((3, Fault::Altered)));

        let mut deleted = chain(5);
        deleted.remove(1);
        assert_eq!(check(&deleted), (4, Some((2, Fault::Missing))));

        let mut swapped = chain(5);
        let place = swapped[1].seq;
        swapped[1].seq = swapped[2].seq;
        swapped[2].seq = place;
        swapped.swap(1, 2);
        assert_eq!(check(&swapped).1, Some((2, Fault::Altered)));

        let mut resealed = chain(5);
        let forged = seal(Some((2, resealed[1].hash.clone())), content(None, "forged"));
        resealed[2] = forged;
        assert_eq!(check(&resealed).1, Some((4, Fault::Unlinked)));

        let mut below = chain(2);
        below.insert(0, seal(Some((-5, GENESIS.to_vec())), content(None, "forged")));
        assert_eq!(check(&below).1, Some((-4, Fault::Altered)));

        let mut never = chain(2);
        never[1].content.at = None;
        assert_eq!(check(&never).1, Some((2, Fault::Altered)));
    }
}
