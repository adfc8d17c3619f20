//! AEGIS, a self-hosted appliance: a staff of AI agents on an organisation's own server.
//!
//! ```text
//! main.rs         parse the command line, map to an exit code
//!  ── floor 6: entrances ──────────────────────────────────────────────────────
//! cli/            one file per command
//! app/            wiring.rs (every slice assembled here), lifecycle.rs (boot order, shutdown), routes.rs (every route, with who may use it), admin/ (the command line's side)
//!  ── floor 5: what users see happen ───────────────────────────────────────────
//! boardroom/      a question to several agents: positions, answers, the outcome with its dissent
//! developer/      the API as OpenAI's clients know it, and the MCP server: agents and documents for other programs
//! operator/       the operator's pages: tenants, models
//! runs/           the audit log's pages, a run's time line, replay, retention
//!  ── floor 4 ─────────────────────────────────────────────────────────────────
//! agents/         soul, staff (who there is, versions, their pages), tool (trait + registry), run (the loop), citations, quoting, conversations
//! integrations/   other people's services: mcp (servers of tools)
//!  ── floor 3 ─────────────────────────────────────────────────────────────────
//! knowledge/      collections (who reads what), uploads, watch (folders), extract (a reader for each format), chunk, ingest,
//!                 embedding (the model whose vectors are searched, and changing it), search (by meaning and by words)
//! models/         chat + embedding traits; ollama, openai, gemini, anthropic, gguf (the built-in engine), minilm (the built-in vectors); router; catalogue (what there is, pulls)
//!  ── floor 2 ─────────────────────────────────────────────────────────────────
//! tenants/        provisioning: schema, roles; their life: suspended, resumed, deleted, gone
//! accounts/       users, roles, memberships, invitations, sessions, sign-in, second factor, OpenID Connect, API tokens
//! secrets/        what integrations need to keep to themselves, under each tenant's own key; rotation
//!  ── floor 1: the ground ─────────────────────────────────────────────────────
//! audit/          the chain: append, verify, find, export, cut; the heads kept beside the database
//! db/             the control pool, one small pool per tenant, migrations; nothing else opens a connection
//! postgres/       the supervisor: bundle, cluster, process
//! jobs/           apalis set-up, retry policy
//! http/           the axum kit: errors, middleware, SSE, assets, page frame
//! egress/         the only outbound HTTP client: allow-list, addresses after resolution, a line for each attempt
//! vault/          the appliance's keys (a file, or under a passphrase), sealed envelopes, argon2, token hashes
//! config/         figment; one struct per TOML section
//! support/        ids, clock, randomness, places of addresses, error kinds, work done together
//! ```
//!
//! A file names only rooms of its own slice and of lower floors; `tests/it/layout.rs` holds this.
//! Siblings on one floor do not name each other, except along these arrows:
//!
//! ```text
//! every room → support          knowledge → models          accounts → tenants
//! audit → db, vault             db → config, vault
//! jobs → db                     http, egress, postgres → config
//! cli → app                     secrets → tenants, accounts
//! integrations → agents
//! ```

pub mod accounts;
pub mod agents;
pub mod app;
pub mod audit;
pub mod boardroom;
pub mod cli;
pub mod config;
pub mod db;
pub mod developer;
pub mod egress;
pub mod http;
pub mod integrations;
pub mod jobs;
pub mod knowledge;
pub mod models;
pub mod operator;
pub mod postgres;
pub mod runs;
pub mod secrets;
pub mod support;
pub mod tenants;
pub mod vault;
