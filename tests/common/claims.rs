//! One cell of a claim, measured by the built program as `ipcost claims` does it.

use ipcost::claim::{AGAIN, Cell, record::Answer};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// Measures a cell of `claim` in a process of its own and sees that neither processes nor files are left.
pub fn measure(claim: &str, with: serde_json::Value, millis: u64, plant: Option<&str>) -> Answer {
    let folder = tempfile::tempdir().expect("a folder");
    let cell = Cell {
        claim: claim.into(),
        case: "of a test".into(),
        with,
        millis,
        label: Some(AGAIN.into()),
        plant: plant.map(Into::into),
    };
    let mut child = Command::new(env!("CARGO_BIN_EXE_ipcost"))
        .arg("claim-cell")
        .env("TMPDIR", folder.path())
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program was built");
    let order = serde_json::to_string(&cell).expect("plain data") + "\n";
    child.stdin.take().expect("a pipe").write_all(order.as_bytes()).expect("it listens");
    let group = child.id();
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(members(group), [0_u32; 0], "processes were left");
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 0, "files were left");
    serde_json::from_slice(&output.stdout).expect("an answer")
}

/// The processes of a group that are no zombies. Source: proc_pid_stat(5).
fn members(group: u32) -> Vec<u32> {
    let pids = std::fs::read_dir("/proc").expect("there is a /proc").flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let belongs = |pid: &u32| {
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
        // The name in parentheses may hold anything; state, parent and group follow it.
        let mut fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        fields.next() != Some("Z") && fields.nth(1) == Some(&group.to_string())
    };
    pids.filter(belongs).collect()
}
