//! Whether passages of one document should share their edges: nDCG@10 of the Cranfield collection by meaning alone, for
//! passages of several lengths whose neighbours have nothing, or some of their text, in common.

use std::{
    collections::{HashMap, HashSet},
    fs,
    sync::Arc,
};

use aegis::models::{embedding::EmbeddingModel as _, minilm::MiniLm};
use text_splitter::{ChunkConfig, ChunkSizer, TextSplitter};

use super::quality::{collection, judgements, ndcg, records};

struct Tokens(Arc<MiniLm>);

impl ChunkSizer for Tokens {
    fn size(&self, chunk: &str) -> usize {
        self.0.count_tokens(chunk)
    }
}

/// A document's passages, as `src/knowledge/chunk.rs` cuts plain text, but for the overlap.
fn passages(model: &Arc<MiniLm>, text: &str, tokens: usize, percent: usize) -> Vec<String> {
    let config = ChunkConfig::new(tokens).with_sizer(Tokens(model.clone()));
    let config = config.with_overlap(tokens * percent / 100).unwrap();
    TextSplitter::new(config).chunks(text).map(str::to_owned).collect()
}

fn similarity(one: &[f32], other: &[f32]) -> f32 {
    one.iter().zip(other).map(|(a, b)| a * b).sum()
}

/// Documents by their best passage.
fn ranked(query: &[f32], vectors: &[(usize, Vec<f32>)]) -> Vec<usize> {
    let mut best: HashMap<usize, f32> = HashMap::new();
    for (document, vector) in vectors {
        let near = similarity(query, vector);
        best.entry(*document).and_modify(|so_far| *so_far = so_far.max(near)).or_insert(near);
    }
    let mut ranked: Vec<_> = best.into_iter().collect();
    ranked.sort_by(|one, other| other.1.total_cmp(&one.1).then(one.0.cmp(&other.0)));
    ranked.into_iter().take(10).map(|(document, _)| document).collect()
}

#[tokio::test]
#[ignore = "a measurement that embeds 1,400 abstracts a dozen times; run it by name when passages are cut in another way"]
async fn what_sharing_their_edges_does_for_passages() {
    let Some(folder) = collection() else { panic!("the Cranfield collection is not at ../shared/data/cranfield") };
    let read = |name: &str| String::from_utf8_lossy(&fs::read(folder.join(name)).unwrap()).into_owned();
    let documents = records(&read("cran.all.1400"), &[".T", ".W"]);
    let queries = records(&read("cran.qry"), &[".W"]);
    let (relevant, none) = (judgements(&read("cranqrel")), HashSet::new());
    let model = Arc::new(MiniLm::new());
    let mut asked = Vec::new();
    for query in &queries {
        asked.push(model.embed_query(query).await.unwrap());
    }
    println!("tokens  overlap  passages  nDCG@10");
    for tokens in [64, 128, 220] {
        for percent in [0, 10, 20, 30] {
            let mut vectors = Vec::new();
            for (index, text) in documents.iter().enumerate() {
                let passages = passages(&model, text, tokens, percent);
                if !passages.is_empty() {
                    let made = model.embed(&passages).await.unwrap();
                    vectors.extend(made.into_iter().map(|vector| (index + 1, vector)));
                }
            }
            let gains = asked
                .iter()
                .enumerate()
                .map(|(index, query)| ndcg(&ranked(query, &vectors), relevant.get(&(index + 1)).unwrap_or(&none)));
            let mean = gains.sum::<f64>() / f64::from(u32::try_from(asked.len()).unwrap());
            println!("{tokens:>6}  {percent:>6}%  {:>8}  {mean:.3}", vectors.len());
        }
    }
}
