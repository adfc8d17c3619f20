//! A checkpoint: where a log begins once its oldest entries were removed, signed so that nobody else can cut a log.
//!
//! The signature is HMAC-SHA256 with the appliance's root key over the purpose `audit checkpoint v1`, a zero byte and
//! the text `LOG SEQ HASH MICROSECONDS REMOVED`: the log's name, the place and the hash (in hex) of the newest entry
//! that was removed, the moment in microseconds since 1970 and how many entries were removed.
//!
//! Why an HMAC and not a public key's signature: who has to be convinced is this appliance, which has the key, and
//! whoever has the key can forge either. An HMAC needs no further key to be made, kept and rotated beside the root,
//! which never changes. Somebody outside checks an export by its hashes, and by a head that he noted earlier.

use chrono::{DateTime, Utc};
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use super::log::Log;
use crate::db::Witness;

/// What stands in place of the entries that were removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Checkpoint {
    /// The place of the newest entry that was removed; the log goes on behind it.
    pub seq: i64,
    /// That entry's hash.
    #[serde(serialize_with = "in_hex")]
    #[schema(value_type = String)]
    pub hash: Vec<u8>,
    /// When the entries were removed.
    pub at: DateTime<Utc>,
    /// How many entries were removed on that occasion.
    pub removed: i64,
    /// The appliance's signature, in hex.
    pub signature: String,
}

impl Checkpoint {
    /// The text that is signed, the purpose apart.
    fn text(log: &Log, seq: i64, hash: &[u8], at: DateTime<Utc>, removed: i64) -> String {
        format!("{} {seq} {} {} {removed}", log.name(), hex::encode(hash), at.timestamp_micros())
    }

    /// The signature of a checkpoint to be.
    pub(super) fn sign(
        witness: &dyn Witness,
        log: &Log,
        (seq, hash): (i64, &[u8]),
        at: DateTime<Utc>,
        removed: i64,
    ) -> String {
        witness.sign(&Self::text(log, seq, hash, at, removed))
    }

    /// Whether the appliance has signed exactly this, for this log.
    pub(super) fn is_genuine(&self, witness: &dyn Witness, log: &Log) -> bool {
        let expected = Self::sign(witness, log, (self.seq, &self.hash), self.at, self.removed);
        // In constant time: how much of a forgery is right tells nothing.
        expected.len() == self.signature.len()
            && expected.bytes().zip(self.signature.bytes()).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
    }
}

fn in_hex<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&hex::encode(bytes))
}
