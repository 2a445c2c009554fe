//! `ipc-copy`: the mechanism `copy` alone.

fn main() -> std::process::ExitCode {
    ipcost::cli::mechanism("copy")
}
