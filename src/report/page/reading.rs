//! How to read the page, and what not to conclude.

use super::blocks::{Block, Section};

const READ: &[&str] = &[
    "A launch is a fresh process, or pair of them. n counts launches; an interval goes over launches, never over messages.",
    "The interval is that of the median, from order statistics: at least 95 % whatever the distribution. Of six launches it \
     runs from the smallest to the largest; below six there is none.",
    "A ratio is paired: both launches are of the same round, so that what both saw of a drifting machine cancels.",
    "The noise of a class is what one cell shows against itself. A ratio within it, or one whose interval contains 1, is no \
     difference, and the rows share a rank.",
    "A flag is a reason for doubt that was found without a look at the result. Flagged launches count here; the tables \
     without them are in summary-unflagged.md.",
    "x floor divides by what the same two parties needed for a bare hand-over beside the run, or by one memcpy of a stream's \
     bytes.",
    "Processes have filled marks and solid lines, threads hollow ones and dashes. A mechanism looks the same in all charts.",
    "Every table sorts by the column that is chosen and can be saved as CSV, in ns, bytes and per second.",
];

const NOT: &[&str] = &[
    "Not that a rank is a distance: two rows of neighbouring ranks may differ by a little more than the noise.",
    "Not that two rows which both tie with the first of their rank tie with each other.",
    "Not that the fastest row of one class beats a row of another: spinning burns a CPU that blocking leaves to others.",
    "Not that these times hold on another machine, another kernel, another load or another placement.",
    "Not that a ping-pong's tail is what users wait for: it asks again only when it was answered. That is what an offered \
     load is for.",
    "Not that a missing difference is proof of equality: it was smaller than this campaign could show.",
];

/// The last section.
pub fn section() -> Section {
    let list = |lines: &[&str]| Block::list(lines.iter().map(|line| (*line).to_string()));
    let fold = |title: &str, lines| Block::Fold { title: title.into(), open: true, blocks: vec![list(lines)] };
    let blocks = vec![fold("How to read it", READ), fold("What not to conclude", NOT)];
    Section { id: "reading", title: "How to read it, and what not to conclude", blocks, ..Section::default() }
}
