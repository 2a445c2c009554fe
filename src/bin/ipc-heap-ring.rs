//! `ipc-heap-ring`: the mechanism `heap-ring` alone.

fn main() -> std::process::ExitCode {
    ipcost::cli::mechanism("heap-ring")
}
