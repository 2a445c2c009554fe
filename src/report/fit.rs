//! Tables and text that fit a width.
//!
//! Key decision: a column is shown whole or not at all. What does not fit is left out column by column, in an order that
//! each table states, and a line below says what is missing and how to see it. Rejected: cutting cells (a number without
//! its unit is another number) and wrapping them (a row is then no line, and neither eye nor grep follows it). Sentences
//! are wrapped between words, with their continuation under their beginning. A command that needs several lines has a
//! backslash at the end of each but the last, so that a shell takes what is pasted as one.

use comfy_table::{CellAlignment, Table, presets};
use std::fmt::Write;

/// Narrowest width for which anything is laid out; below it, lines run over.
const NARROWEST: usize = 40;

/// How wide a text may be; `None` is as wide as it gets.
pub type Width = Option<usize>;

/// A column of a table.
#[derive(Debug, Clone)]
pub struct Head {
    /// What stands above it.
    pub title: String,
    /// Whether it holds words, which stand on the left; numbers stand on the right.
    pub words: bool,
    /// 0 for a column that is never left out; of the others, the largest goes first.
    pub spare: u8,
}

impl Head {
    /// A column of numbers.
    pub fn number(title: &str, spare: u8) -> Self {
        Self { title: title.into(), words: false, spare }
    }

    /// A column of words.
    pub fn words(title: &str, spare: u8) -> Self {
        Self { words: true, ..Self::number(title, spare) }
    }
}

/// Blanks between two columns.
const GAP: usize = 2;

/// Which columns fit, by index.
fn fitting(heads: &[Head], rows: &[Vec<String>], width: Width) -> Vec<usize> {
    let widest = |index: usize| {
        let cells = rows.iter().map(|row| row[index].chars().count());
        cells.chain([heads[index].title.chars().count()]).max().unwrap_or(0)
    };
    let mut kept: Vec<usize> = (0..heads.len()).collect();
    let Some(width) = width else { return kept };
    let taken = |kept: &[usize]| kept.iter().map(|index| widest(*index) + GAP).sum::<usize>().saturating_sub(GAP);
    while taken(&kept) > width.max(NARROWEST) {
        let Some(next) = kept.iter().copied().filter(|i| heads[*i].spare > 0).max_by_key(|i| heads[*i].spare) else {
            break;
        };
        kept.retain(|index| *index != next);
    }
    kept
}

/// A table for a terminal, as wide as it may be; what was left out stands in the line below it.
pub fn table(heads: &[Head], rows: &[Vec<String>], width: Width) -> String {
    let kept = fitting(heads, rows, width);
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(kept.iter().map(|index| heads[*index].title.as_str()));
    for row in rows {
        table.add_row(kept.iter().map(|index| row[*index].as_str()));
    }
    for (place, index) in kept.iter().enumerate() {
        if let Some(column) = table.column_mut(place) {
            column.set_padding((0, GAP as u16));
            column.set_cell_alignment(if heads[*index].words { CellAlignment::Left } else { CellAlignment::Right });
        }
    }
    let mut text = table.lines().map(|line| line.trim_end().to_string() + "\n").collect::<String>();
    let left_out: Vec<&str> =
        (0..heads.len()).filter(|index| !kept.contains(index)).map(|index| heads[index].title.as_str()).collect();
    if !left_out.is_empty() {
        let line = format!("(no room for {}: widen the terminal)", left_out.join(", "));
        text.push_str(&wrapped("", &line, width));
    }
    text
}

/// A table of words: as [`table`] where all columns fit, else each row as a paragraph that begins with its first `title`
/// cells and says of every other one what it is.
pub fn table_or_paragraphs(heads: &[Head], rows: &[Vec<String>], title: usize, width: Width) -> String {
    if fits(heads, rows, width) {
        return table(heads, rows, width);
    }
    let paragraph = |row: &Vec<String>| {
        let said = heads.iter().zip(row).skip(title).filter(|(_, cell)| !cell.is_empty());
        let said: Vec<String> = said.map(|(head, cell)| format!("{}: {cell}", head.title)).collect();
        wrapped("", &row[..title].join(", "), width) + &wrapped("  ", &said.join("; "), width)
    };
    rows.iter().map(paragraph).collect()
}

/// Whether all columns fit, also those that are never left out.
pub fn fits(heads: &[Head], rows: &[Vec<String>], width: Width) -> bool {
    let spare: Vec<Head> = heads.iter().map(|head| Head { spare: 1, ..head.clone() }).collect();
    fitting(&spare, rows, width).len() == heads.len()
}

/// A table in markdown, which has all columns.
pub fn markdown(heads: &[Head], rows: &[Vec<String>]) -> String {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header(heads.iter().map(|head| head.title.as_str()));
    rows.iter().for_each(|row| _ = table.add_row(row));
    for (head, column) in heads.iter().zip(table.column_iter_mut()) {
        column.set_cell_alignment(if head.words { CellAlignment::Left } else { CellAlignment::Right });
    }
    format!("{table}\n")
}

/// `first` and then `text`, in lines that fit; the second and all further ones begin below the text.
pub fn wrapped(first: &str, text: &str, width: Width) -> String {
    let indent = first.chars().count();
    let Some(width) = width.map(|width| width.max(NARROWEST).max(indent + 20)) else {
        return format!("{first}{text}\n");
    };
    let (mut out, mut line, mut filled) = (String::new(), first.to_string(), indent);
    let (mut begun, mut command) = (false, false);
    let paired = text.matches('`').count().is_multiple_of(2);
    for word in text.split(' ') {
        let long = word.chars().count();
        let goes_on = command ^ (paired && word.matches('`').count() % 2 == 1);
        // Where a command may be broken behind this word, the backslash needs its place.
        let room = if goes_on { width - BROKEN.len() } else { width };
        if begun && filled + 1 + long > room {
            let _ = writeln!(out, "{}{}", line.trim_end(), if command { BROKEN } else { "" });
            (line, filled, begun) = (" ".repeat(indent), indent, false);
        }
        if begun {
            line.push(' ');
            filled += 1;
        }
        line.push_str(word);
        (filled, begun, command) = (filled + long, true, goes_on);
    }
    let _ = writeln!(out, "{}", line.trim_end());
    out
}

/// What stands at the end of a line of a command that goes on.
const BROKEN: &str = " \\";

/// How much further to the right a command goes on.
const STEP: usize = 4;

/// A command on lines that fit, broken before its options. A list that is longer than a line becomes the same option
/// several times, which means the same to every command here.
pub fn command(indent: usize, command: &str, width: Width) -> String {
    let room = width.map(|width| width.max(NARROWEST).saturating_sub(indent).max(20));
    let Some(room) = room.filter(|room| command.chars().count() > *room) else {
        return format!("{:indent$}{command}\n", "");
    };
    let room = room - STEP - BROKEN.len();
    let mut options = command.split(" --");
    let mut lines = vec![options.next().unwrap_or_default().to_string()];
    for option in options.flat_map(|option| shares(&format!("--{option}"), room)) {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + option.chars().count() <= room => *line += &format!(" {option}"),
            _ => lines.push(option),
        }
    }
    let next = format!("{BROKEN}\n{:1$}", "", indent + STEP);
    format!("{:indent$}{}\n", "", lines.join(&next))
}

/// An option whose list is too long, as the option with a share of the list each.
fn shares(option: &str, room: usize) -> Vec<String> {
    let Some((name, list)) = option.split_once(' ').filter(|_| option.chars().count() > room) else {
        return vec![option.into()];
    };
    let mut shares: Vec<String> = Vec::new();
    for item in list.split(',') {
        match shares.last_mut() {
            Some(share) if share.chars().count() + 1 + item.chars().count() <= room => *share += &format!(",{item}"),
            _ => shares.push(format!("{name} {item}")),
        }
    }
    shares
}

/// A text in which every line that is too long is wrapped. It goes on below the words behind its label, which is what
/// stands before the first two blanks, if that is short; else below its beginning.
pub fn paragraphs(text: &str, width: Width) -> String {
    let one = |line: &str| match width {
        Some(width) if line.chars().count() > width => {
            let first = &line[..label(line)];
            wrapped(first, &line[first.len()..], Some(width))
        }
        _ => format!("{line}\n"),
    };
    text.lines().map(one).collect()
}

/// Widest label that a line is wrapped beside.
const LABEL: usize = 30;

/// Bytes before the words of a line.
fn label(line: &str) -> usize {
    let blanks = line.len() - line.trim_start_matches(' ').len();
    let behind = line[blanks..].find("  ").map(|at| {
        let rest = &line[blanks + at..];
        blanks + at + rest.len() - rest.trim_start_matches(' ').len()
    });
    behind.filter(|at| *at <= LABEL).unwrap_or(blanks)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heads() -> Vec<Head> {
        vec![Head::words("mechanism", 0), Head::number("round trip", 0), Head::number("p99", 2), Head::number("CPU", 1)]
    }

    fn rows() -> Vec<Vec<String>> {
        let row = |cells: [&str; 4]| cells.map(str::to_string).to_vec();
        vec![row(["unix-stream of two ends", "12.3 us", "99.1 us", "3.10 us"]), row(["pipe", "1 us", "2 us", "3 us"])]
    }

    #[test]
    fn columns_go_in_the_stated_order_and_are_named() {
        let widest = |text: &str| text.lines().map(|line| line.chars().count()).max().unwrap();
        let all = table(&heads(), &rows(), None);
        assert!(all.contains("p99") && all.contains("CPU") && !all.contains("no room"), "{all}");
        assert_eq!(widest(&all), 23 + 2 + 10 + 2 + 7 + 2 + 7);
        assert_eq!(table(&heads(), &rows(), Some(53)), all, "it fits exactly");
        let less = table(&heads(), &rows(), Some(52));
        assert!(!less.lines().next().unwrap().contains("p99") && less.contains("CPU"), "{less}");
        assert!(less.contains("(no room for p99: widen") && widest(&less) <= 52, "{less}");
        let least = table(&heads(), &rows(), Some(40));
        assert!(least.contains("no room for p99, CPU") && !least.contains("99.1 us"), "{least}");
    }

    #[test]
    fn words_are_wrapped_below_their_beginning_and_none_is_cut() {
        let text = wrapped("remark  ", "one two three four five six seven eight nine", Some(40));
        assert_eq!(text, "remark  one two three four five six\n        seven eight nine\n");
        let word = "x".repeat(100);
        assert_eq!(wrapped("", &word, Some(40)), format!("{word}\n"));
        assert_eq!(wrapped("a ", "b c", None), "a b c\n");
        assert_eq!(paragraphs("  a b\n\nc", Some(80)), "  a b\n\nc\n");
        let long = "pipe   process  one two three four five six";
        assert_eq!(paragraphs(long, Some(40)), "pipe   process  one two three four five\n       six\n");
        assert_eq!(paragraphs(long, None), format!("{long}\n"));
    }

    /// What a shell makes of lines that were pasted into it.
    fn pasted(lines: &str) -> Vec<String> {
        lines.replace("\\\n", "").split_whitespace().map(str::to_string).collect()
    }

    #[test]
    fn a_command_that_is_broken_can_be_pasted() {
        let one = "ipcost compare --workload ping-pong,stream --size 4KiB --mechanism a,bb,ccc,dddd,eeeee,f";
        for width in [40, 60, 80, 100] {
            let lines = command(3, one, Some(width));
            assert!(lines.lines().all(|line| line.chars().count() <= width), "{width}:\n{lines}");
            let words: Vec<String> = pasted(&lines).into_iter().filter(|word| word != "--mechanism").collect();
            assert!(words.join(",").ends_with("--size,4KiB,a,bb,ccc,dddd,eeeee,f"), "{width}:\n{lines}");
            assert!(lines.matches(" \\\n").count() + 1 == lines.lines().count(), "{lines}");
        }
        assert_eq!(command(3, one, None), format!("   {one}\n"));
        let sentence = "first measure it with `ipcost compare --workload ping-pong,stream --size 4KiB` and then go on";
        let lines = wrapped("hint  ", sentence, Some(40));
        assert!(lines.lines().all(|line| line.chars().count() <= 40), "{lines}");
        assert_eq!(pasted(&lines)[1..].join(" "), sentence);
        assert_eq!(lines.matches(" \\\n").count(), 2, "only within the command:\n{lines}");
    }

    #[test]
    fn a_table_of_words_becomes_paragraphs_where_it_does_not_fit() {
        assert!(table_or_paragraphs(&heads(), &rows(), 1, Some(60)).starts_with("mechanism "));
        let text = table_or_paragraphs(&heads(), &rows(), 1, Some(50));
        let expected = "unix-stream of two ends\n  round trip: 12.3 us; p99: 99.1 us; CPU: 3.10 us\n\
                        pipe\n  round trip: 1 us; p99: 2 us; CPU: 3 us\n";
        assert_eq!(text, expected);
    }
}
