//! `ipc-file`: the mechanism `file` alone.

fn main() -> std::process::ExitCode {
    ipcost::cli::mechanism("file")
}
