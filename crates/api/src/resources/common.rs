//! Fields and steps that several resources share.

use model::SYSTEM_DOMAIN;
use store::{OwnerFilter, Page, Reader, Record};

use crate::access::Reach;
use crate::call::Call;
use crate::checks;
use crate::errors::ApiError;
use crate::table::{Body, Field};

/// Asks for the new object in the answer.
pub(super) const SYNCHRONOUS: &[Field] = &[Field::yes_no(
    "synchronous",
    "yes: the answer is 200 with the new object, where the operation has such an answer; no: 202. \
     Either way the object is stored and calls obey it when the answer arrives.",
)
.default("no")
.write_only()];

/// Owner of an object that may belong to the system.
pub(super) const DOMAIN_OWNER: Field = Field::text(
    "domain",
    "The tenant the object belongs to; * for the whole system, ~ for the tenant of the key.",
)
.pattern("^[A-Za-z0-9._-]+|\\*")
.length(1, 64)
.example("example.com")
.value_aliases(&[("~", "~")])
.check(checks::domain_or_star);

/// The records of a noun known by its owner that the caller may see: those within reach, and to a reseller the
/// system's too.
pub(super) async fn visible<R>(call: &Call) -> Result<Vec<R>, ApiError>
where
    R: Record<Filter = OwnerFilter> + Send,
{
    let reach = call.caller.reach();
    let read = move |reader: &Reader<'_>| {
        let mut filter = OwnerFilter::default();
        match &reach {
            Reach::All => {}
            Reach::Reseller(name) => filter.reseller = Some(name.clone()),
            Reach::Domain(name) => filter.domain = Some(name.clone()),
        }
        let mut found = reader.list(&filter, Page::all())?;
        if let Reach::Reseller(_) = reach {
            let system = OwnerFilter {
                domain: Some(SYSTEM_DOMAIN.into()),
                ..OwnerFilter::default()
            };
            found.extend(reader.list(&system, Page::all())?);
        }
        Ok(found)
    };
    call.state.read(read).await
}

/// First row of a list.
pub(super) const START: Field =
    Field::integer("start", 0, "How many rows are left out at the beginning.").default("0");

/// Rows of a list when the request does not say; also what the contract documents.
pub(super) const DEFAULT_LIMIT: usize = 100;
/// Most rows of one answer.
pub(super) const MAX_LIMIT: usize = 1_000;

/// `{"code": 202, "message": "Accepted"}`, and the shape of every error.
pub(crate) const STATUS: Body = Body {
    schema: "Status",
    fields: &[&[
        Field::integer("code", 100, "The HTTP status."),
        Field::text("message", "What happened, for people.").length(0, 8_192),
    ]],
    required: &["code", "message"],
};

/// The answer of a count.
pub(crate) const COUNT: Body = Body {
    schema: "Count",
    fields: &[&[Field::integer("total", 0, "How many there are.")]],
    required: &["total"],
};

/// Longest name of a plan, in characters.
pub(super) const MAX_NAME_CHARS: usize = 128;

/// A plan's name: anything that can stand between `<` and `>` of a chaining rule.
pub(super) fn plan_name(text: &str) -> Result<(), String> {
    if text.trim() != text || text.is_empty() {
        return Err("must not begin or end with a space".into());
    }
    if text.contains(['<', '>']) || text == "*" || text == "~" {
        return Err("must not hold < or >, nor be * or ~".into());
    }
    Ok(())
}

/// A policy's name: stands in paths and in fields, so it must be readable and none of the words with a meaning.
pub(super) fn policy_name(text: &str) -> Result<(), String> {
    if text.trim() != text || text.is_empty() {
        return Err("must not begin or end with a space".into());
    }
    if text == "*" || text == "~" || text.eq_ignore_ascii_case(model::PERMIT_ALL) {
        return Err(format!("must not be *, ~ or {}", model::PERMIT_ALL));
    }
    Ok(())
}
