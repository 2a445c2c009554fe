//! The part of JSON Schema (draft 2020-12) that `docs/schema/` uses.
//!
//! Key decision: a hundred lines that stop at a keyword which they do not know, so that no schema can promise what is not
//! checked. Rejected: the validators that are crates, which bring thirty others each (big numbers, internationalised host
//! names) into the test build. That the files are schemas for others, too, was tried with a validator of another language.

use regex::Regex;
use serde_json::{Map, Value};
use std::path::Path;

/// The schemas of a folder, by file name.
pub struct Schemas(Map<String, Value>);

/// What a keyword says that a value is not.
type Wrong = String;

impl Schemas {
    pub fn read(dir: &Path) -> Self {
        let files = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
        let schemas = files.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
        let read = |path: std::path::PathBuf| {
            let text = std::fs::read_to_string(&path).unwrap();
            let schema = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            (path.file_name().unwrap().to_string_lossy().into_owned(), schema)
        };
        Self(schemas.map(read).collect())
    }

    /// The schema of this name, without the end `.schema.json`.
    pub fn get(&self, name: &str) -> &Value {
        self.0.get(&format!("{name}.schema.json")).unwrap_or_else(|| panic!("docs/schema has no {name}"))
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(|file| file.trim_end_matches(".schema.json"))
    }

    /// The schema that this one refers to, or itself.
    pub fn resolve<'a>(&'a self, schema: &'a Value) -> &'a Value {
        match schema.get("$ref") {
            Some(to) => self.get(to.as_str().unwrap().trim_end_matches(".schema.json")),
            None => schema,
        }
    }

    /// What is wrong with `value`, with its place; the first thing only.
    pub fn check(&self, name: &str, value: &Value) -> Result<(), Wrong> {
        self.holds(self.get(name), value, "")
    }

    fn holds(&self, schema: &Value, value: &Value, at: &str) -> Result<(), Wrong> {
        let rules = self.resolve(schema).as_object().unwrap_or_else(|| panic!("{at}: {schema} is no schema"));
        let ensure = |holds: bool, keyword: &str| if holds { Ok(()) } else { Err(format!("{at}: {keyword}: {value}")) };
        let number = |rule: &Value| rule.as_f64().unwrap();
        let length = |rule: &Value| rule.as_u64().unwrap() as usize;
        let items = || value.as_array().map(Vec::as_slice).unwrap_or_default();
        let none = Map::new();
        let fields = value.as_object().unwrap_or(&none);
        for (keyword, rule) in rules {
            match keyword.as_str() {
                "$schema" | "title" | "description" | "x-unit" => {}
                "type" => {
                    let words = rule.as_array().map_or(std::slice::from_ref(rule), Vec::as_slice);
                    ensure(words.iter().any(|word| is_a(word.as_str().unwrap(), value)), "type")?;
                }
                "enum" => ensure(rule.as_array().unwrap().contains(value), "enum")?,
                "const" => ensure(rule == value, "const")?,
                "pattern" => {
                    let matches = |text: &str| Regex::new(rule.as_str().unwrap()).unwrap().is_match(text);
                    ensure(value.as_str().is_none_or(matches), "pattern")?;
                }
                "minimum" => ensure(value.as_f64().is_none_or(|n| n >= number(rule)), "minimum")?,
                "maximum" => ensure(value.as_f64().is_none_or(|n| n <= number(rule)), "maximum")?,
                "minItems" => ensure(!value.is_array() || items().len() >= length(rule), "minItems")?,
                "maxItems" => ensure(items().len() <= length(rule), "maxItems")?,
                "minProperties" => ensure(!value.is_object() || fields.len() >= length(rule), "minProperties")?,
                "maxProperties" => ensure(fields.len() <= length(rule), "maxProperties")?,
                "items" => {
                    let mut each = items().iter().enumerate();
                    each.try_for_each(|(k, item)| self.holds(rule, item, &format!("{at}[{k}]")))?;
                }
                "properties" => {
                    let mut known = fields.iter().filter_map(|(name, field)| Some((name, rule.get(name)?, field)));
                    known.try_for_each(|(name, rule, field)| self.holds(rule, field, &format!("{at}.{name}")))?;
                }
                "required" => {
                    let missing =
                        rule.as_array().unwrap().iter().find(|name| !fields.contains_key(name.as_str().unwrap()));
                    ensure(!value.is_object() || missing.is_none(), &format!("required {missing:?}"))?;
                }
                "propertyNames" => {
                    let mut names = fields.keys().map(|name| Value::from(name.as_str()));
                    names.try_for_each(|name| self.holds(rule, &name, at))?;
                }
                "additionalProperties" => {
                    let known = rules.get("properties").and_then(Value::as_object);
                    let others =
                        fields.iter().filter(|(name, _)| !known.is_some_and(|known| known.contains_key(*name)));
                    for (name, field) in others {
                        match rule {
                            Value::Bool(allowed) => ensure(*allowed, &format!("nobody knows {name:?}"))?,
                            rule => self.holds(rule, field, &format!("{at}.{name}"))?,
                        }
                    }
                }
                _ => panic!("{at}: nobody here checks the keyword {keyword:?}"),
            }
        }
        Ok(())
    }
}

fn is_a(word: &str, value: &Value) -> bool {
    match word {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => panic!("{word:?} is no type"),
    }
}
