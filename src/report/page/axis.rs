//! Axes: from values to places, and where the labels stand.
//!
//! Key decision: labels are as many as fit without touching each other, of 1, 2 and 5 within a decade or fewer, so that no
//! chart has to be looked at before it is published. Rejected: the axes of plotters, which on a scale of logarithms puts
//! labels at equal distances, such as 3162.

use crate::report::text::{bytes_per_s, nanos, per_second};

/// What an axis counts, and how.
#[derive(Debug, Clone, Default)]
pub struct Axis {
    /// With unit.
    pub title: String,
    /// Whether each step multiplies.
    pub logarithmic: bool,
    /// How its labels read.
    pub unit: Unit,
    /// Labels at given values instead of round ones.
    pub at: Vec<(f64, String)>,
}

/// How a label reads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Unit {
    /// A pure number.
    #[default]
    Number,
    /// Nanoseconds.
    Nanos,
    /// Bytes per second.
    BytesPerS,
    /// Per second.
    PerS,
}

/// A stretch of an axis on the page.
#[derive(Debug, Clone)]
pub struct Scale {
    logarithmic: bool,
    /// Ends in values, or in their logarithms.
    low: f64,
    high: f64,
    /// Ends in pixels; the first may be the larger one.
    pixels: (f64, f64),
}

/// Labels of an axis: more say nothing that fewer do not.
const MOST: usize = 9;
/// About the width of a letter, and the distance that labels keep, in pixels.
const LETTER: f64 = 7.4;
const GAP: f64 = 12.0;
const LINE: f64 = 30.0;

impl Axis {
    /// An axis of logarithms.
    pub fn log(title: impl Into<String>, unit: Unit) -> Self {
        Self { title: title.into(), logarithmic: true, unit, at: vec![] }
    }

    /// A linear axis.
    pub fn linear(title: impl Into<String>, unit: Unit) -> Self {
        Self { title: title.into(), logarithmic: false, unit, at: vec![] }
    }

    /// The scale that holds these values, with some room at the ends.
    pub fn scale(&self, values: impl Iterator<Item = f64>, pixels: (f64, f64)) -> Scale {
        let place = |value: f64| if self.logarithmic { value.log10() } else { value };
        let usable = values.filter(|value| value.is_finite() && (!self.logarithmic || *value > 0.0)).map(place);
        let (low, high) = usable.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
        let (low, high) = if low > high { (0.0, 1.0) } else { (low, high) };
        // Of a linear axis nothing is shown larger than it is: it begins at zero.
        let low = if self.logarithmic { low } else { low.min(0.0) };
        let least = if self.logarithmic { 0.12 } else { 1e-9 };
        let room = (0.05 * (high - low)).max((least - (high - low)).max(0.0) / 2.0 + 0.01 * least);
        let bottom = if self.logarithmic || low < 0.0 { low - room } else { low };
        Scale { logarithmic: self.logarithmic, low: bottom, high: high + room, pixels }
    }

    /// Values with labels that do not touch; `upright` where they stand above each other.
    pub fn ticks(&self, scale: &Scale, upright: bool) -> Vec<(f64, String)> {
        if !self.at.is_empty() {
            return apart(self.at.clone(), scale, upright);
        }
        let labelled = |values: Vec<f64>| values.into_iter().map(|v| (v, self.label(v))).collect::<Vec<_>>();
        let mut best = vec![];
        for values in self.candidates(scale) {
            let all = labelled(values);
            let fitting = apart(all.clone(), scale, upright);
            // All of a set or none: a set with holes looks like a mistake.
            if fitting.len() == all.len() && all.len() > best.len() && all.len() <= MOST {
                best = all;
            }
        }
        best
    }

    fn candidates(&self, scale: &Scale) -> Vec<Vec<f64>> {
        let within = |value: &f64| scale.holds(*value);
        let mut sets: Vec<Vec<f64>> = vec![];
        if self.logarithmic {
            let decades = scale.low.floor() as i32..=scale.high.ceil() as i32;
            for steps in [&[1.0][..], &[1.0, 3.0], &[1.0, 2.0, 5.0]] {
                let each = |decade: i32| steps.iter().map(move |step| step * 10_f64.powi(decade));
                sets.push(decades.clone().flat_map(each).filter(within).collect());
            }
            for step in [2, 3, 4, 6] {
                let every = decades.clone().filter(|decade| decade % step == 0);
                sets.push(every.map(|decade| 10_f64.powi(decade)).filter(within).collect());
            }
            if sets.iter().any(|set| set.len() > 2) {
                return sets;
            }
        }
        let (low, high) = (scale.value(scale.low), scale.value(scale.high));
        let magnitude = (high - low).log10().floor() as i32;
        for exponent in [magnitude - 1, magnitude] {
            for step in [1.0, 2.0, 2.5, 5.0] {
                let step = step * 10_f64.powi(exponent);
                let (first, last) = ((low / step).ceil() as i64, (high / step).floor() as i64);
                sets.push((first..=last).map(|n| n as f64 * step).filter(within).collect());
            }
        }
        sets
    }

    /// A value as the axis says it: no proof of precision.
    pub fn label(&self, value: f64) -> String {
        let text = match self.unit {
            Unit::Number if value >= 9999.5 => format!("{:.0}k", value / 1e3),
            Unit::Number => format!("{:.3}", (value * 1e3).round() / 1e3),
            Unit::Nanos => nanos(value),
            Unit::BytesPerS => bytes_per_s(value),
            Unit::PerS => per_second(value),
        };
        let (number, unit) = text.split_once(' ').map_or((text.as_str(), ""), |(number, unit)| (number, unit));
        let number = if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { number };
        if unit.is_empty() { number.into() } else { format!("{number} {unit}") }
    }
}

/// Those of the labels that keep their distance from the one before.
fn apart(labels: Vec<(f64, String)>, scale: &Scale, upright: bool) -> Vec<(f64, String)> {
    let mut kept: Vec<(f64, String)> = vec![];
    for (value, label) in labels {
        let needed = |other: &str| {
            let width = LETTER * (label.chars().count() + other.chars().count()) as f64 / 2.0;
            if upright { LINE } else { width + GAP }
        };
        let place = scale.place(value);
        if kept.last().is_none_or(|(before, other)| (place - scale.place(*before)).abs() >= needed(other)) {
            kept.push((value, label));
        }
    }
    kept
}

impl Scale {
    /// Where a value stands, in pixels.
    pub fn place(&self, value: f64) -> f64 {
        let value = if self.logarithmic { value.max(f64::MIN_POSITIVE).log10() } else { value };
        let share = ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0);
        self.pixels.0 + share * (self.pixels.1 - self.pixels.0)
    }

    /// Whether a value lies on it.
    pub fn holds(&self, value: f64) -> bool {
        let value = if self.logarithmic { value.log10() } else { value };
        let slack = 1e-9 * (self.high - self.low);
        (self.low - slack..=self.high + slack).contains(&value)
    }

    /// The values at its ends.
    pub fn ends(&self) -> (f64, f64) {
        (self.value(self.low), self.value(self.high))
    }

    fn value(&self, place: f64) -> f64 {
        if self.logarithmic { 10_f64.powf(place) } else { place }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis, values: &[f64]) -> Vec<String> {
        let scale = axis.scale(values.iter().copied(), (0.0, 380.0));
        axis.ticks(&scale, false).into_iter().map(|(_, label)| label).collect()
    }

    #[test]
    fn labels_are_round_and_have_room() {
        let time = Axis::log("time", Unit::Nanos);
        assert_eq!(labels(&time, &[90.0, 12_000.0]), ["100 ns", "300 ns", "1 us", "3 us", "10 us"]);
        assert_eq!(labels(&time, &[1e2, 1e9]), ["100 ns", "10 us", "1 ms", "100 ms"]);
        assert_eq!(labels(&Axis::linear("n", Unit::Number), &[3.0, 10.0]), ["0", "2", "4", "6", "8", "10"]);
    }

    #[test]
    fn a_narrow_axis_of_logarithms_still_has_labels() {
        let axis = Axis::log("ratio", Unit::Number);
        for values in [[0.98, 1.03], [1.0, 1.0], [40.0, 56.0]] {
            assert!(labels(&axis, &values).len() > 1, "{values:?}: {:?}", labels(&axis, &values));
        }
    }

    #[test]
    fn given_labels_that_would_touch_are_left_out() {
        let at = [64.0, 66.0, 1024.0].map(|n| (n, format!("{n} B"))).to_vec();
        assert_eq!(labels(&Axis { at, ..Axis::log("size", Unit::Number) }, &[64.0, 1024.0]), ["64 B", "1024 B"]);
    }

    #[test]
    fn values_that_are_none_and_zero_do_not_spoil_a_scale() {
        let scale = Axis::log("", Unit::Number).scale([0.0, f64::NAN, 10.0, 1000.0].into_iter(), (0.0, 100.0));
        assert!(scale.holds(10.0) && scale.holds(1000.0) && !scale.holds(1.0));
        assert!(scale.place(0.0).is_finite());
    }
}
