//! A month as a drawing: a column for each day, stacked by model. Places across are in percent, so that it fits every
//! screen; heights are in pixels.

use std::collections::BTreeMap;

use chrono::Datelike as _;

use crate::{
    http::format,
    models::budget::{Month, MonthUsage},
};

/// Models with a colour of their own; the rest goes together.
const SERIES: usize = 4;
/// Pixels of the tallest column, below the room for its label.
const HEIGHT: f64 = 150.0;
const TOP: f64 = 14.0;

/// What the columns measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Measure {
    Cost,
    Tokens,
}

/// The drawing.
pub(super) struct Chart {
    /// What it shows, for those who do not see it.
    pub(super) title: String,
    pub(super) pieces: Vec<Piece>,
    pub(super) lines: Vec<Line>,
    pub(super) days: Vec<Label>,
    pub(super) legend: Vec<String>,
}

/// A part of a column.
pub(super) struct Piece {
    /// Which colour, counted from 0.
    pub(super) series: usize,
    /// In percent.
    pub(super) x: String,
    pub(super) width: String,
    /// In pixels.
    pub(super) y: String,
    pub(super) height: String,
    /// `12 November, ollama/llama3.2: 1,204 tokens`
    pub(super) label: String,
}

/// A line across, with what it stands for.
pub(super) struct Line {
    pub(super) y: String,
    pub(super) label: String,
}

/// The number of a day.
pub(super) struct Label {
    pub(super) x: String,
    pub(super) label: String,
}

/// None when there is nothing to draw.
pub(super) fn chart(month: Month, usage: &MonthUsage, measure: Measure) -> Option<Chart> {
    let told = |amount: i64| match measure {
        Measure::Cost => format::money(amount, &usage.currency),
        Measure::Tokens => format::count(amount, "token"),
    };
    let of = |counted: &super::super::Counted| match measure {
        Measure::Cost => counted.micros,
        Measure::Tokens => counted.tokens(),
    };
    let mut ranked: Vec<_> = usage.models.iter().filter(|model| of(&model.counted) > 0).collect();
    ranked.sort_by_key(|model| std::cmp::Reverse(of(&model.counted)));
    let series = |model: &str| ranked.iter().position(|named| named.name == model).map_or(SERIES, |at| at.min(SERIES));
    let mut columns: BTreeMap<u32, [i64; SERIES + 1]> = BTreeMap::new();
    for day in &usage.days {
        columns.entry(day.day.day()).or_default()[series(&day.model)] += of(&day.counted);
    }
    let tallest = columns.values().map(|parts| parts.iter().sum::<i64>()).max().filter(|tallest| *tallest > 0)?;
    let most = round_up(tallest);
    let mut legend: Vec<String> = ranked.iter().take(SERIES).map(|model| model.name.clone()).collect();
    if ranked.len() > SERIES {
        legend.push(format!("{} more", ranked.len() - SERIES));
    }

    let slot = 100.0 / f64::from(month.days());
    let mut pieces = Vec::new();
    for (day, parts) in &columns {
        let mut below = 0;
        for (series, amount) in parts.iter().enumerate().filter(|(_, amount)| **amount > 0) {
            let height = share(*amount, most) * HEIGHT;
            let y = TOP + HEIGHT - share(below + amount, most) * HEIGHT;
            pieces.push(Piece {
                series,
                x: format!("{:.2}", f64::from(day - 1) * slot + slot * 0.15),
                width: format!("{:.2}", slot * 0.7),
                y: format!("{y:.1}"),
                height: format!("{:.1}", height.max(1.0)),
                label: format!("{day} {}, {}: {}", month.first().format("%B"), legend[series], told(*amount)),
            });
            below += amount;
        }
    }
    let line = |part: f64| {
        #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "a label on a screen")]
        let amount = (most as f64 * part) as i64;
        let label = match measure {
            Measure::Cost => format::money(amount, &usage.currency),
            Measure::Tokens => format::grouped(amount),
        };
        Line { y: format!("{:.1}", TOP + HEIGHT * (1.0 - part)), label }
    };
    let label = |day: u32| Label { x: format!("{:.2}", (f64::from(day) - 0.5) * slot), label: day.to_string() };
    Some(Chart {
        title: format!("{month:#}, day by day: {}", told(usage.models.iter().map(|model| of(&model.counted)).sum())),
        pieces,
        lines: vec![line(1.0), line(0.5)],
        days: [1, 8, 15, 22, 29].into_iter().filter(|day| *day <= month.days()).map(label).collect(),
        legend,
    })
}

/// The next of 1, 2, 4, 6, 8 times a power of ten: its half is a round number too.
fn round_up(amount: i64) -> i64 {
    let mut power = 1_i64;
    loop {
        for step in [1, 2, 4, 6, 8] {
            let candidate = power.saturating_mul(step);
            if candidate >= amount && candidate % 2 == 0 || candidate == i64::MAX {
                return candidate;
            }
        }
        power = power.saturating_mul(10);
    }
}

#[expect(clippy::cast_precision_loss, reason = "a place on a screen")]
fn share(part: i64, whole: i64) -> f64 {
    part as f64 / whole.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_axis_ends_at_a_round_number_that_can_be_halved() {
        for (amount, end) in [(1, 2), (2, 2), (3, 4), (7, 8), (9, 10), (11, 20), (999, 1000), (61_000, 80_000)] {
            assert_eq!(round_up(amount), end);
        }
        assert_eq!(round_up(i64::MAX), i64::MAX);
    }
}
