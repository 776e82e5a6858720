//! What the machine can do at best: `limits <kind> <place>`. A registry cannot be faster than that, and should not be
//! much slower.
//!
//! * `sqlite`: one bare transaction that is as large as a registration and as durable; one row looked up.
//! * `copy`: the file copied and brought to the disk. `sha256`: only read and digested.
//! * `object_store`: an object written and read by the client alone.
//! * `http`: one call to an MLflow server, without anything around it.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use bench_protocol::{Answer, Contender, Failure, number, serve, text, timed};
use bytes::Bytes;
use object_store::local::LocalFileSystem;
use object_store::{ObjectStoreExt as _, PutPayload};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio::runtime::Runtime;

/// About as large as the record of a registration with a tag.
const RECORD: usize = 700;

const NOT_MEASURED: Answer = Answer::Cannot("");

struct Sqlite {
    database: rusqlite::Connection,
    last: i64,
}

impl Sqlite {
    fn open(place: &str) -> Result<Self, Failure> {
        std::fs::create_dir_all(place)?;
        let database = rusqlite::Connection::open(Path::new(place).join("bare.db"))?;
        database.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
             CREATE TABLE commits (stream TEXT, revision INTEGER, request TEXT, body BLOB,
                 PRIMARY KEY (stream, revision)) STRICT, WITHOUT ROWID;
             CREATE TABLE terms (term TEXT, stream TEXT, PRIMARY KEY (term, stream)) STRICT, WITHOUT ROWID;",
        )?;
        Ok(Sqlite { database, last: 0 })
    }
}

impl Contender for Sqlite {
    fn work(&mut self, task: &str, arguments: &[Value]) -> Result<Answer, Failure> {
        let ns = match task {
            "open" => return Ok(Answer::Done),
            "register" => {
                self.last += 1;
                let (last, body) = (self.last, vec![b'x'; RECORD]);
                timed(|| {
                    let transaction = self.database.transaction()?;
                    let request = format!("{last:032x}");
                    transaction
                        .prepare_cached("INSERT INTO commits VALUES ('model/m', ?1, ?2, ?3)")?
                        .execute((last, request, &body))?;
                    for term in ["tag=team", "tag=team=fraud"] {
                        transaction
                            .prepare_cached("INSERT OR IGNORE INTO terms VALUES (?1, 'model/m')")?
                            .execute([term])?;
                    }
                    Ok(transaction.commit()?)
                })?
                .1
            }
            "get" => {
                let times = number(arguments, 1)?;
                timed(|| {
                    let mut asked = self.database.prepare_cached(
                        "SELECT body FROM commits WHERE stream = 'model/m' AND revision = ?1",
                    )?;
                    for _ in 0..times {
                        std::hint::black_box(asked.query_row([self.last], |row| row.get::<_, Vec<u8>>(0))?);
                    }
                    Ok(())
                })?
                .1
            }
            _ => return Ok(NOT_MEASURED),
        };
        Ok(Answer::Timed { ns, seen: None })
    }
}

struct Copy(String);

impl Contender for Copy {
    fn work(&mut self, task: &str, arguments: &[Value]) -> Result<Answer, Failure> {
        if task != "register_file" {
            return Ok(NOT_MEASURED);
        }
        let target = Path::new(&self.0).join("copy");
        std::fs::create_dir_all(&self.0)?;
        let ((), ns) = timed(|| {
            std::fs::copy(text(arguments, 1)?, &target)?;
            File::open(&target)?.sync_all()?;
            Ok(File::open(&self.0)?.sync_all()?)
        })?;
        std::fs::remove_file(target)?;
        Ok(Answer::Timed { ns, seen: None })
    }
}

struct Sha;

impl Contender for Sha {
    fn work(&mut self, task: &str, arguments: &[Value]) -> Result<Answer, Failure> {
        if task != "register_file" {
            return Ok(NOT_MEASURED);
        }
        let ((), ns) = timed(|| {
            let mut file = File::open(text(arguments, 1)?)?;
            let (mut hasher, mut buffer) = (Sha256::new(), vec![0; 1 << 20]);
            loop {
                let read = file.read(&mut buffer)?;
                if read == 0 {
                    std::hint::black_box(hasher.finalize());
                    return Ok(());
                }
                hasher.update(buffer.get(..read).unwrap_or_default());
            }
        })?;
        Ok(Answer::Timed { ns, seen: None })
    }
}

struct Objects {
    store: LocalFileSystem,
    runtime: Runtime,
    last: u64,
    files: u64,
}

impl Contender for Objects {
    fn work(&mut self, task: &str, arguments: &[Value]) -> Result<Answer, Failure> {
        let place = |number: u64| object_store::path::Path::from(format!("streams/m/log/{number:020}.json"));
        let ns = match task {
            "open" => return Ok(Answer::Done),
            "register" => {
                self.last += 1;
                let (at, body) = (place(self.last), PutPayload::from(vec![b'x'; RECORD]));
                let options = object_store::PutOptions::from(object_store::PutMode::Create);
                timed(|| {
                    use object_store::ObjectStore as _;
                    Ok(self.runtime.block_on(self.store.put_opts(&at, body, options))?)
                })?
                .1
            }
            "register_file" => {
                self.files += 1;
                let at = object_store::path::Path::from(format!("blobs/{:020}", self.files));
                let path = text(arguments, 1)?;
                timed(|| {
                    let bytes = Bytes::from(std::fs::read(path)?);
                    Ok(self.runtime.block_on(self.store.put(&at, bytes.into()))?)
                })?
                .1
            }
            "get" => {
                let times = number(arguments, 1)?;
                let at = place(self.last);
                timed(|| {
                    for _ in 0..times {
                        let found = self.runtime.block_on(self.store.get(&at))?;
                        std::hint::black_box(self.runtime.block_on(found.bytes())?);
                    }
                    Ok(())
                })?
                .1
            }
            _ => return Ok(NOT_MEASURED),
        };
        Ok(Answer::Timed { ns, seen: None })
    }
}

struct Http {
    server: String,
    client: reqwest::Client,
    runtime: Runtime,
}

impl Http {
    fn send(&self, request: reqwest::RequestBuilder) -> Result<Value, Failure> {
        self.runtime.block_on(async {
            let answer = request.send().await?;
            let (status, body) = (answer.status(), answer.text().await?);
            if !status.is_success() {
                return Err(format!("{status}: {body}").into());
            }
            Ok(serde_json::from_str(&body)?)
        })
    }

    fn post(&self, path: &str, body: Value) -> Result<Value, Failure> {
        self.send(self.client.post(format!("{}/api/2.0/mlflow/{path}", self.server)).json(&body))
    }
}

impl Contender for Http {
    fn work(&mut self, task: &str, arguments: &[Value]) -> Result<Answer, Failure> {
        let model = format!("raw-{}", text(arguments, 0)?);
        let ns = match task {
            "open" => {
                self.post("registered-models/create", serde_json::json!({"name": model}))?;
                return Ok(Answer::Done);
            }
            "register" => {
                let tags = serde_json::json!([{"key": "team", "value": "fraud"}]);
                let body = serde_json::json!({"name": model, "source": "s3://nowhere/model", "tags": tags});
                timed(|| self.post("model-versions/create", body))?.1
            }
            "promote" => {
                let body = serde_json::json!({"name": model, "alias": "production", "version": "1"});
                timed(|| self.post("registered-models/alias", body))?.1
            }
            "get" => {
                let times = number(arguments, 1)?;
                let url = format!("{}/api/2.0/mlflow/registered-models/alias", self.server);
                timed(|| {
                    for _ in 0..times {
                        let asked = [("name", model.as_str()), ("alias", "production")];
                        let url = reqwest::Url::parse_with_params(&url, asked)?;
                        std::hint::black_box(self.send(self.client.get(url))?);
                    }
                    Ok(())
                })?
                .1
            }
            _ => return Ok(NOT_MEASURED),
        };
        Ok(Answer::Timed { ns, seen: None })
    }
}

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [kind, place] = arguments.as_slice() else { return Err("which limit, and where?".into()) };
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build();
    match kind.as_str() {
        "sqlite" => serve(&mut Sqlite::open(place)?),
        "copy" => serve(&mut Copy(place.clone())),
        "sha256" => serve(&mut Sha),
        "object_store" => {
            std::fs::create_dir_all(place)?;
            // As durable as the others: what was acknowledged is on the disk.
            let store = LocalFileSystem::new_with_prefix(place)?.with_fsync(true);
            serve(&mut Objects { store, runtime: runtime()?, last: 0, files: 0 })
        }
        "http" => {
            serve(&mut Http { server: place.clone(), client: reqwest::Client::new(), runtime: runtime()? })
        }
        _ => Err(format!("{kind} is not known").into()),
    }
}
