//! For libraries that bring no HTTP client of their own: a request and its answer as values of the crate `http`.

use hyper::http;

use super::{Egress, Failure, Request};

impl Egress {
    /// As [`Egress::send`].
    ///
    /// # Errors
    /// As for [`Egress::send`].
    pub async fn exchange(
        &self,
        purpose: &'static str,
        request: http::Request<Vec<u8>>,
    ) -> Result<http::Response<Vec<u8>>, Failure> {
        let response = self.send(purpose, Request::try_from(request)?).await?;
        let mut answer = http::Response::new(response.body);
        *answer.status_mut() =
            http::StatusCode::from_u16(response.status).map_err(|error| Failure::Broken(error.to_string()))?;
        *answer.headers_mut() = response.headers;
        Ok(answer)
    }
}
