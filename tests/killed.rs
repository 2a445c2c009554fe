//! A few of the random moments of `scripts/killed.py`, which kills commands and looks for what they left.

mod common;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

#[test]
fn what_is_killed_at_a_few_random_moments_leaves_nothing() {
    common::watched(Duration::from_secs(300), || {
        let bin = Path::new(env!("CARGO_BIN_EXE_ipcost")).parent().unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/killed.py");
        let run = |arguments: &[&str]| {
            let output = Command::new(&script).arg("--bin").arg(bin).args(arguments).output();
            match output {
                Ok(output) if output.status.code() != Some(2) => Some(output),
                other => {
                    println!("skipped: no python3 or no name spaces here: {other:?}");
                    None
                }
            }
        };
        // Short ones: a full campaign is for the script alone.
        let Some(output) = run(&["--moments", "10", "--command", "ipc-"]) else { return };
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        println!("{text}");
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        assert!(text.contains("10 moments with seed"), "{text}");
        let Some(output) = run(&["--moments", "2", "--command", "roles"]) else { return };
        assert!(output.status.success(), "{output:?}");
        // It sees what is left: a file that nothing of this tool made.
        let Some(output) = run(&["--moments", "1", "--command", "host", "--plant"]) else { return };
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.code() == Some(1) && text.contains("VIOLATION"), "{text}");
    });
}
