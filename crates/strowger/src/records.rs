//! Opening the store: where the settings say it is, for the switch or only to look.

use std::path::PathBuf;

use store::Store;

use crate::commands::Failure;
use crate::data_folder::DataFolder;
use crate::settings::Config;

/// The database file that the settings name, if it is a file.
fn file(config: &Config, folder: &DataFolder) -> PathBuf {
    match config.database.as_str() {
        "" => folder.database(),
        // The store knows which addresses it cannot use, and says so.
        named => PathBuf::from(named.strip_prefix("sqlite:").unwrap_or(named)),
    }
}

/// Opens or makes the database for a switch, keeping other processes out.
///
/// # Errors
/// One sentence from the store.
pub(crate) fn open(config: &Config, folder: &DataFolder) -> Result<Store, Failure> {
    Ok(Store::open(&file(config, folder))?)
}

/// Opens the database of a switch that may be running, to read it.
///
/// # Errors
/// There is none yet, or one sentence from the store.
pub(crate) fn open_to_read(config: &Config) -> Result<Store, Failure> {
    let folder = match config.database.as_str() {
        "" => DataFolder::existing(&config.data)?,
        _ => DataFolder::named(&config.data),
    };
    Ok(Store::open_to_read(&file(config, &folder))?)
}
