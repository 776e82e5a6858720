//! Why this exists: who is told of a broken rule, and which server has the numbers, is said on the command line; what
//! proves who we are is not, since anybody on the machine sees the arguments of a program. It comes from a variable or a
//! file, and no error shows it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use registry_core::monitor::Notify;
use registry_core::{Invalid, Key, Text};
use registry_monitoring::{
    Address, Credentials, Mapping, Prometheus, PrometheusError, PrometheusSource, Secret, Webhook,
};

use crate::card::units;
use crate::failure::{Failure, Kind};
use crate::input::{Pair, text_file};

const WEBHOOK_SECRET: &str = "REGISTRY_WEBHOOK_SECRET";
const TOKEN: &str = "REGISTRY_PROMETHEUS_TOKEN";
const USER: &str = "REGISTRY_PROMETHEUS_USER";
const PASSWORD: &str = "REGISTRY_PROMETHEUS_PASSWORD";

/// Who is told.
#[derive(Debug, Args)]
#[command(next_help_heading = "Telling")]
pub(crate) struct Telling {
    /// Who is told of a finding, repeatable: `stdout` for a line of JSON each, or the address of a webhook, which is
    /// signed with the secret in the variable REGISTRY_WEBHOOK_SECRET
    // Read below and not by clap, whose errors show what was typed.
    #[arg(long, value_name = "stdout|URL")]
    notify: Vec<String>,
    /// The file that holds the secret, instead of the variable
    #[arg(long, value_name = "FILE", requires = "notify")]
    webhook_secret_file: Option<PathBuf>,
}

impl Telling {
    /// Whether findings are written as lines of JSON.
    pub(crate) fn in_lines(&self) -> bool {
        self.notify.iter().any(|who| who == "stdout")
    }

    /// The webhooks.
    pub(crate) fn webhooks(&self) -> Result<Vec<Arc<dyn Notify>>, Failure> {
        let mut webhooks: Vec<Arc<dyn Notify>> = Vec::new();
        for address in self.notify.iter().filter(|who| *who != "stdout") {
            let address: Address = address.parse()?;
            webhooks.push(Arc::new(Webhook::new(address, self.secret()?)?));
        }
        Ok(webhooks)
    }

    fn secret(&self) -> Result<Secret, Failure> {
        let Some(text) = hidden(self.webhook_secret_file.as_deref(), WEBHOOK_SECRET)? else {
            let problem = format!(
                "there is none; put one such as `whsec_…` into the variable {WEBHOOK_SECRET}, or give \
                 --webhook-secret-file"
            );
            return Err(Invalid::new("webhook secret", "", problem).into());
        };
        Ok(text.parse()?)
    }
}

/// What is in the file, or else in the variable, without the white space around it.
fn hidden(file: Option<&Path>, variable: &str) -> Result<Option<String>, Failure> {
    let text = match file {
        Some(path) => Some(text_file(path)?),
        None => std::env::var(variable).ok(),
    };
    Ok(text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()))
}

/// Which server has the numbers.
#[derive(Debug, Args)]
#[command(next_help_heading = "Prometheus")]
pub(crate) struct Pulling {
    /// A Prometheus server that has the numbers. Who we are to it is in the variable REGISTRY_PROMETHEUS_TOKEN, or in
    /// REGISTRY_PROMETHEUS_USER and REGISTRY_PROMETHEUS_PASSWORD
    // Read below and not by clap, whose errors show what was typed.
    #[arg(long, value_name = "URL", requires = "query")]
    pub(crate) prometheus: Option<String>,
    /// The file that holds the token, instead of the variable
    #[arg(long, value_name = "FILE", requires = "prometheus")]
    prometheus_token_file: Option<PathBuf>,
    /// The label that says which version it was. Default: it was the version that serves
    #[arg(long, value_name = "LABEL", requires = "prometheus")]
    version_label: Option<String>,
    /// How far back the expression looks: 5m for `rate(errors_total[5m])`
    #[arg(long, value_name = "DURATION", value_parser = units::whole_seconds, requires = "prometheus")]
    covers: Option<u64>,
}

impl Pulling {
    /// The server, if one is given.
    pub(crate) fn server(&self) -> Result<Option<Prometheus>, Failure> {
        let Some(address) = &self.prometheus else { return Ok(None) };
        Ok(Some(Prometheus::new(address.parse()?, self.credentials()?)?))
    }

    fn credentials(&self) -> Result<Option<Credentials>, Failure> {
        if let Some(token) = hidden(self.prometheus_token_file.as_deref(), TOKEN)? {
            return Ok(Some(Credentials::bearer(&token)?));
        }
        match (hidden(None, USER)?, hidden(None, PASSWORD)?) {
            (Some(user), Some(password)) => Ok(Some(Credentials::basic(&user, &password)?)),
            (None, None) => Ok(None),
            _ => {
                let problem = format!("{USER} and {PASSWORD} go together");
                Err(Invalid::new("credentials", "", problem).into())
            }
        }
    }

    /// Which observations an expression gives.
    pub(crate) fn mapping(&self, metric: Key, replica: Option<Text>) -> Mapping {
        let mut mapping = Mapping::new(metric);
        mapping.version_label.clone_from(&self.version_label);
        mapping.covers = Duration::from_secs(self.covers.unwrap_or(0));
        mapping.replica = replica;
        mapping
    }

    /// A source for each `NAME=EXPRESSION`.
    pub(crate) fn sources(&self, queries: &[Pair], step: Duration) -> Result<Vec<PrometheusSource>, Failure> {
        let Some(server) = self.server()? else { return Ok(Vec::new()) };
        let source = |Pair { name, value }: &Pair| {
            let mapping = self.mapping(name.parse()?, None);
            Ok(PrometheusSource::new(server.clone(), value, mapping, step)?)
        };
        queries.iter().map(source).collect()
    }
}

impl From<PrometheusError> for Failure {
    fn from(error: PrometheusError) -> Self {
        match error {
            PrometheusError::Invalid(invalid) => invalid.into(),
            other => Failure::new(Kind::Unavailable, other.to_string()),
        }
    }
}
