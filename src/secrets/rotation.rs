//! Rotating keys while everything runs, and what can be told about them.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Secrets, store};
use crate::{
    audit::{self, Action, Actor, NewEntry},
    db::TenantDb,
    support::{Error, Result},
    tenants::{State, Tenant},
    vault::{
        Passphrase, SealingKey, envelope,
        envelope::Place,
        keyring::{Overview, Protection},
    },
};

/// What rotating a tenant's key did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantRotation {
    /// How many values were encrypted again.
    pub secrets: usize,
    /// The public half of the new key.
    pub recipient: String,
}

/// What rotating the appliance's key did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApplianceRotation {
    /// Whether it went on with a rotation that had been interrupted, without making another key.
    pub resumed: bool,
    /// How many tenants' keys were sealed again.
    pub resealed: usize,
    /// Tenants (slugs) whose keys could not be sealed again, and why. Until there are none the old key is kept.
    pub left: Vec<(String, String)>,
    /// Tenants (slugs) out of service, which nobody can reach: until they are back, or gone, the old key is kept, too.
    pub waiting: Vec<String>,
    /// The public half of the current key.
    pub recipient: String,
}

/// What can be told about the appliance's keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyStatus {
    /// About the key file.
    #[serde(flatten)]
    pub overview: Overview,
    /// Tenants in service that have a key.
    pub tenants: usize,
    /// Tenants in service (slugs) whose key is not sealed to the current one.
    pub not_resealed: Vec<String>,
    /// Tenants out of service (slugs), whose keys nobody can look at.
    pub waiting: Vec<String>,
}

impl Secrets {
    /// Gives a tenant a new key and encrypts all its values to it, in one transaction. Whoever reads meanwhile gets
    /// the value, by the one key or by the other.
    ///
    /// # Errors
    /// `Conflict` when a value cannot be opened, because somebody changed it; then nothing has changed.
    pub async fn rotate_tenant(&self, db: &TenantDb, by: Actor) -> Result<TenantRotation> {
        self.ensure_key(db).await?;
        let mut transaction = store::begin(db).await?;
        let row =
            store::key_to_replace(&mut transaction).await?.ok_or_else(|| Error::not_found("the key of the secrets"))?;
        let old = self.identity(db.tenant(), &row).await?;
        let new = SealingKey::generate(self.clock.now());
        let root = self.keyring.root();
        let values = store::all(&mut transaction).await?;
        let secrets = values.len();
        for (name, sealed) in values {
            let place = Place { kind: "secret", tenant: db.tenant(), name: &name };
            let value = envelope::open(root, &old, place, &sealed)?;
            let sealed = envelope::seal(root, &new.recipient(), place, &value)?;
            store::replace_value(&mut transaction, &name, &sealed).await?;
        }
        {
            // Held until it is committed, so that a rotation of the appliance's key finds this one.
            let sealing = self.keyring.sealing().await;
            store::replace_key(&mut transaction, &self.sealed(db.tenant(), &new, sealing.current())?).await?;
            store::commit(transaction).await?;
        }
        let recipient = new.recipient();
        self.record_key(db, by, Action::SecretKeyRotated, json!({ "secrets": secrets, "recipient": recipient }))
            .await?;
        Ok(TenantRotation { secrets, recipient })
    }

    /// Gives the appliance a new sealing key and seals every tenant's key to it; or goes on with that, when it was
    /// interrupted. Old keys are kept until no tenant needs them.
    ///
    /// # Errors
    /// When the key file cannot be written or the tenants cannot be listed; running it again goes on.
    pub async fn rotate_appliance(&self, by: Actor) -> Result<ApplianceRotation> {
        let _alone = self.rotating.lock().await;
        let resumed = self.is_interrupted().await?;
        if !resumed {
            self.keyring.begin_rotation(self.clock.now()).await?;
        }
        self.reseal_all(resumed, by).await
    }

    /// Finishes a rotation that a crash or a power cut interrupted, or that tenants out of service were left out of. Part
    /// of each start, and done when a tenant comes back.
    ///
    /// # Errors
    /// As [`Secrets::rotate_appliance`].
    pub async fn resume_rotation(&self) -> Result<()> {
        let _alone = self.rotating.lock().await;
        if self.keyring.is_rotating().await {
            let done = self.reseal_all(true, Actor::System).await?;
            for (tenant, why) in done.left {
                tracing::warn!(tenant, why, "the key of a tenant's secrets is still sealed to the old key");
            }
        }
        Ok(())
    }

    /// Whether a rotation was begun and not finished for the tenants in service. Those out of service do not stand in
    /// the way of another rotation: the key that theirs is sealed to waits with them.
    async fn is_interrupted(&self) -> Result<bool> {
        if !self.keyring.is_rotating().await {
            return Ok(false);
        }
        let status = self.key_status().await?;
        Ok(status.waiting.is_empty() || !status.not_resealed.is_empty())
    }

    async fn reseal_all(&self, resumed: bool, by: Actor) -> Result<ApplianceRotation> {
        let (mut resealed, mut left) = (0, Vec::new());
        let (in_service, waiting) = self.all_tenants().await?;
        for tenant in in_service {
            let sealed = async { self.reseal(&self.tenants.open(&tenant).await?, &by).await };
            match sealed.await {
                Ok(again) => resealed += usize::from(again),
                Err(error) => left.push((tenant.slug.to_string(), error.to_string())),
            }
        }
        if let Some(accounts) = &self.accounts {
            match accounts.reseal_second_factors().await {
                Ok(again) => tracing::info!(again, "second factors are sealed to the new key"),
                Err(error) => left.push(("second factors".to_owned(), error.to_string())),
            }
        }
        if left.is_empty() && waiting.is_empty() {
            self.keyring.finish_rotation().await?;
        }
        let (tenants_left, tenants_waiting) = (left.len(), waiting.len());
        tracing::info!(resumed, resealed, tenants_left, tenants_waiting, "the appliance's sealing key was rotated");
        let recipient = self.keyring.sealing().await.current().recipient();
        Ok(ApplianceRotation { resumed, resealed, left, waiting, recipient })
    }

    /// Every tenant that has a schema and keeps it: those in service, and the slugs of those that are not. Out of one
    /// statement, so that none slips from the one list past the other.
    async fn all_tenants(&self) -> Result<(Vec<Tenant>, Vec<String>)> {
        let (mut in_service, mut waiting) = (Vec::new(), Vec::new());
        for record in self.tenants.records("", usize::MAX).await? {
            match record.state {
                State::Active => in_service.push(record.tenant),
                State::Suspended | State::Deleting => waiting.push(record.tenant.slug.to_string()),
                State::Creating | State::Removing => {}
            }
        }
        Ok((in_service, waiting))
    }

    /// Seals a tenant's key to the current one, unless it is so already. True when there was something to do.
    ///
    /// # Errors
    /// `Conflict` when the key cannot be opened.
    pub async fn reseal(&self, db: &TenantDb, by: &Actor) -> Result<bool> {
        let mut transaction = store::begin(db).await?;
        let Some(row) = store::key_to_replace(&mut transaction).await? else { return Ok(false) };
        let current = self.keyring.sealing().await.current().clone();
        if row.sealed_to == current.recipient() {
            return Ok(false);
        }
        let identity = self.identity(db.tenant(), &row).await?;
        let row = self.sealed(db.tenant(), &identity, &current)?;
        store::replace_key(&mut transaction, &row).await?;
        store::commit(transaction).await?;
        self.record_key(db, by.clone(), Action::SecretKeyResealed, json!({ "sealed_to": row.sealed_to })).await?;
        Ok(true)
    }

    /// What can be told about the appliance's keys.
    pub async fn key_status(&self) -> Result<KeyStatus> {
        let overview = self.keyring.overview().await;
        let (mut tenants, mut not_resealed) = (0, Vec::new());
        let (in_service, waiting) = self.all_tenants().await?;
        for tenant in in_service {
            let Some(row) = store::key(&self.tenants.open(&tenant).await?).await? else { continue };
            tenants += 1;
            if row.sealed_to != overview.sealing.recipient {
                not_resealed.push(tenant.slug.to_string());
            }
        }
        Ok(KeyStatus { overview, tenants, not_resealed, waiting })
    }

    /// What can be told about the key file, without looking at the tenants.
    pub async fn keys(&self) -> Overview {
        self.keyring.overview().await
    }

    /// Protects the key file by a passphrase, or by its permissions alone.
    ///
    /// # Errors
    /// When the file cannot be written; then it is as before.
    pub async fn protect(&self, passphrase: Option<Passphrase>) -> Result<Protection> {
        self.keyring.protect(passphrase).await?;
        Ok(self.keyring.overview().await.protection)
    }

    async fn record_key(&self, db: &TenantDb, actor: Actor, action: Action, detail: serde_json::Value) -> Result<()> {
        audit::append(db, &*self.clock, NewEntry { actor, action, run: None, subject: None, detail }).await?;
        Ok(())
    }
}
