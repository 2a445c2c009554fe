//! `ipcost`: compares all mechanisms.

fn main() -> std::process::ExitCode {
    ipcost::cli::comparer()
}
