//! Secrets: encrypted at rest, used by programs only, under keys that are rotated while everything runs.

mod canary;
mod command;
mod exploited;
mod pages;
mod rotation;

use std::sync::Arc;

use aegis::{
    audit::Actor,
    db::TenantDb,
    secrets::{By, SecretName, Secrets},
    support::{Kind, SystemClock},
    vault::{Keyring, SecretText, keyring::Passphrases},
};
use sqlx::AssertSqlSafe;
use tempfile::TempDir;

use crate::harness::TestDb;

/// A database with the keys of an appliance beside it.
struct Vault {
    db: TestDb,
    home: TempDir,
    keyring: Keyring,
    secrets: Secrets,
}

impl Vault {
    async fn new() -> Self {
        let (db, home) = (TestDb::new().await, tempfile::tempdir().unwrap());
        let keyring = keyring(&home);
        let secrets = Secrets::new(keyring.clone(), db.tenants(), db.shared_clock());
        Self { db, home, keyring, secrets }
    }

    /// The same database and the same key file, as after a restart.
    fn restart(&mut self) {
        self.keyring = keyring(&self.home);
        self.secrets = Secrets::new(self.keyring.clone(), self.db.tenants(), self.db.shared_clock());
    }

    async fn set(&self, db: &TenantDb, name: &str, value: &str) {
        self.secrets.set(db, name.parse().unwrap(), SecretText::new(value.to_owned()), By::operator()).await.unwrap();
    }

    async fn value(&self, db: &TenantDb, name: &str) -> aegis::support::Result<String> {
        let name: SecretName = name.parse().unwrap();
        let value = self.secrets.use_secret(db, &name, "a test", Actor::System).await?;
        Ok(value.reveal().to_owned())
    }
}

fn keyring(home: &TempDir) -> Keyring {
    use aegis::support::Clock as _;
    let nobody = Passphrases { configured: None, ask: || Ok(None) };
    Keyring::open(home.path(), &nobody, SystemClock.now()).unwrap()
}

async fn actions(db: &TenantDb) -> Vec<(String, Option<String>, String)> {
    let entries = "SELECT action, subject, detail FROM audit_entries ORDER BY seq";
    sqlx::query_as(entries).fetch_all(db.pool()).await.unwrap()
}

#[tokio::test]
async fn a_value_comes_back_to_a_program_that_says_what_for_and_the_log_tells_all_but_the_value() {
    let vault = Vault::new().await;
    let (_, db) = vault.db.tenant("acme").await;
    vault.set(&db, "telegram.bot-token", "123:canary-one").await;
    vault.db.clock.advance(chrono::Duration::minutes(5));
    vault.set(&db, "telegram.bot-token", "123:canary-two").await;
    vault.db.clock.advance(chrono::Duration::minutes(5));
    assert_eq!(vault.value(&db, "telegram.bot-token").await.unwrap(), "123:canary-two");

    let listed = vault.secrets.list(&db).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].set_by, "the operator");
    assert_eq!(listed[0].last_used_at, Some(listed[0].set_at + chrono::Duration::minutes(5)));

    vault.secrets.delete(&db, &listed[0].name, Actor::Operator).await.unwrap();
    assert_eq!(vault.value(&db, "telegram.bot-token").await.unwrap_err().kind(), Kind::NotFound);
    let gone = vault.secrets.delete(&db, &listed[0].name, Actor::Operator).await.unwrap_err();
    assert_eq!(gone.kind(), Kind::NotFound);

    let entries = actions(&db).await;
    let seen: Vec<_> = entries.iter().map(|(action, _, detail)| (action.as_str(), detail.as_str())).collect();
    assert_eq!(
        seen,
        [
            ("secret.set", r#"{"replaced":false}"#),
            ("secret.set", r#"{"replaced":true}"#),
            ("secret.used", r#"{"purpose":"a test"}"#),
            ("secret.deleted", "{}"),
        ]
    );
    assert!(entries.iter().all(|(_, subject, _)| subject.as_deref() == Some("telegram.bot-token")));
}

#[tokio::test]
async fn an_empty_value_one_that_is_too_large_and_one_too_many_are_refused() {
    let vault = Vault::new().await;
    let (_, db) = vault.db.tenant("acme").await;
    let set = async |name: &str, value: String| {
        vault.secrets.set(&db, name.parse().unwrap(), SecretText::new(value), By::operator()).await
    };
    assert_eq!(set("empty", String::new()).await.unwrap_err().kind(), Kind::Invalid);
    assert_eq!(set("large", "x".repeat(64 * 1024 + 1)).await.unwrap_err().kind(), Kind::TooLarge);
    set("largest", "x".repeat(64 * 1024)).await.unwrap();
    assert_eq!(vault.value(&db, "largest").await.unwrap().len(), 64 * 1024);
    sqlx::query(
        "INSERT INTO secrets (name, sealed, set_at, set_by) SELECT 'n' || i, '', now(), '' FROM generate_series(2, 500) i",
    )
    .execute(db.pool())
    .await
    .unwrap();
    assert_eq!(set("one-more", "x".to_owned()).await.unwrap_err().kind(), Kind::Conflict);
    set("largest", "the name is there already".to_owned()).await.unwrap();
}

#[tokio::test]
async fn a_ciphertext_in_another_row_or_another_tenants_is_refused() {
    let vault = Vault::new().await;
    let ((_, a), (_, b)) = (vault.db.tenant("tenant-a").await, vault.db.tenant("tenant-b").await);
    vault.set(&a, "one", "value one").await;
    vault.set(&a, "two", "value two").await;
    vault.set(&b, "one", "value of b").await;
    let mut superuser = vault.db.superuser().await;

    let swap = "UPDATE secrets SET sealed = (SELECT sealed FROM secrets WHERE name = 'one') WHERE name = 'two'";
    sqlx::query(swap).execute(a.pool()).await.unwrap();
    let error = vault.value(&a, "two").await.unwrap_err();
    assert!(error.message().contains("another place"), "{error}");

    let (a_schema, b_schema) = (a.tenant().schema(), b.tenant().schema());
    let steal =
        format!("UPDATE {b_schema}.secrets SET sealed = (SELECT sealed FROM {a_schema}.secrets WHERE name = 'one')");
    sqlx::query(AssertSqlSafe(steal)).execute(&mut superuser).await.unwrap();
    assert!(vault.value(&b, "one").await.is_err(), "it is sealed to the other tenant's key");
    let with_key = format!(
        "UPDATE {b_schema}.secret_key b SET recipient = a.recipient, sealed = a.sealed FROM {a_schema}.secret_key a"
    );
    sqlx::query(AssertSqlSafe(with_key)).execute(&mut superuser).await.unwrap();
    let error = vault.value(&b, "one").await.unwrap_err();
    assert!(error.message().contains("another place"), "with the other tenant's key in place, too: {error}");
    assert!(vault.secrets.rotate_tenant(&b, Actor::Operator).await.is_err(), "nor is it taken over by a rotation");
    assert_eq!(vault.value(&a, "one").await.unwrap(), "value one");
}

/// Everything that stands in the database's rows is enough to encrypt a value, and not enough to have it taken for ours.
#[tokio::test]
async fn a_value_that_somebody_else_encrypted_to_the_right_key_is_refused() {
    let vault = Vault::new().await;
    let (_, db) = vault.db.tenant("acme").await;
    vault.set(&db, "one", "the true value").await;
    let recipient: String = sqlx::query_scalar("SELECT recipient FROM secret_key").fetch_one(db.pool()).await.unwrap();
    let tenant = db.tenant();
    let forged = format!(r#"{{"kind":"secret","tenant":"{tenant}","name":"one","value":"forged","hmac":""}}"#);
    for text in [&*forged, "forged"] {
        let sealed = aegis::vault::sealing::seal(&recipient, text).unwrap();
        sqlx::query("UPDATE secrets SET sealed = $1").bind(sealed).execute(db.pool()).await.unwrap();
        let error = vault.value(&db, "one").await.unwrap_err();
        assert_eq!(error.kind(), Kind::Conflict);
        assert!(!format!("{error:?}").contains("forged"), "{error:?}");
    }
    // A key of the attacker's own in the tenant's place: nothing is encrypted to it.
    let own = aegis::vault::SealingKey::generate(chrono::DateTime::UNIX_EPOCH);
    sqlx::query("UPDATE secret_key SET recipient = $1").bind(own.recipient()).execute(db.pool()).await.unwrap();
    let set = vault.secrets.set(&db, "two".parse().unwrap(), SecretText::new("fresh".to_owned()), By::operator()).await;
    assert_eq!(set.unwrap_err().kind(), Kind::Conflict);
}

#[tokio::test]
async fn names_that_begin_alike_are_different_secrets() {
    let vault = Vault::new().await;
    let (_, db) = vault.db.tenant("acme").await;
    let stem = "a".repeat(63);
    for (name, value) in [(stem.clone(), "the stem"), (format!("{stem}b"), "b"), (format!("{stem}c"), "c")] {
        vault.set(&db, &name, value).await;
    }
    for _ in 0..2 {
        assert_eq!(vault.value(&db, &stem).await.unwrap(), "the stem");
        assert_eq!(vault.value(&db, &format!("{stem}b")).await.unwrap(), "b");
        assert_eq!(vault.value(&db, &format!("{stem}c")).await.unwrap(), "c");
        assert_eq!(vault.value(&db, &stem[1..]).await.unwrap_err().kind(), Kind::NotFound);
    }
}

#[tokio::test]
async fn two_who_set_the_first_secret_at_once_share_one_key() {
    let vault = Arc::new(Vault::new().await);
    let (_, db) = vault.db.tenant("acme").await;
    let setters = (0..8).map(|n| {
        let (vault, db) = (Arc::clone(&vault), db.clone());
        tokio::spawn(async move { vault.set(&db, &format!("n{n}"), &format!("value {n}")).await })
    });
    for setter in setters.collect::<Vec<_>>() {
        setter.await.unwrap();
    }
    for n in 0..8 {
        assert_eq!(vault.value(&db, &format!("n{n}")).await.unwrap(), format!("value {n}"));
    }
}
