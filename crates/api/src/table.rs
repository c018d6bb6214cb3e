//! The vocabulary of the operation table: what a field is, what an operation is, who may call it.
//!
//! Each resource file states its fields and operations once, as constants of these types. Router, validator,
//! OpenAPI document and access check all read the same constants, so none of them can disagree.

use std::future::Future;
use std::pin::Pin;

use axum::http::Method;
use model::Scope;

use crate::call::{Call, Reply};
use crate::errors::ApiError;

/// The largest integer a field without a maximum of its own takes: the store and every client can hold it.
pub const MAX_INTEGER: i64 = i32::MAX as i64;
/// Longest text a field without a length of its own takes, in characters.
pub const MAX_TEXT_CHARS: usize = 512;

/// What a field may hold.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// Text on one line.
    Text,
    /// `yes` or `no`; true, false, 1 and 0 are understood on write.
    YesNo,
    /// One of these words, in any case; stored as written here.
    Words(&'static [&'static str]),
    /// These words, or any other text: the list documents, it does not refuse.
    OpenWords(&'static [&'static str]),
    /// A whole number within bounds, both included; text holding one is understood on write.
    Integer {
        /// Least value.
        min: i64,
        /// Greatest value.
        max: i64,
    },
    /// A number that may have a fraction, within bounds, both included; text holding one is understood on write.
    Decimal {
        /// Least value.
        min: i64,
        /// Greatest value.
        max: i64,
    },
    /// A telephone number: text or number on write, text on read.
    Digits,
    /// One of these words or a list of them; `*` alone stands for all.
    WordList(&'static [&'static str]),
    /// Anything: taken and forgotten on write, not described further on read.
    Ignored,
}

/// A syntax check; the error ends a sentence that begins with the field and its value.
pub type Check = fn(&str) -> Result<(), String>;

/// One field of a body, a response, a query or a path.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// Name on the wire.
    pub name: &'static str,
    /// What it may hold.
    pub kind: Kind,
    /// Our words for people who read the reference.
    pub description: &'static str,
    /// Value of a new object that does not set it.
    pub default: Option<&'static str>,
    /// An example for the reference.
    pub example: Option<&'static str>,
    /// Regular expression for the reference; `check` is what refuses.
    pub pattern: Option<&'static str>,
    /// Least and greatest length in characters.
    pub length: (usize, usize),
    /// Names the same field had in version 1, or is often misspelled with; understood on write.
    pub aliases: &'static [&'static str],
    /// Other spellings of a value: (as sent, as stored).
    pub value_aliases: &'static [(&'static str, &'static str)],
    /// Syntax beyond the kind.
    pub check: Option<Check>,
    /// Set by the switch; ignored on write.
    pub read_only: bool,
    /// Understood on write, never returned.
    pub write_only: bool,
    /// Never repeated in messages, returned only where the operation says so.
    pub secret: bool,
    /// JSON null clears it.
    pub nullable: bool,
    /// Only this scope or a higher one may set it.
    pub least: Option<Scope>,
}

impl Field {
    /// A field of this kind with nothing else said.
    pub const fn new(name: &'static str, kind: Kind, description: &'static str) -> Self {
        Self {
            name,
            kind,
            description,
            default: None,
            example: None,
            pattern: None,
            length: (0, MAX_TEXT_CHARS),
            aliases: &[],
            value_aliases: &[],
            check: None,
            read_only: false,
            write_only: false,
            secret: false,
            nullable: false,
            least: None,
        }
    }

    /// Text.
    pub const fn text(name: &'static str, description: &'static str) -> Self {
        Self::new(name, Kind::Text, description)
    }

    /// `yes` or `no`.
    pub const fn yes_no(name: &'static str, description: &'static str) -> Self {
        Self::new(name, Kind::YesNo, description)
    }

    /// One word of a list.
    pub const fn words(
        name: &'static str,
        words: &'static [&'static str],
        description: &'static str,
    ) -> Self {
        Self::new(name, Kind::Words(words), description)
    }

    /// A number from `min` up.
    pub const fn integer(name: &'static str, min: i64, description: &'static str) -> Self {
        Self::new(
            name,
            Kind::Integer {
                min,
                max: MAX_INTEGER,
            },
            description,
        )
    }

    /// The value of an object that does not set the field.
    pub const fn default(mut self, value: &'static str) -> Self {
        self.default = Some(value);
        self
    }

    /// An example value.
    pub const fn example(mut self, value: &'static str) -> Self {
        self.example = Some(value);
        self
    }

    /// Least and greatest length in characters.
    pub const fn length(mut self, least: usize, greatest: usize) -> Self {
        self.length = (least, greatest);
        self
    }

    /// Documents a regular expression and names the function that checks.
    pub const fn pattern(mut self, pattern: &'static str) -> Self {
        self.pattern = Some(pattern);
        self
    }

    /// Other names on write.
    pub const fn aliases(mut self, names: &'static [&'static str]) -> Self {
        self.aliases = names;
        self
    }

    /// Other spellings of values on write.
    pub const fn value_aliases(mut self, pairs: &'static [(&'static str, &'static str)]) -> Self {
        self.value_aliases = pairs;
        self
    }

    /// A syntax check.
    pub const fn check(mut self, check: Check) -> Self {
        self.check = Some(check);
        self
    }

    /// Ignored on write.
    pub const fn read_only(mut self) -> Self {
        self.read_only = true;
        self
    }

    /// Never returned.
    pub const fn write_only(mut self) -> Self {
        self.write_only = true;
        self
    }

    /// Hidden in messages and lists.
    pub const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    /// May be null.
    pub const fn nullable(mut self) -> Self {
        self.nullable = true;
        self
    }

    /// Least scope that may set it.
    pub const fn least(mut self, scope: Scope) -> Self {
        self.least = Some(scope);
        self
    }
}

/// Fields of a body and which of them a client must send.
#[derive(Debug, Clone, Copy)]
pub struct Body {
    /// Name of the schema in the OpenAPI document.
    pub schema: &'static str,
    /// The fields, in the order they are documented.
    pub fields: &'static [&'static [Field]],
    /// Names that must be there.
    pub required: &'static [&'static str],
}

impl Body {
    /// All fields in order.
    pub fn fields(&self) -> impl Iterator<Item = &'static Field> {
        self.fields.iter().copied().flatten()
    }
}

/// The shape of a successful answer.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    /// One object.
    One(Body),
    /// An array of objects.
    Many(Body),
    /// `{"code": 202, "message": "Accepted"}`
    Accepted,
    /// `{"total": n}`
    Total,
}

/// One documented answer.
#[derive(Debug, Clone, Copy)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// What the body holds.
    pub shape: Shape,
}

/// 202 and nothing to read.
pub const ACCEPTED: Answer = Answer {
    status: 202,
    shape: Shape::Accepted,
};
/// A count.
pub const TOTAL: Answer = Answer {
    status: 200,
    shape: Shape::Total,
};

/// 200 with one object.
pub const fn one(body: Body) -> Answer {
    Answer {
        status: 200,
        shape: Shape::One(body),
    }
}

/// 200 with an array.
pub const fn many(body: Body) -> Answer {
    Answer {
        status: 200,
        shape: Shape::Many(body),
    }
}

/// What `*` means in the place of a domain in the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Star {
    /// Nothing: 400.
    Refused,
    /// Every domain the caller may see.
    AllDomains,
    /// The owner of objects that belong to no tenant. Resellers read them, Super Users write them.
    Global,
}

/// Who may call an operation at all. The objects within reach are decided by domain and reseller afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// No credential needed.
    Anyone,
    /// Any valid credential.
    AnyKey,
    /// This scope or a higher one.
    AtLeast(Scope),
}

/// Where the operation lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Base {
    /// The contract's operations.
    NsApi,
    /// Ours, beside the contract.
    Strowger,
}

impl Base {
    /// Path prefix.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::NsApi => "/ns-api/v2",
            Self::Strowger => "/strowger/v1",
        }
    }
}

/// A handler: a plain async function behind a pointer.
pub type Handler = fn(Call) -> Pin<Box<dyn Future<Output = Result<Reply, ApiError>> + Send>>;

/// One line of the table.
#[derive(Clone, Copy)]
pub struct Operation {
    /// Stable name, unique in the table.
    pub id: &'static str,
    /// HTTP method.
    pub method: Verb,
    /// Prefix of the path.
    pub base: Base,
    /// Path with `{name}` places.
    pub path: &'static str,
    /// Group of the reference.
    pub group: &'static str,
    /// A short phrase.
    pub summary: &'static str,
    /// More than the phrase, or empty.
    pub description: &'static str,
    /// The noun that `allowed-models` of a key names.
    pub model: &'static str,
    /// Who may call.
    pub access: Access,
    /// What `*` means as the domain of the path.
    pub star: Star,
    /// Query parameters.
    pub query: &'static [Field],
    /// Request body, if the method has one.
    pub body: Option<Body>,
    /// Successful answers.
    pub answers: &'static [Answer],
    /// Statuses of failure this operation has beside the ones every operation has.
    pub failures: &'static [u16],
    /// What runs.
    pub handler: Handler,
}

/// The four methods of the contract, usable in constants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    /// Read.
    Get,
    /// Create.
    Post,
    /// Change.
    Put,
    /// Remove.
    Delete,
}

impl Verb {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
        }
    }

    /// Whether it changes anything.
    pub const fn writes(self) -> bool {
        !matches!(self, Self::Get)
    }

    /// The `http` crate's value.
    pub fn http(self) -> Method {
        match self {
            Self::Get => Method::GET,
            Self::Post => Method::POST,
            Self::Put => Method::PUT,
            Self::Delete => Method::DELETE,
        }
    }
}
