//! Why this exists: a registry is often opened from a setting that holds a URL. This is the one place that
//! knows the clouds apart.
//!
//! # Credentials
//!
//! A cloud's client that is given no credentials asks the machine's metadata address for some, with
//! retries, for minutes, and on a machine outside that cloud to no avail. So a URL is opened only with
//! **credentials that were given**, as options or in the environment, and at once refused without.
//! Everything else (roles of machines and pods, profiles, command-line logins, workload identities) is for
//! programs that build the store themselves and pass it to [`open`](crate::open).
//!
//! `object_store` drops options that it does not know. A misspelt option that is silently ignored is a trap,
//! so the known ones are listed here, and others are refused.

use std::fmt::Display;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::multipart::MultipartStore;
use object_store::signer::Signer;
use object_store::{ObjectStore, RetryConfig};
use registry_core::{Connector, Engine, Error, Location, Registry};

use crate::Options;
use crate::bucket::Secrets;

/// The options of every scheme.
const COMMON: [&str; 2] = ["create", "read_only"];
/// Those of every cloud.
const CLIENT: [&str; 4] = ["allow_http", "connect_timeout", "proxy_url", "timeout"];
const S3: [&str; 13] = [
    "access_key_id",
    "checksum_algorithm",
    "endpoint",
    "region",
    "request_payer",
    "s3_express",
    "secret_access_key",
    "server_side_encryption",
    "session_token",
    "sse_bucket_key_enabled",
    "sse_kms_key_id",
    "unsigned_payload",
    "virtual_hosted_style_request",
];
const GCS: [&str; 5] =
    ["application_credentials", "base_url", "bearer_token", "service_account", "service_account_key"];
const AZURE: [&str; 9] = [
    "account_key",
    "account_name",
    "bearer_token",
    "client_id",
    "client_secret",
    "endpoint",
    "sas_token",
    "tenant_id",
    "use_emulator",
];

/// Opens registries in buckets.
///
/// | URL | is |
/// |---|---|
/// | `s3://<bucket>/<prefix>` | Amazon S3, or a server that speaks it |
/// | `gs://<bucket>/<prefix>` | Google Cloud Storage |
/// | `az://<container>/<prefix>`, `azure://…`, `abfss://<container>@<account>.dfs.core.windows.net/<prefix>` | Azure Blob Storage |
/// | `file:///<folder>` | a folder, also a shared one, as long as its file system has hard links and keeps `A` and `a` apart |
/// | `memory://` | memory, gone when it is dropped |
///
/// Options follow after a `?`, such as `s3://models/team-a?region=eu-west-1`; an option outweighs the
/// environment, and one that is not in this table is refused.
///
/// | scheme | options | environment | credentials, one of |
/// |---|---|---|---|
/// | all | `create`, `read_only` (`true` or `false`) | | |
/// | all clouds | `allow_http` (`true` for `http://` endpoints), `timeout`, `connect_timeout` (such as `30s`), `proxy_url` | | |
/// | `s3` | `endpoint`, `region`, `access_key_id`, `secret_access_key`, `session_token`, `virtual_hosted_style_request`, `s3_express`, `request_payer`, `checksum_algorithm`, `unsigned_payload`, `server_side_encryption`, `sse_kms_key_id`, `sse_bucket_key_enabled` | `AWS_…` of the same names, `AWS_ENDPOINT_URL`, `AWS_DEFAULT_REGION` | `access_key_id` and `secret_access_key`, with `session_token` if they are temporary |
/// | `gs` | `service_account` (a path), `service_account_key` (the JSON itself), `application_credentials` (a path), `bearer_token`, `base_url` | `GOOGLE_…` of the same names, `SERVICE_ACCOUNT` | any of the first four |
/// | `az`, `azure`, `abfss` | `account_name`, `account_key`, `sas_token`, `bearer_token`, `client_id`, `client_secret`, `tenant_id`, `endpoint`, `use_emulator` | `AZURE_…` of the same names, `AZURE_STORAGE_ACCOUNT_NAME`, `AZURE_STORAGE_ACCOUNT_KEY`, … | `account_key`; `sas_token`; `bearer_token`; `client_id`, `client_secret` and `tenant_id`; `use_emulator=true` |
///
/// URLs for downloads ([`download_url`](registry_core::RegistryExt::download_url)) are to be had from `s3`, from
/// `gs` with a `service_account` or `service_account_key`, and from Azure without a `sas_token`; clouds
/// let them be valid for seven days at most. Large uploads that broke off are resumed on all three.
///
/// Not read: AWS profiles and credential files, roles of machines and containers, web identities, Azure
/// connection strings and managed identities, Google's metadata server and well-known file. Who needs them
/// builds the store and calls [`open`](crate::open).
#[derive(Debug, Clone, Copy, Default)]
pub struct BucketConnector;

/// What was opened: a client that retries, one that does not, and what must not be shown.
struct Opened {
    store: Arc<dyn ObjectStore>,
    once: Arc<dyn ObjectStore>,
    /// The first of them again, by what else it can do.
    multipart: Option<Arc<dyn MultipartStore>>,
    signer: Option<Arc<dyn Signer>>,
    secrets: Secrets,
}

/// Reads may be repeated for a while; longer than that nobody wants to wait.
fn retries(most: usize) -> RetryConfig {
    RetryConfig { max_retries: most, retry_timeout: Duration::from_secs(60), ..RetryConfig::default() }
}

/// A cloud's builder, as far as the clouds are alike.
trait Cloud: Clone {
    type Key: FromStr;
    type Store: ObjectStore + MultipartStore + Signer;
    fn set(self, key: Self::Key, value: &str) -> Self;
    fn value(&self, key: &str) -> Option<String>;
    fn build(self, retry: RetryConfig) -> Result<Self::Store, object_store::Error>;
    /// Whether URLs can be signed with what was given, without asking anybody who was not named.
    fn can_sign(&self) -> bool {
        true
    }
    /// The names of the values that must not be shown.
    const SECRETS: &'static [&'static str];
    /// The groups of values, one of which must be there as a whole.
    const CREDENTIALS: &'static [&'static [&'static str]];

    /// The group of credentials that is there as a whole; rather one that the options gave than one that
    /// was in the environment.
    fn credentials(&self, options: &[&str]) -> Option<&'static [&'static str]> {
        let given = |name: &&str| self.value(name).is_some_and(|value| !value.is_empty());
        let whole = || Self::CREDENTIALS.iter().filter(|group| group.iter().all(given));
        let chosen = whole().find(|group| group.iter().any(|name| options.contains(name)));
        chosen.or_else(|| whole().next()).copied()
    }

    /// The same, which uses these credentials and no others.
    fn using(self, _group: &[&str]) -> Self {
        self
    }

    /// Whether it works without.
    fn needs_none(&self) -> bool {
        false
    }
}

impl Cloud for AmazonS3Builder {
    type Key = AmazonS3ConfigKey;
    type Store = object_store::aws::AmazonS3;
    const SECRETS: &'static [&'static str] = &["secret_access_key", "session_token"];
    const CREDENTIALS: &'static [&'static [&'static str]] = &[&["access_key_id", "secret_access_key"]];

    fn set(self, key: AmazonS3ConfigKey, value: &str) -> Self {
        self.with_config(key, value)
    }

    fn value(&self, key: &str) -> Option<String> {
        self.get_config_value(&key.parse().ok()?)
    }

    fn build(self, retry: RetryConfig) -> Result<Self::Store, object_store::Error> {
        // Whatever the environment says: without conditional writes there is no registry.
        let built = self.with_conditional_put(S3ConditionalPut::ETagMatch).with_retry(retry);
        AmazonS3Builder::build(built)
    }
}

impl Cloud for GoogleCloudStorageBuilder {
    type Key = GoogleConfigKey;
    type Store = object_store::gcp::GoogleCloudStorage;
    const SECRETS: &'static [&'static str] = &["service_account_key", "bearer_token"];
    const CREDENTIALS: &'static [&'static [&'static str]] =
        &[&["service_account"], &["service_account_key"], &["application_credentials"], &["bearer_token"]];

    fn set(self, key: GoogleConfigKey, value: &str) -> Self {
        self.with_config(key, value)
    }

    fn value(&self, key: &str) -> Option<String> {
        self.get_config_value(&key.parse().ok()?)
    }

    fn build(self, retry: RetryConfig) -> Result<Self::Store, object_store::Error> {
        GoogleCloudStorageBuilder::build(self.with_retry(retry))
    }

    /// With a token alone the client would ask the machine's metadata address who it is.
    fn can_sign(&self) -> bool {
        ["service_account", "service_account_key"].iter().any(|name| self.value(name).is_some())
    }
}

impl Cloud for MicrosoftAzureBuilder {
    type Key = AzureConfigKey;
    type Store = object_store::azure::MicrosoftAzure;
    const SECRETS: &'static [&'static str] = &["account_key", "sas_token", "bearer_token", "client_secret"];
    const CREDENTIALS: &'static [&'static [&'static str]] =
        &[&["account_key"], &["sas_token"], &["bearer_token"], &["client_id", "client_secret", "tenant_id"]];

    fn set(self, key: AzureConfigKey, value: &str) -> Self {
        self.with_config(key, value)
    }

    fn value(&self, key: &str) -> Option<String> {
        self.get_config_value(&key.parse().ok()?)
    }

    fn build(self, retry: RetryConfig) -> Result<Self::Store, object_store::Error> {
        MicrosoftAzureBuilder::build(self.with_retry(retry))
    }

    /// A token that shares access cannot be made to share it further.
    fn can_sign(&self) -> bool {
        self.value("sas_token").is_none()
    }

    /// By itself the client prefers the identity of a pod or a token from the environment to a key that it was
    /// given.
    fn using(self, group: &[&str]) -> Self {
        let kind = match group {
            ["account_key"] => "access_key",
            [single] => single,
            _ => "client_secret",
        };
        self.with_config(AzureConfigKey::CredentialType, kind)
    }

    fn needs_none(&self) -> bool {
        self.value("use_emulator").is_some_and(|value| value == "true")
    }
}

/// Opens a cloud's bucket with what the environment gave and the options that are left.
fn cloud<C: Cloud>(mut builder: C, location: &mut Location, known: &[&str]) -> Result<Opened, Error> {
    let all: Vec<&str> = {
        let mut all: Vec<&str> = COMMON.iter().chain(&CLIENT).chain(known).copied().collect();
        all.sort_unstable();
        all
    };
    let mut options: Vec<&str> = Vec::new();
    for name in CLIENT.iter().chain(known) {
        if let Some(value) = location.options.remove(*name) {
            let Ok(key) = C::Key::from_str(name) else {
                return Err(location.error(format!("the option `{name}` is not understood")));
            };
            builder = builder.set(key, &value);
            options.push(*name);
        }
    }
    location.finish(&all)?;
    if let Some(group) = builder.credentials(&options) {
        builder = builder.using(group);
    } else if !builder.needs_none() {
        let groups: Vec<String> = C::CREDENTIALS.iter().map(|group| group.join(" and ")).collect();
        return Err(location.error(format!(
            "no credentials were given; needed are, as options or in the environment: {}",
            groups.join(", or ")
        )));
    }
    let secrets = Secrets::new(C::SECRETS.iter().filter_map(|name| builder.value(name)));
    let refused = |error: &dyn Display| location.error(secrets.blotted(&error.to_string()));
    let signs = builder.can_sign();
    let store = Arc::new(builder.clone().build(retries(6)).map_err(|error| refused(&error))?);
    let once = Arc::new(builder.build(retries(0)).map_err(|error| refused(&error))?);
    let (multipart, signer) = (Arc::clone(&store) as _, signs.then(|| Arc::clone(&store) as _));
    Ok(Opened { store, once, multipart: Some(multipart), signer, secrets })
}

/// The same store for both.
fn plain(store: impl ObjectStore) -> Opened {
    let store: Arc<dyn ObjectStore> = Arc::new(store);
    Opened { once: Arc::clone(&store), store, multipart: None, signer: None, secrets: Secrets::default() }
}

/// Takes `//<bucket>/<prefix>` apart.
fn bucket_and_prefix(location: &Location) -> Result<(String, String), Error> {
    let rest = location.rest.strip_prefix("//").unwrap_or_default();
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    if bucket.is_empty() {
        let example = format!("{}://<bucket>/<prefix>", location.scheme);
        return Err(location.error(format!("a bucket is needed: `{example}`")));
    }
    Ok((bucket.to_owned(), prefix.to_owned()))
}

fn open_s3(location: &mut Location) -> Result<(Opened, String), Error> {
    let (bucket, prefix) = bucket_and_prefix(location)?;
    // A session's token goes with the keys of that session and with no others.
    let builder = if location.options.contains_key("access_key_id") {
        s3_from_env_without_token()
    } else {
        AmazonS3Builder::from_env()
    };
    Ok((cloud(builder.with_bucket_name(bucket), location, &S3)?, prefix))
}

/// The variables of the environment that begin so, in small letters.
fn variables(start: &'static str) -> impl Iterator<Item = (String, String)> {
    let readable = std::env::vars_os().filter_map(|(name, value)| {
        Some((name.into_string().ok()?.to_ascii_lowercase(), value.into_string().ok()?))
    });
    readable.filter(move |(name, _)| name.starts_with(start))
}

fn s3_from_env_without_token() -> AmazonS3Builder {
    variables("aws_")
        .filter_map(|(name, value)| Some((name.parse::<AmazonS3ConfigKey>().ok()?, value)))
        .filter(|(key, _)| *key != AmazonS3ConfigKey::Token)
        .fold(AmazonS3Builder::new(), |builder, (key, value)| builder.with_config(key, value))
}

fn open_gcs(location: &mut Location) -> Result<(Opened, String), Error> {
    let (bucket, prefix) = bucket_and_prefix(location)?;
    // The client takes whatever credentials it has in an order of its own, so those in the environment must
    // not stand beside those that were given.
    let credentials: Vec<&str> = GoogleCloudStorageBuilder::CREDENTIALS.concat();
    let builder = if credentials.iter().any(|name| location.options.contains_key(*name)) {
        let is_credential = |key: &GoogleConfigKey| {
            credentials.iter().any(|name| name.parse::<GoogleConfigKey>().is_ok_and(|known| known == *key))
        };
        variables("google_")
            .filter_map(|(name, value)| Some((name.parse::<GoogleConfigKey>().ok()?, value)))
            .filter(|(key, _)| !is_credential(key))
            .fold(GoogleCloudStorageBuilder::new(), |builder, (key, value)| builder.with_config(key, value))
    } else {
        GoogleCloudStorageBuilder::from_env()
    };
    Ok((cloud(builder.with_bucket_name(bucket), location, &GCS)?, prefix))
}

fn open_azure(location: &mut Location) -> Result<(Opened, String), Error> {
    let (bucket, prefix) = bucket_and_prefix(location)?;
    let mut builder = MicrosoftAzureBuilder::from_env();
    let container = match bucket.split_once('@') {
        Some((container, host)) => {
            let (account, service) = host.split_once('.').unwrap_or((host, ""));
            // Elsewhere an account of that name is somebody else's.
            if !matches!(service, "dfs.core.windows.net" | "blob.core.windows.net" | "")
                && !location.options.contains_key("endpoint")
            {
                return Err(location.error(format!(
                    "`{service}` is not Azure's public cloud; give its address as `endpoint`"
                )));
            }
            builder = builder.with_account(account);
            container.to_owned()
        }
        None => bucket,
    };
    Ok((cloud(builder.with_container_name(container), location, &AZURE)?, prefix))
}

fn open_folder(location: &Location, create: bool) -> Result<Opened, Error> {
    let path = location.rest.strip_prefix("//").unwrap_or(&location.rest);
    if path.is_empty() {
        return Err(location.error("a folder is needed, for example `file:///srv/models`"));
    }
    if create {
        std::fs::create_dir_all(path)
            .map_err(|error| location.error(format!("the folder cannot be made: {error}")))?;
    } else if !std::path::Path::new(path).is_dir() {
        return Err(Error::NoRegistry { location: location.to_string() });
    }
    let store = LocalFileSystem::new_with_prefix(path).map_err(|error| location.error(error.to_string()))?;
    // A commit that was acknowledged is one that was kept.
    Ok(plain(store.with_fsync(true)))
}

fn open_cloud(location: &mut Location) -> Result<(Opened, String), Error> {
    match location.scheme.as_str() {
        "s3" => open_s3(location),
        "gs" => open_gcs(location),
        // The last one is what MLflow calls it.
        "az" | "azure" | "abfss" | "wasbs" => open_azure(location),
        other => Err(location.error(format!("`{other}` is not a scheme of buckets"))),
    }
}

/// A cloud's store, the path in it, and what must not be shown.
pub(crate) fn open_store(location: &mut Location) -> Result<(Arc<dyn ObjectStore>, String, Secrets), Error> {
    let (opened, prefix) = open_cloud(location)?;
    Ok((opened.store, prefix, opened.secrets))
}

#[async_trait]
impl Connector for BucketConnector {
    fn schemes(&self) -> &'static [&'static str] {
        &["s3", "gs", "az", "azure", "abfss", "file", "memory"]
    }

    async fn open(&self, mut location: Location) -> Result<Arc<dyn Registry>, Error> {
        let yes_or_no = |text: &str| text.parse::<bool>().ok();
        let mut options = Options::default();
        if let Some(read_only) = location.take("read_only", yes_or_no, "`true` or `false`")? {
            options.read_only = read_only;
        }
        if let Some(create) = location.take("create", yes_or_no, "`true` or `false`")? {
            options.create = create;
        }
        let (opened, prefix) = match location.scheme.as_str() {
            "file" => {
                location.finish(&COMMON)?;
                (open_folder(&location, options.create && !options.read_only)?, String::new())
            }
            "memory" => {
                location.finish(&COMMON)?;
                (plain(InMemory::new()), String::new())
            }
            _ => open_cloud(&mut location)?,
        };
        let Opened { store, once, multipart, signer, secrets } = opened;
        let (log, mut artifacts) = options.open_with(store, once, &prefix, secrets).await?;
        if let Some(multipart) = multipart {
            artifacts = artifacts.resuming(multipart);
        }
        if let Some(signer) = signer {
            artifacts = artifacts.signing(signer);
        }
        Ok(Arc::new(Engine::new(Arc::new(log), Arc::new(artifacts))))
    }
}
