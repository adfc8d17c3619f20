//! Collections: who reads what, on every way to a document.

use aegis::{
    accounts::{Change, EmailAddress, Password, Role},
    agents::tool::{Retriever, Tool, ToolContext},
    audit::Actor,
    knowledge::{
        Collection, CollectionDraft, Filter, Library, Listing, Reader, Rights, Status, Upload,
        tools::{KnowledgeRetriever, ReadTool, SearchTool, Shelves},
    },
    support::{
        Kind,
        ids::{DocumentId, RunId},
    },
};
use serde_json::json;

use super::fixture::{Fixture, accounts};

fn draft(name: &str, least_role: Role, agents: Option<&[&str]>) -> CollectionDraft {
    let agents = agents.map(|agents| agents.iter().map(|&agent| agent.to_owned()).collect());
    CollectionDraft { name: name.to_owned(), description: String::new(), rights: Rights { least_role, agents } }
}

async fn collection(fixture: &Fixture, name: &str, least_role: Role, agents: Option<&[&str]>) -> Collection {
    fixture.library().create_collection(draft(name, least_role, agents), Actor::Operator).await.unwrap()
}

async fn ingest(fixture: &Fixture, collection: &Collection, name: &str, text: &str) -> DocumentId {
    let upload = Upload::new(name, text.as_bytes().to_vec(), Actor::Operator).into_collection(collection.id);
    let id = fixture.library().add(upload).await.unwrap().document.id;
    fixture.knowledge.ingest(&fixture.db, id).await.unwrap();
    id
}

/// Everything that a library gives out of a document, tried: how many ways it was seen on.
async fn ways_to(library: &Library<'_>, id: DocumentId, words: &str) -> usize {
    let found = library.search(words, 10).await.unwrap();
    let filter = Filter { documents: vec![id], ..Filter::default() };
    let named = library.search_in(&filter, words, 10).await.unwrap();
    let listed = library.list(&Listing::default()).await.unwrap();
    let passages = library.passages(id).await.unwrap();
    let document = library.document(id).await.unwrap();
    let series = library.versions(id).await.unwrap();
    let original = library.original(id).await.unwrap();
    let (newest, titles) = library.newest(10).await.unwrap();
    let seen = [
        found.iter().any(|hit| hit.passage.document == id),
        !named.is_empty(),
        listed.documents.iter().any(|document| document.id == id) || listed.total > 0 && newest > 0 && titles.len() > 9,
        !passages.is_empty(),
        document.is_some(),
        !series.is_empty(),
        original.is_some(),
    ];
    seen.into_iter().filter(|seen| *seen).count()
}

#[tokio::test]
async fn what_a_role_or_an_agent_may_not_read_is_out_of_reach_on_every_way() {
    let fixture = Fixture::new().await;
    let pay = collection(&fixture, "Pay", Role::Admin, Some(&["penny"])).await;
    let id = ingest(&fixture, &pay, "salaries.md", "# Salaries\n\nThe director earns 9,000 euros a month.").await;
    let words = "what does the director earn";
    let passage = fixture.library().passages(id).await.unwrap()[0].id;

    for (who, reader, may) in [
        ("the operator", Reader::everything(), true),
        ("an admin", Reader::person(Role::Admin), true),
        ("an owner", Reader::person(Role::Owner), true),
        ("an admin through Penny", Reader::person(Role::Admin).through("penny"), true),
        ("an admin through Luna", Reader::person(Role::Admin).through("luna"), false),
        ("a member", Reader::person(Role::Member), false),
        ("a member through Penny", Reader::person(Role::Member).through("penny"), false),
        ("a viewer", Reader::person(Role::Viewer), false),
        ("nobody", Reader::nobody(), false),
    ] {
        let library = fixture.knowledge.open(&fixture.db, reader);
        assert_eq!(ways_to(&library, id, words).await, if may { 7 } else { 0 }, "{who}");
        assert_eq!(library.passage(passage).await.unwrap().is_some(), may, "{who}");
        assert_eq!(library.collection(pay.id).await.is_ok(), may, "{who}");
        if !may {
            let upload = Upload::new("own.txt", b"mine".to_vec(), Actor::Operator).into_collection(pay.id);
            assert_eq!(library.add(upload).await.unwrap_err().kind(), Kind::NotFound, "{who}");
            assert_eq!(library.remove(id, Actor::Operator).await.unwrap_err().kind(), Kind::NotFound, "{who}");
            assert_eq!(library.cancel(id, Actor::Operator).await.unwrap_err().kind(), Kind::NotFound, "{who}");
            assert_eq!(library.retry(id).await.unwrap_err().kind(), Kind::NotFound, "{who}");
            let change = library.change_collection(pay.id, draft("Mine", Role::Viewer, None), Actor::Operator).await;
            assert_eq!(change.unwrap_err().kind(), Kind::NotFound, "{who}");
        }
    }
    // Rights hold from the next question on.
    fixture.library().change_collection(pay.id, draft("Pay", Role::Viewer, None), Actor::Operator).await.unwrap();
    let viewer = fixture.knowledge.open(&fixture.db, Reader::person(Role::Viewer).through("luna"));
    assert_eq!(ways_to(&viewer, id, words).await, 7);
}

#[tokio::test]
async fn an_agent_reads_for_somebody_what_both_may_at_the_moment_of_the_call() {
    let fixture = Fixture::new().await;
    let people = accounts(&fixture.test);
    let tenant = fixture.test.tenants().list().await.unwrap().remove(0);
    let email: EmailAddress = "ada@example.org".parse().unwrap();
    let password = Password::chosen("an engine of analysis").unwrap();
    let ada = people.create_user(&email, "Ada", password, &tenant, Role::Admin).await.unwrap();
    let pay = collection(&fixture, "Pay", Role::Admin, Some(&["penny"])).await;
    let id = ingest(&fixture, &pay, "salaries.md", "# Salaries\n\nThe director earns 9,000 euros a month.").await;
    let passage = fixture.library().passages(id).await.unwrap()[0].id;

    let shelves = Shelves::new(fixture.knowledge.clone(), people.clone());
    let context = |agent: &str, actor: Actor| ToolContext {
        conversation: None,
        db: fixture.db.clone(),
        run: RunId::generate(),
        agent: agent.to_owned(),
        user: None,
        actor,
        depth: 0,
        idempotency_key: String::new(),
        has_read: Vec::new(),
    };
    let seen = async |agent: &str, actor: Actor| {
        let context = context(agent, actor);
        let query = json!({ "query": "what does the director earn" });
        let searched = SearchTool(shelves.clone()).call(&context, query).await.unwrap().sources.len();
        let read = ReadTool(shelves.clone()).call(&context, json!({ "passage_id": passage })).await.is_ok();
        let ranged = ReadTool(shelves.clone()).call(&context, json!({ "document_id": id })).await.is_ok();
        let finder = KnowledgeRetriever(shelves.clone());
        let retrieved = finder.retrieve(&context, "the director", 3).await.unwrap().len();
        assert_eq!((searched, retrieved, ranged), (usize::from(read), usize::from(read), read));
        read
    };
    let by_ada = Actor::User { id: ada.id };
    assert!(seen("penny", by_ada.clone()).await);
    assert!(seen("penny", Actor::Operator).await);
    assert!(!seen("atlas", by_ada.clone()).await);
    assert!(!seen("penny", Actor::Agent { name: "penny".to_owned() }).await);
    people.change_member(aegis::accounts::By::Operator, &tenant, ada.id, Change::Role(Role::Member)).await.unwrap();
    assert!(!seen("penny", by_ada).await, "she is no admin any more");
}

#[tokio::test]
async fn collections_have_names_of_their_own_and_only_empty_ones_go() {
    let fixture = Fixture::new().await;
    let library = fixture.library();
    let general = library.collections().await.unwrap().remove(0);
    assert_eq!((general.name.as_str(), general.is_default), ("General", true));
    let hr = collection(&fixture, "  HR\n", Role::Viewer, None).await;
    assert_eq!(hr.name, "HR");
    let refused = |kind, error: aegis::support::Error| assert_eq!(error.kind(), kind, "{error}");
    let made = library.create_collection(draft("hr", Role::Viewer, None), Actor::Operator).await;
    refused(Kind::Conflict, made.unwrap_err());
    let made = library.create_collection(draft(" \n", Role::Viewer, None), Actor::Operator).await;
    refused(Kind::Invalid, made.unwrap_err());
    let admin = fixture.knowledge.open(&fixture.db, Reader::person(Role::Admin));
    let made = admin.create_collection(draft("Above", Role::Owner, None), Actor::Operator).await;
    refused(Kind::Forbidden, made.unwrap_err());

    let id = ingest(&fixture, &hr, "leave.md", "# Leave\n\nThirty days a year.").await;
    refused(Kind::Conflict, library.remove_collection(hr.id, Actor::Operator).await.unwrap_err());
    refused(Kind::Conflict, library.remove_collection(general.id, Actor::Operator).await.unwrap_err());
    library.remove(id, Actor::Operator).await.unwrap();
    library.remove_collection(hr.id, Actor::Operator).await.unwrap();
    refused(Kind::NotFound, library.collection(hr.id).await.unwrap_err());
    let actions = fixture.actions().await;
    assert!(["collection.created", "collection.removed"].iter().all(|action| actions.iter().any(|a| a == action)));
}

#[tokio::test]
async fn the_same_file_in_two_collections_is_two_documents_with_one_original() {
    let fixture = Fixture::new().await;
    let (one, two) =
        (collection(&fixture, "One", Role::Viewer, None).await, collection(&fixture, "Two", Role::Owner, None).await);
    let text = "# Rules\n\nNo shoes in the hall.";
    let (first, second) = (ingest(&fixture, &one, "a.md", text).await, ingest(&fixture, &two, "b.md", text).await);
    assert_ne!(first, second);
    let parts = || sqlx::query_scalar::<_, i64>("SELECT count(*) FROM original_parts").fetch_one(fixture.db.pool());
    assert_eq!(parts().await.unwrap(), 1);
    // Nearly the same words are shown once, and the other place is named, to whoever may see it.
    let hits = fixture.search("shoes in the hall").await;
    assert_eq!((hits.len(), hits[0].same.len()), (1, 1));
    let viewer = fixture.knowledge.open(&fixture.db, Reader::person(Role::Viewer));
    let hits = viewer.search("shoes in the hall", 5).await.unwrap();
    assert_eq!((hits.len(), hits[0].same.len(), hits[0].passage.document), (1, 0, first));

    fixture.library().remove(first, Actor::Operator).await.unwrap();
    assert_eq!(parts().await.unwrap(), 1, "the other one still needs it");
    assert!(fixture.library().original(second).await.unwrap().is_some());
    fixture.library().remove(second, Actor::Operator).await.unwrap();
    assert_eq!(parts().await.unwrap(), 0);
}

#[tokio::test]
async fn files_of_one_name_in_two_folders_are_two_documents() {
    let fixture = Fixture::new().await;
    let one = fixture.ingest("HR/policy.md", b"# Policy\n\nOf people.".to_vec()).await;
    let two = fixture.ingest("IT/policy.md", b"# Policy\n\nOf machines.".to_vec()).await;
    assert_eq!((one.folder.as_str(), one.title.as_str(), two.folder.as_str()), ("HR", "policy.md", "IT"));
    assert_eq!(fixture.library().list(&Listing::default()).await.unwrap().total, 2);
    let named = |name: &str| Listing { name: name.to_owned(), ..Listing::default() };
    assert_eq!(fixture.library().list(&named("it/POL")).await.unwrap().documents[0].id, two.id);
    assert_eq!(fixture.library().list(&named("%")).await.unwrap().total, 0, "no wildcards");
}

#[tokio::test]
async fn a_document_on_its_way_can_be_stopped_and_tried_again() {
    let fixture = Fixture::new().await;
    let id = fixture.add("a.md", b"# A\n\nSomething about walruses.".to_vec()).await.document.id;
    let stopped = fixture.library().cancel(id, Actor::Operator).await.unwrap();
    assert_eq!(stopped.status, Status::Cancelled);
    // The job that waits in the queue does nothing.
    fixture.knowledge.ingest(&fixture.db, id).await.unwrap();
    assert_eq!(fixture.document(id).await.status, Status::Cancelled);
    assert!(fixture.search("walruses").await.is_empty());
    assert_eq!(fixture.library().cancel(id, Actor::Operator).await.unwrap_err().kind(), Kind::Conflict);
    assert_eq!(fixture.library().retry(id).await.unwrap().status, Status::Queued);
    assert_eq!(fixture.queue.0.lock().unwrap().len(), 2);
    fixture.knowledge.ingest(&fixture.db, id).await.unwrap();
    assert_eq!(fixture.search("walruses").await.len(), 1);
    assert_eq!(fixture.library().retry(id).await.unwrap_err().kind(), Kind::Conflict);
}

#[tokio::test]
async fn a_slow_older_version_does_not_come_after_the_newer_one() {
    let fixture = Fixture::new().await;
    let old = fixture.add("pay.md", b"# Pay\n\nThe bonus is 100 euros.".to_vec()).await.document.id;
    fixture.test.clock.advance(chrono::TimeDelta::seconds(1));
    let new = fixture.ingest("pay.md", b"# Pay\n\nThe bonus is 250 euros.".to_vec()).await;
    fixture.knowledge.ingest(&fixture.db, old).await.unwrap();
    assert_eq!(fixture.document(old).await.status, Status::Superseded);
    assert_eq!(fixture.document(new.id).await.status, Status::Ready);
    let hits = fixture.search("bonus").await;
    assert_eq!(hits.len(), 1);
    assert!(hits[0].passage.text.contains("250"));
}
