//! Codes out of an authenticator app: RFC 6238 with what every app supports, SHA-1, six digits, thirty seconds.

use std::fmt;

use chrono::{DateTime, Utc};
use qrcode::{EcLevel, QrCode, render::svg};
use totp_rs::{Algorithm, Builder, Secret, Totp};

use crate::{
    accounts::EmailAddress,
    support::{Error, Result, random},
};

/// What the app calls us.
const ISSUER: &str = "AEGIS";
/// How many steps a clock may be off, either way.
const SKEW: u16 = 1;
const STEP_SECONDS: u64 = 30;

/// The secret that the server and the app share: 160 random bits, as RFC 4226 recommends. It never prints itself.
#[derive(Clone, PartialEq, Eq)]
pub struct SharedSecret([u8; 20]);

impl SharedSecret {
    /// A new one.
    pub fn generate() -> Self {
        Self(random::bytes())
    }

    /// From its text in base32.
    pub fn parse(text: &str) -> Option<Self> {
        let secret = Secret::try_from_base32(text).ok()?;
        secret.as_bytes().try_into().ok().map(Self)
    }

    /// Its text in base32, as somebody types it into an app that has no camera.
    pub fn reveal(&self) -> String {
        Secret::new_stack(self.0).to_base32()
    }

    /// The time step that `code` belongs to, if it is one of the codes that are good at `now`.
    pub fn step_of(&self, code: &str, now: DateTime<Utc>) -> Result<Option<i64>> {
        let second = u64::try_from(now.timestamp()).map_err(Error::internal)?;
        let step = self.totp(None)?.check(code, second);
        step.map(|step| i64::try_from(step).map_err(Error::internal)).transpose()
    }

    /// The code at a moment, as the app would show it.
    #[cfg(test)]
    fn code_at(&self, moment: DateTime<Utc>) -> Result<String> {
        let second = u64::try_from(moment.timestamp()).map_err(Error::internal)?;
        Ok(self.totp(None)?.generate(second).to_string())
    }

    /// A picture for the app's camera, as SVG to stand in a page. It is black on white in the dark, too: many apps read
    /// nothing else.
    pub fn picture(&self, account: &EmailAddress) -> Result<String> {
        let address = self.totp(Some(account))?.to_url().map_err(|fault| Error::internal(fault.to_string()))?;
        let code = QrCode::with_error_correction_level(address, EcLevel::M).map_err(Error::internal)?;
        let whole = code.render::<svg::Color<'_>>().min_dimensions(200, 200).build();
        let (_, svg) = whole.split_once("<svg ").ok_or_else(|| Error::internal("the picture is no SVG"))?;
        Ok(format!("<svg role=\"img\" aria-label=\"QR code for the authenticator app\" {svg}"))
    }

    fn totp(&self, account: Option<&EmailAddress>) -> Result<Totp> {
        let mut builder = Builder::new()
            .with_algorithm(Algorithm::SHA1)
            .with_digits(6)
            .with_skew(SKEW)
            .with_step_duration(STEP_SECONDS)
            .with_secret(self.0)
            .with_issuer(Some(ISSUER));
        if let Some(account) = account {
            builder = builder.with_account_name(account.as_str());
        }
        builder.build().map_err(|fault| Error::internal(fault.to_string()))
    }
}

impl fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedSecret(•••)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(second, 0).unwrap()
    }

    /// The secret and the last six of the eight digits in appendix B.
    #[test]
    fn codes_agree_with_the_examples_of_the_rfc() {
        let secret = SharedSecret(*b"12345678901234567890");
        for (second, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(secret.code_at(at(second)).unwrap(), code);
            assert_eq!(secret.step_of(code, at(second)).unwrap(), Some(second / 30));
        }
    }

    #[test]
    fn a_clock_may_be_off_by_one_step_and_no_more() {
        let (secret, now) = (SharedSecret(*b"12345678901234567890"), at(1_800_000_015));
        let step = now.timestamp() / 30;
        for (seconds, good) in [(-60, false), (-30, true), (0, true), (30, true), (60, false)] {
            let code = secret.code_at(now + chrono::TimeDelta::seconds(seconds)).unwrap();
            assert_eq!(secret.step_of(&code, now).unwrap(), good.then_some(step + seconds / 30));
        }
        for wrong in ["", "12345", "1234567", "abcdef", "٠٠٥٩٢٤", "-12345"] {
            assert_eq!(secret.step_of(wrong, now).unwrap(), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_secret_is_read_back_and_never_printed_and_its_picture_stands_in_a_page() {
        let secret = SharedSecret::generate();
        let text = secret.reveal();
        assert_eq!((text.len(), SharedSecret::parse(&text).as_ref()), (32, Some(&secret)));
        assert_eq!(SharedSecret::parse("MFRGG"), None);
        assert_eq!(format!("{secret:?}"), "SharedSecret(•••)");
        let picture = secret.picture(&"ada+x@example.org".parse().unwrap()).unwrap();
        assert!(picture.starts_with("<svg role=") && picture.ends_with("</svg>"), "{picture}");
        assert!(!picture.contains("style="), "the policy allows no inline style");
    }
}
