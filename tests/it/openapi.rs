//! The API's description says what the API is: every route of it, and nothing else.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::appliance::{Appliance, get};

fn description(aegis: &Appliance) -> Value {
    let (status, body) = get(&format!("{}/api/openapi.json", aegis.url()));
    assert_eq!(status, 200);
    serde_json::from_str(&body).unwrap()
}

/// Every operation of the description: `GET /api/session`, with the operation.
fn operations(description: &Value) -> Vec<(String, &Value)> {
    let paths = description["paths"].as_object().unwrap();
    let methods = ["GET", "POST", "PUT", "PATCH", "DELETE"];
    let mut operations = Vec::new();
    for (path, item) in paths {
        for method in methods {
            operations.extend(item.get(method.to_lowercase()).map(|operation| (format!("{method} {path}"), operation)));
        }
    }
    operations
}

#[test]
fn every_route_of_the_api_is_described_with_who_may_use_it_and_no_other_is() {
    let mut aegis = Appliance::without_models();
    aegis.serve();
    let description = description(&aegis);
    assert_eq!(description["openapi"], "3.1.0");
    let described = operations(&description);

    let routes = aegis.json(&["permissions", "--routes"]);
    let declared: BTreeSet<String> = routes
        .as_array()
        .unwrap()
        .iter()
        .map(|route| format!("{} {}", route["method"].as_str().unwrap(), route["path"].as_str().unwrap()))
        .filter(|route| route.contains(" /api/") || route.contains(" /v1/"))
        .filter(|route| !route.ends_with("/api/openapi.json"))
        .collect();
    assert!(declared.len() >= 9, "{declared:?}");
    assert_eq!(described.iter().map(|(route, _)| route.clone()).collect::<BTreeSet<_>>(), declared);

    for (route, operation) in described {
        let says = operation["description"].as_str().unwrap_or_default();
        let access = routes.as_array().unwrap().iter().find_map(|declared| {
            let name = format!("{} {}", declared["method"].as_str()?, declared["path"].as_str()?);
            (name == route).then(|| declared["access"].as_str().map(str::to_owned)).flatten()
        });
        let access = access.unwrap();
        let named = match access.as_str() {
            "open" => says.contains("Open to everybody"),
            "signed in" => says.contains("whoever is signed in"),
            "in person" => says.contains("in person: no API token"),
            "operator" => says.contains("operators"),
            permission => says.contains(&format!("`{permission}`")),
        };
        assert!(named, "{route} is for {access}, but its description says: {says}");
        assert!(operation["summary"].as_str().is_some_and(|summary| !summary.is_empty()), "{route} has no summary");
        assert_eq!(operation["security"].as_array().map(Vec::is_empty), Some(access == "open"), "{route}");
        assert!(operation["responses"]["default"].is_object(), "{route} does not say how it refuses");
    }
}

#[test]
fn whatever_the_description_refers_to_is_in_it() {
    let mut aegis = Appliance::without_models();
    aegis.serve();
    let description = description(&aegis);
    let mut references = Vec::new();
    collect_references(&description, &mut references);
    assert!(references.len() > 10, "{references:?}");
    for reference in references {
        let place = reference.trim_start_matches('#');
        assert!(description.pointer(place).is_some(), "{reference} leads nowhere");
    }
}

fn collect_references(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                if let ("$ref", Some(reference)) = (name.as_str(), field.as_str()) {
                    into.push(reference.to_owned());
                }
                collect_references(field, into);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect_references(item, into)),
        _ => {}
    }
}
