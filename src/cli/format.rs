//! Objects for programs.

use serde::Serialize;

use super::CliError;

/// The form of an answer for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// The object as JSON
    Json,
    /// The object as YAML
    Yaml,
}

/// The object in this form, with the end of its last line.
///
/// # Errors
/// When it cannot be written as text.
pub fn write<T: Serialize>(object: &T, format: Format) -> Result<String, CliError> {
    match format {
        Format::Json => match serde_json::to_string_pretty(object) {
            Ok(text) => Ok(format!("{text}\n")),
            Err(error) => Err(CliError::Format(error.to_string())),
        },
        Format::Yaml => yaml(object),
    }
}

/// The object as one YAML document.
///
/// # Errors
/// When it cannot be written as text.
pub fn yaml<T: Serialize>(object: &T) -> Result<String, CliError> {
    // By way of JSON, as kubectl does it: what JSON leaves out is not written as null.
    let value = serde_json::to_value(object).map_err(|error| CliError::Format(error.to_string()))?;
    let mut text = serde_saphyr::to_string(&value).map_err(|error| CliError::Format(error.to_string()))?;
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}
