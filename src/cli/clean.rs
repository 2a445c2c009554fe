//! `ipcost clean`: removes what dead runs of this tool left, and says what.

use super::{print, remark};
use crate::error::{Error, Phase, Result};
use crate::names::janitor::{self, Found, Leftover, Reason};
use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;

/// Its options.
#[derive(Debug, Args)]
pub struct Clean {
    /// Say what would be removed, and remove nothing
    #[arg(long)]
    dry_run: bool,
    /// Look here too, for runs that had this --dir
    #[arg(long, value_name = "DIR")]
    dir: Vec<PathBuf>,
}

/// Removes and says what.
///
/// # Errors
/// When a folder that was named is none, or something could not be removed.
pub fn clean(args: &Clean) -> Result<ExitCode> {
    if let Some(dir) = args.dir.iter().find(|dir| !dir.is_dir()) {
        return Err(Error::usage(format!("{} is no folder", dir.display())).hint("name one that exists with --dir"));
    }
    let found = janitor::sweep(&args.dir, !args.dry_run);
    print(&page(&found, args.dry_run))?;
    found.remarks.iter().for_each(|text| remark(text));
    let mut troubled = found.leftovers.iter().filter(|one| one.trouble.is_some());
    match (troubled.next(), troubled.count()) {
        (None, _) => Ok(ExitCode::SUCCESS),
        (Some(first), more) => {
            let others = if more > 0 { format!(" and {more} more") } else { String::new() };
            let what = format!("{}{others} could not be removed", first.name);
            let trouble = first.trouble.as_ref().map(ToString::to_string).unwrap_or_default();
            Err(Error::failed(Phase::Report, what).because(trouble).hint("look who holds or protects it"))
        }
    }
}

/// Most names of things that were left alone.
const NAMED: usize = 10;

fn page(found: &Found, dry: bool) -> String {
    let mut text = String::new();
    let gone = |one: &&Leftover| one.trouble.is_none();
    for one in &found.leftovers {
        let verb = match (&one.trouble, dry) {
            (Some(_), _) => "kept",
            (None, true) => "would remove",
            (None, false) => "removed",
        };
        text += &format!("{verb} {}, {} bytes, left by {}", one.name, one.bytes, one.owner);
        text += &one.trouble.as_ref().map_or("\n".into(), |why| format!(": {why}\n"));
    }
    for reason in [Reason::InUse, Reason::Foreign, Reason::Unknown] {
        let names: Vec<_> = found.left_alone.iter().filter(|(why, _)| *why == reason).map(|(_, name)| name).collect();
        if !names.is_empty() {
            let named: Vec<_> = names.iter().take(NAMED).map(|name| name.as_str()).collect();
            let more = if names.len() > NAMED { ", ..." } else { "" };
            text += &format!("left alone: {} {}: {}{more}\n", names.len(), reason.words(), named.join(", "));
        }
    }
    let (count, bytes) = found.leftovers.iter().filter(gone).fold((0, 0), |(n, sum), one| (n + 1, sum + one.bytes));
    let verb = if dry { "would remove" } else { "removed" };
    text + &match count {
        0 if found.leftovers.is_empty() => "nothing is left of dead runs\n".to_string(),
        _ => format!("{verb} {count} leftovers of dead runs, {bytes} bytes\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn the_page_says_what_how_much_whose_and_what_was_left_alone() {
        let one = |name: &str, trouble| Leftover { name: name.into(), bytes: 4096, owner: "process 7".into(), trouble };
        let found = Found {
            leftovers: vec![one("/a", None), one("/b", Some(io::Error::other("locked")))],
            left_alone: vec![(Reason::Foreign, "/c".into()), (Reason::InUse, "/d".into())],
            remarks: vec![],
        };
        let text = page(&found, false);
        assert!(text.contains("removed /a, 4096 bytes, left by process 7\n"), "{text}");
        assert!(text.contains("kept /b, 4096 bytes, left by process 7: locked\n"), "{text}");
        assert!(
            text.contains("left alone: 1 in use by a living run: /d\nleft alone: 1 another user's: /c\n"),
            "{text}"
        );
        assert!(text.ends_with("removed 1 leftovers of dead runs, 4096 bytes\n"), "{text}");
        assert!(page(&found, true).contains("would remove /a"));
        assert_eq!(page(&Found::default(), false), "nothing is left of dead runs\n");
    }
}
