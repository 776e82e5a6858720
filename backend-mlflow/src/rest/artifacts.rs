//! Why this exists: files through MLflow's artifact proxy, as in `calls.rs`. The proxy checks nothing of what it
//! passes on; those who read through it do.

use bytes::Bytes;
use reqwest::{Method, Url};

use super::{Kind, Repeat, RestError, Server};

impl Server {
    /// The address of a file below the proxy's root.
    pub(crate) fn artifact_url(&self, path: &str) -> Result<Url, RestError> {
        let invalid = |problem: String| RestError::new(Kind::Invalid, problem);
        let root = format!("{}/api/2.0/mlflow-artifacts/artifacts", self.base());
        let mut url = Url::parse(&root).map_err(|error| invalid(error.to_string()))?;
        match url.path_segments_mut() {
            Ok(mut segments) => {
                segments.extend(path.split('/'));
            }
            Err(()) => return Err(invalid(format!("`{root}` cannot have files below it"))),
        }
        Ok(url)
    }

    /// A small file as a whole; none if it is not there. A server that keeps its files in a bucket says 500 of
    /// a file that is not there, so that is what a 500 is taken for.
    pub(crate) async fn small_artifact(&self, path: &str) -> Result<Option<Bytes>, RestError> {
        let url = self.artifact_url(path)?;
        match self.send_to(Method::GET, url, None, Repeat::Freely).await {
            Ok(body) => Ok(Some(body)),
            Err(error) => match error.kind {
                Kind::NotFound | Kind::FeatureMissing | Kind::Invalid | Kind::Server(500) => Ok(None),
                _ => Err(error),
            },
        }
    }
}
