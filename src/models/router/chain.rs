//! Which target is asked next.

use std::{collections::VecDeque, fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{Retry, Target};
use crate::models::chat::ModelError;

/// A named chain of targets, with those that are asked after particular failures.
pub struct Route {
    /// `default`, or as `[models.routes.<name>]` says.
    pub name: String,
    /// Asked in this order.
    pub chain: Vec<Arc<Target>>,
    /// Asked next when a prompt is too long for a target.
    pub context: Vec<Arc<Target>>,
    /// Asked next when a provider refuses the content.
    pub refusal: Vec<Arc<Target>>,
    /// How often, and after how long, the same target is asked again.
    pub retry: Retry,
}

impl Route {
    /// A chain and nothing else: no retries, no chains for particular failures.
    pub fn new(name: impl Into<String>, chain: Vec<Arc<Target>>) -> Self {
        Self { name: name.into(), chain, context: Vec::new(), refusal: Vec::new(), retry: Retry::NEVER }
    }
}

/// The lists of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// The ordinary one.
    Chain,
    /// For prompts that are too long.
    Context,
    /// For content that a provider refuses.
    Refusal,
}

/// Why a target was asked: where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// The route's name.
    pub route: String,
    /// In which of its lists it stands.
    pub part: Part,
    /// Its place there, from 1.
    pub position: usize,
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { route, part, position } = self;
        match part {
            Part::Chain => write!(f, "number {position} of route {route}"),
            Part::Context => write!(f, "number {position} of route {route} for long prompts"),
            Part::Refusal => write!(f, "number {position} of route {route} for refused content"),
        }
    }
}

/// One question's way along a route. No target is met twice.
pub(super) struct Walk {
    route: Arc<Route>,
    ahead: VecDeque<(Arc<Target>, Part, usize)>,
    met: Vec<Arc<Target>>,
}

impl Walk {
    pub(super) fn along(route: &Arc<Route>) -> Self {
        let mut walk = Self { route: Arc::clone(route), ahead: VecDeque::new(), met: Vec::new() };
        walk.put_first(&route.chain, Part::Chain);
        walk
    }

    /// The next target.
    pub(super) fn next(&mut self) -> Option<(Arc<Target>, Choice)> {
        loop {
            let (target, part, position) = self.ahead.pop_front()?;
            if self.met.iter().any(|met| Arc::ptr_eq(met, &target)) {
                continue;
            }
            self.met.push(target.clone());
            return Some((target, Choice { route: self.route.name.clone(), part, position }));
        }
    }

    /// The last one failed: for some failures the route knows better than to go on in order.
    pub(super) fn after(&mut self, error: &ModelError) {
        let route = self.route.clone();
        match error {
            ModelError::ContextOverflow { .. } => self.put_first(&route.context, Part::Context),
            ModelError::Refused { .. } => self.put_first(&route.refusal, Part::Refusal),
            _ => {}
        }
    }

    fn put_first(&mut self, targets: &[Arc<Target>], part: Part) {
        for (place, target) in targets.iter().enumerate().rev() {
            self.ahead.push_front((target.clone(), part, place + 1));
        }
    }
}
