//! Dates and times of sheets: a count of days becomes what the cell's format shows. Formats that follow the
//! reader's country are shown by ISO 8601, which nobody misreads.

use std::{fmt::Write as _, iter::Peekable, str::Chars};

use calamine::{ExcelDateTime, ExcelDateTimeType};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
/// The day after 9999-12-31.
const END: f64 = 2_958_466.0;

/// A moment of the sheet's calendar.
#[derive(Debug, Clone, Copy)]
pub(super) struct Date {
    serial: f64,
    is_1904: bool,
}

/// The compiled code of a date's format.
#[derive(Debug, Clone)]
pub(super) struct DateFormat(Vec<Part>);

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Year(usize),
    Month(usize),
    Day(usize),
    Hour(usize),
    Minute(usize),
    Second(usize),
    Fraction(usize),
    HalfDay,
    AllHours,
    AllMinutes,
    AllSeconds,
    Literal(String),
}

impl Date {
    /// The moment, unless it is outside of the years that sheets know.
    pub(super) fn of(serial: f64, is_1904: bool) -> Option<Self> {
        (0.0..END).contains(&serial).then_some(Self { serial, is_1904 })
    }

    /// `2024-03-15`, with the time when it has one; `08:30:00` when it is only a time.
    pub(super) fn iso(&self) -> String {
        let (date, time) = ("yyyy-mm-dd", "hh:mm:ss");
        let code = match (self.serial < 1.0, self.serial.fract() > 0.0) {
            (true, true) => time.to_owned(),
            (_, true) => format!("{date} {time}"),
            (_, false) => date.to_owned(),
        };
        DateFormat::of(&code).map(|format| format.show(self)).unwrap_or_default()
    }

    fn fields(&self) -> (u16, u8, u8, u8, u8, u8, u16) {
        ExcelDateTime::new(self.serial, ExcelDateTimeType::DateTime, self.is_1904).to_ymd_hms_milli()
    }
}

impl DateFormat {
    /// The format, if the code is one of a date.
    pub(super) fn of(code: &str) -> Option<Self> {
        let code = match code {
            // Of the built-in formats, those that look different in every country.
            "m/d/yy" | "mm-dd-yy" | "m/d/yyyy" | "mm/dd/yyyy" => "yyyy-mm-dd",
            "m/d/yy h:mm" | "m/d/yyyy h:mm" => "yyyy-mm-dd hh:mm",
            code if code.starts_with("[$-F800]") => "yyyy-mm-dd",
            code if code.starts_with("[$-F400]") => "hh:mm:ss",
            code => code,
        };
        let mut parts: Vec<Part> = Vec::new();
        let mut chars = code.chars().peekable();
        while let Some(c) = chars.next() {
            let part = match c.to_ascii_lowercase() {
                'y' | 'e' => Part::Year(run(&mut chars, c)),
                'm' => Part::Month(run(&mut chars, c)),
                'd' => Part::Day(run(&mut chars, c)),
                'h' => Part::Hour(run(&mut chars, c)),
                's' => Part::Second(run(&mut chars, c)),
                'a' => match chars.clone().take(4).collect::<String>().to_ascii_lowercase().as_str() {
                    "m/pm" => {
                        chars.by_ref().take(4).for_each(drop);
                        Part::HalfDay
                    }
                    rest if rest.starts_with("/p") => {
                        chars.by_ref().take(2).for_each(drop);
                        Part::HalfDay
                    }
                    _ => return None,
                },
                '"' => Part::Literal(chars.by_ref().take_while(|c| *c != '"').collect()),
                '\\' => Part::Literal(chars.next().map(String::from).unwrap_or_default()),
                '_' | '*' => {
                    chars.next();
                    continue;
                }
                '[' => match chars.by_ref().take_while(|c| *c != ']').collect::<String>().to_ascii_lowercase().as_str()
                {
                    "h" | "hh" => Part::AllHours,
                    "m" | "mm" => Part::AllMinutes,
                    "s" | "ss" => Part::AllSeconds,
                    inside if inside.starts_with(['<', '>', '=']) => return None,
                    _ => continue,
                },
                '.' if matches!(parts.last(), Some(Part::Second(_) | Part::AllSeconds))
                    && chars.peek() == Some(&'0') =>
                {
                    Part::Fraction(run(&mut chars, '0').saturating_sub(1))
                }
                // Figures and words make it a number's format.
                '0' | '#' | '?' | '@' | 'g' | '%' => return None,
                c => Part::Literal(c.to_string()),
            };
            parts.push(part);
        }
        minutes(&mut parts);
        parts.iter().any(|part| !matches!(part, Part::Literal(_))).then_some(Self(parts))
    }

    /// The moment as a person sees it.
    pub(super) fn show(&self, date: &Date) -> String {
        let (year, month, day, hour, minute, second, millis) = date.fields();
        let half = self.0.contains(&Part::HalfDay);
        let all = |per_day: f64| (date.serial * per_day + 1e-6).floor();
        let mut text = String::new();
        for part in &self.0 {
            let written = match part {
                Part::Year(1 | 2) => write!(text, "{:02}", year % 100),
                Part::Year(_) => write!(text, "{year:04}"),
                Part::Month(length @ 1..=2) => write!(text, "{month:0length$}"),
                Part::Month(length) => {
                    let name = MONTHS[usize::from(month.clamp(1, 12) - 1)];
                    write!(text, "{}", if *length == 3 { &name[..3] } else { name })
                }
                Part::Day(length @ 1..=2) => write!(text, "{day:0length$}"),
                Part::Day(length) => {
                    // Both calendars count from a known day of the week: 1900-01-01 "was" a Sunday, 1904-01-01 a Friday.
                    let shift = if date.is_1904 { 5.0 } else { 6.0 };
                    let name = DAYS
                        .iter()
                        .zip(0_u8..)
                        .find(|(_, at)| ((date.serial.floor() + shift) % 7.0 - f64::from(*at)).abs() < 0.5);
                    let name = name.map_or("", |(name, _)| name);
                    write!(text, "{}", if *length == 3 { &name[..3.min(name.len())] } else { name })
                }
                Part::Hour(length) => {
                    let (hour, length) = (if half { (hour + 11) % 12 + 1 } else { hour }, (*length).min(2));
                    write!(text, "{hour:0length$}")
                }
                Part::Minute(length) => write!(text, "{minute:0length$}", length = (*length).min(2)),
                Part::Second(length) => write!(text, "{second:0length$}", length = (*length).min(2)),
                Part::Fraction(length) => {
                    let millis = format!("{millis:03}");
                    write!(text, ".{}", &millis[..(*length).min(3)])
                }
                Part::HalfDay => write!(text, "{}", if hour < 12 { "AM" } else { "PM" }),
                Part::AllHours => write!(text, "{}", all(24.0)),
                Part::AllMinutes => write!(text, "{}", all(24.0 * 60.0)),
                Part::AllSeconds => write!(text, "{}", all(24.0 * 3600.0)),
                Part::Literal(literal) => write!(text, "{literal}"),
            };
            // Writing to a string does not fail.
            let _ = written;
        }
        text.trim().to_owned()
    }
}

/// How often `letter`, of which one has been taken, stands in a row.
fn run(chars: &mut Peekable<Chars<'_>>, letter: char) -> usize {
    let mut length = 1;
    while chars.next_if(|next| next.eq_ignore_ascii_case(&letter)).is_some() {
        length += 1;
    }
    length
}

/// `m` after hours or before seconds is minutes.
fn minutes(parts: &mut [Part]) {
    let timed = |part: Option<&Part>, before: bool| match part {
        Some(Part::Hour(_) | Part::AllHours) => before,
        Some(Part::Second(_)) => !before,
        _ => false,
    };
    for at in 0..parts.len() {
        let Part::Month(length @ 1..=2) = parts[at] else { continue };
        let is_time = |part: &&Part| !matches!(part, Part::Literal(_));
        let (before, after) = (parts[..at].iter().rfind(is_time), parts[at + 1..].iter().find(is_time));
        if timed(before, true) || timed(after, false) {
            parts[at] = Part::Minute(length);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_look_as_their_format_says_and_foreign_ones_as_iso_says() {
        let moment = 45_366.604_583_333; // 2024-03-15 14:30:36
        for (code, serial, shown) in [
            ("mm-dd-yy", moment, "2024-03-15"),
            ("m/d/yy h:mm", moment, "2024-03-15 14:30"),
            ("dd.mm.yyyy", moment, "15.03.2024"),
            ("[$-407]d. mmmm yyyy", moment, "15. March 2024"),
            ("ddd, d-mmm-yy", moment, "Fri, 15-Mar-24"),
            ("h:mm AM/PM", moment, "2:30 PM"),
            ("hh:mm:ss", moment, "14:30:36"),
            ("[h]:mm", 1.25, "30:00"),
            ("mm:ss.0", 0.000_5, "00:43.2"),
            ("yyyy\\-mm\\-dd", 1.0, "1900-01-01"),
        ] {
            let format = DateFormat::of(code).expect(code);
            assert_eq!(format.show(&Date::of(serial, false).unwrap()), shown, "{code}");
        }
        assert_eq!(Date::of(0.5, false).unwrap().iso(), "12:00:00");
        assert_eq!(Date::of(0.0, true).unwrap().iso(), "1904-01-01");
        assert_eq!(DateFormat::of("dddd").unwrap().show(&Date::of(0.0, true).unwrap()), "Friday");
        assert!(
            Date::of(-1.0, false).is_none() && Date::of(1e300, false).is_none() && Date::of(f64::NAN, false).is_none()
        );
        assert!(DateFormat::of("0.00").is_none() && DateFormat::of("General").is_none());
    }
}
