//! From what a client sent to values that fit the fields of the table.
//!
//! Works on bytes and on pairs of text, without HTTP, so that a fuzzer and the router call the same code.
//! Everything wrong is reported at once: a person who fixes a request should need one more try, not ten.

use serde_json::{Map, Value};

use crate::json;
use crate::table::{Body, Field, Kind};

/// Most unknown names that are reported back; a body full of them gets no longer answer.
const MAX_IGNORED_REPORTED: usize = 32;
/// Longest piece of a wrong value repeated in a message, in characters.
const MAX_SHOWN_CHARS: usize = 60;
/// Two names are near when at most one edit is needed for each so many characters of the unknown one.
const CHARS_PER_EDIT: usize = 3;
/// Names longer than this are compared with nothing: the distance costs the product of both lengths.
const MAX_COMPARED_CHARS: usize = 80;
/// Most wrong fields reported.
const MAX_PROBLEMS: usize = 50;

/// Whether unknown fields are an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handling {
    /// Unknown fields are left out and named.
    Lenient,
    /// Unknown fields are refused (`Prefer: handling=strict`, RFC 7240 section 4.4).
    Strict,
}

/// A checked body or query.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Cleaned {
    /// Only known, writable fields, each in its stored form.
    pub values: Map<String, Value>,
    /// Names that were not understood.
    pub ignored: Vec<String>,
}

impl Cleaned {
    /// Text of a field, empty when it is not there.
    pub fn text(&self, name: &str) -> &str {
        self.values
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// Text of a field when it is there and not empty.
    pub fn some(&self, name: &str) -> Option<&str> {
        Some(self.text(name)).filter(|text| !text.is_empty())
    }

    /// Number of a field.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.values.get(name).and_then(Value::as_u64)
    }

    /// Whether a yes/no field says yes.
    pub fn yes(&self, name: &str) -> bool {
        self.text(name) == "yes"
    }
}

/// Checks a JSON body. The error is the message of a 400.
pub fn body(body: &Body, bytes: &[u8], handling: Handling) -> Result<Cleaned, String> {
    let object = json::object(bytes)?;
    let mut problems = Problems::default();
    let mut cleaned = Cleaned::default();
    for (name, value) in object {
        let Some(field) = body
            .fields()
            .find(|field| field.name == name || field.aliases.contains(&name.as_str()))
        else {
            if handling == Handling::Strict {
                problems.unknown(&name, body);
            }
            cleaned.ignored.push(name);
            continue;
        };
        if field.read_only {
            continue;
        }
        match value_of(field, value) {
            Ok(value) => match cleaned.values.get(field.name) {
                Some(other) if *other != value => problems.push(format!(
                    "{}: given twice with different values, once as {name}; only one is allowed",
                    field.name
                )),
                _ => {
                    cleaned.values.insert(field.name.to_owned(), value);
                }
            },
            Err(problem) => problems.push(problem),
        }
    }
    for name in body.required {
        let given = cleaned.values.contains_key(*name) || problems.mention(name);
        if !given {
            problems.push(format!("{name}: is required"));
        }
    }
    cleaned.ignored.truncate(MAX_IGNORED_REPORTED);
    problems.finish(cleaned)
}

/// Checks query parameters against the fields of an operation. Unknown ones are left out.
pub fn query(fields: &'static [Field], pairs: &[(String, String)]) -> Result<Cleaned, String> {
    let mut problems = Problems::default();
    let mut cleaned = Cleaned::default();
    for (name, value) in pairs {
        let Some(field) = fields.iter().find(|field| field.name == name) else {
            cleaned.ignored.push(name.clone());
            continue;
        };
        if cleaned.values.contains_key(field.name) {
            problems.push(format!("{name}: given twice"));
            continue;
        }
        match value_of(field, Value::String(value.clone())) {
            Ok(value) => {
                cleaned.values.insert(field.name.to_owned(), value);
            }
            Err(problem) => problems.push(problem),
        }
    }
    cleaned.ignored.truncate(MAX_IGNORED_REPORTED);
    problems.finish(cleaned)
}

/// The value in its stored form, or a sentence with the field, the value and what is allowed.
fn value_of(field: &Field, value: Value) -> Result<Value, String> {
    let shown = shown(field, &value);
    let refuse = |allowed: &str| Err(format!("{}: {shown} {allowed}", field.name));
    if value.is_null() && field.nullable {
        return Ok(Value::Null);
    }
    match field.kind {
        Kind::Ignored => Ok(Value::Null),
        Kind::Integer { min, max } => {
            let number = match &value {
                Value::Number(number) => number.as_i64().or_else(|| {
                    number
                        .as_f64()
                        .filter(|f| f.fract() == 0.0 && f.abs() < 9e15)
                        .map(|f| f as i64)
                }),
                Value::String(text) => text.trim().parse().ok(),
                _ => None,
            };
            match number {
                Some(number) if (min..=max).contains(&number) => Ok(number.into()),
                _ => refuse(&format!(
                    "is not allowed; give a whole number from {min} to {max}"
                )),
            }
        }
        Kind::Decimal { min, max } => {
            let number = match &value {
                Value::Number(number) => number.as_f64(),
                Value::String(text) => text.trim().parse().ok(),
                _ => None,
            };
            match number {
                // A number that is none is in no range.
                Some(number) if (min as f64..=max as f64).contains(&number) => Ok(number.into()),
                _ => refuse(&format!(
                    "is not allowed; give a number from {min} to {max}"
                )),
            }
        }
        Kind::WordList(words) => word_list(field, &shown, words, value),
        Kind::Text | Kind::YesNo | Kind::Words(_) | Kind::OpenWords(_) | Kind::Digits => {
            let text = match value {
                Value::String(text) => text,
                // Identifiers made of digits come as numbers from loosely typed clients.
                Value::Number(number) if number.is_i64() || number.is_u64() => number.to_string(),
                Value::Bool(truth) if accepts_yes(field) => {
                    if truth { "yes" } else { "no" }.to_owned()
                }
                other => return refuse(&format!("is {}; give text", json::type_name(&other))),
            };
            let text = match text_of(field, text) {
                Ok(text) => text,
                Err(allowed) => return refuse(&allowed),
            };
            Ok(Value::String(text))
        }
    }
}

/// Whether `yes` is among the values, so that a boolean has a meaning.
fn accepts_yes(field: &Field) -> bool {
    match field.kind {
        Kind::YesNo => true,
        Kind::Words(words) => words.contains(&"yes"),
        _ => false,
    }
}

/// Text in its stored form; the error says what is allowed.
fn text_of(field: &Field, text: String) -> Result<String, String> {
    if let Some(bad) = text.chars().find(|c| c.is_control()) {
        // A line break would end up as a header of its own in a SIP message.
        return Err(format!(
            "holds the control character U+{:04X}; give plain text on one line",
            bad as u32
        ));
    }
    let count = text.chars().count();
    let (least, greatest) = field.length;
    if count > greatest {
        return Err(format!(
            "has {count} characters; at most {greatest} are allowed"
        ));
    }
    if count < least {
        return Err(format!(
            "has {count} characters; at least {least} are needed"
        ));
    }
    let aliased = field
        .value_aliases
        .iter()
        .find(|(sent, _)| text.eq_ignore_ascii_case(sent));
    if let Some((_, stored)) = aliased {
        return Ok((*stored).to_owned());
    }
    let same = |word: &&&str| word.eq_ignore_ascii_case(text.trim());
    match field.kind {
        Kind::YesNo => match model::wire::yes_no::parse(text.trim()) {
            Some(truth) => Ok(model::wire::yes_no::as_str(truth).to_owned()),
            None => Err("is not allowed; give yes or no".into()),
        },
        Kind::Words(words) => match words.iter().find(same) {
            Some(word) => Ok((*word).to_owned()),
            None => match model::wire::yes_no::parse(&text).map(model::wire::yes_no::as_str) {
                Some(word) if words.contains(&word) => Ok(word.to_owned()),
                _ if text.is_empty() && field.default.is_some() => {
                    Ok(field.default.unwrap_or_default().to_owned())
                }
                _ => Err(format!("is not allowed; give one of {}", words.join(", "))),
            },
        },
        Kind::OpenWords(words) => {
            let text = words
                .iter()
                .find(same)
                .map_or(text, |word| (*word).to_owned());
            checked(field, text)
        }
        Kind::Digits => {
            let usable = text.bytes().all(|b| {
                b.is_ascii_digit() || b"+-.() *#[]<>".contains(&b) || b.is_ascii_alphabetic()
            });
            if usable {
                Ok(text)
            } else {
                Err("is not allowed; give a telephone number".into())
            }
        }
        _ => checked(field, text),
    }
}

fn checked(field: &Field, text: String) -> Result<String, String> {
    if let Some(check) = field.check {
        check(&text)?;
    }
    Ok(text)
}

/// `"*"`, one word, or a list of words; one word and a list of one are stored as text and list.
fn word_list(field: &Field, shown: &str, words: &[&str], value: Value) -> Result<Value, String> {
    let refuse = |what: &str| {
        Err(format!(
            "{}: {what}; give * or some of {}",
            field.name,
            words.join(", ")
        ))
    };
    let find = |text: &str| {
        words
            .iter()
            .find(|word| word.eq_ignore_ascii_case(text.trim()))
            .copied()
    };
    match value {
        Value::String(text) if text.contains(',') => {
            let items = text
                .split(',')
                .map(|item| Value::String(item.trim().to_owned()))
                .collect();
            word_list(field, shown, words, Value::Array(items))
        }
        Value::String(text) => match find(&text) {
            Some(word) => Ok(word.into()),
            None => refuse(&format!("{shown} is not allowed")),
        },
        Value::Array(items) => {
            if items.is_empty() || items.len() > words.len() {
                return refuse(&format!("a list of {} entries is not allowed", items.len()));
            }
            let mut found: Vec<Value> = Vec::new();
            for item in &items {
                match item.as_str().and_then(find) {
                    Some(word) if found.iter().any(|known| known == word) => {}
                    Some(word) => found.push(word.into()),
                    None => return refuse(&format!("{} is not allowed", self::shown(field, item))),
                }
            }
            // `*` beside others says the same as `*` alone.
            if found.iter().any(|word| word == "*") {
                return Ok("*".into());
            }
            Ok(Value::Array(found))
        }
        other => refuse(&format!("{} is not allowed", json::type_name(&other))),
    }
}

/// The value as it may be repeated to the caller: short, printable, and nothing of a secret.
fn shown(field: &Field, value: &Value) -> String {
    if field.secret {
        return "the value (not shown)".into();
    }
    let text = match value {
        Value::String(text) => format!("{text:?}"),
        Value::Array(_) | Value::Object(_) => return json::type_name(value).into(),
        other => other.to_string(),
    };
    if text.chars().count() <= MAX_SHOWN_CHARS {
        return text;
    }
    text.chars().take(MAX_SHOWN_CHARS).collect::<String>() + "…"
}

/// Everything that is wrong, in the order it was found.
#[derive(Default)]
struct Problems {
    found: Vec<String>,
    more: usize,
}

impl Problems {
    fn push(&mut self, problem: String) {
        if self.found.len() < MAX_PROBLEMS {
            self.found.push(problem);
        } else {
            self.more += 1;
        }
    }

    /// Whether a field is already complained about.
    fn mention(&self, name: &str) -> bool {
        self.found.iter().any(|problem| {
            problem
                .strip_prefix(name)
                .is_some_and(|rest| rest.starts_with(':'))
        })
    }

    fn unknown(&mut self, name: &str, body: &Body) {
        let shown: String = name
            .chars()
            .filter(|c| !c.is_control())
            .take(MAX_SHOWN_CHARS)
            .collect();
        let hint = match nearest(name, body.fields().filter(|f| !f.read_only).map(|f| f.name)) {
            Some(near) => format!("; did you mean {near}?"),
            None => String::new(),
        };
        self.push(format!("{shown}: is not a field of this object{hint}"));
    }

    fn finish(mut self, cleaned: Cleaned) -> Result<Cleaned, String> {
        if self.found.is_empty() {
            return Ok(cleaned);
        }
        if self.more > 0 {
            self.found.push(format!("and {} more", self.more));
        }
        Err(self.found.join("; ") + ".")
    }
}

/// The known name that needs the fewest edits, if it is near enough to be meant.
pub fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if name.is_empty() || name.chars().count() > MAX_COMPARED_CHARS {
        return None;
    }
    let lower = name.to_ascii_lowercase().replace('_', "-");
    let most = lower.chars().count().div_ceil(CHARS_PER_EDIT);
    known
        .map(|candidate| (edits(&lower, candidate), candidate))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, _)| *distance <= most)
        .map(|(_, candidate)| candidate)
}

/// Edits (insert, delete, replace) that turn one text into the other.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replace = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replace.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::checks;

    const FIELDS: &[Field] = &[
        Field::text("name", "A name.").length(1, 8),
        Field::yes_no("enabled", "On or off.")
            .aliases(&["enable"])
            .default("yes"),
        Field::words("transport", &["UDP", "TCP", "TLS"], "How.").default("UDP"),
        Field::words("relay", &["yes", "optional", "no"], "Whether."),
        Field::integer("limit", 0, "How many."),
        Field::text("password", "A secret.").secret().length(4, 8),
        Field::text("address", "Where.").check(checks::peer_address),
        Field::text("created", "When.").read_only(),
        Field::text("note", "May be cleared.").nullable(),
        Field::new(
            "models",
            Kind::WordList(&["domain", "connection", "*"]),
            "Which.",
        ),
    ];
    const BODY: Body = Body {
        schema: "Test",
        fields: &[FIELDS],
        required: &["name"],
    };

    fn clean(value: Value) -> Result<Cleaned, String> {
        body(&BODY, value.to_string().as_bytes(), Handling::Lenient)
    }

    #[test]
    fn values_take_their_stored_form() {
        let cleaned = clean(json!({
            "name": 1000, "enable": true, "transport": "tcp", "relay": 0, "limit": "7", "note": null,
            "models": ["DOMAIN", "domain"], "created": "x", "colour": "red"
        }))
        .unwrap();
        assert_eq!(
            Value::Object(cleaned.values),
            json!({"name": "1000", "enabled": "yes", "transport": "TCP", "relay": "no", "limit": 7, "note": null,
                   "models": ["domain"]})
        );
        assert_eq!(cleaned.ignored, ["colour"]);
    }

    #[test]
    fn everything_wrong_is_reported_at_once() {
        let error =
            clean(json!({"transport": "SCTP", "limit": -1, "address": "a b", "enabled": "maybe"}))
                .unwrap_err();
        for part in [
            "transport: \"SCTP\"",
            "UDP, TCP, TLS",
            "limit: -1",
            "address: \"a b\"",
            "enabled",
            "name: is required",
        ] {
            assert!(error.contains(part), "{part} missing in {error}");
        }
    }

    #[test]
    fn secrets_stay_secret() {
        let error = clean(json!({"name": "a", "password": "abc\n"})).unwrap_err();
        assert!(
            error.contains("password") && !error.contains("abc"),
            "{error}"
        );
        let error = clean(json!({"name": "a", "password": "hunter2hunter2"})).unwrap_err();
        assert!(!error.contains("hunter2"), "{error}");
    }

    #[test]
    fn line_breaks_and_nul_are_refused() {
        for bad in ["a\r\nb", "a\nb", "a\0b", "\u{7f}"] {
            assert!(clean(json!({ "name": bad })).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn strict_handling_names_the_nearest_field() {
        let bytes = br#"{"name": "a", "transprot": "UDP"}"#;
        let error = body(&BODY, bytes, Handling::Strict).unwrap_err();
        assert!(error.contains("did you mean transport?"), "{error}");
        assert_eq!(
            body(&BODY, bytes, Handling::Lenient).unwrap().ignored,
            ["transprot"]
        );
        assert!(body(&BODY, br#"{"name": "a", "created": "x"}"#, Handling::Strict).is_ok());
    }

    #[test]
    fn one_field_twice_under_two_names() {
        assert!(clean(json!({"name": "a", "enable": "yes", "enabled": "no"})).is_err());
        assert!(clean(json!({"name": "a", "enable": "yes", "enabled": true})).is_ok());
    }

    #[test]
    fn wrong_types() {
        for value in [
            json!({"name": []}),
            json!({"name": {}}),
            json!({"name": true}),
            json!({"name": null}),
            json!({"name": 1.5}),
            json!({"name": "a", "limit": 1.5}),
            json!({"name": "a", "limit": ""}),
            json!({"name": "a", "limit": 1e30}),
            json!({"name": "a", "models": []}),
            json!({"name": "a", "models": "x"}),
        ] {
            assert!(clean(value.clone()).is_err(), "{value}");
        }
        assert_eq!(
            clean(json!({"name": "a", "limit": 3.0}))
                .unwrap()
                .number("limit"),
            Some(3)
        );
        assert_eq!(
            clean(json!({"name": "a", "models": ["*", "domain"]}))
                .unwrap()
                .text("models"),
            "*"
        );
    }

    #[test]
    fn query_parameters() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            query(FIELDS, &[pair("limit", "5")])
                .unwrap()
                .number("limit"),
            Some(5)
        );
        assert!(query(FIELDS, &[pair("limit", "5"), pair("limit", "5")]).is_err());
        assert!(query(FIELDS, &[pair("limit", "five")]).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = body(&BODY, &bytes, Handling::Strict);
        }

        #[test]
        fn what_passes_once_passes_again(name in "\\PC{0,10}", limit in any::<i64>(), address in "[a-z0-9.:\\[\\]@-]{0,20}") {
            if let Ok(cleaned) = clean(json!({"name": name, "limit": limit, "address": address})) {
                let again = clean(Value::Object(cleaned.values.clone()));
                prop_assert_eq!(again.unwrap().values, cleaned.values);
            }
        }
    }
}
