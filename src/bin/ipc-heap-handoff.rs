//! `ipc-heap-handoff`: the mechanism `heap-handoff` alone.

fn main() -> std::process::ExitCode {
    ipcost::cli::mechanism("heap-handoff")
}
