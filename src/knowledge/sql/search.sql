-- Hybrid search: nearest by vector and best by words, fused by reciprocal rank with k = 60
-- (Cormack, Clarke, Büttcher: Reciprocal Rank Fusion Outperforms Condorcet, SIGIR 2009).
-- $1 the question's vector as text, or null; $2 the question; $3 the embedding model; $4 how many.
-- {d} stands for the vector's dimensions.
WITH
near AS (
    SELECT id, row_number() OVER (ORDER BY distance, id) AS place
    FROM (
        SELECT vectors.passage_id AS id,
               vectors.embedding::extensions.halfvec({d}) OPERATOR(extensions.<=>) $1::text::extensions.halfvec({d}) AS distance
        FROM passage_vectors AS vectors
        JOIN documents ON documents.id = vectors.document_id
        WHERE vectors.dimensions = {d} AND vectors.model = $3 AND documents.status = 'ready' AND $1::text IS NOT NULL
        ORDER BY vectors.embedding::extensions.halfvec({d}) OPERATOR(extensions.<=>) $1::text::extensions.halfvec({d})
        LIMIT 60
    ) AS nearest
),
-- Each word of the question as a query of its own. A tsquery of lexemes in quotes is taken literally.
words AS MATERIALIZED (
    SELECT lexeme,
           ('''' || replace(replace(lexeme, '\', '\\'), '''', '''''') || '''')::tsquery AS query
    FROM unnest(to_tsvector('english', $2))
    LIMIT 16
),
-- Where each word stands: up to 1,001 passages, beyond which a word is too common to tell much.
hits AS MATERIALIZED (
    SELECT words.lexeme, found.id
    FROM words
    CROSS JOIN LATERAL (
        SELECT passages.id
        FROM passages
        WHERE passages.searchable @@ words.query
          AND passages.document_id IN (SELECT documents.id FROM documents WHERE documents.status = 'ready')
        LIMIT 1001
    ) AS found
),
-- A word weighs more the rarer it is (the inverse document frequency of BM25).
weights AS (
    SELECT hits.lexeme,
           ln(1 + (greatest(corpus.passages - count(*), 0) + 0.5) / (count(*) + 0.5)) AS weight
    FROM hits, (SELECT coalesce(sum(total), 0)::float8 AS passages FROM documents WHERE status = 'ready') AS corpus
    GROUP BY hits.lexeme, corpus.passages
    HAVING count(*) <= 1000
),
-- What fits the whole question, quotes and minus signs included, is worth as much as one more rare word.
fitting AS (
    SELECT passages.id
    FROM passages
    WHERE passages.searchable @@ websearch_to_tsquery('english', $2)
      AND passages.document_id IN (SELECT documents.id FROM documents WHERE documents.status = 'ready')
    LIMIT 200
),
candidates AS (
    SELECT id, sum(weight) AS weight
    FROM (
        SELECT hits.id, weights.weight FROM hits JOIN weights USING (lexeme)
        UNION ALL
        SELECT id, 4 FROM fitting
    ) AS weighed
    GROUP BY id
    ORDER BY 2 DESC, 1
    LIMIT 200
),
-- Only these few are ranked by how close together the words stand; ranking all would take half a second.
ranked AS (
    SELECT candidates.id,
           candidates.weight * (1 + ts_rank_cd(passages.searchable, any_word.query, 32)) AS rank
    FROM candidates
    JOIN passages ON passages.id = candidates.id
    CROSS JOIN (SELECT string_agg(query::text, ' | ')::tsquery AS query FROM words) AS any_word
    ORDER BY 2 DESC, 1
    LIMIT 60
),
worded AS (
    SELECT id, row_number() OVER (ORDER BY rank DESC, id) AS place FROM ranked
),
fused AS (
    SELECT id, coalesce(1.0 / (60 + near.place), 0) + coalesce(1.0 / (60 + worded.place), 0) AS score
    FROM near FULL JOIN worded USING (id)
    ORDER BY 2 DESC, 1
    LIMIT $4
)
SELECT passages.id, passages.document_id, passages.ordinal, passages.locator, passages.text,
       documents.file_name AS title,
       -- 1 is first in both lists.
       (fused.score * 61 / 2)::real AS score
FROM fused
JOIN passages ON passages.id = fused.id
JOIN documents ON documents.id = passages.document_id
ORDER BY fused.score DESC, fused.id
