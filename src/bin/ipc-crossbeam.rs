//! `ipc-crossbeam`: the mechanism `crossbeam` alone.

fn main() -> std::process::ExitCode {
    ipcost::cli::mechanism("crossbeam")
}
