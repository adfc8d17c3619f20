//! What the day's round removes: old entries of every log, the appliance's own included, and nothing of a broken one.

use aegis::{
    app::wiring::App,
    audit::{self, Action, Actor, Log, NewEntry},
    config::Config,
    runs::retention,
    support::Clock as _,
    vault::{Keyring, keyring::Passphrases},
};
use chrono::Duration;
use serde_json::json;

use crate::{appliance::AEGIS, audit::heads::as_superuser, harness::TestDb};

#[tokio::test]
async fn the_days_round_shortens_every_log_but_a_broken_one() {
    let db = TestDb::new().await;
    let home = tempfile::tempdir().unwrap();
    let mut config = Config::load(None, Some(home.path())).unwrap();
    config.models.chain = Vec::new();
    let passphrases = Passphrases { configured: None, ask: || Ok(None) };
    let keyring = Keyring::open(home.path(), &passphrases, db.clock.now()).unwrap();
    let app = App::on(db.databases.clone(), config, keyring, db.shared_clock(), AEGIS.into()).await.unwrap();
    let (acme, acme_log) = db.tenant("acme").await;
    let (beta, beta_log) = db.tenant("beta").await;
    let logs: [Log; 3] = [(&acme_log).into(), (&beta_log).into(), Log::of_appliance(&db.databases)];
    for log in &logs {
        for _ in 0..5 {
            let detail = json!({});
            let entry =
                NewEntry { actor: Actor::System, action: Action::DocumentAdded, run: None, subject: None, detail };
            audit::append(log, &*db.clock, entry).await.unwrap();
        }
    }
    assert_eq!(retention::once(&app.runs, &app.tenants, 30).await.unwrap(), 0, "all of it is of today");

    as_superuser(&db, &beta.id, "UPDATE audit_entries SET subject = 'forged' WHERE seq = 2").await;
    db.clock.advance(Duration::days(31));
    let (_, own) = audit::extent(&logs[2]).await.unwrap().unwrap();
    assert_eq!(retention::once(&app.runs, &app.tenants, 30).await.unwrap(), 4 + own - 1, "the newest of each stays");
    assert_eq!(audit::extent(&logs[0]).await.unwrap(), Some((5, 6)), "{}", acme.slug);
    assert_eq!(audit::extent(&logs[1]).await.unwrap(), Some((1, 5)), "the broken log is as it was");
    let verified = audit::verify(&logs[2]).await.unwrap();
    assert_eq!((verified.broken, verified.checkpoint.map(|one| one.seq)), (None, Some(own - 1)));
}
