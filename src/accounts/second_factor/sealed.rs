//! How shared secrets lie in the database: encrypted with age to the appliance's sealing key, and bound to whose they
//! are by a seal of the root key, so that none can be put into another's row.

use subtle::ConstantTimeEq as _;

use super::{Accounts, rows, totp::SharedSecret};
use crate::{
    accounts::store,
    support::{Error, Result, ids::UserId},
    vault::{SealingKey, SecretText, sealing},
};

impl Accounts {
    /// Seals every secret to the appliance's current key that is not so yet, all or none: a part of rotating that key,
    /// before the old one is forgotten. How many there were.
    ///
    /// # Errors
    /// `Conflict` when one cannot be opened; then nothing has changed.
    pub async fn reseal_second_factors(&self) -> Result<usize> {
        let current = self.inner.keyring.sealing().await.current().clone();
        let mut transaction = store::begin(self.inner.db.control()).await?;
        let others = rows::sealed_to_others(&mut transaction, &current.recipient()).await?;
        let count = others.len();
        for (user, bytes, to) in others {
            let secret = self.unseal(user, &bytes, &to).await?;
            let (bytes, to) = self.seal(user, &secret, &current)?;
            rows::replace_sealed(&mut transaction, user, &bytes, &to).await?;
        }
        store::commit(transaction).await?;
        Ok(count)
    }

    /// The secret sealed to `key`, and the key's public half.
    pub(super) fn seal(&self, user: UserId, secret: &SharedSecret, key: &SealingKey) -> Result<(Vec<u8>, String)> {
        let text = SecretText::new(secret.reveal());
        let line = SecretText::new(format!("{} {}", self.binding(user, &text), text.reveal()));
        let to = key.recipient();
        Ok((sealing::seal(&to, line.reveal())?, to))
    }

    /// The secret of `user` that was sealed to the key `to`.
    pub(super) async fn unseal(&self, user: UserId, bytes: &[u8], to: &str) -> Result<SharedSecret> {
        let damaged = || {
            Error::conflict("The second factor in the database was changed and cannot be read")
                .remedy("`aegis user second-factor EMAIL --remove` takes it away, so that it can be set up again")
        };
        let line = self.inner.keyring.sealing().await.find(to)?.open(bytes).ok_or_else(damaged)?;
        let (binding, text) = line.reveal().split_once(' ').ok_or_else(damaged)?;
        let expected = self.binding(user, &SecretText::new(text.to_owned()));
        if !bool::from(binding.as_bytes().ct_eq(expected.as_bytes())) {
            return Err(damaged());
        }
        SharedSecret::parse(text).ok_or_else(damaged)
    }

    fn binding(&self, user: UserId, text: &SecretText) -> String {
        self.inner.keyring.root().derive("second factor", &format!("{user} {}", text.reveal()))
    }
}
