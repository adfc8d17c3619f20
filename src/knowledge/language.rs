//! The language that a document is written in, as far as full-text search knows it, and words without their accents.

use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};
use whatlang::{Detector, Lang};

/// Text that is looked at; more tells no more.
const SAMPLE_CHARS: usize = 8_000;
/// Fewer letters than this tell no language.
const LEAST_LETTERS: usize = 24;
/// Of languages that PostgreSQL has no stems for, and of text too short to tell.
pub(super) const UNKNOWN: &str = "simple";

/// The languages whose stems PostgreSQL has, with the name of their text-search configuration.
const CONFIGURATIONS: [(Lang, &str); 27] = [
    (Lang::Ara, "arabic"),
    (Lang::Hye, "armenian"),
    (Lang::Cat, "catalan"),
    (Lang::Dan, "danish"),
    (Lang::Nld, "dutch"),
    (Lang::Eng, "english"),
    (Lang::Est, "estonian"),
    (Lang::Fin, "finnish"),
    (Lang::Fra, "french"),
    (Lang::Deu, "german"),
    (Lang::Ell, "greek"),
    (Lang::Hin, "hindi"),
    (Lang::Hun, "hungarian"),
    (Lang::Ind, "indonesian"),
    (Lang::Ita, "italian"),
    (Lang::Lit, "lithuanian"),
    (Lang::Nep, "nepali"),
    (Lang::Nob, "norwegian"),
    (Lang::Por, "portuguese"),
    (Lang::Ron, "romanian"),
    (Lang::Rus, "russian"),
    (Lang::Srp, "serbian"),
    (Lang::Spa, "spanish"),
    (Lang::Swe, "swedish"),
    (Lang::Tam, "tamil"),
    (Lang::Tur, "turkish"),
    (Lang::Yid, "yiddish"),
];

/// The text-search configuration for a text: `english`, or `simple` where the language is not known or has no stems.
pub(super) fn configuration<'a>(texts: impl Iterator<Item = &'a str>) -> &'static str {
    let mut sample = String::new();
    let mut left = SAMPLE_CHARS;
    for text in texts {
        let before = sample.len();
        sample.extend(text.chars().take(left));
        left = left.saturating_sub(sample[before..].chars().count());
        sample.push('\n');
        if left == 0 {
            break;
        }
    }
    if sample.chars().filter(|c| c.is_alphabetic()).count() < LEAST_LETTERS {
        return UNKNOWN;
    }
    // Norwegian, Danish and Swedish, or Russian and its neighbours, are told apart by the detector alone; limiting it to
    // what has stems would make a Ukrainian text Russian.
    let language = Detector::new().detect_lang(&sample);
    CONFIGURATIONS.iter().find(|(known, _)| Some(*known) == language).map_or(UNKNOWN, |(_, name)| name)
}

/// The text without accents: `Straßencafé` as `Straßencafe`.
pub(super) fn plain(text: &str) -> String {
    if text.is_ascii() {
        return text.to_owned();
    }
    text.nfd().filter(|c| !is_combining_mark(*c)).nfc().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> &'static str {
        configuration(std::iter::once(text))
    }

    #[test]
    fn the_language_of_a_text_is_the_one_whose_stems_are_used() {
        assert_eq!(of("Every parent may stay at home for sixteen weeks after a child is born."), "english");
        assert_eq!(
            of("Jeder Elternteil darf nach der Geburt eines Kindes sechzehn Wochen zu Hause bleiben."),
            "german"
        );
        assert_eq!(of("Chaque parent peut rester à la maison pendant seize semaines après la naissance."), "french");
        assert_eq!(of("Каждый родитель может оставаться дома шестнадцать недель после рождения ребёнка."), "russian");
        assert_eq!(of("Кожен із батьків може залишатися вдома шістнадцять тижнів після народження дитини."), UNKNOWN);
        assert_eq!(of("QX-7741"), UNKNOWN);
    }

    #[test]
    fn accents_go_and_letters_stay() {
        assert_eq!(plain("Straßencafé, naïve Zoë, Übung"), "Straßencafe, naive Zoe, Ubung");
        assert_eq!(plain("plain"), "plain");
    }
}
