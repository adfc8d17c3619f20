//! Number formats (ECMA-376, part 1, 18.8.31): how a person sees the number that a cell holds.

use std::fmt::Write as _;

use super::date::{Date, DateFormat};

/// The compiled code of a number format.
#[derive(Debug, Clone)]
pub(super) struct Format(Vec<Section>);

/// What stands between two semicolons.
#[derive(Debug, Clone)]
struct Section {
    condition: Option<(Comparison, f64)>,
    shape: Shape,
}

#[derive(Debug, Clone, Copy)]
enum Comparison {
    Less,
    LessOrEqual,
    Equal,
    NotEqual,
    GreaterOrEqual,
    Greater,
}

#[derive(Debug, Clone)]
enum Shape {
    General { before: String, after: String },
    Date(DateFormat),
    Number(Number),
}

/// Figures with what stands around and between them.
#[derive(Debug, Clone, Default)]
struct Number {
    before: String,
    /// Places of the whole part, the first first: figures that must be (`0`), may be (`#`), and what is between.
    whole: Vec<Place>,
    least_decimals: usize,
    most_decimals: usize,
    grouped: bool,
    /// Powers of ten to multiply with: 2 for each `%`, -3 for each comma at the end.
    shift: i32,
    exponent: bool,
    after: String,
}

#[derive(Debug, Clone, PartialEq)]
enum Place {
    Must,
    May,
    Literal(char),
}

impl Format {
    /// Compiles a code. What it does not understand is shown as a plain number.
    pub(super) fn of(code: &str) -> Self {
        let sections = sections(code);
        Self(sections.iter().take(3).map(|section| Section::of(section)).collect())
    }

    /// The number as a person sees it.
    pub(super) fn show(&self, value: f64, is_1904: bool) -> String {
        if !value.is_finite() {
            return value.to_string();
        }
        let conditional = self.0.iter().any(|section| section.condition.is_some());
        let (section, own_sign) = if conditional {
            let fits = |section: &&Section| section.condition.is_none_or(|(is, limit)| is.holds(value, limit));
            (self.0.iter().find(fits), false)
        } else {
            match self.0.as_slice() {
                [_, negative, ..] if value < 0.0 => (Some(negative), true),
                [_, _, zero] if value == 0.0 => (Some(zero), false),
                sections => (sections.first(), false),
            }
        };
        match section.map(|section| &section.shape) {
            None => general(value),
            Some(Shape::General { before, after }) => {
                format!("{before}{}{after}", general(if own_sign { value.abs() } else { value }))
            }
            Some(Shape::Date(format)) => {
                Date::of(value, is_1904).map_or_else(|| general(value), |date| format.show(&date))
            }
            Some(Shape::Number(number)) => number.show(value, own_sign),
        }
    }

    /// Whether numbers of this format are dates or times.
    pub(super) fn is_date(&self) -> bool {
        self.0.first().is_some_and(|section| matches!(section.shape, Shape::Date(_)))
    }
}

impl Comparison {
    fn holds(self, value: f64, limit: f64) -> bool {
        match self {
            Self::Less => value < limit,
            Self::LessOrEqual => value <= limit,
            Self::Equal => (value - limit).abs() < f64::EPSILON,
            Self::NotEqual => (value - limit).abs() >= f64::EPSILON,
            Self::GreaterOrEqual => value >= limit,
            Self::Greater => value > limit,
        }
    }
}

/// Splits at semicolons that are not quoted.
fn sections(code: &str) -> Vec<String> {
    let mut sections = vec![String::new()];
    let (mut quoted, mut escaped) = (false, false);
    for c in code.chars().take(1024) {
        if c == ';' && !quoted && !escaped {
            sections.push(String::new());
            continue;
        }
        quoted ^= c == '"' && !escaped;
        escaped = c == '\\' && !escaped && !quoted;
        if let Some(section) = sections.last_mut() {
            section.push(c);
        }
    }
    sections
}

impl Section {
    fn of(code: &str) -> Self {
        if let Some(format) = DateFormat::of(code) {
            return Self { condition: None, shape: Shape::Date(format) };
        }
        let mut number = Number::default();
        let (mut condition, mut general, mut in_decimals, mut figures, mut fraction) =
            (None, false, false, false, false);
        let mut commas = 0_i32;
        let mut chars = code.chars().peekable();
        while let Some(c) = chars.next() {
            let literal = match c {
                '"' => chars.by_ref().take_while(|c| *c != '"').collect(),
                '\\' => chars.next().map(String::from).unwrap_or_default(),
                // The width of a character, and a character that fills the cell.
                '_' => {
                    chars.next();
                    " ".to_owned()
                }
                '*' => {
                    chars.next();
                    String::new()
                }
                '[' => {
                    let inside: String = chars.by_ref().take_while(|c| *c != ']').collect();
                    condition = condition.or_else(|| condition_of(&inside));
                    // `[$€-407]` is a currency with its language; the others are colours.
                    inside
                        .strip_prefix('$')
                        .map(|money| money.split('-').next().unwrap_or_default().to_owned())
                        .unwrap_or_default()
                }
                '0' | '#' | '?' => {
                    figures = true;
                    if number.exponent {
                    } else if in_decimals {
                        number.most_decimals += 1;
                        number.least_decimals = if c == '0' { number.most_decimals } else { number.least_decimals };
                    } else {
                        number.grouped |= commas > 0;
                        number.whole.push(if c == '0' { Place::Must } else { Place::May });
                    }
                    commas = 0;
                    continue;
                }
                '.' if !in_decimals => {
                    in_decimals = true;
                    figures = true;
                    continue;
                }
                ',' if figures => {
                    commas += 1;
                    continue;
                }
                '%' => {
                    number.shift += 2;
                    "%".to_owned()
                }
                'E' | 'e' if figures && matches!(chars.peek(), Some('+' | '-')) => {
                    chars.next();
                    number.exponent = true;
                    continue;
                }
                'G' | 'g' if code.to_ascii_lowercase().contains("general") => {
                    chars.by_ref().take("eneral".len()).for_each(drop);
                    general = true;
                    continue;
                }
                '@' => {
                    general = true;
                    continue;
                }
                '/' if figures => {
                    fraction = true;
                    continue;
                }
                c => c.to_string(),
            };
            if !figures && !general {
                number.before.push_str(&literal);
            } else if figures && !in_decimals && !number.exponent && chars.clone().any(|c| matches!(c, '0' | '#' | '?'))
            {
                number.whole.extend(literal.chars().map(Place::Literal));
            } else {
                number.after.push_str(&literal);
            }
        }
        number.shift -= 3 * commas;
        let (before, after) = (number.before.clone(), number.after.clone());
        let shape = if general || fraction {
            Shape::General { before, after }
        } else {
            // A section without figures shows its words alone: `"none"`.
            Shape::Number(number)
        };
        Self { condition, shape }
    }
}

fn condition_of(inside: &str) -> Option<(Comparison, f64)> {
    let at = inside.find(|c: char| !matches!(c, '<' | '>' | '='))?;
    let (sign, limit) = inside.split_at(at);
    let comparison = match sign {
        "<" => Comparison::Less,
        "<=" => Comparison::LessOrEqual,
        "=" => Comparison::Equal,
        "<>" => Comparison::NotEqual,
        ">=" => Comparison::GreaterOrEqual,
        ">" => Comparison::Greater,
        _ => return None,
    };
    Some((comparison, limit.trim().parse().ok()?))
}

impl Number {
    fn show(&self, value: f64, own_sign: bool) -> String {
        let Some((mut whole, mut decimals, exponent)) = self.figures(value.abs()) else { return general(value) };
        while decimals.len() > self.least_decimals && decimals.ends_with('0') {
            decimals.pop();
        }
        if whole == "0" && !self.whole.contains(&Place::Must) {
            whole.clear();
        }
        let is_zero = !whole.bytes().chain(decimals.bytes()).any(|figure| figure != b'0');
        let mut text = String::new();
        if value < 0.0 && !own_sign && !is_zero {
            text.push('-');
        }
        text.push_str(self.before.trim_start());
        if self.whole.is_empty() && self.most_decimals == 0 {
            text.push_str(&self.after);
            return text.trim().to_owned();
        }
        text.push_str(&self.placed(&whole));
        if !decimals.is_empty() {
            text.push('.');
            text.push_str(&decimals);
        }
        if let Some(exponent) = exponent {
            // Writing to a string does not fail.
            let _ = write!(text, "E{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs());
        }
        text.push_str(&self.after);
        text.trim().to_owned()
    }

    /// The whole part, as many decimals as may be, and the exponent of the scientific notation.
    fn figures(&self, value: f64) -> Option<(String, String, Option<i32>)> {
        if self.exponent {
            let shown = format!("{value:.*e}", self.most_decimals.min(15));
            let (mantissa, exponent) = shown.split_once('e')?;
            let (whole, decimals) = mantissa.split_once('.').unwrap_or((mantissa, ""));
            return Some((whole.to_owned(), decimals.to_owned(), exponent.parse().ok()));
        }
        let (whole, decimals) = rounded(value, self.shift, self.most_decimals.min(30));
        Some((whole, decimals, None))
    }

    /// Puts the figures into their places, from the right.
    fn placed(&self, figures: &str) -> String {
        let mut left: Vec<char> = figures.chars().collect();
        let mut placed: Vec<char> = Vec::new();
        let mut count = 0;
        let mut put = |placed: &mut Vec<char>, figure: char| {
            if self.grouped && count > 0 && count % 3 == 0 {
                placed.push(',');
            }
            placed.push(figure);
            count += 1;
        };
        let first = self.whole.iter().position(|place| !matches!(place, Place::Literal(_)));
        for (index, place) in self.whole.iter().enumerate().rev() {
            match place {
                Place::Literal(c) => placed.push(*c),
                Place::Must => put(&mut placed, left.pop().unwrap_or('0')),
                Place::May => {
                    if let Some(figure) = left.pop() {
                        put(&mut placed, figure);
                    }
                }
            }
            if Some(index) == first {
                while let Some(figure) = left.pop() {
                    put(&mut placed, figure);
                }
            }
        }
        if first.is_none() {
            placed.extend(left.iter().rev().filter(|_| figures != "0"));
        }
        placed.iter().rev().collect()
    }
}

/// `value` × 10^`shift`, rounded half up as it is written with the fifteen figures that Excel keeps.
fn rounded(value: f64, shift: i32, decimals: usize) -> (String, String) {
    let shown = format!("{value:.14e}");
    let (mantissa, exponent) = shown.split_once('e').unwrap_or((&shown, "0"));
    let mut figures: Vec<u8> = mantissa.bytes().filter(u8::is_ascii_digit).map(|figure| figure - b'0').collect();
    // The number is 0.figures × 10^point.
    let mut point = exponent.parse::<i32>().unwrap_or(0) + 1 + shift;
    let keep = usize::try_from(point + i32::try_from(decimals).unwrap_or(0));
    match keep {
        Ok(keep) if keep < figures.len() => {
            let up = figures[keep] >= 5;
            figures.truncate(keep);
            if up {
                let mut at = keep;
                loop {
                    let Some(previous) = at.checked_sub(1) else {
                        figures.insert(0, 1);
                        point += 1;
                        break;
                    };
                    at = previous;
                    if figures[at] < 9 {
                        figures[at] += 1;
                        break;
                    }
                    figures[at] = 0;
                }
            }
        }
        Ok(_) => {}
        Err(_) => figures.clear(),
    }
    let figure = |place: i32| {
        let figure = usize::try_from(place).ok().and_then(|place| figures.get(place)).copied().unwrap_or(0);
        char::from(b'0' + figure)
    };
    let whole: String = (0..point.max(0)).map(figure).collect();
    let whole = whole.trim_start_matches('0');
    let places = point..point + i32::try_from(decimals).unwrap_or(0);
    (if whole.is_empty() { "0".to_owned() } else { whole.to_owned() }, places.map(figure).collect())
}

/// A number without a format: at most fifteen figures, as Excel keeps them.
pub(super) fn general(value: f64) -> String {
    let size = value.abs();
    if size >= 1e15 || (size > 0.0 && size < 1e-9) {
        let shown = format!("{value:.14e}");
        let (mantissa, exponent) = shown.split_once('e').unwrap_or((&shown, "0"));
        let mantissa =
            if mantissa.contains('.') { mantissa.trim_end_matches('0').trim_end_matches('.') } else { mantissa };
        let sign = if exponent.starts_with('-') { "" } else { "+" };
        return format!("{mantissa}E{sign}{exponent}");
    }
    let (whole, decimals) = rounded(size, 0, 24);
    let decimals = decimals.trim_end_matches('0');
    let sign = if value < 0.0 { "-" } else { "" };
    if decimals.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{decimals}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_look_as_they_do_in_excel() {
        for (code, value, shown) in [
            ("General", 1234.5, "1234.5"),
            ("General", 0.1 + 0.2, "0.3"),
            ("General", 4_006_381_333_931.0, "4006381333931"),
            ("General", 1e20, "1E+20"),
            ("General", -0.000_000_000_012, "-1.2E-11"),
            ("0", 2.5, "3"),
            ("0.00", 2.675, "2.68"),
            ("0.00", -0.001, "0.00"),
            ("0.00", 999.999, "1000.00"),
            ("#,##0", 1_234_567.0, "1,234,567"),
            ("#,##0.0#", 1234.5, "1,234.5"),
            ("0%", 0.075, "8%"),
            ("0.0%", 0.075, "7.5%"),
            ("\"$\"#,##0.00_);(\"$\"#,##0.00)", 1234.5, "$1,234.50"),
            ("\"$\"#,##0.00_);(\"$\"#,##0.00)", -1234.5, "($1,234.50)"),
            ("#,##0.00\\ [$€-407];[Red]-#,##0.00\\ [$€-407]", -5.5, "-5.50 €"),
            ("[$CHF]\\ #,##0.00", 12.0, "CHF 12.00"),
            ("[>=1000000]0.0,,\"M\";[>=1000]0,\"K\";0", 2_500_000.0, "2.5M"),
            ("[>=1000000]0.0,,\"M\";[>=1000]0,\"K\";0", 12_000.0, "12K"),
            ("[>=1000000]0.0,,\"M\";[>=1000]0,\"K\";0", 12.0, "12"),
            ("0.00E+00", 12_345.0, "1.23E+04"),
            ("00000", 123.0, "00123"),
            ("(000) 000-0000", 5_551_234_567.0, "(555) 123-4567"),
            ("0;-0;\"none\"", 0.0, "none"),
            ("# ?/?", 0.5, "0.5"),
            (".00", 0.5, ".50"),
            ("#,##0 \"pcs\"", 1200.0, "1,200 pcs"),
            ("@", 12.0, "12"),
            ("0.000", f64::INFINITY, "inf"),
        ] {
            assert_eq!(Format::of(code).show(value, false), shown, "{code} of {value}");
        }
    }

    #[test]
    fn no_code_and_no_number_is_too_odd() {
        for code in
            ["", ";;;", "\"", "[", "[$", "\\", "_", "*", "0.0.0", "E+", "[<]0", "%%%%", ",,,,0", "@@", "[h", "yyyy-"]
        {
            for value in [0.0, -1.0, 1e308, -1e308, 5e-324, 0.5, f64::NAN] {
                let _ = Format::of(code).show(value, true);
            }
        }
    }
}
