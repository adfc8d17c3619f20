//! The built-in embedding model.

use std::time::Duration;

use aegis::models::{embedding::EmbeddingModel, minilm::MiniLm};

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

#[tokio::test]
async fn texts_that_mean_the_same_lie_closer_than_texts_that_do_not() {
    let model = MiniLm::new();
    let vectors = model
        .embed(&owned(&[
            "Employees are entitled to sixteen weeks of parental leave.",
            "New mothers and fathers get four months off work.",
            "The reactor is cooled by liquid sodium.",
        ]))
        .await
        .expect("it embeds");
    let question = model.embed_query("How long may a new parent stay at home?").await.expect("it embeds");
    assert_eq!((question.len(), model.dimensions()), (384, 384));
    assert!(cosine(&vectors[0], &vectors[1]) > 0.4, "{}", cosine(&vectors[0], &vectors[1]));
    assert!(cosine(&vectors[0], &vectors[2]) < 0.1, "{}", cosine(&vectors[0], &vectors[2]));
    assert!(cosine(&question, &vectors[0]) > cosine(&question, &vectors[2]) + 0.2);
    for vector in &vectors {
        assert!((cosine(vector, vector) - 1.0).abs() < 1e-4, "length 1");
    }
}

#[tokio::test]
async fn a_text_gets_the_same_vector_alone_and_in_a_batch_and_in_its_place() {
    let model = MiniLm::new();
    let texts: Vec<String> =
        (0..19).map(|number| format!("Section {number}. {}", "The quick brown fox. ".repeat(number % 5))).collect();
    let together = model.embed(&texts).await.expect("it embeds");
    for place in [0, 4, 18] {
        let alone = model.embed_query(&texts[place]).await.expect("it embeds");
        let likeness = cosine(&alone, &together[place]);
        // The int8 network scales its activations by what is in the batch, hence not exactly 1.
        assert!(likeness > 0.98, "{place}: {likeness}");
    }
    assert!(model.embed(&[]).await.expect("nothing is embedded").is_empty());
}

#[tokio::test]
async fn odd_texts_are_embedded_too() {
    let long = "word ".repeat(5000);
    let texts = owned(&["", "   ", "\u{0}\u{7}", "🦀🦀🦀", "Αυτό είναι ελληνικό", long.as_str()]);
    let vectors = MiniLm::new().embed(&texts).await.expect("it embeds");
    assert_eq!(vectors.len(), texts.len());
    assert!(vectors.iter().flatten().all(|value| value.is_finite()));
}

#[tokio::test]
async fn a_question_goes_before_passages_that_were_there_first() {
    let model = MiniLm::new();
    let passages = vec!["A passage of ordinary length about nothing in particular. ".repeat(12); 64];
    let mut documents: Vec<_> = (0..3).map(|_| Box::pin(model.embed(&passages))).collect();
    for document in &mut documents {
        // It stands in the line from the first look at it on.
        assert!(futures::poll!(document).is_pending());
    }
    for number in 0..3 {
        model.embed_query(&format!("Does question {number} wait?")).await.expect("it embeds");
    }
    for (place, document) in documents.iter_mut().enumerate() {
        assert!(futures::poll!(document).is_pending(), "document {place} was done before the questions");
    }
    let first = documents.remove(0).await.expect("it embeds all the same");
    assert_eq!(first.len(), 64);
    assert!(futures::poll!(&mut documents[1]).is_pending(), "documents wait for each other");
}

/// The names and priorities of this process's threads.
fn threads() -> Vec<(String, i32)> {
    let threads = std::fs::read_dir("/proc/self/task").expect("threads").filter_map(Result::ok);
    let stat = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("stat")).ok());
    let of = |stat: String| {
        let (name, rest) = stat.split_once('(')?.1.rsplit_once(") ")?;
        Some((name.to_owned(), rest.split(' ').nth(16)?.parse().ok()?))
    };
    stat.filter_map(of).collect()
}

#[tokio::test]
async fn passages_are_embedded_at_a_lower_priority_than_questions() {
    let usual = threads().into_iter().map(|(_, nice)| nice).min().expect("a thread");
    let model = MiniLm::new();
    model.embed(&owned(&["a passage"])).await.expect("it embeds");
    model.embed_query("a question").await.expect("it embeds");
    let threads = threads();
    let of = |name: &str| {
        threads.iter().filter(|(other, _)| other.starts_with(name)).map(|(_, nice)| *nice).collect::<Vec<_>>()
    };
    let lower = (usual + 10).min(19);
    assert!(of("passages").contains(&lower), "{threads:?}");
    assert!(of("questions").iter().all(|&nice| nice == usual), "{threads:?}");
    let computing = of("rten-");
    assert!(computing.contains(&lower) && computing.contains(&usual), "those that compute follow: {threads:?}");
}

#[tokio::test]
async fn the_model_leaves_memory_when_nobody_asks_and_comes_back() {
    let model = MiniLm::unloading_after(Duration::from_secs(2));
    assert!(!model.is_loaded());
    let before = model.embed_query("hello").await.expect("it embeds");
    assert!(model.is_loaded());
    for _ in 0..400 {
        if !model.is_loaded() {
            let after = model.embed_query("hello").await.expect("it embeds again");
            assert!(cosine(&before, &after) > 0.9999);
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it stays in memory");
}
