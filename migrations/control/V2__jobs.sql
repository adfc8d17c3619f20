-- Durable jobs: the tables and functions that apalis-postgres 1.0.0 expects, in the final state of its own migrations
-- (up to 20260902075949_remove_pl_in_get_jobs). Its `setup()` is not used: it wants the extension pgcrypto, which
-- not every server has, and it would bring a second history of migrations.
-- Left out, because no query of that version uses them: push_job, generate_ulid, get_job.
CREATE TABLE apalis.workers (
    id text PRIMARY KEY,
    worker_type text NOT NULL,
    storage_name text NOT NULL,
    layers text NOT NULL DEFAULT '',
    last_seen timestamptz NOT NULL DEFAULT now(),
    started_at timestamptz
);
CREATE INDEX idx_apalis_workers_last_seen ON apalis.workers (last_seen);
CREATE INDEX idx_apalis_workers_worker_type ON apalis.workers (worker_type);

-- Its queries read the columns by position: the order matters.
-- A job carries ids, never a tenant's data: these tables belong to no tenant.
CREATE TABLE apalis.jobs (
    job bytea NOT NULL,
    id text PRIMARY KEY,
    job_type text NOT NULL,
    status text NOT NULL DEFAULT 'Pending',
    attempts integer NOT NULL DEFAULT 0,
    max_attempts integer NOT NULL DEFAULT 25,
    run_at timestamptz NOT NULL DEFAULT now(),
    last_result jsonb,
    lock_at timestamptz,
    lock_by text CONSTRAINT fk_worker_lock_by REFERENCES apalis.workers (id),
    done_at timestamptz,
    priority integer DEFAULT 0,
    idempotency_key text,
    metadata extensions.hstore
);
CREATE INDEX idx_apalis_jobs_lock_by ON apalis.jobs (lock_by);
CREATE INDEX idx_apalis_jobs_fetch_partial ON apalis.jobs (job_type, priority DESC, run_at)
    WHERE status = 'Pending' OR (status = 'Failed' AND attempts < max_attempts);
CREATE UNIQUE INDEX idx_jobs_idempotency_key ON apalis.jobs (job_type, idempotency_key);
-- Ours: finished jobs are pruned by the time they were done.
CREATE INDEX idx_apalis_jobs_done ON apalis.jobs (done_at) WHERE status IN ('Done', 'Killed');

CREATE FUNCTION apalis.get_jobs(worker_id text, v_job_type text, v_job_count integer DEFAULT 5)
RETURNS SETOF apalis.jobs
LANGUAGE sql
VOLATILE
AS $$
    WITH jobs AS (
        SELECT id
        FROM apalis.jobs
        WHERE (status = 'Pending' OR (status = 'Failed' AND attempts < max_attempts))
          AND run_at < now()
          AND job_type = v_job_type
        ORDER BY priority DESC, run_at ASC
        LIMIT v_job_count
        FOR UPDATE SKIP LOCKED
    )
    UPDATE apalis.jobs j
    SET status = 'Queued', lock_by = worker_id, lock_at = now()
    FROM jobs
    WHERE j.id = jobs.id
    RETURNING j.*;
$$;

-- Wakes the workers of all nodes. The notice carries the job's id and type only: every role could listen.
CREATE FUNCTION apalis.notify_new_jobs() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    IF NEW.run_at <= now() THEN
        PERFORM pg_notify(
            'apalis::job::insert',
            json_build_object('job_type', NEW.job_type, 'id', NEW.id, 'run_at', NEW.run_at)::text
        );
    END IF;
    RETURN NEW;
END;
$$;
CREATE TRIGGER notify_workers AFTER INSERT ON apalis.jobs
    FOR EACH ROW EXECUTE FUNCTION apalis.notify_new_jobs();
