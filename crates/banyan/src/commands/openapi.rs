//! `banyan openapi`: the API's description, without a server.

use crate::exit::Failure;
use std::process::ExitCode;

/// Prints the OpenAPI 3.1 document.
pub(crate) fn run() -> Result<ExitCode, Failure> {
    println!("{}", banyan_api::openapi().to_pretty_json().map_err(Failure::environment)?);
    Ok(ExitCode::SUCCESS)
}
