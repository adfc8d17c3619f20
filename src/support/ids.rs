//! Identifiers as types, so that a document is never looked up by a run's id.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{Error, Result};

/// A tenant's identifier: 16 characters of `a-z2-7`, drawn at random, so that the names of schemas and
/// roles tell nothing about whom they belong to (they can be seen by every role of the database).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String, pattern = "^[a-z2-7]{16}$")]
pub struct TenantId(String);

impl TenantId {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    const LENGTH: usize = 16;

    /// Makes an identifier out of 80 random bits.
    pub fn from_random(bytes: [u8; 10]) -> Self {
        let mut bits = bytes.iter().fold(0_u128, |bits, byte| (bits << 8) | u128::from(*byte));
        let mut text = String::with_capacity(Self::LENGTH);
        for _ in 0..Self::LENGTH {
            text.push(char::from(Self::ALPHABET[(bits & 31) as usize]));
            bits >>= 5;
        }
        Self(text)
    }

    /// The identifier's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The schema that holds this tenant's tables, which is also the name of its LOGIN role.
    pub fn schema(&self) -> String {
        format!("tenant_{}", self.0)
    }

    /// The NOLOGIN role that owns the schema.
    pub fn owner_role(&self) -> String {
        format!("tenant_{}_owner", self.0)
    }
}

impl FromStr for TenantId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let well_formed = text.len() == Self::LENGTH && text.bytes().all(|b| Self::ALPHABET.contains(&b));
        if well_formed { Ok(Self(text.to_owned())) } else { Err(Error::not_found("the tenant")) }
    }
}

impl TryFrom<String> for TenantId {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<TenantId> for String {
    fn from(id: TenantId) -> Self {
        id.0
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

macro_rules! uuid_ids {
    ($($(#[$doc:meta])* $name:ident: $what:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
        #[serde(transparent)]
        #[schema(value_type = Uuid)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A new identifier, ordered by the time at which it was made.
            #[expect(clippy::disallowed_methods, reason = "the one place where identifiers are drawn")]
            pub fn generate() -> Self {
                Self(Uuid::now_v7())
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self> {
                Uuid::parse_str(text).map(Self).map_err(|_| Error::not_found($what))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}

uuid_ids! {
    /// A person with an account.
    UserId: "the user";
    /// One sign-in of a person on one browser.
    SessionId: "the session";
    /// A token that programs use the API with, on behalf of a person.
    ApiTokenId: "the API token";
    /// An invitation to an organisation.
    InvitationId: "the invitation";
    /// A person as somebody else's sign-in page knows them.
    IdentityId: "the linked identity";
    /// A meeting in the boardroom.
    MeetingId: "the meeting";
    /// Something that a meeting says is to be done.
    NextActionId: "the next action";
    /// A document of the knowledge base: one version of it.
    DocumentId: "the document";
    /// A collection of documents.
    CollectionId: "the collection";
    /// A file that arrives in pieces.
    UploadId: "the upload";
    /// A passage of a document.
    PassageId: "the passage";
    /// A change of the model that passages are embedded by.
    ReembeddingId: "the change of the embedding model";
    /// A conversation between a person and an agent.
    ConversationId: "the conversation";
    /// A message of a conversation.
    MessageId: "the message";
    /// One run of an agent: from a question to its answer, with everything in between.
    RunId: "the run";
    /// Something that is remembered.
    MemoryId: "the memory";
    /// Something that an agent has asked leave for.
    ApprovalId: "the approval";
    /// A process of the appliance, of which several may share a database.
    NodeId: "the node";
    /// One call of a tool by a model, where the provider gives it no identifier.
    CallId: "the call";
}

impl PassageId {
    /// Where a person reads the passage in its document, on this console. A long document is shown in parts, of which the
    /// query names the one.
    pub fn address(self, document: DocumentId) -> String {
        format!("/knowledge/{document}?passage={self}#passage-{self}")
    }
}
