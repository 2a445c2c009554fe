//! `ipc-rtrb`: the mechanism `rtrb` alone.

fn main() -> std::process::ExitCode {
    ipcost::cli::mechanism("rtrb")
}
