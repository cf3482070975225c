//! `muster stream`: files that devices fetch over MQTT.

use super::Run;
use crate::args::{StreamCreateArgs, StreamDeleteArgs, StreamListArgs};
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Output, Table};
use crate::package::digest_of;
use muster_wire::admin::{
    ComponentVersion, CreateStream, ListStreams, NameStream, StreamList, StreamSource, StreamView, Verb,
};
use muster_wire::enrol::artifact_path;
use muster_wire::id::{ComponentName, Version};
use std::path::Path;

impl Run for StreamCreateArgs {
    fn describe(&self) -> String {
        format!("create stream {}", self.id)
    }

    fn json(&self) -> bool {
        self.operator.json
    }

    async fn run(self) -> Result<Output, CliError> {
        let cx = Context::open(&self.operator)?;
        let mut files = Vec::with_capacity(self.sources.len());
        for source in &self.sources {
            files.push(upload(&cx, source).await?);
        }
        let request = CreateStream { stream: self.id, description: self.description, files, replace: self.replace };
        let mut operator = cx.connect().await?;
        let stream: StreamView = operator.call(Verb::StreamCreate, &request).await?;
        operator.close().await;
        let text = format!("stored stream {} version {}\n\n{}", stream.stream, stream.version, table([&stream]));
        Ok(Output::new(&stream, text))
    }
}

/// Uploads a file, unless a package is meant, which is there.
async fn upload(cx: &Context, source: &str) -> Result<StreamSource, CliError> {
    let path = Path::new(source);
    if path.is_file() {
        let sha256 = digest_of(path)
            .map_err(|error| CliError::local_because(format!("cannot read {}", path.display()), error))?;
        cx.https()?.put(&artifact_path(&sha256), path).await?;
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        return Ok(StreamSource::File { sha256, name });
    }
    let named = source.split_once('@').and_then(|(name, version)| {
        Some(ComponentVersion { name: ComponentName::new(name).ok()?, version: Version::new(version).ok()? })
    });
    named.map(StreamSource::Component).ok_or_else(|| {
        CliError::local(format!("{source:?} is neither a file here nor a package; write a package as NAME@VERSION"))
    })
}

impl Run for StreamListArgs {
    fn describe(&self) -> String {
        "list streams".to_owned()
    }

    fn json(&self) -> bool {
        self.operator.json
    }

    async fn run(self) -> Result<Output, CliError> {
        let cx = Context::open(&self.operator)?;
        let mut operator = cx.connect().await?;
        let mut streams: Vec<StreamView> = Vec::new();
        let mut after = None;
        loop {
            let page: StreamList = operator.call(Verb::StreamList, &ListStreams { after }).await?;
            streams.extend(page.streams);
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        operator.close().await;
        let text = match streams.is_empty() {
            true => "no streams; packages have theirs without being listed".to_owned(),
            false => table(&streams),
        };
        Ok(Output::new(&StreamList { streams, next: None }, text))
    }
}

impl Run for StreamDeleteArgs {
    fn describe(&self) -> String {
        format!("delete stream {}", self.id)
    }

    fn json(&self) -> bool {
        self.operator.json
    }

    async fn run(self) -> Result<Output, CliError> {
        let cx = Context::open(&self.operator)?;
        let mut operator = cx.connect().await?;
        let stream: StreamView = operator.call(Verb::StreamDelete, &NameStream { stream: self.id }).await?;
        operator.close().await;
        let text = format!("deleted {}", stream.stream);
        Ok(Output::new(&stream, text))
    }
}

/// One row for each file.
fn table<'a>(streams: impl IntoIterator<Item = &'a StreamView>) -> String {
    let mut table =
        Table::new(&["STREAM", "VERSION", "FILE", "NAME", "BYTES", "SHA256", "CHANGED", "BY", "DESCRIPTION"]);
    for stream in streams {
        for file in &stream.files {
            table.row([
                stream.stream.to_string(),
                stream.version.to_string(),
                file.file.to_string(),
                file.name.clone(),
                file.size.to_string(),
                file.sha256.as_str().chars().take(12).collect(),
                stream.at.to_string(),
                stream.by.to_string(),
                stream.description.clone(),
            ]);
        }
    }
    table.to_string()
}
