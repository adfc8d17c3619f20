//! The doors as people meet them: a real browser, the real binary, a real OpenID provider.

use std::{fs, path::Path};

use serde_json::json;
use totp_rs::{Algorithm, Builder, Secret};

use super::real_provider::RealProvider;
use crate::{appliance::Appliance, browser_driver::Browser};

const EMAIL: &str = "ada@example.org";
const PASSWORD: &str = "correct horse battery";
const ENTER: &str = "\u{E007}";

/// A port that nobody listens on: the provider is told the console's address before there is one.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// An appliance at a fixed address, with an owner and a provider.
fn appliance() -> (Appliance, RealProvider) {
    let url = format!("http://127.0.0.1:{}", free_port());
    let provider = RealProvider::start(&[&format!("{url}/sign-in/with/company/callback")]);
    let mut aegis = Appliance::new("");
    let config = format!(
        "[server]\nlisten = {:?}\npublic_url = {url:?}\n[models]\nchain = []\n[oidc.company]\nissuer = {:?}\n\
         label = \"Example\"\nclient_id = \"aegis\"\nclient_secret = {{ file = {:?} }}\n",
        url.strip_prefix("http://").unwrap(),
        provider.issuer,
        aegis.file("secret", b"provider-secret\n"),
    );
    fs::write(aegis.home().join("config.toml"), config).unwrap();
    aegis.serve();
    aegis.with_owner(EMAIL, PASSWORD);
    (aegis, provider)
}

/// Takes a picture of each step, when somebody wants to look at them: `AEGIS_TEST_PICTURES=/tmp/pictures`.
fn picture(browser: &Browser, name: &str) {
    if let Ok(folder) = std::env::var("AEGIS_TEST_PICTURES") {
        fs::create_dir_all(&folder).unwrap();
        browser.picture(&Path::new(&folder).join(format!("{name}.png")));
    }
}

/// Nothing on the page shuts anybody out or is wider than the screen, on a phone and on a desk, by day and by night.
async fn look(browser: &Browser, name: &str) {
    for width in [360, 1440] {
        browser.resize(width, if width == 360 { 1400 } else { 1100 });
        for colours in ["light", "dark"] {
            browser.prefer(colours);
            assert_eq!(browser.barriers().await, Vec::<String>::new(), "{name} at {width} px, {colours}");
            picture(browser, &format!("{name}-{width}-{colours}"));
        }
        let beyond = browser.run("return document.documentElement.scrollWidth - innerWidth", vec![]).await;
        assert_eq!(beyond, json!(0), "{name} at {width} px");
    }
    browser.resize(1440, 900);
    browser.prefer("light");
}

fn code(key: &str) -> String {
    let secret = Secret::try_from_base32(key.replace(' ', "")).unwrap();
    let totp = Builder::new().with_algorithm(Algorithm::SHA1).with_digits(6).with_step_duration(30).with_secret(secret);
    let totp = totp.with_account_name("ada").build().unwrap();
    #[expect(clippy::disallowed_methods, reason = "the appliance goes by the real clock")]
    let second = chrono::Utc::now().timestamp().try_into().unwrap();
    totp.generate(second).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_links_a_provider_signs_in_through_it_and_sets_up_a_second_factor_and_a_token() {
    let (aegis, _provider) = appliance();
    let url = aegis.url();
    let browser = Browser::start().await;
    browser.open(&format!("{url}/sign-in")).await;
    look(&browser, "1-sign-in").await;
    browser.type_into("[name=email]", EMAIL).await;
    browser.type_into("[name=password]", &format!("{PASSWORD}{ENTER}")).await;
    browser.find(".rail").await;

    // Linked from a session: the page of the provider, its question, and back.
    browser.open(&format!("{url}/account/security")).await;
    look(&browser, "2-security").await;
    browser.click("form[action='/account/security/link/company'] button").await;
    browser.type_into("[name=login]", "lovelace").await;
    picture(&browser, "3-at-the-provider");
    browser.type_into("[name=password]", &format!("anything{ENTER}")).await;
    browser.find("form input[value=consent]").await;
    picture(&browser, "4-the-provider-asks");
    browser.click("button[type=submit]").await;
    browser.see("main", "lovelace@example.org").await;
    look(&browser, "5-linked").await;
    browser.click(".me").await;
    browser.click("form[action='/sign-out'] button").await;

    // The provider remembers the browser, so it asks for nothing.
    browser.see("main", "Continue with Example").await;
    browser.click(".offers a").await;
    browser.find(".rail").await;
    picture(&browser, "6-signed-in-through-the-provider");
    browser.see(".me", "ada").await;

    browser.open(&format!("{url}/account/security")).await;
    browser.click("form[action='/account/security/enrol'] button").await;
    browser.find(".qr svg").await;
    look(&browser, "7-second-factor").await;
    let key = browser.text("p code").await;
    browser.type_into("[name=code]", &code(&key)).await;
    browser.type_into("[name=password]", &format!("{PASSWORD}{ENTER}")).await;
    browser.find("pre.once").await;
    look(&browser, "8-recovery-codes").await;
    let recovery = browser.text("pre.once").await.split_whitespace().next().unwrap().to_owned();
    browser.open(&format!("{url}/account/security")).await;
    browser.see("main", "10 recovery codes are left").await;
    look(&browser, "9-second-factor-on").await;

    browser.open(&format!("{url}/account/tokens")).await;
    browser.type_into("[name=name]", "Nightly import").await;
    browser.click("[value='chat:read']").await;
    browser.click("[value='knowledge:write']").await;
    browser.click("main .primary").await;
    browser.find("#secret").await;
    look(&browser, "10-token").await;

    browser.click(".me").await;
    browser.click("form[action='/sign-out'] button").await;
    browser.type_into("[name=email]", EMAIL).await;
    browser.type_into("[name=password]", &format!("{PASSWORD}{ENTER}")).await;
    browser.find("#code").await;
    look(&browser, "11-code").await;
    browser.type_into("#code", &format!("000000{ENTER}")).await;
    browser.find("[role=alert]").await;
    browser.type_into("#code", &format!("{recovery}{ENTER}")).await;
    browser.find(".rail").await;
    // The provider's own pages ask for fonts of the internet; of ours, the wrong code is noted, and that a change of
    // the window's size cut a transition short.
    let harmless = ["403", "Transition was aborted"];
    let ours = |line: &String| line.contains(&url) && !harmless.iter().any(|text| line.contains(text));
    let complaints: Vec<_> = browser.complaints().into_iter().filter(ours).collect();
    assert_eq!(complaints, Vec::<String>::new());

    // And the same from the command line.
    let made =
        aegis.json(&["token", "create", "--user", EMAIL, "--tenant", "acme", "--name", "cron", "--scope", "chat:read"]);
    assert!(made["secret"].as_str().unwrap().starts_with("aegis_"), "{made}");
    assert_eq!(aegis.json(&["token", "list", "--tenant", "acme"]).as_array().unwrap().len(), 2);
    aegis.json(&["token", "revoke", made["id"].as_str().unwrap(), "--tenant", "acme"]);
    assert_eq!(aegis.json(&["token", "list", "--tenant", "acme"]).as_array().unwrap().len(), 1);
    assert_eq!(aegis.json(&["user", "second-factor", EMAIL, "--remove"])["removed"], true);
    assert_eq!(aegis.json(&["user", "second-factor", EMAIL, "--remove"])["removed"], false);
    assert_eq!(aegis.json(&["audit", "verify", "--tenant", "acme"])["intact"], true);
}
