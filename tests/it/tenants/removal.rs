//! The end of a tenant: nothing of it is left but what is documented, and a removal that was cut off goes on.

use std::{fs, path::Path};

use aegis::{
    audit::Actor,
    support::{Error, Kind, Result, ids::TenantId},
    tenants::Resident,
};
use async_trait::async_trait;
use sqlx::{AssertSqlSafe, PgConnection};

use crate::{appliance::Appliance, harness::TestDb};

/// Every table that an ordinary query can read, of the whole database and of the cluster, as `schema.table`, in which one
/// of `words` stands.
pub(super) async fn places(superuser: &mut PgConnection, words: &[&str]) -> Vec<String> {
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relkind IN ('r', 'p', 'm') AND n.nspname <> 'information_schema' ORDER BY 1",
    )
    .fetch_all(&mut *superuser)
    .await
    .unwrap();
    assert!(tables.len() > 60, "catalogs, control, apalis: {}", tables.len());
    let mut found = Vec::new();
    for table in tables {
        // The row as text, and what its bytea columns (a job's payload) would read as.
        let hits: i64 = sqlx::query_scalar(AssertSqlSafe(format!(
            "SELECT count(*) FROM {table} t, unnest($1::text[]) word
             WHERE position(word IN t::text) > 0
                OR position(encode(convert_to(word, 'UTF8'), 'hex') IN t::text) > 0"
        )))
        .bind(words)
        .fetch_one(&mut *superuser)
        .await
        .unwrap_or_else(|error| panic!("{table}: {error}"));
        if hits > 0 {
            found.push(table);
        }
    }
    found
}

#[tokio::test]
async fn of_a_tenant_that_is_gone_the_whole_cluster_knows_only_that_it_was() {
    let db = TestDb::new().await;
    let tenants = db.tenants();
    let (acme, held) = db.tenant("acme-xyzzy").await;
    let (other, _) = db.tenant("other").await;
    let words = [acme.id.as_str(), "acme-xyzzy", "plugh"];
    // Something of everything: a setting of its role, an own entry, a job that is done and one that waits.
    sqlx::query("SELECT 1").execute(held.pool()).await.unwrap();
    let more = format!(
        "ALTER ROLE {} SET work_mem = '1MB';
         INSERT INTO apalis.jobs (job, id, job_type, status) VALUES
             (convert_to('{{\"tenant\":\"{id}\"}}', 'UTF8'), 'a', 'knowledge.ingest', 'Done'),
             (convert_to('{{\"tenant\":\"{id}\"}}', 'UTF8'), 'b', 'knowledge.ingest', 'Failed')",
        acme.id.schema(),
        id = acme.id
    );
    let mut superuser = db.superuser().await;
    sqlx::raw_sql(AssertSqlSafe(more)).execute(&mut superuser).await.unwrap();
    tenants.suspend(&acme.id, "plugh", &Actor::Operator).await.unwrap();
    let before = places(&mut superuser, &words).await;
    for place in ["apalis.jobs", "control.tenants", "pg_catalog.pg_authid", "pg_catalog.pg_namespace"] {
        assert!(before.iter().any(|found| found == place), "the search finds it in {place}: {before:?}");
    }

    assert!(tenants.delete(&acme.id, "acme-xyzzy", true, &Actor::Operator).await.unwrap().is_none());

    assert_eq!(places(&mut superuser, &words).await, ["control.audit_entries"]);
    let deeds = tenants.deeds(Some(&acme.id), 10).await.unwrap();
    assert_eq!(
        deeds.iter().map(|deed| deed.action.as_str()).collect::<Vec<_>>(),
        ["tenant.deleted", "tenant.deletion_requested", "tenant.suspended"]
    );
    assert!(!serde_json::to_string(&deeds).unwrap().contains("xyzzy"), "it is known by its id alone");
    db.databases.tenant(&other.id).await.unwrap();
    let reused = tenants.create(&"acme-xyzzy".parse().unwrap(), "New").await.unwrap();
    assert_ne!(reused.id, acme.id, "the slug is free, the id is never used again");
}

#[tokio::test]
async fn what_operators_did_cannot_be_changed_by_the_appliance_itself() {
    let db = TestDb::new().await;
    db.tenants().create_by(&"acme".parse().unwrap(), "Acme", &Actor::Operator).await.unwrap();
    for statement in [
        "UPDATE control.audit_entries SET actor = 'somebody else'",
        "DELETE FROM control.audit_entries",
        "TRUNCATE control.audit_entries",
        "DROP TABLE control.audit_entries",
        "ALTER TABLE control.audit_entries DISABLE TRIGGER ALL",
    ] {
        let error = sqlx::query(statement).execute(db.databases.control()).await.unwrap_err();
        assert_eq!(error.as_database_error().unwrap().code().as_deref(), Some("42501"), "{statement}");
    }
}

/// Keeps files of tenants, and fails as often as it is told to.
struct Cabinet {
    failures: std::sync::atomic::AtomicU32,
    directory: tempfile::TempDir,
}

#[async_trait]
impl Resident for Cabinet {
    async fn forget(&self, tenant: &TenantId) -> Result<()> {
        use std::sync::atomic::Ordering::SeqCst;
        if self.failures.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok() {
            return Err(Error::new(Kind::Unavailable, "the cabinet is jammed"));
        }
        match fs::remove_file(self.directory.path().join(tenant.as_str())) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::internal(error)),
            _ => Ok(()),
        }
    }
}

#[tokio::test]
async fn a_removal_that_was_cut_off_at_any_step_goes_on_and_ends() {
    let cut_off_after: [&[&str]; 5] = [
        &[],
        &["ALTER ROLE {role} NOLOGIN"],
        &["ALTER ROLE {role} NOLOGIN", "DROP SCHEMA {role} CASCADE"],
        &["DROP SCHEMA {role} CASCADE", "DROP OWNED BY {role}", "DROP ROLE {role}"],
        &[
            "DROP SCHEMA {role} CASCADE",
            "DROP OWNED BY {role}, {role}_owner",
            "DROP ROLE {role}, {role}_owner",
            "DELETE FROM control.tenant_schemas",
        ],
    ];
    for steps in cut_off_after {
        let db = TestDb::new().await;
        let (acme, _) = db.tenant("acme").await;
        let mut superuser = db.superuser().await;
        let mut before = vec!["UPDATE control.tenants SET state = 'removing', delete_after = now()"];
        before.extend(steps);
        for step in before {
            let step = step.replace("{role}", &acme.id.schema());
            sqlx::raw_sql(AssertSqlSafe(step)).execute(&mut superuser).await.unwrap();
        }
        // The next start.
        let again =
            aegis::db::Databases::open(db.server().clone(), &crate::harness::database::settings()).await.unwrap();
        let tenants = aegis::tenants::Tenants::new(again.clone(), db.shared_clock());
        again.bring_up_to_date(&tokio_util::sync::CancellationToken::new()).await;
        tenants.repair().await.unwrap();
        assert_eq!(tenants.remove_due().await.unwrap(), 1, "{steps:?}");
        assert_eq!(places(&mut superuser, &[acme.id.as_str()]).await, ["control.audit_entries"], "{steps:?}");
    }
}

#[tokio::test]
async fn what_keeps_something_of_a_tenant_is_asked_again_until_it_has_let_go() {
    let db = TestDb::new().await;
    let tenants = db.tenants();
    let (acme, _) = db.tenant("acme").await;
    let cabinet = std::sync::Arc::new(Cabinet { failures: 1.into(), directory: tempfile::tempdir().unwrap() });
    let file = cabinet.directory.path().join(acme.id.as_str());
    fs::write(&file, "kept").unwrap();
    tenants.introduce(cabinet.clone());
    let error = tenants.delete(&acme.id, "acme", true, &Actor::Operator).await.unwrap_err();
    assert!(error.to_string().contains("jammed"), "{error}");
    assert!(file.exists() && tenants.record(&acme.id).await.is_ok(), "nothing is forgotten before everything is");
    assert_eq!(tenants.remove_due().await.unwrap(), 1);
    assert!(!file.exists());
}

/// Files below `directory` whose name or content has one of `words`. PostgreSQL's own files keep what was removed until
/// they are overwritten, which is documented; they are left out.
fn files_with(directory: &Path, words: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name == "postgres" {
            continue;
        }
        let content = if path.is_file() { fs::read(&path).unwrap_or_default() } else { Vec::new() };
        if words.iter().any(|word| name.contains(word) || content.windows(word.len()).any(|at| at == word.as_bytes())) {
            found.push(path.display().to_string());
        }
        if path.is_dir() {
            found.extend(files_with(&path, words));
        }
    }
    found
}

#[test]
fn the_command_line_takes_a_tenant_through_its_whole_life() {
    let mut aegis = Appliance::without_models();
    aegis.serve();
    aegis.with_owner("jo@acme.example", "correct horse battery");
    let shown = aegis.json(&["tenant", "show", "acme"]);
    let id = shown["id"].as_str().unwrap().to_owned();
    assert_eq!((&shown["state"], &shown["members"]), (&"active".into(), &1.into()), "{shown}");
    assert!(shown["bytes"].as_i64().unwrap() > 100_000 && shown["last_activity"].is_string(), "{shown}");
    aegis.json(&["kb", "add", "--tenant", "acme", &aegis.file("a.md", b"# A\n\nThe key hangs behind the boiler.\n")]);
    assert_eq!(aegis.json(&["tenant", "show", "acme"])["documents"], 1);

    assert_eq!(aegis.json(&["tenant", "rename", "acme", "--name", "Acme AG", "--slug", "acme-ag"])["slug"], "acme-ag");
    let suspended = aegis.json(&["tenant", "suspend", "acme-ag", "--reason", "not paid"]);
    assert_eq!((&suspended["state"], &suspended["suspended_reason"]), (&"suspended".into(), &"not paid".into()));
    let refused = aegis.run(&["kb", "list", "--tenant", "acme-ag"]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(refused.status.code() == Some(1) && said.contains("is suspended"), "{said}");
    aegis.json(&["tenant", "resume", "acme-ag"]);
    assert_eq!(aegis.json(&["kb", "search", "--tenant", "acme-ag", "where is the key"])[0]["document"], "a.md");
    assert_eq!(aegis.json(&["audit", "verify", "--tenant", "acme-ag"])["intact"], true);

    let unconfirmed = aegis.run(&["tenant", "delete", "acme-ag", "--confirm", "acme"]);
    assert_eq!(unconfirmed.status.code(), Some(1));
    let deleting = aegis.json(&["tenant", "delete", "acme-ag", "--confirm", "acme-ag"]);
    assert_eq!(deleting["state"], "deleting");
    assert_eq!(aegis.json(&["tenant", "list"])[0]["state"], "deleting");
    assert_eq!(aegis.json(&["tenant", "undelete", "acme-ag"])["state"], "active");
    let printed = aegis.run(&["tenant", "show", "acme-ag"]);
    let printed = String::from_utf8_lossy(&printed.stdout);
    assert!(printed.contains("tenant.undeleted") && printed.contains("Acme AG"), "{printed}");

    assert_eq!(aegis.json(&["tenant", "delete", "acme-ag", "--confirm", "acme-ag", "--now"])["state"], "gone");
    assert_eq!(aegis.json(&["tenant", "list"]), serde_json::json!([]));
    assert_eq!(files_with(aegis.data_dir(), &[&id, "acme-ag"]), Vec::<String>::new());
    let doctor = aegis.json(&["doctor"]);
    assert!(
        doctor["findings"].as_array().unwrap().iter().any(|f| f["part"] == "tenants" && f["state"] == "ok"),
        "{doctor}"
    );
}
