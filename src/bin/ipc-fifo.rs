//! `ipc-fifo`: the mechanism `fifo` alone.

fn main() -> std::process::ExitCode {
    ipcost::cli::mechanism("fifo")
}
