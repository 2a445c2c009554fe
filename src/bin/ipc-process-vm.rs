//! `ipc-process-vm`: the mechanism `process-vm` alone.

fn main() -> std::process::ExitCode {
    ipcost::cli::mechanism("process-vm")
}
