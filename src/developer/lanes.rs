//! How many answers the programs of one person may wait for at once: a loop that asks without end must not take the
//! models away from everybody else.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::support::{
    Error, Kind, Result,
    ids::{TenantId, UserId},
};

/// The most answers at once.
const MOST: usize = 8;
/// When a program may try again. Answers take seconds.
const WAIT: Duration = Duration::from_secs(2);

type Taken = HashMap<(TenantId, UserId), usize>;

/// Who waits for how many answers. A cheap handle.
#[derive(Debug, Clone, Default)]
pub struct Lanes(Arc<Mutex<Taken>>);

/// One answer that is being waited for; given up when it is dropped.
#[derive(Debug)]
pub struct Lane {
    lanes: Lanes,
    of: (TenantId, UserId),
}

impl Lanes {
    /// Takes one more for this person.
    ///
    /// # Errors
    /// `TooMany` when there are too many already.
    pub fn enter(&self, tenant: &TenantId, user: UserId) -> Result<Lane> {
        let of = (tenant.clone(), user);
        let mut taken = self.taken();
        let count = taken.entry(of.clone()).or_default();
        if *count >= MOST {
            let message = format!("{MOST} answers are being written for you already");
            return Err(Error::new(Kind::TooMany, message).remedy("wait for one of them").retry_after(WAIT));
        }
        *count += 1;
        drop(taken);
        Ok(Lane { lanes: self.clone(), of })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        let mut taken = self.lanes.taken();
        if let Some(count) = taken.get_mut(&self.of) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.of);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_person_may_wait_for_eight_answers_and_another_for_eight_more() {
        let (lanes, tenant) = (Lanes::default(), TenantId::from_random([7; 10]));
        let (ada, bob) = (UserId::generate(), UserId::generate());
        let mut held: Vec<Lane> = (0..MOST).map(|_| lanes.enter(&tenant, ada).unwrap()).collect();
        let refused = lanes.enter(&tenant, ada).unwrap_err();
        assert_eq!((refused.kind(), refused.wait()), (Kind::TooMany, Some(WAIT)));
        assert!(lanes.enter(&tenant, bob).is_ok());
        held.pop();
        assert!(lanes.enter(&tenant, ada).is_ok());
        drop(held);
        assert!(lanes.taken().is_empty(), "nobody who is gone is remembered");
    }
}
