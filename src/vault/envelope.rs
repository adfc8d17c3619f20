//! What stands inside a sealed text: what it is, whose, by which name, the text, and an HMAC by the appliance's root
//! key over all of it. It is JSON, so that `age -d` with the right key shows it to whoever has to do without AEGIS.

use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;

use super::{ApplianceKey, SealingKey, SecretText, sealing};
use crate::support::{Error, Result, ids::TenantId};

/// Where a sealed text belongs. Anywhere else it is refused.
#[derive(Debug, Clone, Copy)]
pub struct Place<'p> {
    /// What kind of text it is: `secret`, `identity`.
    pub kind: &'static str,
    /// Whose it is.
    pub tenant: &'p TenantId,
    /// By which name.
    pub name: &'p str,
}

/// Not `Debug`: it holds the text.
#[derive(Serialize, Deserialize)]
struct Envelope<'e> {
    kind: &'e str,
    tenant: &'e str,
    name: &'e str,
    #[serde(borrow)]
    value: std::borrow::Cow<'e, str>,
    hmac: &'e str,
}

/// Seals `value` for `place`, to the public half of a key.
///
/// # Errors
/// `Internal` when `recipient` is no public half.
pub fn seal(root: &ApplianceKey, recipient: &str, place: Place<'_>, value: &SecretText) -> Result<Vec<u8>> {
    let hmac = hmac(root, place, value.reveal());
    let tenant = place.tenant.as_str();
    let envelope = Envelope { kind: place.kind, tenant, name: place.name, value: value.reveal().into(), hmac: &hmac };
    let text = SecretText::new(serde_json::to_string(&envelope).map_err(Error::internal)?);
    sealing::seal(recipient, text.reveal())
}

/// Opens what was sealed for `place`.
///
/// # Errors
/// `Conflict` when it was sealed to another key, for another place or by another appliance, or was altered.
pub fn open(root: &ApplianceKey, key: &SealingKey, place: Place<'_>, sealed: &[u8]) -> Result<SecretText> {
    let text = key.open(sealed).ok_or_else(|| refused(place, "it was altered, or sealed to another key"))?;
    // The parser's own words may repeat the text.
    let envelope: Envelope<'_> =
        serde_json::from_str(text.reveal()).map_err(|_| refused(place, "it is not what this appliance seals"))?;
    if (envelope.kind, envelope.tenant, envelope.name) != (place.kind, place.tenant.as_str(), place.name) {
        return Err(refused(place, "it was sealed for another place"));
    }
    let right: bool = hmac(root, place, &envelope.value).as_bytes().ct_eq(envelope.hmac.as_bytes()).into();
    if !right {
        return Err(refused(place, "it was not this appliance that sealed it"));
    }
    Ok(SecretText::new(envelope.value.into_owned()))
}

/// Kind, tenant and name have no zero byte in them, so that the parts cannot run into each other.
fn hmac(root: &ApplianceKey, place: Place<'_>, value: &str) -> String {
    root.derive("sealed envelope 1", &format!("{}\0{}\0{}\0{value}", place.kind, place.tenant, place.name))
}

fn refused(place: Place<'_>, why: &'static str) -> Error {
    let what =
        if place.kind == "secret" { format!("secret {}", place.name) } else { format!("{} of secrets", place.kind) };
    Error::conflict(format!("the {what} cannot be opened: {why}"))
        .remedy("somebody may have changed the database; set the secret again, and read the audit log")
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    #[test]
    fn a_text_is_opened_only_where_it_belongs_and_only_if_we_sealed_it() {
        let (root, key) = (ApplianceKey::generate(), SealingKey::generate(DateTime::UNIX_EPOCH));
        let (a, b) = (TenantId::from_random([1; 10]), TenantId::from_random([2; 10]));
        let place = Place { kind: "secret", tenant: &a, name: "token" };
        let value = SecretText::new("a \"quoted\"\nvalue\u{1F511}".to_owned());
        let sealed = seal(&root, &key.recipient(), place, &value).unwrap();
        assert_eq!(open(&root, &key, place, &sealed).unwrap().reveal(), value.reveal());

        let elsewhere =
            [Place { tenant: &b, ..place }, Place { name: "token2", ..place }, Place { kind: "identity", ..place }];
        for place in elsewhere {
            assert!(open(&root, &key, place, &sealed).unwrap_err().message().contains("another place"));
        }
        let strangers = seal(&ApplianceKey::generate(), &key.recipient(), place, &value).unwrap();
        let error = open(&root, &key, place, &strangers).unwrap_err();
        assert!(error.message().contains("not this appliance"), "{error}");
        let plain = sealing::seal(&key.recipient(), "hunter2").unwrap();
        let error = open(&root, &key, place, &plain).unwrap_err();
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    }
}
