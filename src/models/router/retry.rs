//! How often the same target is asked again within one question, and after how long.
//!
//! The pause is drawn from zero to a bound that doubles each time ("full jitter"), so that those who failed together do
//! not come back together. What the provider itself asks for is waited for, unless it is too long to keep a person
//! waiting: then the next target is asked at once.

use std::{sync::Arc, time::Duration};

use crate::{models::chat::ModelError, support::random};

/// Draws a number from 0 to 1, 1 excluded.
pub type Dice = Arc<dyn Fn() -> f64 + Send + Sync>;

/// When the same target is asked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// How often at most.
    pub times: u32,
    /// The bound of the first pause; it doubles with each further one.
    pub first: Duration,
    /// The longest pause, and the longest `Retry-After` that is waited for.
    pub longest: Duration,
}

impl Retry {
    /// Asked once.
    pub const NEVER: Self = Self { times: 0, first: Duration::ZERO, longest: Duration::ZERO };

    /// So many times, with pauses of up to half a second, a second and so on, and none beyond `longest`.
    pub fn new(times: u32, longest: Duration) -> Self {
        Self { times, first: Duration::from_millis(500), longest }
    }

    /// How long to wait before the target is asked again, after so many retries; none when it is not to be.
    pub(super) fn pause(&self, error: &ModelError, retries: u32, dice: &Dice) -> Option<Duration> {
        let asked_for = match error {
            ModelError::RateLimited { retry_after } | ModelError::Overloaded { retry_after } => *retry_after,
            ModelError::Server { .. } | ModelError::Network { .. } => None,
            _ => return None,
        };
        if retries >= self.times || asked_for.is_some_and(|asked_for| asked_for > self.longest) {
            return None;
        }
        let bound = self.first.saturating_mul(1 << retries.min(16)).min(self.longest);
        Some(asked_for.unwrap_or_default() + bound.mul_f64(dice().clamp(0.0, 1.0)))
    }
}

/// The machine's dice.
pub(super) fn dice() -> Dice {
    Arc::new(|| f64::from(u32::from_le_bytes(random::bytes())) / (f64::from(u32::MAX) + 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITED: fn(Option<u64>) -> ModelError =
        |seconds| ModelError::RateLimited { retry_after: seconds.map(Duration::from_secs) };

    #[test]
    fn pauses_double_and_are_drawn_and_what_the_provider_asks_for_comes_first() {
        let retry = Retry::new(3, Duration::from_secs(10));
        let most: Dice = Arc::new(|| 1.0);
        let pause = |error: &ModelError, retries| retry.pause(error, retries, &most);
        assert_eq!(pause(&LIMITED(None), 0), Some(Duration::from_millis(500)));
        assert_eq!(pause(&LIMITED(None), 2), Some(Duration::from_secs(2)));
        assert_eq!(pause(&LIMITED(None), 3), None);
        assert_eq!(pause(&LIMITED(Some(4)), 0), Some(Duration::from_millis(4500)));
        assert_eq!(pause(&LIMITED(Some(11)), 0), None, "nobody waits that long");
        let none: Dice = Arc::new(|| 0.0);
        assert_eq!(retry.pause(&LIMITED(None), 0, &none), Some(Duration::ZERO));
    }

    #[test]
    fn what_another_call_cannot_make_good_is_not_tried_again() {
        let retry = Retry::new(3, Duration::from_secs(10));
        for error in [
            ModelError::Unauthorized,
            ModelError::NotRunning { address: String::new() },
            ModelError::TimedOut { after: Duration::from_mins(5) },
            ModelError::ContextOverflow { tokens: 2, limit: 1 },
            ModelError::Refused { reason: String::new() },
        ] {
            assert_eq!(retry.pause(&error, 0, &dice()), None, "{error}");
        }
    }

    #[test]
    fn the_machines_dice_fall_between_nought_and_one() {
        let dice = dice();
        let drawn: Vec<f64> = (0..100).map(|_| dice()).collect();
        assert!(drawn.iter().all(|number| (0.0..1.0).contains(number)) && drawn.iter().any(|number| *number > 0.5));
    }
}
