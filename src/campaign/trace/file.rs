//! The traces of a results folder: which cells are traced and when, and the file that keeps what was found.

use super::{LIMIT, Trace, trace};
use crate::error::{Context, Phase, Result};
use crate::lines;
use crate::plan::{Parties, Plan, Workload};
use crate::results::notebook;
use std::fs::OpenOptions;
use std::path::Path;
use std::time::{Duration, Instant};

/// With less time left a traced run is not begun.
const SHORTEST: Duration = Duration::from_millis(100);
/// File of a results folder that holds the traces.
const TRACES: &str = "traces.jsonl";

/// Messages by which the windows of a traced run differ: enough for a twenty-fifth of a call to show, few megabytes, and
/// whole batches or windows.
pub fn messages_for(plan: &Plan) -> u64 {
    let fit = ((4 << 20) / plan.carried_size() as u64).clamp(10, 25);
    (fit * plan.several.batch() as u64).next_multiple_of(plan.several.outstanding())
}

/// Traces every unlabelled cell with two parties once, unless that was done before, and appends the results to a results
/// folder, until `limit` has passed or `interrupted` says so; cells that were not reached say that. What was unavailable
/// before is tried again. Returns how many traces there are now that were not there before.
///
/// # Errors
/// When the folder cannot be read or written.
pub fn all(cells: &[Plan], dir: &Path, limit: Duration, interrupted: &dyn Fn() -> bool) -> Result<usize> {
    let end = Instant::now() + limit;
    mend(dir)?;
    let ((known, _), mut fresh) = (read(dir)?, 0);
    let before = |cell: &Trace| known.iter().rfind(|trace| trace.cell() == cell.cell());
    let traced = |plan: &Plan| before(&Trace::empty(plan, 0)).is_some_and(|trace| trace.unavailable.is_none());
    // An offered load makes the calls of a stream, as many as its schedule leaves it.
    // Of more than two parties the tracer would have to know which is which.
    let carries = |workload: Workload| workload != Workload::OfferedLoad && !workload.has_peers();
    let one = |plan: &&Plan| carries(plan.workload) && plan.parties != Parties::Solo;
    for plan in cells.iter().filter(one).filter(|plan| plan.run.label.is_none() && !traced(plan)) {
        let left = end.saturating_duration_since(Instant::now());
        let found = match left {
            left if left < SHORTEST => Trace::without(plan, "the campaign's budget left no time for it".into()),
            left => trace(plan, messages_for(plan), LIMIT.min(left))
                .unwrap_or_else(|error| Trace::without(plan, error.to_string())),
        };
        if interrupted() {
            break;
        }
        if before(&found).is_none_or(|before| before.unavailable != found.unavailable) {
            fresh += usize::from(found.unavailable.is_none());
            append(dir, &found)?;
        }
    }
    Ok(fresh)
}

/// Removes a last line that was cut, so that the next one does not continue it.
fn mend(dir: &Path) -> Result<()> {
    let path = dir.join(TRACES);
    let Ok(text) = std::fs::read(&path) else { return Ok(()) };
    let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    if whole == text.len() {
        return Ok(());
    }
    let file = OpenOptions::new().write(true).open(&path);
    file.and_then(|file| file.set_len(whole as u64))
        .context(Phase::Report, format!("cannot remove the cut last line of {}", path.display()))
}

/// Appends one trace to a results folder.
///
/// # Errors
/// When the folder cannot be written.
pub fn append(dir: &Path, trace: &Trace) -> Result<()> {
    let then = format!("`ipcost compare --resume {}`", dir.display());
    notebook::append_to(&dir.join(TRACES), trace, &then)
}

/// The traces of a results folder; none where nothing was traced. A cut last line is ignored and said so.
///
/// # Errors
/// When a line in the middle cannot be read.
pub fn read(dir: &Path) -> Result<(Vec<Trace>, Option<String>)> {
    let path = dir.join(TRACES);
    // Bytes: a cut may lie within a character.
    let Ok(text) = std::fs::read(&path) else { return Ok((vec![], None)) };
    lines::read_all(&text, TRACES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traces_read_back_and_a_cut_last_line_is_ignored() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path()).unwrap(), (vec![], None));
        let trace = Trace::without(&Plan::default(), "not permitted".into());
        append(dir.path(), &trace).unwrap();
        let path = dir.path().join(TRACES);
        let whole = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{whole}{{\"mechanism\":")).unwrap();
        let (traces, remark) = read(dir.path()).unwrap();
        assert_eq!(traces, std::slice::from_ref(&trace));
        assert!(remark.is_some_and(|remark| remark.contains("is cut")));
        mend(dir.path()).unwrap();
        append(dir.path(), &trace).unwrap();
        assert_eq!(read(dir.path()).unwrap(), (vec![trace.clone(), trace], None));
        std::fs::write(&path, format!("nonsense\n{whole}")).unwrap();
        assert!(read(dir.path()).is_err());
    }
}
