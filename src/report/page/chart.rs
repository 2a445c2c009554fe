//! Charts as geometry, for a template to draw.
//!
//! Key decision: a chart is worked out here to the pixel and drawn by the page's template, so that all text on the page,
//! the labels of charts included, goes through the one place that escapes. Colours are numbers of the style sheet's
//! custom properties, which differ between light, dark and paper; a mechanism has a colour *and* a shape, threads are
//! hollow and dashed. What is what stands in a key of real text below, where it cannot overlap anything. Rejected:
//! plotters, which draws the pictures of the claims, for its fixed colours, labels that overlap and one width for all
//! screens; a script that draws, which paper and a reader without scripts lack.

use super::axis::{Axis, Scale};
use super::blocks::Key;
use serde::Serialize;

/// Colours, and shapes of marks, that the style sheet and the template have.
const COLOURS: usize = 8;
const SHAPES: usize = 8;
/// Most series of one chart.
pub const MOST_SERIES: usize = 8;

/// How a series looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Style {
    /// Number of the colour.
    pub colour: usize,
    /// Number of the shape.
    pub shape: usize,
    /// Hollow marks and dashed lines.
    pub hollow: bool,
}

impl Style {
    /// The look of the mechanism with this number: the first 64 differ in colour or shape.
    pub fn numbered(number: usize, hollow: bool) -> Self {
        Self { colour: number % COLOURS, shape: (number + number / COLOURS) % SHAPES, hollow }
    }

    fn class(self) -> String {
        format!("c{}{}", self.colour, if self.hollow { " hollow" } else { "" })
    }
}

/// A point with its interval in either direction.
#[derive(Debug, Clone, Default)]
pub struct Point {
    /// Across.
    pub x: f64,
    /// Up.
    pub y: f64,
    /// Interval across.
    pub across: Option<(f64, f64)>,
    /// Interval upwards.
    pub up: Option<(f64, f64)>,
    /// In words, for who points at it.
    pub words: String,
}

/// Points of one thing.
#[derive(Debug, Clone, Default)]
pub struct Series {
    /// Its name.
    pub name: String,
    /// n and flags, smaller.
    pub note: String,
    /// How it looks.
    pub style: Style,
    /// Whether a line joins the points.
    pub joined: bool,
    /// Whether the marks are small: for clouds.
    pub small: bool,
    /// The points.
    pub points: Vec<Point>,
}

/// A line to hold points against.
#[derive(Debug, Clone, Default)]
pub struct Reference {
    /// What it is, with its value.
    pub name: String,
    /// Through these; a single point means from side to side.
    pub points: Vec<(f64, f64)>,
}

/// A chart.
#[derive(Debug, Clone, Default)]
pub struct Chart {
    /// What is shown.
    pub title: String,
    /// The same for who cannot see it.
    pub about: String,
    /// Across.
    pub x: Axis,
    /// Up.
    pub y: Axis,
    /// What is shown.
    pub series: Vec<Series>,
    /// What it is held against.
    pub references: Vec<Reference>,
}

/// A chart to the pixel.
#[derive(Debug, Default, Serialize)]
pub struct Drawing {
    /// Its name.
    pub title: String,
    /// The same for who cannot see it.
    pub about: String,
    /// Size of the drawing.
    pub width: u32,
    /// Likewise.
    pub height: u32,
    /// Lines with a class.
    pub paths: Vec<Path>,
    /// Words.
    pub texts: Vec<Text>,
    /// Marks.
    pub marks: Vec<Mark>,
}

/// Lines.
#[derive(Debug, Serialize)]
pub struct Path {
    /// How they are drawn.
    pub class: String,
    /// Where.
    pub d: String,
}

/// Words at a place.
#[derive(Debug, Serialize)]
pub struct Text {
    /// How they are set: `start`, `middle` or `end`.
    pub anchor: &'static str,
    /// Where.
    pub x: String,
    /// Where.
    pub y: String,
    /// The words.
    pub text: String,
}

/// A mark at a place.
#[derive(Debug, Serialize)]
pub struct Mark {
    /// How it is drawn.
    pub class: String,
    /// Which shape.
    pub shape: usize,
    /// Where.
    pub x: String,
    /// Where.
    pub y: String,
    /// What it is, for who points at it.
    pub words: String,
}

const WIDTH: f64 = 460.0;
const HEIGHT: f64 = 330.0;
/// Left, right, top and bottom of the field.
const FIELD: [f64; 4] = [78.0, 444.0, 34.0, 280.0];
/// More than a character of a label is wide.
const GLYPH: f64 = 8.0;

fn px(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").unwrap_or(&text).to_string()
}

fn line(x1: f64, y1: f64, x2: f64, y2: f64) -> String {
    format!("M{} {}L{} {}", px(x1), px(y1), px(x2), px(y2))
}

/// Lines through all these points.
fn through(points: impl Iterator<Item = (f64, f64)>) -> String {
    let mut d = String::new();
    for (x, y) in points {
        d.push(if d.is_empty() { 'M' } else { 'L' });
        d.push_str(&format!("{} {}", px(x), px(y)));
    }
    d
}

impl Chart {
    /// Whether there is a point.
    pub fn shows_something(&self) -> bool {
        self.series.iter().any(|series| !series.points.is_empty())
    }

    /// The chart to the pixel.
    pub fn draw(&self) -> Drawing {
        let points = || self.series.iter().flat_map(|series| &series.points);
        let ends = |interval: Option<(f64, f64)>| interval.map_or([None; 2], |(low, high)| [Some(low), Some(high)]);
        let lines = || self.references.iter().flat_map(|reference| &reference.points);
        let xs = points().flat_map(|p| ends(p.across).into_iter().flatten().chain([p.x]));
        let ys = points().flat_map(|p| ends(p.up).into_iter().flatten().chain([p.y])).chain(lines().map(|(_, y)| *y));
        let [left, right, top, bottom] = FIELD;
        let (x, y) = (self.x.scale(xs, (left, right)), self.y.scale(ys, (bottom, top)));
        let mut drawing = self.frame(&x, &y);
        for (number, reference) in self.references.iter().enumerate() {
            drawing.paths.push(Path { class: format!("ref r{}", number % 3), d: reference.through(&x, &y) });
        }
        // Lines that share their places stand side by side there, so that no interval hides another.
        let beside: Vec<_> = self.series.iter().filter(|series| series.stands()).map(|series| &series.name).collect();
        for series in &self.series {
            let place = beside.iter().position(|name| **name == series.name).unwrap_or(0) as f64;
            let aside = if series.stands() { ASIDE * (place - (beside.len() - 1) as f64 / 2.0) } else { 0.0 };
            series.draw(aside, &x, &y, &mut drawing);
        }
        drawing
    }

    /// Grid, axes and their labels.
    fn frame(&self, x: &Scale, y: &Scale) -> Drawing {
        let [left, right, _, bottom] = FIELD;
        let (mut grid, mut texts) = (String::new(), vec![]);
        let mut write = |anchor, x: f64, y: f64, text: &str| {
            texts.push(Text { anchor, x: px(x), y: px(y), text: text.into() });
        };
        for (value, label) in self.y.ticks(y, true) {
            grid.push_str(&line(left, y.place(value), right, y.place(value)));
            write("end", left - 8.0, y.place(value) + 4.5, &label);
        }
        let mut steps = line(left, bottom, right, bottom);
        for (value, label) in self.x.ticks(x, false) {
            steps.push_str(&line(x.place(value), bottom, x.place(value), bottom + 5.0));
            // The last one may stand nearer to the edge than half of its length.
            let last = WIDTH - GLYPH * label.chars().count() as f64 / 2.0;
            write("middle", x.place(value).min(last), bottom + 20.0, &label);
        }
        write("start", 4.0, 16.0, &self.y.title);
        write("end", right, HEIGHT - 8.0, &self.x.title);
        let paths = [("grid", grid), ("axis", steps)].map(|(class, d)| Path { class: class.into(), d }).into();
        let (title, about) = (self.title.clone(), self.about.clone());
        Drawing { title, about, width: WIDTH as u32, height: HEIGHT as u32, paths, texts, marks: vec![] }
    }

    /// What is what.
    pub fn key(&self) -> Vec<Key> {
        let series = self.series.iter().map(|series| Key {
            class: series.style.class(),
            shape: Some(series.shape()),
            line: series.joined,
            text: series.name.clone(),
            sub: series.note.clone(),
        });
        let references = self.references.iter().enumerate().map(|(number, reference)| Key {
            class: format!("ref r{}", number % 3),
            shape: None,
            line: true,
            text: reference.name.clone(),
            sub: String::new(),
        });
        series.chain(references).collect()
    }
}

impl Reference {
    /// A line from side to side.
    pub fn level(name: impl Into<String>, y: f64) -> Self {
        Self { name: name.into(), points: vec![(0.0, y)] }
    }

    fn through(&self, x: &Scale, y: &Scale) -> String {
        match self.points[..] {
            [(_, level)] => line(FIELD[0], y.place(level), FIELD[1], y.place(level)),
            _ => through(self.points.iter().map(|(a, b)| (x.place(*a), y.place(*b)))),
        }
    }
}

/// How far lines that share their places keep from each other, in pixels.
const ASIDE: f64 = 3.5;

impl Series {
    /// Whether it is a line whose points have intervals upwards.
    fn stands(&self) -> bool {
        self.joined && self.points.iter().any(|point| point.up.is_some())
    }

    fn shape(&self) -> usize {
        if self.small { SHAPES + usize::from(self.style.hollow) } else { self.style.shape }
    }

    fn draw(&self, aside: f64, x: &Scale, y: &Scale, drawing: &mut Drawing) {
        let class = self.style.class();
        let places = || self.points.iter().map(|point| (x.place(point.x) + aside, y.place(point.y)));
        if self.joined && self.points.len() > 1 {
            drawing.paths.push(Path { class: format!("line {class}"), d: through(places()) });
        }
        let mut whiskers = String::new();
        for (point, (px_, py_)) in self.points.iter().zip(places()) {
            if let Some((low, high)) = point.across {
                whiskers.push_str(&line(x.place(low), py_, x.place(high), py_));
            }
            if let Some((low, high)) = point.up {
                whiskers.push_str(&line(px_, y.place(low), px_, y.place(high)));
            }
        }
        if !whiskers.is_empty() {
            drawing.paths.push(Path { class: format!("whisker c{}", self.style.colour), d: whiskers });
        }
        let small = if self.small { " small" } else { "" };
        drawing.marks.extend(self.points.iter().zip(places()).map(|(point, (x, y))| Mark {
            class: format!("{class}{small}"),
            shape: self.shape(),
            x: px(x),
            y: px(y),
            words: point.words.clone(),
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::super::axis::Unit;
    use super::*;

    fn chart() -> Chart {
        let point = |x: f64, y: f64| Point { x, y, up: Some((0.8 * y, 1.5 * y)), ..Point::default() };
        let series = Series {
            joined: true,
            style: Style::numbered(9, true),
            points: vec![point(64.0, 100.0), point(4096.0, 900.0)],
            ..Series::default()
        };
        Chart {
            x: Axis::log("bytes", Unit::Number),
            y: Axis::log("time", Unit::Nanos),
            series: vec![series],
            references: vec![Reference::level("floor", 20.0)],
            ..Chart::default()
        }
    }

    #[test]
    fn everything_lies_within_the_drawing() {
        let drawing = chart().draw();
        let numbers = drawing.paths.iter().flat_map(|path| path.d.split(['M', 'L'])).filter(|part| !part.is_empty());
        let pairs: Vec<(f64, f64)> = numbers
            .map(|pair| pair.split_once(' ').map(|(x, y)| (x.parse().unwrap(), y.parse().unwrap())).unwrap())
            .collect();
        assert!(pairs.len() > 12, "{pairs:?}");
        for (x, y) in pairs {
            assert!((0.0..=WIDTH).contains(&x) && (0.0..=HEIGHT).contains(&y), "{x} {y}");
        }
    }

    #[test]
    fn series_and_floors_stand_in_the_key_with_their_looks() {
        let key = chart().key();
        assert_eq!((key.len(), key[0].class.as_str(), key[0].shape), (2, "c1 hollow", Some(2)));
        assert_eq!((key[1].class.as_str(), key[1].shape, key[1].text.as_str()), ("ref r0", None, "floor"));
    }

    #[test]
    fn the_first_64_mechanisms_differ_in_colour_or_shape() {
        let looks: std::collections::HashSet<_> =
            (0..64).map(|number| Style::numbered(number, false)).map(|style| (style.colour, style.shape)).collect();
        assert_eq!(looks.len(), 64);
    }
}
