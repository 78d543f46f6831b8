//! The files of a folder, and none outside of it.

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
        let told = |error| format!("`root` is {}, which cannot be read: {error}", root.display());
        let real = root.canonicalize().map_err(told)?;
        if !real.is_dir() {
            return Err(format!("`root` is {}, which is no folder", root.display()).into());
        }
        let service = http::service(ServeDir::new(&real));
        Ok(Self { root: real, service })
    }

    pub(super) async fn has_index(&self) -> bool {
        tokio::fs::try_exists(self.root.join("index.html")).await.unwrap_or(false)
    }

    /// Whether what is asked for is below the root, wherever links lead.
    async fn is_inside(&self, path: &str) -> bool {
        let Ok(path) = percent_decode_str(path).decode_utf8() else { return false };
        if path.contains('\0') {
            return false;
        }
        let path = self.root.join(Path::new(path.trim_start_matches('/')));
        match tokio::fs::canonicalize(path).await {
            Ok(real) => real.starts_with(&self.root),
            Err(_) => false, // it is not there
        }
    }
}

impl Handler for Files {
    async fn handle(&mut self, request: Request<'_>, response: Responder<'_>) -> Result {
        if !matches!(request.method(), "GET" | "HEAD") {
            let refusal = response.status(405).header("Allow", "GET, HEAD")?;
            return Ok(refusal.header("Content-Type", TEXT)?.send("see the field Allow\n")?);
        }
        if !self.is_inside(request.path()).await {
            return Ok(response.send(404, TEXT, "there is no such file\n")?);
        }
        self.service.handle(request, response).await
    }
}
