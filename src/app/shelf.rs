//! What the chat says about the knowledge base before the first question. It is put together here, because neither
//! agents nor knowledge names the other.

use async_trait::async_trait;

use crate::{
    agents::http::Shelf,
    db::TenantDb,
    knowledge::{Knowledge, Status},
    support::Result,
};

/// How many titles an empty chat is told.
const TITLES: usize = 4;

#[async_trait]
impl Shelf for Knowledge {
    async fn shelf(&self, db: &TenantDb) -> Result<(usize, Vec<String>)> {
        let mut titles: Vec<String> = self
            .list(db)
            .await?
            .into_iter()
            .filter(|document| document.status == Status::Ready)
            .map(|document| document.title)
            .collect();
        let ready = titles.len();
        titles.truncate(TITLES);
        Ok((ready, titles))
    }
}
