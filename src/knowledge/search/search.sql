-- Hybrid search: nearest by vector and best by words, fused by reciprocal rank with k = 60
-- (Cormack, Clarke, Büttcher: Reciprocal Rank Fusion Outperforms Condorcet, SIGIR 2009).
--
-- $1 the question's vector as text, or null; $2 the question; $3 the same without accents; $4 the embedding model;
-- $5 how many; $6 the ids of the documents that are searched; $7 their text-search configurations;
-- $8 how many passages they have. {d} stands for the vector's dimensions. {exact} is `+ 0` to look at every vector,
-- which beats the index where few passages are searched, and nothing to use the index. {filter} is `IS TRUE` to look at
-- vectors and leave out those of other documents, which an index scan needs that goes on until there are enough, and nothing to
-- fetch the vectors of few documents alone. The question's vector stands in a subselect, so that its text is read once and not
-- for each passage.
WITH
near AS (
    SELECT id, distance, row_number() OVER (ORDER BY distance, id) AS place
    FROM (
        SELECT vectors.passage_id AS id,
               (vectors.embedding::extensions.halfvec({d}) OPERATOR(extensions.<=>) (SELECT $1::text::extensions.halfvec({d}))) {exact} AS distance
        FROM passage_vectors AS vectors
        WHERE vectors.dimensions = {d} AND vectors.model = $4 AND $1::text IS NOT NULL
          AND (vectors.document_id IN (SELECT unnest($6::uuid[]))) {filter}
        ORDER BY (vectors.embedding::extensions.halfvec({d}) OPERATOR(extensions.<=>) (SELECT $1::text::extensions.halfvec({d}))) {exact}
        LIMIT 60
    ) AS nearest
),
-- The question's words with their place in it, as each language reads them. What is a stop word in all of them is none.
stems AS MATERIALIZED (
    SELECT place, lexeme
    FROM unnest($7::text[]) AS language,
         unnest(to_tsvector(language::regconfig, $2)) AS stem (lexeme, places, weights),
         unnest(places) AS place
),
-- Each word as a query of its own: any of its stems, or as it is written. A lexeme in quotes is taken literally.
words AS MATERIALIZED (
    SELECT min(place) AS place, query
    FROM (
        SELECT place,
               string_agg(DISTINCT '''' || replace(replace(lexeme, '\', '\\'), '''', '''''') || '''', ' | ') AS query
        FROM (
            SELECT place, lexeme FROM stems
            UNION
            SELECT place, lexeme
            FROM unnest(to_tsvector('simple', $3)) AS word (lexeme, places, weights), unnest(places) AS place
            WHERE place IN (SELECT place FROM stems)
        ) AS lexemes
        GROUP BY place
    ) AS each
    GROUP BY query
    ORDER BY 1
    LIMIT 16
),
-- Where each word stands: up to 1,001 passages, beyond which a word is too common to tell much.
hits AS MATERIALIZED (
    SELECT words.place AS word, found.id
    FROM words
    CROSS JOIN LATERAL (
        SELECT passages.id
        FROM passages
        WHERE passages.searchable @@ words.query::tsquery
          AND (passages.document_id IN (SELECT unnest($6::uuid[]))) IS TRUE
        LIMIT 1001
    ) AS found
),
-- A word weighs more the rarer it is (the inverse document frequency of BM25).
weights AS (
    SELECT word, ln(1 + (greatest($8::float8 - count(*), 0) + 0.5) / (count(*) + 0.5)) AS weight
    FROM hits
    GROUP BY word
    HAVING count(*) <= 1000
),
-- What fits the whole question, quotes and minus signs included, is worth as much as one more rare word.
whole AS (
    SELECT string_agg(DISTINCT '(' || query || ')', ' | ')::tsquery AS query
    FROM (
        SELECT websearch_to_tsquery(language::regconfig, $2)::text AS query FROM unnest($7::text[]) AS language
        UNION ALL
        SELECT websearch_to_tsquery('simple', $3)::text
    ) AS read
    WHERE query <> ''
),
fitting AS (
    SELECT passages.id
    FROM passages
    WHERE passages.searchable @@ (SELECT query FROM whole)
      AND (passages.document_id IN (SELECT unnest($6::uuid[]))) IS TRUE
    LIMIT 200
),
candidates AS (
    SELECT id, sum(weight) AS weight
    FROM (
        SELECT hits.id, weights.weight FROM hits JOIN weights USING (word)
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
    CROSS JOIN (SELECT string_agg(query, ' | ')::tsquery AS query FROM words) AS any_word
    ORDER BY 2 DESC, 1
    LIMIT 60
),
worded AS (
    SELECT id, rank, row_number() OVER (ORDER BY rank DESC, id) AS place FROM ranked
),
fused AS (
    SELECT id, near.place AS near_place, near.distance, worded.place AS word_place, worded.rank,
           coalesce(1.0 / (60 + near.place), 0) + coalesce(1.0 / (60 + worded.place), 0) AS score
    FROM near FULL JOIN worded USING (id)
    ORDER BY score DESC, id
    LIMIT $5
)
SELECT passages.id, passages.document_id, passages.ordinal, passages.locator, passages.page, passages.text,
       documents.file_name AS title, documents.folder, documents.media_type, documents.version,
       collections.name AS collection,
       -- 1 is first in both lists.
       (fused.score * 61 / 2)::real AS score,
       fused.near_place, fused.distance::real AS distance, fused.word_place, fused.rank::real AS rank,
       ARRAY(SELECT words.query FROM hits JOIN words ON words.place = hits.word WHERE hits.id = fused.id ORDER BY words.place)
           AS words
FROM fused
JOIN passages ON passages.id = fused.id
JOIN documents ON documents.id = passages.document_id
JOIN collections ON collections.id = documents.collection_id
ORDER BY fused.score DESC, fused.id
