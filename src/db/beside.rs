//! What a higher room keeps in memory beside a database's connections, one for each database.

use std::{
    any::Any,
    fmt,
    sync::{Arc, OnceLock},
};

/// A place for one thing of one type, made by whoever asks first.
#[derive(Default)]
pub struct Beside(OnceLock<Arc<dyn Any + Send + Sync>>);

impl Beside {
    /// What is kept. Something that nobody shares when the place holds a thing of another type.
    pub fn kept<T: Default + Send + Sync + 'static>(&self) -> Arc<T> {
        self.0.get_or_init(|| Arc::new(T::default())).clone().downcast().unwrap_or_default()
    }
}

impl fmt::Debug for Beside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.get().is_some() { "Beside(kept)" } else { "Beside(empty)" })
    }
}
