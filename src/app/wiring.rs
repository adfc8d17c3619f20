//! Where every slice is made and handed what it needs. Nothing else knows all of them.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use chrono::TimeDelta;
use tokio_util::sync::CancellationToken;

use super::{egress_journal::EgressJournal, residents::ThingsOfPeople};
use crate::{
    accounts::{Accounts, Doors, oidc::Providers},
    agents::{
        Agents, Limits,
        memory::{
            Memory,
            tools::{ForgetTool, RecallTool, RememberTool},
        },
        tool::Tool,
        tools::{Calculator, ClockTool, Delegate, Fetch, sandbox::Sandbox},
    },
    audit::{HeadFiles, Log},
    boardroom::{
        Boardroom,
        job::{self as boardroom_job, HoldMeeting, Usher},
    },
    config::{Config, DatabaseMode},
    db::{Databases, Server},
    egress::Egress,
    http::Kit,
    integrations::mcp::{McpTools, Servers},
    jobs::{self, Jobs},
    knowledge::{
        Knowledge,
        embedding::{
            Embedding,
            jobs::{self as embedding_jobs, Reembed, Reembedder},
        },
        jobs::{self as knowledge_jobs, IngestDocument, Ingester},
        search::Reranker,
        tools::{KnowledgeRetriever, ReadTool, SearchTool, Shelves},
        watch,
    },
    models::{self, Router, budget::Budgets, catalogue::Catalogue, embedding::EmbeddingModel},
    postgres::Supervisor,
    runs::{self, Runs},
    secrets::Secrets,
    support::{Error, Result, SystemClock, clock::SharedClock},
    tenants::Tenants,
    vault::{ApplianceKey, Keyring},
};

/// Meetings that are held at once.
const MEETINGS: usize = 2;
/// Organisations that get vectors of another embedding model at once.
const REEMBEDDED_AT_ONCE: usize = 2;

/// The appliance's slices, put together. A cheap handle.
#[derive(Clone)]
pub struct App {
    /// The configuration in force.
    pub config: Arc<Config>,
    /// The time.
    pub clock: SharedClock,
    /// Every connection to the database.
    pub databases: Databases,
    /// Organisations.
    pub tenants: Tenants,
    /// People and their sessions.
    pub accounts: Accounts,
    /// What integrations keep to themselves.
    pub secrets: Secrets,
    /// Documents.
    pub knowledge: Knowledge,
    /// Agents.
    pub agents: Agents,
    /// Servers of other people's tools.
    pub mcp: Servers,
    /// What agents remember.
    pub memory: Memory,
    /// Meetings of agents.
    pub boardroom: Boardroom,
    /// Chat models, in the order in which they are asked.
    pub router: Router,
    /// What models may be spent on.
    pub budgets: Budgets,
    /// What models there are, and fetching them.
    pub catalogue: Catalogue,
    /// The model that makes vectors.
    pub embedding: Arc<dyn EmbeddingModel>,
    /// The way out.
    pub egress: Egress,
    /// What writes outbound requests into the tenants' audit logs.
    pub egress_journal: Arc<EgressJournal>,
    /// The audit log's pages, replay, retention.
    pub runs: Runs,
    /// Durable background work.
    pub jobs: Arc<Jobs>,
    /// The web kit's settings.
    pub kit: Kit,
}

impl App {
    /// Opens the database and migrates what belongs to no tenant, and makes every slice. Nothing works for tenants before
    /// [`App::begin`].
    ///
    /// # Errors
    /// When the database does not answer, a migration fails, or the configuration contradicts itself.
    pub async fn assemble(config: Config, keyring: Keyring, postgres: Option<&Supervisor>) -> Result<Self> {
        let databases = Databases::open(server(&config, postgres, keyring.root())?, &config.database).await?;
        let program = std::env::current_exe().map_err(Error::internal)?;
        Self::on(databases, config, keyring, Arc::new(SystemClock), program).await
    }

    /// Makes every slice on an open database. `program` is this binary, for the children.
    ///
    /// # Errors
    /// When the database does not answer, or the configuration contradicts itself.
    pub async fn on(
        databases: Databases,
        config: Config,
        keyring: Keyring,
        clock: SharedClock,
        program: PathBuf,
    ) -> Result<Self> {
        let heads = HeadFiles::open(&config.data_dir, keyring.root().clone())?;
        let databases = databases.with_witness(heads);
        let grace = TimeDelta::days(i64::from(config.tenants.deletion_grace_days));
        let tenants = Tenants::new(databases.clone(), clock.clone()).with_grace(grace);

        let journal = EgressJournal::start(databases.clone(), clock.clone());
        let egress = Egress::with_journal(&config, journal.clone())?;
        let providers = Providers::new(&config.oidc, &config.server.public_url, &egress, &clock)?;
        let doors = Doors { keyring: keyring.clone(), providers };
        let accounts = Accounts::new(databases.clone(), tenants.clone(), clock.clone(), doors, &config.accounts);
        let secrets = Secrets::new(keyring, tenants.clone(), clock.clone()).and_second_factors_of(accounts.clone());
        let embeddings = models::embedding_from(&config, &egress).await?;
        let embedding = embeddings.wanted();
        let budgets = Budgets::new(&config.budgets, clock.clone());
        let router = models::router_from(&config, &egress, clock.clone())?;
        let catalogue = models::catalogue_of(&router, &config, &egress, Log::of_appliance(&databases), &clock)?;

        let jobs = Arc::new(Jobs::new(&databases, jobs::Settings::default()).with_gate(tenants.clone()));
        let knowledge = Knowledge::new(
            config.knowledge.clone(),
            Embedding::new(embeddings, clock.clone()).with_queue(jobs.queue::<Reembed>()).with_budgets(budgets.clone()),
            jobs.queue::<IngestDocument>(),
            clock.clone(),
            program.clone(),
        );
        let mcp = Servers::new(config.mcp.clone(), egress.clone(), secrets.clone(), clock.clone(), program.clone());
        let sandbox = Sandbox::new(program);
        let delegate = Arc::new(Delegate::default());
        let memory = Memory::new(embedding.clone(), clock.clone());
        let shelves = Shelves::new(knowledge.clone(), accounts.clone());
        let shelves = match config.knowledge.rerank_route.as_str() {
            "" => shelves,
            route => shelves.with_reranker(Reranker::new(router.route(Some(route))), budgets.clone()),
        };
        let tools: Vec<Arc<dyn Tool>> = vec![
            Arc::new(SearchTool(shelves.clone())),
            Arc::new(ReadTool(shelves.clone())),
            Arc::new(ClockTool::new(clock.clone())),
            Arc::new(Calculator::new(sandbox.clone())),
            Arc::new(Fetch::new(egress.clone(), sandbox)),
            delegate.clone(),
            Arc::new(RememberTool::new(memory.clone())),
            Arc::new(RecallTool::new(memory.clone())),
            Arc::new(ForgetTool::new(memory.clone())),
        ];
        let retriever = Arc::new(KnowledgeRetriever(shelves));
        let agents =
            Agents::new(router.clone(), retriever, tools, vec![Arc::new(McpTools::new(mcp.clone()))], clock.clone())
                .with_limits(limits(&config.agents)?)
                .with_budgets(budgets.clone())
                .with_memory(memory.clone());
        delegate.introduce(&agents);
        let boardroom = Boardroom::new(agents.clone(), jobs.queue::<HoldMeeting>(), clock.clone());
        let runs = Runs::new(databases.clone(), accounts.clone(), agents.clone(), clock.clone());
        runs::configuration::note(&databases, &config, &*clock).await?;
        tokio::spawn(runs::retention::daily(runs.clone(), tenants.clone(), config.audit.retention_days));
        let kit = Kit::new(&config.server)?;
        // Whatever lives off tenants outside of their schemas stands on this list.
        // The boardroom first: it must know that its meetings wait before its members' runs are stopped.
        tenants.introduce(Arc::new(boardroom.clone()));
        tenants.introduce(Arc::new(agents.clone()));
        accounts.introduce(Arc::new(ThingsOfPeople {
            agents: agents.clone(),
            memory: memory.clone(),
            databases: databases.clone(),
        }));
        Ok(Self {
            config: Arc::new(config),
            clock,
            databases,
            tenants,
            accounts,
            secrets,
            knowledge,
            agents,
            mcp,
            memory,
            boardroom,
            router,
            catalogue,
            budgets,
            embedding,
            runs,
            egress,
            egress_journal: journal,
            jobs,
            kit,
        })
    }

    /// Brings the tenants up to date, finishes what the last stop interrupted, and starts the jobs. Where there are many
    /// tenants this takes a while, in which those that are up to date are served already. `stop` ends it early.
    ///
    /// # Errors
    /// When the database does not answer. A tenant that cannot be brought up to date is no error: it is refused.
    pub async fn begin(&self, stop: &CancellationToken) -> Result<()> {
        self.databases.bring_up_to_date(stop).await;
        if stop.is_cancelled() {
            return Ok(());
        }
        self.tenants.repair().await?;
        start_jobs(self).await
    }

    /// The address under which people reach the console.
    pub fn public_url(&self, listening: SocketAddr) -> String {
        let public = self.config.server.public_url.trim_end_matches('/');
        if public.is_empty() { format!("http://{listening}") } else { public.to_owned() }
    }
}

/// What a run may not exceed.
fn limits(config: &crate::config::Agents) -> Result<Limits> {
    Ok(Limits {
        steps: usize::try_from(config.max_steps).map_err(Error::internal)?,
        patience: std::time::Duration::from_mins(config.max_minutes.into()),
        tokens: config.max_tokens,
        approval_hours: config.approval_hours,
    })
}

/// The supervised server, or the one that the configuration names.
fn server(config: &Config, postgres: Option<&Supervisor>, key: &ApplianceKey) -> Result<Server> {
    if let Some(postgres) = postgres {
        let endpoint = postgres.endpoint();
        return Ok(Server::own(&endpoint.socket_dir, endpoint.port, key));
    }
    let url = config.database.url.as_ref().ok_or_else(|| Error::invalid("database.url is missing"))?;
    Server::external(&url.read()?, key)
}

/// Starts the workers, after what the last stop interrupted has been put back into the queue.
async fn start_jobs(app: &App) -> Result<()> {
    let App { config, jobs, databases, knowledge, boardroom, tenants, .. } = app;
    if config.database.mode != DatabaseMode::External {
        jobs.recover().await?;
    }
    let workers = usize::try_from(config.knowledge.workers).map_err(Error::internal)?;
    jobs.work(workers, Ingester::new(databases.clone(), knowledge.clone()));
    jobs.work(REEMBEDDED_AT_ONCE, Reembedder::new(databases.clone(), knowledge.embedding().clone()));
    jobs.work(MEETINGS, Usher::new(databases.clone(), boardroom.clone()));
    jobs.prune();
    if !config.knowledge.watch_folder.as_os_str().is_empty() {
        let (folder, every) =
            (config.knowledge.watch_folder.clone(), Duration::from_secs(config.knowledge.watch_seconds));
        tokio::spawn(watch::keep_watching(knowledge.clone(), tenants.clone(), folder, every));
    }
    tokio::spawn(knowledge_jobs::purge_daily(knowledge.clone(), tenants.clone(), config.knowledge.keep_versions_days));
    tokio::spawn(knowledge_jobs::keep_resuming(knowledge.clone(), tenants.clone()));
    tokio::spawn(resume(knowledge.clone(), boardroom.clone(), tenants.clone()));
    Ok(())
}

/// In the background, because there may be many tenants.
async fn resume(knowledge: Knowledge, boardroom: Boardroom, tenants: Tenants) {
    if let Err(error) = boardroom_job::resume(&boardroom, &tenants).await {
        tracing::error!(%error, "unfinished meetings could not be looked for; the next start will");
    }
    if let Err(error) = knowledge_jobs::resume(&knowledge, &tenants).await {
        tracing::error!(%error, "unfinished documents could not be looked for; the next start will");
    }
    if let Err(error) = embedding_jobs::resume(knowledge.embedding(), &tenants).await {
        tracing::error!(%error, "organisations' embedding models could not be looked at; the next start will");
    }
}
