//! Why this exists: where the registry is: given, else in the user's data folder. Reading never makes
//! one, and only a verb that may be somebody's first makes one, so that a mistyped path is an error and
//! not an empty registry.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use backend_local::SqliteConnector;
use backend_mlflow::MlflowConnector;
use backend_objectstore::{BucketConnector, BucketFiles};
use registry_core::{Connectors, Error, Invalid, Location, Registry};

use crate::failure::{Failure, Kind};

/// What the registry is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To look.
    Read,
    /// To change what is there.
    Change,
    /// To change it, also as its first user.
    Begin,
}

/// Where the registry is: at a URL or path, or at the default one.
fn location_of(given: Option<&str>) -> Result<Location, Failure> {
    let text = match given {
        Some("") => {
            let problem = "is empty; expected a folder or a URL such as `sqlite:/srv/models`";
            return Err(Invalid::new("registry", "", problem).into());
        }
        Some(text) => text.to_owned(),
        None => default_folder()?.into_os_string().into_string().map_err(|folder| {
            Invalid::new("data folder", folder.to_string_lossy(), "is not valid Unicode; give --registry")
        })?,
    };
    Ok(Location::parse(&text).unwrap_or_else(|| Location {
        scheme: "sqlite".to_owned(),
        rest: text,
        options: BTreeMap::new(),
    }))
}

/// Whether both are known to be one registry: the same folder, or the same URL. One that can be reached by two
/// URLs is not known to be one.
pub(crate) fn is_same(one: Option<&str>, other: &str) -> bool {
    let place = |given| {
        let Location { scheme, rest, mut options } = location_of(given).ok()?;
        // How it is opened does not say where it is.
        options.remove("read_only");
        options.remove("create");
        let path = rest.strip_prefix("//").unwrap_or(&rest);
        let rest = match scheme.as_str() {
            "sqlite" | "file" => PathBuf::from(path).canonicalize().ok()?,
            _ => path.trim_end_matches('/').into(),
        };
        Some((scheme, rest, options))
    };
    place(one).is_some_and(|one| place(Some(other)) == Some(one))
}

/// Opens the registry at a URL or path, or the default one.
pub(crate) async fn open(given: Option<&str>, purpose: Purpose) -> Result<Arc<dyn Registry>, Failure> {
    let mut location = location_of(given)?;
    if location.scheme == "sqlite" {
        check_folder(&location, purpose)?;
    }
    // Every connector knows the first, and every one that makes what is not there the second. An MLflow server is
    // there or not.
    let option = match purpose {
        Purpose::Read => Some(("read_only", "true")),
        Purpose::Change if !location.scheme.starts_with("mlflow") => Some(("create", "false")),
        Purpose::Change | Purpose::Begin => None,
    };
    let mlflow = MlflowConnector::new().with_files(Arc::new(buckets()));
    let connectors = Connectors::new().with(SqliteConnector).with(BucketConnector).with(mlflow);
    if let Some((name, value)) = option
        && connectors.schemes().contains(&location.scheme.as_str())
    {
        location.options.entry(name.to_owned()).or_insert_with(|| value.to_owned());
    }
    match connectors.open_location(location).await {
        Err(Error::NoRegistry { location }) => Err(none_at(&location)),
        opened => Ok(opened?),
    }
}

/// Opens a registry to find out what would happen; where there is none, an empty one.
pub(crate) async fn open_to_rehearse(given: Option<&str>) -> Result<Arc<dyn Registry>, Failure> {
    match open(given, Purpose::Read).await {
        Err(failure) if failure.told().is_some_and(|(kind, _)| kind == Kind::NotFound) => {
            Ok(Arc::new(registry_core::in_memory()))
        }
        opened => opened,
    }
}

/// The buckets where MLflow servers keep files, with what MLflow's clients take from the environment.
fn buckets() -> BucketFiles {
    match std::env::var("MLFLOW_S3_ENDPOINT_URL") {
        Ok(url) if !url.is_empty() => {
            let options = format!("endpoint={url}&allow_http={}", url.starts_with("http://"));
            BucketFiles::new().with_options("s3", &options)
        }
        _ => BucketFiles::new(),
    }
}

fn none_at(place: &str) -> Failure {
    let message =
        format!("there is no registry at {place}; registering a model there makes one, or give --registry");
    Failure::new(Kind::NotFound, message)
}

/// A folder without a registry, or a file in its place, deserves a better answer than a failed open.
fn check_folder(location: &Location, purpose: Purpose) -> Result<(), Failure> {
    let path = location.rest.strip_prefix("//").unwrap_or(&location.rest);
    if path.is_empty() {
        let error = location.error("a folder is needed, for example `sqlite:./models`");
        return Err(Failure::new(Kind::Invalid, error.to_string()));
    }
    let folder = PathBuf::from(path);
    if purpose != Purpose::Begin && !folder.exists() {
        return Err(none_at(&folder.display().to_string()));
    }
    Ok(())
}

/// The folder for data of this user, by the rules of the platform.
fn default_folder() -> Result<PathBuf, Failure> {
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = if cfg!(windows) {
        folder("LOCALAPPDATA").or_else(|| folder("APPDATA"))
    } else if cfg!(target_os = "macos") {
        folder("HOME").map(|home| home.join("Library/Application Support"))
    } else {
        folder("XDG_DATA_HOME").or_else(|| folder("HOME").map(|home| home.join(".local/share")))
    };
    base.map(|base| base.join("model-registry")).ok_or_else(|| {
        Failure::new(Kind::Invalid, "no home folder is known; give --registry or set REGISTRY_URL")
    })
}
