//! `muster claim`. The key of a claim is made here and goes into a file; the server gets a request for a certificate.

use crate::args::{ClaimCreateArgs, ClaimListArgs, ClaimRevokeArgs};
use crate::command::Run;
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Output, Table, or_empty, spelling};
use muster_certs::{csr, store};
use muster_runtime::ids::random_hex;
use muster_wire::admin::{ClaimList, ClaimView, CreateClaim, CreatedClaim, ListClaims, RevokeClaim, Verb};
use muster_wire::id::ClaimId;
use muster_wire::limits::CLAIM_LIFE_TEMPORARY;
use muster_wire::provision::ClaimName;

impl Run for ClaimCreateArgs {
    fn describe(&self) -> String {
        format!("create a claim of template {}", self.template)
    }

    fn json(&self) -> bool {
        self.operator.json
    }

    async fn run(self) -> Result<Output, CliError> {
        let id = ClaimId::new(random_hex::<6>()).map_err(|error| CliError::local_because("no usable id", error))?;
        let claim = ClaimName { template: self.template, id };
        let life_s = match (self.temporary, self.days) {
            (true, _) => u32::try_from(CLAIM_LIFE_TEMPORARY.as_secs()).ok(),
            (false, Some(days)) => Some(days.get().saturating_mul(24 * 60 * 60)),
            (false, None) => None,
        };
        let (request, key) =
            csr(&claim.to_string()).map_err(|error| CliError::local_because("cannot make a key", error))?;
        let out = &self.out;
        let failed = |error| CliError::local_because(format!("cannot write into {}", out.display()), error);
        std::fs::create_dir_all(out)
            .map_err(|error| CliError::local_because(format!("cannot make the folder {}", out.display()), error))?;
        let cx = Context::open(&self.operator)?;
        let mut operator = cx.connect().await?;
        let create = CreateClaim { claim, csr: request, life_s };
        let made: CreatedClaim = operator.call(Verb::ClaimCreate, &create).await?;
        operator.close().await;
        store::write_secret(&out.join("claim.key"), key.as_bytes()).map_err(failed)?;
        store::write_public(&out.join("claim.crt"), made.certificate.as_bytes()).map_err(failed)?;
        store::write_public(&out.join("ca.crt"), made.ca.as_bytes()).map_err(failed)?;
        let text = format!(
            "claim {} made, good until {}; put claim.crt, claim.key and ca.crt from {} on the devices",
            made.claim.claim,
            or_empty(made.claim.not_after.as_ref()),
            out.display()
        );
        Ok(Output::new(&made.claim, text))
    }
}

impl Run for ClaimListArgs {
    fn describe(&self) -> String {
        "list claims".to_owned()
    }

    fn json(&self) -> bool {
        self.operator.json
    }

    async fn run(self) -> Result<Output, CliError> {
        let cx = Context::open(&self.operator)?;
        let mut operator = cx.connect().await?;
        let mut question = ListClaims { template: self.template, after: None };
        let mut claims: Vec<ClaimView> = Vec::new();
        let now = loop {
            let page: ClaimList = operator.call(Verb::ClaimList, &question).await?;
            claims.extend(page.claims);
            match page.next {
                Some(next) => question.after = Some(next),
                None => break page.now,
            }
        };
        operator.close().await;
        let mut table = Table::new(&["CLAIM", "STATE", "MADE", "ENDS", "NOTE"]);
        for view in &claims {
            table.row([
                view.claim.to_string(),
                spelling(&view.state),
                or_empty(view.issued_at.as_ref()),
                or_empty(view.not_after.as_ref()),
                view.reason.clone().unwrap_or_default(),
            ]);
        }
        let text = if claims.is_empty() { "no claims".to_owned() } else { table.to_string() };
        Ok(Output::new(&ClaimList { now, claims, next: None }, text))
    }
}

impl Run for ClaimRevokeArgs {
    fn describe(&self) -> String {
        format!("revoke claim {}", self.claim)
    }

    fn json(&self) -> bool {
        self.operator.json
    }

    async fn run(self) -> Result<Output, CliError> {
        let cx = Context::open(&self.operator)?;
        let mut operator = cx.connect().await?;
        let request = RevokeClaim { claim: self.claim, reason: self.reason };
        let gone: ClaimView = operator.call(Verb::ClaimRevoke, &request).await?;
        operator.close().await;
        Ok(Output::new(&gone, format!("claim {} revoked; connectors that it provisioned stay", gone.claim)))
    }
}
