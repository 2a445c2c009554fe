//! `ipc-vmsplice`: the mechanism `vmsplice` alone.

fn main() -> std::process::ExitCode {
    ipcost::cli::mechanism("vmsplice")
}
