//! Documents on their way in: which version stays, and what becomes of those whose job is lost or whose model is away.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use aegis::{
    accounts::Role,
    audit::Actor,
    jobs::Handler as _,
    knowledge::{
        CollectionDraft, Enqueue, Knowledge, Listing, Reader, Rights, Status, Upload,
        jobs::{IngestDocument, Ingester, resume_stranded},
    },
    models::minilm::MiniLm,
    support::{
        Error, Kind, Result,
        ids::{DocumentId, TenantId},
    },
};
use async_trait::async_trait;
use axum::{
    body::Body,
    http::{Request, StatusCode, header},
};
use chrono::TimeDelta;

use super::{
    files,
    fixture::{Faltering, Fixture, Queue, knowledge},
};
use crate::matrix::office::Office;

const OLD: &[u8] = b"# Pay\n\nThe bonus is 100 euros.";
const NEW: &[u8] = b"# Pay\n\nThe bonus is 250 euros.";

/// Adds a file a second after the last one.
async fn add(fixture: &Fixture, name: &str, bytes: &[u8]) -> (DocumentId, bool) {
    fixture.test.clock.advance(TimeDelta::seconds(1));
    let added = fixture.add(name, bytes.to_vec()).await;
    (added.document.id, added.already_there)
}

async fn ingest(fixture: &Fixture, id: DocumentId) -> Status {
    fixture.knowledge.ingest(&fixture.db, id).await.unwrap();
    fixture.document(id).await.status
}

#[tokio::test]
async fn what_was_given_last_under_a_name_stays_in_whatever_order_it_is_read() {
    let fixture = Fixture::new().await;
    // Put back while the new version waits.
    let (old, _) = add(&fixture, "pay.md", OLD).await;
    ingest(&fixture, old).await;
    let (new, _) = add(&fixture, "pay.md", NEW).await;
    assert_eq!(add(&fixture, "pay.md", OLD).await, (old, true));
    assert_eq!(ingest(&fixture, new).await, Status::Superseded);
    assert_eq!(fixture.document(old).await.status, Status::Ready);
    assert!(fixture.search("bonus").await[0].passage.text.contains("100"));

    // Stopped, overtaken, and given again.
    let (first, _) = add(&fixture, "hours.md", b"We open at nine.").await;
    fixture.library().cancel(first, Actor::Operator).await.unwrap();
    let (second, _) = add(&fixture, "hours.md", b"We open at ten.").await;
    let (again, known) = add(&fixture, "hours.md", b"We open at nine.").await;
    assert_eq!((again, known), (first, true));
    assert_eq!(ingest(&fixture, second).await, Status::Ready);
    assert_eq!(ingest(&fixture, first).await, Status::Ready);
    let second = fixture.document(second).await;
    assert_eq!((second.status, second.series), (Status::Superseded, fixture.document(first).await.series));
}

#[tokio::test]
async fn a_document_may_come_to_say_what_another_says() {
    let fixture = Fixture::new().await;
    let (one, _) = add(&fixture, "one.md", OLD).await;
    let (two, _) = add(&fixture, "two.md", NEW).await;
    ingest(&fixture, one).await;
    ingest(&fixture, two).await;
    assert_eq!(
        add(&fixture, "three.md", OLD).await,
        (one, true),
        "a copy under a name that is free is the same document"
    );
    let (changed, known) = add(&fixture, "two.md", OLD).await;
    assert!(!known);
    ingest(&fixture, changed).await;
    assert_eq!(fixture.document(two).await.status, Status::Superseded);
    assert_eq!((fixture.document(one).await.status, fixture.document(changed).await.version), (Status::Ready, 2));
    let originals: i64 =
        sqlx::query_scalar("SELECT count(*) FROM originals").fetch_one(fixture.db.pool()).await.unwrap();
    assert_eq!(originals, 2, "the same bytes are kept once");
}

#[tokio::test]
async fn an_attempt_that_failed_goes_with_the_document_that_put_it_right() {
    let fixture = Fixture::new().await;
    let draft = CollectionDraft { name: "Plans".to_owned(), description: String::new(), rights: Rights::default() };
    let plans = fixture.library().create_collection(draft, Actor::Operator).await.unwrap().id;
    let give = async |bytes: Vec<u8>| {
        fixture.test.clock.advance(TimeDelta::seconds(1));
        let upload = Upload::new("plan.pdf", bytes, Actor::Operator).into_collection(plans);
        let id = fixture.library().add(upload).await.unwrap().document.id;
        (id, ingest(&fixture, id).await)
    };
    let (locked, status) = give(files::locked_pdf()).await;
    assert_eq!(status, Status::Failed);
    let (readable, status) = give(files::pdf(&["The plan is to finish in spring."])).await;
    assert_eq!(status, Status::Ready);
    assert_eq!(fixture.document(locked).await.status, Status::Superseded);
    fixture.library().remove(readable, Actor::Operator).await.unwrap();
    assert!(fixture.library().document(locked).await.unwrap().is_none());
    fixture.library().remove_collection(plans, Actor::Operator).await.unwrap();
}

/// A queue that is out of reach until it is told otherwise.
#[derive(Clone, Default)]
struct Moody {
    answers: Arc<AtomicBool>,
    inner: Queue,
}

#[async_trait]
impl Enqueue for Moody {
    async fn enqueue(&self, tenant: &TenantId, document: DocumentId) -> Result<()> {
        if self.answers.load(Ordering::SeqCst) {
            return self.inner.enqueue(tenant, document).await;
        }
        Err(Error::unavailable("the queue does not answer"))
    }

    async fn enqueued(&self, tenant: &TenantId) -> Result<HashSet<DocumentId>> {
        self.inner.enqueued(tenant).await
    }
}

fn give<'a>(
    knowledge: &'a Knowledge,
    fixture: &'a Fixture,
) -> impl Future<Output = Result<aegis::knowledge::Added>> + use<'a> {
    let upload = Upload::new("pay.md", OLD.to_vec(), Actor::Operator);
    async { knowledge.open(&fixture.db, Reader::everything()).add(upload).await }
}

#[tokio::test]
async fn a_document_whose_job_could_not_be_queued_is_queued_within_the_minute() {
    let fixture = Fixture::new().await;
    let queue = Moody::default();
    let knowledge = knowledge(&fixture.test, Arc::new(MiniLm::new()), queue.clone());
    let tenants = fixture.test.tenants();
    assert_eq!(give(&knowledge, &fixture).await.unwrap_err().kind(), Kind::Unavailable);
    assert_eq!(resume_stranded(&knowledge, &tenants).await, 0, "it is still out of reach");
    queue.answers.store(true, Ordering::SeqCst);
    assert_eq!(resume_stranded(&knowledge, &tenants).await, 1, "and it was not forgotten");
    assert_eq!(resume_stranded(&knowledge, &tenants).await, 0, "once");
    let again = give(&knowledge, &fixture).await.unwrap();
    assert!(again.already_there);
    assert_eq!(*queue.inner.0.lock().unwrap(), [again.document.id], "a worker that is at it is not disturbed");
    assert_eq!(knowledge.stranded().len(), 1, "but the queue is looked at");
}

#[tokio::test]
async fn a_model_server_that_is_away_all_night_costs_no_document() {
    let fixture = Fixture::new().await;
    let model =
        Arc::new(Faltering { inner: MiniLm::new(), calls_left: AtomicUsize::new(0), embedded: AtomicUsize::new(0) });
    let knowledge = knowledge(&fixture.test, model.clone(), fixture.queue.clone());
    let id = fixture.add("pay.md", OLD.to_vec()).await.document.id;
    let error = knowledge.ingest(&fixture.db, id).await.unwrap_err();
    let worker = Ingester::new(fixture.test.databases.clone(), knowledge.clone());
    worker.given_up(IngestDocument { tenant: fixture.db.tenant().clone(), document: id }, &error).await;
    let waiting = fixture.document(id).await;
    assert_eq!((waiting.status, waiting.passages), (Status::Embedding, 1), "what was read is kept");
    assert!(waiting.error.unwrap().contains("does not answer"));
    assert_eq!(resume_stranded(&knowledge, &fixture.test.tenants()).await, 1);
    model.calls_left.store(9, Ordering::SeqCst);
    knowledge.ingest(&fixture.db, id).await.unwrap();
    assert_eq!(fixture.document(id).await.status, Status::Ready);
}

#[tokio::test]
async fn all_that_failed_are_tried_again_where_the_reader_may() {
    let fixture = Fixture::new().await;
    let rights = Rights { least_role: Role::Admin, agents: None };
    let draft = CollectionDraft { name: "Board".to_owned(), description: String::new(), rights };
    let board = fixture.library().create_collection(draft, Actor::Operator).await.unwrap().id;
    for (name, into) in [("a.txt", None), ("b.txt", None), ("c.txt", Some(board))] {
        let upload = Upload::new(name, Vec::new(), Actor::Operator).into_collection(into);
        let id = fixture.library().add(upload).await.unwrap().document.id;
        fixture.knowledge.give_up(&fixture.db, id, &Error::internal("broken")).await.unwrap();
    }
    let listed = fixture.library().list(&Listing::default()).await.unwrap();
    assert_eq!(listed.failed, 2, "empty files are the same file");
    let member = fixture.knowledge.open(&fixture.db, Reader::person(Role::Member));
    assert_eq!(member.retry_failed(None).await.unwrap(), 1);
    assert_eq!(fixture.library().retry_failed(Some(board)).await.unwrap(), 1);
    assert_eq!(fixture.library().retry_failed(None).await.unwrap(), 0);
    let listed = fixture.library().list(&Listing::default()).await.unwrap();
    assert_eq!((listed.failed, listed.unfinished), (0, 2));
}

/// Sends a form with files.
async fn post(office: &Office, path: &str, form: &str) -> (StatusCode, String) {
    let request = Request::post(path).header(header::CONTENT_TYPE, "multipart/form-data; boundary=B");
    let visit = office.request(&office.colleague(Role::Owner), request, Body::from(form.to_owned())).await;
    (visit.status, visit.body)
}

#[tokio::test(flavor = "multi_thread")]
async fn over_http_failed_ones_are_tried_again_and_a_form_cannot_fill_the_memory_by_another_field() {
    let office = Office::open().await;
    let file = "--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.md\"\r\n\r\n# A\r\n--B--\r\n";
    let field = |value: &str| format!("--B\r\nContent-Disposition: form-data; name=\"collection\"\r\n\r\n{value}\r\n");
    let (status, body) =
        post(&office, "/api/knowledge/documents", &format!("{}{file}", field(&"x".repeat(100_000)))).await;
    assert_eq!(status, StatusCode::NOT_FOUND, "{body}");
    let (status, body) = post(&office, "/api/knowledge/documents", &format!("{}{file}", field(""))).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{body}");
    for path in ["/api/knowledge/documents?name=%00A", "/api/knowledge/search?q=a&name=%00", "/knowledge?name=%00a"] {
        let visit = office.get(path, &office.colleague(Role::Viewer)).await;
        assert_eq!(visit.status, StatusCode::OK, "{path}: {}", visit.body);
    }
    let (status, body) = post(&office, "/api/knowledge/retry", "").await;
    assert_eq!((status, body.as_str()), (StatusCode::ACCEPTED, "{\"queued\":0}"));
}
