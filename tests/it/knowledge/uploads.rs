//! Files that arrive in pieces: over lines that break, from several ends, and too much of them.

use aegis::{
    knowledge::Status,
    support::{
        Clock as _, Kind,
        ids::{UploadId, UserId},
    },
};
use bytes::Bytes;
use futures::stream;

use super::fixture::Fixture;

type Piece = Result<Bytes, std::io::Error>;

fn whole(bytes: &[u8]) -> impl futures::Stream<Item = Piece> + use<> {
    stream::iter([Ok(Bytes::copy_from_slice(bytes))])
}

/// What comes before the line breaks.
fn broken(bytes: &[u8]) -> impl futures::Stream<Item = Piece> + use<> {
    let cut = Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset));
    stream::iter([Ok(Bytes::copy_from_slice(bytes)), cut])
}

#[tokio::test]
async fn a_file_comes_over_a_line_that_breaks_and_is_the_same_file() {
    let fixture = Fixture::new().await;
    let (library, ada) = (fixture.library(), UserId::generate());
    let text: String = (0..).map(|n| format!("Line {n} of the long list.\n")).take(30_000).collect();
    let bytes = text.as_bytes();
    let length = i64::try_from(bytes.len()).unwrap();
    let id = library.begin_upload(ada, "lists/long.txt", length, None).await.unwrap();
    let (mut at, mut rounds) = (0, 0);
    while at < bytes.len() {
        // Each line breaks after some odd number of bytes, and what came is kept to the last of them.
        let to = bytes.len().min(at + 77_777);
        let position = i64::try_from(at).unwrap();
        if to == bytes.len() {
            let (arrived, added) = library.append_upload(ada, id, position, whole(&bytes[at..])).await.unwrap();
            assert_eq!((arrived.received, arrived.bytes), (length, length));
            let document = added.unwrap().document;
            assert_eq!((document.folder.as_str(), document.title.as_str()), ("lists", "long.txt"));
            assert!(library.original(document.id).await.unwrap().unwrap().collect().await.unwrap() == bytes);
            assert_eq!((document.status, fixture.queue.0.lock().unwrap().len()), (Status::Queued, 1));
        } else {
            let error = library.append_upload(ada, id, position, broken(&bytes[at..to])).await.unwrap_err();
            assert!(error.message().contains("what came before is kept"), "{error}");
            assert_eq!(library.upload_state(ada, id).await.unwrap().received, i64::try_from(to).unwrap());
        }
        (at, rounds) = (to, rounds + 1);
    }
    assert!(rounds > 9);
    assert_eq!(library.upload_state(ada, id).await.unwrap_err().kind(), Kind::NotFound, "nothing of it is left");
    let parts: i64 =
        sqlx::query_scalar("SELECT count(*) FROM upload_parts").fetch_one(fixture.db.pool()).await.unwrap();
    assert_eq!(parts, 0);
}

#[tokio::test]
async fn pieces_at_the_wrong_place_from_others_or_beyond_the_end_are_refused_and_nothing_is_lost() {
    let fixture = Fixture::new().await;
    let (library, ada, eve) = (fixture.library(), UserId::generate(), UserId::generate());
    let id = library.begin_upload(ada, "a.txt", 10, None).await.unwrap();
    let kind = |error: aegis::support::Error| error.kind();
    library.append_upload(ada, id, 0, whole(b"01234")).await.unwrap();
    assert_eq!(kind(library.append_upload(ada, id, 0, whole(b"01234")).await.unwrap_err()), Kind::Conflict);
    assert_eq!(kind(library.append_upload(ada, id, 7, whole(b"789")).await.unwrap_err()), Kind::Conflict);
    assert_eq!(kind(library.append_upload(ada, id, 5, whole(b"56789+")).await.unwrap_err()), Kind::TooLarge);
    assert_eq!(kind(library.append_upload(eve, id, 5, whole(b"56789")).await.unwrap_err()), Kind::NotFound);
    assert_eq!(kind(library.drop_upload(eve, id).await.unwrap_err()), Kind::NotFound);
    assert_eq!(kind(library.upload_state(ada, UploadId::generate()).await.unwrap_err()), Kind::NotFound);
    // Two at once: one of them has it, and the file has the bytes once.
    let (one, two) = tokio::join!(
        library.append_upload(ada, id, 5, whole(b"567")),
        library.append_upload(ada, id, 5, whole(b"567"))
    );
    assert!(one.is_ok() != two.is_ok(), "{one:?} {two:?}");
    let (_, added) = library.append_upload(ada, id, 8, whole(b"89")).await.unwrap();
    let document = added.unwrap().document;
    assert_eq!(library.original(document.id).await.unwrap().unwrap().collect().await.unwrap(), b"0123456789");

    // A whole file of no known type is refused with its reason, and gone.
    let id = library.begin_upload(ada, "photo.png", 8, None).await.unwrap();
    let refused = library.append_upload(ada, id, 0, whole(b"\x89PNG\r\n\x1a\n")).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Invalid);
    assert!(refused.message().contains("photo.png: Pictures cannot be read"), "{refused}");
    assert_eq!(kind(library.upload_state(ada, id).await.unwrap_err()), Kind::NotFound);
    assert_eq!(kind(library.begin_upload(ada, "large.bin", 2 << 20, None).await.unwrap_err()), Kind::TooLarge);
}

#[tokio::test]
async fn what_nobody_goes_on_with_ends_after_a_day_and_nobody_has_too_many_under_way() {
    let fixture = Fixture::new().await;
    let (library, ada) = (fixture.library(), UserId::generate());
    for number in 0..200 {
        library.begin_upload(ada, &format!("{number}.txt"), 10, None).await.unwrap();
    }
    assert_eq!(library.begin_upload(ada, "more.txt", 10, None).await.unwrap_err().kind(), Kind::Conflict);
    library.begin_upload(UserId::generate(), "other.txt", 10, None).await.unwrap();
    fixture.test.clock.advance(chrono::TimeDelta::hours(25));
    let id = library.begin_upload(UserId::generate(), "new.txt", 10, None).await.unwrap();
    let yesterday = fixture.test.clock.now() - chrono::TimeDelta::days(1);
    assert_eq!(fixture.knowledge.drop_stale_uploads(&fixture.db, yesterday).await.unwrap(), 201);
    let left: Vec<sqlx::types::Uuid> =
        sqlx::query_scalar("SELECT id FROM uploads").fetch_all(fixture.db.pool()).await.unwrap();
    assert_eq!(left, [id.0]);
}
