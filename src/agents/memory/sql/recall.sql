-- What is remembered and fits a question: nearest by vector and best by words, fused by reciprocal rank with k = 60, as in
-- the knowledge base. A reader has some hundred facts at most, so they are compared exactly.
-- $1 the question's vector as text, or null; $2 the question; $3 the embedding model; $4 how many;
-- $5 the agent, or null; $6 the person, or null; $7 whether they manage agents.
-- The places in braces are filled in: the number of dimensions, the condition of who may see what, the columns of a fact.
WITH visible AS MATERIALIZED (
    SELECT id, model, dimensions, embedding, searchable FROM memories WHERE {whose}
),
near AS (
    SELECT id, row_number() OVER (ORDER BY distance, id) AS place
    FROM (
        SELECT id, embedding::extensions.halfvec({d}) OPERATOR(extensions.<=>) $1::text::extensions.halfvec({d}) AS distance
        FROM visible
        WHERE model = $3 AND dimensions = {d} AND $1::text IS NOT NULL
    ) AS measured
    ORDER BY distance, id
    LIMIT 60
),
-- Any of the question's words. A tsquery of lexemes in quotes is taken literally.
words AS MATERIALIZED (
    SELECT string_agg('''' || replace(replace(lexeme, '\', '\\'), '''', '''''') || '''', ' | ')::tsquery AS query
    FROM unnest(to_tsvector('english', $2))
),
worded AS (
    SELECT visible.id, row_number() OVER (ORDER BY ts_rank(visible.searchable, words.query) DESC, visible.id) AS place
    FROM visible, words
    WHERE visible.searchable @@ words.query
    ORDER BY place
    LIMIT 60
),
fused AS (
    SELECT id, coalesce(1.0 / (60 + near.place), 0) + coalesce(1.0 / (60 + worded.place), 0) AS score
    FROM near FULL JOIN worded USING (id)
    ORDER BY 2 DESC, 1
    LIMIT $4
)
SELECT {columns}
FROM fused JOIN memories USING (id)
ORDER BY fused.score DESC, fused.id
