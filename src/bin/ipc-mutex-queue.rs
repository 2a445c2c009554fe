//! `ipc-mutex-queue`: the mechanism `mutex-queue` alone.

fn main() -> std::process::ExitCode {
    ipcost::cli::mechanism("mutex-queue")
}
