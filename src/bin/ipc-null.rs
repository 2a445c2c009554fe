//! `ipc-null`: the mechanism `null` alone.

fn main() -> std::process::ExitCode {
    ipcost::cli::mechanism("null")
}
