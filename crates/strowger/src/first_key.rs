//! The key that opens a new switch: made once, kept in a file, known to the database by its hash.

use model::{Actor, ApiKey, Scope};
use store::Store;

use crate::commands::Failure;
use crate::data_folder::DataFolder;

/// What the start found out about the first key.
#[derive(Debug)]
pub(crate) struct FirstKey {
    /// The key, if its file is there.
    pub(crate) key: Option<String>,
    /// Nobody has used it yet. A start that failed late, on a port in use perhaps, does not count as one.
    pub(crate) unused: bool,
}

/// Makes the first key where there is none, and checks the file where there is one.
///
/// The file is written before the database, so a crash between the two leaves a file whose key the next start adopts.
/// For the same reason a file put there beforehand, by whoever provisions the machine, becomes the first key.
///
/// # Errors
/// The file holds something that is no key, or one that the database does not know.
pub(crate) async fn ensure(
    folder: &DataFolder,
    store: &Store,
    unix_ms: i64,
) -> Result<FirstKey, Failure> {
    let path = folder.key_path();
    let known = store.read(|reader| reader.count_api_keys()).await?;
    let in_file = folder.read_key()?;
    if let Some(key) = &in_file {
        let right =
            api::keys::key_id(key).is_some() && key.starts_with(Scope::SuperUser.key_prefix());
        if !right {
            return Err(Failure::new(format!(
                "The key file {} holds no super-user key: move it away, or put the key back.",
                path.display()
            )));
        }
    }
    if known > 0 {
        let Some(key) = in_file else {
            return Ok(FirstKey {
                key: None,
                unused: false,
            });
        };
        let hash = api::keys::hash(&key);
        let Some(record) = store
            .read(move |reader| reader.api_key_by_hash(&hash))
            .await?
        else {
            return Err(Failure::new(format!(
                "The key in {} is not in the database: it was revoked, or file and database are not of the same switch. \
                 Move the file away to start.",
                path.display()
            )));
        };
        return Ok(FirstKey {
            key: Some(key),
            unused: record.lastused_datetime.is_none(),
        });
    }
    let key = match in_file {
        Some(key) => key,
        None => {
            let new = api::keys::generate(Scope::SuperUser);
            folder.write_key(&new.key)?;
            new.key
        }
    };
    let hash = api::keys::hash(&key);
    let record = ApiKey {
        key_id: api::keys::key_id(&key).unwrap_or_default().to_owned(),
        description: "First key, made at the first start".into(),
        reseller: "*".into(),
        domain: "*".into(),
        user_scope: Scope::SuperUser,
        can_create_keys: true,
        ..ApiKey::default()
    };
    store
        .write(move |writer| writer.insert_api_key(&Actor::system("setup", unix_ms), record, &hash))
        .await?;
    Ok(FirstKey {
        key: Some(key),
        unused: true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, DataFolder) {
        let parent = tempfile::tempdir().expect("temporary folder");
        let folder = DataFolder::open_or_create(&parent.path().join("data")).expect("created");
        (parent, folder)
    }

    #[tokio::test]
    async fn the_first_start_makes_a_key_and_later_ones_find_it() {
        let (_parent, folder) = folder();
        let store = Store::open_in_memory().expect("a store");
        let first = ensure(&folder, &store, 0).await.expect("made");
        let second = ensure(&folder, &store, 0).await.expect("found");
        assert!(first.unused && second.unused);
        assert_eq!(first.key, second.key);
        assert!(first.key.is_some_and(|key| key.starts_with("nss_")));
    }

    #[tokio::test]
    async fn a_file_from_a_start_that_crashed_is_adopted() {
        let (_parent, folder) = folder();
        let key = api::keys::generate(Scope::SuperUser).key;
        folder.write_key(&key).expect("written");
        let store = Store::open_in_memory().expect("a store");
        assert_eq!(
            ensure(&folder, &store, 0).await.expect("adopted").key,
            Some(key)
        );
    }

    #[tokio::test]
    async fn a_file_that_was_moved_away_is_not_missed() {
        let (_parent, folder) = folder();
        let store = Store::open_in_memory().expect("a store");
        ensure(&folder, &store, 0).await.expect("made");
        std::fs::remove_file(folder.key_path()).expect("removed");
        let again = ensure(&folder, &store, 0).await.expect("fine");
        assert!(again.key.is_none() && !again.unused);
    }

    #[tokio::test]
    async fn a_wrong_file_stops_the_start() {
        let (_parent, folder) = folder();
        let store = Store::open_in_memory().expect("a store");
        folder.write_key("hello").expect("written");
        assert!(
            ensure(&folder, &store, 0)
                .await
                .is_err_and(|failure| failure.to_string().contains("no super-user key"))
        );
        std::fs::remove_file(folder.key_path()).expect("removed");
        ensure(&folder, &store, 0).await.expect("made");
        folder
            .write_key(&api::keys::generate(Scope::SuperUser).key)
            .expect("written");
        assert!(
            ensure(&folder, &store, 0)
                .await
                .is_err_and(|failure| failure.to_string().contains("not in the database"))
        );
    }
}
