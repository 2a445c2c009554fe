//! Sizes, rates and times as people write them, and as they are shown to them.

use crate::error::{Error, Result};

/// Reads a size such as `64`, `4KiB` or `1 MiB`; always whole bytes, at least one.
///
/// # Errors
/// A usage error that says what is accepted.
pub fn parse_size(text: &str) -> Result<usize> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor: usize = match &text[digits.len()..] {
        "" | "B" => 1,
        "KiB" | "K" | "k" => 1 << 10,
        "MiB" | "M" => 1 << 20,
        "GiB" | "G" => 1 << 30,
        "KB" | "kB" => 1000,
        "MB" => 1_000_000,
        _ => return Err(bad_size(text)),
    };
    // As `show_size` writes it, with a space before the unit.
    let digits = digits.strip_suffix(' ').filter(|_| factor > 1 || text.ends_with('B')).unwrap_or(digits);
    let size = digits.parse::<usize>().ok().and_then(|n| n.checked_mul(factor)).ok_or_else(|| bad_size(text))?;
    if size == 0 {
        return Err(Error::usage("a message of size 0 carries nothing").hint("the smallest size is 1"));
    }
    Ok(size)
}

fn bad_size(text: &str) -> Error {
    Error::usage(format!("{text:?} is no size")).hint("write bytes as 64, 4KiB or 1MiB")
}

/// Reads a rate in messages per second such as `50000`, `50k`, `1.5M` or `1G`; a whole number from one to `1G`.
///
/// # Errors
/// A usage error that says what is accepted.
pub fn parse_rate(text: &str) -> Result<u64> {
    let bad = || Error::usage(format!("{text:?} is no rate")).hint("write messages per second as 50000, 50k or 1M");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &text[digits.len()..] {
        "" => 1.0,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        _ => return Err(bad()),
    };
    let rate = digits.parse::<f64>().map_err(|_| bad())? * factor;
    if !rate.is_finite() || rate.round() < 1.0 {
        return Err(bad());
    }
    if rate > 1e9 {
        return Err(
            Error::usage(format!("{text:?} is more than a message per nanosecond")).hint("the highest rate is 1G")
        );
    }
    Ok(rate.round() as u64)
}

/// Prints a rate the way [`parse_rate`] reads it, exact or not at all scaled.
pub fn show_rate(rate: u64) -> String {
    match rate {
        r if r.is_multiple_of(1_000_000) => format!("{}M", r / 1_000_000),
        r if r.is_multiple_of(1000) => format!("{}k", r / 1000),
        r => r.to_string(),
    }
}

/// Reads a time such as `500ms`, `2s` or `5m`; in milliseconds, at least one.
///
/// # Errors
/// A usage error that says what is accepted.
pub fn parse_millis(text: &str) -> Result<u64> {
    let bad = || Error::usage(format!("{text:?} is no time")).hint("write it as 500ms, 2s or 5m");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &text[digits.len()..] {
        "ms" => 1.0,
        "s" => 1e3,
        "m" | "min" => 6e4,
        _ => return Err(bad()),
    };
    let millis = digits.parse::<f64>().map_err(|_| bad())? * factor;
    if (1.0..1e12).contains(&millis) { Ok(millis as u64) } else { Err(bad()) }
}

/// Prints bytes the way [`parse_size`] reads them: `64 B`, `4 KiB`, `1 MiB`, exact or not at all scaled.
pub fn show_size(bytes: usize) -> String {
    match bytes {
        b if b >= 1 << 20 && b % (1 << 20) == 0 => format!("{} MiB", b >> 20),
        b if b >= 1 << 10 && b % (1 << 10) == 0 => format!("{} KiB", b >> 10),
        b => format!("{b} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_with_and_without_units() {
        assert_eq!(parse_size("64").unwrap(), 64);
        assert_eq!(parse_size("4KiB").unwrap(), 4096);
        assert_eq!(parse_size("1MiB").unwrap(), 1 << 20);
        assert_eq!(parse_size("16M").unwrap(), 16 << 20);
        for bad in ["", "0", "0KiB", "-1", "4XiB", "1.5KiB", "99999999999999999999", "99999999999GiB"] {
            assert!(parse_size(bad).is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn times_need_a_unit() {
        assert_eq!(parse_millis("500ms").unwrap(), 500);
        assert_eq!(parse_millis("2s").unwrap(), 2000);
        assert_eq!(parse_millis("1.5s").unwrap(), 1500);
        assert_eq!(parse_millis("5m").unwrap(), 300_000);
        for bad in ["5", "", "0s", "-1s", "nans", "infs", "1h"] {
            assert!(parse_millis(bad).is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn rates_are_whole_messages_per_second_up_to_one_per_nanosecond() {
        for (text, rate) in
            [("50000", 50_000), ("50k", 50_000), ("1M", 1_000_000), ("1.5k", 1500), ("1e9", 1_000_000_000)]
        {
            assert_eq!(parse_rate(text).unwrap(), rate, "{text}");
            assert_eq!(parse_rate(&show_rate(rate)).unwrap(), rate);
        }
        for bad in ["", "k", "0", "0.2", "-5", "5 k", "50K", "50kHz", "nan", "inf", "2G", "1e30", "1e400"] {
            assert_eq!(parse_rate(bad).unwrap_err().exit_code(), 2, "{bad:?} was accepted");
        }
    }
}
