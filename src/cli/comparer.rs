//! `ipcost`.
use std::process::ExitCode;
/// The whole program `ipcost`.
pub fn comparer() -> ExitCode {
    ExitCode::SUCCESS
}
