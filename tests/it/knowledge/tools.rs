//! What agents get from the knowledge base.

use std::sync::Arc;

use aegis::{
    agents::tool::{Retriever, Tool, ToolContext},
    audit::Actor,
    knowledge::{
        Reader, Upload,
        tools::{KnowledgeRetriever, ReadTool, SearchTool, Shelves},
    },
    models::minilm::MiniLm,
    support::{Kind, ids::RunId},
};
use serde_json::json;

use super::fixture::{Queue, accounts, knowledge};
use crate::harness::TestDb;

#[tokio::test]
async fn an_agent_searches_reads_on_and_gets_sources_to_cite() {
    let test = TestDb::new().await;
    let (_, db) = test.tenant("acme").await;
    let knowledge = knowledge(&test, Arc::new(MiniLm::new()), Queue::default());
    let section = |n| format!("# Section {n}\n\nThe section number {n} speaks about topic {}.\n\n", n * 7);
    let long = (0..20).map(section).collect::<Vec<_>>().concat();
    let upload = Upload::new("long.md".to_owned(), long.into_bytes(), Actor::Operator);
    let id = knowledge.open(&db, Reader::everything()).add(upload).await.unwrap().document.id;
    knowledge.ingest(&db, id).await.unwrap();
    let context = ToolContext {
        conversation: None,
        db,
        run: RunId::generate(),
        agent: "atlas".to_owned(),
        user: None,
        actor: Actor::Operator,
        depth: 0,
        idempotency_key: String::new(),
        has_read: Vec::new(),
    };

    let shelves = Shelves::new(knowledge, accounts(&test));
    let search = SearchTool(shelves.clone());
    let found = search.call(&context, json!({ "query": "topic 63", "limit": 3 })).await.unwrap();
    assert_eq!((found.summary.as_str(), found.sources.len()), ("3 passages", 3));
    assert_eq!(found.sources[0].locator, "Section 9");
    assert_eq!(found.content["passages"][0]["document"], "long.md");
    let within = async |within: &str, name: &str| {
        search.call(&context, json!({ "query": "topic 63", within: name })).await.map(|found| found.sources.len())
    };
    assert_eq!((within("document", "LONG").await.unwrap(), within("document", "short").await.unwrap()), (5, 0));
    assert_eq!(within("collection", "general").await.unwrap(), 5);
    let unknown = within("collection", "Recipes").await.unwrap_err();
    assert!(unknown.message().contains("there are: General"), "{unknown}");
    let empty = search.call(&context, json!({ "query": " " })).await.unwrap_err();
    assert_eq!(empty.kind(), Kind::Invalid);

    let read = ReadTool(shelves.clone());
    let around =
        read.call(&context, json!({ "passage_id": found.content["passages"][0]["passage_id"] })).await.unwrap();
    let places: Vec<&str> = around.sources.iter().map(|source| source.locator.as_str()).collect();
    assert_eq!(places, ["Section 8", "Section 9", "Section 10"]);
    let range = read.call(&context, json!({ "document_id": id, "from": 2, "to": 100 })).await.unwrap();
    assert_eq!(range.sources.len(), 8, "a range is bounded");
    assert!(read.call(&context, json!({})).await.is_err());

    let sources = KnowledgeRetriever(shelves).retrieve(&context, "topic 63", 2).await.unwrap();
    assert_eq!((sources.len(), sources[0].locator.as_str()), (2, "Section 9"));
}
