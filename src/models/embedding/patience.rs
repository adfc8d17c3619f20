//! How long a provider that has too much to do is waited for: as long as it says, within what the text can wait.

use std::time::Duration;

use super::Input;
use crate::models::chat::ModelError;

/// The pause before the second attempt where the provider does not say; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// How often it is asked again, and the longest pause before that.
fn bounds(input: Input) -> (u32, Duration) {
    match input {
        // Whoever embeds passages tries again later; until then nothing is lost.
        Input::Passage => (5, Duration::from_mins(1)),
        // A search by words alone is better than a long wait.
        Input::Question => (1, Duration::from_secs(2)),
    }
}

/// Asks until there is an answer, or the provider wants a longer pause than there is time for.
pub(in crate::models) async fn patiently<T, F>(input: Input, ask: impl Fn() -> F) -> Result<T, ModelError>
where
    F: Future<Output = Result<T, ModelError>>,
{
    let (times, longest) = bounds(input);
    let mut pause = FIRST_PAUSE;
    for _ in 0..times {
        let error = match ask().await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        let told = match error {
            ModelError::RateLimited { retry_after } | ModelError::Overloaded { retry_after } => retry_after,
            ModelError::Network { .. } => None,
            _ => return Err(error),
        };
        let wait = told.unwrap_or(pause);
        if wait > longest {
            return Err(error);
        }
        tracing::debug!(%error, wait_ms = wait.as_millis(), "the embedding model is asked again");
        tokio::time::sleep(wait).await;
        pause *= 2;
    }
    ask().await
}
