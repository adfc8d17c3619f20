//! Folders that collections are filled from.

use std::{
    ffi::OsStr,
    fs,
    os::unix::{ffi::OsStrExt as _, fs::symlink},
    path::Path,
};

use aegis::{
    accounts::Role,
    audit::Actor,
    knowledge::{CollectionDraft, Document, Listing, Rights},
};

use super::fixture::Fixture;

async fn documents(fixture: &Fixture) -> Vec<Document> {
    let mut documents = fixture.library().list(&Listing::default()).await.unwrap().documents;
    documents.sort_by(|a, b| (&a.folder, &a.title).cmp(&(&b.folder, &b.title)));
    documents
}

async fn look(fixture: &Fixture, folder: &Path) -> usize {
    fixture.knowledge.look_into(&fixture.db, folder).await.unwrap()
}

#[tokio::test]
async fn what_stands_still_is_taken_once_and_again_when_it_has_changed() {
    let fixture = Fixture::new().await;
    let rights = Rights { least_role: Role::Member, agents: None };
    let draft = CollectionDraft { name: "HR".to_owned(), description: String::new(), rights };
    let hr = fixture.library().create_collection(draft, Actor::Operator).await.unwrap();
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("hr");
    fs::create_dir_all(folder.join("Leave")).unwrap();
    fs::create_dir_all(root.path().join("unknown")).unwrap();
    fs::write(root.path().join("unknown/lost.md"), "# Lost").unwrap();
    fs::write(folder.join("Leave/policy.md"), "# Policy\n\nThirty days.").unwrap();
    fs::write(folder.join("photo.png"), b"\x89PNG\r\n\x1a\n\0\0").unwrap();
    fs::write(folder.join(".hidden.md"), "# Hidden").unwrap();
    fs::write(root.path().join("secret.txt"), "outside").unwrap();
    symlink(root.path().join("secret.txt"), folder.join("link.txt")).unwrap();
    symlink(root.path(), folder.join("around")).unwrap();

    assert_eq!(look(&fixture, root.path()).await, 0, "it may still be written");
    assert_eq!(look(&fixture, root.path()).await, 1);
    assert_eq!(look(&fixture, root.path()).await, 0, "once");
    let taken = documents(&fixture).await;
    assert_eq!(taken.len(), 1);
    assert_eq!((taken[0].collection, taken[0].folder.as_str(), taken[0].title.as_str()), (hr.id, "Leave", "policy.md"));
    let refused = fixture.knowledge.refused_files(&fixture.db, &hr).await.unwrap();
    assert_eq!(refused.len(), 1);
    assert!(refused[0].path == "photo.png" && refused[0].reason.contains("Pictures cannot be read"), "{refused:?}");
    fixture.knowledge.ingest(&fixture.db, taken[0].id).await.unwrap();

    fixture.test.clock.advance(chrono::TimeDelta::seconds(1));
    fs::write(folder.join("Leave/policy.md"), "# Policy\n\nThirty-two days.").unwrap();
    fs::remove_file(folder.join("photo.png")).unwrap();
    assert_eq!((look(&fixture, root.path()).await, look(&fixture, root.path()).await), (0, 1));
    assert!(fixture.knowledge.refused_files(&fixture.db, &hr).await.unwrap().is_empty());
    let newest = documents(&fixture).await.into_iter().max_by_key(|document| document.created_at).unwrap();
    fixture.knowledge.ingest(&fixture.db, newest.id).await.unwrap();
    assert_eq!(fixture.document(newest.id).await.version, 2);

    // What goes from the folder stays in the knowledge base.
    fs::remove_dir_all(&folder).unwrap();
    fs::create_dir(&folder).unwrap();
    assert_eq!(look(&fixture, root.path()).await, 0);
    assert_eq!(documents(&fixture).await.len(), 1);
    assert_eq!(fixture.search("days").await.len(), 1);
}

#[tokio::test]
async fn what_cannot_be_looked_at_is_told_and_keeps_nothing_else_out() {
    let fixture = Fixture::new().await;
    let general = fixture.library().collections().await.unwrap().remove(0);
    let root = tempfile::tempdir().unwrap();
    let mut deep = root.path().join("general");
    for level in 0..20 {
        deep = deep.join(format!("level {level}"));
    }
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("lost.md"), "# Lost").unwrap();
    let folder = root.path().join("general");
    fs::write(folder.join(OsStr::from_bytes(b"caf\xe9.md")), "# Coffee").unwrap();
    fs::write(folder.join("good.md"), "# Good").unwrap();
    assert_eq!((look(&fixture, root.path()).await, look(&fixture, root.path()).await), (0, 1));
    let refused = fixture.knowledge.refused_files(&fixture.db, &general).await.unwrap();
    let told: Vec<_> = refused.iter().map(|refused| refused.reason.as_str()).collect();
    assert_eq!(told, ["Its name is not in UTF-8: rename it", "The folder lies too deep: move it further up"]);
    fs::remove_dir_all(folder.join("level 0")).unwrap();
    look(&fixture, root.path()).await;
    assert_eq!(fixture.knowledge.refused_files(&fixture.db, &general).await.unwrap().len(), 1);
}
