//! The OpenAPI 3.1 document, made from the operation table.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::resources::{self, COUNT, STATUS};
use crate::table::{
    Access, Answer, Base, Body, Field, Kind, MAX_INTEGER, MAX_TEXT_CHARS, Operation, Shape,
};

/// Failures that every operation with a credential can have.
const COMMON_FAILURES: &[u16] = &[401, 403, 429, 500];

/// The document.
pub fn document() -> Value {
    let mut paths: Map<String, Value> = Map::new();
    let mut schemas: BTreeMap<&str, Value> = BTreeMap::new();
    let mut tags: Vec<Value> = Vec::new();
    for operation in resources::operations() {
        let key = match operation.base {
            Base::NsApi => operation.path.to_owned(),
            // Another server below: the prefix keeps the two sets of paths apart.
            Base::Strowger => format!("{}{}", operation.base.prefix(), operation.path),
        };
        let item = paths.entry(key).or_insert_with(|| json!({}));
        item[operation.method.as_str().to_ascii_lowercase()] = describe(operation, &mut schemas);
        if operation.base == Base::Strowger {
            item["servers"] = json!([{ "url": "/" }]);
        }
        if !tags.iter().any(|tag| tag["name"] == operation.group) {
            tags.push(json!({ "name": operation.group }));
        }
    }
    collect(STATUS, &mut schemas);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Strowger API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Everything the switch can be told over HTTP. A change obeys the next call once its answer has arrived.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" }
        },
        "servers": [{ "url": "/ns-api/v2" }],
        "tags": tags,
        "security": [{ "apiKey": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "apiKey": { "type": "http", "scheme": "bearer", "description": "An API key of 60 characters." }
            },
            "schemas": schemas,
            "responses": { "Problem": {
                "description": "The request was not carried out; the message says why.",
                "content": { "application/json": { "schema": reference("Status") } }
            } }
        }
    })
}

fn describe(operation: &'static Operation, schemas: &mut BTreeMap<&'static str, Value>) -> Value {
    let mut out = json!({
        "operationId": operation.id,
        "tags": [operation.group],
        "summary": operation.summary,
    });
    if !operation.description.is_empty() {
        out["description"] = operation.description.into();
    }
    if operation.access == Access::Anyone {
        out["security"] = json!([]);
    }
    let mut parameters: Vec<Value> = path_names(operation.path).map(path_parameter).collect();
    parameters.extend(operation.query.iter().map(query_parameter));
    if operation.body.is_some() {
        parameters.push(json!({
            "name": "Prefer", "in": "header", "schema": { "type": "string", "example": "handling=strict" },
            "description": "With handling=strict a field that is not known is an error instead of being ignored."
        }));
    }
    if !parameters.is_empty() {
        out["parameters"] = parameters.into();
    }
    if let Some(body) = operation.body {
        collect(body, schemas);
        out["requestBody"] = json!({
            "required": true,
            "content": { "application/json": { "schema": reference(body.schema) } }
        });
    }
    let mut responses = Map::new();
    for answer in operation.answers {
        let mut response = success(answer, schemas);
        if operation.body.is_some() {
            response["headers"] = json!({ "X-Ignored-Fields": {
                "description": "Fields of the body that are not known and were left out.",
                "schema": { "type": "string" }
            } });
        }
        responses.insert(answer.status.to_string(), response);
    }
    let mut failures: Vec<u16> = operation.failures.to_vec();
    if operation.access != Access::Anyone {
        failures.extend(COMMON_FAILURES);
    }
    if operation.body.is_some() {
        failures.extend([400, 408, 413, 415]);
    } else if !operation.query.is_empty() || operation.path.contains('{') {
        failures.push(400);
    }
    if operation.method.writes() {
        failures.push(503);
    }
    failures.sort_unstable();
    failures.dedup();
    for status in failures {
        responses.insert(
            status.to_string(),
            json!({ "$ref": "#/components/responses/Problem" }),
        );
    }
    out["responses"] = Value::Object(responses);
    out
}

fn success(answer: &Answer, schemas: &mut BTreeMap<&'static str, Value>) -> Value {
    let (description, schema) = match answer.shape {
        Shape::One(body) => {
            collect(body, schemas);
            ("The object.", reference(body.schema))
        }
        Shape::Many(body) => {
            collect(body, schemas);
            (
                "A list; empty when nothing fits.",
                json!({ "type": "array", "items": reference(body.schema) }),
            )
        }
        Shape::Accepted => (
            "Done: stored, and obeyed by the next call.",
            reference(STATUS.schema),
        ),
        Shape::Total => {
            collect(COUNT, schemas);
            ("The number.", reference(COUNT.schema))
        }
    };
    json!({ "description": description, "content": { "application/json": { "schema": schema } } })
}

fn reference(schema: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{schema}") })
}

fn collect(body: Body, schemas: &mut BTreeMap<&'static str, Value>) {
    schemas.entry(body.schema).or_insert_with(|| object(&body));
}

/// Names of the places in a path.
pub(crate) fn path_names(path: &'static str) -> impl Iterator<Item = &'static str> {
    path.split('{')
        .skip(1)
        .filter_map(|rest| rest.split('}').next())
}

fn path_parameter(name: &'static str) -> Value {
    let description = match name {
        "domain" => {
            "A tenant; ~ for the one of the key, * where objects of the whole system are meant."
        }
        "dialplan" => "Name of a dial plan.",
        "dialrule" => {
            "Id of a rule: its seven matching fields joined by two bars, in base64 of either alphabet."
        }
        "key_id" => "First twelve characters of a key; ~ for the key in use.",
        _ => "The orig match pattern, percent-encoded: sip%2A%40acme-pbx.",
    };
    let mut schema = json!({ "type": "string" });
    if name == "domain" {
        schema = json!({ "type": "string", "maxLength": 64, "pattern": "^[A-Za-z0-9._-]*|~|\\*+", "default": "~" });
    }
    json!({ "name": name, "in": "path", "required": true, "description": description, "schema": schema })
}

fn query_parameter(field: &Field) -> Value {
    json!({ "name": field.name, "in": "query", "required": false, "description": field.description, "schema": schema(field) })
}

/// The schema of an object.
fn object(body: &Body) -> Value {
    let properties: Map<String, Value> = body
        .fields()
        .map(|field| {
            let mut schema = schema(field);
            schema["description"] = describe_field(field).into();
            (field.name.to_owned(), schema)
        })
        .collect();
    let mut out = json!({ "type": "object", "properties": properties });
    if !body.required.is_empty() {
        out["required"] = json!(body.required);
    }
    out
}

/// The description with what the schema cannot say.
fn describe_field(field: &Field) -> String {
    let mut text = field.description.to_owned();
    if let Some(scope) = field.least {
        text.push_str(&format!(" Set by {scope} or above."));
    }
    if !field.aliases.is_empty() {
        text.push_str(&format!(
            " Also understood as {}.",
            field.aliases.join(", ")
        ));
    }
    text
}

fn schema(field: &Field) -> Value {
    let string = || json!({ "type": "string" });
    let mut out = match field.kind {
        Kind::Text | Kind::Digits => {
            let mut out = string();
            if field.length.0 > 0 {
                out["minLength"] = field.length.0.into();
            }
            if field.length.1 != MAX_TEXT_CHARS {
                out["maxLength"] = field.length.1.into();
            }
            out
        }
        Kind::YesNo => json!({ "type": "string", "enum": ["yes", "no"] }),
        Kind::Words(words) => json!({ "type": "string", "enum": words }),
        Kind::OpenWords(words) => {
            json!({ "anyOf": [{ "type": "string", "enum": words }, string()] })
        }
        Kind::Integer { min, max } => {
            let mut out = json!({ "type": "integer", "minimum": min });
            if max != MAX_INTEGER {
                out["maximum"] = max.into();
            }
            out
        }
        Kind::Decimal { min, max } => json!({ "type": "number", "minimum": min, "maximum": max }),
        Kind::WordList(words) => json!({ "anyOf": [
            { "type": "string", "enum": words },
            { "type": "array", "items": { "type": "string", "enum": words } }
        ] }),
        Kind::Ignored => json!({}),
    };
    if field.nullable && out.get("type").is_some() {
        out["type"] = json!([out["type"].clone(), "null"]);
    }
    let typed = |text: &str| match field.kind {
        Kind::Integer { .. } => text.parse::<i64>().map_or(Value::Null, Value::from),
        Kind::Decimal { .. } => text.parse::<f64>().map_or(Value::Null, Value::from),
        _ => text.into(),
    };
    if let Some(default) = field.default {
        out["default"] = typed(default);
    }
    if let Some(example) = field.example {
        out["examples"] = json!([typed(example)]);
    }
    if let Some(pattern) = field.pattern {
        out["pattern"] = pattern.into();
    }
    if field.secret {
        out["format"] = "password".into();
    }
    if field.read_only {
        out["readOnly"] = true.into();
    }
    if field.write_only {
        out["writeOnly"] = true.into();
    }
    out
}
