//! Checks a tool call's arguments against the tool's JSON Schema, before the tool sees them.
//!
//! The part of JSON Schema that our tools use: `type`, `properties`, `required`, `additionalProperties: false`,
//! `items`, `enum`, `minimum`, `maximum`, `minLength`, `maxLength`, `minItems`, `maxItems`. Anything else in a schema is for
//! the model to read and is not checked.

use serde_json::{Map, Value};

/// Arguments that obey `schema`, or what is wrong with them in sentences that help the model to try again.
///
/// What local models often get wrong without harm is put right first: the whole object as a string of JSON, a number or
/// truth value in quotes, `null` for something left out, `5.0` for `5`.
pub(super) fn check(schema: &Value, arguments: Value) -> Result<Value, String> {
    let mut arguments = match arguments {
        Value::Null => Value::Object(Map::new()),
        Value::String(text) => serde_json::from_str(&text).unwrap_or(Value::String(text)),
        other => other,
    };
    put_right(schema, &mut arguments);
    let mut complaints = Vec::new();
    complain(schema, &arguments, "the arguments", &mut complaints);
    if complaints.is_empty() { Ok(arguments) } else { Err(complaints.join("; ")) }
}

fn put_right(schema: &Value, value: &mut Value) {
    if let (Some(properties), Value::Object(map)) = (schema.get("properties").and_then(Value::as_object), &mut *value) {
        let required = |name: &str| names(schema, "required").any(|required| required == name);
        map.retain(|name, value| !value.is_null() || required(name) || !properties.contains_key(name));
        for (name, value) in map.iter_mut() {
            if let Some(schema) = properties.get(name) {
                put_right(schema, value);
            }
        }
    }
    if let (Some(items), Value::Array(values)) = (schema.get("items"), &mut *value) {
        for value in values {
            put_right(items, value);
        }
    }
    let wanted = schema.get("type").and_then(Value::as_str).unwrap_or_default();
    let better = match (wanted, &*value) {
        ("integer" | "number" | "boolean", Value::String(text)) => {
            serde_json::from_str(text.trim()).ok().filter(|better| is_of_type(better, wanted))
        }
        #[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
        ("integer", Value::Number(number)) if !number.is_i64() && !number.is_u64() => number
            .as_f64()
            .filter(|float| float.fract() == 0.0 && float.abs() < 1e15)
            .map(|float| Value::from(float as i64)),
        _ => None,
    };
    if let Some(better) = better {
        *value = better;
    }
}

fn complain(schema: &Value, value: &Value, name: &str, complaints: &mut Vec<String>) {
    if let Some(wanted) = schema.get("type").and_then(Value::as_str)
        && !is_of_type(value, wanted)
    {
        complaints.push(format!("{name} must be of type {wanted}"));
        return;
    }
    if let Some(allowed) = schema.get("enum").and_then(Value::as_array)
        && !allowed.contains(value)
    {
        let allowed: Vec<_> = allowed.iter().map(Value::to_string).collect();
        complaints.push(format!("{name} must be one of {}", allowed.join(", ")));
    }
    match value {
        Value::Number(number) => within(schema, ["minimum", "maximum"], number.as_f64(), name, "", complaints),
        Value::String(text) => {
            let length = f64::from(u32::try_from(text.chars().count()).unwrap_or(u32::MAX));
            within(schema, ["minLength", "maxLength"], Some(length), name, " characters", complaints);
        }
        Value::Array(items) => {
            let length = f64::from(u32::try_from(items.len()).unwrap_or(u32::MAX));
            within(schema, ["minItems", "maxItems"], Some(length), name, " items", complaints);
            if let Some(schema) = schema.get("items") {
                for (index, item) in items.iter().enumerate() {
                    complain(schema, item, &format!("item {} of {name}", index + 1), complaints);
                }
            }
        }
        Value::Object(map) => complain_about_object(schema, map, complaints),
        Value::Null | Value::Bool(_) => {}
    }
}

fn complain_about_object(schema: &Value, map: &Map<String, Value>, complaints: &mut Vec<String>) {
    let properties = schema.get("properties").and_then(Value::as_object);
    for required in names(schema, "required").filter(|required| !map.contains_key(*required)) {
        complaints.push(format!("`{required}` is missing"));
    }
    for (name, value) in map {
        match properties.and_then(|properties| properties.get(name)) {
            Some(schema) => complain(schema, value, &format!("`{name}`"), complaints),
            None if schema.get("additionalProperties") == Some(&Value::Bool(false)) => {
                let known: Vec<_> =
                    properties.into_iter().flat_map(Map::keys).map(|name| format!("`{name}`")).collect();
                complaints.push(format!("`{name}` is not known, there are {}", known.join(", ")));
            }
            None => {}
        }
    }
}

fn within(schema: &Value, limits: [&str; 2], value: Option<f64>, name: &str, unit: &str, complaints: &mut Vec<String>) {
    let limit = |key: &str| schema.get(key).and_then(Value::as_f64);
    let Some(value) = value else { return };
    if let Some(least) = limit(limits[0]).filter(|least| value < *least) {
        complaints.push(format!("{name} must be at least {least}{unit}"));
    }
    if let Some(most) = limit(limits[1]).filter(|most| value > *most) {
        complaints.push(format!("{name} must be at most {most}{unit}"));
    }
}

fn is_of_type(value: &Value, wanted: &str) -> bool {
    match wanted {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        _ => true,
    }
}

fn names<'a>(schema: &'a Value, key: &str) -> impl Iterator<Item = &'a str> {
    schema.get(key).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema() -> Value {
        json!({
            "type": "object",
            "properties": {
                "query": {"type": "string", "minLength": 2, "maxLength": 5},
                "limit": {"type": "integer", "minimum": 1, "maximum": 8},
                "sort": {"type": "string", "enum": ["new", "old"]},
                "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 2},
                "exact": {"type": "boolean"},
            },
            "required": ["query"],
            "additionalProperties": false,
        })
    }

    #[test]
    fn good_arguments_pass_unchanged() {
        let arguments = json!({"query": "leave", "limit": 3, "sort": "new", "tags": ["a"], "exact": true});
        assert_eq!(check(&schema(), arguments.clone()), Ok(arguments));
    }

    #[test]
    fn each_fault_is_named() {
        let complaint = |arguments| check(&schema(), arguments).unwrap_err();
        assert_eq!(complaint(json!({})), "`query` is missing");
        assert_eq!(complaint(json!(null)), "`query` is missing");
        assert_eq!(complaint(json!([1])), "the arguments must be of type object");
        assert_eq!(complaint(json!("leave")), "the arguments must be of type object");
        assert_eq!(complaint(json!({"query": 7})), "`query` must be of type string");
        assert_eq!(complaint(json!({"query": "x"})), "`query` must be at least 2 characters");
        assert_eq!(complaint(json!({"query": "too long"})), "`query` must be at most 5 characters");
        assert_eq!(
            complaint(json!({"query": "ok", "limit": 0, "sort": "up"})),
            "`limit` must be at least 1; `sort` must be one of \"new\", \"old\""
        );
        assert_eq!(complaint(json!({"query": "ok", "limit": 1.5})), "`limit` must be of type integer");
        assert_eq!(
            complaint(json!({"query": "ok", "tags": ["a", 1, "c"]})),
            "`tags` must be at most 2 items; item 2 of `tags` must be of type string"
        );
        let unknown = complaint(json!({"query": "ok", "colour": 1}));
        assert!(unknown.starts_with("`colour` is not known, there are "), "{unknown}");
    }

    #[test]
    fn harmless_slips_of_local_models_are_put_right() {
        assert_eq!(
            check(&schema(), json!({"query": "ok", "limit": "3", "exact": "true", "sort": null})),
            Ok(json!({"query": "ok", "limit": 3, "exact": true}))
        );
        assert_eq!(check(&schema(), json!("{\"query\":\"ok\",\"limit\":2.0}")), Ok(json!({"query": "ok", "limit": 2})));
    }
}
