//! Moments, sizes and durations as a person reads them.

use chrono::{DateTime, Utc};

/// How long ago `then` was: `just now`, `4 minutes ago`, `yesterday`, `5 March 2026`.
pub fn ago(now: DateTime<Utc>, then: DateTime<Utc>) -> String {
    let seconds = (now - then).num_seconds();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match () {
        () if minutes < 1 => "just now".to_owned(),
        () if hours < 1 => format!("{} ago", count(minutes, "minute")),
        () if days < 1 => format!("{} ago", count(hours, "hour")),
        () if days < 2 => "yesterday".to_owned(),
        () if days < 7 => format!("{days} days ago"),
        () => then.format("%-d %B %Y").to_string(),
    }
}

/// For the attribute `datetime`: `2026-03-05T14:02:11Z`.
pub fn machine(moment: DateTime<Utc>) -> String {
    moment.format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// `1 passage`, `42 passages`, `1,204 passages`, `2 people`.
pub fn count(number: i64, noun: &str) -> String {
    let grouped = grouped(number);
    match (number, noun) {
        (1, _) => format!("{grouped} {noun}"),
        (_, "person") => format!("{grouped} people"),
        _ => format!("{grouped} {noun}s"),
    }
}

/// One piece of a path or a query, percent-encoded: `a%20b`.
pub fn percent_encoded(piece: &str) -> String {
    use std::fmt::Write as _;
    piece.bytes().fold(String::with_capacity(piece.len()), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            text.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(text, "%{byte:02X}");
        }
        text
    })
}

/// `1,204`
pub fn grouped(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut grouped = if number < 0 { "-".to_owned() } else { String::new() };
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// `812 bytes`, `18 kB`, `3.4 MB`, in powers of 1,000.
pub fn size(bytes: i64) -> String {
    match bytes {
        ..1_000 => count(bytes, "byte"),
        1_000..1_000_000 => format!("{} kB", (bytes + 500) / 1_000),
        _ => {
            let tenths = (bytes + 50_000) / 100_000;
            format!("{}.{} MB", tenths / 10, tenths % 10)
        }
    }
}

/// `12.50 USD`, `1,204.00 USD`, `0.0042 USD`: millionths of a currency, below a hundredth with more places.
pub fn money(micros: i64, currency: &str) -> String {
    let sign = if micros < 0 { "-" } else { "" };
    let micros = micros.unsigned_abs();
    let (unit, places) = if micros == 0 || micros >= 10_000 { (10_000, 2) } else { (100, 4) };
    let rounded = micros.div_ceil(unit);
    let of_one = 1_000_000 / unit;
    let whole = grouped(i64::try_from(rounded / of_one).unwrap_or(i64::MAX));
    format!("{sign}{whole}.{:0places$} {currency}", rounded % of_one)
}

/// `240 ms`, `3.2 s`, `2 min 5 s`.
pub fn duration(milliseconds: u64) -> String {
    match milliseconds {
        ..1_000 => format!("{milliseconds} ms"),
        1_000..60_000 => {
            let tenths = milliseconds / 100;
            format!("{}.{} s", tenths / 10, tenths % 10)
        }
        _ => format!("{} min {} s", milliseconds / 60_000, milliseconds % 60_000 / 1_000),
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn moments_are_told_from_now() {
        let now = DateTime::from_timestamp(1_772_719_331, 0).unwrap();
        let told = |seconds| ago(now, now - TimeDelta::seconds(seconds));
        assert_eq!([told(-5), told(59)], ["just now", "just now"]);
        assert_eq!([told(60), told(3599)], ["1 minute ago", "59 minutes ago"]);
        assert_eq!([told(3600), told(86_399)], ["1 hour ago", "23 hours ago"]);
        assert_eq!(
            [told(86_400), told(3 * 86_400), told(10 * 86_400)],
            ["yesterday", "3 days ago", "23 February 2026"]
        );
    }

    #[test]
    fn numbers_are_told_with_units() {
        assert_eq!(
            [count(0, "page"), count(1, "page"), count(1_234_567, "page")],
            ["0 pages", "1 page", "1,234,567 pages"]
        );
        assert_eq!([size(999), size(17_600), size(3_449_999)], ["999 bytes", "18 kB", "3.4 MB"]);
        assert_eq!(
            [money(0, "USD"), money(1_204_500_000, "USD"), money(4_150, "EUR"), money(12_345, "USD"), money(-5, "USD")],
            ["0.00 USD", "1,204.50 USD", "0.0042 EUR", "0.02 USD", "-0.0001 USD"]
        );
        assert_eq!([duration(240), duration(3_250), duration(125_000)], ["240 ms", "3.2 s", "2 min 5 s"]);
    }
}
