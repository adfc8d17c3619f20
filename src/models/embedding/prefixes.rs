//! The words that a model was trained to see before a question or a passage, as its card says. Servers do not put them
//! there. A model that is not here wants none.

use std::borrow::Cow;

use super::Input;

/// A part of the model's name, what stands before a question, and before a passage.
const PREFIXES: [(&str, &str, &str); 8] = [
    ("nomic-embed-text", "search_query: ", "search_document: "),
    ("mxbai-embed-large", "Represent this sentence for searching relevant passages: ", ""),
    ("snowflake-arctic-embed2", "query: ", ""),
    ("snowflake-arctic-embed", "Represent this sentence for searching relevant passages: ", ""),
    ("embeddinggemma", "task: search result | query: ", "title: none | text: "),
    (
        "qwen3-embedding",
        "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:",
        "",
    ),
    ("multilingual-e5", "query: ", "passage: "),
    ("e5-base", "query: ", "passage: "),
];

/// `text` as `model` wants it.
pub(in crate::models) fn prefixed<'t>(model: &str, input: Input, text: &'t str) -> Cow<'t, str> {
    let model = model.to_lowercase();
    let prefix =
        PREFIXES.iter().find(|(part, ..)| model.contains(part)).map_or("", |(_, question, passage)| match input {
            Input::Question => *question,
            Input::Passage => *passage,
        });
    if prefix.is_empty() { Cow::Borrowed(text) } else { Cow::Owned(format!("{prefix}{text}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_gets_the_words_that_it_was_trained_with_and_others_get_none() {
        let both = |model| (prefixed(model, Input::Question, "x"), prefixed(model, Input::Passage, "x"));
        assert_eq!(both("nomic-embed-text:v1.5"), ("search_query: x".into(), "search_document: x".into()));
        assert_eq!(both("text-embedding-nomic-embed-text-v1.5").1, "search_document: x");
        assert_eq!(both("snowflake-arctic-embed2:568m"), ("query: x".into(), "x".into()));
        assert_eq!(both("intfloat/multilingual-E5-large").1, "passage: x");
        assert_eq!(both("text-embedding-3-small"), ("x".into(), "x".into()));
    }
}
