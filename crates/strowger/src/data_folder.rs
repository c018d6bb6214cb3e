//! The folder that holds everything a switch remembers, and the first key to it.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::commands::Failure;

/// Name of the database inside the folder.
const DATABASE_FILE: &str = "strowger.db";
/// Name of the first key's file inside the folder.
const KEY_FILE: &str = "superuser.key";
/// A key is far shorter; whatever is longer is not one.
const KEY_FILE_BYTES_MAX: u64 = 1_024;

/// A folder that exists and that we may write.
#[derive(Clone, Debug)]
pub(crate) struct DataFolder {
    path: PathBuf,
}

impl DataFolder {
    /// Opens the folder, or creates it for its owner alone.
    ///
    /// # Errors
    /// One sentence: it cannot be created, or is not a folder.
    pub(crate) fn open_or_create(path: &Path) -> Result<Self, Failure> {
        let shown = path.display();
        match std::fs::metadata(path) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => {
                return Err(Failure::new(format!(
                    "The data folder {shown} is a file; name a folder with --data."
                )));
            }
            Err(error) if error.kind() == ErrorKind::NotFound => DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(path)
                .map_err(|error| {
                    Failure::new(format!(
                        "The data folder {shown} cannot be created: {error}."
                    ))
                })?,
            Err(error) => {
                return Err(Failure::new(format!(
                    "The data folder {shown} cannot be opened: {error}."
                )));
            }
        }
        Ok(Self {
            path: path.to_path_buf(),
        })
    }

    /// The folder as it is, for commands that only read.
    ///
    /// # Errors
    /// No switch has ever run with it.
    pub(crate) fn existing(path: &Path) -> Result<Self, Failure> {
        let folder = Self {
            path: path.to_path_buf(),
        };
        match folder.database().try_exists() {
            Ok(true) => Ok(folder),
            Ok(false) => Err(Failure::new(format!(
                "There is no database in {}; `strowger serve` makes one, --data names another folder.",
                path.display()
            ))),
            Err(error) => Err(Failure::new(format!(
                "The data folder {} cannot be read: {error}.",
                path.display()
            ))),
        }
    }

    /// The folder of this name, whether it exists or not.
    pub(crate) fn named(path: &Path) -> Self {
        Self {
            path: path.to_path_buf(),
        }
    }

    /// Where the database is unless a setting says otherwise.
    pub(crate) fn database(&self) -> PathBuf {
        self.path.join(DATABASE_FILE)
    }

    /// Where the first key is.
    pub(crate) fn key_path(&self) -> PathBuf {
        self.path.join(KEY_FILE)
    }

    /// The key in the file, or nothing when there is no file: whoever moved it to a safer place did right.
    ///
    /// # Errors
    /// The file is there but cannot be read, or is open to others.
    pub(crate) fn read_key(&self) -> Result<Option<String>, Failure> {
        let path = self.key_path();
        let problem =
            |what: String| Failure::new(format!("The key file {} {what}.", path.display()));
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(problem(format!("cannot be read: {error}"))),
        };
        let mode = file
            .metadata()
            .map_err(|error| problem(format!("cannot be read: {error}")))?
            .permissions()
            .mode();
        if mode & 0o077 != 0 {
            return Err(problem(format!(
                "can be read by others (mode {:04o}); `chmod 600` it, and replace the key if others were there",
                mode & 0o7777
            )));
        }
        let mut text = String::new();
        file.take(KEY_FILE_BYTES_MAX)
            .read_to_string(&mut text)
            .map_err(|error| problem(format!("cannot be read: {error}")))?;
        Ok(Some(text.trim().to_owned()))
    }

    /// Puts the key into its file, mode 0600, on the disk before this returns.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn write_key(&self, key: &str) -> Result<(), Failure> {
        let path = self.key_path();
        let problem = |error: std::io::Error| {
            Failure::new(format!(
                "The key file {} cannot be written: {error}.",
                path.display()
            ))
        };
        // Written beside and renamed, so that a crash leaves either no key file or a whole one.
        let beside = path.with_extension("key.new");
        let _ = std::fs::remove_file(&beside);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&beside)
            .map_err(problem)?;
        writeln!(file, "{key}")
            .and_then(|()| file.sync_all())
            .map_err(problem)?;
        std::fs::rename(&beside, &path).map_err(problem)?;
        File::open(&self.path)
            .and_then(|folder| folder.sync_all())
            .map_err(problem)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path)
            .expect("exists")
            .permissions()
            .mode()
            & 0o7777
    }

    #[test]
    fn folder_and_key_are_for_their_owner_alone() {
        let parent = tempfile::tempdir().expect("temporary folder");
        let path = parent.path().join("a/data");
        let folder = DataFolder::open_or_create(&path).expect("created");
        assert_eq!(mode(&path), 0o700);
        assert_eq!(folder.read_key().expect("readable"), None);
        folder.write_key("nss_1").expect("written");
        assert_eq!(mode(&folder.key_path()), 0o600);
        assert_eq!(
            std::fs::read_to_string(folder.key_path()).expect("readable"),
            "nss_1\n"
        );
        assert_eq!(
            folder.read_key().expect("readable").as_deref(),
            Some("nss_1")
        );
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let folder = DataFolder {
            path: tempfile::tempdir().expect("temporary folder").keep(),
        };
        folder.write_key("nss_1").expect("written");
        std::fs::set_permissions(folder.key_path(), std::fs::Permissions::from_mode(0o644))
            .expect("chmod");
        let sentence = folder.read_key().expect_err("refused").to_string();
        assert!(
            sentence.contains("0644") && sentence.contains("chmod 600"),
            "{sentence}"
        );
        std::fs::remove_dir_all(&folder.path).expect("removed");
    }

    #[test]
    fn a_file_is_not_a_folder() {
        let file = tempfile::NamedTempFile::new().expect("temporary file");
        assert!(
            DataFolder::open_or_create(file.path())
                .is_err_and(|failure| failure.to_string().contains("is a file"))
        );
        assert!(DataFolder::existing(file.path()).is_err());
    }
}
