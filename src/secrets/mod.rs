//! Secrets: bot keys and tokens that an organisation hands to its integrations. Encrypted at rest with the
//! organisation's own key, shown to nobody again, used by programs only, each use in the audit log.
//!
//! How keys protect values, and what a rotation does, is told in [`crate::vault`].

pub mod http;
mod name;
mod rotation;
mod store;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use self::store::KeyRow;
pub use self::{
    name::SecretName,
    rotation::{ApplianceRotation, KeyStatus, TenantRotation},
};
use crate::{
    accounts::Accounts,
    audit::{self, Action, Actor, NewEntry},
    db::TenantDb,
    support::{Error, Kind, Result, clock::SharedClock, ids::TenantId},
    tenants::Tenants,
    vault::{Keyring, SealingKey, SecretText, envelope, envelope::Place},
};

/// The most bytes of a value.
pub const VALUE_BYTES: usize = 64 * 1024;
/// The most secrets of a tenant: all are encrypted again in one transaction when its key is rotated.
const MOST: i64 = 500;

/// A secret without its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Secret {
    /// What programs ask for.
    pub name: SecretName,
    /// When its value was set.
    pub set_at: DateTime<Utc>,
    /// Who set it, as they were called then.
    pub set_by: String,
    /// When a program last used this value.
    pub last_used_at: Option<DateTime<Utc>>,
}

/// Who acts, for the audit log and for the list.
#[derive(Debug, Clone)]
pub struct By {
    /// For the audit log.
    pub actor: Actor,
    /// For people.
    pub name: String,
}

impl By {
    /// Whoever is at the command line of the server.
    pub fn operator() -> Self {
        Self { actor: Actor::Operator, name: "the operator".to_owned() }
    }
}

/// The use cases of secrets. Cheap to clone.
#[derive(Clone)]
pub struct Secrets {
    keyring: Keyring,
    tenants: Tenants,
    clock: SharedClock,
    /// Whose second factors are sealed to the same key.
    accounts: Option<Accounts>,
    rotating: std::sync::Arc<tokio::sync::Mutex<()>>,
}

impl Secrets {
    /// Secrets of all tenants, under the keys of this appliance.
    pub fn new(keyring: Keyring, tenants: Tenants, clock: SharedClock) -> Self {
        Self { keyring, tenants, clock, accounts: None, rotating: std::sync::Arc::default() }
    }

    /// The same, with these accounts' second factors sealed again when the appliance's key is rotated.
    #[must_use]
    pub fn and_second_factors_of(self, accounts: Accounts) -> Self {
        Self { accounts: Some(accounts), ..self }
    }

    /// Sets a secret, in place of the one that had the name.
    ///
    /// # Errors
    /// `Invalid` when the value is empty, `TooLarge` when it is longer than 64 KiB, `Conflict` when there are too many.
    pub async fn set(&self, db: &TenantDb, name: SecretName, value: SecretText, by: By) -> Result<Secret> {
        if value.reveal().is_empty() {
            return Err(Error::invalid("The value is empty").remedy("To remove a secret, delete it"));
        }
        if value.reveal().len() > VALUE_BYTES {
            return Err(Error::new(Kind::TooLarge, "The value is larger than 64 KiB"));
        }
        let secret = Secret { name, set_at: self.clock.now(), set_by: by.name, last_used_at: None };
        let place = Place { kind: "secret", tenant: db.tenant(), name: secret.name.as_str() };
        self.ensure_key(db).await?;
        let mut transaction = store::begin(db).await?;
        let key =
            store::key_in_use(&mut transaction).await?.ok_or_else(|| Error::not_found("the key of the secrets"))?;
        if store::count_others(&mut transaction, &secret.name).await? >= MOST {
            return Err(
                Error::conflict(format!("There are {MOST} secrets already")).remedy("Delete one that is not used")
            );
        }
        // What the row says is public, and forged as easily: only the sealed identity says what to encrypt to.
        let identity = self.identity(db.tenant(), &key).await?;
        let sealed = envelope::seal(self.keyring.root(), &identity.recipient(), place, &value)?;
        let replaced = store::set(&mut transaction, &secret, &sealed).await?;
        store::commit(transaction).await?;
        self.record(db, by.actor, Action::SecretSet, &secret.name, json!({ "replaced": replaced })).await?;
        Ok(secret)
    }

    /// Which secrets there are, by name. Never their values.
    pub async fn list(&self, db: &TenantDb) -> Result<Vec<Secret>> {
        store::list(db).await
    }

    /// The value, for a program that needs it now; `purpose` says for what, in the audit log, where this is written
    /// before the value is given out.
    ///
    /// # Errors
    /// `NotFound` when there is none of this name; `Conflict` when somebody changed what is stored.
    pub async fn use_secret(&self, db: &TenantDb, name: &SecretName, purpose: &str, by: Actor) -> Result<SecretText> {
        let found = store::find(db.pool(), name).await?.ok_or_else(missing)?;
        let identity = self.identity(db.tenant(), &found.key).await?;
        let place = Place { kind: "secret", tenant: db.tenant(), name: name.as_str() };
        let value = envelope::open(self.keyring.root(), &identity, place, &found.value)?;
        self.record(db, by, Action::SecretUsed, name, json!({ "purpose": purpose })).await?;
        store::touch(db, name, self.clock.now()).await?;
        Ok(value)
    }

    /// Deletes a secret for good.
    ///
    /// # Errors
    /// `NotFound` when there is none of this name.
    pub async fn delete(&self, db: &TenantDb, name: &SecretName, by: Actor) -> Result<()> {
        if !store::delete(db, name).await? {
            return Err(missing());
        }
        self.record(db, by, Action::SecretDeleted, name, json!({})).await
    }

    /// The tenant's key is made with its first secret. While the appliance's key is held it is not rotated, so that
    /// the rotation that comes next finds what was sealed to it.
    async fn ensure_key(&self, db: &TenantDb) -> Result<()> {
        if store::key(db).await?.is_some() {
            return Ok(());
        }
        let sealing = self.keyring.sealing().await;
        let identity = SealingKey::generate(self.clock.now());
        store::insert_key(db, &self.sealed(db.tenant(), &identity, sealing.current())?).await
    }

    /// The tenant's identity, as the database keeps it.
    fn sealed(&self, tenant: &TenantId, identity: &SealingKey, to: &SealingKey) -> Result<KeyRow> {
        let (recipient, sealed_to) = (identity.recipient(), to.recipient());
        let place = Place { kind: "identity", tenant, name: &recipient };
        let sealed = envelope::seal(self.keyring.root(), &sealed_to, place, &identity.reveal())?;
        Ok(KeyRow { recipient, sealed, sealed_to, made_at: identity.made_at() })
    }

    /// The tenant's identity, opened. It is opened anew for each use: nothing is kept that could be taken for
    /// another tenant's.
    async fn identity(&self, tenant: &TenantId, row: &KeyRow) -> Result<SealingKey> {
        let sealing = self.keyring.sealing().await;
        let place = Place { kind: "identity", tenant, name: &row.recipient };
        let text = envelope::open(self.keyring.root(), sealing.find(&row.sealed_to)?, place, &row.sealed)?;
        SealingKey::parse(text.reveal(), row.made_at)
            .filter(|identity| identity.recipient() == row.recipient)
            .ok_or_else(|| Error::conflict("the key of the secrets is not the one that its name says"))
    }

    async fn record(
        &self,
        db: &TenantDb,
        actor: Actor,
        action: Action,
        name: &SecretName,
        detail: serde_json::Value,
    ) -> Result<()> {
        let entry = NewEntry { actor, action, run: None, subject: Some(name.to_string()), detail };
        audit::append(db, &*self.clock, entry).await?;
        Ok(())
    }
}

/// Without the name: people do paste the secret where its name belongs, and errors are logged.
fn missing() -> Error {
    Error::not_found("a secret of this name")
}
