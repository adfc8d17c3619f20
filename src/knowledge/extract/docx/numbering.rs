//! Numbered lists and headings: which number Word would print before a paragraph.

use std::collections::HashMap;

use crate::knowledge::extract::xml;

/// Word has levels 0 to 8.
const LEVELS: usize = 9;
/// No label is longer than this.
const LABEL_CHARS: usize = 40;
/// Letters of a label are repeated so often at most: after `z` come `aa`, `bb`.
const REPEATED: usize = 8;

/// How one level of a list is counted.
#[derive(Debug, Clone, Default)]
struct Level {
    /// `decimal`, `lowerRoman`, `bullet` …
    format: String,
    /// `%1.%2)`, where `%1` stands for the number of the first level.
    text: String,
    start: Option<u32>,
    /// The style whose paragraphs are on this level without saying so.
    style: Option<String>,
}

/// A list as paragraphs name it.
#[derive(Debug, Default)]
struct Instance {
    scheme: String,
    /// Numbers with which levels begin anew when this list is met first.
    restarts: Vec<(usize, u32)>,
}

/// The lists that a document defines.
#[derive(Debug, Default)]
pub(super) struct Numbering {
    schemes: HashMap<String, Vec<Level>>,
    instances: HashMap<String, Instance>,
}

/// How far the lists of a document have been counted.
#[derive(Debug, Default)]
pub(super) struct Counted {
    /// The last numbers of each scheme; none where a level has not been counted since one above it was.
    numbers: HashMap<String, [Option<u32>; LEVELS]>,
    /// The lists that were met already.
    met: Vec<String>,
}

impl Numbering {
    /// Reads `numbering.xml`.
    pub(super) fn read(document: &str) -> Self {
        let mut numbering = Self::default();
        let (mut scheme, mut instance, mut level) = (None, None, 0);
        xml::each_element(document, |element| match element.name {
            "abstractNum" => (scheme, instance) = (element.attribute("abstractNumId"), None),
            "num" => {
                (scheme, instance) = (None, element.attribute("numId"));
                if let Some(id) = &instance {
                    numbering.instances.entry(id.clone()).or_default();
                }
            }
            "lvl" | "lvlOverride" => {
                let given: Option<usize> = element.attribute("ilvl").and_then(|level| level.parse().ok());
                level = given.filter(|level| *level < LEVELS).unwrap_or(LEVELS);
            }
            name => {
                let value = element.attribute("val").unwrap_or_default();
                if let Some(instance) = instance.as_ref().and_then(|id| numbering.instances.get_mut(id)) {
                    match (name, value.parse()) {
                        ("abstractNumId", _) => instance.scheme = value,
                        ("startOverride", Ok(start)) if level < LEVELS => instance.restarts.push((level, start)),
                        _ => {}
                    }
                } else if let Some(id) = scheme.as_ref().filter(|_| level < LEVELS) {
                    let levels = numbering.schemes.entry(id.clone()).or_insert_with(|| vec![Level::default(); LEVELS]);
                    match name {
                        "numFmt" => levels[level].format = value,
                        "lvlText" => levels[level].text = value,
                        "start" => levels[level].start = value.parse().ok(),
                        "pStyle" => levels[level].style = Some(value),
                        _ => {}
                    }
                }
            }
        });
        numbering
    }

    /// The level of `list` that a style's paragraphs are on.
    pub(super) fn level_of_style(&self, list: &str, style: &str) -> Option<usize> {
        let levels = self.schemes.get(&self.instances.get(list)?.scheme)?;
        levels.iter().position(|level| level.style.as_deref() == Some(style))
    }
}

impl Counted {
    /// Counts a paragraph of `list` at `level` and gives what stands before it: `2.1`, `b)`; nothing for a bullet.
    pub(super) fn next(&mut self, numbering: &Numbering, list: &str, level: usize) -> Option<String> {
        let instance = numbering.instances.get(list)?;
        let levels = numbering.schemes.get(&instance.scheme)?;
        let numbers = self.numbers.entry(instance.scheme.clone()).or_default();
        if !self.met.iter().any(|met| met == list) {
            self.met.push(list.to_owned());
            for (level, start) in &instance.restarts {
                numbers[*level] = start.checked_sub(1);
                numbers[level + 1..].fill(None);
            }
        }
        let start = |level: usize| levels[level].start.unwrap_or(1);
        numbers[level] = Some(numbers[level].map_or(start(level), |last| last.saturating_add(1)));
        numbers[level + 1..].fill(None);
        let Level { format, text, .. } = &levels[level];
        if matches!(format.as_str(), "bullet" | "none" | "") || !text.contains('%') {
            return None;
        }
        let mut label = String::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            let named = if c == '%' { chars.clone().next().and_then(|digit| digit.to_digit(10)) } else { None };
            match named.and_then(|digit| usize::try_from(digit).ok()?.checked_sub(1)).filter(|named| *named <= level) {
                Some(named) => {
                    chars.next();
                    // A level that was left out counts as if it had begun.
                    let number = *numbers[named].get_or_insert_with(|| start(named));
                    label.push_str(&written(number, &levels[named].format));
                }
                None => label.push(c),
            }
        }
        let label: String = label.trim().chars().filter(|c| !c.is_control()).take(LABEL_CHARS).collect();
        (!label.is_empty()).then_some(label)
    }
}

/// A number in a list's format; one that is not known is written in digits.
fn written(number: u32, format: &str) -> String {
    match format {
        "decimalZero" => format!("{number:02}"),
        "lowerLetter" | "upperLetter" if number > 0 => {
            let place = (number - 1) % 26;
            let letter = char::from_u32(u32::from('a') + place).unwrap_or('a').to_string();
            let letters = letter.repeat(usize::try_from((number - 1) / 26 + 1).unwrap_or(1).min(REPEATED));
            if format == "upperLetter" { letters.to_uppercase() } else { letters }
        }
        "lowerRoman" => roman(number),
        "upperRoman" => roman(number).to_uppercase(),
        _ => number.to_string(),
    }
}

fn roman(number: u32) -> String {
    const NUMERALS: [(u32, &str); 13] = [
        (1000, "m"),
        (900, "cm"),
        (500, "d"),
        (400, "cd"),
        (100, "c"),
        (90, "xc"),
        (50, "l"),
        (40, "xl"),
        (10, "x"),
        (9, "ix"),
        (5, "v"),
        (4, "iv"),
        (1, "i"),
    ];
    if !(1..4000).contains(&number) {
        return number.to_string();
    }
    let (mut left, mut numerals) = (number, String::new());
    for (value, numeral) in NUMERALS {
        while left >= value {
            numerals.push_str(numeral);
            left -= value;
        }
    }
    numerals
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTS: &str = r#"<w:numbering xmlns:w="x">
        <w:abstractNum w:abstractNumId="7">
            <w:lvl w:ilvl="0"><w:start w:val="1"/><w:numFmt w:val="decimal"/><w:pStyle w:val="H1"/><w:lvlText w:val="%1."/></w:lvl>
            <w:lvl w:ilvl="1"><w:start w:val="1"/><w:numFmt w:val="lowerLetter"/><w:lvlText w:val="%1.%2)"/></w:lvl>
            <w:lvl w:ilvl="2"><w:numFmt w:val="bullet"/><w:lvlText w:val="o"/></w:lvl>
        </w:abstractNum>
        <w:abstractNum w:abstractNumId="8"><w:lvl w:ilvl="0"><w:start w:val="4"/><w:numFmt w:val="upperRoman"/><w:lvlText w:val="Part %1"/></w:lvl></w:abstractNum>
        <w:num w:numId="1"><w:abstractNumId w:val="7"/></w:num>
        <w:num w:numId="2"><w:abstractNumId w:val="8"/></w:num>
        <w:num w:numId="3"><w:abstractNumId w:val="7"/><w:lvlOverride w:ilvl="0"><w:startOverride w:val="10"/></w:lvlOverride></w:num>
        <w:num w:numId="4"><w:abstractNumId w:val="99"/></w:num>
        </w:numbering>"#;

    #[test]
    fn lists_are_counted_as_word_counts_them() {
        let numbering = Numbering::read(LISTS);
        let mut counted = Counted::default();
        let mut next = |list: &str, level| counted.next(&numbering, list, level).unwrap_or_else(|| "-".to_owned());
        let labels = [
            ("1", 0),
            ("1", 1),
            ("1", 1),
            ("1", 2),
            ("1", 0),
            ("1", 1),
            ("2", 0),
            ("2", 0),
            ("1", 0),
            ("3", 0),
            ("3", 0),
        ];
        let labels: Vec<String> = labels.into_iter().map(|(list, level)| next(list, level)).collect();
        assert_eq!(labels, ["1.", "1.a)", "1.b)", "-", "2.", "2.a)", "Part IV", "Part V", "3.", "10.", "11."]);
        assert_eq!((next("4", 0), next("5", 3), next("1", 8)), ("-".to_owned(), "-".to_owned(), "-".to_owned()));
        assert_eq!(numbering.level_of_style("1", "H1"), Some(0));
        assert_eq!(numbering.level_of_style("1", "H2"), None);
    }

    #[test]
    fn numbers_are_written_in_letters_and_numerals() {
        let letters = [1, 26, 27, 53, 0].map(|number| written(number, "lowerLetter"));
        assert_eq!(letters, ["a", "z", "aa", "aaa", "0"]);
        assert_eq!([4, 1999, 4000].map(roman), ["iv", "mcmxcix", "4000"]);
        assert_eq!((written(7, "decimalZero"), written(u32::MAX, "upperLetter").len()), ("07".to_owned(), REPEATED));
    }
}
