//! What a higher room keeps in memory beside a database's connections, one for each database.

use std::{
    any::Any,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

type Kept = Vec<Arc<dyn Any + Send + Sync>>;

/// One thing of each type, made by whoever asks first. There are a handful.
#[derive(Default)]
pub struct Beside(Mutex<Kept>);

impl Beside {
    /// What is kept of this type.
    pub fn kept<T: Default + Send + Sync + 'static>(&self) -> Arc<T> {
        let mut all = self.all();
        if let Some(kept) = all.iter().find_map(|kept| kept.clone().downcast::<T>().ok()) {
            return kept;
        }
        let new = Arc::new(T::default());
        all.push(new.clone());
        new
    }

    fn all(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Beside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Beside({})", self.all().len())
    }
}
