//! When a provider may be asked again, as it said itself.

use std::time::Duration;

use chrono::DateTime;
use serde_json::Value;

use crate::egress::header::{DATE, HeaderMap, RETRY_AFTER};

/// Nobody is believed who says later than this.
const LONGEST: Duration = Duration::from_hours(24);

/// `retry-after-ms` (OpenAI, Azure), or `Retry-After` in seconds or as a date (RFC 9110, 10.2.3). A date is measured
/// by the date of the answer itself, so that a clock that is wrong does no harm.
pub(super) fn after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    if let Some(milliseconds) = text("retry-after-ms").and_then(|value| value.parse::<f64>().ok()) {
        return seconds(milliseconds / 1000.0);
    }
    let value = text(RETRY_AFTER.as_str())?;
    if let Ok(number) = value.parse::<f64>() {
        return seconds(number);
    }
    let then = DateTime::parse_from_rfc2822(value).ok()?;
    let now = DateTime::parse_from_rfc2822(text(DATE.as_str())?).ok()?;
    Some((then - now).to_std().unwrap_or_default().min(LONGEST))
}

/// Google's `RetryInfo` among the details of an error: `{"@type": "…RetryInfo", "retryDelay": "39s"}`.
pub(super) fn in_details(error: &Value) -> Option<Duration> {
    let details = error.get("details")?.as_array()?;
    let delay = details.iter().find_map(|detail| detail.get("retryDelay")?.as_str())?;
    seconds(delay.strip_suffix('s')?.parse().ok()?)
}

fn seconds(number: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(number).ok().map(|duration| duration.min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::egress::header::{HeaderName, HeaderValue};

    fn told(headers: &[(&'static str, &'static str)]) -> Option<f64> {
        let headers =
            headers.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        after(&headers.collect()).map(|duration| duration.as_secs_f64())
    }

    #[test]
    fn seconds_milliseconds_and_dates_are_understood() {
        assert_eq!(told(&[("retry-after", "20")]), Some(20.0));
        assert_eq!(told(&[("retry-after", " 7.66 ")]), Some(7.66));
        assert_eq!(told(&[("retry-after", "2"), ("retry-after-ms", "1500")]), Some(1.5));
        let date = ("date", "Wed, 21 Oct 2026 07:27:00 GMT");
        assert_eq!(told(&[("retry-after", "Wed, 21 Oct 2026 07:28:00 GMT"), date]), Some(60.0));
        assert_eq!(told(&[("retry-after", "Wed, 21 Oct 2026 07:26:00 GMT"), date]), Some(0.0), "it is past");
        assert_eq!(told(&[("retry-after", "99999999999")]), Some(86_400.0));
        for nonsense in ["soon", "-3", "", "NaN", "inf"] {
            assert_eq!(told(&[("retry-after", nonsense)]), None, "{nonsense}");
        }
        assert_eq!(told(&[]), None);
    }

    #[test]
    fn googles_details_are_understood() {
        let error =
            serde_json::json!({ "details": [{ "@type": "x" }, { "@type": "RetryInfo", "retryDelay": "39.5s" }] });
        assert_eq!(in_details(&error), Some(Duration::from_millis(39_500)));
    }
}
