//! A request whose answer is one piece of JSON.

use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use super::{Endpoint, LARGEST_ANSWER, RELAXED, parsed, refusal::About, server};
use crate::{
    egress::{self, Failure, Url},
    models::chat::ModelError,
};

impl Endpoint {
    /// Posts `body` to `url` and reads the answer. `relax` is as for [`Endpoint::answer`].
    pub(in crate::models) async fn whole(
        &self,
        purpose: &'static str,
        url: &Url,
        body: &mut Value,
        about: &About,
        relax: fn(&mut Value, &str) -> bool,
    ) -> Result<Value, ModelError> {
        for _ in 0..=RELAXED {
            let mut outbound = self.egress.client_for(purpose, url).map_err(|error| server(error.to_string()))?;
            let mut request = outbound.post(url.clone()).timeout(self.load_timeout);
            for (name, value) in &self.headers {
                request = request.header(name.clone(), value.clone());
            }
            let deadline = Instant::now() + self.load_timeout;
            let asked = async {
                let response = request.json(&*body).send().await?;
                let (status, headers) = (response.status(), response.headers().clone());
                outbound.answered(Some(status.as_u16()));
                let said = egress::read_bounded(response, LARGEST_ANSWER).await?;
                outbound.received(said.len());
                Ok((status, headers, said))
            };
            let asked = timeout_at(deadline, asked).await.unwrap_or(Err(Failure::TimedOut));
            let (status, headers, said) =
                asked.map_err(|failure| self.unanswered(&mut outbound, failure, self.load_timeout))?;
            if status.is_success() {
                return parsed(&said);
            }
            let words = String::from_utf8_lossy(&said).to_lowercase();
            if !matches!(status.as_u16(), 400 | 422) || !relax(body, &words) {
                return Err(about.refusal(status.as_u16(), &headers, &said));
            }
            tracing::info!(model = self.name, "the provider does not know a field of the request; it is sent without");
        }
        Err(server("it refuses the request, whatever is left out of it"))
    }
}
