//! `ipc-local-socket`: the mechanism `local-socket` alone.

fn main() -> std::process::ExitCode {
    ipcost::cli::mechanism("local-socket")
}
