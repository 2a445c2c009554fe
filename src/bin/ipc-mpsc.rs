//! `ipc-mpsc`: the mechanism `mpsc` alone.

fn main() -> std::process::ExitCode {
    ipcost::cli::mechanism("mpsc")
}
