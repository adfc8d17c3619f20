//! Files out of a multipart body, one after the other, each within the limit.

use axum::extract::{
    Multipart,
    multipart::{Field, MultipartError},
};

use super::KnowledgeState;
use crate::{
    accounts::http::InTenant,
    audit::Actor,
    knowledge::{Added, Upload},
    support::{Error, Kind, Result, ids::CollectionId},
};

/// Bytes of a collection's id, and some room.
const LONGEST_ID: u64 = 64;
/// The most files of one request.
const MOST_FILES: usize = 200;
/// What one request may bring beyond the limit of one file until it is given up: it is being read to be thrown away.
const MOST_WASTE: u64 = 256 * 1024 * 1024;

/// What became of one file.
pub(super) struct Outcome {
    /// The file's name as the sender gave it.
    pub(super) name: String,
    /// The document, or why there is none.
    pub(super) result: Result<Added>,
}

/// Takes every field `file`, in order, into the collection that a field `collection` before them names. A file that is
/// refused does not keep the others out.
pub(super) async fn take(state: &KnowledgeState, tenant: &InTenant, mut form: Multipart) -> Result<Vec<Outcome>> {
    let library = state.library(tenant);
    let (mut outcomes, mut collection) = (Vec::new(), None);
    while let Some(field) = form.next_field().await.map_err(broken)? {
        if field.name() == Some("collection") {
            let id = read(field, "collection", LONGEST_ID).await?.ok_or_else(|| Error::not_found("the collection"))?;
            collection = named(&String::from_utf8_lossy(&id))?;
            continue;
        }
        if field.name() != Some("file") {
            continue;
        }
        let Some(name) = field.file_name().map(str::to_owned).filter(|name| !name.is_empty()) else { continue };
        if outcomes.len() == MOST_FILES {
            return Err(Error::new(Kind::TooLarge, format!("More than {MOST_FILES} files came at once"))
                .remedy("Those before were taken; add the others again"));
        }
        let result = match read(field, &name, state.max_file_bytes).await? {
            Some(bytes) => {
                let by = Actor::User { id: tenant.signed_in.user.id };
                library.add(Upload::new(name.clone(), bytes, by).into_collection(collection)).await
            }
            None => Err(too_large(&name, state.max_file_bytes)),
        };
        outcomes.push(Outcome { name, result });
    }
    if outcomes.is_empty() {
        return Err(Error::invalid("No file came with the form").remedy("Choose one or more files first"));
    }
    Ok(outcomes)
}

/// A collection by its id; nothing stands for the default.
pub(super) fn named(id: &str) -> Result<Option<CollectionId>> {
    let id = id.trim();
    if id.is_empty() { Ok(None) } else { id.chars().take(64).collect::<String>().parse().map(Some) }
}

/// The whole of a file; `None` when it is larger than `limit`, after which the next field can be read.
async fn read(mut field: Field<'_>, name: &str, limit: u64) -> Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    let mut length: u64 = 0;
    while let Some(chunk) = field.chunk().await.map_err(broken)? {
        length += chunk.len() as u64;
        if length <= limit {
            bytes.extend_from_slice(&chunk);
        } else if length > limit.saturating_add(MOST_WASTE) {
            return Err(too_large(name, limit));
        } else {
            bytes = Vec::new();
        }
    }
    Ok((length <= limit).then_some(bytes))
}

fn too_large(name: &str, limit: u64) -> Error {
    Error::new(Kind::TooLarge, format!("{name} is larger than {} MiB", limit / (1024 * 1024)))
        .remedy("split it, or ask your administrator to raise knowledge.max_file_mib")
}

fn broken(fault: MultipartError) -> Error {
    Error::invalid("The upload broke off, so its last file was not kept").remedy("Add it again").because(fault)
}
