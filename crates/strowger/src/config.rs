//! Where settings come from, and which source wins: flag, environment, file, default.

use std::fmt;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use crate::nearest::nearest;
use crate::settings::{self, Config, VARIABLE_PREFIX};

/// The variable that names the configuration file, for who cannot change the command line.
const FILE_VARIABLE: &str = "STROWGER_CONFIG";

/// What is wrong with the settings: one clear sentence, ready to be printed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ConfigError(String);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

/// Settings as they stood on the command line, all of the table or some of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct SettingFlags {
    file: Option<PathBuf>,
    /// Setting name and the texts given for it.
    given: Vec<(&'static str, Vec<String>)>,
}

impl SettingFlags {
    /// Flags as if someone had typed them; how `demo` configures its switch through the same door.
    pub(crate) fn typed(given: Vec<(&'static str, Vec<String>)>) -> Self {
        Self { file: None, given }
    }

    /// The configuration: defaults, then file, then environment, then these flags.
    ///
    /// # Errors
    /// The first thing that is wrong, with the place it was said.
    pub(crate) fn load(&self) -> Result<Config, ConfigError> {
        let variables: Vec<(String, String)> = std::env::vars_os()
            .filter_map(|(name, value)| {
                let name = name
                    .into_string()
                    .ok()
                    .filter(|name| name.starts_with(VARIABLE_PREFIX))?;
                Some((name, value.to_string_lossy().into_owned()))
            })
            .collect();
        self.load_over(&variables)
    }

    /// The defaults and these flags, whatever the file and the environment say.
    pub(crate) fn load_alone(&self) -> Result<Config, ConfigError> {
        let mut config = Config::default();
        self.overlay(&mut config)?;
        Ok(config)
    }

    fn load_over(&self, variables: &[(String, String)]) -> Result<Config, ConfigError> {
        let mut config = Config::default();
        let from_variable = variables
            .iter()
            .find(|(name, value)| name == FILE_VARIABLE && !value.is_empty())
            .map(|(_, value)| PathBuf::from(value));
        if let Some(path) = self.file.clone().or(from_variable) {
            overlay_file(&mut config, &path)?;
        }
        overlay_variables(&mut config, variables)?;
        self.overlay(&mut config)?;
        Ok(config)
    }

    fn overlay(&self, config: &mut Config) -> Result<(), ConfigError> {
        for (key, texts) in &self.given {
            if let Some(setting) = settings::all().find(|setting| setting.key == *key) {
                setting
                    .apply(config, texts)
                    .map_err(|what| ConfigError(format!("--{} {what}.", setting.flag())))?;
            }
        }
        Ok(())
    }
}

/// Reads one file over the defaults: what `strowger check` does.
///
/// # Errors
/// As [`SettingFlags::load`].
pub(crate) fn check_file(path: &Path) -> Result<Config, ConfigError> {
    let mut config = Config::default();
    overlay_file(&mut config, path)?;
    Ok(config)
}

fn overlay_file(config: &mut Config, path: &Path) -> Result<(), ConfigError> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| {
        ConfigError(format!(
            "The configuration file {shown} cannot be read: {error}."
        ))
    })?;
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        let line = error
            .span()
            .map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        let place = line.map_or_else(String::new, |line| format!(", line {line}"));
        ConfigError(format!(
            "{shown}{place}: not valid TOML: {}.",
            error.message()
        ))
    })?;
    for (key, value) in &table {
        let Some(setting) = settings::all().find(|setting| setting.key == key) else {
            return Err(unknown(
                &format!("{shown}: there is no setting \"{key}\""),
                key,
                |name| name.to_owned(),
            ));
        };
        let texts = texts_of(value).ok_or_else(|| {
            ConfigError(format!(
                "{shown}: {key} is a {}, which no setting is.",
                value.type_str()
            ))
        })?;
        setting
            .apply(config, &texts)
            .map_err(|what| ConfigError(format!("{shown}: {key} {what}.")))?;
    }
    Ok(())
}

/// A TOML value as the texts that a flag would have carried; nothing for a table or a date.
fn texts_of(value: &toml::Value) -> Option<Vec<String>> {
    let text = |value: &toml::Value| match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Float(number) => Some(number.to_string()),
        toml::Value::Boolean(yes) => Some(yes.to_string()),
        _ => None,
    };
    match value {
        toml::Value::Array(items) => items.iter().map(text).collect(),
        single => Some(vec![text(single)?]),
    }
}

fn overlay_variables(
    config: &mut Config,
    variables: &[(String, String)],
) -> Result<(), ConfigError> {
    for (name, value) in variables {
        if name == FILE_VARIABLE {
            continue;
        }
        let Some(setting) = settings::all().find(|setting| setting.variable() == *name) else {
            let key = name.trim_start_matches(VARIABLE_PREFIX).to_lowercase();
            let spell = |name: &str| format!("{VARIABLE_PREFIX}{}", name.to_uppercase());
            return Err(unknown(
                &format!("The environment variable {name} names no setting"),
                &key,
                spell,
            ));
        };
        let texts: Vec<String> = match setting.many() {
            true => value
                .split(',')
                .map(|text| text.trim().to_owned())
                .collect(),
            false => vec![value.clone()],
        };
        setting
            .apply(config, &texts)
            .map_err(|what| ConfigError(format!("The environment variable {name} {what}.")))?;
    }
    Ok(())
}

fn unknown(what: &str, key: &str, spell: impl Fn(&str) -> String) -> ConfigError {
    // A flag's spelling in a file is the commonest slip of all.
    let key = key.replace('-', "_");
    match nearest(&key, settings::all().map(|setting| setting.key)) {
        Some(name) => ConfigError(format!("{what}; did you mean \"{}\"?", spell(name))),
        None => ConfigError(format!(
            "{what}; `strowger check --example` lists them all."
        )),
    }
}

impl FromArgMatches for SettingFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = Self {
            file: matches.get_one::<PathBuf>("config").cloned(),
            given: Vec::new(),
        };
        for setting in settings::all() {
            // Some commands offer only some of the table, so an absent argument is no mistake.
            if let Ok(Some(texts)) = matches.try_get_many::<String>(setting.key) {
                flags.given.push((setting.key, texts.cloned().collect()));
            }
        }
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for SettingFlags {
    fn augment_args(command: Command) -> Command {
        settings::all().fold(command.arg(config_argument()), |command, setting| {
            command.arg(argument(setting))
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

/// The few settings that say where the records are, for commands that only read them.
#[derive(Clone, Debug, Default)]
pub(crate) struct RecordFlags(pub(crate) SettingFlags);

impl FromArgMatches for RecordFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        SettingFlags::from_arg_matches(matches).map(Self)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.0.update_from_arg_matches(matches)
    }
}

impl Args for RecordFlags {
    fn augment_args(command: Command) -> Command {
        let wanted = settings::all().filter(|setting| matches!(setting.key, "data" | "database"));
        wanted.fold(command.arg(config_argument()), |command, setting| {
            command.arg(argument(setting))
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

fn config_argument() -> Arg {
    let help = format!("Configuration file in TOML [variable: {FILE_VARIABLE}]");
    Arg::new("config")
        .long("config")
        .value_name("FILE")
        .value_parser(clap::value_parser!(PathBuf))
        .help(help)
}

fn argument(setting: &'static settings::Setting) -> Arg {
    let sentence = setting.doc.first().copied().unwrap_or_default();
    let default = match setting.default {
        [] | [""] => String::new(),
        texts => format!(" [default: {}]", texts.join(", ")),
    };
    Arg::new(setting.key)
        .long(setting.flag())
        .value_name(setting.unit.to_uppercase())
        .action(if setting.many() {
            ArgAction::Append
        } else {
            ArgAction::Set
        })
        .help(format!("{sentence}{default}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("strowger.toml");
        std::fs::write(&path, text).expect("write");
        (folder, path)
    }

    #[track_caller]
    fn check_error(text: &str, parts: &[&str]) {
        let (_folder, path) = file(text);
        let error = check_file(&path).expect_err("an error").to_string();
        for part in parts {
            assert!(error.contains(part), "\"{part}\" is missing in: {error}");
        }
    }

    #[test]
    fn flags_go_before_environment_before_file_before_default() {
        let (_folder, path) = file("drain_seconds = 1\nshards = 1\nmax_calls = 1\n");
        let variables = [
            ("STROWGER_DRAIN_SECONDS".to_owned(), "2".to_owned()),
            ("STROWGER_SHARDS".to_owned(), "2".to_owned()),
        ];
        let flags = SettingFlags {
            file: Some(path),
            given: vec![("drain_seconds", vec!["3".into()])],
        };
        let config = flags.load_over(&variables).expect("valid");
        assert_eq!(
            (config.drain_seconds, config.shards, config.max_calls),
            (3, 2, 1)
        );
        assert_eq!(
            config.media_timeout_seconds,
            Config::default().media_timeout_seconds
        );
    }

    #[test]
    fn the_file_may_be_named_by_the_environment() {
        let (_folder, path) = file("shards = 3\n");
        let variables = [(FILE_VARIABLE.to_owned(), path.display().to_string())];
        assert_eq!(
            SettingFlags::default()
                .load_over(&variables)
                .map(|config| config.shards),
            Ok(3)
        );
    }

    #[test]
    fn lists_are_arrays_in_the_file_and_commas_in_the_environment() {
        let (_folder, path) = file("sip = [\"127.0.0.1:5060\", \"[::1]:5061\"]\n");
        assert_eq!(check_file(&path).map(|config| config.sip.len()), Ok(2));
        let variables = [(
            "STROWGER_SIP".to_owned(),
            "127.0.0.1, 127.0.0.2:5070".to_owned(),
        )];
        let config = SettingFlags::default()
            .load_over(&variables)
            .expect("valid");
        assert_eq!(
            config.sip,
            [
                "127.0.0.1:5060".parse().unwrap(),
                "127.0.0.2:5070".parse().unwrap()
            ]
        );
    }

    #[test]
    fn an_unknown_name_is_told_its_nearest() {
        check_error(
            "drain_secs = 3\n",
            &["\"drain_secs\"", "\"drain_seconds\"?"],
        );
        check_error(
            "rtp-ports = \"1-2\"\n",
            &["\"rtp-ports\"", "\"rtp_ports\"?"],
        );
        check_error("moonlight = 3\n", &["\"moonlight\"", "--example"]);
        let variables = [("STROWGER_DRAIN_SECOND".to_owned(), "2".to_owned())];
        let error = SettingFlags::default()
            .load_over(&variables)
            .expect_err("unknown")
            .to_string();
        assert!(
            error.contains("STROWGER_DRAIN_SECOND ")
                && error.contains("\"STROWGER_DRAIN_SECONDS\"?"),
            "{error}"
        );
    }

    #[test]
    fn a_bad_value_names_setting_value_and_what_is_allowed() {
        check_error(
            "drain_seconds = -1\n",
            &["drain_seconds", "-1", "0 to 86400"],
        );
        check_error("log_format = \"xml\"\n", &["log_format", "xml", "json"]);
        check_error(
            "digest_algorithms = [\"MD5\", \"SHA-1\"]\n",
            &["digest_algorithms", "SHA-1", "MD5 and SHA-256"],
        );
        check_error(
            "digest_algorithms = [\"MD5\", \"md5\"]\n",
            &["digest_algorithms", "MD5 twice"],
        );
        check_error("digest_algorithms = []\n", &["digest_algorithms", "empty"]);
        check_error(
            "ringback_country = \"xx\"\n",
            &["ringback_country", "\"xx\"", "de, dk", "itu", "off"],
        );
        check_error("http = 8080\n", &["http", "8080", "127.0.0.1:8080"]);
        check_error("[sip]\na = 1\n", &["sip", "table"]);
        check_error("a = \n", &["line 1", "TOML"]);
        let error = check_file(Path::new("/nonexistent/strowger.toml"))
            .expect_err("no file")
            .to_string();
        assert!(
            error.contains("/nonexistent/strowger.toml") && error.contains("cannot be read"),
            "{error}"
        );
    }
}
