//! `ipc-tokio-unix`: the mechanism `tokio-unix` alone.

fn main() -> std::process::ExitCode {
    ipcost::cli::mechanism("tokio-unix")
}
