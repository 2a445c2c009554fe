//! `ipc-unix-stream`: the mechanism `unix-stream` alone.

fn main() -> std::process::ExitCode {
    ipcost::cli::mechanism("unix-stream")
}
