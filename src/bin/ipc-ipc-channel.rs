//! `ipc-ipc-channel`: the mechanism `ipc-channel` alone.

fn main() -> std::process::ExitCode {
    ipcost::cli::mechanism("ipc-channel")
}
