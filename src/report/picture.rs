//! Lines with intervals, as SVG.
//!
//! Key decision: a picture is data (axes, named lines of estimates) until it is drawn, so that tests look at the data and
//! every picture of the project looks alike. A logarithmic axis is drawn as a linear one of logarithms, with labels of
//! the values. The colours are those of Okabe and Ito, which people with any kind of colour vision tell apart, and each
//! line has a marker at every point. Rejected: a script library in a web page (a report must work offline), bitmaps.

use super::text::digits;
use crate::error::{Error, Phase, Result};
use crate::measure::stats::Estimate;
use plotters::prelude::*;
use std::ops::Range;

/// Lines with intervals.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    /// What is shown.
    pub title: String,
    /// What the horizontal axis counts.
    pub x: Axis,
    /// What the vertical axis counts.
    pub y: Axis,
    /// Lines by name: where, and how much.
    pub series: Vec<(String, Vec<(f64, Estimate)>)>,
}

/// An axis of a picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Axis {
    /// With unit.
    pub name: &'static str,
    /// Whether each step multiplies. Such an axis shows nothing at zero and below.
    pub logarithmic: bool,
}

impl Axis {
    fn place(&self, value: f64) -> f64 {
        if self.logarithmic { value.max(f64::MIN_POSITIVE).log10() } else { value }
    }

    fn label(&self, place: f64) -> String {
        let value = if self.logarithmic { 10_f64.powf(place) } else { place };
        let scales = [(1e9, "G"), (1e6, "M"), (1e4, "k")];
        let scale = scales.into_iter().find(|(least, _)| value.abs() >= *least);
        let (scaled, suffix) = match scale {
            Some((_, "k")) => (value / 1e3, "k"),
            Some((least, suffix)) => (value / least, suffix),
            None => (value, ""),
        };
        let text = digits(scaled);
        // An axis needs no proof of precision.
        let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
        format!("{text}{suffix}")
    }

    /// The places of all values, with room at the ends; a linear axis begins at zero if nothing lies below.
    fn range(&self, values: impl Iterator<Item = f64>) -> Range<f64> {
        let (low, high) = values
            .map(|value| self.place(value))
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
        let low = if self.logarithmic { low } else { low.min(0.0) };
        let room = (0.05 * (high - low)).max(1e-9);
        if self.logarithmic { low - room..high + room } else { low..high + room }
    }
}

/// Width of the lines' part, and height, in pixels.
const SIZE: (u32, u32) = (760, 520);
/// Height of a line of the key, and what is about the width of a letter.
const KEY: (i32, u32) = (22, 7);
const COLOURS: [RGBColor; 8] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    RGBColor(90, 90, 90),
    RGBColor(160, 140, 0),
];

impl Picture {
    /// Whether there is a line with two points.
    pub fn shows_something(&self) -> bool {
        self.series.iter().any(|(_, points)| points.len() > 1)
    }

    /// The picture as the text of an SVG file.
    ///
    /// # Errors
    /// When drawing fails, which only a number that is none can cause.
    pub fn svg(&self) -> Result<String> {
        let mut text = String::new();
        self.draw(&mut text)
            .map_err(|error| Error::failed(Phase::Report, format!("cannot draw {:?}", self.title)).because(error))?;
        Ok(text)
    }

    fn draw(&self, text: &mut String) -> std::result::Result<(), Box<dyn std::error::Error>> {
        let points = || self.series.iter().flat_map(|(_, points)| points);
        let ends = |estimate: &Estimate| estimate.interval.unwrap_or((estimate.median, estimate.median));
        let x = self.x.range(points().map(|(x, _)| *x));
        let y = self.y.range(points().flat_map(|(_, e)| [ends(e).0, ends(e).1]));
        // The key stands beside the lines, where it hides none of them.
        let longest = self.series.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0) as u32;
        let area = SVGBackend::with_string(text, (SIZE.0 + 40 + KEY.1 * longest, SIZE.1)).into_drawing_area();
        area.fill(&WHITE)?;
        let (lines, key) = area.split_horizontally(SIZE.0);
        let mut chart = ChartBuilder::on(&lines)
            .caption(&self.title, ("sans-serif", 20))
            .margin(12)
            .x_label_area_size(46)
            .y_label_area_size(70)
            .build_cartesian_2d(x, y)?;
        chart
            .configure_mesh()
            .light_line_style(WHITE)
            .x_desc(self.x.name)
            .y_desc(self.y.name)
            .x_label_formatter(&|place| self.x.label(*place))
            .y_label_formatter(&|place| self.y.label(*place))
            .draw()?;
        for (number, ((name, points), colour)) in self.series.iter().zip(COLOURS.iter().cycle()).enumerate() {
            let place = |(x, e): &(f64, Estimate)| (self.x.place(*x), self.y.place(e.median));
            let line = LineSeries::new(points.iter().map(place), colour.stroke_width(2));
            let y = 60 + KEY.0 * number as i32;
            key.draw(&PathElement::new(vec![(0, y), (18, y)], colour.stroke_width(2)))?;
            key.draw(&Text::new(name.as_str(), (24, y - 7), ("sans-serif", 14)))?;
            chart.draw_series(line)?;
            chart.draw_series(points.iter().map(|(x, e)| {
                let (low, high) = ends(e);
                let [low, middle, high] = [low, e.median, high].map(|value| self.y.place(value));
                ErrorBar::new_vertical(self.x.place(*x), low, middle, high, colour.filled(), 8)
            }))?;
        }
        area.present()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn estimate(median: f64) -> Estimate {
        Estimate { n: 6, median, interval: Some((0.9 * median, 1.2 * median)) }
    }

    #[test]
    fn a_picture_names_its_axes_and_lines_and_is_the_same_each_time() {
        let axis = |name, logarithmic| Axis { name, logarithmic };
        let line = (1..6).map(|i| (f64::from(1 << i), estimate(f64::from(i)))).collect();
        let picture = Picture {
            title: "T & co".into(),
            x: axis("bytes", true),
            y: axis("ns", false),
            series: vec![("one".into(), line), ("single".into(), vec![(4.0, estimate(2.0))])],
        };
        assert!(picture.shows_something());
        let svg = picture.svg().unwrap();
        for word in ["bytes", "ns", "one", "single", "T &amp; co", "<polyline"] {
            assert!(svg.contains(word), "{word:?} is missing");
        }
        assert_eq!(svg, picture.svg().unwrap());
    }

    #[test]
    fn labels_are_short() {
        let axis = Axis { name: "", logarithmic: true };
        assert_eq!([1.0, 3.5, 4.0, 7.5].map(|place| axis.label(place)), ["10", "3162", "10k", "31.6M"]);
    }

    #[test]
    fn an_axis_holds_all_values_and_a_linear_one_begins_at_zero() {
        let linear = Axis { name: "", logarithmic: false }.range([5.0, 10.0].into_iter());
        assert!(linear.start == 0.0 && linear.end > 10.0);
        let logarithmic = Axis { name: "", logarithmic: true }.range([10.0, 1000.0].into_iter());
        assert!(logarithmic.start < 1.0 && logarithmic.end > 3.0);
    }
}
