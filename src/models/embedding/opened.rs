//! The embedding models of the configuration: the one that is wanted now, and those that vectors of the past were made
//! with. Each is opened once, when it is first needed.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use super::EmbeddingModel;
use crate::{
    config::Config,
    egress::Egress,
    models::provider,
    support::{Error, Result},
};

type Model = Arc<dyn EmbeddingModel>;

/// Embedding models by their names. Cheap to clone.
#[derive(Clone)]
pub struct EmbeddingModels {
    inner: Arc<Inner>,
}

struct Inner {
    wanted: Model,
    /// Names that organisations may choose, the wanted one first.
    offered: Vec<String>,
    /// By the name that stands beside vectors.
    opened: Mutex<BTreeMap<String, Model>>,
    /// What further models are opened with; none where all are given.
    source: Option<(Config, Egress)>,
}

impl EmbeddingModels {
    /// Those of `[embedding]`. Nothing is asked of them yet.
    ///
    /// # Errors
    /// `Invalid` when a name means nothing, or an address or a key cannot be used.
    pub fn of(config: &Config, egress: &Egress) -> Result<Self> {
        let mut models = Vec::new();
        for name in config.embedding.names() {
            models.push(provider::open_embedding(name, config, egress)?);
        }
        let mut all = Self::given(models)?;
        if let Some(inner) = Arc::get_mut(&mut all.inner) {
            inner.source = Some((config.clone(), egress.clone()));
        }
        Ok(all)
    }

    /// These and no others; the first one is the wanted one.
    ///
    /// # Errors
    /// `Invalid` when there is none.
    pub fn given(models: Vec<Model>) -> Result<Self> {
        let wanted = models.first().ok_or_else(|| Error::invalid("there is no embedding model"))?.clone();
        let offered = models.iter().map(|model| model.name()).collect();
        let opened = models.into_iter().map(|model| (model.name(), model)).collect();
        Ok(Self { inner: Arc::new(Inner { wanted, offered, opened: Mutex::new(opened), source: None }) })
    }

    /// The one that the configuration wants.
    pub fn wanted(&self) -> Model {
        Arc::clone(&self.inner.wanted)
    }

    /// The names of those that organisations may choose.
    pub fn offered(&self) -> &[String] {
        &self.inner.offered
    }

    /// The model of this name, as it stands beside vectors or as a person writes it.
    ///
    /// # Errors
    /// `Invalid` when the configuration has no such model, with what may be meant.
    pub fn open(&self, name: &str) -> Result<Model> {
        if let Some(model) = self.opened().get(name) {
            return Ok(Arc::clone(model));
        }
        let Some((config, egress)) = &self.inner.source else {
            return Err(Error::invalid(format!("there is no embedding model \"{name}\"")));
        };
        let model = provider::open_embedding(name, config, egress)?;
        // Whoever was faster has opened the same; what one learns of its server the other shall know.
        Ok(Arc::clone(self.opened().entry(model.name()).or_insert(model)))
    }

    fn opened(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Model>> {
        self.inner.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<Model> for EmbeddingModels {
    fn from(model: Model) -> Self {
        let (offered, opened) = (vec![model.name()], BTreeMap::from([(model.name(), Arc::clone(&model))]));
        Self { inner: Arc::new(Inner { wanted: model, offered, opened: Mutex::new(opened), source: None }) }
    }
}
