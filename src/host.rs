//! The environment record.

/// The time of day, RFC 3339 in UTC, to the millisecond.
pub fn timestamp() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}
