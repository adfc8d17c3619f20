//! The time line as a drawing: places in percent of the whole run, so that it fits every screen.

use crate::{
    http::format,
    runs::timeline::{Kind, TimeLine},
};

/// A bar narrower than this, in percent, could not be seen.
const NARROWEST: f64 = 0.6;

/// A step of the run, with its bar.
pub(super) struct Row {
    pub(super) seq: i64,
    /// `Model`
    pub(super) kind: &'static str,
    /// The class of its bar.
    pub(super) class: &'static str,
    pub(super) name: String,
    /// In percent.
    pub(super) x: String,
    /// In percent.
    pub(super) width: String,
    pub(super) start: String,
    pub(super) took: String,
    pub(super) failed: bool,
    pub(super) chosen: bool,
}

/// A line across the time axis.
pub(super) struct Tick {
    /// In percent.
    pub(super) x: String,
    pub(super) label: String,
    /// Where the label stands to its line.
    pub(super) anchor: &'static str,
}

/// The bars of a run, in the order in which they began.
pub(super) fn rows(line: &TimeLine, chosen: Option<i64>) -> Vec<Row> {
    let whole = line.duration_ms.max(1);
    let row = |bar: &crate::runs::timeline::Bar| {
        let (kind, class) = match bar.kind {
            Kind::Model => ("Model", "model"),
            Kind::Attempt => ("Asked in vain", "attempt"),
            Kind::Tool => ("Tool", "tool"),
            Kind::Search => ("Search", "search"),
            Kind::Approval => ("Approval", "approval"),
        };
        let width = percent(bar.duration_ms, whole).max(NARROWEST);
        Row {
            seq: bar.seq,
            kind,
            class,
            name: bar.name.clone(),
            x: format!("{:.2}", percent(bar.start_ms, whole).min(100.0 - width)),
            width: format!("{width:.2}"),
            start: format::duration(bar.start_ms),
            took: format::duration(bar.duration_ms),
            failed: bar.failed,
            // The bar of the model that answered, not of those before it in the same entry.
            chosen: Some(bar.seq) == chosen && bar.kind != Kind::Attempt,
        }
    };
    line.bars.iter().map(row).collect()
}

/// Four or five lines at round times.
pub(super) fn ticks(duration_ms: u64) -> Vec<Tick> {
    let whole = duration_ms.max(1);
    let step = step(whole);
    (0..=whole / step)
        .map(|number| {
            let at = number * step;
            let x = percent(at, whole);
            let anchor = if number == 0 {
                "start"
            } else if x > 92.0 {
                "end"
            } else {
                "middle"
            };
            Tick { x: format!("{x:.2}"), label: format::duration(at), anchor }
        })
        .collect()
}

/// 1, 2 or 5 times a power of ten, so that there are at most five.
fn step(whole: u64) -> u64 {
    let mut power = 1;
    loop {
        for step in [power, 2 * power, 5 * power] {
            if whole / step <= 4 {
                return step;
            }
        }
        power *= 10;
    }
}

#[expect(clippy::cast_precision_loss, reason = "a place on a screen")]
fn percent(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64 * 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_axis_has_round_times_and_few_of_them() {
        let labels = |ms| ticks(ms).into_iter().map(|tick| tick.label).collect::<Vec<_>>();
        assert_eq!(labels(430), ["0 ms", "100 ms", "200 ms", "300 ms", "400 ms"]);
        assert_eq!(labels(7_300), ["0 ms", "2.0 s", "4.0 s", "6.0 s"]);
        assert_eq!(labels(0), ["0 ms", "1 ms"]);
        for ms in [1, 99, 1_000, 65_432, 899_999] {
            assert!((2..=5).contains(&ticks(ms).len()), "{ms}");
        }
    }
}
