//! Files of JSON that people keep, and may have cut, edited or got from another version: what was read, or where it is wrong.
//!
//! Key decision: the plain parse first, and the search for the field that is to blame only after it failed, by putting one
//! field of the line after the other into a sample that can be read. The parser's own message names no field where a value
//! has the wrong type, and none inside flattened parts. Rejected: a crate that keeps the path while it reads, which every
//! line of a large journal would pay for.

use crate::error::{Error, Phase, Result};
use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::Value;
use std::collections::BTreeMap;

/// The fields of a line that nobody knows, for a type to collect with `#[serde(flatten, skip_serializing)]` behind its other
/// fields. Empty in what this version wrote.
pub type Unknown = BTreeMap<String, IgnoredAny>;

/// One line of a journal.
pub trait Line: Serialize + DeserializeOwned {
    /// Version of such lines, where they say one.
    const SCHEMA: Option<u32>;

    /// The version that this line says.
    fn schema(&self) -> Option<u32>;

    /// A line that can be read, with any values.
    fn sample() -> Self;

    /// What no run can have written: the field and why.
    fn impossible(&self) -> Option<String>;

    /// The fields of this line that nobody knows.
    fn unknown(&self) -> &Unknown;
}

/// A line that says another version than ours may look different in all else.
#[derive(serde::Deserialize)]
struct Version {
    schema: u32,
}

/// Reads line `number` of `file`, its end included; `None` where the end is missing because the writer was killed.
///
/// # Errors
/// `failed`, with line, field, what is wrong with it, and what to do.
pub fn read<T: Line>(raw: &[u8], number: usize, file: &str) -> Result<Option<T>> {
    let damaged = |why: &dyn std::fmt::Display| {
        let what = format!("line {number} of {file} is damaged");
        Error::failed(Phase::Report, what).because(why).hint("restore the line, or remove it to leave its run out")
    };
    let foreign = |schema: Option<u32>| {
        let (theirs, ours) = (schema?, T::SCHEMA?);
        let what = format!("line {number} of {file} has schema {theirs}, and this version reads {ours}");
        (theirs != ours).then(|| Error::failed(Phase::Report, what).hint("read it with the version that wrote it"))
    };
    let whole = raw.strip_suffix(b"\n");
    let raw = whole.unwrap_or(raw);
    let line = match serde_json::from_slice::<T>(raw) {
        Ok(line) => line,
        Err(_) if whole.is_none() => return Ok(None),
        Err(error) => {
            let version = serde_json::from_slice::<Version>(raw).ok().map(|version| version.schema);
            return Err(foreign(version).unwrap_or_else(|| damaged(&blame(raw, &T::sample(), &error))));
        }
    };
    if let Some(error) = foreign(line.schema()) {
        return Err(error);
    }
    if let Some((field, _)) = line.unknown().first_key_value() {
        let why = format!("nobody knows the field {field:?}: it was renamed, or a newer version wrote it");
        return Err(damaged(&why));
    }
    match line.impossible() {
        Some(why) => Err(damaged(&why)),
        None => Ok(Some(line)),
    }
}

/// Reads all lines of `file`, and says so where the last one was cut, which is then left out.
///
/// # Errors
/// As [`read`].
pub fn read_all<T: Line>(text: &[u8], file: &str) -> Result<(Vec<T>, Option<String>)> {
    let (mut whole, mut cut) = (Vec::new(), None);
    for (line, number) in text.split_inclusive(|byte| *byte == b'\n').zip(1..) {
        match read(line, number, file)? {
            Some(line) => whole.push(line),
            None => cut = Some(format!("the last line of {file} is cut and was ignored")),
        }
    }
    Ok((whole, cut))
}

/// Reads a whole file that holds one value.
///
/// # Errors
/// `failed`, with field and line.
pub fn read_whole<T: Serialize + DeserializeOwned>(text: &str, file: &str, sample: &T) -> Result<T> {
    serde_json::from_str(text).map_err(|error| {
        let why = blame(text.as_bytes(), sample, &error);
        Error::failed(Phase::Report, format!("{file} is damaged")).because(why).hint("restore it from a copy")
    })
}

/// What the parser says, with the field that made it say so in front where one of them does.
fn blame<T: Serialize + DeserializeOwned>(raw: &[u8], sample: &T, error: &serde_json::Error) -> String {
    let place = match error.line() {
        0 | 1 => format!("at column {}", error.column()),
        line => format!("at line {line}, column {}", error.column()),
    };
    let (said, why) = (error.to_string(), culprit(raw, sample));
    let why = why.unwrap_or_else(|| said[..said.rfind(" at line ").unwrap_or(said.len())].to_string());
    format!("{why} ({place})")
}

/// The field that cannot be read, and why.
fn culprit<T: Serialize + DeserializeOwned>(raw: &[u8], sample: &T) -> Option<String> {
    let Value::Object(fields) = serde_json::from_slice(raw).ok()? else { return None };
    let Value::Object(sample) = serde_json::to_value(sample).ok()? else { return None };
    fields.into_iter().find_map(|(name, value)| {
        let mut probe = sample.clone();
        probe.insert(name.clone(), value);
        let why = serde_json::from_value::<T>(Value::Object(probe)).err()?;
        Some(format!("field {name:?}: {why}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, serde::Deserialize)]
    struct Plain {
        schema: u32,
        #[serde(flatten)]
        part: Part,
        name: String,
        #[serde(flatten, skip_serializing)]
        unknown: Unknown,
    }

    #[derive(Debug, Default, PartialEq, Serialize, serde::Deserialize)]
    struct Part {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        peers: Option<u32>,
    }

    impl Line for Plain {
        const SCHEMA: Option<u32> = Some(1);

        fn schema(&self) -> Option<u32> {
            Some(self.schema)
        }

        fn sample() -> Self {
            Self { schema: 1, part: Part::default(), name: String::new(), unknown: Unknown::new() }
        }

        fn impossible(&self) -> Option<String> {
            (self.part.peers == Some(0)).then(|| "field \"peers\" is 0".into())
        }

        fn unknown(&self) -> &Unknown {
            &self.unknown
        }
    }

    fn said(text: &str) -> String {
        read::<Plain>(format!("{text}\n").as_bytes(), 3, "x.jsonl").unwrap_err().to_string()
    }

    #[test]
    fn the_field_that_is_to_blame_is_named_also_in_a_flattened_part() {
        let whole = br#"{"schema":1,"peers":2,"name":"a"}"#;
        let line: Plain = read(whole, 1, "x.jsonl").unwrap().unwrap();
        assert_eq!(line.part.peers, Some(2));
        for (text, words) in [
            (r#"{"schema":1,"peers":"two","name":"a"}"#, "line 3 of x.jsonl is damaged"),
            (r#"{"schema":1,"peers":"two","name":"a"}"#, "field \"peers\": invalid type"),
            (r#"{"schema":1,"name":7}"#, "field \"name\": invalid type"),
            (r#"{"schema":1}"#, "missing field `name`"),
            (r#"{"schema":1,"name":"a","nme":"b"}"#, "the field \"nme\""),
            (r#"{"schema":1,"name":"a","name":"b"}"#, "duplicate field `name`"),
            (r#"{"schema":1,"peers":0,"name":"a"}"#, "field \"peers\" is 0"),
            (r#"{"schema":1,"name":"a""#, "at column "),
        ] {
            assert!(said(text).contains(words), "{text}: {}", said(text));
        }
    }

    #[test]
    fn a_line_of_another_version_is_named_as_such_whatever_else_it_holds() {
        for text in [r#"{"schema":2,"name":"a"}"#, r#"{"schema":2,"title":["b"]}"#, r#"{"schema":0}"#] {
            assert!(said(text).contains("schema") && said(text).contains("this version reads 1"), "{}", said(text));
        }
    }

    #[test]
    fn a_line_without_its_end_was_cut_unless_it_can_be_read() {
        assert_eq!(read::<Plain>(br#"{"schema":1,"na"#, 1, "x").unwrap(), None);
        assert!(read::<Plain>(br#"{"schema":1,"name":"a"}"#, 1, "x").unwrap().is_some());
    }
}
