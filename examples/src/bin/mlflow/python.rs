//! The Python side: people and services that have MLflow's client and know of nothing else.

use std::error::Error;
use std::ffi::OsString;

use tokio::process::Command;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Trains three models, registers them, and points an alias.
pub(crate) const TRAIN: &str = include_str!("train.py");
/// Points an alias.
pub(crate) const MOVE_ALIAS: &str = include_str!("move_alias.py");
/// Shows a model as MLflow shows it.
pub(crate) const LOOK: &str = include_str!("look.py");
/// Loads what is in production, and predicts.
pub(crate) const SERVE: &str = include_str!("serve.py");

/// Says which MLflow and which scikit-learn there are, without loading them.
const VERSIONS: &str = "from importlib.metadata import version\n\
                        print('MLflow', version('mlflow'), 'and scikit-learn', version('scikit-learn'))";
/// How many lines of a failure are shown: the last ones of a traceback say what happened.
const LINES_OF_FAILURE: usize = 6;

/// A Python with MLflow's client.
pub(crate) struct Python {
    program: OsString,
    server: String,
    /// What it has.
    pub(crate) versions: String,
}

impl Python {
    /// Sees whether a Python has what is needed.
    pub(crate) async fn find(program: OsString, server: String) -> Result<Self> {
        let mut python = Python { program, server, versions: String::new() };
        match python.run("nobody", VERSIONS, &[]).await {
            Ok(lines) => python.versions = lines.join(" "),
            Err(problem) => {
                let program = python.program.display();
                let problem = problem.to_string();
                let problem = problem.lines().last().unwrap_or_default();
                return Err(format!(
                    "`{program}` is no Python with MLflow and scikit-learn. Install them with `{program} -m pip \
                     install mlflow scikit-learn`, or name another Python with --python or in \
                     REGISTRY_EXAMPLE_PYTHON. It says: {problem}"
                )
                .into());
            }
        }
        Ok(python)
    }

    /// Runs a script as somebody, and gives the lines that it prints.
    pub(crate) async fn run(&self, user: &str, script: &str, arguments: &[&str]) -> Result<Vec<String>> {
        let mut command = Command::new(&self.program);
        command.arg("-c").arg(script).args(arguments).kill_on_drop(true);
        command.env("MLFLOW_TRACKING_URI", &self.server).env_remove("MLFLOW_REGISTRY_URI");
        // MLflow notes the user of the operating system as the author of a run.
        command.env("LOGNAME", user);
        // Reports to nobody, and draws no bars.
        command.env("MLFLOW_DISABLE_TELEMETRY", "true").env("DO_NOT_TRACK", "true");
        command.env("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false").env("PYTHONIOENCODING", "utf-8");
        let ended = command
            .output()
            .await
            .map_err(|problem| format!("`{}` cannot be started: {problem}", self.program.display()))?;
        if !ended.status.success() {
            let said = String::from_utf8_lossy(&ended.stderr);
            let lines: Vec<&str> = said.trim_end().lines().collect();
            let last = lines.get(lines.len().saturating_sub(LINES_OF_FAILURE)..).unwrap_or_default();
            return Err(format!("Python says:\n{}", last.join("\n")).into());
        }
        Ok(String::from_utf8(ended.stdout)?.lines().map(str::to_owned).collect())
    }
}
