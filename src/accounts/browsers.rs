//! Browsers that are known since somebody signed in with them: they carry a cookie of their own that outlives the
//! session, so that whoever guesses a person's password elsewhere does not keep that person out here.
//!
//! <https://owasp.org/www-community/Slow_Down_Online_Guessing_Attacks_with_Device_Cookies>

use chrono::{DateTime, TimeDelta, Utc};

use super::{Accounts, ClientInfo, EmailAddress, store::browsers, throttle::Attempt};
use crate::{
    support::{Result, ids::UserId},
    vault::{Token, TokenHash},
};

/// How long a browser that is not used stays known.
const KNOWN_FOR: TimeDelta = TimeDelta::days(365);
/// The most browsers of one person; the one that was used least recently makes room.
const MOST: i64 = 20;

impl Accounts {
    /// An attempt to sign in as `email`, as the throttle counts it.
    pub(super) async fn attempt(
        &self,
        email: &EmailAddress,
        client: &ClientInfo,
        now: DateTime<Utc>,
    ) -> Result<Attempt> {
        let browser = match client.browser.as_deref().map(TokenHash::of) {
            Some(hash) if browsers::is_known(self.inner.db.control(), email, &hash, now - KNOWN_FOR).await? => {
                Some(hash)
            }
            _ => None,
        };
        Ok(Attempt::new(email, client.address, browser))
    }

    /// Notes that `user` has signed in with a browser. A token that the browser does not have yet is returned.
    pub(super) async fn know_browser(
        &self,
        user: UserId,
        token: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<Option<String>> {
        let control = self.inner.db.control();
        // Only a token of ours is taken: somebody else may have put another one there.
        let ours = match token.map(TokenHash::of) {
            Some(hash) if browsers::exists(control, &hash).await? => Some(hash),
            _ => None,
        };
        let (hash, new) = if let Some(hash) = ours {
            (hash, None)
        } else {
            let token = Token::generate();
            (token.hash(), Some(token.reveal().to_owned()))
        };
        browsers::insert(control, user, &hash, now, now - KNOWN_FOR, MOST).await?;
        Ok(new)
    }
}
