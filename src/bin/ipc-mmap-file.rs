//! `ipc-mmap-file`: the mechanism `mmap-file` alone.

fn main() -> std::process::ExitCode {
    ipcost::cli::mechanism("mmap-file")
}
