//! Enrolment tokens after they were made: listed, revoked, forgotten.

use super::{FleetWorker, ROOM_BYTES, Refused, refuse};
use crate::records::{Connector, StoredToken, TokenEnd, TokenRecord, key};
use crate::service::ServiceError;
use crate::store::{Key, Kind, codec};
use muster_wire::admin::{ListTokens, RevokeToken, RevokedToken, TokenList, TokenState, TokenView};
use muster_wire::id::PersonName;
use muster_wire::limits::ENROLMENT_TOKEN_MEMORY;
use muster_wire::rejection::RejectionCode;
use muster_wire::time::Timestamp;
use std::time::Duration;
use tracing::info;

/// Digits of a hash by which a token is called; nothing is looked up by them.
const ID_DIGITS: usize = 12;
/// Between two looks for tokens that may be forgotten.
const SWEEP_INTERVAL: Duration = Duration::from_secs(3600);

impl FleetWorker {
    pub(super) fn list_tokens(&self, list: &ListTokens) -> Result<TokenList, Refused> {
        let now = self.shared.clock.now();
        let mut tokens: Vec<TokenView> =
            self.tokens()?.into_iter().map(|(hash, record)| view(&hash, &record, now)).collect();
        tokens.retain(|token| list.all || token.state == TokenState::Live);
        tokens.sort_by_key(|token| std::cmp::Reverse(token.expires_at));
        let mut room = ROOM_BYTES;
        let fits = tokens.iter().take_while(|token| {
            let bytes = serde_json::to_vec(token).map_or(0, |bytes| bytes.len() + 1);
            let fits = bytes <= room;
            room = room.saturating_sub(bytes);
            fits
        });
        let count = fits.count();
        let left_off = tokens.len() - count;
        tokens.truncate(count);
        Ok(TokenList { now, tokens, left_off })
    }

    pub(super) fn revoke_token(&self, revoke: &RevokeToken, by: &PersonName) -> Result<RevokedToken, Refused> {
        let now = self.shared.clock.now();
        let known = self.shared.fleet().connectors.get(&revoke.connector).cloned();
        let Some(connector) = known else {
            let message = format!("no connector is called {}; `muster token list` shows all tokens", revoke.connector);
            return refuse(RejectionCode::NotFound, message);
        };
        let live = match &connector.token_hash {
            Some(hash) => self.ended_token(Some(hash), TokenEnd::Revoked)?,
            None => None,
        };
        let (Some(hash), Some((token_key, record))) = (&connector.token_hash, live) else {
            let message = format!("{} has no live token; `muster token list` shows all", revoke.connector);
            return refuse(RejectionCode::NotFound, message);
        };
        let view = view(hash, &record, now);
        let connector = Connector { token_hash: None, ..connector.as_ref().clone() };
        self.commit(|batch| {
            batch.put(&token_key, &record)?;
            batch.put(&key::connector(&revoke.connector), &connector)
        })?;
        info!(connector = %revoke.connector, %by, token = id(hash), "enrolment token revoked");
        self.know(connector);
        Ok(RevokedToken { token: view })
    }

    /// Deletes the records of tokens that nobody will ask about any more.
    pub(super) fn forget_old_tokens(&self, now: Timestamp) -> Result<(), ServiceError> {
        // All of them are read for it: in a large fleet that is most of the cost of adding a connector.
        if self.tokens_swept.get().is_some_and(|at| now < at.plus(SWEEP_INTERVAL)) {
            return Ok(());
        }
        self.tokens_swept.set(Some(now));
        let mut old = self.tokens()?;
        old.retain(|(_, record)| record.expires_at.plus(ENROLMENT_TOKEN_MEMORY) < now);
        if old.is_empty() {
            return Ok(());
        }
        self.commit(|batch| old.iter().try_for_each(|(hash, _)| batch.delete(&key::token(hash))))
    }

    /// The token with this hash as it is to be stored when this ends it, with its key. `None` if it works no more anyway:
    /// what ended it first is remembered.
    pub(super) fn ended_token(
        &self,
        hash: Option<&str>,
        end: TokenEnd,
    ) -> Result<Option<(Key, TokenRecord)>, ServiceError> {
        let Some(hash) = hash else { return Ok(None) };
        let now = self.shared.clock.now();
        let live = self.token(hash)?.filter(|record| state(record, now) == TokenState::Live);
        Ok(live.map(|record| (key::token(hash), TokenRecord { ended: Some(end), ..record })))
    }

    /// The token with this hash.
    pub(super) fn token(&self, hash: &str) -> Result<Option<TokenRecord>, ServiceError> {
        super::Batch::new(self.shared.store.as_ref(), self.shared.clock.now()).get::<TokenRecord>(&key::token(hash))
    }

    /// The token of a connector's latest script, as long as it is remembered.
    pub(super) fn token_of(&self, connector: &Connector) -> Result<Option<TokenView>, ServiceError> {
        let Some(hash) = &connector.token_hash else { return Ok(None) };
        Ok(self.token(hash)?.map(|record| view(hash, &record, self.shared.clock.now())))
    }

    /// Every token that is remembered, with its hash.
    fn tokens(&self) -> Result<Vec<(String, TokenRecord)>, ServiceError> {
        let entries = self.shared.store.scan_all(Key::new(Kind::Token).as_bytes())?;
        let token = |(found, stored): (Vec<u8>, crate::store::Stored)| {
            let record = codec::decode::<StoredToken>(&found, &stored.value)?.into();
            let hash = Key::parse(&found).ok().and_then(|key| key.parts.first().cloned()).unwrap_or_default();
            Ok((hash, record))
        };
        entries.into_iter().map(token).collect()
    }
}

/// What a token is called where people read it.
pub(super) fn id(hash: &str) -> &str {
    hash.get(..ID_DIGITS).unwrap_or(hash)
}

fn view(hash: &str, record: &TokenRecord, now: Timestamp) -> TokenView {
    let binding = record.binding.as_ref();
    TokenView {
        id: id(hash).to_owned(),
        connector: record.connector.clone(),
        pool: binding.and_then(|binding| binding.pool.clone()),
        prefix: binding.and_then(|binding| binding.prefix.clone()),
        issued_by: record.issued_by.clone(),
        issued_at: record.issued_at,
        expires_at: record.expires_at,
        state: state(record, now),
        uses: record.used_at.is_some().into(),
        uses_max: 1,
        used_at: record.used_at,
        used_from: record.used_from.map(|address| address.to_string()),
    }
}

fn state(record: &TokenRecord, now: Timestamp) -> TokenState {
    match (record.used_at, record.ended) {
        (Some(_), _) => TokenState::Used,
        (None, Some(TokenEnd::Replaced)) => TokenState::Replaced,
        (None, Some(TokenEnd::Revoked)) => TokenState::Revoked,
        (None, None) if now >= record.expires_at => TokenState::Expired,
        (None, None) => TokenState::Live,
    }
}
