//! A connector is added, or its script renewed: either makes a new token.
//!
//! The token's record is written with the connector's. A crash between the two leaves a token without a connector, which
//! nobody was told, or a connector whose token record is gone: an operator renews the script.

use super::{FleetWorker, Refused, check_text, refuse};
use crate::records::{Binding, Connector, TokenEnd, TokenRecord, key};
use muster_certs::token::Token;
use muster_runtime::ids::random_bytes;
use muster_wire::admin::{AddConnector, AddedConnector};
use muster_wire::id::PersonName;
use muster_wire::limits::{
    COMPONENTS_PER_ADD_MAX, ENROLMENT_TOKEN_LIFE_MAX, ENROLMENT_TOKEN_LIFE_MIN, PREFIX_BYTES_MAX,
};
use muster_wire::rejection::RejectionCode;
use std::time::Duration;
use tracing::info;

impl FleetWorker {
    pub(super) fn add_connector(&self, add: AddConnector, by: &PersonName) -> Result<AddedConnector, Refused> {
        let life = self.check_add(&add)?;
        let known = self.shared.fleet().connectors.get(&add.name).cloned();
        let now = self.shared.clock.now();
        let connector = match (known, add.renew || add.reinstall) {
            (None, true) => {
                let flag = if add.reinstall { "--reinstall" } else { "--renew" };
                let message = format!("no connector is called {}; add it without {flag}", add.name);
                return refuse(RejectionCode::NotFound, message);
            }
            (Some(known), _) if known.is_removed() && !add.reinstall => {
                let message =
                    format!("{} was removed from the fleet; `--reinstall` brings it back with its history", add.name);
                return refuse(RejectionCode::Conflict, message);
            }
            (Some(_), false) => {
                let message =
                    format!("a connector is called {} already; `--renew` makes a new script for it", add.name);
                return refuse(RejectionCode::Conflict, message);
            }
            (Some(known), true) => {
                let known = known.as_ref().clone();
                Connector { prefix: add.prefix.or(known.prefix), ..known }
            }
            (None, false) => Connector {
                pool: add.pool,
                site: add.site,
                description: add.description,
                prefix: add.prefix,
                wanted: add.components,
                ..Connector::new(add.name.clone(), by.clone(), now)
            },
        };
        let mut added = AddedConnector {
            name: add.name.clone(),
            token: String::new(),
            expires_at: now.plus(life),
            pool: connector.pool.clone(),
            prefix: connector.prefix.clone(),
            agent: self.shared.config.agent.clone(),
        };
        if add.preview {
            return Ok(added);
        }
        let token = Token::from_random(random_bytes());
        let hash = token.hash().to_string();
        let old = self.ended_token(connector.token_hash.as_deref(), TokenEnd::Replaced)?;
        let connector = Connector { token_hash: Some(hash.clone()), ..connector };
        let record = TokenRecord {
            connector: add.name.clone(),
            expires_at: added.expires_at,
            used_at: None,
            issued_by: by.clone(),
            issued_at: Some(now),
            binding: Some(Binding { pool: connector.pool.clone(), prefix: connector.prefix.clone() }),
            used_from: None,
            reinstall: add.reinstall,
            ended: None,
        };
        self.commit(|batch| {
            if let Some((old_key, old)) = &old {
                batch.put(old_key, old)?;
            }
            batch.put(&key::token(&hash), &record)?;
            batch.put(&key::connector(&add.name), &connector)
        })?;
        info!(connector = %add.name, %by, token = super::tokens::id(&hash), renewed = add.renew, "connector added");
        self.know(connector);
        self.wake(&add.name);
        self.forget_old_tokens(now)?;
        token.reveal().clone_into(&mut added.token);
        Ok(added)
    }

    /// Whether the request makes sense by itself. Returns the life of its token.
    fn check_add(&self, add: &AddConnector) -> Result<Duration, Refused> {
        check_text("description", add.description.as_deref())?;
        if let Some(prefix) = &add.prefix
            && (prefix.is_empty()
                || prefix.len() > PREFIX_BYTES_MAX
                || !prefix.bytes().all(|b| matches!(b, b' '..=b'~')))
        {
            let message = format!("the prefix must have 1 to {PREFIX_BYTES_MAX} bytes of printable ASCII");
            return refuse(RejectionCode::Invalid, message);
        }
        let changes =
            add.pool.is_some() || add.site.is_some() || add.description.is_some() || !add.components.is_empty();
        if (add.renew || add.reinstall) && changes {
            let message = "renewing a script changes nothing but the token and the prefix; \
                           leave out pool, site, description and components";
            return refuse(RejectionCode::Invalid, message);
        }
        if add.components.len() > COMPONENTS_PER_ADD_MAX {
            let message = format!("a connector can be added with {COMPONENTS_PER_ADD_MAX} components at most");
            return refuse(RejectionCode::TooLarge, message);
        }
        let fleet = self.shared.fleet();
        for (component, version) in &add.components {
            fleet.published(component, version)?;
        }
        let Some(seconds) = add.token_life_s else { return Ok(self.shared.config.token_life) };
        let life = Duration::from_secs(seconds.into());
        if !(ENROLMENT_TOKEN_LIFE_MIN..=ENROLMENT_TOKEN_LIFE_MAX).contains(&life) {
            let (least, most) = (ENROLMENT_TOKEN_LIFE_MIN.as_secs(), ENROLMENT_TOKEN_LIFE_MAX.as_secs() / 3600);
            let message = format!("a token lives from {least} seconds to {most} hours, not {seconds} seconds");
            return refuse(RejectionCode::Invalid, message);
        }
        Ok(life)
    }
}
