//! The files of a folder, and none outside of it.

use std::fs::Metadata;
use std::path::{Path, PathBuf};

use percent_encoding::percent_decode_str;
use tower_http::services::ServeDir;

use super::TEXT;
use crate::protocols::http::{self, Handler, Mounted, Request, Responder};
use crate::{BoxError, Result};

/// Serves the files below a folder: ranges and conditional requests are tower-http's business; that
/// no link leads out is checked here.
#[derive(Clone, Debug)]
pub(super) struct Files {
    root: PathBuf,
    service: Mounted<ServeDir>,
}

impl Files {
    /// The files below `root`.
    ///
    /// # Errors
    ///
    /// It is no folder, or cannot be read.
    pub(super) fn new(root: PathBuf) -> Result<Self, BoxError> {
        let told =
            |what: &str, do_: &str| format!("`root` is `{}`, which {what}; {do_}", root.display());
        let real = root.canonicalize().map_err(|error| {
            told(&format!("cannot be read: {error}"), "name a folder that is there and may be read")
        })?;
        if !real.is_dir() {
            return Err(told("is no folder", "name the folder that it is in").into());
        }
        let service = http::service(ServeDir::new(&real));
        Ok(Self { root: real, service })
    }

    /// Whether there is a file of this path, below the root wherever links lead. A folder is the file
    /// `index.html` in it, and without the slash at its end a redirect.
    pub(super) async fn has(&self, path: &str) -> bool {
        let Ok(decoded) = percent_decode_str(path).decode_utf8() else { return false };
        // A redirect to what begins with two slashes leads to another host.
        if decoded.contains('\0') || decoded.starts_with("//") {
            return false;
        }
        let wanted = self.root.join(Path::new(decoded.trim_start_matches('/')));
        match self.find(&wanted).await {
            Some(found) if found.is_dir() && path.ends_with('/') => {
                self.find(&wanted.join("index.html")).await.is_some_and(|index| index.is_file())
            }
            Some(found) => found.is_dir() || found.is_file(), // not a pipe, which would be waited for
            None => false,
        }
    }

    /// What is there, if that is below the root.
    async fn find(&self, path: &Path) -> Option<Metadata> {
        let real = tokio::fs::canonicalize(path).await.ok()?;
        if real.starts_with(&self.root) { tokio::fs::metadata(real).await.ok() } else { None }
    }
}

impl Handler for Files {
    async fn handle(&mut self, request: Request<'_>, response: Responder<'_>) -> Result {
        if !self.has(request.path()).await {
            return Ok(response.send(404, TEXT, "there is no such file\n")?);
        }
        self.service.handle(request, response).await
    }
}
