//! Published components.

use super::{FleetWorker, ROOM_BYTES, Refused, refuse};
use crate::records::key;
use muster_certs::PublisherPublicKey;
use muster_wire::admin::{ComponentList, ComponentVersion, ListComponents, PublishComponent};
use muster_wire::component::{PublishedComponent, signed_text};
use muster_wire::enrol::artifact_file;
use muster_wire::id::{PersonName, ThingName};
use muster_wire::limits::{ARTIFACT_BYTES_MAX, DESCRIPTION_BYTES_MAX};
use muster_wire::rejection::RejectionCode;
use std::ops::Bound;
use std::sync::Arc;
use tracing::info;

impl FleetWorker {
    /// A version never changes: publishing it again with the same content is done already, with other content refused.
    pub(super) fn publish_component(
        &self,
        publish: PublishComponent,
        by: &PersonName,
    ) -> Result<PublishedComponent, Refused> {
        let named = format!("{} {}", publish.name, publish.version);
        if !publish.sha256.is_complete() || publish.size == 0 || publish.size > ARTIFACT_BYTES_MAX {
            return refuse(RejectionCode::Invalid, format!("{named}: the package's digest or size is not possible"));
        }
        if publish.description.len() > DESCRIPTION_BYTES_MAX {
            return refuse(
                RejectionCode::TooLarge,
                format!("{named}: the description is longer than {DESCRIPTION_BYTES_MAX} bytes"),
            );
        }
        let known = self.shared.fleet().component(&publish.name, &publish.version).cloned();
        if let Some(known) = known {
            if known.sha256 == publish.sha256 {
                return Ok(known.as_ref().clone());
            }
            let message =
                format!("{named} is published already with other content; give the new content a new version");
            return refuse(RejectionCode::Conflict, message);
        }
        let signed = signed_text(&publish.name, &publish.version, &publish.sha256, publish.size);
        let key_text = &self.shared.config.publisher_key;
        let verified = key_text
            .parse::<PublisherPublicKey>()
            .and_then(|publisher| publisher.verify(signed.as_bytes(), &publish.signature));
        if let Err(error) = verified {
            let message = format!(
                "{named}: the signature is not the publisher's ({error}); sign it with this fleet's publisher key"
            );
            return refuse(RejectionCode::Forbidden, message);
        }
        let path = self.shared.config.artifacts_dir.join(artifact_file(&publish.sha256));
        match std::fs::metadata(&path) {
            Ok(file) if file.len() == publish.size => {}
            Ok(file) => {
                let message = format!("{named}: the uploaded package has {} bytes, not {}", file.len(), publish.size);
                return refuse(RejectionCode::Invalid, message);
            }
            Err(_) => {
                return refuse(
                    RejectionCode::NotFound,
                    format!("{named}: the package was not uploaded; upload it first"),
                );
            }
        }
        let component = PublishedComponent {
            name: publish.name,
            version: publish.version,
            sha256: publish.sha256,
            size: publish.size,
            signature: publish.signature,
            soak_s: publish.soak_s,
            description: publish.description,
            published_at: self.shared.clock.now(),
            published_by: by.clone(),
        };
        self.commit(|batch| batch.put(&key::component(&component.name, &component.version), &component))?;
        info!(component = %component.name, version = %component.version, %by, "component published");
        let at = (component.name.clone(), component.version.clone());
        self.shared.fleet_mut().components.insert(at, Arc::new(component.clone()));
        // Where it runs in another version, a newer one is there now.
        let views = self.shared.views();
        let running = views.values().filter(|view| view.components.contains_key(&component.name));
        let running: Vec<ThingName> = running.map(|view| view.name.clone()).collect();
        drop(views);
        running.iter().for_each(|thing| self.wake(thing));
        Ok(component)
    }

    /// One page: as many versions as surely fit one answer.
    pub(super) fn list_components(&self, list: &ListComponents) -> ComponentList {
        let fleet = self.shared.fleet();
        let after = list.after.as_ref().map(|after| (after.name.clone(), after.version.clone()));
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut page = ComponentList { components: Vec::new(), next: None };
        let mut room = ROOM_BYTES;
        for component in fleet.components.range((from, Bound::Unbounded)).map(|(_, component)| component) {
            let bytes = serde_json::to_vec(component.as_ref()).map_or(0, |bytes| bytes.len() + 1);
            if bytes > room {
                page.next = page.components.last().map(|last: &PublishedComponent| ComponentVersion {
                    name: last.name.clone(),
                    version: last.version.clone(),
                });
                break;
            }
            room -= bytes;
            page.components.push(component.as_ref().clone());
        }
        page
    }
}
