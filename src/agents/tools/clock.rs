//! `time.now`: the date and the time somewhere, and how far it is to another day.

use async_trait::async_trait;
use chrono::{DateTime, Datelike as _, Days, FixedOffset, NaiveDate, NaiveDateTime, Utc, Weekday};
use serde::Deserialize;
use serde_json::{Value, json};

use super::understand;
use crate::{
    agents::{
        store,
        tool::{Tool, ToolContext, ToolOutput},
    },
    models::chat::ToolSpec,
    support::{Error, Result, clock::SharedClock},
};

/// The most days that are counted: 200 years.
const MOST_DAYS: i64 = 73_050;

/// `time.now`
#[derive(Clone)]
pub struct ClockTool(SharedClock);

impl ClockTool {
    /// Tells the time by this clock.
    pub fn new(clock: SharedClock) -> Self {
        Self(clock)
    }
}

#[derive(Deserialize)]
struct Arguments {
    zone: Option<String>,
    date: Option<String>,
    add_days: Option<i64>,
    add_working_days: Option<i64>,
    until: Option<String>,
}

#[async_trait]
impl Tool for ClockTool {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "time.now".to_owned(),
            description: "Tells today's date, weekday, week and time in a time zone. From today, or from a date that you \
                          give, it also counts on (30 days, 10 working days) and counts the days and working days until \
                          another date. Working days are Monday to Friday; public holidays are not known."
                .to_owned(),
            parameters: json!({
                "type": "object",
                "properties": {
                    "zone": { "type": "string", "maxLength": 64, "description": "`Europe/Berlin`, `+02:00`; UTC unless told" },
                    "date": { "type": "string", "description": "Count from this day (YYYY-MM-DD) and not from today" },
                    "add_days": { "type": "integer", "minimum": -MOST_DAYS, "maximum": MOST_DAYS },
                    "add_working_days": { "type": "integer", "minimum": -MOST_DAYS, "maximum": MOST_DAYS },
                    "until": { "type": "string", "description": "Count the days until this one (YYYY-MM-DD)" }
                },
                "additionalProperties": false
            }),
        }
    }

    async fn call(&self, context: &ToolContext, arguments: Value) -> Result<ToolOutput> {
        let Arguments { zone, date, add_days, add_working_days, until } = understand(arguments)?;
        let now = self.0.now();
        let zone = zone.as_deref().map_or("UTC", str::trim);
        let local = local(context, now, zone).await?;
        let minutes = (local - now.naive_utc()).num_minutes();
        let from = date.as_deref().map_or(Ok(local.date()), day)?;
        let mut told = json!({
            "now": local.format("%Y-%m-%d %H:%M").to_string(),
            "zone": zone,
            "utc_offset": format!("{}{:02}:{:02}", if minutes < 0 { '-' } else { '+' }, minutes.abs() / 60, minutes.abs() % 60),
            "day": described(from),
        });
        let mut summary = format!("{} {}", local.format("%A, %-d %B %Y, %H:%M"), zone);
        if let Some(days) = add_days {
            told["after_days"] = described(later(from, days)?);
        }
        if let Some(days) = add_working_days {
            told["after_working_days"] = described(working_days_later(from, days)?);
        }
        if let Some(until) = until {
            let until = day(&until)?;
            let (days, working) = between(from, until)?;
            told["until"] = json!({ "day": described(until), "days": days, "working_days": working });
            summary = format!("{days} days, {working} working days until {until}");
        }
        Ok(ToolOutput { summary, content: told, sources: Vec::new() })
    }
}

/// The time that clocks show there. Zones by name are looked up in the database, which has their rules.
async fn local(context: &ToolContext, now: DateTime<Utc>, zone: &str) -> Result<NaiveDateTime> {
    if let Some(offset) = offset(zone) {
        return Ok(now.with_timezone(&offset).naive_local());
    }
    let unknown = || Error::invalid("there is no such time zone; write one such as `Europe/Berlin`, `UTC` or `+02:00`");
    let plain = |c: char| c.is_ascii_alphabetic() || matches!(c, '/' | '_' | '-');
    let fixed = zone
        .strip_prefix("Etc/")
        .is_some_and(|rest| rest.chars().all(|c| c.is_ascii_alphanumeric() || "+-".contains(c)));
    // With digits it could be a rule of its own, of which the database believes everything.
    if zone.is_empty() || zone.len() > 64 || !(fixed || zone.chars().all(plain)) {
        return Err(unknown());
    }
    store::local_time(&context.db, now, zone).await?.ok_or_else(unknown)
}

/// `UTC`, `Z`, `+02:00`, `UTC-3`.
fn offset(zone: &str) -> Option<FixedOffset> {
    let rest = ["UTC", "GMT", "Z"].iter().find_map(|name| zone.strip_prefix(name)).unwrap_or(zone);
    if rest.is_empty() && !zone.is_empty() {
        return FixedOffset::east_opt(0);
    }
    let (sign, digits) = match (rest.strip_prefix('+'), rest.strip_prefix(['-', '−'])) {
        (Some(digits), _) => (1, digits),
        (_, Some(digits)) => (-1, digits),
        _ => return None,
    };
    let (hours, minutes) = digits.split_once(':').unwrap_or((digits, "0"));
    let number = |text: &str, most: i32| {
        let short = (1..=2).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        short.then(|| text.parse::<i32>().ok()).flatten().filter(|number| *number <= most)
    };
    FixedOffset::east_opt(sign * (number(hours, 15)? * 3600 + number(minutes, 59)? * 60))
}

fn described(day: NaiveDate) -> Value {
    let week = day.iso_week();
    json!({
        "date": day.to_string(),
        "weekday": day.format("%A").to_string(),
        "iso_week": format!("{}-W{:02}", week.year(), week.week()),
    })
}

fn day(text: &str) -> Result<NaiveDate> {
    let day = NaiveDate::parse_from_str(text.trim(), "%Y-%m-%d").ok();
    day.filter(|day| (1..=9999).contains(&day.year()))
        .ok_or_else(|| Error::invalid("a date is written as YYYY-MM-DD, such as 2026-05-01"))
}

fn later(from: NaiveDate, days: i64) -> Result<NaiveDate> {
    let count = Days::new(days.unsigned_abs());
    let day = if days < 0 { from.checked_sub_days(count) } else { from.checked_add_days(count) };
    day.filter(|day| days.abs() <= MOST_DAYS && (1..=9999).contains(&day.year())).ok_or_else(too_far)
}

fn works(day: NaiveDate) -> bool {
    !matches!(day.weekday(), Weekday::Sat | Weekday::Sun)
}

/// The working day so many working days later (or earlier).
fn working_days_later(from: NaiveDate, days: i64) -> Result<NaiveDate> {
    if days.abs() > MOST_DAYS {
        return Err(too_far());
    }
    let (mut at, mut left) = (from, days.abs());
    while left > 0 {
        at = later(at, days.signum())?;
        left -= i64::from(works(at));
    }
    Ok(at)
}

/// Days, and working days, after `from` up to and with `until`; negative when it lies before.
fn between(from: NaiveDate, until: NaiveDate) -> Result<(i64, i64)> {
    let days = (until - from).num_days();
    if days.abs() > MOST_DAYS {
        return Err(too_far());
    }
    let (first, last) = if days < 0 { (until, from) } else { (from, until) };
    let counted = first.iter_days().skip(1).take_while(|day| *day <= last).filter(|day| works(*day)).count();
    let working = i64::try_from(counted).map_err(Error::internal)?;
    Ok((days, working * days.signum()))
}

fn too_far() -> Error {
    Error::invalid("that is too far away: days are counted over 200 years, between the years 1 and 9999")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(text: &str) -> NaiveDate {
        day(text).unwrap()
    }

    #[test]
    fn days_are_counted_over_weekends_leap_days_and_backwards() {
        let friday = date("2026-05-01");
        assert_eq!(described(friday)["weekday"], "Friday");
        assert_eq!(described(date("2027-01-01"))["iso_week"], "2026-W53");
        assert_eq!(later(date("2028-02-28"), 2).unwrap(), date("2028-03-01"));
        assert_eq!(working_days_later(friday, 1).unwrap(), date("2026-05-04"));
        assert_eq!(working_days_later(date("2026-05-04"), -1).unwrap(), friday);
        assert_eq!(working_days_later(friday, 10).unwrap(), date("2026-05-15"));
        assert_eq!(between(friday, date("2026-05-31")).unwrap(), (30, 20));
        assert_eq!(between(date("2026-05-31"), friday).unwrap(), (-30, -20));
    }

    #[test]
    fn what_is_too_far_away_is_refused() {
        let friday = date("2026-05-01");
        for days in [i64::MIN + 1, -800_000, 800_000, i64::MAX] {
            assert!(later(friday, days).is_err() && working_days_later(friday, days).is_err(), "{days}");
        }
        assert!(between(friday, date("9999-12-31")).is_err());
        for wrong in ["", "1.5.2026", "2026-02-30", "99999-01-01", "-0001-01-01", "2026-05-01; DROP"] {
            assert!(day(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_offset_is_read_in_the_ways_that_people_write_it() {
        let seconds = |zone: &str| offset(zone).map(|offset| offset.local_minus_utc());
        for (zone, minutes) in
            [("UTC", 0), ("Z", 0), ("+02:00", 120), ("-3", -180), ("UTC+5:30", 330), ("GMT-11", -660)]
        {
            assert_eq!(seconds(zone), Some(minutes * 60), "{zone}");
        }
        for zone in ["", "Europe/Berlin", "+99", "+1:99", "+-1", "++1", "+१", "UTC+", "5"] {
            assert_eq!(seconds(zone), None, "{zone}");
        }
    }
}
