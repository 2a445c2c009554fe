//! What a page is made of, before it is text.
//!
//! Key decision: every section is a list of the same few blocks, all of them plain data, so that one template draws all of
//! them, tests look at data, and a table is the same thing below a figure and by itself. A number stands twice in a cell:
//! as people read it, and in plain units for sorting and for the CSV file.

use super::chart::Drawing;
use serde::Serialize;

/// One page.
#[derive(Debug, Default, Serialize)]
pub struct Page {
    /// Its name.
    pub title: String,
    /// Where and when, a line each.
    pub about: Vec<String>,
    /// Sections in order.
    pub sections: Vec<Section>,
}

/// A part of a page with a heading.
#[derive(Debug, Default, Serialize)]
pub struct Section {
    /// Anchor.
    pub id: &'static str,
    /// Heading.
    pub title: &'static str,
    /// What is said first, a paragraph each.
    pub lead: Vec<String>,
    /// What gives the section content, where it has none.
    pub absent: Option<Absent>,
    /// Tables and figures.
    pub blocks: Vec<Block>,
}

impl Section {
    /// A section that says which command would fill it.
    pub fn absent(id: &'static str, title: &'static str, what: impl Into<String>, command: &'static str) -> Self {
        let absent = Some(Absent { what: what.into(), command });
        Self { id, title, absent, ..Self::default() }
    }
}

/// What is missing, and which command would give it.
#[derive(Debug, Serialize)]
pub struct Absent {
    /// In a sentence.
    pub what: String,
    /// As typed.
    pub command: &'static str,
}

/// A piece of a section.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Block {
    /// Rows and columns.
    Table(Table),
    /// A chart for each of several classes, and the table of what they show.
    Figure(Figure),
    /// Sentences, each for itself.
    List {
        /// The sentences.
        items: Vec<Item>,
        /// Whether they are numbered.
        numbered: bool,
    },
    /// Blocks that a reader opens.
    Fold {
        /// What is in it.
        title: String,
        /// Whether it starts open.
        open: bool,
        /// The blocks.
        blocks: Vec<Block>,
    },
}

/// A sentence, perhaps with a word ahead of it.
#[derive(Debug, Default, Serialize)]
pub struct Item {
    /// What it is about; empty where the sentence says it.
    pub lead: &'static str,
    /// The sentence.
    pub text: String,
}

impl From<String> for Item {
    fn from(text: String) -> Self {
        Self { lead: "", text }
    }
}

impl Block {
    /// A list without numbers.
    pub fn list(items: impl IntoIterator<Item = String>) -> Self {
        Block::List { items: items.into_iter().map(Item::from).collect(), numbered: false }
    }
}

/// Rows and columns.
#[derive(Debug, Default, Serialize)]
pub struct Table {
    /// Name of its CSV file, and its anchor.
    pub name: String,
    /// What it shows.
    pub caption: String,
    /// What must be said with it, a line each.
    pub notes: Vec<String>,
    /// Columns.
    pub heads: Vec<Head>,
    /// Rows in order.
    pub rows: Vec<Line>,
}

/// The head of a column.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Head {
    /// Its name.
    pub title: String,
    /// What it means, where the name does not say it.
    pub hint: String,
    /// Whether its cells are numbers.
    pub number: bool,
    /// Whether its cells are bars.
    pub bars: bool,
}

impl Head {
    /// A column of words.
    pub fn words(title: impl Into<String>) -> Self {
        Self { title: title.into(), ..Self::default() }
    }

    /// A column of numbers.
    pub fn number(title: impl Into<String>) -> Self {
        Self { title: title.into(), number: true, ..Self::default() }
    }

    /// A column of bars.
    pub fn bars(title: impl Into<String>) -> Self {
        Self { title: title.into(), bars: true, ..Self::default() }
    }

    /// With what it means.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: hint.into(), ..self }
    }
}

/// A row.
#[derive(Debug, Default, Serialize)]
pub struct Line {
    /// How it is drawn: `control`, or nothing.
    pub class: &'static str,
    /// Its cells.
    pub cells: Vec<Cell>,
}

impl From<Vec<Cell>> for Line {
    fn from(cells: Vec<Cell>) -> Self {
        Self { class: "", cells }
    }
}

/// A field of a table.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Cell {
    /// As people read it.
    pub text: String,
    /// A second, smaller line.
    pub sub: String,
    /// In plain units, to sort by and for the CSV file; the text where it is absent.
    pub plain: Option<String>,
    /// How it is drawn: `tie`, `warn`, `good`, `bad`, `empty`, or nothing.
    pub class: &'static str,
    /// Whether it names its row.
    pub head: bool,
    /// Whether the text is so long that it may be broken.
    pub long: bool,
    /// A bar instead of text.
    pub bar: Option<Bar>,
}

/// Longest text that is kept in one line.
const LONG: usize = 48;

impl Cell {
    /// Words.
    pub fn text(text: impl Into<String>) -> Self {
        let text = text.into();
        Self { long: text.chars().count() > LONG, text, ..Self::default() }
    }

    /// The name of a row.
    pub fn head(text: impl Into<String>) -> Self {
        Self { head: true, ..Self::text(text) }
    }

    /// A number, as people read it and plain.
    pub fn number(text: impl Into<String>, plain: f64) -> Self {
        Self { plain: Some(super::plain(plain)), ..Self::text(text) }
    }

    /// A number that may be absent.
    pub fn maybe(value: Option<f64>, show: impl Fn(f64) -> String) -> Self {
        value.map_or_else(Self::default, |value| Self::number(show(value), value))
    }

    /// Drawn as.
    #[must_use]
    pub fn class(self, class: &'static str) -> Self {
        Self { class, ..self }
    }

    /// With a second line.
    #[must_use]
    pub fn below(self, sub: impl Into<String>) -> Self {
        Self { sub: sub.into(), ..self }
    }
}

/// A bar, or a dot where the scale has no zero, with its interval: places in per cent of the width.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Bar {
    /// From zero to here; absent on a scale without zero.
    pub to: Option<String>,
    /// The median.
    pub dot: String,
    /// Left end of the interval and its width.
    pub interval: Option<(String, String)>,
    /// A line to hold it against, such as a floor.
    pub mark: Option<String>,
    /// A shaded stretch, such as the noise: left end and width.
    pub band: Option<(String, String)>,
}

/// One or more charts of one kind.
#[derive(Debug, Default, Serialize)]
pub struct Figure {
    /// Anchor.
    pub name: String,
    /// What must be known to read it.
    pub notes: Vec<String>,
    /// The charts.
    pub panels: Vec<Panel>,
    /// Everything that is drawn, and what there was no room for.
    pub table: Table,
}

/// One chart with its key.
#[derive(Debug, Serialize)]
pub struct Panel {
    /// What sets it apart from its neighbours.
    pub title: String,
    /// Anchor.
    pub name: String,
    /// The chart.
    pub drawing: Drawing,
    /// What is what.
    pub key: Vec<Key>,
    /// What must be said about it.
    pub note: String,
}

/// An entry of a key.
#[derive(Debug, Clone, Serialize)]
pub struct Key {
    /// Classes of the mark.
    pub class: String,
    /// Shape of the mark; none for a line without one.
    pub shape: Option<usize>,
    /// Whether a line goes with it.
    pub line: bool,
    /// The name.
    pub text: String,
    /// Smaller: n, flags.
    pub sub: String,
}
