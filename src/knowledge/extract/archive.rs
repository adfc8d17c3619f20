//! Zip containers of Office files, opened with suspicion: counts and sizes are checked before anything is
//! inflated, and inflating stops at the limit whatever the directory claimed.

use std::io::{Cursor, Read};

use encoding_rs::{Encoding, UTF_8};
use zip::ZipArchive;

use super::{Failure, Kind};

/// Members that a document may have; the largest real ones have some thousands, for their pictures.
const MEMBERS: usize = 20_000;
/// Bytes that one part of XML may have when inflated.
const PART_BYTES: u64 = 128 << 20;
/// Bytes that all members may have together, by the directory.
const TOTAL_BYTES: u64 = 1 << 30;
/// How many times larger than the file the members may be together, once they are large at all.
const RATIO: u64 = 300;
/// Below this many bytes the ratio does not matter.
const SMALL: u64 = 32 << 20;

/// An Office file's container.
pub(super) struct Archive<'a> {
    zip: ZipArchive<Cursor<&'a [u8]>>,
    kind: Kind,
}

impl<'a> Archive<'a> {
    /// Opens a container and checks its directory.
    ///
    /// # Errors
    /// When it is damaged, encrypted, or would unpack to far more than it should.
    pub(super) fn open(bytes: &'a [u8], kind: Kind) -> Result<Self, Failure> {
        let mut zip = ZipArchive::new(Cursor::new(bytes)).map_err(|_| Failure::damaged(kind))?;
        if zip.len() > MEMBERS {
            return Err(Failure::new(format!(
                "The file has {} members inside; at most {MEMBERS} are accepted.",
                zip.len()
            )));
        }
        let mut total = 0_u64;
        for index in 0..zip.len() {
            let member = zip.by_index_raw(index).map_err(|_| Failure::damaged(kind))?;
            if member.encrypted() {
                return Err(Failure::encrypted());
            }
            total = total.saturating_add(member.size());
        }
        let ratio = total / (bytes.len() as u64).max(1);
        if total > TOTAL_BYTES || (total > SMALL && ratio > RATIO) {
            return Err(too_large_inside());
        }
        Ok(Self { zip, kind })
    }

    /// The text of a part, or `None` when there is no such part.
    ///
    /// # Errors
    /// When it is damaged or larger than a part may be.
    pub(super) fn part(&mut self, name: &str) -> Result<Option<String>, Failure> {
        let Some(index) = self.zip.index_for_name(name) else { return Ok(None) };
        let damaged = Failure::damaged(self.kind);
        let member = self.zip.by_index(index).map_err(|_| damaged.clone())?;
        if member.size() > PART_BYTES {
            return Err(too_large_inside());
        }
        let mut bytes = Vec::with_capacity(usize::try_from(member.size().min(1 << 20)).unwrap_or_default());
        match member.take(PART_BYTES + 1).read_to_end(&mut bytes) {
            Ok(_) if bytes.len() as u64 > PART_BYTES => Err(too_large_inside()),
            Ok(_) => Ok(Some(decode(bytes))),
            Err(_) => Err(damaged),
        }
    }
}

fn too_large_inside() -> Failure {
    Failure::new(
        "The file unpacks to far more data than a document has, so it was not read. If it is a real document, remove the pictures and upload it again.",
    )
}

/// XML is UTF-8 unless a byte order mark says UTF-16.
fn decode(bytes: Vec<u8>) -> String {
    match Encoding::for_bom(&bytes) {
        Some((encoding, mark)) if encoding != UTF_8 => {
            encoding.decode_without_bom_handling(&bytes[mark..]).0.into_owned()
        }
        Some((_, mark)) => String::from_utf8_lossy(&bytes[mark..]).into_owned(),
        None => match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        },
    }
}
