//! Why this exists: a registry is often opened from a setting that holds a URL, and MLflow's users have
//! theirs in the environment. What may be said there, and what it means, is here.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use registry_core::files::OpenFiles;
use registry_core::mirror::Mirrored;
use registry_core::storage::ArtifactStore;
use registry_core::{Connector, Engine, Error, Location, Registry};
use reqwest::Url;

use crate::blobs::MlflowArtifacts;
use crate::files::Reach;
use crate::log::{MlflowLog, Names};
use crate::mirror::MlflowMirror;
use crate::rest::{Auth, Server, Settings};

/// The name of a registry unless told otherwise.
const REGISTRY: &str = "model-registry";
/// How long an answer is waited for unless told otherwise.
const TIMEOUT: Duration = Duration::from_secs(30);

/// What may follow after a `?`.
const KNOWN: [&str; 7] = ["artifacts", "ca", "prefix", "read_only", "registry", "timeout", "workspace"];

/// A registry that shares its models with an MLflow server.
pub type MlflowRegistry = Mirrored<Engine<MlflowLog, dyn ArtifactStore>, MlflowMirror>;

/// How an MLflow server is reached, and which registry on it is meant.
///
/// From a URL (`Options::from_location`), `mlflow+http://[user:password@]host[:port][/prefix]` or
/// `mlflow+https://…`; `mlflow:` alone takes the server from `MLFLOW_TRACKING_URI`.
///
/// | option | environment | is |
/// |---|---|---|
/// | `registry` | | the name of the registry on that server, `model-registry` if not given |
/// | `prefix` | | only models whose names begin so in MLflow, and without it here; all others are left alone |
/// | `artifacts` | | where the registry's files are kept from its first commit on, such as `s3://bucket/folder`; if not given, the server chooses |
/// | `read_only` | | `true` refuses all writes |
/// | `timeout` | | how long an answer is waited for, such as `30s` |
/// | `workspace` | `MLFLOW_WORKSPACE` | the workspace, on servers that have them |
/// | `ca` | `MLFLOW_TRACKING_SERVER_CERT_PATH` | a file with certificates (PEM) that are believed, too |
/// | user and password in the URL | `MLFLOW_TRACKING_USERNAME`, `MLFLOW_TRACKING_PASSWORD` | Basic authentication |
/// | | `MLFLOW_TRACKING_TOKEN` | Bearer authentication; Basic wins if both are given |
///
/// An option outweighs the environment. Unknown options are refused.
#[derive(Clone)]
#[must_use]
pub struct Options {
    url: Url,
    auth: Auth,
    workspace: Option<String>,
    ca: Option<PathBuf>,
    timeout: Duration,
    registry: String,
    prefix: String,
    artifacts: Option<String>,
    files: Option<Arc<dyn OpenFiles>>,
    read_only: bool,
}

/// The parts of a registry on an MLflow server.
#[derive(Debug, Clone)]
pub struct Parts {
    /// Its commits.
    pub log: Arc<MlflowLog>,
    /// Its bytes, where the server keeps its files.
    pub artifacts: Arc<MlflowArtifacts>,
    /// MLflow's own registry.
    pub mirror: Arc<MlflowMirror>,
}

/// Without secrets.
impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("url", &self.url.as_str())
            .field("workspace", &self.workspace)
            .field("timeout", &self.timeout)
            .field("registry", &self.registry)
            .field("read_only", &self.read_only)
            .finish_non_exhaustive()
    }
}

fn refused(location: &str, problem: impl Into<String>) -> Error {
    Error::Open { location: location.to_owned(), problem: problem.into() }
}

impl Options {
    /// The server at an `http://` or `https://` address, without a look at the environment. A user and a
    /// password may stand in it.
    pub fn new(url: &str) -> Result<Self, Error> {
        let parsed = Url::parse(url).map_err(|problem| {
            refused("the given address", format!("the address of the server is none: {problem}"))
        })?;
        let mut bare = parsed.clone();
        // What cannot carry them has none.
        let _ = bare.set_username("");
        let _ = bare.set_password(None);
        bare.set_query(None);
        bare.set_fragment(None);
        if !matches!(bare.scheme(), "http" | "https") || !bare.has_host() {
            return Err(refused(bare.as_str(), "an MLflow server is at `http://…` or `https://…`"));
        }
        let unescaped = |text: &str| {
            Location::parse(&format!("xx:?v={text}")).and_then(|mut location| location.options.remove("v"))
        };
        let auth = match parsed.username() {
            "" => Auth::None,
            user => Auth::Basic {
                user: unescaped(user).unwrap_or_default(),
                password: parsed.password().and_then(unescaped).unwrap_or_default(),
            },
        };
        Ok(Options {
            url: bare,
            auth,
            workspace: None,
            ca: None,
            timeout: TIMEOUT,
            registry: REGISTRY.to_owned(),
            prefix: String::new(),
            artifacts: None,
            files: None,
            read_only: false,
        })
    }

    /// The same, authenticated by name and password.
    pub fn with_user(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.auth = Auth::Basic { user: user.into(), password: password.into() };
        self
    }

    /// The same, authenticated by a token.
    pub fn with_token(mut self, token: impl Into<String>) -> Self {
        self.auth = Auth::Bearer(token.into());
        self
    }

    /// The same, in a workspace of the server.
    pub fn with_workspace(mut self, workspace: impl Into<String>) -> Self {
        self.workspace = Some(workspace.into());
        self
    }

    /// The same, believing the certificates in a file (PEM) besides those that the system believes.
    pub fn with_ca(mut self, file: impl Into<PathBuf>) -> Self {
        self.ca = Some(file.into());
        self
    }

    /// The same, waiting that long for an answer.
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The same, but another registry on that server: 1 to 32 characters of `a-z 0-9 - _`.
    pub fn with_registry(mut self, registry: impl Into<String>) -> Self {
        self.registry = registry.into();
        self
    }

    /// The same, but only models whose names begin so in MLflow; here they go without it. All others are left
    /// alone, so that several registries can share a server.
    pub fn with_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// The same, with its files kept at an address such as `s3://bucket/folder` from its first commit on.
    pub fn with_artifacts_at(mut self, address: impl Into<String>) -> Self {
        self.artifacts = Some(address.into().trim_end_matches('/').to_owned());
        self
    }

    /// The same, reaching other places than the server's own proxy: on many servers files are in buckets that
    /// every client has to reach by itself.
    pub fn with_files(mut self, files: Arc<dyn OpenFiles>) -> Self {
        self.files = Some(files);
        self
    }

    /// The same, refusing all writes.
    pub fn read_only(mut self) -> Self {
        self.read_only = true;
        self
    }

    /// What a URL says, and where it says nothing, the environment. `environment` gives the value of a
    /// variable, as `|name| std::env::var(name).ok()` does.
    pub fn from_location(
        mut location: Location,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, Error> {
        let given = |name: &str| environment(name).filter(|value| !value.is_empty());
        let address = match location.scheme.as_str() {
            "mlflow+http" => format!("http:{}", location.rest),
            "mlflow+https" => format!("https:{}", location.rest),
            "mlflow" if location.rest.is_empty() => given("MLFLOW_TRACKING_URI").ok_or_else(|| {
                location.error("`mlflow:` alone needs the address of the server in `MLFLOW_TRACKING_URI`")
            })?,
            "mlflow" => {
                let problem = "write `mlflow+http://…` or `mlflow+https://…`, or `mlflow:` alone with \
                               `MLFLOW_TRACKING_URI`";
                return Err(location.error(problem));
            }
            other => return Err(location.error(format!("`{other}` is not a scheme of MLflow servers"))),
        };
        let mut options = Options::new(&address).map_err(|error| match error {
            Error::Open { problem, .. } => location.error(problem),
            other => other,
        })?;
        if let Auth::None = options.auth {
            let user = given("MLFLOW_TRACKING_USERNAME");
            let password = given("MLFLOW_TRACKING_PASSWORD");
            options.auth = match (user, password, given("MLFLOW_TRACKING_TOKEN")) {
                (Some(user), Some(password), _) => Auth::Basic { user, password },
                (_, _, Some(token)) => Auth::Bearer(token),
                _ => Auth::None,
            };
        }
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let taken = location.take("workspace", text, "the name of a workspace")?;
        options.workspace = taken.or_else(|| given("MLFLOW_WORKSPACE"));
        let taken = location.take("ca", text, "the path of a file")?;
        options.ca = taken.or_else(|| given("MLFLOW_TRACKING_SERVER_CERT_PATH")).map(PathBuf::from);
        if let Some(timeout) = location.take("timeout", seconds, "a time such as `30s` or `500ms`")? {
            options.timeout = timeout;
        }
        if let Some(registry) = location.take("registry", text, "the name of a registry")? {
            options.registry = registry;
        }
        if let Some(prefix) = location.take("prefix", text, "the beginning of names")? {
            options.prefix = prefix;
        }
        let address = |text: &str| Location::parse(text).map(|_| text.to_owned());
        if let Some(artifacts) =
            location.take("artifacts", address, "an address such as `s3://bucket/folder`")?
        {
            options = options.with_artifacts_at(artifacts);
        }
        let yes_or_no = |text: &str| text.parse::<bool>().ok();
        if let Some(read_only) = location.take("read_only", yes_or_no, "`true` or `false`")? {
            options.read_only = read_only;
        }
        location.finish(&KNOWN)?;
        Ok(options)
    }

    /// The log of the registry. Sends nothing yet: a registry that is not there is empty, and is made by its
    /// first commit.
    pub fn open_log(self) -> Result<MlflowLog, Error> {
        let address = self.url.to_string();
        let refused = |problem: String| refused(&address, problem);
        let names = Names::new(&self.registry).map_err(refused)?;
        let ca_pem = match &self.ca {
            None => None,
            Some(path) => Some(std::fs::read(path).map_err(|problem| {
                refused(format!("the certificates in {} cannot be read: {problem}", path.display()))
            })?),
        };
        let server = Server::new(Settings {
            url: self.url,
            auth: self.auth,
            workspace: self.workspace,
            ca_pem,
            timeout: self.timeout,
        })
        .map_err(refused)?;
        Ok(MlflowLog::new(server, names, self.read_only, self.artifacts))
    }

    /// The registry: commits, bytes and MLflow's own registry. Sends nothing yet: a server that never met a
    /// registry is shown as it is, and is written to by the first commit.
    pub fn open(self) -> Result<MlflowRegistry, Error> {
        let Parts { log, artifacts, mirror } = self.open_parts()?;
        let engine: Engine<MlflowLog, dyn ArtifactStore> = Engine::new(log, artifacts);
        Ok(Mirrored::new(Arc::new(engine), mirror))
    }

    /// The same, with the bytes in a store of their own.
    pub fn open_with(self, artifacts: Arc<dyn ArtifactStore>) -> Result<MlflowRegistry, Error> {
        let (prefix, files) = (self.prefix.clone(), self.files.clone());
        let log = Arc::new(self.open_log()?);
        let mut mirror = MlflowMirror::new(Arc::clone(&log))?
            .with_prefix(&prefix)
            .with_other_artifacts(Arc::clone(&artifacts));
        if let Some(files) = files {
            mirror = mirror.with_files(files);
        }
        Ok(Mirrored::new(Arc::new(Engine::new(log, artifacts)), Arc::new(mirror)))
    }

    /// The parts apart, for whoever puts them together otherwise.
    pub fn open_parts(self) -> Result<Parts, Error> {
        let (prefix, files) = (self.prefix.clone(), self.files.clone());
        let log = Arc::new(self.open_log()?);
        let reach = Reach::new(log.server(), files);
        let artifacts = Arc::new(MlflowArtifacts::new(Arc::clone(&log), reach));
        let mirror =
            MlflowMirror::new(Arc::clone(&log))?.with_prefix(&prefix).with_artifacts(Arc::clone(&artifacts));
        Ok(Parts { log, artifacts, mirror: Arc::new(mirror) })
    }
}

/// Opens registries on MLflow servers. See [`Options`] for the URL and what the environment adds to it.
#[derive(Clone, Default)]
#[must_use]
pub struct MlflowConnector {
    files: Option<Arc<dyn OpenFiles>>,
    artifacts: Option<Arc<dyn ArtifactStore>>,
}

impl fmt::Debug for MlflowConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MlflowConnector").finish_non_exhaustive()
    }
}

impl MlflowConnector {
    /// With commits, bytes and models on the server.
    pub fn new() -> Self {
        MlflowConnector::default()
    }

    /// The same, reaching files that the server keeps where its clients have to reach them by themselves. The
    /// backend for buckets has such an opener.
    pub fn with_files(mut self, files: Arc<dyn OpenFiles>) -> Self {
        self.files = Some(files);
        self
    }

    /// The same, with the bytes of all registries that it opens in this store.
    pub fn with_artifacts(mut self, artifacts: Arc<dyn ArtifactStore>) -> Self {
        self.artifacts = Some(artifacts);
        self
    }
}

#[async_trait]
impl Connector for MlflowConnector {
    fn schemes(&self) -> &'static [&'static str] {
        &["mlflow+http", "mlflow+https", "mlflow"]
    }

    async fn open(&self, location: Location) -> Result<Arc<dyn Registry>, Error> {
        let mut options = Options::from_location(location, |name| std::env::var(name).ok())?;
        if let Some(files) = &self.files {
            options = options.with_files(Arc::clone(files));
        }
        Ok(Arc::new(match &self.artifacts {
            Some(artifacts) => options.open_with(Arc::clone(artifacts))?,
            None => options.open()?,
        }))
    }
}

/// A time such as `30s`, `500ms` or `2m`; not none.
fn seconds(text: &str) -> Option<Duration> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().ok().filter(|number| (1..1_000_000).contains(number))?;
    match text.get(digits.len()..)? {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_secs(number * 60)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(url: &str, environment: &[(&str, &str)]) -> Result<Options, Error> {
        let value = |name: &str| {
            let found = environment.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Options::from_location(Location::parse(url).unwrap(), value)
    }

    #[test]
    fn urls_say_where_the_server_is_and_who_we_are() {
        let url = "mlflow+https://me:s%40cret@host:5000/pre/fix?workspace=a%20b&timeout=2m&registry=x&read_only=true&ca=/ca.pem";
        let options = from(url, &[("MLFLOW_TRACKING_TOKEN", "t0ken")]).unwrap();
        assert_eq!(options.url.as_str(), "https://host:5000/pre/fix");
        let Auth::Basic { user, password } = &options.auth else { panic!("not Basic") };
        assert_eq!((user.as_str(), password.as_str()), ("me", "s@cret"));
        assert_eq!(options.workspace.as_deref(), Some("a b"));
        assert_eq!(options.timeout, Duration::from_secs(120));
        assert_eq!((options.registry.as_str(), options.read_only), ("x", true));
        assert_eq!(options.ca.as_deref(), Some(std::path::Path::new("/ca.pem")));
        let shown = format!("{options:?}");
        assert!(!shown.contains("s@cret") && !shown.contains("s%40cret"), "{shown}");
    }

    #[test]
    fn the_environment_fills_what_the_url_leaves_open() {
        let tracking = ("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000");
        let (user, password, token) = (
            ("MLFLOW_TRACKING_USERNAME", "me"),
            ("MLFLOW_TRACKING_PASSWORD", "secret"),
            ("MLFLOW_TRACKING_TOKEN", "t0ken"),
        );
        let options = from("mlflow:", &[tracking, user, password, token]).unwrap();
        assert_eq!(options.url.as_str(), "http://127.0.0.1:5000/");
        assert!(matches!(options.auth, Auth::Basic { .. }), "Basic wins");
        let options = from("mlflow:", &[tracking, token, ("MLFLOW_WORKSPACE", "w")]).unwrap();
        assert!(matches!(&options.auth, Auth::Bearer(token) if token == "t0ken"));
        assert_eq!(options.workspace.as_deref(), Some("w"));
        let options = from("mlflow+http://h?workspace=x", &[("MLFLOW_WORKSPACE", "w")]).unwrap();
        assert_eq!(options.workspace.as_deref(), Some("x"));
        assert!(matches!(options.auth, Auth::None));
    }

    #[tokio::test]
    async fn a_program_opens_what_it_has_a_connector_for() {
        let artifacts = Arc::new(registry_core::MemoryArtifacts::default());
        let connectors =
            registry_core::Connectors::new().with(MlflowConnector::new().with_artifacts(artifacts));
        assert!(
            connectors.open("mlflow+http://127.0.0.1:9?workspace=w").await.is_ok(),
            "nothing is sent yet"
        );
        let error = connectors.open("mlflow+http://127.0.0.1:9?wrokspace=w").await.err().unwrap();
        assert!(error.to_string().contains("unknown option `wrokspace`"), "{error}");
    }

    #[test]
    fn what_is_not_understood_is_refused_without_secrets() {
        let cases = [
            ("mlflow:", "MLFLOW_TRACKING_URI"),
            ("mlflow://host", "mlflow+http://"),
            (
                "mlflow+http://me:hunter2@host?proxy=x",
                "unknown option `proxy`; known are artifacts, ca, prefix, read_only, registry, timeout, workspace",
            ),
            ("mlflow+http://host?timeout=0s", "such as `30s`"),
            ("mlflow+http://host?timeout=1h", "such as `30s`"),
            ("mlflow+http://host?read_only=yes", "`true` or `false`"),
            ("mlflow+http:", "address"),
            ("mlflow+http://me:hunter2@ho st/", "address of the server is none"),
        ];
        for (url, expected) in cases {
            let error = from(url, &[]).err().unwrap().to_string();
            assert!(error.contains(expected), "{url}: {error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
        let log = from("mlflow+http://host?registry=A", &[]).unwrap().open_log();
        assert!(log.err().unwrap().to_string().contains("a-z 0-9"));
        let log = from("mlflow+http://host?ca=/nowhere.pem", &[]).unwrap().open_log();
        assert!(log.err().unwrap().to_string().contains("/nowhere.pem"));
    }
}
