//! E-mail addresses, as far as it is worth checking them without sending a message.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::support::{Error, Result};

/// An e-mail address: one `@`, something sensible on both sides, the domain in lower case.
///
/// Two addresses that differ in capitals only are one account; the database compares them so.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(value_type = String, format = Email)]
#[serde(try_from = "String", into = "String")]
pub struct EmailAddress(String);

impl EmailAddress {
    /// The address's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for EmailAddress {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let text = text.trim();
        let wrong = || Error::invalid("That is not an e-mail address").remedy("Write it as name@example.org");
        let (name, domain) = text.rsplit_once('@').ok_or_else(wrong)?;
        let domain = domain.to_lowercase();
        let right = text.len() <= 254 && is_name(name) && is_domain(&domain);
        if right { Ok(Self(format!("{name}@{domain}"))) } else { Err(wrong()) }
    }
}

impl TryFrom<String> for EmailAddress {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<EmailAddress> for String {
    fn from(address: EmailAddress) -> Self {
        address.0
    }
}

impl fmt::Display for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// RFC 5321 allows more in quotes; nobody has such an address.
fn is_name(name: &str) -> bool {
    let forbidden = |c: char| c.is_whitespace() || c.is_control() || "\"(),:;<>@[\\]".contains(c);
    (1..=64).contains(&name.len()) && !name.contains(forbidden)
}

/// A host of the own network (`localhost`) will do.
fn is_domain(domain: &str) -> bool {
    domain.split('.').all(|label| {
        let inside = |c: char| c.is_alphanumeric() || c == '-';
        (1..=63).contains(&label.len()) && label.chars().all(inside) && !label.starts_with('-') && !label.ends_with('-')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_trimmed_and_its_domain_is_in_lower_case() {
        let address: EmailAddress = "  Ada.King+x@Example.ORG\n".parse().unwrap();
        assert_eq!(address.as_str(), "Ada.King+x@example.org");
        assert!("zoë@münchen.example".parse::<EmailAddress>().is_ok());
        assert!("root@localhost".parse::<EmailAddress>().is_ok());
    }

    #[test]
    fn what_no_message_could_reach_is_refused() {
        let long = format!("{}@example.org", "x".repeat(65));
        for wrong in
            ["", "@", "ada", "ada@", "@example.org", "a b@example.org", "a@b@c", "a@-b.org", "a@b..org", "a@b_c", &long]
        {
            assert!(wrong.parse::<EmailAddress>().is_err(), "{wrong:?}");
        }
        assert!("ada@example.org\r\nBcc: all@example.org".parse::<EmailAddress>().is_err());
    }
}
