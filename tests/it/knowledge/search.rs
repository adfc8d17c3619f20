//! What a search finds, in which language, within what, and why.

use aegis::{
    knowledge::{Filter, extract},
    support::Kind,
};

use super::fixture::Fixture;

#[tokio::test]
async fn words_are_found_by_the_stems_of_the_documents_language_and_without_accents() {
    let fixture = Fixture::new().await;
    let german = "# Urlaub\n\nDie Beschäftigten erhalten dreißig Urlaubstage im Jahr. Häuser und Wohnungen werden nicht \
                  gestellt, und über Anträge entscheidet die Geschäftsführung innerhalb von zwei Wochen.";
    let french = "# Congés\n\nLes salariés reçoivent trente jours de congés par an. Les demandes sont envoyées à la \
                  direction, qui répond dans les deux semaines et tient compte des besoins du service.";
    let german = fixture.ingest("urlaub.md", german.as_bytes().to_vec()).await;
    let french = fixture.ingest("conges.md", french.as_bytes().to_vec()).await;
    let english = fixture
        .ingest(
            "leave.md",
            b"# Leave\n\nEmployees are granted thirty days of leave in each year, and apply in writing.".to_vec(),
        )
        .await;
    let languages = [&german, &french, &english].map(|document| document.language.clone().unwrap());
    assert_eq!(languages, ["german", "french", "english"]);

    // By words alone: the first among them, and which word it was.
    for (question, document, matched) in [
        ("Antrag", german.id, "antrag"),
        ("Haus", german.id, "haus"),
        ("salarié", french.id, "salar"),
        ("conges", french.id, "cong"),
        ("granting", english.id, "grant"),
    ] {
        let hits = fixture.search(question).await;
        let hit = hits.iter().find(|hit| hit.why.words.is_some_and(|(place, _)| place == 1)).expect(question);
        assert_eq!(hit.passage.document, document, "{question}: {}", hit.title);
        assert!(hit.why.matched.iter().any(|word| word.contains(matched)), "{question}: {:?}", hit.why.matched);
    }
    // A stop word of one language is a word in another; in all of them it is none.
    let hits = fixture.search("QX").await;
    assert!(hits.iter().all(|hit| hit.why.words.is_none() && hit.why.matched.is_empty()));
}

#[tokio::test]
async fn a_filter_keeps_what_it_lets_through_and_says_why_it_was_found() {
    let fixture = Fixture::new().await;
    for number in 0..30 {
        let text = format!("# Note {number}\n\nThe otter number {number} swims in river {}.", number * 3);
        fixture.ingest(&format!("note-{number}.txt"), text.into_bytes()).await;
    }
    let other = fixture.ingest("otters.md", b"# Zoo\n\nSeals are fed at noon.".to_vec()).await;
    let all = fixture.library().search("otter swims", 10).await.unwrap();
    assert!(all.len() == 10 && all[0].why.meaning.is_some() && all[0].why.words.is_some());
    assert_eq!(all[0].why.matched, ["otter", "swim, swims"]);

    let only = Filter { documents: vec![other.id], ..Filter::default() };
    let hits = fixture.library().search_in(&only, "otter swims", 10).await.unwrap();
    assert_eq!(hits.len(), 1, "by meaning, though thirty others fit better");
    assert_eq!((hits[0].title.as_str(), hits[0].why.words), ("otters.md", None));
    let only = Filter { kinds: vec![extract::Kind::Markdown], ..Filter::default() };
    assert_eq!(fixture.library().search_in(&only, "otter", 10).await.unwrap()[0].passage.document, other.id);
    let only = Filter { kinds: vec![extract::Kind::Pdf], ..Filter::default() };
    assert!(fixture.library().search_in(&only, "otter", 10).await.unwrap().is_empty());
    let missing = fixture.library().collection(aegis::support::ids::CollectionId::generate()).await;
    assert_eq!(missing.unwrap_err().kind(), Kind::NotFound);
}
