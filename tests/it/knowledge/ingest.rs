//! From upload to search on the real database, with the built-in embedding model.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use aegis::{
    audit::{self, Actor},
    knowledge::{Listing, Reader, Status, Upload},
    models::minilm::MiniLm,
    support::Kind,
};

use super::{
    files,
    fixture::{Faltering, Fixture, knowledge},
};

const HANDBOOK: &[&str] = &[
    "# Leave",
    "## Parental leave",
    "Every parent may stay at home for sixteen weeks after a child is born, with full salary.",
    "## Illness",
    "Whoever is sick tells the manager by ten o'clock. A doctor's note is due on the fourth day.",
    "# Equipment",
    "Laptops are replaced every four years. The order form is called QX-7741.",
];

#[tokio::test]
async fn a_document_is_found_by_meaning_and_by_a_rare_word_and_knows_the_place() {
    let fixture = Fixture::new().await;
    let document = fixture.ingest("handbook.docx", files::docx(HANDBOOK)).await;
    assert_eq!((document.status, document.error.as_deref()), (Status::Ready, None));
    assert_eq!(document.progress, (3, 3));
    fixture
        .ingest(
            "travel.pdf",
            files::pdf(&["Flights are booked by the office.", "Hotels may cost 140 euros a night in Paris."]),
        )
        .await;

    let hits = fixture.search("how much time off do new mothers and fathers get").await;
    assert_eq!((hits[0].title.as_str(), hits[0].passage.locator.as_str()), ("handbook.docx", "Leave › Parental leave"));
    assert!(hits[0].passage.text.contains("sixteen weeks"));
    let hits = fixture.search("QX-7741").await;
    assert_eq!(hits[0].passage.locator, "Equipment");
    let hits = fixture.search("price limit for accommodation").await;
    assert_eq!((hits[0].title.as_str(), hits[0].passage.locator.as_str()), ("travel.pdf", "page 2"));
    assert!(hits.windows(2).all(|pair| pair[0].score >= pair[1].score));
    assert_eq!(fixture.search("what is it").await.len(), 5, "stop words still find by meaning");
    assert_eq!(fixture.search("' \\ :* & | ! <-> \"").await.len(), 5, "operators are no errors");
    assert!(fixture.search("  ").await.is_empty());
    assert_eq!(fixture.actions().await, ["document.added", "document.ingested", "document.added", "document.ingested"]);
    assert_eq!(audit::verify(&fixture.db).await.unwrap().broken, None);
}

#[tokio::test]
async fn the_same_bytes_are_stored_once_and_the_original_comes_back() {
    let fixture = Fixture::new().await;
    let bytes = "a line of some text\n".repeat(50_000).into_bytes();
    let first = fixture.add("a.txt", bytes.clone()).await;
    let second = fixture.add("b.txt", bytes.clone()).await;
    assert!(!first.already_there && second.already_there);
    assert_eq!(first.document.id, second.document.id);
    assert_eq!(*fixture.queue.0.lock().unwrap(), [first.document.id]);
    let original = fixture.library().original(first.document.id).await.unwrap().unwrap();
    assert_eq!((original.title.as_str(), original.media_type.as_str()), ("a.txt", "text/plain"));
    assert!(original.collect().await.unwrap() == bytes, "a megabyte, in two parts");
}

#[tokio::test]
async fn a_new_version_takes_the_old_ones_place_in_the_moment_in_which_it_is_ready() {
    let fixture = Fixture::new().await;
    let old = fixture.ingest("pay.md", b"# Pay\n\nThe bonus is 100 euros.".to_vec()).await;
    let new = fixture.add("pay.md", b"# Pay\n\nThe bonus is 250 euros.".to_vec()).await;
    assert!(fixture.search("bonus").await[0].passage.text.contains("100"), "until then the old one answers");
    fixture.knowledge.ingest(&fixture.db, new.document.id).await.unwrap();
    let hits = fixture.search("bonus").await;
    assert_eq!(hits.len(), 1);
    assert!(hits[0].passage.text.contains("250"));
    assert_eq!(fixture.actions().await.last().map(String::as_str), Some("document.superseded"));

    // What was cited from the old one can still be opened, with its words and its bytes.
    let kept = fixture.document(old.id).await;
    assert_eq!((kept.status, kept.version, kept.superseded_at.is_some()), (Status::Superseded, 1, true));
    assert_eq!(fixture.library().passages(old.id).await.unwrap()[0].text, "# Pay\n\nThe bonus is 100 euros.");
    assert!(
        fixture.library().original(old.id).await.unwrap().unwrap().collect().await.unwrap().ends_with(b"100 euros.")
    );
    let versions = fixture.library().versions(old.series).await.unwrap();
    assert_eq!(versions.iter().map(|version| version.version).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(fixture.library().list(&Listing::default()).await.unwrap().total, 1, "the list has the present one");

    // The first one's bytes come back as a third version.
    let third = fixture.ingest("pay.md", b"# Pay\n\nThe bonus is 100 euros.".to_vec()).await;
    assert_eq!((third.version, third.series), (3, old.series));
    assert!(fixture.search("bonus").await[0].passage.text.contains("100"));
    // An older version can go alone, and the document with all of them.
    fixture.library().remove(new.document.id, Actor::Operator).await.unwrap();
    assert_eq!(fixture.library().versions(old.series).await.unwrap().len(), 2);
    fixture.library().remove(third.id, Actor::Operator).await.unwrap();
    assert!(fixture.library().document(old.id).await.unwrap().is_none());
}

#[tokio::test]
async fn a_removed_document_leaves_nothing_but_its_audit() {
    let fixture = Fixture::new().await;
    let document = fixture.ingest("handbook.docx", files::docx(HANDBOOK)).await;
    fixture.library().remove(document.id, Actor::Operator).await.unwrap();
    assert!(fixture.search("parental leave").await.is_empty());
    for table in ["documents", "originals", "original_parts", "passages", "passage_vectors"] {
        let count = format!("SELECT count(*) FROM {table}");
        let rows: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(count)).fetch_one(fixture.db.pool()).await.unwrap();
        assert_eq!(rows, 0, "{table}");
    }
    let again = fixture.library().remove(document.id, Actor::Operator).await;
    assert_eq!(again.unwrap_err().kind(), Kind::NotFound);
}

#[tokio::test]
async fn files_that_cannot_be_read_end_as_failed_and_nothing_else_suffers() {
    let fixture = Fixture::new().await;
    fixture.ingest("handbook.docx", files::docx(HANDBOOK)).await;
    for (name, bytes, said) in [
        ("locked.pdf", files::locked_pdf(), "is protected by a password"),
        ("damaged.pdf", b"%PDF-1.7 and then nothing".to_vec(), "cannot be read as a PDF: it seems damaged"),
        ("empty.txt", Vec::new(), "contains no text"),
        ("dots.txt", b". . . ! ?".to_vec(), "contains no text"),
        (
            "deep.docx",
            files::zip(&[("word/document.xml", &"<w:tbl><w:tr><w:tc>".repeat(90_000))]),
            "deeper than a document",
        ),
    ] {
        let document = fixture.ingest(name, bytes).await;
        assert_eq!(document.status, Status::Failed, "{name}");
        let reason = document.error.unwrap();
        assert!(reason.contains(said), "{name}: {reason}");
        assert_eq!(document.passages, 0);
    }
    assert_eq!(fixture.search("parental leave").await[0].title, "handbook.docx");
    assert_eq!(fixture.library().list(&Listing::default()).await.unwrap().total, 6);
}

#[tokio::test]
async fn a_failed_document_is_tried_again_when_it_is_uploaded_again() {
    let fixture = Fixture::new().await;
    let document = fixture.ingest("empty.txt", Vec::new()).await;
    let again = fixture.add("empty.txt", Vec::new()).await;
    assert!(again.already_there);
    assert_eq!((again.document.id, again.document.status), (document.id, Status::Queued));
    assert_eq!(fixture.queue.0.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn what_is_too_large_or_of_no_known_type_is_refused_at_the_door() {
    let fixture = Fixture::new().await;
    let refused = async |file_name: &str, bytes: Vec<u8>| {
        let upload = Upload::new(file_name.to_owned(), bytes, Actor::Operator);
        fixture.library().add(upload).await.unwrap_err()
    };
    let error = refused("large.txt", vec![b'a'; (1 << 20) + 1]).await;
    assert_eq!(error.kind(), Kind::TooLarge);
    assert!(error.message().contains("large.txt has 2 MiB; at most 1 MiB"), "{error}");
    let error = refused("things.zip", b"PK\x03\x04....a.txt".to_vec()).await;
    assert_eq!(error.kind(), Kind::Invalid);
    assert!(
        error.message().contains("Archives cannot be read; upload the files that are in it. AEGIS reads PDF"),
        "{error}"
    );
    assert_eq!(fixture.library().list(&Listing::default()).await.unwrap().total, 0);
}

#[tokio::test]
async fn an_interrupted_document_goes_on_where_it_stopped() {
    let fixture = Fixture::new().await;
    let model =
        Arc::new(Faltering { inner: MiniLm::new(), calls_left: AtomicUsize::new(1), embedded: AtomicUsize::new(0) });
    let knowledge = knowledge(&fixture.test, model.clone(), fixture.queue.clone());
    let section = |n| format!("# Section {n}\n\nThe section number {n} speaks about topic {}.\n\n", n * 7);
    let sections = (0..40).map(section).collect::<Vec<_>>().concat();
    let id = fixture.add("long.md", sections.into_bytes()).await.document.id;

    let error = knowledge.ingest(&fixture.db, id).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    let document = fixture.document(id).await;
    assert_eq!((document.status, document.progress), (Status::Embedding, (16, 40)));
    assert!(document.error.unwrap().contains("does not answer"), "it says what it waits for");
    assert!(
        knowledge.open(&fixture.db, Reader::everything()).search("topic", 5).await.unwrap().is_empty(),
        "only what is ready is found"
    );
    assert_eq!(knowledge.resume(&fixture.db).await.unwrap(), 1);

    model.calls_left.store(100, Ordering::SeqCst);
    knowledge.ingest(&fixture.db, id).await.unwrap();
    knowledge.ingest(&fixture.db, id).await.unwrap();
    let document = fixture.document(id).await;
    assert_eq!((document.status, document.progress, document.error), (Status::Ready, (40, 40), None));
    assert_eq!(model.embedded.load(Ordering::SeqCst), 40, "nothing is embedded twice");

    model.calls_left.store(0, Ordering::SeqCst);
    let hits = knowledge.open(&fixture.db, Reader::everything()).search("topic 63", 5).await.unwrap();
    assert_eq!(hits[0].passage.locator, "Section 9", "words still find when the model is gone");
}

#[tokio::test]
async fn a_document_given_up_says_why_and_keeps_its_file() {
    let fixture = Fixture::new().await;
    let model = Faltering { inner: MiniLm::new(), calls_left: AtomicUsize::new(0), embedded: AtomicUsize::new(0) };
    let knowledge = knowledge(&fixture.test, Arc::new(model), fixture.queue.clone());
    let id = fixture.add("a.txt", b"Some text.".to_vec()).await.document.id;
    let error = knowledge.ingest(&fixture.db, id).await.unwrap_err();
    knowledge.give_up(&fixture.db, id, &error).await.unwrap();
    let document = fixture.document(id).await;
    assert_eq!(document.status, Status::Failed);
    assert!(document.error.unwrap().contains("the model server at 127.0.0.1:1 does not answer"));
    assert!(knowledge.open(&fixture.db, Reader::everything()).original(id).await.unwrap().is_some());
}

#[tokio::test]
async fn two_workers_on_one_document_make_it_once() {
    let fixture = Fixture::new().await;
    let id = fixture.add("handbook.docx", files::docx(HANDBOOK)).await.document.id;
    let (one, two) = tokio::join!(fixture.knowledge.ingest(&fixture.db, id), fixture.knowledge.ingest(&fixture.db, id));
    one.unwrap();
    two.unwrap();
    let document = fixture.document(id).await;
    assert_eq!((document.status, document.passages), (Status::Ready, 3));
    let ordinals: Vec<i32> =
        fixture.library().passages(id).await.unwrap().iter().map(|passage| passage.ordinal).collect();
    assert_eq!(ordinals, [0, 1, 2]);
    assert_eq!(fixture.actions().await, ["document.added", "document.ingested"]);
}
