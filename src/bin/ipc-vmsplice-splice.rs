//! `ipc-vmsplice-splice`: the mechanism `vmsplice-splice` alone.

fn main() -> std::process::ExitCode {
    ipcost::cli::mechanism("vmsplice-splice")
}
