//! Work on what comes at the same time, done together: while a batch is being worked on, the next one gathers. What comes
//! alone is worked on at once.
//!
//! The work goes on in a task of its own: what was handed over is done even when whoever did so went away meanwhile.

use std::{
    collections::VecDeque,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

/// How batches are worked on.
pub trait Batch: Send + Sync + 'static {
    /// What is handed over.
    type Item: Send + 'static;
    /// What whoever handed it over is told.
    type Told: Send + 'static;
    /// The most items of a batch.
    const MOST: usize;
    /// The most bytes of a batch, unless one item alone has more.
    const MOST_BYTES: usize = usize::MAX;

    /// What an item counts for, in bytes.
    fn bytes(_item: &Self::Item) -> usize {
        0
    }

    /// Works on a batch, and says what became of each item, in their order.
    fn work(&self, batch: Vec<Self::Item>) -> impl Future<Output = Vec<Self::Told>> + Send;
}

/// Where items gather.
pub struct Together<B: Batch>(Mutex<State<B>>);

struct State<B: Batch> {
    waiting: VecDeque<(B::Item, oneshot::Sender<B::Told>)>,
    /// Whether somebody is at work, who will take what comes meanwhile.
    at_work: bool,
}

/// Items, and whom to tell what became of each.
type Gathered<B> = (Vec<<B as Batch>::Item>, Vec<oneshot::Sender<<B as Batch>::Told>>);

impl<B: Batch> Default for Together<B> {
    fn default() -> Self {
        Self(Mutex::new(State { waiting: VecDeque::new(), at_work: false }))
    }
}

impl<B: Batch> Together<B> {
    /// Has `item` worked on, by `worker` if nobody else is at work. `None` when the work was ended before it came to it.
    /// Needs a running tokio runtime.
    pub async fn hand_over(self: Arc<Self>, item: B::Item, worker: B) -> Option<B::Told> {
        let (tell, told) = oneshot::channel();
        let at_work = {
            let mut state = self.state();
            state.waiting.push_back((item, tell));
            mem::replace(&mut state.at_work, true)
        };
        if !at_work {
            tokio::spawn(AtWork { together: self, worker, done: false }.go_on());
        }
        told.await.ok()
    }

    /// What is worked on next; `None` when nothing waits, and then whoever comes next has to begin.
    fn take(&self) -> Option<Gathered<B>> {
        let mut state = self.state();
        let (mut items, mut tell, mut bytes) = (Vec::new(), Vec::new(), 0_usize);
        while let Some((next, _)) = state.waiting.front() {
            bytes = bytes.saturating_add(B::bytes(next));
            if items.len() == B::MOST || (!items.is_empty() && bytes > B::MOST_BYTES) {
                break;
            }
            if let Some((item, sender)) = state.waiting.pop_front() {
                items.push(item);
                tell.push(sender);
            }
        }
        state.at_work = !items.is_empty();
        state.at_work.then_some((items, tell))
    }

    fn state(&self) -> MutexGuard<'_, State<B>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Works until nothing waits.
struct AtWork<B: Batch> {
    together: Arc<Together<B>>,
    worker: B,
    done: bool,
}

impl<B: Batch> AtWork<B> {
    async fn go_on(mut self) {
        while let Some((items, tell)) = self.together.take() {
            for (tell, told) in tell.into_iter().zip(self.worker.work(items).await) {
                // Whoever is not there any more need not be told.
                let _ = tell.send(told);
            }
        }
        self.done = true;
    }
}

impl<B: Batch> Drop for AtWork<B> {
    /// Ended in the middle: nobody waits for ever, and the next may begin.
    fn drop(&mut self) {
        if !self.done {
            let mut state = self.together.state();
            state.waiting.clear();
            state.at_work = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Mutex as Shared, time::Duration};

    use super::*;

    /// Doubles numbers, slowly, and keeps how many came together. At 13 it panics.
    struct Double(Arc<Shared<Vec<usize>>>);

    impl Batch for Double {
        type Item = u32;
        type Told = u32;
        const MOST: usize = 4;
        const MOST_BYTES: usize = 100;

        fn bytes(item: &u32) -> usize {
            usize::try_from(*item).unwrap()
        }

        async fn work(&self, batch: Vec<u32>) -> Vec<u32> {
            tokio::time::sleep(Duration::from_millis(5)).await;
            assert!(!batch.contains(&13), "an unlucky number");
            self.0.lock().unwrap().push(batch.len());
            batch.into_iter().map(|number| number * 2).collect()
        }
    }

    #[tokio::test]
    async fn what_comes_meanwhile_is_done_together_within_bounds_and_each_is_told_its_own() {
        let (together, sizes) = (Arc::new(Together::<Double>::default()), Arc::new(Shared::default()));
        let all = [1, 2, 3, 4, 5, 6, 90, 20, 300, 7].map(|number| {
            let (together, worker) = (together.clone(), Double(sizes.clone()));
            async move { together.hand_over(number, worker).await }
        });
        let told = futures::future::join_all(all).await;
        assert_eq!(told, [2, 4, 6, 8, 10, 12, 180, 40, 600, 14].map(Some));
        assert_eq!(*sizes.lock().unwrap(), [4, 2, 1, 1, 1, 1], "bounded by number, then by bytes");
        assert_eq!(together.clone().hand_over(8, Double(sizes.clone())).await, Some(16));
    }

    #[tokio::test]
    async fn work_that_ends_in_the_middle_leaves_nobody_waiting_and_the_way_free() {
        let (together, sizes) = (Arc::new(Together::<Double>::default()), Arc::new(Shared::default()));
        let hand_over = |number| together.clone().hand_over(number, Double(sizes.clone()));
        assert_eq!(tokio::join!(hand_over(13), hand_over(1)), (None, None));
        assert_eq!(hand_over(2).await, Some(4));
    }
}
