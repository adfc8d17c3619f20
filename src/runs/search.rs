//! What somebody looks for in the log, as it comes from a form, an address or the command line: text, where empty means
//! that it does not matter.

use chrono::{DateTime, Days, NaiveDate, Utc};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::{
    audit::{Actor, Filter},
    support::{Error, Result, ids::UserId},
};

/// Entries on a page unless told otherwise.
const USUAL: i64 = 50;
/// The most entries on a page.
const MOST: i64 = 500;

/// Which entries are wanted.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub struct Search {
    /// `operator`, `system`, `agent:atlas`, `user:` and an id, or a person's name.
    pub actor: String,
    /// An action, `document.added`, or the noun alone for all of its actions.
    pub action: String,
    /// A run's id.
    pub run: String,
    /// From this day or moment on: `2026-05-01`, `2026-05-01T12:00:00Z`.
    pub from: String,
    /// Up to the end of this day, or before this moment.
    pub to: String,
    /// Words in the subject or the detail.
    pub text: String,
    /// Only entries below this place: the next page.
    pub below: Option<String>,
    /// How many entries at most, up to 500.
    pub limit: Option<String>,
}

impl Search {
    /// What is looked for, with `people` to know names by.
    ///
    /// # Errors
    /// `Invalid` when a field cannot be understood.
    pub fn filter(&self, people: &[(UserId, String)]) -> Result<Filter> {
        let given = |text: &str| Some(text.trim()).filter(|text| !text.is_empty()).map(str::to_owned);
        let run = given(&self.run).map(|run| {
            run.parse().map_err(|_| Error::invalid("That is no run").remedy("Copy its id, or open it from an answer"))
        });
        let filter = Filter {
            run: run.transpose()?,
            action: given(&self.action),
            actors: Vec::new(),
            since: given(&self.from).map(|text| moment(&text, false)).transpose()?,
            until: given(&self.to).map(|text| moment(&text, true)).transpose()?,
            text: given(&self.text),
        };
        match given(&self.actor) {
            Some(actor) => filter.by(&actors(&actor, people)?),
            None => Ok(filter),
        }
    }

    /// Where to go on.
    ///
    /// # Errors
    /// `Invalid` when it is no number.
    pub fn below(&self) -> Result<Option<i64>> {
        number(self.below.as_deref(), "below")
    }

    /// How many entries.
    ///
    /// # Errors
    /// `Invalid` when it is no number.
    pub fn limit(&self) -> Result<i64> {
        Ok(number(self.limit.as_deref(), "limit")?.unwrap_or(USUAL).clamp(1, MOST))
    }
}

fn number(text: Option<&str>, field: &str) -> Result<Option<i64>> {
    let given = text.map(str::trim).filter(|text| !text.is_empty());
    given.map(|text| text.parse().map_err(|_| Error::invalid(format!("`{field}` must be a number")))).transpose()
}

/// A day or a moment. The end of a day is the beginning of the next.
///
/// # Errors
/// `Invalid` when it is neither.
pub fn moment(text: &str, end: bool) -> Result<DateTime<Utc>> {
    if let Ok(moment) = DateTime::parse_from_rfc3339(text) {
        return Ok(moment.to_utc());
    }
    let wrong = || {
        Error::invalid(format!("\"{}\" is neither a day nor a moment", text.escape_debug()))
            .remedy("write 2026-05-01 or 2026-05-01T12:00:00Z")
    };
    let day: NaiveDate = text.parse().map_err(|_| wrong())?;
    let day = if end { day.checked_add_days(Days::new(1)).ok_or_else(wrong)? } else { day };
    Ok(day.and_hms_opt(0, 0, 0).ok_or_else(wrong)?.and_utc())
}

fn actors(text: &str, people: &[(UserId, String)]) -> Result<Vec<Actor>> {
    match text.split_once(':') {
        None if text == "operator" => return Ok(vec![Actor::Operator]),
        None if text == "system" => return Ok(vec![Actor::System]),
        Some(("agent", name)) => return Ok(vec![Actor::Agent { name: name.to_owned() }]),
        Some(("user", id)) => return Ok(vec![Actor::User { id: id.parse()? }]),
        _ => {}
    }
    let named: Vec<Actor> = people
        .iter()
        .filter(|(_, name)| name.to_lowercase() == text.to_lowercase())
        .map(|(id, _)| Actor::User { id: *id })
        .collect();
    if named.is_empty() {
        return Err(Error::invalid(format!("Nobody here is called \"{}\"", text.escape_debug()))
            .remedy("Use a member's name, `operator`, `system`, `agent:atlas`, or `user:` and an id"));
    }
    Ok(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_lasts_until_its_end_and_a_moment_is_exact() {
        assert_eq!(moment("2026-05-01", false).unwrap().to_rfc3339(), "2026-05-01T00:00:00+00:00");
        assert_eq!(moment("2026-05-01", true).unwrap().to_rfc3339(), "2026-05-02T00:00:00+00:00");
        assert_eq!(moment("2026-05-01T12:00:00+02:00", true).unwrap().to_rfc3339(), "2026-05-01T10:00:00+00:00");
        assert!(moment("yesterday", false).is_err());
        assert!(moment("262142-12-31", true).is_err(), "the calendar's last day has no morrow");
    }

    #[test]
    fn an_actor_is_a_kind_an_id_or_a_name() {
        let jo = UserId::generate();
        let people = [(jo, "Jo Park".to_owned())];
        for (text, actor) in [
            ("operator", Actor::Operator),
            ("system", Actor::System),
            ("agent:atlas", Actor::Agent { name: "atlas".to_owned() }),
            ("jo park", Actor::User { id: jo }),
            (&format!("user:{jo}"), Actor::User { id: jo }),
        ] {
            assert_eq!(actors(text, &people).unwrap(), [actor], "{text}");
        }
        assert!(actors("somebody else", &people).is_err());
    }
}
