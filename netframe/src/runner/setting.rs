//! [`Setting`]: an option or a limit as the command line gives it, `KEY=VALUE`.

use std::str::FromStr;

use toml::{Table, Value};

/// One `--set KEY=VALUE` or `--limit KEY=VALUE`. The value is one of TOML, as in a configuration file, or else a string
/// that needs no quotes.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    key: String,
    value: Value,
}

impl FromStr for Setting {
    type Err = SettingError;

    fn from_str(text: &str) -> Result<Self, SettingError> {
        match text.split_once('=') {
            Some((key, value)) if !key.is_empty() => {
                let value = value.parse().unwrap_or_else(|_| Value::String(value.to_owned()));
                Ok(Self { key: key.to_owned(), value })
            }
            _ => Err(SettingError::NoKey),
        }
    }
}

/// All settings as one table; `what` says what they are.
pub(super) fn table(what: &'static str, settings: Vec<Setting>) -> Result<Table, SettingError> {
    let mut table = Table::new();
    for Setting { key, value } in settings {
        if table.contains_key(&key) {
            return Err(SettingError::Repeated { what, key });
        }
        table.insert(key, value);
    }
    Ok(table)
}

/// What is wrong with a setting, whatever the protocol.
#[derive(Debug, thiserror::Error)]
pub(super) enum SettingError {
    #[error("expected KEY=VALUE")]
    NoKey,
    #[error("{what} `{key}` is set twice; expected once")]
    Repeated { what: &'static str, key: String },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_of_toml_and_strings_need_no_quotes() {
        let value = |text: &str| text.parse::<Setting>().unwrap().value;
        assert_eq!(value("a=16"), Value::Integer(16));
        assert_eq!(value("a=true"), Value::Boolean(true));
        assert_eq!(value("a=crlf"), Value::String("crlf".into()));
        assert_eq!(value("a='16'"), Value::String("16".into()));
        assert_eq!(value("a=b=c"), Value::String("b=c".into()));
        assert_eq!(value("a="), Value::String(String::new()));
    }
}
