//! Files that arrive in pieces, over a line that may break: what has come is kept, and whoever sends goes on from there.

mod store;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::{Stream, StreamExt, pin_mut};

use super::{Added, Knowledge, Library, Upload};
use crate::{
    audit::Actor,
    db::TenantDb,
    support::{
        Error, Kind, Result,
        ids::{CollectionId, UploadId, UserId},
    },
};

/// Bytes that are stored at once.
const PART_BYTES: usize = 1 << 20;
/// Files that one person may have under way at once.
const MOST_UNDER_WAY: i64 = 200;

/// How far a file has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrived {
    /// Bytes that are here.
    pub received: i64,
    /// Bytes that it has.
    pub bytes: i64,
}

impl Library<'_> {
    /// Makes room for a file of `bytes` bytes.
    ///
    /// # Errors
    /// `TooLarge` over the configured size; `NotFound` for a collection that the reader may not see; `Conflict` when the
    /// person has too many files under way.
    pub async fn begin_upload(
        &self,
        user: UserId,
        file_name: &str,
        bytes: i64,
        collection: Option<CollectionId>,
    ) -> Result<UploadId> {
        let size = usize::try_from(bytes).map_err(|_| Error::invalid("A file has no negative length"))?;
        self.knowledge.check_size(file_name, size)?;
        let collection = self.destination(collection).await?;
        let id = UploadId::generate();
        let name: String = file_name.chars().filter(|c| *c != '\0').take(1000).collect();
        let new = store::NewUpload { id, user, collection, file_name: &name, bytes, at: self.knowledge.clock().now() };
        if store::insert(self.db.pool(), &new, MOST_UNDER_WAY).await? {
            return Ok(id);
        }
        Err(Error::conflict(format!("You have {MOST_UNDER_WAY} files under way"))
            .remedy("finish or cancel some of them; those that nobody goes on with end by themselves after a day"))
    }

    /// How far a file has come.
    ///
    /// # Errors
    /// `NotFound` when there is none of this person's.
    pub async fn upload_state(&self, user: UserId, id: UploadId) -> Result<Arrived> {
        Ok(store::find(self.db.pool(), user, id).await?.ok_or_else(missing)?.arrived)
    }

    /// Takes what comes next. What came before the line broke is kept. Gives the document once the file is whole.
    ///
    /// # Errors
    /// `Conflict` when `position` is not where the file has come to; what [`Library::add`] says of a whole file.
    pub async fn append_upload(
        &self,
        user: UserId,
        id: UploadId,
        position: i64,
        body: impl Stream<Item = std::result::Result<Bytes, impl std::error::Error + Send + Sync + 'static>>,
    ) -> Result<(Arrived, Option<Added>)> {
        let mut arrived = self.upload_state(user, id).await?;
        if arrived.received != position {
            return Err(Error::conflict(format!("{} bytes are here, not {position}", arrived.received))
                .remedy("ask how far the file has come, and go on from there"));
        }
        pin_mut!(body);
        let mut part: Vec<u8> = Vec::new();
        let mut broken = None;
        while let Some(chunk) = body.next().await {
            match chunk {
                Ok(chunk) => part.extend_from_slice(&chunk),
                Err(error) => {
                    broken = Some(error);
                    break;
                }
            }
            while part.len() >= PART_BYTES {
                let rest = part.split_off(PART_BYTES);
                arrived = self.store_part(id, arrived, &part).await?;
                part = rest;
            }
        }
        if !part.is_empty() {
            arrived = self.store_part(id, arrived, &part).await?;
        }
        if let Some(error) = broken {
            return Err(Error::invalid("The line broke; what came before is kept")
                .remedy("go on from there")
                .because(error));
        }
        if arrived.received < arrived.bytes {
            return Ok((arrived, None));
        }
        Ok((arrived, Some(self.complete_upload(user, id).await?)))
    }

    /// Gives a file up that is under way.
    ///
    /// # Errors
    /// `NotFound` when there is none of this person's.
    pub async fn drop_upload(&self, user: UserId, id: UploadId) -> Result<()> {
        self.upload_state(user, id).await?;
        store::delete(self.db.pool(), id).await
    }

    async fn store_part(&self, id: UploadId, arrived: Arrived, part: &[u8]) -> Result<Arrived> {
        let length = i64::try_from(part.len()).unwrap_or(i64::MAX);
        if arrived.received.saturating_add(length) > arrived.bytes {
            return Err(Error::new(Kind::TooLarge, "More came than the file was said to have")
                .remedy("begin it again with its true length"));
        }
        let now = self.knowledge.clock().now();
        if store::append(self.db.pool(), id, arrived.received, part, now).await? {
            return Ok(Arrived { received: arrived.received + length, ..arrived });
        }
        Err(Error::conflict("Somebody else sends this file too")
            .remedy("ask how far it has come, and go on from there"))
    }

    /// The whole file becomes a document. When that breaks off, sending nothing more tries it again.
    async fn complete_upload(&self, user: UserId, id: UploadId) -> Result<Added> {
        let found = store::find(self.db.pool(), user, id).await?.ok_or_else(missing)?;
        let bytes = store::content(self.db.pool(), id, found.arrived.bytes).await?;
        let upload = Upload::new(found.file_name, bytes, Actor::User { id: user }).into_collection(found.collection);
        let added = self.add(upload).await;
        let is_over =
            added.as_ref().map_or_else(|error| !matches!(error.kind(), Kind::Unavailable | Kind::Internal), |_| true);
        if is_over {
            store::delete(self.db.pool(), id).await?;
        }
        added
    }
}

impl Knowledge {
    /// Gives up the files of which nothing has come since `moment`. Gives how many that were.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn drop_stale_uploads(&self, db: &TenantDb, moment: DateTime<Utc>) -> Result<u64> {
        store::delete_untouched_since(db.pool(), moment).await
    }
}

fn missing() -> Error {
    Error::not_found("the upload").remedy("begin it again")
}
