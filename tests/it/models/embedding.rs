//! The built-in embedding model.

use std::time::{Duration, Instant};

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
async fn a_question_does_not_wait_for_a_document() {
    let model = MiniLm::new();
    model.embed_query("warm up").await.expect("it embeds");
    let passages = vec!["A passage of ordinary length about nothing in particular. ".repeat(12); 200];
    let document = tokio::spawn({
        let model = model.clone();
        async move { model.embed(&passages).await }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    let started = Instant::now();
    model.embed_query("Does this wait?").await.expect("it embeds");
    assert!(
        !document.is_finished(),
        "the question was answered after {:?}, while the document went on",
        started.elapsed()
    );
    document.abort();
}

#[tokio::test]
async fn the_model_leaves_memory_when_nobody_asks_and_comes_back() {
    let model = MiniLm::unloading_after(Duration::from_millis(200));
    assert!(!model.is_loaded());
    let before = model.embed_query("hello").await.expect("it embeds");
    assert!(model.is_loaded());
    for _ in 0..100 {
        if !model.is_loaded() {
            let after = model.embed_query("hello").await.expect("it embeds again");
            assert!(cosine(&before, &after) > 0.9999);
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it stays in memory");
}
