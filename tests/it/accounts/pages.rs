//! The pages about people in a real browser, at every width and in both colours.
//!
//! `AEGIS_TEST_PICTURES=directory cargo test --test it the_pages_about_people` also keeps what they look like.

use std::{env, path::Path, time::Duration};

use serde_json::json;

use crate::{appliance::Appliance, browser_driver::Browser};

const EMAIL: &str = "jo@acme.example";
const PASSWORD: &str = "correct horse battery";
const ENTER: &str = "\u{E007}";

async fn sign_in(browser: &Browser, aegis: &Appliance, email: &str) {
    browser.open(&format!("{}/sign-in", aegis.url())).await;
    browser.type_into("[name=email]", email).await;
    browser.type_into("[name=password]", &format!("{PASSWORD}{ENTER}")).await;
    browser.find(".rail").await;
}

/// Looks at a page at all widths and in both colours, and keeps the pictures when they are wanted.
async fn look(browser: &Browser, name: &str, url: Option<&str>) {
    for width in [360, 768, 1440] {
        browser.resize(width, 900);
        for colours in ["light", "dark"] {
            browser.prefer(colours);
            if let Some(url) = url {
                browser.open(url).await;
            }
            let beyond = browser.run("return document.documentElement.scrollWidth - innerWidth", vec![]).await;
            assert_eq!(beyond, json!(0), "{name} at {width} px");
            assert_eq!(browser.barriers().await, Vec::<String>::new(), "{name} at {width} px, {colours}");
            if let Ok(directory) = env::var("AEGIS_TEST_PICTURES") {
                tokio::time::sleep(Duration::from_millis(250)).await;
                browser.picture(&Path::new(&directory).join(format!("{name}-{width}-{colours}.png")));
            }
        }
    }
    browser.resize(1440, 900);
    browser.prefer("light");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_about_people_shut_nobody_out_and_fit_every_screen() {
    let mut aegis = Appliance::without_models();
    aegis.serve();
    aegis.with_owner(EMAIL, PASSWORD);
    aegis.json(&["tenant", "create", "harbour", "--name", "Harbour & Sons Shipping"]);
    for (email, name, tenant, role) in [
        ("amara.okafor@acme.example", "Amara Okafor", "acme", "admin"),
        ("lena.fischer@acme.example", "Lena Fischer", "acme", "member"),
        ("tomasz.wisniewski@acme.example", "Tomasz Wiśniewski", "acme", "viewer"),
        ("jo@acme.example", "Jo", "harbour", "member"),
    ] {
        let arguments = ["--json", "user", "create", email, "--name", name, "--tenant", tenant, "--role", role];
        let done = aegis.run_with_input(&[&arguments[..], &["--password-stdin"]].concat(), PASSWORD.as_bytes());
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
    aegis.json(&["user", "invite", "sam.rivera@partner.example", "--tenant", "acme", "--role", "member"]);
    aegis.json(&["user", "suspend", "lena.fischer@acme.example"]);
    let url = aegis.url();
    let page = |path: &str| format!("{url}{path}");

    let phone = Browser::start().await;
    phone.resize(360, 800);
    sign_in(&phone, &aegis, EMAIL).await;
    let browser = Browser::start().await;
    sign_in(&browser, &aegis, EMAIL).await;
    look(&browser, "members", Some(&page("/members"))).await;
    look(&browser, "account", Some(&page("/account"))).await;
    look(&browser, "sessions", Some(&page("/account/sessions"))).await;
    look(&browser, "invite", Some(&page("/members/invite"))).await;

    browser.open(&page("/members")).await;
    browser.click("[aria-label='Change Tomasz Wiśniewski']").await;
    browser.see("h1", "Tomasz").await;
    look(&browser, "member", None).await;

    browser.open(&page("/members/invite")).await;
    browser.type_into("[name=email]", "noor@partner.example").await;
    browser.click("main form .primary").await;
    browser.see("h2", "The invitation is made").await;
    look(&browser, "invited", None).await;
    let link = browser.text(".once").await;

    let guest = Browser::start().await;
    guest.open(&link).await;
    guest.see("h1", "Join Acme").await;
    look(&guest, "invitation", Some(&link)).await;
    guest.type_into("[name=name]", "Noor Haddad").await;
    guest.type_into("[name=password]", &format!("three quiet lanterns{ENTER}")).await;
    guest.find(".rail").await;

    let reset = aegis.json(&["user", "reset", "amara.okafor@acme.example"]);
    let stranger = Browser::start().await;
    look(&stranger, "reset", reset["link"].as_str()).await;

    // One organisation to the other and back, by the menu at the top of the rail.
    browser.open(&page("/account")).await;
    browser.click(".home").await;
    browser.find("#tenants:popover-open").await;
    look(&browser, "switcher", None).await;
    browser.click("#tenants button[value=harbour]").await;
    browser.see(".home", "Harbour").await;
    browser.open(&page("/account/sessions")).await;
    browser.see("main", "Harbour & Sons Shipping").await;
    browser.click("[action='/account/sessions/end-others'] button").await;
    browser.see("main [role=status]", "One session has ended").await;
    phone.open(&page("/account")).await;
    phone.see("h1", "Sign in").await;
    assert_eq!(browser.complaints(), Vec::<String>::new());
}
