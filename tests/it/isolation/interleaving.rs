//! Three tenants do things at the same time, in any order, through the use cases, with fewer pools than tenants, so that
//! pools come and go under them. Every value that one stores carries its mark: none ever sees another's.

use std::{collections::BTreeMap, sync::Arc};

use aegis::{
    accounts::{Password, Role},
    agents::Ask,
    app::wiring::App,
    audit::{self, Action, Actor, NewEntry},
    config::Config,
    db::Databases,
    knowledge::{Listing, Reader, Upload},
    secrets::By,
    support::ids::DocumentId,
    tenants::{Renaming, Tenant},
    vault::{Keyring, SecretText, keyring::Passphrases},
};
use futures::{StreamExt as _, future::join_all};
use proptest::{
    collection::vec,
    prelude::{Just, Strategy},
    prop_oneof,
    test_runner::{Config as Trials, TestCaseError, TestError, TestRunner},
};
use serde_json::json;

use crate::{appliance::AEGIS, harness::TestDb, harness::database::settings};

/// Words that stand in everything that a tenant stores, and nowhere else.
const MARKS: [&str; 3] = ["aardvark", "bandicoot", "capybara"];

/// What a tenant does.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Add(u8),
    RemoveOldest,
    List,
    Search,
    Ask,
    Conversations,
    Note,
    ReadLog,
    SetSecret(u8),
    UseSecret(u8),
    AddMember(u8),
    Members,
    Rename(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..4_u8).prop_map(Step::Add),
        1 => Just(Step::RemoveOldest),
        2 => Just(Step::List),
        3 => Just(Step::Search),
        1 => Just(Step::Ask),
        1 => Just(Step::Conversations),
        2 => Just(Step::Note),
        2 => Just(Step::ReadLog),
        2 => (0..3_u8).prop_map(Step::SetSecret),
        2 => (0..3_u8).prop_map(Step::UseSecret),
        1 => (0..3_u8).prop_map(Step::AddMember),
        1 => Just(Step::Members),
        1 => (0..3_u8).prop_map(Step::Rename),
    ]
}

/// What is shown of a tenant must carry its mark and no other's.
fn own(mark: &str, what: &str, shown: &str) -> Result<(), String> {
    let foreign = MARKS.into_iter().filter(|other| *other != mark).find(|other| shown.contains(other));
    match foreign {
        Some(other) => Err(format!("{mark} sees {other} in {what}: {shown}")),
        None => Ok(()),
    }
}

/// As [`own`], and its own mark must be there.
fn marked(mark: &str, what: &str, shown: &str) -> Result<(), String> {
    own(mark, what, shown)?;
    if shown.contains(mark) { Ok(()) } else { Err(format!("{mark} misses its mark in {what}: {shown}")) }
}

/// Somebody at work, and what they must find again.
struct Worker {
    app: App,
    tenant: Tenant,
    mark: &'static str,
    documents: Vec<DocumentId>,
    secrets: BTreeMap<u8, u32>,
    notes: usize,
    steps: u32,
}

impl Worker {
    async fn all(mut self, steps: Vec<Step>) -> Result<Self, String> {
        for step in steps {
            self.steps += 1;
            let done = self.step(&step).await;
            done.map_err(|why| format!("{step:?} of {}: {why}", self.mark))?;
        }
        Ok(self)
    }

    #[expect(clippy::too_many_lines, reason = "one arm for each thing that a tenant does")]
    async fn step(&mut self, step: &Step) -> Result<(), String> {
        let told = |error: aegis::support::Error| format!("{error:?}");
        let (app, mark) = (&self.app, self.mark);
        // A handle for each step, so that pools are free to be closed between two.
        let db = app.databases.tenant(&self.tenant.id).await.map_err(told)?;
        match step {
            Step::Add(n) => {
                let text = format!("# Notes {n}\n\nThe key of the {mark} house number {n} hangs behind the boiler.\n");
                let upload = Upload::new(format!("{mark}-{n}.md"), text.into_bytes(), Actor::Operator);
                let added = app.knowledge.open(&db, Reader::everything()).add(upload).await.map_err(told)?.document;
                app.knowledge.ingest(&db, added.id).await.map_err(told)?;
                if !self.documents.contains(&added.id) {
                    self.documents.push(added.id);
                }
            }
            Step::RemoveOldest => {
                if !self.documents.is_empty() {
                    let oldest = self.documents.remove(0);
                    app.knowledge
                        .open(&db, Reader::everything())
                        .remove(oldest, Actor::Operator)
                        .await
                        .map_err(told)?;
                }
            }
            Step::List => {
                let listed = app
                    .knowledge
                    .open(&db, Reader::everything())
                    .list(&Listing::default())
                    .await
                    .map_err(told)?
                    .documents;
                for document in &listed {
                    marked(mark, "the list of documents", &document.title)?;
                }
                let mut ids: Vec<_> = listed.iter().map(|document| document.id).collect();
                let mut expected = self.documents.clone();
                ids.sort_unstable();
                expected.sort_unstable();
                if ids != expected {
                    return Err(format!("{} documents are listed, {} were added", ids.len(), expected.len()));
                }
            }
            Step::Search => {
                for question in ["where hangs the key of the house", &MARKS.join(" ")] {
                    for hit in app.knowledge.open(&db, Reader::everything()).search(question, 10).await.map_err(told)? {
                        marked(mark, "a passage", &hit.passage.text)?;
                        marked(mark, "a passage's title", &hit.title)?;
                    }
                }
            }
            Step::Ask => {
                let question = format!("Where hangs the key, {mark}?");
                let ask = Ask::new("atlas", question, Actor::Operator);
                let mut run = app.agents.ask(&db, ask).await.map_err(told)?;
                while let Some(event) = run.events.next().await {
                    own(mark, "an answer", &serde_json::to_string(&event).unwrap())?;
                }
            }
            Step::Conversations => {
                let titles: Vec<String> = sqlx::query_scalar("SELECT title FROM conversations")
                    .fetch_all(db.pool())
                    .await
                    .map_err(|error| error.to_string())?;
                for title in titles {
                    marked(mark, "a conversation", &title)?;
                }
            }
            Step::Note => {
                let entry = NewEntry {
                    actor: Actor::Operator,
                    action: Action::DocumentFailed,
                    run: None,
                    subject: Some(mark.to_owned()),
                    detail: json!({ "reason": mark }),
                };
                audit::append(&db, &*app.clock, entry).await.map_err(told)?;
                self.notes += 1;
            }
            Step::ReadLog => {
                let page = audit::find(&db, &audit::Filter::default(), None, 1000).await.map_err(told)?;
                for entry in &page.entries {
                    own(mark, "the audit log", &serde_json::to_string(entry).unwrap())?;
                }
                let notes = page.entries.iter().filter(|entry| entry.subject.as_deref() == Some(mark)).count();
                if notes < self.notes {
                    return Err(format!("{notes} of {} notes are in the log", self.notes));
                }
                if let Some(broken) = audit::verify(&db).await.map_err(told)?.broken {
                    return Err(format!("the chain is broken: {broken:?}"));
                }
            }
            Step::SetSecret(n) => {
                let value = SecretText::new(format!("{mark} {n} {}", self.steps));
                let name = format!("key.{n}").parse().map_err(told)?;
                app.secrets.set(&db, name, value, By::operator()).await.map_err(told)?;
                self.secrets.insert(*n, self.steps);
            }
            Step::UseSecret(n) => {
                let name = format!("key.{n}").parse().map_err(told)?;
                let found = app.secrets.use_secret(&db, &name, "a test", Actor::System).await;
                match (self.secrets.get(n), found) {
                    (Some(step), Ok(value)) if value.reveal() == format!("{mark} {n} {step}") => {}
                    (None, Err(_)) => {}
                    (known, found) => {
                        return Err(format!("secret {n}: {known:?}, {:?}", found.map(|v| v.reveal().to_owned())));
                    }
                }
            }
            Step::AddMember(n) => {
                let email = format!("person{n}-{}@{mark}.example", self.steps).parse().map_err(told)?;
                let password = Password::chosen(format!("a long {mark} password")).map_err(told)?;
                let name = format!("{mark} {n}");
                app.accounts.create_user(&email, &name, password, &self.tenant, Role::Member).await.map(drop).or_else(
                    |error| {
                        // Another trial of the same tenant has made this person.
                        if error.kind() == aegis::support::Kind::Conflict { Ok(()) } else { Err(told(error)) }
                    },
                )?;
            }
            Step::Members => {
                for member in app.accounts.members(&self.tenant).await.map_err(told)? {
                    marked(mark, "the members", &format!("{} {}", member.name, member.email))?;
                }
            }
            Step::Rename(n) => {
                let renaming = Renaming {
                    name: Some(format!("{mark} {n}")),
                    slug: Some(format!("{mark}-{n}").parse().map_err(told)?),
                };
                let renamed = app.tenants.rename(&self.tenant.id, renaming, &Actor::Operator).await.map_err(told)?;
                marked(mark, "its own name", &renamed.tenant.name)?;
            }
        }
        Ok(())
    }
}

async fn appliance(db: &TestDb, home: &tempfile::TempDir) -> App {
    let mut config = Config::load(None, Some(home.path())).unwrap();
    config.models.chain = Vec::new();
    let passphrases = Passphrases { configured: None, ask: || Ok(None) };
    let keyring = Keyring::open(home.path(), &passphrases, db.shared_clock().now()).unwrap();
    // Two pools for three tenants.
    let few = aegis::config::Database { open_tenants: 2, tenant_connections: 1, ..settings() };
    let databases = Databases::open(db.server().clone(), &few).await.unwrap();
    App::on(databases, config, keyring, db.shared_clock(), AEGIS.into()).await.unwrap()
}

/// What a trial leaves is removed before the next one.
async fn clear(app: &App, tenant: &Tenant) {
    let db = app.databases.tenant(&tenant.id).await.unwrap();
    for document in app.knowledge.open(&db, Reader::everything()).list(&Listing::default()).await.unwrap().documents {
        app.knowledge.open(&db, Reader::everything()).remove(document.id, Actor::Operator).await.unwrap();
    }
    for secret in app.secrets.list(&db).await.unwrap() {
        app.secrets.delete(&db, &secret.name, Actor::Operator).await.unwrap();
    }
}

#[test]
fn whatever_tenants_do_at_the_same_time_none_ever_sees_a_row_of_another() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let home = tempfile::tempdir().unwrap();
    let (mut db, app, tenants) = runtime.block_on(async {
        let db = TestDb::new().await;
        let app = appliance(&db, &home).await;
        let mut tenants = Vec::new();
        for mark in MARKS {
            tenants.push(app.tenants.create(&mark.parse().unwrap(), mark).await.unwrap());
        }
        (db, app, tenants)
    });
    db.jobs_may_remain(); // There is no worker: each document is read where it is added.
    let tenants = Arc::new(tenants);
    let trials: u32 = std::env::var("AEGIS_TEST_TRIALS").ok().and_then(|trials| trials.parse().ok()).unwrap_or(4);
    let mut runner =
        TestRunner::new(Trials { cases: trials, max_shrink_iters: 24, failure_persistence: None, ..Trials::default() });
    let mut steps_made = 0;
    let strategy = [vec(step(), 6..14), vec(step(), 6..14), vec(step(), 6..14)];
    let result = runner.run(&strategy, |plans| {
        runtime.block_on(async {
            for tenant in tenants.iter() {
                clear(&app, tenant).await;
            }
            let workers = plans.into_iter().zip(MARKS).zip(tenants.iter()).map(|((plan, mark), tenant)| {
                let worker = Worker {
                    app: app.clone(),
                    tenant: tenant.clone(),
                    mark,
                    documents: Vec::new(),
                    secrets: BTreeMap::new(),
                    notes: 0,
                    steps: 0,
                };
                tokio::spawn(worker.all(plan))
            });
            for done in join_all(workers).await {
                done.unwrap().map_err(TestCaseError::fail)?;
            }
            Ok(())
        })
    });
    match result {
        Ok(()) => steps_made += trials,
        Err(TestError::Fail(why, plans)) => panic!("{why}\nwith {plans:#?}"),
        Err(TestError::Abort(why)) => panic!("{why}"),
    }
    println!("{steps_made} trials of three tenants at once, two pools: none saw another's rows");
    runtime.block_on(app.databases.close());
}
