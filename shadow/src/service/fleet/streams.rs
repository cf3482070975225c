//! Streams that operators make: files that are here, under numbers.

use super::{FleetWorker, ROOM_BYTES, Refused, check_text, refuse};
use crate::records::{Stream, StreamFile, key};
use muster_wire::admin::{CreateStream, ListStreams, NameStream, StreamFileOf, StreamList, StreamSource, StreamView};
use muster_wire::enrol::artifact_file;
use muster_wire::id::PersonName;
use muster_wire::limits::{DESCRIPTION_BYTES_MAX, STREAM_FILES_MAX, STREAMS_MAX};
use muster_wire::rejection::RejectionCode;
use muster_wire::stream::{PACKAGE_PREFIX, StreamId};
use std::ops::Bound;
use std::sync::Arc;
use tracing::info;

impl FleetWorker {
    pub(super) fn create_stream(&self, create: CreateStream, by: &PersonName) -> Result<StreamView, Refused> {
        let CreateStream { stream: id, description, files, replace } = create;
        if id.as_str().starts_with(PACKAGE_PREFIX) {
            let message = format!("ids that begin with {PACKAGE_PREFIX} belong to packages; choose another one");
            return refuse(RejectionCode::Invalid, message);
        }
        if files.is_empty() || files.len() > STREAM_FILES_MAX {
            let message = format!("a stream has 1 to {STREAM_FILES_MAX} files, not {}", files.len());
            return refuse(RejectionCode::Invalid, message);
        }
        check_text("description", Some(&description))?;
        let (known, count) = {
            let fleet = self.shared.fleet();
            (fleet.streams.get(&id).cloned(), fleet.streams.len())
        };
        let version = match known {
            Some(known) if replace => known.version + 1,
            Some(_) => {
                let message = format!("a stream is called {id} already; replace it with --replace");
                return refuse(RejectionCode::Conflict, message);
            }
            None if count >= STREAMS_MAX => {
                let message = format!("there are {count} streams, and at most {STREAMS_MAX}; delete one first");
                return refuse(RejectionCode::Conflict, message);
            }
            None => 1,
        };
        let numbered = (0_u8..).zip(files).map(|(number, source)| self.file_of(number, source));
        let files = numbered.collect::<Result<Vec<StreamFile>, Refused>>()?;
        let at = self.shared.clock.now();
        let record = Stream { id: id.clone(), version, description, files, by: by.clone(), at };
        self.commit(|batch| batch.put(&key::stream(&id), &record))?;
        info!(stream = %id, version, %by, "stream stored");
        let view = view(&record);
        self.shared.fleet_mut().streams.insert(id, Arc::new(record));
        Ok(view)
    }

    fn file_of(&self, file: u8, source: StreamSource) -> Result<StreamFile, Refused> {
        let (sha256, name) = match source {
            StreamSource::File { sha256, name } if sha256.is_complete() && name.len() <= DESCRIPTION_BYTES_MAX => {
                (sha256, name)
            }
            StreamSource::File { .. } => {
                return refuse(RejectionCode::Invalid, format!("file {file}: its digest or its name is not possible"));
            }
            StreamSource::Component(version) => {
                let known = self.shared.fleet().component(&version.name, &version.version).cloned();
                let name = format!("{} {}", version.name, version.version);
                match known {
                    Some(known) => (known.sha256.clone(), name),
                    None => {
                        let message = format!("{name} is not published; `muster component list` shows what is");
                        return refuse(RejectionCode::NotFound, message);
                    }
                }
            }
        };
        match std::fs::metadata(self.shared.config.artifacts_dir.join(artifact_file(&sha256))) {
            Ok(facts) => Ok(StreamFile { file, sha256, size: facts.len(), name }),
            Err(_) => refuse(RejectionCode::NotFound, format!("{name} was not uploaded; upload it first")),
        }
    }

    pub(super) fn list_streams(&self, list: &ListStreams) -> StreamList {
        let fleet = self.shared.fleet();
        let from = list.after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let mut page = StreamList { streams: Vec::new(), next: None };
        let mut room = ROOM_BYTES;
        for stream in fleet.streams.range::<StreamId, _>((from, Bound::Unbounded)).map(|(_, stream)| stream) {
            let view = view(stream);
            let bytes = serde_json::to_vec(&view).map_or(0, |bytes| bytes.len() + 1);
            if bytes > room {
                page.next = page.streams.last().map(|last: &StreamView| last.stream.clone());
                break;
            }
            room -= bytes;
            page.streams.push(view);
        }
        page
    }

    /// Its files stay: other streams and components may have them.
    pub(super) fn delete_stream(&self, delete: &NameStream, by: &PersonName) -> Result<StreamView, Refused> {
        let known = self.shared.fleet().streams.get(&delete.stream).cloned();
        let Some(known) = known else {
            let message = format!("no stream is called {}; `muster stream list` shows all", delete.stream);
            return refuse(RejectionCode::NotFound, message);
        };
        self.commit(|batch| batch.delete(&key::stream(&delete.stream)))?;
        info!(stream = %delete.stream, %by, "stream deleted");
        self.shared.fleet_mut().streams.remove(&delete.stream);
        Ok(view(&known))
    }
}

fn view(stream: &Stream) -> StreamView {
    let file = |file: &StreamFile| StreamFileOf {
        file: file.file,
        name: file.name.clone(),
        size: file.size,
        sha256: file.sha256.clone(),
    };
    StreamView {
        stream: stream.id.clone(),
        version: stream.version,
        description: stream.description.clone(),
        files: stream.files.iter().map(file).collect(),
        by: stream.by.clone(),
        at: stream.at,
    }
}
