//! The page of secrets and its API: what is shown, what is refused, and that no value ever comes back.

use std::path::Path;

use serde_json::{Value, json};

use crate::{appliance::Appliance, browser_driver::Browser};

const EMAIL: &str = "jo@acme.example";
const PASSWORD: &str = "correct horse battery";
const ENTER: &str = "\u{E007}";
const VALUE: &str = "sk-live-0123456789";

async fn signed_in(aegis: &Appliance) -> Browser {
    let browser = Browser::start().await;
    browser.open(&format!("{}/settings/secrets", aegis.url())).await;
    browser.type_into("[name=email]", EMAIL).await;
    browser.type_into("[name=password]", &format!("{PASSWORD}{ENTER}")).await;
    browser.find(".rail").await;
    browser
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_sets_replaces_and_deletes_a_secret_and_never_sees_a_value_again() {
    let mut aegis = Appliance::without_models();
    aegis.serve();
    aegis.with_owner(EMAIL, PASSWORD);
    let browser = signed_in(&aegis).await;
    browser.see("main", "No secrets yet").await;
    browser.find(".rail [aria-current][href='/settings']").await;

    for (name, value) in [("openai.api-key", VALUE), ("telegram.bot-token", "123:abc"), ("openai.api-key", "sk-2")] {
        browser.type_into("[name=name]", name).await;
        browser.type_into("[name=value]", value).await;
        browser.run("document.body.id = 'before'", vec![]).await;
        browser.click(".panel .primary").await;
        browser.find("body:not(#before) .table").await;
        browser.see(".table", name).await;
    }
    browser.see("main", "2 secrets").await;
    let page = browser.client.source().await.unwrap();
    assert!(!page.contains(VALUE) && !page.contains("123:abc"));

    // What the browser's own check lets through is refused with a sentence, without the value.
    browser.run("document.querySelector('[name=name]').removeAttribute('pattern')", vec![]).await;
    browser.type_into("[name=name]", VALUE.to_uppercase().as_str()).await;
    browser.type_into("[name=value]", VALUE).await;
    browser.click(".panel .primary").await;
    browser.see("[role=alert]", "no name for a secret").await;
    let page = browser.client.source().await.unwrap();
    assert!(!page.contains(VALUE) && !page.contains(&VALUE.to_uppercase()), "neither is repeated");

    for width in [360, 1440] {
        browser.resize(width, 900);
        browser.open(&format!("{}/settings/secrets", aegis.url())).await;
        let beyond = browser.run("return document.documentElement.scrollWidth - innerWidth", vec![]).await;
        assert_eq!(beyond, json!(0), "{width} px");
        for colours in ["light", "dark"] {
            browser.prefer(colours);
            assert_eq!(browser.barriers().await, Vec::<String>::new(), "{width} px, {colours}");
            picture(&browser, &format!("secrets-{width}-{colours}")).await;
        }
        browser.prefer("light");
    }
    browser.click("[aria-label='Delete telegram.bot-token']").await;
    browser.see(":popover-open", "stops working until it is set again").await;
    assert_eq!(browser.barriers().await, Vec::<String>::new(), "the dialog");
    picture(&browser, "secrets-delete").await;
    browser.click(":popover-open .danger").await;
    browser.see("main", "1 secret").await;
    assert!(!browser.text(".table").await.contains("telegram"));
    let complaints = browser.complaints();
    assert!(complaints.iter().all(|line| line.contains("400")), "{complaints:?}");
}

/// One request from the page, as its scripts would make it: status and body.
async fn request(browser: &Browser, method: &str, path: &str, body: Option<&str>) -> (i64, Value) {
    let script = "const [method, path, body] = arguments;
        const headers = { 'x-csrf-token': document.querySelector('[name=csrf-token]').content, accept: 'application/json' };
        if (body !== null) headers['content-type'] = 'application/json';
        return fetch(path, { method, body: body ?? undefined, headers })
            .then(async (answer) => [answer.status, await answer.text()])";
    let answer = browser.run(script, vec![json!(method), json!(path), json!(body)]).await;
    let text = answer[1].as_str().unwrap();
    (answer[0].as_i64().unwrap(), serde_json::from_str(text).unwrap_or_else(|_| json!(text)))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_sets_lists_and_deletes_and_its_refusals_do_not_repeat_what_was_sent() {
    let mut aegis = Appliance::without_models();
    aegis.serve();
    aegis.with_owner(EMAIL, PASSWORD);
    let browser = signed_in(&aegis).await;
    let set = format!(r#"{{"name":"openai.api-key","value":"{VALUE}"}}"#);
    let (status, answer) = request(&browser, "POST", "/api/secrets", Some(&set)).await;
    assert_eq!((status, &answer["name"]), (201, &json!("openai.api-key")), "{answer}");
    assert!(!answer.to_string().contains(VALUE));
    let (status, answer) = request(&browser, "GET", "/api/secrets", None).await;
    assert_eq!((status, answer["secrets"].as_array().unwrap().len()), (200, 1));
    assert_eq!(answer["secrets"][0]["set_by"], "jo");
    assert!(!answer.to_string().contains(VALUE));

    for body in [
        format!(r#""{VALUE}""#),
        format!(r#"{{"name":"{VALUE}","value":{{"{VALUE}":1}}}}"#),
        format!(r#"{{"name":"{}","value":"x"}}"#, VALUE.to_uppercase()),
        format!(r#"{{"name":"a","value":"{VALUE}""#),
        format!(r#"{{"name":["{VALUE}"],"value":"x"}}"#),
        format!(r#"{{"{VALUE}":"x"}}"#),
    ] {
        let (status, answer) = request(&browser, "POST", "/api/secrets", Some(&body)).await;
        assert!((400..500).contains(&status), "{status} {answer}");
        let said = answer.to_string().to_lowercase();
        assert!(!said.contains(VALUE), "{body}: {said}");
        assert!(answer["error"]["message"].as_str().is_some_and(|why| why.len() > 10), "{answer}");
    }
    let large = format!(r#"{{"name":"large","value":"{}"}}"#, "x".repeat(64 * 1024 + 1));
    assert_eq!(request(&browser, "POST", "/api/secrets", Some(&large)).await.0, 413);
    assert_eq!(request(&browser, "DELETE", "/api/secrets/openai.api-key", None).await.0, 204);
    assert_eq!(request(&browser, "DELETE", "/api/secrets/openai.api-key", None).await.0, 404);
    assert_eq!(request(&browser, "DELETE", "/api/secrets/No%20Name", None).await.0, 404);
}

/// Pictures to look at, when somebody says where to put them.
async fn picture(browser: &Browser, name: &str) {
    let Ok(directory) = std::env::var("AEGIS_TEST_PICTURES") else { return };
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    browser.picture(&Path::new(&directory).join(format!("{name}.png")));
}
